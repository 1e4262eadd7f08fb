#include "tasks/sqlite_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A write-ahead log, on disk with each commit.  Readers never write, so a checkpoint or a commit of theirs
 * can not meet the writer's (before 3.51.3 two at the same instant may damage the file), and nothing is
 * mapped: an error of the disk is an error and not a SIGBUS. */
static const char writer_settings[] = "PRAGMA journal_mode = WAL;"
                                      "PRAGMA synchronous = FULL;"
                                      "PRAGMA wal_autocheckpoint = 0;"
                                      "PRAGMA mmap_size = 0;"
                                      "PRAGMA cache_size = -16384;"
                                      "PRAGMA temp_store = MEMORY;"
                                      "PRAGMA foreign_keys = OFF;";
static const char reader_settings[] = "PRAGMA query_only = ON;"
                                      "PRAGMA wal_autocheckpoint = 0;"
                                      "PRAGMA mmap_size = 0;"
                                      "PRAGMA cache_size = -2048;"
                                      "PRAGMA temp_store = MEMORY;";

/* The schema's versions: each statement leads from the one before to its own.  What has been released is
 * never changed here. */
static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE task ("
    "    row INTEGER PRIMARY KEY,"
    "    id BLOB NOT NULL,"
    "    kind TEXT NOT NULL,"
    "    created_ms INTEGER NOT NULL,"
    "    state INTEGER NOT NULL,"
    "    run INTEGER NOT NULL,"
    "    attempts INTEGER NOT NULL,"
    "    interruptions INTEGER NOT NULL,"
    "    started_ms INTEGER NOT NULL,"
    "    finished_ms INTEGER NOT NULL,"
    "    error TEXT"
    ") STRICT;"
    "CREATE INDEX task_queued ON task (row) WHERE state = 1;"
    "CREATE INDEX task_running ON task (row) WHERE state = 2;"
    "CREATE INDEX task_finished ON task (finished_ms) WHERE state >= 3;"
    "CREATE TABLE payload (row INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT;"
    "CREATE TABLE result (row INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT;"
    "CREATE TABLE counter (state INTEGER PRIMARY KEY, tasks INTEGER NOT NULL) STRICT;"
    "INSERT INTO counter VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0);",
};

#define SCHEMA_VERSION ((int)ARRAY_LEN(migrations))

static int code_of(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return -EACCES;
    }
    return -EIO;
}

int sqlite_error(sqlite3 *db, const char *what, struct err *err)
{
    return err_set(err, code_of(sqlite3_extended_errcode(db)), "the task store: %s: %s", what,
                   sqlite3_errmsg(db));
}

int sqlite_run(sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_error(db, sql, err);
}

int sqlite_connect(const char *path, bool is_writer, sqlite3 **ret, struct err *err)
{
    int flags = SQLITE_OPEN_NOMUTEX |
                (is_writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE);
    sqlite3 *db = NULL;
    int rc = 0;

    if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
        rc = db ? sqlite_error(db, path, err) : err_set(err, -ENOMEM, "the task store: out of memory");
    if (rc == 0)
        rc = sqlite_run(db, is_writer ? writer_settings : reader_settings, err);
    if (rc != 0) {
        sqlite3_close(db);
        return rc;
    }
    *ret = db;
    return 0;
}

sqlite3_stmt *sqlite_prepare(sqlite3 *db, struct sqlite_statement *statement, struct err *err)
{
    if (!statement->stmt && sqlite3_prepare_v3(db, statement->sql, -1, SQLITE_PREPARE_PERSISTENT,
                                               &statement->stmt, NULL) != SQLITE_OK) {
        sqlite_error(db, statement->sql, err);
        return NULL;
    }
    return statement->stmt;
}

int sqlite_step(sqlite3 *db, sqlite3_stmt *stmt, struct err *err)
{
    int code = sqlite3_step(stmt);

    if (code == SQLITE_ROW)
        return 1;
    int rc = code == SQLITE_DONE ? 0 : sqlite_error(db, sqlite3_sql(stmt), err);
    sqlite3_reset(stmt);
    return rc;
}

void sqlite_finalize(struct sqlite_statement *statements, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sqlite3_finalize(statements[i].stmt);
        statements[i].stmt = NULL;
    }
}

/* ---- the schema ---- */

