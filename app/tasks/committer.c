#include "tasks/committer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

/* What one transaction takes at the most: operations, and tasks that are started. */
#define BATCH_OPS    4096
#define BATCH_STARTS 1024
#define PRUNE_STEP   256

/* After the disk or the memory was short. */
#define RETRY_MS 200

/* How an operation is carried out. */
struct task_op_type {
    /* Writes the change.  0, also when it is refused, with the reason in op->rc; a negative errno value when
     * the store has failed: the transaction is rolled back, and apply may be called again in another. */
    int (*apply)(struct task_committer *committer, struct task_op *op, struct err *err);
    /* It is not refused for want of space or memory, but tried again until there is some. */
    bool must_happen;
};

struct task_committer {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t wake; /* something to do */
    pthread_cond_t idle; /* no transaction is being made */
    struct task_op_list inbox;
    struct task_counts counts; /* written by the committer's thread, which reads them without */
    bool is_busy;              /* a transaction is being made */
    bool is_paused;
    bool is_stopping;

    /* committer's thread: */
    bool has_failed;
    bool is_last_try; /* we are stopping: what cannot be written now is refused */
    bool may_start;   /* in this transaction */

    /* the owner's thread only: */
    bool has_thread;
    pthread_t thread;

    /* set before the thread starts, then read-only: */
    struct task_committer_config config;

    /* committer's thread: */
    struct task_store *store;
    uint64_t retry_ns;                 /* no transaction before */
    int64_t changes[TASK_STATE_COUNT]; /* of the counts, by this transaction */
    struct task_list starting;         /* by this transaction */
    size_t starting_count;
};

/* ---- in a transaction ---- */

/* How many there will be when it is committed. */
static uint64_t count_of(const struct task_committer *committer, enum task_state state)
{
    return committer->counts.by_state[state] + (uint64_t)committer->changes[state];
}

static uint64_t unfinished_count(const struct task_committer *committer)
{
    return count_of(committer, TASK_STATE_SCHEDULED) + count_of(committer, TASK_STATE_QUEUED) +
           count_of(committer, TASK_STATE_RUNNING);
}

static uint64_t finished_count(const struct task_committer *committer)
{
    return count_of(committer, TASK_STATE_SUCCEEDED) + count_of(committer, TASK_STATE_DEAD) +
           count_of(committer, TASK_STATE_CANCELLED);
}

/* Writes a move that the state machine allows.  -ESTALE when the task is not there any more. */
static int move(struct task_committer *committer, const struct task *task, const struct task_status *to,
                const char *result, const char *error, struct err *err)
{
    assert(task_state_can_move(task->status.state, to->state));
    int rc =
        committer->config.store->move(committer->store, &task->id, &task->status, to, result, error, err);
    if (rc == 0) {
        committer->changes[task->status.state]--;
        committer->changes[to->state]++;
    }
    return rc;
}

static bool has_room(const struct task_committer *committer)
{
    return committer->may_start && count_of(committer, TASK_STATE_RUNNING) < committer->config.max_running;
}

static const struct task_kind *find_kind(const struct task_committer *committer, const char *name)
{
    const struct task_kind *const *kind = committer->config.kinds;

    while (*kind && strcmp((*kind)->name, name) != 0)
        kind++;
    return *kind;
}

static struct task_status started(const struct task_status *status)
{
    struct task_status to = *status;

    to.state = TASK_STATE_RUNNING;
    to.run++;
    to.attempts++;
    to.started_ms = clock_wall_ms();
    return to;
}

static void add_starting(struct task_committer *committer, struct task *task)
{
    task_ref(task);
    TAILQ_INSERT_TAIL(&committer->starting, task, in_list);
    committer->starting_count++;
}

/* ---- the operations ---- */

