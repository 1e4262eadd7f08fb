/* Which parts of an endpoint wait for which, and whether all of them can start. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "config/config_int.h"

/* Parts as bits, the first the lowest. */
typedef uint64_t parts_mask;
#define BIT(index) ((parts_mask)1 << (index))
static_assert(CONFIG_PARTS_MAX <= 64, "a mask has 64 bits");

size_t config_find_part(const struct config_endpoint *endpoint, const char *name)
{
    size_t i = 0;

    while (i < endpoint->part_count && strcmp(endpoint->parts[i].name, name) != 0)
        i++;
    return i;
}

/* Finding */

struct waits {
    const struct config_endpoint *endpoint;
    parts_mask mask;
};

static void add_wait(struct waits *waits, const char *name)
{
    size_t index = config_find_part(waits->endpoint, name);

    if (index < waits->endpoint->part_count)
        waits->mask |= BIT(index);
}

static int add_place(const struct template_place *place, const char *key, void *arg)
{
    (void)key;
    if (place->source == TEMPLATE_PART)
        add_wait(arg, place->name);
    return 0;
}

static int find_waits_of(const struct config_endpoint *endpoint, struct config_part *part)
{
    struct waits waits = {.endpoint = endpoint};
    int r = config_visit_places(part, add_place, &waits);

    for (size_t i = 0; i < part->after.count; i++)
        add_wait(&waits, part->after.items[i]);
    part->waits_for_count = 0;
    for (size_t i = 0; i < endpoint->part_count; i++) {
        if (waits.mask & BIT(i))
            part->waits_for[part->waits_for_count++] = (uint16_t)i;
    }
    return r;
}

int config_find_waits(struct config *config)
{
    for (size_t i = 0; i < config->endpoint_count; i++) {
        struct config_endpoint *endpoint = &config->endpoints[i];
        for (size_t j = 0; j < endpoint->part_count; j++) {
            int r = find_waits_of(endpoint, &endpoint->parts[j]);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Checking */

struct graph {
    const struct config_endpoint *endpoint;
    parts_mask waits[CONFIG_PARTS_MAX];
};

static struct graph graph_of(const struct config_endpoint *endpoint)
{
    struct graph graph = {.endpoint = endpoint};

    for (size_t i = 0; i < endpoint->part_count; i++) {
        const struct config_part *part = &endpoint->parts[i];
        for (size_t j = 0; j < part->waits_for_count; j++)
            graph.waits[i] |= BIT(part->waits_for[j]);
    }
    return graph;
}

/* All that the part waits for, and what those wait for, and so on; itself when it is in a circle. */
static parts_mask all_before(const struct graph *graph, size_t index)
{
    parts_mask found = graph->waits[index];
    parts_mask seen = 0;

    while (found != seen) {
        parts_mask news = found & ~seen;
        seen = found;
        for (; news; news &= news - 1)
            found |= graph->waits[__builtin_ctzll(news)];
    }
    return found;
}

/* The parts that start one day: that wait for none but such. */
static parts_mask startable(const struct graph *graph)
{
    parts_mask found = 0;
    parts_mask before;

    do {
        before = found;
        for (size_t i = 0; i < graph->endpoint->part_count; i++) {
            if ((graph->waits[i] & ~found) == 0)
                found |= BIT(i);
        }
    } while (found != before);
    return found;
}

/* A way from the part back to itself over parts that are behind it in the file, so that each circle is found
 * from its first one only.  The number of parts on it, 0 when there is none. */
static size_t find_circle(const struct graph *graph, size_t start, size_t ret_way[CONFIG_PARTS_MAX])
{
    parts_mask left[CONFIG_PARTS_MAX]; /* of each part on the way: whom it waits for and we have not tried */
    parts_mask untried = ~(BIT(start) - 1);
    size_t length = 1;

    ret_way[0] = start;
    left[0] = graph->waits[start];
    while (length > 0) {
        parts_mask next = left[length - 1] & untried;
        if (next & BIT(start))
            return length;
        if (next == 0) {
            length--;
            continue;
        }
        size_t index = (size_t)__builtin_ctzll(next);
        untried &= ~BIT(index);
        ret_way[length] = index;
        left[length++] = graph->waits[index];
    }
    return 0;
}

struct search {
    const char *name;
    const char *key;
};

static int find_place(const struct template_place *place, const char *key, void *arg)
{
    struct search *search = arg;
    bool found = place->source == TEMPLATE_PART && strcmp(place->name, search->name) == 0;

    search->key = found ? key : search->key;
    return found;
}

/* The key that makes the part wait for the one of that name. */
static const char *key_of_wait(const struct config_part *part, const char *name)
{
    struct search search = {.name = name, .key = "after"};

    for (size_t i = 0; i < part->after.count; i++) {
        if (strcmp(part->after.items[i], name) == 0)
            return "after";
    }
    return config_visit_places(part, find_place, &search) >= 0 ? search.key : "after";
}

static int refuse_circle(const struct graph *graph, const size_t *way, size_t length,
                         struct config_conflict *ret, struct err *err)
{
    const struct config_part *parts = graph->endpoint->parts;
    cleanup(buf_done) struct buf text = BUF_INIT((size_t)16 * 1024);

    ret->key = key_of_wait(&parts[way[0]], parts[way[1 % length]].name);
    if (length == 1)
        return err_set(err, -EINVAL, "the part waits for itself");
    for (size_t i = 0; i < length; i++)
        buf_printf(&text, "%s -> ", parts[way[i]].name);
    return err_set(err, -EINVAL, "parts wait for one another in a circle, so that none can start: %.*s%s",
                   (int)text.size, text.data ? text.data : "", parts[way[0]].name);
}

/* Successes after which the rest is cancelled, 0 when it is not. */
static unsigned enough_of(const struct config_endpoint *endpoint)
{
    return endpoint->mode == MODE_FIRST ? 1 : endpoint->mode == MODE_QUORUM ? endpoint->quorum : 0;
}

int config_check_waits(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->parent;
    const struct config_part *part = scope->object;
    size_t index = (size_t)(part - endpoint->parts);
    struct graph graph = graph_of(endpoint);
    size_t way[CONFIG_PARTS_MAX];
    size_t length = find_circle(&graph, index, way);
    unsigned enough = enough_of(endpoint);

    if (length > 0)
        return refuse_circle(&graph, way, length, ret, err);
    parts_mask before = all_before(&graph, index);
    if (before == 0 || before & BIT(index)) /* the first of the circle tells of it */
        return 0;
    parts_mask stuck = graph.waits[index] & ~startable(&graph);
    bool is_late = enough > 0 && (unsigned)__builtin_popcountll(before) >= enough;
    if (!stuck && !is_late)
        return 0;
    const char *first = endpoint->parts[__builtin_ctzll(stuck ? stuck : graph.waits[index])].name;
    ret->key = key_of_wait(part, first);
    if (stuck)
        return err_set(err, -EINVAL, "the part can never start: it waits for \"%s\", which cannot either",
                       first);
    return err_set(err, -EINVAL,
                   "the part can never start: when what it waits for has succeeded, mode %s has enough",
                   endpoint->mode == MODE_FIRST ? "first" : "quorum");
}
