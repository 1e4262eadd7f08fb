/* heap.h - tasks by the time they wait for, the earliest first: a binary heap.
 *
 * How to use it: task_heap_init with the most that it will ever hold, so that a push cannot fail.
 * Threads: one at a time (the queue's lock).  Ownership: the tasks are lent.
 * Invariants: entries[i] is not earlier than entries[(i - 1) / 2]; those of one time come in any order. */
#pragma once

#include "base/common.h"

struct task;

struct task_heap {
    struct task_heap_entry {
        uint64_t due_ns;
        struct task *task;
    } * entries;
    size_t size;
    size_t capacity;
};

/* Returns 0 or -ENOMEM. */
must_check int task_heap_init(struct task_heap *heap, size_t capacity);
void task_heap_done(struct task_heap *heap);

/* The earliest time, CLOCK_NEVER when empty. */
uint64_t task_heap_due_ns(const struct task_heap *heap);

/* O(log n); size < capacity. */
void task_heap_push(struct task_heap *heap, uint64_t due_ns, struct task *task);

/* Removes the earliest; O(log n); size > 0. */
struct task *task_heap_pop(struct task_heap *heap);
