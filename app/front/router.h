/* router.h - the table of routes, and which row a request means.
 *
 * How to use it: router_create for the whole table, router_find for each request.
 * Threads: a router never changes.  Ownership: the table is lent for the router's life. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "front/request.h"

/* A set of methods, as bits. */
enum http_method {
    HTTP_GET = 1 << 0,
    HTTP_HEAD = 1 << 1,
    HTTP_POST = 1 << 2,
    HTTP_PUT = 1 << 3,
    HTTP_PATCH = 1 << 4,
    HTTP_DELETE = 1 << 5,
    HTTP_OPTIONS = 1 << 6,
};

/* The bit of a method's name, 0 for one that no route can have. */
unsigned http_method_parse(const char *name);

enum route_flag {
    ROUTE_ALWAYS = 1 << 0,     /* answered even when too many requests are in flight: health, metrics */
    ROUTE_LARGE_BODY = 1 << 1, /* takes bodies up to max_large_body_bytes of struct front_options */
};

struct route {
    const char *path; /* "/shops/{shop}/items/{item}": whole segments in braces are arguments; a slash at the
                       * end is optional */
    unsigned methods; /* HTTP_GET implies HTTP_HEAD */
    unsigned flags;   /* of enum route_flag */
    void (*handler)(struct request *req); /* owns the request */
    const void *data;                     /* for request_route_data */
};

enum route_result {
    ROUTE_FOUND,
    ROUTE_NO_PATH,   /* 404 */
    ROUTE_NO_METHOD, /* 405 */
};

/* Of one path, and the bytes that stand for all of them with a NUL behind each.  A path with longer ones is
 * nobody's. */
#define ROUTE_ARGS_MAX   16
#define ROUTE_ARGS_SIZE  512
#define ROUTE_ALLOW_SIZE 64

struct route_match {
    const struct route *route; /* the row, also when only the method was wrong */
    unsigned arg_count;
    char args[ROUTE_ARGS_SIZE];   /* what stood for {...}, one behind the other */
    char allow[ROUTE_ALLOW_SIZE]; /* for ROUTE_NO_METHOD: the Allow header */
};

struct router;

/* -EINVAL when a path does not begin with a slash, has more than ROUTE_ARGS_MAX arguments, or braces that are
 * no whole segment; -EEXIST when two rows answer the same method of the same path. */
must_check int router_create(const struct route *routes, size_t count, struct router **ret_router,
                             struct err *err);
void router_free(struct router *router);

/* Finds the row for a decoded path without its query.  Rows with the same path and different methods may
 * stand side by side; names of arguments make no difference.
 *
 * Where a row spells a segment out and another has an argument, the first counts, from the left to the right
 * and whatever their order: with "/tasks/stats" in the table "/tasks/{id}" is not asked about it, not even
 * for another method; "/a/b/{x}" is asked before "/a/{x}/c".  What fits no row that way is tried as an
 * argument.
 *
 * The cost grows with the segments of the path and the logarithm of the number of rows that differ in one. */
enum route_result router_find(const struct router *router, unsigned method, const char *path,
                              struct route_match *ret_match);
