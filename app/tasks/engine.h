/* engine.h - background tasks: on disk when they are accepted, done later by a few threads.
 *
 * How to use it: task_engine_create, task_engine_start; then task_engine_submit, _wish, _ask and _watch, all
 * of which answer later, by the `done` of what they are given.  To end: task_engine_drain, _stop, _free, in
 * this order; any of them may be left out, and an engine that was never started may be freed as well.
 * Threads: submit, wish, ask, watch, unwatch and the questions about queues from any; create, start, drain,
 * stop and free from one, the owner's.  No call blocks on the disk but create, start and stop.
 * Ownership: what is handed in (task_submit, task_wish, task_query, task_watcher) is lent until its `done` is
 * called, exactly once.  `done` is called on a thread of the engine's, or inside the call, must not block,
 * and may free what it is given.
 * Invariants: what was accepted is in the store and will be run, over any number of crashes; a task runs in
 * at most one thread at a time; one that waits holds no thread; memory is bounded by max_running tasks,
 * whatever the store holds. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/event.h"
#include "tasks/kind.h"
#include "tasks/op.h"
#include "tasks/readers.h"
#include "tasks/state.h"
#include "tasks/store.h"
#include "tasks/task.h"

struct task_engine;

struct task_engine_config {
    const struct task_store_ops *store;
    const char *where;                    /* for store->open; lent until the engine is freed */
    const struct task_kind *const *kinds; /* NULL behind the last; lent */
    const struct task_services *services; /* lent; services->config must be there */

    /* The store has failed: nothing is accepted any more, and the process should end and say so.  At most
     * once; on a thread of the engine's. */
    void (*failed)(void *arg);
    void *arg;
};

/* Opens the store, which makes all tasks runnable that ran when its last owner ended.  Returns 0, or a
 * negative errno value. */
must_check int task_engine_create(const struct task_engine_config *config, struct task_engine **ret,
                                  struct err *err);

/* Starts the threads; once only.  Returns 0, or -errno with none running.  Installs the fence's handlers. */
must_check int task_engine_start(struct task_engine *engine, struct err *err);

const struct task_services *task_engine_services(const struct task_engine *engine);
/* The kind of that name, NULL when there is none. */
const struct task_kind *task_engine_kind(const struct task_engine *engine, const char *name);

/* ---- submit ---- */

enum task_on_unique {
    TASK_UNIQUE_REJECT,  /* -EEXIST, with the task that is there */
    TASK_UNIQUE_RETURN,  /* 0, with the task that is there */
    TASK_UNIQUE_REPLACE, /* cancels the one that is there; -EEXIST when it runs already */
};

/* One task that is to be accepted. */
struct task_submission {
    /* Set by the caller: made by task_create, with `kind`, and of its status queue, priority and run_at_ms
     * set.  The reference goes to the engine, and comes back with `done`.  NULL: this one is no good, and rc
     * says so already (batches). */
    struct task *task;
    enum task_on_unique on_unique;

    /* What has come of it: 0 and the task, where it stood when it was committed; or -EEXIST and the task in
     * its way (is_existing), -EAGAIN: the queue is full, -ECANCELED: another of an atomic batch was no
     * good. */
    int rc;
    bool is_existing; /* `task` is one that was there before */
    struct task_status status;

    /* The engine's: */
    struct task *existing;
};

/* Tasks to be accepted together, in one commit. */
struct task_submit {
    /* Set by the caller: */
    void (*done)(struct task_submit *submit);
    struct task_submission *items;
    size_t count;                /* 0: a schedule's tick without a task */
    bool is_atomic;              /* all or none */
    const char *idempotency_key; /* or NULL; for one task only */
    uint8_t request_hash[32];    /* with a key: what was asked for */
    const char *schedule;        /* NULL, or: accept it only if this schedule has not come to tick_ms yet */
    uint64_t tick_ms;

