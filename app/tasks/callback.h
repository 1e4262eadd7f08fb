/* callback.h - the task that tells somebody of the end of another one.
 *
 * Threads: any. */
#pragma once

#include "base/err.h"
#include "tasks/ledger.h"

/* The kind that such tasks are of. */
#define TASK_CALLBACK_KIND "callback"

/* Makes the task that a finished task's `callback` asks for, its queue aside: it sends
 *     {"type": "task.succeeded", "timestamp", "data": {"id", "kind", "state", "attempts", "tags", "result",
 *      "error"}}
 * to the URL.  `result` (JSON text) and `error` may be NULL.  Returns 0 with the task, NULL when nobody knows
 * the kind; or -ENOMEM. */
must_check int task_callback_create(const struct task *task, const char *result, const char *error,
                                    const struct ledger_config *config, struct task **ret, struct err *err);
