/* random.h - random numbers that are quick and no secrets: ids of spans, jitter.  Whoever sees some can tell
 * the others; uuid.h has better ones.
 *
 * Threads: any; each has a generator of its own, which the system seeds at its first number. */
#pragma once

#include "base/common.h"

/* Returns 0, or -errno when the system has no random bytes for the seed. */
must_check int random_u64(uint64_t *ret);
