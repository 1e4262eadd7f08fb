/* Accepting tasks: keys first, then each task of a submit, all in the transaction that makes them true. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tasks/engine.h"
#include "tasks/ops.h"

/* ---- idempotency keys ---- */

/* The answer that was given then. */
static void replay(struct task_submit *submit, struct task *task, const struct task_idempotent *then)
{
    struct task_submission *item = &submit->items[0];

    submit->is_replay = true;
    item->status = task->status;
    item->status.state = then->state;
    item->status.version = 1;
    item->status.run = item->status.attempts = then->state == TASK_STATE_RUNNING;
    item->status.interruptions = 0;
    item->status.started_ms = then->started_ms;
    item->status.finished_ms = 0;
    item->status.progress = 0;
    item->status.is_cancelled = false;
    free(task->error);
    task->error = NULL;
    item->existing = task;
    item->is_existing = true;
}

/* Whether the task of that id is one of those that this transaction makes. */
static bool is_new(const struct ledger *ledger, const struct task_idempotent *then)
{
    return then->batch == ledger->number;
}

/* A task that has been forgotten, as it was: the same was asked for now. */
static struct task *remake(const struct task_submit *submit, const struct uuid *id)
{
    const struct task *asked = submit->items[0].task;
    struct task *task = asked ? task_create(id, &asked->spec, uuid_stamp_ms(id)) : NULL;

    if (task)
        task->status = asked->status;
    return task;
}

/* 0: nobody has used the key (any more); 1: the submit is answered; or an error. */
static int apply_key(struct ledger *ledger, struct task_submit *submit, struct err *err)
{
    struct task_idempotent then;
    struct task *task = NULL;
    int rc = ledger->ops->find_key(ledger->store, submit->idempotency_key, &then, err);

    if (rc <= 0)
        return rc;
    if (then.at_ms + ledger->config.config->tasks.idempotency_ttl_ms <= ledger->now_ms)
        return 0;
    if (memcmp(then.request_hash, submit->request_hash, sizeof(then.request_hash)) != 0) {
        submit->op.rc = -EKEYREJECTED;
        return 1;
    }
    if (is_new(ledger, &then)) {
        submit->op.rc = -EALREADY;
        return 1;
    }
    rc = ledger->ops->find(ledger->store, &then.id, &task, err);
    if (rc == 0) {
        task = remake(submit, &then.id);
        rc = task ? 1 : err_set(err, -ENOMEM, "out of memory for a task");
    }
    if (rc > 0)
        replay(submit, task, &then);
    return rc;
}

static int keep_key(struct ledger *ledger, const struct task_submit *submit, struct err *err)
{
    const struct task *task = submit->items[0].task;

    if (!task)
        return 0;
    struct task_idempotent now = {
        .id = task->id,
        .at_ms = ledger->now_ms,
        .started_ms = task->status.started_ms,
        .state = (uint8_t)task->status.state,
        .batch = ledger->number,
    };

    memcpy(now.request_hash, submit->request_hash, sizeof(now.request_hash));
    return ledger->ops->put_key(ledger->store, submit->idempotency_key, &now, err);
}

/* ---- unique keys ---- */

static void put_in_the_way(struct task_submission *item, struct task *existing)
{
    item->existing = existing;
    item->status = existing->status;
    item->is_existing = true;
    item->rc = item->on_unique == TASK_UNIQUE_RETURN ? 0 : -EEXIST;
}

/* 0: nothing is in the way (any more); 1: something is, and the item says so; or an error. */
static int apply_unique(struct ledger *ledger, struct task_submission *item, struct err *err)
{
    struct task *existing = NULL;
    int rc = ledger->ops->find_unique(ledger->store, item->task->spec.unique_key, &existing, err);

    if (rc <= 0)
        return rc;
    if (item->on_unique != TASK_UNIQUE_REPLACE || existing->status.state == TASK_STATE_RUNNING) {
        put_in_the_way(item, existing);
        return 1;
    }
    rc = ledger_finish(ledger, existing, TASK_STATE_CANCELLED, NULL, "replaced by a newer task", err);
    task_unref(existing);
    return rc;
}

/* ---- tasks ---- */

