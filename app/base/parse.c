#include "base/parse.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS (UINT64_C(60) * 1000)
#define HOUR_MS   (60 * MINUTE_MS)

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* What a decimal fraction is counted in. */
#define MILLION        1000000
#define MILLION_DIGITS 6

#define UNITS_MAX 4

static const struct kind {
    const char *noun;
    const char *hint;
    unsigned base;
    struct unit units[UNITS_MAX]; /* the largest first; those after the last have factor 0 */
} kinds[PARSE_KIND_COUNT] = {
    [PARSE_UINT] = {"a whole number", "a whole number", 10, {{"", 1}}},
    [PARSE_DURATION] = {"a duration",
                        "a duration such as 250ms, 10s or 5m",
                        10,
                        {{"h", HOUR_MS}, {"m", MINUTE_MS}, {"s", 1000}, {"ms", 1}}},
    [PARSE_SIZE] =
        {"a size",
         "a size such as 512, 64KiB or 1MiB",
         10,
         {{"GiB", UINT64_C(1) << 30}, {"MiB", UINT64_C(1) << 20}, {"KiB", UINT64_C(1) << 10}, {"", 1}}},
    [PARSE_MODE] = {"an octal mode", "an octal mode such as 0660", 8, {{"", 1}}},
};

/* Reads the digits at *text and moves it behind them; false when there are none.  A number that does not fit
 * sets *overflow. */
static bool read_digits(const char **text, unsigned base, uint64_t *ret_value, bool *overflow)
{
    const char *start = *text;
    const char *p = start;
    uint64_t value = 0;

    for (; *p >= '0' && *p < '0' + (int)base; p++)
        *overflow |= __builtin_mul_overflow(value, base, &value) ||
                     __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    *text = p;
    *ret_value = value;
    bool ambiguous = base == 10 && *start == '0' && p - start > 1;
    return p > start && !ambiguous;
}

static const struct unit *find_unit(const struct kind *kind, const char *suffix)
{
    for (size_t i = 0; i < UNITS_MAX && kind->units[i].factor != 0; i++) {
        if (strcmp(kind->units[i].suffix, suffix) == 0)
            return &kind->units[i];
    }
    return NULL;
}

static int refuse(struct err *err, int code, enum parse_kind kind, const char *text, const char *wrong,
                  uint64_t min, uint64_t max)
{
    char quoted[PARSE_QUOTED_SIZE];
    char low[PARSE_TEXT_SIZE];
    char high[PARSE_TEXT_SIZE];

    parse_format(kind, min, low);
    parse_format(kind, max, high);
    return err_set(err, code, "%s %s; write %s (%s to %s)", parse_quote(text, strlen(text), quoted), wrong,
                   kinds[kind].hint, low, high);
}

int parse_number(enum parse_kind kind, const char *text, uint64_t min, uint64_t max, uint64_t *ret_value,
                 struct err *err)
{
    const char *rest = text;
    uint64_t value;
    bool overflow = false;
    bool has_digits = read_digits(&rest, kinds[kind].base, &value, &overflow);
    const struct unit *unit = find_unit(&kinds[kind], rest);

    if (has_digits && !unit && *rest == '\0')
        return refuse(err, -EINVAL, kind, text, "has no unit", min, max);
    if (!has_digits || !unit) {
        char wrong[48];
        snprintf(wrong, sizeof(wrong), "is not %s", kinds[kind].noun);
        return refuse(err, -EINVAL, kind, text, wrong, min, max);
    }
    overflow |= __builtin_mul_overflow(value, unit->factor, &value);
    if (overflow || value < min || value > max)
        return refuse(err, -ERANGE, kind, text, "is out of range", min, max);
    *ret_value = value;
    return 0;
}

/* Reads the digits behind a point, if there is one, as millionths. */
static bool read_millionths(const char **text, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *p = *text;
    unsigned digits = 0;

    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9' && digits < MILLION_DIGITS; digits++)
            value = value * 10 + (uint64_t)(*p++ - '0');
        if (digits == 0)
            return false;
    }
    for (; digits < MILLION_DIGITS; digits++)
        value *= 10;
    *text = p;
    *ret_value = value;
    return true;
}

int parse_decimal(const char *text, uint64_t min, uint64_t max, double *ret_value, struct err *err)
{
    const char *rest = text;
    char quoted[PARSE_QUOTED_SIZE];
    uint64_t whole;
    uint64_t millionths;
    bool overflow = false;
    int r = 0;

    assert(max <= UINT32_MAX);
    if (!read_digits(&rest, 10, &whole, &overflow) || !read_millionths(&rest, &millionths) || *rest != '\0')
        r = -EINVAL;
    else if (overflow || whole < min || whole > max || (whole == max && millionths > 0))
        r = -ERANGE;
    if (r < 0)
        return err_set(err, r, "%s %s; write a number such as 2 or 0.25 (%" PRIu64 " to %" PRIu64 ")",
                       parse_quote(text, strlen(text), quoted),
                       r == -EINVAL ? "is not a number" : "is out of range", min, max);
    /* One division of numbers that a double holds exactly: the double nearest to the text. */
    *ret_value = (double)(whole * MILLION + millionths) / MILLION;
    return 0;
}

int parse_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void parse_format(enum parse_kind kind, uint64_t value, char ret_text[PARSE_TEXT_SIZE])
{
    const struct unit *unit = kinds[kind].units;

    if (kind == PARSE_MODE) {
        snprintf(ret_text, PARSE_TEXT_SIZE, "%04" PRIo64, value);
        return;
    }
    while (value % unit->factor != 0 || (value == 0 && unit->factor > 1000))
        unit++;
    snprintf(ret_text, PARSE_TEXT_SIZE, "%" PRIu64 "%s", value / unit->factor, unit->suffix);
}

const char *parse_noun(enum parse_kind kind)
{
    return kinds[kind].noun;
}

const char *parse_quote(const char *text, size_t size, char ret_quoted[PARSE_QUOTED_SIZE])
{
    static const char tail[] = "...\"";
    char *out = ret_quoted;
    const char *end = ret_quoted + PARSE_QUOTED_SIZE - sizeof(tail) - sizeof("\\xff");
    size_t i = 0;

    *out++ = '"';
    for (; i < size && out < end; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c < 0x7f)
            *out++ = (char)c;
        else
            out += snprintf(out, sizeof("\\xff"), "\\x%02x", c);
    }
    memcpy(out, i < size ? tail : "\"", i < size ? sizeof(tail) : sizeof("\""));
    return ret_quoted;
}
