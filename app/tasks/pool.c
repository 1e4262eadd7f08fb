/* One lock over the tasks that have been started, and the threads that wait for something to do.
 *
 * A task that can go on is in one of two places: `runnable`, first come first served, or `timers`, a heap by
 * time.  A thread takes whichever became ready first, so neither side can starve the other, and tasks that
 * come due together are never moved about in bulk.  While a thread has a task in hand, it is in neither.  A
 * pending task waits for task_resume; it is in `timers` only for its deadline.
 *
 * Idle threads: one of them, the leader, sleeps until the heap's earliest time; the others, the followers,
 * until they are signalled.  So ten thousand sleeping tasks wake one thread, at the moment the first is due.
 * The rule that keeps this alive is in pass_on_locked: whoever takes a task looks whether there is more to
 * do, or time to watch and nobody watching it, and wakes one other thread for that.  (Moving all due tasks
 * over at once and waking everybody was the alternative: simpler, but a burst of wake-ups for a lock that
 * only one can have.) */
#include "tasks/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

LIST_HEAD(task_all, task);

struct task_pool {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t work;    /* followers: something to do, or time to watch, or stopping */
    pthread_cond_t time;    /* the leader: the earliest time has changed, or something to do, or stopping */
    pthread_cond_t settled; /* the drainer: a task has ended, or come to rest */
    unsigned followers;
    bool has_leader;
    unsigned busy;  /* threads that have a task */
    size_t count;   /* tasks that have not ended */
    size_t pending; /* of these, those that wait for task_resume */
    bool draining;
    bool stopping; /* what comes is ended at once, and when there is nothing left threads leave */
    struct task_list runnable;
    atomic_size_t backlog; /* how many these are; read by anybody */
    struct heap timers;
    struct task_all all;

    /* set before threads start, then read-only: */
    struct task_pool_config config;

    /* the owner's thread only: */
    unsigned thread_count; /* that have been started */
    struct task_thread threads[];
};

const struct task_pool_config *task_pool_config(const struct task_pool *pool)
{
    return &pool->config;
}

static struct task *task_of_timer(struct heap_node *timer)
{
    return container_of(timer, struct task, timer);
}

/* -- where tasks are: all of these with the lock held -- */

static void wake_for_runnable_locked(struct task_pool *pool)
{
    if (pool->followers > 0)
        pthread_cond_signal(&pool->work);
    else if (pool->has_leader)
        pthread_cond_signal(&pool->time);
}

static void set_timer_locked(struct task_pool *pool, struct task *task, uint64_t due_ns)
{
    bool is_earliest = due_ns < heap_due_ns(&pool->timers);

    heap_push(&pool->timers, due_ns, &task->timer);
    if (is_earliest && pool->has_leader)
        pthread_cond_signal(&pool->time);
}

static void make_runnable_locked(struct task_pool *pool, struct task *task)
{
    task->place = TASK_PLACE_RUNNABLE;
    task->ready_ns = clock_now_ns();
    TAILQ_INSERT_TAIL(&pool->runnable, task, in_list);
    atomic_fetch_add(&pool->backlog, 1);
    wake_for_runnable_locked(pool);
}

/* A task that rests goes on. */
static void wake_task_locked(struct task_pool *pool, struct task *task)
{
    if (heap_has(&task->timer))
        heap_remove(&pool->timers, &task->timer);
    if (task->place == TASK_PLACE_WAITING)
        metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, -1);
    else
        pool->pending--;
    make_runnable_locked(pool, task);
}

