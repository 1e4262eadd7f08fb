/* The task queue: one lock over all tasks, and the runners that wait for something to do.
 *
 * A task that can go on is in one of two places: `runnable`, first come first served, or `waiting`, a heap by
 * time.  A runner takes whichever became ready first, so neither side can starve the other, and tasks that
 * come due together are never moved about in bulk.  While a runner has a task, the task is in neither.
 *
 * Idle runners: one of them, the leader, sleeps until the heap's earliest time; the others, the followers,
 * until they are signalled.  So ten thousand sleeping tasks wake one thread, at the moment the first is due.
 * The rule that keeps this alive is in pass_on_locked: whoever takes a task looks whether there is more to
 * do, or time to watch and nobody watching it, and wakes one other runner for that.  (Moving all due tasks
 * over at once and waking everybody was the alternative: simpler, but a burst of wake-ups for a lock that
 * only one can have.) */
#include "tasks/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tasks/heap.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

#define JSON_TEXT_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

TAILQ_HEAD(task_list, task);

struct task_queue {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t work;    /* followers: something to do, or time to watch, or stopping */
    pthread_cond_t time;    /* the leader: the earliest time has changed, or something to do, or stopping */
    pthread_cond_t settled; /* the drainer: no task is ready or in a runner's hands */
    unsigned followers;
    bool has_leader;
    unsigned busy; /* runners that have a task */
    bool draining; /* refuses new tasks */
    bool stopping; /* runners leave */
    struct task *by_id;
    struct task_list all; /* in the order of acceptance */
    struct task_list runnable;
    struct task_heap waiting;
    struct task_list finished; /* in the order of finishing */
    size_t counts[TASK_STATE_COUNT];
    size_t unfinished;
    size_t finished_count;
    size_t bytes;          /* of all tasks */
    size_t finished_bytes; /* of those that have finished: they may be forgotten */

    /* set before threads start, then read-only: */
    struct task_queue_config config;

    /* the owner's thread only: */
    unsigned runner_count; /* that have been started */
    pthread_t runners[];
};

/* -- one task -- */

static struct task *task_create(const struct task_kind *kind, const json_t *payload)
{
    size_t size = json_dumpb(payload, NULL, 0, JSON_TEXT_FLAGS);
    struct task *task = size > 0 ? calloc(1, sizeof(*task) + size + 1) : NULL;

    if (!task)
        return NULL;
    json_dumpb(payload, task->payload, size, JSON_TEXT_FLAGS);
    if (uuid_create(&task->id) != 0) {
        free(task);
        return NULL;
    }
    atomic_init(&task->refs, 1);
    task->bytes = sizeof(*task) + size + 1;
    task->kind = kind;
    task->created_ms = clock_wall_ms();
    task->accepted_ns = clock_now_ns();
    return task;
}

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

void task_unref(struct task *task)
{
    if (!task || atomic_fetch_sub_explicit(&task->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(task->result);
    free(task->error);
    free(task);
}

/* -- where tasks are: all of these with the lock held -- */

static void count_locked(struct task_queue *queue, enum task_state state, int change)
{
    queue->counts[state] += (size_t)change;
    metric_add(&tasks_metrics[TASK_METRIC_TASKS], state, 0, change);
}

/* The only place where a task's state changes. */
static void move_locked(struct task_queue *queue, struct task *task, enum task_state to)
{
    assert(task_state_can_move(task->state, to));
    count_locked(queue, task->state, -1);
    count_locked(queue, to, 1);
    task->state = to;
}

static void runnable_push_locked(struct task_queue *queue, struct task *task)
{
    TAILQ_INSERT_TAIL(&queue->runnable, task, in_list);
    metric_add(&tasks_metrics[TASK_METRIC_QUEUE_DEPTH], 0, 0, 1);
}

static void runnable_remove_locked(struct task_queue *queue, struct task *task)
{
    TAILQ_REMOVE(&queue->runnable, task, in_list);
    metric_add(&tasks_metrics[TASK_METRIC_QUEUE_DEPTH], 0, 0, -1);
}

static void waiting_push_locked(struct task_queue *queue, struct task *task, uint64_t due_ns)
{
    bool is_earliest = due_ns < task_heap_due_ns(&queue->waiting);

    task_heap_push(&queue->waiting, due_ns, task);
    metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, 1);
    if (is_earliest && queue->has_leader)
        pthread_cond_signal(&queue->time);
}

static struct task *waiting_pop_locked(struct task_queue *queue)
{
    metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, -1);
    return task_heap_pop(&queue->waiting);
}

