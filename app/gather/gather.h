/* gather.h - one fan-out: parts that depend on one another, how many run at once, when it is enough, and the
 * one place where results meet.
 *
 * A part is fetched or queried by what its `ops` say (http_part.h); this file knows nothing of how.  Parts
 * that wait for no other start at once, the others as soon as all that they wait for have succeeded; a part
 * behind one that has failed is skipped.
 *
 * How to use it: gather_create, gather_start; `part_ended` is called for each part and `done` once when every
 * part has ended; then look at the parts with gather_ended and give the gather back with gather_unref.
 * Threads: gather_cancel, _ref and _unref from any thread at any time; gather_ended only after `done`, or for
 * parts whose `part_ended` has been called.
 * Ownership: counted references; gather_create gives one to the caller.  Who may call gather_cancel holds its
 * own.  The parts are the caller's memory: they must live until the last reference is gone (`release` says
 * when).
 * Invariants: `done` is called exactly once after gather_start, cancelled or not; each part ends exactly
 * once; `part_ended` is called in the order in which the parts ended, one call at a time, never after `done`.
 * No lock is held while it or an op is called.  Neither `part_ended` nor `done` is called from within
 * gather_cancel. */
#pragma once

#include "base/common.h"
#include "base/err.h"

struct gather;
struct part;

enum part_state {
    PART_WAITING, /* not started: for others, or for a place below max_concurrency */
    PART_RUNNING,
    PART_OK,
    PART_FAILED,
    PART_SKIPPED,   /* a part that it waits for has not succeeded: it never ran */
    PART_CANCELLED, /* not needed any more, or the gather was cancelled */
    PART_STATE_COUNT,
};

struct part_ops {
    /* Starts parts that all have these ops, as one piece of work where that is cheaper.  Each ends by
     * part_end, exactly once, from any thread, also before this returns.  Must not block. */
    void (*start)(struct part **parts, size_t count);
    /* Asks for the end of a part: part_end comes soon.  At most once, after `start` has returned; the part
     * may have ended just before.  Must not call part_end itself, nor block. */
    void (*cancel)(struct part *part);
};

struct part {
    /* set by the caller: */
    const struct part_ops *ops;
    const uint16_t *after; /* indexes of the parts it waits for, each once; lent */
    size_t after_count;

    /* the gather's; to be read in `part_ended` of this part or later, or in its ops: */
    struct gather *gather;
    enum part_state state;
    size_t index;        /* in options.parts */
    uint64_t started_ns; /* 0: it never ran */
    uint64_t ended_ns;
    const struct part *cause; /* PART_SKIPPED: the part that has not succeeded */
    /* the gather's alone: */
    size_t waits_for; /* parts that have not succeeded yet */
    bool is_started;  /* `start` has returned */
    bool is_asked;    /* to end */
};

/* On any thread; must not block. */
typedef void (*gather_part_ended_fn)(struct gather *gather, struct part *part, void *arg);
typedef void (*gather_done_fn)(struct gather *gather, void *arg);

struct gather_options {
    struct part **parts; /* the array is lent until `release` */
    size_t count;
    unsigned max_concurrency; /* parts in flight at once; 0: all */
    size_t enough; /* successes after which the rest is cancelled: 1 for the first, N for a quorum; 0: all are
                    * waited for */
    gather_part_ended_fn part_ended; /* may be NULL */
    gather_done_fn done;
    void (*release)(void *arg); /* the last reference is gone; may be NULL */
    void *arg;
};

/* The graph has no cycle (a configuration has been checked); asserted. */
must_check int gather_create(const struct gather_options *options, struct gather **ret_gather,
                             struct err *err);
void gather_start(struct gather *gather);

/* Ends it early: parts that run are asked to end, the others end at once as PART_CANCELLED.  Also before
 * gather_start and after `done`. */
void gather_cancel(struct gather *gather);

/* For ops: the part has ended. */
void part_end(struct part *part, bool is_ok);

size_t gather_count(const struct gather *gather);
/* The i-th part that ended. */
struct part *gather_ended(const struct gather *gather, size_t i);
/* The part with this index in options.parts. */
struct part *gather_part(const struct gather *gather, size_t index);
/* Whether as many have succeeded as were asked for: `enough`, or all.  After `done`. */
bool gather_is_complete(const struct gather *gather);

/* The `arg` of its options. */
void *gather_arg(const struct gather *gather);

struct gather *gather_ref(struct gather *gather);
void gather_unref(struct gather *gather);
