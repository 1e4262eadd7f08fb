/* task.h - a task: what was asked for, and where it stands.
 *
 * How to use it: task_create for a new one, task_ref for each further holder, task_unref.
 * Ownership: counted references; texts belong to the task.
 * Threads: what was asked for never changes and may be read by any holder; the rest has an owner, named
 * below.
 * Invariants: ids grow in the order in which tasks are created, within a store and over restarts. */
#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/common.h"
#include "base/err.h"
#include "base/uuid.h"
#include "tasks/kind.h"
#include "tasks/state.h"

/* Where a task stands.  A run is one time that it was started: its number is the fencing token, so that what
 * comes from an old run is known as such.  A run that ended, well or not, was an attempt; one that the end of
 * the process broke off is none. */
struct task_status {
    enum task_state state;
    unsigned run;           /* how often it was started */
    unsigned attempts;      /* the same without the runs that were broken off */
    unsigned interruptions; /* runs that a crash has broken off */
    uint64_t started_ms;    /* wall clock; 0: not yet */
    uint64_t finished_ms;   /* 0: not yet */
};

/* A change on its way to the committer (committer.h). */
struct task_op {
    TAILQ_ENTRY(task_op) in_list;
    const struct task_op_type *type;
    struct task *task;
    struct task_status to;
    char *result;                     /* JSON text on the heap, or NULL */
    char *error;                      /* on the heap, or NULL */
    int rc;                           /* 0, or why it has been refused: a negative errno value */
    void (*done)(struct task_op *op); /* it has been committed, or refused */
};

TAILQ_HEAD(task_op_list, task_op);

struct task {
    _Atomic unsigned refs;

    /* Set at creation, then read-only: */
    struct uuid id;
    const char *kind_name;
    uint64_t created_ms; /* wall clock */
    const char *payload; /* JSON text; NULL where a list leaves it out */

    /* The committer's, once it is accepted; of one that was read from the store, the reader's: */
    struct task_status status;
    char *result; /* JSON text; NULL unless read and succeeded */
    char *error;  /* the last one; NULL unless read and there was one */

    /* The pool's, while it runs: */
    const struct task_kind *kind;
    uint64_t accepted_ns; /* 0: by an earlier process */
    uint64_t ready_ns;    /* since when it could go on */
    uint64_t started_ns;  /* when this run began */
    TAILQ_ENTRY(task) in_list;
    struct task_op end; /* what is to be written when it has ended */

    char text[]; /* the kind's name and the payload */
};

TAILQ_HEAD(task_list, task);

/* Makes a task with copies of the texts (`payload` may be NULL), one reference and an empty status.  NULL
 * when out of memory. */
must_check struct task *task_create(const struct uuid *id, const char *kind_name, const char *payload,
                                    uint64_t created_ms);

struct task *task_ref(struct task *task);

/* The last reference frees.  NULL is fine. */
void task_unref(struct task *task);
