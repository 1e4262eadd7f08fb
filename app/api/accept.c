#include "api/accept.h"

#include <string.h>
#include <strings.h>

#define WHITE_SPACE " \t"

const char *const reply_format_types[REPLY_FORMAT_COUNT] = {
    [REPLY_JSON] = "application/json",
    [REPLY_NDJSON] = "application/x-ndjson",
    [REPLY_EVENTS] = "text/event-stream",
};

/* An element of the header. */
struct range {
    const char *type;
    size_t size;
    unsigned quality; /* thousandths */
};

/* What the header says about one of the types. */
struct liking {
    unsigned quality;
    unsigned exactness; /* of the range that says it: 1 all types, 2 those of one kind, 3 this one; 0: none */
    unsigned place;
};

/* "0.5" in thousandths, 1000 when it is none. */
static unsigned read_quality(const char *p)
{
    unsigned quality = *p == '1' ? 1000 : 0;
    unsigned worth = 100;

    if (*p != '0' && *p != '1')
        return 1000;
    if (*++p == '.')
        for (p++; *p >= '0' && *p <= '9' && worth > 0; p++, worth /= 10)
            quality += (unsigned)(*p - '0') * worth;
    return MIN(quality, 1000u);
}

/* The end of a parameter or of an element, whichever comes first; commas and semicolons in quotes are
 * none. */
static const char *piece_end(const char *p)
{
    bool in_quotes = false;

    for (; *p != '\0' && (in_quotes || (*p != ',' && *p != ';')); p++) {
        if (*p == '"')
            in_quotes = !in_quotes;
        else if (in_quotes && *p == '\\' && p[1] != '\0')
            p++;
    }
    return p;
}

/* Reads the range at *p and moves it behind its comma; false at the end. */
static bool next_range(const char **p, struct range *ret)
{
    const char *at = *p + strspn(*p, WHITE_SPACE ",");

    if (*at == '\0')
        return false;
    *ret = (struct range){.type = at, .size = strcspn(at, WHITE_SPACE ",;"), .quality = 1000};
    for (at = piece_end(at); *at == ';'; at = piece_end(at)) {
        at += 1 + strspn(at + 1, WHITE_SPACE);
        if (strncasecmp(at, "q=", 2) == 0)
            ret->quality = read_quality(at + 2);
    }
    *p = at;
    return true;
}

static unsigned exactness(const struct range *range, const char *type)
{
    size_t kind = strcspn(type, "/") + 1;

    if (range->size == strlen(type) && strncasecmp(range->type, type, range->size) == 0)
        return 3;
    if (range->size == kind + 1 && range->type[kind] == '*' && strncasecmp(range->type, type, kind) == 0)
        return 2;
    return range->size == 3 && strncmp(range->type, "*/*", 3) == 0;
}

static struct liking liking_of(const char *accept, const char *type)
{
    struct liking liking = {0};
    struct range range;

    for (unsigned place = 0; next_range(&accept, &range); place++) {
        unsigned how = exactness(&range, type);
        if (how > liking.exactness)
            liking = (struct liking){range.quality, how, place};
    }
    return liking;
}

static bool is_better(const struct liking *a, const struct liking *b)
{
    if (a->quality != b->quality)
        return a->quality > b->quality;
    return a->exactness != b->exactness ? a->exactness > b->exactness : a->place < b->place;
}

enum reply_format accept_choose(const char *accept)
{
    enum reply_format best = REPLY_FORMAT_COUNT;
    struct liking best_liking = {0};

    if (!accept || accept[strspn(accept, WHITE_SPACE)] == '\0')
        return REPLY_JSON;
    for (unsigned i = 0; i < REPLY_FORMAT_COUNT; i++) {
        struct liking liking = liking_of(accept, reply_format_types[i]);
        if (liking.quality > 0 && is_better(&liking, &best_liking)) {
            best = (enum reply_format)i;
            best_liking = liking;
        }
    }
    return best;
}
