/* sqlite_int.h - what the files of the SQLite store share.
 *
 *     sqlite.c          a connection, its statements, its errors
 *     sqlite_schema.c   the tables, and how older ones are brought up to date
 *     sqlite_rows.c     a task to and from the columns of a row
 *     sqlite_files.c    what lies beside the database: the lock, the reserve
 *     sqlite_tasks.c    changes to tasks and questions about them, in the writer's thread
 *     sqlite_prune.c    what is forgotten of tasks
 *     sqlite_queues.c   queues, their counters and ranks
 *     sqlite_records.c  idempotency keys, events, schedules
 *     sqlite_reader.c   the readers
 *     store_sqlite.c    opening, transactions, and the table of operations
 *
 * Threads: a connection belongs to one thread. */
#pragma once

#include <sqlite3.h>

#include "base/common.h"
#include "base/err.h"
#include "tasks/store.h"
#include "tasks/task.h"

/* ---- a connection ---- */

#define SQLITE_STATEMENTS_MAX 64 /* a power of two, and about twice what there are */

struct sqlite_conn {
    sqlite3 *db;
    bool is_writer;
    int failure; /* of a writer: the error after which nothing is done any more; 0: none */

    /* Compiled once, and found by the address of their text. */
    struct {
        const char *sql;
        sqlite3_stmt *stmt;
    } statements[SQLITE_STATEMENTS_MAX];
};

/* Opens a connection to the file at `path`.  The one that writes makes the file when there is none. */
must_check int sqlite_open(const char *path, bool is_writer, struct sqlite_conn *ret, struct err *err);

/* Frees the statements and closes.  One that is not open is fine. */
void sqlite_close(struct sqlite_conn *conn);

/* Puts what the connection says into `err`; returns the code of store.h. */
int sqlite_error(struct sqlite_conn *conn, const char *what, struct err *err);

/* Runs SQL whose rows nobody wants, without keeping it compiled. */
must_check int sqlite_run(struct sqlite_conn *conn, const char *sql, struct err *err);

/* The statement with that text, which must be a constant: reset, and with all parameters to be bound. */
must_check int sqlite_prepare(struct sqlite_conn *conn, const char *sql, sqlite3_stmt **ret, struct err *err);

/* Steps a statement: 1 when there is a row, 0 at the end (it is then reset), or an error (the same). */
must_check int sqlite_step(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct err *err);

/* Steps it to its end. */
must_check int sqlite_finish(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct err *err);

/* Steps it for its one row, which is a number: 1 with `ret`, or 0 when there is none. */
must_check int sqlite_number(struct sqlite_conn *conn, sqlite3_stmt *stmt, uint64_t *ret, struct err *err);

static inline void sqlite_bind_uint(sqlite3_stmt *stmt, int at, uint64_t value)
{
    sqlite3_bind_int64(stmt, at, (int64_t)value);
}

/* NULL for 0. */
static inline void sqlite_bind_optional(sqlite3_stmt *stmt, int at, uint64_t value)
{
    if (value == 0)
        sqlite3_bind_null(stmt, at);
    else
        sqlite3_bind_int64(stmt, at, (int64_t)value);
}

static inline void sqlite_bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
}

/* ---- the schema ---- */

/* Makes the schema, or migrates an older one.  -ENOTSUP when it is newer than we are. */
must_check int sqlite_migrate(struct sqlite_conn *conn, struct err *err);

/* ---- rows ---- */

/* The row's number: stamp and counter of the id (RFC 9562), which are greater in each id we make. */
int64_t sqlite_row_of(const struct uuid *id);

/* The id in that column; -EBADMSG when it is none. */
must_check int sqlite_read_id(sqlite3_stmt *stmt, int column, struct uuid *ret, struct err *err);

/* Columns of the tables: X(type, column, member of the struct).  Reading and binding, and the texts of the
 * statements, are made of these lists.  Types: TEXT; UINT; OPT, a UINT that is NULL when it is 0; REAL. */
#define SQLITE_STATUS_COLUMNS(X)                                                                             \
    X(UINT, state, state)                                                                                    \
    X(UINT, run, run)                                                                                        \
    X(UINT, queue, queue)                                                                                    \
    X(UINT, priority, priority)                                                                              \
    X(UINT, rank, rank)                                                                                      \
    X(UINT, attempts, attempts)                                                                              \
    X(UINT, interruptions, interruptions)                                                                    \
    X(UINT, version, version)                                                                                \
    X(UINT, is_cancelled, is_cancelled)                                                                      \
    X(UINT, run_at_ms, run_at_ms)                                                                            \
    X(OPT, started_ms, started_ms)                                                                           \
    X(UINT, finished_ms, finished_ms)                                                                        \
    X(REAL, progress, progress)
