/* What every task store must do.  The tests know a store by its operations alone: a row in `stores` is one
 * more that is held to the same. */
#include "harness.h"

#include <fcntl.h>

#include "tasks/store.h"

/* ---- the stores, each new for each test ---- */

static const struct kind_of_store {
    const struct task_store_ops *ops;
    const char *folder;
} stores[] = {
    {&task_store_sqlite, "/tmp"},
};

static const struct task_store_ops *ops;
static char where[128];
static struct task_store *store;

static void open_store(void)
{
    struct err err = {0};

    if (ops->open(where, &store, &err) != 0)
        fail_msg("%s", err.text);
}

static void close_store(void)
{
    ops->close(store);
    store = NULL;
}

static void reopen_store(void)
{
    close_store();
    open_store();
}

static void remove_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    char path[160];

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(path, sizeof(path), "%s%s", where, ends[i]);
        unlink(path);
    }
}

static int set_up(void **state)
{
    static unsigned number;

    (void)state;
    snprintf(where, sizeof(where), "%s/store-test-%d-%u.db", stores[0].folder, getpid(), ++number);
    ops = stores[0].ops;
    open_store();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_store();
    remove_files();
    return 0;
}

/* ---- what goes in, what comes out ---- */

#define OK(call)                                                                                             \
    do {                                                                                                     \
        struct err err = {0};                                                                                \
        int rc_of_call = call;                                                                               \
        if (rc_of_call < 0)                                                                                  \
            fail_msg("%s: %d, %s", #call, rc_of_call, err.text);                                             \
    } while (0)

static struct task *new_task(enum task_state state)
{
    struct uuid id;

    assert_int_equal(uuid_create(&id), 0);
    struct task *task = task_create(&id, "sleep", "{\"n\":[1,\"\xc3\xbc\"]}", 1700000000123);
    assert_non_null(task);
    task->status.state = state;
    return task;
}

/* Of a task that is stored in a transaction of its own. */
static struct uuid add(enum task_state state)
{
    struct task *task = new_task(state);
    struct uuid id = task->id;

    OK(ops->begin(store, &err));
    OK(ops->insert(store, task, &err));
    OK(ops->commit(store, &err));
    task_unref(task);
    return id;
}

static int try_move(struct uuid id, struct task_status from, struct task_status to, const char *result,
                    const char *error)
{
    struct err refused = {0};

    OK(ops->begin(store, &err));
    int rc = ops->move(store, &id, &from, &to, result, error, &refused);
    OK(ops->commit(store, &err));
    assert_int_equal(rc, refused.code);
    return rc;
}

/* NULL when there is none. */
static struct task *find(struct uuid id)
{
    struct task_reader *reader;
    struct task *task = NULL;

    OK(ops->reader_open(where, &reader, &err));
    OK(ops->get(reader, &id, &task, &err));
    ops->reader_close(reader);
    return task;
}

static struct task_status status_of(struct uuid id)
{
    struct task *task = find(id);

    assert_non_null(task);
    struct task_status status = task->status;
    task_unref(task);
    return status;
}

static void expect_count(enum task_state state, uint64_t count)
{
    struct task_counts counts;

    OK(ops->count(store, &counts, &err));
    assert_int_equal(counts.by_state[state], count);
}

static bool is_same(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static const struct task_status queued = {.state = TASK_STATE_QUEUED};
static const struct task_status running = {
    .state = TASK_STATE_RUNNING, .run = 1, .attempts = 1, .interruptions = 2, .started_ms = 1700000000124};

/* ---- tests ---- */

static void what_was_stored_is_read_again(void **state)
{
    struct uuid id = add(TASK_STATE_QUEUED);
    (void)state;

    for (unsigned round = 0; round < 2; round++) {
        struct task *task = find(id);
        assert_non_null(task);
        assert_string_equal(task->kind_name, "sleep");
        assert_string_equal(task->payload, "{\"n\":[1,\"\xc3\xbc\"]}");
        assert_true(task->created_ms == 1700000000123);
        assert_memory_equal(&task->status, &queued, sizeof(queued));
        assert_null(task->result);
        assert_null(task->error);
        task_unref(task);
        expect_count(TASK_STATE_QUEUED, 1);
        reopen_store();
    }
}

static void a_move_changes_the_status_and_keeps_the_rest(void **state)
{
    struct task_status succeeded = running;
    struct uuid id = add(TASK_STATE_QUEUED);
    (void)state;

    assert_int_equal(try_move(id, queued, running, NULL, "first error"), 0);
    struct task_status now = status_of(id);
    assert_memory_equal(&now, &running, sizeof(now));
    succeeded.state = TASK_STATE_SUCCEEDED;
    succeeded.finished_ms = 1700000000125;
    assert_int_equal(try_move(id, running, succeeded, "{\"a\":1}", NULL), 0);
    struct task *task = find(id);
    assert_memory_equal(&task->status, &succeeded, sizeof(succeeded));
    assert_string_equal(task->result, "{\"a\":1}");
    assert_string_equal(task->error, "first error");
    assert_string_equal(task->payload, "{\"n\":[1,\"\xc3\xbc\"]}");
    task_unref(task);
    expect_count(TASK_STATE_QUEUED, 0);
    expect_count(TASK_STATE_RUNNING, 0);
    expect_count(TASK_STATE_SUCCEEDED, 1);
}

static void a_move_from_elsewhere_changes_nothing(void **state)
{
    struct task_status other_run = running;
    struct uuid id = add(TASK_STATE_QUEUED);
    struct uuid unknown = id;
    (void)state;

    unknown.bytes[0] ^= 1;
    assert_int_equal(try_move(id, queued, running, NULL, NULL), 0);
    other_run.run = 2;
    assert_int_equal(try_move(id, other_run, queued, "\"r\"", "e"), -ESTALE);
    assert_int_equal(try_move(id, queued, running, "\"r\"", "e"), -ESTALE);
    assert_int_equal(try_move(unknown, running, queued, NULL, NULL), -ESTALE);
    struct task *task = find(id);
    assert_memory_equal(&task->status, &running, sizeof(running));
    assert_null(task->result);
    assert_null(task->error);
    task_unref(task);
    expect_count(TASK_STATE_RUNNING, 1);
}

static void what_was_rolled_back_never_was(void **state)
{
    struct task *task = new_task(TASK_STATE_QUEUED);
    struct uuid kept = add(TASK_STATE_QUEUED);
    (void)state;

    OK(ops->begin(store, &err));
    OK(ops->insert(store, task, &err));
    OK(ops->move(store, &kept, &queued, &running, NULL, NULL, &err));
    ops->rollback(store);
    assert_null(find(task->id));
    assert_int_equal(status_of(kept).state, TASK_STATE_QUEUED);
    OK(ops->begin(store, &err));
    OK(ops->commit(store, &err));
    expect_count(TASK_STATE_QUEUED, 1);
    expect_count(TASK_STATE_RUNNING, 0);
    task_unref(task);
}

static void nobody_sees_what_is_not_committed(void **state)
{
    struct task *task = new_task(TASK_STATE_QUEUED);
    (void)state;

    OK(ops->begin(store, &err));
    OK(ops->insert(store, task, &err));
    assert_null(find(task->id));
    OK(ops->commit(store, &err));
    struct task *again = find(task->id);
    assert_non_null(again);
    task_unref(again);
    task_unref(task);
}

static void queued_tasks_come_in_the_order_of_their_acceptance(void **state)
{
    struct uuid ids[5];
    struct task *task = NULL;
    (void)state;

    add(TASK_STATE_RUNNING);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = add(i == 2 ? TASK_STATE_DEAD : TASK_STATE_QUEUED);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        if (i == 2)
            continue;
        OK(ops->first_queued(store, &task, &err));
        assert_true(is_same(&task->id, &ids[i]));
        assert_string_equal(task->payload, "{\"n\":[1,\"\xc3\xbc\"]}");
        task_unref(task);
        assert_int_equal(try_move(ids[i], queued, running, NULL, NULL), 0);
    }
    assert_int_equal(ops->first_queued(store, &task, &(struct err){0}), 0);
}

static void running_tasks_are_found_one_after_the_other(void **state)
{
    struct uuid first = add(TASK_STATE_RUNNING);
    struct uuid after = {0};
    struct task *task = NULL;
    (void)state;

    add(TASK_STATE_QUEUED);
    struct uuid second = add(TASK_STATE_RUNNING);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(ops->next_running(store, &after, &task, &(struct err){0}), 1);
        assert_true(is_same(&task->id, i == 0 ? &first : &second));
        after = task->id;
        task_unref(task);
    }
    assert_int_equal(ops->next_running(store, &after, &task, &(struct err){0}), 0);
}

