/* fetch_probe.h - a fetch pool, and fetches that count their ends, for the tests of the pool. */
#pragma once

#include "fake_names.h"

#include "base/log.h"
#include "fetch/fetch_int.h"

static struct mock mock;
static bool has_mock;

#define NEED_MOCK()                                                                                          \
    do {                                                                                                     \
        (void)state;                                                                                         \
        if (!has_mock)                                                                                       \
            skip();                                                                                          \
    } while (0)

struct probe {
    struct fetch fetch;
    struct fetch_target *target;
    atomic_uint done;
    void (*then)(struct probe *probe); /* on the worker, when it has ended; may be NULL */
    unsigned shard_count;              /* of its worker, then */
    unsigned idle_count;
    unsigned origin_count;
};

static atomic_uint done_count;

struct pool {
    struct config *config;
    struct fetch_pool *pool;
    unsigned descriptors;
};

static inline struct pool pool_start(const char *yaml)
{
    struct pool pool = {.config = config_of(yaml), .descriptors = count_descriptors()};
    struct err err = {0};

    atomic_store(&done_count, 0);
    atomic_store(&names_asked, 0);
    atomic_store(&names_held, 0);
    names_open(false);
    if (fetch_pool_create(pool.config, &pool.pool, &err) < 0 || fetch_pool_start(pool.pool, &err) < 0)
        fail_msg("%s", err.text);
    return pool;
}

static inline void pool_end(struct pool *pool)
{
    fetch_pool_stop(pool->pool);
    fetch_pool_free(pool->pool);
    config_free(pool->config);
    assert_int_equal(count_descriptors(), pool->descriptors);
}

static inline void on_done(struct fetch *fetch)
{
    struct probe *probe = container_of(fetch, struct probe, fetch);

    if (probe->then)
        probe->then(probe);
    atomic_fetch_add(&probe->done, 1);
    atomic_fetch_add(&done_count, 1);
}

static inline void probe_init(struct probe *probe, const char *url)
{
    struct err err = {0};

    *probe = (struct probe){0};
    if (fetch_target_create(url, &probe->target, &err) < 0)
        fail_msg("%s: %s", url, err.text);
    probe->fetch.target = probe->target;
    probe->fetch.keep_max_bytes = 100;
    probe->fetch.done = on_done;
}

static inline void probe_init_at(struct probe *probe, const char *host, const char *path)
{
    char url[512];

    snprintf(url, sizeof(url), "http://%s:%u%s", host, mock.port, path);
    probe_init(probe, url);
}

static inline void probe_done(struct probe *probe)
{
    assert_int_equal(atomic_load(&probe->done), 1);
    fetch_done(&probe->fetch);
    fetch_target_free(probe->target);
}

static inline void submit(struct pool *pool, struct probe *probe)
{
    struct fetch *fetch = &probe->fetch;

    fetch_submit(pool->pool, &fetch, 1);
}

static inline void run(struct pool *pool, struct probe *probe)
{
    submit(pool, probe);
    wait_for_count(&probe->done, 1);
}

static inline struct probe *probes_at(size_t count, const char *host, const char *path)
{
    struct probe *probes = calloc(count, sizeof(*probes));

    assert_non_null(probes);
    for (size_t i = 0; i < count; i++)
        probe_init_at(&probes[i], host, path);
    return probes;
}

static inline void submit_all(struct pool *pool, struct probe *probes, size_t count)
{
    struct fetch **fetches = calloc(count, sizeof(*fetches));

    assert_non_null(fetches);
    for (size_t i = 0; i < count; i++)
        fetches[i] = &probes[i].fetch;
    fetch_submit(pool->pool, fetches, count);
    free(fetches);
}

static inline void free_probes(struct probe *probes, size_t count, enum fetch_reason reason)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(probes[i].fetch.reason, reason);
        probe_done(&probes[i]);
    }
    free(probes);
}

#define ANY_STATUS (-1)

static inline void assert_outcome(struct pool *pool, struct probe *probe, enum fetch_reason reason,
                                  int status)
{
    run(pool, probe);
    if (probe->fetch.reason != reason || (status != ANY_STATUS && probe->fetch.status != status))
        fail_msg("%s: %s, status %d: %s", fetch_target_url(probe->target),
                 fetch_reason_names[probe->fetch.reason], probe->fetch.status, probe->fetch.error);
    assert_true((probe->fetch.error[0] == '\0') == (reason == FETCH_OK));
    assert_true(reason == FETCH_OK || probe->fetch.body.size == 0);
    assert_true(probe->fetch.elapsed_ns > 0);
    probe_done(probe);
}

static inline int fetch_set_up(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    metrics_register(fetch_metrics, fetch_metrics_count);
    has_mock = mock_start(&mock);
    return 0;
}

static inline int fetch_tear_down(void **state)
{
    (void)state;
    mock_stop(&mock);
    curl_global_cleanup();
    return 0;
}
