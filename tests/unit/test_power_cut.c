/* What is left of the SQLite store when the power is cut, the disk is full, fails, or memory runs short: at
 * every point of a script of transactions.  What commit returned 0 for is there, whole, and nothing else is
 * but the one transaction that was being committed. */
#include "harness.h"

#include "base/log.h"
#include "capture.h"
#include "fault_vfs.h"
#include "tasks/sqlite_int.h"

static const struct task_store_ops *const ops = &task_store_sqlite;
static struct task_store *store;
static char folder[64];
static char where[128];

/* ---- files ---- */

static int make_folder(void **state)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    (void)state;
    snprintf(folder, sizeof(folder), "%s/power-cut-XXXXXX", base);
    assert_non_null(mkdtemp(folder));
    snprintf(where, sizeof(where), "%s/tasks.db", folder);
    return 0;
}

static void remove_file(const char *ending)
{
    char path[160];

    snprintf(path, sizeof(path), "%s%s", where, ending);
    unlink(path);
}

/* Not what lies beside it, which would only take time to make again. */
static void remove_database(void)
{
    for (size_t i = 0; i < FAULT_FILE_COUNT; i++)
        remove_file(fault_endings[i]);
    remove_file("-shm");
}

static int remove_folder(void **state)
{
    (void)state;
    fault_disarm();
    remove_database();
    remove_file(".lock");
    remove_file(".reserve");
    rmdir(folder);
    return 0;
}

/* ---- the script ---- */

#define NOW 1700000000000u

/* The i-th task's id, the same in each run of the script. */
static struct uuid id_of(unsigned i)
{
    struct uuid id = {{1, 2, 3, 4, (uint8_t)(i >> 8), (uint8_t)i, 0x70, 0, 0x80}};

    memset(id.bytes + 9, (int)i, 7);
    return id;
}

static struct task_status status_of(enum task_state state)
{
    return (struct task_status){.state = state,
                                .run = state == TASK_STATE_QUEUED ? 0 : 1,
                                .version = 1 + state,
                                .queue = 1,
                                .priority = 5,
                                .run_at_ms = state == TASK_STATE_SCHEDULED ? NOW : 0,
                                .finished_ms = state >= TASK_STATE_SUCCEEDED ? NOW : 0};
}

static struct task *make_task(unsigned i, enum task_state state, size_t payload_bytes)
{
    static char payload[40000];
    char key[16];
    struct task_spec spec = {.kind_name = "sleep", .payload = payload, .unique_key = i % 7 ? NULL : key};
    struct uuid id = id_of(i);

    snprintf(key, sizeof(key), "key-%u", i);
    memset(payload, 'x', payload_bytes);
    payload[payload_bytes] = '\0';
    struct task *task = task_create(&id, &spec, NOW);
    assert_non_null(task);
    task->status = status_of(state);
    return task;
}

/* What the lines of the script are made of; they return what the store does. */

static int insert(unsigned first, unsigned count, enum task_state state, size_t payload_bytes,
                  struct err *err)
{
    int rc = 0;

    for (unsigned i = first; rc == 0 && i < first + count; i++) {
        struct task *task = make_task(i, state, payload_bytes);
        rc = ops->insert(store, task, err);
        task_unref(task);
    }
    return rc;
}

static int move(unsigned first, unsigned count, enum task_state from, enum task_state to, const char *result,
                struct err *err)
{
    struct task_status status = status_of(to);
    int rc = 0;

    for (unsigned i = first; rc == 0 && i < first + count; i++) {
        struct task *task = make_task(i, from, 0);
        rc = ops->move(store, task, &status, result, result ? NULL : "no result", err);
        task_unref(task);
    }
    return rc;
}

static int add_events(uint64_t first, size_t count, struct err *err)
{
    uint8_t packed[50 * TASK_EVENT_PACKED_BYTES];

    memset(packed, (int)first, sizeof(packed));
    return ops->add_events(store, first, packed, count, err);
}

static int line_queues(struct err *err)
{
    int rc = ops->add_queue(store, &(struct task_queue_row){.id = 1, .name = "mail"}, err);

    return rc == 0 ? ops->set_rank(store, 1, 3, 77, err) : rc;
}

static int line_first(struct err *err)
{
    int rc = insert(0, 10, TASK_STATE_RUNNING, 20, err);

    return rc == 0 ? add_events(1, 10, err) : rc;
}

