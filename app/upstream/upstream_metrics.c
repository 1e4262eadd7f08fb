#include <stdlib.h>

#include "base/log.h"
#include "upstream/places.h"
#include "upstream/upstream_int.h"

enum { ROW_REQUESTS, ROW_SECONDS, ROW_ATTEMPTS, ROW_IN_FLIGHT, ROW_QUEUED, ROW_COUNT };

static struct metric rows[ROW_COUNT] = {
    [ROW_REQUESTS] = {.name = "heddle_upstream_requests_total",
                      .type = METRIC_COUNTER,
                      .help = "calls to the upstream that have ended, by outcome",
                      .labels = {{.name = "upstream"}, {"outcome", fetch_reason_names, FETCH_REASON_COUNT}}},
    [ROW_SECONDS] = {.name = "heddle_upstream_seconds",
                     .type = METRIC_HISTOGRAM,
                     .help = "from a call to the upstream to its end, with the wait and all attempts",
                     .labels = {{.name = "upstream"}}},
    [ROW_ATTEMPTS] = {.name = "heddle_upstream_attempts_total",
                      .type = METRIC_COUNTER,
                      .help = "requests sent to the upstream, retries and hedges included",
                      .labels = {{.name = "upstream"}}},
    [ROW_IN_FLIGHT] = {.name = "heddle_upstream_in_flight",
                       .type = METRIC_GAUGE,
                       .help = "requests sent to the upstream that have not ended",
                       .labels = {{.name = "upstream"}}},
    [ROW_QUEUED] = {.name = "heddle_upstream_queued",
                    .type = METRIC_GAUGE,
                    .help = "calls that wait until fewer are in flight",
                    .labels = {{.name = "upstream"}}},
};

/* Until the end of the process, as the rows are. */
static struct places *labels;
static const char **label_values;

static void register_rows(struct metric *metrics, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct metric_label *label = &metrics[i].labels[0];
        *label = (struct metric_label){label->name, label_values, labels->count};
    }
    metrics_register(metrics, count);
}

void upstreams_register_metrics(const struct config *config)
{
    struct err err = {0};

    if (places_create(config, &labels, &err) < 0 ||
        !(label_values = calloc(labels->count, sizeof(*label_values)))) {
        log_error("no metrics of upstreams", LOG_STR("error", err.text));
        return;
    }
    for (size_t i = 0; i < labels->count; i++)
        label_values[i] = labels->items[i].name;
    register_rows(rows, ROW_COUNT);
    for (size_t i = 0; upstream_policies[i]; i++)
        register_rows(upstream_policies[i]->metrics, upstream_policies[i]->metric_count);
}

void upstream_count_in_flight(const struct upstream *upstream, int change)
{
    metric_add(&rows[ROW_IN_FLIGHT], upstream->label, 0, change);
    if (change > 0)
        metric_add(&rows[ROW_ATTEMPTS], upstream->label, 0, change);
}

void upstream_count_queued(const struct upstream *upstream, int change)
{
    metric_add(&rows[ROW_QUEUED], upstream->label, 0, change);
}

void upstream_count_end(const struct upstream *upstream, const struct upstream_call *call)
{
    metric_add(&rows[ROW_REQUESTS], upstream->label, call->reply->reason, 1);
    metric_observe(&rows[ROW_SECONDS], upstream->label, 0, call->elapsed_ns);
}
