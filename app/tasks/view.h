/* view.h - a task as the JSON that clients see.
 *
 * Threads: any that may read the task.  Ownership: the value is the caller's, and does not need the task any
 * more. */
#pragma once

#include <jansson.h>

#include "tasks/task.h"

/* {"id", "kind", "state", "attempts", "interruptions", "created_at", "started_at", "finished_at", "error"}, a
 * few hundred bytes; where it stands is taken from `status`.  Times are RFC 3339 in UTC.  What does not exist
 * (yet) is left out, never null, and so are interruptions when there were none.  NULL when out of memory. */
must_check json_t *task_summary_json(const struct task *task, const struct task_status *status);

/* The same with "payload" and "result". */
must_check json_t *task_json(const struct task *task, const struct task_status *status);
