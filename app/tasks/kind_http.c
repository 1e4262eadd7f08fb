/* Kind `http`: calls a URL, and is done when the answer is 2xx. */
#include "tasks/kind.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "tasks/http_call.h"
#include "tasks/payload.h"

#define HEADERS_MAX         50
#define TIMEOUT_MAX_SECONDS (7 * 86400)

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", NULL};

/* ---- the payload ---- */

/* GET when there is none.  A constant. */
static int read_method(const json_t *payload, const char **ret, struct task_problem *problem)
{
    const char *text = NULL;

    if (!json_object_get(payload, "method")) {
        *ret = methods[0];
        return 0;
    }
    if (task_payload_text(payload, "method", &text, problem) == 0)
        for (const char *const *method = methods; *method; method++)
            if (strcmp(*method, text) == 0) {
                *ret = *method;
                return 0;
            }
    return task_problem_set(problem, TASK_PROBLEM_INVALID, "method",
                            "method must be one of GET, HEAD, POST, PUT, PATCH and DELETE");
}

/* In ms; 0 when there is none. */
static int read_timeout(const json_t *payload, uint64_t *ret, struct task_problem *problem)
{
    const json_t *value = json_object_get(payload, "timeout");
    double seconds = json_number_value(value);

    *ret = 0;
    if (!value)
        return 0;
    if (!json_is_number(value) || !isfinite(seconds) || seconds < 0.001 || seconds > TIMEOUT_MAX_SECONDS)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "timeout",
                                "timeout must be a number of seconds from 0.001 to %d", TIMEOUT_MAX_SECONDS);
    *ret = (uint64_t)(seconds * 1000);
    return 0;
}

static int check_header(const char *name, const json_t *value, struct task_problem *problem)
{
    struct err err;

    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "headers",
                                "headers: the value of each must be a string");
    if (fetch_header_check(name, json_string_value(value), &err) < 0)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "headers", "headers: %s", err.text);
    return 0;
}

static size_t count_named(const json_t *headers, const char *name)
{
    const char *other;
    json_t *value;
    size_t count = 0;

    json_object_foreach ((json_t *)(uintptr_t)headers, other, value)
        count += strcasecmp(name, other) == 0;
    return count;
}

static int check_headers(json_t *headers, struct task_problem *problem)
{
    const char *name;
    json_t *value;
    int rc = 0;

    if (!headers)
        return 0;
    if (!json_is_object(headers) || json_object_size(headers) > HEADERS_MAX)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "headers",
                                "headers must be an object of at most %d names and values", HEADERS_MAX);
    json_object_foreach (headers, name, value) {
        rc = check_header(name, value, problem);
        if (rc == 0 && count_named(headers, name) > 1)
            rc = task_problem_set(problem, TASK_PROBLEM_INVALID, "headers",
                                  "headers: %.40s is there twice, with upper and lower case", name);
        if (rc < 0)
            break;
    }
    return rc;
}

static bool takes_body(const char *method)
{
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

/* What of the payload is not simply there. */
struct request {
    const char *url;
    const char *method;
    uint64_t timeout_ms;
};

static int read_request(const json_t *payload, const struct config *config, struct request *ret,
                        struct task_problem *problem)
{
    if (!json_object_get(payload, "url"))
        return task_problem_set(problem, TASK_PROBLEM_MISSING, "url", "url is missing");
    int rc = task_payload_text(payload, "url", &ret->url, problem);
    if (rc == 0)
        rc = task_payload_check_url(config, "url", "url", ret->url, problem);
    if (rc == 0)
        rc = read_method(payload, &ret->method, problem);
    if (rc == 0)
        rc = check_headers(json_object_get(payload, "headers"), problem);
    if (rc == 0)
        rc = read_timeout(payload, &ret->timeout_ms, problem);
    if (rc == 0 && json_object_get(payload, "body") && !takes_body(ret->method))
        rc = task_problem_set(problem, TASK_PROBLEM_INVALID, "body", "body: a %s has none", ret->method);
    return rc;
}

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    static const char *const used[] = {"url", "method", "headers", "body", "timeout", NULL};
    struct request request;
    int rc = read_request(payload, services->config, &request, ret);

    if (rc == 0)
        task_payload_keep(payload, used);
    return rc;
}

/* ---- the call ---- */

static int add_headers(struct http_call *call, json_t *headers, struct err *err)
{
    const char *name;
    json_t *value;
    int rc = 0;

    json_object_foreach (headers, name, value) {
        rc = http_call_add_header(call, name, json_string_value(value), err);
        if (rc < 0)
            break;
    }
    return rc;
}

/* A string is sent as it is, anything else as JSON. */
static int add_body(struct http_call *call, const json_t *body, struct err *err)
{
    const char *type = json_is_string(body) ? "text/plain; charset=utf-8" : "application/json";
    char *text;

    if (!body)
        return 0;
    if (json_is_string(body))
        text = strndup(json_string_value(body), json_string_length(body));
    else
        text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return err_set(err, -ENOMEM, "out of memory");
    http_call_set_body(call, text, strlen(text));
    return http_call_has_header(call, "Content-Type") ? 0
                                                      : http_call_add_header(call, "Content-Type", type, err);
}

static size_t body_max_bytes(const struct task_run *run)
{
    return run->services->config->tasks.max_result_bytes / 2;
}

static int send_request(struct task_run *run, struct http_call *call, const struct request *request,
                        struct err *err)
{
    int rc = add_headers(call, json_object_get(run->payload, "headers"), err);

    if (rc == 0)
        rc = add_body(call, json_object_get(run->payload, "body"), err);
    http_call_keep(call, body_max_bytes(run));
    http_call_set_timeout(call, request->timeout_ms);
    return rc == 0 ? http_call_start(call, run, err) : rc;
}

/* The configuration may be another than when the task was checked. */
static enum task_step start(struct task_run *run)
{
    struct request request = {.url = NULL};
    struct task_problem problem;
    struct http_call *call;
    struct err err;

    if (read_request(run->payload, run->services->config, &request, &problem) < 0)
        return task_run_fail(run, true, "%s", problem.text);
    int rc = http_call_create(run, request.method, request.url, &call, &err);
    if (rc < 0)
        return task_run_fail(run, rc != -ENOMEM, "%s", err.text);
    run->state = call;
    rc = send_request(run, call, &request, &err);
    return rc == 0 ? TASK_STEP_PENDING : task_run_fail(run, false, "%s", err.text);
}

static enum task_step step(struct task_run *run)
{
    const struct http_call *call = run->state;

    if (!call)
        return start(run);
    if (http_call_fail(call, run))
        return TASK_STEP_FAILED;
    return task_run_done(run, http_call_result(call, body_max_bytes(run)));
}

const struct task_kind kind_http = {
    .name = "http", .check = check, .step = step, .abort = http_call_abort, .release = http_call_free};
