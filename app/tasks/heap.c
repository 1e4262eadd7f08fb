#include "tasks/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

int task_heap_init(struct task_heap *heap, size_t capacity)
{
    struct task_heap_entry *entries = calloc(capacity, sizeof(*entries));

    if (!entries)
        return -ENOMEM;
    *heap = (struct task_heap){.entries = entries, .capacity = capacity};
    return 0;
}

void task_heap_done(struct task_heap *heap)
{
    free(heap->entries);
    *heap = (struct task_heap){0};
}

uint64_t task_heap_due_ns(const struct task_heap *heap)
{
    return heap->size > 0 ? heap->entries[0].due_ns : CLOCK_NEVER;
}

void task_heap_push(struct task_heap *heap, uint64_t due_ns, struct task *task)
{
    assert(heap->size < heap->capacity);
    size_t i = heap->size++;
    for (; i > 0; i = (i - 1) / 2) {
        const struct task_heap_entry *parent = &heap->entries[(i - 1) / 2];
        if (parent->due_ns <= due_ns)
            break;
        heap->entries[i] = *parent;
    }
    heap->entries[i] = (struct task_heap_entry){due_ns, task};
}

struct task *task_heap_pop(struct task_heap *heap)
{
    assert(heap->size > 0);
    struct task *earliest = heap->entries[0].task;
    struct task_heap_entry last = heap->entries[--heap->size];
    size_t i = 0;
    for (size_t child = 1; child < heap->size; child = 2 * i + 1) {
        if (child + 1 < heap->size && heap->entries[child + 1].due_ns < heap->entries[child].due_ns)
            child++;
        if (last.due_ns <= heap->entries[child].due_ns)
            break;
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    heap->entries[i] = last;
    return earliest;
}
