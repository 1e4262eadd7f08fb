#include "base/calendar.h"

/* Years are counted from March, so that the day that comes and goes is the last one; 400 of them are an era
 * of 146,097 days. */
#define ERA_DAYS               146097
#define DAYS_TO_1970           719468 /* from the first of March of the year 0 */
#define DAYS_BY_MONTHS(months) ((153 * (months) + 2) / 5)

bool calendar_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

unsigned calendar_month_days(int64_t year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && calendar_is_leap(year));
}

int64_t calendar_days(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = calendar_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = DAYS_BY_MONTHS((int64_t)(month + 9) % 12) + day - 1;

    return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           DAYS_TO_1970;
}

struct calendar_date calendar_date_of(int64_t days)
{
    int64_t era = calendar_div(days + DAYS_TO_1970, ERA_DAYS);
    int64_t day = days + DAYS_TO_1970 - era * ERA_DAYS;
    /* The days that leap years put in before this one are taken out, then all years have 365. */
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t day_of_year = day - (365 * year + year / 4 - year / 100);
    int64_t months = (5 * day_of_year + 2) / 153;
    unsigned month = (unsigned)(months < 10 ? months + 3 : months - 9);

    return (struct calendar_date){era * 400 + year + (month <= 2), month,
                                  (unsigned)(day_of_year - DAYS_BY_MONTHS(months) + 1)};
}

unsigned calendar_weekday(int64_t days)
{
    return (unsigned)calendar_mod(days + 4, 7); /* 1970 began on a Thursday */
}
