#include "api/headers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/parse.h"
#include "tasks/engine.h"

#define WHITE_SPACE " \t"

static const char *skip_white_space(const char *p)
{
    return p + strspn(p, WHITE_SPACE);
}

/* ---- X-Request-Timeout ---- */

/* Who waits longer than a year does not wait for us. */
#define TIMEOUT_MAX_S UINT64_C(31622400)

static bool has_unit(const char *value)
{
    size_t size = strlen(value);

    return size > 0 && strchr("smh", value[size - 1]);
}

int request_timeout_parse(const char *value, uint64_t *ret_ns, struct err *err)
{
    uint64_t ms = 0;
    double seconds = 0;

    if (has_unit(value)) {
        int rc = parse_number(PARSE_DURATION, value, 1, TIMEOUT_MAX_S * 1000, &ms, err);
        if (rc == 0)
            *ret_ns = ms * NS_PER_MS;
        return rc;
    }
    int rc = parse_decimal(value, 0, TIMEOUT_MAX_S, &seconds, err);
    if (rc == 0 && seconds <= 0)
        return err_set(err, -ERANGE, "there is no time left");
    if (rc == 0)
        *ret_ns = (uint64_t)(seconds * (double)NS_PER_SEC);
    return rc;
}

/* ---- Prefer ---- */

/* The end of the element that begins at `p`: its comma, or the end of the text. */
static const char *element_end(const char *p)
{
    bool in_quotes = false;

    for (; *p != '\0' && (in_quotes || *p != ','); p++) {
        if (*p == '"')
            in_quotes = !in_quotes;
        else if (in_quotes && *p == '\\' && p[1] != '\0')
            p++;
    }
    return p;
}

/* The seconds behind `wait`, which may be quoted; 0 when it is no number. */
static unsigned read_wait(const char *p)
{
    unsigned long seconds = 0;

    p = skip_white_space(p);
    if (*p++ != '=')
        return 0;
    p = skip_white_space(p);
    p += *p == '"';
    size_t digits = strspn(p, "0123456789");
    if (!strchr(WHITE_SPACE ",;\"", p[digits]))
        return 0;
    for (size_t i = 0; i < digits && seconds < PREFER_WAIT_MAX_S; i++)
        seconds = seconds * 10 + (unsigned long)(p[i] - '0');
    return (unsigned)MIN(seconds, PREFER_WAIT_MAX_S);
}

static bool has_name(const char *p, size_t length, const char *name)
{
    return length == strlen(name) && strncasecmp(p, name, length) == 0;
}

/* The first of each counts. */
void prefer_parse(const char *value, struct prefer *ret)
{
    bool has_wait = false;

    *ret = (struct prefer){.wait_s = 0};
    for (const char *p = value; p && *p != '\0'; p += *p == ',') {
        p = skip_white_space(p);
        size_t length = strcspn(p, WHITE_SPACE ",;=");
        if (has_name(p, length, "respond-async"))
            ret->respond_async = true;
        if (has_name(p, length, "wait") && !has_wait) {
            ret->wait_s = read_wait(p + length);
            has_wait = true;
        }
        p = element_end(p);
    }
}

bool header_list_has(const char *list, const char *name)
{
    bool found = false;

    for (const char *p = list; *p != '\0' && !found;) {
        p += strspn(p, WHITE_SPACE ",");
        size_t length = strcspn(p, WHITE_SPACE ",");
        found = length > 0 && has_name(p, length, name);
        p += length;
    }
    return found;
}

void prefer_format(const struct prefer *prefer, char ret_text[PREFER_TEXT_SIZE])
{
    char wait[16] = "";

    if (prefer->wait_s > 0)
        snprintf(wait, sizeof(wait), "wait=%u", prefer->wait_s);
    snprintf(ret_text, PREFER_TEXT_SIZE, "%s%s%s", prefer->respond_async ? "respond-async" : "",
             prefer->respond_async && prefer->wait_s > 0 ? ", " : "", wait);
}

/* ---- keys and identifiers ---- */

bool idempotency_key_is_valid(const char *key)
{
    size_t length = strlen(key);

    for (size_t i = 0; i < length; i++) {
        if (key[i] < 0x20 || key[i] > 0x7e)
            return false;
    }
    return length >= 1 && length <= TASK_KEY_MAX_BYTES;
}

/* `count` lower-case hexadecimal digits, not all of them 0 unless that is allowed. */
static bool is_hex(const char *p, size_t count, bool may_be_zero)
{
    return strspn(p, "0123456789abcdef") >= count && (may_be_zero || strspn(p, "0") < count);
}

/* version "-" trace-id "-" parent-id "-" flags, and in versions to come "-" and more. */
void traceparent_parse(const char *value, char ret_text[TRACEPARENT_SIZE])
{
    const size_t length = TRACEPARENT_SIZE - 1;

    ret_text[0] = '\0';
    if (!value || strnlen(value, length) < length || !is_hex(value, 2, true) || value[2] != '-' ||
        !is_hex(value + 3, 32, false) || value[35] != '-' || !is_hex(value + 36, 16, false) ||
        value[52] != '-' || !is_hex(value + 53, 2, true))
        return;
    if (strncmp(value, "ff", 2) == 0)
        return;
    if (value[length] != '\0' && (strncmp(value, "00", 2) == 0 || value[length] != '-'))
        return;
    memcpy(ret_text, value, length);
    ret_text[length] = '\0';
}

bool event_number_parse(const char *value, uint64_t *ret)
{
    return parse_number(PARSE_UINT, value, 0, INT64_MAX, ret, NULL) == 0;
}

/* ---- entity tags ---- */

void etag_format(unsigned version, char ret_text[ETAG_SIZE])
{
    snprintf(ret_text, ETAG_SIZE, "\"%u\"", version);
}

/* One entity tag. */
struct tag {
    bool is_weak;
    bool is_version; /* one that etag_format could have made */
    unsigned version;
};

/* Reads the tag at *p and moves it behind the comma that follows; false when there is none. */
static bool next_tag(const char **p, struct tag *ret)
{
    uint64_t version = 0;
    char text[16] = "";
    const char *at = *p + strspn(*p, WHITE_SPACE ",");

    ret->is_weak = strncmp(at, "W/", 2) == 0;
    at += ret->is_weak ? 2 : 0;
    const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
    if (!end)
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)MIN(end - (at + 1), (ptrdiff_t)sizeof(text)), at + 1);
    ret->is_version = parse_number(PARSE_UINT, text, 0, TASK_VERSION_ANY - 1, &version, NULL) == 0;
    ret->version = (unsigned)version;
    at = skip_white_space(end + 1);
    if (*at != '\0' && *at != ',')
        return false;
    *p = at;
    return true;
}

static bool is_any(const char *value)
{
    value = skip_white_space(value);
    return value[0] == '*' && *skip_white_space(value + 1) == '\0';
}

bool etag_is_named(const char *value, unsigned version)
{
    struct tag tag;

    if (!value)
        return false;
    if (is_any(value))
        return true;
    while (next_tag(&value, &tag)) {
        if (tag.is_version && tag.version == version)
            return true;
    }
    return false;
}

int etag_wanted(const char *value, unsigned *ret_version)
{
    unsigned version = TASK_VERSION_ANY - 1;
    struct tag tag;

    if (!value || is_any(value)) {
        *ret_version = TASK_VERSION_ANY;
        return 0;
    }
    do {
        if (!next_tag(&value, &tag))
            return -EINVAL;
        if (tag.is_version && !tag.is_weak)
            version = tag.version;
    } while (*value == ',');
    *ret_version = version;
    return 0;
}
