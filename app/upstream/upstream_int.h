/* upstream_int.h - what the files of this folder share: upstreams, flights, attempts.
 *
 * A flight is what works for one call, or for several that were coalesced: attempts, the pauses between them,
 * the wait in the queue.
 *
 *             admit: wait                 a place is free
 *       NEW -------------> QUEUED -------------------------.
 *        |  admit: pass      ^                             v
 *        |-------------------|-------------------------> RUNNING --> ENDED (from every state)
 *                            | admit: wait     pass        |  ^
 *                            `---------- PAUSED <----------'  |
 *                                          |     retry        |
 *                                          `------------------'
 *
 * A flight ends when none of its attempts is in flight any more, also those that have lost: so what the calls
 * have lent is in no attempt's hands.  One that may be shared has copies instead, and tells calls that leave
 * early at once.
 *
 * Locks: each upstream has one, for all of its flights and policies.  Under it only the timers' lock is
 * taken, and the metrics' at a thread's first update.  What is to be done without it (fetches to send and to
 * cancel, calls to tell, lines to log) is collected in an outbox.
 * Ownership: a flight is counted: its life (until its calls have been told), its timer while that is set, an
 * outbox that sends or cancels one of its attempts, the reply while anybody has it.  Its attempts and the
 * reply are part of it.  Bodies end with the last reference to the reply, not with the flight. */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/timers.h"
#include "base/trace.h"
#include "upstream/latency.h"
#include "upstream/policy.h"
#include "upstream/upstream.h"

struct flight;
struct shared_request;

TAILQ_HEAD(call_list, upstream_call);
TAILQ_HEAD(flight_list, flight);
STAILQ_HEAD(flight_outbox, flight);

struct upstream {
    /* set before threads start, then read-only: */
    struct upstreams *upstreams;
    const char *name;
    size_t label; /* in metrics: its index */
    const struct config_upstream *config;
    struct fetch_tls *tls;

    pthread_mutex_t lock;
    /* guarded by lock: */
    unsigned in_flight; /* attempts */
    unsigned queued;
    struct flight_list queue;
    struct flight_list paused;
    struct latency latency;
    uint64_t requests_total;
    uint64_t attempts_total;
    uint64_t outcomes_total[FETCH_REASON_COUNT];
    void *states[POLICIES_MAX]; /* NULL: the policy is off */
};

struct upstreams {
    const struct config *config;
    struct fetch_pool *pool;
    struct timers *timers;
    struct config *defaults; /* where the policies of unconfigured upstreams come from */
    struct config_upstream implicit;
    struct config_upstream others;
    struct upstream *items; /* in the order of places.h */
    size_t count;
    struct places *places;
    atomic_bool is_stopping;
};

enum handover { HANDOVER_NEW, HANDOVER_SENT, HANDOVER_CANCELLED };

/* One fetch.  It is used once. */
struct attempt {
    struct fetch fetch; /* the pool's while is_running */
    struct flight *flight;
    atomic_int handover; /* enum handover: between who sends it and who cancels it */
    struct fetch_call call;
    void *headers; /* of `call`, when it has more than the caller's */
    uint64_t started_ns;
    uint64_t time_left_ms; /* for X-Request-Timeout */
    bool is_hedge;
    bool is_cut_short; /* its time-out is the call's deadline, not what an attempt may take */
    /* guarded by the upstream's lock: */
    bool is_running;
    bool is_cancelled;
    char address[FETCH_ADDRESS_SIZE]; /* that was chosen; "": no choice */
    uint64_t marks[POLICIES_MAX];
    SLIST_ENTRY(attempt) link;        /* of its flight */
    STAILQ_ENTRY(attempt) start_link; /* in outboxes */
    STAILQ_ENTRY(attempt) cancel_link;
};

/* What is asked for: lent by the call, or a copy. */
struct flight_request {
    const struct fetch_target *target;
    const struct fetch_call *call;
    const char *traceparent;
    bool tells_deadline;
    uint64_t timeout_ms;
    size_t max_bytes;
    size_t keep_max_bytes;
    struct budget *budget;
    fetch_may_visit_fn may_visit;
    fetch_may_connect_fn may_connect;
    void *fetch_arg;
};

enum flight_state { FLIGHT_NEW, FLIGHT_QUEUED, FLIGHT_RUNNING, FLIGHT_PAUSED, FLIGHT_ENDED };

struct flight {
    struct upstream_reply reply;
    atomic_uint refs;
    /* set when it is made: */
    struct upstream *upstream;
    struct flight_request request;
    struct shared_request *shared; /* NULL: it cannot be joined */
    struct policy_key key;         /* of `shared` */
    bool is_idempotent;
    /* guarded by the upstream's lock: */
    enum flight_state state;
    bool is_open;      /* may be joined */
    bool is_cancelled; /* nobody waits for it */
    bool is_too_late;  /* nobody waits for it: their time was over */
    bool is_hedged;
    struct call_list calls;   /* at least one until it has ended */
    struct call_list leavers; /* have left a flight that goes on, and are to be told */
    SLIST_HEAD(attempt_list, attempt) attempts;
    struct attempt *winner; /* whose result is the answer */
    struct attempt *last;   /* the last that has ended without one */
    unsigned running;
    unsigned tries;
    unsigned attempt_count;
    uint64_t deadline_ns;       /* the latest of its calls */
    uint64_t first_deadline_ns; /* none of its calls has an earlier one */
    uint64_t paused_until_ns;
    uint64_t hedge_at_ns; /* CLOCK_NEVER: not */
    uint64_t queued_since_ns;
    uint64_t queued_ns;
    struct timer timer;
    uint64_t timer_ns;        /* 0: it is not set */
    TAILQ_ENTRY(flight) link; /* in the queue, or among the paused */
    STAILQ_ENTRY(flight) outbox_link;
    struct attempt first;
};

