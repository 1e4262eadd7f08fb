/* metrics.h - the rows of the background tasks, for main to register. */
#pragma once

#include "metrics/metrics.h"

extern struct metric tasks_metrics[];
extern const size_t tasks_metrics_count;
