#include "upstream/latency.h"

#include "base/clock.h"

/* An octave has 8 buckets; the first begins at 16 units of 1024 ns. */
#define UNIT_SHIFT   10
#define OCTAVE_SHIFT 3
#define FIRST_OCTAVE 4

static size_t bucket_of(uint64_t elapsed_ns)
{
    uint64_t units = elapsed_ns >> UNIT_SHIFT;

    if (units < 1 << FIRST_OCTAVE)
        return 0;
    unsigned octave = 63 - (unsigned)__builtin_clzll(units);
    size_t within = (units >> (octave - OCTAVE_SHIFT)) & ((1 << OCTAVE_SHIFT) - 1);
    return MIN((size_t)(octave - FIRST_OCTAVE) << OCTAVE_SHIFT | within, (size_t)LATENCY_BUCKETS - 1);
}

static uint64_t bucket_end_ns(size_t bucket)
{
    unsigned octave = FIRST_OCTAVE + (unsigned)(bucket >> OCTAVE_SHIFT);
    uint64_t eighths = (1 << OCTAVE_SHIFT) + (bucket & ((1 << OCTAVE_SHIFT) - 1)) + 1;

    return eighths << (octave - OCTAVE_SHIFT) << UNIT_SHIFT;
}

static void halve(struct latency *latency, uint64_t times)
{
    float factor = times < 30 ? 1.0F / (float)(UINT64_C(1) << times) : 0;

    latency->total = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        latency->counts[i] *= factor;
        if (latency->counts[i] < 0.01F)
            latency->counts[i] = 0;
        latency->total += latency->counts[i];
    }
}

static void age(struct latency *latency, uint64_t now_ns)
{
    uint64_t half_life_ns = LATENCY_HALF_LIFE_MS * NS_PER_MS;

    if (latency->halved_ns == 0)
        latency->halved_ns = now_ns;
    if (now_ns < latency->halved_ns + half_life_ns)
        return;
    uint64_t times = (now_ns - latency->halved_ns) / half_life_ns;
    halve(latency, times);
    latency->halved_ns += times * half_life_ns;
}

void latency_note(struct latency *latency, uint64_t now_ns, uint64_t elapsed_ns)
{
    age(latency, now_ns);
    latency->counts[bucket_of(elapsed_ns)] += 1;
    latency->total += 1;
}

uint64_t latency_percentile_ns(const struct latency *latency, double share)
{
    float below = 0;
    float goal = (float)share * latency->total;

    if (latency->total < LATENCY_MIN_ANSWERS)
        return 0;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        below += latency->counts[i];
        if (below >= goal && below > 0)
            return bucket_end_ns(i);
    }
    return bucket_end_ns(LATENCY_BUCKETS - 1);
}
