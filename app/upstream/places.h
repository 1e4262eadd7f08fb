/* places.h - which upstreams there are, and where each is: the configured ones, one for each origin of
 * concurrent_requests.urls that no configured one has, and `others`.
 *
 * Their order gives them their index, which is their label in metrics as well.
 * Threads: any; a list of places never changes. */
#pragma once

#include "config/config.h"
#include "fetch/fetch.h"

/* Of upstreams that nobody has configured, but for `others`. */
#define PLACES_IMPLICIT_MAX 256

struct place {
    char *name;                           /* as configured, or host:port */
    const struct config_upstream *config; /* NULL: not configured */
    char *host;                           /* NULL: of `others` */
    unsigned port;
    bool is_tls;
};

struct places {
    size_t *by_origin; /* indexes, sorted by origin; each origin once: its first */
    size_t origin_count;
    size_t count;
    struct place items[]; /* the last is `others` */
};

/* `config` is lent; NULL gives `others` alone. */
must_check int places_create(const struct config *config, struct places **ret_places, struct err *err);
void places_free(struct places *places);

/* The index of the first with this name, or this origin; that of `others` when there is none. */
size_t places_find_name(const struct places *places, const char *name);
size_t places_find_target(const struct places *places, const struct fetch_target *target);
