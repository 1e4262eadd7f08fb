#include "base/cron_zone.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/calendar.h"
#include "base/parse.h"

/* A file (RFC 8536) is a header and a block of data with times of 4 bytes, then, from version 2 on, the same
 * again with times of 8 bytes, and a footer: the rule for times behind the last one of the table, written as
 * POSIX writes the variable TZ.  The first block is read only when it is the only one. */
#define FOLDER         "/usr/share/zoneinfo/"
#define FILE_MAX_BYTES (256 * 1024)
#define MAGIC          "TZif"
#define HEADER_SIZE    44
#define COUNTS_AT      20 /* in the header: six numbers of 4 bytes */
#define TYPE_SIZE      6  /* an offset of 4 bytes, whether it is daylight saving time, its name */
#define TYPES_MAX      256
/* What RFC 8536 allows an offset to be. */
#define OFFSET_MIN (-89999)
#define OFFSET_MAX 93599
/* And a time, either way; longer ago than the universe is old. */
#define TIME_MAX (INT64_C(1) << 59)

/* A day of each year, and the time on it, in seconds from its midnight, which may be outside of that day. */
struct yearly {
    enum { DAY_OF_YEAR, DAY_BUT_LEAP_DAY, DAY_OF_WEEK } kind;
    unsigned month; /* of DAY_OF_WEEK, 1 to 12 */
    unsigned week;  /* of DAY_OF_WEEK, 1 to 5; 5 is the last one */
    unsigned day;   /* 0 to 365; 1 to 365, of which 60 is always the first of March; 0 to 6 */
    int32_t time_s;
};

/* What holds behind the table.  Without daylight saving time only standard_s counts. */
struct rule {
    int32_t standard_s;
    int32_t saving_s;
    bool has_saving;
    struct yearly saving_begins; /* in standard time */
    struct yearly saving_ends;   /* in saving time */
};

struct change {
    int64_t time;
    int32_t offset_s; /* from then on */
};

struct cron_zone {
    int32_t first_offset_s; /* before the first change */
    bool has_rule;
    struct rule rule; /* behind the last change; from the beginning when there is none */
    size_t change_count;
    struct change changes[]; /* ascending */
};

/* ---- spans ---- */

static int64_t yearly_day(const struct yearly *yearly, int64_t year)
{
    int64_t first = calendar_days(year, 1, 1);

    if (yearly->kind == DAY_OF_YEAR)
        return first + yearly->day;
    if (yearly->kind == DAY_BUT_LEAP_DAY)
        return first + yearly->day - 1 + (calendar_is_leap(year) && yearly->day >= 60);
    int64_t month = calendar_days(year, yearly->month, 1);
    int64_t day = (yearly->day + 7 - calendar_weekday(month)) % 7 + (yearly->week - 1) * INT64_C(7);
    return month + (day < calendar_month_days(year, yearly->month) ? day : day - 7);
}

static int64_t yearly_time(const struct yearly *yearly, int64_t year, int32_t offset_s)
{
    return yearly_day(yearly, year) * CALENDAR_DAY_S + yearly->time_s - offset_s;
}

/* Five years of changes.  A time of the third one has all of the first before it and all of the last behind
 * it, though a change may lie a week outside of its year. */
#define RULE_YEARS   5
#define RULE_CHANGES (2 * RULE_YEARS)

/* Sorted by time.  Those of the same time stay in order, the last one holds: a zone that is on saving time
 * all year round ends and begins it in one moment. */
static void list_changes(const struct rule *rule, int64_t year, struct change ret[RULE_CHANGES])
{
    for (size_t i = 0; i < RULE_CHANGES; i += 2) {
        int64_t y = year - RULE_YEARS / 2 + (int64_t)i / 2;
        ret[i] = (struct change){yearly_time(&rule->saving_begins, y, rule->standard_s), rule->saving_s};
        ret[i + 1] = (struct change){yearly_time(&rule->saving_ends, y, rule->saving_s), rule->standard_s};
    }
    for (size_t i = 1; i < RULE_CHANGES; i++)
        for (size_t j = i; j > 0 && ret[j - 1].time > ret[j].time; j--) {
            struct change swap = ret[j];
            ret[j] = ret[j - 1];
            ret[j - 1] = swap;
        }
}