void task_pool_push(struct task_pool *pool, struct task_list *tasks)
{
    uint64_t now_ns = clock_now_ns();
    struct task *task;

    for (task = TAILQ_FIRST(tasks); task; task = TAILQ_NEXT(task, in_list)) {
        task->pool = pool;
        task->place = TASK_PLACE_RUNNABLE;
        task->ready_ns = task->started_ns = now_ns;
        task->attempt = task->status.attempts;
        task->deadline_ns =
            task->spec.timeout_ms ? clock_deadline_ns(now_ns, task->spec.timeout_ms) : CLOCK_NEVER;
        task->wake_ns = CLOCK_NEVER;
    }
    LOCK(&pool->lock);
    for (task = TAILQ_FIRST(tasks); task; task = TAILQ_NEXT(task, in_list)) {
        LIST_INSERT_HEAD(&pool->all, task, in_pool);
        if (pool->stopping)
            atomic_store(&task->stop, TASK_STOP_SHUTDOWN);
        pool->count++;
        atomic_fetch_add(&pool->backlog, 1);
    }
    TAILQ_CONCAT(&pool->runnable, tasks, in_list);
    wake_for_runnable_locked(pool);
}

/* -- the threads' side -- */

/* A pending task whose time is over stays where it is until task_resume, which it is asked for. */
static void abort_pending(const struct task *task)
{
    if (task->kind->abort)
        task->kind->abort(task->state);
}

/* Puts a reason in place, unless there is one. */
static bool set_stop(struct task *task, enum task_stop why)
{
    int none = TASK_STOP_NONE;

    return atomic_compare_exchange_strong(&task->stop, &none, why);
}

/* The first timer has come: a task that is to go on, or NULL when it was a pending task's deadline. */
static struct task *take_due_locked(struct task_pool *pool, uint64_t now_ns)
{
    struct task *task = task_of_timer(heap_first(&pool->timers));

    heap_remove(&pool->timers, &task->timer);
    bool is_late = now_ns >= task->deadline_ns && task->wake_ns > task->deadline_ns;
    bool is_first = is_late && set_stop(task, TASK_STOP_TIMEOUT);
    if (task->place == TASK_PLACE_PENDING) {
        if (is_first)
            abort_pending(task);
        return NULL;
    }
    metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, -1);
    return task;
}

static struct task *take_runnable_locked(struct task_pool *pool)
{
    struct task *task = TAILQ_FIRST(&pool->runnable);

    TAILQ_REMOVE(&pool->runnable, task, in_list);
    atomic_fetch_sub(&pool->backlog, 1);
    return task;
}

/* Of the two that could be next, the one that has been ready for longer. */
static struct task *take_ready_locked(struct task_pool *pool, uint64_t now_ns)
{
    struct task *task = NULL;

    while (!task) {
        const struct task *first = TAILQ_FIRST(&pool->runnable);
        uint64_t due_ns = heap_due_ns(&pool->timers);
        if (first && first->ready_ns <= due_ns)
            return take_runnable_locked(pool);
        if (due_ns > now_ns || due_ns == CLOCK_NEVER)
            return NULL;
        task = take_due_locked(pool, now_ns);
    }
    return task;
}

static bool is_any_ready_locked(const struct task_pool *pool, uint64_t now_ns)
{
    uint64_t due_ns = heap_due_ns(&pool->timers);

    return !TAILQ_EMPTY(&pool->runnable) || (due_ns <= now_ns && due_ns != CLOCK_NEVER);
}

/* A thread that leaves the idle ones with a task wakes one other when there is more to do or to watch. */
static void pass_on_locked(struct task_pool *pool, uint64_t now_ns)
{
    bool is_time_unwatched = pool->timers.size > 0 && !pool->has_leader;

    if (is_any_ready_locked(pool, now_ns))
        wake_for_runnable_locked(pool);
    else if (is_time_unwatched && pool->followers > 0)
        pthread_cond_signal(&pool->work);
}

static void wait_as_leader_locked(struct task_pool *pool)
{
    pool->has_leader = true;
    cond_wait_until(&pool->time, &pool->lock, heap_due_ns(&pool->timers));
    pool->has_leader = false;
}

static void wait_as_follower_locked(struct task_pool *pool)
{
    pool->followers++;
    pthread_cond_wait(&pool->work, &pool->lock);
    pool->followers--;
}

/* What an earlier task was told is not for the next one. */
static void give_to_thread_locked(struct task_pool *pool, struct task *task, struct task_thread *thread)
{
    eventfd_t ignored;

    pool->busy++;
    task->place = TASK_PLACE_IN_HAND;
    task->wake_ns = CLOCK_NEVER;
    task->thread = thread;
    if (thread->is_told && eventfd_read(thread->stop_fd, &ignored) == 0)
        thread->is_told = false;
}