#define SQLITE_SPEC_COLUMNS(X)                                                                               \
    X(TEXT, kind, kind_name)                                                                                 \
    X(TEXT, tenant, tenant)                                                                                  \
    X(TEXT, unique_key, unique_key)                                                                          \
    X(TEXT, tags, tags)
/* Of table payload, what nobody looks for. */
#define SQLITE_COLD_COLUMNS(X)                                                                               \
    X(OPT, timeout_ms, timeout_ms)                                                                           \
    X(UINT, max_attempts, max_attempts)                                                                      \
    X(OPT, backoff_base_ms, backoff.base_ms)                                                                 \
    X(REAL, backoff_factor, backoff.factor)                                                                  \
    X(OPT, backoff_max_ms, backoff.max_ms)                                                                   \
    X(REAL, backoff_jitter, backoff.jitter)                                                                  \
    X(TEXT, callback, callback)                                                                              \
    X(TEXT, traceparent, traceparent)                                                                        \
    X(TEXT, schedule, schedule)

/* The beginnings of questions for tasks, from table `task` as t, `payload` as p, `result` as r.  An index
 * may be named behind them, then come the joins. */
#define SQLITE_OF_TASK(type, column, member)    ", t." #column
#define SQLITE_OF_PAYLOAD(type, column, member) ", p." #column
#define SQLITE_TASK_COLUMNS                                                                                  \
    "t.id, t.created_ms, t.error" SQLITE_STATUS_COLUMNS(SQLITE_OF_TASK) SQLITE_SPEC_COLUMNS(SQLITE_OF_TASK)  \
        SQLITE_COLD_COLUMNS(SQLITE_OF_PAYLOAD)
#define SQLITE_SELECT_BARE         "SELECT " SQLITE_TASK_COLUMNS ", NULL, NULL FROM task t "
#define SQLITE_SELECT_WITH_PAYLOAD "SELECT " SQLITE_TASK_COLUMNS ", p.json, NULL FROM task t "
#define SQLITE_SELECT_ALL                                                                                    \
    "SELECT " SQLITE_TASK_COLUMNS ", p.json, coalesce(t.result, r.json) "                                    \
    "FROM task t "
#define SQLITE_JOIN_PAYLOAD " LEFT JOIN payload p ON p.row = t.row "
#define SQLITE_JOIN_ALL     SQLITE_JOIN_PAYLOAD "LEFT JOIN result r ON r.row = t.row "

/* The task of the present row of such a question. */
must_check int sqlite_read_task(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct task **ret,
                                struct err *err);

/* Steps for the one row of such a question, which is then reset: 1 with the task, or 0. */
must_check int sqlite_read_one(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct task **ret,
                               struct err *err);

/* Steps for all rows of such a question, which has a limit.  How many. */
must_check int sqlite_read_tasks(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct task **ret,
                                 struct err *err);

/* Writes a new row of table task, and of table payload. */
must_check int sqlite_insert_task(struct sqlite_conn *conn, const struct task *task, struct err *err);

/* Changes a row of table task; keeps the result and the error that are NULL.  -ESTALE when it has not the
 * state and run of task->status. */
must_check int sqlite_update_task(struct sqlite_conn *conn, const struct task *task,
                                  const struct task_status *to, const char *result, const char *error,
                                  struct err *err);

/* ---- files ---- */

/* Makes the folder of `where`, and takes the lock file beside it, which is held until the descriptor is
 * closed. */
must_check int sqlite_lock(const char *where, int *ret_fd, struct err *err);

/* Opens the file that keeps space back; it keeps what it has. */
must_check int sqlite_reserve_open(const char *where, int *ret_fd, struct err *err);
/* Gives the space to others. */
void sqlite_reserve_free(int fd);
/* Takes it again; -ENOSPC while there is none. */
must_check int sqlite_reserve_keep(int fd, struct err *err);

/* ---- the store ---- */

/* The log is written back into the database when it has so many pages of 4 KiB: it costs a sync of its own,
 * and the longer the log the more changes of one page it saves.  Tests set less. */
extern int sqlite_checkpoint_pages;

struct task_store {
    struct sqlite_conn conn;
    int lock_fd;
    int reserve_fd;
    int log_pages;          /* in the write-ahead log, after the last commit */
    bool is_full;           /* the reserve has been freed, and not been taken again */
    bool has_warned_of_log; /* that it can not be written back */
    int64_t changes[TASK_QUEUE_MAX][TASK_STATE_COUNT]; /* of the counters, in this transaction */
    bool is_changed[TASK_QUEUE_MAX];                   /* queues with changes */
};

