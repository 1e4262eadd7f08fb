/* cron.h - cron expressions, and when they come next in a time zone.
 *
 * How to use it: cron_parse on the text, cron_zone_load for the zone, cron_next for each tick.
 * Threads: any.  Ownership: plain values, nothing to free.
 *
 * An expression has five fields with blanks between them, as in POSIX crontab and Vixie cron:
 *
 *     minute 0-59   hour 0-23   day 1-31   month 1-12 or jan-dec   weekday 0-7 or sun-sat, 0 and 7 are Sunday
 *
 * A field is a list of numbers, names (in any case) and ranges, with commas between them; `*` is the whole
 * range, and `/n` behind it or behind a range takes every n-th value: 8-18/2.  When both day and weekday are
 * restricted, a day needs to be only one of them; a field that begins with `*` counts as not restricted, also
 * with a step.
 * @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually stand for what they do in Vixie
 * cron. */
#pragma once

#include "base/common.h"
#include "base/cron_zone.h"
#include "base/err.h"

/* Bit n stands for the value n. */
struct cron {
    uint64_t minutes;
    uint32_t hours;
    uint32_t days;
    uint32_t months;
    uint32_t weekdays;      /* 0 to 6 */
    bool any_day_will_do;   /* a day of `days` or of `weekdays`; otherwise it must be of both */
    bool runs_by_real_time; /* minute or hour begin with `*` */
};

/* -EINVAL with a text that names the field; also for what never comes, such as February 30. */
must_check int cron_parse(const char *text, struct cron *ret, struct err *err);

/* The first tick later than `after_ms`; milliseconds since 1970.  False, with `ret_ms` untouched, when there
 * is none before the year 10000.
 *
 * Where the clock is changed it is as in Vixie cron.  An expression whose minute or hour begins with `*` goes
 * by the local time there is: nothing comes in an hour that is skipped, and twice as much in one that comes
 * twice.  All others stand for a time of the day: a tick in a time that is skipped comes as soon as that is
 * over, one for all that were in it, and in a time that comes twice only the first one counts.  (Vixie does
 * so for changes of up to three hours; here there is no such limit.) */
must_check bool cron_next(const struct cron *cron, const struct cron_zone *zone, uint64_t after_ms,
                          uint64_t *ret_ms);
