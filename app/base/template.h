/* template.h - texts with places for values: "/users/{id}/orders?limit={query.limit:10}".
 *
 * A placeholder is `{source}` or `{source:default}`; `{{` and `}}` are braces.  Its source is one of
 *     id               a path parameter: [A-Za-z_][A-Za-z0-9_]*
 *     query.NAME       a parameter of the query, of at most 63 bytes
 *     header.NAME      a header of the request
 *     body.POINTER     a place in the JSON body, by JSON Pointer: body./customer/id
 *     PART.POINTER     a place in what the part PART has brought: profile./data/account
 * "query", "header" and "body" cannot be names of parts.  The default is all behind the first colon up to
 * the closing brace, and may be empty.  Within a placeholder there are no braces.
 *
 * How to use it: template_parse when the configuration is read, template_render for each request with a
 * function that knows the values.
 * Threads: a parsed template never changes and may be shared.  Ownership: template_free; nothing of the
 * text is lent. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"

enum template_source { TEMPLATE_PATH, TEMPLATE_QUERY, TEMPLATE_HEADER, TEMPLATE_BODY, TEMPLATE_PART };

struct template_place {
    enum template_source source;
    char *text;     /* the source as it is written, "query.limit": the same text means the same value */
    char *name;     /* of the parameter, header or part; "" for TEMPLATE_BODY */
    char *pointer;  /* for TEMPLATE_BODY and TEMPLATE_PART: "" (all) or "/..."; NULL for the others */
    char *fallback; /* the default; NULL when there is none */
};

/* Where the text goes to, which decides how values are escaped. */
enum template_use {
    /* Every byte of a value but RFC 3986's unreserved becomes %XX; values that make a segment ".", ".." or ""
     * are refused, since they would change which resource is meant.  The text around them stays as it is
     * written, with its own escapes, slashes and "?"; what no URL may have becomes %XX. */
    TEMPLATE_USE_PATH,
    /* The value of one parameter: all but unreserved becomes %XX, in the text around values too. */
    TEMPLATE_USE_QUERY,
    /* As it is; control characters but tab, and bytes above 0x7e, are refused. */
    TEMPLATE_USE_HEADER,
    /* As it is. */
    TEMPLATE_USE_TEXT,
};

struct template;

#define TEMPLATE_MAX_BYTES  8192
#define TEMPLATE_PLACES_MAX 64

/* Reads a source alone, as rows of parameters name it: "query.limit".  `ret` is for template_place_done,
 * and has no default. */
must_check int template_place_parse(const char *source, struct template_place *ret, struct err *err);
void template_place_done(struct template_place *place);

/* Returns 0, -EINVAL with what is wrong and where ("column 7: ..."), -ERANGE for one that is too long or
 * has too many places, or -ENOMEM. */
must_check int template_parse(const char *text, struct template **ret, struct err *err);
void template_free(struct template *template);

size_t template_place_count(const struct template *template);
const struct template_place *template_place(const struct template *template, size_t i);

/* The text of the template when it has no placeholders, with braces undoubled; else NULL. */
const char *template_constant(const struct template *template);

/* Whether the template is one placeholder and nothing else, so that it can stand for a value of any type. */
bool template_is_single(const struct template *template);

/* Finds the value of a place: a borrowed JSON value, or NULL when there is none (then the default counts). */
typedef const json_t *(*template_lookup_fn)(const struct template_place *place, void *arg);

/* Appends the text with the values in their places.  Strings go in as they are, integers, reals and
 * booleans as JSON writes them; null counts as no value; objects and arrays are refused.  -EINVAL with a
 * text that names the place when it has neither value nor default, or the value cannot stand there;
 * -ENOMEM, and -ERANGE when out->max does not hold it.  `out` is as it was when it fails. */
must_check int template_render(const struct template *template, enum template_use use,
                               template_lookup_fn lookup, void *arg, struct buf *out, struct err *err);

/* JSON text, of any value, whose strings may be templates: {"customer": "{id}", "note": "for {id}"}.  A
 * string that is a single placeholder becomes the value itself, of whatever type, null included, or its
 * default as a string; any other string becomes a string.  Names of members are no templates. */
struct json_template;
must_check int json_template_parse(const char *text, struct json_template **ret, struct err *err);
void json_template_free(struct json_template *template);
size_t json_template_place_count(const struct json_template *template);
const struct template_place *json_template_place(const struct json_template *template, size_t i);

/* As template_render, but -ERANGE also when memory for `out` is short.  Appended is one JSON value. */
must_check int json_template_render(const struct json_template *template, template_lookup_fn lookup,
                                    void *arg, struct buf *out, struct err *err);
