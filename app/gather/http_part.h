/* http_part.h - parts that are calls to upstreams.
 *
 * How to use it: fill in part.call as upstream_submit wants it, with part.part.ops = &http_part_ops; the part
 * succeeds when its call does.  Who has to make the call first, or to look into its reply, has ops of his
 * own.
 * Threads: a part is its gather's while it runs (gather.h). */
#pragma once

#include "gather/gather.h"
#include "upstream/upstream.h"

struct http_part {
    struct part part;
    struct upstream_call call; /* all that the caller of upstream_submit sets but `done` and `arg` */
};

/* Needs `upstreams` for all parts of a gather: the first member of what gather_arg gives. */
struct http_context {
    struct upstreams *upstreams;
};

extern const struct part_ops http_part_ops;

static inline struct http_part *http_part_of(const struct part *part)
{
    return container_of(part, struct http_part, part);
}