/* Notes that there are `by` more tasks of that queue and state. */
void sqlite_count(struct task_store *store, task_queue_id queue, enum task_state state, int64_t by);
/* Forgets what has been noted. */
void sqlite_count_reset(struct task_store *store);
/* Writes what has been noted, at the end of a transaction. */
must_check int sqlite_count_write(struct task_store *store, struct err *err);

/* ---- operations of store.h, by the file that has them ---- */

int sqlite_store_insert(struct task_store *store, const struct task *task, struct err *err);
int sqlite_store_move(struct task_store *store, const struct task *task, const struct task_status *to,
                      const char *result, const char *error, struct err *err);
int sqlite_store_find(struct task_store *store, const struct uuid *id, struct task **ret, struct err *err);
int sqlite_store_find_unique(struct task_store *store, const char *unique_key, struct task **ret,
                             struct err *err);
int sqlite_store_first_queued(struct task_store *store, task_queue_id queue, bool holds_thread, size_t limit,
                              struct task **ret, struct err *err);
int sqlite_store_due(struct task_store *store, uint64_t now_ms, size_t limit, struct task **ret,
                     struct err *err);
int sqlite_store_next_due(struct task_store *store, uint64_t *ret_ms, struct err *err);
int sqlite_store_running(struct task_store *store, const struct uuid *after, size_t limit, struct task **ret,
                         struct err *err);
int sqlite_store_add_attempt(struct task_store *store, const struct uuid *id,
                             const struct task_attempt *attempt, struct err *err);
int sqlite_store_greatest_id(struct task_store *store, struct uuid *ret, struct err *err);

int sqlite_store_remove(struct task_store *store, const struct uuid *id, struct err *err);
int sqlite_store_prune(struct task_store *store, enum task_state state, uint64_t until_ms, size_t limit,
                       uint64_t *ret_by_queue, struct err *err);

int sqlite_store_queues(struct task_store *store, struct task_queue_row ret[TASK_QUEUE_MAX], struct err *err);
int sqlite_store_add_queue(struct task_store *store, const struct task_queue_row *queue, struct err *err);
int sqlite_store_pause_queue(struct task_store *store, task_queue_id queue, bool is_paused, struct err *err);
int sqlite_store_ranks(struct task_store *store,
                       void (*each)(void *arg, task_queue_id, unsigned slot, uint64_t rank), void *arg,
                       struct err *err);
int sqlite_store_set_rank(struct task_store *store, task_queue_id queue, unsigned slot, uint64_t rank,
                          struct err *err);

int sqlite_store_find_key(struct task_store *store, const char *key, struct task_idempotent *ret,
                          struct err *err);
int sqlite_store_put_key(struct task_store *store, const char *key, const struct task_idempotent *value,
                         struct err *err);
int sqlite_store_prune_keys(struct task_store *store, uint64_t until_ms, size_t limit, struct err *err);
int sqlite_store_add_events(struct task_store *store, uint64_t first, const uint8_t *packed, size_t count,
                            struct err *err);
int sqlite_store_prune_events(struct task_store *store, uint64_t number, size_t limit, struct err *err);
int sqlite_store_last_event(struct task_store *store, uint64_t *ret, struct err *err);
int sqlite_store_find_tick(struct task_store *store, const char *schedule, uint64_t *ret_ms, struct err *err);
int sqlite_store_put_tick(struct task_store *store, const char *schedule, uint64_t ms, struct err *err);

int sqlite_reader_open(const char *where, struct task_reader **ret, struct err *err);
void sqlite_reader_close(struct task_reader *reader);
int sqlite_reader_get(struct task_reader *reader, const struct uuid *id, struct task **ret, struct err *err);
int sqlite_reader_list(struct task_reader *reader, const struct task_filter *filter, size_t limit,
                       struct task **ret_tasks, struct uuid *ret_next, struct err *err);
int sqlite_reader_position(struct task_reader *reader, const struct task *task, bool holds_thread,
                           uint64_t limit, uint64_t *ret, struct err *err);
int sqlite_reader_running_in(struct task_reader *reader, task_queue_id queue, size_t limit, struct task **ret,
                             struct err *err);
int sqlite_reader_events(struct task_reader *reader, uint64_t from,
                         bool (*each)(void *arg, const struct task_event *), void *arg, struct err *err);
