/* Changes that somebody wishes for: to a task by its id, or to a queue. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tasks/engine.h"
#include "tasks/ops.h"

static bool is_waiting(const struct task *task)
{
    return task->status.state == TASK_STATE_SCHEDULED || task->status.state == TASK_STATE_QUEUED;
}

/* What a wish does to the task that it has found: 0, also when it is refused with wish->op.rc set, or an
 * error of the store. */

static int cancel(struct ledger *ledger, struct task_wish *wish, struct task *task, struct err *err)
{
    struct task_status to = task->status;

    if (is_waiting(task))
        return ledger_finish(ledger, task, TASK_STATE_CANCELLED, NULL, "cancelled", err);
    if (task->status.state != TASK_STATE_RUNNING) {
        wish->op.rc = -EBUSY;
        return 0;
    }
    ledger_stop_task(ledger, task);
    to.is_cancelled = true;
    return ledger_move(ledger, task, &to, NULL, NULL, err);
}

static int keep_last_run(struct ledger *ledger, const struct task *task, struct err *err)
{
    struct task_attempt attempt = {
        .run = task->status.run,
        .started_ms = task->status.started_ms,
        .finished_ms = task->status.finished_ms,
        .error = task->error,
    };

    return task->status.started_ms == 0 ? 0
                                        : ledger->ops->add_attempt(ledger->store, &task->id, &attempt, err);
}

static int is_key_taken(struct ledger *ledger, const struct task *task, struct err *err)
{
    struct task *other = NULL;

    if (!task->spec.unique_key)
        return 0;
    int rc = ledger->ops->find_unique(ledger->store, task->spec.unique_key, &other, err);
    task_unref(other);
    return rc;
}

static int retry(struct ledger *ledger, struct task_wish *wish, struct task *task, struct err *err)
{
    struct task_status to = task->status;
    bool is_ready = to.state == TASK_STATE_DEAD || to.state == TASK_STATE_CANCELLED;
    int is_taken = is_ready ? is_key_taken(ledger, task, err) : 0;

    if (is_taken < 0)
        return is_taken;
    if (!is_ready || is_taken > 0) {
        wish->op.rc = is_taken > 0 ? -EEXIST : -EBUSY;
        return 0;
    }
    if (ledger_unfinished(ledger) >= ledger->config.config->tasks.queue_capacity) {
        wish->op.rc = -EAGAIN;
        return 0;
    }
    int rc = keep_last_run(ledger, task, err);
    to.run_at_ms = ledger->now_ms;
    to.attempts = to.interruptions = 0;
    to.started_ms = to.finished_ms = 0;
    to.progress = 0;
    to.is_cancelled = false;
    ledger_enqueue(ledger, task, &to);
    return rc == 0 ? ledger_move(ledger, task, &to, NULL, NULL, err) : rc;
}

static int change(struct ledger *ledger, struct task_wish *wish, struct task *task, struct err *err)
{
    struct task_status to = task->status;

    if (!is_waiting(task)) {
        wish->op.rc = -EBUSY;
        return 0;
    }
    if (wish->has_queue)
        to.queue = wish->queue;
    if (wish->has_priority)
        to.priority = wish->priority;
    if (wish->has_run_at)
        to.run_at_ms = wish->run_at_ms;
    ledger_enqueue(ledger, task, &to);
    return ledger_move(ledger, task, &to, NULL, NULL, err);
}

static int remove_task(struct ledger *ledger, struct task_wish *wish, struct task *task, struct err *err)
{
    if (task_state_is_final(task->status.state))
        return ledger_remove(ledger, task, err);
    wish->op.rc = -EBUSY;
    return 0;
}

static int pause_queue(struct ledger *ledger, const struct task_wish *wish, struct err *err)
{
    bool is_paused = wish->type == TASK_WISH_PAUSE_QUEUE;
    int rc = ledger->ops->pause_queue(ledger->store, wish->queue, is_paused, err);

    if (rc == 0)
        ledger->queues.all[wish->queue].is_paused = is_paused;
    return rc;
}

static int (*const by_type[])(struct ledger *, struct task_wish *, struct task *, struct err *) = {
    [TASK_WISH_CANCEL] = cancel,
    [TASK_WISH_RETRY] = retry,
    [TASK_WISH_CHANGE] = change,
    [TASK_WISH_REMOVE] = remove_task,
};

/* One that this transaction starts is in memory, where it is told to end, as well as in the store. */
static void prefer_starting(struct ledger *ledger, struct task **task)
{
    struct task *starting = ledger_find_starting(ledger, &(*task)->id);

    if (!starting)
        return;
    task_unref(*task);
    *task = task_ref(starting);
}

/* The task, with a reference: 1, or 0 when there is none. */
static int find(struct ledger *ledger, const struct uuid *id, struct task **ret, struct err *err)
{
    struct task *task = ledger_find_running(ledger, id);

    /* One that has ended in this transaction, or before it, is as the store has it. */
    if (task && task->status.state == TASK_STATE_RUNNING) {
        *ret = task_ref(task);
        return 1;
    }
    int rc = ledger->ops->find(ledger->store, id, ret, err);
    if (rc <= 0)
        return rc;
    (*ret)->kind = task_kind_find(ledger->config.kinds, (*ret)->spec.kind_name);
    if ((*ret)->status.state == TASK_STATE_RUNNING)
        prefer_starting(ledger, ret);
    return rc;
}

static int apply_wish(struct ledger *ledger, struct task_op *op, struct err *err)
{
    struct task_wish *wish = container_of(op, struct task_wish, op);
    struct task *task = NULL;

    if (wish->type == TASK_WISH_PAUSE_QUEUE || wish->type == TASK_WISH_RESUME_QUEUE)
        return pause_queue(ledger, wish, err);
    task_unref(wish->task); /* of an earlier try */
    wish->task = NULL;
    int rc = find(ledger, &wish->id, &task, err);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        op->rc = -ENOENT;
        return 0;
    }
    if (wish->if_version != TASK_VERSION_ANY && wish->if_version != task->status.version)
        op->rc = -EILSEQ;
    rc = op->rc == 0 ? by_type[wish->type](ledger, wish, task, err) : 0;
    wish->task = task;
    wish->status = task->status;
    return rc;
}

const struct task_op_type task_op_wish = {.apply = apply_wish};
const struct task_op_type task_op_sure_wish = {.apply = apply_wish, .must_happen = true};
