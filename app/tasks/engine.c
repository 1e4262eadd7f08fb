/* The engine puts its parts together: the committer decides and writes, the pools run what has been started,
 * the readers look things up, the watch tells what has happened.  A task's way: submit -> committer -> pool
 * -> committer. */
#include "tasks/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "tasks/committer.h"
#include "tasks/metrics.h"
#include "tasks/ops.h"
#include "tasks/pool.h"
#include "tasks/readers.h"
#include "tasks/tasks_int.h"
#include "tasks/watch.h"

struct task_engine {
    /* set before threads start, then read-only: */
    struct task_engine_config config;
    struct task_committer *committer;
    struct task_pool *pools[TASK_LANE_COUNT]; /* steppers, runners */
    struct task_readers *readers;
    struct task_watch *watch;

    atomic_bool is_draining;

    /* the owner's thread only: */
    bool is_stopped;
};

/* ---- why something is refused ---- */

static const struct {
    int rc;
    int metric; /* -1: none */
    const char *text;
} refusals[] = {
    {-EAGAIN, TASK_REJECTED_FULL, "the task queue is full: tasks.queue_capacity tasks are unfinished"},
    {-ENOSPC, TASK_REJECTED_DISK_FULL, "the disk that keeps the tasks is full"},
    {-ESHUTDOWN, TASK_REJECTED_STOPPING, "the task queue takes no more tasks: the server is stopping"},
    {-ENOMEM, -1, "out of memory for a task"},
    {-ENOLCK, -1, "another program has locked the task store"},
    {-EKEYREJECTED, -1, "this Idempotency-Key was used for another request"},
    {-EALREADY, -1, "a request with this Idempotency-Key is being accepted"},
    {-ESTALE, -1, "the schedule has come to a later tick already"},
    {-ENOENT, -1, "there is no task with this id"},
    {-EBUSY, -1, "the task's state does not allow it"},
    {-EEXIST, -1, "an unfinished task has the same unique key"},
    {-EILSEQ, -1, "the task has changed meanwhile"},
};

static void explain_refusal(int rc, uint64_t tasks, struct err *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        if (refusals[i].rc != rc)
            continue;
        if (refusals[i].metric >= 0)
            metric_add(&tasks_metrics[TASK_METRIC_REJECTED], (size_t)refusals[i].metric, 0, (int64_t)tasks);
        err_set(ret, rc, "%s", refusals[i].text);
        return;
    }
    metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_FAILED, 0, (int64_t)tasks);
    err_set(ret, rc, "the task store has failed");
}

/* ---- submit ---- */

static void count_accepted(const struct task_submission *item)
{
    if (item->task && item->rc == 0 && !item->is_existing)
        metric_add(&tasks_metrics[TASK_METRIC_SUBMITTED], task_metric_kind(item->task->kind), 0, 1);
    else if (item->rc == -EAGAIN)
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_FULL, 0, 1);
}

/* The task that was there before is what the caller gets to see. */
static void show_existing(struct task_submission *item)
{
    if (!item->existing)
        return;
    task_unref(item->task);
    item->task = item->existing;
    item->existing = NULL;
}

static void answer_submit(struct task_submit *submit, int rc)
{
    submit->rc = rc;
    if (rc == 0 && submit->count == 1 && submit->items[0].rc == -EAGAIN)
        submit->rc = -EAGAIN;
    if (submit->rc != 0)
        explain_refusal(submit->rc, submit->count, &submit->err);
    for (size_t i = 0; i < submit->count; i++) {
        if (submit->rc == 0)
            count_accepted(&submit->items[i]);
        show_existing(&submit->items[i]);
    }
    submit->done(submit);
}

static void on_submitted(struct task_op *op)
{
    answer_submit(container_of(op, struct task_submit, op), op->rc);
}

void task_engine_submit(struct task_engine *engine, struct task_submit *submit)
{
    uint64_t now_ns = clock_now_ns();

    submit->engine = engine;
    for (size_t i = 0; i < submit->count; i++)
        if (submit->items[i].task)
            submit->items[i].task->accepted_ns = now_ns;
    if (atomic_load(&engine->is_draining)) {
        answer_submit(submit, -ESHUTDOWN);
        return;
    }
    submit->op = (struct task_op){.type = &task_op_submit, .rows = submit->count, .done = on_submitted};
    task_committer_post(engine->committer, &submit->op);
}

int task_engine_last_tick(struct task_engine *engine, const char *schedule, uint64_t *ret_ms, struct err *err)
{
    const struct ledger *ledger = task_committer_ledger(engine->committer);

    *ret_ms = 0;
    return MIN(ledger->ops->find_tick(ledger->store, schedule, ret_ms, err), 0);
}

