/* The runners' queue: one lock over the tasks that have been started, and the runners that wait for something
 * to do.
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
#include "tasks/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tasks/heap.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

struct task_pool {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t work;    /* followers: something to do, or time to watch, or stopping */
    pthread_cond_t time;    /* the leader: the earliest time has changed, or something to do, or stopping */
    pthread_cond_t settled; /* the drainer: no task is ready or in a runner's hands */
    unsigned followers;
    bool has_leader;
    unsigned busy; /* runners that have a task */
    size_t count;  /* tasks that have not ended */
    bool draining;
    bool stopping; /* runners leave */
    struct task_list runnable;
    struct task_heap waiting;

    /* set before threads start, then read-only: */
    struct task_pool_config config;

    /* the owner's thread only: */
    unsigned runner_count; /* that have been started */
    pthread_t runners[];
};

/* -- where tasks are: all of these with the lock held -- */

static void waiting_push_locked(struct task_pool *pool, struct task *task, uint64_t due_ns)
{
    bool is_earliest = due_ns < task_heap_due_ns(&pool->waiting);

    task_heap_push(&pool->waiting, due_ns, task);
    metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, 1);
    if (is_earliest && pool->has_leader)
        pthread_cond_signal(&pool->time);
}

static struct task *waiting_pop_locked(struct task_pool *pool)
{
    metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, -1);
    return task_heap_pop(&pool->waiting);
}

static struct task *runnable_pop_locked(struct task_pool *pool)
{
    struct task *task = TAILQ_FIRST(&pool->runnable);

    TAILQ_REMOVE(&pool->runnable, task, in_list);
    return task;
}

static void wake_for_runnable_locked(struct task_pool *pool)
{
    if (pool->followers > 0)
        pthread_cond_signal(&pool->work);
    else if (pool->has_leader)
        pthread_cond_signal(&pool->time);
}

void task_pool_push(struct task_pool *pool, struct task_list *tasks)
{
    uint64_t now_ns = clock_now_ns();
    struct task *task;
    size_t count = 0;

    for (task = TAILQ_FIRST(tasks); task; task = TAILQ_NEXT(task, in_list)) {
        task->ready_ns = task->started_ns = now_ns;
        count++;
    }
    LOCK(&pool->lock);
    pool->count += count;
    TAILQ_CONCAT(&pool->runnable, tasks, in_list);
    wake_for_runnable_locked(pool);
}

/* -- the runners' side -- */

/* Of the two that could be next, the one that has been ready for longer. */
static struct task *pop_ready_locked(struct task_pool *pool, uint64_t now_ns)
{
    const struct task *first = TAILQ_FIRST(&pool->runnable);
    uint64_t due_ns = task_heap_due_ns(&pool->waiting);

    if (first && first->ready_ns <= due_ns)
        return runnable_pop_locked(pool);
    return due_ns <= now_ns ? waiting_pop_locked(pool) : NULL;
}

static bool is_any_ready_locked(const struct task_pool *pool, uint64_t now_ns)
{
    return !TAILQ_EMPTY(&pool->runnable) || task_heap_due_ns(&pool->waiting) <= now_ns;
}

/* A runner that leaves the idle ones with a task wakes one other when there is more to do or to watch. */
static void pass_on_locked(struct task_pool *pool, uint64_t now_ns)
{
    bool is_time_unwatched = pool->waiting.size > 0 && !pool->has_leader;

    if (is_any_ready_locked(pool, now_ns))
        wake_for_runnable_locked(pool);
    else if (is_time_unwatched && pool->followers > 0)
        pthread_cond_signal(&pool->work);
}

static void wait_as_leader_locked(struct task_pool *pool)
{
    pool->has_leader = true;
    cond_wait_until(&pool->time, &pool->lock, task_heap_due_ns(&pool->waiting));
    pool->has_leader = false;
}

static void wait_as_follower_locked(struct task_pool *pool)
{
    pool->followers++;
    pthread_cond_wait(&pool->work, &pool->lock);
    pool->followers--;
}

