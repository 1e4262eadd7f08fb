/* json.h - jansson with the limits and the wording of this program.
 *
 * How to use it: json_parse_body (or _value) on what a client sent, jansson's own calls in between,
 * json_dump for the answer.  Strings that are known to be valid UTF-8 (text.h makes them so) go in by
 * json_stringn_nocheck.
 * Ownership: the parsed value belongs to the caller (json_decref, or cleanup(json_decref_scope)).
 * Threads: any; one at a time per value. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"

/* Objects and arrays inside one another, the outermost included. */
#define JSON_DEPTH_MAX 32

/* A member's name that is repeated to the client: at most 40 bytes and the NUL. */
#define JSON_FIELD_SIZE 41

/* Parses the one JSON object (RFC 8259) that `text` must be.  Refused are also: duplicate keys, more than
 * JSON_DEPTH_MAX levels, numbers that overflow, and U+0000 in strings (most of what stores or prints a
 * string further on cannot hold it).
 * Returns 0, or -ERANGE for a number that no double or 64-bit integer holds (`ret_field` is then the name of
 * its member, "" where it has none or a long one), or -EINVAL for all else, both with a text for the client
 * such as
 *     line 1, column 17 (byte 16): duplicate object key near '"a"'
 * where column counts characters from 1 and byte counts bytes from 0, both at the first character that was
 * not read.  At most 40 bytes of the input are repeated, the text is always valid UTF-8.  -ENOMEM without
 * memory. */
must_check int json_parse_body(const char *text, size_t size, json_t **ret, char ret_field[JSON_FIELD_SIZE],
                               struct err *err);

/* The same for a JSON object or array. */
must_check int json_parse_value(const char *text, size_t size, json_t **ret, char ret_field[JSON_FIELD_SIZE],
                                struct err *err);

/* Whether there is nothing but white space. */
must_check bool json_is_blank(const char *text, size_t size);

/* Appends `json`, any value, compact: UTF-8 as it is, no `\/`, reals with as few digits as give them back
 * (1.003 stays short).  Values inside one another must be bounded, as json_parse_body sees to.
 * out->failed afterwards also when `json` or anything in it is NULL: a builder may leave its check to the
 * end. */
void json_dump(json_t *json, struct buf *out);

/* The same text without a tree, for answers that are made often: ten results cost 3 us this way and 26 us
 * when they are built and dumped.  The caller writes braces, commas and keys. */

/* Appends valid UTF-8 as a string with its quotes. */
void json_append_string(struct buf *out, const char *text, size_t size);

/* Appends a duration as seconds, rounded to microseconds: 1.003, 0.05, 2.0. */
void json_append_seconds(struct buf *out, uint64_t ns);

static inline void json_decref_scope(json_t **json)
{
    json_decref(*json);
}
