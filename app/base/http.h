/* http.h - the small grammars of HTTP: reason phrases, media types, query strings (RFC 9110, RFC 3986).
 *
 * Threads: any.  Nothing here allocates.  Media types come from upstreams and are read leniently; queries
 * come from clients and are read strictly. */
#pragma once

#include "base/common.h"
#include "base/err.h"

/* "Not Found" for 404.  A status without an entry is named after its class ("Client Error"), one outside of
 * 100..599 is "Unknown Status".  Static memory. */
const char *http_reason_phrase(int status);

struct http_media_type {
    char type[64];    /* lower case; "" when there is none or it does not fit, as in all three */
    char subtype[64]; /* lower case */
    char charset[48]; /* as written, without quotes */
};

/* Reads a Content-Type such as `Text/HTML; charset="UTF-8"`.  NULL is an absent header.  What is malformed
 * is passed over: a broken type still leaves a charset behind it to be found.  The first charset counts. */
void http_content_type_parse(const char *value, struct http_media_type *ret);

/* True for application/json and application/...+json, with or without parameters. */
must_check bool http_is_json(const char *content_type);

/* Decodes %XX; every other byte stands for itself.  Returns the length of the result, which has a NUL behind
 * it; -EINVAL for a bad escape or a NUL byte, -ENOSPC when it does not fit into `ret_size` bytes with its
 * NUL.  On failure what is in `ret` means nothing. */
must_check int http_percent_decode(const char *text, size_t size, char *ret, size_t ret_size);

/* Finds the parameter `name` in a query string such as `limit=20&after=a%2Fb` (NULL is an empty one) and
 * decodes its value, where `+` is a space.  Returns 1 when it is there and 0 when it is not, `ret` is then
 * "" (ret_size is at least 1); -EINVAL with a text for the client when it is given twice, is badly encoded
 * (bad escapes, NUL, not UTF-8) or does not fit. */
must_check int http_query_find(const char *query, const char *name, char *ret, size_t ret_size,
                               struct err *err);
