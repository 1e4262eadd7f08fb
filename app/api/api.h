/* api.h - the table of routes: every path the program answers, and its handler.
 *
 * A new handler is a function `void name(struct request *req)` in the file of its resource, declared in
 * api_int.h, and a row in api.c.  Endpoints of the configuration come behind those rows.
 *
 * How to use it: api_table_create before the metrics are registered, whose labels are the paths;
 * api_table_plan once there are upstreams; then the front takes table->routes.
 * Threads: the table does not change any more once the front has it. */
#pragma once

#include "base/budget.h"
#include "config/config.h"
#include "front/router.h"
#include "gather/plan.h"
#include "upstream/upstream.h"

/* The program's own. */
extern const struct route api_routes[];
extern const size_t api_route_count;

/* What request_route_data gives for an endpoint's route. */
struct endpoint {
    struct plan *plan;
};

struct api_table {
    const struct config *config;
    struct route *routes;
    size_t count;
    struct endpoint *endpoints; /* one for each of config->endpoints */
};

/* `config` is lent for the table's life. */
must_check int api_table_create(const struct config *config, struct api_table **ret_table, struct err *err);
must_check int api_table_plan(struct api_table *table, struct upstreams *upstreams, struct budget *budget,
                              struct err *err);
void api_table_free(struct api_table *table);

/* Appends a line for each endpoint whose path is not to be had, as it lies below one of the program's own;
 * `name` is that of the configuration's file.  How many there are. */
size_t api_check(const struct config *config, const char *name, struct buf *out);
