/* part_value.h - what a part has brought as a value of the answer: JSON text.
 *
 * JSON stays the text that came, without a tree and with every digit; select, pick and drop cut it out.  Any other
 * text becomes a string, nothing becomes null.
 *
 * How to use it: part_value_read once for each part, part_value_done at its end.
 * Threads: one at a time per value; afterwards it may be read by all.
 * Ownership: a value lends from the bytes that it was made of when it `is_lent`, else it owns its text. */
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
    struct json_piece json; /* size 0: none */
    bool is_lent;
    struct buf text; /* its own */
};

/* Returns NULL when it is set; else why not: "bad_json", "bad_select", "not_an_object" (which it `must_be_object`,
 * null is one too), "too_large" (what becomes of a text has more than max_bytes and a little) or "overloaded" (out
 * of memory), with a text for people in `err`. */
const char *part_value_read(const struct config_part *config, bool must_be_object, const struct part_bytes *bytes,
                            size_t max_bytes, struct part_value *ret, struct err *err);
void part_value_done(struct part_value *value);
