/* A task to and from its rows.  The lists of columns in sqlite_int.h make the texts of the statements, the
 * binding and the reading, so that a column can not be bound in one place and read as another. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/sqlite_int.h"

#define NAME(type, column, member) ", " #column
#define MARK(type, column, member) ", ?"
#define SET(type, column, member)  ", " #column " = ?"

static const char insert_sql[] =
    "INSERT INTO task (row, id, created_ms, error, holds_thread" SQLITE_STATUS_COLUMNS(NAME)
        SQLITE_SPEC_COLUMNS(NAME) ") VALUES (?, ?, ?, ?, ?" SQLITE_STATUS_COLUMNS(MARK)
            SQLITE_SPEC_COLUMNS(MARK) ")";
static const char insert_payload_sql[] =
    "INSERT INTO payload (row, json" SQLITE_COLD_COLUMNS(NAME) ") VALUES (?, ?" SQLITE_COLD_COLUMNS(MARK) ")";
static const char update_sql[] =
    "UPDATE task SET error = coalesce(?, error), result = CASE WHEN ? THEN ? ELSE result "
    "END" SQLITE_STATUS_COLUMNS(SET) " WHERE row = ? AND state = ? AND run = ?";
static const char insert_result_sql[] = "INSERT OR REPLACE INTO result VALUES (?, ?)";

/* A result up to this is in the task's row, a longer one in a table of its own, so that rows stay short. */
#define SHORT_RESULT_BYTES 200

/* ---- binding ---- */

#define BIND_TEXT(at, value)       sqlite_bind_text(stmt, at, value);
#define BIND_UINT(at, value)       sqlite_bind_uint(stmt, at, value);
#define BIND_OPT(at, value)        sqlite_bind_optional(stmt, at, value);
#define BIND_REAL(at, value)       sqlite3_bind_double(stmt, at, value);
#define BIND(type, column, member) BIND_##type(at++, from->member)

/* They return where to go on. */

static int bind_status(sqlite3_stmt *stmt, int at, const struct task_status *from)
{
    SQLITE_STATUS_COLUMNS(BIND)
    return at;
}

static int bind_spec(sqlite3_stmt *stmt, int at, const struct task_spec *from)
{
    SQLITE_SPEC_COLUMNS(BIND)
    return at;
}

static int bind_cold(sqlite3_stmt *stmt, int at, const struct task_spec *from)
{
    SQLITE_COLD_COLUMNS(BIND)
    return at;
}

static int insert_payload(struct sqlite_conn *conn, int64_t row, const struct task_spec *spec,
                          struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, insert_payload_sql, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, row);
    sqlite_bind_text(stmt, 2, spec->payload);
    bind_cold(stmt, 3, spec);
    return sqlite_finish(conn, stmt, err);
}

int sqlite_insert_task(struct sqlite_conn *conn, const struct task *task, struct err *err)
{
    int64_t row = sqlite_row_of(&task->id);
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, insert_sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, row);
    sqlite3_bind_blob(stmt, 2, &task->id, sizeof(task->id), SQLITE_STATIC);
    sqlite_bind_uint(stmt, 3, task->created_ms);
    sqlite_bind_text(stmt, 4, task->error);
    sqlite_bind_uint(stmt, 5, task->kind && task->kind->holds_thread);
    bind_spec(stmt, bind_status(stmt, 6, &task->status), &task->spec);
    rc = sqlite_finish(conn, stmt, err);
    return rc == 0 ? insert_payload(conn, row, &task->spec, err) : rc;
}

static int insert_result(struct sqlite_conn *conn, int64_t row, const char *json, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, insert_result_sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, row);
    sqlite_bind_text(stmt, 2, json);
    return sqlite_finish(conn, stmt, err);
}

int sqlite_update_task(struct sqlite_conn *conn, const struct task *task, const struct task_status *to,
                       const char *result, const char *error, struct err *err)
{
    bool is_long = result && strlen(result) > SHORT_RESULT_BYTES;
    int64_t row = sqlite_row_of(&task->id);
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(conn, update_sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, error);
    sqlite_bind_uint(stmt, 2, result != NULL);
    sqlite_bind_text(stmt, 3, is_long ? NULL : result);
    int at = bind_status(stmt, 4, to);
    sqlite3_bind_int64(stmt, at++, row);
    sqlite_bind_uint(stmt, at++, task->status.state);
    sqlite_bind_uint(stmt, at++, task->status.run);
    rc = sqlite_finish(conn, stmt, err);
    if (rc == 0 && sqlite3_changes(conn->db) == 0)
        return err_set(err, -ESTALE, "the task has moved on meanwhile");
    return rc == 0 && is_long ? insert_result(conn, row, result, err) : rc;
}