static int line_ends(struct err *err)
{
    int rc = move(0, 5, TASK_STATE_RUNNING, TASK_STATE_SUCCEEDED, "{\"a\":1}", err);

    if (rc == 0)
        rc = move(5, 2, TASK_STATE_RUNNING, TASK_STATE_DEAD, NULL, err);
    return rc == 0 ? add_events(11, 7, err) : rc;
}

static int line_records(struct err *err)
{
    int rc = ops->put_key(store, "k1", &(struct task_idempotent){.at_ms = NOW}, err);

    if (rc == 0)
        rc = ops->put_key(store, "k2", &(struct task_idempotent){.at_ms = NOW + 10}, err);
    return rc == 0 ? ops->put_tick(store, "nightly", NOW, err) : rc;
}

static int line_many(struct err *err)
{
    return insert(20, 40, TASK_STATE_QUEUED, 200, err);
}

static int line_long(struct err *err)
{
    return insert(70, 2, TASK_STATE_SCHEDULED, 30000, err);
}

static int line_starts(struct err *err)
{
    struct uuid id = id_of(25);
    int rc = move(20, 20, TASK_STATE_QUEUED, TASK_STATE_RUNNING, NULL, err);

    return rc == 0 ? ops->add_attempt(store, &id, &(struct task_attempt){.run = 1, .started_ms = NOW}, err)
                   : rc;
}

static int line_prune(struct err *err)
{
    uint64_t by_queue[TASK_QUEUE_MAX] = {0};
    struct uuid id = id_of(5);
    int rc = ops->prune(store, TASK_STATE_SUCCEEDED, NOW, 3, by_queue, err);

    if (rc >= 0)
        rc = ops->remove(store, &id, err);
    if (rc >= 0)
        rc = ops->prune_events(store, 15, 10, err);
    if (rc >= 0)
        rc = ops->prune_keys(store, NOW + 5, 10, err);
    return rc < 0 ? rc : 0;
}

static int line_more_ends(struct err *err)
{
    char result[1000];

    memset(result, '7', sizeof(result) - 1);
    result[sizeof(result) - 1] = '\0';
    return move(20, 20, TASK_STATE_RUNNING, TASK_STATE_SUCCEEDED, result, err);
}

static int line_last(struct err *err)
{
    return insert(80, 1, TASK_STATE_QUEUED, 10, err);
}

static const struct line {
    int (*run)(struct err *err); /* NULL: the store is closed and opened again */
} script[] = {
    {line_queues}, {line_first}, {line_ends},  {line_records},   {line_many}, {line_long},
    {line_starts}, {NULL},       {line_prune}, {line_more_ends}, {line_last},
};

#define LINE_COUNT ARRAY_LEN(script)

static int open_store(struct err *err)
{
    return ops->open(where, &store, err);
}

static void must_open(void)
{
    struct err err = {0};

    if (open_store(&err) != 0)
        fail_msg("%s", err.text);
}

static void close_store(void)
{
    ops->close(store);
    store = NULL;
}

/* 0 when it is committed; else it is rolled back. */
static int run_line(size_t line, struct err *err)
{
    if (!script[line].run) {
        close_store();
        return open_store(err);
    }
    int rc = ops->begin(store, err);
    if (rc == 0)
        rc = script[line].run(err);
    if (rc == 0)
        rc = ops->commit(store, err);
    if (rc != 0)
        ops->rollback(store);
    return rc;
}

/* ---- what is in the store ---- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_rows(sqlite3 *db, const char *sql, uint64_t hash)
{
    sqlite3_stmt *stmt;
    int rc;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            const void *bytes = sqlite3_column_blob(stmt, i);
            hash = hash_bytes(hash * 31, bytes, (size_t)sqlite3_column_bytes(stmt, i));
        }
    }
    assert_int_equal(rc, SQLITE_DONE);
    sqlite3_finalize(stmt);
    return hash;
}

static void expect_whole(sqlite3 *db)
{
    sqlite3_stmt *stmt;

    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        fail_msg("%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
}

/* A number for all that the open store holds, which must be whole. */
static uint64_t fingerprint(void)
{
    static const char *const tables[] = {"task",    "payload", "result",      "attempt", "queue",
                                         "counter", "rank",    "idempotency", "event",   "schedule"};
    uint64_t hash = 0xcbf29ce484222325u;
    char sql[64];
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(where, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    expect_whole(db);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1, 2", tables[i]);
        hash = hash_rows(db, sql, hash);
    }
    sqlite3_close(db);
    return hash;
}

/* After so many lines of the script. */
static uint64_t expected[LINE_COUNT + 1];

