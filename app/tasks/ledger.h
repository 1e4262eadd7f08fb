/* ledger.h - one transaction of the store, and what it makes true in memory when it is committed.
 *
 * How to use it: ledger_open; then ledger_begin, any number of changes, ledger_start_tasks, and
 * ledger_commit, after which the fields below say what is to be told; or ledger_rollback, after which it is
 * as if nothing had been.  ledger_close.
 * Threads: the committer's alone (open and close: the owner's), but for the queues' names and limits.
 * Invariants: counts and ranks in memory are those of the store, with what the transaction has changed. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/event.h"
#include "tasks/queues.h"
#include "tasks/store.h"
#include "tasks/task.h"

#define LEDGER_RUNNING_BUCKETS 4096

LIST_HEAD(task_running_list, task);

struct ledger_config {
    const struct config *config;
    const struct task_store_ops *ops;
    const char *where;
    const struct task_kind *const *kinds; /* NULL behind the last */
    /* How many started tasks that hold no thread have not had their turn yet; NULL: none ever. */
    size_t (*backlog)(void *arg);
    void *backlog_arg;
    bool
        leaves_running; /* nothing is recovered: what ran when the last owner ended is left to the next one */
};

struct ledger {
    struct ledger_config config;
    const struct task_store_ops *ops;
    struct task_store *store;
    struct task_queues queues;
    struct task_counts totals; /* over all queues */
    struct task_running_list
        running[LEDGER_RUNNING_BUCKETS]; /* by id: what has been started, a reference each */
    uint64_t running_bytes;              /* what the running ones take */
    uint64_t running_threads;            /* of these, those that hold a thread */
    uint64_t next_due_ms;                /* no scheduled task is due before; UINT64_MAX: there is none */
    bool is_short[TASK_LANE_COUNT]; /* the last look found no room for tasks of this lane, in any queue */
    uint64_t last_event;            /* the number of the last one that is stored */
    uint64_t kept_events;           /* none is stored before this number, as far as is known */
    bool is_tidied;                 /* it has just been looked */
    uint64_t tidy_ns;               /* when to look for what is too old */
    bool is_stale;                  /* a reload has failed: it is to be done before anything else */

    /* The transaction: */
    uint64_t number; /* of the transaction; another one each time */
    uint64_t now_ms; /* wall clock, one for all of it */
    uint64_t now_ns;
    bool may_start;
    bool is_recovering;
    struct task_list starting; /* with a reference each */
    size_t starting_count;
    int64_t threads_change;
    int64_t bytes_change;
    struct task_event *events; /* the first has the number last_event + 1 */
    size_t event_count;
    size_t event_capacity;
    struct task_list touched; /* through `in_touched`: running ones whose status has changed */
    struct task_list
        stopping;       /* through `in_stopping`: running ones that are to be told to end; a reference each */
    size_t interrupted; /* found running when the store was opened */
};

/* Opens the store and makes everything runnable that ran when its last owner ended, unless that is to be
 * left. */
must_check int ledger_open(struct ledger *ledger, const struct ledger_config *config, struct err *err);
void ledger_close(struct ledger *ledger);

must_check int ledger_begin(struct ledger *ledger, bool may_start, struct err *err);
must_check int ledger_commit(struct ledger *ledger, struct err *err);
void ledger_rollback(struct ledger *ledger);

/* ---- changes ---- */

/* Adds a task of which status.queue, .priority and .run_at_ms are set: scheduled, queued or, when nothing
 * is in its way, started. */
must_check int ledger_insert(struct ledger *ledger, struct task *task, struct err *err);

/* Starts a task that is queued. */
must_check int ledger_start(struct ledger *ledger, struct task *task, struct err *err);

/* Writes a move that the state machine allows, or a change within a state; on success task->status is `to`
 * with another version.  -ESTALE when the task is not there any more. */
must_check int ledger_move(struct ledger *ledger, struct task *task, const struct task_status *to,
                           const char *result, const char *error, struct err *err);

/* Gives `status` its place among those that wait: scheduled for its run_at_ms, or queued with a rank. */
void ledger_enqueue(struct ledger *ledger, const struct task *task, struct task_status *status);

/* The end of a task that waits or runs, in a final state: sees to its callback as well. */
must_check int ledger_finish(struct ledger *ledger, struct task *task, enum task_state state,
                             const char *result, const char *error, struct err *err);

/* Forgets a finished one. */
must_check int ledger_remove(struct ledger *ledger, const struct task *task, struct err *err);

/* Queues what is due, and starts what has room, in fair order. */
must_check int ledger_start_tasks(struct ledger *ledger, struct err *err);

/* Forgets some of what need not be kept any longer. */
must_check int ledger_prune(struct ledger *ledger, struct err *err);

/* Outside of a transaction, after a commit: gives a little of what has been forgotten back to the disk, when
 * it is time for that.  What fails shows with the next transaction. */
void ledger_shrink(struct ledger *ledger);

/* ---- questions ---- */

/* The task that runs under this id; NULL when there is none. */
struct task *ledger_find_running(const struct ledger *ledger, const struct uuid *id);

/* The task that this transaction starts under this id; NULL when there is none. */
struct task *ledger_find_starting(const struct ledger *ledger, const struct uuid *id);

/* Has a running task be told to end when this is committed. */
void ledger_stop_task(struct ledger *ledger, struct task *task);

uint64_t ledger_unfinished(const struct ledger *ledger);

/* How many more tasks of that lane may run, whatever their queue. */
size_t ledger_room(const struct ledger *ledger, unsigned lane);

/* Whether there is something to start or to queue now. */
bool ledger_has_work(struct ledger *ledger, uint64_t now_ns, uint64_t now_ms);

/* When there will be, at the latest (clock_now_ns time). */
uint64_t ledger_next_ns(const struct ledger *ledger, uint64_t now_ns, uint64_t now_ms);

/* ---- after a commit ---- */

/* The events that have become true are lent: `events`, `event_count`, until the next begin. */

/* Takes the started tasks into `running`, and out of the list. */
void ledger_take_started(struct ledger *ledger, struct task_list *ret_started);

/* A task does not run any more: its reference in `running` goes. */
void ledger_forget_running(struct ledger *ledger, struct task *task);
