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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_does_not_go_back),
        cmocka_unit_test(wall_time_is_the_systems),
        cmocka_unit_test(deadline_saturates),
        cmocka_unit_test(poll_timeout_is_rounded_up),
        cmocka_unit_test(seconds_print_short),
        cmocka_unit_test(stamps_are_rfc3339_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
