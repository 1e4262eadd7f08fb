/* gather.h - one fan-out: its parts, how many run at once, cancellation, and the one place where results
 * meet.
 *
 * How to use it: gather_create, gather_start; `done` is called once when every part has ended; then look at
 * the results with gather_result and give the gather back with gather_unref.
 * Threads: gather_cancel, _ref and _unref from any thread at any time; gather_result only after `done`.
 * Ownership: counted references; gather_create gives one to the caller.  Who may call gather_cancel holds
 * its own.
 * Invariants: `done` is called exactly once after gather_start, cancelled or not; the results are in the
 * order in which the parts ended. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "fetch/fetch.h"

struct gather;

/* On a fetch worker, or inside gather_start; must not block. */
typedef void (*gather_done_fn)(struct gather *gather, void *arg);

struct gather_options {
    struct fetch_pool *pool;
    struct fetch_target *const *targets; /* lent until `done` */
    size_t count;
    unsigned max_concurrency;     /* parts in flight at once; 0: all */
    size_t keep_max_bytes;        /* of each body */
    fetch_may_visit_fn may_visit; /* of each part, whose `arg` is the gather; NULL: all may */
    void (*part_ended)(
        void *arg); /* a part that was started is about to have ended: on a fetch worker, several
                                    * at a time, never after `done`; must not block.  May be NULL */
    gather_done_fn done;
    void *arg;
};

must_check int gather_create(const struct gather_options *options, struct gather **ret_gather,
                             struct err *err);
void gather_start(struct gather *gather);

/* Ends it early: parts that run end as FETCH_CANCELLED within milliseconds, the others at once.  Also before
 * gather_start and after `done`. */
void gather_cancel(struct gather *gather);

size_t gather_count(const struct gather *gather);
/* The i-th part that ended. */
const struct fetch *gather_result(const struct gather *gather, size_t i);

/* The `arg` of its options. */
void *gather_arg(const struct gather *gather);

struct gather *gather_ref(struct gather *gather);
void gather_unref(struct gather *gather);
