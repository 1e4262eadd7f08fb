/* Changes to tasks, and the questions that the owner of the store asks about them. */
#include <assert.h>
#include <errno.h>

#include "tasks/sqlite_int.h"

/* ---- changes ---- */

static int unique_error(int rc, struct err *err)
{
    return rc == -EEXIST ? err_set(err, rc, "an unfinished task has the same unique key") : rc;
}

int sqlite_store_insert(struct task_store *store, const struct task *task, struct err *err)
{
    int rc = sqlite_insert_task(&store->conn, task, err);

    if (rc == 0)
        sqlite_count(store, task->status.queue, task->status.state, 1);
    return unique_error(rc, err);
}

int sqlite_store_move(struct task_store *store, const struct task *task, const struct task_status *to,
                      const char *result, const char *error, struct err *err)
{
    int rc = sqlite_update_task(&store->conn, task, to, result, error, err);

    if (rc == 0) {
        sqlite_count(store, task->status.queue, task->status.state, -1);
        sqlite_count(store, to->queue, to->state, 1);
    }
    return unique_error(rc, err);
}

/* Those long before this run. */
static int forget_attempts(struct task_store *store, const struct uuid *id, unsigned run, struct err *err)
{
    static const char sql[] = "DELETE FROM attempt WHERE row = ?1 AND run <= ?2";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(id));
    sqlite_bind_uint(stmt, 2, run - TASK_PAST_MAX);
    return sqlite_finish(&store->conn, stmt, err);
}

int sqlite_store_add_attempt(struct task_store *store, const struct uuid *id,
                             const struct task_attempt *attempt, struct err *err)
{
    static const char sql[] = "INSERT OR IGNORE INTO attempt VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(id));
    sqlite_bind_uint(stmt, 2, attempt->run);
    sqlite_bind_uint(stmt, 3, attempt->started_ms);
    sqlite_bind_uint(stmt, 4, attempt->finished_ms);
    sqlite_bind_uint(stmt, 5, attempt->was_interrupted);
    sqlite_bind_text(stmt, 6, attempt->error);
    rc = sqlite_finish(&store->conn, stmt, err);
    return rc == 0 && attempt->run > TASK_PAST_MAX ? forget_attempts(store, id, attempt->run, err) : rc;
}

/* ---- questions ---- */

int sqlite_store_find(struct task_store *store, const struct uuid *id, struct task **ret, struct err *err)
{
    static const char sql[] = SQLITE_SELECT_ALL SQLITE_JOIN_ALL "WHERE t.row = ?1 AND t.id = ?2";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(id));
    sqlite3_bind_blob(stmt, 2, id, sizeof(*id), SQLITE_STATIC);
    return sqlite_read_one(&store->conn, stmt, ret, err);
}

int sqlite_store_find_unique(struct task_store *store, const char *unique_key, struct task **ret,
                             struct err *err)
{
    static const char sql[] = SQLITE_SELECT_WITH_PAYLOAD "INDEXED BY task_unique" SQLITE_JOIN_PAYLOAD
                                                         "WHERE t.unique_key = ?1 AND t.state <= 2";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, unique_key);
    return sqlite_read_one(&store->conn, stmt, ret, err);
}

int sqlite_store_first_queued(struct task_store *store, task_queue_id queue, bool holds_thread, size_t limit,
                              struct task **ret, struct err *err)
{
    static const char sql[] =
        SQLITE_SELECT_WITH_PAYLOAD "INDEXED BY task_queued" SQLITE_JOIN_PAYLOAD
                                   "WHERE t.state = 1 AND t.queue = ?1 AND t.holds_thread = ?2 "
                                   "ORDER BY t.priority, t.rank, t.row LIMIT ?3";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, queue);
    sqlite_bind_uint(stmt, 2, holds_thread);
    sqlite_bind_uint(stmt, 3, limit);
    return sqlite_read_tasks(&store->conn, stmt, ret, err);
}

int sqlite_store_due(struct task_store *store, uint64_t now_ms, size_t limit, struct task **ret,
                     struct err *err)
{
    static const char sql[] = SQLITE_SELECT_WITH_PAYLOAD "INDEXED BY task_scheduled" SQLITE_JOIN_PAYLOAD
                                                         "WHERE t.state = 0 AND t.run_at_ms <= ?1 "
                                                         "ORDER BY t.run_at_ms, t.row LIMIT ?2";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, now_ms);
    sqlite_bind_uint(stmt, 2, limit);
    return sqlite_read_tasks(&store->conn, stmt, ret, err);
}

int sqlite_store_next_due(struct task_store *store, uint64_t *ret_ms, struct err *err)
{
    static const char sql[] =
        "SELECT run_at_ms FROM task INDEXED BY task_scheduled WHERE state = 0 ORDER BY run_at_ms LIMIT 1";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    return rc == 0 ? sqlite_number(&store->conn, stmt, ret_ms, err) : rc;
}

int sqlite_store_running(struct task_store *store, const struct uuid *after, size_t limit, struct task **ret,
                         struct err *err)
{
    static const char sql[] =
        SQLITE_SELECT_WITH_PAYLOAD "INDEXED BY task_running" SQLITE_JOIN_PAYLOAD
                                   "WHERE t.state = 2 AND t.row > ?1 ORDER BY t.row LIMIT ?2";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(after));
    sqlite_bind_uint(stmt, 2, limit);
    return sqlite_read_tasks(&store->conn, stmt, ret, err);
}

int sqlite_store_greatest_id(struct task_store *store, struct uuid *ret, struct err *err)
{
    static const char sql[] = "SELECT id FROM task ORDER BY row DESC LIMIT 1";
    struct uuid id = {0};
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc == 0)
        rc = sqlite_step(&store->conn, stmt, err);
    if (rc == 1) {
        rc = sqlite_read_id(stmt, 0, &id, err);
        sqlite3_reset(stmt);
    }
    if (rc == 0)
        *ret = id;
    return rc;
}