static void forget_oldest_locked(struct task_queue *queue)
{
    struct task *oldest = TAILQ_FIRST(&queue->finished);

    assert(oldest && queue->by_id);
    queue->finished_count--;
    queue->bytes -= oldest->bytes;
    queue->finished_bytes -= oldest->bytes;
    TAILQ_REMOVE(&queue->finished, oldest, in_list);
    TAILQ_REMOVE(&queue->all, oldest, in_all);
    HASH_DEL(queue->by_id, oldest);
    count_locked(queue, oldest->state, -1);
    task_unref(oldest);
}

/* Forgets finished tasks, the oldest first, until `bytes` more fit; none when all would not be enough. */
static bool make_room_locked(struct task_queue *queue, size_t bytes)
{
    if (queue->bytes - queue->finished_bytes + bytes > queue->config.max_bytes)
        return false;
    while (queue->bytes + bytes > queue->config.max_bytes)
        forget_oldest_locked(queue);
    return true;
}

static void keep_finished_locked(struct task_queue *queue, struct task *task)
{
    TAILQ_INSERT_TAIL(&queue->finished, task, in_list);
    queue->finished_bytes += task->bytes;
    if (++queue->finished_count > queue->config.keep_finished)
        forget_oldest_locked(queue);
    make_room_locked(queue, 0);
}

/* -- submit and look -- */

static void wake_for_runnable_locked(struct task_queue *queue)
{
    if (queue->followers > 0)
        pthread_cond_signal(&queue->work);
    else if (queue->has_leader)
        pthread_cond_signal(&queue->time);
}

/* The queue's reference goes with the task on success. */
static int accept_task(struct task_queue *queue, struct task *task, struct task_view *ret)
{
    LOCK(&queue->lock);
    if (queue->draining)
        return -ESHUTDOWN;
    if (queue->unfinished >= queue->config.queue_capacity)
        return -EAGAIN;
    if (!make_room_locked(queue, task->bytes))
        return -ENOSPC;
    HASH_ADD(hh, queue->by_id, id, sizeof(task->id), task);
    if (!task->hh.tbl)
        return -ENOMEM;
    TAILQ_INSERT_TAIL(&queue->all, task, in_all);
    queue->bytes += task->bytes;
    queue->unfinished++;
    task->state = TASK_STATE_QUEUED;
    count_locked(queue, TASK_STATE_QUEUED, 1);
    runnable_push_locked(queue, task);
    wake_for_runnable_locked(queue);
    task_view_fill(task, ret);
    return 0;
}

static int refuse(const struct task_queue *queue, int rc, struct err *err)
{
    switch (rc) {
    case -EAGAIN:
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_FULL, 0, 1);
        return err_set(err, rc, "the task queue is full: %zu tasks are unfinished",
                       queue->config.queue_capacity);
    case -ENOSPC:
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_BYTES, 0, 1);
        return err_set(err, rc, "the task queue is full: its tasks have reached %zu bytes",
                       queue->config.max_bytes);
    case -ESHUTDOWN:
        metric_add(&tasks_metrics[TASK_METRIC_REJECTED], TASK_REJECTED_STOPPING, 0, 1);
        return err_set(err, rc, "the task queue takes no more tasks: the server is stopping");
    }
    return err_set(err, rc, "out of memory for a task");
}

int task_queue_submit(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                      struct task_view *ret, struct err *err)
{
    struct task *task = task_create(kind, payload);

    json_decref(payload);
    int rc = task ? accept_task(queue, task, ret) : -ENOMEM;
    if (rc != 0) {
        task_unref(task);
        return refuse(queue, rc, err);
    }
    metric_add(&tasks_metrics[TASK_METRIC_SUBMITTED], task_metric_kind(kind), 0, 1);
    return 0;
}

