/* Thompson's construction (1968): the pattern becomes a program, and a text is followed through it in all
 * ways at once, a character at a time, by the set of the steps where it can be.
 *
 * The program is written while the pattern is read.  Every piece and every branch begins with a STEP_JUMP
 * to the next step, which becomes a STEP_SPLIT when it shows that the piece is repeated or another branch
 * follows.  An interval reads its piece again for each copy; each adds a step, so the bound on steps is one
 * on time as well. */
#include "base/pattern.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define STEPS_MAX  (2 * PATTERN_PLACES_MAX)
#define RANGES_MAX (4 * PATTERN_PLACES_MAX)
#define DEPTH_MAX  32
#define REPEAT_MAX 255

/* No character is this one: the end of a chain of steps to be completed. */
#define NOWHERE UINT16_MAX

enum step_kind {
    STEP_SET,   /* one character of a set */
    STEP_JUMP,  /* on at `to` */
    STEP_SPLIT, /* on at the next one, and at `to` */
    STEP_BEGIN, /* only at the beginning */
    STEP_END,   /* only at the end */
    STEP_MATCH,
};

struct range {
    uint32_t first;
    uint32_t last;
};

struct step {
    uint8_t kind;
    bool is_negated; /* of a set: all but its ranges */
    uint16_t to;     /* of a jump or a split */
    uint16_t range;  /* of a set: where its ranges begin */
    uint16_t range_count;
};

struct pattern {
    size_t step_count;
    size_t range_count;
    struct step *steps;
    struct range *ranges;
};

/* ---- characters ---- */

/* The character at the beginning, of a text with at least one byte; what is no UTF-8 is no character that a
 * pattern can name. */
static uint32_t decode(const char *text, size_t size, size_t *ret_size)
{
    static const uint8_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t length = text_utf8_char_size(text, size);

    *ret_size = MAX(length, (size_t)1);
    if (length == 0)
        return UINT32_MAX;
    uint32_t c = (unsigned char)text[0] & lead_bits[length];
    for (size_t i = 1; i < length; i++)
        c = c << 6 | ((unsigned char)text[i] & 0x3f);
    return c;
}

static const struct class
{
    const char *name;
    struct range ranges[4];
    size_t count;
} classes[] = {
    {"alpha", {{'A', 'Z'}, {'a', 'z'}}, 2},
    {"digit", {{'0', '9'}}, 1},
    {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, 3},
    {"upper", {{'A', 'Z'}}, 1},
    {"lower", {{'a', 'z'}}, 1},
    {"space", {{'\t', '\r'}, {' ', ' '}}, 2},
    {"blank", {{'\t', '\t'}, {' ', ' '}}, 2},
    {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, 4},
    {"print", {{' ', '~'}}, 1},
    {"graph", {{'!', '~'}}, 1},
    {"cntrl", {{0, 0x1f}, {0x7f, 0x7f}}, 2},
    {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, 3},
};

/* ---- reading ---- */

struct parser {
    const char *text;
    const char *at;
    struct pattern *pattern;
    unsigned depth; /* of groups */
    struct err *err;
};

static int fail_at(struct parser *parser, const char *at, const char *what)
{
    size_t column = 1;

    for (const char *c = parser->text; c < at; c++)
        column += ((unsigned char)*c & 0xc0) != 0x80;
    return err_set(parser->err, -EINVAL, "column %zu: %s", column, what);
}

static int too_much(struct parser *parser)
{
    return err_set(parser->err, -ERANGE, "it comes to more than %d places, with its repetitions written out",
                   PATTERN_PLACES_MAX);
}

static uint16_t next_step(const struct parser *parser)
{
    return (uint16_t)parser->pattern->step_count;
}

static int add_step(struct parser *parser, struct step step)
{
    struct pattern *pattern = parser->pattern;

    if (pattern->step_count == STEPS_MAX)
        return too_much(parser);
    pattern->steps[pattern->step_count++] = step;
    return 0;
}

/* A step that goes on at the next one, until it is made a split. */
static int add_slot(struct parser *parser)
{
    return add_step(parser, (struct step){.kind = STEP_JUMP, .to = (uint16_t)(next_step(parser) + 1)});
}

static int add_range(struct parser *parser, uint32_t first, uint32_t last)
{
    struct pattern *pattern = parser->pattern;

    if (pattern->range_count == RANGES_MAX)
        return too_much(parser);
    pattern->ranges[pattern->range_count++] = (struct range){first, last};
    return 0;
}

