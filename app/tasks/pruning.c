/* What need not be kept for ever: finished tasks, keys, events.  A little with each transaction, so that it
 * keeps up with what comes and nobody waits for it. */
#include "base/clock.h"
#include "tasks/ledger_int.h"

#define STEP        1024 /* tasks, keys */
#define STEP_BLOCKS 256  /* of events */

/* Tasks are forgotten in groups, which is cheaper: of so many, or of a tenth of those that are kept. */
#define GROUP 256

#define TIDY_EVERY_MS 10000

/* While there is something to give back to the disk: a MiB at a time. */
#define SHRINK_EVERY_MS 100

static int prune_tasks(struct ledger *ledger, enum task_state state, uint64_t until_ms, size_t limit,
                       struct err *err)
{
    uint64_t by_queue[TASK_QUEUE_MAX] = {0};
    int count = ledger->ops->prune(ledger->store, state, until_ms, limit, by_queue, err);

    for (size_t i = 0; count > 0 && i < ledger->queues.count; i++)
        ledger->queues.all[i].counts.by_state[state] -= by_queue[i];
    if (count > 0)
        ledger->totals.by_state[state] -= (uint64_t)count;
    return count;
}

static int prune_surplus(struct ledger *ledger, enum task_state state, uint64_t keep, struct err *err)
{
    uint64_t count = ledger->totals.by_state[state];
    uint64_t group = MIN(keep / 10 + 1, (uint64_t)GROUP);

    if (count < keep + group)
        return 0;
    return MIN(prune_tasks(ledger, state, INT64_MAX, (size_t)MIN(count - keep, (uint64_t)STEP), err), 0);
}

static int prune_events(struct ledger *ledger, struct err *err)
{
    uint64_t last = ledger->last_event + ledger->event_count;
    uint64_t keep = ledger->config.config->tasks.keep_events;

    if (last <= keep || last - keep < ledger->kept_events + GROUP)
        return 0;
    int count = ledger->ops->prune_events(ledger->store, last - keep, STEP_BLOCKS, err);
    if (count >= 0 && count < STEP_BLOCKS)
        ledger->kept_events = last - keep;
    return MIN(count, 0);
}

static int prune_aged(struct ledger *ledger, bool *ret_has_more, struct err *err)
{
    uint64_t keep_ms = ledger->config.config->tasks.keep_for_ms;
    int count = 0;

    for (int state = TASK_STATE_SUCCEEDED; count >= 0 && keep_ms > 0 && state < TASK_STATE_COUNT; state++) {
        count = prune_tasks(ledger, (enum task_state)state, ledger->now_ms - keep_ms, STEP, err);
        *ret_has_more |= count == STEP;
    }
    return MIN(count, 0);
}

static int prune_keys(struct ledger *ledger, bool *ret_has_more, struct err *err)
{
    uint64_t keep_ms = ledger->config.config->tasks.idempotency_ttl_ms;
    int count = ledger->ops->prune_keys(ledger->store, ledger->now_ms - keep_ms, STEP, err);

    *ret_has_more |= count == STEP;
    return MIN(count, 0);
}

/* What goes by age, now and then. */
static int tidy(struct ledger *ledger, struct err *err)
{
    bool has_more = false;

    if (ledger->now_ns < ledger->tidy_ns)
        return 0;
    int rc = prune_aged(ledger, &has_more, err);
    if (rc == 0)
        rc = prune_keys(ledger, &has_more, err);
    ledger->tidy_ns = clock_deadline_ns(ledger->now_ns, has_more ? 0 : TIDY_EVERY_MS);
    ledger->is_tidied = true;
    return rc;
}

void ledger_shrink(struct ledger *ledger)
{
    struct err err;

    if (!ledger->is_tidied)
        return;
    ledger->is_tidied = false;
    if (ledger->ops->shrink(ledger->store, &err) == 1)
        ledger->tidy_ns = MIN(ledger->tidy_ns, clock_deadline_ns(ledger->now_ns, SHRINK_EVERY_MS));
}

int ledger_prune(struct ledger *ledger, struct err *err)
{
    const struct config *config = ledger->config.config;
    int rc = prune_surplus(ledger, TASK_STATE_SUCCEEDED, config->tasks.keep_succeeded, err);

    if (rc == 0)
        rc = prune_surplus(ledger, TASK_STATE_DEAD, config->tasks.keep_dead, err);
    if (rc == 0)
        rc = prune_surplus(ledger, TASK_STATE_CANCELLED, config->tasks.keep_cancelled, err);
    if (rc == 0)
        rc = prune_events(ledger, err);
    return rc == 0 ? tidy(ledger, err) : rc;
}