bool task_queue_get(struct task_queue *queue, const struct uuid *id, struct task_view *ret)
{
    struct task *task;

    LOCK(&queue->lock);
    HASH_FIND(hh, queue->by_id, id, sizeof(*id), task);
    if (task)
        task_view_fill(task, ret);
    return task != NULL;
}

size_t task_queue_list(struct task_queue *queue, size_t limit, struct task_view *ret_views)
{
    size_t count = 0;

    LOCK(&queue->lock);
    struct task *task = TAILQ_LAST(&queue->all, task_list);
    for (; task && count < limit; task = TAILQ_PREV(task, task_list, in_all))
        task_view_fill(task, &ret_views[count++]);
    return count;
}

void task_queue_counts(struct task_queue *queue, size_t ret_counts[TASK_STATE_COUNT])
{
    LOCK(&queue->lock);
    memcpy(ret_counts, queue->counts, sizeof(queue->counts));
}

/* -- the runners' side -- */

/* Of the two that could be next, the one that has been ready for longer. */
static struct task *pop_ready_locked(struct task_queue *queue, uint64_t now_ns)
{
    struct task *task = TAILQ_FIRST(&queue->runnable);
    uint64_t due_ns = task_heap_due_ns(&queue->waiting);

    if (task && task->accepted_ns <= due_ns) {
        runnable_remove_locked(queue, task);
        return task;
    }
    return due_ns <= now_ns ? waiting_pop_locked(queue) : NULL;
}

static bool is_any_ready_locked(const struct task_queue *queue, uint64_t now_ns)
{
    return !TAILQ_EMPTY(&queue->runnable) || task_heap_due_ns(&queue->waiting) <= now_ns;
}

/* A runner that leaves the idle ones with a task wakes one other when there is more to do or to watch. */
static void pass_on_locked(struct task_queue *queue, uint64_t now_ns)
{
    bool is_time_unwatched = queue->waiting.size > 0 && !queue->has_leader;

    if (is_any_ready_locked(queue, now_ns))
        wake_for_runnable_locked(queue);
    else if (is_time_unwatched && queue->followers > 0)
        pthread_cond_signal(&queue->work);
}

static void wait_as_leader_locked(struct task_queue *queue)
{
    queue->has_leader = true;
    cond_wait_until(&queue->time, &queue->lock, task_heap_due_ns(&queue->waiting));
    queue->has_leader = false;
}

static void wait_as_follower_locked(struct task_queue *queue)
{
    queue->followers++;
    pthread_cond_wait(&queue->work, &queue->lock);
    queue->followers--;
}

static void start_task_locked(struct task_queue *queue, struct task *task, uint64_t now_ns)
{
    move_locked(queue, task, TASK_STATE_RUNNING);
    task->attempts++;
    task->started_ns = now_ns;
    task->started_ms = clock_wall_ms();
    metric_observe(&tasks_metrics[TASK_METRIC_WAIT_SECONDS], 0, 0, now_ns - task->accepted_ns);
}

struct task *task_queue_take(struct task_queue *queue)
{
    LOCK(&queue->lock);
    while (!queue->stopping) {
        uint64_t now_ns = clock_now_ns();
        struct task *task = pop_ready_locked(queue, now_ns);
        if (task) {
            if (task->state == TASK_STATE_QUEUED)
                start_task_locked(queue, task, now_ns);
            queue->busy++;
            pass_on_locked(queue, now_ns);
            return task;
        }
        if (queue->waiting.size > 0 && !queue->has_leader)
            wait_as_leader_locked(queue);
        else
            wait_as_follower_locked(queue);
    }
    return NULL;
}

static void finish_locked(struct task_queue *queue, struct task *task, struct task_outcome *outcome)
{
    size_t kind = task_metric_kind(task->kind);
    size_t outcome_bytes = text_bytes(outcome->result) + text_bytes(outcome->error);

    move_locked(queue, task, outcome->state);
    task->finished_ms = clock_wall_ms();
    task->result = outcome->result;
    task->error = outcome->error;
    task->bytes += outcome_bytes;
    queue->bytes += outcome_bytes;
    queue->unfinished--;
    metric_add(&tasks_metrics[TASK_METRIC_FINISHED], kind, outcome->state, 1);
    metric_observe(&tasks_metrics[TASK_METRIC_RUN_SECONDS], kind, 0, clock_now_ns() - task->started_ns);
    keep_finished_locked(queue, task);
}

