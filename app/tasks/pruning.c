/* What need not be kept for ever: finished tasks, keys, events.  A little with each transaction, so that it
 * keeps up with what comes and nobody waits for it. */
#include "base/clock.h"
#include "tasks/ledger_int.h"

#define STEP        1024 /* tasks, keys */
#define STEP_BLOCKS 256  /* of events */

/* Tasks are forgotten in groups, which is cheaper: of so many, or of a tenth of those that are kept. */
#define GROUP 256

#define TIDY_EVERY_MS 10000

static int prune_tasks(struct ledger *ledger, enum task_state state, uint64_t until_ms, size_t limit,
                       struct err *err)
{
    uint64_t by_queue[TASK_QUEUE_MAX] = {0};
    int count = ledger->ops->prune(ledger->store, state, until_ms, limit, by_queue, err);

    for (size_t i = 0; count > 0 && i < ledger->queues.count; i++)
        ledger->queues.all[i].counts.by_state[state] -= by_queue[i];
    if (count > 0)
        ledger->totals.by_state[state] -= (uint64_t)count;
    return MIN(count, 0);
}

static int prune_surplus(struct ledger *ledger, enum task_state state, uint64_t keep, struct err *err)
{
    uint64_t count = ledger->totals.by_state[state];
    uint64_t group = MIN(keep / 10 + 1, (uint64_t)GROUP);

    if (count < keep + group)
        return 0;
    return prune_tasks(ledger, state, INT64_MAX, (size_t)MIN(count - keep, (uint64_t)STEP), err);
}

static int prune_events(struct ledger *ledger, struct err *err)
{
    uint64_t last = ledger->last_event + ledger->event_count;
    uint64_t keep = ledger->config.config->tasks.keep_events;

    if (last <= keep || last - keep < ledger->kept_events + GROUP)
        return 0;
    ledger->kept_events = last - keep;
    return ledger->ops->prune_events(ledger->store, last - keep, STEP_BLOCKS, err);
}

/* What goes by age, now and then. */
static int tidy(struct ledger *ledger, struct err *err)
{
    const struct config *config = ledger->config.config;
    int rc = 0;

    if (ledger->now_ns < ledger->tidy_ns)
        return 0;
    for (int state = TASK_STATE_SUCCEEDED;
         rc == 0 && config->tasks.keep_for_ms > 0 && state < TASK_STATE_COUNT; state++)
        rc = prune_tasks(ledger, (enum task_state)state, ledger->now_ms - config->tasks.keep_for_ms, STEP,
                         err);
    if (rc == 0)
        rc = ledger->ops->prune_keys(ledger->store, ledger->now_ms - config->tasks.idempotency_ttl_ms, STEP,
                                     err);
    ledger->tidy_ns = clock_deadline_ns(ledger->now_ns, rc == STEP ? 0 : TIDY_EVERY_MS);
    return MIN(rc, 0);
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
