/* resolver.h - names to addresses on threads of their own.
 *
 * Why not libcurl's: it runs getaddrinfo on a thread as well, but curl_multi_remove_handle waits for that
 * thread, so one dead name server would stop a whole worker whenever a time-out or a cancel hits.
 * How to use it: fill in host and done, resolver_ask; `done` is called on a resolver thread.  Queries for the
 * same host share one look-up, so a name that takes long holds one thread and not all.
 * Ownership: the query, with its host, is the resolver's until `done`. */
#pragma once

#include <netinet/in.h>
#include <sys/queue.h>
#define HASH_NONFATAL_OOM 1 /* an element that was not added has no hh.tbl */
#include <uthash.h>

#include "base/common.h"
#include "base/err.h"

struct resolver;

#define RESOLVER_ADDRESSES_MAX  8
#define RESOLVER_ADDRESSES_SIZE (RESOLVER_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 1))

TAILQ_HEAD(resolver_query_list, resolver_query);

struct resolver_query {
    const char *host;
    void (*done)(struct resolver_query *query);
    char addresses[RESOLVER_ADDRESSES_SIZE]; /* numeric, separated by commas; "" when there are none */
    int gai_error;                           /* of getaddrinfo, for gai_strerror */

    /* the caller's outside of resolver_ask and `done`: */
    TAILQ_ENTRY(resolver_query) link;

    /* the resolver's: */
    struct resolver_query_list followers; /* those for the same host that came while it was asked */
    UT_hash_handle hh;
};

must_check int resolver_create(unsigned threads, struct resolver **ret_resolver, struct err *err);

/* Any thread.  Never fails. */
void resolver_ask(struct resolver *resolver, struct resolver_query *query);

/* Drops what was asked; `done` is not called any more once this has returned.  A thread that hangs in
 * getaddrinfo is left behind after a second, with its memory. */
void resolver_free(struct resolver *resolver);
