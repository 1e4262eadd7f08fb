#include "front/router.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
} methods[] = {
    {"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},       {"PUT", HTTP_PUT},
    {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

unsigned http_method_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].bit;
    return 0;
}

static unsigned allowed_methods(const struct route *route)
{
    return route->methods & HTTP_GET ? route->methods | HTTP_HEAD : route->methods;
}

/* Length without one slash at the end, except that "/" stays. */
static size_t trimmed_length(const char *path)
{
    size_t length = strlen(path);

    return length > 1 && path[length - 1] == '/' ? length - 1 : length;
}

static bool is_spelt_out(const char *pattern)
{
    return strchr(pattern, '{') == NULL;
}

static bool equals(const char *pattern, const char *path)
{
    size_t length = trimmed_length(path);

    return length == trimmed_length(pattern) && strncmp(pattern, path, length) == 0;
}

/* What stands before `{...}` and what stands behind it must be there, and a segment between them. */
static bool fits(const char *pattern, const char *path, char ret_arg[ROUTE_ARG_SIZE])
{
    size_t prefix = strcspn(pattern, "{");
    const char *behind = pattern + strcspn(pattern, "}") + 1;
    size_t suffix = trimmed_length(behind);
    size_t length = trimmed_length(path);

    if (length <= prefix + suffix || strncmp(pattern, path, prefix) != 0 ||
        strncmp(behind, path + length - suffix, suffix) != 0)
        return false;
    size_t size = length - prefix - suffix;
    if (size >= ROUTE_ARG_SIZE || memchr(path + prefix, '/', size))
        return false;
    memcpy(ret_arg, path + prefix, size);
    ret_arg[size] = '\0';
    return true;
}

static void format_allow(unsigned allowed, char ret_allow[ROUTE_ALLOW_SIZE])
{
    size_t length = 0;

    ret_allow[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(methods) && length < ROUTE_ALLOW_SIZE; i++)
        if (allowed & methods[i].bit)
            length += (size_t)snprintf(ret_allow + length, ROUTE_ALLOW_SIZE - length, "%s%s",
                                       length ? ", " : "", methods[i].name);
}

/* Among the rows that spell their path out, or among those with an argument. */
static enum route_result find_among(bool spelt_out, const struct route *routes, size_t count, unsigned method,
                                    const char *path, struct route_match *ret_match)
{
    unsigned allowed = 0;

    for (size_t i = 0; i < count; i++) {
        struct route_match match = {.index = i};
        if (is_spelt_out(routes[i].path) != spelt_out)
            continue;
        if (!(spelt_out ? equals(routes[i].path, path) : fits(routes[i].path, path, match.arg)))
            continue;
        *ret_match = match;
        if (allowed_methods(&routes[i]) & method)
            return ROUTE_FOUND;
        allowed |= allowed_methods(&routes[i]);
    }
    if (allowed == 0)
        return ROUTE_NO_PATH;
    format_allow(allowed, ret_match->allow);
    return ROUTE_NO_METHOD;
}

enum route_result router_find(const struct route *routes, size_t count, unsigned method, const char *path,
                              struct route_match *ret_match)
{
    enum route_result result = find_among(true, routes, count, method, path, ret_match);

    return result != ROUTE_NO_PATH ? result : find_among(false, routes, count, method, path, ret_match);
}
