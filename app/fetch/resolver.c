#include "fetch/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fetch/fetch_int.h"

#define STOP_MS 1000

/* One host, and all who want to know its addresses. */
struct lookup {
    char *host;
    TAILQ_HEAD(query_list, resolver_query) queries;
    TAILQ_ENTRY(lookup) link; /* in the queue, until a thread has begun it */
    UT_hash_handle hh;
};

struct resolver {
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct lookup *by_host;
    TAILQ_HEAD(lookup_list, lookup) queue;
    bool is_stopping;
    unsigned ended_count; /* threads that are past their last look-up */
    pthread_cond_t has_work;
    pthread_cond_t has_ended;

    pthread_t *threads; /* set before they are used, then read-only */
    unsigned thread_count;
};

static char *format_addresses(const struct addrinfo *list)
{
    char text[RESOLVER_ADDRESSES_SIZE] = "";
    size_t length = 0;
    int count = 0;

    for (const struct addrinfo *at = list; at && count < RESOLVER_ADDRESSES_MAX; at = at->ai_next) {
        char address[INET6_ADDRSTRLEN];
        if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s", count++ ? "," : "", address);
    }
    return count ? strdup(text) : NULL;
}

static int look_up(const char *host, char **ret_addresses)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;

    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0)
        return rc;
    *ret_addresses = format_addresses(list);
    freeaddrinfo(list);
    return *ret_addresses ? 0 : EAI_MEMORY;
}

static void lookup_free(struct lookup *lookup)
{
    free(lookup->host);
    free(lookup);
}

/* NULL when out of memory. */
static struct lookup *add_lookup_locked(struct resolver *resolver, const char *host)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));

    if (!lookup)
        return NULL;
    TAILQ_INIT(&lookup->queries);
    lookup->host = strdup(host);
    if (lookup->host)
        HASH_ADD_KEYPTR(hh, resolver->by_host, lookup->host, strlen(lookup->host), lookup);
    if (!lookup->hh.tbl) {
        lookup_free(lookup);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&resolver->queue, lookup, link);
    pthread_cond_signal(&resolver->has_work);
    return lookup;
}

static struct lookup *next_lookup(struct resolver *resolver)
{
    LOCK(&resolver->lock);
    while (TAILQ_EMPTY(&resolver->queue) && !resolver->is_stopping)
        cond_wait_until(&resolver->has_work, &resolver->lock, CLOCK_NEVER);
    if (resolver->is_stopping)
        return NULL;
    struct lookup *lookup = TAILQ_FIRST(&resolver->queue);
    TAILQ_REMOVE(&resolver->queue, lookup, link);
    return lookup;
}

static void answer(struct resolver_query *query, const char *addresses, int gai_error)
{
    query->addresses = addresses ? strdup(addresses) : NULL;
    query->gai_error = addresses && !query->addresses ? EAI_MEMORY : gai_error;
    query->done(query);
}

/* `done` only hands a query on: it is called with the lock held so that none is called after resolver_free.
 * When that has begun the queries must not be touched; the look-up is freed there. */
static bool report(struct resolver *resolver, struct lookup *lookup, const char *addresses, int gai_error)
{
    struct resolver_query *query;

    LOCK(&resolver->lock);
    if (resolver->is_stopping)
        return false;
    HASH_DEL(resolver->by_host, lookup);
    while ((query = TAILQ_FIRST(&lookup->queries))) {
        TAILQ_REMOVE(&lookup->queries, query, link);
        answer(query, addresses, gai_error);
    }
    lookup_free(lookup);
    return true;
}

static void announce_end(struct resolver *resolver)
{
    LOCK(&resolver->lock);
    resolver->ended_count++;
    pthread_cond_signal(&resolver->has_ended);
}

static void *thread_main(void *arg)
{
    struct resolver *resolver = arg;
    struct lookup *lookup;
    bool goes_on = true;

    while (goes_on && (lookup = next_lookup(resolver))) {
        char *addresses = NULL;
        int gai_error = look_up(lookup->host, &addresses);
        fetch_count_lookup(addresses != NULL);
        goes_on = report(resolver, lookup, addresses, gai_error);
        free(addresses);
    }
    announce_end(resolver);
    return NULL;
}

int resolver_create(unsigned threads, struct resolver **ret_resolver, struct err *err)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));

    if (!resolver || !(resolver->threads = calloc(threads, sizeof(*resolver->threads)))) {
        free(resolver);
        return err_set(err, -ENOMEM, "out of memory");
    }
    mutex_init(&resolver->lock);
    cond_init(&resolver->has_work);
    cond_init(&resolver->has_ended);
    TAILQ_INIT(&resolver->queue);
    for (unsigned i = 0; i < threads; i++) {
        int rc = thread_start(&resolver->threads[i], "resolver", thread_main, resolver, err);
        if (rc < 0) {
            resolver_free(resolver);
            return rc;
        }
        resolver->thread_count++;
    }
    *ret_resolver = resolver;
    return 0;
}

void resolver_ask(struct resolver *resolver, struct resolver_query *query)
{
    struct lookup *lookup;

    LOCK(&resolver->lock);
    HASH_FIND_STR(resolver->by_host, query->host, lookup);
    if (!lookup)
        lookup = add_lookup_locked(resolver, query->host);
    if (lookup)
        TAILQ_INSERT_TAIL(&lookup->queries, query, link);
    else
        answer(query, NULL, EAI_MEMORY);
}

/* False when a thread still hangs in getaddrinfo at the deadline. */
static bool wait_until_all_ended(struct resolver *resolver, uint64_t deadline_ns)
{
    LOCK(&resolver->lock);
    resolver->is_stopping = true;
    pthread_cond_broadcast(&resolver->has_work);
    while (resolver->ended_count < resolver->thread_count)
        if (!cond_wait_until(&resolver->has_ended, &resolver->lock, deadline_ns))
            return false;
    return true;
}

/* The threads have ended. */
static void free_lookups(struct resolver *resolver)
{
    struct lookup *lookup;

    while ((lookup = resolver->by_host)) {
        HASH_DEL(resolver->by_host, lookup);
        lookup_free(lookup);
    }
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    if (!wait_until_all_ended(resolver, clock_deadline_ns(clock_now_ns(), STOP_MS))) {
        log_warning("a name look-up hangs and is left behind");
        for (unsigned i = 0; i < resolver->thread_count; i++)
            pthread_detach(resolver->threads[i]);
        return;
    }
    for (unsigned i = 0; i < resolver->thread_count; i++)
        thread_join(resolver->threads[i]);
    free_lookups(resolver);
    pthread_mutex_destroy(&resolver->lock);
    pthread_cond_destroy(&resolver->has_work);
    pthread_cond_destroy(&resolver->has_ended);
    free(resolver->threads);
    free(resolver);
}