static int read_version(sqlite3 *db, int *ret, struct err *err)
{
    struct sqlite_statement statement = {.sql = "PRAGMA user_version"};
    sqlite3_stmt *stmt = sqlite_prepare(db, &statement, err);

    if (!stmt)
        return err->code;
    int rc = sqlite_step(db, stmt, err);
    if (rc == 1)
        *ret = sqlite3_column_int(stmt, 0);
    sqlite_finalize(&statement, 1);
    return rc < 0 ? rc : 0;
}

static int migrate_to(sqlite3 *db, int version, struct err *err)
{
    char set_version[64];

    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", version);
    int rc = sqlite_run(db, "BEGIN IMMEDIATE", err);
    if (rc == 0)
        rc = sqlite_run(db, migrations[version - 1], err);
    if (rc == 0)
        rc = sqlite_run(db, set_version, err);
    if (rc == 0)
        rc = sqlite_run(db, "COMMIT", err);
    return rc;
}

int sqlite_migrate(sqlite3 *db, struct err *err)
{
    int version = 0;
    int rc = read_version(db, &version, err);

    if (rc == 0 && version > SCHEMA_VERSION)
        return err_set(err, -ENOTSUP,
                       "the task store was written by a newer heddle (schema %d, this one knows %d)", version,
                       SCHEMA_VERSION);
    while (rc == 0 && version < SCHEMA_VERSION)
        rc = migrate_to(db, ++version, err);
    return rc;
}

/* ---- rows ---- */

int64_t sqlite_row_of(const struct uuid *id)
{
    uint64_t row = 0;

    for (size_t i = 0; i < 6; i++)
        row = row << 8 | id->bytes[i];
    return (int64_t)(row << 12 | (uint64_t)(id->bytes[6] & 0xf) << 8 | id->bytes[7]);
}

static char *copy_text(sqlite3_stmt *stmt, int column, bool *failed)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    char *copy = text ? strdup(text) : NULL;

    *failed |= text && !copy;
    return copy;
}

int sqlite_read_id(sqlite3_stmt *stmt, int column, struct uuid *ret, struct err *err)
{
    const void *bytes = sqlite3_column_blob(stmt, column);

    if (!bytes || sqlite3_column_bytes(stmt, column) != (int)sizeof(*ret))
        return err_set(err, -EBADMSG, "the task store: a task without an id");
    memcpy(ret, bytes, sizeof(*ret));
    return 0;
}

int sqlite_read_state(sqlite3_stmt *stmt, int column, enum task_state *ret, struct err *err)
{
    int state = sqlite3_column_int(stmt, column);

    if (state < 0 || state >= TASK_STATE_COUNT)
        return err_set(err, -EBADMSG, "the task store: a task is in the unknown state %d", state);
    *ret = (enum task_state)state;
    return 0;
}

static int read_status(sqlite3_stmt *stmt, struct task_status *ret, struct err *err)
{
    *ret = (struct task_status){
        .run = (unsigned)sqlite3_column_int64(stmt, 4),
        .attempts = (unsigned)sqlite3_column_int64(stmt, 5),
        .interruptions = (unsigned)sqlite3_column_int64(stmt, 6),
        .started_ms = (uint64_t)sqlite3_column_int64(stmt, 7),
        .finished_ms = (uint64_t)sqlite3_column_int64(stmt, 8),
    };
    return sqlite_read_state(stmt, 3, &ret->state, err);
}

int sqlite_read_task(sqlite3_stmt *stmt, struct task **ret, struct err *err)
{
    const char *kind = (const char *)sqlite3_column_text(stmt, 1);
    bool has_documents = sqlite3_column_count(stmt) > 10;
    const char *payload = has_documents ? (const char *)sqlite3_column_text(stmt, 10) : NULL;
    struct task_status status;
    struct uuid id;
    bool failed = false;

    int rc = read_status(stmt, &status, err);
    if (rc == 0)
        rc = sqlite_read_id(stmt, 0, &id, err);
    if (rc != 0)
        return rc;
    if (!kind)
        return err_set(err, -ENOMEM, "out of memory for a task"); /* the column is never NULL */
    struct task *task = task_create(&id, kind, payload, (uint64_t)sqlite3_column_int64(stmt, 2));
    if (!task)
        return err_set(err, -ENOMEM, "out of memory for a task");
    task->status = status;
    task->error = copy_text(stmt, 9, &failed);
    if (has_documents)
        task->result = copy_text(stmt, 11, &failed);
    if (failed) {
        task_unref(task);
        return err_set(err, -ENOMEM, "out of memory for a task");
    }
    *ret = task;
    return 0;
}
