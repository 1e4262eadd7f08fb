#include "upstream/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- origins ---- */

static int compare_origins(const struct place *a, const struct place *b)
{
    if (a->port != b->port)
        return a->port < b->port ? -1 : 1;
    if (a->is_tls != b->is_tls)
        return a->is_tls < b->is_tls ? -1 : 1;
    return strcasecmp(a->host, b->host);
}

static int compare_indexes(const void *a, const void *b, void *arg)
{
    const struct places *places = arg;
    size_t i = *(const size_t *)a;
    size_t j = *(const size_t *)b;
    int order = compare_origins(&places->items[i], &places->items[j]);

    if (order != 0)
        return order;
    return i < j ? -1 : i > j;
}

static size_t others_index(const struct places *places)
{
    return places->count - 1;
}

/* All but `others` by their origin, and of those with the same one the first. */
static int sort_origins(struct places *places)
{
    size_t count = 0;

    places->by_origin = calloc(places->count, sizeof(*places->by_origin));
    if (!places->by_origin)
        return -ENOMEM;
    for (size_t i = 0; i < others_index(places); i++)
        places->by_origin[i] = i;
    qsort_r(places->by_origin, others_index(places), sizeof(*places->by_origin), compare_indexes, places);
    for (size_t i = 0; i < others_index(places); i++) {
        size_t index = places->by_origin[i];
        if (count == 0 ||
            compare_origins(&places->items[places->by_origin[count - 1]], &places->items[index]) != 0)
            places->by_origin[count++] = index;
    }
    places->origin_count = count;
    return 0;
}

static size_t find_origin(const struct places *places, const struct place *place)
{
    size_t first = 0;
    size_t end = places->origin_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_origins(place, &places->items[places->by_origin[middle]]);
        if (order == 0)
            return places->by_origin[middle];
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return others_index(places);
}

/* ---- making the list ---- */

static int fill(struct place *place, const struct config_upstream *config, const char *name,
                const struct fetch_place *where)
{
    place->config = config;
    place->port = where->port;
    place->is_tls = where->is_tls;
    place->name = strdup(name);
    place->host = strdup(where->host);
    return place->name && place->host ? 0 : -ENOMEM;
}

static int add(struct places *places, const struct config_upstream *config, const char *name,
               const struct fetch_place *where)
{
    return fill(&places->items[places->count++], config, name, where);
}

static int add_others(struct places *places)
{
    struct place *place = &places->items[places->count++];

    place->name = strdup("others");
    return place->name ? 0 : -ENOMEM;
}

static int add_configured(struct places *places, const struct config_upstream *config, struct err *err)
{
    struct fetch_target *target;
    int rc = fetch_target_create(config->base_url, &target, err);

    if (rc < 0)
        return rc;
    struct fetch_place where = fetch_target_place(target);
    rc = add(places, config, config->name, &where);
    fetch_target_free(target);
    return rc;
}

static bool is_known(const struct places *places, const struct fetch_place *where, const char *name)
{
    for (size_t i = 0; i < places->count; i++) {
        const struct place *place = &places->items[i];
        if (strcmp(place->name, name) == 0)
            return true;
        if (place->port == where->port && place->is_tls == where->is_tls &&
            strcasecmp(place->host, where->host) == 0)
            return true;
    }
    return false;
}

/* A name that is there already (http and https on the same port) is not given twice: `others` has the
 * second. */
static int add_implicit(struct places *places, const char *url, struct err *err)
{
    char name[CONFIG_HOST_MAX_BYTES + 16];
    struct fetch_target *target;
    int rc = fetch_target_create(url, &target, err);

    if (rc < 0)
        return rc;
    struct fetch_place where = fetch_target_place(target);
    snprintf(name, sizeof(name), "%s:%u", where.host, where.port);
    if (!is_known(places, &where, name))
        rc = add(places, NULL, name, &where);
    fetch_target_free(target);
    return rc;
}

static int add_all(struct places *places, const struct config *config, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; config && i < config->upstream_count && rc == 0; i++)
        rc = add_configured(places, &config->upstreams[i], err);
    size_t configured = places->count;
    for (size_t i = 0; config && i < config->concurrent_requests.urls.count && rc == 0; i++)
        if (places->count - configured < PLACES_IMPLICIT_MAX)
            rc = add_implicit(places, config->concurrent_requests.urls.items[i], err);
    if (rc == 0)
        rc = add_others(places);
    if (rc == 0)
        rc = sort_origins(places);
    return rc == -ENOMEM ? err_set(err, -ENOMEM, "out of memory") : rc;
}

int places_create(const struct config *config, struct places **ret_places, struct err *err)
{
    size_t max = 1 + (config ? config->upstream_count + PLACES_IMPLICIT_MAX : 0);
    struct places *places = calloc(1, sizeof(*places) + max * sizeof(places->items[0]));

    if (!places)
        return err_set(err, -ENOMEM, "out of memory");
    int rc = add_all(places, config, err);
    if (rc < 0) {
        places_free(places);
        return rc;
    }
    *ret_places = places;
    return 0;
}

void places_free(struct places *places)
{
    if (!places)
        return;
    for (size_t i = 0; i < places->count; i++) {
        free(places->items[i].name);
        free(places->items[i].host);
    }
    free(places->by_origin);
    free(places);
}

/* ---- looking up ---- */

size_t places_find_name(const struct places *places, const char *name)
{
    for (size_t i = 0; i < others_index(places); i++)
        if (places->items[i].config && strcmp(places->items[i].name, name) == 0)
            return i;
    return others_index(places);
}

size_t places_find_target(const struct places *places, const struct fetch_target *target)
{
    struct fetch_place where = fetch_target_place(target);
    char host[CONFIG_HOST_MAX_BYTES + 1];
    struct place place = {.host = host, .port = where.port, .is_tls = where.is_tls};

    snprintf(host, sizeof(host), "%s", where.host);
    return find_origin(places, &place);
}
