/* sqlite_int.h - what the files of the SQLite store share: a connection, its statements, its errors. */
#pragma once

#include <sqlite3.h>

#include "base/common.h"
#include "base/err.h"
#include "tasks/task.h"

/* A statement: its text, and the compiled form once it has been used. */
struct sqlite_statement {
    const char *sql;
    sqlite3_stmt *stmt;
};

/* Opens a connection to the file at `path`.  The one that writes makes the file when there is none. */
must_check int sqlite_connect(const char *path, bool is_writer, sqlite3 **ret, struct err *err);

/* Puts what the connection says into `err`; returns the code of store.h. */
int sqlite_error(sqlite3 *db, const char *what, struct err *err);

/* Runs SQL that returns no rows. */
must_check int sqlite_run(sqlite3 *db, const char *sql, struct err *err);

/* The compiled statement, reset and without bindings; NULL with `err` set. */
must_check sqlite3_stmt *sqlite_prepare(sqlite3 *db, struct sqlite_statement *statement, struct err *err);

/* Steps a statement: 1 when there is a row, 0 at the end (it is then reset), or an error. */
must_check int sqlite_step(sqlite3 *db, sqlite3_stmt *stmt, struct err *err);

/* Frees the compiled forms. */
void sqlite_finalize(struct sqlite_statement *statements, size_t count);

/* Brings the schema up to date: makes it, or migrates an older one.  -ENOTSUP when it is newer than we are.
 */
must_check int sqlite_migrate(sqlite3 *db, struct err *err);

/* The row's number: stamp and counter of the id (RFC 9562), which are greater in each id we make. */
int64_t sqlite_row_of(const struct uuid *id);

/* The id in that column; -EBADMSG when it is none. */
must_check int sqlite_read_id(sqlite3_stmt *stmt, int column, struct uuid *ret, struct err *err);

/* The state in that column; -EBADMSG when there is none of that number. */
must_check int sqlite_read_state(sqlite3_stmt *stmt, int column, enum task_state *ret, struct err *err);

/* The columns that sqlite_read_task reads, in its order; table `task` as t, `payload` as p, `result` as r. */
#define SQLITE_TASK_COLUMNS                                                                                  \
    "t.id, t.kind, t.created_ms, t.state, t.run, t.attempts, t.interruptions, t.started_ms, t.finished_ms, " \
    "t.error"

/* A task from the present row: SQLITE_TASK_COLUMNS, then payload and result if there are so many columns. */
must_check int sqlite_read_task(sqlite3_stmt *stmt, struct task **ret, struct err *err);
