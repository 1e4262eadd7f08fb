/* The task store in an SQLite file: no server, one file that can be copied and looked into.
 *
 * One connection writes, in the thread that owns the store.  What it commits goes to the write-ahead log,
 * with one sync of the disk; now and then the log is written back into the file.  After an error that says
 * that the disk can not be relied on the connection does nothing any more. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tasks/sqlite_int.h"

int sqlite_checkpoint_pages = 2048;

/* So much may the file grow by writing the log back while the disk is full. */
#define FULL_GROWTH_BYTES (1u << 20)
#define PAGE_BYTES        4096

/* What has been freed in the file is kept for what comes, unless it is more than this and a quarter of the
 * file; then so much is given back at a time. */
#define FREE_PAGES_MIN 1024

/* So many times longer than it should be the log may get before readers are waited for. */
#define LOG_PAGES_FACTOR 8

#define SHRINK_SQL "PRAGMA incremental_vacuum(256)"

/* ---- opening and closing ---- */

static int on_commit_logged(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct task_store *)arg)->log_pages = pages;
    return SQLITE_OK;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void sqlite_store_close(struct task_store *store)
{
    if (!store)
        return;
    sqlite_close(&store->conn);
    close_fd(store->reserve_fd);
    close_fd(store->lock_fd); /* after the database: who gets the lock has it alone */
    free(store);
}

/* Rows that are to go (sqlite_prune.c). */
static const char gone_sql[] =
    "CREATE TEMP TABLE gone ("
    "row INTEGER PRIMARY KEY, queue INTEGER NOT NULL, state INTEGER NOT NULL) STRICT";

static int open_database(struct task_store *store, const char *where, struct err *err)
{
    int rc = sqlite_open(where, true, &store->conn, err);

    if (rc == 0)
        rc = sqlite_migrate(&store->conn, err);
    if (rc == 0)
        rc = sqlite_run(&store->conn, gone_sql, err);
    if (rc != 0)
        sqlite_close(&store->conn);
    return rc;
}

/* On a full disk the reserve is what there is to begin with; on a full one without it, what is stored can be
 * looked at and ended all the same. */
static int open_with_reserve(struct task_store *store, const char *where, struct err *err)
{
    struct err ignored = {0};
    int rc = sqlite_reserve_open(where, &store->reserve_fd, err);

    if (rc == 0)
        rc = open_database(store, where, err);
    if (rc == -ENOSPC) {
        sqlite_reserve_free(store->reserve_fd);
        return open_database(store, where, err);
    }
    if (rc == 0 && sqlite_reserve_keep(store->reserve_fd, &ignored) == -EIO)
        return err_set(err, -EIO, "%s", ignored.text);
    return rc;
}

static int sqlite_store_open(const char *where, struct task_store **ret, struct err *err)
{
    struct task_store *store = calloc(1, sizeof(*store));

    if (!store)
        return err_set(err, -ENOMEM, "the task store: out of memory");
    store->lock_fd = store->reserve_fd = -1;
    int rc = sqlite_lock(where, &store->lock_fd, err);
    if (rc == 0)
        rc = open_with_reserve(store, where, err);
    if (rc != 0) {
        sqlite_store_close(store);
        return rc;
    }
    sqlite3_wal_hook(store->conn.db, on_commit_logged, store);
    *ret = store;
    return 0;
}

/* ---- transactions ---- */

static int run(struct task_store *store, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    return rc == 0 ? sqlite_finish(&store->conn, stmt, err) : rc;
}

static int sqlite_store_begin(struct task_store *store, struct err *err)
{
    static const char sql[] = "BEGIN IMMEDIATE";

    sqlite_count_reset(store);
    return run(store, sql, err);
}

static void sqlite_store_rollback(struct task_store *store)
{
    sqlite_count_reset(store);
    if (!sqlite3_get_autocommit(store->conn.db)) /* after some errors SQLite has rolled back by itself */
        sqlite3_exec(store->conn.db, "ROLLBACK", NULL, NULL, NULL);
}

static int ask_number(struct task_store *store, const char *sql, uint64_t *ret, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite_prepare(&store->conn, sql, &stmt, err);

    if (rc == 0)
        rc = sqlite_number(&store->conn, stmt, ret, err);
    return rc < 0 ? rc : 0;
}

/* On a full disk, whether writing the log back leaves most of the reserve to what is still to be logged. */
static bool fits_reserve(struct task_store *store)
{
    static const char sql[] = "PRAGMA page_count";
    struct err ignored = {0};
    uint64_t pages = 0;
    struct stat now;

    if (ask_number(store, sql, &pages, &ignored) != 0 ||
        stat(sqlite3_db_filename(store->conn.db, "main"), &now) != 0)
        return false;
    return pages * PAGE_BYTES <= (uint64_t)now.st_size + FULL_GROWTH_BYTES;
}

