/* fuzz_cron.c - cron_parse, cron_zone_parse, cron_next: spans follow each other, ticks are later than what
 * they come after and match the expression.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: an expression up to a newline; then 8 bytes, the
 * milliseconds after which; the rest is the file of a time zone, UTC when it is none. */
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_spans(const struct cron_zone *zone, int64_t time)
{
    struct cron_zone_span span;
    struct cron_zone_span next;

    cron_zone_span(zone, time, &span);
    check(span.start <= time && time < span.end);
    for (unsigned i = 0; i < 50 && span.end < INT64_C(253402300800); i++, span = next) {
        cron_zone_span(zone, span.end, &next);
        check(next.start == span.end && next.end > next.start && next.offset_before_s == span.offset_s);
    }
}

/* But for those that make up for skipped time. */
static void check_tick(const struct cron *cron, const struct cron_zone *zone, int64_t tick)
{
    struct cron_zone_span span;

    cron_zone_span(zone, tick, &span);
    if (tick == span.start && span.offset_s > span.offset_before_s && !cron->runs_by_real_time)
        return;
    int64_t local = tick + span.offset_s;
    struct calendar_date date = calendar_date_of(calendar_div(local, CALENDAR_DAY_S));
    check(calendar_mod(local, 60) == 0);
    check(cron->minutes >> calendar_mod(calendar_div(local, 60), 60) & 1);
    check(cron->hours >> calendar_mod(calendar_div(local, 3600), 24) & 1);
    check(cron->months >> date.month & 1);
    bool is_day = cron->days >> date.day & 1;
    bool is_weekday = cron->weekdays >> calendar_weekday(calendar_div(local, CALENDAR_DAY_S)) & 1;
    check(cron->any_day_will_do ? is_day || is_weekday : is_day && is_weekday);
}

static void check_ticks(const struct cron *cron, const struct cron_zone *zone, uint64_t after_ms)
{
    for (unsigned i = 0; i < 5; i++) {
        uint64_t tick_ms = 0;
        if (!cron_next(cron, zone, after_ms, &tick_ms))
            return;
        check(tick_ms > after_ms && tick_ms % 1000 == 0);
        check_tick(cron, zone, (int64_t)(tick_ms / 1000));
        after_ms = tick_ms;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[300];
    struct cron cron;
    struct err err = {0};
    struct cron_zone *zone = NULL;
    uint64_t after_ms;

    const uint8_t *newline = memchr(data, '\n', MIN(size, sizeof(text) - 1));
    if (!newline || size - (size_t)(newline - data) < 1 + sizeof(after_ms))
        return 0;
    memcpy(text, data, (size_t)(newline - data));
    text[newline - data] = '\0';
    memcpy(&after_ms, newline + 1, sizeof(after_ms));
    const uint8_t *file = newline + 1 + sizeof(after_ms);
    if (cron_zone_parse(file, size - (size_t)(file - data), &zone, &err) < 0 &&
        cron_zone_load("UTC", &zone, &err) < 0)
        return 0;
    check_spans(zone, (int64_t)(after_ms % 253402300800));
    if (cron_parse(text, &cron, &err) == 0)
        check_ticks(&cron, zone, after_ms);
    cron_zone_free(zone);
    return 0;
}
