#include "base/http.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "base/text.h"

#define NAME_MAX_BYTES 64

#define WHITE_SPACE " \t"

static const char *const reason_phrases[600] = {
    [100] = "Continue",
    [101] = "Switching Protocols",
    [102] = "Processing",
    [103] = "Early Hints",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [203] = "Non-Authoritative Information",
    [204] = "No Content",
    [205] = "Reset Content",
    [206] = "Partial Content",
    [207] = "Multi-Status",
    [208] = "Already Reported",
    [226] = "IM Used",
    [300] = "Multiple Choices",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [305] = "Use Proxy",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [402] = "Payment Required",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [407] = "Proxy Authentication Required",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [417] = "Expectation Failed",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [423] = "Locked",
    [424] = "Failed Dependency",
    [425] = "Too Early",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [451] = "Unavailable For Legal Reasons",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
    [506] = "Variant Also Negotiates",
    [507] = "Insufficient Storage",
    [508] = "Loop Detected",
    [511] = "Network Authentication Required",
};

static const char *const class_phrases[] = {
    "Unknown Status", "Informational", "Success", "Redirection", "Client Error", "Server Error",
};

const char *http_reason_phrase(int status)
{
    if (status < 100 || status > 599)
        return class_phrases[0];
    return reason_phrases[status] ? reason_phrases[status] : class_phrases[status / 100];
}

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_length(const char *p)
{
    size_t length = 0;

    while (is_token_char(p[length]))
        length++;
    return length;
}

static const char *skip_white_space(const char *p)
{
    return p + strspn(p, WHITE_SPACE);
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "" when it does not fit: half a name would be another name. */
static void copy_lower(char *ret, size_t ret_size, const char *text, size_t length)
{
    if (length >= ret_size)
        length = 0;
    for (size_t i = 0; i < length; i++)
        ret[i] = ascii_lower(text[i]);
    ret[length] = '\0';
}

/* Copies the value at `p` without its quotes and returns what is behind it.  Upstreams also write single
 * quotes, which are no quotes in HTTP but no part of any charset's name either. */
static const char *read_value(const char *p, char *ret, size_t ret_size)
{
    char quote = *p == '"' || *p == '\'' ? *p++ : '\0';
    size_t length = 0;

    for (; *p != '\0' && (quote ? *p != quote : *p != ';'); p++) {
        if (quote == '"' && *p == '\\' && p[1] != '\0')
            p++;
        if (length < ret_size)
            ret[length++] = *p;
    }
    while (!quote && length > 0 && strchr(WHITE_SPACE, ret[length - 1]))
        length--;
    ret[length < ret_size ? length : 0] = '\0';
    return p;
}

static void read_parameters(const char *p, struct http_media_type *ret)
{
    char value[sizeof(ret->charset)];

    for (p = strchr(p, ';'); p; p = strchr(p, ';')) {
        const char *name = skip_white_space(p + 1);
        size_t length = token_length(name);
        p = skip_white_space(name + length);
        if (*p != '=')
            continue;
        p = read_value(skip_white_space(p + 1), value, sizeof(value));
        if (length == strlen("charset") && strncasecmp(name, "charset", length) == 0) {
            memcpy(ret->charset, value, sizeof(value));
            return;
        }
    }
}

void http_content_type_parse(const char *value, struct http_media_type *ret)
{
    *ret = (struct http_media_type){.type = ""};
    if (!value)
        return;

    const char *type = skip_white_space(value);
    size_t length = token_length(type);
    if (type[length] == '/') {
        const char *subtype = type + length + 1;
        copy_lower(ret->type, sizeof(ret->type), type, length);
        copy_lower(ret->subtype, sizeof(ret->subtype), subtype, token_length(subtype));
    }
    read_parameters(value, ret);
}

bool http_is_json(const char *content_type)
{
    struct http_media_type media;

    http_content_type_parse(content_type, &media);
    if (strcmp(media.type, "application") != 0)
        return false;
    const char *suffix = strrchr(media.subtype, '+');
    return strcmp(suffix ? suffix + 1 : media.subtype, "json") == 0;
}

static int decode(const char *text, size_t size, bool plus_is_space, char *ret, size_t ret_size)
{
    size_t length = 0;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '+' && plus_is_space)
            c = ' ';
        if (c == '%') {
            int high = size - i > 2 ? parse_hex_digit(text[i + 1]) : -1;
            int low = high < 0 ? -1 : parse_hex_digit(text[i + 2]);
            if (low < 0)
                return -EINVAL;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return -EINVAL;
        if (length == ret_size)
            return -ENOSPC;
        ret[length++] = c;
    }
    if (length == ret_size)
        return -ENOSPC;
    ret[length] = '\0';
    return (int)length;
}

int http_percent_decode(const char *text, size_t size, char *ret, size_t ret_size)
{
    return decode(text, size, false, ret, ret_size);
}

/* True when the pair at `pair` is named `name`.  A name that cannot be decoded is nobody's. */
static bool has_name(const char *pair, size_t pair_length, const char *name)
{
    char decoded[NAME_MAX_BYTES];
    const char *equals = memchr(pair, '=', pair_length);
    size_t length = equals ? (size_t)(equals - pair) : pair_length;

    return decode(pair, length, true, decoded, sizeof(decoded)) >= 0 && strcmp(decoded, name) == 0;
}

static int decode_value(const char *pair, size_t pair_length, const char *name, char *ret, size_t ret_size,
                        struct err *err)
{
    const char *end = pair + pair_length;
    const char *equals = memchr(pair, '=', pair_length);
    const char *value = equals ? equals + 1 : end;

    int length = decode(value, (size_t)(end - value), true, ret, ret_size);
    if (length == -ENOSPC)
        return err_set(err, -EINVAL, "the query parameter %s is longer than %zu bytes", name, ret_size - 1);
    if (length < 0 || !text_utf8_is_valid(ret, (size_t)length))
        return err_set(err, -EINVAL, "the query parameter %s is not well encoded", name);
    return 0;
}

int http_query_find(const char *query, const char *name, char *ret, size_t ret_size, struct err *err)
{
    bool found = false;

    ret[0] = '\0';
    for (const char *pair = query; pair && *pair != '\0';) {
        size_t length = strcspn(pair, "&");
        if (has_name(pair, length, name)) {
            if (found)
                return err_set(err, -EINVAL, "the query parameter %s is given twice", name);
            int rc = decode_value(pair, length, name, ret, ret_size, err);
            if (rc < 0)
                return rc;
            found = true;
        }
        pair += length + (pair[length] == '&');
    }
    return found;
}
