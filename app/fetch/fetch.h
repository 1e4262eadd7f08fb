/* fetch.h - the shared fetch pool: thousands of HTTP transfers at once on a few threads.
 *
 * How to use it: fetch_target_create for each URL (once, they are shared), then for each transfer fill in a
 * `struct fetch` and fetch_submit it; `done` is called when it has ended, whichever way. fetch_cancel ends
 * it early.
 * Threads: fetch_submit and fetch_cancel from any thread; `done` runs on a fetch worker and must not block.
 * Ownership: a fetch belongs to the pool from fetch_submit until `done` is called with it; then to the
 * caller again, who calls fetch_done.  Its target and its call are lent until then, and freed by who frees
 * the fetch: a fetch must live until `done` anyway, so who makes a target for one fetch keeps both in one
 * object.
 * Invariants: `done` is called exactly once for each submitted fetch; a result has a body only when reason
 * is FETCH_OK, or FETCH_HTTP_STATUS for a call. */
#pragma once

#include <sys/queue.h>
#include <sys/socket.h>

#include "base/budget.h"
#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "base/pairing.h"
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
    FETCH_FORBIDDEN, /* an address that may_connect refuses */
    /* never from the pool itself, but from what stands before it (upstream/upstream.h): */
    FETCH_OVERLOADED,   /* refused without a try: too many wait already, or time would not suffice */
    FETCH_CIRCUIT_OPEN, /* refused without a try: the upstream has failed too often */
    FETCH_REASON_COUNT,
};

extern const char *const fetch_reason_names[FETCH_REASON_COUNT];

typedef void (*fetch_done_fn)(struct fetch *fetch);

/* Whether a redirect may be followed to `target`; false with a reason.  On a fetch worker, must not block. */
typedef bool (*fetch_may_visit_fn)(const struct fetch *fetch, const struct fetch_target *target,
                                   struct err *err);

/* Whether this address may be used; false with a reason.  Asked before anything is sent to it, and again
 * when the request is about to be sent, on a new connection or on one that was kept.  One that is refused
 * is passed over while the name has others; the fetch ends as FETCH_FORBIDDEN when none of those can be
 * connected to, or when the connection is one that was kept.  The address is never an IPv4 one in the form
 * of IPv6 (::ffff:1.2.3.4).  On a fetch worker, must not block. */
typedef bool (*fetch_may_connect_fn)(const struct fetch *fetch, const struct sockaddr *address,
                                     struct err *err);

/* Which of a name's addresses, at least two, is to be tried first: its index.  The others stand by, as happy
 * eyeballs (RFC 8305) has it, and connections are kept apart by the address that was chosen.  On a fetch
 * worker, must not block. */
typedef size_t (*fetch_choose_fn)(const struct fetch *fetch, const char *const *addresses, size_t count);

/* How a client speaks TLS to one upstream.  Shared by all threads; files are read when it is created and
 * again, by the fetch workers, within seconds after they have changed: then no connection of before is
 * used again.  A changed file that cannot be used is logged, and the one before stays in use.  It must
 * outlive the fetches. */
struct fetch_tls;
struct fetch_tls_options {
    const char *ca_file;   /* "": as fetch.ca_file */
    const char *cert_file; /* "": none */
    const char *key_file;  /* "": in cert_file */
    bool verify;
    bool http2;               /* may be spoken where it is offered */
    unsigned min_version_x10; /* 12, 13 */
};
/* -EINVAL or -errno with a text when a file cannot be used.  The strings are copied. */
must_check int fetch_tls_create(const struct config *config, const struct fetch_tls_options *options,
                                struct fetch_tls **ret_tls, struct err *err);
void fetch_tls_free(struct fetch_tls *tls);

#define FETCH_ERROR_SIZE   160
#define FETCH_CHARSET_SIZE 48
#define FETCH_ADDRESS_SIZE 46

/* Longer ones are refused. */
#define FETCH_HEADER_MAX_BYTES 8192

