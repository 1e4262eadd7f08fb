#include "base/cron.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/calendar.h"
#include "base/parse.h"

#define BLANKS     " \t"
#define FIELDS     5
#define LENGTH_MAX 255
#define DIGITS_MAX 3 /* more than any value has, and no overflow */

enum field_id { MINUTE, HOUR, DAY, MONTH, WEEKDAY };

static const struct field {
    const char *name;
    unsigned min;
    unsigned max;
    unsigned step_max;        /* how many values there are */
    const char *const *names; /* of the values from `min` on */
    size_t name_count;
} fields[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, 60, NULL, 0},
    [HOUR] = {"hour", 0, 23, 24, NULL, 0},
    [DAY] = {"day of the month", 1, 31, 31, NULL, 0},
    [MONTH] = {"month", 1, 12, 12,
               (const char *const[]){"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
                                     "nov", "dec"},
               12},
    [WEEKDAY] = {"weekday", 0, 7, 7, (const char *const[]){"sun", "mon", "tue", "wed", "thu", "fri", "sat"},
                 7},
};

static const struct {
    const char *name;
    const char *text;
} nicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

/* ---- parsing ---- */

/* One field while it is read. */
struct reader {
    const struct field *field;
    const char *text; /* the whole field */
    size_t size;
    const char *at;
    struct err *err;
};

static bool is_end(const struct reader *reader)
{
    return reader->at == reader->text + reader->size;
}

static bool skip(struct reader *reader, char c)
{
    bool is_there = !is_end(reader) && *reader->at == c;

    reader->at += is_there;
    return is_there;
}

