/* Whose turn it is: between tenants by ranks, between queues by weights, and what holds a queue up. */
#include "task_kinds.h"

#include "base/log.h"
#include "tasks/ledger.h"

static char folder[] = "/tmp/queues-XXXXXX";
static char where[64];

static void new_store(void)
{
    static unsigned number;

    snprintf(where, sizeof(where), "%s/%u.db", folder, ++number);
}

/* ---- queues alone ---- */

static struct config *config;
static struct task_store *store;
static struct task_queues queues;

static int try_load(const char *yaml, struct err *err)
{
    config = config_of(yaml);
    queues = (struct task_queues){0};
    assert_int_equal(task_store_sqlite.open(where, &store, err), 0);
    assert_int_equal(task_store_sqlite.begin(store, err), 0);
    int rc = task_queues_load(&queues, config, &task_store_sqlite, store, err);
    if (rc == 0)
        rc = task_store_sqlite.commit(store, err);
    return rc;
}

static void load(const char *yaml)
{
    struct err err = {0};

    if (try_load(yaml, &err) != 0)
        fail_msg("%s", err.text);
}

static void unload(void)
{
    task_store_sqlite.close(store);
    task_queues_done(&queues);
    config_free(config);
}

static struct task_queue *queue_named(const char *name)
{
    int id = task_queues_find(&queues, name);

    assert_true(id >= 0);
    return &queues.all[id];
}

static void make_ready(struct task_queue *queue)
{
    queue->may_wait[TASK_LANE_FREE] = true;
}

/* Starts one of the queue whose turn it is. */
static struct task_queue *start_one(uint64_t now_ns)
{
    unsigned lane;
    struct task_queue *queue = task_queues_choose(&queues, ~0u, now_ns, &lane);

    if (queue)
        task_queue_started(&queues, queue, TASK_PRIORITY_DEFAULT, 0);
    return queue;
}

static void queues_keep_their_numbers_over_restarts(void **state)
{
    (void)state;
    new_store();
    load("queues: {a: {weight: 3}, b: {concurrency: 2}}");
    task_queue_id a = task_queue_id_of(&queues, queue_named("a"));
    task_queue_id b = task_queue_id_of(&queues, queue_named("b"));
    assert_int_equal(task_queues_find(&queues, "c"), -ENOENT);
    unload();
    load("queues: {c: {rate: 5/s}, b: {concurrency: 4}}");
    assert_int_equal(task_queue_id_of(&queues, queue_named("a")), a); /* it may have tasks still */
    assert_int_equal(task_queue_id_of(&queues, queue_named("b")), b);
    assert_int_equal(queue_named("a")->weight, 1);
    assert_int_equal(queue_named("b")->concurrency, 4);
    assert_true(queue_named("c")->rate_per_s == 5);
    assert_non_null(queue_named("default"));
    unload();
}

static void there_is_room_for_so_many_queues(void **state)
{
    struct buf yaml = BUF_INIT(1 << 16);
    struct err err = {0};
    (void)state;

    new_store();
    for (unsigned round = 0; round < 3; round++) {
        buf_append_str(&yaml, "queues:\n");
        for (unsigned i = 0; i < 60; i++)
            buf_printf(&yaml, "  q%u-%u: {weight: 1}\n", round, i);
        buf_append(&yaml, "", 1);
        assert_int_equal(try_load(yaml.data, &err), round < 2 ? 0 : -ENOSPC);
        unload();
        buf_done(&yaml);
        yaml = (struct buf)BUF_INIT(1 << 16);
    }
    assert_non_null(strstr(err.text, "128 queues"));
}

static void queues_share_starts_by_their_weights(void **state)
{
    static const struct {
        const char *name;
        unsigned starts; /* of 10,000 */
    } shares[] = {{"one", 1000}, {"two", 2000}, {"seven", 7000}};
    unsigned starts[TASK_QUEUE_MAX] = {0};
    (void)state;

    new_store();
    load("queues: {one: {weight: 1}, two: {weight: 2}, seven: {weight: 7}}");
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        make_ready(queue_named(shares[i].name));
    for (unsigned i = 0; i < 10000; i++)
        starts[task_queue_id_of(&queues, start_one(1))]++;
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        assert_in_range(starts[task_queue_id_of(&queues, queue_named(shares[i].name))], shares[i].starts - 10,
                        shares[i].starts + 10);
    unload();
}

