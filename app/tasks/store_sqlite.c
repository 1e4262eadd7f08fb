/* The task store in an SQLite file: no server, one file that can be copied and looked into.
 *
 * One connection writes, in the thread that owns the store.  A lock file beside the database says which
 * process that is; the kernel drops the lock with the process, however it ends, so there is nothing to clear
 * up. What the tasks of each state come to is kept in a table of its own, since counting millions takes
 * seconds. */
#include "tasks/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tasks/sqlite_int.h"

/* The log is written back into the database when it has so many pages of 4 KiB: it costs a sync of its own,
 * and the longer the log the more changes of one page it saves. */
#define CHECKPOINT_PAGES 4096

enum {
    BEGIN,
    COMMIT,
    INSERT_TASK,
    INSERT_PAYLOAD,
    INSERT_RESULT,
    MOVE,
    FIRST_QUEUED,
    NEXT_RUNNING,
    OLDEST_FINISHED,
    DELETE_TASK,
    DELETE_PAYLOAD,
    DELETE_RESULT,
    GREATEST_ID,
    COUNT,
    READ_COUNTS,
    STATEMENT_COUNT,
};

#define WITH_DOCUMENTS                                                                                       \
    "SELECT " SQLITE_TASK_COLUMNS ", p.json, r.json FROM task t "                                            \
    "LEFT JOIN payload p ON p.row = t.row LEFT JOIN result r ON r.row = t.row "

static const char move_sql[] =
    "UPDATE task SET state = ?4, run = ?5, attempts = ?6, interruptions = ?7, started_ms = ?8, "
    "finished_ms = ?9, error = coalesce(?10, error) WHERE row = ?1 AND state = ?2 AND run = ?3";

static const char first_queued_sql[] = WITH_DOCUMENTS "WHERE t.state = 1 ORDER BY t.row LIMIT 1";

static const char next_running_sql[] =
    "SELECT " SQLITE_TASK_COLUMNS " FROM task t WHERE t.state = 2 AND t.row > ?1 ORDER BY t.row LIMIT 1";

static const char *const texts[STATEMENT_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [INSERT_TASK] = "INSERT INTO task VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [INSERT_PAYLOAD] = "INSERT INTO payload VALUES (?1, ?2)",
    [INSERT_RESULT] = "INSERT OR REPLACE INTO result VALUES (?1, ?2)",
    [MOVE] = move_sql,
    [FIRST_QUEUED] = first_queued_sql,
    [NEXT_RUNNING] = next_running_sql,
    [OLDEST_FINISHED] = "SELECT row, state FROM task WHERE state >= 3 ORDER BY finished_ms, row LIMIT 1",
    [DELETE_TASK] = "DELETE FROM task WHERE row = ?1",
    [DELETE_PAYLOAD] = "DELETE FROM payload WHERE row = ?1",
    [DELETE_RESULT] = "DELETE FROM result WHERE row = ?1",
    [GREATEST_ID] = "SELECT id FROM task ORDER BY row DESC LIMIT 1",
    [COUNT] = "UPDATE counter SET tasks = tasks + ?2 WHERE state = ?1",
    [READ_COUNTS] = "SELECT state, tasks FROM counter",
};

struct task_store {
    sqlite3 *db;
    int lock_fd;
    int log_pages;                     /* in the write-ahead log, after the last commit */
    int64_t changes[TASK_STATE_COUNT]; /* of the counters, in this transaction */
    struct sqlite_statement statements[STATEMENT_COUNT];
};

/* ---- one process ---- */

static int say_who_has_it(int fd, const char *path, struct err *err)
{
    char holder[32] = "";
    ssize_t size = pread(fd, holder, sizeof(holder) - 1, 0);

    holder[size > 0 ? strcspn(holder, "\n") : 0] = '\0';
    return err_set(err, -EBUSY, "the task store is in use by process %s (%s)", holder[0] ? holder : "?",
                   path);
}

/* The folder that the file is in, if it is not there; not those above it. */
static void make_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash && slash > path ? strndup(path, (size_t)(slash - path)) : NULL;

    if (folder)
        mkdir(folder, 0700); /* what goes wrong shows when the file is opened */
    free(folder);
}

