/* cron_zone.h - time zones: which offset from UTC holds when, also in the far future.
 *
 * How to use it: cron_zone_load once by name, cron_zone_span as often as needed, cron_zone_free.
 * The C library knows one time zone at a time, the process's; this reads the same files for any number.
 * Threads: any; a zone does not change once it is there.  Ownership: a zone is the caller's.
 * Invariants: spans follow each other without a gap, and the offset of one is `offset_before_s` of the
 * next. */
#pragma once

#include "base/common.h"
#include "base/err.h"

struct cron_zone;

#define CRON_ZONE_NAME_MAX 64

/* Reads the zone `name`, such as Europe/Berlin, from /usr/share/zoneinfo (RFC 8536); `UTC` needs no file.
 * Returns 0, or -EINVAL for what is no name of a zone, -ENOENT for one that is not there, -EBADMSG for a file
 * that is damaged or counts leap seconds, -ENOMEM, or what else opening and reading it gives; all with a
 * text. */
must_check int cron_zone_load(const char *name, struct cron_zone **ret, struct err *err);

/* The same from the bytes of such a file; -EBADMSG or -ENOMEM. */
must_check int cron_zone_parse(const void *bytes, size_t size, struct cron_zone **ret, struct err *err);

void cron_zone_free(struct cron_zone *zone);

/* From `start` to before `end`, in seconds since 1970 in UTC, local time is UTC and `offset_s`. */
struct cron_zone_span {
    int64_t start; /* INT64_MIN when there is nothing before */
    int64_t end;   /* INT64_MAX when there is nothing behind */
    int32_t offset_s;
    int32_t offset_before_s; /* what held before `start`; offset_s when there is nothing before */
};

/* The span that `time` is in, seconds since 1970 in UTC, of the years -9999 to 99999. */
void cron_zone_span(const struct cron_zone *zone, int64_t time, struct cron_zone_span *ret);
