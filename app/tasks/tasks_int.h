/* tasks_int.h - what the files of this folder share; nobody outside includes it. */
#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

/* An insert without memory leaves the element out, and does not end the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/common.h"
#include "base/uuid.h"
#include "metrics/metrics.h"
#include "tasks/kind.h"
#include "tasks/state.h"
#include "tasks/view.h"

struct task_queue;

struct task {
    _Atomic unsigned refs; /* one of the queue, one of each view */

    /* set at creation, then read-only: */
    struct uuid id;
    const struct task_kind *kind;
    uint64_t created_ms;  /* wall clock, for people */
    uint64_t accepted_ns; /* the same moment, monotonic */

    /* guarded by the queue's lock: */
    enum task_state state;
    size_t bytes; /* with its texts */
    unsigned attempts;
    uint64_t started_ns;
    uint64_t started_ms;
    uint64_t finished_ms;
    char *result;              /* JSON text, set once when it has succeeded */
    char *error;               /* set once when it is dead; NULL then means that memory was short */
    TAILQ_ENTRY(task) in_all;  /* of the queue's tasks in the order of acceptance */
    TAILQ_ENTRY(task) in_list; /* of `runnable` or `finished`, or in neither */
    UT_hash_handle hh;

    char payload[]; /* JSON text, read-only as well */
};

/* Drops a reference, the last one frees.  NULL is fine. */
void task_unref(struct task *task);

/* Fills a view and takes a reference for it; under the queue's lock. */
void task_view_fill(struct task *task, struct task_view *ret);

/* What came out of one step. */
struct task_outcome {
    enum task_state state; /* succeeded, dead, or still running: then it waits */
    uint64_t wake_ns;
    char *result; /* on the heap */
    char *error;  /* on the heap */
};

/* Blocks until there is a task to run a step of, now in state running; NULL when the queue stops. */
struct task *task_queue_take(struct task_queue *queue);

/* Gives a taken task back with what came out; takes it and the outcome's strings. */
void task_queue_settle(struct task_queue *queue, struct task *task, struct task_outcome *outcome);

/* A runner thread's function; `arg` is the queue. */
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
};

/* Values of the label `reason` of TASK_METRIC_REJECTED. */
enum {
    TASK_REJECTED_FULL,
    TASK_REJECTED_BYTES,
    TASK_REJECTED_STOPPING,
};

/* The value of a label `kind`. */
size_t task_metric_kind(const struct task_kind *kind);
