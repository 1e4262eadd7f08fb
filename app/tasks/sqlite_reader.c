/* Readers: connections that only look, and see what has been committed when they begin to. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/sqlite_int.h"

/* So many rows one call for a list looks at, so that a filter that fits nothing does not hold up a thread,
 * nor the writing back of the log, for long: some 10 ms. */
#define LIST_ROWS_MAX 20000

struct task_reader {
    struct sqlite_conn conn;
};

int sqlite_reader_open(const char *where, struct task_reader **ret, struct err *err)
{
    struct task_reader *reader = calloc(1, sizeof(*reader));

    if (!reader)
        return err_set(err, -ENOMEM, "the task store: out of memory");
    int rc = sqlite_open(where, false, &reader->conn, err);
    if (rc != 0) {
        free(reader);
        return rc;
    }
    *ret = reader;
    return 0;
}

void sqlite_reader_close(struct task_reader *reader)
{
    if (!reader)
        return;
    sqlite_close(&reader->conn);
    free(reader);
}

/* ---- one task ---- */

static int add_past(struct task *task, size_t *capacity, const struct task_attempt *attempt)
{
    if (task->past_count == *capacity) {
        size_t more = *capacity * 2 + 4;
        struct task_attempt *past = reallocarray(task->past, more, sizeof(*past));
        if (!past)
            return -ENOMEM;
        task->past = past;
        *capacity = more;
    }
    task->past[task->past_count++] = *attempt;
    return 0;
}

static int read_attempt(sqlite3_stmt *stmt, struct task *task, size_t *capacity)
{
    const char *error = (const char *)sqlite3_column_text(stmt, 4);
    struct task_attempt attempt = {
        .run = (unsigned)sqlite3_column_int64(stmt, 0),
        .started_ms = (uint64_t)sqlite3_column_int64(stmt, 1),
        .finished_ms = (uint64_t)sqlite3_column_int64(stmt, 2),
        .was_interrupted = sqlite3_column_int(stmt, 3) != 0,
        .error = error ? strdup(error) : NULL,
    };

    if (!attempt.error && sqlite3_column_type(stmt, 4) != SQLITE_NULL)
        return -ENOMEM;
    int rc = add_past(task, capacity, &attempt);
    if (rc != 0)
        free(attempt.error);
    return rc;
}

static int read_past(struct sqlite_conn *conn, struct task *task, struct err *err)
{
    static const char sql[] = "SELECT run, started_ms, finished_ms, was_interrupted, error FROM attempt "
                              "WHERE row = ?1 ORDER BY run";
    size_t capacity = 0;
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(&task->id));
    while ((rc = sqlite_step(conn, stmt, err)) == 1) {
        if (read_attempt(stmt, task, &capacity) != 0) {
            sqlite3_reset(stmt);
            return err_set(err, -ENOMEM, "out of memory for a task");
        }
    }
    return rc;
}

int sqlite_reader_get(struct task_reader *reader, const struct uuid *id, struct task **ret, struct err *err)
{
    static const char sql[] = SQLITE_SELECT_ALL SQLITE_JOIN_ALL "WHERE t.row = ?1 AND t.id = ?2";
    struct task *task = NULL;
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&reader->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(id));
    sqlite3_bind_blob(stmt, 2, id, sizeof(*id), SQLITE_STATIC);
    rc = sqlite_step(&reader->conn, stmt, err);
    if (rc != 1)
        return rc;
    rc = sqlite_read_task(&reader->conn, stmt, &task, err);
    if (rc == 0)
        rc = read_past(&reader->conn, task, err);
    sqlite3_reset(stmt); /* only now: its past is of the same moment as the task */
    if (rc != 0) {
        task_unref(task);
        return rc;
    }
    *ret = task;
    return 1;
}

/* ---- lists ---- */

/* What a list's filter looks at, from the newest on.  By the state's own index where it has so few tasks that
 * they can be sorted; else along the table. */
#define SCAN "SELECT row, id, state, queue, kind, tags FROM task "
#define LAST " AND row < ?1 ORDER BY row DESC"

