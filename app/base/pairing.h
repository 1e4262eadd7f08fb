/* pairing.h - things by the time they wait for, the earliest first: a heap without memory of its own.
 *
 * A pairing heap (Fredman et al., 1986): a tree whose nodes are not earlier than the one above them.  It is
 * for many of which most leave long before their time, from anywhere in it; heap.h has a bound, and any of
 * its operations costs the same.
 *
 * How to use it: put a struct pairing_node into what is to wait, set its due_ns, pairing_add; heap->first
 * is the earliest.  A zeroed struct pairing is an empty heap.
 * Threads: one at a time.  Ownership: the nodes are lent while they are in it.  Cost: adding is O(1),
 * removing O(log n) amortized. */
#pragma once

#include "base/common.h"

struct pairing_node {
    uint64_t due_ns; /* set by who adds it; must not change while it is in a heap */
    struct pairing_node *child;
    struct pairing_node *next;
    struct pairing_node *before; /* whose child or next this is */
};

struct pairing {
    struct pairing_node *first; /* the earliest; NULL when empty */
};

void pairing_add(struct pairing *heap, struct pairing_node *node);

/* Takes a node that is in this heap out of it. */
void pairing_remove(struct pairing *heap, struct pairing_node *node);
