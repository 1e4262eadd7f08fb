#include "tasks/sqlite_int.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

/* How long to wait for somebody else's lock, such as that of a person who looks into the file. */
#define BUSY_MS 10000

/* A write-ahead log, on disk with each commit.  Readers never write, so a checkpoint or a commit of theirs
 * can not meet the writer's (before 3.51.3 two at the same instant may damage the file), and nothing is
 * mapped: an error of the disk is an error and not a SIGBUS.  What is freed can be given back to the disk in
 * small steps only if the file says so from its first page on.  The file is made with a rollback journal, the
 * removal of which must be on the disk before anything else is: that is what EXTRA has over FULL. */
static const char writer_settings[] = "PRAGMA synchronous = EXTRA;"
                                      "PRAGMA auto_vacuum = INCREMENTAL;"
                                      "PRAGMA journal_mode = WAL;"
                                      "PRAGMA wal_autocheckpoint = 0;"
                                      "PRAGMA journal_size_limit = 67108864;"
                                      "PRAGMA mmap_size = 0;"
                                      "PRAGMA cache_size = -16384;"
                                      "PRAGMA temp_store = MEMORY;"
                                      "PRAGMA foreign_keys = OFF;";
static const char reader_settings[] = "PRAGMA query_only = ON;"
                                      "PRAGMA wal_autocheckpoint = 0;"
                                      "PRAGMA mmap_size = 0;"
                                      "PRAGMA cache_size = -2048;"
                                      "PRAGMA temp_store = MEMORY;";

/* ---- errors ---- */

/* SQLite says "full" only where it writes; where it makes room for the index of its log it is an I/O error
 * like others.  A sync that fails is never taken for a full disk: what was written before it may be lost. */
static int code_of_io(sqlite3 *db, int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return -ENOMEM;
    int errnum = sqlite3_system_errno(db);
    bool is_full = errnum == ENOSPC || errnum == EDQUOT;
    return is_full && (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMSIZE) ? -ENOSPC : -EIO;
}

static int code_of(sqlite3 *db)
{
    int code = sqlite3_extended_errcode(db);

    switch (code & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
        return -ENOLCK;
    case SQLITE_CONSTRAINT:
        return code == SQLITE_CONSTRAINT_UNIQUE ? -EEXIST : -EBADMSG;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return -EACCES;
    }
    return code_of_io(db, code);
}

int sqlite_error(struct sqlite_conn *conn, const char *what, struct err *err)
{
    int code = code_of(conn->db);

    if (conn->is_writer && code != -ENOSPC && code != -ENOMEM && code != -ENOLCK && code != -EEXIST)
        conn->failure = code;
    return err_set(err, code, "the task store: %s (%.120s)", sqlite3_errmsg(conn->db), what);
}

/* ---- connections ---- */

/* Counting what SQLite allocates costs a lock for each allocation. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int sqlite_open(const char *path, bool is_writer, struct sqlite_conn *ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | (is_writer ? SQLITE_OPEN_CREATE : 0);
    struct sqlite_conn conn = {.is_writer = is_writer};
    int rc = 0;

    pthread_once(&once, configure);
    if (sqlite3_open_v2(path, &conn.db, flags, NULL) != SQLITE_OK)
        rc =
            conn.db ? sqlite_error(&conn, path, err) : err_set(err, -ENOMEM, "the task store: out of memory");
    if (rc == 0) {
        sqlite3_busy_timeout(conn.db, BUSY_MS);
        rc = sqlite_run(&conn, is_writer ? writer_settings : reader_settings, err);
    }
    if (rc != 0) {
        sqlite3_close(conn.db);
        return rc;
    }
    *ret = conn;
    return 0;
}

void sqlite_close(struct sqlite_conn *conn)
{
    for (size_t i = 0; i < SQLITE_STATEMENTS_MAX; i++)
        sqlite3_finalize(conn->statements[i].stmt);
    sqlite3_close(conn->db);
    *conn = (struct sqlite_conn){0};
}

/* ---- statements ---- */

static int refuse(const struct sqlite_conn *conn, struct err *err)
{
    return err_set(err, conn->failure, "the task store has failed before");
}

int sqlite_run(struct sqlite_conn *conn, const char *sql, struct err *err)
{
    if (conn->failure != 0)
        return refuse(conn, err);
    return sqlite3_exec(conn->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_error(conn, sql, err);
}

/* The slot of that text, or the free one where it belongs. */
static size_t find_slot(const struct sqlite_conn *conn, const char *sql)
{
    size_t slot = ((uintptr_t)sql >> 4) % SQLITE_STATEMENTS_MAX;

    for (size_t i = 0; i < SQLITE_STATEMENTS_MAX; i++) {
        if (!conn->statements[slot].sql || conn->statements[slot].sql == sql)
            return slot;
        slot = (slot + 1) % SQLITE_STATEMENTS_MAX;
    }
    assert(!"more statements than SQLITE_STATEMENTS_MAX");
    return 0;
}

int sqlite_prepare(struct sqlite_conn *conn, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    size_t slot = find_slot(conn, sql);

    if (conn->failure != 0)
        return refuse(conn, err);
    if (!conn->statements[slot].stmt) {
        if (sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &conn->statements[slot].stmt,
                               NULL) != SQLITE_OK)
            return sqlite_error(conn, sql, err);
        conn->statements[slot].sql = sql;
    }
    *ret = conn->statements[slot].stmt;
    return 0;
}

int sqlite_step(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct err *err)
{
    int code = sqlite3_step(stmt);

    if (code == SQLITE_ROW)
        return 1;
    int rc = code == SQLITE_DONE ? 0 : sqlite_error(conn, sqlite3_sql(stmt), err);
    sqlite3_reset(stmt);
    return rc;
}

int sqlite_finish(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct err *err)
{
    int rc;

    while ((rc = sqlite_step(conn, stmt, err)) == 1)
        continue;
    return rc;
}

int sqlite_number(struct sqlite_conn *conn, sqlite3_stmt *stmt, uint64_t *ret, struct err *err)
{
    int rc = sqlite_step(conn, stmt, err);

    if (rc == 1) {
        *ret = (uint64_t)sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    return rc;
}
