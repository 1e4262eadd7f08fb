#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

/* xoshiro256++ (Blackman and Vigna, 2018): passes what tests there are, a nanosecond a number.  Its state
 * must not be all zeros. */
struct generator {
    uint64_t state[4];
    bool is_seeded;
};

static _Thread_local struct generator generator;

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t next(uint64_t state[4])
{
    uint64_t result = rotate(state[0] + state[3], 23) + state[0];
    uint64_t shifted = state[1] << 17;

    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}

/* 32 bytes, which getrandom gives whole and without EINTR. */
static int seed(struct generator *ret)
{
    if (getrandom(ret->state, sizeof(ret->state), 0) != (ssize_t)sizeof(ret->state))
        return errno ? -errno : -EIO;
    ret->state[0] |= 1;
    ret->is_seeded = true;
    return 0;
}

int random_u64(uint64_t *ret)
{
    int rc = generator.is_seeded ? 0 : seed(&generator);

    if (rc == 0)
        *ret = next(generator.state);
    return rc;
}
