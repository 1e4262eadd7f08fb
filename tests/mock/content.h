/* content.h - bodies of any size that take up no memory.
 *
 * A segment is a stretch of bytes that repeats: so a body of 1 GiB is one segment over a small constant
 * block, and a body compressed to gzip is three (see content.c).
 *
 * Ownership: a segment with `data` NULL lies in a text that its reader must have at hand; all others are
 * constant from content_init to the end of the process. */
#pragma once

#include "text.h"

#define SEGMENT_NO_PERIOD UINT32_MAX

struct segment {
    const char *data; /* NULL: the text */
    uint64_t start;   /* byte i is data[(start + i) % period] */
    uint64_t len;
    uint32_t period;
};

struct content {
    struct segment parts[3];
    unsigned count;
    uint64_t len;
};

void content_init(void);

/* `len` bytes that start at `start` of the text. */
struct content content_of_text(size_t start, size_t len);

/* 0-9a-zA-Z, a minus sign and a newline, again and again. */
struct content content_of_pattern(uint64_t len);

/* 1 GiB of them compresses to 1 MiB. */
struct content content_of_zeros(uint64_t len);

/* What any of the above compresses to. Adds to `text` what is not constant. */
struct content content_gzip(const struct content *plain, struct text *text);
