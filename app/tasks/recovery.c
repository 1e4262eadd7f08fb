/* After a crash: the row of a task that was running says so, and whoever opens the store next is its only
 * owner, so none of them can be running any more. */
#include <stdio.h>

#include "base/log.h"
#include "tasks/ledger_int.h"

#define CHUNK 256

static int keep_broken_run(struct ledger *ledger, const struct task *task, struct err *err)
{
    struct task_attempt attempt = {
        .run = task->status.run,
        .started_ms = task->status.started_ms,
        .finished_ms = ledger->now_ms,
        .was_interrupted = true,
    };

    return ledger->ops->add_attempt(ledger->store, &task->id, &attempt, err);
}

/* A rank of 0 comes before all others of its priority. */
static int requeue(struct ledger *ledger, struct task *task, struct task_status *to, struct err *err)
{
    struct task_queue *queue = &ledger->queues.all[to->queue];

    to->state = TASK_STATE_QUEUED;
    to->rank = 0;
    to->progress = 0;
    queue->may_wait[TASK_LANE_FREE] = queue->may_wait[TASK_LANE_THREAD] = true;
    return ledger_move(ledger, task, to, NULL, NULL, err);
}

static int recover_task(struct ledger *ledger, struct task *task, struct err *err)
{
    struct task_status to = task->status;
    char error[96];

    to.interruptions++;
    to.attempts--;
    int rc = keep_broken_run(ledger, task, err);
    if (rc != 0)
        return rc;
    if (!to.is_cancelled && to.interruptions <= ledger->config.config->tasks.max_interruptions)
        return requeue(ledger, task, &to, err);
    task->status.interruptions++;
    task->status.attempts--;
    if (to.is_cancelled)
        return ledger_finish(ledger, task, TASK_STATE_CANCELLED, NULL, "cancelled", err);
    snprintf(error, sizeof(error), "interrupted %u times: the process ended while it ran", to.interruptions);
    return ledger_finish(ledger, task, TASK_STATE_DEAD, NULL, error, err);
}

int ledger_recover(struct ledger *ledger, struct err *err)
{
    struct task *tasks[CHUNK];
    struct uuid after = {0};
    int count = CHUNK;
    int rc = 0;

    while (rc == 0 && count == CHUNK) {
        count = ledger->ops->running(ledger->store, &after, CHUNK, tasks, err);
        for (int i = 0; i < count; i++) {
            after = tasks[i]->id;
            if (rc == 0)
                rc = recover_task(ledger, tasks[i], err);
            task_unref(tasks[i]);
        }
        ledger->interrupted += (size_t)MAX(count, 0);
        if (count < 0)
            rc = count;
    }
    if (rc == 0 && ledger->interrupted > 0)
        log_warning("tasks that were interrupted are run again", LOG_UINT("count", ledger->interrupted));
    return rc;
}
