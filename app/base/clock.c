#include "base/clock.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/calendar.h"

static uint64_t read_clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
    return read_clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

uint64_t clock_deadline_ns(uint64_t now_ns, uint64_t ms)
{
    uint64_t ns;

    if (__builtin_mul_overflow(ms, NS_PER_MS, &ns) || __builtin_add_overflow(now_ns, ns, &ns))
        return CLOCK_NEVER;
    return ns;
}

int clock_poll_timeout_ms(uint64_t now_ns, uint64_t deadline_ns)
{
    if (deadline_ns == CLOCK_NEVER)
        return -1;
    if (deadline_ns <= now_ns)
        return 0;
    uint64_t left_ns = deadline_ns - now_ns;
    uint64_t ms = left_ns / NS_PER_MS + (left_ns % NS_PER_MS != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

double clock_seconds(uint64_t ns)
{
    return round((double)ns / 1e3) / 1e6;
}

void clock_format_rfc3339(uint64_t wall_ms, char ret_text[CLOCK_RFC3339_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char date[24];

    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret_text, CLOCK_RFC3339_SIZE, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}

/* The fields of a date-time, as they are written. */
struct stamp {
    unsigned year, month, day;
    unsigned hour, minute, second;
    unsigned ms;
    int offset_minutes;
};

static bool skip_char(const char **text, const char *allowed)
{
    bool is_there = **text != '\0' && strchr(allowed, **text);

    *text += is_there;
    return is_there;
}

/* Exactly `count` digits. */
static bool read_number(const char **text, unsigned count, unsigned min, unsigned max, unsigned *ret)
{
    unsigned value = 0;

    for (; count > 0; count--, ++*text) {
        if (**text < '0' || **text > '9')
            return false;
        value = value * 10 + (unsigned)(**text - '0');
    }
    *ret = value;
    return value >= min && value <= max;
}

static bool read_fraction(const char **text, unsigned *ret_ms)
{
    unsigned scale = 100;
    unsigned ms = 0;

    if (!skip_char(text, "."))
        return true;
    const char *start = *text;
    for (; **text >= '0' && **text <= '9'; ++*text, scale /= 10)
        ms += (unsigned)(**text - '0') * scale;
    *ret_ms = ms;
    return *text > start;
}

static bool read_offset(const char **text, int *ret_minutes)
{
    unsigned hours;
    unsigned minutes;
    char sign = **text;

    if (skip_char(text, "Zz"))
        return true;
    if (!skip_char(text, "+-") || !read_number(text, 2, 0, 23, &hours) || !skip_char(text, ":") ||
        !read_number(text, 2, 0, 59, &minutes))
        return false;
    *ret_minutes = (int)(hours * 60 + minutes) * (sign == '-' ? -1 : 1);
    return true;
}

static bool read_stamp(const char *text, struct stamp *ret)
{
    return read_number(&text, 4, 0, 9999, &ret->year) && skip_char(&text, "-") &&
           read_number(&text, 2, 1, 12, &ret->month) && skip_char(&text, "-") &&
           read_number(&text, 2, 1, calendar_month_days(ret->year, ret->month), &ret->day) &&
           skip_char(&text, "Tt") && read_number(&text, 2, 0, 23, &ret->hour) && skip_char(&text, ":") &&
           read_number(&text, 2, 0, 59, &ret->minute) && skip_char(&text, ":") &&
           read_number(&text, 2, 0, 60, &ret->second) && read_fraction(&text, &ret->ms) &&
           read_offset(&text, &ret->offset_minutes) && *text == '\0';
}

/* Whether a second 60 may come behind this minute (minutes since 1970). */
static bool ends_month(int64_t minutes)
{
    int64_t next = minutes + 1;

    return calendar_mod(next, 24 * 60) == 0 && calendar_date_of(calendar_div(next, 24 * 60)).day == 1;
}

bool clock_parse_rfc3339(const char *text, uint64_t *ret_wall_ms)
{
    struct stamp stamp = {.offset_minutes = 0};

    if (!read_stamp(text, &stamp))
        return false;
    int64_t days = calendar_days(stamp.year, stamp.month, stamp.day);
    int64_t minutes = (days * 24 + stamp.hour) * 60 + stamp.minute - stamp.offset_minutes;
    if (minutes < 0 || minutes >= calendar_days(10000, 1, 1) * 24 * 60)
        return false;
    if (stamp.second == 60) {
        if (!ends_month(minutes))
            return false;
        stamp.second = 59;
        stamp.ms = 999;
    }
    *ret_wall_ms = ((uint64_t)minutes * 60 + stamp.second) * 1000 + stamp.ms;
    return true;
}
