/* serve.h - the server: starts its parts in order, waits for a signal, stops them in reverse. */
#pragma once

#include "config/config.h"
#include "front/router.h"

/* Serves until SIGTERM or SIGINT.  Returns the exit status: 0 after an orderly stop, 1 when it could not
 * start (the reason has been logged). */
int serve(const struct config *config);

/* Registers the metrics of all modules; once per process.  `config` is NULL for METRICS.md, which has no
 * upstreams. */
must_check int serve_register_metrics(const struct config *config, const struct route *routes,
                                      size_t route_count, struct err *err);