/* A task that nothing keeps from running is accepted as running: that is one change less. */
static int apply_submit(struct task_committer *committer, struct task_op *op, struct err *err)
{
    struct task *task = op->task;

    if (unfinished_count(committer) >= committer->config.capacity) {
        op->rc = -EAGAIN;
        return 0;
    }
    bool starts = has_room(committer) && count_of(committer, TASK_STATE_QUEUED) == 0;
    task->status = (struct task_status){.state = TASK_STATE_QUEUED};
    op->to = starts ? started(&task->status) : task->status;
    task->status = op->to;
    int rc = committer->config.store->insert(committer->store, task, err);
    if (rc != 0)
        return rc;
    committer->changes[task->status.state]++;
    if (starts)
        add_starting(committer, task);
    return 0;
}

/* A task that is not in that run any more has been given up, and its end means nothing. */
static int apply_move(struct task_committer *committer, struct task_op *op, struct err *err)
{
    int rc = move(committer, op->task, &op->to, op->result, op->error, err);

    if (rc != -ESTALE)
        return rc;
    op->rc = rc;
    return 0;
}

const struct task_op_type task_op_submit = {.apply = apply_submit};
const struct task_op_type task_op_move = {.apply = apply_move, .must_happen = true};

/* ---- starting ---- */

/* Such a task can come from a newer program. */
static int bury_unknown_kind(struct task_committer *committer, const struct task *task, struct err *err)
{
    struct task_status to = task->status;

    to.state = TASK_STATE_DEAD;
    to.finished_ms = clock_wall_ms();
    log_error("a task of an unknown kind is set aside", LOG_STR("kind", task->kind_name));
    return move(committer, task, &to, NULL, "this heddle knows no such kind of task", err);
}

static int start_task(struct task_committer *committer, struct task *task, struct err *err)
{
    struct task_status to = started(&task->status);

    task->kind = find_kind(committer, task->kind_name);
    if (!task->kind)
        return bury_unknown_kind(committer, task, err);
    int rc = move(committer, task, &to, NULL, NULL, err);
    if (rc != 0)
        return rc;
    task->status = to;
    add_starting(committer, task);
    return 0;
}