static void the_list_has_the_newest_first(void **state)
{
    struct task_reader *reader;
    struct task *tasks[4];
    struct uuid ids[4];
    (void)state;

    OK(ops->reader_open(where, &reader, &err));
    assert_int_equal(ops->list(reader, 4, tasks, &(struct err){0}), 0);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = add(TASK_STATE_QUEUED);
    assert_int_equal(ops->list(reader, 3, tasks, &(struct err){0}), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_same(&tasks[i]->id, &ids[3 - i]));
        assert_null(tasks[i]->payload);
        task_unref(tasks[i]);
    }
    ops->reader_close(reader);
}

static void the_oldest_finished_are_pruned(void **state)
{
    struct task_status dead = {.state = TASK_STATE_DEAD};
    struct task_counts pruned = {0};
    struct uuid ids[4];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = add(TASK_STATE_QUEUED);
        dead.finished_ms = 2000 - i; /* the last finishes first */
        if (i > 0)
            assert_int_equal(try_move(ids[i], queued, dead, NULL, NULL), 0);
    }
    OK(ops->begin(store, &err));
    OK(ops->prune(store, 2, &pruned, &err));
    OK(ops->commit(store, &err));
    assert_int_equal(pruned.by_state[TASK_STATE_DEAD], 2);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct task *task = find(ids[i]);
        assert_int_equal(task != NULL, i < 2);
        task_unref(task);
    }
    OK(ops->begin(store, &err));
    OK(ops->prune(store, 10, &pruned, &err));
    OK(ops->commit(store, &err));
    assert_int_equal(pruned.by_state[TASK_STATE_DEAD], 3);
    expect_count(TASK_STATE_DEAD, 0);
    expect_count(TASK_STATE_QUEUED, 1);
}

