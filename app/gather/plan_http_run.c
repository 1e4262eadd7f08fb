/* Parts that are calls to upstreams: requests are sent, and answers read. */
#include <errno.h>
#include <stdlib.h>

#include "gather/plan_http.h"

/* Calls that go to the upstreams together. */
#define SUBMIT_BATCH 64

static void on_call_done(struct upstream_call *call);

static void set_call(struct plan_part *part)
{
    struct plan_run *run = part->run;
    struct upstream_call *call = &part->http.call;

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

/* What was looked up last is what could not stand where it was to go. */
static bool is_ready(struct plan_part *part)
{
    struct plan_values values = {.run = part->run};
    struct err err = {0};
    int rc = http_request_make(part, &values, &err);

    set_call(part);
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
