/* Paths of endpoints: "/api/customers/{id}". */
#include <errno.h>
#include <string.h>

#include "config/config_int.h"

#define PARAMS_MAX 16

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"
/* RFC 3986, section 3.3, but %: paths are compared when their escapes have been decoded. */
#define SEGMENT LETTERS DIGITS "-._~!$&'()*+,;=:@"

/* The segment that begins at `text`, behind a slash. */
static size_t segment_size(const char *text)
{
    return strcspn(text, "/");
}

static bool is_param(const char *segment, size_t size)
{
    return size > 2 && segment[0] == '{' && segment[size - 1] == '}';
}

/* The name in braces, as placeholders have it. */
static bool is_param_name(const char *segment, size_t size)
{
    size_t name = strspn(segment + 1, LETTERS DIGITS "_");

    return name == size - 2 && !strchr(DIGITS, segment[1]);
}

static const char *wrong_with_segment(const char *segment, size_t size)
{
    if (size == 0)
        return "has an empty segment";
    if (memchr(segment, '?', size) || memchr(segment, '#', size))
        return "has a query or a fragment";
    if (is_param(segment, size))
        return is_param_name(segment, size) ? NULL
                                            : "has a parameter whose name is not letters, digits and _";
    if (memchr(segment, '{', size) || memchr(segment, '}', size))
        return "has braces that are not a whole segment";
    if (strspn(segment, SEGMENT) < size)
        return "has characters that are not written so in paths";
    if ((size == 1 && *segment == '.') || (size == 2 && memcmp(segment, "..", 2) == 0))
        return "has . or .. as a segment";
    return NULL;
}

/* Whether a parameter of the path before `end` has the name of the segment there. */
static bool is_repeated(const char *path, const char *end, size_t size)
{
    for (const char *p = path + 1; p < end; p += segment_size(p) + 1) {
        if (segment_size(p) == size && strncmp(p, end, size) == 0)
            return true;
    }
    return false;
}

/* A path that begins with a slash.  A slash at its end makes no difference. */
static const char *wrong_with_path(const char *path)
{
    unsigned params = 0;
    size_t size;

    for (const char *p = path + 1; *p; p += size + (p[size] == '/')) {
        size = segment_size(p);
        const char *wrong = wrong_with_segment(p, size);
        if (wrong)
            return wrong;
        if (!is_param(p, size))
            continue;
        if (is_repeated(path, p, size))
            return "has a parameter twice";
        if (++params > PARAMS_MAX)
            return "has more than 16 parameters";
    }
    return NULL;
}

int config_check_endpoint_path(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    const char *wrong = *text != '/' ? "does not begin with a slash" : NULL;

    if (strlen(text) > CONFIG_ENTRY_NAME_MAX_BYTES)
        return err_set(err, -ERANGE, "a path has %zu bytes; at most %d are allowed", strlen(text),
                       CONFIG_ENTRY_NAME_MAX_BYTES);
    if (!wrong)
        wrong = wrong_with_path(text);
    if (wrong)
        return err_set(err, -EINVAL, "%s %s; write a path such as /api/customers/{id}",
                       parse_quote(text, strlen(text), quoted), wrong);
    return 0;
}

bool config_path_has_param(const char *path, const char *name)
{
    size_t size = strlen(name);

    for (const char *p = path + 1; *p; p += segment_size(p) + (p[segment_size(p)] == '/')) {
        if (is_param(p, segment_size(p)) && segment_size(p) == size + 2 && strncmp(p + 1, name, size) == 0)
            return true;
    }
    return false;
}

bool config_paths_clash(const char *a, const char *b)
{
    for (a++, b++; *a && *b;) {
        size_t a_size = segment_size(a);
        size_t b_size = segment_size(b);
        bool both = is_param(a, a_size) && is_param(b, b_size);
        if (!both && (a_size != b_size || strncmp(a, b, a_size) != 0))
            return false;
        a += a_size + (a[a_size] == '/');
        b += b_size + (b[b_size] == '/');
    }
    return *a == *b; /* both are at their end */
}
