/* A store that fails under the engine: whatever operation it is, and whichever call of it, nothing that was
 * acknowledged is lost, and memory says what the store says. */
#include "fault_store.h"
#include "task_engine.h"

#include "base/log.h"

#define QUEUES "queues: {default: {}, other: {}}"

/* What the script has been told, which must be true afterwards. */
enum { SLOTS = 8, LATER = 5 };

static struct {
    struct uuid ids[SLOTS];
    bool is_known[SLOTS]; /* it was accepted */
} told;

static void remember(unsigned slot, struct receipt receipt)
{
    told.is_known[slot] = receipt.rc == 0;
    told.ids[slot] = receipt.id;
}

/* ---- the script: something of everything that writes ---- */

static bool has_settled(void *arg)
{
    struct task_counts counts;

    (void)arg;
    task_engine_counts(engine, &counts);
    return atomic_load(&store_failures) > 0 ||
           (counts.by_state[TASK_STATE_RUNNING] == 0 && counts.by_state[TASK_STATE_QUEUED] == 0);
}

static bool is_short(int rc)
{
    return rc == -ENOSPC || rc == -ENOMEM;
}

/* What was accepted has come to its end; what was scheduled for later is left out. */
static bool has_finished(void *arg)
{
    if (atomic_load(&store_failures) > 0 && !arg)
        return true;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        struct task *task = told.is_known[slot] && slot != LATER ? find(told.ids[slot]) : NULL;
        bool is_final = !task || task_state_is_final(task->status.state);
        task_unref(task);
        if (!is_final)
            return false;
    }
    return has_settled(NULL);
}

static void run_script(void)
{
    struct order retried = {.kind = FAIL,
                            .payload = "{\"until\":2}",
                            .max_attempts = 2,
                            .backoff = {.base_ms = 1, .factor = 1, .max_ms = 1}};
    struct task_wish pause = {.type = TASK_WISH_PAUSE_QUEUE, .queue = queue_named("other")};

    memset(&told, 0, sizeof(told));
    remember(0, try_submit(&(struct order){.kind = OK, .idempotency_key = "i"}));
    remember(1, try_submit(&retried));
    (void)try_wish(pause, NULL);
    remember(2, try_submit(&(struct order){.kind = OK, .queue = "other", .unique_key = "u"}));
    remember(3, try_submit(&(struct order){
                    .kind = OK, .queue = "other", .unique_key = "u", .on_unique = TASK_UNIQUE_REPLACE}));
    remember(4, try_submit(
                    &(struct order){.kind = OK, .callback = "{\"url\":\"http://a.test/\"}", .run_at_ms = 1}));
    remember(LATER, try_submit(&(struct order){.kind = OK, .run_at_ms = clock_wall_ms() + 3600000}));
    pause.type = TASK_WISH_RESUME_QUEUE;
    while (is_short(try_wish(pause, NULL)))
        usleep(1000);
    wait_until(has_finished, NULL);
    if (told.is_known[LATER])
        (void)wish_for(TASK_WISH_CANCEL, told.ids[LATER]);
    if (told.is_known[LATER])
        (void)wish_for(TASK_WISH_RETRY, told.ids[LATER]);
    wait_until(has_finished, NULL);
    if (told.is_known[0] && wish_for(TASK_WISH_REMOVE, told.ids[0]) == 0)
        told.is_known[0] = false;
}

/* ---- what must be true ---- */

static bool counts_agree(void *arg)
{
    struct task_counts counted = {0};
    struct task_counts counts;
    struct waiting_query waiting = {
        .query = {.type = TASK_QUERY_LIST, .limit = 1000, .filter = {.state = -1, .queue = -1}}};
    int count = ask(&waiting);

    (void)arg;
    for (int i = 0; i < count; i++)
        counted.by_state[waiting.query.tasks[i]->status.state]++;
    task_query_done(&waiting.query);
    task_engine_counts(engine, &counts);
    return memcmp(&counts, &counted, sizeof(counts)) == 0;
}

/* Counts in memory are those of the rows, as soon as both are looked at between two transactions. */
static void expect_recount(void)
{
    wait_until(counts_agree, NULL);
}

/* What was accepted is there, and comes to its end. */
static void expect_nothing_is_lost(const char *op, unsigned call)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        struct task *task = told.is_known[slot] ? find(told.ids[slot]) : NULL;
        if (told.is_known[slot] && !task)
            fail_msg("%s %u: task %u is lost", op, call, slot);
        if (task && !task_state_is_final(task->status.state) && task->status.state != TASK_STATE_SCHEDULED)
            fail_msg("%s %u: task %u is still %s", op, call, slot, task_state_names[task->status.state]);
        task_unref(task);
    }
}

/* How often each operation is called, when all goes well. */
static void count_calls(unsigned ret_calls[FAULT_OP_COUNT])
{
    fault_none();
    start_engine_on(fault_store(), QUEUES);
    run_script();
    expect_recount();
    expect_nothing_is_lost("none", 0);
    end_engine();
    for (size_t i = 0; i < FAULT_OP_COUNT; i++)
        ret_calls[i] = atomic_load(&fault.calls[i]);
}

/* Not each: after a shortage the engine rests for a while.  test_state_model.c fails any. */
static unsigned next_call(unsigned call)
{
    return call * 4;
}

/* Opening has calls of its own: they are not counted. */
static unsigned open_with_fault(enum fault_op op, unsigned call, int rc)
{
    new_store();
    fault_none();
    create_engine_on(fault_store(), QUEUES);
    fault_none();
    atomic_store(&store_failures, 0);
    fault_at(op, call, rc);
    run_engine();
    run_script();
    return atomic_load(&fault.failed);
}

