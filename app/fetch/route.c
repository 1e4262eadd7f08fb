/* The way of a fetch before libcurl has it: which origin, whether its address is known, which of the ways to
 * it, which shard.
 *
 * libcurl keeps connections apart by the name of their host.  A route that is more than "to this origin" has
 * a name of its own for it: 10.0.0.1#7@users.internal, which no URL can have.  CURLOPT_CONNECT_TO sends the
 * transfer there, CURLOPT_RESOLVE says where that is; in TLS and in the request the host stays what it is.
 *
 * libcurl makes two attempts at the same time (happy eyeballs, RFC 8305), one for IPv4 and one for IPv6,
 * and in each goes to the next address when one fails, which takes minutes when it does not answer.  So
 * when all addresses are IPv4, those behind the first are written as IPv6 (::ffff:10.0.0.2) and come
 * second after libcurl's 200 ms; connecting.c makes them IPv4 again. */
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch_int.h"

/* With more, which takes addresses that change all the time, new ones are not kept apart any more. */
#define ROUTES_OF_ORIGIN_MAX 64

/* libcurl takes no longer ones from CURLOPT_RESOLVE. */
#define NAME_SIZE 256

/* ---- what libcurl is told ---- */

/* False when it would be too long. */
static bool format_name(const char *host, const char *address, const struct tls_snapshot *tls,
                        char ret_name[NAME_SIZE])
{
    unsigned long long tls_id = tls ? tls->id : 0;
    int length = snprintf(ret_name, NAME_SIZE, "%s#%llu@%s", address, tls_id, host);

    /* A colon would end the name; brackets would make it an address. */
    for (char *at = ret_name; *at; at++)
        if (strchr(":[]", *at))
            *at = '-';
    return length > 0 && length < NAME_SIZE;
}

bool route_needs_entry(const struct route *route)
{
    return route->origin->needs_lookup || route->connect_to;
}

static bool is_ipv6(const char *address)
{
    return strchr(address, ':') != NULL;
}

static bool has_ipv6(const struct address_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (is_ipv6(list->items[i]))
            return true;
    return false;
}

void route_format_entry(const struct route *route, char ret_entry[ROUTE_ENTRY_SIZE])
{
    const struct origin *origin = route->origin;
    const struct address_list *list = &origin->list;
    const char *first = route->address[0] != '\0' ? route->address : list->items[0];
    const char *prefix = has_ipv6(list) ? "" : "::ffff:";
    int length = snprintf(ret_entry, ROUTE_ENTRY_SIZE, "+%s:%u:%s", route->name, origin->port, first);

    for (size_t i = 0; i < list->count && length > 0 && length < ROUTE_ENTRY_SIZE; i++)
        if (strcmp(list->items[i], first) != 0)
            length += snprintf(ret_entry + length, ROUTE_ENTRY_SIZE - (size_t)length, ",%s%s", prefix,
                               list->items[i]);
}

void route_correct_error(const struct route *route, char error[CURL_ERROR_SIZE])
{
    char *name = route->connect_to ? strstr(error, route->name) : NULL;
    char rest[CURL_ERROR_SIZE];

    if (!name)
        return;
    snprintf(rest, sizeof(rest), "%s", name + strlen(route->name));
    snprintf(name, CURL_ERROR_SIZE - (size_t)(name - error), "%s%s", route->origin->query.host, rest);
}

/* ---- routes ---- */

static void route_free(struct route *route)
{
    tls_snapshot_unref(route->tls);
    curl_slist_free_all(route->connect_to);
    free(route->name);
    free(route);
}

static bool fill_names(struct route *route)
{
    const char *host = route->origin->query.host;
    char name[NAME_SIZE];
    char entry[NAME_SIZE + 3];

    if (route->address[0] == '\0' && !route->tls)
        return (route->name = strdup(host)) != NULL;
    if (!format_name(host, route->address, route->tls, name))
        return false;
    snprintf(entry, sizeof(entry), "::%s:", name); /* whatever the host and the port are */
    route->connect_to = curl_slist_append(NULL, entry);
    route->name = strdup(name);
    return route->connect_to && route->name;
}

