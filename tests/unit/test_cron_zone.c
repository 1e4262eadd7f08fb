#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/calendar.h"
#include "base/cron_zone.h"

static struct cron_zone *load(const char *name)
{
    struct cron_zone *zone = NULL;
    struct err err = {0};

    if (cron_zone_load(name, &zone, &err) < 0)
        fail_msg("%s", err.text);
    return zone;
}

/* What the C library says of the process's zone; only this test has one. */
static int64_t library_offset(int64_t time)
{
    time_t seconds = (time_t)time;
    struct tm tm;

    assert_non_null(localtime_r(&seconds, &tm));
    return tm.tm_gmtoff;
}

static void offsets_are_those_of_the_library(void **state)
{
    static const char *const names[] = {
        "UTC",           "Europe/Berlin",     "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
        "Europe/Dublin", "Africa/Casablanca", "America/Nuuk",     "Asia/Jerusalem",      "Pacific/Apia",
        "America/Lima",  "Africa/Cairo",      "Pacific/Chatham",  "America/Santiago",    "Etc/GMT-14",
        "EST",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct cron_zone *zone = load(names[i]);
        assert_int_equal(setenv("TZ", names[i], 1), 0);
        tzset();
        /* From 1890 to 2600; the step is no part of a year. */
        for (int64_t time = -2524521600; time < INT64_C(19880899200); time += 1000003) {
            struct cron_zone_span span;
            cron_zone_span(zone, time, &span);
            if (span.offset_s != library_offset(time))
                fail_msg("%s at %lld: %d instead of %lld", names[i], (long long)time, span.offset_s,
                         (long long)library_offset(time));
        }
        cron_zone_free(zone);
    }
}

static void spans_follow_each_other(void **state)
{
    static const char *const names[] = {"Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct cron_zone *zone = load(names[i]);
        struct cron_zone_span span;
        cron_zone_span(zone, -INT64_C(10000000000), &span);
        assert_true(span.start == INT64_MIN);
        while (span.end < INT64_C(253402300800)) {
            struct cron_zone_span next;
            struct cron_zone_span same;
            cron_zone_span(zone, span.end - 1, &same);
            assert_memory_equal(&same, &span, sizeof(span));
            cron_zone_span(zone, span.end, &next);
            assert_true(next.start == span.end && next.end > next.start);
            assert_int_equal(next.offset_before_s, span.offset_s);
            span = next;
        }
        cron_zone_free(zone);
    }
}

