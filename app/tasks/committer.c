#include "tasks/committer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

/* What one transaction takes at the most: about so many rows of operations. */
#define BATCH_ROWS 256

/* After the disk or the memory was short. */
#define RETRY_MS     200
#define WARN_EVERY_S 10

struct queue_view {
    struct task_counts counts;
    bool is_paused;
};

struct task_committer {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t wake; /* something to do */
    pthread_cond_t idle; /* no transaction is being made */
    struct task_op_list inbox;
    bool is_busy;          /* a transaction is being made */
    uint64_t transactions; /* that have been made */
    bool is_paused;
    bool is_stopping;
    struct queue_view queues[TASK_QUEUE_MAX]; /* as of the last commit */
    struct task_counts totals;
    bool is_full[TASK_LANE_COUNT];

    /* committer's thread: */
    bool has_failed;
    bool is_last_try;       /* we are stopping: what cannot be written now is refused */
    bool is_reserve_in_use; /* the disk was full: nothing is started */
    uint64_t reserve_ns;    /* the reserve is not asked for before */
    uint64_t retry_ns;      /* no transaction before */
    uint64_t warn_ns;       /* no warning before */
    struct ledger ledger;
    struct task_counts shown; /* in the metrics */

    /* the owner's thread only: */
    bool is_open;
    bool has_thread;
    pthread_t thread;

    /* set before the thread starts, then read-only: */
    struct task_committer_config config;
};

/* ---- one transaction ---- */

static int write_changes(struct task_committer *committer, struct task_op_list *ops, struct err *err)
{
    struct ledger *ledger = &committer->ledger;
    struct task_op *op;
    int rc = 0;

    for (op = TAILQ_FIRST(ops); op; op = TAILQ_NEXT(op, in_list))
        if (op->rc == 0 && (rc = op->type->apply(ledger, op, err)) != 0)
            return rc;
    rc = ledger_start_tasks(ledger, err);
    return rc == 0 ? ledger_prune(ledger, err) : rc;
}

/* What was refused for what the transaction has seen is to be looked at again. */
static void roll_back(struct task_committer *committer, struct task_op_list *ops)
{
    struct task_op *op;

    ledger_rollback(&committer->ledger);
    for (op = TAILQ_FIRST(ops); op; op = TAILQ_NEXT(op, in_list))
        if (!op->is_refused)
            op->rc = 0;
}

/* All or nothing. */
static int try_commit(struct task_committer *committer, struct task_op_list *ops, bool may_start,
                      struct err *err)
{
    uint64_t begin_ns = clock_now_ns();
    int rc = ledger_begin(&committer->ledger, may_start, err);

    if (rc == 0)
        rc = write_changes(committer, ops, err);
    if (rc == 0)
        rc = ledger_commit(&committer->ledger, err);
    if (rc == 0)
        metric_observe(&tasks_metrics[TASK_METRIC_COMMIT_SECONDS], 0, 0, clock_now_ns() - begin_ns);
    else
        roll_back(committer, ops);
    return rc;
}

/* ---- when something is missing ---- */

static bool is_short_of_something(int rc)
{
    return rc == -ENOSPC || rc == -ENOMEM || rc == -ENOLCK;
}