/* Runs the script without faults.  A mark says how many lines are done. */
static void run_script(void)
{
    struct err err = {0};

    must_open();
    fault_mark(0);
    expected[0] = fingerprint();
    for (size_t line = 0; line < LINE_COUNT; line++) {
        if (run_line(line, &err) != 0)
            fail_msg("line %zu: %s", line, err.text);
        fault_mark(line + 1);
        expected[line + 1] = fingerprint();
    }
    close_store();
}

/* The store holds what so many lines have made of it, or one more. */
static size_t expect_lines(size_t lines)
{
    uint64_t found = fingerprint();

    if (found == expected[lines])
        return lines;
    if (lines == LINE_COUNT || found != expected[lines + 1])
        fail_msg("not what %zu lines have stored", lines);
    return lines + 1;
}

/* Goes on from there. */
static void finish_script(size_t line)
{
    struct err err = {0};

    for (; line < LINE_COUNT; line++)
        if (run_line(line, &err) != 0)
            fail_msg("line %zu: %s", line, err.text);
    assert_true(fingerprint() == expected[LINE_COUNT]);
}

/* ---- the power ---- */

static void check_disk(const struct fault_disk *disk, enum fault_keep keep, size_t lines)
{
    struct err err = {0};

    fault_disk_write(disk, keep, (uint32_t)(disk->moment * 2654435761u + keep + 1), where);
    if (open_store(&err) != 0)
        fail_msg("moment %zu, %zu lines done, kept %d: %s", disk->moment, lines, (int)keep, err.text);
    size_t found = expect_lines(lines);
    if (disk->moment % 16 == 0)
        finish_script(found);
    close_store();
}

static void what_was_committed_survives_a_power_cut(void **state)
{
    struct fault_disk disk = {0};
    size_t lines = 0;
    unsigned cuts = 0;
    (void)state;

    fault_record();
    run_script();
    fault_record_end();
    do {
        const struct fault_op *next = disk.moment < fault.count ? &fault.ops[disk.moment] : NULL;
        const struct fault_op *last = disk.moment > 0 ? &fault.ops[disk.moment - 1] : NULL;
        if (last && last->type == FAULT_MARK)
            lines = last->at;
        /* All ways that it can end around a sync, one of them elsewhere. */
        bool is_sync = (next && next->type == FAULT_SYNC) || (last && last->type == FAULT_SYNC);
        for (unsigned keep = 0; keep < FAULT_KEEP_COUNT; keep++) {
            if (!is_sync && disk.moment % FAULT_KEEP_COUNT != keep)
                continue;
            check_disk(&disk, (enum fault_keep)keep, lines);
            cuts++;
        }
    } while (fault_disk_step(&disk));
    assert_int_equal(lines, LINE_COUNT);
    print_message("%zu operations, %u cuts\n", fault.count, cuts);
    fault_disk_done(&disk);
    fault_forget();
}

/* That the test would see it: without the syncs, what is committed is lost. */
static void without_syncs_it_would_not_survive(void **state)
{
    struct fault_disk disk = {0};
    (void)state;

    fault_record();
    run_script();
    fault_record_end();
    for (size_t i = 0; i < fault.count; i++)
        if (fault.ops[i].type == FAULT_SYNC)
            fault.ops[i] = (struct fault_op){.type = FAULT_MARK};
    while (fault_disk_step(&disk))
        continue;
    fault_disk_write(&disk, FAULT_KEEP_NONE, 1, where);
    must_open();
    assert_true(fingerprint() == expected[0]);
    close_store();
    fault_disk_done(&disk);
    fault_forget();
}

/* ---- the disk ---- */

/* The store opens, whatever has been left of it. */
static void open_again(void)
{
    fault_disarm();
    if (!store)
        must_open();
}

/* After a failure: what is stored, and the number of the line to go on with. */
static size_t recover(size_t line, int rc)
{
    struct err err = {0};

    if (rc == -ENOSPC || rc == -ENOMEM) {
        open_again();
        size_t found = expect_lines(line);
        assert_int_equal(found, line);
        return found;
    }
    if (store)
        assert_true(ops->begin(store, &err) < 0); /* it is not used any more */
    close_store();
    open_again();
    return expect_lines(line);
}

static void expect_fault(int rc)
{
    assert_true(fault.errnum != 0);
    assert_true(rc == -EIO || (rc == -ENOSPC && fault_is_full()));
}

