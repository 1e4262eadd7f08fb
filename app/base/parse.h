/* parse.h - strict texts to numbers, for configurations, command lines and requests.
 *
 * A text is a number from its first byte to its last or it is refused: no blanks, signs, 0x, exponents or
 * leading zeros, no "4k", no silent overflow.  The error says what is wrong and what is allowed.
 * Threads: any.  Ownership: nothing is kept. */
#pragma once

#include "base/common.h"
#include "base/err.h"

enum parse_kind {
    PARSE_UINT,     /* 4096 */
    PARSE_DURATION, /* 250ms 10s 5m 1h: milliseconds */
    PARSE_SIZE,     /* 512 64KiB 1MiB 1GiB: bytes */
    PARSE_MODE,     /* 0660: octal file mode */
    PARSE_KIND_COUNT,
};

/* Reads `text` into *ret_value when it is a number of that kind and from min to max.  Otherwise -EINVAL, or
 * -ERANGE, with a text such as
 *     "10" has no unit; write a duration such as 250ms, 10s or 5m (1ms to 1h) */
must_check int parse_number(enum parse_kind kind, const char *text, uint64_t min, uint64_t max,
                            uint64_t *ret_value, struct err *err);

/* The same for a decimal fraction, such as 2, 0.25 or 10.5, with at most 6 digits behind the point.
 * `max` is at most UINT32_MAX. */
must_check int parse_decimal(const char *text, uint64_t min, uint64_t max, double *ret_value,
                             struct err *err);

/* The value of a hexadecimal digit in either case, -1 for any other character. */
must_check int parse_hex_digit(char c);

/* The shortest text that parse_number reads as `value`: 90000 milliseconds is 90s. */
#define PARSE_TEXT_SIZE 32
void parse_format(enum parse_kind kind, uint64_t value, char ret_text[PARSE_TEXT_SIZE]);

/* What a number of that kind is called, with its article: "a duration". */
const char *parse_noun(enum parse_kind kind);

/* `text` in quotes for an error message: bytes that are not printable ASCII become \xNN, and what is long is
 * cut. */
#define PARSE_QUOTED_SIZE 192
const char *parse_quote(const char *text, size_t size, char ret_quoted[PARSE_QUOTED_SIZE]);