static const char *choose_scan(int state, uint64_t count)
{
    static const char all[] = SCAN "WHERE row < ?1 ORDER BY row DESC";
    static const char scheduled[] = SCAN "INDEXED BY task_scheduled WHERE state = 0" LAST;
    static const char queued[] = SCAN "INDEXED BY task_queued WHERE state = 1" LAST;
    static const char running[] = SCAN "INDEXED BY task_running WHERE state = 2" LAST;
    static const char succeeded[] = SCAN "INDEXED BY task_finished WHERE state = 3 AND state >= 3" LAST;
    static const char dead[] = SCAN "INDEXED BY task_finished WHERE state = 4 AND state >= 3" LAST;
    static const char cancelled[] = SCAN "INDEXED BY task_finished WHERE state = 5 AND state >= 3" LAST;
    static const char *const by_state[TASK_STATE_COUNT] = {
        [TASK_STATE_SCHEDULED] = scheduled, [TASK_STATE_QUEUED] = queued, [TASK_STATE_RUNNING] = running,
        [TASK_STATE_SUCCEEDED] = succeeded, [TASK_STATE_DEAD] = dead,     [TASK_STATE_CANCELLED] = cancelled,
    };

    return state < 0 || state >= TASK_STATE_COUNT || count > LIST_ROWS_MAX ? all : by_state[state];
}

static int count_state(struct sqlite_conn *conn, int state, uint64_t *ret, struct err *err)
{
    static const char sql[] = "SELECT coalesce(sum(tasks), 0) FROM counter WHERE state = ?1";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int(stmt, 1, state);
    rc = sqlite_number(conn, stmt, ret, err);
    return rc < 0 ? rc : 0;
}

/* Whether the tag is one of the JSON array `tags`; -ENOMEM. */
static int has_tag(const char *tags, const char *tag)
{
    json_error_t error;
    json_t *array = json_loads(tags, 0, &error);
    bool is_found = false;
    size_t i;
    json_t *item;

    if (!array)
        return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : 0;
    json_array_foreach (array, i, item)
        is_found |= json_is_string(item) && strcmp(json_string_value(item), tag) == 0;
    json_decref(array);
    return is_found;
}

/* 1, 0, or an error. */
static int fits(struct sqlite_conn *conn, sqlite3_stmt *scan, const struct task_filter *filter)
{
    if (filter->state >= 0 && sqlite3_column_int(scan, 2) != filter->state)
        return 0;
    if (filter->queue >= 0 && sqlite3_column_int(scan, 3) != filter->queue)
        return 0;
    const char *kind = filter->kind ? (const char *)sqlite3_column_text(scan, 4) : NULL;
    const char *tags = filter->tag ? (const char *)sqlite3_column_text(scan, 5) : NULL;
    if (sqlite3_errcode(conn->db) == SQLITE_NOMEM)
        return -ENOMEM;
    if (filter->kind && (!kind || strcmp(kind, filter->kind) != 0))
        return 0;
    if (!filter->tag)
        return 1;
    return tags ? has_tag(tags, filter->tag) : 0;
}

static int read_row(struct sqlite_conn *conn, int64_t row, bool with_documents, struct task **ret,
                    struct err *err)
{
    static const char bare_sql[] = SQLITE_SELECT_BARE SQLITE_JOIN_PAYLOAD "WHERE t.row = ?1";
    static const char all_sql[] = SQLITE_SELECT_ALL SQLITE_JOIN_ALL "WHERE t.row = ?1";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, with_documents ? all_sql : bare_sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, row);
    return sqlite_read_one(conn, stmt, ret, err);
}

/* Goes on with `scan`; sets `ret_next` when it stops before the end of it.  How many, `count` of them even
 * after an error. */
static int scan_list(struct sqlite_conn *conn, sqlite3_stmt *scan, const struct task_filter *filter,
                     size_t limit, struct task **ret_tasks, size_t *count, struct uuid *ret_next,
                     struct err *err)
{
    struct uuid last = {0};
    int rc;

    for (size_t rows = 0; (rc = sqlite_step(conn, scan, err)) == 1; rows++) {
        if (*count == limit || rows == LIST_ROWS_MAX) {
            *ret_next = last;
            return 0;
        }
        rc = sqlite_read_id(scan, 1, &last, err);
        if (rc != 0)
            return rc;
        int does_fit = fits(conn, scan, filter);
        if (does_fit < 0)
            return err_set(err, does_fit, "out of memory for a list of tasks");
        if (does_fit == 0)
            continue;
        rc = read_row(conn, sqlite3_column_int64(scan, 0), filter->with_documents, &ret_tasks[*count], err);
        if (rc < 0)
            return rc;
        *count += (size_t)rc;
    }
    return rc;
}

