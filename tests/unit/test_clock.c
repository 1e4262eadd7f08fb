#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void monotonic_time_does_not_go_back(void **state)
{
    (void)state;
    uint64_t before = clock_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_now_ns();
        assert_true(now >= before);
        before = now;
    }
}

static void wall_time_is_the_systems(void **state)
{
    (void)state;
    uint64_t before = (uint64_t)time(NULL);
    uint64_t wall_ms = clock_wall_ms();
    /* time() may be up to a tick behind. */
    assert_in_range(wall_ms, before * 1000, (before + 60) * 1000);
}

static void deadline_saturates(void **state)
{
    (void)state;
    assert_int_equal(clock_deadline_ns(5, 0), 5);
    assert_int_equal(clock_deadline_ns(5, 2), 5 + 2 * NS_PER_MS);
    assert_true(clock_deadline_ns(5, UINT64_MAX) == CLOCK_NEVER);
    assert_true(clock_deadline_ns(UINT64_MAX - 1, 1) == CLOCK_NEVER);
    assert_true(clock_deadline_ns(CLOCK_NEVER, 0) == CLOCK_NEVER);
}

static void poll_timeout_is_rounded_up(void **state)
{
    static const struct {
        uint64_t now_ns;
        uint64_t deadline_ns;
        int timeout_ms;
    } cases[] = {
        {100, 100, 0},         {100, 50, 0},          {100, 101, 1},        {0, NS_PER_MS, 1},
        {0, NS_PER_MS + 1, 2}, {0, NS_PER_SEC, 1000}, {0, CLOCK_NEVER, -1}, {0, CLOCK_NEVER - 1, INT_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(clock_poll_timeout_ms(cases[i].now_ns, cases[i].deadline_ns), cases[i].timeout_ms);
}

static void seconds_print_short(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0"},       {1003 * NS_PER_MS, "1.003"},       {50123456, "0.050123"},
        {500, "1e-06"}, {86400 * NS_PER_SEC + 1, "86400"},
    };
    char text[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), "%.15g", clock_seconds(cases[i].ns));
        assert_string_equal(text, cases[i].text);
    }
}

static void stamps_are_rfc3339_in_utc(void **state)
{
    static const struct {
        uint64_t wall_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782400007, "2000-02-29T00:00:00.007Z"},
        {1769903999123, "2026-01-31T23:59:59.123Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    char text[CLOCK_RFC3339_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        clock_format_rfc3339(cases[i].wall_ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void rfc3339_is_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t wall_ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"2000-02-29T00:00:00.007Z", 951782400007},
        {"2026-01-31T23:59:59.123Z", 1769903999123},
        {"2026-01-31T23:59:59.1Z", 1769903999100},
        {"2026-01-31T23:59:59.1239999999999999999999999999999Z", 1769903999123},
        {"2026-01-31T23:59:59.000000000000000000000000000000000000001Z", 1769903999000},
        {"2026-02-01T01:29:59.123+01:30", 1769903999123},
        {"2026-01-31T18:59:59.123-05:00", 1769903999123},
        {"2026-01-31T23:59:59.123-00:00", 1769903999123},
        {"1969-12-31T23:00:00-01:00", 0},
        {"1970-01-01T23:59:00+23:59", 0},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
        {"2016-12-31T23:59:60Z", 1483228799999},
        {"2016-12-31T23:59:60.2Z", 1483228799999},
        {"2017-01-01T08:59:60+09:00", 1483228799999},
        {"9999-12-31T23:59:60Z", 253402300799999},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t wall_ms = 1;
        if (!clock_parse_rfc3339(cases[i].text, &wall_ms))
            fail_msg("%s is refused", cases[i].text);
        assert_int_equal(wall_ms, cases[i].wall_ms);
    }
}

static void what_is_formatted_is_read_again(void **state)
{
    char text[CLOCK_RFC3339_SIZE];
    uint64_t wall_ms;

    (void)state;
    for (uint64_t ms = 0; ms < UINT64_C(253402300800000); ms += UINT64_C(7777777777)) {
        clock_format_rfc3339(ms, text);
        assert_true(clock_parse_rfc3339(text, &wall_ms));
        assert_int_equal(wall_ms, ms);
    }
}

static void other_stamps_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "now",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31 23:59:59Z",
        " 2026-01-31T23:59:59Z",
        "2026-01-31T23:59:59Z ",
        "2026-01-31T23:59Z",
        "2026-01-31T23:59:59.Z",
        "2026-01-31T23:59:59,5Z",
        "2026-1-31T23:59:59Z",
        "26-01-31T23:59:59Z",
        "+2026-01-31T23:59:59Z",
        "2026-00-31T23:59:59Z",
        "2026-13-31T23:59:59Z",
        "2026-04-31T23:59:59Z",
        "2026-02-29T23:59:59Z",
        "2100-02-29T23:59:59Z",
        "2026-01-00T23:59:59Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:60:00Z",
        "2026-01-31T23:59:61Z",
        "2026-01-31T22:59:60Z",
        "2026-01-30T23:59:60Z",
        "2026-01-31T23:59:60+01:00",
        "2026-01-31T23:59:59+24:00",
        "2026-01-31T23:59:59+01:60",
        "2026-01-31T23:59:59+0100",
        "2026-01-31T23:59:59+01",
        "2026-01-31T23:59:59UTC",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
    };
    uint64_t wall_ms = 42;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (clock_parse_rfc3339(wrong[i], &wall_ms))
            fail_msg("'%s' is accepted", wrong[i]);
    assert_int_equal(wall_ms, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_does_not_go_back),
        cmocka_unit_test(wall_time_is_the_systems),
        cmocka_unit_test(deadline_saturates),
        cmocka_unit_test(poll_timeout_is_rounded_up),
        cmocka_unit_test(seconds_print_short),
        cmocka_unit_test(stamps_are_rfc3339_in_utc),
        cmocka_unit_test(rfc3339_is_read),
        cmocka_unit_test(what_is_formatted_is_read_again),
        cmocka_unit_test(other_stamps_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
