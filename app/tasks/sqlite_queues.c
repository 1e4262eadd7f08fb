/* Queues.  What the tasks of each queue and state come to is kept in a table of its own, since counting
 * millions takes seconds; it is written once in a transaction. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tasks/sqlite_int.h"

/* ---- counters ---- */

void sqlite_count(struct task_store *store, task_queue_id queue, enum task_state state, int64_t by)
{
    assert(queue < TASK_QUEUE_MAX && state < TASK_STATE_COUNT);
    store->changes[queue][state] += by;
    store->is_changed[queue] = true;
}

void sqlite_count_reset(struct task_store *store)
{
    for (size_t queue = 0; queue < TASK_QUEUE_MAX; queue++) {
        if (store->is_changed[queue])
            memset(store->changes[queue], 0, sizeof(store->changes[queue]));
        store->is_changed[queue] = false;
    }
}

static int write_change(struct task_store *store, size_t queue, size_t state, struct err *err)
{
    static const char sql[] = "INSERT INTO counter VALUES (?1, ?2, ?3) "
                              "ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks";
    sqlite3_stmt *stmt;

    if (store->changes[queue][state] == 0)
        return 0;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, queue);
    sqlite_bind_uint(stmt, 2, state);
    sqlite3_bind_int64(stmt, 3, store->changes[queue][state]);
    return sqlite_finish(&store->conn, stmt, err);
}

int sqlite_count_write(struct task_store *store, struct err *err)
{
    int rc = 0;

    for (size_t queue = 0; rc == 0 && queue < TASK_QUEUE_MAX; queue++)
        for (size_t state = 0; rc == 0 && store->is_changed[queue] && state < TASK_STATE_COUNT; state++)
            rc = write_change(store, queue, state, err);
    return rc;
}

/* ---- queues ---- */

static int read_queues(struct sqlite_conn *conn, struct task_queue_row *ret, struct err *err)
{
    static const char sql[] = "SELECT id, name, is_paused FROM queue ORDER BY id LIMIT ?1";
    sqlite3_stmt *stmt;
    int count = 0;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, TASK_QUEUE_MAX);
    while ((rc = sqlite_step(conn, stmt, err)) == 1) {
        int64_t id = sqlite3_column_int64(stmt, 0);
        const char *name = (const char *)sqlite3_column_text(stmt, 1);
        if (!name || id < 0 || id >= TASK_QUEUE_MAX) {
            sqlite3_reset(stmt);
            return name ? err_set(err, -EBADMSG, "the task store: a queue with the number %jd", (intmax_t)id)
                        : err_set(err, -ENOMEM, "out of memory for the queues");
        }
        ret[count] =
            (struct task_queue_row){.id = (task_queue_id)id, .is_paused = sqlite3_column_int(stmt, 2) != 0};
        snprintf(ret[count++].name, sizeof(ret->name), "%s", name);
    }
    return rc == 0 ? count : rc;
}

static void add_changes(const struct task_store *store, struct task_queue_row *queue)
{
    for (size_t state = 0; state < TASK_STATE_COUNT; state++)
        queue->counts.by_state[state] += (uint64_t)store->changes[queue->id][state];
}

static int read_counts(struct sqlite_conn *conn, struct task_queue_row *queues, int count, struct err *err)
{
    static const char sql[] = "SELECT queue, state, tasks FROM counter ORDER BY queue";
    sqlite3_stmt *stmt;
    int at = 0;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    while ((rc = sqlite_step(conn, stmt, err)) == 1) {
        int64_t queue = sqlite3_column_int64(stmt, 0);
        int64_t state = sqlite3_column_int64(stmt, 1);
        while (at < count && queues[at].id < queue)
            at++;
        if (at < count && queues[at].id == queue && state >= 0 && state < TASK_STATE_COUNT)
            queues[at].counts.by_state[state] = (uint64_t)sqlite3_column_int64(stmt, 2);
    }
    return rc;
}

int sqlite_store_queues(struct task_store *store, struct task_queue_row ret[TASK_QUEUE_MAX], struct err *err)
{
    int count = read_queues(&store->conn, ret, err);
    int rc = count < 0 ? count : read_counts(&store->conn, ret, count, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < count; i++)
        add_changes(store, &ret[i]);
    return count;
}

int sqlite_store_add_queue(struct task_store *store, const struct task_queue_row *queue, struct err *err)
{
    static const char sql[] = "INSERT INTO queue VALUES (?1, ?2, ?3)";
    sqlite3_stmt *stmt;

    assert(queue->id < TASK_QUEUE_MAX);
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, queue->id);
    sqlite_bind_text(stmt, 2, queue->name);
    sqlite_bind_uint(stmt, 3, queue->is_paused);
    return sqlite_finish(&store->conn, stmt, err);
}

int sqlite_store_pause_queue(struct task_store *store, task_queue_id queue, bool is_paused, struct err *err)
{
    static const char sql[] = "UPDATE queue SET is_paused = ?2 WHERE id = ?1";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, queue);
    sqlite_bind_uint(stmt, 2, is_paused);
    return sqlite_finish(&store->conn, stmt, err);
}

/* ---- ranks ---- */

int sqlite_store_ranks(struct task_store *store,
                       void (*each)(void *arg, task_queue_id, unsigned slot, uint64_t rank), void *arg,
                       struct err *err)
{
    static const char sql[] = "SELECT queue, slot, rank FROM rank ORDER BY queue, slot";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    while ((rc = sqlite_step(&store->conn, stmt, err)) == 1)
        each(arg, (task_queue_id)sqlite3_column_int(stmt, 0), (unsigned)sqlite3_column_int64(stmt, 1),
             (uint64_t)sqlite3_column_int64(stmt, 2));
    return rc;
}

int sqlite_store_set_rank(struct task_store *store, task_queue_id queue, unsigned slot, uint64_t rank,
                          struct err *err)
{
    static const char sql[] = "INSERT OR REPLACE INTO rank VALUES (?1, ?2, ?3)";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, queue);
    sqlite_bind_uint(stmt, 2, slot);
    sqlite_bind_uint(stmt, 3, rank);
    return sqlite_finish(&store->conn, stmt, err);
}
