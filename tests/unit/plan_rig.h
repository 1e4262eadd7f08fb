/* plan_rig.h - an endpoint out of YAML, run against the mock upstream. */
#pragma once

#include "harness.h"

#include <curl/curl.h>
#include <jansson.h>

#include "base/json.h"
#include "base/log.h"
#include "gather/answer.h"
#include "gather/plan.h"

static struct mock mock;
static bool has_mock;

#define NEED_MOCK()                                                                                          \
    do {                                                                                                     \
        (void)state;                                                                                         \
        if (!has_mock)                                                                                       \
            skip();                                                                                          \
    } while (0)

/* What a client asks with. */
struct client_request {
    const char *path_arg;
    const char *query;
    const char *body;
    const char *headers[8]; /* name, value, ... */
    uint64_t deadline_ms;   /* 0: the endpoint's */
};

struct rig {
    struct config *config;
    struct fetch_pool *pool;
    struct upstreams *upstreams;
    struct budget budget;
    struct plan *plan;
    /* of the last run: */
    struct plan_run *run;
    struct gather *gather;
    atomic_uint done;
    atomic_uint released;
    atomic_uint part_count;
    size_t ended[CONFIG_PARTS_MAX]; /* indexes of parts in the order in which they were told */
};

/* Upstreams: `u` is the mock with no policy, `dead` a port where nobody listens, `busy` refuses all but one
 * call, `v` lies behind a path and forwards X-Wish. */
static inline struct config *rig_config(const char *endpoint)
{
    char yaml[8192];

    snprintf(yaml, sizeof(yaml),
             "fetch: {workers: 2, timeout: 1m}\n"
             "upstreams:\n"
             "  - {name: u, base_url: \"http://127.0.0.1:%u\", timeout: 1m, max_response: 1MiB,\n"
             "     retry: {enabled: false}, breaker: {enabled: false}}\n"
             "  - {name: v, base_url: \"http://127.0.0.1:%u/base\", timeout: 1m, forward_headers: [X-Wish],\n"
             "     retry: {enabled: false}, breaker: {enabled: false}}\n"
             "  - {name: busy, base_url: \"http://127.0.0.1:%u\", max_in_flight: 1, max_queue: 0,\n"
             "     retry: {enabled: false}, breaker: {enabled: false}}\n"
             "  - {name: dead, base_url: \"http://127.0.0.1:9\", retry: {enabled: false},\n"
             "     breaker: {enabled: false}}\n"
             "endpoints:\n"
             "%s",
             mock.port, mock.port, mock.port, endpoint);
    return config_of(yaml);
}