static int take_lock(const char *where, int *ret_fd, struct err *err)
{
    char path[4096];
    char pid[32];

    if (snprintf(path, sizeof(path), "%s.lock", where) >= (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "the task store's path is too long");
    make_folder(path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int rc = errno == EWOULDBLOCK ? say_who_has_it(fd, path, err) : err_set_errno(err, errno, "%s", path);
        close(fd);
        return rc;
    }
    int length = snprintf(pid, sizeof(pid), "%jd\n", (intmax_t)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)length, 0) != length) {
        int rc = err_set_errno(err, errno, "%s", path);
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- opening and closing ---- */

static int on_commit_logged(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct task_store *)arg)->log_pages = pages;
    return SQLITE_OK;
}

static void sqlite_store_close(struct task_store *store)
{
    if (!store)
        return;
    sqlite_finalize(store->statements, STATEMENT_COUNT);
    sqlite3_close(store->db);
    close(store->lock_fd); /* after the database: who gets the lock has it alone */
    free(store);
}

static int sqlite_store_open(const char *where, struct task_store **ret, struct err *err)
{
    struct task_store *store = calloc(1, sizeof(*store));
    int rc;

    if (!store)
        return err_set(err, -ENOMEM, "the task store: out of memory");
    rc = take_lock(where, &store->lock_fd, err);
    if (rc != 0) {
        free(store);
        return rc;
    }
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        store->statements[i].sql = texts[i];
    rc = sqlite_connect(where, true, &store->db, err);
    if (rc == 0)
        rc = sqlite_migrate(store->db, err);
    if (rc != 0) {
        sqlite_store_close(store);
        return rc;
    }
    sqlite3_wal_hook(store->db, on_commit_logged, store);
    *ret = store;
    return 0;
}

/* ---- statements ---- */

static sqlite3_stmt *prepare(struct task_store *store, int statement, struct err *err)
{
    return sqlite_prepare(store->db, &store->statements[statement], err);
}

/* To the end; for statements that return no rows. */
static int finish(struct task_store *store, sqlite3_stmt *stmt, struct err *err)
{
    return sqlite_step(store->db, stmt, err);
}

static int run(struct task_store *store, int statement, struct err *err)
{
    sqlite3_stmt *stmt = prepare(store, statement, err);

    return stmt ? finish(store, stmt, err) : err->code;
}

static void bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
    sqlite3_bind_text(stmt, column, text, -1, SQLITE_STATIC);
}

static void bind_uint(sqlite3_stmt *stmt, int column, uint64_t value)
{
    sqlite3_bind_int64(stmt, column, (int64_t)value);
}

/* ---- transactions ---- */

static int sqlite_store_begin(struct task_store *store, struct err *err)
{
    memset(store->changes, 0, sizeof(store->changes));
    return run(store, BEGIN, err);
}

