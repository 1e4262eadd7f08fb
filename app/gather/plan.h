/* plan.h - an endpoint of the configuration made ready to run: templates parsed, upstreams found, the graph
 * of its parts.
 *
 * How to use it: plan_create at the start, for each endpoint; for each request arguments_create with
 * plan_rules, plan_run_create, then gather_start(plan_run_gather(run)); `done` is called when it has ended;
 * answer.h writes what came of it.
 * Threads: a plan never changes.  A run is one gather's (gather.h).
 * What a placeholder finds in another part is its value after `select` and before `pick` and `drop`, so that
 * what is not to be shown can be used.
 * Ownership: plan_run_create takes the arguments on success.  A run lives as long as its gather:
 * plan_run_gather gives a borrowed reference, and gather_unref of the last one frees the run. */
#pragma once

#include "gather/arguments.h"
#include "gather/gather.h"
#include "gather/part_value.h"
#include "upstream/upstream.h"

struct plan;
struct plan_run;

/* `endpoint`, `upstreams` and `process_budget` (which may be NULL) are lent.  The endpoint has been
 * checked. */
must_check int plan_create(const struct config_endpoint *endpoint, struct upstreams *upstreams,
                           struct budget *process_budget, struct plan **ret_plan, struct err *err);
void plan_free(struct plan *plan);
const struct config_endpoint *plan_endpoint(const struct plan *plan);

/* What it takes from a request, for arguments_create. */
const struct arguments_rules *plan_rules(const struct plan *plan);

/* Of the client's request.  Headers go along to the parts by the allow-lists of the endpoint and of the
 * part's upstream; they are asked for inside plan_run_create only. */
struct plan_client {
    uint64_t deadline_ns;    /* of the answer; the parts get a little less, so that it can be written */
    const char *traceparent; /* "" when the client sent none; copied */
    const char *request_id;  /* copied, sent as X-Request-Id */
    const char *(*header)(void *arg, const char *name); /* NULL: none */
    void *arg;
};

struct plan_run_options {
    struct arguments *arguments;
    struct plan_client client;
    gather_part_ended_fn part_ended; /* NULL, or to stream: plan_part_outcome(run, part->index) */
    void (*done)(struct plan_run *run, void *arg);
    void (*release)(void *arg); /* nothing of the run is used any more; may be NULL */
    void *arg;
};
must_check int plan_run_create(const struct plan *plan, struct plan_run_options *options,
                               struct plan_run **ret_run, struct err *err);
struct gather *plan_run_gather(const struct plan_run *run);
const struct plan *plan_run_plan(const struct plan_run *run);

/* Whether as many parts have succeeded as the endpoint's mode asks for.  After `done`. */
bool plan_run_is_complete(const struct plan_run *run);

/* What came of a part, of whatever kind, valid once it has ended. */
struct part_outcome {
    const struct config_part *config;
    enum part_state state;
    /* NULL when it has succeeded; else one of fetch_reason_names, or
     *     skipped          a part that it waits for has not succeeded
     *     bad_request      a value cannot stand in its template
     *     bad_json         the answer is none
     *     bad_select       nothing is where `select` points to
     *     not_an_object    for `merge: flat`
     *     duplicate_key    for `merge: flat`: an earlier part has brought one of its members, or it is named
     *                      `errors` or `complete`; known at `done` only */
    const char *reason;
    enum fetch_reason fetch_reason; /* FETCH_OK when the call did not fail */
    const char *error;              /* for people; "" */
    bool is_clients_fault;          /* of a bad_request: the value came from the client, not from a part */
    int status;                     /* of the upstream, 0: none */
    unsigned attempts;
    bool is_coalesced;
    bool is_hedged;
    uint64_t elapsed_ns; /* since it started, 0: it never did */
    uint64_t retry_after_s;
    const struct part_value *value; /* NULL when it has failed */
};
struct part_outcome plan_part_outcome(const struct plan_run *run, size_t index);
