/* capacity.h - how many requests the connections and this machine's descriptor limit allow in flight. */
#pragma once

#include "base/err.h"
#include "config/config.h"

/* Raises RLIMIT_NOFILE to its hard limit and works out how many requests may be in flight: what the
 * configuration says, or as many as there are descriptors for.  -ERANGE with a text when the configuration
 * asks for too many. */
must_check int capacity_apply(const struct config *config, unsigned *ret_max_in_flight, struct err *err);
