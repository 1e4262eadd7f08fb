/* tasks_int.h - what the files of this folder share; nobody outside includes it. */
#pragma once

#include <pthread.h>

#include "metrics/metrics.h"
#include "tasks/kind.h"
#include "tasks/pool.h"
#include "tasks/task.h"

/* ---- between pool.c and runner.c ---- */

/* A thread that runs tasks. */
struct task_thread {
    struct task_pool *pool;
    pthread_t thread;
    int stop_fd;  /* eventfd: readable when the task in hand must stop */
    bool is_told; /* guarded by the pool's lock: something has been written to it */
};

/* Blocks until there is a task to run a step of; NULL when the pool stops and has none left. */
struct task *task_pool_take(struct task_thread *thread);

const struct task_pool_config *task_pool_config(const struct task_pool *pool);

/* Gives a taken task back: it waits for a time, waits for task_resume, or has ended (which takes it and the
 * outcome's texts). */
void task_pool_wait(struct task_pool *pool, struct task *task, uint64_t wake_ns);
void task_pool_pend(struct task_pool *pool, struct task *task);
void task_pool_end(struct task_pool *pool, struct task *task, struct task_outcome *outcome);

/* The thread's function; `arg` is a task_thread. */
void *task_thread_main(void *arg);

/* ---- metrics ---- */

/* The rows of tasks_metrics. */
enum {
    TASK_METRIC_TASKS,
    TASK_METRIC_SUBMITTED,
    TASK_METRIC_REJECTED,
    TASK_METRIC_FINISHED,
    TASK_METRIC_RETRIED,
    TASK_METRIC_QUEUE_DEPTH,
    TASK_METRIC_SLEEPING,
    TASK_METRIC_RUN_SECONDS,
    TASK_METRIC_WAIT_SECONDS,
    TASK_METRIC_FAULTS,
    TASK_METRIC_INTERRUPTED,
    TASK_METRIC_COMMIT_SECONDS,
    TASK_METRIC_EVENTS,
    TASK_METRIC_WATCHERS,
};

/* Values of the label `reason` of TASK_METRIC_REJECTED. */
enum {
    TASK_REJECTED_FULL,
    TASK_REJECTED_DISK_FULL,
    TASK_REJECTED_STOPPING,
    TASK_REJECTED_FAILED,
};

/* The value of a label `kind`. */
size_t task_metric_kind(const struct task_kind *kind);
