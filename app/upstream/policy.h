/* policy.h - what a policy is: a state for each upstream and functions that are asked at certain moments.
 *
 * A new one is a file with a `struct upstream_policy` and a row in policies.c.
 *
 * All functions are called with the upstream's lock held.  They only look at their arguments and change their
 * state: no clock, no I/O, no callbacks, so a test gives them any time it likes.  What is NULL is not asked.
 * Ownership: the state is the policy's from init (it is zeroed before) to done. */
#pragma once

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "config/config.h"
#include "fetch/fetch.h"
#include "metrics/metrics.h"
#include "upstream/latency.h"

/* May an attempt be sent now? */
struct policy_ask {
    uint64_t now_ns;
    uint64_t deadline_ns;
    unsigned in_flight; /* attempts of the upstream */
    unsigned waiting;   /* before it in the queue */
    bool is_waiting;    /* it is the first in the queue */
    bool is_hedge;      /* beside one that runs; is not queued */
};

enum policy_verdict {
    POLICY_PASS,
    POLICY_WAIT,   /* into the queue, and asked again when an attempt has ended */
    POLICY_REFUSE, /* for ever */
};

struct policy_refusal {
    enum fetch_reason reason;
    uint64_t retry_after_s;
    char text[FETCH_ERROR_SIZE];
};

/* An attempt is sent. */
struct policy_start {
    uint64_t now_ns;
    unsigned tries; /* this one included, hedges not */
    bool is_hedge;
};

/* What the end of an attempt says about its upstream. */
enum policy_health { HEALTH_UNKNOWN, HEALTH_GOOD, HEALTH_BAD };

/* An attempt has ended. */
struct policy_end {
    uint64_t now_ns;
    uint64_t elapsed_ns;
    enum policy_health health;
    bool is_hedge;
    bool wins;           /* it answers the call */
    bool is_overtaken;   /* cancelled for another that was faster, although it had its time */
    const char *chosen;  /* the address it was sent to first; "": there was no choice */
    const char *address; /* of its connection; "": none */
};

/* The last attempt of a call has failed. */
struct policy_failure {
    uint64_t now_ns;
    uint64_t deadline_ns;
    uint64_t typical_ns; /* what an answer usually takes; 0: unknown */
    unsigned tries;
    bool is_idempotent;
    enum fetch_reason reason;
    int status;
    uint64_t retry_after_s;
};

/* To which address? */
struct policy_choice {
    uint64_t now_ns;
    const char *const *addresses;
    size_t count;
    const char *avoid; /* where an attempt for the same call is or has failed; "": none */
};

/* What makes two calls the same; equal ones share a flight. */
struct policy_key {
    uint64_t hash;
    size_t size;
    const void *bytes;
    LIST_ENTRY(policy_key) link;
};

/* More than there are policies. */
#define POLICIES_MAX 8

struct upstream_policy {
    const char *name; /* its member of GET /upstreams */
    size_t state_size;
    bool (*is_on)(const struct config_upstream *config);

    /* `config` lives as long as the state, `label` is the upstream's value in metrics. */
    must_check int (*init)(void *state, const struct config_upstream *config, size_t label, struct err *err);
    void (*done)(void *state);

    /* For each attempt, in the order of the table; the first that does not pass decides.  Nothing is sent
     * yet, so nothing is counted here. */
    enum policy_verdict (*admit)(void *state, const struct policy_ask *ask, struct policy_refusal *ret);
    /* `ret_mark` is given back with the attempt's end. */
    void (*started)(void *state, const struct policy_start *start, uint64_t *ret_mark);
    /* Returns what the log should say, or NULL. */
    const char *(*ended)(void *state, const struct policy_end *end, uint64_t mark);

    /* The pause before another attempt; CLOCK_NEVER: none is made. */
    uint64_t (*retry_after_ns)(void *state, const struct policy_failure *failure);
    /* How long an attempt may run before a second one is sent beside it; CLOCK_NEVER: for ever. */
    uint64_t (*hedge_after_ns)(void *state, const struct latency *latency, uint64_t now_ns);
    /* The index of an address. */
    size_t (*choose)(void *state, const struct policy_choice *choice);

    /* The key of a flight that a call with this one may join; NULL: none. */
    struct policy_key *(*join)(void *state, const struct policy_key *key);
    /* A flight may be joined, from now on; not any more. */
    void (*open)(void *state, struct policy_key *key);
    void (*close)(void *state, struct policy_key *key);

    /* Appends a JSON value. */
    void (*append_json)(void *state, uint64_t now_ns, struct buf *out);

    struct metric *metrics; /* rows whose first label, `upstream`, has no values yet */
    size_t metric_count;
};

/* In the order in which they are asked; NULL behind the last. */
extern const struct upstream_policy *const upstream_policies[];

extern const struct upstream_policy policy_coalesce;
extern const struct upstream_policy policy_breaker;
extern const struct upstream_policy policy_bulkhead;
extern const struct upstream_policy policy_retry;
extern const struct upstream_policy policy_hedge;
extern const struct upstream_policy policy_addresses;

/* Numbers for jitter and choices: splitmix64, which needs any seed. */
static inline uint64_t policy_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
