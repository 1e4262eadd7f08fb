/* The endpoints of the configuration: one handler for all of them. */
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "api/api_int.h"
#include "api/exchange.h"
#include "api/headers.h"
#include "base/trace.h"
#include "gather/answer.h"
#include "gather/plan.h"

struct endpoint_call {
    struct exchange exchange;
    struct plan_run *run;
};

static const struct plan_run *run_of(const struct exchange *exchange)
{
    return container_of(exchange, const struct endpoint_call, exchange)->run;
}

/* ---- the answer ---- */

static void add_retry_after(struct request *req, const struct plan_run *run)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, answer_retry_after_s(run));
    request_add_header(req, "Retry-After", text);
}

static void add_reports(struct request *req, const struct plan_run *run)
{
    char timing[ANSWER_TIMING_SIZE];
    char status[ANSWER_PROXY_STATUS_SIZE];

    if (answer_format_server_timing(run, timing) > 0)
        request_add_header(req, "Server-Timing", timing);
    if (answer_format_proxy_status(run, status) > 0)
        request_add_header(req, "Proxy-Status", status);
}

static int append_answer(struct buf *out, struct request *req, const struct exchange *exchange)
{
    const struct plan_run *run = run_of(exchange);
    int status = answer_status(run);

    answer_append_json(out, run, exchange_elapsed_ns(exchange));
    if (out->failed)
        return 500;
    add_reports(req, run);
    if (status == 503)
        add_retry_after(req, run);
    return status;
}

static void append_part(struct buf *out, const struct exchange *exchange, const struct part *part)
{
    answer_append_part_event(out, run_of(exchange), part->index);
}

static void append_summary(struct buf *out, const struct exchange *exchange)
{
    answer_append_summary_event(out, run_of(exchange), exchange_elapsed_ns(exchange));
}

static const struct exchange_ops ops = {
    .append_answer = append_answer,
    .append_part = append_part,
    .append_summary = append_summary,
};

/* ---- what the request brings ---- */

#define HEADER_NAME_MAX_BYTES 128

static_assert(TRACEPARENT_SIZE == TRACE_PARENT_SIZE, "what was read can be continued");

/* The FastCGI parameter of a header (RFC 3875, section 4.1.18). */
static const char *find_header(void *arg, const char *name)
{
    const struct request *req = arg;
    char param[sizeof("HTTP_") + HEADER_NAME_MAX_BYTES] = "HTTP_";
    size_t size = strlen(param);

    if (strcasecmp(name, "Content-Type") == 0)
        return request_param(req, "CONTENT_TYPE");
    if (strcasecmp(name, "Content-Length") == 0)
        return request_param(req, "CONTENT_LENGTH");
    for (; *name != '\0' && size < sizeof(param) - 1; name++)
        param[size++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
    param[size] = '\0';
    return *name == '\0' ? request_param(req, param) : NULL;
}

/* What Connection names is for the next hop only, which is us (RFC 9110, section 7.6.1). */
static const char *find_header_to_forward(void *arg, const char *name)
{
    const char *connection = request_param(arg, "HTTP_CONNECTION");

    return connection && header_list_has(connection, name) ? NULL : find_header(arg, name);
}

static const char *find_path_arg(void *arg, size_t i)
{
    return request_path_arg_at(arg, (unsigned)i);
}

static const char *find_query(void *arg)
{
    return request_param(arg, "QUERY_STRING");
}

static const char *find_body(void *arg, size_t *ret_size)
{
    return request_body(arg, ret_size);
}

/* NULL when the request has been answered. */
static struct arguments *read_arguments(struct request *req, const struct plan *plan)
{
    const struct request_reader reader = {
        .arg = req, .path_arg = find_path_arg, .query = find_query, .header = find_header, .body = find_body};
    struct arguments_problem problem;
    struct arguments *arguments;

    if (arguments_create(plan_rules(plan), &reader, &arguments, &problem) == 0)
        return arguments;
    if (problem.name[0] != '\0')
        request_problem_with(req, problem.status, "parameter", problem.name, "%s", problem.text);
    else
        request_problem(req, problem.status, "%s", problem.text);
    return NULL;
}

/* When the answer is due; false when the request has been answered. */
static bool read_deadline(struct request *req, const struct plan *plan, uint64_t start_ns,
                          uint64_t *ret_deadline_ns)
{
    const char *value = request_param(req, "HTTP_X_REQUEST_TIMEOUT");
    uint64_t left_ns = plan_endpoint(plan)->timeout_ms * NS_PER_MS;
    uint64_t wanted_ns = left_ns;
    struct err err;

    if (value && request_timeout_parse(value, &wanted_ns, &err) < 0) {
        request_problem_with(req, 400, "header", "X-Request-Timeout", "X-Request-Timeout: %s", err.text);
        return false;
    }
    *ret_deadline_ns = start_ns + MIN(left_ns, wanted_ns);
    return true;
}

/* ---- the work ---- */

static void on_done(struct plan_run *run, void *arg)
{
    struct endpoint_call *call = arg;

    (void)run;
    exchange_end(&call->exchange);
}

static void on_release(void *arg)
{
    struct endpoint_call *call = arg;

    exchange_done(&call->exchange);
    free(call);
}

/* The client's, or a new one that all parts have in common. */
static void read_trace(struct request *req, char ret_traceparent[TRACE_PARENT_SIZE])
{
    traceparent_parse(request_param(req, "HTTP_TRACEPARENT"), ret_traceparent);
    if (ret_traceparent[0] == '\0' && trace_continue("", ret_traceparent) < 0)
        ret_traceparent[0] = '\0';
}

static int create_run(struct endpoint_call *call, struct request *req, const struct plan *plan,
                      struct arguments *arguments, uint64_t deadline_ns, struct err *err)
{
    char traceparent[TRACE_PARENT_SIZE];
    struct plan_run_options options = {
        .arguments = arguments,
        .client = {.deadline_ns = deadline_ns,
                   .traceparent = traceparent,
                   .request_id = request_id(req),
                   .header = find_header_to_forward,
                   .arg = req},
        .part_ended = exchange_part_ended,
        .done = on_done,
        .release = on_release,
        .arg = call,
    };

    read_trace(req, traceparent);
    return plan_run_create(plan, &options, &call->run, err);
}

/* Takes the request and the call, in any case. */
static void serve(struct endpoint_call *call, struct request *req, const struct plan *plan)
{
    uint64_t deadline_ns;
    struct arguments *arguments = NULL;
    struct err err = {.text = "out of memory"};

    if (read_deadline(req, plan, call->exchange.start_ns, &deadline_ns))
        arguments = read_arguments(req, plan);
    if (!arguments) {
        free(call);
        return;
    }
    if (create_run(call, req, plan, arguments, deadline_ns, &err) < 0) {
        arguments_free(arguments);
        free(call);
        request_problem(req, 503, "%s", err.text);
        return;
    }
    exchange_run(&call->exchange, plan_run_gather(call->run));
}

void endpoint_handle(struct request *req)
{
    const struct endpoint *endpoint = request_route_data(req);
    struct endpoint_call *call = calloc(1, sizeof(*call));

    if (!call)
        request_problem(req, 503, "out of memory");
    else if (exchange_init(&call->exchange, &ops, req))
        serve(call, req, endpoint->plan);
    else
        free(call);
}
