/* The way of a fetch before libcurl has it: which origin, whether its address is known, which shard.
 *
 * Addresses are kept for dns_ttl.  When that is over the old ones still serve while the resolver looks again,
 * so a slow name server delays only the first fetch to a host. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fetch/fetch_int.h"

/* A failed look-up is repeated at most this often. */
#define NEGATIVE_TTL_MS 1000

/* While name servers cannot be asked, the addresses they gave last serve this long. */
#define STALE_MAX_MS (5 * 60 * 1000)

/* Redirects can lead anywhere.  Origins that nobody used for a while are forgotten; more than these are
 * refused. */
#define ORIGINS_MAX 4096

static const struct fetch_target *current_target(const struct fetch *fetch)
{
    return fetch->hop ? fetch->hop : fetch->target;
}

static void on_query_done(struct resolver_query *query)
{
    struct origin *origin = container_of(query, struct origin, query);

    worker_push_resolved(origin->worker, query);
}

static void origin_free(struct origin *origin)
{
    free(origin->key);
    free((void *)(uintptr_t)origin->query.host);
    free(origin);
}

static struct origin *origin_create(struct fetch_worker *worker, const struct fetch_target *target)
{
    struct origin *origin = calloc(1, sizeof(*origin));

    if (!origin)
        return NULL;
    origin->key = strdup(target->origin_key);
    origin->query.host = strdup(target->host);
    origin->query.done = on_query_done;
    origin->port = target->port;
    origin->worker = worker;
    origin->needs_lookup = target->needs_lookup;
    TAILQ_INIT(&origin->waiting);
    if (origin->key && origin->query.host)
        HASH_ADD_KEYPTR(hh, worker->origins, origin->key, strlen(origin->key), origin);
    if (!origin->hh.tbl) {
        origin_free(origin);
        return NULL;
    }
    return origin;
}

static struct origin *origin_of(struct fetch_worker *worker, const struct fetch_target *target)
{
    struct origin *origin;

    HASH_FIND_STR(worker->origins, target->origin_key, origin);
    if (!origin && HASH_COUNT(worker->origins) < ORIGINS_MAX)
        origin = origin_create(worker, target);
    return origin;
}

static void ask(struct origin *origin)
{
    if (origin->is_asked)
        return;
    origin->is_asked = true;
    resolver_ask(origin->worker->pool->resolver, &origin->query);
}

static void wait_for_address(struct origin *origin, struct fetch *fetch)
{
    TAILQ_INSERT_TAIL(&origin->waiting, fetch, link);
    origin->fetch_count++;
}

/* Shards get the addresses with their next transfer. */
static void start_generation(struct origin *origin)
{
    origin->generation++;
    origin->give_again_ns = clock_deadline_ns(origin->worker->now_ns, ADDRESS_GIVEN_MS);
}

static void send_to_shard(struct fetch *fetch)
{
    struct origin *origin = fetch->origin;
    struct shard *shard = shard_choose(origin);

    if (origin->worker->now_ns >= origin->give_again_ns)
        start_generation(origin);
    if (shard)
        transfer_start(fetch, shard);
    else
        fetch_end(fetch, FETCH_CONNECT, "out of memory");
}

void route_fetch(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;
    struct origin *origin = origin_of(worker, current_target(fetch));

    fetch->origin = origin;
    if (!origin) {
        fetch_end(fetch, FETCH_CONNECT, "no room for another upstream host");
        return;
    }
    origin->was_used = true;
    if (origin->needs_lookup && worker->now_ns >= origin->fresh_until_ns)
        ask(origin);
    bool has_no_address = origin->needs_lookup && origin->addresses[0] == '\0';
    if (has_no_address && origin->is_asked)
        wait_for_address(origin, fetch);
    else if (has_no_address)
        fetch_end(fetch, FETCH_DNS, "could not resolve host %s: %s", origin->query.host,
                  gai_strerror(origin->query.gai_error));
    else
        send_to_shard(fetch);
}

static void take_addresses(struct origin *origin)
{
    origin->confirmed_ns = origin->worker->now_ns;
    if (strcmp(origin->addresses, origin->query.addresses) == 0)
        return;
    memcpy(origin->addresses, origin->query.addresses, sizeof(origin->addresses));
    start_generation(origin);
}

static bool is_temporary(int gai_error)
{
    return gai_error == EAI_AGAIN || gai_error == EAI_SYSTEM || gai_error == EAI_MEMORY;
}

/* A name that is no more has no addresses; that nobody could be asked does not change them for a while. */
static void take_failure(struct origin *origin)
{
    if (!is_temporary(origin->query.gai_error) ||
        origin->worker->now_ns >= clock_deadline_ns(origin->confirmed_ns, STALE_MAX_MS))
        origin->addresses[0] = '\0';
}

void route_resolved(struct resolver_query *query)
{
    struct origin *origin = container_of(query, struct origin, query);
    struct fetch_worker *worker = origin->worker;
    const struct config *config = worker->pool->config;
    bool is_found = query->gai_error == 0;
    struct fetch *fetch;

    origin->is_asked = false;
    origin->fresh_until_ns =
        clock_deadline_ns(worker->now_ns, is_found ? config->fetch.dns_ttl_ms : NEGATIVE_TTL_MS);
    if (is_found)
        take_addresses(origin);
    else
        take_failure(origin);
    while ((fetch = TAILQ_FIRST(&origin->waiting))) {
        route_stop_waiting(fetch);
        route_fetch(fetch);
    }
}

void route_stop_waiting(struct fetch *fetch)
{
    TAILQ_REMOVE(&fetch->origin->waiting, fetch, link);
    fetch->origin->fetch_count--;
}

static bool is_idle(const struct origin *origin)
{
    return origin->fetch_count == 0 && !origin->is_asked && !origin->was_used;
}

static void free_origins(struct fetch_worker *worker, bool only_idle)
{
    struct origin *next;

    for (struct origin *origin = worker->origins; origin; origin = next) {
        next = origin->hh.next;
        if (!only_idle || is_idle(origin)) {
            HASH_DEL(worker->origins, origin);
            origin_free(origin);
        } else {
            origin->was_used = false;
        }
    }
}

void route_trim_origins(struct fetch_worker *worker)
{
    free_origins(worker, true);
}

void route_free_origins(struct fetch_worker *worker)
{
    free_origins(worker, false);
}