/* A set of the ranges that were added since `first_range`. */
static int add_set(struct parser *parser, size_t first_range, bool is_negated)
{
    return add_step(parser,
                    (struct step){.kind = STEP_SET,
                                  .is_negated = is_negated,
                                  .range = (uint16_t)first_range,
                                  .range_count = (uint16_t)(parser->pattern->range_count - first_range)});
}

static int add_character(struct parser *parser)
{
    size_t first_range = parser->pattern->range_count;
    size_t size;
    uint32_t c = decode(parser->at, strlen(parser->at), &size);

    parser->at += size;
    int rc = add_range(parser, c, c);
    return rc == 0 ? add_set(parser, first_range, false) : rc;
}

/* "[:alpha:]" within brackets. */
static int read_class(struct parser *parser)
{
    const char *name = parser->at + 2;
    const char *end = strstr(name, ":]");
    int rc = 0;

    for (size_t i = 0; end && i < ARRAY_LEN(classes); i++) {
        const struct class *class = &classes[i];
        if (strlen(class->name) != (size_t)(end - name) ||
            memcmp(class->name, name, (size_t)(end - name)) != 0)
            continue;
        for (size_t j = 0; j < class->count && rc == 0; j++)
            rc = add_range(parser, class->ranges[j].first, class->ranges[j].last);
        parser->at = end + 2;
        return rc;
    }
    return fail_at(parser, parser->at, "there is no such class; write one such as [:alpha:] or [:digit:]");
}

/* One character or range within brackets. */
static int read_member(struct parser *parser)
{
    const char *start = parser->at;
    size_t size;

    if (start[0] == '[' && start[1] == ':')
        return read_class(parser);
    if (start[0] == '[' && (start[1] == '.' || start[1] == '='))
        return fail_at(parser, start, "neither [. nor [= can be in brackets");
    uint32_t first = decode(start, strlen(start), &size);
    uint32_t last = first;
    parser->at += size;
    if (parser->at[0] == '-' && parser->at[1] != ']' && parser->at[1] != '\0') {
        last = decode(parser->at + 1, strlen(parser->at + 1), &size);
        if (last < first || (last == '[' && strchr(":.=", parser->at[2]) && parser->at[2]))
            return fail_at(parser, start, "the range ends before it begins, or not with a character");
        parser->at += 1 + size;
    }
    return add_range(parser, first, last);
}

static int read_brackets(struct parser *parser)
{
    const char *start = parser->at++;
    size_t first_range = parser->pattern->range_count;
    bool is_negated = *parser->at == '^';
    bool is_first = true;

    parser->at += is_negated;
    for (; *parser->at != ']' || is_first; is_first = false) {
        int rc = *parser->at ? read_member(parser) : fail_at(parser, start, "the bracket is not closed");
        if (rc < 0)
            return rc;
    }
    parser->at++;
    return add_set(parser, first_range, is_negated);
}

static int read_branches(struct parser *parser);

static int read_group(struct parser *parser)
{
    const char *start = parser->at++;

    if (++parser->depth > DEPTH_MAX)
        return fail_at(parser, start, "there are too many groups in one another");
    int rc = read_branches(parser);
    if (rc == 0 && *parser->at != ')')
        rc = fail_at(parser, start, "the group is not closed");
    if (rc < 0)
        return rc;
    parser->at++;
    parser->depth--;
    return 0;
}

