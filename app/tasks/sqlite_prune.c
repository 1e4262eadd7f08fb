/* What is forgotten of tasks.  The rows that are to go are put into a table in memory first, so that each
 * table is gone through once, in the order of its rows. */
#include <errno.h>

#include "tasks/sqlite_int.h"

static int run(struct sqlite_conn *conn, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    return rc == 0 ? sqlite_finish(conn, stmt, err) : rc;
}

/* Everything about the tasks in table gone, which is then empty. */
static int remove_gone(struct sqlite_conn *conn, struct err *err)
{
    static const char from_task[] = "DELETE FROM task WHERE row IN (SELECT row FROM temp.gone)";
    static const char from_payload[] = "DELETE FROM payload WHERE row IN (SELECT row FROM temp.gone)";
    static const char from_result[] = "DELETE FROM result WHERE row IN (SELECT row FROM temp.gone)";
    static const char from_attempt[] = "DELETE FROM attempt WHERE row IN (SELECT row FROM temp.gone)";
    static const char from_gone[] = "DELETE FROM temp.gone";
    static const char *const all[] = {from_task, from_payload, from_result, from_attempt, from_gone};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(all); i++)
        rc = run(conn, all[i], err);
    return rc;
}

/* Takes those in table gone out of the counters; adds them to `ret_by_queue`. */
static int count_gone(struct task_store *store, uint64_t *ret_by_queue, struct err *err)
{
    static const char sql[] = "SELECT queue, state, count(*) FROM temp.gone GROUP BY queue, state";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    while ((rc = sqlite_step(&store->conn, stmt, err)) == 1) {
        int64_t queue = sqlite3_column_int64(stmt, 0);
        int64_t count = sqlite3_column_int64(stmt, 2);
        if (queue < 0 || queue >= TASK_QUEUE_MAX) {
            sqlite3_reset(stmt);
            return err_set(err, -EBADMSG, "the task store: a task in an unknown queue");
        }
        sqlite_count(store, (task_queue_id)queue, (enum task_state)sqlite3_column_int(stmt, 1), -count);
        if (ret_by_queue)
            ret_by_queue[queue] += (uint64_t)count;
    }
    return rc;
}

int sqlite_store_prune(struct task_store *store, enum task_state state, uint64_t until_ms, size_t limit,
                       uint64_t *ret_by_queue, struct err *err)
{
    static const char sql[] =
        "INSERT INTO temp.gone SELECT row, queue, state FROM main.task "
        "INDEXED BY task_finished WHERE state = ?1 AND state >= 3 AND finished_ms <= ?2 "
        "ORDER BY finished_ms, row LIMIT ?3";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, state);
    sqlite_bind_uint(stmt, 2, until_ms);
    sqlite_bind_uint(stmt, 3, limit);
    rc = sqlite_finish(&store->conn, stmt, err);
    int count = rc == 0 ? sqlite3_changes(store->conn.db) : 0;
    if (count == 0)
        return rc;
    rc = count_gone(store, ret_by_queue, err);
    if (rc == 0)
        rc = remove_gone(&store->conn, err);
    return rc == 0 ? count : rc;
}

int sqlite_store_remove(struct task_store *store, const struct uuid *id, struct err *err)
{
    static const char sql[] = "INSERT INTO temp.gone SELECT row, queue, state FROM main.task WHERE row = ?1 "
                              "AND id = ?2 AND state >= 3";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(id));
    sqlite3_bind_blob(stmt, 2, id, sizeof(*id), SQLITE_STATIC);
    rc = sqlite_finish(&store->conn, stmt, err);
    if (rc == 0 && sqlite3_changes(store->conn.db) == 0)
        return err_set(err, -ESTALE, "there is no such finished task");
    if (rc == 0)
        rc = count_gone(store, NULL, err);
    return rc == 0 ? remove_gone(&store->conn, err) : rc;
}
