#include "upstream/window.h"

#include <string.h>

void window_init(struct window *window, uint64_t window_ns)
{
    *window = (struct window){.slot_ns = MAX(window_ns / WINDOW_SLOTS, UINT64_C(1))};
}

void window_clear(struct window *window)
{
    memset(window->counts, 0, sizeof(window->counts));
    memset(window->sums, 0, sizeof(window->sums));
}

static void forget(struct window *window, uint32_t counts[WINDOW_COUNTERS])
{
    for (size_t i = 0; i < WINDOW_COUNTERS; i++) {
        window->sums[i] -= counts[i];
        counts[i] = 0;
    }
}

static uint32_t *newest_slot(struct window *window, uint64_t now_ns)
{
    uint64_t slot = now_ns / window->slot_ns;

    if (slot >= window->newest + WINDOW_SLOTS) {
        window_clear(window);
        window->newest = slot;
    }
    while (window->newest < slot)
        forget(window, window->counts[++window->newest % WINDOW_SLOTS]);
    return window->counts[window->newest % WINDOW_SLOTS];
}

void window_add(struct window *window, uint64_t now_ns, size_t counter, uint32_t count)
{
    newest_slot(window, now_ns)[counter] += count;
    window->sums[counter] += count;
}

uint32_t window_sum(struct window *window, uint64_t now_ns, size_t counter)
{
    newest_slot(window, now_ns);
    return window->sums[counter];
}

uint32_t window_newest(struct window *window, uint64_t now_ns, size_t counter)
{
    return newest_slot(window, now_ns)[counter];
}