    /* What has come of it: 0, and then each item's own; or, with `err` set, for all of them -EAGAIN (full),
     * -ENOSPC: the disk is full, -ESHUTDOWN, -ENOMEM, -EKEYREJECTED: the key was used for something else,
     * -EALREADY: the same key is being accepted, -ESTALE: the tick is over, or another negative errno value:
     * the store has failed. */
    int rc;
    struct err err;
    bool is_replay; /* the key was there: the item is what was answered then */

    /* The engine's: */
    struct task_engine *engine;
    struct task_op op;
};

/* Accepts tasks, which are on disk when submit->done is called with rc 0. */
void task_engine_submit(struct task_engine *engine, struct task_submit *submit);

/* Before the start only: the tick that a schedule has come to, 0 when it has had none. */
must_check int task_engine_last_tick(struct task_engine *engine, const char *schedule, uint64_t *ret_ms,
                                     struct err *err);

/* ---- wishes: changes to what is there ---- */

enum task_wish_type {
    TASK_WISH_CANCEL,      /* ends it: at once when it waits; when it runs, it is told to end */
    TASK_WISH_RETRY,       /* queues a dead or cancelled one again, with all its attempts */
    TASK_WISH_CHANGE,      /* priority, run_at, queue of a waiting one */
    TASK_WISH_REMOVE,      /* forgets a finished one */
    TASK_WISH_PAUSE_QUEUE, /* starts no more tasks of that queue, over restarts too */
    TASK_WISH_RESUME_QUEUE,
};

#define TASK_VERSION_ANY UINT32_MAX

struct task_wish {
    /* Set by the caller: */
    void (*done)(struct task_wish *wish);
    enum task_wish_type type;
    struct uuid id;      /* of the task */
    task_queue_id queue; /* of the queue; CHANGE: the new one */
    unsigned if_version; /* the version it must have, or TASK_VERSION_ANY */
    bool has_queue;      /* CHANGE: what is to be changed */
    bool has_priority;
    bool has_run_at;
    uint8_t priority;
    uint64_t run_at_ms;

    /* What has come of it: 0 and the task (not for queues), where it stands now; a cancelled one may still
     * run for a moment.  Or, with `err` set, -ENOENT; -EBUSY with the task: its state does not allow it;
     * -EEXIST: RETRY: another unfinished task has its unique key; -EILSEQ with the task: it has another
     * version; -EAGAIN, -ENOSPC, -ENOMEM, -ESHUTDOWN, or the store has failed. */
    int rc;
    struct err err;
    struct task *task;
    struct task_status status;

    /* The engine's: */
    struct task_engine *engine;
    struct task_op op;
};

void task_engine_wish(struct task_engine *engine, struct task_wish *wish);

/* ---- queues ---- */

struct task_queue_info {
    task_queue_id id;
    const char *name; /* lives as long as the engine */
    bool is_paused;
    unsigned concurrency; /* 0: no limit */
    double rate_per_s;    /* 0: no limit */
    unsigned weight;
    struct task_counts counts;
};

/* The queue of that name, or -ENOENT.  Those of the configuration, `default`, and those the store still
 * knows. */
int task_engine_find_queue(const struct task_engine *engine, const char *name);
const char *task_engine_queue_name(const struct task_engine *engine, task_queue_id queue);

/* All queues, as of the last commit.  How many. */
size_t task_engine_queues(struct task_engine *engine, struct task_queue_info ret[TASK_QUEUE_MAX]);

/* Whether all places for tasks of that kind are taken, whatever their queue, as of the last commit:
 * tasks.runners for those that hold a thread, tasks.max_running for all. */
bool task_engine_is_full(struct task_engine *engine, const struct task_kind *kind);

/* How many tasks there are in each state, as of the last commit. */
void task_engine_counts(struct task_engine *engine, struct task_counts *ret);

/* ---- questions ---- */

#define TASK_QUERY_LIMIT_MAX 1000

enum task_query_type {
    TASK_QUERY_GET,     /* tasks[0] */
    TASK_QUERY_LIST,    /* tasks, next */
    TASK_QUERY_EXPLAIN, /* tasks[0], and why it is where it is */
};

