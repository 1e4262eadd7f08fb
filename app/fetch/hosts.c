#include "fetch/hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

/* A host without what can be written in several ways. */
struct host {
    char name[CONFIG_HOST_MAX_BYTES + 1]; /* no dot behind it; "" for IPv6 */
    struct in6_addr ipv6;
    bool is_ipv6;
};

struct pattern {
    struct host host; /* of a wildcard: with the dot in front */
    bool is_wildcard;
    unsigned port; /* 0: the default */
};

static bool is_ipv4(const char *name)
{
    struct in_addr address;

    return inet_pton(AF_INET, name, &address) == 1;
}

/* `text` is "name", "1.2.3.4" or "[::1]", as libcurl writes a host. */
static bool host_set(struct host *host, const char *text, size_t size)
{
    bool has_brackets = size >= 2 && text[0] == '[' && text[size - 1] == ']';

    if (has_brackets)
        size -= 2;
    else if (size > 0 && text[size - 1] == '.')
        size--;
    if (size == 0 || size >= sizeof(host->name))
        return false;
    memcpy(host->name, text + has_brackets, size);
    host->name[size] = '\0';
    host->is_ipv6 = has_brackets;
    if (!has_brackets)
        return true;
    bool is_address = inet_pton(AF_INET6, host->name, &host->ipv6) == 1;
    host->name[0] = '\0';
    return is_address;
}

/* ---- patterns ---- */

/* Labels of letters, digits, - and _.  When the last one is a number the whole is an address. */
static bool is_name(const char *name)
{
    const char *last = strrchr(name, '.');
    const char *label = last ? last + 1 : name;

    if (name[0] == '.' || strstr(name, "..") ||
        name[strspn(name, "-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0')
        return false;
    return strspn(label, "0123456789") < strlen(label) || is_ipv4(name);
}

/* Where the ":port" of a pattern begins, or its end. */
static size_t host_size(const char *text)
{
    const char *bracket = text[0] == '[' ? strchr(text, ']') : NULL;

    return bracket ? (size_t)(bracket - text) + 1 : strcspn(text, ":");
}

static bool read_port(const char *text, unsigned *ret_port)
{
    uint64_t port = 0;

    if (text[0] != '\0' && (text[0] != ':' || parse_number(PARSE_UINT, text + 1, 1, 65535, &port, NULL) < 0))
        return false;
    *ret_port = (unsigned)port;
    return true;
}

static bool pattern_read(const char *text, struct pattern *ret_pattern)
{
    size_t size = host_size(text);
    struct pattern pattern = {.is_wildcard = strncmp(text, "*.", 2) == 0};

    if (!read_port(text + size, &pattern.port) ||
        !host_set(&pattern.host, text + pattern.is_wildcard, size - pattern.is_wildcard))
        return false;
    if (!pattern.host.is_ipv6 && !is_name(pattern.host.name + pattern.is_wildcard))
        return false;
    *ret_pattern = pattern;
    return true;
}

int hosts_check_pattern(const char *text, struct err *err)
{
    struct pattern pattern;
    char quoted[PARSE_QUOTED_SIZE];

    if (pattern_read(text, &pattern))
        return 0;
    return err_set(
        err, -EINVAL,
        "%s is not a host; write example.com, *.example.com, 127.0.0.1 or [::1], with or without a "
        "port behind it such as :8080",
        parse_quote(text, strlen(text), quoted));
}

/* ---- matching ---- */

static bool is_below(const char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t suffix_size = strlen(suffix);

    return size > suffix_size && strcasecmp(name + size - suffix_size, suffix) == 0 && !is_ipv4(name);
}

static bool host_matches(const struct pattern *pattern, const struct host *host)
{
    if (pattern->host.is_ipv6 || host->is_ipv6)
        return pattern->host.is_ipv6 && host->is_ipv6 &&
               memcmp(&pattern->host.ipv6, &host->ipv6, sizeof(host->ipv6)) == 0;
    return pattern->is_wildcard ? is_below(host->name, pattern->host.name)
                                : strcasecmp(host->name, pattern->host.name) == 0;
}

static bool port_matches(const struct pattern *pattern, const struct fetch_place *place)
{
    unsigned default_port = place->is_tls ? 443 : 80;

    return place->port == (pattern->port ? pattern->port : default_port);
}

static bool place_is_allowed(const struct config_list *allowed, const struct fetch_place *place)
{
    struct pattern pattern;
    struct host host;

    if (!host_set(&host, place->host, strlen(place->host)))
        return false;
    for (size_t i = 0; i < allowed->count; i++)
        if (pattern_read(allowed->items[i], &pattern) && port_matches(&pattern, place) &&
            host_matches(&pattern, &host))
            return true;
    return false;
}

bool hosts_allow_target(const struct config_list *allowed, const char *who, const struct fetch_target *target,
                        struct err *err)
{
    struct fetch_place place = fetch_target_place(target);
    char quoted[PARSE_QUOTED_SIZE];

    if (place.has_user) { /* not quoted: it may be a password */
        err_set(err, -EINVAL, "the URL has a user name, which is not allowed; use a header");
        return false;
    }
    if (place_is_allowed(allowed, &place))
        return true;
    err_set(err, -EACCES, "the host %s at port %u is not among those that %s may call",
            parse_quote(place.host, strlen(place.host), quoted), place.port, who);
    return false;
}

static void target_free_scope(struct fetch_target **target)
{
    fetch_target_free(*target);
}

bool hosts_allow_url(const struct config_list *allowed, const char *who, const char *url, struct err *err)
{
    cleanup(target_free_scope) struct fetch_target *target = NULL;

    return fetch_target_create(url, &target, err) == 0 && hosts_allow_target(allowed, who, target, err);
}
