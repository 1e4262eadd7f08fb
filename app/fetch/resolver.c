#include "fetch/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define ADDRESSES_MAX 8
#define HOST_SIZE     256
#define STOP_MS       1000

struct resolver {
    pthread_mutex_t lock;
    /* guarded by lock: */
    TAILQ_HEAD(query_list, resolver_query) queue;
    bool is_stopping;
    unsigned ended_count; /* threads that are past their last look-up */
    pthread_cond_t has_work;
    pthread_cond_t has_ended;

    pthread_t *threads; /* set before they are used, then read-only */
    unsigned thread_count;
};

static char *format_addresses(const struct addrinfo *list)
{
    char text[ADDRESSES_MAX * (INET6_ADDRSTRLEN + 1)] = "";
    size_t length = 0;
    int count = 0;

    for (const struct addrinfo *at = list; at && count < ADDRESSES_MAX; at = at->ai_next) {
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
    return *ret_addresses ? 0 : EAI_NONAME;
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

/* `done` only hands the query on: it is called with the lock held so that none is called after resolver_free.
 */
static bool report(struct resolver *resolver, struct resolver_query *query, char *addresses, int gai_error)
{
    LOCK(&resolver->lock);
    if (resolver->is_stopping) {
        free(addresses);
        return false;
    }
    query->addresses = addresses;
    query->gai_error = gai_error;
    query->done(query);
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

    while ((query = next_query(resolver, host))) {
        char *addresses = NULL;
        int gai_error = look_up(host, &addresses);
        if (!report(resolver, query, addresses, gai_error))
            break;
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
    LOCK(&resolver->lock);
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
    pthread_mutex_destroy(&resolver->lock);
    pthread_cond_destroy(&resolver->has_work);
    pthread_cond_destroy(&resolver->has_ended);
    free(resolver->threads);
    free(resolver);
}