static void sqlite_store_rollback(struct task_store *store)
{
    if (!sqlite3_get_autocommit(store->db)) /* after some errors SQLite has rolled back by itself */
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

static int write_counters(struct task_store *store, struct err *err)
{
    for (int state = 0; state < TASK_STATE_COUNT; state++) {
        if (store->changes[state] == 0)
            continue;
        sqlite3_stmt *stmt = prepare(store, COUNT, err);
        if (!stmt)
            return err->code;
        sqlite3_bind_int(stmt, 1, state);
        sqlite3_bind_int64(stmt, 2, store->changes[state]);
        int rc = finish(store, stmt, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A checkpoint that fails now is made later: the log holds what is stored. */
static void checkpoint(struct task_store *store)
{
    if (store->log_pages >= CHECKPOINT_PAGES)
        sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static int sqlite_store_commit(struct task_store *store, struct err *err)
{
    int rc = write_counters(store, err);

    if (rc == 0)
        rc = run(store, COMMIT, err);
    if (rc != 0) {
        sqlite_store_rollback(store);
        return rc;
    }
    checkpoint(store);
    return 0;
}

/* ---- tasks ---- */

static void bind_status(sqlite3_stmt *stmt, int first, const struct task_status *status)
{
    bind_uint(stmt, first, status->state);
    bind_uint(stmt, first + 1, status->run);
    bind_uint(stmt, first + 2, status->attempts);
    bind_uint(stmt, first + 3, status->interruptions);
    bind_uint(stmt, first + 4, status->started_ms);
    bind_uint(stmt, first + 5, status->finished_ms);
}

static int insert_document(struct task_store *store, int statement, int64_t row, const char *json,
                           struct err *err)
{
    sqlite3_stmt *stmt = prepare(store, statement, err);

    if (!stmt)
        return err->code;
    sqlite3_bind_int64(stmt, 1, row);
    bind_text(stmt, 2, json);
    return finish(store, stmt, err);
}

static int sqlite_store_insert(struct task_store *store, const struct task *task, struct err *err)
{
    int64_t row = sqlite_row_of(&task->id);
    sqlite3_stmt *stmt = prepare(store, INSERT_TASK, err);

    if (!stmt)
        return err->code;
    sqlite3_bind_int64(stmt, 1, row);
    sqlite3_bind_blob(stmt, 2, &task->id, sizeof(task->id), SQLITE_STATIC);
    bind_text(stmt, 3, task->kind_name);
    bind_uint(stmt, 4, task->created_ms);
    bind_status(stmt, 5, &task->status);
    bind_text(stmt, 11, task->error);
    int rc = finish(store, stmt, err);
    if (rc == 0)
        rc = insert_document(store, INSERT_PAYLOAD, row, task->payload, err);
    if (rc == 0)
        store->changes[task->status.state]++;
    return rc;
}

static int sqlite_store_move(struct task_store *store, const struct uuid *id, const struct task_status *from,
                             const struct task_status *to, const char *result, const char *error,
                             struct err *err)
{
    int64_t row = sqlite_row_of(id);
    sqlite3_stmt *stmt = prepare(store, MOVE, err);

    if (!stmt)
        return err->code;
    sqlite3_bind_int64(stmt, 1, row);
    bind_uint(stmt, 2, from->state);
    bind_uint(stmt, 3, from->run);
    bind_status(stmt, 4, to);
    bind_text(stmt, 10, error);
    int rc = finish(store, stmt, err);
    if (rc == 0 && sqlite3_changes(store->db) == 0)
        return err_set(err, -ESTALE, "the task has moved on meanwhile");
    if (rc == 0 && result)
        rc = insert_document(store, INSERT_RESULT, row, result, err);
    if (rc == 0) {
        store->changes[from->state]--;
        store->changes[to->state]++;
    }
    return rc;
}

/* The one row of a question: 1 with the task, or 0. */
static int read_one(sqlite3 *db, sqlite3_stmt *stmt, struct task **ret, struct err *err)
{
    int rc = sqlite_step(db, stmt, err);

    if (rc != 1)
        return rc;
    rc = sqlite_read_task(stmt, ret, err);
    sqlite3_reset(stmt);
    return rc == 0 ? 1 : rc;
}

static int sqlite_store_first_queued(struct task_store *store, struct task **ret, struct err *err)
{
    sqlite3_stmt *stmt = prepare(store, FIRST_QUEUED, err);

    return stmt ? read_one(store->db, stmt, ret, err) : err->code;
}

static int sqlite_store_next_running(struct task_store *store, const struct uuid *after, struct task **ret,
                                     struct err *err)
{
    sqlite3_stmt *stmt = prepare(store, NEXT_RUNNING, err);

    if (!stmt)
        return err->code;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(after));
    return read_one(store->db, stmt, ret, err);
}

static int delete_row(struct task_store *store, int64_t row, struct err *err)
{
    for (int statement = DELETE_TASK; statement <= DELETE_RESULT; statement++) {
        sqlite3_stmt *stmt = prepare(store, statement, err);
        if (!stmt)
            return err->code;
        sqlite3_bind_int64(stmt, 1, row);
        int rc = finish(store, stmt, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int sqlite_store_prune(struct task_store *store, size_t limit, struct task_counts *ret_counts,
                              struct err *err)
{
    for (size_t i = 0; i < limit; i++) {
        sqlite3_stmt *stmt = prepare(store, OLDEST_FINISHED, err);
        int rc = stmt ? sqlite_step(store->db, stmt, err) : err->code;
        if (rc <= 0)
            return rc;
        int64_t row = sqlite3_column_int64(stmt, 0);
        enum task_state state;
        rc = sqlite_read_state(stmt, 1, &state, err);
        sqlite3_reset(stmt);
        if (rc == 0)
            rc = delete_row(store, row, err);
        if (rc != 0)
            return rc;
        store->changes[state]--;
        ret_counts->by_state[state]++;
    }
    return 0;
}

static int sqlite_store_greatest_id(struct task_store *store, struct uuid *ret, struct err *err)
{
    struct uuid id = {0};
    sqlite3_stmt *stmt = prepare(store, GREATEST_ID, err);
    int rc = stmt ? sqlite_step(store->db, stmt, err) : err->code;

    if (rc == 1) {
        rc = sqlite_read_id(stmt, 0, &id, err);
        sqlite3_reset(stmt);
    }
    if (rc == 0)
        *ret = id;
    return rc;
}

static int sqlite_store_count(struct task_store *store, struct task_counts *ret, struct err *err)
{
    struct task_counts counts = {0};
    enum task_state state;
    sqlite3_stmt *stmt = prepare(store, READ_COUNTS, err);
    int rc;

    if (!stmt)
        return err->code;
    while ((rc = sqlite_step(store->db, stmt, err)) == 1) {
        rc = sqlite_read_state(stmt, 0, &state, err);
        if (rc != 0) {
            sqlite3_reset(stmt);
            return rc;
        }
        counts.by_state[state] = (uint64_t)sqlite3_column_int64(stmt, 1);
    }
    if (rc == 0)
        *ret = counts;
    return rc;
}

/* ---- readers ---- */

enum { READ_ONE, READ_NEWEST, READ_STATEMENT_COUNT };

static const char *const reader_texts[READ_STATEMENT_COUNT] = {
    [READ_ONE] = WITH_DOCUMENTS "WHERE t.row = ?1 AND t.id = ?2",
    [READ_NEWEST] = "SELECT " SQLITE_TASK_COLUMNS " FROM task t ORDER BY t.row DESC LIMIT ?1",
};

struct task_reader {
    sqlite3 *db;
    struct sqlite_statement statements[READ_STATEMENT_COUNT];
};

static void sqlite_reader_close(struct task_reader *reader)
{
    if (!reader)
        return;
    sqlite_finalize(reader->statements, READ_STATEMENT_COUNT);
    sqlite3_close(reader->db);
    free(reader);
}

static int sqlite_reader_open(const char *where, struct task_reader **ret, struct err *err)
{
    struct task_reader *reader = calloc(1, sizeof(*reader));

    if (!reader)
        return err_set(err, -ENOMEM, "the task store: out of memory");
    for (size_t i = 0; i < READ_STATEMENT_COUNT; i++)
        reader->statements[i].sql = reader_texts[i];
    int rc = sqlite_connect(where, false, &reader->db, err);
    if (rc != 0) {
        free(reader);
        return rc;
    }
    *ret = reader;
    return 0;
}

static int sqlite_reader_get(struct task_reader *reader, const struct uuid *id, struct task **ret,
                             struct err *err)
{
    sqlite3_stmt *stmt = sqlite_prepare(reader->db, &reader->statements[READ_ONE], err);

    if (!stmt)
        return err->code;
    sqlite3_bind_int64(stmt, 1, sqlite_row_of(id));
    sqlite3_bind_blob(stmt, 2, id, sizeof(*id), SQLITE_STATIC);
    return read_one(reader->db, stmt, ret, err);
}

static int sqlite_reader_list(struct task_reader *reader, size_t limit, struct task **ret_tasks,
                              struct err *err)
{
    sqlite3_stmt *stmt = sqlite_prepare(reader->db, &reader->statements[READ_NEWEST], err);
    int count = 0;
    int rc;

    if (!stmt)
        return err->code;
    sqlite3_bind_int64(stmt, 1, (int64_t)limit);
    while ((rc = sqlite_step(reader->db, stmt, err)) == 1) {
        rc = sqlite_read_task(stmt, &ret_tasks[count], err);
        if (rc != 0)
            break;
        count++;
    }
    sqlite3_reset(stmt);
    if (rc == 0)
        return count;
    while (count > 0)
        task_unref(ret_tasks[--count]);
    return rc;
}

const struct task_store_ops task_store_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_store_open,
    .close = sqlite_store_close,
    .begin = sqlite_store_begin,
    .commit = sqlite_store_commit,
    .rollback = sqlite_store_rollback,
    .insert = sqlite_store_insert,
    .move = sqlite_store_move,
    .first_queued = sqlite_store_first_queued,
    .next_running = sqlite_store_next_running,
    .prune = sqlite_store_prune,
    .greatest_id = sqlite_store_greatest_id,
    .count = sqlite_store_count,
    .reader_open = sqlite_reader_open,
    .reader_close = sqlite_reader_close,
    .get = sqlite_reader_get,
    .list = sqlite_reader_list,
};