/* ---- wishes ---- */

static void on_wish_written(struct task_op *op)
{
    struct task_wish *wish = container_of(op, struct task_wish, op);

    wish->rc = op->rc;
    if (wish->rc != 0)
        explain_refusal(wish->rc, 0, &wish->err);
    wish->done(wish);
}

/* What makes more to be done needs room; all else is wanted even when there is none. */
static bool makes_more(enum task_wish_type type)
{
    return type == TASK_WISH_RETRY || type == TASK_WISH_CHANGE;
}

void task_engine_wish(struct task_engine *engine, struct task_wish *wish)
{
    wish->engine = engine;
    wish->task = NULL;
    wish->op = (struct task_op){
        .type = makes_more(wish->type) ? &task_op_wish : &task_op_sure_wish,
        .rows = 1,
        .done = on_wish_written,
    };
    task_committer_post(engine->committer, &wish->op);
}

/* ---- between committer and pools ---- */

/* Only tasks that were accepted by this process tell how long they have waited exactly. */
static void observe_wait(const struct task *task, uint64_t now_ns)
{
    if (task->accepted_ns != 0)
        metric_observe(&tasks_metrics[TASK_METRIC_WAIT_SECONDS], 0, 0, now_ns - task->accepted_ns);
}

static void on_started(void *arg, struct task_list *tasks)
{
    struct task_engine *engine = arg;
    struct task_list lanes[TASK_LANE_COUNT];
    uint64_t now_ns = clock_now_ns();
    struct task *task;

    for (size_t i = 0; i < TASK_LANE_COUNT; i++)
        TAILQ_INIT(&lanes[i]);
    while ((task = TAILQ_FIRST(tasks)) != NULL) {
        TAILQ_REMOVE(tasks, task, in_list);
        observe_wait(task, now_ns);
        TAILQ_INSERT_TAIL(&lanes[task->kind->holds_thread ? TASK_LANE_THREAD : TASK_LANE_FREE], task,
                          in_list);
    }
    for (size_t i = 0; i < TASK_LANE_COUNT; i++)
        if (!TAILQ_EMPTY(&lanes[i]))
            task_pool_push(engine->pools[i], &lanes[i]);
}

static void count_end(const struct task *task)
{
    size_t kind = task_metric_kind(task->kind);

    metric_observe(&tasks_metrics[TASK_METRIC_RUN_SECONDS], kind, 0, clock_now_ns() - task->started_ns);
    if (task_state_is_final(task->status.state))
        metric_add(&tasks_metrics[TASK_METRIC_FINISHED], kind, task->status.state, 1);
    else if (task->status.state == TASK_STATE_SCHEDULED)
        metric_add(&tasks_metrics[TASK_METRIC_RETRIED], kind, 0, 1);
}

static void on_end_written(struct task_op *op)
{
    struct task *task = container_of(op, struct task, end_op);
    struct task_engine *engine = task->engine;

    if (op->rc == 0)
        count_end(task);
    free(task->outcome.result);
    free(task->outcome.error);
    ledger_forget_running(task_committer_ledger(engine->committer), task);
    task_unref(task);
}

static void on_ended(void *arg, struct task *task, struct task_outcome *outcome)
{
    struct task_engine *engine = arg;

    task->engine = engine;
    task->outcome = *outcome;
    task->end_op = (struct task_op){.type = &task_op_end, .rows = 1, .done = on_end_written};
    task_committer_post(engine->committer, &task->end_op);
}

static void on_progress_written(struct task_op *op)
{
    struct task *task = container_of(op, struct task, progress_op);

    atomic_store(&task->is_progress_posted, false);
    task_unref(task);
}

/* What is said while the last word is on its way goes with it, or is lost with no harm. */
static void on_progress(void *arg, struct task *task, double fraction)
{
    struct task_engine *engine = arg;

    atomic_store(&task->progress, fraction);
    if (atomic_exchange(&task->is_progress_posted, true))
        return;
    task_ref(task);
    task->progress_op = (struct task_op){.type = &task_op_progress, .rows = 1, .done = on_progress_written};
    task_committer_post(engine->committer, &task->progress_op);
}

static void on_happened(void *arg, const struct task_event *events, size_t count)
{
    struct task_engine *engine = arg;

    task_watch_publish(engine->watch, events, count);
}

static size_t backlog_of_steppers(void *arg)
{
    const struct task_engine *engine = arg;

    return task_pool_backlog(engine->pools[TASK_LANE_FREE]);
}

