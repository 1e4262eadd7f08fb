#include "tasks/http_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/http.h"
#include "base/text.h"
#include "fetch/hosts.h"
#include "tasks/payload.h"
#include "base/trace.h"

#define RETRY_AFTER_MAX_S 86400

/* Of the body of an answer that is an error. */
#define ERROR_CHARS      200
#define ERROR_KEEP_BYTES 1024

/* Those that http_call_start adds. */
#define OWN_HEADERS 3

struct http_call {
    const struct config *config;
    struct fetch_pool *pool;
    struct task *task;
    struct fetch_target *target;
    struct fetch_call request;
    struct fetch fetch;
    char *body;
    bool was_forbidden; /* a redirect; fetch worker only until `done` */
    size_t header_count;
    char *headers[HTTP_CALL_HEADERS_MAX + OWN_HEADERS + 1]; /* NULL behind the last */
};

/* ---- on a fetch worker ---- */

static bool may_visit(const struct fetch *fetch, const struct fetch_target *target, struct err *err)
{
    struct http_call *call = fetch->arg;
    bool is_allowed = hosts_allow_target(&call->config->tasks.allowed_hosts, "tasks", target, err);

    call->was_forbidden |= !is_allowed;
    return is_allowed;
}

static void on_done(struct fetch *fetch)
{
    struct http_call *call = fetch->arg;

    task_resume(call->task);
}

/* ---- making one ---- */

static int set_target(struct http_call *call, const char *url, struct err *err)
{
    int rc = fetch_target_create(url, &call->target, err);

    if (rc < 0)
        return rc;
    return hosts_allow_target(&call->config->tasks.allowed_hosts, "tasks", call->target, err) ? 0 : -EACCES;
}

int http_call_create(const struct task_run *run, const char *method, const char *url, struct http_call **ret,
                     struct err *err)
{
    struct http_call *call = calloc(1, sizeof(*call));

    if (!call)
        return err_set(err, -ENOMEM, "out of memory");
    call->config = run->services->config;
    call->pool = run->services->fetch;
    call->task = run->task;
    int rc = set_target(call, url, err);
    if (rc < 0) {
        http_call_free(call);
        return rc;
    }
    call->request.method = method;
    call->fetch = (struct fetch){
        .target = call->target,
        .call = &call->request,
        .may_visit = may_visit,
        .keep_max_bytes = ERROR_KEEP_BYTES,
        .done = on_done,
        .arg = call,
    };
    *ret = call;
    return 0;
}

bool http_call_has_header(const struct http_call *call, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < call->header_count; i++)
        if (strncasecmp(call->headers[i], name, length) == 0 && call->headers[i][length] == ':')
            return true;
    return false;
}

