#include "capacity.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

/* Listener, epoll sets, pipes, log, name servers, and the first of what comes and goes: idle connections from
 * nginx, which give way when there are no descriptors left (front/front.c), and warm ones to upstreams. */
#define RESERVED_DESCRIPTORS 256

/* A program that a task runs: both ends of four pipes while it starts, what tells whether it could, its
 * pidfd, and what the child opens before it closes the rest. */
#define DESCRIPTORS_PER_COMMAND 13

#define AUTO_MAX_IN_FLIGHT   4096u
#define HEADROOM_CONNECTIONS 64u

static uint64_t raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

static bool is_same_origin(const char *a, const char *b)
{
    size_t host = strcspn(a, ":") + strlen("://");
    size_t size = host + strcspn(a + host, "/?#");

    return strncmp(a, b, size) == 0 && strchr("/?#", b[size]) != NULL; /* the end of `b` as well */
}

/* How many of the URLs lead to the origin that most lead to. */
static uint64_t busiest_origin(const struct config_list *urls)
{
    uint64_t most = 0;

    for (size_t i = 0; i < urls->count; i++) {
        uint64_t count = 0;
        for (size_t j = 0; j < urls->count; j++)
            count += is_same_origin(urls->items[i], urls->items[j]);
        most = MAX(most, count);
    }
    return most;
}

/* How many connections a kind of request may need at the same time: of all upstreams whose attempts have no
 * limit, and the most of these to a single one. */
struct need {
    uint64_t free;
    uint64_t busiest;
};

static struct need need_of_urls(uint64_t count, uint64_t busiest, uint64_t max_concurrency)
{
    uint64_t at_once = max_concurrency ? MIN(count, max_concurrency) : count;

    return (struct need){at_once, MIN(at_once, busiest)};
}

/* Of the parts of an endpoint that go to one upstream, all at once; a hedged one is asked twice. */
static uint64_t attempts_at_once(const struct config_endpoint *endpoint,
                                 const struct config_upstream *upstream)
{
    uint64_t count = 0;

    for (size_t i = 0; i < endpoint->part_count; i++)
        count += strcmp(endpoint->parts[i].upstream, upstream->name) == 0;
    return upstream->hedge.is_enabled ? 2 * count : count;
}

static struct need need_of_endpoint(const struct config *config, const struct config_endpoint *endpoint)
{
    struct need need = {0};

    for (size_t i = 0; i < config->upstream_count; i++) {
        uint64_t attempts = attempts_at_once(endpoint, &config->upstreams[i]);
        if (config->upstreams[i].max_in_flight > 0)
            continue;
        need.free += attempts;
        need.busiest = MAX(need.busiest, attempts);
    }
    return need;
}

static void raise(struct need *need, struct need other)
{
    need->free = MAX(need->free, other.free);
    need->busiest = MAX(need->busiest, other.busiest);
}

/* The most that any kind of request needs. */
static struct need need_of_any(const struct config *config)
{
    uint64_t client_urls = config->concurrent_requests.max_client_urls;
    unsigned max_concurrency = config->concurrent_requests.max_concurrency;
    const struct config_list *urls = &config->concurrent_requests.urls;
    struct need need = need_of_urls(urls->count, busiest_origin(urls), max_concurrency);

    raise(&need, need_of_urls(client_urls, client_urls, max_concurrency));
    for (size_t i = 0; i < config->endpoint_count; i++)
        raise(&need, need_of_endpoint(config, &config->endpoints[i]));
    return need;
}

/* In quarters of a descriptor: its own connection, and one for each of its fetches or, when these are over,
 * the file of a large answer.  Eight fetches to an origin share a multi handle of libcurl, which has two. */
static uint64_t quarters_per_request(const struct need *need)
{
    return 4 * (1 + MAX(need->free, UINT64_C(1))) + need->busiest;
}

/* For an upstream with a limit: what so many requests can bring, but not more than the limit. */
static uint64_t attempts_of_limited(const struct config *config, const struct config_upstream *upstream,
                                    uint64_t requests)
{
    uint64_t most = 0;

    for (size_t i = 0; i < config->endpoint_count && upstream->max_in_flight > 0; i++)
        most = MAX(most, attempts_at_once(&config->endpoints[i], upstream));
    return MIN(most * requests, upstream->max_in_flight);
}

/* Whatever mix of requests these are: each has what any may need of upstreams without a limit, and those with
 * one have at the most their limit. */
static uint64_t quarters_of(const struct config *config, const struct need *need, uint64_t requests)
{
    uint64_t attempts = 0;
    uint64_t busiest = 0;

    for (size_t i = 0; i < config->upstream_count; i++) {
        uint64_t limited = attempts_of_limited(config, &config->upstreams[i], requests);
        attempts += limited;
        busiest = MAX(busiest, limited);
    }
    return requests * quarters_per_request(need) + 4 * attempts + busiest;
}

/* The most requests that fit; what they need grows with their number. */
static uint64_t requests_within(const struct config *config, const struct need *need, uint64_t quarters)
{
    uint64_t fits = 0;
    uint64_t above = quarters / quarters_per_request(need) + 1;

    while (above - fits > 1) {
        uint64_t middle = fits + (above - fits) / 2;
        if (quarters_of(config, need, middle) <= quarters)
            fits = middle;
        else
            above = middle;
    }
    return fits;
}

/* Who is to be told 503 needs a connection as well, and so do idle ones: never all of them are for requests
 * in flight. */
static unsigned automatic_max_in_flight(unsigned max_connections)
{
    unsigned headroom = MIN(MAX(max_connections / 4, HEADROOM_CONNECTIONS), max_connections / 2);

    return MIN(max_connections - headroom, AUTO_MAX_IN_FLIGHT);
}

/* What is not for requests. */
static uint64_t reserved_descriptors(const struct config *config)
{
    uint64_t commands = config->tasks.command_count > 0 ? config->tasks.runners : 0;

    return RESERVED_DESCRIPTORS + commands * DESCRIPTORS_PER_COMMAND;
}

int capacity_apply(const struct config *config, unsigned *ret_max_in_flight, struct err *err)
{
    uint64_t limit = raise_descriptor_limit();
    struct need need = need_of_any(config);
    uint64_t per_request = (quarters_of(config, &need, 1) + 3) / 4;
    uint64_t reserved = reserved_descriptors(config);
    uint64_t possible = limit > reserved ? requests_within(config, &need, 4 * (limit - reserved)) : 0;

    if (possible == 0)
        return err_set(
            err, -ERANGE, "%llu descriptors are too few: one request may need %llu, and %llu are reserved",
            (unsigned long long)limit, (unsigned long long)per_request, (unsigned long long)reserved);
    if (config->max_in_flight > possible)
        return err_set(
            err, -ERANGE,
            "max_in_flight %u is more than the %llu that the limit of %llu descriptors allows (%llu for "
            "each request, %llu reserved): lower it, or raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            config->max_in_flight, (unsigned long long)possible, (unsigned long long)limit,
            (unsigned long long)per_request, (unsigned long long)reserved);
    uint64_t automatic = MIN(possible, (uint64_t)automatic_max_in_flight(config->max_connections));
    *ret_max_in_flight = config->max_in_flight ? config->max_in_flight : (unsigned)automatic;
    return 0;
}
