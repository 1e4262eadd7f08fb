/* pool.h - runs tasks that have been started: a few runner threads, and a heap for tasks that wait for a
 * time.
 *
 * How to use it: task_pool_create, _start; _push what has been started; `end` is called for each when it has
 * ended.  To end: task_pool_drain, _stop, _take_rest for those that have not, _free.
 * Threads: push from any; create, start, drain, stop, take_rest and free from one, the owner's.
 * Ownership: push takes a reference with each task, `end` gets it.
 * Invariants: a task is in at most one runner's hands; a task that waits for a time holds no thread. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/task.h"

struct task_pool;

/* What came out of a run. */
struct task_outcome {
    enum task_state state; /* succeeded, dead, or still running: then it waits */
    uint64_t wake_ns;
    char *result; /* JSON text on the heap */
    char *error;  /* on the heap; NULL when dead: memory was short */
};

/* A task has ended; takes it and the outcome's texts.  On a runner's thread; must not block. */
typedef void (*task_end_fn)(void *arg, struct task *task, struct task_outcome *outcome);

struct task_pool_config {
    unsigned runners; /* threads, at least 1 */
    size_t capacity;  /* tasks in the pool at the most, at least 1 */
    task_end_fn end;
    void *arg;
};

/* Returns 0, or -ENOMEM.  All the memory it will need is taken here. */
must_check int task_pool_create(const struct task_pool_config *config, struct task_pool **ret,
                                struct err *err);

/* Starts the runners; once only.  Returns 0, or -errno with none running.  Installs the fence's handlers. */
must_check int task_pool_start(struct task_pool *pool, struct err *err);

/* Takes started tasks, whose `kind` is set, out of the list.  Does not block. */
void task_pool_push(struct task_pool *pool, struct task_list *tasks);

/* Waits until all tasks have ended; at the latest until `deadline_ns`, and no longer than there is one that
 * could still end by then (a task that sleeps past it is not waited for).  Returns how many have not ended.
 */
size_t task_pool_drain(struct task_pool *pool, uint64_t deadline_ns);

/* Lets the runners finish the step they are in, and joins them.  Does nothing when not started or stopped
 * before. */
void task_pool_stop(struct task_pool *pool);

/* After the stop: moves the tasks that have not ended to the end of `tasks`. */
void task_pool_take_rest(struct task_pool *pool, struct task_list *tasks);

/* After the stop.  NULL is fine. */
void task_pool_free(struct task_pool *pool);