static int apply_item(struct ledger *ledger, struct task_submission *item, struct err *err)
{
    if (ledger_unfinished(ledger) >= ledger->config.config->tasks.queue_capacity) {
        item->rc = -EAGAIN;
        return 0;
    }
    if (item->task->spec.unique_key) {
        int rc = apply_unique(ledger, item, err);
        if (rc != 0)
            return MIN(rc, 0);
    }
    int rc = ledger_insert(ledger, item->task, err);
    if (rc == 0)
        item->status = item->task->status;
    return rc;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* 1 when two of them have the same unique key. */
static int has_twins(const struct task_submit *submit, struct err *err)
{
    const char **keys = malloc((submit->count + 1) * sizeof(*keys));
    size_t count = 0;
    int rc = 0;

    if (!keys)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < submit->count; i++)
        if (submit->items[i].task && submit->items[i].task->spec.unique_key)
            keys[count++] = submit->items[i].task->spec.unique_key;
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < count; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            rc = 1;
    free(keys);
    return rc;
}

/* Whether an item would be refused, with the reason in it.  1, 0, or an error. */
static int is_refused(struct ledger *ledger, struct task_submission *item, struct err *err)
{
    struct task *existing = NULL;

    if (!item->task)
        return 1;
    if (!item->task->spec.unique_key || item->on_unique == TASK_UNIQUE_RETURN)
        return 0;
    int rc = ledger->ops->find_unique(ledger->store, item->task->spec.unique_key, &existing, err);
    if (rc <= 0)
        return rc;
    if (item->on_unique == TASK_UNIQUE_REPLACE && existing->status.state != TASK_STATE_RUNNING) {
        task_unref(existing);
        return 0;
    }
    put_in_the_way(item, existing);
    return 1;
}

/* Whether an item of an atomic submit would be refused: then all are.  1, 0, or an error. */
static int is_any_refused(struct ledger *ledger, struct task_submit *submit, struct err *err)
{
    if (ledger_unfinished(ledger) + submit->count > ledger->config.config->tasks.queue_capacity) {
        submit->op.rc = -EAGAIN;
        return 1;
    }
    int rc = has_twins(submit, err);
    if (rc != 0) {
        submit->op.rc = rc > 0 ? -EEXIST : 0;
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < submit->count; i++)
        rc = is_refused(ledger, &submit->items[i], err);
    for (size_t i = 0; rc > 0 && i < submit->count; i++)
        if (submit->items[i].rc == 0)
            submit->items[i].rc = -ECANCELED;
    return rc;
}

/* What an earlier try has left. */
static void reset(struct task_submit *submit)
{
    submit->is_replay = false;
    for (size_t i = 0; i < submit->count; i++) {
        struct task_submission *item = &submit->items[i];
        if (!item->task)
            continue;
        task_unref(item->existing);
        item->existing = NULL;
        item->is_existing = false;
        item->rc = 0;
    }
}

/* A schedule's tick is used up by the transaction that makes its task.  1: it was already. */
static int look_at_tick(struct ledger *ledger, struct task_submit *submit, struct err *err)
{
    uint64_t last_ms = 0;
    int rc = ledger->ops->find_tick(ledger->store, submit->schedule, &last_ms, err);

    if (rc <= 0 || last_ms < submit->tick_ms)
        return MIN(rc, 0);
    submit->op.rc = -ESTALE;
    return 1;
}

static int apply_submit(struct ledger *ledger, struct task_op *op, struct err *err)
{
    struct task_submit *submit = container_of(op, struct task_submit, op);
    int rc = 0;

    reset(submit);
    if (submit->idempotency_key)
        rc = apply_key(ledger, submit, err);
    if (rc == 0 && submit->schedule)
        rc = look_at_tick(ledger, submit, err);
    if (rc == 0 && submit->is_atomic)
        rc = is_any_refused(ledger, submit, err);
    if (rc != 0)
        return MIN(rc, 0);
    for (size_t i = 0; rc == 0 && i < submit->count; i++)
        if (submit->items[i].task)
            rc = apply_item(ledger, &submit->items[i], err);
    if (rc == 0 && submit->schedule && (submit->count == 0 || submit->items[0].rc == 0))
        rc = ledger->ops->put_tick(ledger->store, submit->schedule, submit->tick_ms, err);
    if (rc == 0 && submit->idempotency_key && submit->items[0].rc == 0 && !submit->items[0].is_existing)
        rc = keep_key(ledger, submit, err);
    return rc;
}

const struct task_op_type task_op_submit = {.apply = apply_submit};
