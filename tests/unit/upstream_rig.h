/* upstream_rig.h - upstreams over a real fetch pool and the mock upstream, and calls that count their ends.
 * */
#pragma once

#include "harness.h"

#include <curl/curl.h>
#include <jansson.h>

#include "base/log.h"
#include "upstream/upstream.h"

static struct mock mock;
static bool has_mock;

#define NEED_MOCK()                                                                                          \
    do {                                                                                                     \
        (void)state;                                                                                         \
        if (!has_mock)                                                                                       \
            skip();                                                                                          \
    } while (0)

struct rig {
    struct config *config;
    struct config_upstream settings; /* to be changed before rig_start */
    char base_url[64];
    struct fetch_pool *pool;
    struct upstreams *upstreams;
    struct upstream *upstream;
    unsigned descriptors;
};

/* An upstream named `mock` with no policy but what the test switches on. */
static inline void rig_init(struct rig *rig, unsigned port)
{
    *rig = (struct rig){.descriptors = count_descriptors()};
    rig->config = config_of("fetch: {workers: 2, timeout: 1m}");
    snprintf(rig->base_url, sizeof(rig->base_url), "http://127.0.0.1:%u/", port);
    rig->settings = (struct config_upstream){.name = (char *)(uintptr_t) "mock",
                                             .base_url = rig->base_url,
                                             .timeout_ms = PATIENCE_MS,
                                             .max_response_bytes = 1 << 20};
    rig->settings.breaker.min_requests = 1000000;
    rig->settings.breaker.failure_ratio = 1;
    rig->settings.breaker.slow_ratio = 1;
    rig->settings.breaker.window_ms = 10000;
    rig->settings.breaker.open_ms = 60000;
    rig->settings.breaker.probes = 1;
    rig->settings.retry.max_attempts = 3;
    rig->settings.retry.backoff_base_ms = 1;
    rig->settings.retry.backoff_max_ms = 5;
    rig->settings.retry.budget_min_per_s = 1000;
    rig->settings.hedge.percentile = 0.95;
    rig->settings.hedge.budget = 1;
}

static inline void rig_start(struct rig *rig)
{
    struct err err = {0};

    rig->config->upstreams = &rig->settings;
    rig->config->upstream_count = 1;
    if (fetch_pool_create(rig->config, &rig->pool, &err) < 0 || fetch_pool_start(rig->pool, &err) < 0 ||
        upstreams_create(rig->config, rig->pool, &rig->upstreams, &err) < 0 ||
        upstreams_start(rig->upstreams, &err) < 0)
        fail_msg("%s", err.text);
    rig->upstream = upstreams_find(rig->upstreams, "mock");
    assert_non_null(rig->upstream);
}

static inline void rig_stop(struct rig *rig)
{
    upstreams_stop(rig->upstreams);
    fetch_pool_stop(rig->pool);
}

static inline void rig_free(struct rig *rig)
{
    upstreams_free(rig->upstreams);
    fetch_pool_free(rig->pool);
    rig->config->upstreams = NULL;
    rig->config->upstream_count = 0;
    config_free(rig->config);
    assert_int_equal(count_descriptors(), rig->descriptors);
}

static inline void rig_end(struct rig *rig)
{
    rig_stop(rig);
    rig_free(rig);
}

/* ---- calls ---- */

struct probe {
    struct upstream_call call;
    struct fetch_target *target;
    atomic_uint done;
};

static inline void on_done(struct upstream_call *call)
{
    struct probe *probe = container_of(call, struct probe, call);

    atomic_fetch_add(&probe->done, 1);
}

static inline void probe_init(struct probe *probe, struct rig *rig, const char *path)
{
    struct err err = {0};
    char url[512];

    *probe = (struct probe){.call = {.upstream = rig->upstream,
                                     .deadline_ns = CLOCK_NEVER,
                                     .keep_max_bytes = 100000,
                                     .done = on_done}};
    snprintf(url, sizeof(url), "%s%s", rig->base_url, path + (path[0] == '/'));
    if (fetch_target_create(url, &probe->target, &err) < 0)
        fail_msg("%s: %s", url, err.text);
    probe->call.target = probe->target;
}

static inline void probe_submit(struct probe *probe, struct rig *rig)
{
    struct upstream_call *call = &probe->call;

    upstream_submit(rig->upstreams, &call, 1);
}

static inline void probe_wait(struct probe *probe)
{
    wait_for_count(&probe->done, 1);
}

/* It has ended, once. */
static inline void probe_done(struct probe *probe)
{
    probe_wait(probe);
    assert_int_equal(atomic_load(&probe->done), 1);
    assert_non_null(probe->call.reply);
    upstream_call_done(&probe->call);
    fetch_target_free(probe->target);
}

static inline void assert_reason(const struct probe *probe, enum fetch_reason reason)
{
    if (probe->call.reply->reason != reason)
        fail_msg("%s instead of %s: %s", fetch_reason_names[probe->call.reply->reason],
                 fetch_reason_names[reason], probe->call.reply->error);
}

/* A call from its start to its end. */
static inline enum fetch_reason run_path(struct rig *rig, const char *path)
{
    struct probe probe;

    probe_init(&probe, rig, path);
    probe_submit(&probe, rig);
    probe_wait(&probe);
    enum fetch_reason reason = probe.call.reply->reason;
    probe_done(&probe);
    return reason;
}

/* What the mock answers to a path, past the upstreams. */
struct asked {
    struct fetch fetch;
    atomic_uint done;
};

static inline void on_asked(struct fetch *fetch)
{
    atomic_fetch_add(&container_of(fetch, struct asked, fetch)->done, 1);
}

static inline long ask_mock(struct rig *rig, const char *path, const char *member)
{
    struct asked asked = {.fetch = {.keep_max_bytes = 65536, .done = on_asked}};
    struct fetch *fetch = &asked.fetch;
    struct fetch_target *target;
    char url[256];
    char pattern[64];
    long number = -1;

    snprintf(url, sizeof(url), "%s%s", rig->base_url, path + 1);
    assert_int_equal(fetch_target_create(url, &target, NULL), 0);
    asked.fetch.target = target;
    fetch_submit(rig->pool, &fetch, 1);
    wait_for_count(&asked.done, 1);
    snprintf(pattern, sizeof(pattern), "\"%s\":", member);
    const char *at = memmem(fetch->body.data, fetch->body.size, pattern, strlen(pattern));
    if (at)
        number = strtol(at + strlen(pattern), NULL, 10);
    fetch_done(fetch);
    fetch_target_free(target);
    return number;
}

static inline int rig_set_up(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    has_mock = mock_start(&mock);
    return 0;
}

static inline int rig_tear_down(void **state)
{
    (void)state;
    mock_stop(&mock);
    curl_global_cleanup();
    return 0;
}
