/* Calls: what a fetch with a request of its own sets at libcurl's handle and takes back behind it, and which
 * headers it may have. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fetch/fetch_int.h"

/* ---- which headers a caller may set ---- */

/* libcurl's, or about this one connection and not about the request (RFC 9110, section 7.6.1). */
static const char *const owned_headers[] = {
    "Accept-Encoding", "Connection", "Content-Length",    "Expect",  "Host",    "HTTP2-Settings",
    "Keep-Alive",      "TE",         "Transfer-Encoding", "Trailer", "Upgrade",
};

static bool is_owned(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(owned_headers); i++)
        if (strcasecmp(name, owned_headers[i]) == 0)
            return true;
    return strncasecmp(name, "Proxy-", 6) == 0;
}

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static bool has_control_characters(const char *text)
{
    for (; *text; text++)
        if ((*text > 0 && *text < ' ' && *text != '\t') || *text == 0x7f)
            return true;
    return false;
}

int fetch_header_check(const char *name, const char *value, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    parse_quote(name, strlen(name), quoted);
    if (!is_token(name))
        return err_set(err, -EINVAL, "%s is not the name of a header", quoted);
    if (is_owned(name))
        return err_set(err, -EINVAL, "the header %s cannot be set: it is made for the connection", quoted);
    if (strlen(name) + strlen(value) > FETCH_HEADER_MAX_BYTES)
        return err_set(err, -ERANGE, "the header %s has more than %d bytes", quoted, FETCH_HEADER_MAX_BYTES);
    if (has_control_characters(value))
        return err_set(err, -EINVAL, "the value of the header %s has a line break or a control character",
                       quoted);
    return 0;
}

/* ---- the headers of a transfer ---- */

/* `line` is "Name: value". */
static bool is_named(const char *line, const char *name)
{
    size_t length = strlen(name);

    return strncasecmp(line, name, length) == 0 && line[length] == ':';
}

static bool is_given(const struct fetch_call *call, const char *name)
{
    for (const char *const *line = call->headers; line && *line; line++)
        if (is_named(*line, name))
            return true;
    return false;
}

/* What goes along to another origin than the one it was meant for: nothing that could be a secret. */
static bool may_leave_origin(const char *line)
{
    return is_named(line, "Accept") || is_named(line, "Accept-Language") || is_named(line, "User-Agent");
}

static bool add(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer)
        *list = longer;
    return longer != NULL;
}

/* libcurl takes "Name:" for the wish to leave its own header out, and "Name;" for an empty value. */
static bool add_own(struct curl_slist **list, const char *line)
{
    size_t length = strcspn(line, ":");
    char empty[FETCH_HEADER_MAX_BYTES + 2];

    if (line[length] == '\0' || line[length + 1 + strspn(line + length + 1, " \t")] != '\0')
        return add(list, line);
    snprintf(empty, sizeof(empty), "%.*s;", (int)MIN(length, (size_t)FETCH_HEADER_MAX_BYTES), line);
    return add(list, empty);
}

static bool make_headers(struct transfer *transfer)
{
    const struct fetch *fetch = transfer->fetch;
    const struct fetch_call *call = fetch->call;
    bool is_elsewhere = fetch->hop && strcmp(fetch->hop->origin_key, fetch->target->origin_key) != 0;
    struct curl_slist **list = &transfer->headers;
    bool is_made = add(list, "Expect:") && (is_given(call, "Content-Type") || add(list, "Content-Type:"));

    for (const struct curl_slist *ours = transfer->worker->pool->headers; ours && is_made; ours = ours->next)
        if (!is_named(ours->data, "User-Agent") || !is_given(call, "User-Agent"))
            is_made = add(list, ours->data);
    for (const char *const *line = call->headers; line && *line && is_made; line++)
        if (!is_elsewhere || may_leave_origin(*line))
            is_made = add_own(list, *line);
    return is_made;
}

/* ---- the request ---- */

static bool is_method(const struct fetch_call *call, const char *method)
{
    return strcmp(call->method, method) == 0;
}

bool call_follows_redirects(const struct fetch_call *call)
{
    return is_method(call, "GET") || is_method(call, "HEAD");
}

/* Without a body these still say so, with Content-Length: 0 (RFC 9110, section 8.6). */
static bool has_content(const struct fetch_call *call)
{
    return call->body_size > 0 || is_method(call, "POST") || is_method(call, "PUT") ||
           is_method(call, "PATCH");
}

static CURLcode set_method(struct transfer *transfer, const struct fetch_call *call)
{
    CURL *easy = transfer->easy;

    if (is_method(call, "HEAD")) {
        /* libcurl would compare the length of a body that does not come. */
        transfer_set_max_bytes(transfer, 0);
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    if (has_content(call)) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body_size > 0 ? call->body : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_size);
    }
    return is_method(call, "GET") ? CURLE_OK : curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
}

bool call_set(struct transfer *transfer)
{
    const struct fetch_call *call = transfer->fetch->call;

    assert(call->body_size == 0 || !call_follows_redirects(call));
    if (!make_headers(transfer) || set_method(transfer, call) != CURLE_OK)
        return false;
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return true;
}

void call_unset(struct transfer *transfer)
{
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L); /* which takes NOBODY back as well */
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->worker->pool->headers);
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
}

/* ---- the answer ---- */

void call_read_answer(struct transfer *transfer)
{
    struct fetch *fetch = transfer->fetch;
    const char *content_type = NULL;

    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &content_type);
    free(fetch->content_type);
    fetch->content_type = content_type ? strndup(content_type, FETCH_CONTENT_TYPE_MAX_BYTES) : NULL;
}
