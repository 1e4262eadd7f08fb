/* queue.h - background tasks: on disk when they are accepted, done later by a few runner threads.
 *
 * How to use it: task_queue_create, task_queue_start; then task_queue_submit for each task, whose payload has
 * passed its kind's check, and task_queue_get or _list to look at them.  All three answer later, by the
 * `done` of what they are given.  To end: task_queue_drain, _stop, _free, in this order; any of them may be
 * left out, and a queue that was never started may be freed as well.
 * Threads: submit, get, list and counts
 * from any; create, start, drain, stop and free from one, the owner's. No call blocks on the disk but create,
 * start and stop.
 * Ownership: what is handed in (task_submit, task_query) is lent until its `done` is called,
 * exactly once.
 * Invariants: what was accepted is in the store and will be run, over any number of crashes; a
 * task runs in at most one thread at a time; one that waits for a time holds no thread; memory is bounded by
 * max_running tasks, whatever the store holds. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/kind.h"
#include "tasks/state.h"
#include "tasks/store.h"
#include "tasks/task.h"

struct task_queue;

struct task_queue_config {
    const struct task_store_ops *store;
    const char *where;                    /* for store->open; lent until the queue is freed */
    const struct task_kind *const *kinds; /* NULL behind the last; lent */
    unsigned runners;                     /* threads, at least 1 */
    unsigned readers;                     /* threads that look tasks up, at least 1 */
    size_t max_running;                   /* tasks that have been started and have not ended, at least 1 */
    uint64_t capacity;                    /* unfinished tasks at the most, at least 1 */
    uint64_t keep_finished;     /* finished tasks that can still be looked at; then the oldest goes */
    unsigned max_interruptions; /* then a task is set aside as dead */

    /* The store has failed: nothing is accepted any more, and the process should end and say so.  At most
     * once; on a thread of the queue's. */
    void (*failed)(void *arg);
    void *arg;
};

/* Opens the store, which makes all tasks runnable that ran when its last owner ended.  Returns 0, or a
 * negative errno value. */
must_check int task_queue_create(const struct task_queue_config *config, struct task_queue **ret,
                                 struct err *err);

/* Starts the threads; once only.  Returns 0, or -errno with none running.  Installs the fence's handlers. */
must_check int task_queue_start(struct task_queue *queue, struct err *err);

/* A task to be accepted. */
struct task_submit {
    /* Set by the caller.  `done` is called on a thread of the queue's, or inside task_queue_submit, and must
     * not block. */
    void (*done)(struct task_submit *submit);

    /* What has come of it: rc 0 with the new task (to be given back) and where it stood when it was
     * committed; or, with `err` set, -EAGAIN: `capacity` tasks are unfinished, -ENOSPC: the disk is full,
     * -ESHUTDOWN, -ENOMEM, or another negative errno value: the store has failed. */
    int rc;
    struct err err;
    struct task *task;
    struct task_status status;

    /* The queue's: */
    struct task_queue *queue;
    struct task_op op;
};

/* Accepts a task, which is on disk when submit->done is called with rc 0.  Takes `payload`. */
void task_queue_submit(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                       struct task_submit *submit);

#define TASK_QUERY_LIMIT_MAX 200

/* A question about what is stored. */
struct task_query {
    /* Set by the caller; `done` as above. */
    void (*done)(struct task_query *query);

    /* What has come of it: how many tasks there are (the caller's alone, to be given back), or a negative
     * errno value with `err` set. */
    int rc;
    struct err err;
    struct task *tasks[TASK_QUERY_LIMIT_MAX];

    /* The queue's: */
    TAILQ_ENTRY(task_query) in_list;
    struct uuid id;
    size_t limit; /* 0: the one of that id */
};

/* Looks a task up: no task when there is none of that id (any more). */
void task_queue_get(struct task_queue *queue, const struct uuid *id, struct task_query *query);

/* Up to `limit` (1 to TASK_QUERY_LIMIT_MAX) tasks without payloads and results, the task accepted last
 * first. */
void task_queue_list(struct task_queue *queue, size_t limit, struct task_query *query);

/* How many tasks there are in each state, as of the last commit. */
void task_queue_counts(struct task_queue *queue, struct task_counts *ret);

/* Refuses new tasks, starts no more of those there are, and waits until those that run have ended; at the
 * latest until `deadline_ns`, and no longer than there is one that could still end by then.  Returns how many
 * still run. */
size_t task_queue_drain(struct task_queue *queue, uint64_t deadline_ns);

/* Drains until now, lets the runners finish the step they are in, and joins all threads.  What still ran goes
 * back to be run another time, which is not held against it.  Does nothing when stopped before. */
void task_queue_stop(struct task_queue *queue);

/* Stops, then frees everything and closes the store.  NULL is fine. */
void task_queue_free(struct task_queue *queue);
