/* template.h - texts with places for values: "/users/{id}/orders?limit={query.limit:10}".
 *
 * A placeholder is `{source}` or `{source:default}`; `{{` and `}}` are braces.  Its source is one of
 *     id               a path parameter: [A-Za-z_][A-Za-z0-9_]*
 *     query.NAME       a parameter of the query
 *     header.NAME      a header of the request
 *     body.POINTER     a place in the JSON body, by JSON Pointer: body./customer/id
 *     PART.POINTER     a place in what the part PART has brought: profile./data/account
 * "query", "header" and "body" cannot be names of parts.  The default is all up to the closing brace, and may
 * be empty.
 *
 * How to use it: template_parse when the configuration is read, template_render for each request with a
 * function that knows the values.
 * Threads: a parsed template never changes and may be shared.  Ownership: template_free; nothing of the text
 * is lent. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"

enum template_source { TEMPLATE_PATH, TEMPLATE_QUERY, TEMPLATE_HEADER, TEMPLATE_BODY, TEMPLATE_PART };

struct template_place {
    enum template_source source;
    char *name;    /* of the parameter, header or part; "" for TEMPLATE_BODY */
    char *pointer; /* for TEMPLATE_BODY and TEMPLATE_PART: "" (all) or "/..."; NULL for the others */
    char *fallback; /* the default; NULL when there is none */
};

/* Where the text goes to, which decides how values are escaped. */
enum template_use {
    TEMPLATE_USE_PATH,   /* every byte but RFC 3986's unreserved becomes %XX; "." and ".." and "" as a whole
                          * segment are refused, since they would change which resource is meant */
    TEMPLATE_USE_QUERY,  /* likewise, all but unreserved */
    TEMPLATE_USE_HEADER, /* as it is; control characters but tab, and bytes above 0x7e, are refused */
    TEMPLATE_USE_TEXT,   /* as it is */
};

struct template;

#define TEMPLATE_MAX_BYTES  8192
#define TEMPLATE_PLACES_MAX 64

/* Returns 0, -EINVAL with what is wrong and where ("column 7: ..."), -ERANGE or -ENOMEM. */
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

/* Appends the text with the values in their places.  Strings go in as they are, integers, reals and booleans
 * as JSON writes them; null counts as no value; objects and arrays are refused.  -EINVAL with a text that
 * names the place when it has neither value nor default, or the value cannot stand there; -ENOMEM, and
 * -ERANGE when out->max does not hold it. */
must_check int template_render(const struct template *template, enum template_use use, template_lookup_fn lookup,
                               void *arg, struct buf *out, struct err *err);

/* JSON text whose strings may be templates, such as '{"customer": "{id}", "note": "for {id}"}': a string that
 * is a single placeholder becomes the value itself, of whatever type, any other string a string.  Names of
 * members are no templates. */
struct json_template;
must_check int json_template_parse(const char *text, struct json_template **ret, struct err *err);
void json_template_free(struct json_template *template);
size_t json_template_place_count(const struct json_template *template);
const struct template_place *json_template_place(const struct json_template *template, size_t i);
must_check int json_template_render(const struct json_template *template, template_lookup_fn lookup, void *arg,
                                    struct buf *out, struct err *err);