/* What is longer is cut. */
#define FETCH_CONTENT_TYPE_MAX_BYTES 255

/* A request that is more than a GET.
 *
 * Redirects are followed for GET and HEAD, as for any fetch; to another origin only Accept, Accept-Language
 * and User-Agent go along, for every other header may hold a secret.  For all other methods a redirect is
 * the answer: FETCH_OK with a status of 3xx.
 * A call can reach the upstream twice: libcurl sends it again when a connection that was kept is closed by
 * the upstream before the first byte of the answer. */
struct fetch_call {
    const char *method;         /* a token, in upper case: GET, HEAD, POST, PUT, ... */
    const char *const *headers; /* "Name: value", each as fetch_header_check allows; NULL behind the last, or
                                 * NULL when there are none */
    const void *body;           /* sent as it is; none for GET and HEAD */
    size_t body_size;
};

struct fetch {
    /* set by the caller: */
    const struct fetch_target *target;
    const struct fetch_call *call;    /* NULL: a plain GET */
    uint64_t timeout_ms;              /* for all of it; 0: the pool's */
    fetch_may_visit_fn may_visit;     /* a redirect that it forbids ends as FETCH_PROTOCOL; NULL: all may */
    fetch_may_connect_fn may_connect; /* NULL: all addresses may be used */
    /* These two hold for the origin of `target`, not where a redirect leads from there: */
    fetch_choose_fn choose;      /* NULL: the system's order */
    const struct fetch_tls *tls; /* NULL: as the configuration's `fetch` says */
    struct budget *budget; /* the kept body is taken from it as it comes; when that fails the fetch ends as
                            * FETCH_TOO_LARGE.  At `done` it is body.capacity bytes that were taken:
                            * fetch_done gives them back, or who has taken the body out.  NULL: not counted */
    size_t max_bytes;      /* of the body, decoded; more ends it as FETCH_TOO_LARGE; 0: fetch.max_response */
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
    char *content_type;               /* for a call; NULL when there is none */
    uint64_t retry_after_s; /* of a 429 or 503, and of any answer to a call: from Retry-After, be it seconds
                             * or a date; 0: none, or now */
    char address[FETCH_ADDRESS_SIZE]; /* of the connection, numeric; "" when there was none */
    bool is_reused;                   /* the connection had been used before */
    char error[FETCH_ERROR_SIZE];     /* for people; "" when reason is FETCH_OK */

    /* the pool's: */
    struct fetch_worker *worker;
    struct transfer *transfer; /* while libcurl works on it */
    struct origin *origin;     /* of the URL being fetched */
    struct route *route;       /* the way to it, while there is a transfer */
    struct fetch_target *hop;  /* where a redirect led, owned */
    unsigned redirects;
    uint64_t start_ns;
    uint64_t received_bytes;
    size_t charged_bytes;             /* taken from the budget for the body, until it is whole */
    union {                           /* from the inbox to the end, by when it times out: */
        TAILQ_ENTRY(fetch) live_link; /* those without a time-out of their own, oldest first */
        struct pairing_node live_node;
    };
    TAILQ_ENTRY(fetch) link; /* in the worker's inbox, then in an origin's waiting list */
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

/* Where a target leads, as libcurl will take it: escapes are decoded, addresses in odd forms (0x7f.1) are
 * written plainly. */
struct fetch_place {
    const char *host; /* a name, an IPv4 address, or an IPv6 address in brackets; lent by the target */
    unsigned port;    /* given, or the default of the scheme */
    bool is_tls;
    bool has_user; /* there is a user name or a password in the URL */
};
struct fetch_place fetch_target_place(const struct fetch_target *target);

/* 0 when a call may have this header; -EINVAL or -ERANGE with a text for the client when not: bad names, line
 * breaks and other control characters, and the headers that libcurl makes (Host, Content-Length, Connection,
 * Accept-Encoding, ...).  Any thread. */
must_check int fetch_header_check(const char *name, const char *value, struct err *err);

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
