/* serve.h - the server: starts its parts in order, waits for a signal, stops them in reverse. */
#pragma once

#include "config/config.h"

/* Serves until SIGTERM or SIGINT.  Returns the exit status: 0 after an orderly stop, 1 when it could not
 * start (the reason has been logged). */
int serve(const struct config *config);

/* Registers the metrics of all modules; once per process. */
void serve_register_metrics(const struct config *config);