static void names_are_checked(void **state)
{
    static const char *const wrong[] = {
        "",          "/etc/passwd",    "../zoneinfo/UTC", "Europe/../UTC", "Europe/",
        "tzdata.zi", "Europe/Berlin ", "Europe\\Berlin",  ":Europe/Berlin"};
    static const char *const missing[] = {"Europe", "Europe/Atlantis", "utc2", "Europe/Berlin/x",
                                          "Europe//Bonn"};
    char text[200];
    struct cron_zone *zone = NULL;
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(cron_zone_load(wrong[i], &zone, &err), -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        assert_int_equal(cron_zone_load(missing[i], &zone, &err), -ENOENT);
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(cron_zone_load(text, &zone, &err), -EINVAL);
    assert_null(zone);
    assert_int_equal(cron_zone_load("Europe/Atlantis", &zone, &err), -ENOENT);
    assert_string_equal(err.text, "there is no time zone \"Europe/Atlantis\" in /usr/share/zoneinfo/");
    assert_int_equal(cron_zone_load("../x", &zone, &err), -EINVAL);
    assert_string_equal(err.text, "\"../x\" is no name of a time zone; write one such as Europe/Berlin");
}

/* ---- files made here ---- */

static void add_number(struct buf *out, int64_t value, size_t size)
{
    for (size_t i = size; i > 0; i--)
        buf_append(out, &(unsigned char){(unsigned char)((uint64_t)value >> (8 * (i - 1)))}, 1);
}

static void add_header(struct buf *out, char version, unsigned leaps, unsigned times, unsigned types)
{
    buf_append_str(out, "TZif");
    buf_append(out, &version, 1);
    add_number(out, 0, 8);
    add_number(out, 0, 7);
    const unsigned counts[] = {0, 0, leaps, times, types, 4};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        add_number(out, counts[i], 4);
}

/* From 1000 on an hour east, from 2000 on none. */
static void add_block(struct buf *out, size_t time_size, unsigned second_type)
{
    add_number(out, 1000, time_size);
    add_number(out, 2000, time_size);
    add_number(out, 1, 1);
    add_number(out, second_type, 1);
    add_number(out, 0, 6);
    add_number(out, 3600, 4);
    add_number(out, 0, 2);
    buf_append(out, "UTC", 4);
}

static void add_file(struct buf *out, const char *footer)
{
    add_header(out, '2', 0, 0, 1);
    add_number(out, 0, 6);
    buf_append(out, "UTC", 4);
    add_header(out, '2', 0, 2, 2);
    add_block(out, 8, 0);
    buf_append_str(out, footer);
}

static int parse(const struct buf *file, size_t size, struct cron_zone **ret)
{
    /* A copy of the exact size, so that AddressSanitizer sees a read behind it. */
    char *bytes = malloc(size ? size : 1);
    struct err err = {0};

    assert_non_null(bytes);
    assert_false(file->failed);
    memcpy(bytes, file->data, size);
    int rc = cron_zone_parse(bytes, size, ret, &err);
    free(bytes);
    return rc;
}

static int32_t offset_at(const struct cron_zone *zone, int64_t time)
{
    struct cron_zone_span span;

    cron_zone_span(zone, time, &span);
    return span.offset_s;
}

static void old_file_has_no_rule(void **state)
{
    cleanup(buf_done) struct buf file = BUF_INIT(1000);
    struct cron_zone *zone;

    (void)state;
    add_header(&file, '\0', 0, 2, 2);
    add_block(&file, 4, 0);
    assert_int_equal(parse(&file, file.size, &zone), 0);
    assert_int_equal(offset_at(zone, 999), 0);
    assert_int_equal(offset_at(zone, 1000), 3600);
    assert_int_equal(offset_at(zone, 1999), 3600);
    assert_int_equal(offset_at(zone, 2000), 0);
    assert_int_equal(offset_at(zone, INT64_C(200000000000)), 0);
    cron_zone_free(zone);
}

static int64_t at(int64_t year, unsigned month, unsigned day, int hour)
{
    return calendar_days(year, month, day) * CALENDAR_DAY_S + hour * 3600;
}

static void rules_are_those_of_posix(void **state)
{
    static const struct {
        const char *footer;
        int64_t year;
        unsigned month;
        unsigned day;
        int hour;
        int32_t offset_s;
    } cases[] = {
        {"", 2026, 7, 1, 0, 0},
        {"JST-9", 2026, 7, 1, 0, 9 * 3600},
        {"<-0330>3:30", 2026, 7, 1, 0, -(3 * 3600 + 1800)},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 2026, 3, 29, 0, 3600},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 2026, 3, 29, 1, 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 2026, 10, 25, 0, 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 2026, 10, 25, 1, 3600},
        {"AAA0BBB-2,J60/0,J61/0", 2028, 3, 1, 0, 7200},
        {"AAA0BBB-2,J60/0,J61/0", 2027, 3, 1, 0, 7200},
        {"AAA0BBB-2,J60/0,J61/0", 2027, 2, 28, 23, 0},
        {"AAA0BBB-2,59/0,61/0", 2028, 2, 29, 0, 7200},
        {"AAA0BBB-2,59/0,61/0", 2027, 3, 1, 0, 7200},
        /* Times outside of their day (RFC 8536, 3.3.1). */
        {"AAA0BBB,M3.4.4/50,M10.4.4/50", 2026, 3, 28, 1, 0},
        {"AAA0BBB,M3.4.4/50,M10.4.4/50", 2026, 3, 28, 2, 3600},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 3, 29, 0, -7200},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 3, 29, 1, -3600},
        /* On saving time all year round. */
        {"EST5EDT,0/0,J365/25", 2026, 1, 1, 4, -4 * 3600},
        {"EST5EDT,0/0,J365/25", 2026, 1, 1, 5, -4 * 3600},
        {"EST5EDT,0/0,J365/25", 2028, 12, 31, 23, -4 * 3600},
        /* Changes that lie outside of their years, and saving time of no length. */
        {"AAA0BBB,J365/160,J365/167", 2026, 1, 3, 0, 0},
        {"AAA0BBB,J365/160,J365/167", 2026, 1, 6, 17, 3600},
        {"AAA0BBB,0/-167,0/-160", 2025, 12, 31, 12, 0},
        {"AAA0BBB,J100/2,J100/3", 2026, 4, 10, 12, 0},
        /* In the south, and with a saving time that is behind. */
        {"NZST-12NZDT,M9.5.0,M4.1.0/3", 2026, 1, 1, 0, 13 * 3600},
        {"NZST-12NZDT,M9.5.0,M4.1.0/3", 2026, 7, 1, 0, 12 * 3600},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 1, 1, 0, 0},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 7, 1, 0, 3600},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup(buf_done) struct buf file = BUF_INIT(1000);
        char footer[100];
        struct cron_zone *zone;
        snprintf(footer, sizeof(footer), "\n%s\n", cases[i].footer);
        add_file(&file, footer);
        if (parse(&file, file.size, &zone) < 0)
            fail_msg("%s is refused", cases[i].footer);
        int32_t offset_s = offset_at(zone, at(cases[i].year, cases[i].month, cases[i].day, cases[i].hour));
        if (offset_s != cases[i].offset_s)
            fail_msg("%s, case %zu: %d instead of %d", cases[i].footer, i, offset_s, cases[i].offset_s);
        cron_zone_free(zone);
    }
}