static int read_escape(struct parser *parser)
{
    if (!strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", parser->at[1]) || parser->at[1] == '\0')
        return fail_at(parser, parser->at,
                       "a backslash stands before a character that is no letter and no digit");
    parser->at++;
    return add_character(parser);
}

static int read_any(struct parser *parser)
{
    parser->at++;
    return add_set(parser, parser->pattern->range_count, true);
}

static int read_anchor(struct parser *parser)
{
    enum step_kind kind = *parser->at++ == '^' ? STEP_BEGIN : STEP_END;

    return add_step(parser, (struct step){.kind = kind});
}

/* What can be repeated. */
static int read_atom(struct parser *parser)
{
    switch (*parser->at) {
    case '(':
        return read_group(parser);
    case '[':
        return read_brackets(parser);
    case '\\':
        return read_escape(parser);
    case '.':
        return read_any(parser);
    case '^':
    case '$':
        return read_anchor(parser);
    case '*':
    case '+':
    case '?':
    case '{':
        return fail_at(parser, parser->at, "there is nothing to repeat; write a backslash before it");
    default:
        return add_character(parser);
    }
}

struct interval {
    unsigned min;
    unsigned max; /* 0: any number */
};

static bool read_count(const char **at, unsigned *ret)
{
    const char *start = *at;
    unsigned count = 0;

    while (**at >= '0' && **at <= '9' && count <= REPEAT_MAX)
        count = count * 10 + (unsigned)(*(*at)++ - '0');
    *ret = count;
    return *at > start;
}

/* "{2}", "{2,}" or "{2,5}". */
static int read_interval(struct parser *parser, struct interval *ret)
{
    const char *at = parser->at + 1;
    bool is_right = read_count(&at, &ret->min);

    ret->max = ret->min;
    if (is_right && *at == ',') {
        at++;
        if (!read_count(&at, &ret->max))
            ret->max = 0;
        else
            is_right = ret->max > 0;
    } else {
        is_right &= ret->max > 0;
    }
    if (!is_right || *at != '}' || ret->min > REPEAT_MAX || ret->max > REPEAT_MAX ||
        (ret->max > 0 && ret->max < ret->min))
        return fail_at(parser, parser->at, "a repetition is {2}, {2,} or {2,5}, of 1 to 255");
    parser->at = at + 1;
    return 0;
}

/* How often the piece is to come that ends here; `ret` stays as it is when nothing says so. */
static int read_repetition(struct parser *parser, struct interval *ret)
{
    static const struct {
        char sign;
        struct interval interval;
    } signs[] = {{'*', {0, 0}}, {'+', {1, 0}}, {'?', {0, 1}}};

    if (*parser->at == '{')
        return read_interval(parser, ret);
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        if (*parser->at == signs[i].sign) {
            *ret = signs[i].interval;
            parser->at++;
            break;
        }
    }
    return 0;
}

/* The slots whose `to` is a chain, from `last` back, go on here. */
static void complete(struct parser *parser, uint16_t last)
{
    while (last != NOWHERE) {
        struct step *step = &parser->pattern->steps[last];
        last = step->to;
        step->to = next_step(parser);
    }
}

/* An atom with its slot, which becomes a split that passes it by when it is optional. */
static int read_copy(struct parser *parser, const char *start, bool is_optional, uint16_t *chain)
{
    uint16_t slot = next_step(parser);

    parser->at = start;
    int rc = add_slot(parser);
    if (rc == 0)
        rc = read_atom(parser);
    if (rc == 0 && is_optional) {
        parser->pattern->steps[slot].kind = STEP_SPLIT;
        parser->pattern->steps[slot].to = *chain;
        *chain = slot;
    }
    return rc;
}

/* Behind the last copy, which began with `slot`: once more, any number of times. */
static int add_loop(struct parser *parser, uint16_t slot, bool is_optional)
{
    if (is_optional)
        return add_step(parser, (struct step){.kind = STEP_JUMP, .to = slot});
    return add_step(parser, (struct step){.kind = STEP_SPLIT, .to = slot});
}

static int read_piece(struct parser *parser)
{
    const char *start = parser->at;
    struct interval interval = {1, 1};
    uint16_t slot = next_step(parser);
    uint16_t chain = NOWHERE;

    int rc = read_copy(parser, start, false, &chain);
    if (rc == 0)
        rc = read_repetition(parser, &interval);
    if (rc < 0)
        return rc;
    const char *end = parser->at;
    if (interval.min == 0) {
        parser->pattern->steps[slot].kind = STEP_SPLIT;
        parser->pattern->steps[slot].to = NOWHERE;
        chain = slot;
    }
    for (unsigned copy = 1; copy < MAX(interval.min, interval.max) && rc == 0; copy++) {
        slot = next_step(parser);
        rc = read_copy(parser, start, copy >= interval.min, &chain);
    }
    if (rc == 0 && interval.max == 0)
        rc = add_loop(parser, slot, interval.min == 0);
    complete(parser, chain);
    parser->at = end;
    if (rc == 0 && *parser->at && strchr("*+?{", *parser->at))
        rc = fail_at(parser, parser->at, "it is repeated already; put it in parentheses");
    return rc;
}

static int read_branches(struct parser *parser)
{
    uint16_t ends = NOWHERE; /* chain of the jumps behind branches */

    for (;;) {
        uint16_t slot = next_step(parser);
        int rc = add_slot(parser);
        while (rc == 0 && *parser->at && !strchr("|)", *parser->at))
            rc = read_piece(parser);
        if (rc < 0)
            return rc;
        if (*parser->at != '|')
            break;
        parser->at++;
        rc = add_step(parser, (struct step){.kind = STEP_JUMP, .to = ends});
        if (rc < 0)
            return rc;
        ends = (uint16_t)(next_step(parser) - 1);
        parser->pattern->steps[slot].kind = STEP_SPLIT;
        parser->pattern->steps[slot].to = next_step(parser);
    }
    complete(parser, ends);
    return 0;
}

