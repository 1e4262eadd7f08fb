/* What else is to survive: idempotency keys, events, the ticks of schedules. */
#include <errno.h>
#include <string.h>

#include "tasks/sqlite_int.h"

/* ---- idempotency keys ---- */

static int read_key(sqlite3_stmt *stmt, struct task_idempotent *ret, struct err *err)
{
    struct task_idempotent value = {
        .at_ms = (uint64_t)sqlite3_column_int64(stmt, 2),
        .started_ms = (uint64_t)sqlite3_column_int64(stmt, 3),
        .state = (uint8_t)sqlite3_column_int(stmt, 4),
        .batch = (uint64_t)sqlite3_column_int64(stmt, 5),
    };
    const void *hash = sqlite3_column_blob(stmt, 0);

    if (!hash || sqlite3_column_bytes(stmt, 0) != (int)sizeof(value.request_hash) ||
        value.state >= TASK_STATE_COUNT)
        return err_set(err, -EBADMSG, "the task store: an idempotency key that is not whole");
    memcpy(value.request_hash, hash, sizeof(value.request_hash));
    int rc = sqlite_read_id(stmt, 1, &value.id, err);
    if (rc == 0)
        *ret = value;
    return rc;
}

int sqlite_store_find_key(struct task_store *store, const char *key, struct task_idempotent *ret,
                          struct err *err)
{
    static const char sql[] =
        "SELECT request_hash, id, at_ms, started_ms, state, batch FROM idempotency WHERE key = ?1";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, key);
    rc = sqlite_step(&store->conn, stmt, err);
    if (rc != 1)
        return rc;
    rc = read_key(stmt, ret, err);
    sqlite3_reset(stmt);
    return rc == 0 ? 1 : rc;
}

int sqlite_store_put_key(struct task_store *store, const char *key, const struct task_idempotent *value,
                         struct err *err)
{
    static const char sql[] =
        "INSERT OR REPLACE INTO idempotency (key, request_hash, id, at_ms, started_ms, state, batch) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, key);
    sqlite3_bind_blob(stmt, 2, value->request_hash, sizeof(value->request_hash), SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 3, &value->id, sizeof(value->id), SQLITE_STATIC);
    sqlite_bind_uint(stmt, 4, value->at_ms);
    sqlite_bind_optional(stmt, 5, value->started_ms);
    sqlite_bind_uint(stmt, 6, value->state);
    sqlite_bind_uint(stmt, 7, value->batch);
    return sqlite_finish(&store->conn, stmt, err);
}

/* Deletes what the statement's two parameters say.  How many. */
static int forget(struct sqlite_conn *conn, const char *sql, uint64_t until, size_t limit, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, until);
    sqlite_bind_uint(stmt, 2, limit);
    rc = sqlite_finish(conn, stmt, err);
    return rc == 0 ? sqlite3_changes(conn->db) : rc;
}

int sqlite_store_prune_keys(struct task_store *store, uint64_t until_ms, size_t limit, struct err *err)
{
    static const char sql[] = "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency "
                              "INDEXED BY idempotency_age WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";

    return forget(&store->conn, sql, until_ms, limit, err);
}

/* ---- events ---- */

int sqlite_store_add_events(struct task_store *store, uint64_t first, const uint8_t *packed, size_t count,
                            struct err *err)
{
    static const char sql[] = "INSERT INTO event VALUES (?1, ?2, ?3)";
    sqlite3_stmt *stmt;
    int rc = count == 0 ? 0 : sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0 || count == 0)
        return rc;
    sqlite_bind_uint(stmt, 1, first);
    sqlite_bind_uint(stmt, 2, count);
    sqlite3_bind_blob64(stmt, 3, packed, count * TASK_EVENT_PACKED_BYTES, SQLITE_STATIC);
    return sqlite_finish(&store->conn, stmt, err);
}

/* The last block stays, whatever is asked for: it has the number of the last event. */
int sqlite_store_prune_events(struct task_store *store, uint64_t number, size_t limit, struct err *err)
{
    static const char sql[] =
        "DELETE FROM event WHERE first IN (SELECT first FROM event "
        "WHERE first < ?1 AND first + count <= ?1 AND first < (SELECT max(first) FROM event) "
        "ORDER BY first LIMIT ?2)";

    return forget(&store->conn, sql, number, limit, err);
}

int sqlite_store_last_event(struct task_store *store, uint64_t *ret, struct err *err)
{
    static const char sql[] = "SELECT first + count - 1 FROM event ORDER BY first DESC LIMIT 1";
    uint64_t number = 0;
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc == 0)
        rc = sqlite_number(&store->conn, stmt, &number, err);
    if (rc < 0)
        return rc;
    *ret = number;
    return 0;
}

/* ---- schedules ---- */

int sqlite_store_find_tick(struct task_store *store, const char *schedule, uint64_t *ret_ms, struct err *err)
{
    static const char sql[] = "SELECT tick_ms FROM schedule WHERE name = ?1";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, schedule);
    return sqlite_number(&store->conn, stmt, ret_ms, err);
}

int sqlite_store_put_tick(struct task_store *store, const char *schedule, uint64_t ms, struct err *err)
{
    static const char sql[] = "INSERT OR REPLACE INTO schedule VALUES (?1, ?2)";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, schedule);
    sqlite_bind_uint(stmt, 2, ms);
    return sqlite_finish(&store->conn, stmt, err);
}