static void on_store_failed(void *arg)
{
    struct task_engine *engine = arg;

    if (engine->config.failed)
        engine->config.failed(engine->config.arg);
}

/* ---- questions ---- */

static int look_around(struct task_query *query, const struct task_store_ops *ops, struct task_reader *reader,
                       const struct task_kind *kind)
{
    const struct task *task = query->tasks[0];

    if (task->status.state != TASK_STATE_QUEUED)
        return 0;
    int rc = ops->position(reader, task, kind && kind->holds_thread, TASK_POSITION_MAX, &query->position,
                           &query->err);
    if (rc < 0)
        return rc;
    int count =
        ops->running_in(reader, task->status.queue, ARRAY_LEN(query->running), query->running, &query->err);
    query->running_count = (size_t)MAX(count, 0);
    return MIN(count, 0);
}

static int read_answer(struct task_query *query, const struct task_store_ops *ops, struct task_reader *reader)
{
    if (query->type == TASK_QUERY_LIST)
        return ops->list(reader, &query->filter, query->limit, query->tasks, &query->next, &query->err);
    int rc = ops->get(reader, &query->id, &query->tasks[0], &query->err);
    if (rc > 0 && query->type == TASK_QUERY_EXPLAIN) {
        const struct task_kind *kind =
            task_kind_find(query->engine->config.kinds, query->tasks[0]->spec.kind_name);
        int looked = look_around(query, ops, reader, kind);
        return looked < 0 ? looked : rc;
    }
    return rc;
}

static void answer_query(struct task_question *question, const struct task_store_ops *ops,
                         struct task_reader *reader, int rc)
{
    struct task_query *query = container_of(question, struct task_query, question);
    size_t limit = query->type == TASK_QUERY_LIST ? query->limit : 1;

    assert(limit > 0 && limit <= TASK_QUERY_LIMIT_MAX);
    query->tasks = reader ? calloc(limit, sizeof(struct task *)) : NULL;
    if (!reader)
        query->rc = err_set(&query->err, rc, "the server is stopping");
    else if (!query->tasks)
        query->rc = err_set(&query->err, -ENOMEM, "out of memory");
    else
        query->rc = read_answer(query, ops, reader);
    query->done(query);
}

void task_engine_ask(struct task_engine *engine, struct task_query *query)
{
    query->engine = engine;
    query->question.answer = answer_query;
    query->question.is_long = query->type != TASK_QUERY_GET;
    query->running_count = 0;
    query->position = 0;
    task_readers_ask(engine->readers, &query->question);
}

void task_query_done(struct task_query *query)
{
    size_t limit = query->type == TASK_QUERY_LIST ? query->limit : 1;

    for (size_t i = 0; query->tasks && i < limit; i++)
        task_unref(query->tasks[i]);
    for (size_t i = 0; i < query->running_count; i++)
        task_unref(query->running[i]);
    free(query->tasks);
    query->tasks = NULL;
    query->running_count = 0;
}

/* ---- queues ---- */

static const struct task_queues *queues_of(const struct task_engine *engine)
{
    return &task_committer_ledger(engine->committer)->queues;
}

const struct task_services *task_engine_services(const struct task_engine *engine)
{
    return engine->config.services;
}

const struct task_kind *task_engine_kind(const struct task_engine *engine, const char *name)
{
    return task_kind_find(engine->config.kinds, name);
}

int task_engine_find_queue(const struct task_engine *engine, const char *name)
{
    return task_queues_find(queues_of(engine), name);
}

const char *task_engine_queue_name(const struct task_engine *engine, task_queue_id queue)
{
    return queues_of(engine)->all[queue].name;
}

size_t task_engine_queues(struct task_engine *engine, struct task_queue_info ret[TASK_QUEUE_MAX])
{
    const struct task_queues *queues = queues_of(engine);
    size_t count = 0;

    for (size_t i = 0; i < queues->count; i++) {
        const struct task_queue *queue = &queues->all[i];
        if (!queue->is_known)
            continue;
        struct task_queue_info *info = &ret[count++];
        *info = (struct task_queue_info){
            .id = (task_queue_id)i,
            .name = queue->name,
            .concurrency = queue->concurrency,
            .rate_per_s = queue->rate_per_s,
            .weight = queue->weight,
        };
        task_committer_queue(engine->committer, info->id, &info->counts, &info->is_paused);
    }
    return count;
}

bool task_engine_is_full(struct task_engine *engine, const struct task_kind *kind)
{
    return task_committer_is_full(engine->committer, kind->holds_thread ? TASK_LANE_THREAD : TASK_LANE_FREE);
}

