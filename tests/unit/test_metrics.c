#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "metrics/metrics.h"

static double forty_two_and_a_half(void)
{
    return 42.5;
}

static const char *const colours[] = {"red", "green", "blue"};
static const char *const sizes[] = {"small", "large"};

enum { PLAIN, LABELLED, GAUGE, LABELLED_GAUGE, HISTOGRAM, LABELLED_HISTOGRAM, READ, SILENT, ROW_COUNT };

#define COLOUR_LABEL                                                                                         \
    {                                                                                                        \
        "colour", colours, ARRAY_LEN(colours)                                                                \
    }
#define SIZE_LABEL                                                                                           \
    {                                                                                                        \
        "size", sizes, ARRAY_LEN(sizes)                                                                      \
    }

static struct metric rows[ROW_COUNT] = {
    [PLAIN] = {.name = "test_plain_total", .type = METRIC_COUNTER, .help = "a counter"},
    [LABELLED] = {.name = "test_labelled_total",
                  .type = METRIC_COUNTER,
                  .help = "by colour and size",
                  .labels = {COLOUR_LABEL, SIZE_LABEL}},
    [GAUGE] = {.name = "test_gauge", .type = METRIC_GAUGE, .help = "a gauge"},
    [LABELLED_GAUGE] = {.name = "test_labelled_gauge",
                        .type = METRIC_GAUGE,
                        .help = "by size",
                        .labels = {SIZE_LABEL}},
    [HISTOGRAM] = {.name = "test_seconds", .type = METRIC_HISTOGRAM, .help = "a histogram"},
    [LABELLED_HISTOGRAM] = {.name = "test_labelled_seconds",
                            .type = METRIC_HISTOGRAM,
                            .help = "by size",
                            .labels = {SIZE_LABEL}},
    [READ] = {.name = "test_read", .type = METRIC_GAUGE, .help = "asked for", .read = forty_two_and_a_half},
    [SILENT] = {.name = "test_silent_total",
                .type = METRIC_COUNTER,
                .help = "never touched",
                .labels = {COLOUR_LABEL}},
};

static struct metric unregistered = {
    .name = "test_unregistered_total", .type = METRIC_COUNTER, .help = "none"};

static char written[1 << 16];

/* /metrics as it is now, as a string. */
static const char *scrape(void)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(sizeof(written) - 1);

    metrics_write(&buf);
    assert_false(buf.failed);
    memcpy(written, buf.data, buf.size);
    written[buf.size] = '\0';
    return written;
}

/* The value of the one line that begins with `series` and a space. */
static double value_of(const char *text, const char *series)
{
    size_t length = strlen(series);

    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, series, length) == 0 && line[length] == ' ')
            return strtod(line + length, NULL);
    fail_msg("no series %s", series);
    return 0;
}

static bool has_line(const char *text, const char *wanted)
{
    const char *found = strstr(text, wanted);

    return found && (found == text || found[-1] == '\n') && found[strlen(wanted)] == '\n';
}

static void run_in_threads(size_t count, thread_fn fn)
{
    pthread_t threads[16];

    assert_true(count <= ARRAY_LEN(threads));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(thread_start(&threads[i], "test", fn, NULL, NULL), 0);
    for (size_t i = 0; i < count; i++)
        thread_join(threads[i]);
}

enum { THREADS = 4, ROUNDS = 10000 };

static void *count_up(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ROUNDS; i++) {
        metric_inc(&rows[PLAIN]);
        metric_add(&rows[LABELLED], i % 2, 1, 2);
    }
    return NULL;
}

static void *scrape_meanwhile(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 20; i++) {
        cleanup(buf_done) struct buf buf = BUF_INIT(1 << 16);
        metrics_write(&buf);
        if (buf.failed)
            abort();
    }
    return NULL;
}

