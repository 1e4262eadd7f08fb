#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fetch/fetch_int.h"

#define USER_AGENT_MAX_BYTES 512

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
    for (unsigned i = 0; i < count; i++) {
        int rc = worker_init(&pool->workers[i], pool, err);
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

static unsigned backlog_of(const struct fetch_worker *worker)
{
    return atomic_load_explicit(&worker->backlog, memory_order_relaxed);
}

/* The first that has begun all that it was given, so that no more workers are awake than have enough to do:
 * their turns are longer, and fewer connections serve the same fetches.  When all are behind, the one that is
 * so least. */
static struct fetch_worker *choose_worker(struct fetch_pool *pool)
{
    struct fetch_worker *best = &pool->workers[0];

    for (unsigned i = 1; i < pool->worker_count && backlog_of(best) > 0; i++)
        if (backlog_of(&pool->workers[i]) < backlog_of(best))
            best = &pool->workers[i];
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
    buf_done(&fetch->body);
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
    free(pool->workers);
    free(pool);
}