static inline void rig_start(struct rig *rig, const char *endpoint)
{
    struct err err = {0};

    *rig = (struct rig){.config = rig_config(endpoint)};
    budget_init(&rig->budget, NULL, rig->config->fetch.max_buffered_bytes);
    if (fetch_pool_create(rig->config, &rig->pool, &err) < 0 || fetch_pool_start(rig->pool, &err) < 0 ||
        upstreams_create(rig->config, rig->pool, &rig->upstreams, &err) < 0 ||
        upstreams_start(rig->upstreams, &err) < 0 ||
        plan_create(&rig->config->endpoints[0], rig->upstreams, &rig->budget, &rig->plan, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void rig_end(struct rig *rig)
{
    upstreams_stop(rig->upstreams);
    fetch_pool_stop(rig->pool);
    plan_free(rig->plan);
    upstreams_free(rig->upstreams);
    fetch_pool_free(rig->pool);
    config_free(rig->config);
    assert_int_equal(atomic_load(&rig->budget.used), 0);
}

/* ---- a request ---- */

static inline const char *request_path_arg(void *arg, size_t i)
{
    const struct client_request *request = arg;

    (void)i;
    return request->path_arg ? request->path_arg : "";
}

static inline const char *request_query(void *arg)
{
    return ((const struct client_request *)arg)->query;
}

static inline const char *request_header(void *arg, const char *name)
{
    const struct client_request *request = arg;

    for (size_t i = 0; i + 1 < ARRAY_LEN(request->headers) && request->headers[i]; i += 2)
        if (strcasecmp(request->headers[i], name) == 0)
            return request->headers[i + 1];
    return strcasecmp(name, "Content-Type") == 0 && request->body ? "application/json" : NULL;
}

static inline const char *request_body(void *arg, size_t *ret_size)
{
    const struct client_request *request = arg;

    *ret_size = request->body ? strlen(request->body) : 0;
    return request->body ? request->body : "";
}

static inline struct arguments *read_request(struct rig *rig, struct client_request *request)
{
    const struct request_reader reader = {request, request_path_arg, request_query, request_header,
                                          request_body};
    struct arguments_problem problem = {.status = 0};
    struct arguments *arguments = NULL;

    if (arguments_create(plan_rules(rig->plan), &reader, &arguments, &problem) < 0)
        fail_msg("%d %s: %s", problem.status, problem.name, problem.text);
    return arguments;
}

static inline void rig_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct rig *rig = arg;

    (void)gather;
    rig->ended[atomic_load(&rig->part_count)] = part->index;
    atomic_fetch_add(&rig->part_count, 1);
}

static inline void rig_done(struct plan_run *run, void *arg)
{
    struct rig *rig = arg;

    assert_ptr_equal(run, rig->run);
    atomic_fetch_add(&rig->done, 1);
}

static inline void rig_release(void *arg)
{
    atomic_fetch_add(&((struct rig *)arg)->released, 1);
}

static inline void run_create(struct rig *rig, struct client_request *request)
{
    const struct config_endpoint *endpoint = plan_endpoint(rig->plan);
    struct err err = {0};
    struct plan_run_options options = {
        .arguments = read_request(rig, request),
        .client = {.deadline_ns = in_ms(request->deadline_ms ? request->deadline_ms : endpoint->timeout_ms),
                   .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                   .request_id = "f00d",
                   .header = request_header,
                   .arg = request},
        .part_ended = rig_part_ended,
        .done = rig_done,
        .release = rig_release,
        .arg = rig,
    };

    atomic_store(&rig->done, 0);
    atomic_store(&rig->released, 0);
    atomic_store(&rig->part_count, 0);
    if (plan_run_create(rig->plan, &options, &rig->run, &err) < 0)
        fail_msg("%s", err.text);
    rig->gather = plan_run_gather(rig->run);
    assert_ptr_equal(plan_run_plan(rig->run), rig->plan);
}

static inline void run_wait(struct rig *rig)
{
    wait_for_count(&rig->done, 1);
    assert_int_equal(atomic_load(&rig->part_count), plan_endpoint(rig->plan)->part_count);
}

/* All of it, to the end of its parts. */
static inline void run(struct rig *rig, struct client_request request)
{
    run_create(rig, &request);
    gather_start(rig->gather);
    run_wait(rig);
}

static inline void run_end(struct rig *rig)
{
    assert_int_equal(atomic_load(&rig->done), 1);
    assert_int_equal(atomic_load(&rig->released), 0);
    gather_unref(rig->gather);
    assert_int_equal(atomic_load(&rig->released), 1);
}

/* ---- what came of it ---- */

static inline struct part_outcome outcome_of(const struct rig *rig, const char *name)
{
    const struct config_endpoint *endpoint = plan_endpoint(rig->plan);

    for (size_t i = 0; i < endpoint->part_count; i++)
        if (strcmp(endpoint->parts[i].name, name) == 0)
            return plan_part_outcome(rig->run, i);
    fail_msg("no part %s", name);
    return (struct part_outcome){.config = NULL};
}

static inline void append_value(const struct rig *rig, const char *name, struct buf *out)
{
    struct part_outcome outcome = outcome_of(rig, name);

    if (outcome.reason)
        fail_msg("%s: %s, %s", name, outcome.reason, outcome.error);
    assert_int_equal(outcome.state, PART_OK);
    part_value_append(out, outcome.config, outcome.value);
    buf_append(out, "", 1);
    assert_false(out->failed);
}

static inline void assert_value(const struct rig *rig, const char *name, const char *json)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 22);

    append_value(rig, name, &out);
    assert_string_equal(out.data, json);
}

static inline void assert_fails(const struct rig *rig, const char *name, const char *reason)
{
    struct part_outcome outcome = outcome_of(rig, name);

    assert_string_equal(outcome.reason ? outcome.reason : "ok", reason);
    assert_null(outcome.value);
    assert_true(outcome.state > PART_OK);
    assert_true(outcome.error[0] != '\0');
}

/* What the mock says that it was asked, when it was asked to echo. */
static inline json_t *echo_of(const struct rig *rig, const char *name)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 22);

    append_value(rig, name, &out);
    json_t *json = json_loads(out.data, JSON_DECODE_ANY, NULL);
    if (!json)
        fail_msg("no echo: %s", out.data);
    return json;
}

static inline void assert_echo(const struct rig *rig, const char *name, const char *member,
                               const char *expected)
{
    json_t *echo = echo_of(rig, name);

    assert_string_equal(json_string_value(json_object_get(echo, member)), expected);
    json_decref(echo);
}

/* The value of a header that was sent at most once, "" when it was not; for free. */
static inline char *header_of(const struct rig *rig, const char *part, const char *name)
{
    json_t *echo = echo_of(rig, part);
    const char *found = NULL;
    const char *key;
    json_t *value;

    json_object_foreach (json_object_get(echo, "headers"), key, value) {
        if (strcasecmp(key, name) != 0)
            continue;
        assert_null(found);
        found = json_string_value(value);
    }
    char *copy = strdup(found ? found : "");
    assert_non_null(copy);
    json_decref(echo);
    return copy;
}

static inline void assert_header(const struct rig *rig, const char *part, const char *name,
                                 const char *expected)
{
    char *found = header_of(rig, part, name);

    assert_string_equal(found, expected);
    free(found);
}

static inline json_t *answer_of(const struct rig *rig)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 22);

    answer_append_json(&out, rig->run, 1500 * NS_PER_MS);
    assert_false(out.failed);
    json_t *json = json_loadb(out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json)
        fail_msg("no JSON: %.*s", (int)out.size, out.data);
    return json;
}

static inline void assert_answer(const struct rig *rig, const char *expected)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 22);

    answer_append_json(&out, rig->run, 1500 * NS_PER_MS);
    buf_append(&out, "", 1);
    assert_string_equal(out.data, expected);
}

static inline int mock_set_up(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    has_mock = mock_start(&mock);
    return 0;
}

static inline int mock_tear_down(void **state)
{
    (void)state;
    mock_stop(&mock);
    curl_global_cleanup();
    return 0;
}
