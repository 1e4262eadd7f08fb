/* http_call.h - an HTTP request that a task makes: what `http`, `callback` and `digest` have in common.
 *
 * How to use it: in the first step http_call_create, put the call at run->state, http_call_add_header,
 * http_call_set_body, http_call_start, and return TASK_STEP_PENDING; task_resume is called when it has ended,
 * and the next step looks at it with http_call_fail, http_call_result, http_call_fetch.  The kind's abort and
 * release are http_call_abort and http_call_free.
 * Threads: one at a time, as the steps are called; http_call_abort from any.
 * Ownership: texts are copied, a body is taken.
 * Invariants: no host is asked but those of tasks.allowed_hosts, by a redirect neither. */
#pragma once

#include "base/err.h"
#include "fetch/fetch.h"
#include "tasks/kind.h"

/* That a kind may add, its own ones included. */
#define HTTP_CALL_HEADERS_MAX 60

struct http_call;

/* `method` is lent until the call is freed.  -ENOMEM, or another negative errno value with a text when the
 * URL is not allowed (any more). */
must_check int http_call_create(const struct task_run *run, const char *method, const char *url,
                                struct http_call **ret, struct err *err);

/* -EINVAL or -ERANGE for what fetch_header_check does not allow, -E2BIG, -ENOMEM. */
must_check int http_call_add_header(struct http_call *call, const char *name, const char *value,
                                    struct err *err);
must_check bool http_call_has_header(const struct http_call *call, const char *name);

/* Frees `body` by free(3) at its end. */
void http_call_set_body(struct http_call *call, char *body, size_t size);

/* How much of the answer's body is kept; 0 otherwise. */
void http_call_keep(struct http_call *call, size_t max_bytes);

/* For all of it; 0: fetch.timeout. */
void http_call_set_timeout(struct http_call *call, uint64_t timeout_ms);

/* Adds Idempotency-Key (the task's id), X-Heddle-Attempt and traceparent, each unless it is there, and sends
 * it.  Returns 0, or a negative errno value when it was not sent. */
must_check int http_call_start(struct http_call *call, const struct task_run *run, struct err *err);

/* For a call that has ended: true, with run->error and what belongs to it set, unless the answer is 2xx.  It
 * is worth another try, not before Retry-After, for 408, 425, 429, 5xx, and when there was no answer. */
must_check bool http_call_fail(const struct http_call *call, struct task_run *run);

/* What has come of it. */
const struct fetch *http_call_fetch(const struct http_call *call);

/* The result of `http` and `callback`, of an answer of 2xx: {"status", "content_type", "body", "elapsed"},
 * and "truncated": true when there is more of the body.  NULL without memory. */
must_check json_t *http_call_result(const struct http_call *call, size_t body_max_bytes);

void http_call_abort(void *call);
void http_call_free(void *call);
