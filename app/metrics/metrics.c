#include "metrics/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"

/* Every registered row owns a range of cell numbers; every thread owns an array of all cells.  A cell is
 * written by its own thread alone (a relaxed load and store, no locked instruction) and read by whoever
 * scrapes.  Cell 0 belongs to nobody and takes the updates of rows that were never registered.
 * A histogram's cells, for each label combination: one per bound, one for +Inf, one for the sum, which is in
 * microseconds: nanoseconds of 15,000 fetches of a second in each second would overflow within a week. */

#define ROWS_MAX        128
#define HISTOGRAM_CELLS (METRIC_BOUND_COUNT + 2)

const uint64_t metric_bounds_ns[METRIC_BOUND_COUNT] = {
    100 * NS_PER_US, 250 * NS_PER_US,  500 * NS_PER_US, 1 * NS_PER_MS,   2500 * NS_PER_US, 5 * NS_PER_MS,
    10 * NS_PER_MS,  25 * NS_PER_MS,   50 * NS_PER_MS,  100 * NS_PER_MS, 250 * NS_PER_MS,  500 * NS_PER_MS,
    1 * NS_PER_SEC,  2500 * NS_PER_MS, 5 * NS_PER_SEC,  10 * NS_PER_SEC,
};

struct thread_cells {
    struct thread_cells *next;
    _Atomic int64_t cells[];
};

static struct metric *rows[ROWS_MAX]; /* set before threads start, then read-only */
static size_t row_count;
static size_t cell_count = 1;

static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread_cells *threads; /* guarded by threads_lock; entries are never freed */

static _Thread_local struct thread_cells *own;

static const char *const type_names[METRIC_TYPE_COUNT] = {"counter", "gauge", "histogram"};

static size_t label_count(const struct metric *metric, size_t i)
{
    return metric->labels[i].name ? metric->labels[i].count : 1;
}

static size_t combination_count(const struct metric *metric)
{
    return label_count(metric, 0) * label_count(metric, 1);
}

static size_t cells_per_combination(const struct metric *metric)
{
    return metric->type == METRIC_HISTOGRAM ? HISTOGRAM_CELLS : 1;
}

static size_t cell_of(const struct metric *metric, size_t label0, size_t label1)
{
    assert(label0 < label_count(metric, 0) && label1 < label_count(metric, 1));
    size_t combination = label0 * label_count(metric, 1) + label1;
    return metric->first_cell + combination * cells_per_combination(metric);
}

void metrics_register(struct metric *new_rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert(row_count < ROWS_MAX);
        struct metric *metric = &new_rows[i];
        rows[row_count++] = metric;
        if (metric->read)
            continue;
        metric->first_cell = cell_count;
        cell_count += combination_count(metric) * cells_per_combination(metric);
    }
}

/* NULL when memory is short: the update is dropped, the service goes on. */
static struct thread_cells *own_cells(void)
{
    if (own)
        return own;
    struct thread_cells *cells = calloc(1, sizeof(*cells) + cell_count * sizeof(cells->cells[0]));
    if (!cells)
        return NULL;
    LOCK(&threads_lock);
    cells->next = threads;
    threads = cells;
    own = cells;
    return own;
}

static void cell_add(size_t cell, int64_t value)
{
    struct thread_cells *cells = own_cells();
    if (!cells)
        return;
    int64_t old = atomic_load_explicit(&cells->cells[cell], memory_order_relaxed);
    atomic_store_explicit(&cells->cells[cell], old + value, memory_order_relaxed);
}

void metric_add(const struct metric *metric, size_t label0, size_t label1, int64_t value)
{
    if (metric->first_cell != 0)
        cell_add(cell_of(metric, label0, label1), value);
}

void metric_observe(const struct metric *metric, size_t label0, size_t label1, uint64_t ns)
{
    if (metric->first_cell == 0)
        return;
    size_t bucket = 0;
    while (bucket < METRIC_BOUND_COUNT && ns > metric_bounds_ns[bucket])
        bucket++;
    size_t first = cell_of(metric, label0, label1);
    cell_add(first + bucket, 1);
    cell_add(first + METRIC_BOUND_COUNT + 1, (int64_t)((ns + NS_PER_US / 2) / NS_PER_US));
}

static int64_t cell_sum_locked(size_t cell)
{
    int64_t sum = 0;

    for (struct thread_cells *cells = threads; cells; cells = cells->next)
        sum += atomic_load_explicit(&cells->cells[cell], memory_order_relaxed);
    return sum;
}

