/* upstream.h - calls to services that may be slow, broken, overloaded or hostile.
 *
 * A call is what a caller wants to know; an attempt is one fetch that is made for it.  Between the two stand
 * the policies of the upstream (policy.h): a bulkhead, a circuit breaker, retries, hedging, coalescing, the
 * choice of an address.
 *
 *     upstream_submit -> coalesce -> breaker -> bulkhead (or its queue) -> attempt -> fetch pool
 *                                                                   ^         |
 *                                     retry, hedge (through timers) +---------+--> done
 *
 * How to use it: upstreams_create for the configuration; fill in a `struct upstream_call` and upstream_submit
 * it; `done` is called when it has ended, whichever way; then look at call->reply and upstream_call_done.
 * Threads: upstream_submit and upstream_cancel from any thread.  `done` is called on a fetch worker, on the
 * timers' thread, inside upstream_submit (of a call that is refused at once) or inside upstreams_stop; it
 * must not block, and no lock is held.
 * Ownership: a call is the upstream's from upstream_submit until `done`; what its pointers point to is lent
 * until then.  A call ends when none of its attempts is in flight any more, so nobody holds what it has lent;
 * when it is coalesced with others copies are made.
 * Invariants: `done` is called exactly once for each call that was submitted.  call->reply is then set, also
 * when memory was short (there is a static one for that). */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"
#include "base/budget.h"
#include "base/common.h"
#include "base/err.h"
#include "config/config.h"
#include "fetch/fetch.h"
#include "metrics/metrics.h"

struct upstreams;
struct upstream;
struct upstream_call;

/* What came of a call; read-only and shared by those whose calls were coalesced. */
struct upstream_reply {
    atomic_uint refs;
    enum fetch_reason reason;
    int status;         /* of the last answer; 0 when there was none */
    char *content_type; /* NULL when there was none */
    char charset[FETCH_CHARSET_SIZE];
    struct buf body; /* as fetch.h has it: also of an answer that is an error, for a call with `request` */
    bool body_is_whole;
    uint64_t retry_after_s; /* also when we refuse by ourselves: when to come again, at least 1 */
    char error[FETCH_ERROR_SIZE];
};

typedef void (*upstream_done_fn)(struct upstream_call *call);

struct upstream_call {
    /* set by the caller; zero where it says nothing: */
    struct upstream *upstream;
    const struct fetch_target *target;
    const struct fetch_call *request; /* NULL: a plain GET without headers of its own */
    uint64_t deadline_ns;  /* for all of it; CLOCK_NEVER: none but the upstream's timeout for each attempt */
    uint64_t timeout_ms;   /* of an attempt; 0: the upstream's */
    size_t max_bytes;      /* 0: the upstream's */
    size_t keep_max_bytes; /* as fetch.h has it */
    struct budget
        *budget; /* may be NULL; must outlive the reply.  What is coalesced is taken from the outermost
                            * one instead, for it may be held by others */
    const char
        *traceparent;    /* of the client, "" for a new trace; each attempt sends its own span.  NULL: none is
                              * sent.  Only with `request` */
    bool tells_deadline; /* sends X-Request-Timeout, the seconds that are left.  Only with `request` */
    fetch_may_visit_fn may_visit; /* their fetch's `arg` is this call's `fetch_arg`.  A call with one of */
    fetch_may_connect_fn may_connect; /* these two is never coalesced */
    void *fetch_arg;
    upstream_done_fn done;
    void *arg;

    /* the result, valid from `done` on: */
    struct upstream_reply *reply; /* one reference is the call's */
    unsigned attempts;            /* that were sent, hedges included; 0: refused, or coalesced */
    bool is_coalesced;            /* another call's attempt answered it */
    bool is_hedged;               /* a second request was sent beside the first */
    uint64_t queued_ns;           /* in the bulkhead's queue */
    uint64_t elapsed_ns;          /* from upstream_submit to `done` */

    /* the upstream's; zero before: */
    uint64_t start_ns;
    /* guarded by its lock: */
    struct flight *flight; /* the attempts that work for it; NULL: none (any more) */
    bool is_cancelled;
    TAILQ_ENTRY(upstream_call) link;
};

/* `config` and `pool` are lent; the timers' thread is started by upstreams_start.
 *
 * upstreams_stop comes before fetch_pool_stop: calls that wait or rest between two attempts end as cancelled,
 * and those that are submitted from then on at once; what is in flight ends with the pool.  upstreams_free
 * comes behind it. */
must_check int upstreams_create(const struct config *config, struct fetch_pool *pool,
                                struct upstreams **ret_upstreams, struct err *err);
must_check int upstreams_start(struct upstreams *upstreams, struct err *err);
void upstreams_stop(struct upstreams *upstreams);
void upstreams_free(struct upstreams *upstreams);

/* The configured one of this name; NULL when there is none. */
struct upstream *upstreams_find(const struct upstreams *upstreams, const char *name);

/* Where a target belongs: the configured upstream with the same origin (the first, in the order of the file);
 * else the one made at the start for its origin, which each of concurrent_requests.urls has, with the
 * policies that are on by default and no limit of attempts in flight; else `others`, which has no breaker, no
 * retries and no limit, since its origins have nothing to do with one another. */
struct upstream *upstreams_of_target(const struct upstreams *upstreams, const struct fetch_target *target);

/* That one.  URLs that somebody else wrote belong to it whatever their origin: they are not fetched with what
 * a configured upstream knows heddle by, and their failures are not its. */
struct upstream *upstreams_others(const struct upstreams *upstreams);

const char *upstream_name(const struct upstream *upstream);
const struct config_upstream *upstream_config(const struct upstream *upstream);

/* Takes `count` calls, which may go to different upstreams; those that start at once do so together on one
 * fetch worker. */
void upstream_submit(struct upstreams *upstreams, struct upstream_call **calls, size_t count);

/* Asks for the end of a call: `done` comes soon, not from within, with FETCH_CANCELLED unless it has ended
 * otherwise by then.  The memory of the call must still be there, also when `done` has been called already.
 * A call that has not been submitted yet, or is just being submitted by another thread, ends as it is.
 * Others that share its attempt go on. */
void upstream_cancel(struct upstream_call *call);

/* Gives the reply back. */
void upstream_call_done(struct upstream_call *call);

struct upstream_reply *upstream_reply_ref(struct upstream_reply *reply);
void upstream_reply_unref(struct upstream_reply *reply);

/* Appends what GET /upstreams shows: {"upstreams": [{"name", "base_url", "in_flight", "queued",
 * "requests_total", ..., one object for each policy under its name, "addresses": [...]}]}. */
void upstreams_append_json(const struct upstreams *upstreams, struct buf *out);

/* Rows with a label `upstream`; its values are those of the configuration, so it comes first.  NULL gives
 * rows for METRICS.md. */
void upstreams_register_metrics(const struct config *config);
