/* The queue puts its parts together: the committer decides and writes, the pool runs what has been started,
 * the readers look things up.  A task's way: submit -> committer -> pool -> committer. */
#include "tasks/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "tasks/committer.h"
#include "tasks/metrics.h"
#include "tasks/pool.h"
#include "tasks/readers.h"
#include "tasks/tasks_int.h"

#define JSON_TEXT_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

struct task_queue {
    /* set before threads start, then read-only: */
    struct task_queue_config config;
    struct task_committer *committer;
    struct task_pool *pool;
    struct task_readers *readers;

    atomic_bool is_draining;

    /* the owner's thread only: */
    bool is_stopped;
};

/* ---- submit ---- */

static void refuse(struct task_queue *queue, struct task_submit *submit, int rc)
{
    submit->rc = rc;
    switch (rc) {
    case -EAGAIN:
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_FULL, 0, 1);
        err_set(&submit->err, rc, "the task queue is full: %ju tasks are unfinished",
                (uintmax_t)queue->config.capacity);
        return;
    case -ENOSPC:
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_DISK_FULL, 0, 1);
        err_set(&submit->err, rc, "the disk that keeps the tasks is full");
        return;
    case -ESHUTDOWN:
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_STOPPING, 0, 1);
        err_set(&submit->err, rc, "the task queue takes no more tasks: the server is stopping");
        return;
    case -ENOMEM:
        err_set(&submit->err, rc, "out of memory for a task");
        return;
    }
    metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_FAILED, 0, 1);
    err_set(&submit->err, rc, "the task store has failed");
}

static void on_submitted(struct task_op *op)
{
    struct task_submit *submit = container_of(op, struct task_submit, op);

    submit->task = op->task;
    submit->status = op->to;
    if (op->rc == 0) {
        metric_add(&tasks_metrics[TASK_METRIC_SUBMITTED], task_metric_kind(op->task->kind), 0, 1);
    } else {
        task_unref(op->task);
        submit->task = NULL;
        refuse(submit->queue, submit, op->rc);
    }
    submit->done(submit);
}

static struct task *create_task(const struct task_kind *kind, const json_t *payload)
{
    struct uuid id;
    char *text = json_dumps(payload, JSON_TEXT_FLAGS);
    struct task *task = NULL;

    if (text && uuid_create(&id) == 0)
        task = task_create(&id, kind->name, text, clock_wall_ms());
    free(text);
    if (!task)
        return NULL;
    task->kind = kind;
    task->accepted_ns = clock_now_ns();
    return task;
}

void task_queue_submit(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                       struct task_submit *submit)
{
    struct task *task = create_task(kind, payload);

    json_decref(payload);
    submit->queue = queue;
    if (!task || atomic_load(&queue->is_draining)) {
        refuse(queue, submit, task ? -ESHUTDOWN : -ENOMEM);
        task_unref(task);
        submit->task = NULL;
        submit->done(submit);
        return;
    }
    submit->op = (struct task_op){.type = &task_op_submit, .task = task, .done = on_submitted};
    task_committer_post(queue->committer, &submit->op);
}

/* ---- between committer and pool ---- */

/* Only tasks that were accepted by this process tell how long they have waited exactly. */
static void observe_wait(const struct task *task, uint64_t now_ns)
{
    if (task->accepted_ns != 0)
        metric_observe(&tasks_metrics[TASK_METRIC_WAIT_SECONDS], 0, 0, now_ns - task->accepted_ns);
}

static void on_started(void *arg, struct task_list *tasks)
{
    struct task_queue *queue = arg;
    uint64_t now_ns = clock_now_ns();
    const struct task *task;

    for (task = TAILQ_FIRST(tasks); task; task = TAILQ_NEXT(task, in_list))
        observe_wait(task, now_ns);
    task_pool_push(queue->pool, tasks);
}

static void release(struct task_op *op)
{
    free(op->result);
    free(op->error);
    task_unref(op->task); /* which the operation is a part of */
}

static void on_end_written(struct task_op *op)
{
    size_t kind = task_metric_kind(op->task->kind);

    if (op->rc == 0) {
        metric_add(&tasks_metrics[TASK_METRIC_FINISHED], kind, op->to.state, 1);
        metric_observe(&tasks_metrics[TASK_METRIC_RUN_SECONDS], kind, 0,
                       clock_now_ns() - op->task->started_ns);
    }
    release(op);
}

static void on_ended(void *arg, struct task *task, struct task_outcome *outcome)
{
    struct task_queue *queue = arg;
    struct task_status to = task->status;

    to.state = outcome->state;
    to.finished_ms = clock_wall_ms();
    task->end = (struct task_op){.type = &task_op_move,
                                 .task = task,
                                 .to = to,
                                 .result = outcome->result,
                                 .error = outcome->error,
                                 .done = on_end_written};
    task_committer_post(queue->committer, &task->end);
}

