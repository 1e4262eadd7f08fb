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

/* In quarters of a descriptor: its own connection, and one for each of its fetches or, when these are over,
 * the file of a large answer.  Eight fetches to an origin share a multi handle of libcurl, which has two. */
static uint64_t quarters_per_request(const struct config *config)
{
    uint64_t parts = config->concurrent_requests.urls.count;
    uint64_t concurrency = config->concurrent_requests.max_concurrency;
    uint64_t at_once = concurrency ? MIN(parts, concurrency) : parts;

    return 4 * (1 + MAX(at_once, UINT64_C(1))) +
           MIN(at_once, busiest_origin(&config->concurrent_requests.urls));
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
    uint64_t quarters = quarters_per_request(config);
    uint64_t per_request = (quarters + 3) / 4;
    uint64_t reserved = reserved_descriptors(config);
    uint64_t possible = limit > reserved ? 4 * (limit - reserved) / quarters : 0;

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