static void the_greatest_id_is_known(void **state)
{
    struct uuid greatest;
    (void)state;

    OK(ops->greatest_id(store, &greatest, &err));
    assert_true(is_same(&greatest, &(struct uuid){{0}}));
    add(TASK_STATE_QUEUED);
    struct uuid last = add(TASK_STATE_DEAD);
    OK(ops->greatest_id(store, &greatest, &err));
    assert_true(is_same(&greatest, &last));
}

static void a_store_has_one_owner(void **state)
{
    struct task_store *second = NULL;
    struct err err = {0};
    char pid[32];
    (void)state;

    snprintf(pid, sizeof(pid), " process %d ", getpid());
    assert_int_equal(ops->open(where, &second, &err), -EBUSY);
    assert_non_null(strstr(err.text, pid));
    assert_null(second);
    reopen_store();
}

static void what_is_no_store_is_refused(void **state)
{
    struct task_store *none = NULL;
    struct err err = {0};
    (void)state;

    close_store();
    remove_files();
    int fd = open(where, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd,
                           "This is a text, and it is long enough to have a header's size, or so it seems.\n"
                           "This is a text, and it is long enough to have a header's size, or so it seems.\n",
                           158),
                     158);
    close(fd);
    assert_int_equal(ops->open(where, &none, &err), -EBADMSG);
    remove_files();
    open_store();
    ops->close(NULL);
    assert_int_equal(ops->open("/nowhere/at/all/tasks.db", &none, &err), -ENOENT);
    assert_null(none);
}

static void names_of_stores_are_known(void **state)
{
    const char *path = NULL;
    (void)state;

    assert_ptr_equal(task_store_find("sqlite:run/tasks.db", &path), &task_store_sqlite);
    assert_string_equal(path, "run/tasks.db");
    assert_null(task_store_find("sqlit:x", &path));
    assert_null(task_store_find("sqlitex:x", &path));
    assert_null(task_store_find("", &path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_stored_is_read_again),
        TEST(a_move_changes_the_status_and_keeps_the_rest),
        TEST(a_move_from_elsewhere_changes_nothing),
        TEST(what_was_rolled_back_never_was),
        TEST(nobody_sees_what_is_not_committed),
        TEST(queued_tasks_come_in_the_order_of_their_acceptance),
        TEST(running_tasks_are_found_one_after_the_other),
        TEST(the_list_has_the_newest_first),
        TEST(the_oldest_finished_are_pruned),
        TEST(the_greatest_id_is_known),
        TEST(a_store_has_one_owner),
        TEST(what_is_no_store_is_refused),
        TEST(names_of_stores_are_known),
    };

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
