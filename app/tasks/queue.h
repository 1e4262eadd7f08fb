/* queue.h - background tasks: accepted now, done later by a few runner threads.
 *
 * How to use it: task_queue_create, task_queue_start; then task_queue_submit for each task, whose payload has
 * passed its kind's check, and task_queue_get or _list to look at them.  To end: task_queue_drain, _stop,
 * _free, in this order; any of them may be left out, and a queue that was never started may be freed as well.
 * Threads: submit, get, list and counts from any; create, start, drain, stop and free from one, the owner's.
 * Ownership: a task belongs to the queue; callers get views of it (view.h), which may outlive the queue.
 * Invariants: a task runs in at most one thread at a time; a task that waits for a time holds no thread;
 * memory is bounded by max_bytes, queue_capacity unfinished and keep_finished finished tasks, and the result
 * of one step for each runner. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/kind.h"
#include "tasks/state.h"
#include "tasks/view.h"

struct task_queue;

struct task_queue_config {
    unsigned runners;      /* threads, at least 1 */
    size_t queue_capacity; /* unfinished tasks (queued, waiting, running) at the most, at least 1 */
    size_t keep_finished;  /* finished tasks that can still be looked at; then the oldest goes */
    size_t max_bytes;      /* of all tasks, payloads and results; then the oldest finished ones go */
};

/* Returns 0, or -ENOMEM.  All memory but that of the tasks themselves is taken here. */
must_check int task_queue_create(const struct task_queue_config *config, struct task_queue **ret,
                                 struct err *err);

/* Starts the runners; once only.  Returns 0, or -errno with none running.  Installs the fence's handlers. */
must_check int task_queue_start(struct task_queue *queue, struct err *err);

/* Accepts a task and wakes a runner for it.  Takes `payload` in every case.  Does not block.  Returns 0 with
 * a view of the new task (to be given back), or with `err` set: -EAGAIN when queue_capacity tasks are
 * unfinished, -ENOSPC when unfinished ones have max_bytes, so try again later; -ESHUTDOWN when the queue
 * drains or has been stopped; -ENOMEM. */
must_check int task_queue_submit(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                                 struct task_view *ret, struct err *err);

/* Looks a task up.  False when there is none of that id (any more). */
must_check bool task_queue_get(struct task_queue *queue, const struct uuid *id, struct task_view *ret);

/* Fills in up to `limit` views, the task accepted last first, and returns how many. */
must_check size_t task_queue_list(struct task_queue *queue, size_t limit, struct task_view *ret_views);

/* How many tasks there are in each state; finished ones as far as they are kept. */
void task_queue_counts(struct task_queue *queue, size_t ret_counts[TASK_STATE_COUNT]);

/* Refuses new tasks from now on and waits until all have finished; at the latest until `deadline_ns`, and no
 * longer than there is one that could still finish by then (a task that sleeps past it is not waited for).
 * Returns the number of tasks that are unfinished. */
size_t task_queue_drain(struct task_queue *queue, uint64_t deadline_ns);

/* Refuses new tasks, lets the runners finish the step they are in, and joins them.  Unfinished tasks stay as
 * they are.  Does nothing when not started or stopped before. */
void task_queue_stop(struct task_queue *queue);

/* Stops, then frees everything.  NULL is fine. */
void task_queue_free(struct task_queue *queue);