void task_engine_counts(struct task_engine *engine, struct task_counts *ret)
{
    task_committer_counts(engine->committer, ret);
}

/* ---- watching ---- */

void task_engine_watch(struct task_engine *engine, struct task_watcher *watcher)
{
    task_watch_add(engine->watch, watcher);
}

void task_engine_unwatch(struct task_engine *engine, struct task_watcher *watcher)
{
    task_watch_remove(engine->watch, watcher);
}

/* ---- from creation to the end ---- */

static int create_pools(struct task_engine *engine, struct err *err)
{
    const struct config *config = engine->config.services->config;
    struct task_pool_config pool = {
        .name = "task-stepper",
        .threads = config->tasks.steppers,
        .capacity = config->tasks.max_running,
        .result_max_bytes = config->tasks.max_result_bytes,
        .services = engine->config.services,
        .end = on_ended,
        .progress = on_progress,
        .arg = engine,
    };
    int rc = task_pool_create(&pool, &engine->pools[TASK_LANE_FREE], err);

    pool.name = "task-runner";
    pool.threads = config->tasks.runners;
    return rc == 0 ? task_pool_create(&pool, &engine->pools[TASK_LANE_THREAD], err) : rc;
}

static int create_parts(struct task_engine *engine, struct err *err)
{
    const struct config *config = engine->config.services->config;
    struct task_committer_config committer = {
        .ledger = {.config = config,
                   .ops = engine->config.store,
                   .where = engine->config.where,
                   .kinds = engine->config.kinds,
                   .backlog = backlog_of_steppers,
                   .backlog_arg = engine},
        .started = on_started,
        .happened = on_happened,
        .failed = on_store_failed,
        .arg = engine,
    };
    int rc = create_pools(engine, err);

    if (rc == 0)
        rc = task_committer_create(&committer, &engine->committer, err);
    if (rc == 0)
        rc = task_readers_create(engine->config.store, engine->config.where, config->tasks.readers,
                                 &engine->readers, err);
    if (rc == 0)
        rc = task_watch_create(config->tasks.max_listeners,
                               task_committer_ledger(engine->committer)->last_event, engine->readers,
                               &engine->watch, err);
    return rc;
}

int task_engine_create(const struct task_engine_config *config, struct task_engine **ret, struct err *err)
{
    struct task_engine *engine = calloc(1, sizeof(*engine));
    struct err ignored;

    if (!err)
        err = &ignored;
    if (!engine)
        return err_set(err, -ENOMEM, "out of memory for the task engine");
    engine->config = *config;
    int rc = create_parts(engine, err);
    if (rc != 0) {
        task_engine_free(engine);
        return rc;
    }
    *ret = engine;
    return 0;
}

int task_engine_start(struct task_engine *engine, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < TASK_LANE_COUNT; i++)
        rc = task_pool_start(engine->pools[i], err);
    if (rc == 0)
        rc = task_readers_start(engine->readers, err);
    if (rc == 0)
        rc = task_watch_start(engine->watch, err);
    if (rc == 0)
        rc = task_committer_start(engine->committer, err);
    if (rc != 0)
        task_engine_stop(engine);
    return rc;
}

void task_engine_pause(struct task_engine *engine)
{
    task_committer_pause(engine->committer);
}

size_t task_engine_drain(struct task_engine *engine, uint64_t deadline_ns)
{
    size_t left = 0;

    atomic_store(&engine->is_draining, true);
    task_committer_pause(engine->committer);
    for (size_t i = 0; i < TASK_LANE_COUNT; i++)
        left += task_pool_drain(engine->pools[i], deadline_ns);
    return left;
}

void task_engine_stop(struct task_engine *engine)
{
    if (engine->is_stopped)
        return;
    engine->is_stopped = true;
    /* Nothing is accepted or started any more ... */
    atomic_store(&engine->is_draining, true);
    task_committer_pause(engine->committer);
    /* ... what runs comes to an end, well or not ... */
    for (size_t i = 0; i < TASK_LANE_COUNT; i++)
        task_pool_stop(engine->pools[i]);
    /* ... all of that is written, and told, before the last ones who can be asked leave. */
    task_committer_stop(engine->committer);
    task_watch_stop(engine->watch);
    task_readers_stop(engine->readers);
}

void task_engine_free(struct task_engine *engine)
{
    if (!engine)
        return;
    if (engine->watch) /* the last part that is made */
        task_engine_stop(engine);
    task_watch_free(engine->watch);
    task_readers_free(engine->readers);
    task_committer_free(engine->committer);
    for (size_t i = 0; i < TASK_LANE_COUNT; i++)
        task_pool_free(engine->pools[i]);
    free(engine);
}
