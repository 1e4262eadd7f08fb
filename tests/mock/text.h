/* text.h - pieces of bytes, and text that is put together in a buffer of fixed size.
 *
 * A slice points into memory of somebody else and is not ended by a NUL. A text never grows: whoever makes
 * one knows the most it can hold, so an overflow is a bug and stops the program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slice {
    const char *at;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

struct text {
    char *at;
    size_t len;
    size_t max;
};

static inline void text_add(struct text *text, struct slice piece)
{
    if (piece.len > text->max - text->len) {
        fputs("mock-upstream: a text outgrew its buffer\n", stderr);
        abort();
    }
    memcpy(text->at + text->len, piece.at, piece.len);
    text->len += piece.len;
}

static inline bool slice_is(struct slice slice, struct slice other)
{
    return slice.len == other.len && memcmp(slice.at, other.at, other.len) == 0;
}

/* Adds `number` to base 10 or 16, without leading zeroes. */
void text_add_number(struct text *text, uint64_t number, unsigned base);

/* Adds `name`, which ends with the colon, and the number. */
void text_add_member(struct text *text, struct slice name, uint64_t number);

/* Adds `ns` as milliseconds, with only the decimals that are needed: 100, 0.5. */
void text_add_ms(struct text *text, int64_t ns);

/* Adds `piece` as a JSON string with its quotes. Bytes above 127 are taken for ISO-8859-1. */
void text_add_json(struct text *text, struct slice piece);

/* The part of `*rest` before `separator`, which is taken off `*rest` together with the separator. */
struct slice slice_take(struct slice *rest, char separator);

/* Reads all of `slice` as decimal digits. False, and `*ret_number` untouched: no number, or above `max`. */
bool slice_to_number(struct slice slice, uint64_t max, uint64_t *ret_number);
