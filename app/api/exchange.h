/* exchange.h - a request that is answered by a gather: at its end, or part by part as they end.
 *
 * How to use it: embed one; exchange_choose; make the gather with the three callbacks below and the exchange
 * as their `arg`; exchange_run.
 * Ownership: the exchange lives as long as its gather: who embeds it frees it when the last reference to the
 * gather is gone (`release`).  exchange_run takes the request and the creator's reference.
 * Threads: as gather.h. */
#pragma once

#include <stdatomic.h>

#include "api/accept.h"
#include "base/buf.h"
#include "base/clock.h"
#include "front/stream.h"
#include "gather/gather.h"

struct exchange;

/* What is answered.  Called when the parts that are asked for have ended. */
struct exchange_ops {
    /* All of it, as JSON; returns the status.  May add headers to the request. */
    int (*append_answer)(struct buf *out, struct request *req, const struct exchange *exchange);
    /* For streams: JSON about one part, and what comes behind the last; each without a line break. */
    void (*append_part)(struct buf *out, const struct exchange *exchange, const struct part *part);
    void (*append_summary)(struct buf *out, const struct exchange *exchange);
};

struct exchange {
    const struct exchange_ops *ops;
    struct gather *gather;
    uint64_t start_ns;

    /* its own: */
    enum reply_format format;
    struct request *req; /* until the answer has begun */
    /* of a stream: */
    struct request_stream *stream; /* the work's reference */
    atomic_size_t ended;           /* parts */
    atomic_bool is_done;
    /* in `fill` only: */
    struct buf event;
    size_t written; /* of `event` */
    size_t told;    /* parts */
    bool is_told_all;
};

/* Begins: from now on time counts.  False when the request has been answered, since its client takes none of
 * the forms. */
must_check bool exchange_init(struct exchange *exchange, const struct exchange_ops *ops, struct request *req);
void exchange_done(struct exchange *exchange);

/* A gather_part_ended_fn: always to be given, also when nothing is streamed. */
void exchange_part_ended(struct gather *gather, struct part *part, void *exchange);
/* The gather has ended. */
void exchange_end(struct exchange *exchange);

/* Starts the gather and sees to the answer.  Takes the request, and the reference. */
void exchange_run(struct exchange *exchange, struct gather *gather);

static inline uint64_t exchange_elapsed_ns(const struct exchange *exchange)
{
    return clock_now_ns() - exchange->start_ns;
}
