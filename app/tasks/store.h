/* store.h - where tasks are kept: what a store must do, whichever database it is.
 *
 * The store keeps rows and knows nothing of what a task may do next: the state machine (state.h) is run by
 * the committer, which writes each step of it by `move`.  A step says which state and run it comes from, and
 * a row that is not there (any more) is not touched: that is the fence against the late end of an old
 * attempt.
 *
 * How to use it: find the row with task_store_find, open; then begin, any number of changes and questions,
 * and commit.  Readers are for everybody who only looks, and see what has been committed.
 * Threads: a store belongs to one thread, and so does each reader; any number of readers may be in use.
 * Ownership: tasks handed out belong to the caller, one reference each; what is handed in is lent for the
 * call.  Tasks that come out have kind NULL.
 * Errors: 0 (or the count that is named) or, with `err` set,
 *     -ENOSPC   the disk is full: the caller rolls back; what is stored is whole
 *     -ENOMEM   the same for memory
 *     -ENOLCK   somebody else has locked the database for long: the same
 *     -ESTALE   move and the like: the row is in another state or run: nothing was changed, the
 *               transaction goes on
 *     -EEXIST   insert: an unfinished task has the same unique key: the same
 *     others    the store can not be trusted any more (I/O, a failed fsync, corruption): give up
 * After an error other than -ESTALE and -EEXIST the caller rolls back.
 * Invariants: what commit returned 0 for survives a crash of the process and of the machine. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/event.h"
#include "tasks/task.h"

struct task_store;
struct task_reader;

/* Tasks as the store has counted them, by state, for each queue. */
struct task_counts {
    uint64_t by_state[TASK_STATE_COUNT];
};

/* A queue as the store knows it. */
struct task_queue_row {
    task_queue_id id;
    char name[TASK_NAME_MAX_BYTES + 1];
    bool is_paused;
    struct task_counts counts;
};

/* What was said to a request with an Idempotency-Key. */
struct task_idempotent {
    uint8_t request_hash[32]; /* SHA-256 of what was asked for */
    struct uuid id;           /* of the task that was made */
    uint64_t at_ms;           /* wall clock */
    uint64_t started_ms;      /* of the task, when it was accepted; 0: it was not running */
    uint8_t state;            /* the same */
    uint64_t batch;           /* a number that the caller gives */
};

/* Which tasks a list is to show. */
struct task_filter {
    int state;           /* an enum task_state, or -1: all */
    int queue;           /* a task_queue_id, or -1: all */
    const char *kind;    /* or NULL */
    const char *tag;     /* or NULL */
    struct uuid after;   /* older than this one; {0}: from the newest on */
    bool with_documents; /* payloads and results as well */
};

struct task_store_ops {
    const char *scheme; /* "sqlite": what stands before the colon in the configuration */

    /* Opens the store at `where`, makes it when there is none, brings its schema up to date, and takes hold
     * of it: -EBUSY, saying by whom, when another process has it. */
    int (*open)(const char *where, struct task_store **ret, struct err *err);
    /* Lets go of it.  NULL is fine. */
    void (*close)(struct task_store *store);

    int (*begin)(struct task_store *store, struct err *err);
    int (*commit)(struct task_store *store, struct err *err);
    void (*rollback)(struct task_store *store);

    /* Some space on the disk is kept back, so that what runs can be finished when it is full.  `free_reserve`
     * gives it to the database; `keep_reserve` takes it again, -ENOSPC while there is none.  Both outside of
     * transactions. */
    void (*free_reserve)(struct task_store *store);
    int (*keep_reserve)(struct task_store *store, struct err *err);

    /* ---- tasks ---- */

    /* Adds a task as it is. */
    int (*insert)(struct task_store *store, const struct task *task, struct err *err);

    /* Gives the task the status `to`, if it has the state and run of task->status (where task->spec is not
     * looked at); `result` (JSON text) and `error` are kept when they are not NULL. */
    int (*move)(struct task_store *store, const struct task *task, const struct task_status *to,
                const char *result, const char *error, struct err *err);

    /* The task of that id with its payload, without its past.  1, or 0 when there is none. */
    int (*find)(struct task_store *store, const struct uuid *id, struct task **ret, struct err *err);

    /* The unfinished task with that unique key, as find. */
    int (*find_unique)(struct task_store *store, const char *unique_key, struct task **ret, struct err *err);

    /* Up to `limit` queued tasks of a queue whose turn is first: the least priority, then the least rank,
     * then the oldest; only those that hold a thread, or only those that do not.  How many. */
    int (*first_queued)(struct task_store *store, task_queue_id queue, bool holds_thread, size_t limit,
                        struct task **ret, struct err *err);

    /* Up to `limit` scheduled tasks whose time has come, the earliest first.  How many. */
    int (*due)(struct task_store *store, uint64_t now_ms, size_t limit, struct task **ret, struct err *err);

    /* The time of the scheduled task that is due first.  1, or 0 when there is none. */
    int (*next_due)(struct task_store *store, uint64_t *ret_ms, struct err *err);

