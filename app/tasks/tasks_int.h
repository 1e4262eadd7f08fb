/* tasks_int.h - what the files of this folder share; nobody outside includes it. */
#pragma once

#include "metrics/metrics.h"
#include "tasks/kind.h"
#include "tasks/pool.h"
#include "tasks/task.h"

/* Blocks until there is a task to run a step of; NULL when the pool stops. */
struct task *task_pool_take(struct task_pool *pool);

/* Gives a taken task back with what came out; takes it and the outcome's texts. */
void task_pool_settle(struct task_pool *pool, struct task *task, struct task_outcome *outcome);

/* A runner thread's function; `arg` is the pool. */
void *task_runner_main(void *arg);

/* The rows of tasks_metrics. */
enum {
    TASK_METRIC_TASKS,
    TASK_METRIC_SUBMITTED,
    TASK_METRIC_REJECTED,
    TASK_METRIC_FINISHED,
    TASK_METRIC_QUEUE_DEPTH,
    TASK_METRIC_SLEEPING,
    TASK_METRIC_RUN_SECONDS,
    TASK_METRIC_WAIT_SECONDS,
    TASK_METRIC_FAULTS,
    TASK_METRIC_INTERRUPTED,
    TASK_METRIC_COMMIT_SECONDS,
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