static void an_idle_queue_does_not_save_up_turns(void **state)
{
    unsigned starts_of_b = 0;
    (void)state;

    new_store();
    load("queues: {a: {}, b: {}}");
    make_ready(queue_named("a"));
    for (unsigned i = 0; i < 1000; i++)
        assert_ptr_equal(start_one(1), queue_named("a"));
    make_ready(queue_named("b"));
    for (unsigned i = 0; i < 100; i++)
        starts_of_b += start_one(1) == queue_named("b");
    assert_in_range(starts_of_b, 49, 51);
    unload();
}

static void a_rate_is_a_bucket_of_tokens(void **state)
{
    uint64_t now_ns = NS_PER_SEC;
    (void)state;

    new_store();
    load("queues: {fast: {rate: 100/s}, slow: {rate: 2/s}}");
    struct task_queue *fast = queue_named("fast");
    struct task_queue *slow = queue_named("slow");
    assert_int_equal(task_queue_room(fast, now_ns), 10); /* a tenth of a second all at once */
    assert_int_equal(task_queue_room(slow, now_ns), 1);  /* but one at least */
    for (unsigned i = 0; i < 10; i++)
        task_queue_started(&queues, fast, 0, 0);
    task_queue_started(&queues, slow, 0, 0);
    assert_int_equal(task_queue_room(fast, now_ns), 0);
    assert_int_equal(task_queue_room(fast, now_ns + 10 * NS_PER_MS), 1);
    assert_int_equal(task_queue_room(fast, now_ns + 55 * NS_PER_MS), 5);
    assert_int_equal(task_queue_room(fast, now_ns + 3600 * NS_PER_SEC), 10);
    assert_int_equal(task_queue_room(slow, now_ns + 499 * NS_PER_MS), 0);

    assert_true(task_queue_ready_ns(slow) == CLOCK_NEVER); /* it has nothing to start */
    make_ready(slow);
    assert_in_range(task_queue_ready_ns(slow), now_ns + 499 * NS_PER_MS, now_ns + 503 * NS_PER_MS);
    assert_int_equal(task_queue_room(slow, task_queue_ready_ns(slow)), 1);
    unload();
}

static void starts_keep_to_the_rate_over_time(void **state)
{
    unsigned starts = 0;
    (void)state;

    new_store();
    load("queues: {q: {rate: 50/s}}");
    make_ready(queue_named("q"));
    for (uint64_t now_ns = NS_PER_SEC; now_ns < 11 * NS_PER_SEC; now_ns += 3 * NS_PER_MS)
        while (start_one(now_ns))
            starts++;
    assert_in_range(starts, 500, 506);
    unload();
}

static void what_holds_a_queue_up_leaves_no_room(void **state)
{
    (void)state;
    new_store();
    load("queues: {narrow: {concurrency: 3}, paused: {paused: true}}");
    struct task_queue *narrow = queue_named("narrow");
    assert_int_equal(task_queue_room(queue_named("default"), 1), SIZE_MAX);
    assert_int_equal(task_queue_room(queue_named("paused"), 1), 0);
    assert_int_equal(task_queue_room(narrow, 1), 3);
    narrow->counts.by_state[TASK_STATE_RUNNING] = 2;
    assert_int_equal(task_queue_room(narrow, 1), 1);
    narrow->counts.by_state[TASK_STATE_RUNNING] = 4; /* the configuration was another one */
    assert_int_equal(task_queue_room(narrow, 1), 0);
    make_ready(narrow);
    make_ready(queue_named("paused"));
    assert_null(start_one(1));
    make_ready(queue_named("default"));
    assert_ptr_equal(start_one(1), queue_named("default"));
    unload();
}

static void the_lanes_of_a_queue_take_turns(void **state)
{
    unsigned lane;
    (void)state;

    new_store();
    load("");
    struct task_queue *queue = queue_named("default");
    queue->may_wait[TASK_LANE_FREE] = queue->may_wait[TASK_LANE_THREAD] = true;
    for (unsigned i = 0; i < 6; i++) {
        assert_ptr_equal(task_queues_choose(&queues, ~0u, 1, &lane), queue);
        assert_int_equal(lane, i % 2);
    }
    for (unsigned i = 0; i < 4; i++) { /* one of them is full */
        assert_ptr_equal(task_queues_choose(&queues, 1u << TASK_LANE_THREAD, 1, &lane), queue);
        assert_int_equal(lane, TASK_LANE_THREAD);
    }
    queue->may_wait[TASK_LANE_FREE] = false;
    assert_null(task_queues_choose(&queues, 1u << TASK_LANE_FREE, 1, &lane));
    unload();
}

