/* fetch.h - the shared fetch pool: thousands of HTTP transfers at once on a few threads.
 *
 * How to use it: fetch_target_create for each URL (once, they are shared), then for each transfer fill in a
 * `struct fetch` and fetch_submit it; `done` is called when it has ended, whichever way. fetch_cancel ends
 * it early.
 * Threads: fetch_submit and fetch_cancel from any thread; `done` runs on a fetch worker and must not block.
 * Ownership: a fetch belongs to the pool from fetch_submit until `done` is called with it; then to the
 * caller again, who calls fetch_done.  A target must outlive its fetches.
 * Invariants: `done` is called exactly once for each submitted fetch; a result has a body only when reason
 * is FETCH_OK. */
#pragma once

#include <sys/queue.h>

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "config/config.h"
#include "metrics/metrics.h"

struct fetch_pool;
struct fetch_target;
struct fetch;

/* Why a fetch failed, as answers and metrics name it. */
enum fetch_reason {
    FETCH_OK,
    FETCH_HTTP_STATUS, /* a 4xx or 5xx answer */
    FETCH_TIMEOUT,
    FETCH_DNS,
    FETCH_CONNECT,
    FETCH_TLS,
    FETCH_TOO_LARGE, /* more than max_response bytes, compressed or not */
    FETCH_PROTOCOL,  /* not HTTP, ended early, too many redirects, ... */
    FETCH_CANCELLED,
    FETCH_REASON_COUNT,
};

extern const char *const fetch_reason_names[FETCH_REASON_COUNT];

typedef void (*fetch_done_fn)(struct fetch *fetch);

#define FETCH_ERROR_SIZE   160
#define FETCH_CHARSET_SIZE 48

struct fetch {
    /* set by the caller: */
    const struct fetch_target *target;
    size_t keep_max_bytes; /* of the body; what is longer is counted and dropped */
    fetch_done_fn done;
    void *arg;

    /* the result, valid from `done` on: */
    enum fetch_reason reason;
    int status;          /* of the last answer; 0 when there was none */
    uint64_t elapsed_ns; /* from the start of the transfer, redirects and name look-ups included */
    struct buf body;     /* the first keep_max_bytes, decoded from gzip, not from its charset */
    bool body_is_whole;  /* nothing was dropped */
    char charset[FETCH_CHARSET_SIZE]; /* of the Content-Type; "" when it names none */
    char error[FETCH_ERROR_SIZE];     /* for people; "" when reason is FETCH_OK */

    /* the pool's: */
    struct fetch_worker *worker;
    struct transfer *transfer; /* while libcurl works on it */
    struct origin *origin;     /* of the URL being fetched */
    struct fetch_target *hop;  /* where a redirect led, owned */
    unsigned redirects;
    uint64_t start_ns;
    uint64_t received_bytes;
    TAILQ_ENTRY(fetch) live_link; /* from the inbox to the end, oldest first */
    TAILQ_ENTRY(fetch) link;      /* in the worker's inbox, then in an origin's waiting list */
    /* guarded by the worker's lock: */
    bool is_taken;  /* out of the inbox */
    bool is_closed; /* has ended: a cancel is too late */
    bool is_cancel_queued;
    TAILQ_ENTRY(fetch) cancel_link;
};

/* Checks and prepares an absolute http or https URL.  Shared by all threads, never changes. */
must_check int fetch_target_create(const char *url, struct fetch_target **ret_target, struct err *err);
void fetch_target_free(struct fetch_target *target);
const char *fetch_target_url(const struct fetch_target *target);

/* `config` is lent for the pool's life.  curl_global_init must have been called. */
must_check int fetch_pool_create(const struct config *config, struct fetch_pool **ret_pool, struct err *err);
must_check int fetch_pool_start(struct fetch_pool *pool, struct err *err);

/* Takes `count` fetches, which start together on one worker: one wake-up for all of them, and their results
 * meet without two processors passing cache lines to and fro.  Never blocks, never fails: what cannot be
 * started ends with a reason. */
void fetch_submit(struct fetch_pool *pool, struct fetch **fetches, size_t count);

/* Asks for the end of a submitted fetch: `done` will come soon, with FETCH_CANCELLED unless it has ended
 * otherwise by then.  The memory of `fetch` must still be there, also when `done` has been called already. */
void fetch_cancel(struct fetch *fetch);

/* Frees what a result holds. */
void fetch_done(struct fetch *fetch);

/* Cancels what is left, ends and joins the workers. */
void fetch_pool_stop(struct fetch_pool *pool);
void fetch_pool_free(struct fetch_pool *pool);

extern struct metric fetch_metrics[];
extern const size_t fetch_metrics_count;