/* It is run another time, and this run does not count. */
static void give_back(struct task_queue *queue, struct task *task)
{
    struct task_status to = task->status;

    to.state = TASK_STATE_QUEUED;
    to.attempts--;
    task->end = (struct task_op){.type = &task_op_move, .task = task, .to = to, .done = release};
    task_committer_post(queue->committer, &task->end);
}

/* ---- looking ---- */

void task_queue_get(struct task_queue *queue, const struct uuid *id, struct task_query *query)
{
    query->id = *id;
    query->limit = 0;
    task_readers_ask(queue->readers, query);
}

void task_queue_list(struct task_queue *queue, size_t limit, struct task_query *query)
{
    assert(limit > 0 && limit <= TASK_QUERY_LIMIT_MAX);
    query->limit = limit;
    task_readers_ask(queue->readers, query);
}

void task_queue_counts(struct task_queue *queue, struct task_counts *ret)
{
    task_committer_counts(queue->committer, ret);
}

/* ---- from creation to the end ---- */

static void on_store_failed(void *arg)
{
    struct task_queue *queue = arg;

    if (queue->config.failed)
        queue->config.failed(queue->config.arg);
}

static int create_parts(struct task_queue *queue, struct err *err)
{
    const struct task_queue_config *config = &queue->config;
    struct task_committer_config committer = {
        .store = config->store,
        .where = config->where,
        .kinds = config->kinds,
        .max_running = config->max_running,
        .capacity = config->capacity,
        .keep_finished = config->keep_finished,
        .max_interruptions = config->max_interruptions,
        .started = on_started,
        .failed = on_store_failed,
        .arg = queue,
    };
    struct task_pool_config pool = {
        .runners = config->runners, .capacity = config->max_running, .end = on_ended, .arg = queue};
    int rc = task_pool_create(&pool, &queue->pool, err);

    if (rc == 0)
        rc = task_committer_create(&committer, &queue->committer, err);
    if (rc == 0)
        rc = task_readers_create(config->store, config->where, config->readers, &queue->readers, err);
    return rc;
}

int task_queue_create(const struct task_queue_config *config, struct task_queue **ret, struct err *err)
{
    struct task_queue *queue = calloc(1, sizeof(*queue));
    struct err ignored;

    if (!err)
        err = &ignored;
    if (!queue)
        return err_set(err, -ENOMEM, "out of memory for the task queue");
    queue->config = *config;
    int rc = create_parts(queue, err);
    if (rc != 0) {
        task_queue_free(queue);
        return rc;
    }
    *ret = queue;
    return 0;
}

int task_queue_start(struct task_queue *queue, struct err *err)
{
    int rc = task_pool_start(queue->pool, err);

    if (rc == 0)
        rc = task_readers_start(queue->readers, err);
    if (rc == 0)
        rc = task_committer_start(queue->committer, err);
    if (rc != 0)
        task_queue_stop(queue);
    return rc;
}

size_t task_queue_drain(struct task_queue *queue, uint64_t deadline_ns)
{
    atomic_store(&queue->is_draining, true);
    task_committer_pause(queue->committer);
    return task_pool_drain(queue->pool, deadline_ns);
}

static void give_back_rest(struct task_queue *queue)
{
    struct task_list rest = TAILQ_HEAD_INITIALIZER(rest);
    struct task *task;

    task_pool_take_rest(queue->pool, &rest);
    while ((task = TAILQ_FIRST(&rest)) != NULL) {
        TAILQ_REMOVE(&rest, task, in_list);
        give_back(queue, task);
    }
}

void task_queue_stop(struct task_queue *queue)
{
    if (queue->is_stopped)
        return;
    queue->is_stopped = true;
    /* Nothing is accepted or started any more ... */
    atomic_store(&queue->is_draining, true);
    task_committer_pause(queue->committer);
    /* ... what runs comes to the end of its step, or of itself ... */
    task_pool_stop(queue->pool);
    give_back_rest(queue);
    /* ... and all of that is written before the last ones who can be asked leave. */
    task_committer_stop(queue->committer);
    task_readers_stop(queue->readers);
}

void task_queue_free(struct task_queue *queue)
{
    if (!queue)
        return;
    if (queue->readers) /* the last part that is made */
        task_queue_stop(queue);
    task_readers_free(queue->readers);
    task_committer_free(queue->committer);
    task_pool_free(queue->pool);
    free(queue);
}
