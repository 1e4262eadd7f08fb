/* batch_split.h - the elements of a batch, one after the other: of a JSON array, or the lines of NDJSON.
 *
 * It looks at no more than where elements begin and end, so that each can be parsed, and refused, by itself,
 * and a large batch is never in memory as a tree of values.
 * Threads: one at a time per object.  Ownership: the text is lent, elements are parts of it. */
#pragma once

#include "base/common.h"
#include "base/err.h"

struct batch_split {
    const char *text;
    size_t size;
    size_t at; /* what comes next */
    bool is_lines;
    bool has_begun;
    bool has_ended;
};

void batch_split_init(struct batch_split *split, const char *text, size_t size, bool is_lines);

/* The next element, without the white space around it.  1, or 0 when there is none, or -EINVAL when the text
 * is no array: what begins an element is an element, whether it is JSON or not, but brackets must match and
 * commas stand between. */
must_check int batch_split_next(struct batch_split *split, const char **ret, size_t *ret_size,
                                struct err *err);
