/* task_reply.h - the answers that handlers of tasks have in common.
 *
 * Threads: request threads.  Ownership: those that answer take the request; all else is lent. */
#pragma once

#include "api/task_request.h"
#include "front/request.h"
#include "tasks/engine.h"

/* A task's JSON has at most a payload, a result and its past. */
#define TASK_REPLY_MAX_BYTES ((size_t)64 * 1024 * 1024)

/* Appends the task's JSON; the summary is short (view.h). */
void task_append_reply(struct buf *out, const struct request *req, const struct task *task,
                       const struct task_status *status, bool is_summary);

/* Answers with the task and its ETag. */
void task_reply(struct request *req, int http_status, const struct task *task,
                const struct task_status *status);

/* The status for an error of the engine's: 503, 507 and what else struct task_submit and task_wish name. */
int task_http_status(int code);

/* Answers with an error of the engine's. */
void task_reply_error(struct request *req, const struct err *err);

/* Answers with the reason why what a client sent was refused. */
void task_reply_refusal(struct request *req, const struct task_refusal *refusal);

void task_reply_not_found(struct request *req);

/* Answers 409: the task's state does not allow it. */
void task_reply_conflict(struct request *req, const struct task_status *status, const char *detail);

/* Adds Location: where the task is. */
void task_add_location(struct request *req, const struct uuid *id);

/* Adds ETag. */
void task_add_etag(struct request *req, const struct task_status *status);

/* Adds Retry-After: when to look at a task again that has not finished; at least 1 s. */
void task_add_retry_after(struct request *req, const struct task_status *status);

/* Adds Preference-Applied, when there is something to say. */
void task_add_applied(struct request *req, const struct prefer *prefer, bool has_waited);
