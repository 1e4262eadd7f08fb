/* pool.h - runs tasks that have been started: a few threads, and a heap for tasks that wait for a time.
 *
 * Two pools are in use: the runners, for kinds that hold a thread, and the steppers, for all others.
 *
 * How to use it: task_pool_create, _start; _push what has been started; `end` is called for each when its run
 * has ended, one way or another.  task_pool_stop_task ends one early.  To end: task_pool_drain, then _stop,
 * in which everything that is left comes to its `end` as well; _free.
 * Threads: push, stop_task and task_resume from any; the others from one, the owner's.
 * Ownership: push takes a reference with each task, `end` gets it.
 * Invariants: a task is in at most one thread's hands; a task that waits holds no thread. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/task.h"

struct task_pool;

struct task_pool_config {
    const char *name;        /* of the threads: "task-runner" */
    unsigned threads;        /* at least 1 */
    size_t capacity;         /* tasks in the pool at the most, at least 1 */
    size_t result_max_bytes; /* a longer result is an error */
    const struct task_services *services;

    /* A run has ended; takes the task and the outcome's texts.  On a thread of the pool's; must not block. */
    void (*end)(void *arg, struct task *task, struct task_outcome *outcome);
    /* A task says how far it is.  Any thread; must not block. */
    void (*progress)(void *arg, struct task *task, double fraction);
    void *arg;
};

/* Returns 0, or a negative errno value.  All the memory it will need is taken here. */
must_check int task_pool_create(const struct task_pool_config *config, struct task_pool **ret,
                                struct err *err);

/* Starts the threads; once only.  Returns 0, or -errno with none running.  Installs the fence's handlers. */
must_check int task_pool_start(struct task_pool *pool, struct err *err);

/* Takes started tasks, whose `kind` is set, out of the list.  Does not block.  In the thread that may read
 * their status. */
void task_pool_push(struct task_pool *pool, struct task_list *tasks);

/* How many tasks could go on and wait for a thread.  Any thread. */
size_t task_pool_backlog(const struct task_pool *pool);

/* Has a task that was pushed end soon, unless it has ended.  The caller holds a reference. */
void task_pool_stop_task(struct task *task, enum task_stop why);

/* Waits until all tasks have ended; at the latest until `deadline_ns`, and no longer than there is one that
 * could still end by then (a task that sleeps past it is not waited for).  Returns how many have not ended.
 */
size_t task_pool_drain(struct task_pool *pool, uint64_t deadline_ns);

/* Tells all that is left to end (TASK_STOP_SHUTDOWN), waits until it has, and joins the threads.  Does
 * nothing when not started or stopped before. */
void task_pool_stop(struct task_pool *pool);

/* After the stop.  NULL is fine. */
void task_pool_free(struct task_pool *pool);
