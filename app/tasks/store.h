/* store.h - where tasks are kept: what a store must do, whichever database it is.
 *
 * The store keeps rows and knows nothing of what a task may do next: the state machine (state.h) is run by
 * the committer, which writes each step of it by `move`.  A step says which state and run it comes from, and
 * a row that is not there (any more) is not touched: that is the fence against the late end of an old
 * attempt.
 *
 * How to use it: find the row with task_store_find, open; then begin, any number of insert, move and the
 * questions, and commit.  Readers are for everybody who only looks, and see what has been committed.
 * Threads: a store belongs to one thread, and so does each reader; any number of readers may be in use.
 * Ownership: tasks handed out belong to the caller; those handed in are lent for the call.
 * Errors: 0 (or the count that is named) or, with `err` set,
 *     -ENOSPC   the disk is full: the transaction has been rolled back, what is stored is whole
 *     -ENOMEM   the same for memory
 *     -ESTALE   move: the row is in another state or run: nothing was changed, the transaction goes on
 *     others    the store can not be trusted any more (I/O, a failed fsync, corruption): give up
 * Invariants: what commit returned 0 for survives a crash of the process and of the machine. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/task.h"

struct task_store;
struct task_reader;

/* Tasks as the store has counted them, by state. */
struct task_counts {
    uint64_t by_state[TASK_STATE_COUNT];
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

    /* Adds a task as it is. */
    int (*insert)(struct task_store *store, const struct task *task, struct err *err);

    /* Gives the task of that id the status `to`, if it has the state and run of `from`; `result` (JSON text)
     * and `error` are kept when they are not NULL. */
    int (*move)(struct task_store *store, const struct uuid *id, const struct task_status *from,
                const struct task_status *to, const char *result, const char *error, struct err *err);

    /* The queued task that comes first: the least priority, then the oldest.  1, or 0 when there is none. */
    int (*first_queued)(struct task_store *store, struct task **ret, struct err *err);

    /* Some task that is running, of those after `after` in the order of their ids.  1, or 0. */
    int (*next_running)(struct task_store *store, const struct uuid *after, struct task **ret,
                        struct err *err);

    /* Forgets up to `limit` finished tasks, those first that finished first; adds to `ret_counts` how many
     * they were. */
    int (*prune)(struct task_store *store, size_t limit, struct task_counts *ret_counts, struct err *err);

    /* The greatest id of all tasks, {0} when there is none. */
    int (*greatest_id)(struct task_store *store, struct uuid *ret, struct err *err);

    int (*count)(struct task_store *store, struct task_counts *ret, struct err *err);

    int (*reader_open)(const char *where, struct task_reader **ret, struct err *err);
    void (*reader_close)(struct task_reader *reader);
    /* 1, or 0 when there is none of that id. */
    int (*get)(struct task_reader *reader, const struct uuid *id, struct task **ret, struct err *err);
    /* Up to `limit` tasks without payload and result, the newest first.  Returns how many. */
    int (*list)(struct task_reader *reader, size_t limit, struct task **ret_tasks, struct err *err);
};

extern const struct task_store_ops task_store_sqlite;

/* The store that a configured text such as `sqlite:run/tasks.db` names, and in `ret_where` what stands behind
 * the colon; NULL when there is none of that name. */
const struct task_store_ops *task_store_find(const char *text, const char **ret_where);