/* As many as there is room for. */
static int start_queued(struct task_committer *committer, struct err *err)
{
    while (has_room(committer) && count_of(committer, TASK_STATE_QUEUED) > 0 &&
           committer->starting_count < BATCH_STARTS) {
        struct task *task = NULL;
        int rc = committer->config.store->first_queued(committer->store, &task, err);
        if (rc <= 0)
            return rc;
        rc = start_task(committer, task, err);
        task_unref(task);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- one transaction ---- */

static void begin_batch(struct task_committer *committer, bool may_start)
{
    struct task *task;

    while ((task = TAILQ_FIRST(&committer->starting)) != NULL) { /* of one that was rolled back */
        TAILQ_REMOVE(&committer->starting, task, in_list);
        task_unref(task);
    }
    committer->starting_count = 0;
    memset(committer->changes, 0, sizeof(committer->changes));
    committer->may_start = may_start;
}

static int prune(struct task_committer *committer, struct err *err)
{
    uint64_t count = finished_count(committer);
    struct task_counts pruned = {0};

    if (count <= committer->config.keep_finished)
        return 0;
    size_t step = (size_t)MIN(count - committer->config.keep_finished, PRUNE_STEP);
    int rc = committer->config.store->prune(committer->store, step, &pruned, err);
    for (size_t state = 0; rc == 0 && state < TASK_STATE_COUNT; state++)
        committer->changes[state] -= (int64_t)pruned.by_state[state];
    return rc;
}

static int write_changes(struct task_committer *committer, struct task_op_list *ops, struct err *err)
{
    struct task_op *op;
    int rc = 0;

    for (op = TAILQ_FIRST(ops); op; op = TAILQ_NEXT(op, in_list))
        if (op->rc == 0 && (rc = op->type->apply(committer, op, err)) != 0)
            return rc;
    rc = start_queued(committer, err);
    return rc == 0 ? prune(committer, err) : rc;
}

/* All or nothing. */
static int try_commit(struct task_committer *committer, struct task_op_list *ops, bool may_start,
                      struct err *err)
{
    const struct task_store_ops *store = committer->config.store;
    uint64_t begin_ns = clock_now_ns();

    begin_batch(committer, may_start);
    int rc = store->begin(committer->store, err);
    if (rc == 0)
        rc = write_changes(committer, ops, err);
    if (rc == 0)
        rc = store->commit(committer->store, err);
    if (rc == 0) {
        metric_observe(&tasks_metrics[TASK_METRIC_COMMIT_SECONDS], 0, 0, clock_now_ns() - begin_ns);
        return 0;
    }
    store->rollback(committer->store);
    begin_batch(committer, false);
    return rc;
}

static bool is_short_of_something(int rc)
{
    return rc == -ENOSPC || rc == -ENOMEM;
}

/* Returns whether there is one left that has not been refused. */
static bool refuse(struct task_op_list *ops, int rc, bool even_what_must_happen)
{
    struct task_op *op;
    bool is_any_left = false;

    for (op = TAILQ_FIRST(ops); op; op = TAILQ_NEXT(op, in_list)) {
        if (op->rc == 0 && (even_what_must_happen || !op->type->must_happen))
            op->rc = rc;
        is_any_left |= op->rc == 0;
    }
    return is_any_left;
}

static void give_up(struct task_committer *committer, const struct err *err)
{
    committer->has_failed = true;
    log_error("THE TASK STORE HAS FAILED: no task is accepted any more", LOG_STR("error", err->text));
    committer->config.failed(committer->config.arg);
}

/* Whether it has been committed, but for operations that were refused.  Otherwise those that are not refused
 * are to be tried again. */
static bool carry_out(struct task_committer *committer, struct task_op_list *ops, bool may_start)
{
    struct err err = {0};
    int rc = committer->has_failed ? -EIO : try_commit(committer, ops, may_start, &err);

    if (is_short_of_something(rc)) {
        log_warning("the task store is short of something", LOG_STR("error", err.text));
        committer->retry_ns = clock_deadline_ns(clock_now_ns(), RETRY_MS);
        if (refuse(ops, rc, false))
            rc = try_commit(committer, ops, false, &err);
        if (rc != 0 && committer->is_last_try)
            refuse(ops, rc, true);
    }
    if (rc == 0 || is_short_of_something(rc))
        return rc == 0;
    if (!committer->has_failed)
        give_up(committer, &err);
    refuse(ops, -EIO, true);
    return false;
}

/* ---- telling ---- */

static void publish_counts(struct task_committer *committer)
{
    LOCK(&committer->lock);
    for (size_t state = 0; state < TASK_STATE_COUNT; state++)
        committer->counts.by_state[state] += (uint64_t)committer->changes[state];
}

static void publish_metrics(const struct task_committer *committer)
{
    for (size_t state = 0; state < TASK_STATE_COUNT; state++)
        metric_add(&tasks_metrics[TASK_METRIC_TASKS], state, 0, committer->changes[state]);
    metric_add(&tasks_metrics[TASK_METRIC_QUEUE_DEPTH], 0, 0, committer->changes[TASK_STATE_QUEUED]);
}

static void publish(struct task_committer *committer)
{
    publish_counts(committer);
    publish_metrics(committer);
    memset(committer->changes, 0, sizeof(committer->changes));
    if (committer->starting_count > 0)
        committer->config.started(committer->config.arg, &committer->starting);
    committer->starting_count = 0;
}

/* Those that are to be tried again go back to where they came from. */
static void finish_ops(struct task_committer *committer, struct task_op_list *ops, bool is_committed)
{
    struct task_op_list again = TAILQ_HEAD_INITIALIZER(again);
    struct task_op *op;

    while ((op = TAILQ_FIRST(ops)) != NULL) {
        TAILQ_REMOVE(ops, op, in_list);
        if (is_committed || op->rc != 0)
            op->done(op);
        else
            TAILQ_INSERT_TAIL(&again, op, in_list);
    }
    LOCK(&committer->lock);
    TAILQ_CONCAT(&again, &committer->inbox, in_list);
    TAILQ_CONCAT(&committer->inbox, &again, in_list);
}

/* ---- the thread ---- */

static bool can_start_locked(const struct task_committer *committer)
{
    return !committer->is_paused && !committer->has_failed &&
           committer->counts.by_state[TASK_STATE_QUEUED] > 0 &&
           committer->counts.by_state[TASK_STATE_RUNNING] < committer->config.max_running;
}

static void take_ops_locked(struct task_committer *committer, struct task_op_list *ret_ops)
{
    struct task_op *op;

    for (size_t i = 0; i < BATCH_OPS && (op = TAILQ_FIRST(&committer->inbox)) != NULL; i++) {
        TAILQ_REMOVE(&committer->inbox, op, in_list);
        TAILQ_INSERT_TAIL(ret_ops, op, in_list);
    }
}

/* Waits for something to do.  False when there is nothing left and there never will be. */
static bool wait_for_work(struct task_committer *committer, struct task_op_list *ret_ops, bool *ret_may_start)
{
    LOCK(&committer->lock);
    committer->is_busy = false;
    pthread_cond_broadcast(&committer->idle);
    while (clock_now_ns() < committer->retry_ns && !committer->is_stopping)
        cond_wait_until(&committer->wake, &committer->lock, committer->retry_ns);
    while (TAILQ_EMPTY(&committer->inbox) && !can_start_locked(committer)) {
        if (committer->is_stopping)
            return false;
        pthread_cond_wait(&committer->wake, &committer->lock);
    }
    take_ops_locked(committer, ret_ops);
    committer->is_busy = true;
    committer->is_last_try = committer->is_stopping;
    *ret_may_start = !committer->is_paused;
    return true;
}

static void *committer_main(void *arg)
{
    struct task_committer *committer = arg;
    struct task_op_list ops = TAILQ_HEAD_INITIALIZER(ops);
    bool may_start;

    while (wait_for_work(committer, &ops, &may_start)) {
        bool is_committed = carry_out(committer, &ops, may_start);
        if (is_committed)
            publish(committer);
        finish_ops(committer, &ops, is_committed);
    }
    return NULL;
}

/* False when nobody will look there any more. */
static bool put_into_inbox(struct task_committer *committer, struct task_op *op)
{
    LOCK(&committer->lock);
    if (committer->is_stopping)
        return false;
    if (TAILQ_EMPTY(&committer->inbox))
        pthread_cond_signal(&committer->wake);
    TAILQ_INSERT_TAIL(&committer->inbox, op, in_list);
    return true;
}

void task_committer_post(struct task_committer *committer, struct task_op *op)
{
    if (put_into_inbox(committer, op))
        return;
    op->rc = -ESHUTDOWN;
    op->done(op);
}

void task_committer_pause(struct task_committer *committer)
{
    LOCK(&committer->lock);
    committer->is_paused = true;
    while (committer->is_busy)
        pthread_cond_wait(&committer->idle, &committer->lock);
}

void task_committer_counts(struct task_committer *committer, struct task_counts *ret)
{
    LOCK(&committer->lock);
    *ret = committer->counts;
}

/* ---- from creation to the end ---- */

/* A task that ran when the process ended is run again, unless that has happened too often. */
static int recover_task(struct task_committer *committer, const struct task *task, struct err *err)
{
    struct task_status to = task->status;

    to.interruptions++;
    to.attempts--;
    if (to.interruptions <= committer->config.max_interruptions) {
        to.state = TASK_STATE_QUEUED;
        return move(committer, task, &to, NULL, NULL, err);
    }
    char error[96];
    snprintf(error, sizeof(error), "interrupted %u times: the process ended while it ran", to.interruptions);
    to.state = TASK_STATE_DEAD;
    to.finished_ms = clock_wall_ms();
    return move(committer, task, &to, NULL, error, err);
}

static int recover_tasks(struct task_committer *committer, size_t *ret_count, struct err *err)
{
    struct uuid after = {0};
    int rc;

    for (*ret_count = 0;; ++*ret_count) {
        struct task *task = NULL;
        rc = committer->config.store->next_running(committer->store, &after, &task, err);
        if (rc <= 0)
            return rc;
        after = task->id;
        rc = recover_task(committer, task, err);
        task_unref(task);
        if (rc != 0)
            return rc;
    }
}

static int recover(struct task_committer *committer, struct err *err)
{
    const struct task_store_ops *store = committer->config.store;
    struct uuid greatest;
    size_t count = 0;
    int rc = store->begin(committer->store, err);

    if (rc == 0)
        rc = store->count(committer->store, &committer->counts, err);
    if (rc == 0)
        rc = store->greatest_id(committer->store, &greatest, err);
    if (rc == 0)
        rc = recover_tasks(committer, &count, err);
    if (rc == 0)
        rc = store->commit(committer->store, err);
    if (rc != 0) {
        store->rollback(committer->store);
        return rc;
    }
    for (size_t state = 0; state < TASK_STATE_COUNT; state++)
        metric_add(&tasks_metrics[TASK_METRIC_TASKS], state, 0, (int64_t)committer->counts.by_state[state]);
    metric_add(&tasks_metrics[TASK_METRIC_QUEUE_DEPTH], 0, 0,
               (int64_t)committer->counts.by_state[TASK_STATE_QUEUED]);
    metric_add(&tasks_metrics[TASK_METRIC_INTERRUPTED], 0, 0, (int64_t)count);
    publish(committer);
    uuid_begin_after(&greatest);
    if (count > 0)
        log_warning("tasks that were interrupted are run again", LOG_UINT("count", count));
    return 0;
}

int task_committer_create(const struct task_committer_config *config, struct task_committer **ret,
                          struct err *err)
{
    struct task_committer *committer = calloc(1, sizeof(*committer));

    if (!committer)
        return err_set(err, -ENOMEM, "out of memory");
    committer->config = *config;
    mutex_init(&committer->lock);
    cond_init(&committer->wake);
    cond_init(&committer->idle);
    TAILQ_INIT(&committer->inbox);
    TAILQ_INIT(&committer->starting);
    int rc = config->store->open(config->where, &committer->store, err);
    if (rc == 0)
        rc = recover(committer, err);
    if (rc != 0) {
        task_committer_free(committer);
        return rc;
    }
    *ret = committer;
    return 0;
}

int task_committer_start(struct task_committer *committer, struct err *err)
{
    int rc = thread_start(&committer->thread, "task-committer", committer_main, committer, err);

    committer->has_thread = rc == 0;
    return rc;
}

static void ask_to_stop(struct task_committer *committer)
{
    LOCK(&committer->lock);
    committer->is_paused = true;
    committer->is_stopping = true;
    pthread_cond_signal(&committer->wake);
}

void task_committer_stop(struct task_committer *committer)
{
    ask_to_stop(committer);
    if (committer->has_thread)
        thread_join(committer->thread);
    else
        committer_main(committer);
    committer->has_thread = false;
}

void task_committer_free(struct task_committer *committer)
{
    if (!committer)
        return;
    assert(!committer->has_thread && TAILQ_EMPTY(&committer->inbox));
    for (size_t state = 0; state < TASK_STATE_COUNT; state++)
        metric_add(&tasks_metrics[TASK_METRIC_TASKS], state, 0, -(int64_t)committer->counts.by_state[state]);
    metric_add(&tasks_metrics[TASK_METRIC_QUEUE_DEPTH], 0, 0,
               -(int64_t)committer->counts.by_state[TASK_STATE_QUEUED]);
    committer->config.store->close(committer->store);
    pthread_cond_destroy(&committer->idle);
    pthread_cond_destroy(&committer->wake);
    pthread_mutex_destroy(&committer->lock);
    free(committer);
}
