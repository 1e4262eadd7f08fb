/* Coalescing: calls that ask for the same at the same time share one flight.
 *
 * A flight can be joined from its start until its answer is there; nothing is kept behind that, so a failure
 * reaches those who waited for it and nobody else. */
#include "upstream/policy.h"

#include <string.h>

#define BUCKETS 1024

struct coalesce {
    size_t label;
    uint64_t joined_total;
    unsigned open_count;
    LIST_HEAD(key_list, policy_key) buckets[BUCKETS];
};

static struct metric rows[] = {
    {.name = "heddle_upstream_coalesced_total",
     .type = METRIC_COUNTER,
     .help = "calls that shared the fetch of another call",
     .labels = {{.name = "upstream"}}},
};

static bool is_on(const struct config_upstream *config)
{
    return config->coalesce;
}

static int init(void *state, const struct config_upstream *config, size_t label, struct err *err)
{
    struct coalesce *coalesce = state;

    (void)config;
    (void)err;
    coalesce->label = label;
    return 0;
}

static bool is_same(const struct policy_key *a, const struct policy_key *b)
{
    return a->hash == b->hash && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static struct policy_key *join(void *state, const struct policy_key *key)
{
    struct coalesce *coalesce = state;
    struct policy_key *other = LIST_FIRST(&coalesce->buckets[key->hash % BUCKETS]);

    while (other && !is_same(other, key))
        other = LIST_NEXT(other, link);
    if (other) {
        coalesce->joined_total++;
        metric_add(&rows[0], coalesce->label, 0, 1);
    }
    return other;
}

static void open_key(void *state, struct policy_key *key)
{
    struct coalesce *coalesce = state;

    LIST_INSERT_HEAD(&coalesce->buckets[key->hash % BUCKETS], key, link);
    coalesce->open_count++;
}

static void close_key(void *state, struct policy_key *key)
{
    struct coalesce *coalesce = state;

    LIST_REMOVE(key, link);
    coalesce->open_count--;
}

static void append_json(void *state, uint64_t now_ns, struct buf *out)
{
    const struct coalesce *coalesce = state;

    (void)now_ns;
    buf_printf(out, "{\"joined_total\":%llu,\"shared_now\":%u}", (unsigned long long)coalesce->joined_total,
               coalesce->open_count);
}

const struct upstream_policy policy_coalesce = {
    .name = "coalesce",
    .state_size = sizeof(struct coalesce),
    .is_on = is_on,
    .init = init,
    .join = join,
    .open = open_key,
    .close = close_key,
    .append_json = append_json,
    .metrics = rows,
    .metric_count = ARRAY_LEN(rows),
};
