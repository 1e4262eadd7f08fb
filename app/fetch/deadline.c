/* The fetches of a worker that have not ended, by when they time out.
 *
 * Those with the pool's time-out are a queue: who came first is the first to time out, at no cost.  Those
 * with one of their own, which come by the thousand from tasks and with any duration, are a binary heap that
 * grows; each knows its place in it, for most leave long before their time. */
#include <errno.h>
#include <stdlib.h>

#include "fetch/fetch_int.h"

#define HEAP_CAPACITY_MIN 64

uint64_t deadline_timeout_ms(const struct fetch *fetch)
{
    return fetch->timeout_ms ? fetch->timeout_ms : fetch->worker->pool->config->fetch.timeout_ms;
}

static uint64_t due_ns(const struct fetch *fetch)
{
    return clock_deadline_ns(fetch->start_ns, deadline_timeout_ms(fetch));
}

static void put(struct deadline_heap *heap, size_t i, struct fetch *fetch)
{
    heap->fetches[i] = fetch;
    fetch->heap_index = i;
}

/* Puts the fetch at the free place `i`, or further up. */
static void sift_up(struct deadline_heap *heap, size_t i, struct fetch *fetch)
{
    for (; i > 0 && due_ns(fetch) < due_ns(heap->fetches[(i - 1) / 2]); i = (i - 1) / 2)
        put(heap, i, heap->fetches[(i - 1) / 2]);
    put(heap, i, fetch);
}

/* The same, or further down. */
static void sift_down(struct deadline_heap *heap, size_t i, struct fetch *fetch)
{
    for (size_t child = 2 * i + 1; child < heap->size; child = 2 * i + 1) {
        if (child + 1 < heap->size && due_ns(heap->fetches[child + 1]) < due_ns(heap->fetches[child]))
            child++;
        if (due_ns(fetch) <= due_ns(heap->fetches[child]))
            break;
        put(heap, i, heap->fetches[child]);
        i = child;
    }
    put(heap, i, fetch);
}

static bool has_room(struct deadline_heap *heap)
{
    if (heap->size < heap->capacity)
        return true;
    size_t capacity = MAX(2 * heap->capacity, (size_t)HEAP_CAPACITY_MIN);
    struct fetch **fetches = reallocarray(heap->fetches, capacity, sizeof(fetches[0]));
    if (!fetches)
        return false;
    heap->fetches = fetches;
    heap->capacity = capacity;
    return true;
}

bool deadline_add(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;

    fetch->is_in_heap = fetch->timeout_ms > 0 && has_room(&worker->own_deadlines);
    if (fetch->is_in_heap)
        sift_up(&worker->own_deadlines, worker->own_deadlines.size++, fetch);
    else
        TAILQ_INSERT_TAIL(&worker->live, fetch, live_link);
    return fetch->is_in_heap || fetch->timeout_ms == 0;
}

static void heap_remove(struct deadline_heap *heap, size_t i)
{
    struct fetch *last = heap->fetches[--heap->size];

    if (i == heap->size)
        return;
    if (i > 0 && due_ns(last) < due_ns(heap->fetches[(i - 1) / 2]))
        sift_up(heap, i, last);
    else
        sift_down(heap, i, last);
}

void deadline_remove(struct fetch *fetch)
{
    if (fetch->is_in_heap)
        heap_remove(&fetch->worker->own_deadlines, fetch->heap_index);
    else
        TAILQ_REMOVE(&fetch->worker->live, fetch, live_link);
}

struct fetch *deadline_first(const struct fetch_worker *worker)
{
    struct fetch *oldest = TAILQ_FIRST(&worker->live);
    struct fetch *own = worker->own_deadlines.size > 0 ? worker->own_deadlines.fetches[0] : NULL;

    if (!oldest || !own)
        return oldest ? oldest : own;
    return due_ns(own) < due_ns(oldest) ? own : oldest;
}

uint64_t deadline_first_ns(const struct fetch_worker *worker)
{
    const struct fetch *first = deadline_first(worker);

    return first ? due_ns(first) : CLOCK_NEVER;
}

void deadline_trim(struct fetch_worker *worker)
{
    struct deadline_heap *heap = &worker->own_deadlines;

    if (heap->size > 0)
        return;
    free(heap->fetches);
    *heap = (struct deadline_heap){0};
}