/* Runs the script, the n-th write or sync of which fails.  False when there is no n-th. */
static bool run_failing(enum fault_kind kind, unsigned long n)
{
    size_t line = 0;
    struct err err = {0};

    fault_arm(kind, n, false);
    int rc = open_store(&err);
    if (rc != 0) {
        expect_fault(rc);
        open_again();
        rc = 0;
    }
    for (; rc == 0 && line < LINE_COUNT; line += rc == 0)
        rc = run_line(line, &err);
    bool has_struck = fault.errnum != 0;
    if (rc != 0) {
        expect_fault(rc);
        line = recover(line, rc);
    }
    fault_disarm();
    finish_script(line);
    close_store();
    remove_database();
    return has_struck;
}

static void a_disk_that_fails_at_any_point_is_survived(void **state)
{
    (void)state;

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT); /* there is a line for nearly each of them */
    run_script();
    remove_database();
    for (unsigned kind = 0; kind < FAULT_KIND_COUNT; kind++) {
        unsigned long n = 1;
        while (run_failing((enum fault_kind)kind, n))
            n += kind >= FAULT_SHORT_IO ? 5 : 1;
        assert_true(n > 100);
    }
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static unsigned count_lines(const char *text)
{
    unsigned count = 0;

    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void a_log_that_can_not_be_written_back_is_told_once(void **state)
{
    static struct capture capture;
    struct err err = {0};
    (void)state;

    run_script();
    remove_database();
    must_open();
    capture_start(&capture);
    fault_arm(FAULT_FULL, 1, true);
    int rc = 0;
    for (size_t line = 0; rc == 0 && line < 6; line++)
        rc = run_line(line, &err);
    const char *text = capture_stop(&capture);
    assert_int_equal(rc, 0);
    assert_true(fault.errnum == ENOSPC);
    assert_int_equal(count_lines(text), 1);
    assert_non_null(strstr(text, "disk is full"));
    fault_disarm();
    finish_script(6);
    close_store();
}

/* ---- memory ---- */

static sqlite3_mem_methods real_memory;
static long allocations_left = -1; /* until one fails; < 0: none does */
static long allocated;             /* that have not been freed */

static void *failing_malloc(int size)
{
    if (allocations_left > 0 && --allocations_left == 0) {
        allocations_left = -1;
        return NULL;
    }
    void *memory = real_memory.xMalloc(size);
    allocated += memory != NULL;
    return memory;
}

static void counting_free(void *memory)
{
    allocated -= memory != NULL;
    real_memory.xFree(memory);
}

static void *failing_realloc(void *memory, int size)
{
    if (allocations_left > 0 && --allocations_left == 0) {
        allocations_left = -1;
        return NULL;
    }
    return real_memory.xRealloc(memory, size);
}

static void install_memory(void)
{
    sqlite3_mem_methods memory;

    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
    memory = real_memory;
    memory.xMalloc = failing_malloc;
    memory.xFree = counting_free;
    memory.xRealloc = failing_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);
}

/* Runs the script, the n-th allocation of which fails.  False when there is no n-th. */
static bool run_starving(long n)
{
    size_t line = 0;
    struct err err = {0};

    allocations_left = n;
    int rc = open_store(&err);
    if (rc != 0) {
        assert_int_equal(rc, -ENOMEM);
        must_open();
        rc = 0;
    }
    for (; rc == 0 && line < LINE_COUNT; line += rc == 0)
        rc = run_line(line, &err);
    bool has_struck = allocations_left < 0;
    allocations_left = -1;
    if (rc != 0) {
        if (rc != -ENOMEM)
            fail_msg("allocation %ld, line %zu: %d, %s", n, line, rc, err.text);
        line = recover(line, rc);
    }
    finish_script(line);
    close_store();
    remove_database();
    return has_struck;
}

static void memory_that_runs_short_at_any_point_is_survived(void **state)
{
    (void)state;

    run_script();
    remove_database();
    long before = allocated;
    for (long n = 1; run_starving(n); n += 1 + n / 8)
        continue;
    assert_int_equal(allocated, before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_committed_survives_a_power_cut),
        TEST(without_syncs_it_would_not_survive),
        TEST(a_disk_that_fails_at_any_point_is_survived),
        TEST(a_log_that_can_not_be_written_back_is_told_once),
        TEST(memory_that_runs_short_at_any_point_is_survived),
    };

    install_memory();
    fault_vfs_register();
    sqlite_checkpoint_pages = 20;
    return cmocka_run_group_tests_name("power cut", tests, NULL, NULL);
}
