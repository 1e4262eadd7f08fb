/* resolver.h - names to addresses on threads of their own.
 *
 * Why not libcurl's: it runs getaddrinfo on a thread as well, but curl_multi_remove_handle waits for that
 * thread, so one dead name server would stop a whole worker whenever a time-out or a cancel hits.
 * How to use it: fill in host and done, resolver_ask; `done` is called on a resolver thread.  Queries for the
 * same host share one look-up, so a name that takes long holds one thread and not all.
 * Ownership: the query is the resolver's until `done`.  `addresses` then belongs to the caller. */
#pragma once

#include <netinet/in.h>
#include <sys/queue.h>

#include "base/common.h"
#include "base/err.h"

struct resolver;

#define RESOLVER_ADDRESSES_MAX  8
#define RESOLVER_ADDRESSES_SIZE (RESOLVER_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 1))

struct resolver_query {
    const char *host;
    void (*done)(struct resolver_query *query);
    char *addresses; /* numeric, separated by commas; NULL when there are none */
    int gai_error;   /* of getaddrinfo, for gai_strerror */
    TAILQ_ENTRY(resolver_query) link;
};

must_check int resolver_create(unsigned threads, struct resolver **ret_resolver, struct err *err);

/* Any thread; `done` may be called before it returns. */
void resolver_ask(struct resolver *resolver, struct resolver_query *query);

/* Drops what was asked; `done` is not called any more once this has returned.  A thread that hangs in
 * getaddrinfo is left behind after a second, with its memory. */
void resolver_free(struct resolver *resolver);