struct task *task_pool_take(struct task_thread *thread)
{
    struct task_pool *pool = thread->pool;

    LOCK(&pool->lock);
    while (!pool->stopping || pool->count > 0) {
        uint64_t now_ns = clock_now_ns();
        struct task *task = take_ready_locked(pool, now_ns);
        if (task) {
            give_to_thread_locked(pool, task, thread);
            pass_on_locked(pool, now_ns);
            return task;
        }
        if (pool->timers.size > 0 && !pool->has_leader)
            wait_as_leader_locked(pool);
        else
            wait_as_follower_locked(pool);
    }
    return NULL;
}

static void settled_locked(struct task_pool *pool)
{
    pool->busy--;
    if (pool->draining)
        pthread_cond_signal(&pool->settled);
}

void task_pool_wait(struct task_pool *pool, struct task *task, uint64_t wake_ns)
{
    LOCK(&pool->lock);
    settled_locked(pool);
    task->thread = NULL;
    if (atomic_load(&task->stop) != TASK_STOP_NONE) {
        make_runnable_locked(pool, task);
        return;
    }
    task->place = TASK_PLACE_WAITING;
    task->wake_ns = wake_ns;
    metric_add(&tasks_metrics[TASK_METRIC_SLEEPING], 0, 0, 1);
    set_timer_locked(pool, task, MIN(wake_ns, task->deadline_ns));
}

void task_pool_pend(struct task_pool *pool, struct task *task)
{
    LOCK(&pool->lock);
    settled_locked(pool);
    task->thread = NULL;
    if (task->is_resumed) {
        task->is_resumed = false;
        make_runnable_locked(pool, task);
        return;
    }
    task->place = TASK_PLACE_PENDING;
    pool->pending++;
    if (atomic_load(&task->stop) != TASK_STOP_NONE)
        abort_pending(task);
    else if (task->deadline_ns != CLOCK_NEVER)
        set_timer_locked(pool, task, task->deadline_ns);
}

void task_pool_end(struct task_pool *pool, struct task *task, struct task_outcome *outcome)
{
    mutex_lock(&pool->lock);
    LIST_REMOVE(task, in_pool);
    task->place = TASK_PLACE_NOWHERE;
    task->thread = NULL;
    mutex_unlock(&pool->lock);
    pool->config.end(pool->config.arg, task, outcome);
    LOCK(&pool->lock);
    pool->count--;
    settled_locked(pool);
    if (!pool->stopping || pool->count > 0)
        return;
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->time);
}

void task_resume(struct task *task)
{
    struct task_pool *pool = task->pool;

    LOCK(&pool->lock);
    if (task->place == TASK_PLACE_PENDING)
        wake_task_locked(pool, task);
    else
        task->is_resumed = true;
}

/* -- ending tasks early -- */

size_t task_pool_backlog(const struct task_pool *pool)
{
    return atomic_load(&pool->backlog);
}

static void stop_task_locked(struct task_pool *pool, struct task *task, enum task_stop why)
{
    if (!set_stop(task, why))
        return;
    if (task->place == TASK_PLACE_WAITING)
        wake_task_locked(pool, task);
    else if (task->place == TASK_PLACE_PENDING)
        abort_pending(task); /* which leads to task_resume */
    else if (task->place == TASK_PLACE_IN_HAND)
        task->thread->is_told = eventfd_write(task->thread->stop_fd, 1) == 0;
}

void task_pool_stop_task(struct task *task, enum task_stop why)
{
    struct task_pool *pool = task->pool;

    LOCK(&pool->lock);
    if (task->place != TASK_PLACE_NOWHERE)
        stop_task_locked(pool, task, why);
}

static void stop_all(struct task_pool *pool)
{
    struct task *task;

    LOCK(&pool->lock);
    pool->stopping = true;
    for (task = LIST_FIRST(&pool->all); task; task = LIST_NEXT(task, in_pool))
        stop_task_locked(pool, task, TASK_STOP_SHUTDOWN);
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->time);
}