int sqlite_reader_list(struct task_reader *reader, const struct task_filter *filter, size_t limit,
                       struct task **ret_tasks, struct uuid *ret_next, struct err *err)
{
    struct uuid next = {0};
    int64_t before = sqlite_row_of(&filter->after);
    uint64_t in_state = 0;
    size_t count = 0;
    sqlite3_stmt *scan;
    int rc = filter->state < 0 ? 0 : count_state(&reader->conn, filter->state, &in_state, err);

    if (rc == 0)
        rc = sqlite_prepare(&reader->conn, choose_scan(filter->state, in_state), &scan, err);
    if (rc != 0)
        return rc;
    sqlite3_bind_int64(scan, 1, before > 0 ? before : INT64_MAX);
    rc = scan_list(&reader->conn, scan, filter, limit, ret_tasks, &count, &next, err);
    sqlite3_reset(scan); /* only now: all tasks are of the same moment */
    if (rc == 0) {
        *ret_next = next;
        return (int)count;
    }
    while (count > 0)
        task_unref(ret_tasks[--count]);
    return rc;
}

/* ---- queues ---- */

int sqlite_reader_position(struct task_reader *reader, const struct task *task, bool holds_thread,
                           uint64_t limit, uint64_t *ret, struct err *err)
{
    /* Two ranges of the index: in one it would go on through all that have the same rank. */
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY task_queued "
        "WHERE state = 1 AND queue = ?1 AND holds_thread = ?2 AND (priority, rank) < (?3, ?4) "
        "UNION ALL SELECT 1 FROM task INDEXED BY task_queued "
        "WHERE state = 1 AND queue = ?1 AND holds_thread = ?2 AND priority = ?3 AND rank = ?4 AND row < ?5 "
        "LIMIT ?6)";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&reader->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, task->status.queue);
    sqlite_bind_uint(stmt, 2, holds_thread);
    sqlite_bind_uint(stmt, 3, task->status.priority);
    sqlite_bind_uint(stmt, 4, task->status.rank);
    sqlite3_bind_int64(stmt, 5, sqlite_row_of(&task->id));
    sqlite_bind_uint(stmt, 6, limit);
    rc = sqlite_number(&reader->conn, stmt, ret, err);
    return rc < 0 ? rc : 0;
}

int sqlite_reader_running_in(struct task_reader *reader, task_queue_id queue, size_t limit, struct task **ret,
                             struct err *err)
{
    static const char sql[] = SQLITE_SELECT_BARE "INDEXED BY task_running" SQLITE_JOIN_PAYLOAD
                                                 "WHERE t.state = 2 AND t.queue = ?1 ORDER BY t.row LIMIT ?2";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&reader->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, queue);
    sqlite_bind_uint(stmt, 2, limit);
    return sqlite_read_tasks(&reader->conn, stmt, ret, err);
}

/* ---- events ---- */

/* Passes on those of the present block from number `from` on.  1 to go on, 0 when `each` has enough. */
static int pass_block(sqlite3_stmt *stmt, uint64_t from, bool (*each)(void *arg, const struct task_event *),
                      void *arg, struct err *err)
{
    uint64_t first = (uint64_t)sqlite3_column_int64(stmt, 0);
    uint64_t count = (uint64_t)sqlite3_column_int64(stmt, 1);
    const uint8_t *packed = sqlite3_column_blob(stmt, 2);
    uint64_t size = (uint64_t)sqlite3_column_bytes(stmt, 2);
    struct task_event event;

    if (!packed && sqlite3_errcode(sqlite3_db_handle(stmt)) == SQLITE_NOMEM)
        return err_set(err, -ENOMEM, "out of memory for events");
    for (uint64_t i = from > first ? from - first : 0; i < count; i++) {
        if (size != count * TASK_EVENT_PACKED_BYTES ||
            !task_event_unpack(packed + i * TASK_EVENT_PACKED_BYTES, first + i, &event))
            return err_set(err, -EBADMSG, "the task store: event %ju is none", (uintmax_t)(first + i));
        if (!each(arg, &event))
            return 0;
    }
    return 1;
}

int sqlite_reader_events(struct task_reader *reader, uint64_t from,
                         bool (*each)(void *arg, const struct task_event *), void *arg, struct err *err)
{
    static const char sql[] = "SELECT first, count, packed FROM event WHERE first >= "
                              "coalesce((SELECT max(first) FROM event WHERE first <= ?1), 0) ORDER BY first";
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&reader->conn, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_uint(stmt, 1, from);
    while ((rc = sqlite_step(&reader->conn, stmt, err)) == 1) {
        rc = pass_block(stmt, from, each, arg, err);
        if (rc != 1)
            break;
    }
    sqlite3_reset(stmt);
    return rc;
}
