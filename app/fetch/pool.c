#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fetch/fetch_int.h"

#define USER_AGENT_MAX_BYTES 512

/* With more a worker has enough to do in each turn. */
#define FEW_IN_FLIGHT 500

static const struct fetch_tls_options default_tls = {
    .ca_file = "", .cert_file = "", .key_file = "", .verify = true, .http2 = true, .min_version_x10 = 12};

/* As a list, they go into each request once; as options, libcurl formats each of them twice. */
static int make_headers(struct fetch_pool *pool)
{
    char user_agent[USER_AGENT_MAX_BYTES];

    pool->headers = curl_slist_append(NULL, "Accept-Encoding: gzip");
    if (!pool->headers)
        return -ENOMEM;
    snprintf(user_agent, sizeof(user_agent), "User-Agent: %s", pool->config->fetch.user_agent);
    return curl_slist_append(pool->headers, user_agent) ? 0 : -ENOMEM;
}

int fetch_pool_create(const struct config *config, struct fetch_pool **ret_pool, struct err *err)
{
    struct fetch_pool *pool = calloc(1, sizeof(*pool));
    unsigned count = config->fetch.workers ? config->fetch.workers : thread_cpu_count();

    if (!pool || !(pool->workers = calloc(count, sizeof(*pool->workers)))) {
        free(pool);
        return err_set(err, -ENOMEM, "out of memory");
    }
    pool->config = config;
    if (make_headers(pool) < 0) {
        fetch_pool_free(pool);
        return err_set(err, -ENOMEM, "out of memory");
    }
    int rc = fetch_tls_create(config, &default_tls, &pool->tls, err);
    if (rc < 0) {
        fetch_pool_free(pool);
        return rc;
    }
    for (unsigned i = 0; i < count; i++) {
        rc = worker_init(&pool->workers[i], pool, err);
        if (rc < 0) {
            fetch_pool_free(pool);
            return rc;
        }
        pool->worker_count++;
    }
    *ret_pool = pool;
    return 0;
}

int fetch_pool_start(struct fetch_pool *pool, struct err *err)
{
    int rc = resolver_create(pool->config->fetch.resolver_threads, &pool->resolver, err);

    for (unsigned i = 0; i < pool->worker_count && rc == 0; i++)
        rc = worker_start(&pool->workers[i], i, err);
    return rc;
}

/* Fetches in flight; 0 when they are few and all have been taken. */
static uint64_t load_of(const struct fetch_worker *worker)
{
    uint64_t ended_count = atomic_load(&worker->ended_count);
    uint64_t taken_count = atomic_load(&worker->taken_count);
    uint64_t pushed_count = atomic_load(&worker->pushed_count);
    uint64_t in_flight = pushed_count - ended_count;

    return taken_count == pushed_count && in_flight <= FEW_IN_FLIGHT ? 0 : in_flight;
}

/* The first that keeps up, so that no more workers are awake than have enough to do: their turns are longer,
 * and fewer connections serve the same fetches.  When none does, the one with the least: were they to take
 * turns, each would come to keep as many connections as it had at its busiest. */
static struct fetch_worker *choose_worker(struct fetch_pool *pool)
{
    struct fetch_worker *best = &pool->workers[0];
    uint64_t least = load_of(best);

    for (unsigned i = 1; i < pool->worker_count && least > 0; i++) {
        uint64_t load = load_of(&pool->workers[i]);
        if (load < least) {
            best = &pool->workers[i];
            least = load;
        }
    }
    return best;
}

void fetch_submit(struct fetch_pool *pool, struct fetch **fetches, size_t count)
{
    worker_push(choose_worker(pool), fetches, count);
}

void fetch_cancel(struct fetch *fetch)
{
    worker_push_cancel(fetch->worker, fetch);
}

void fetch_done(struct fetch *fetch)
{
    if (fetch->budget)
        budget_give(fetch->budget, fetch->body.capacity);
    fetch->budget = NULL;
    buf_done(&fetch->body);
    free(fetch->content_type);
    fetch->content_type = NULL;
}

void fetch_pool_stop(struct fetch_pool *pool)
{
    for (unsigned i = 0; i < pool->worker_count; i++)
        worker_tell_stop(&pool->workers[i]);
    for (unsigned i = 0; i < pool->worker_count; i++)
        worker_join(&pool->workers[i]);
    resolver_free(pool->resolver);
    pool->resolver = NULL;
}

void fetch_pool_free(struct fetch_pool *pool)
{
    if (!pool)
        return;
    assert(!pool->resolver);
    for (unsigned i = 0; i < pool->worker_count; i++)
        worker_done(&pool->workers[i]);
    curl_slist_free_all(pool->headers);
    fetch_tls_free(pool->tls);
    free(pool->workers);
    free(pool);
}
