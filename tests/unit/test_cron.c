#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/cron.h"

#define YEAR_10000_MS UINT64_C(253402300800000)

static struct cron parse(const char *text)
{
    struct cron cron = {0};
    struct err err = {0};

    if (cron_parse(text, &cron, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return cron;
}

static struct cron_zone *load(const char *name)
{
    struct cron_zone *zone = NULL;
    struct err err = {0};

    if (cron_zone_load(name, &zone, &err) < 0)
        fail_msg("%s", err.text);
    return zone;
}

static uint64_t stamp(const char *text)
{
    uint64_t ms = 0;

    if (!clock_parse_rfc3339(text, &ms))
        fail_msg("%s is no stamp", text);
    return ms;
}

/* The ticks of an expression after a stamp; the stamps may have any offset. */
struct ticks {
    const char *zone;
    const char *text;
    const char *after;
    const char *next[6];
};

static void expect_ticks(const struct ticks *ticks)
{
    struct cron cron = parse(ticks->text);
    struct cron_zone *zone = load(ticks->zone);
    uint64_t ms = stamp(ticks->after);
    char found[CLOCK_RFC3339_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(ticks->next) && ticks->next[i]; i++) {
        assert_true(cron_next(&cron, zone, ms, &ms));
        clock_format_rfc3339(ms, found);
        if (ms != stamp(ticks->next[i]))
            fail_msg("%s in %s after %s: %s instead of %s", ticks->text, ticks->zone, ticks->after, found,
                     ticks->next[i]);
    }
    cron_zone_free(zone);
}

#define EXPECT_TICKS(cases)                                                                                  \
    for (size_t i_ = 0; i_ < ARRAY_LEN(cases); i_++)                                                         \
    expect_ticks(&(cases)[i_])

static void fields_are_read(void **state)
{
    (void)state;
    struct cron cron = parse("0,15-20/2,59 8-18/5 1,31 jan,MAR-may mon-Fri,7");
    assert_true(cron.minutes == (1U << 0 | 1U << 15 | 1U << 17 | 1U << 19 | UINT64_C(1) << 59));
    assert_true(cron.hours == (1U << 8 | 1U << 13 | 1U << 18));
    assert_true(cron.days == (1U << 1 | 1U << 31));
    assert_true(cron.months == (1U << 1 | 1U << 3 | 1U << 4 | 1U << 5));
    assert_true(cron.weekdays == 0x3f);
    assert_true(cron.any_day_will_do);
    assert_false(cron.runs_by_real_time);

    cron = parse("\t*/20  *\t*/10 * */2 ");
    assert_true(cron.minutes == (UINT64_C(1) << 0 | UINT64_C(1) << 20 | UINT64_C(1) << 40));
    assert_true(cron.hours == 0xffffff);
    assert_true(cron.days == (1U << 1 | 1U << 11 | 1U << 21 | 1U << 31));
    assert_true(cron.months == 0x1ffe);
    assert_true(cron.weekdays == 0x55);
    assert_false(cron.any_day_will_do);
    assert_true(cron.runs_by_real_time);
}

static void sunday_has_two_numbers(void **state)
{
    static const char *const texts[] = {"0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * 0,7", "@weekly"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(parse(texts[i]).weekdays, 1);
    assert_int_equal(parse("0 0 * * 5-7").weekdays, 1 << 5 | 1 << 6 | 1);
}

static void nicknames_are_expressions(void **state)
{
    static const char *const pairs[][2] = {
        {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {" @weekly", "0 0 * * 0"},  {"@monthly ", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct cron a = parse(pairs[i][0]);
        struct cron b = parse(pairs[i][1]);
        assert_true(a.minutes == b.minutes && a.hours == b.hours && a.days == b.days &&
                    a.months == b.months && a.weekdays == b.weekdays &&
                    a.any_day_will_do == b.any_day_will_do && a.runs_by_real_time == b.runs_by_real_time);
    }
}

static void each_error_names_its_field(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"", "\"\" has 0 fields; five are needed: minute hour day month weekday"},
        {"5", "\"5\" has 1 field; five are needed: minute hour day month weekday"},
        {"* * * *", "\"* * * *\" has 4 fields; five are needed: minute hour day month weekday"},
        {"0 0 * * * *", "\"0 0 * * * *\" has 6 fields; five are needed: minute hour day month weekday"},
        {"60 * * * *", "minute: \"60\" has a value that is not from 0 to 59"},
        {"1,,2 * * * *", "minute: \"1,,2\" is not understood; a value is a number from 0 to 59"},
        {"-1 * * * *", "minute: \"-1\" is not understood; a value is a number from 0 to 59"},
        {"0001 * * * *", "minute: \"0001\" is not understood; a value is a number from 0 to 59"},
        {"1- * * * *", "minute: \"1-\" is not understood; a value is a number from 0 to 59"},
        {"5/10 * * * *", "minute: \"5/10\" has a step without a range; write */n or first-last/n"},
        {"*/0 * * * *", "minute: \"*/0\" has a step that is not from 1 to 60"},
        {"*/61 * * * *", "minute: \"*/61\" has a step that is not from 1 to 60"},
        {"*/ * * * *", "minute: \"*/\" has a step that is not from 1 to 60"},
        {"*5 * * * *", "minute: \"*5\" is not understood behind the first 1 characters"},
        {"* 24 * * *", "hour: \"24\" has a value that is not from 0 to 23"},
        {"* 18-8 * * *", "hour: \"18-8\" has a range that goes backwards"},
        {"* * 0 * *", "day of the month: \"0\" has a value that is not from 1 to 31"},
        {"* * L * *", "day of the month: \"L\" is not understood; a value is a number from 1 to 31"},
        {"* * * 13 *", "month: \"13\" has a value that is not from 1 to 12"},
        {"* * * mai *",
         "month: \"mai\" is not understood; a value is a number from 1 to 12 or a name such as feb"},
        {"* * * january *",
         "month: \"january\" is not understood; a value is a number from 1 to 12 or a name such as feb"},
        {"* * * * 8", "weekday: \"8\" has a value that is not from 0 to 7"},
        {"* * * * mon-sun", "weekday: \"mon-sun\" has a range that goes backwards"},
        {"* * * * jan",
         "weekday: \"jan\" is not understood; a value is a number from 0 to 7 or a name such as mon"},
        {"* * * * \xc3\xa9",
         "weekday: \"\\xc3\\xa9\" is not understood; a value is a number from 0 to 7 or a name such as mon"},
        {"0 0 30 2 *", "day of the month: there is no such day in that month, it would never run"},
        {"0 0 31 4,6,9,11 *", "day of the month: there is no such day in that month, it would never run"},
        {"0 0 30,31 feb */2", "day of the month: there is no such day in that month, it would never run"},
        {"@reboot", "\"@reboot\" is not understood; there are @hourly, @daily, @midnight, @weekly, @monthly, "
                    "@yearly and @annually"},
        {"@daily 5", "\"@daily 5\" is not understood; there are @hourly, @daily, @midnight, @weekly, "
                     "@monthly, @yearly and @annually"},
    };
    struct cron cron = {.minutes = 42};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_int_equal(cron_parse(cases[i].text, &cron, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
        assert_true(cron.minutes == 42);
    }
}

static void long_text_is_refused(void **state)
{
    char text[5000];
    struct cron cron;
    struct err err = {0};

    (void)state;
    memset(text, ' ', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(cron_parse(text, &cron, &err), -EINVAL);
    assert_string_equal(err.text, "a cron expression has at most 255 characters");
}

static void ticks_in_utc(void **state)
{
    static const struct ticks cases[] = {
        {"UTC", "* * * * *", "1970-01-01T00:00:00Z", {"1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z"}},
        {"UTC", "* * * * *", "2026-01-01T00:00:59.999Z", {"2026-01-01T00:01:00Z"}},
        {"UTC", "0 0 1 1 *", "2025-12-31T23:59:59.999Z", {"2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"}},
        {"UTC",
         "*/25 1-2 * * *",
         "2026-01-01T00:00:00Z",
         {"2026-01-01T01:00:00Z", "2026-01-01T01:25:00Z", "2026-01-01T01:50:00Z", "2026-01-01T02:00:00Z",
          "2026-01-01T02:25:00Z", "2026-01-01T02:50:00Z"}},
        {"UTC", "0 12 31 * *", "2026-01-31T12:00:00Z", {"2026-03-31T12:00:00Z", "2026-05-31T12:00:00Z"}},
        /* Both days are restricted: either will do (POSIX). */
        {"UTC",
         "0 0 1,15 * wed",
         "2026-10-01T00:00:00Z",
         {"2026-10-07T00:00:00Z", "2026-10-14T00:00:00Z", "2026-10-15T00:00:00Z", "2026-10-21T00:00:00Z"}},
        /* One begins with `*`, also with a step: it must be both (Vixie). */
        {"UTC",
         "0 0 */10 * wed",
         "2026-01-01T00:00:00Z",
         {"2026-01-21T00:00:00Z", "2026-02-11T00:00:00Z", "2026-03-11T00:00:00Z"}},
        {"UTC", "0 0 13 * */5", "2026-01-01T00:00:00Z", {"2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"}},
        {"UTC", "0 0 13 * *", "2026-01-01T00:00:00Z", {"2026-01-13T00:00:00Z"}},
        /* A day that month does not have, or else a weekday. */
        {"UTC", "0 0 30 2 mon", "2026-01-01T00:00:00Z", {"2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z"}},
    };
    (void)state;
    EXPECT_TICKS(cases);
}

static void leap_years_and_the_far_future(void **state)
{
    static const struct ticks cases[] = {
        {"UTC", "0 0 29 2 *", "2026-01-01T00:00:00Z", {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
        {"UTC", "0 0 29 2 *", "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00Z"}},
        {"UTC", "0 0 29 2 *", "2396-02-29T00:00:00Z", {"2400-02-29T00:00:00Z"}},
        {"UTC", "0 0 29 2 */7", "2026-01-01T00:00:00Z", {"2032-02-29T00:00:00Z", "2060-02-29T00:00:00Z"}},
        {"UTC", "0 0 29 2 */7", "2088-02-29T00:00:00Z", {"2128-02-29T00:00:00Z"}},
        {"Europe/Berlin", "30 2 * 7 *", "2500-01-01T00:00:00Z", {"2500-07-01T02:30:00+02:00"}},
        {"Europe/Berlin", "30 2 * 1 *", "9998-02-01T00:00:00Z", {"9999-01-01T02:30:00+01:00"}},
    };
    struct cron cron = parse("* * * * *");
    struct cron_zone *zone = load("UTC");
    uint64_t ms = 42;

    (void)state;
    EXPECT_TICKS(cases);
    assert_true(cron_next(&cron, zone, YEAR_10000_MS - 60001, &ms));
    assert_true(ms == YEAR_10000_MS - 60000);
    assert_false(cron_next(&cron, zone, YEAR_10000_MS - 60000, &ms));
    assert_false(cron_next(&cron, zone, YEAR_10000_MS, &ms));
    assert_false(cron_next(&cron, zone, UINT64_MAX, &ms));
    assert_true(ms == YEAR_10000_MS - 60000);
    cron_zone_free(zone);
}

/* 2026: Berlin on March 29, 2:00 to 3:00, and October 25; New York on March 8 and November 1; Lord Howe on
 * October 4, 2:00 to 2:30, and April 5, 2:00 to 1:30. */
static void skipped_time_is_made_up_for_once(void **state)
{
    static const struct ticks cases[] = {
        {"Europe/Berlin",
         "30 2 * * *",
         "2026-03-28T00:00:00+01:00",
         {"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
        {"Europe/Berlin",
         "0,15,30 2 * * *",
         "2026-03-29T00:00:00+01:00",
         {"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
        {"Europe/Berlin",
         "0 2,3 * * *",
         "2026-03-29T00:00:00+01:00",
         {"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
        {"Europe/Berlin",
         "59 1,2 * * *",
         "2026-03-29T00:00:00+01:00",
         {"2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T01:59:00+02:00"}},
        {"Europe/Berlin", "0 3 * * *", "2026-03-29T00:00:00+01:00", {"2026-03-29T03:00:00+02:00"}},
        {"Europe/Berlin", "30 2 * * *", "2026-03-29T03:00:00+02:00", {"2026-03-30T02:30:00+02:00"}},
        {"Europe/Berlin", "30 2 29 3 *", "2026-01-01T00:00:00Z", {"2026-03-29T03:00:00+02:00"}},
        {"America/New_York",
         "30 2 * * *",
         "2026-03-08T00:00:00-05:00",
         {"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
        {"Australia/Lord_Howe",
         "15 2 * * *",
         "2026-10-04T00:00:00+10:30",
         {"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
        {"Australia/Lord_Howe", "45 2 * * *", "2026-10-04T00:00:00+10:30", {"2026-10-04T02:45:00+11:00"}},
        /* A whole day was skipped, December 30, 2011. */
        {"Pacific/Apia",
         "0 12 * * *",
         "2011-12-29T00:00:00-10:00",
         {"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
        /* Midnight itself. */
        {"Africa/Cairo",
         "@daily",
         "2026-04-23T00:00:00+02:00",
         {"2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"}},
        /* Behind the table of the file. */
        {"Europe/Berlin", "30 2 * * *", "2100-03-28T00:00:00+01:00", {"2100-03-28T03:00:00+02:00"}},
    };
    (void)state;
    EXPECT_TICKS(cases);
}

static void repeated_time_counts_once(void **state)
{
    static const struct ticks cases[] = {
        {"Europe/Berlin",
         "30 2 * * *",
         "2026-10-24T12:00:00+02:00",
         {"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
        /* Asked for in the middle of the second hour. */
        {"Europe/Berlin", "45 2 * * *", "2026-10-25T02:40:00+01:00", {"2026-10-26T02:45:00+01:00"}},
        {"Europe/Berlin",
         "0 1,2,3 * * *",
         "2026-10-25T00:00:00+02:00",
         {"2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"}},
        {"America/New_York",
         "30 1 * * *",
         "2026-11-01T00:00:00-04:00",
         {"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
        {"Australia/Lord_Howe",
         "45 1 * * *",
         "2026-04-05T00:00:00+11:00",
         {"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
        {"Australia/Lord_Howe", "0 2 * * *", "2026-04-05T00:00:00+11:00", {"2026-04-05T02:00:00+10:30"}},
        {"America/New_York",
         "30 1 * * *",
         "2400-11-05T00:00:00-04:00",
         {"2400-11-05T01:30:00-04:00", "2400-11-06T01:30:00-05:00"}},
    };
    (void)state;
    EXPECT_TICKS(cases);
}

static void wildcards_go_by_real_time(void **state)
{
    static const struct ticks cases[] = {
        {"Europe/Berlin",
         "30 * * * *",
         "2026-03-29T01:00:00+01:00",
         {"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
        {"Europe/Berlin",
         "*/30 2 * * *",
         "2026-03-29T00:00:00+01:00",
         {"2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
        {"Europe/Berlin",
         "30 * * * *",
         "2026-10-25T02:00:00+02:00",
         {"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
        {"Australia/Lord_Howe",
         "*/15 * * * *",
         "2026-04-05T01:40:00+11:00",
         {"2026-04-05T01:45:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30",
          "2026-04-05T02:00:00+10:30"}},
        {"Australia/Lord_Howe",
         "@hourly",
         "2026-10-04T00:30:00+10:30",
         {"2026-10-04T01:00:00+10:30", "2026-10-04T03:00:00+11:00"}},
    };
    (void)state;
    EXPECT_TICKS(cases);
}

/* Between two ticks of any kind nothing else matches, whatever the zone does: looked at minute by minute. */
static void no_tick_is_left_out(void **state)
{
    static const char *const texts[] = {"*/7 * * * *", "3 */5 * * *", "* 1,2 * * 1-3", "11 * 5-9 * *"};
    static const char *const zones[] = {"Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"};

    (void)state;
    for (size_t z = 0; z < ARRAY_LEN(zones); z++) {
        struct cron_zone *zone = load(zones[z]);
        for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
            struct cron cron = parse(texts[t]);
            uint64_t begin_s = stamp("2026-01-01T00:00:00Z") / 1000;
            uint64_t next_ms = 0;
            assert_true(cron_next(&cron, zone, begin_s * 1000 - 1, &next_ms));
            for (uint64_t s = begin_s; s < begin_s + 366 * 86400; s += 60) {
                struct cron_zone_span span;
                cron_zone_span(zone, (int64_t)s, &span);
                uint64_t local = s + (uint64_t)(int64_t)span.offset_s;
                unsigned weekday = (unsigned)((local / 86400 + 4) % 7);
                char text[CLOCK_RFC3339_SIZE];
                unsigned day;
                clock_format_rfc3339(local * 1000, text);
                assert_int_equal(sscanf(text, "%*4d-%*2d-%2uT", &day), 1);
                bool matches = cron.minutes >> (local / 60 % 60) & 1 &&
                               cron.hours >> (local / 3600 % 24) & 1 && cron.days >> day & 1 &&
                               cron.weekdays >> weekday & 1;
                assert_int_equal(matches, next_ms == s * 1000);
                if (matches)
                    assert_true(cron_next(&cron, zone, s * 1000, &next_ms));
            }
        }
        cron_zone_free(zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read),
        cmocka_unit_test(sunday_has_two_numbers),
        cmocka_unit_test(nicknames_are_expressions),
        cmocka_unit_test(each_error_names_its_field),
        cmocka_unit_test(long_text_is_refused),
        cmocka_unit_test(ticks_in_utc),
        cmocka_unit_test(leap_years_and_the_far_future),
        cmocka_unit_test(skipped_time_is_made_up_for_once),
        cmocka_unit_test(repeated_time_counts_once),
        cmocka_unit_test(wildcards_go_by_real_time),
        cmocka_unit_test(no_tick_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