static void rule_span(const struct rule *rule, int64_t time, struct cron_zone_span *ret)
{
    struct change changes[RULE_CHANGES];
    size_t i = 0; /* the first change that is later */

    *ret = (struct cron_zone_span){INT64_MIN, INT64_MAX, rule->standard_s, rule->standard_s};
    if (!rule->has_saving)
        return;
    list_changes(rule, calendar_date_of(calendar_div(time, CALENDAR_DAY_S)).year, changes);
    while (i < RULE_CHANGES && changes[i].time <= time)
        i++;
    size_t before = i;
    while (before > 0 && changes[before - 1].time == changes[i - 1].time)
        before--;
    assert(before > 0 && i < RULE_CHANGES);
    ret->start = changes[i - 1].time;
    ret->end = changes[i].time;
    ret->offset_s = changes[i - 1].offset_s;
    ret->offset_before_s = changes[before - 1].offset_s;
}

static int32_t offset_before(const struct cron_zone *zone, size_t i)
{
    return i > 0 ? zone->changes[i - 1].offset_s : zone->first_offset_s;
}

/* Behind the last change of the table, where the rule holds but for what it says of the time before. */
static void span_of_rule(const struct cron_zone *zone, int64_t time, struct cron_zone_span *ret)
{
    size_t count = zone->change_count;

    rule_span(&zone->rule, time, ret);
    if (count == 0 || ret->start > zone->changes[count - 1].time)
        return;
    ret->start = zone->changes[count - 1].time;
    ret->offset_before_s = offset_before(zone, count - 1);
}

/* How many changes are not later than `time`. */
static size_t count_until(const struct cron_zone *zone, int64_t time)
{
    size_t low = 0;
    size_t high = zone->change_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->changes[middle].time <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void cron_zone_span(const struct cron_zone *zone, int64_t time, struct cron_zone_span *ret)
{
    size_t count = count_until(zone, time);

    if (count == zone->change_count && zone->has_rule) {
        span_of_rule(zone, time, ret);
        return;
    }
    ret->start = count > 0 ? zone->changes[count - 1].time : INT64_MIN;
    ret->end = count < zone->change_count ? zone->changes[count].time : INT64_MAX;
    ret->offset_s = offset_before(zone, count);
    ret->offset_before_s = count > 0 ? offset_before(zone, count - 1) : ret->offset_s;
}

/* ---- the rule, as TZ is written ---- */

static bool skip(const char **text, char c)
{
    bool is_there = **text == c;

    *text += is_there;
    return is_there;
}

static bool read_number(const char **text, unsigned max, unsigned *ret)
{
    const char *start = *text;
    unsigned value = 0;

    for (; **text >= '0' && **text <= '9' && value <= max; ++*text)
        value = value * 10 + (unsigned)(**text - '0');
    *ret = value;
    return *text > start && value <= max;
}

/* [+-]hours[:minutes[:seconds]] */
static bool read_time(const char **text, unsigned hours_max, int32_t *ret_s)
{
    unsigned hours;
    unsigned minutes = 0;
    unsigned seconds = 0;
    bool is_negative = skip(text, '-');

    if (!is_negative)
        (void)skip(text, '+');
    if (!read_number(text, hours_max, &hours))
        return false;
    if (skip(text, ':') &&
        (!read_number(text, 59, &minutes) || (skip(text, ':') && !read_number(text, 59, &seconds))))
        return false;
    int32_t value = (int32_t)(hours * 3600 + minutes * 60 + seconds);
    *ret_s = is_negative ? -value : value;
    return true;
}

/* Three letters or more, or anything in angle brackets; nobody needs to know it. */
static bool skip_name(const char **text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    if (skip(text, '<')) {
        *text += strspn(*text + 1, "+-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") + 1;
        return skip(text, '>');
    }
    size_t size = strspn(*text, letters);
    *text += size;
    return size >= 3;
}

static bool read_day(const char **text, struct yearly *ret)
{
    if (skip(text, 'M')) {
        ret->kind = DAY_OF_WEEK;
        return read_number(text, 12, &ret->month) && ret->month >= 1 && skip(text, '.') &&
               read_number(text, 5, &ret->week) && ret->week >= 1 && skip(text, '.') &&
               read_number(text, 6, &ret->day);
    }
    if (skip(text, 'J')) {
        ret->kind = DAY_BUT_LEAP_DAY;
        return read_number(text, 365, &ret->day) && ret->day >= 1;
    }
    ret->kind = DAY_OF_YEAR;
    return read_number(text, 365, &ret->day);
}

static bool read_yearly(const char **text, struct yearly *ret)
{
    ret->time_s = 2 * 3600;
    return skip(text, ',') && read_day(text, ret) && (!skip(text, '/') || read_time(text, 167, &ret->time_s));
}

/* CET-1CEST,M3.5.0,M10.5.0/3: what is added to local time to have UTC, so the sign is the other way round. */
static bool read_rule(const char *text, struct rule *ret)
{
    int32_t west_s;

    if (!skip_name(&text) || !read_time(&text, 24, &west_s))
        return false;
    ret->standard_s = -west_s;
    ret->has_saving = *text != '\0';
    if (!ret->has_saving)
        return true;
    if (!skip_name(&text))
        return false;
    west_s -= 3600;
    if (*text != ',' && !read_time(&text, 24, &west_s))
        return false;
    ret->saving_s = -west_s;
    return read_yearly(&text, &ret->saving_begins) && read_yearly(&text, &ret->saving_ends) && *text == '\0';
}

/* ---- the file ---- */

struct reader {
    const unsigned char *at;
    size_t left;
};

/* The next `size` bytes; NULL when there are fewer. */
static const unsigned char *take(struct reader *reader, size_t size)
{
    const unsigned char *at = reader->at;

    if (size > reader->left)
        return NULL;
    reader->at += size;
    reader->left -= size;
    return at;
}

static int64_t big_endian(const unsigned char *p, size_t size)
{
    uint64_t value = p[0] & 0x80 ? UINT64_MAX : 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | p[i];
    return (int64_t)value;
}

/* Of a header; in the file's order. */
struct header {
    unsigned version; /* 1, or 2 and more */
    size_t time_size;
    size_t ut_flags, standard_flags, leaps, times, types, chars;
};

static bool read_header(struct reader *reader, size_t time_size, struct header *ret)
{
    const unsigned char *p = take(reader, HEADER_SIZE);
    size_t *const counts[] = {&ret->ut_flags, &ret->standard_flags, &ret->leaps,
                              &ret->times,    &ret->types,          &ret->chars};

    if (!p || memcmp(p, MAGIC, sizeof(MAGIC) - 1) != 0)
        return false;
    ret->version = p[4] < '2' ? 1 : p[4] - (unsigned)'0';
    ret->time_size = time_size;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        int64_t count = big_endian(p + COUNTS_AT + 4 * i, 4);
        if (count < 0 || count > FILE_MAX_BYTES)
            return false;
        *counts[i] = (size_t)count;
    }
    return ret->types > 0 && ret->types <= TYPES_MAX;
}

