#include "front/front_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The statuses that the program answers with; the last stands for any other. */
static const int statuses[] = {200, 201, 202, 204, 304, 400, 404, 405, 406, 409, 412,
                               413, 415, 422, 428, 429, 500, 502, 503, 504, 507};
static const char *const status_values[] = {"200", "201", "202", "204", "304", "400",  "404", "405",
                                            "406", "409", "412", "413", "415", "422",  "428", "429",
                                            "500", "502", "503", "504", "507", "other"};
_Static_assert(ARRAY_LEN(status_values) == ARRAY_LEN(statuses) + 1, "each status has its value");

static const char *const close_values[CLOSE_REASON_COUNT] = {"peer",  "timeout", "protocol",
                                                             "error", "drain",   "evicted"};

/* Set before threads start, then read-only: */
static const struct route *first_route;
static const char **route_values; /* "none", then the rows' paths, each once */
static size_t route_value_count;
static size_t *route_labels; /* of each row, its path's place in route_values */

enum {
    ROW_REQUESTS,
    ROW_SECONDS,
    ROW_IN_FLIGHT,
    ROW_STREAMS,
    ROW_GONE,
    ROW_REJECTED,
    ROW_ACCEPTED,
    ROW_ACCEPT_PAUSED,
    ROW_CLOSED,
    ROW_COUNT,
};

static struct metric rows[ROW_COUNT] = {
    [ROW_REQUESTS] = {.name = "heddle_requests_total",
                      .type = METRIC_COUNTER,
                      .help = "requests answered, by route and status",
                      .labels = {{.name = "route"}, {"status", status_values, ARRAY_LEN(status_values)}}},
    [ROW_SECONDS] = {.name = "heddle_request_seconds",
                     .type = METRIC_HISTOGRAM,
                     .help = "from a request's last byte to its answer",
                     .labels = {{.name = "route"}}},
    [ROW_IN_FLIGHT] = {.name = "heddle_requests_in_flight",
                       .type = METRIC_GAUGE,
                       .help = "requests admitted and not answered yet"},
    [ROW_STREAMS] = {.name = "heddle_streams",
                     .type = METRIC_GAUGE,
                     .help = "open streams: answers without an end, which are not in flight"},
    [ROW_GONE] = {.name = "heddle_requests_gone_total",
                  .type = METRIC_COUNTER,
                  .help = "requests whose client went away before the answer",
                  .labels = {{.name = "route"}}},
    [ROW_REJECTED] = {.name = "heddle_requests_rejected_total",
                      .type = METRIC_COUNTER,
                      .help = "requests answered 503 because too many, too many large ones "
                              "or too many streams were in flight"},
    [ROW_ACCEPTED] = {.name = "heddle_connections_accepted_total",
                      .type = METRIC_COUNTER,
                      .help = "FastCGI connections accepted"},
    [ROW_ACCEPT_PAUSED] = {.name = "heddle_accept_paused_total",
                           .type = METRIC_COUNTER,
                           .help =
                               "times that accepting rested because all connections or descriptors were in "
                               "use"},
    [ROW_CLOSED] = {.name = "heddle_connections_closed_total",
                    .type = METRIC_COUNTER,
                    .help = "FastCGI connections closed, by reason",
                    .labels = {{"reason", close_values, ARRAY_LEN(close_values)}}},
};

static size_t route_value_of(const char *path)
{
    for (size_t i = 0; i < route_value_count; i++)
        if (strcmp(route_values[i], path) == 0)
            return i;
    route_values[route_value_count] = path;
    return route_value_count++;
}

static int name_routes(const struct route *routes, size_t count)
{
    route_values = calloc(1 + count, sizeof(*route_values));
    route_labels = calloc(1 + count, sizeof(*route_labels));
    if (!route_values || !route_labels)
        return -ENOMEM;
    first_route = routes;
    route_values[0] = "none";
    route_value_count = 1;
    for (size_t i = 0; i < count; i++)
        route_labels[i] = route_value_of(routes[i].path);
    return 0;
}

int front_register_metrics(const struct route *routes, size_t count, struct err *err)
{
    if (name_routes(routes, count) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct metric_label *label = &rows[i].labels[0];
        if (label->name && !label->values)
            *label = (struct metric_label){label->name, route_values, route_value_count};
    }
    metrics_register(rows, ROW_COUNT);
    return 0;
}

static size_t route_label(const struct request *req)
{
    return req->route && route_labels ? route_labels[req->route - first_route] : 0;
}

void front_count_request(const struct request *req, int status)
{
    size_t i = 0;

    while (i < ARRAY_LEN(statuses) && statuses[i] != status)
        i++;
    metric_add(&rows[ROW_REQUESTS], route_label(req), i, 1);
    metric_observe(&rows[ROW_SECONDS], route_label(req), 0, clock_now_ns() - req->start_ns);
}

void front_count_request_gone(const struct request *req)
{
    metric_add(&rows[ROW_GONE], route_label(req), 0, 1);
}

void front_count_in_flight(int change)
{
    metric_add(&rows[ROW_IN_FLIGHT], 0, 0, change);
}

void front_count_streams(int change)
{
    metric_add(&rows[ROW_STREAMS], 0, 0, change);
}

void front_count_rejected(void)
{
    metric_inc(&rows[ROW_REJECTED]);
}

void front_count_accepted(void)
{
    metric_inc(&rows[ROW_ACCEPTED]);
}

void front_count_accept_paused(void)
{
    metric_inc(&rows[ROW_ACCEPT_PAUSED]);
}

void front_count_closed(enum close_reason reason)
{
    metric_add(&rows[ROW_CLOSED], reason, 0, 1);
}