/* Returns whether there is one left that has not been refused. */
static bool refuse(struct task_op_list *ops, int rc, bool even_what_must_happen)
{
    struct task_op *op;
    bool is_any_left = false;

    for (op = TAILQ_FIRST(ops); op; op = TAILQ_NEXT(op, in_list)) {
        if (!op->is_refused && (even_what_must_happen || !op->type->must_happen)) {
            op->is_refused = true;
            op->rc = rc;
        }
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

static void warn_of_shortage(struct task_committer *committer, const struct err *err)
{
    uint64_t now_ns = clock_now_ns();

    if (now_ns < committer->warn_ns)
        return;
    committer->warn_ns = now_ns + WARN_EVERY_S * NS_PER_SEC;
    log_warning("the task store is short of something", LOG_STR("error", err->text));
}

static void use_reserve(struct task_committer *committer)
{
    committer->is_reserve_in_use = true;
    committer->reserve_ns = clock_deadline_ns(clock_now_ns(), RETRY_MS);
    committer->ledger.ops->free_reserve(committer->ledger.store);
}

static void ask_for_reserve(struct task_committer *committer)
{
    uint64_t now_ns = clock_now_ns();
    struct err err = {0};

    if (now_ns < committer->reserve_ns)
        return;
    committer->reserve_ns = clock_deadline_ns(now_ns, RETRY_MS);
    int rc = committer->ledger.ops->keep_reserve(committer->ledger.store, &err);
    committer->is_reserve_in_use = rc != 0;
    if (rc == 0)
        log_info("the task store has room again");
    else if (!is_short_of_something(rc))
        give_up(committer, &err);
}

/* Until the reserve is there again nothing new is accepted: it is for what runs. */
static void restore_reserve(struct task_committer *committer, struct task_op_list *ops)
{
    if (committer->is_reserve_in_use)
        ask_for_reserve(committer);
    if (committer->is_reserve_in_use)
        refuse(ops, -ENOSPC, false);
}

/* New tasks are refused; what runs may still end. */
static int carry_out_rest(struct task_committer *committer, struct task_op_list *ops, int rc, struct err *err)
{
    warn_of_shortage(committer, err);
    committer->retry_ns = clock_deadline_ns(clock_now_ns(), RETRY_MS);
    if (rc == -ENOSPC)
        use_reserve(committer);
    if (refuse(ops, rc, false))
        rc = try_commit(committer, ops, false, err);
    if (rc != 0 && committer->is_last_try)
        refuse(ops, rc, true);
    return rc;
}

/* Whether it has been committed, but for operations that were refused.  Otherwise those that are not refused
 * are to be tried again. */
static bool carry_out(struct task_committer *committer, struct task_op_list *ops, bool may_start)
{
    struct err err = {0};
    int rc = -EIO;

    if (!committer->has_failed) {
        restore_reserve(committer, ops);
        rc = try_commit(committer, ops, may_start && !committer->is_reserve_in_use, &err);
        if (is_short_of_something(rc))
            rc = carry_out_rest(committer, ops, rc, &err);
    }
    if (rc == 0 || is_short_of_something(rc))
        return rc == 0;
    if (!committer->has_failed)
        give_up(committer, &err);
    refuse(ops, -EIO, true);
    return false;
}

/* ---- telling ---- */

static void publish_queues(struct task_committer *committer)
{
    const struct task_queues *queues = &committer->ledger.queues;

    LOCK(&committer->lock);
    committer->totals = committer->ledger.totals;
    for (unsigned lane = 0; lane < TASK_LANE_COUNT; lane++)
        committer->is_full[lane] = ledger_room(&committer->ledger, lane) == 0;
    for (size_t i = 0; i < queues->count; i++) {
        committer->queues[i].counts = queues->all[i].counts;
        committer->queues[i].is_paused = queues->all[i].is_paused;
    }
}

static void publish_metrics(struct task_committer *committer)
{
    const struct task_counts *now = &committer->ledger.totals;
    struct task_counts *shown = &committer->shown;

    metric_add(&tasks_metrics[TASK_METRIC_QUEUE_DEPTH], 0, 0,
               (int64_t)(now->by_state[TASK_STATE_QUEUED] - shown->by_state[TASK_STATE_QUEUED]));
    for (size_t state = 0; state < TASK_STATE_COUNT; state++) {
        int64_t change = (int64_t)(now->by_state[state] - shown->by_state[state]);
        if (change != 0)
            metric_add(&tasks_metrics[TASK_METRIC_TASKS], state, 0, change);
    }
    *shown = *now;
}

static void tell_stopping(struct ledger *ledger)
{
    struct task *task;

    while ((task = TAILQ_FIRST(&ledger->stopping)) != NULL) {
        TAILQ_REMOVE(&ledger->stopping, task, in_stopping);
        task->is_stopping = false;
        task_pool_stop_task(task, TASK_STOP_CANCEL);
        task_unref(task);
    }
}

static void publish(struct task_committer *committer)
{
    struct ledger *ledger = &committer->ledger;
    struct task_list started = TAILQ_HEAD_INITIALIZER(started);

    publish_queues(committer);
    publish_metrics(committer);
    ledger_take_started(ledger, &started);
    if (!TAILQ_EMPTY(&started))
        committer->config.started(committer->config.arg, &started);
    tell_stopping(ledger);
    if (ledger->event_count > 0)
        committer->config.happened(committer->config.arg, ledger->events, ledger->event_count);
    metric_add(&tasks_metrics[TASK_METRIC_EVENTS], 0, 0, (int64_t)ledger->event_count);
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

static bool has_work(struct task_committer *committer)
{
    uint64_t now_ns = clock_now_ns();

    if (committer->is_paused || committer->has_failed)
        return false;
    if (committer->is_reserve_in_use)
        return now_ns >= committer->reserve_ns;
    return ledger_has_work(&committer->ledger, now_ns, clock_wall_ms());
}

static uint64_t next_ns(const struct task_committer *committer)
{
    if (committer->is_paused || committer->has_failed)
        return CLOCK_NEVER;
    if (committer->is_reserve_in_use)
        return committer->reserve_ns;
    return ledger_next_ns(&committer->ledger, clock_now_ns(), clock_wall_ms());
}

static void take_ops_locked(struct task_committer *committer, struct task_op_list *ret_ops)
{
    struct task_op *op;

    for (size_t rows = 0; rows < BATCH_ROWS && (op = TAILQ_FIRST(&committer->inbox)) != NULL;
         rows += MAX(op->rows, (size_t)1)) {
        TAILQ_REMOVE(&committer->inbox, op, in_list);
        TAILQ_INSERT_TAIL(ret_ops, op, in_list);
    }
}

/* Waits for something to do.  False when there is nothing left and there never will be. */
static bool wait_for_work(struct task_committer *committer, struct task_op_list *ret_ops, bool *ret_may_start)
{
    LOCK(&committer->lock);
    committer->is_busy = false;
    committer->transactions++;
    pthread_cond_broadcast(&committer->idle);
    while (clock_now_ns() < committer->retry_ns && !committer->is_stopping)
        cond_wait_until(&committer->wake, &committer->lock, committer->retry_ns);
    while (TAILQ_EMPTY(&committer->inbox) && !has_work(committer)) {
        if (committer->is_stopping)
            return false;
        cond_wait_until(&committer->wake, &committer->lock, next_ns(committer));
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
        if (is_committed)
            ledger_shrink(&committer->ledger);
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
    op->rc = 0;
    op->is_refused = false;
    if (put_into_inbox(committer, op))
        return;
    op->rc = -ESHUTDOWN;
    op->done(op);
}

void task_committer_pause(struct task_committer *committer)
{
    LOCK(&committer->lock);
    committer->is_paused = true;
    uint64_t seen = committer->transactions;
    while (committer->is_busy && committer->transactions == seen)
        pthread_cond_wait(&committer->idle, &committer->lock);
}

struct ledger *task_committer_ledger(struct task_committer *committer)
{
    return &committer->ledger;
}

void task_committer_queue(struct task_committer *committer, task_queue_id queue,
                          struct task_counts *ret_counts, bool *ret_is_paused)
{
    LOCK(&committer->lock);
    *ret_counts = committer->queues[queue].counts;
    *ret_is_paused = committer->queues[queue].is_paused;
}

bool task_committer_is_full(struct task_committer *committer, unsigned lane)
{
    LOCK(&committer->lock);
    return committer->is_full[lane];
}

void task_committer_counts(struct task_committer *committer, struct task_counts *ret)
{
    LOCK(&committer->lock);
    *ret = committer->totals;
}

/* ---- from creation to the end ---- */

static int open_ledger(struct task_committer *committer, struct err *err)
{
    struct err ignored = {0};
    int rc = ledger_open(&committer->ledger, &committer->config.ledger, err);

    committer->is_open = true;
    if (rc != 0)
        return rc;
    committer->is_reserve_in_use =
        committer->ledger.ops->keep_reserve(committer->ledger.store, &ignored) != 0;
    metric_add(&tasks_metrics[TASK_METRIC_INTERRUPTED], 0, 0, (int64_t)committer->ledger.interrupted);
    publish_queues(committer);
    publish_metrics(committer);
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
    int rc = open_ledger(committer, err);
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
    if (committer->is_open) {
        committer->ledger.totals = (struct task_counts){0};
        publish_metrics(committer);
        ledger_close(&committer->ledger);
    }
    pthread_cond_destroy(&committer->idle);
    pthread_cond_destroy(&committer->wake);
    pthread_mutex_destroy(&committer->lock);
    free(committer);
}
