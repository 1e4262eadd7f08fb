/* buf.h - a growable run of bytes with a ceiling and a sticky failure.
 *
 * How to use it: `cleanup(buf_done) struct buf buf = BUF_INIT(max);`, append as often as needed, then look
 * at buf.failed once: an append after a failure does nothing, so the middle of a builder needs no checks.
 * Ownership: the bytes belong to the buffer; buf_done frees them, buf_take hands them to the caller.
 * Threads: one at a time per object.
 * Invariants: size <= capacity <= max; a zeroed struct is an empty buffer whose max is 0 (takes nothing). */
#pragma once

#include "base/common.h"

struct buf {
    char *data; /* NULL while nothing was appended */
    size_t size;
    size_t capacity;
    size_t max;  /* bytes it may hold at the most */
    bool failed; /* an append did not fit under max, or malloc failed */
};

#define BUF_INIT(max_bytes)                                                                                  \
    {                                                                                                        \
        .max = (max_bytes)                                                                                   \
    }

/* Frees the bytes and leaves an empty buffer with the same max. */
void buf_done(struct buf *buf);

/* Makes room for `size` more bytes; false (and buf->failed) when that is over max or out of memory. */
bool buf_reserve(struct buf *buf, size_t size);

void buf_append(struct buf *buf, const void *data, size_t size);
void buf_append_str(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Removes the first `size` bytes (size <= buf->size). */
void buf_consume(struct buf *buf, size_t size);

/* Returns the bytes with a NUL behind them and empties the buffer; NULL when it has failed.  The caller frees
 * the result. */
char *buf_take(struct buf *buf);
