/* clock.h - monotonic time for deadlines and durations, wall time for people.
 *
 * Threads: any. */
#pragma once

#include "base/common.h"

#define NS_PER_US  UINT64_C(1000)
#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)

/* A deadline that never comes. */
#define CLOCK_NEVER UINT64_MAX

/* Nanoseconds on CLOCK_MONOTONIC. */
uint64_t clock_now_ns(void);

/* Milliseconds since 1970 on CLOCK_REALTIME: for stamps, never for waiting. */
uint64_t clock_wall_ms(void);

/* now + ms, saturating at CLOCK_NEVER. */
uint64_t clock_deadline_ns(uint64_t now_ns, uint64_t ms);

/* Time-out for poll and epoll_wait until `deadline_ns`: 0 when it has passed, rounded up to whole
 * milliseconds otherwise, -1 for CLOCK_NEVER. */
int clock_poll_timeout_ms(uint64_t now_ns, uint64_t deadline_ns);

/* Seconds as a double, rounded to whole microseconds so that it prints short. */
double clock_seconds(uint64_t ns);

/* RFC 3339 in UTC with milliseconds: 2026-01-31T23:59:59.123Z. */
#define CLOCK_RFC3339_SIZE 32
void clock_format_rfc3339(uint64_t wall_ms, char ret_text[CLOCK_RFC3339_SIZE]);

/* Reads a date-time exactly as RFC 3339 defines it and nothing around it: with `Z` or an offset, `T` and
 * `Z` in either case, a fraction of any length, which is cut to milliseconds.  A leap second (23:59:60 in
 * UTC at the end of a month) is taken for the last millisecond before it, 23:59:59.999.  False, with
 * `ret_wall_ms` untouched, for every other text, and for times that are not in the years 1970 to 9999 of
 * UTC. */
must_check bool clock_parse_rfc3339(const char *text, uint64_t *ret_wall_ms);
