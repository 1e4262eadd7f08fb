/* view.h - a task as the JSON that clients see.
 *
 * Written as text: a tree of values would cost more than all else that a submit does.
 * Threads: any that may read the task.  Ownership: everything is lent for the call. */
#pragma once

#include "base/buf.h"
#include "tasks/task.h"

/* What there is to be shown. */
struct task_view {
    const struct task *task;
    const struct task_status *status; /* where it stands; often &task->status */
    const char *queue;                /* its queue's name */
};

/* Appends
 *     {"id", "kind", "state", "queue", "priority", "attempts", "max_attempts", "interruptions", "cancelling",
 *      "progress", "created_at", "run_at", "started_at", "finished_at", "timeout", "tenant", "tags",
 *      "unique_key", "schedule", "error"}
 * a few hundred bytes.  Times are RFC 3339 in UTC, the time-out is in seconds.  What does not exist (yet) is
 * left out, never null, and so are interruptions and progress of 0. */
void task_append_summary(struct buf *out, const struct task_view *view);

/* The same with "callback", "history": [{"run", "started_at", "finished_at", "outcome": "failed" or
 * "interrupted", "error"}], "payload" and "result", as far as the task was read with them. */
void task_append(struct buf *out, const struct task_view *view);

/* Appends text from outside of the program, which need not be UTF-8, as a string with its quotes. */
void task_append_text(struct buf *out, const char *text);