static int read_all(struct parser *parser)
{
    if (!text_utf8_is_valid(parser->text, strlen(parser->text)))
        return err_set(parser->err, -EINVAL, "it is not valid UTF-8");
    int rc = read_branches(parser);
    if (rc == 0 && *parser->at == ')')
        rc = fail_at(parser, parser->at, "there is no ( before this; write \\) for a parenthesis");
    return rc == 0 ? add_step(parser, (struct step){.kind = STEP_MATCH}) : rc;
}

/* Room for what it came to, instead of what it could have come to. */
static void shrink(struct pattern *pattern)
{
    assert(pattern->step_count > 0);
    struct step *steps = realloc(pattern->steps, pattern->step_count * sizeof(*steps));
    struct range *ranges = realloc(pattern->ranges, (pattern->range_count + 1) * sizeof(*ranges));

    if (steps)
        pattern->steps = steps;
    if (ranges)
        pattern->ranges = ranges;
}

int pattern_parse(const char *text, struct pattern **ret, struct err *err)
{
    struct pattern *pattern = calloc(1, sizeof(*pattern));
    struct parser parser = {.text = text, .at = text, .pattern = pattern, .err = err};

    if (!pattern)
        return err_set(err, -ENOMEM, "out of memory");
    pattern->steps = calloc(STEPS_MAX, sizeof(pattern->steps[0]));
    pattern->ranges = calloc(RANGES_MAX, sizeof(pattern->ranges[0]));
    int rc = pattern->steps && pattern->ranges ? read_all(&parser) : err_set(err, -ENOMEM, "out of memory");
    if (rc < 0) {
        pattern_free(pattern);
        return rc;
    }
    shrink(pattern);
    *ret = pattern;
    return 0;
}

void pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return;
    free(pattern->steps);
    free(pattern->ranges);
    free(pattern);
}

/* ---- matching ---- */

/* Steps where the text can be, in the order in which they were found. */
struct step_set {
    size_t count;
    uint16_t items[STEPS_MAX];
    bool has[STEPS_MAX];
};

static void add(struct step_set *set, size_t step)
{
    if (set->has[step])
        return;
    set->has[step] = true;
    set->items[set->count++] = (uint16_t)step;
}

static void clear(struct step_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->has[set->items[i]] = false;
    set->count = 0;
}

static bool is_in(const struct pattern *pattern, const struct step *step, uint32_t c)
{
    const struct range *ranges = pattern->ranges + step->range;

    for (size_t i = 0; i < step->range_count; i++) {
        if (c >= ranges[i].first && c <= ranges[i].last)
            return !step->is_negated;
    }
    return step->is_negated;
}

/* Follows all steps that take no character; `set` grows meanwhile.  True when one of them is the match. */
static bool follow(const struct pattern *pattern, struct step_set *set, bool is_begin, bool is_end)
{
    for (size_t i = 0; i < set->count; i++) {
        size_t at = set->items[i];
        const struct step *step = &pattern->steps[at];
        if (step->kind == STEP_MATCH && is_end)
            return true;
        if (step->kind == STEP_SPLIT || step->kind == STEP_JUMP)
            add(set, step->to);
        if (step->kind == STEP_SPLIT || (step->kind == STEP_BEGIN && is_begin) ||
            (step->kind == STEP_END && is_end))
            add(set, at + 1);
    }
    return false;
}

static void take_character(const struct pattern *pattern, const struct step_set *set, uint32_t c,
                           struct step_set *ret_next)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct step *step = &pattern->steps[set->items[i]];
        if (step->kind == STEP_SET && is_in(pattern, step, c))
            add(ret_next, (size_t)set->items[i] + 1);
    }
}

bool pattern_matches(const struct pattern *pattern, const char *text, size_t size)
{
    struct step_set sets[2];
    struct step_set *now = &sets[0];
    struct step_set *next = &sets[1];
    size_t used;

    for (size_t i = 0; i < 2; i++) {
        sets[i].count = 0;
        memset(sets[i].has, 0, pattern->step_count * sizeof(sets[i].has[0]));
    }
    add(now, 0);
    for (size_t at = 0; at < size && now->count > 0; at += used) {
        follow(pattern, now, at == 0, false);
        take_character(pattern, now, decode(text + at, size - at, &used), next);
        clear(now);
        struct step_set *swap = now;
        now = next;
        next = swap;
    }
    return follow(pattern, now, size == 0, true);
}
