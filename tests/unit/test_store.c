/* What every task store must do.  The tests know a store by its operations alone: a row in `stores` is one
 * more that is held to the same. */
#include "harness.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "tasks/store.h"

/* ---- the stores, each new for each test ---- */

/* As if the next version of the program had written it. */
static void make_newer_sqlite(const char *where)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(where, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static const struct kind_of_store {
    const struct task_store_ops *ops;
    void (*make_newer)(const char *where);
} stores[] = {
    {&task_store_sqlite, make_newer_sqlite},
};

static const struct kind_of_store *kind_of_store = stores;
static const struct task_store_ops *ops;
static char folder[64];
static char where[128];
static struct task_store *store;
static struct task_reader *reader;

static void open_store(void)
{
    struct err err = {0};

    if (ops->open(where, &store, &err) != 0)
        fail_msg("%s", err.text);
    if (ops->reader_open(where, &reader, &err) != 0)
        fail_msg("%s", err.text);
}

static void close_store(void)
{
    ops->reader_close(reader);
    ops->close(store);
    store = NULL;
    reader = NULL;
}

static void reopen_store(void)
{
    close_store();
    open_store();
}

static void remove_files(void)
{
    char path[512];
    struct dirent *entry;
    DIR *dir = opendir(folder);

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    closedir(dir);
}

static int set_up(void **state)
{
    (void)state;
    /* In memory where that can be: what is to survive here is not the machine. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof(folder), "%s/store-test-XXXXXX", base);
    assert_non_null(mkdtemp(folder));
    snprintf(where, sizeof(where), "%s/tasks.db", folder);
    ops = kind_of_store->ops;
    open_store();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_store();
    remove_files();
    rmdir(folder);
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

/* What a call returns, which has an `err` of its own. */
#define GIVES(result, call)                                                                                  \
    do {                                                                                                     \
        struct err err = {0};                                                                                \
        int rc_of_call = call;                                                                               \
        if (rc_of_call != (result))                                                                          \
            fail_msg("%s: %d, %s", #call, rc_of_call, err.text);                                             \
        if (rc_of_call < 0)                                                                                  \
            assert_int_equal(err.code, rc_of_call);                                                          \
    } while (0)

#define NOW 1700000000123u

static const struct task_kind holding = {.name = "compute", .holds_thread = true};

static const struct task_spec plain = {.kind_name = "sleep", .payload = "{\"n\":[1,\"\xc3\xbc\"]}"};

static const struct task_spec full = {
    .kind_name = "http",
    .payload = "{\"url\":\"x\"}",
    .tenant = "acme",
    .unique_key = "only-one",
    .tags = "[\"a\",\"b c\"]",
    .callback = "{\"url\":\"http://127.0.0.1/\"}",
    .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    .schedule = "nightly",
    .timeout_ms = 30000,
    .max_attempts = 5,
    .backoff = {.base_ms = 500, .factor = 1.5, .max_ms = 60000, .jitter = 0.25},
};

static const struct task_status queued = {.state = TASK_STATE_QUEUED, .priority = 5, .version = 1};
static const struct task_status running = {
    .state = TASK_STATE_RUNNING,
    .run = 1,
    .attempts = 1,
    .interruptions = 2,
    .version = 7,
    .queue = 3,
    .priority = 9,
    .is_cancelled = true,
    .rank = 1ull << 40,
    .run_at_ms = NOW + 5,
    .started_ms = NOW + 6,
    .progress = 0.625,
};

static struct task *new_task(const struct task_spec *spec, struct task_status status)
{
    struct uuid id;

    assert_int_equal(uuid_create(&id), 0);
    struct task *task = task_create(&id, spec, NOW);
    assert_non_null(task);
    task->status = status;
    return task;
}

static void insert(const struct task *task)
{
    OK(ops->begin(store, &err));
    OK(ops->insert(store, task, &err));
    OK(ops->commit(store, &err));
}

/* A stored task; the caller gives it back. */
static struct task *add_status(struct task_status status)
{
    struct task *task = new_task(&plain, status);

    insert(task);
    return task;
}

static struct uuid add(enum task_state state)
{
    struct task *task = add_status((struct task_status){.state = state, .finished_ms = state >= 3 ? NOW : 0});
    struct uuid id = task->id;

    task_unref(task);
    return id;
}

/* Moves it, and notes that in the task. */
static void move(struct task *task, struct task_status to)
{
    OK(ops->begin(store, &err));
    OK(ops->move(store, task, &to, NULL, NULL, &err));
    OK(ops->commit(store, &err));
    task->status = to;
}

static void move_to(struct task *task, enum task_state state, uint64_t finished_ms)
{
    struct task_status to = task->status;

    to.state = state;
    to.finished_ms = finished_ms;
    to.version++;
    move(task, to);
}

static int try_move(const struct task *task, struct task_status to, const char *result, const char *error)
{
    struct err refused = {0};

    OK(ops->begin(store, &err));
    int rc = ops->move(store, task, &to, result, error, &refused);
    OK(ops->commit(store, &err));
    assert_int_equal(rc, refused.code);
    return rc;
}

/* NULL when there is none. */
static struct task *get(const struct uuid *id)
{
    struct task *task = NULL;

    OK(ops->get(reader, id, &task, &err));
    return task;
}

static bool exists(const struct uuid *id)
{
    struct task *task = get(id);

    task_unref(task);
    return task != NULL;
}

static void expect_text(const char *text, const char *expected)
{
    if (expected)
        assert_non_null(text);
    else
        assert_null(text);
    if (expected)
        assert_string_equal(text, expected);
}

static void expect_spec(const struct task_spec *spec, const struct task_spec *expected)
{
    expect_text(spec->kind_name, expected->kind_name);
    expect_text(spec->payload, expected->payload);
    expect_text(spec->tenant, expected->tenant);
    expect_text(spec->unique_key, expected->unique_key);
    expect_text(spec->tags, expected->tags);
    expect_text(spec->callback, expected->callback);
    expect_text(spec->traceparent, expected->traceparent);
    expect_text(spec->schedule, expected->schedule);
    assert_true(spec->timeout_ms == expected->timeout_ms);
    assert_int_equal(spec->max_attempts, expected->max_attempts);
    assert_true(spec->backoff.base_ms == expected->backoff.base_ms);
    assert_true(spec->backoff.factor == expected->backoff.factor);
    assert_true(spec->backoff.max_ms == expected->backoff.max_ms);
    assert_true(spec->backoff.jitter == expected->backoff.jitter);
}

static void expect_status(const struct task_status *status, const struct task_status *expected)
{
    assert_int_equal(status->state, expected->state);
    assert_int_equal(status->run, expected->run);
    assert_int_equal(status->attempts, expected->attempts);
    assert_int_equal(status->interruptions, expected->interruptions);
    assert_int_equal(status->version, expected->version);
    assert_int_equal(status->queue, expected->queue);
    assert_int_equal(status->priority, expected->priority);
    assert_int_equal(status->is_cancelled, expected->is_cancelled);
    assert_true(status->rank == expected->rank);
    assert_true(status->run_at_ms == expected->run_at_ms);
    assert_true(status->started_ms == expected->started_ms);
    assert_true(status->finished_ms == expected->finished_ms);
    assert_true(status->progress == expected->progress);
}

static bool is_same(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* The tasks that came out are these, in this order; gives them back. */
static void expect_tasks(struct task **tasks, int count, struct task *const *expected, int expected_count)
{
    assert_int_equal(count, expected_count);
    for (int i = 0; i < count; i++) {
        assert_true(is_same(&tasks[i]->id, &expected[i]->id));
        task_unref(tasks[i]);
    }
}

static void unref_all(struct task **tasks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        task_unref(tasks[i]);
}

static void add_queue(task_queue_id id, const char *name)
{
    struct task_queue_row row = {.id = id};

    snprintf(row.name, sizeof(row.name), "%s", name);
    OK(ops->begin(store, &err));
    OK(ops->add_queue(store, &row, &err));
    OK(ops->commit(store, &err));
}

static struct task_queue_row find_queue(task_queue_id id)
{
    static struct task_queue_row rows[TASK_QUEUE_MAX];
    struct err err = {0};
    int count = ops->queues(store, rows, &err);

    for (int i = 0; i < count; i++)
        if (rows[i].id == id)
            return rows[i];
    fail_msg("no queue %u among %d, %s", (unsigned)id, count, err.text);
    return rows[0];
}

static void expect_count(task_queue_id queue, enum task_state state, uint64_t count)
{
    struct task_queue_row row = find_queue(queue);

    assert_int_equal(row.counts.by_state[state], count);
}

/* ---- tasks ---- */

static void what_was_stored_is_read_again(void **state)
{
    struct task *first = new_task(&full, running);
    struct task *second = new_task(&plain, queued);
    (void)state;

    insert(first);
    insert(second);
    for (unsigned round = 0; round < 2; round++) {
        struct task *task = get(&first->id);
        assert_non_null(task);
        expect_spec(&task->spec, &full);
        expect_status(&task->status, &running);
        assert_true(task->created_ms == NOW);
        assert_null(task->kind);
        assert_null(task->result);
        assert_null(task->error);
        assert_int_equal(task->past_count, 0);
        task_unref(task);
        GIVES(1, ops->find(store, &second->id, &task, &err));
        expect_spec(&task->spec, &plain);
        expect_status(&task->status, &queued);
        task_unref(task);
        reopen_store();
    }
    task_unref(first);
    task_unref(second);
}

static void an_id_that_is_not_there_is_not_found(void **state)
{
    struct uuid id = add(TASK_STATE_QUEUED);
    struct task *task = NULL;
    (void)state;

    id.bytes[15] ^= 1; /* the stamp is that of one that is there */
    GIVES(0, ops->find(store, &id, &task, &err));
    GIVES(0, ops->get(reader, &id, &task, &err));
    id.bytes[0] ^= 1;
    GIVES(0, ops->find(store, &id, &task, &err));
    assert_null(task);
}

static void a_move_changes_the_status_and_keeps_the_rest(void **state)
{
    struct task *task = new_task(&full, queued);
    struct task_status succeeded = running;
    (void)state;

    insert(task);
    assert_int_equal(try_move(task, running, NULL, "first error"), 0);
    task->status = running;
    succeeded.state = TASK_STATE_SUCCEEDED;
    succeeded.version = 8;
    succeeded.is_cancelled = false;
    succeeded.progress = 1;
    succeeded.finished_ms = NOW + 7;
    assert_int_equal(try_move(task, succeeded, "{\"a\":1}", NULL), 0);
    struct task *stored = get(&task->id);
    expect_status(&stored->status, &succeeded);
    expect_spec(&stored->spec, &full);
    assert_string_equal(stored->result, "{\"a\":1}");
    assert_string_equal(stored->error, "first error");
    task_unref(stored);
    task_unref(task);
}

static void expect_result(const struct uuid *id, const char *expected)
{
    struct task *task = get(id);

    expect_text(task->result, expected);
    task_unref(task);
}

static void a_result_may_be_short_or_long(void **state)
{
    static const size_t sizes[] = {1, 200, 201, 50000, 3, 300};
    struct task *task = add_status(running);
    char text[50001];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        memset(text, '0' + (int)i, sizes[i]);
        text[sizes[i]] = '\0';
        assert_int_equal(try_move(task, running, text, NULL), 0);
        expect_result(&task->id, text);
        assert_int_equal(try_move(task, running, NULL, NULL), 0);
        expect_result(&task->id, text);
    }
    task_unref(task);
}

static void a_move_within_a_state_changes_what_it_says(void **state)
{
    struct task *task = add_status(running);
    struct task_status to = running;
    (void)state;

    add_queue(3, "q");
    to.progress = 0.75;
    to.version++;
    move(task, to);
    struct task *stored = get(&task->id);
    expect_status(&stored->status, &to);
    expect_count(3, TASK_STATE_RUNNING, 1);
    task_unref(stored);
    task_unref(task);
}

static void a_move_from_elsewhere_changes_nothing(void **state)
{
    struct task *task = add_status(running);
    struct task_status to = running;
    (void)state;

    add_queue(3, "q");
    to.state = TASK_STATE_QUEUED;
    task->status.run = 2;
    assert_int_equal(try_move(task, to, "\"r\"", "e"), -ESTALE);
    task->status = running;
    task->status.state = TASK_STATE_SCHEDULED;
    assert_int_equal(try_move(task, to, "\"r\"", "e"), -ESTALE);
    task->status = running;
    task->id.bytes[0] ^= 1;
    assert_int_equal(try_move(task, to, "\"r\"", "e"), -ESTALE);
    task->id.bytes[0] ^= 1;
    struct task *stored = get(&task->id);
    expect_status(&stored->status, &running);
    assert_null(stored->result);
    assert_null(stored->error);
    expect_count(3, TASK_STATE_RUNNING, 1);
    expect_count(3, TASK_STATE_QUEUED, 0);
    task_unref(stored);
    task_unref(task);
}

static void a_transaction_goes_on_after_what_it_refused(void **state)
{
    struct task *first = new_task(&full, queued);
    struct task *second = new_task(&full, queued);
    struct task *third = new_task(&plain, queued);
    (void)state;

    OK(ops->begin(store, &err));
    OK(ops->insert(store, first, &err));
    GIVES(-EEXIST, ops->insert(store, second, &err));
    second->status.state = TASK_STATE_RUNNING;
    GIVES(-ESTALE, ops->move(store, second, &queued, NULL, NULL, &err));
    OK(ops->insert(store, third, &err));
    OK(ops->commit(store, &err));
    assert_true(exists(&first->id));
    assert_false(exists(&second->id));
    assert_true(exists(&third->id));
    task_unref(first);
    task_unref(second);
    task_unref(third);
}

static void what_was_rolled_back_never_was(void **state)
{
    struct task *task = new_task(&plain, queued);
    struct task *kept = add_status(queued);
    (void)state;

    add_queue(0, "q");
    OK(ops->begin(store, &err));
    OK(ops->insert(store, task, &err));
    OK(ops->move(store, kept, &running, NULL, NULL, &err));
    expect_count(0, TASK_STATE_QUEUED, 1);
    ops->rollback(store);
    expect_count(0, TASK_STATE_QUEUED, 1);
    assert_false(exists(&task->id));
    struct task *stored = get(&kept->id);
    expect_status(&stored->status, &queued);
    OK(ops->begin(store, &err));
    OK(ops->commit(store, &err));
    expect_count(0, TASK_STATE_QUEUED, 1);
    expect_count(0, TASK_STATE_RUNNING, 0);
    task_unref(stored);
    task_unref(kept);
    task_unref(task);
}

static void readers_see_what_is_committed_and_nothing_else(void **state)
{
    struct task *task = new_task(&plain, queued);
    (void)state;

    OK(ops->begin(store, &err));
    OK(ops->insert(store, task, &err));
    assert_false(exists(&task->id));
    OK(ops->commit(store, &err));
    assert_true(exists(&task->id));
    OK(ops->begin(store, &err));
    OK(ops->move(store, task, &running, NULL, NULL, &err));
    struct task *stored = get(&task->id);
    expect_status(&stored->status, &queued);
    OK(ops->commit(store, &err));
    task_unref(stored);
    task_unref(task);
}

static void an_unfinished_task_keeps_its_unique_key(void **state)
{
    struct task *first = new_task(&full, queued);
    struct task *second = new_task(&full, queued);
    struct task *found = NULL;
    (void)state;

    GIVES(0, ops->find_unique(store, "only-one", &found, &err));
    insert(first);
    GIVES(1, ops->find_unique(store, "only-one", &found, &err));
    assert_true(is_same(&found->id, &first->id));
    expect_spec(&found->spec, &full);
    task_unref(found);
    move_to(first, TASK_STATE_DEAD, NOW);
    GIVES(0, ops->find_unique(store, "only-one", &found, &err));
    insert(second);
    assert_int_equal(try_move(first, queued, NULL, NULL), -EEXIST);
    move_to(second, TASK_STATE_CANCELLED, NOW);
    assert_int_equal(try_move(first, queued, NULL, NULL), 0);
    GIVES(1, ops->find_unique(store, "only-one", &found, &err));
    assert_true(is_same(&found->id, &first->id));
    task_unref(found);
    task_unref(first);
    task_unref(second);
}

/* In the order of their turns. */
static const struct {
    uint8_t priority;
    uint64_t rank;
} turns[] = {{0, 9}, {1, 1}, {1, 2}, {1, 2}, {5, 0}, {9, 0}};

/* Queued tasks of queue 2 with the turns above, inserted in another order but where they are the same. */
static void add_turns(struct task *ret[ARRAY_LEN(turns)])
{
    static const size_t order[] = {4, 2, 3, 0, 5, 1};

    for (size_t i = 0; i < ARRAY_LEN(turns); i++)
        ret[order[i]] = add_status((struct task_status){.state = TASK_STATE_QUEUED,
                                                        .queue = 2,
                                                        .priority = turns[order[i]].priority,
                                                        .rank = turns[order[i]].rank});
}

static void queued_tasks_come_by_priority_rank_and_age(void **state)
{
    struct task *expected[ARRAY_LEN(turns)];
    struct task *tasks[ARRAY_LEN(turns) + 1];
    struct task *other = new_task(&plain, (struct task_status){.state = TASK_STATE_QUEUED, .queue = 2});
    (void)state;

    other->kind = &holding;
    insert(other);
    add(TASK_STATE_QUEUED);
    add_turns(expected);
    int count = ops->first_queued(store, 2, false, ARRAY_LEN(tasks), tasks, &(struct err){0});
    expect_tasks(tasks, count, expected, ARRAY_LEN(turns));
    count = ops->first_queued(store, 2, false, 3, tasks, &(struct err){0});
    assert_string_equal(tasks[0]->spec.payload, plain.payload);
    expect_tasks(tasks, count, expected, 3);
    count = ops->first_queued(store, 2, true, 3, tasks, &(struct err){0});
    expect_tasks(tasks, count, &other, 1);
    GIVES(0, ops->first_queued(store, 1, false, 3, tasks, &err));
    unref_all(expected, ARRAY_LEN(expected));
    task_unref(other);
}

static void a_queued_task_knows_how_many_come_before(void **state)
{
    struct task *tasks[ARRAY_LEN(turns)];
    uint64_t position = 99;
    (void)state;

    add_turns(tasks);
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        OK(ops->position(reader, tasks[i], false, 100, &position, &err));
        assert_int_equal(position, i);
        OK(ops->position(reader, tasks[i], true, 100, &position, &err));
        assert_int_equal(position, 0);
    }
    OK(ops->position(reader, tasks[5], false, 2, &position, &err));
    assert_int_equal(position, 2);
    unref_all(tasks, ARRAY_LEN(tasks));
}

static void scheduled_tasks_are_due_in_the_order_of_their_times(void **state)
{
    struct task *expected[3];
    struct task *tasks[4];
    uint64_t next_ms = 0;
    (void)state;

    add(TASK_STATE_QUEUED);
    GIVES(0, ops->next_due(store, &next_ms, &err));
    for (size_t i = 0; i < 3; i++)
        expected[2 - i] =
            add_status((struct task_status){.state = TASK_STATE_SCHEDULED, .run_at_ms = NOW + 100 - i});
    GIVES(1, ops->next_due(store, &next_ms, &err));
    assert_true(next_ms == NOW + 98);
    GIVES(0, ops->due(store, NOW + 97, 4, tasks, &err));
    int count = ops->due(store, NOW + 99, 4, tasks, &(struct err){0});
    assert_string_equal(tasks[0]->spec.payload, plain.payload);
    expect_tasks(tasks, count, expected, 2);
    count = ops->due(store, NOW + 1000, 1, tasks, &(struct err){0});
    expect_tasks(tasks, count, expected, 1);
    unref_all(expected, 3);
}

static void running_tasks_are_found_one_after_the_other(void **state)
{
    struct task *expected[3];
    struct task *tasks[4];
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        expected[i] = add_status((struct task_status){
            .state = TASK_STATE_RUNNING, .run = 1, .queue = i == 1 ? 1 : 0, .priority = (uint8_t)(9 - i)});
        add(TASK_STATE_QUEUED);
    }
    int count = ops->running(store, &(struct uuid){{0}}, 2, tasks, &(struct err){0});
    expect_tasks(tasks, count, expected, 2);
    count = ops->running(store, &expected[1]->id, 2, tasks, &(struct err){0});
    expect_tasks(tasks, count, expected + 2, 1);
    GIVES(0, ops->running(store, &expected[2]->id, 2, tasks, &err));
    count = ops->running_in(reader, 1, 4, tasks, &(struct err){0});
    expect_tasks(tasks, count, expected + 1, 1);
    count = ops->running_in(reader, 0, 1, tasks, &(struct err){0});
    assert_null(tasks[0]->spec.payload);
    expect_tasks(tasks, count, expected, 1);
    unref_all(expected, 3);
}

static void attempts_are_a_tasks_past(void **state)
{
    struct task *task = add_status(running);
    char text[] = "it went wrong";
    (void)state;

    OK(ops->begin(store, &err));
    for (unsigned run = 9; run > 0; run--) {
        struct task_attempt attempt = {.run = run,
                                       .started_ms = NOW + run,
                                       .finished_ms = NOW + run + 5,
                                       .was_interrupted = run == 4,
                                       .error = run == 4 ? NULL : text};
        OK(ops->add_attempt(store, &task->id, &attempt, &err));
    }
    OK(ops->commit(store, &err));
    struct task *stored = get(&task->id);
    assert_int_equal(stored->past_count, 9);
    for (unsigned i = 0; i < 9; i++) {
        const struct task_attempt *attempt = &stored->past[i];
        assert_int_equal(attempt->run, i + 1);
        assert_true(attempt->started_ms == NOW + i + 1);
        assert_true(attempt->finished_ms == NOW + i + 6);
        assert_int_equal(attempt->was_interrupted, i == 3);
        expect_text(attempt->error, i == 3 ? NULL : text);
    }
    task_unref(stored);
    OK(ops->find(store, &task->id, &stored, &err));
    assert_int_equal(stored->past_count, 0);
    task_unref(stored);
    task_unref(task);
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

/* ---- what is forgotten ---- */

static int prune(enum task_state state, uint64_t until_ms, size_t limit, uint64_t *by_queue)
{
    struct err failed = {0};

    OK(ops->begin(store, &err));
    int rc = ops->prune(store, state, until_ms, limit, by_queue, &failed);
    OK(ops->commit(store, &err));
    assert_true(rc >= 0);
    return rc;
}

static void those_that_finished_first_are_pruned_first(void **state)
{
    uint64_t by_queue[TASK_QUEUE_MAX] = {[1] = 10};
    struct task *tasks[5];
    (void)state;

    add_queue(0, "a");
    add_queue(1, "b");
    for (size_t i = 0; i < 5; i++) { /* the last finishes first; the first is not finished */
        tasks[i] = add_status((struct task_status){.state = TASK_STATE_RUNNING, .queue = i == 4 ? 1 : 0});
        struct task_status to = tasks[i]->status;
        to.state = i == 1 ? TASK_STATE_CANCELLED : TASK_STATE_DEAD;
        to.finished_ms = NOW - i;
        if (i > 0)
            assert_int_equal(try_move(tasks[i], to, NULL, "e"), 0);
    }
    assert_int_equal(prune(TASK_STATE_DEAD, NOW - 5, 10, by_queue), 0);
    assert_int_equal(prune(TASK_STATE_DEAD, NOW - 3, 1, by_queue), 1);
    assert_false(exists(&tasks[4]->id));
    assert_int_equal(prune(TASK_STATE_DEAD, NOW - 3, 10, by_queue), 1);
    assert_false(exists(&tasks[3]->id));
    assert_true(exists(&tasks[2]->id));
    assert_int_equal(prune(TASK_STATE_CANCELLED, NOW, 10, by_queue), 1);
    assert_int_equal(prune(TASK_STATE_SUCCEEDED, NOW, 10, by_queue), 0);
    assert_int_equal(by_queue[0], 2);
    assert_int_equal(by_queue[1], 11);
    expect_count(0, TASK_STATE_DEAD, 1);
    expect_count(1, TASK_STATE_DEAD, 0);
    expect_count(0, TASK_STATE_RUNNING, 1);
    expect_count(0, TASK_STATE_CANCELLED, 0);
    unref_all(tasks, 5);
}

/* A task with the same id would have them. */
static void nothing_is_left_of(const struct uuid *id)
{
    struct task *again = task_create(id, &(struct task_spec){.kind_name = "sleep"}, NOW);

    assert_non_null(again);
    insert(again);
    task_unref(again);
    again = get(id);
    assert_null(again->spec.payload);
    assert_null(again->result);
    assert_int_equal(again->past_count, 0);
    task_unref(again);
}

static void a_forgotten_task_leaves_nothing(void **state)
{
    (void)state;

    for (unsigned round = 0; round < 2; round++) {
        struct task *task = new_task(&full, running);
        struct task_status to = running;
        insert(task);
        OK(ops->begin(store, &err));
        OK(ops->add_attempt(store, &task->id, &(struct task_attempt){.run = 1}, &err));
        to.state = TASK_STATE_SUCCEEDED;
        to.finished_ms = NOW;
        OK(ops->move(store, task, &to, "1", NULL, &err));
        OK(ops->commit(store, &err));
        if (round == 0) {
            assert_int_equal(prune(TASK_STATE_SUCCEEDED, NOW, 10, (uint64_t[TASK_QUEUE_MAX]){0}), 1);
        } else {
            OK(ops->begin(store, &err));
            OK(ops->remove(store, &task->id, &err));
            OK(ops->commit(store, &err));
        }
        nothing_is_left_of(&task->id);
        task_unref(task);
    }
}

static void only_finished_tasks_can_be_removed(void **state)
{
    struct uuid finished = add(TASK_STATE_CANCELLED);
    struct uuid unfinished = add(TASK_STATE_QUEUED);
    struct uuid unknown = finished;
    (void)state;

    add_queue(0, "q");
    unknown.bytes[15] ^= 1;
    OK(ops->begin(store, &err));
    GIVES(-ESTALE, ops->remove(store, &unfinished, &err));
    GIVES(-ESTALE, ops->remove(store, &unknown, &err));
    OK(ops->remove(store, &finished, &err));
    GIVES(-ESTALE, ops->remove(store, &finished, &err));
    OK(ops->commit(store, &err));
    assert_false(exists(&finished));
    assert_true(exists(&unfinished));
    expect_count(0, TASK_STATE_CANCELLED, 0);
    expect_count(0, TASK_STATE_QUEUED, 1);
}

/* ---- queues ---- */

static void queues_survive_with_their_counts(void **state)
{
    struct task_queue_row rows[TASK_QUEUE_MAX];
    struct task *task = add_status((struct task_status){.state = TASK_STATE_QUEUED, .queue = 7});
    struct task_status to = task->status;
    (void)state;

    add_queue(7, "mail");
    add_queue(0, "default");
    OK(ops->begin(store, &err));
    OK(ops->pause_queue(store, 7, true, &err));
    OK(ops->commit(store, &err));
    to.queue = 0;
    move(task, to); /* to the other queue */
    task_unref(add_status((struct task_status){.state = TASK_STATE_DEAD, .queue = 7}));
    for (unsigned round = 0; round < 2; round++) {
        GIVES(2, ops->queues(store, rows, &err));
        assert_string_equal(find_queue(7).name, "mail");
        assert_true(find_queue(7).is_paused);
        assert_false(find_queue(0).is_paused);
        expect_count(7, TASK_STATE_QUEUED, 0);
        expect_count(7, TASK_STATE_DEAD, 1);
        expect_count(0, TASK_STATE_QUEUED, 1);
        reopen_store();
    }
    OK(ops->begin(store, &err));
    OK(ops->pause_queue(store, 7, false, &err));
    OK(ops->commit(store, &err));
    assert_false(find_queue(7).is_paused);
    task_unref(task);
}

struct seen_ranks {
    unsigned count;
    uint64_t sum;
};

static void see_rank(void *arg, task_queue_id queue, unsigned slot, uint64_t rank)
{
    struct seen_ranks *seen = arg;

    seen->count++;
    seen->sum += rank * (queue + 1u) * (slot + 1u);
}

static void ranks_survive(void **state)
{
    struct seen_ranks seen = {0};
    (void)state;

    OK(ops->begin(store, &err));
    OK(ops->set_rank(store, 0, 1, 5, &err));
    OK(ops->set_rank(store, 2, 0, 1, &err));
    OK(ops->set_rank(store, 2, 0, 1000, &err));
    OK(ops->commit(store, &err));
    reopen_store();
    OK(ops->ranks(store, see_rank, &seen, &err));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.sum, 5 * 2 + 1000 * 3);
}

/* ---- what else is to survive ---- */

static void keys_are_kept_replaced_and_forgotten(void **state)
{
    struct task_idempotent value = {.request_hash = {1, 2, 3, [31] = 9},
                                    .at_ms = NOW,
                                    .started_ms = NOW + 1,
                                    .state = TASK_STATE_RUNNING};
    struct task_idempotent found;
    (void)state;

    assert_int_equal(uuid_create(&value.id), 0);
    GIVES(0, ops->find_key(store, "k", &found, &err));
    OK(ops->begin(store, &err));
    OK(ops->put_key(store, "k", &(struct task_idempotent){.at_ms = 1}, &err));
    OK(ops->put_key(store, "k", &value, &err));
    OK(ops->put_key(store, "K", &(struct task_idempotent){.at_ms = NOW - 1}, &err));
    OK(ops->put_key(store, "old", &(struct task_idempotent){.at_ms = NOW - 2}, &err));
    OK(ops->commit(store, &err));
    reopen_store();
    GIVES(1, ops->find_key(store, "k", &found, &err));
    assert_memory_equal(found.request_hash, value.request_hash, sizeof(value.request_hash));
    assert_true(is_same(&found.id, &value.id));
    assert_true(found.at_ms == NOW && found.started_ms == NOW + 1);
    assert_int_equal(found.state, TASK_STATE_RUNNING);
    OK(ops->begin(store, &err));
    GIVES(1, ops->prune_keys(store, NOW, 1, &err));
    GIVES(0, ops->find_key(store, "old", &found, &err));
    GIVES(1, ops->find_key(store, "K", &found, &err));
    GIVES(1, ops->prune_keys(store, NOW, 10, &err));
    GIVES(0, ops->prune_keys(store, NOW, 10, &err));
    OK(ops->commit(store, &err));
    GIVES(1, ops->find_key(store, "k", &found, &err));
}

static void ticks_are_kept(void **state)
{
    uint64_t tick_ms = 0;
    (void)state;

    GIVES(0, ops->find_tick(store, "nightly", &tick_ms, &err));
    OK(ops->begin(store, &err));
    OK(ops->put_tick(store, "nightly", NOW, &err));
    OK(ops->put_tick(store, "nightly", NOW + 1, &err));
    OK(ops->commit(store, &err));
    reopen_store();
    GIVES(1, ops->find_tick(store, "nightly", &tick_ms, &err));
    assert_true(tick_ms == NOW + 1);
    GIVES(0, ops->find_tick(store, "hourly", &tick_ms, &err));
}

/* ---- events ---- */

static struct task_event event_of(uint64_t number)
{
    struct task_event event = {
        .number = number,
        .at_ms = NOW + number,
        .attempts = (uint32_t)number,
        .progress = 0.5f,
        .state = (uint8_t)(number % TASK_STATE_COUNT),
        .is_progress = number % 2,
        .queue = (uint16_t)(number % TASK_QUEUE_MAX),
    };

    memset(&event.id, (int)number, sizeof(event.id));
    return event;
}

static void add_events(uint64_t first, size_t count)
{
    uint8_t packed[8 * TASK_EVENT_PACKED_BYTES];

    for (size_t i = 0; i < count; i++) {
        struct task_event event = event_of(first + i);
        task_event_pack(&event, packed + i * TASK_EVENT_PACKED_BYTES);
    }
    OK(ops->begin(store, &err));
    OK(ops->add_events(store, first, packed, count, &err));
    OK(ops->commit(store, &err));
}

struct seen_events {
    uint64_t first;
    unsigned count;
    unsigned enough;
};

static bool see_event(void *arg, const struct task_event *event)
{
    struct seen_events *seen = arg;
    struct task_event expected = event_of(event->number);

    assert_memory_equal(event, &expected, sizeof(expected));
    if (seen->count == 0)
        seen->first = event->number;
    assert_true(event->number == seen->first + seen->count);
    return ++seen->count != seen->enough;
}

static void expect_events(uint64_t from, unsigned enough, uint64_t first, unsigned count)
{
    struct seen_events seen = {.enough = enough};

    GIVES(0, ops->events(reader, from, see_event, &seen, &err));
    assert_int_equal(seen.first, first);
    assert_int_equal(seen.count, count);
}

static void events_are_read_from_any_number_on(void **state)
{
    (void)state;

    expect_events(0, 0, 0, 0);
    add_events(1, 3);
    add_events(4, 1);
    add_events(5, 8);
    expect_events(0, 0, 1, 12);
    expect_events(1, 0, 1, 12);
    expect_events(3, 0, 3, 10);
    expect_events(4, 2, 4, 2);
    expect_events(12, 0, 12, 1);
    expect_events(13, 0, 0, 0);
}

static void events_numbers_never_go_back(void **state)
{
    uint64_t last = 99;
    (void)state;

    OK(ops->last_event(store, &last, &err));
    assert_int_equal(last, 0);
    add_events(1, 3);
    add_events(4, 1);
    add_events(5, 8);
    OK(ops->begin(store, &err));
    GIVES(1, ops->prune_events(store, 6, 1, &err)); /* a block, and not more */
    OK(ops->commit(store, &err));
    expect_events(0, 0, 4, 9);
    OK(ops->begin(store, &err));
    GIVES(1, ops->prune_events(store, 6, 10, &err));
    OK(ops->commit(store, &err));
    expect_events(6, 0, 6, 7);
    OK(ops->begin(store, &err));
    GIVES(0, ops->prune_events(store, 1000, 10, &err));
    OK(ops->commit(store, &err));
    reopen_store();
    OK(ops->last_event(store, &last, &err));
    assert_int_equal(last, 12);
}

/* ---- lists ---- */

static const struct task_filter any = {.state = -1, .queue = -1};

/* Goes through a list page by page, and expects that each task comes once, the newest first.  How many. */
static unsigned walk(struct task_filter filter, size_t limit, unsigned *ret_pages)
{
    struct task **tasks = calloc(limit, sizeof(*tasks));
    struct uuid last;
    unsigned found = 0;
    unsigned pages = 0;
    struct uuid next = {0};

    memset(&last, 0xff, sizeof(last));
    do {
        struct err err = {0};
        filter.after = next;
        int count = ops->list(reader, &filter, limit, tasks, &next, &err);
        assert_true(count >= 0 && count <= (int)limit);
        for (int i = 0; i < count; i++) {
            assert_true(memcmp(&tasks[i]->id, &last, sizeof(last)) < 0);
            last = tasks[i]->id;
            task_unref(tasks[i]);
        }
        found += (unsigned)count;
        pages++;
    } while (!is_same(&next, &(struct uuid){{0}}));
    free(tasks);
    if (ret_pages)
        *ret_pages = pages;
    return found;
}

static void the_list_has_the_newest_first(void **state)
{
    struct task *tasks[4];
    struct task *expected[4];
    struct uuid next;
    (void)state;

    GIVES(0, ops->list(reader, &any, 4, tasks, &next, &err));
    assert_true(is_same(&next, &(struct uuid){{0}}));
    for (size_t i = 0; i < 4; i++)
        expected[3 - i] = add_status(queued);
    int count = ops->list(reader, &any, 3, tasks, &next, &(struct err){0});
    assert_null(tasks[0]->spec.payload);
    assert_true(is_same(&next, &expected[2]->id));
    expect_tasks(tasks, count, expected, 3);
    struct task_filter filter = any;
    filter.after = next;
    count = ops->list(reader, &filter, 3, tasks, &next, &(struct err){0});
    expect_tasks(tasks, count, expected + 3, 1);
    assert_true(is_same(&next, &(struct uuid){{0}}));
    count = ops->list(reader, &any, 4, tasks, &next, &(struct err){0});
    assert_true(is_same(&next, &(struct uuid){{0}})); /* full, and nothing behind it */
    expect_tasks(tasks, count, expected, 4);
    unref_all(expected, 4);
}

static void a_list_has_documents_where_they_are_wanted(void **state)
{
    struct task *task = add_status((struct task_status){.state = TASK_STATE_RUNNING, .run = 1});
    struct task_status to = task->status;
    struct task_filter filter = any;
    struct task *found;
    struct uuid next;
    (void)state;

    to.state = TASK_STATE_SUCCEEDED;
    assert_int_equal(try_move(task, to, "[1]", NULL), 0);
    filter.with_documents = true;
    GIVES(1, ops->list(reader, &filter, 1, &found, &next, &err));
    assert_string_equal(found->spec.payload, plain.payload);
    assert_string_equal(found->result, "[1]");
    task_unref(found);
    filter.with_documents = false;
    GIVES(1, ops->list(reader, &filter, 1, &found, &next, &err));
    assert_null(found->spec.payload);
    assert_null(found->result);
    task_unref(found);
    task_unref(task);
}

static void add_with(const char *kind, const char *tags, enum task_state state, task_queue_id queue)
{
    struct task_spec spec = {.kind_name = kind, .tags = tags};
    struct task *task = new_task(&spec, (struct task_status){.state = state, .queue = queue});

    insert(task);
    task_unref(task);
}

static unsigned count_tag(const char *tag)
{
    struct task_filter filter = any;

    filter.tag = tag;
    return walk(filter, 2, NULL);
}

static void tags_are_matched_as_a_whole(void **state)
{
    (void)state;

    add_with("sleep", "[\"red\",\"blue\"]", TASK_STATE_QUEUED, 0);
    add_with("sleep", "[\"redder\"]", TASK_STATE_QUEUED, 0);
    add_with("sleep", "[\"a\\\"b\",\"\\u00fc\",\"red\\\",\\\"blue\"]", TASK_STATE_QUEUED, 0);
    add_with("sleep", NULL, TASK_STATE_QUEUED, 0);
    assert_int_equal(count_tag("red"), 1);
    assert_int_equal(count_tag("blue"), 1);
    assert_int_equal(count_tag("redder"), 1);
    assert_int_equal(count_tag("re"), 0);
    assert_int_equal(count_tag("a\"b"), 1);
    assert_int_equal(count_tag("\xc3\xbc"), 1);
    assert_int_equal(count_tag(""), 0);
}

static void filters_are_combined(void **state)
{
    struct task_filter filter = any;
    (void)state;

    for (int state_of = 0; state_of < TASK_STATE_COUNT; state_of++)
        for (task_queue_id queue = 0; queue < 2; queue++)
            for (int kind = 0; kind < 2; kind++)
                add_with(kind ? "http" : "sleep", kind ? "[\"t\"]" : NULL, (enum task_state)state_of, queue);
    assert_int_equal(walk(any, 5, NULL), TASK_STATE_COUNT * 4);
    for (int state_of = 0; state_of < TASK_STATE_COUNT; state_of++) {
        filter = any;
        filter.state = state_of;
        assert_int_equal(walk(filter, 3, NULL), 4);
        filter.queue = 1;
        assert_int_equal(walk(filter, 3, NULL), 2);
        filter.tag = "t";
        assert_int_equal(walk(filter, 3, NULL), 1);
        filter.kind = "sleep";
        assert_int_equal(walk(filter, 3, NULL), 0);
    }
    filter = (struct task_filter){.state = -1, .queue = -1, .kind = "http"};
    assert_int_equal(walk(filter, 3, NULL), TASK_STATE_COUNT * 2);
}

/* So many that one call can not look at all of them. */
static void add_many(unsigned count)
{
    OK(ops->begin(store, &err));
    for (unsigned i = 0; i < count; i++) {
        struct task *task =
            new_task(&(struct task_spec){.kind_name = i % 10000 == 4999 ? "rare" : "sleep"},
                     (struct task_status){.state = i < 100 ? TASK_STATE_DEAD : TASK_STATE_SUCCEEDED,
                                          .finished_ms = NOW});
        OK(ops->insert(store, task, &err));
        task_unref(task);
    }
    OK(ops->commit(store, &err));
}

static void a_list_of_many_looks_at_some_at_a_time(void **state)
{
    struct task_filter filter = any;
    unsigned pages = 0;
    (void)state;

    add_many(55000);
    assert_int_equal(walk(any, 1000, &pages), 55000);
    assert_int_equal(pages, 55);
    filter.kind = "rare";
    assert_int_equal(walk(filter, 1000, &pages), 6);
    assert_true(pages > 1 && pages < 10);
    filter.kind = "none";
    assert_int_equal(walk(filter, 1000, NULL), 0);
    filter = any;
    filter.state = TASK_STATE_SUCCEEDED;
    assert_int_equal(walk(filter, 1000, NULL), 54900);
    filter.state = TASK_STATE_DEAD;
    assert_int_equal(walk(filter, 30, &pages), 100);
    assert_int_equal(pages, 4);
}

static void what_many_have_taken_is_given_back(void **state)
{
    uint64_t by_queue[TASK_QUEUE_MAX] = {0};
    struct stat before, after;
    (void)state;

    add_many(100000);
    while (prune(TASK_STATE_SUCCEEDED, NOW, 5000, by_queue) > 0)
        continue;
    assert_int_equal(by_queue[0], 99900);
    reopen_store();
    assert_int_equal(stat(where, &before), 0);
    unsigned times = 0;
    struct err err = {0};
    while (ops->shrink(store, &err) == 1)
        times++;
    assert_true(times > 0);
    reopen_store();
    assert_int_equal(stat(where, &after), 0);
    assert_true(after.st_size < before.st_size);
    assert_int_equal(walk(any, 1000, NULL), 100);
}

/* ---- the store itself ---- */

static void the_reserve_can_be_freed_and_taken_again(void **state)
{
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        ops->free_reserve(store);
        add(TASK_STATE_QUEUED);
        OK(ops->keep_reserve(store, &err));
    }
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

static void a_newer_store_is_refused(void **state)
{
    struct task_store *none = NULL;
    struct err err = {0};
    (void)state;

    close_store();
    kind_of_store->make_newer(where);
    assert_int_equal(ops->open(where, &none, &err), -ENOTSUP);
    assert_null(none);
    assert_non_null(strstr(err.text, "newer"));
    remove_files();
    open_store();
}

static void what_is_no_store_is_refused(void **state)
{
    static const char text[] =
        "This is a text, and it is long enough to have a header's size, or so it seems.\n"
        "This is a text, and it is long enough to have a header's size, or so it seems.\n";
    struct task_store *none = NULL;
    (void)state;

    close_store();
    remove_files();
    int fd = open(where, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
    close(fd);
    GIVES(-EBADMSG, ops->open(where, &none, &err));
    remove_files();
    open_store();
    ops->close(NULL);
    ops->reader_close(NULL);
    GIVES(-ENOENT, ops->open("/nowhere/at/all/tasks.db", &none, &err));
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

/* ---- without a store ---- */

static void an_event_that_is_none_is_not_unpacked(void **state)
{
    struct task_event event = event_of(5);
    uint8_t bytes[TASK_EVENT_PACKED_BYTES];
    struct task_event back;
    (void)state;

    task_event_pack(&event, bytes);
    assert_true(task_event_unpack(bytes, 5, &back));
    assert_memory_equal(&back, &event, sizeof(event));
    assert_int_equal(bytes[0], (NOW + 5) & 0xff); /* little-endian */
    bytes[32] = TASK_STATE_COUNT;
    assert_false(task_event_unpack(bytes, 5, &back));
    event.queue = TASK_QUEUE_MAX;
    task_event_pack(&event, bytes);
    assert_false(task_event_unpack(bytes, 5, &back));
    event = event_of(5);
    event.progress = 1.5f;
    task_event_pack(&event, bytes);
    assert_false(task_event_unpack(bytes, 5, &back));
}

static void back_off_grows_to_its_limit(void **state)
{
    struct task_backoff backoff = {.base_ms = 1000, .factor = 2, .max_ms = 60000};
    (void)state;

    assert_int_equal(task_backoff_ms(&backoff, 1, 0.5), 1000);
    assert_int_equal(task_backoff_ms(&backoff, 2, 0.5), 2000);
    assert_int_equal(task_backoff_ms(&backoff, 6, 0.5), 32000);
    assert_int_equal(task_backoff_ms(&backoff, 7, 0.5), 60000);
    assert_int_equal(task_backoff_ms(&backoff, UINT32_MAX, 0.5), 60000);
    backoff.jitter = 0.1;
    assert_int_equal(task_backoff_ms(&backoff, 1, 0), 900);
    assert_int_equal(task_backoff_ms(&backoff, 1, 1), 1100);
    assert_int_equal(task_backoff_ms(&backoff, 7, 1), 60000);
    backoff.factor = 1;
    assert_int_equal(task_backoff_ms(&backoff, UINT32_MAX, 0.5), 1000);
    backoff.factor = 0.5;
    assert_int_equal(task_backoff_ms(&backoff, 3, 0.5), 250);
    assert_int_equal(task_backoff_ms(&(struct task_backoff){.factor = 2}, UINT32_MAX, 0.5), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_stored_is_read_again),
        TEST(an_id_that_is_not_there_is_not_found),
        TEST(a_move_changes_the_status_and_keeps_the_rest),
        TEST(a_result_may_be_short_or_long),
        TEST(a_move_within_a_state_changes_what_it_says),
        TEST(a_move_from_elsewhere_changes_nothing),
        TEST(a_transaction_goes_on_after_what_it_refused),
        TEST(what_was_rolled_back_never_was),
        TEST(readers_see_what_is_committed_and_nothing_else),
        TEST(an_unfinished_task_keeps_its_unique_key),
        TEST(queued_tasks_come_by_priority_rank_and_age),
        TEST(a_queued_task_knows_how_many_come_before),
        TEST(scheduled_tasks_are_due_in_the_order_of_their_times),
        TEST(running_tasks_are_found_one_after_the_other),
        TEST(attempts_are_a_tasks_past),
        TEST(the_greatest_id_is_known),
        TEST(those_that_finished_first_are_pruned_first),
        TEST(a_forgotten_task_leaves_nothing),
        TEST(only_finished_tasks_can_be_removed),
        TEST(queues_survive_with_their_counts),
        TEST(ranks_survive),
        TEST(keys_are_kept_replaced_and_forgotten),
        TEST(ticks_are_kept),
        TEST(events_are_read_from_any_number_on),
        TEST(events_numbers_never_go_back),
        TEST(the_list_has_the_newest_first),
        TEST(a_list_has_documents_where_they_are_wanted),
        TEST(tags_are_matched_as_a_whole),
        TEST(filters_are_combined),
        TEST(a_list_of_many_looks_at_some_at_a_time),
        TEST(what_many_have_taken_is_given_back),
        TEST(the_reserve_can_be_freed_and_taken_again),
        TEST(a_store_has_one_owner),
        TEST(a_newer_store_is_refused),
        TEST(what_is_no_store_is_refused),
        TEST(names_of_stores_are_known),
        cmocka_unit_test(an_event_that_is_none_is_not_unpacked),
        cmocka_unit_test(back_off_grows_to_its_limit),
    };
    int failed = 0;

    for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
        kind_of_store = &stores[i];
        failed += cmocka_run_group_tests_name(stores[i].ops->scheme, tests, NULL, NULL);
    }
    return failed;
}