    /* Up to `limit` running tasks, of those after `after` in the order of their ids.  How many. */
    int (*running)(struct task_store *store, const struct uuid *after, size_t limit, struct task **ret,
                   struct err *err);

    /* Keeps a run that has ended in the task's past; one that is there already stays as it is. */
    int (*add_attempt)(struct task_store *store, const struct uuid *id, const struct task_attempt *attempt,
                       struct err *err);

    /* Forgets a finished task.  -ESTALE when there is none of that id, or it is not finished. */
    int (*remove)(struct task_store *store, const struct uuid *id, struct err *err);

    /* Forgets up to `limit` tasks in that final state that finished at or before `until_ms`, those first that
     * finished first; adds to `ret_by_queue` (TASK_QUEUE_MAX of them) how many.  How many in all. */
    int (*prune)(struct task_store *store, enum task_state state, uint64_t until_ms, size_t limit,
                 uint64_t *ret_by_queue, struct err *err);

    /* The greatest id of all tasks, {0} when there is none. */
    int (*greatest_id)(struct task_store *store, struct uuid *ret, struct err *err);

    /* ---- queues ---- */

    /* All of them, with their counts.  How many. */
    int (*queues)(struct task_store *store, struct task_queue_row ret[TASK_QUEUE_MAX], struct err *err);
    int (*add_queue)(struct task_store *store, const struct task_queue_row *queue, struct err *err);
    int (*pause_queue)(struct task_store *store, task_queue_id queue, bool is_paused, struct err *err);

    /* The ranks that were given last (queues.h), by queue and slot: as many as there are are passed to
     * `each`. */
    int (*ranks)(struct task_store *store,
                 void (*each)(void *arg, task_queue_id, unsigned slot, uint64_t rank), void *arg,
                 struct err *err);
    int (*set_rank)(struct task_store *store, task_queue_id queue, unsigned slot, uint64_t rank,
                    struct err *err);

    /* ---- what else is to survive ---- */

    /* 1, or 0 when there is none. */
    int (*find_key)(struct task_store *store, const char *key, struct task_idempotent *ret, struct err *err);
    /* Replaces what is there. */
    int (*put_key)(struct task_store *store, const char *key, const struct task_idempotent *value,
                   struct err *err);
    /* Forgets up to `limit` keys from before `until_ms`.  How many. */
    int (*prune_keys)(struct task_store *store, uint64_t until_ms, size_t limit, struct err *err);

    /* Keeps packed events whose first has the number `first`. */
    int (*add_events)(struct task_store *store, uint64_t first, const uint8_t *packed, size_t count,
                      struct err *err);
    /* Forgets events before `number`, at most `limit` blocks of them.  How many blocks. */
    int (*prune_events)(struct task_store *store, uint64_t number, size_t limit, struct err *err);
    /* The number of the last event, 0 when there has been none; never goes back. */
    int (*last_event)(struct task_store *store, uint64_t *ret, struct err *err);

    /* The tick that a schedule has come to.  1, or 0 when it has had none. */
    int (*find_tick)(struct task_store *store, const char *schedule, uint64_t *ret_ms, struct err *err);
    int (*put_tick)(struct task_store *store, const char *schedule, uint64_t ms, struct err *err);

    /* Gives a little of what has been freed in the file back to the disk, outside of transactions.  1 when
     * there was enough to be worth it, so that there may be more; or 0. */
    int (*shrink)(struct task_store *store, struct err *err);

    /* ---- readers ---- */

    int (*reader_open)(const char *where, struct task_reader **ret, struct err *err);
    void (*reader_close)(struct task_reader *reader);

    /* The task of that id with all there is.  1, or 0 when there is none. */
    int (*get)(struct task_reader *reader, const struct uuid *id, struct task **ret, struct err *err);

    /* Up to `limit` tasks, the newest first, without their past.  How many.  It looks at a bounded number of
     * rows: when more may follow `ret_next` is where to go on, else {0}. */
    int (*list)(struct task_reader *reader, const struct task_filter *filter, size_t limit,
                struct task **ret_tasks, struct uuid *ret_next, struct err *err);

    /* How many queued tasks of the same queue and kind of thread come before this queued one, counting no
     * further than `limit`. */
    int (*position)(struct task_reader *reader, const struct task *task, bool holds_thread, uint64_t limit,
                    uint64_t *ret, struct err *err);

    /* Up to `limit` running tasks of a queue, without documents.  How many. */
    int (*running_in)(struct task_reader *reader, task_queue_id queue, size_t limit, struct task **ret,
                      struct err *err);

    /* Passes the events from number `from` on to `each`, which returns false when it has enough.  Those that
     * have been forgotten are left out: the first may have a greater number. */
    int (*events)(struct task_reader *reader, uint64_t from,
                  bool (*each)(void *arg, const struct task_event *), void *arg, struct err *err);
};

extern const struct task_store_ops task_store_sqlite;

/* The store that a configured text such as `sqlite:run/tasks.db` names, and in `ret_where` what stands behind
 * the colon; NULL when there is none of that name. */
const struct task_store_ops *task_store_find(const char *text, const char **ret_where);