static struct route *route_create(struct origin *origin, const char *address, const struct fetch_tls *tls)
{
    struct route *route = calloc(1, sizeof(*route));

    if (!route)
        return NULL;
    route->origin = origin;
    route->tls = tls ? tls_acquire(tls) : NULL;
    snprintf(route->address, sizeof(route->address), "%s", address);
    if (!fill_names(route)) {
        route_free(route);
        return NULL;
    }
    LIST_INSERT_HEAD(&origin->routes, route, link);
    return route;
}

static bool is_idle(const struct route *route)
{
    return route->fetch_count == 0 && !route->was_used;
}

void route_free_of(struct origin *origin, bool only_idle)
{
    struct route *next;

    for (struct route *route = LIST_FIRST(&origin->routes); route; route = next) {
        next = LIST_NEXT(route, link);
        if (!only_idle || is_idle(route)) {
            LIST_REMOVE(route, link);
            route_free(route);
        } else {
            route->was_used = false;
        }
    }
}

/* ---- choosing ---- */

static const struct fetch_target *current_target(const struct fetch *fetch)
{
    return fetch->hop ? fetch->hop : fetch->target;
}

/* What the caller says of the origin does not hold where a redirect leads. */
static bool is_at_home(const struct fetch *fetch)
{
    return !fetch->hop || strcmp(fetch->hop->origin_key, fetch->target->origin_key) == 0;
}

static const char *choose_address(const struct fetch *fetch)
{
    const struct address_list *list = &fetch->origin->list;
    char name[NAME_SIZE];

    if (!fetch->choose || list->count < 2 || !is_at_home(fetch))
        return "";
    size_t index = fetch->choose(fetch, list->items, list->count);
    assert(index < list->count);
    return format_name(fetch->origin->query.host, list->items[index], NULL, name) ? list->items[index] : "";
}

static const struct fetch_tls *tls_of(const struct fetch *fetch)
{
    return current_target(fetch)->is_tls && is_at_home(fetch) ? fetch->tls : NULL;
}

static struct route *route_of(struct origin *origin, const char *address, const struct fetch_tls *tls)
{
    uint64_t tls_id = tls ? tls_current_id(tls, origin->worker->now_ns) : 0;
    unsigned count = 0;
    struct route *route;

    for (route = LIST_FIRST(&origin->routes); route; route = LIST_NEXT(route, link)) {
        if ((route->tls ? route->tls->id : 0) == tls_id && strcmp(route->address, address) == 0)
            return route;
        count++;
    }
    if (count >= ROUTES_OF_ORIGIN_MAX && address[0] != '\0')
        return route_of(origin, "", tls);
    return route_create(origin, address, tls);
}

static void send_to_shard(struct fetch *fetch)
{
    struct origin *origin = fetch->origin;
    struct route *route = route_of(origin, choose_address(fetch), tls_of(fetch));
    struct shard *shard = route ? shard_choose(route) : NULL;

    if (!shard) {
        fetch_end(fetch, FETCH_CONNECT, "out of memory, or the name of the host is too long");
        return;
    }
    if (origin->worker->now_ns >= origin->give_again_ns)
        origin_give_again(origin);
    fetch->route = route;
    route->was_used = true;
    transfer_start(fetch, shard);
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
        origin_ask(origin);
    bool has_no_address = origin->addresses[0] == '\0';
    if (has_no_address && origin->is_asked)
        origin_wait(origin, fetch);
    else if (has_no_address)
        fetch_end(fetch, FETCH_DNS, "could not resolve host %s: %s", origin->query.host,
                  gai_strerror(origin->query.gai_error));
    else
        send_to_shard(fetch);
}
