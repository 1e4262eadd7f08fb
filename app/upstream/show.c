/* GET /upstreams: what is going on, read under each upstream's lock in its turn. */
#include <string.h>

#include "base/json.h"
#include "upstream/places.h"
#include "upstream/upstream_int.h"

static void append_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "\"%s\":", key);
    json_append_string(out, text, strlen(text));
}

static void append_place(struct buf *out, const struct place *place)
{
    append_text(out, "name", place->name);
    if (place->config) {
        buf_append_str(out, ",");
        append_text(out, "base_url", place->config->base_url);
    } else if (place->host) {
        buf_printf(out, ",\"base_url\":\"%s://", place->is_tls ? "https" : "http");
        buf_printf(out, "%s:%u\"", place->host, place->port);
    } else {
        buf_append_str(out, ",\"base_url\":null");
    }
}

static void append_outcomes_locked(struct buf *out, const struct upstream *upstream)
{
    const char *separator = "";

    buf_append_str(out, ",\"outcomes\":{");
    for (size_t i = 0; i < FETCH_REASON_COUNT; i++) {
        if (upstream->outcomes_total[i] == 0)
            continue;
        buf_printf(out, "%s\"%s\":%llu", separator, fetch_reason_names[i],
                   (unsigned long long)upstream->outcomes_total[i]);
        separator = ",";
    }
    buf_append_str(out, "}");
}

static void append_latency_locked(struct buf *out, const struct latency *latency)
{
    static const struct {
        const char *key;
        double share;
    } rows[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}};
    const char *separator = "";

    buf_append_str(out, ",\"latency\":{");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t ns = latency_percentile_ns(latency, rows[i].share);
        if (ns == 0)
            continue;
        buf_printf(out, "%s\"%s\":", separator, rows[i].key);
        json_append_seconds(out, ns);
        separator = ",";
    }
    buf_append_str(out, "}");
}

static void append_upstream(struct buf *out, struct upstream *upstream, const struct place *place,
                            uint64_t now_ns)
{
    buf_append_str(out, "{");
    append_place(out, place);
    LOCK(&upstream->lock);
    buf_printf(out, ",\"in_flight\":%u,\"queued\":%u,\"requests_total\":%llu,\"attempts_total\":%llu",
               upstream->in_flight, upstream->queued, (unsigned long long)upstream->requests_total,
               (unsigned long long)upstream->attempts_total);
    append_outcomes_locked(out, upstream);
    append_latency_locked(out, &upstream->latency);
    policies_append_json_locked(upstream, now_ns, out);
    buf_append_str(out, "}");
}

void upstreams_append_json(const struct upstreams *upstreams, struct buf *out)
{
    uint64_t now_ns = clock_now_ns();

    buf_append_str(out, "{\"upstreams\":[");
    for (size_t i = 0; i < upstreams->count; i++) {
        if (i > 0)
            buf_append_str(out, ",");
        append_upstream(out, &upstreams->items[i], &upstreams->places->items[i], now_ns);
    }
    buf_append_str(out, "]}");
}
