#include "fetch/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fetch/fetch_int.h"

#define HOST_SIZE (CONFIG_HOST_MAX_BYTES + 1)
#define STOP_MS   1000

struct resolver {
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct resolver_query *by_host;   /* the first for each host */
    struct resolver_query_list queue; /* of these, those that no thread has begun */
    bool is_stopping;
    unsigned ended_count; /* threads that are past their last look-up */
    pthread_cond_t has_work;
    pthread_cond_t has_ended;

    pthread_t *threads; /* set before they are used, then read-only */
    unsigned thread_count;
};

static int format_addresses(const struct addrinfo *list, char ret_text[RESOLVER_ADDRESSES_SIZE])
{
    size_t length = 0;
    int count = 0;

    for (const struct addrinfo *at = list; at && count < RESOLVER_ADDRESSES_MAX; at = at->ai_next) {
        char address[INET6_ADDRSTRLEN];
        if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        length += (size_t)snprintf(ret_text + length, RESOLVER_ADDRESSES_SIZE - length, "%s%s",
                                   count++ ? "," : "", address);
    }
    return count ? 0 : EAI_NONAME;
}

static int look_up(const char *host, char ret_addresses[RESOLVER_ADDRESSES_SIZE])
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;

    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0)
        return rc;
    rc = format_addresses(list, ret_addresses);
    freeaddrinfo(list);
    return rc;
}

/* The next query, with its host copied: the query itself must not be touched again when we are stopping. */
static struct resolver_query *next_query(struct resolver *resolver, char ret_host[HOST_SIZE])
{
    LOCK(&resolver->lock);
    while (TAILQ_EMPTY(&resolver->queue) && !resolver->is_stopping)
        cond_wait_until(&resolver->has_work, &resolver->lock, CLOCK_NEVER);
    if (resolver->is_stopping)
        return NULL;
    struct resolver_query *query = TAILQ_FIRST(&resolver->queue);
    TAILQ_REMOVE(&resolver->queue, query, link);
    snprintf(ret_host, HOST_SIZE, "%s", query->host);
    return query;
}

/* `done` only hands a query on: it is called with the lock held so that none is called after resolver_free.
 */
static bool report(struct resolver *resolver, struct resolver_query *first, const char *addresses,
                   int gai_error)
{
    struct resolver_query_list answered = TAILQ_HEAD_INITIALIZER(answered);
    struct resolver_query *query;

    LOCK(&resolver->lock);
    if (resolver->is_stopping)
        return false;
    if (first->hh.tbl)
        HASH_DEL(resolver->by_host, first);
    TAILQ_INSERT_TAIL(&answered, first, link);
    TAILQ_CONCAT(&answered, &first->followers, link);
    while ((query = TAILQ_FIRST(&answered))) {
        TAILQ_REMOVE(&answered, query, link);
        snprintf(query->addresses, sizeof(query->addresses), "%s", addresses);
        query->gai_error = gai_error;
        query->done(query);
    }
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
    struct resolver_query *query;
    char host[HOST_SIZE];
    bool goes_on = true;

    while (goes_on && (query = next_query(resolver, host))) {
        char addresses[RESOLVER_ADDRESSES_SIZE] = "";
        int gai_error = look_up(host, addresses);
        fetch_count_lookup(gai_error == 0);
        goes_on = report(resolver, query, addresses, gai_error);
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

/* Without memory for the table it is looked up for itself. */
void resolver_ask(struct resolver *resolver, struct resolver_query *query)
{
    struct resolver_query *first;

    LOCK(&resolver->lock);
    HASH_FIND_STR(resolver->by_host, query->host, first);
    if (first) {
        TAILQ_INSERT_TAIL(&first->followers, query, link);
        return;
    }
    TAILQ_INIT(&query->followers);
    HASH_ADD_KEYPTR(hh, resolver->by_host, query->host, strlen(query->host), query);
    TAILQ_INSERT_TAIL(&resolver->queue, query, link);
    pthread_cond_signal(&resolver->has_work);
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
    HASH_CLEAR(hh, resolver->by_host);
    pthread_mutex_destroy(&resolver->lock);
    pthread_cond_destroy(&resolver->has_work);
    pthread_cond_destroy(&resolver->has_ended);
    free(resolver->threads);
    free(resolver);
}