struct task *task_pool_take(struct task_pool *pool)
{
    LOCK(&pool->lock);
    while (!pool->stopping) {
        uint64_t now_ns = clock_now_ns();
        struct task *task = pop_ready_locked(pool, now_ns);
        if (task) {
            pool->busy++;
            pass_on_locked(pool, now_ns);
            return task;
        }
        if (pool->waiting.size > 0 && !pool->has_leader)
            wait_as_leader_locked(pool);
        else
            wait_as_follower_locked(pool);
    }
    return NULL;
}

void task_pool_settle(struct task_pool *pool, struct task *task, struct task_outcome *outcome)
{
    if (outcome->state != TASK_STATE_RUNNING)
        pool->config.end(pool->config.arg, task, outcome);
    LOCK(&pool->lock);
    if (outcome->state == TASK_STATE_RUNNING)
        waiting_push_locked(pool, task, outcome->wake_ns);
    else
        pool->count--;
    pool->busy--;
    if (pool->draining && pool->busy == 0 && TAILQ_EMPTY(&pool->runnable))
        pthread_cond_signal(&pool->settled);
}

/* -- from creation to the end -- */

int task_pool_create(const struct task_pool_config *config, struct task_pool **ret, struct err *err)
{
    assert(config->runners > 0 && config->capacity > 0);
    struct task_pool *pool = calloc(1, sizeof(*pool) + config->runners * sizeof(pool->runners[0]));
    if (!pool || task_heap_init(&pool->waiting, config->capacity) != 0) {
        free(pool);
        return err_set(err, -ENOMEM, "out of memory for %zu tasks", config->capacity);
    }
    pool->config = *config;
    mutex_init(&pool->lock);
    cond_init(&pool->work);
    cond_init(&pool->time);
    cond_init(&pool->settled);
    TAILQ_INIT(&pool->runnable);
    *ret = pool;
    return 0;
}

int task_pool_start(struct task_pool *pool, struct err *err)
{
    char name[32];

    assert(pool->runner_count == 0 && !pool->stopping);
    for (unsigned i = 0; i < pool->config.runners; i++) {
        snprintf(name, sizeof(name), "task-runner-%u", i + 1);
        int rc = thread_start(&pool->runners[i], name, task_runner_main, pool, err);
        if (rc != 0) {
            task_pool_stop(pool);
            return rc;
        }
        pool->runner_count++;
    }
    return 0;
}

size_t task_pool_drain(struct task_pool *pool, uint64_t deadline_ns)
{
    LOCK(&pool->lock);
    pool->draining = true;
    while (pool->runner_count > 0 && (pool->busy > 0 || is_any_ready_locked(pool, deadline_ns)))
        if (!cond_wait_until(&pool->settled, &pool->lock, deadline_ns))
            break;
    return pool->count;
}

static void ask_to_stop(struct task_pool *pool)
{
    LOCK(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->time);
}

void task_pool_stop(struct task_pool *pool)
{
    ask_to_stop(pool);
    for (; pool->runner_count > 0; pool->runner_count--)
        thread_join(pool->runners[pool->runner_count - 1]);
}

void task_pool_take_rest(struct task_pool *pool, struct task_list *tasks)
{
    LOCK(&pool->lock);
    TAILQ_CONCAT(tasks, &pool->runnable, in_list);
    while (pool->waiting.size > 0) {
        struct task *task = waiting_pop_locked(pool);
        TAILQ_INSERT_TAIL(tasks, task, in_list);
    }
    pool->count = 0;
}

void task_pool_free(struct task_pool *pool)
{
    if (!pool)
        return;
    assert(pool->runner_count == 0 && TAILQ_EMPTY(&pool->runnable) && pool->waiting.size == 0);
    task_heap_done(&pool->waiting);
    pthread_cond_destroy(&pool->settled);
    pthread_cond_destroy(&pool->time);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
