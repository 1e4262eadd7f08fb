/* json_text.h - looking into JSON text without making a tree of it.
 *
 * A tree costs ten to twenty times the memory of its text, most of the time that it takes to pass an answer
 * on, and the digits of numbers that no double holds.  Who only has to know whether a text is JSON, where a
 * member is, or which members there are, finds out here; what is found is a piece of the text itself.
 *
 * How to use it: json_text_check, then the other calls on what it gave.
 * Threads: any.  Ownership: pieces are lent by the text. */
#pragma once

#include "base/common.h"
#include "base/err.h"

/* Objects and arrays inside one another. */
#define JSON_TEXT_DEPTH_MAX 512

/* One value, without white space around it. */
struct json_piece {
    const char *text;
    size_t size;
};

/* 0 when `text` is one JSON value (RFC 8259) in UTF-8, with white space around it or a byte order mark before
 * it.  Refused are also halves of surrogate pairs, which are no text, and more than JSON_TEXT_DEPTH_MAX
 * levels; numbers may be as large as they like.  -EINVAL with what is wrong and where. */
must_check int json_text_check(const char *text, size_t size, struct json_piece *ret, struct err *err);

/* All below want a piece of text that has been checked. */

/* The place that a JSON Pointer means, as json_pointer_get has it; of members with the same name the last
 * one. */
bool json_text_find(struct json_piece json, const char *pointer, struct json_piece *ret);

bool json_text_is_object(struct json_piece json);
bool json_text_is_array(struct json_piece json);

struct json_member {
    struct json_piece name; /* as it is written, in quotes */
    struct json_piece value;
};

/* The next member of an object, or element of an array (which has no name).  `at` is 0 for the first one.
 * False behind the last one. */
bool json_text_next(struct json_piece json, size_t *at, struct json_member *ret);

/* Whether a string, as it is written, means these bytes. */
bool json_text_equals(struct json_piece string, const char *bytes, size_t size);

/* Writes what a string means to `ret`, which has room for string.size bytes, and returns how many those are.
 * There may be NULs among them. */
size_t json_text_decode(struct json_piece string, char *ret);