/* -- from creation to the end -- */

static int open_stop_fds(struct task_pool *pool, struct err *err)
{
    for (unsigned i = 0; i < pool->config.threads; i++)
        pool->threads[i] = (struct task_thread){.pool = pool, .stop_fd = -1};
    for (unsigned i = 0; i < pool->config.threads; i++) {
        pool->threads[i].stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pool->threads[i].stop_fd < 0)
            return err_set_errno(err, errno, "no descriptor for a thread that runs tasks");
    }
    return 0;
}

static int init(struct task_pool *pool, struct err *err)
{
    if (heap_init(&pool->timers, pool->config.capacity) != 0)
        return err_set(err, -ENOMEM, "out of memory for %zu tasks", pool->config.capacity);
    return open_stop_fds(pool, err);
}

int task_pool_create(const struct task_pool_config *config, struct task_pool **ret, struct err *err)
{
    assert(config->threads > 0 && config->capacity > 0);
    struct task_pool *pool = calloc(1, sizeof(*pool) + config->threads * sizeof(pool->threads[0]));
    if (!pool)
        return err_set(err, -ENOMEM, "out of memory");
    pool->config = *config;
    mutex_init(&pool->lock);
    cond_init(&pool->work);
    cond_init(&pool->time);
    cond_init(&pool->settled);
    TAILQ_INIT(&pool->runnable);
    for (unsigned i = 0; i < config->threads; i++)
        pool->threads[i].stop_fd = -1;
    int rc = init(pool, err);
    if (rc != 0) {
        task_pool_free(pool);
        return rc;
    }
    *ret = pool;
    return 0;
}

int task_pool_start(struct task_pool *pool, struct err *err)
{
    char name[32];

    assert(pool->thread_count == 0 && !pool->stopping);
    for (unsigned i = 0; i < pool->config.threads; i++) {
        snprintf(name, sizeof(name), "%s-%u", pool->config.name, i + 1);
        int rc = thread_start(&pool->threads[i].thread, name, task_thread_main, &pool->threads[i], err);
        if (rc != 0) {
            task_pool_stop(pool);
            return rc;
        }
        pool->thread_count++;
    }
    return 0;
}

/* Whether one of the tasks that are left may end by `deadline_ns`. */
static bool is_any_to_end_locked(const struct task_pool *pool, uint64_t deadline_ns)
{
    if (pool->busy > 0 || pool->pending > 0 || !TAILQ_EMPTY(&pool->runnable))
        return true;
    for (size_t i = 0; i < pool->timers.size; i++) {
        const struct task *task = task_of_timer(pool->timers.nodes[i]);
        if (MAX(task->timer.due_ns, task->ends_ns) <= deadline_ns)
            return true;
    }
    return false;
}

size_t task_pool_drain(struct task_pool *pool, uint64_t deadline_ns)
{
    LOCK(&pool->lock);
    pool->draining = true;
    while (pool->thread_count > 0 && is_any_to_end_locked(pool, deadline_ns))
        if (!cond_wait_until(&pool->settled, &pool->lock, deadline_ns))
            break;
    return pool->count;
}

/* Without threads of its own the owner's ends what is left. */
static void end_rest(struct task_pool *pool)
{
    if (pool->count > 0)
        task_thread_main(&pool->threads[0]);
}

void task_pool_stop(struct task_pool *pool)
{
    stop_all(pool);
    if (pool->thread_count == 0)
        end_rest(pool);
    for (; pool->thread_count > 0; pool->thread_count--)
        thread_join(pool->threads[pool->thread_count - 1].thread);
}

void task_pool_free(struct task_pool *pool)
{
    if (!pool)
        return;
    assert(pool->thread_count == 0 && pool->count == 0);
    for (unsigned i = 0; i < pool->config.threads; i++)
        if (pool->threads[i].stop_fd >= 0)
            close(pool->threads[i].stop_fd);
    heap_done(&pool->timers);
    pthread_cond_destroy(&pool->settled);
    pthread_cond_destroy(&pool->time);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
