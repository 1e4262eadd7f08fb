/* router.h - the table of routes, and which row a request means.
 *
 * Threads: the table is read-only. */
#pragma once

#include "base/common.h"
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
    const char
        *path; /* "/tasks/{id}/cancel": one segment may be an argument; a slash at the end is optional */
    unsigned methods;                     /* HTTP_GET implies HTTP_HEAD */
    unsigned flags;                       /* of enum route_flag */
    void (*handler)(struct request *req); /* owns the request */
};

enum route_result {
    ROUTE_FOUND,
    ROUTE_NO_PATH,   /* 404 */
    ROUTE_NO_METHOD, /* 405 */
};

#define ROUTE_ARG_SIZE   128
#define ROUTE_ALLOW_SIZE 64

struct route_match {
    size_t index;                 /* of the row, also when only the method was wrong */
    char arg[ROUTE_ARG_SIZE];     /* what stood for {...} */
    char allow[ROUTE_ALLOW_SIZE]; /* for ROUTE_NO_METHOD: the Allow header */
};

/* Finds the row for a decoded path without its query.  Rows with the same path and different methods may
 * stand side by side.  A path that rows spell out is theirs alone, whatever their order: with a row for
 * "/tasks/stats", "/tasks/{id}" is not asked about it, not even for another method. */
enum route_result router_find(const struct route *routes, size_t count, unsigned method, const char *path,
                              struct route_match *ret_match);
