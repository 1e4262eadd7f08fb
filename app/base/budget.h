/* budget.h - bytes that may be held at the same time, by one request and by all of them together.
 *
 * How to use it: budget_init with the larger one that it is a part of, or NULL; budget_take before memory is
 * used, budget_give when it is free again.
 * Threads: any.
 * Invariants: what was taken from a budget was taken from its parent as well. */
#pragma once

#include <stdatomic.h>

#include "base/common.h"

struct budget {
    struct budget *parent; /* set once */
    size_t max;            /* set once */
    atomic_size_t used;
};

void budget_init(struct budget *budget, struct budget *parent, size_t max);

/* False, and nothing is taken, when it would be more than the budget or any above it allows.  A NULL budget
 * allows everything. */
must_check bool budget_take(struct budget *budget, size_t bytes);
void budget_give(struct budget *budget, size_t bytes);