/* What lies behind the types in a block. */
static size_t rest_size(const struct header *header)
{
    return header->chars + header->leaps * (header->time_size + 4) + header->standard_flags +
           header->ut_flags;
}

static size_t block_size(const struct header *header)
{
    return header->times * (header->time_size + 1) + header->types * TYPE_SIZE + rest_size(header);
}

static bool read_offset(const unsigned char *types, size_t type, int32_t *ret_s)
{
    int64_t offset_s = big_endian(types + type * TYPE_SIZE, 4);

    *ret_s = (int32_t)offset_s;
    return offset_s >= OFFSET_MIN && offset_s <= OFFSET_MAX;
}

static bool read_changes(struct cron_zone *zone, const struct header *header, const unsigned char *times,
                         const unsigned char *indexes, const unsigned char *types)
{
    if (!read_offset(types, 0, &zone->first_offset_s))
        return false;
    for (size_t i = 0; i < header->times; i++) {
        struct change *change = &zone->changes[i];
        change->time = big_endian(times + i * header->time_size, header->time_size);
        if (indexes[i] >= header->types || !read_offset(types, indexes[i], &change->offset_s) ||
            change->time < -TIME_MAX || change->time > TIME_MAX || (i > 0 && change->time <= change[-1].time))
            return false;
    }
    zone->change_count = header->times;
    return true;
}

static bool read_block(struct cron_zone *zone, const struct header *header, struct reader *reader)
{
    const unsigned char *times = take(reader, header->times * header->time_size);
    const unsigned char *indexes = take(reader, header->times);
    const unsigned char *types = take(reader, header->types * TYPE_SIZE);

    return times && indexes && types && take(reader, rest_size(header)) &&
           read_changes(zone, header, times, indexes, types);
}

