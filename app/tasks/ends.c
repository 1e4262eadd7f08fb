/* What runs say: how far they are, and that they have ended. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tasks/ops.h"

/* From 0 to 1; nobody has to be unable to guess it. */
static double random_fraction(const struct ledger *ledger, const struct task *task)
{
    uint64_t x =
        ledger->now_ns ^ (uint64_t)task->id.bytes[15] << 56 ^ ledger->number * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
    return (double)(x >> 11) / (double)(UINT64_C(1) << 53);
}

static bool is_tried_again(const struct task *task)
{
    return !task->outcome.is_final && task->status.attempts < task->spec.max_attempts;
}

static int keep_failed_run(struct ledger *ledger, const struct task *task, struct err *err)
{
    struct task_attempt attempt = {
        .run = task->status.run,
        .started_ms = task->status.started_ms,
        .finished_ms = ledger->now_ms,
        .error = task->outcome.error,
    };

    return ledger->ops->add_attempt(ledger->store, &task->id, &attempt, err);
}

static int try_again(struct ledger *ledger, struct task *task, struct err *err)
{
    struct task_status to = task->status;
    uint64_t wait_ms = task->outcome.retry_after_ms;

    if (wait_ms == 0)
        wait_ms = task_backoff_ms(&task->spec.backoff, to.attempts, random_fraction(ledger, task));
    to.run_at_ms = ledger->now_ms + wait_ms;
    to.state = TASK_STATE_SCHEDULED;
    int rc = ledger_move(ledger, task, &to, NULL, task->outcome.error, err);
    return rc == 0 ? keep_failed_run(ledger, task, err) : rc;
}

/* It goes to where it was, before all others, and this run does not count. */
static int give_back(struct ledger *ledger, struct task *task, struct err *err)
{
    struct task_status to = task->status;

    to.attempts--;
    to.rank = 0;
    to.progress = 0;
    to.state = TASK_STATE_QUEUED;
    ledger->queues.all[to.queue].may_wait[task->kind->holds_thread ? TASK_LANE_THREAD : TASK_LANE_FREE] =
        true;
    return ledger_move(ledger, task, &to, NULL, NULL, err);
}

static int end(struct ledger *ledger, struct task *task, struct err *err)
{
    const struct task_outcome *outcome = &task->outcome;
    const char *error = outcome->error ? outcome->error : "out of memory";

    switch (outcome->type) {
    case TASK_OUTCOME_SUCCEEDED:
        return ledger_finish(ledger, task, TASK_STATE_SUCCEEDED, outcome->result, NULL, err);
    case TASK_OUTCOME_CANCELLED:
        return ledger_finish(ledger, task, TASK_STATE_CANCELLED, NULL, "cancelled", err);
    case TASK_OUTCOME_BROKEN_OFF:
        if (!task->status.is_cancelled)
            return give_back(ledger, task, err);
        return ledger_finish(ledger, task, TASK_STATE_CANCELLED, NULL, "cancelled", err);
    case TASK_OUTCOME_FAILED:
        break;
    }
    if (task->status.is_cancelled)
        return ledger_finish(ledger, task, TASK_STATE_CANCELLED, NULL, error, err);
    return is_tried_again(task) ? try_again(ledger, task, err)
                                : ledger_finish(ledger, task, TASK_STATE_DEAD, NULL, error, err);
}

/* A task that is not in that run any more has been given up, and its end means nothing. */
static int apply_end(struct ledger *ledger, struct task_op *op, struct err *err)
{
    struct task *task = container_of(op, struct task, end_op);
    int rc = end(ledger, task, err);

    if (rc == -ESTALE)
        op->rc = rc;
    return rc == -ESTALE ? 0 : rc;
}

static int apply_progress(struct ledger *ledger, struct task_op *op, struct err *err)
{
    struct task *task = container_of(op, struct task, progress_op);
    struct task_status to = task->status;

    if (to.state != TASK_STATE_RUNNING) /* it has ended meanwhile */
        return 0;
    to.progress = atomic_load(&task->progress);
    int rc = ledger_move(ledger, task, &to, NULL, NULL, err);
    if (rc == -ESTALE)
        op->rc = rc;
    return rc == -ESTALE ? 0 : rc;
}

const struct task_op_type task_op_end = {.apply = apply_end, .must_happen = true};
const struct task_op_type task_op_progress = {.apply = apply_progress};
