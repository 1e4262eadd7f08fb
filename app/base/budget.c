#include "base/budget.h"

#include <assert.h>

void budget_init(struct budget *budget, struct budget *parent, size_t max)
{
    budget->parent = parent;
    budget->max = max;
    atomic_init(&budget->used, 0);
}

static bool take_here(struct budget *budget, size_t bytes)
{
    size_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);

    do {
        if (bytes > budget->max - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void give_here(struct budget *budget, size_t bytes)
{
    size_t used = atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);

    assert(used >= bytes);
    (void)used;
}

bool budget_take(struct budget *budget, size_t bytes)
{
    for (struct budget *level = budget; level; level = level->parent) {
        if (take_here(level, bytes))
            continue;
        for (struct budget *taken = budget; taken != level; taken = taken->parent)
            give_here(taken, bytes);
        return false;
    }
    return true;
}

void budget_give(struct budget *budget, size_t bytes)
{
    for (; budget; budget = budget->parent)
        give_here(budget, bytes);
}