static void counters_of_threads_add_up(void **state)
{
    pthread_t scraper;

    (void)state;
    assert_int_equal(thread_start(&scraper, "scraper", scrape_meanwhile, NULL, NULL), 0);
    run_in_threads(THREADS, count_up);
    thread_join(scraper);

    assert_int_equal(metric_value(&rows[PLAIN], 0, 0), THREADS * ROUNDS);
    assert_int_equal(metric_value(&rows[LABELLED], 0, 1), THREADS * ROUNDS);
    const char *text = scrape();
    assert_true(has_line(text, "test_plain_total 40000"));
    assert_true(has_line(text, "test_labelled_total{colour=\"red\",size=\"large\"} 40000"));
    assert_true(has_line(text, "test_labelled_total{colour=\"green\",size=\"large\"} 40000"));
}

static void untouched_cells_are_left_out_but_announced(void **state)
{
    (void)state;
    const char *text = scrape();
    assert_null(strstr(text, "test_labelled_total{colour=\"red\",size=\"small\"}"));
    assert_null(strstr(text, "colour=\"blue\""));
    assert_true(has_line(text, "# HELP test_silent_total never touched"));
    assert_true(has_line(text, "# TYPE test_silent_total counter"));
    assert_null(strstr(text, "test_silent_total{"));
    /* A gauge that is at rest is still a value. */
    assert_true(has_line(text, "test_labelled_gauge{size=\"small\"} 0"));
    assert_true(has_line(text, "test_labelled_gauge{size=\"large\"} 0"));
}

static void *gauge_up(void *arg)
{
    (void)arg;
    metric_add(&rows[GAUGE], 0, 0, 5);
    return NULL;
}

static void *gauge_down(void *arg)
{
    (void)arg;
    metric_add(&rows[GAUGE], 0, 0, -3);
    return NULL;
}

static void gauge_goes_up_in_one_thread_and_down_in_another(void **state)
{
    (void)state;
    run_in_threads(1, gauge_up);
    run_in_threads(1, gauge_down);
    assert_int_equal(metric_value(&rows[GAUGE], 0, 0), 2);
    assert_true(has_line(scrape(), "test_gauge 2"));
    run_in_threads(1, gauge_down);
    assert_true(has_line(scrape(), "test_gauge -1"));
}

static void *observe_bounds(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < METRIC_BOUND_COUNT; i++)
        metric_observe(&rows[HISTOGRAM], 0, 0, metric_bounds_ns[i]);
    metric_observe(&rows[HISTOGRAM], 0, 0, 0);
    metric_observe(&rows[HISTOGRAM], 0, 0, 60 * NS_PER_SEC);
    return NULL;
}

/* A bound belongs to its bucket, buckets are cumulative, the last one is the count. */
static void histogram_buckets_are_cumulative(void **state)
{
    double seconds = 60;

    (void)state;
    run_in_threads(2, observe_bounds);
    const char *text = scrape();
    for (size_t i = 0; i < METRIC_BOUND_COUNT; i++) {
        char series[64];
        snprintf(series, sizeof(series), "test_seconds_bucket{le=\"%g\"}", (double)metric_bounds_ns[i] / 1e9);
        assert_int_equal((int)value_of(text, series), 2 * (i + 2));
        seconds += (double)metric_bounds_ns[i] / 1e9;
    }
    assert_true(has_line(text, "test_seconds_bucket{le=\"+Inf\"} 36"));
    assert_true(has_line(text, "test_seconds_count 36"));
    assert_float_equal(value_of(text, "test_seconds_sum"), 2 * seconds, 1e-6);
    assert_true(has_line(text, "# TYPE test_seconds histogram"));
}

static void labelled_histogram_keeps_its_labels_apart(void **state)
{
    (void)state;
    metric_observe(&rows[LABELLED_HISTOGRAM], 1, 0, 2 * NS_PER_SEC);
    const char *text = scrape();
    assert_true(has_line(text, "test_labelled_seconds_bucket{size=\"large\",le=\"1\"} 0"));
    assert_true(has_line(text, "test_labelled_seconds_bucket{size=\"large\",le=\"2.5\"} 1"));
    assert_true(has_line(text, "test_labelled_seconds_sum{size=\"large\"} 2.000000"));
    assert_true(has_line(text, "test_labelled_seconds_count{size=\"large\"} 1"));
    assert_null(strstr(text, "test_labelled_seconds_count{size=\"small\"}"));
}

