/* calendar.h - dates of the Gregorian calendar, reckoned backwards before its time, to days since 1970 and
 * back.
 *
 * Threads: any.  Ownership: plain values. */
#pragma once

#include "base/common.h"

#define CALENDAR_DAY_S INT64_C(86400)

struct calendar_date {
    int64_t year;
    unsigned month; /* 1 to 12 */
    unsigned day;   /* 1 to 31 */
};

must_check bool calendar_is_leap(int64_t year);

/* Days of the month, 28 to 31; `month` is from 1 to 12. */
must_check unsigned calendar_month_days(int64_t year, unsigned month);

/* Days from 1970-01-01 to that date, negative before it.  Years from -9999 to 99999. */
must_check int64_t calendar_days(int64_t year, unsigned month, unsigned day);

/* The date of that day, the reverse of calendar_days. */
must_check struct calendar_date calendar_date_of(int64_t days);

/* Of that day: 0 is Sunday, 6 Saturday. */
must_check unsigned calendar_weekday(int64_t days);

/* a / b and what is left of it, rounded down also for a negative `a`; b > 0. */
static inline int64_t calendar_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static inline int64_t calendar_mod(int64_t a, int64_t b)
{
    return a - calendar_div(a, b) * b;
}
