/* request.h - one HTTP request as a handler sees it, and the ways to answer it.
 *
 * How to use it: a handler reads what it needs and calls one of the request_reply functions, at once or
 * later; to answer later it calls request_suspend first and, when the answer can be made, request_resume.
 * Ownership: a handler owns the request it is given. request_reply*, request_problem* and request_resume
 * take it: the caller must not look at it again.  Strings handed out live as long as the request.
 * Threads: the owner's, whichever it is; request_resume from any thread.
 * Invariants: each request is answered exactly once, or discarded when its client has gone. */
#pragma once

#include "base/buf.h"
#include "base/common.h"

struct request;

#define REQUEST_HEADER_MAX_BYTES 4096

/* What the front was created with, for handlers to find the rest of the program. */
void *request_app(const struct request *req);

/* nginx's $request_id, or one of our own. */
const char *request_id(struct request *req);

/* A FastCGI parameter, NULL when the server did not send it. */
const char *request_param(const struct request *req, const char *name);

/* What stood in the place of the first `{...}` of the route's path, which has one, and of the i-th. */
const char *request_path_arg(const struct request *req);
const char *request_path_arg_at(const struct request *req, unsigned i);

/* What the route's row has beside its handler. */
const void *request_route_data(const struct request *req);

/* The body; never NULL. */
const char *request_body(const struct request *req, size_t *ret_size);

/* Frees the body, which may be large, when it is not needed any more while the request waits: what
 * request_body gave is gone.  Its room in the budget of large bodies stays taken until the answer, for what
 * the handler has made of it. */
void request_drop_body(struct request *req);

/* Adds a header to the answer.  `value` must come from us: it must not hold line breaks. */
void request_add_header(struct request *req, const char *name, const char *value);

/* Answers with a body that is copied out before the call returns; it may be the request's own.  Takes `req`.
 * Only on a request thread; never blocks. */
void request_reply(struct request *req, int status, const char *content_type, const void *body, size_t size);

/* Answers with a status and the added headers alone: 204, 304.  Otherwise as request_reply. */
void request_reply_empty(struct request *req, int status);

/* request_reply with a buffer, which it frees; a failed one answers 500. */
void request_reply_buf(struct request *req, int status, const char *content_type, struct buf *body);

/* Answers with an RFC 9457 problem: type, title, status, detail, request_id; 503 with Retry-After.  Takes
 * `req`. */
void request_problem(struct request *req, int status, const char *detail, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with one more member `name`: `value` (a string) beside the problem's own. */
void request_problem_with(struct request *req, int status, const char *name, const char *value,
                          const char *detail, ...) __attribute__((format(printf, 5, 6)));

/* What happens to a request that waits for its answer. */
struct request_wait {
    /* The client has gone, or we are stopping: end the work early.  At most once; from a request thread or
     * the one that calls front_drain. */
    void (*hangup)(void *arg);
    /* `arg` is not used any more; exactly once, after hangup if that was called. */
    void (*release)(void *arg);
    void *arg;
};

/* Says that the answer will come by request_resume, and whom to tell when the client goes away first.  Call
 * it before the work starts.  The work must be resumed in any case, cancelled or not. */
void request_suspend(struct request *req, const struct request_wait *wait);

/* Hands the request to a request thread, which calls fn(req, arg) as its new owner.  fn is called even when
 * the client has gone: its answer is then thrown away.  Never blocks.  Any thread. */
typedef void (*request_fn)(struct request *req, void *arg);
void request_resume(struct request *req, request_fn fn, void *arg);
