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
#include "base/heap.h"
#include "base/uuid.h"
#include "tasks/kind.h"
#include "tasks/op.h"
#include "tasks/state.h"

#define TASK_PRIORITY_COUNT   10 /* 0 comes first */
#define TASK_PRIORITY_DEFAULT 5
#define TASK_NAME_MAX_BYTES   64  /* of a queue, a tenant, a tag */
#define TASK_KEY_MAX_BYTES    200 /* of a unique key, an idempotency key */

/* Queues are numbers inside the program, and names outside; the store keeps which is which. */
#define TASK_QUEUE_MAX 128
typedef uint16_t task_queue_id;

/* How long to wait before the next attempt: base * factor^(attempt - 1), at most max, and by up to `jitter`
 * of it more or less. */
struct task_backoff {
    uint64_t base_ms;
    double factor;
    uint64_t max_ms;
    double jitter;
};

/* What was asked for.  Texts are lent; NULL where there is none. */
struct task_spec {
    const char *kind_name;
    const char *payload; /* JSON text; NULL where a list leaves it out */
    const char *tenant;
    const char *unique_key; /* no two unfinished tasks have the same */
    const char *tags;       /* JSON text: an array of strings */
    const char *callback;   /* JSON text: {"url"} */
    const char *traceparent;
    const char *schedule; /* the name of the schedule that made it */
    uint64_t timeout_ms;  /* for one attempt; 0: none */
    unsigned max_attempts;
    struct task_backoff backoff;
};

/* Where a task stands.  A run is one time that it was started: its number is the fencing token, so that what
 * comes from an old run is known as such.  A run that ended, well or not, was an attempt; one that the end of
 * the process broke off is none. */
struct task_status {
    enum task_state state;
    unsigned run;           /* how often it was started */
    unsigned attempts;      /* the same without the runs that were broken off */
    unsigned interruptions; /* runs that a crash has broken off */
    unsigned version;       /* of all that is here: another one after each change; the ETag */
    task_queue_id queue;
    uint8_t priority;
    bool is_cancelled;    /* somebody wants a running one to end */
    uint64_t rank;        /* its turn among those queued with the same priority (queues.h) */
    uint64_t run_at_ms;   /* wall clock: not before; 0: at once */
    uint64_t started_ms;  /* wall clock; 0: not yet */
    uint64_t finished_ms; /* 0: not yet */
    double progress;      /* 0 to 1 */
};

/* So many of a task's last runs are kept. */
#define TASK_PAST_MAX 1000

/* A run that did not end the task. */
struct task_attempt {
    unsigned run;
    uint64_t started_ms;
    uint64_t finished_ms;
    bool was_interrupted; /* by the end of the process; else it failed */
    char *error;          /* NULL when there is none */
};

/* Why a run is to end before it has come to its end.  The first reason counts. */
enum task_stop {
    TASK_STOP_NONE,
    TASK_STOP_CANCEL,
    TASK_STOP_TIMEOUT,
    TASK_STOP_SHUTDOWN,
};

/* Where a task that runs is (pool.h). */
enum task_place {
    TASK_PLACE_NOWHERE,
    TASK_PLACE_RUNNABLE,
    TASK_PLACE_IN_HAND,
    TASK_PLACE_WAITING, /* for a time */
    TASK_PLACE_PENDING, /* for task_resume */
};

/* What came out of a run. */
enum task_outcome_type {
    TASK_OUTCOME_SUCCEEDED,
    TASK_OUTCOME_FAILED,
    TASK_OUTCOME_CANCELLED,
    TASK_OUTCOME_BROKEN_OFF, /* the program stops: it is run another time */
};

struct task_outcome {
    enum task_outcome_type type;
    char *result;            /* succeeded: JSON text on the heap */
    char *error;             /* failed: on the heap; NULL: memory was short */
    bool is_final;           /* failed: trying again is of no use */
    uint64_t retry_after_ms; /* failed: not before; 0: as the back-off says */
};

struct task_engine;
struct task_pool;
struct task_thread;

struct task {
    _Atomic unsigned refs;

    /* Set at creation, then read-only: */
    struct uuid id;
    uint64_t created_ms; /* wall clock */
    size_t bytes;        /* of memory */
    struct task_spec spec;
    const struct task_kind *kind; /* NULL: this program knows none of that name */

    /* The committer's, once it is accepted; of one that was read from the store, the reader's: */
    struct task_status status;
    char *result;              /* JSON text; NULL unless read and succeeded */
    char *error;               /* the last one; NULL unless read and there was one */
    struct task_attempt *past; /* earlier runs, oldest first; where the reader was asked for them */
    size_t past_count;
    TAILQ_ENTRY(task) in_list;     /* of a transaction, then the pool's */
    LIST_ENTRY(task) in_running;   /* of the ledger's table, while it runs */
    TAILQ_ENTRY(task) in_stopping; /* of a transaction */
    bool is_stopping;              /* it is in that list */
    TAILQ_ENTRY(task) in_touched;  /* of a transaction */
    uint64_t touched_in;           /* the number of the last transaction that changed it while it ran */
    struct task_status before;     /* its status before that */

    /* The pool's, while it runs: */
    struct task_pool *pool;
    enum task_place place;
    bool is_resumed; /* task_resume came while a thread had it in hand */
    struct heap_node timer;
    LIST_ENTRY(task) in_pool;
    uint64_t accepted_ns;            /* 0: by an earlier process */
    unsigned attempt;                /* of this run: the committer may be changing `status` */
    uint64_t ready_ns;               /* since when it could go on */
    uint64_t started_ns;             /* when this run began */
    uint64_t deadline_ns;            /* when it is to be ended; CLOCK_NEVER: not at all */
    uint64_t wake_ns;                /* waiting: the time; CLOCK_NEVER otherwise */
    uint64_t ends_ns;                /* waiting: not done before */
    void *state;                     /* the kind's */
    _Atomic int stop;                /* enum task_stop; any thread */
    struct task_thread *thread;      /* that has it in hand */
    _Atomic uint64_t progress_at_ns; /* when progress was last told */

    /* On its way to the committer: */
    struct task_engine *engine;
    struct task_op end_op;
    struct task_outcome outcome;
    struct task_op progress_op;
    atomic_bool is_progress_posted;
    _Atomic double progress;

    char text[]; /* the texts of `spec` */
};

TAILQ_HEAD(task_list, task);

/* Makes a task with copies of the texts, one reference and an empty status.  NULL when out of memory. */
must_check struct task *task_create(const struct uuid *id, const struct task_spec *spec, uint64_t created_ms);

struct task *task_ref(struct task *task);

/* The last reference frees.  NULL is fine. */
void task_unref(struct task *task);

/* How long to wait before the attempt after `attempt` (1 for the first), in ms; `random` is from 0 to 1. */
uint64_t task_backoff_ms(const struct task_backoff *backoff, unsigned attempt, double random);