static int append_header(struct http_call *call, const char *name, const char *value, struct err *err)
{
    char *line;

    if (asprintf(&line, "%s: %s", name, value) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    call->headers[call->header_count++] = line;
    return 0;
}

int http_call_add_header(struct http_call *call, const char *name, const char *value, struct err *err)
{
    int rc = fetch_header_check(name, value, err);

    if (rc < 0)
        return rc;
    if (call->header_count == HTTP_CALL_HEADERS_MAX)
        return err_set(err, -E2BIG, "there are more than %d headers", HTTP_CALL_HEADERS_MAX);
    return append_header(call, name, value, err);
}

void http_call_set_body(struct http_call *call, char *body, size_t size)
{
    free(call->body);
    call->body = body;
    call->request.body = body;
    call->request.body_size = size;
}

void http_call_keep(struct http_call *call, size_t max_bytes)
{
    call->fetch.keep_max_bytes = MAX(max_bytes, (size_t)ERROR_KEEP_BYTES);
}

void http_call_set_timeout(struct http_call *call, uint64_t timeout_ms)
{
    call->fetch.timeout_ms = timeout_ms;
}

static int add_own_header(struct http_call *call, const char *name, const char *value, struct err *err)
{
    return http_call_has_header(call, name) ? 0 : append_header(call, name, value, err);
}

int http_call_start(struct http_call *call, const struct task_run *run, struct err *err)
{
    char attempt[16];
    char trace[TRACE_PARENT_SIZE];
    int rc = trace_continue(run->traceparent, trace);

    if (rc < 0)
        return err_set_errno(err, -rc, "no random bytes");
    snprintf(attempt, sizeof(attempt), "%u", run->attempt);
    rc = add_own_header(call, "Idempotency-Key", run->task_id, err);
    if (rc == 0)
        rc = add_own_header(call, "X-Heddle-Attempt", attempt, err);
    if (rc == 0)
        rc = add_own_header(call, "traceparent", trace, err);
    if (rc < 0)
        return rc;
    call->request.headers = (const char *const *)call->headers;
    fetch_submit(call->pool, (struct fetch *[]){&call->fetch}, 1);
    return 0;
}

/* ---- what has come of it ---- */

const struct fetch *http_call_fetch(const struct http_call *call)
{
    return &call->fetch;
}

static bool has_answer(const struct fetch *fetch)
{
    return fetch->reason == FETCH_OK || fetch->reason == FETCH_HTTP_STATUS;
}

static bool is_retried(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

/* The beginning of the body on one line. */
static void append_excerpt(const struct fetch *fetch, struct buf *out)
{
    cleanup(buf_done) struct buf text = BUF_INIT(ERROR_KEEP_BYTES * 4);

    text_decode_prefix(fetch->charset, fetch->body.data, fetch->body.size, fetch->body_is_whole, ERROR_CHARS,
                       &text);
    if (text.size == 0)
        return;
    size_t blanks = 0;
    while (blanks < text.size && strchr(" \t\r\n", text.data[blanks]) && text.data[blanks] != '\0')
        blanks++;
    text_utf8_mend(text.data + blanks, text.size - blanks, out);
    for (size_t i = 0; i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\t')
            out->data[i] = ' ';
}

static void fail_by_status(const struct fetch *fetch, struct task_run *run)
{
    cleanup(buf_done) struct buf excerpt = BUF_INIT(ERROR_CHARS * 8);
    bool is_final = !is_retried(fetch->status);

    if (fetch->body.size > 0)
        append_excerpt(fetch, &excerpt);
    size_t size = excerpt.failed ? 0 : excerpt.size;
    task_run_fail(run, is_final, "HTTP %d %s%s%.*s", fetch->status, http_reason_phrase(fetch->status),
                  size > 0 ? ": " : "", (int)size, size > 0 ? excerpt.data : "");
    if (!is_final)
        run->retry_after_ms = MIN(fetch->retry_after_s, (uint64_t)RETRY_AFTER_MAX_S) * 1000;
}

bool http_call_fail(const struct http_call *call, struct task_run *run)
{
    const struct fetch *fetch = &call->fetch;

    if (!has_answer(fetch)) {
        cleanup(buf_done) struct buf text = BUF_INIT(FETCH_ERROR_SIZE * 3);
        text_utf8_mend(fetch->error, strlen(fetch->error), &text);
        task_run_fail(run, call->was_forbidden || fetch->reason == FETCH_TOO_LARGE, "%s: %.*s",
                      fetch_reason_names[fetch->reason], (int)text.size, text.data ? text.data : "");
        return true;
    }
    if (fetch->status >= 200 && fetch->status <= 299)
        return false;
    fail_by_status(fetch, run);
    return true;
}

static json_t *body_of(const struct fetch *fetch, size_t max_bytes, bool *ret_is_cut)
{
    const struct buf *body = &fetch->body;
    json_t *json = NULL;

    *ret_is_cut = false;
    if (http_is_json(fetch->content_type) && fetch->body_is_whole)
        json = task_result_json(body->data, body->size, max_bytes);
    return json ? json
                : task_result_text(fetch->charset, body->data, body->size, fetch->body_is_whole, max_bytes,
                                   ret_is_cut);
}

static json_t *content_type_of(const struct fetch *fetch)
{
    cleanup(buf_done) struct buf text = BUF_INIT(FETCH_CONTENT_TYPE_MAX_BYTES * 3);

    if (!fetch->content_type)
        return json_null();
    text_utf8_mend(fetch->content_type, strlen(fetch->content_type), &text);
    return json_stringn_nocheck(text.data ? text.data : "", text.size);
}

json_t *http_call_result(const struct http_call *call, size_t body_max_bytes)
{
    const struct fetch *fetch = &call->fetch;
    bool is_cut;
    json_t *body = body_of(fetch, body_max_bytes, &is_cut);
    json_t *result =
        json_pack("{s:i, s:o, s:o, s:f}", "status", fetch->status, "content_type", content_type_of(fetch),
                  "body", body, "elapsed", clock_seconds(fetch->elapsed_ns));

    if (result && is_cut && json_object_set_new(result, "truncated", json_true()) != 0) {
        json_decref(result);
        return NULL;
    }
    return result;
}

/* ---- the end ---- */

void http_call_abort(void *arg)
{
    struct http_call *call = arg;

    fetch_cancel(&call->fetch);
}

void http_call_free(void *arg)
{
    struct http_call *call = arg;

    if (!call)
        return;
    fetch_done(&call->fetch);
    fetch_target_free(call->target);
    for (size_t i = 0; i < call->header_count; i++)
        free(call->headers[i]);
    free(call->body);
    free(call);
}
