/* Patterns of parameters: what regcomp takes and a request cannot make expensive. */
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_int.h"

/* glibc writes a{255} out as 255 times a, and such in one another multiply: a pattern of 30 bytes can take
 * all memory there is.  So the places that it comes to are counted before. */
#define PLACES_MAX 10000
#define DEPTH_MAX  32

/* Behind a bracket expression that begins at `p`. */
static const char *skip_bracket(const char *p)
{
    p += p[1] == '^' ? 2 : 1;
    p += *p == ']';
    for (; *p && *p != ']'; p++) {
        if (*p == '[' && p[1] && strchr(".:=", p[1])) { /* [:alpha:] */
            const char end[] = {p[1], ']', '\0'};
            const char *close = strstr(p + 2, end);
            p = close ? close + 1 : p;
        }
    }
    return *p ? p + 1 : p;
}

/* The most repetitions that an interval, `{2,5}`, asks for. */
static unsigned long interval_max(const char *p, const char **ret_end)
{
    size_t size = strcspn(p, "}");
    const char *comma = memchr(p, ',', size);
    const char *number = comma && comma[1] != '}' ? comma + 1 : p + 1;

    *ret_end = p + size + (p[size] == '}');
    return MAX(strtoul(number, NULL, 10), 1);
}

/* Places that the pattern comes to, more than PLACES_MAX for too many; what is no valid pattern is left to
 * regcomp. */
static unsigned long count_places(const char *p)
{
    unsigned long outer[DEPTH_MAX] = {0}; /* places of the group so far, for each that is open */
    unsigned long last = 0;               /* of what an interval repeats */
    size_t depth = 0;

    while (*p) {
        const char *next = p + 1;
        if (*p == '(') {
            if (++depth == DEPTH_MAX)
                return PLACES_MAX + 1;
            outer[depth] = 0;
            last = 0;
        } else if (*p == ')' && depth > 0) {
            last = outer[depth--] + 1;
            outer[depth] += last;
        } else if (*p == '{') {
            unsigned long times = MIN(interval_max(p, &next), PLACES_MAX);
            outer[depth] += last * (times - 1);
            last *= times;
        } else if (!strchr("*+?|^$", *p)) {
            next = *p == '[' ? skip_bracket(p) : *p == '\\' && p[1] ? p + 2 : next;
            last = 1;
            outer[depth]++;
        }
        if (outer[depth] > PLACES_MAX)
            return outer[depth];
        p = next;
    }
    return outer[0];
}

/* Their search takes exponential time. */
static bool has_back_reference(const char *p)
{
    while (*p) {
        if (*p == '[') {
            p = skip_bracket(p);
            continue;
        }
        if (*p == '\\' && p[1] >= '1' && p[1] <= '9')
            return true;
        p += *p == '\\' && p[1] ? 2 : 1;
    }
    return false;
}

int config_check_pattern(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    char reason[128];
    regex_t regex;

    parse_quote(text, strlen(text), quoted);
    if (has_back_reference(text))
        return err_set(err, -EINVAL, "%s has a back-reference, which could take for ever to match", quoted);
    if (count_places(text) > PLACES_MAX)
        return err_set(err, -ERANGE, "%s repeats too much; use max_length, or less in braces", quoted);
    int r = regcomp(&regex, text, REG_EXTENDED | REG_NOSUB);
    if (r == 0) {
        regfree(&regex);
        return 0;
    }
    if (r == REG_ESPACE)
        return err_set(err, -ENOMEM, "out of memory");
    regerror(r, NULL, reason, sizeof(reason));
    return err_set(err, -EINVAL, "%s is not an extended regular expression: %s", quoted, reason);
}

int config_pattern_matches(const char *pattern, const char *text)
{
    cleanup(buf_done) struct buf whole = BUF_INIT(CONFIG_VALUE_MAX_BYTES);
    regex_t regex;

    buf_printf(&whole, "^(%s)$", pattern);
    buf_append(&whole, "", 1);
    if (whole.failed || regcomp(&regex, whole.data, REG_EXTENDED | REG_NOSUB) != 0)
        return -ENOMEM;
    int r = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    return r == 0 ? 1 : r == REG_NOMATCH ? 0 : -ENOMEM;
}