int64_t metric_value(const struct metric *metric, size_t label0, size_t label1)
{
    if (metric->first_cell == 0)
        return 0;
    LOCK(&threads_lock);
    return cell_sum_locked(cell_of(metric, label0, label1));
}

/* name_suffix{label="value",extra} without the value behind it. */
static void write_series(struct buf *buf, const struct metric *metric, const char *suffix,
                         const size_t label[2], const char *extra)
{
    const char *separator = "{";

    buf_printf(buf, "%s%s", metric->name, suffix);
    for (size_t i = 0; i < 2; i++) {
        if (!metric->labels[i].name)
            continue;
        buf_printf(buf, "%s%s=\"%s\"", separator, metric->labels[i].name, metric->labels[i].values[label[i]]);
        separator = ",";
    }
    if (extra) {
        buf_printf(buf, "%s%s", separator, extra);
        separator = ",";
    }
    buf_append_str(buf, *separator == ',' ? "} " : " ");
}

static void write_histogram_locked(struct buf *buf, const struct metric *metric, const size_t label[2])
{
    size_t first = cell_of(metric, label[0], label[1]);
    int64_t sum_us = cell_sum_locked(first + METRIC_BOUND_COUNT + 1);
    int64_t total = 0;
    char bound[48];

    for (size_t i = 0; i <= METRIC_BOUND_COUNT; i++) {
        total += cell_sum_locked(first + i);
        if (i < METRIC_BOUND_COUNT)
            snprintf(bound, sizeof(bound), "le=\"%g\"", (double)metric_bounds_ns[i] / 1e9);
        else
            snprintf(bound, sizeof(bound), "le=\"+Inf\"");
        write_series(buf, metric, "_bucket", label, bound);
        buf_printf(buf, "%" PRId64 "\n", total);
    }
    write_series(buf, metric, "_sum", label, NULL);
    buf_printf(buf, "%" PRId64 ".%06" PRId64 "\n", sum_us / 1000000, sum_us % 1000000);
    write_series(buf, metric, "_count", label, NULL);
    buf_printf(buf, "%" PRId64 "\n", total);
}

static bool is_untouched_locked(const struct metric *metric, const size_t label[2])
{
    size_t first = cell_of(metric, label[0], label[1]);

    for (size_t i = 0; i < cells_per_combination(metric); i++)
        if (cell_sum_locked(first + i) != 0)
            return false;
    return true;
}

static void write_row_locked(struct buf *buf, const struct metric *metric)
{
    size_t label[2];
    bool labelled = metric->labels[0].name != NULL;

    for (label[0] = 0; label[0] < label_count(metric, 0); label[0]++) {
        for (label[1] = 0; label[1] < label_count(metric, 1); label[1]++) {
            if (labelled && metric->type != METRIC_GAUGE && is_untouched_locked(metric, label))
                continue;
            if (metric->type == METRIC_HISTOGRAM) {
                write_histogram_locked(buf, metric, label);
                continue;
            }
            write_series(buf, metric, "", label, NULL);
            buf_printf(buf, "%" PRId64 "\n", cell_sum_locked(cell_of(metric, label[0], label[1])));
        }
    }
}

void metrics_write(struct buf *buf)
{
    for (size_t i = 0; i < row_count; i++) {
        const struct metric *metric = rows[i];
        buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                   type_names[metric->type]);
        if (metric->read) {
            write_series(buf, metric, "", (const size_t[2]){0, 0}, NULL);
            buf_printf(buf, "%.17g\n", metric->read());
            continue;
        }
        LOCK(&threads_lock);
        write_row_locked(buf, metric);
    }
}

static void write_labels_markdown(struct buf *buf, const struct metric *metric)
{
    for (size_t i = 0; i < 2 && metric->labels[i].name; i++)
        buf_printf(buf, "%s`%s`", i ? ", " : "", metric->labels[i].name);
}

void metrics_write_markdown(struct buf *buf)
{
    buf_append_str(buf, "# Metrics\n\nGenerated by `make docs` from the tables in the program; do not edit.\n"
                        "Prometheus text at `GET /metrics`. Histograms have buckets from 100 us to 10 s.\n\n"
                        "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < row_count; i++) {
        const struct metric *metric = rows[i];
        buf_printf(buf, "| `%s` | %s | ", metric->name, type_names[metric->type]);
        write_labels_markdown(buf, metric);
        buf_printf(buf, " | %s |\n", metric->help);
    }
}