/* ---- reading ---- */

#define READ_TEXT(at, member)      (const char *)sqlite3_column_text(stmt, at)
#define READ_UINT(at, member)      (__typeof__(member))sqlite3_column_int64(stmt, at)
#define READ_OPT(at, member)       READ_UINT(at, member)
#define READ_REAL(at, member)      sqlite3_column_double(stmt, at)
#define READ(type, column, member) ret->member = READ_##type(at++, ret->member);

static int read_status(sqlite3_stmt *stmt, int at, struct task_status *ret)
{
    SQLITE_STATUS_COLUMNS(READ)
    return at;
}

static int read_spec(sqlite3_stmt *stmt, int at, struct task_spec *ret)
{
    SQLITE_SPEC_COLUMNS(READ)
    SQLITE_COLD_COLUMNS(READ)
    return at;
}

int64_t sqlite_row_of(const struct uuid *id)
{
    uint64_t row = 0;

    for (size_t i = 0; i < 6; i++)
        row = row << 8 | id->bytes[i];
    return (int64_t)(row << 12 | (uint64_t)(id->bytes[6] & 0xf) << 8 | id->bytes[7]);
}

int sqlite_read_id(sqlite3_stmt *stmt, int column, struct uuid *ret, struct err *err)
{
    const void *bytes = sqlite3_column_blob(stmt, column);

    if (!bytes || sqlite3_column_bytes(stmt, column) != (int)sizeof(*ret))
        return err_set(err, -EBADMSG, "the task store: a task without an id");
    memcpy(ret, bytes, sizeof(*ret));
    return 0;
}

static int check_status(const struct task_status *status, struct err *err)
{
    if ((unsigned)status->state >= TASK_STATE_COUNT || status->queue >= TASK_QUEUE_MAX)
        return err_set(err, -EBADMSG, "the task store: a task in the unknown state %d or queue %u",
                       (int)status->state, (unsigned)status->queue);
    return 0;
}

static char *copy_text(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;

    *failed |= text && !copy;
    return copy;
}

int sqlite_read_task(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct task **ret, struct err *err)
{
    struct task_status status = {0};
    struct task_spec spec = {0};
    struct uuid id;
    bool failed = false;

    int rc = sqlite_read_id(stmt, 0, &id, err);
    const char *error = (const char *)sqlite3_column_text(stmt, 2);
    int at = read_spec(stmt, read_status(stmt, 3, &status), &spec);
    spec.payload = (const char *)sqlite3_column_text(stmt, at);
    const char *result = (const char *)sqlite3_column_text(stmt, at + 1);
    if (sqlite3_errcode(conn->db) == SQLITE_NOMEM || !spec.kind_name) /* which is never NULL */
        return err_set(err, -ENOMEM, "out of memory for a task");
    if (rc == 0)
        rc = check_status(&status, err);
    if (rc != 0)
        return rc;
    struct task *task = task_create(&id, &spec, (uint64_t)sqlite3_column_int64(stmt, 1));
    if (!task)
        return err_set(err, -ENOMEM, "out of memory for a task");
    task->status = status;
    task->error = copy_text(error, &failed);
    task->result = copy_text(result, &failed);
    if (failed) {
        task_unref(task);
        return err_set(err, -ENOMEM, "out of memory for a task");
    }
    *ret = task;
    return 0;
}

int sqlite_read_one(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct task **ret, struct err *err)
{
    int rc = sqlite_step(conn, stmt, err);

    if (rc != 1)
        return rc;
    rc = sqlite_read_task(conn, stmt, ret, err);
    sqlite3_reset(stmt);
    return rc == 0 ? 1 : rc;
}

int sqlite_read_tasks(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct task **ret, struct err *err)
{
    int count = 0;
    int rc;

    while ((rc = sqlite_step(conn, stmt, err)) == 1) {
        rc = sqlite_read_task(conn, stmt, &ret[count], err);
        if (rc != 0)
            break;
        count++;
    }
    sqlite3_reset(stmt);
    if (rc == 0)
        return count;
    while (count > 0)
        task_unref(ret[--count]);
    return rc;
}