/* ---- outbox.c ---- */

struct outbox {
    struct upstreams *upstreams;
    STAILQ_HEAD(start_list, attempt) starts;   /* with a reference each */
    STAILQ_HEAD(cancel_list, attempt) cancels; /* with a reference each */
    struct flight_outbox ended;
    struct call_list told; /* calls whose reply is set */
    uint64_t now_ns;
    const char *log_text; /* the last; NULL: nothing */
    const struct upstream *log_upstream;
    char log_address[FETCH_ADDRESS_SIZE];
};

void outbox_init(struct outbox *outbox, struct upstreams *upstreams, uint64_t now_ns);
/* Without any lock; the outbox is empty behind it. */
void outbox_flush(struct outbox *outbox);

/* ---- attempt.c ---- */

/* How long one may take, but for the deadline. */
uint64_t attempt_timeout_ms(const struct flight *flight);
/* Makes an attempt ready, all but its headers; NULL without memory. */
struct attempt *attempt_create_locked(struct flight *flight, uint64_t now_ns, bool is_hedge);
/* Makes its headers; without a lock.  False without memory. */
must_check bool attempt_prepare(struct attempt *attempt);
/* After the fetch has been submitted, by who did that.  */
void attempt_sent(struct attempt *attempt);
/* Ends the fetch as soon as it has been submitted; by one thread at most. */
void attempt_cancel(struct attempt *attempt);
/* Whether it was cancelled before it was sent. */
must_check bool attempt_is_cancelled(struct attempt *attempt);
/* What its end says about the upstream. */
enum policy_health attempt_health(const struct attempt *attempt, const struct latency *latency);
/* Whether another attempt was faster, although this one had as long as nearly all answers need. */
must_check bool attempt_is_overtaken(const struct attempt *attempt, const struct latency *latency);
/* Whether its result answers the call, however others end. */
must_check bool attempt_is_answer(const struct attempt *attempt);
void attempt_done(struct attempt *attempt);

/* ---- flight.c ---- */

/* With the call in its list; NULL without memory. */
struct flight *flight_create(struct upstream_call *call);
struct flight *flight_ref(struct flight *flight);
void flight_unref(struct flight *flight);
/* Nobody has the reply any more: frees the bodies. */
void flight_drop_reply(struct flight *flight);

/* Takes a flight that has just been made: it starts, waits, ends, or its call joins another. */
void flight_submit_locked(struct flight *flight, struct outbox *outbox);
/* The call is not interested any more. */
void flight_leave_locked(struct upstream_call *call, struct outbox *outbox);
/* Takes the upstream's lock. */
void flight_attempt_ended(struct attempt *attempt, struct outbox *outbox);
/* When all stops: what waits ends as cancelled. */
void flight_end_waiting_locked(struct upstream *upstream, struct outbox *outbox);
/* Tells the calls of one that has ended; without a lock. */
void flight_tell(struct flight *flight, uint64_t now_ns);

/* ---- shared.c: what flights that can be joined keep of their first call ---- */

/* The key of what the call asks for; NULL when it cannot be shared (or without memory: then it is not). */
struct shared_request *shared_create(const struct upstream_call *call, struct policy_key *ret_key);
/* Copies the rest: from now on the call is not needed any more.  `request` is what the call has lent, and
 * points to copies behind it.  False without memory. */
must_check bool shared_take(struct shared_request *shared, struct flight_request *request);
void shared_free(struct shared_request *shared);

/* ---- reply.c ---- */

/* Those that need no memory. */
enum reply_kind { REPLY_CANCELLED, REPLY_TIMEOUT, REPLY_QUEUE_TIMEOUT, REPLY_NO_MEMORY, REPLY_KIND_COUNT };

/* With a reference. */
struct upstream_reply *reply_static(enum reply_kind kind);
void reply_fill_as(struct upstream_reply *reply, enum reply_kind kind);
void reply_fill_refused(struct upstream_reply *reply, const struct policy_refusal *refusal);
/* What it points to stays the fetch's. */
void reply_fill_fetched(struct upstream_reply *reply, const struct fetch *fetch);

/* ---- policies.c ---- */

must_check int policies_init(struct upstream *upstream, struct err *err);
void policies_done(struct upstream *upstream);
enum policy_verdict policies_admit_locked(struct flight *flight, uint64_t now_ns, bool is_hedge,
                                          struct policy_refusal *ret);
void policies_started_locked(struct attempt *attempt, uint64_t now_ns);
const char *policies_ended_locked(struct attempt *attempt, const struct policy_end *end);
uint64_t policies_retry_after_ns_locked(struct upstream *upstream, const struct policy_failure *failure);
uint64_t policies_hedge_after_ns_locked(struct upstream *upstream, uint64_t now_ns);
struct policy_key *policies_join_locked(struct upstream *upstream, const struct policy_key *key);
void policies_open_locked(struct upstream *upstream, struct policy_key *key);
void policies_close_locked(struct upstream *upstream, struct policy_key *key);
size_t policies_choose(const struct fetch *fetch, const char *const *addresses, size_t count);
must_check bool policies_have_choice(const struct upstream *upstream);
must_check bool policies_share(const struct upstream *upstream);
void policies_append_json_locked(struct upstream *upstream, uint64_t now_ns, struct buf *out);

/* ---- upstream_metrics.c ---- */

void upstream_count_in_flight(const struct upstream *upstream, int change);
void upstream_count_queued(const struct upstream *upstream, int change);
void upstream_count_end(const struct upstream *upstream, const struct upstream_call *call);
