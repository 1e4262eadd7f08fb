/* latency.h - how long an upstream takes: a histogram of its recent successful answers.
 *
 * Buckets grow by an eighth, from 16 us to minutes, so a percentile is at most 12.5 % too high.  Every
 * LATENCY_HALF_LIFE_MS all of them are halved: what was long ago does not count any more.
 * Threads: one at a time per object.  Invariants: zeroed memory is an empty histogram. */
#pragma once

#include "base/common.h"

#define LATENCY_BUCKETS      192
#define LATENCY_HALF_LIFE_MS 10000

/* With fewer answers nothing is known. */
#define LATENCY_MIN_ANSWERS 10

struct latency {
    uint64_t halved_ns;
    float total;
    float counts[LATENCY_BUCKETS];
};

void latency_note(struct latency *latency, uint64_t now_ns, uint64_t elapsed_ns);

/* What `share` (0 to 1) of the answers did not take longer than; 0: too few are known. */
uint64_t latency_percentile_ns(const struct latency *latency, double share);