/* One that fails because the disk is full, or for want of memory, is made later: the log holds what is
 * stored.  After any other failure the next transaction does not begin. */
static void say_log_stays(struct task_store *store)
{
    struct err err = {0};

    sqlite_error(&store->conn, "the log can not be written back", &err);
    if (store->conn.failure != 0)
        log_error("the task store fails", LOG_STR("error", err.text));
    else if (!store->has_warned_of_log)
        log_warning("the task store's log grows", LOG_STR("error", err.text));
    store->has_warned_of_log = true;
}

static void write_log_back(struct task_store *store)
{
    /* Readers that take turns would keep the log from ever beginning anew: now and then they are waited
     * for. */
    int mode = store->log_pages >= LOG_PAGES_FACTOR * sqlite_checkpoint_pages ? SQLITE_CHECKPOINT_RESTART
                                                                              : SQLITE_CHECKPOINT_PASSIVE;
    int code = sqlite3_wal_checkpoint_v2(store->conn.db, NULL, mode, NULL, NULL);
    if (code == SQLITE_OK)
        store->has_warned_of_log = false;
    else if (code != SQLITE_BUSY && code != SQLITE_LOCKED) /* somebody else makes one: another time */
        say_log_stays(store);
}

static void checkpoint(struct task_store *store)
{
    if (store->log_pages >= sqlite_checkpoint_pages && (!store->is_full || fits_reserve(store)))
        write_log_back(store);
}

static int sqlite_store_commit(struct task_store *store, struct err *err)
{
    static const char sql[] = "COMMIT";
    int rc = sqlite_count_write(store, err);

    if (rc == 0)
        rc = run(store, sql, err);
    if (rc != 0) {
        sqlite_store_rollback(store);
        return rc;
    }
    sqlite_count_reset(store);
    checkpoint(store);
    return 0;
}

/* ---- space ---- */

/* With the log written back its own space can be used again, which is a reserve as well. */
static void sqlite_store_free_reserve(struct task_store *store)
{
    store->is_full = true;
    sqlite_reserve_free(store->reserve_fd);
    if (store->log_pages > 0 && fits_reserve(store))
        write_log_back(store);
}

static int sqlite_store_keep_reserve(struct task_store *store, struct err *err)
{
    int rc = sqlite_reserve_keep(store->reserve_fd, err);

    if (rc == 0)
        store->is_full = false;
    return rc;
}

static int sqlite_store_shrink(struct task_store *store, struct err *err)
{
    static const char free_sql[] = "PRAGMA freelist_count";
    static const char all_sql[] = "PRAGMA page_count";
    static const char shrink_sql[] = SHRINK_SQL;
    uint64_t free_pages = 0;
    uint64_t all_pages = 0;
    int rc = ask_number(store, free_sql, &free_pages, err);

    if (rc == 0)
        rc = ask_number(store, all_sql, &all_pages, err);
    if (rc != 0 || free_pages < FREE_PAGES_MIN || free_pages < all_pages / 4)
        return rc;
    rc = run(store, shrink_sql, err);
    if (rc != 0)
        return rc;
    checkpoint(store);
    return 1;
}

const struct task_store_ops task_store_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_store_open,
    .close = sqlite_store_close,
    .begin = sqlite_store_begin,
    .commit = sqlite_store_commit,
    .rollback = sqlite_store_rollback,
    .free_reserve = sqlite_store_free_reserve,
    .keep_reserve = sqlite_store_keep_reserve,
    .insert = sqlite_store_insert,
    .move = sqlite_store_move,
    .find = sqlite_store_find,
    .find_unique = sqlite_store_find_unique,
    .first_queued = sqlite_store_first_queued,
    .due = sqlite_store_due,
    .next_due = sqlite_store_next_due,
    .running = sqlite_store_running,
    .add_attempt = sqlite_store_add_attempt,
    .remove = sqlite_store_remove,
    .prune = sqlite_store_prune,
    .greatest_id = sqlite_store_greatest_id,
    .queues = sqlite_store_queues,
    .add_queue = sqlite_store_add_queue,
    .pause_queue = sqlite_store_pause_queue,
    .ranks = sqlite_store_ranks,
    .set_rank = sqlite_store_set_rank,
    .find_key = sqlite_store_find_key,
    .put_key = sqlite_store_put_key,
    .prune_keys = sqlite_store_prune_keys,
    .add_events = sqlite_store_add_events,
    .prune_events = sqlite_store_prune_events,
    .last_event = sqlite_store_last_event,
    .find_tick = sqlite_store_find_tick,
    .put_tick = sqlite_store_put_tick,
    .shrink = sqlite_store_shrink,
    .reader_open = sqlite_reader_open,
    .reader_close = sqlite_reader_close,
    .get = sqlite_reader_get,
    .list = sqlite_reader_list,
    .position = sqlite_reader_position,
    .running_in = sqlite_reader_running_in,
    .events = sqlite_reader_events,
};