static void damaged_files_are_refused(void **state)
{
    static const char *const footers[] = {
        "",
        "\n",
        "\nJST-9",
        "JST-9\n",
        "\nJ-9\n",
        "\nJST\n",
        "\nJST-25\n",
        "\nJST-9:60\n",
        "\nCET-1CEST\n",
        "\nCET-1CEST,M3.5.0\n",
        "\n<+03-3\n",
        "\nJST-9JDT,\n",
        "\nA-1B,1,2\n",
        "\nAAA-1BBB,M13.5.0,M10.5.0\n",
        "\nAAA-1BBB,M3.6.0,M10.5.0\n",
        "\nAAA-1BBB,M3.0.0,M10.5.0\n",
        "\nAAA-1BBB,M3.5.7,M10.5.0\n",
        "\nAAA-1BBB,J0,J5\n",
        "\nAAA-1BBB,366,5\n",
        "\nAAA-1BBB,1/168,5\n",
        "\nAAA-1BBB,1,5x\n",
        "\n99999999999999999999\n",
    };
    cleanup(buf_done) struct buf whole = BUF_INIT(1000);
    struct cron_zone *zone = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(footers); i++) {
        cleanup(buf_done) struct buf file = BUF_INIT(1000);
        add_file(&file, footers[i]);
        if (parse(&file, file.size, &zone) != -EBADMSG)
            fail_msg("'%s' is accepted", footers[i]);
    }
    add_file(&whole, "\nJST-9\n");
    for (size_t size = 0; size < whole.size; size++)
        assert_int_equal(parse(&whole, size, &zone), -EBADMSG);
    /* Any one byte that is wrong is refused or harmless. */
    for (size_t i = 0; i < whole.size; i++) {
        whole.data[i] ^= (char)0xff;
        if (parse(&whole, whole.size, &zone) == 0) {
            offset_at(zone, 0);
            cron_zone_free(zone);
        }
        whole.data[i] ^= (char)0xff;
    }
}

static void leap_seconds_and_strange_tables_are_refused(void **state)
{
    cleanup(buf_done) struct buf leaps = BUF_INIT(1000);
    cleanup(buf_done) struct buf type = BUF_INIT(1000);
    struct cron_zone *zone = NULL;

    (void)state;
    add_header(&leaps, '\0', 1, 2, 2);
    add_block(&leaps, 4, 0);
    add_number(&leaps, 0, 8);
    assert_int_equal(parse(&leaps, leaps.size, &zone), -EBADMSG);
    add_header(&type, '\0', 0, 2, 2);
    add_block(&type, 4, 2);
    assert_int_equal(parse(&type, type.size, &zone), -EBADMSG);
    assert_null(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_those_of_the_library),
        cmocka_unit_test(spans_follow_each_other),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(old_file_has_no_rule),
        cmocka_unit_test(rules_are_those_of_posix),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(leap_seconds_and_strange_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
