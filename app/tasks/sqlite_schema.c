#include <errno.h>
#include <stdio.h>

#include "tasks/sqlite_int.h"

/* The schema's versions: each text leads from the one before to its own.  What has been released is never
 * changed here.
 *
 * A task's row holds what changes and what is looked for; what is long, or needed by who runs it only, is in
 * tables of its own and is not written again with each move.  All indexes of tasks are partial, so that a
 * usual task, which goes from running to succeeded, is in one of them at a time; each ends with the row,
 * unsaid.  A short result is in the row as well, which is written anyway then.  Numbers that an index sorts
 * by are 0 when they are absent, others are NULL. */
static const char version_1[] =
    "CREATE TABLE task ("
    "    row INTEGER PRIMARY KEY,"
    "    id BLOB NOT NULL,"
    "    state INTEGER NOT NULL,"
    "    run INTEGER NOT NULL,"
    "    queue INTEGER NOT NULL,"
    "    holds_thread INTEGER NOT NULL,"
    "    priority INTEGER NOT NULL,"
    "    rank INTEGER NOT NULL,"
    "    unique_key TEXT,"
    "    run_at_ms INTEGER NOT NULL,"
    "    finished_ms INTEGER NOT NULL,"
    "    kind TEXT NOT NULL,"
    "    tags TEXT,"
    "    attempts INTEGER NOT NULL,"
    "    interruptions INTEGER NOT NULL,"
    "    version INTEGER NOT NULL,"
    "    is_cancelled INTEGER NOT NULL,"
    "    created_ms INTEGER NOT NULL,"
    "    started_ms INTEGER,"
    "    progress REAL NOT NULL,"
    "    tenant TEXT,"
    "    error TEXT,"
    "    result TEXT"
    ") STRICT;"
    "CREATE INDEX task_scheduled ON task (run_at_ms) WHERE state = 0;"
    "CREATE INDEX task_queued ON task (queue, holds_thread, priority, rank) WHERE state = 1;"
    "CREATE INDEX task_running ON task (row) WHERE state = 2;"
    "CREATE INDEX task_finished ON task (state, finished_ms) WHERE state >= 3;"
    "CREATE UNIQUE INDEX task_unique ON task (unique_key) WHERE unique_key IS NOT NULL AND state <= 2;"
    "CREATE TABLE payload ("
    "    row INTEGER PRIMARY KEY,"
    "    timeout_ms INTEGER,"
    "    max_attempts INTEGER NOT NULL,"
    "    backoff_base_ms INTEGER,"
    "    backoff_factor REAL NOT NULL,"
    "    backoff_max_ms INTEGER,"
    "    backoff_jitter REAL NOT NULL,"
    "    callback TEXT,"
    "    traceparent TEXT,"
    "    schedule TEXT,"
    "    json TEXT"
    ") STRICT;"
    "CREATE TABLE result (row INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT;"
    "CREATE TABLE attempt ("
    "    row INTEGER NOT NULL, run INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    "    finished_ms INTEGER NOT NULL, was_interrupted INTEGER NOT NULL, error TEXT, PRIMARY KEY (row, run)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL, is_paused INTEGER NOT NULL) STRICT;"
    "CREATE TABLE counter ("
    "    queue INTEGER NOT NULL, state INTEGER NOT NULL, tasks INTEGER NOT NULL, PRIMARY KEY (queue, state)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE rank ("
    "    queue INTEGER NOT NULL, slot INTEGER NOT NULL, rank INTEGER NOT NULL, PRIMARY KEY (queue, slot)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE idempotency ("
    "    key TEXT PRIMARY KEY, request_hash BLOB NOT NULL, id BLOB NOT NULL, at_ms INTEGER NOT NULL,"
    "    started_ms INTEGER, state INTEGER NOT NULL, batch INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX idempotency_age ON idempotency (at_ms);"
    "CREATE TABLE event (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, packed BLOB NOT NULL) STRICT;"
    "CREATE TABLE schedule (name TEXT PRIMARY KEY, tick_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

static const char *const migrations[] = {version_1};

#define SCHEMA_VERSION ((int)ARRAY_LEN(migrations))

static int read_version(struct sqlite_conn *conn, uint64_t *ret, struct err *err)
{
    static const char sql[] = "PRAGMA user_version";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    if (rc == 0)
        rc = sqlite_number(conn, stmt, ret, err);
    return rc < 0 ? rc : 0;
}

static int migrate_to(struct sqlite_conn *conn, int version, struct err *err)
{
    char set_version[64];

    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", version);
    int rc = sqlite_run(conn, "BEGIN IMMEDIATE", err);
    if (rc == 0)
        rc = sqlite_run(conn, migrations[version - 1], err);
    if (rc == 0)
        rc = sqlite_run(conn, set_version, err);
    if (rc == 0)
        rc = sqlite_run(conn, "COMMIT", err);
    return rc;
}

int sqlite_migrate(struct sqlite_conn *conn, struct err *err)
{
    uint64_t stored = 0;
    int rc = read_version(conn, &stored, err);

    if (rc == 0 && stored > SCHEMA_VERSION)
        return err_set(err, -ENOTSUP,
                       "the task store was written by a newer heddle (schema %ju, this one knows %d)",
                       (uintmax_t)stored, SCHEMA_VERSION);
    for (int version = (int)stored; rc == 0 && version < SCHEMA_VERSION; version++)
        rc = migrate_to(conn, version + 1, err);
    return rc;
}
