/* What is known about origins: their names' addresses, and who waits for them.
 *
 * Addresses are kept for dns_ttl.  When that is over the old ones still serve while the resolver looks again,
 * so a slow name server delays only the first fetch to a host. */
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch_int.h"

/* A failed look-up is repeated at most this often. */
#define NEGATIVE_TTL_MS 1000

/* While name servers cannot be asked, the addresses they gave last serve this long. */
#define STALE_MAX_MS (5 * 60 * 1000)

/* Redirects can lead anywhere.  Origins that nobody used for a while are forgotten; more than these are
 * refused. */
#define ORIGINS_MAX 4096

/* ---- addresses ---- */

static void split_addresses(const char *addresses, struct address_list *ret_list)
{
    char *rest = ret_list->text;
    char *item;

    snprintf(ret_list->text, sizeof(ret_list->text), "%s", addresses);
    ret_list->count = 0;
    while (ret_list->count < RESOLVER_ADDRESSES_MAX && (item = strsep(&rest, ",")))
        if (item[0] != '\0')
            ret_list->items[ret_list->count++] = item;
}

static void set_addresses(struct origin *origin, const char *addresses)
{
    snprintf(origin->addresses, sizeof(origin->addresses), "%s", addresses);
    split_addresses(addresses, &origin->list);
    origin_give_again(origin);
}

void origin_give_again(struct origin *origin)
{
    origin->generation++;
    origin->give_again_ns = clock_deadline_ns(origin->worker->now_ns, ADDRESS_GIVEN_MS);
}

/* "127.0.0.1", "[::1]" */
static void set_numeric(struct origin *origin, const char *host)
{
    char address[CONFIG_HOST_MAX_BYTES + 1];
    bool has_brackets = host[0] == '[';

    snprintf(address, sizeof(address), "%s", host + has_brackets);
    address[strcspn(address, "]")] = '\0';
    set_addresses(origin, address);
}

/* ---- life ---- */

static void on_query_done(struct resolver_query *query)
{
    struct origin *origin = container_of(query, struct origin, query);

    worker_push_resolved(origin->worker, query);
}

static void origin_free(struct origin *origin)
{
    route_free_of(origin, false);
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
    if (!origin->needs_lookup)
        set_numeric(origin, target->host);
    TAILQ_INIT(&origin->waiting);
    LIST_INIT(&origin->routes);
    if (origin->key && origin->query.host)
        HASH_ADD_KEYPTR(hh, worker->origins, origin->key, strlen(origin->key), origin);
    if (!origin->hh.tbl) {
        origin_free(origin);
        return NULL;
    }
    return origin;
}

struct origin *origin_of(struct fetch_worker *worker, const struct fetch_target *target)
{
    struct origin *origin;

    HASH_FIND_STR(worker->origins, target->origin_key, origin);
    if (!origin && HASH_COUNT(worker->origins) < ORIGINS_MAX)
        origin = origin_create(worker, target);
    return origin;
}

static bool is_idle(const struct origin *origin)
{
    return LIST_EMPTY(&origin->routes) && origin->waiting_count == 0 && !origin->is_asked &&
           !origin->was_used;
}

void origin_trim(struct fetch_worker *worker)
{
    struct origin *next;

    for (struct origin *origin = worker->origins; origin; origin = next) {
        next = origin->hh.next;
        route_free_of(origin, true);
        if (is_idle(origin)) {
            assert(worker->origins); /* it is in there */
            HASH_DEL(worker->origins, origin);
            origin_free(origin);
        } else {
            origin->was_used = false;
        }
    }
}

void origin_free_all(struct fetch_worker *worker)
{
    struct origin *origin;

    while ((origin = worker->origins)) {
        HASH_DEL(worker->origins, origin);
        origin_free(origin);
    }
}

/* ---- looking up ---- */

void origin_ask(struct origin *origin)
{
    if (origin->is_asked)
        return;
    origin->is_asked = true;
    resolver_ask(origin->worker->pool->resolver, &origin->query);
}

void origin_wait(struct origin *origin, struct fetch *fetch)
{
    TAILQ_INSERT_TAIL(&origin->waiting, fetch, link);
    origin->waiting_count++;
}

void origin_stop_waiting(struct fetch *fetch)
{
    TAILQ_REMOVE(&fetch->origin->waiting, fetch, link);
    fetch->origin->waiting_count--;
}

static void take_addresses(struct origin *origin)
{
    origin->confirmed_ns = origin->worker->now_ns;
    if (strcmp(origin->addresses, origin->query.addresses) != 0)
        set_addresses(origin, origin->query.addresses);
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
        origin->addresses[0] = '\0'; /* which is how they are asked for; `list` follows with the next ones */
}

void origin_resolved(struct resolver_query *query)
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
        origin_stop_waiting(fetch);
        route_fetch(fetch);
    }
}
