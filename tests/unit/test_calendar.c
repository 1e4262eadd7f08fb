#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/calendar.h"

static void days_are_those_of_the_library(void **state)
{
    (void)state;
    for (int64_t days = -1000000; days < 3000000; days += 13) {
        time_t seconds = (time_t)(days * CALENDAR_DAY_S);
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        struct calendar_date date = calendar_date_of(days);
        assert_int_equal(date.year, tm.tm_year + 1900);
        assert_int_equal(date.month, tm.tm_mon + 1);
        assert_int_equal(date.day, tm.tm_mday);
        assert_int_equal(calendar_weekday(days), tm.tm_wday);
        assert_int_equal(calendar_days(date.year, date.month, date.day), days);
    }
}

static void each_day_follows_the_one_before(void **state)
{
    struct calendar_date date = {1896, 1, 1};

    (void)state;
    for (int64_t days = calendar_days(1896, 1, 1); date.year < 2405; days++) {
        struct calendar_date found = calendar_date_of(days);
        assert_true(found.year == date.year && found.month == date.month && found.day == date.day);
        if (++date.day <= calendar_month_days(date.year, date.month))
            continue;
        date.day = 1;
        if (++date.month > 12)
            date = (struct calendar_date){date.year + 1, 1, 1};
    }
}

static void leap_years_are_gregorian(void **state)
{
    (void)state;
    assert_true(calendar_is_leap(2000));
    assert_true(calendar_is_leap(2024));
    assert_false(calendar_is_leap(2023));
    assert_false(calendar_is_leap(2100));
    assert_int_equal(calendar_month_days(2024, 2), 29);
    assert_int_equal(calendar_month_days(2100, 2), 28);
    assert_int_equal(calendar_month_days(2100, 12), 31);
}

static void division_rounds_down(void **state)
{
    (void)state;
    assert_int_equal(calendar_div(-1, 60), -1);
    assert_int_equal(calendar_div(-60, 60), -1);
    assert_int_equal(calendar_div(59, 60), 0);
    assert_int_equal(calendar_mod(-1, 60), 59);
    assert_int_equal(calendar_mod(-60, 60), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_are_those_of_the_library),
        cmocka_unit_test(each_day_follows_the_one_before),
        cmocka_unit_test(leap_years_are_gregorian),
        cmocka_unit_test(division_rounds_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
