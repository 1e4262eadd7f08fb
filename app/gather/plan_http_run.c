/* Parts that are calls to upstreams: one request made out of templates, sent, and its answer read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gather/plan_http.h"

#define URL_MAX_BYTES  16384
#define BODY_MAX_BYTES ((size_t)1024 * 1024)

/* Calls that go to the upstreams together. */
#define SUBMIT_BATCH 64

/* Beside the part's own and the client's: X-Request-Id, Content-Type. */
#define OWN_HEADERS 2

static const char *const method_names[] = {
    [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
    [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
};

/* ---- the URL ---- */

static int append_query(struct buf *url, const struct plan_pairs *query, struct plan_values *values,
                        struct err *err)
{
    for (size_t i = 0; i < query->count; i++) {
        buf_append_str(url, i == 0 ? "?" : "&");
        buf_append_str(url, query->items[i].name);
        buf_append_str(url, "=");
        int rc = template_render(query->items[i].value, TEMPLATE_USE_QUERY, plan_values_lookup, values, url, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int http_step_make_target(const struct plan_step *step, struct plan_values *values, struct fetch_target **ret_target,
                          struct err *err)
{
    const struct http_step *http = &step->http;
    cleanup(buf_done) struct buf url = BUF_INIT(URL_MAX_BYTES);

    buf_append_str(&url, upstream_config(http->upstream)->base_url);
    int rc = template_render(http->path, TEMPLATE_USE_PATH, plan_values_lookup, values, &url, err);
    if (rc == 0)
        rc = append_query(&url, &http->query, values, err);
    if (rc < 0)
        return rc;
    buf_append(&url, "", 1);
    if (url.failed)
        return err_set(err, -ERANGE, "the URL has more than %d bytes", URL_MAX_BYTES);
    return fetch_target_create(url.data, ret_target, err);
}

static int set_target(struct plan_part *part, struct plan_values *values, struct err *err)
{
    struct http_run *http = &part->http;
    int rc = part->step->http.target ? 0 : http_step_make_target(part->step, values, &http->target, err);

    http->call.target = part->step->http.target ? part->step->http.target : http->target;
    return rc;
}

/* ---- headers ---- */

/* "Name: value". */
static int render_header(const struct plan_pair *pair, struct plan_values *values, char **ret_line, struct err *err)
{
    cleanup(buf_done) struct buf line = BUF_INIT(FETCH_HEADER_MAX_BYTES + 3);

    buf_append_str(&line, pair->name);
    buf_append_str(&line, ": ");
    size_t start = line.size;
    int rc = template_render(pair->value, TEMPLATE_USE_HEADER, plan_values_lookup, values, &line, err);
    if (rc < 0)
        return rc;
    buf_append(&line, "", 1);
    if (line.failed)
        return err_set(err, -ERANGE, "the header %s has more than %d bytes", pair->name, FETCH_HEADER_MAX_BYTES);
    rc = fetch_header_check(pair->name, line.data + start, err);
    if (rc == 0 && !(*ret_line = buf_take(&line)))
        rc = err_set(err, -ENOMEM, "out of memory");
    return rc;
}

static int render_headers(struct plan_part *part, struct plan_values *values, const char **list, size_t *count,
                          struct err *err)
{
    const struct plan_pairs *headers = &part->step->http.headers;

    part->http.lines = calloc(headers->count + 1, sizeof(char *));
    if (!part->http.lines)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < headers->count; i++) {
        int rc = render_header(&headers->items[i], values, &part->http.lines[i], err);
        if (rc < 0)
            return rc;
        list[(*count)++] = part->http.lines[i];
    }
    return 0;
}

static void add_forwarded(const struct plan_part *part, const char **list, size_t *count)
{
    const struct http_step *http = &part->step->http;

    for (size_t i = 0; i < http->forward_count; i++) {
        const char *line = part->run->forwarded[http->forwards[i]];
        if (line)
            list[(*count)++] = line;
    }
}

static int set_headers(struct plan_part *part, struct plan_values *values, struct err *err)
{
    const struct http_step *http = &part->step->http;
    size_t most = http->headers.count + http->forward_count + OWN_HEADERS;
    size_t count = 0;
    const char **list = calloc(most + 1, sizeof(list[0]));

    if (!list)
        return err_set(err, -ENOMEM, "out of memory");
    part->http.headers = list;
    part->http.request.headers = list;
    if (part->run->request_id)
        list[count++] = part->run->request_id;
    if (http->body && !http->has_content_type)
        list[count++] = "Content-Type: application/json";
    add_forwarded(part, list, &count);
    return http->headers.count > 0 ? render_headers(part, values, list, &count, err) : 0;
}

/* ---- the call ---- */

static int set_body(struct plan_part *part, struct plan_values *values, struct err *err)
{
    struct http_run *http = &part->http;

    if (!part->step->http.body)
        return 0;
    http->body = (struct buf)BUF_INIT(BODY_MAX_BYTES);
    int rc = json_template_render(part->step->http.body, plan_values_lookup, values, &http->body, err);
    http->request.body = http->body.data;
    http->request.body_size = http->body.size;
    return rc;
}

static void on_call_done(struct upstream_call *call);

static void set_call(struct plan_part *part)
{
    struct plan_run *run = part->run;
    struct upstream_call *call = &part->http.call;

    part->http.request.method = method_names[part->step->config->method];
    call->upstream = part->step->http.upstream;
    call->request = &part->http.request;
    call->deadline_ns = plan_part_deadline_ns(part);
    call->max_bytes = part->step->http.max_bytes;
    call->keep_max_bytes = part->step->http.max_bytes;
    call->budget = &run->budget;
    call->traceparent = run->traceparent;
    call->tells_deadline = true;
    call->done = on_call_done;
    call->arg = part;
}

static int prepare(struct plan_part *part, struct plan_values *values, struct err *err)
{
    int rc = set_target(part, values, err);

    if (rc == 0)
        rc = set_headers(part, values, err);
    if (rc == 0)
        rc = set_body(part, values, err);
    set_call(part);
    return rc;
}

/* What was looked up last is what could not stand where it was to go. */
static bool is_ready(struct plan_part *part)
{
    struct plan_values values = {.run = part->run};
    struct err err = {0};
    int rc = prepare(part, &values, &err);

    if (rc == -ENOMEM)
        plan_part_fail(part, fetch_reason_names[part->fetch_reason = FETCH_OVERLOADED], "out of memory");
    else if (rc < 0)
        plan_part_fail(part, "bad_request", err.text);
    part->is_clients_fault = rc < 0 && rc != -ENOMEM && values.last && values.last->source != TEMPLATE_PART;
    plan_values_done(&values);
    return rc == 0;
}

/* ---- operations ---- */

void http_parts_start(struct part **parts, size_t count)
{
    struct upstreams *upstreams = plan_part_of(parts[0])->run->plan->upstreams;
    struct upstream_call *calls[SUBMIT_BATCH];
    size_t ready = 0;

    for (size_t i = 0; i < count; i++) {
        struct plan_part *part = plan_part_of(parts[i]);
        if (is_ready(part))
            calls[ready++] = &part->http.call;
        else
            part_end(&part->part, false);
        if (ready == SUBMIT_BATCH || (ready > 0 && i + 1 == count)) {
            upstream_submit(upstreams, calls, ready);
            ready = 0;
        }
    }
}

void http_part_cancel(struct part *part)
{
    upstream_cancel(&plan_part_of(part)->http.call);
}

static void take_report(struct plan_part *part, const struct upstream_call *call)
{
    part->fetch_reason = call->reply->reason;
    part->status = call->reply->status;
    part->attempts = call->attempts;
    part->is_coalesced = call->is_coalesced;
    part->is_hedged = call->is_hedged;
    part->retry_after_s = call->reply->retry_after_s;
}

/* The reply holds the value; without one it goes. */
static void on_call_done(struct upstream_call *call)
{
    struct plan_part *part = call->arg;
    const struct upstream_reply *reply = call->reply;
    const struct part_bytes bytes = {
        .data = reply->body.data,
        .size = reply->body.size,
        .is_whole = reply->body_is_whole,
        .content_type = reply->content_type,
        .charset = reply->charset,
    };
    bool is_ok = reply->reason == FETCH_OK;

    take_report(part, call);
    if (!is_ok)
        plan_part_fail(part, fetch_reason_names[reply->reason], reply->error);
    else
        is_ok = plan_part_read(part, &bytes);
    if (!is_ok)
        upstream_call_done(call);
    part_end(&part->part, is_ok);
}

void http_part_done(struct plan_part *part)
{
    struct http_run *http = &part->http;

    upstream_call_done(&http->call);
    fetch_target_free(http->target);
    for (size_t i = 0; http->lines && i < part->step->http.headers.count; i++)
        free(http->lines[i]);
    free(http->lines);
    free(http->headers);
    buf_done(&http->body);
}
