#include "base/uuid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/thread.h"

/* RFC 9562, section 5.7:  48 bits of milliseconds | 0111 | 12 bits rand_a | 10 | 62 bits rand_b.
 * rand_a is a counter (section 6.2, method 1).  Each millisecond starts it at random below half of its range,
 * so that there is room to count; when it is used up, or the clock goes back, the stamp runs ahead of the
 * clock. */
#define COUNTER_MAX       0xfff
#define COUNTER_SEED_MASK 0x7ff

/* 256 bytes, which getrandom gives whole and without EINTR. */
#define RANDOM_STOCK 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* guarded by lock: */
static uint64_t last_ms;
static unsigned counter;

/* Moves to the next pair of stamp and counter. */
static void advance_locked(uint64_t wall_ms, unsigned seed)
{
    if (wall_ms > last_ms) {
        last_ms = wall_ms;
        counter = seed & COUNTER_SEED_MASK;
    } else if (counter < COUNTER_MAX) {
        counter++;
    } else {
        last_ms++;
        counter = seed & COUNTER_SEED_MASK;
    }
}

/* Random bytes for some UUIDs at once: the call costs more than all else here.  No byte is used twice.
 * False, with errno set, when there are none. */
static bool take_random(struct uuid *ret)
{
    static _Thread_local struct uuid stock[RANDOM_STOCK];
    static _Thread_local size_t left;

    if (left == 0) {
        if (getrandom(stock, sizeof(stock), 0) != (ssize_t)sizeof(stock))
            return false;
        left = RANDOM_STOCK;
    }
    *ret = stock[--left];
    return true;
}

int uuid_create_at(uint64_t wall_ms, struct uuid *ret)
{
    struct uuid uuid = {0};

    if (!take_random(&uuid))
        return -errno;

    LOCK(&lock);
    advance_locked(wall_ms, (unsigned)uuid.bytes[6] << 8 | uuid.bytes[7]);
    for (unsigned i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(last_ms >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)(0x70 | counter >> 8);
    uuid.bytes[7] = (uint8_t)counter;
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3f));
    *ret = uuid;
    return 0;
}

void uuid_begin_after(const struct uuid *last)
{
    uint64_t ms = 0;

    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | last->bytes[i];
    LOCK(&lock);
    if (ms < last_ms)
        return;
    last_ms = ms;
    counter = COUNTER_MAX; /* so that the next stamp is used */
}

int uuid_create(struct uuid *ret)
{
    return uuid_create_at(clock_wall_ms(), ret);
}

static bool is_dash_position(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

uint64_t uuid_stamp_ms(const struct uuid *uuid)
{
    uint64_t stamp_ms = 0;

    for (unsigned i = 0; i < 6; i++)
        stamp_ms = stamp_ms << 8 | uuid->bytes[i];
    return stamp_ms;
}

void uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
        if (is_dash_position(at))
            ret_text[at++] = '-';
        ret_text[at++] = digits[uuid->bytes[i] >> 4];
        ret_text[at++] = digits[uuid->bytes[i] & 0xf];
    }
    ret_text[at] = '\0';
}

bool uuid_parse(const char *text, struct uuid *ret)
{
    struct uuid uuid = {0};
    size_t digit = 0;

    if (strnlen(text, UUID_TEXT_SIZE) != UUID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
        if (is_dash_position(i)) {
            if (text[i] != '-')
                return false;
            continue;
        }
        int value = parse_hex_digit(text[i]);
        if (value < 0)
            return false;
        uuid.bytes[digit / 2] = (uint8_t)(uuid.bytes[digit / 2] << 4 | value);
        digit++;
    }
    *ret = uuid;
    return true;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

size_t uuid_bucket(const struct uuid *uuid, size_t buckets)
{
    uint64_t random = uuid->bytes[8] & 0x3f;

    for (size_t i = 9; i < sizeof(uuid->bytes); i++)
        random = random << 8 | uuid->bytes[i];
    return (size_t)(random % buckets);
}
