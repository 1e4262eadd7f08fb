#include "base/clock.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

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