static void fail_each_call(int rc, unsigned up_to,
                           void (*check)(enum fault_op op, unsigned call, unsigned failed))
{
    unsigned calls[FAULT_OP_COUNT];

    count_calls(calls);
    for (int op = 0; op < FAULT_OP_COUNT; op++)
        for (unsigned call = 1; call <= MIN(calls[op], up_to); call = next_call(call)) {
            unsigned failed = open_with_fault((enum fault_op)op, call, rc);
            check((enum fault_op)op, call, failed);
        }
}

/* ---- short of something ---- */

static void check_shortage(enum fault_op op, unsigned call, unsigned failed)
{
    struct receipt receipt;

    (void)failed;
    assert_int_equal(atomic_load(&store_failures), 0);
    expect_recount();
    do /* it goes on as if nothing had been, but that the reserve is to be restored first */
        receipt = try_submit(&(struct order){.kind = OK});
    while (is_short(receipt.rc));
    assert_int_equal(receipt.rc, 0);
    wait_for_state(receipt.id, TASK_STATE_SUCCEEDED);
    wait_until(has_finished, NULL);
    expect_recount();
    expect_nothing_is_lost(fault_op_names[op], call);
    end_engine();
    reopen_engine(QUEUES);
    wait_until(has_finished, &told);
    expect_recount();
    expect_nothing_is_lost(fault_op_names[op], call);
    end_engine();
}

static void a_full_disk_loses_nothing(void **state)
{
    (void)state;
    fail_each_call(-ENOSPC, UINT32_MAX, check_shortage);
}

static void want_of_memory_loses_nothing(void **state)
{
    (void)state;
    fail_each_call(-ENOMEM, 1, check_shortage);
}

/* ---- a store that has failed ---- */

static void check_failure(enum fault_op op, unsigned call, unsigned failed)
{
    if (failed > 0) {
        assert_int_equal(atomic_load(&store_failures), 1);
        assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -EIO);
        assert_int_equal(wish_for(TASK_WISH_CANCEL, (struct uuid){{0}}), -EIO);
        assert_int_equal(atomic_load(&store_failures), 1);
    }
    end_engine();
    reopen_engine(QUEUES);
    set_paused("other", false);
    wait_until(has_finished, &told);
    expect_recount();
    expect_nothing_is_lost(fault_op_names[op], call);
    end_engine();
}

static void a_store_that_fails_is_given_up_and_nothing_is_lost(void **state)
{
    (void)state;
    fail_each_call(-EIO, UINT32_MAX, check_failure);
}

static void an_engine_whose_store_fails_at_once_does_not_open(void **state)
{
    static const enum fault_op at_opening[] = {FAULT_begin, FAULT_commit, FAULT_queues, FAULT_ranks};
    struct err err;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(at_opening); i++) {
        new_store();
        fault_none();
        fault_at(at_opening[i], 1, -EIO);
        assert_int_equal(try_create_engine(fault_store(), QUEUES, &err), -EIO);
    }
    fault_none();
}

/* ---- a disk that stays full for a while ---- */

static void on_a_full_disk_what_runs_may_end(void **state)
{
    (void)state;
    new_store();
    fault_none();
    create_engine_on(fault_store(), QUEUES);
    run_engine();
    struct uuid id = submit(PENDING);
    wait_for_pending(1);
    fault_disk_is_full(true);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -ENOSPC);
    resume_first_pending();
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -ENOSPC);
    fault_disk_is_full(false);
    while (try_submit(&(struct order){.kind = OK}).rc == -ENOSPC)
        usleep(1000);
    wait_until_idle();
    expect_recount();
    assert_int_equal(count_in(TASK_STATE_SUCCEEDED), 2);
    end_engine();
}

static void on_a_full_disk_what_waits_is_started_later(void **state)
{
    (void)state;
    new_store();
    fault_none();
    create_engine_on(fault_store(), QUEUES);
    run_engine();
    set_paused("other", true);
    struct uuid id = submit_order(&(struct order){.kind = OK, .queue = "other"});
    fault_disk_is_full(true);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -ENOSPC);
    fault_disk_is_full(false);
    while (try_wish((struct task_wish){.type = TASK_WISH_RESUME_QUEUE, .queue = queue_named("other")},
                    NULL) != 0)
        usleep(1000);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    end_engine();
}

static bool reserve_was_asked_for(void *arg)
{
    return atomic_load(&fault.reserve_asked) >= *(unsigned *)arg;
}

static void a_full_disk_is_looked_at_now_and_then(void **state)
{
    uint64_t begin_ns = clock_now_ns();
    unsigned looks = 4;
    (void)state;

    new_store();
    fault_none();
    create_engine_on(fault_store(), QUEUES);
    run_engine();
    set_paused("other", true);
    submit_order(&(struct order){.kind = OK, .queue = "other"});
    fault_disk_is_full(true);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -ENOSPC);
    atomic_store(&fault.reserve_asked, 0);
    begin_ns = clock_now_ns();
    wait_until(reserve_was_asked_for, &looks);
    assert_true(clock_now_ns() - begin_ns > 300 * NS_PER_MS);
    fault_disk_is_full(false);
    end_engine();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(want_of_memory_loses_nothing),
        cmocka_unit_test(a_store_that_fails_is_given_up_and_nothing_is_lost),
        cmocka_unit_test(an_engine_whose_store_fails_at_once_does_not_open),
        cmocka_unit_test(on_a_full_disk_what_runs_may_end),
        cmocka_unit_test(on_a_full_disk_what_waits_is_started_later),
        cmocka_unit_test(a_full_disk_is_looked_at_now_and_then),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("store faults", tests, make_store_folder, remove_store_folder);
}
