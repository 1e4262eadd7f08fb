/* window.h - events counted over the last while, in slots that move on with the time.
 *
 * The newest slot is not full yet, so a window covers between nine tenths and all of its time.
 * Threads: one at a time per object.  Times of different threads may come a little out of order: what is
 * older than the newest slot counts there. */
#pragma once

#include "base/common.h"

#define WINDOW_SLOTS    10
#define WINDOW_COUNTERS 3

struct window {
    uint64_t slot_ns;
    uint64_t newest; /* its number since the clock's beginning */
    uint32_t counts[WINDOW_SLOTS][WINDOW_COUNTERS];
    uint32_t sums[WINDOW_COUNTERS];
};

void window_init(struct window *window, uint64_t window_ns);
void window_clear(struct window *window);
void window_add(struct window *window, uint64_t now_ns, size_t counter, uint32_t count);

/* Of all slots. */
uint32_t window_sum(struct window *window, uint64_t now_ns, size_t counter);
/* Of the newest one. */
uint32_t window_newest(struct window *window, uint64_t now_ns, size_t counter);
