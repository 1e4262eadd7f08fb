/* heap.h - things by the time they wait for, the earliest first: a binary heap whose entries know their
 * place, so that any of them can be taken out.
 *
 * How to use it: put a struct heap_node into what is to wait; heap_init with the most that it will ever hold,
 * so that a push cannot fail.
 * Threads: one at a time.  Ownership: the nodes are lent while they are in it.
 * Invariants: nodes[i] is not due before nodes[(i - 1) / 2]; those of one time come in any order. */
#pragma once

#include "base/common.h"

struct heap_node {
    uint64_t due_ns;
    size_t place; /* in heap->nodes, counted from 1; 0: it is in no heap */
};

struct heap {
    struct heap_node **nodes;
    size_t size;
    size_t capacity;
};

/* Returns 0 or -ENOMEM. */
must_check int heap_init(struct heap *heap, size_t capacity);
void heap_done(struct heap *heap);

/* The earliest time, CLOCK_NEVER when empty. */
uint64_t heap_due_ns(const struct heap *heap);

/* The earliest, NULL when empty. */
struct heap_node *heap_first(const struct heap *heap);

/* O(log n); size < capacity, and the node is in no heap. */
void heap_push(struct heap *heap, uint64_t due_ns, struct heap_node *node);

/* Takes a node that is in this heap out of it; O(log n). */
void heap_remove(struct heap *heap, struct heap_node *node);

static inline bool heap_has(const struct heap_node *node)
{
    return node->place != 0;
}