static void ranks_outlive_a_restart_once_they_are_stored(void **state)
{
    struct err err = {0};
    (void)state;

    new_store();
    load("");
    for (unsigned i = 1; i <= 5; i++)
        assert_int_equal(task_queue_next_rank(queue_named("default"), 4, "t"), i);
    assert_int_equal(task_store_sqlite.begin(store, &err), 0);
    assert_int_equal(task_queues_store_ranks(&queues, &task_store_sqlite, store, &err), 0);
    assert_int_equal(task_store_sqlite.commit(store, &err), 0);
    assert_int_equal(task_queue_next_rank(queue_named("default"), 4, "t"), 6);
    assert_int_equal(task_queues_reload(&queues, &task_store_sqlite, store, &err), 0); /* a rollback */
    assert_int_equal(task_queue_next_rank(queue_named("default"), 4, "t"), 6);
    unload();
    load("");
    assert_int_equal(task_queue_next_rank(queue_named("default"), 4, "t"), 6);
    assert_int_equal(task_queue_next_rank(queue_named("default"), 5, "t"), 1);
    unload();
}

/* ---- the ledger's order ---- */

static struct ledger ledger;

#define OK_OR_FAIL(call)                                                                                     \
    do {                                                                                                     \
        struct err err = {0};                                                                                \
        if ((call) != 0)                                                                                     \
            fail_msg("%s: %s", #call, err.text);                                                             \
    } while (0)

static void open_ledger(const char *yaml)
{
    config = config_of(yaml);
    struct ledger_config ledger_config = {
        .config = config, .ops = &task_store_sqlite, .where = where, .kinds = all_kinds};

    OK_OR_FAIL(ledger_open(&ledger, &ledger_config, &err));
}

static void close_ledger(void)
{
    ledger_close(&ledger);
    config_free(config);
}

/* Puts `count` tasks with the payloads {"n": first ...} into the queue; they do not start. */
static void enqueue(const char *queue, const char *tenant, unsigned priority, unsigned first, unsigned count)
{
    char payload[32];

    OK_OR_FAIL(ledger_begin(&ledger, false, &err));
    for (unsigned i = 0; i < count; i++) {
        snprintf(payload, sizeof(payload), "%u", first + i);
        struct task_spec spec = {.kind_name = "ok", .payload = payload, .tenant = tenant, .max_attempts = 1};
        struct uuid id;
        assert_int_equal(uuid_create(&id), 0);
        struct task *task = task_create(&id, &spec, clock_wall_ms());
        task->kind = &kinds[OK];
        task->status.queue = (task_queue_id)task_queues_find(&ledger.queues, queue);
        task->status.priority = (uint8_t)priority;
        OK_OR_FAIL(ledger_insert(&ledger, task, &err));
        task_unref(task);
    }
    OK_OR_FAIL(ledger_commit(&ledger, &err));
}

/* Ends what runs, and starts as much as there is room for: the payloads, in order.  How many. */
static size_t run_once(unsigned *ret, size_t max)
{
    static struct task_list running = TAILQ_HEAD_INITIALIZER(running);
    struct task *task;
    size_t count = 0;

    OK_OR_FAIL(ledger_begin(&ledger, true, &err));
    TAILQ_FOREACH(task, &running, in_list)
    OK_OR_FAIL(ledger_finish(&ledger, task, TASK_STATE_SUCCEEDED, "1", NULL, &err));
    OK_OR_FAIL(ledger_start_tasks(&ledger, &err));
    OK_OR_FAIL(ledger_commit(&ledger, &err));
    while ((task = TAILQ_FIRST(&running)) != NULL) {
        TAILQ_REMOVE(&running, task, in_list);
        ledger_forget_running(&ledger, task);
        task_unref(task);
    }
    ledger_take_started(&ledger, &running);
    TAILQ_FOREACH(task, &running, in_list)
    {
        assert_true(count < max);
        ret[count++] = (unsigned)strtoul(task->spec.payload, NULL, 10);
    }
    return count;
}

/* All that waits, one after the other. */
static size_t run_all(unsigned *ret, size_t max)
{
    size_t total = 0;
    size_t count;

    while ((count = run_once(ret + total, max - total)) > 0)
        total += count;
    return total;
}

static size_t place_of(const unsigned *numbers, size_t count, unsigned number)
{
    size_t place = 0;

    while (place < count && numbers[place] != number)
        place++;
    return place;
}

#define ONE_AT_A_TIME "tasks: {max_running: 1}"

static void another_tenants_task_comes_next(void **state)
{
    static unsigned order[400];
    (void)state;

    new_store();
    open_ledger(ONE_AT_A_TIME);
    enqueue("default", "flood", 5, 0, 200);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(run_once(order, 1), 1);
    enqueue("default", "other", 5, 1000, 2);
    enqueue("default", NULL, 5, 2000, 1);
    size_t count = run_all(order, ARRAY_LEN(order));
    assert_int_equal(count, 153);
    assert_in_range(place_of(order, count, 1000), 0, 3);
    assert_in_range(place_of(order, count, 2000), 0, 3);
    assert_in_range(place_of(order, count, 1001), 2, 6);
    size_t last = 0;
    for (unsigned i = 50; i < 200; i++) { /* first come, first served within the tenant */
        size_t place = place_of(order, count, i);
        assert_true(place < count && (i == 50 || place > last));
        last = place;
    }
    close_ledger();
}

static void a_better_priority_comes_first_whoever_has_it(void **state)
{
    static const unsigned expected[] = {300, 301, 200, 100, 101};
    unsigned order[8];
    (void)state;

    new_store();
    open_ledger(ONE_AT_A_TIME);
    enqueue("default", "a", 9, 100, 2);
    enqueue("default", "a", 5, 200, 1);
    enqueue("default", "b", 0, 300, 2);
    assert_int_equal(run_all(order, ARRAY_LEN(order)), ARRAY_LEN(expected));
    assert_memory_equal(order, expected, sizeof(expected));
    close_ledger();
}

static void order_outlives_a_restart(void **state)
{
    static unsigned order[200];
    (void)state;

    new_store();
    open_ledger(ONE_AT_A_TIME);
    enqueue("default", "a", 5, 0, 50);
    close_ledger();
    open_ledger(ONE_AT_A_TIME);
    enqueue("default", "a", 5, 50, 50);
    assert_int_equal(run_all(order, ARRAY_LEN(order)), 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(order[i], i);
    close_ledger();
}

static void a_tenant_does_not_pay_after_a_restart_for_what_it_had_before(void **state)
{
    static unsigned order[400];
    (void)state;

    new_store();
    open_ledger(ONE_AT_A_TIME);
    enqueue("default", "busy", 5, 0, 200);
    assert_int_equal(run_all(order, ARRAY_LEN(order)), 200);
    close_ledger();
    open_ledger(ONE_AT_A_TIME);
    enqueue("default", "new", 5, 1000, 100);
    enqueue("default", "busy", 5, 2000, 1);
    size_t count = run_all(order, ARRAY_LEN(order));
    assert_int_equal(count, 101);
    assert_in_range(place_of(order, count, 2000), 0, 2);
    close_ledger();
}

static void queues_of_the_ledger_share_by_weight(void **state)
{
    enum { EACH = 1500, STARTS = 1500 };
    static unsigned order[2 * EACH];
    unsigned of_a = 0;
    size_t count = 0;
    (void)state;

    new_store();
    open_ledger("tasks: {max_running: 7}\nqueues: {a: {weight: 4}, b: {weight: 1}}");
    enqueue("a", NULL, 5, 0, EACH);
    enqueue("b", NULL, 5, 10000, EACH);
    while (count < STARTS)
        count += run_once(order + count, 7);
    for (size_t i = 0; i < STARTS; i++)
        of_a += order[i] < 10000;
    assert_in_range(of_a, STARTS * 4 / 5 - 32, STARTS * 4 / 5 + 32);
    run_all(order, ARRAY_LEN(order));
    close_ledger();
}

/* ---- ---- */

static int set_up(void **state)
{
    (void)state;
    task_kinds_init();
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    (void)state;
    task_kinds_done();
    if (!dir)
        return -1;
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_keep_their_numbers_over_restarts),
        cmocka_unit_test(there_is_room_for_so_many_queues),
        cmocka_unit_test(queues_share_starts_by_their_weights),
        cmocka_unit_test(an_idle_queue_does_not_save_up_turns),
        cmocka_unit_test(a_rate_is_a_bucket_of_tokens),
        cmocka_unit_test(starts_keep_to_the_rate_over_time),
        cmocka_unit_test(what_holds_a_queue_up_leaves_no_room),
        cmocka_unit_test(the_lanes_of_a_queue_take_turns),
        cmocka_unit_test(ranks_outlive_a_restart_once_they_are_stored),
        cmocka_unit_test(another_tenants_task_comes_next),
        cmocka_unit_test(a_better_priority_comes_first_whoever_has_it),
        cmocka_unit_test(order_outlives_a_restart),
        cmocka_unit_test(a_tenant_does_not_pay_after_a_restart_for_what_it_had_before),
        cmocka_unit_test(queues_of_the_ledger_share_by_weight),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("queues", tests, set_up, tear_down);
}