static int refuse(const struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(const struct reader *reader, const char *format, ...)
{
    char quoted[PARSE_QUOTED_SIZE];
    char what[128];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return err_set(reader->err, -EINVAL, "%s: %s %s", reader->field->name,
                   parse_quote(reader->text, reader->size, quoted), what);
}

static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* The number or the name at the beginning. */
static size_t word_size(const struct reader *reader)
{
    size_t size = 0;

    while (reader->at + size < reader->text + reader->size && is_word_char(reader->at[size]))
        size++;
    return size;
}

static bool find_name(const struct field *field, const char *word, size_t size, unsigned *ret)
{
    for (unsigned i = 0; i < field->name_count; i++) {
        if (strlen(field->names[i]) != size || strncasecmp(field->names[i], word, size) != 0)
            continue;
        *ret = field->min + i;
        return true;
    }
    return false;
}

/* False also for what is too long to be a value. */
static bool find_number(const char *word, size_t size, unsigned *ret)
{
    unsigned value = 0;

    if (size == 0 || size > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (word[i] < '0' || word[i] > '9')
            return false;
        value = value * 10 + (unsigned)(word[i] - '0');
    }
    *ret = value;
    return true;
}

static int read_value(struct reader *reader, unsigned *ret)
{
    const struct field *field = reader->field;
    size_t size = word_size(reader);
    unsigned value;

    if (!find_name(field, reader->at, size, &value) && !find_number(reader->at, size, &value))
        return refuse(reader, "is not understood; a value is a number from %u to %u%s%s", field->min,
                      field->max, field->names ? " or a name such as " : "",
                      field->names ? field->names[1] : "");
    if (value < field->min || value > field->max)
        return refuse(reader, "has a value that is not from %u to %u", field->min, field->max);
    reader->at += size;
    *ret = value;
    return 0;
}

static int read_step(struct reader *reader, bool is_range, unsigned *ret)
{
    size_t size;

    if (!skip(reader, '/'))
        return 0;
    if (!is_range)
        return refuse(reader, "has a step without a range; write */n or first-last/n");
    size = word_size(reader);
    if (!find_number(reader->at, size, ret) || *ret == 0 || *ret > reader->field->step_max)
        return refuse(reader, "has a step that is not from 1 to %u", reader->field->step_max);
    reader->at += size;
    return 0;
}

/* A value, a range, or `*`, the latter two perhaps with a step. */
static int read_item(struct reader *reader, uint64_t *set)
{
    unsigned first = reader->field->min;
    unsigned last = reader->field->max;
    unsigned step = 1;
    bool is_range = skip(reader, '*');
    int rc = 0;

    if (!is_range) {
        rc = read_value(reader, &first);
        last = first;
        is_range = rc == 0 && skip(reader, '-');
        if (is_range)
            rc = read_value(reader, &last);
    }
    if (rc == 0 && last < first)
        rc = refuse(reader, "has a range that goes backwards");
    if (rc == 0)
        rc = read_step(reader, is_range, &step);
    for (unsigned value = first; rc == 0 && value <= last; value += step)
        *set |= UINT64_C(1) << value;
    return rc;
}

static int read_field(struct reader *reader, uint64_t *ret_set)
{
    uint64_t set = 0;
    int rc;

    do
        rc = read_item(reader, &set);
    while (rc == 0 && skip(reader, ','));
    if (rc == 0 && !is_end(reader))
        rc = refuse(reader, "is not understood behind the first %td characters", reader->at - reader->text);
    *ret_set = set;
    return rc;
}

/* Whether there is a year with such a day.  In 400 years each day of a year is each weekday once at least. */
static bool ever_comes(const struct cron *cron)
{
    if (cron->any_day_will_do)
        return true;
    for (unsigned month = 1; month <= 12; month++)
        if (cron->months & 1U << month &&
            (unsigned)__builtin_ctz(cron->days) <= calendar_month_days(2000, month))
            return true;
    return false;
}

static int set_fields(const char *const starts[FIELDS], const size_t sizes[FIELDS], struct cron *ret,
                      struct err *err)
{
    uint64_t sets[FIELDS];
    bool is_open[FIELDS]; /* begins with `*` */

    for (size_t i = 0; i < FIELDS; i++) {
        struct reader reader = {&fields[i], starts[i], sizes[i], starts[i], err};
        int rc = read_field(&reader, &sets[i]);
        if (rc < 0)
            return rc;
        is_open[i] = starts[i][0] == '*';
    }
    struct cron cron = {
        .minutes = sets[MINUTE],
        .hours = (uint32_t)sets[HOUR],
        .days = (uint32_t)sets[DAY],
        .months = (uint32_t)sets[MONTH],
        .weekdays = (uint32_t)((sets[WEEKDAY] | sets[WEEKDAY] >> 7) & 0x7f),
        .any_day_will_do = !is_open[DAY] && !is_open[WEEKDAY],
        .runs_by_real_time = is_open[MINUTE] || is_open[HOUR],
    };
    if (!ever_comes(&cron))
        return err_set(err, -EINVAL,
                       "day of the month: there is no such day in that month, it would never run");
    *ret = cron;
    return 0;
}

static int find_nickname(const char *text, const char **ret, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    size_t size = strcspn(text, BLANKS);

    for (size_t i = 0; i < ARRAY_LEN(nicknames); i++) {
        if (strlen(nicknames[i].name) != size || memcmp(nicknames[i].name, text, size) != 0 ||
            text[size + strspn(text + size, BLANKS)] != '\0')
            continue;
        *ret = nicknames[i].text;
        return 0;
    }
    return err_set(
        err, -EINVAL,
        "%s is not understood; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and "
        "@annually",
        parse_quote(text, strlen(text), quoted));
}

int cron_parse(const char *text, struct cron *ret, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    const char *starts[FIELDS];
    size_t sizes[FIELDS];
    size_t count = 0;

    if (strnlen(text, LENGTH_MAX + 1) > LENGTH_MAX)
        return err_set(err, -EINVAL, "a cron expression has at most %d characters", LENGTH_MAX);
    const char *at = text + strspn(text, BLANKS);
    if (*at == '@') {
        int rc = find_nickname(at, &at, err);
        if (rc < 0)
            return rc;
    }
    for (; *at != '\0'; count++) {
        size_t size = strcspn(at, BLANKS);
        if (count < FIELDS) {
            starts[count] = at;
            sizes[count] = size;
        }
        at += size;
        at += strspn(at, BLANKS);
    }
    if (count != FIELDS)
        return err_set(err, -EINVAL, "%s has %zu field%s; five are needed: minute hour day month weekday",
                       parse_quote(text, strlen(text), quoted), count, count == 1 ? "" : "s");
    return set_fields(starts, sizes, ret, err);
}

/* ---- the next tick ---- */

#define MINUTE_S     60
#define DAY_MINUTES  (24 * 60)
#define YEAR_10000_S INT64_C(253402300800)

static bool is_day(const struct cron *cron, const struct calendar_date *date, int64_t day)
{
    bool is_month_day = cron->days >> date->day & 1;
    bool is_weekday = cron->weekdays >> calendar_weekday(day) & 1;

    return cron->any_day_will_do ? is_month_day || is_weekday : is_month_day && is_weekday;
}

/* Moves *minute, of a day, to the first one that is in the sets; false when there is none any more. */
static bool find_minute(const struct cron *cron, unsigned *minute)
{
    unsigned hour = *minute / 60;
    unsigned first = *minute % 60;

    for (; hour < 24; hour++, first = 0) {
        uint64_t minutes = cron->minutes >> first;
        if (!(cron->hours >> hour & 1) || minutes == 0)
            continue;
        *minute = hour * 60 + first + (unsigned)__builtin_ctzll(minutes);
        return true;
    }
    return false;
}

/* The first tick from `start` to before `end`, in seconds since 1970 of local time. */
static bool find_local(const struct cron *cron, int64_t start, int64_t end, int64_t *ret)
{
    int64_t minutes = calendar_div(start + MINUTE_S - 1, MINUTE_S);
    int64_t day = calendar_div(minutes, DAY_MINUTES);
    unsigned minute = (unsigned)calendar_mod(minutes, DAY_MINUTES);

    while (day * CALENDAR_DAY_S < end) {
        struct calendar_date date = calendar_date_of(day);
        bool is_month = cron->months >> date.month & 1;
        if (is_month && is_day(cron, &date, day) && find_minute(cron, &minute)) {
            *ret = day * CALENDAR_DAY_S + (int64_t)minute * MINUTE_S;
            return *ret < end;
        }
        day += is_month ? 1 : calendar_month_days(date.year, date.month) - date.day + 1;
        minute = 0;
    }
    return false;
}

/* Whether a tick lies in the local time that is skipped where the span begins. */
static bool is_skipped_before(const struct cron *cron, const struct cron_zone_span *span)
{
    int64_t local;

    return span->offset_s > span->offset_before_s &&
           find_local(cron, span->start + span->offset_before_s, span->start + span->offset_s, &local);
}

/* The first tick of the span from `time` on, both in UTC. */
static bool find_in_span(const struct cron *cron, const struct cron_zone_span *span, int64_t time,
                         int64_t *ret)
{
    int64_t start = time + span->offset_s;
    int64_t local;

    if (!cron->runs_by_real_time && span->start != INT64_MIN) {
        if (time == span->start && is_skipped_before(cron, span)) {
            *ret = time;
            return true;
        }
        /* What comes before that has been already. */
        start = MAX(start, span->start + span->offset_before_s);
    }
    if (!find_local(cron, start, MIN(span->end, YEAR_10000_S) + span->offset_s, &local))
        return false;
    *ret = local - span->offset_s;
    return true;
}

bool cron_next(const struct cron *cron, const struct cron_zone *zone, uint64_t after_ms, uint64_t *ret_ms)
{
    struct cron_zone_span span = {.end = (int64_t)MIN(after_ms / 1000, (uint64_t)YEAR_10000_S) + 1};
    int64_t tick;

    for (;;) {
        int64_t time = span.end;
        if (time >= YEAR_10000_S)
            return false;
        cron_zone_span(zone, time, &span);
        if (find_in_span(cron, &span, time, &tick))
            break;
    }
    *ret_ms = (uint64_t)tick * 1000;
    return true;
}