void task_queue_settle(struct task_queue *queue, struct task *task, struct task_outcome *outcome)
{
    LOCK(&queue->lock);
    if (outcome->state == TASK_STATE_RUNNING)
        waiting_push_locked(queue, task, outcome->wake_ns);
    else
        finish_locked(queue, task, outcome);
    queue->busy--;
    if (queue->draining && queue->busy == 0 && TAILQ_EMPTY(&queue->runnable))
        pthread_cond_signal(&queue->settled);
}

/* -- from creation to the end -- */

int task_queue_create(const struct task_queue_config *config, struct task_queue **ret, struct err *err)
{
    assert(config->runners > 0 && config->queue_capacity > 0 && config->max_bytes > 0);
    struct task_queue *queue = calloc(1, sizeof(*queue) + config->runners * sizeof(queue->runners[0]));
    if (!queue || task_heap_init(&queue->waiting, config->queue_capacity) != 0) {
        free(queue);
        return err_set(err, -ENOMEM, "out of memory for %zu tasks", config->queue_capacity);
    }
    queue->config = *config;
    mutex_init(&queue->lock);
    cond_init(&queue->work);
    cond_init(&queue->time);
    cond_init(&queue->settled);
    TAILQ_INIT(&queue->all);
    TAILQ_INIT(&queue->runnable);
    TAILQ_INIT(&queue->finished);
    *ret = queue;
    return 0;
}

int task_queue_start(struct task_queue *queue, struct err *err)
{
    char name[32];

    assert(queue->runner_count == 0 && !queue->stopping);
    for (unsigned i = 0; i < queue->config.runners; i++) {
        snprintf(name, sizeof(name), "task-runner-%u", i + 1);
        int rc = thread_start(&queue->runners[i], name, task_runner_main, queue, err);
        if (rc != 0) {
            task_queue_stop(queue);
            return rc;
        }
        queue->runner_count++;
    }
    return 0;
}

/* Whether one that is unfinished could be finished by then. */
static bool is_worth_waiting_locked(const struct task_queue *queue, uint64_t deadline_ns)
{
    if (queue->runner_count == 0 || queue->unfinished == 0)
        return false;
    return queue->busy > 0 || is_any_ready_locked(queue, deadline_ns);
}

size_t task_queue_drain(struct task_queue *queue, uint64_t deadline_ns)
{
    LOCK(&queue->lock);
    queue->draining = true;
    while (is_worth_waiting_locked(queue, deadline_ns))
        if (!cond_wait_until(&queue->settled, &queue->lock, deadline_ns))
            break;
    return queue->unfinished;
}

static void ask_to_stop(struct task_queue *queue)
{
    LOCK(&queue->lock);
    queue->draining = true;
    queue->stopping = true;
    pthread_cond_broadcast(&queue->work);
    pthread_cond_broadcast(&queue->time);
}

void task_queue_stop(struct task_queue *queue)
{
    ask_to_stop(queue);
    for (; queue->runner_count > 0; queue->runner_count--)
        thread_join(queue->runners[queue->runner_count - 1]);
}

/* No lock: the runners are gone, and so are the callers. */
static void free_tasks(struct task_queue *queue)
{
    struct task *task;

    while (queue->waiting.size > 0)
        waiting_pop_locked(queue);
    while ((task = TAILQ_FIRST(&queue->runnable)) != NULL)
        runnable_remove_locked(queue, task);
    HASH_CLEAR(hh, queue->by_id);
    while ((task = TAILQ_FIRST(&queue->all)) != NULL) {
        TAILQ_REMOVE(&queue->all, task, in_all);
        count_locked(queue, task->state, -1);
        task_unref(task);
    }
}

void task_queue_free(struct task_queue *queue)
{
    if (!queue)
        return;
    task_queue_stop(queue);
    free_tasks(queue);
    task_heap_done(&queue->waiting);
    pthread_cond_destroy(&queue->settled);
    pthread_cond_destroy(&queue->time);
    pthread_cond_destroy(&queue->work);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}
