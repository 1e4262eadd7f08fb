/* part_value.h - what a part has brought as a value of the answer.
 *
 * JSON stays the text that came, without a tree and with every digit: `select` finds a piece of it, `pick`
 * and `drop` leave out of that when it is written.  Any other text is written as a string, nothing as null.
 * So a value costs no memory beside the bytes that it was made of, which have been counted when they came.
 *
 * How to use it: part_value_read when the bytes are there, part_value_append for the answer.
 * Threads: any; it does not change after it was read.
 * Ownership: a value lends the bytes. */
#pragma once

#include "base/buf.h"
#include "base/json_text.h"
#include "config/config.h"

/* Bytes from a service, and what it says that they are. */
struct part_bytes {
    const char *data;
    size_t size;
    bool is_whole;
    const char *content_type; /* NULL: it does not say */
    const char *charset;      /* "": likewise */
};

struct part_value {
    struct json_piece json;  /* selected, nothing left out yet; size 0: it is a text */
    struct part_bytes bytes; /* the text */
};

/* Returns NULL when it is set; else why not: "bad_json", "bad_select" or "not_an_object" (which it
 * `must_be_object`, null is one too), with a text for people in `err`. */
const char *part_value_read(const struct config_part *config, bool must_be_object,
                            const struct part_bytes *bytes, struct part_value *ret, struct err *err);

/* Appends it as JSON, as `pick` and `drop` have it. */
void part_value_append(struct buf *out, const struct config_part *config, const struct part_value *value);

/* json_text_next over the members that are kept; none when it is no object. */
bool part_value_next(const struct config_part *config, const struct part_value *value, size_t *at,
                     struct json_member *ret);