/* A line feed, the rule or nothing, a line feed. */
static bool read_footer(struct cron_zone *zone, struct reader *reader)
{
    char text[128];
    const unsigned char *start = take(reader, 1);
    const unsigned char *end = start ? memchr(reader->at, '\n', reader->left) : NULL;

    if (!end || *start != '\n' || end - reader->at >= (ptrdiff_t)sizeof(text))
        return false;
    size_t size = (size_t)(end - reader->at);
    memcpy(text, reader->at, size);
    text[size] = '\0';
    zone->has_rule = size > 0;
    return size == 0 || read_rule(text, &zone->rule);
}

static int refuse(struct err *err)
{
    return err_set(err, -EBADMSG, "the file of the time zone is damaged");
}

/* The header of the block that counts; the reader is at its data then. */
static bool find_block(struct reader *reader, struct header *ret)
{
    if (!read_header(reader, 4, ret))
        return false;
    return ret->version == 1 || (take(reader, block_size(ret)) && read_header(reader, 8, ret));
}

int cron_zone_parse(const void *bytes, size_t size, struct cron_zone **ret, struct err *err)
{
    struct reader reader = {bytes, size};
    struct header header = {.version = 1};

    if (!find_block(&reader, &header))
        return refuse(err);
    if (header.leaps > 0)
        return err_set(err, -EBADMSG, "the time zone counts leap seconds, the clock does not");
    if (block_size(&header) > reader.left)
        return refuse(err);
    struct cron_zone *zone = calloc(1, sizeof(*zone) + header.times * sizeof(zone->changes[0]));
    if (!zone)
        return err_set(err, -ENOMEM, "out of memory");
    if (!read_block(zone, &header, &reader) || (header.version > 1 && !read_footer(zone, &reader))) {
        free(zone);
        return refuse(err);
    }
    *ret = zone;
    return 0;
}

void cron_zone_free(struct cron_zone *zone)
{
    free(zone);
}

/* ---- by name ---- */

/* Neither a dot nor a slash at its ends: nothing outside of the folder can be named. */
static bool is_name(const char *name)
{
    size_t size = strnlen(name, CRON_ZONE_NAME_MAX + 1);

    return size > 0 && size <= CRON_ZONE_NAME_MAX && name[0] != '/' && name[size - 1] != '/' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/") == size;
}

static int load_utc(struct cron_zone **ret, struct err *err)
{
    struct cron_zone *zone = calloc(1, sizeof(*zone));

    if (!zone)
        return err_set(err, -ENOMEM, "out of memory");
    *ret = zone;
    return 0;
}

/* The size of the file, or a negative errno value. */
static ssize_t read_file(int fd, unsigned char *bytes, size_t room)
{
    size_t size = 0;
    ssize_t got;

    do {
        got = read(fd, bytes + size, room - size);
        size += got > 0 ? (size_t)got : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    return got < 0 ? -errno : (ssize_t)size;
}

/* Leaves out what is no file, such as the folder Europe: there is no zone of that name. */
static int open_file(const char *name)
{
    char path[sizeof(FOLDER) + CRON_ZONE_NAME_MAX];
    struct stat st;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOTDIR ? -ENOENT : -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return -ENOENT;
}

static int load_file(int fd, struct cron_zone **ret, struct err *err)
{
    unsigned char *bytes = malloc(FILE_MAX_BYTES);

    if (!bytes)
        return err_set(err, -ENOMEM, "out of memory");
    ssize_t size = read_file(fd, bytes, FILE_MAX_BYTES);
    int rc = size < 0 ? err_set_errno(err, (int)-size, "cannot read the file of the time zone")
                      : cron_zone_parse(bytes, (size_t)size, ret, err);
    free(bytes);
    return rc;
}

int cron_zone_load(const char *name, struct cron_zone **ret, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    struct err inner = {0};

    parse_quote(name, strlen(name), quoted);
    if (!is_name(name))
        return err_set(err, -EINVAL, "%s is no name of a time zone; write one such as Europe/Berlin", quoted);
    if (strcmp(name, "UTC") == 0)
        return load_utc(ret, err);
    int fd = open_file(name);
    if (fd == -ENOENT)
        return err_set(err, -ENOENT, "there is no time zone %s in " FOLDER, quoted);
    if (fd < 0)
        return err_set_errno(err, -fd, "cannot open " FOLDER "%s", name);
    int rc = load_file(fd, ret, &inner);
    close(fd);
    return rc < 0 ? err_set(err, rc, "%s: %s", name, inner.text) : 0;
}
