/* metrics.h - counters, gauges and histograms as tables of rows, written as Prometheus text.
 *
 * How to use it: a module defines an array of `struct metric` rows with static storage and lists it in its
 * header; main registers every array before the first thread starts; any code then calls metric_add or
 * metric_observe on a row; the /metrics handler calls metrics_write.
 * Threads: metric_add and metric_observe from any thread, without a lock: each thread has its own cells, and
 * metrics_write sums them.  A gauge is the sum of what all threads added and subtracted.
 * Limits: labels are closed sets (at most two), so nothing from outside can grow the memory.
 * Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4). */
#pragma once

#include "base/buf.h"
#include "base/common.h"

enum metric_type {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM, /* of durations: observed in nanoseconds, written in seconds */
    METRIC_TYPE_COUNT,
};

struct metric_label {
    const char *name;          /* NULL: the row has no such label */
    const char *const *values; /* the closed set */
    size_t count;
};

struct metric {
    const char *name;
    enum metric_type type;
    const char *help;
    struct metric_label labels[2];
    double (*read)(void); /* not NULL: asked for at each scrape; no cells, and labels of one value */

    size_t first_cell; /* set by metrics_register; 0 = not registered: updates are dropped */
};

/* Upper bounds of every histogram's buckets, in nanoseconds, without +Inf. */
#define METRIC_BOUND_COUNT 16
extern const uint64_t metric_bounds_ns[METRIC_BOUND_COUNT];

/* Adds rows; label sets must be complete.  Only before the first metric_add of any thread.  The rows stay
 * with the caller and must live as long as the process. */
void metrics_register(struct metric *rows, size_t count);

/* Adds `value` (negative for gauges going down) to the cell of the label values with these indexes; an index
 * of a label that the row does not have is 0. */
void metric_add(const struct metric *metric, size_t label0, size_t label1, int64_t value);

/* Counts one duration in a histogram. */
void metric_observe(const struct metric *metric, size_t label0, size_t label1, uint64_t ns);

static inline void metric_inc(const struct metric *metric)
{
    metric_add(metric, 0, 0, 1);
}

/* The sum over all threads of one cell of a counter or gauge. */
int64_t metric_value(const struct metric *metric, size_t label0, size_t label1);

/* Appends all registered rows as Prometheus text.  Cells of labelled rows that were never touched are left
 * out, except that a row with no touched cell is still announced by HELP and TYPE. */
void metrics_write(struct buf *buf);

/* Appends METRICS.md. */
void metrics_write_markdown(struct buf *buf);

/* Rows about the process itself: memory, CPU, descriptors, start time, build. */
extern struct metric metrics_process[];
extern const size_t metrics_process_count;
