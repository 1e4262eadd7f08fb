#include "fetch/fetch_int.h"

static const char *const connection_values[] = {"new", "reused"};
static const char *const lookup_values[] = {"found", "failed"};

enum {
    ROW_FETCHES,
    ROW_SECONDS,
    ROW_IN_FLIGHT,
    ROW_CONNECTIONS,
    ROW_LOOKUPS,
    ROW_COUNT,
};

struct metric fetch_metrics[ROW_COUNT] = {
    [ROW_FETCHES] = {.name = "heddle_fetches_total",
                     .type = METRIC_COUNTER,
                     .help = "fetches ended, by outcome",
                     .labels = {{"outcome", fetch_reason_names, FETCH_REASON_COUNT}}},
    [ROW_SECONDS] = {.name = "heddle_fetch_seconds",
                     .type = METRIC_HISTOGRAM,
                     .help = "from the start of a fetch to its end"},
    [ROW_IN_FLIGHT] = {.name = "heddle_fetches_in_flight",
                       .type = METRIC_GAUGE,
                       .help = "fetches started and not ended"},
    [ROW_CONNECTIONS] = {.name = "heddle_fetch_connections_total",
                         .type = METRIC_COUNTER,
                         .help =
                             "transfers that got a connection to the upstream, by whether it was a new one",
                         .labels = {{"kind", connection_values, ARRAY_LEN(connection_values)}}},
    [ROW_LOOKUPS] = {.name = "heddle_fetch_lookups_total",
                     .type = METRIC_COUNTER,
                     .help = "name look-ups, by result",
                     .labels = {{"result", lookup_values, ARRAY_LEN(lookup_values)}}},
};
const size_t fetch_metrics_count = ROW_COUNT;

void fetch_count_start(void)
{
    metric_add(&fetch_metrics[ROW_IN_FLIGHT], 0, 0, 1);
}

void fetch_count_end(const struct fetch *fetch)
{
    metric_add(&fetch_metrics[ROW_IN_FLIGHT], 0, 0, -1);
    metric_add(&fetch_metrics[ROW_FETCHES], fetch->reason, 0, 1);
    metric_observe(&fetch_metrics[ROW_SECONDS], 0, 0, fetch->elapsed_ns);
}

void fetch_count_connection(bool is_new)
{
    metric_add(&fetch_metrics[ROW_CONNECTIONS], is_new ? 0 : 1, 0, 1);
}

void fetch_count_lookup(bool found)
{
    metric_add(&fetch_metrics[ROW_LOOKUPS], found ? 0 : 1, 0, 1);
}