/* A question about what is stored. */
struct task_query {
    /* Set by the caller: */
    void (*done)(struct task_query *query);
    enum task_query_type type;
    struct uuid id;            /* GET, EXPLAIN */
    struct task_filter filter; /* LIST; its texts are lent */
    size_t limit;              /* LIST: 1 to TASK_QUERY_LIMIT_MAX */

    /* What has come of it: how many tasks there are (the caller's, to be given back), or a negative errno
     * value with `err` set. */
    int rc;
    struct err err;
    struct task **tasks;      /* on the heap, with the tasks for the caller to free */
    struct uuid next;         /* LIST: where the next page begins, {0}: there is none */
    uint64_t position;        /* EXPLAIN, queued: how many come before; counted up to TASK_POSITION_MAX */
    struct task *running[10]; /* EXPLAIN, queued: tasks of its queue that run; the caller's */
    size_t running_count;

    /* The engine's: */
    struct task_engine *engine;
    struct task_question question;
};

#define TASK_POSITION_MAX 100000

/* Looks at the store.  GET, EXPLAIN: no task when there is none of that id (any more). */
void task_engine_ask(struct task_engine *engine, struct task_query *query);

/* Gives back the tasks in what was answered. */
void task_query_done(struct task_query *query);

/* ---- watching ---- */

/* Somebody who wants to be told what happens. */
struct task_watcher {
    /* Set by the caller: */
    bool is_for_task; /* of the task `id` only; else of all tasks of `queue`, or all when it is -1 */
    struct uuid id;
    int queue;
    bool until_finished;  /* end after the first event in which the task is finished */
    uint64_t deadline_ns; /* end then; CLOCK_NEVER: not by time */
    uint64_t tick_ms;     /* 0, or: call `tick` about that often */
    bool has_after;       /* begin with the events after number `after`, from the store if need be */
    uint64_t after;

    /* The next events, in order, none twice, none left out.  False: it has enough, or cannot keep up.
     * NULL: nobody needs them. */
    bool (*events)(struct task_watcher *watcher, const struct task_event *events, size_t count);
    /* Whether it can take events now; if not it is asked again soon.  NULL: always. */
    bool (*is_ready)(struct task_watcher *watcher);
    /* False: end. */
    bool (*tick)(struct task_watcher *watcher);
    /* The end: why.  `events` and `tick` are not called any more. */
    void (*done)(struct task_watcher *watcher);
    int rc; /* 0: finished, enough, or unwatched; -ETIME: the deadline; -ESHUTDOWN; -EAGAIN: there are
               max_listeners already; -ENOMEM */

    /* The engine's: */
    struct task_watch_entry *entry;
};

/* Begins to watch.  Events that are committed after this call are told for certain; earlier ones as `after`
 * says.  `events`, `tick` and `done` are called from one thread at a time. */
void task_engine_watch(struct task_engine *engine, struct task_watcher *watcher);

/* Asks for the end; `done` follows soon, if it has not been called.  The memory of `watcher` must be there
 * still. */
void task_engine_unwatch(struct task_engine *engine, struct task_watcher *watcher);

/* ---- the end ---- */

/* Starts no more tasks from now on; what is accepted waits for the next process. */
void task_engine_pause(struct task_engine *engine);

/* Refuses new tasks, starts no more of those there are, and waits until those that run have ended;
 * at the latest until `deadline_ns`, and no longer than there is one that could still end by then.  Returns
 * how many still run. */
size_t task_engine_drain(struct task_engine *engine, uint64_t deadline_ns);

/* Drains until now, tells what runs to end, and joins all threads.  What has not ended goes back to be run
 * another time, which is not held against it.  Does nothing when stopped before. */
void task_engine_stop(struct task_engine *engine);

/* Stops, then frees everything and closes the store.  NULL is fine. */
void task_engine_free(struct task_engine *engine);