static void long_run_neither_overflows_nor_stalls_the_sum(void **state)
{
    (void)state;
    /* 300 years of time, as 15,000 fetches at once gather it in a week. */
    metric_observe(&rows[LABELLED_HISTOGRAM], 0, 0, INT64_MAX);
    metric_observe(&rows[LABELLED_HISTOGRAM], 0, 0, INT64_MAX);
    assert_true(has_line(scrape(), "test_labelled_seconds_sum{size=\"small\"} 18446744073.709552"));
    metric_observe(&rows[LABELLED_HISTOGRAM], 0, 0, NS_PER_US);
    assert_true(has_line(scrape(), "test_labelled_seconds_sum{size=\"small\"} 18446744073.709553"));
}

static void row_with_read_is_asked_at_each_scrape(void **state)
{
    (void)state;
    assert_true(has_line(scrape(), "test_read 42.5"));
    metric_inc(&rows[READ]); /* has no cell: nothing happens */
    assert_true(has_line(scrape(), "test_read 42.5"));
}

static void unregistered_row_drops_its_updates(void **state)
{
    (void)state;
    metric_inc(&unregistered);
    metric_observe(&unregistered, 0, 0, 1);
    assert_int_equal(metric_value(&unregistered, 0, 0), 0);
    assert_null(strstr(scrape(), "test_unregistered_total"));
}

static void process_rows_are_plausible(void **state)
{
    (void)state;
    const char *text = scrape();
    assert_true(has_line(text, "heddle_build_info{version=\"" HEDDLE_VERSION "\"} 1"));
    assert_true(value_of(text, "process_resident_memory_bytes") > 1e5);
    assert_true(value_of(text, "process_open_fds") >= 3);
    assert_true(value_of(text, "process_max_fds") >= value_of(text, "process_open_fds"));
    assert_true(value_of(text, "process_start_time_seconds") > 1.6e9);
    assert_true(value_of(text, "process_cpu_seconds_total") > 0);
}

/* Each line is a comment or `name{labels} value`, and each metric is announced before its first series. */
static void all_lines_are_prometheus_text(void **state)
{
    char *rest = written;
    const char *last_type = "";

    (void)state;
    scrape();
    for (char *line = strsep(&rest, "\n"); rest; line = strsep(&rest, "\n")) {
        if (strncmp(line, "# HELP ", 7) == 0)
            continue;
        if (strncmp(line, "# TYPE ", 7) == 0) {
            last_type = line + 7;
            continue;
        }
        size_t name = strcspn(last_type, " ");
        assert_int_equal(strncmp(line, last_type, name), 0);
        const char *value = strrchr(line, ' ');
        assert_non_null(value);
        char *end;
        strtod(value + 1, &end);
        assert_true(end != value + 1 && *end == '\0');
    }
}

static void markdown_lists_every_row(void **state)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(1 << 16);

    (void)state;
    metrics_write_markdown(&buf);
    buf_append(&buf, "", 1);
    assert_false(buf.failed);
    assert_true(has_line(buf.data, "| `test_plain_total` | counter |  | a counter |"));
    assert_true(
        has_line(buf.data, "| `test_labelled_total` | counter | `colour`, `size` | by colour and size |"));
    for (size_t i = 0; i < ROW_COUNT; i++)
        assert_non_null(strstr(buf.data, rows[i].name));
}

static int register_rows(void **state)
{
    (void)state;
    metrics_register(rows, ROW_COUNT);
    metrics_register(metrics_process, metrics_process_count);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_of_threads_add_up),
        cmocka_unit_test(untouched_cells_are_left_out_but_announced),
        cmocka_unit_test(gauge_goes_up_in_one_thread_and_down_in_another),
        cmocka_unit_test(histogram_buckets_are_cumulative),
        cmocka_unit_test(labelled_histogram_keeps_its_labels_apart),
        cmocka_unit_test(long_run_neither_overflows_nor_stalls_the_sum),
        cmocka_unit_test(row_with_read_is_asked_at_each_scrape),
        cmocka_unit_test(unregistered_row_drops_its_updates),
        cmocka_unit_test(process_rows_are_plausible),
        cmocka_unit_test(all_lines_are_prometheus_text),
        cmocka_unit_test(markdown_lists_every_row),
    };
    return cmocka_run_group_tests(tests, register_rows, NULL);
}
