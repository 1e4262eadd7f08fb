/* The task engine from end to end: what comes of tasks, changes to them, the order of their starts,
 * restarts. */
#include "capture.h"
#include "task_engine.h"

#include "base/log.h"
#include "tasks/view.h"

#define ONE_STEPPER "tasks: {steppers: 1, runners: 1}"

/* ---- from submit to the end ---- */

static void a_task_succeeds_with_its_result(void **state)
{
    (void)state;
    start_engine("");
    struct receipt receipt = try_submit(
        &(struct order){.kind = OK, .payload = "{\"text\":\"gr\xc3\xbc\xc3\x9f\",\"number\":0.1}"});
    assert_int_equal(receipt.rc, 0);
    assert_int_equal(receipt.status.state, TASK_STATE_RUNNING); /* nothing was in its way */
    assert_int_equal(receipt.status.version, 1);
    wait_for_state(receipt.id, TASK_STATE_SUCCEEDED);

    struct task *task = get(receipt.id);
    assert_string_equal(task->spec.kind_name, "ok");
    assert_int_equal(task->status.attempts, 1);
    assert_int_equal(task->status.run, 1);
    assert_int_equal(task->status.version, 2);
    assert_true(task->status.progress == 1);
    assert_true(task->created_ms <= task->status.started_ms &&
                task->status.started_ms <= task->status.finished_ms);
    assert_string_equal(task->result,
                        "{\"echo\":{\"text\":\"gr\xc3\xbc\xc3\x9f\",\"number\":0.1},\"attempt\":1}");
    assert_null(task->error);
    assert_int_equal(task->past_count, 0);
    task_unref(task);
    end_engine();
}

static void a_task_that_waits_for_its_turn_has_no_times_but_its_creation(void **state)
{
    (void)state;
    start_engine("tasks: {max_running: 1}");
    submit(SLEEP_FAR);
    struct receipt receipt = try_submit(&(struct order){.kind = OK});
    assert_int_equal(receipt.status.state, TASK_STATE_QUEUED);
    struct task_status status = status_of(receipt.id);
    assert_int_equal(status.state, TASK_STATE_QUEUED);
    assert_int_equal(status.attempts, 0);
    assert_int_equal(status.started_ms, 0);
    assert_int_equal(status.finished_ms, 0);
    end_engine();
}

static void an_unknown_id_is_not_found(void **state)
{
    (void)state;
    start_engine("");
    assert_null(find((struct uuid){{0}}));
    struct uuid id = submit(OK);
    task_unref(get(id));
    id.bytes[15] ^= 1; /* the same stamp and counter */
    assert_null(find(id));
    for (int type = TASK_WISH_CANCEL; type <= TASK_WISH_REMOVE; type++)
        assert_int_equal(wish_for((enum task_wish_type)type, id), -ENOENT);
    end_engine();
}

static void failures_and_bugs_are_logged(void **state)
{
    static struct capture capture;
    char ids[2][UUID_TEXT_SIZE];
    char lines[2][256];
    (void)state;

    start_engine("");
    log_setup(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    capture_start(&capture);
    struct uuid failed = submit(FAIL);
    struct uuid broken = submit(SILENT_FAIL);
    wait_until_idle();
    drain_all();
    const char *text = capture_stop(&capture);
    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);

    uuid_format(&failed, ids[0]);
    uuid_format(&broken, ids[1]);
    snprintf(lines[0], sizeof(lines[0]),
             "task failed task=%s kind=fail attempt=1 error=\"no luck with attempt 1\"\n", ids[0]);
    snprintf(lines[1], sizeof(lines[1]), "task failed task=%s kind=silent_fail attempt=1 error=\"bug in ",
             ids[1]);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no \"%s\" in \"%s\"", lines[i], text);
    end_engine();
}

static void bugs_in_kinds_end_their_own_tasks_only(void **state)
{
    struct uuid ids[KIND_COUNT];
    (void)state;

    start_engine("");
    for (int kind = FIRST_BROKEN; kind < KIND_COUNT; kind++)
        ids[kind] = submit_order(&(struct order){.kind = kind, .max_attempts = 3});
    struct uuid last = submit(OK);
    wait_for_state(last, TASK_STATE_SUCCEEDED);
    for (int kind = FIRST_BROKEN; kind < KIND_COUNT; kind++) {
        if (kind == UNTERMINATED_ERROR) /* which is none that ends it for good */
            continue;
        wait_for_state(ids[kind], TASK_STATE_DEAD);
        struct task *task = get(ids[kind]);
        expect_bug_error(kind, task->error);
        assert_int_equal(task->status.attempts, 1);
        task_unref(task);
    }
    end_engine();
}

static void the_list_has_the_newest_first_up_to_the_limit(void **state)
{
    struct uuid ids[6];
    (void)state;

    start_engine("tasks: {max_running: 1}");
    ids[0] = submit(SLEEP_FAR);
    for (unsigned i = 1; i < ARRAY_LEN(ids); i++)
        ids[i] = submit(OK);
    for (size_t limit = 1; limit <= 10; limit += 3) {
        struct waiting_query waiting = {
            .query = {.type = TASK_QUERY_LIST, .limit = limit, .filter = {.state = -1, .queue = -1}}};
        int count = ask(&waiting);
        assert_int_equal(count, MIN(limit, ARRAY_LEN(ids)));
        for (int i = 0; i < count; i++) {
            assert_true(uuid_equal(&waiting.query.tasks[i]->id, &ids[ARRAY_LEN(ids) - 1 - (size_t)i]));
            assert_null(waiting.query.tasks[i]->spec.payload);
        }
        task_query_done(&waiting.query);
    }
    end_engine();
}

static void finished_tasks_are_forgotten_beyond_what_is_kept(void **state)
{
    struct uuid ids[6];
    (void)state;

    start_engine("tasks: {keep_succeeded: 3, keep_dead: 0}");
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = submit(OK);
        wait_until_idle();
    }
    wait_for_count_in(TASK_STATE_SUCCEEDED, 3);
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        struct task *task = find(ids[i]);
        assert_int_equal(task != NULL, i >= 3);
        task_unref(task);
    }
    submit(FAIL);
    wait_until_idle();
    wait_for_count_in(TASK_STATE_DEAD, 0);
    end_engine();
}

static void metrics_add_up_when_all_is_over(void **state)
{
    size_t other = task_metric_kind(&kinds[OK]);
    int64_t dead = metric_of(TASK_METRIC_FINISHED, other, TASK_STATE_DEAD);
    int64_t submitted = metric_of(TASK_METRIC_SUBMITTED, other, 0);
    (void)state;

    start_engine("");
    for (unsigned i = 0; i < 10; i++)
        submit(i < 3 ? FAIL : OK);
    wait_until_idle();
    assert_int_equal(metric_of(TASK_METRIC_TASKS, TASK_STATE_DEAD, 0), 3);
    assert_int_equal(metric_of(TASK_METRIC_TASKS, TASK_STATE_SUCCEEDED, 0), 7);
    end_engine();
    assert_int_equal(metric_of(TASK_METRIC_FINISHED, other, TASK_STATE_DEAD) - dead, 3);
    assert_int_equal(metric_of(TASK_METRIC_SUBMITTED, other, 0) - submitted, 10);
    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        assert_int_equal(metric_of(TASK_METRIC_TASKS, i, 0), 0);
    assert_int_equal(metric_of(TASK_METRIC_QUEUE_DEPTH, 0, 0), 0);
    assert_int_equal(metric_of(TASK_METRIC_SLEEPING, 0, 0), 0);
    assert_int_equal(metric_of(TASK_METRIC_WATCHERS, 0, 0), 0);
}

/* ---- overflow ---- */

static void a_full_engine_refuses(void **state)
{
    int64_t full = metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_FULL, 0);
    (void)state;

    start_engine("tasks: {queue_capacity: 3, max_running: 1}");
    submit(SLEEP_FAR);
    submit_order(&(struct order){.kind = OK, .run_at_ms = clock_wall_ms() + 3600000});
    struct uuid last = submit(OK);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -EAGAIN);
    assert_int_equal(try_submit(&(struct order){.kind = OK, .unique_key = "k"}).rc, -EAGAIN);
    assert_int_equal(metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_FULL, 0) - full, 2);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, last), 0);
    submit(OK);
    assert_int_equal(wish_for(TASK_WISH_RETRY, last), -EAGAIN);
    end_engine();
}

/* ---- batches ---- */

#define ORDER_BATCH(items, ...) struct task_submission items[] = {__VA_ARGS__}

static struct task_submission item_of(const struct order *order)
{
    return (struct task_submission){.task = order_task(order), .on_unique = order->on_unique};
}

static void a_batch_is_accepted_task_by_task(void **state)
{
    (void)state;
    start_engine("tasks: {max_running: 1, queue_capacity: 4}");
    submit(SLEEP_FAR);
    struct uuid held = submit_order(&(struct order){.kind = OK, .unique_key = "k"});
    ORDER_BATCH(items, item_of(&(struct order){.kind = OK}), {.task = NULL, .rc = -EINVAL},
                item_of(&(struct order){.kind = OK, .unique_key = "k"}), item_of(&(struct order){.kind = OK}),
                item_of(&(struct order){.kind = OK}));
    assert_int_equal(submit_batch(items, ARRAY_LEN(items), false), 0);
    assert_int_equal(items[0].rc, 0);
    assert_int_equal(items[1].rc, -EINVAL);
    assert_int_equal(items[2].rc, -EEXIST);
    assert_true(items[2].is_existing && uuid_equal(&items[2].task->id, &held));
    assert_int_equal(items[3].rc, 0);
    assert_int_equal(items[4].rc, -EAGAIN);
    assert_int_equal(state_of(items[0].task->id), TASK_STATE_QUEUED);
    done_batch(items, ARRAY_LEN(items));
    assert_int_equal(count_in(TASK_STATE_QUEUED), 3);
    end_engine();
}

static void an_atomic_batch_is_accepted_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    start_engine("tasks: {max_running: 1, queue_capacity: 5}");
    submit(SLEEP_FAR);
    submit_order(&(struct order){.kind = OK, .unique_key = "k"});
    ORDER_BATCH(good, item_of(&(struct order){.kind = OK}), item_of(&(struct order){.kind = OK}));
    assert_int_equal(submit_batch(good, ARRAY_LEN(good), true), 0);
    done_batch(good, ARRAY_LEN(good));
    assert_int_equal(count_in(TASK_STATE_QUEUED), 3);

    ORDER_BATCH(taken, item_of(&(struct order){.kind = OK, .unique_key = "k"}));
    assert_int_equal(submit_batch(taken, ARRAY_LEN(taken), true), 0);
    assert_int_equal(taken[0].rc, -EEXIST);
    done_batch(taken, ARRAY_LEN(taken));

    ORDER_BATCH(large, item_of(&(struct order){.kind = OK}), item_of(&(struct order){.kind = OK}));
    assert_int_equal(submit_batch(large, ARRAY_LEN(large), true), -EAGAIN);
    done_batch(large, ARRAY_LEN(large));
    assert_int_equal(count_in(TASK_STATE_QUEUED), 3);
    end_engine();
}

static void an_atomic_batch_says_which_task_was_no_good(void **state)
{
    (void)state;
    start_engine("tasks: {max_running: 1}");
    submit(SLEEP_FAR);
    submit_order(&(struct order){.kind = OK, .unique_key = "k"});
    ORDER_BATCH(items, item_of(&(struct order){.kind = OK}),
                item_of(&(struct order){.kind = OK, .unique_key = "k"}),
                item_of(&(struct order){.kind = OK}));
    assert_int_equal(submit_batch(items, ARRAY_LEN(items), true), 0);
    assert_int_equal(items[0].rc, -ECANCELED);
    assert_int_equal(items[1].rc, -EEXIST);
    assert_int_equal(items[2].rc, -ECANCELED);
    done_batch(items, ARRAY_LEN(items));

    ORDER_BATCH(twins, item_of(&(struct order){.kind = OK, .unique_key = "t"}),
                item_of(&(struct order){.kind = OK, .unique_key = "t"}));
    assert_int_equal(submit_batch(twins, ARRAY_LEN(twins), true), -EEXIST);
    done_batch(twins, ARRAY_LEN(twins));
    assert_int_equal(count_in(TASK_STATE_QUEUED), 1);
    end_engine();
}

static void an_atomic_batch_with_one_that_was_no_good_before_is_refused(void **state)
{
    (void)state;
    start_engine("");
    ORDER_BATCH(items, item_of(&(struct order){.kind = OK}), {.task = NULL, .rc = -EINVAL});
    assert_int_equal(submit_batch(items, ARRAY_LEN(items), true), 0);
    assert_int_equal(items[0].rc, -ECANCELED);
    assert_int_equal(items[1].rc, -EINVAL);
    done_batch(items, ARRAY_LEN(items));
    assert_int_equal(count_in(TASK_STATE_RUNNING) + count_in(TASK_STATE_SUCCEEDED), 0);
    end_engine();
}

static void a_large_batch_is_done_in_order(void **state)
{
    enum { MANY = 5000 };
    static struct task_submission items[MANY];
    static char payloads[MANY][16];
    (void)state;

    start_engine("tasks: {steppers: 1, max_batch: 10000}");
    atomic_store(&record.count, 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(payloads[i], sizeof(payloads[i]), "{\"n\":%u}", i);
        items[i] = item_of(&(struct order){.kind = RECORD, .payload = payloads[i]});
    }
    assert_int_equal(submit_batch(items, MANY, true), 0);
    done_batch(items, MANY);
    wait_for_count_in(TASK_STATE_SUCCEEDED, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(record.numbers[i], i);
    end_engine();
}

/* ---- unique keys ---- */

static void a_unique_key_is_held_by_one_unfinished_task(void **state)
{
    struct order order = {.kind = OK, .unique_key = "k"};
    (void)state;

    start_engine("tasks: {max_running: 1}");
    struct uuid running = submit(SLEEP_FAR);
    struct uuid first = submit_order(&order);

    struct receipt receipt = try_submit(&order);
    assert_int_equal(receipt.rc, -EEXIST);
    assert_true(receipt.is_existing && uuid_equal(&receipt.id, &first));
    order.on_unique = TASK_UNIQUE_RETURN;
    receipt = try_submit(&order);
    assert_int_equal(receipt.rc, 0);
    assert_true(receipt.is_existing && uuid_equal(&receipt.id, &first));
    assert_int_equal(receipt.status.state, TASK_STATE_QUEUED);

    order.on_unique = TASK_UNIQUE_REPLACE;
    receipt = try_submit(&order);
    assert_int_equal(receipt.rc, 0);
    assert_false(receipt.is_existing || uuid_equal(&receipt.id, &first));
    struct task *task = get(first);
    assert_int_equal(task->status.state, TASK_STATE_CANCELLED);
    assert_string_equal(task->error, "replaced by a newer task");
    task_unref(task);
    assert_int_equal(wish_for(TASK_WISH_RETRY, first), -EEXIST);

    assert_int_equal(wish_for(TASK_WISH_CANCEL, running), 0);
    wait_for_state(receipt.id, TASK_STATE_SUCCEEDED);
    order.on_unique = TASK_UNIQUE_REJECT;
    submit_order(&order); /* the key is free again */
    end_engine();
}

static void a_task_that_runs_is_not_replaced(void **state)
{
    struct order order = {.kind = SLEEP_FAR, .unique_key = "k", .on_unique = TASK_UNIQUE_REPLACE};
    (void)state;

    start_engine("");
    struct uuid running = submit_order(&order);
    struct receipt receipt = try_submit(&order);
    assert_int_equal(receipt.rc, -EEXIST);
    assert_true(uuid_equal(&receipt.id, &running));
    assert_int_equal(receipt.status.state, TASK_STATE_RUNNING);
    end_engine();
}

/* ---- idempotency keys ---- */

static void a_repeated_request_has_the_first_answer(void **state)
{
    struct order order = {.kind = OK, .idempotency_key = "i", .hash = 1};
    (void)state;

    start_engine("");
    struct receipt first = try_submit(&order);
    assert_false(first.is_replay);
    wait_for_state(first.id, TASK_STATE_SUCCEEDED);
    for (unsigned round = 0; round < 2; round++) {
        struct receipt again = try_submit(&order);
        assert_int_equal(again.rc, 0);
        assert_true(again.is_replay && uuid_equal(&again.id, &first.id));
        assert_memory_equal(&again.status, &first.status, sizeof(first.status)); /* as it stood then */
        end_engine();
        reopen_engine("");
    }
    order.hash = 2;
    assert_int_equal(try_submit(&order).rc, -EKEYREJECTED);
    order.idempotency_key = "other";
    assert_false(try_submit(&order).is_replay);
    end_engine();
}

static void a_key_outlives_its_task(void **state)
{
    struct order order = {.kind = OK, .idempotency_key = "i"};
    (void)state;

    start_engine("");
    struct receipt first = try_submit(&order);
    wait_for_state(first.id, TASK_STATE_SUCCEEDED);
    assert_int_equal(wish_for(TASK_WISH_REMOVE, first.id), 0);
    struct receipt second = try_submit(&order);
    assert_int_equal(second.rc, 0);
    assert_true(second.is_replay && uuid_equal(&second.id, &first.id));
    assert_int_equal(second.status.state, first.status.state);
    end_engine();
}

static void the_same_key_twice_at_once_makes_one_task(void **state)
{
    struct order order = {.kind = OK, .idempotency_key = "i", .hash = 1};
    struct parcel other, first, second, third;
    (void)state;

    start_engine("");
    hold_commits();
    post(&other, &(struct order){.kind = OK});
    wait_for_held_commit();
    post(&first, &order);
    post(&second, &order);
    order.hash = 2;
    post(&third, &order);
    release_commits();
    assert_int_equal(receive(&other).rc, 0);
    assert_int_equal(receive(&first).rc, 0);
    assert_int_equal(receive(&second).rc, -EALREADY);
    assert_int_equal(receive(&third).rc, -EKEYREJECTED);
    wait_for_count_in(TASK_STATE_SUCCEEDED, 2);
    end_engine();
}

static void a_request_that_was_refused_keeps_no_key(void **state)
{
    struct order order = {.kind = OK, .idempotency_key = "i"};
    (void)state;

    start_engine("tasks: {queue_capacity: 1}");
    struct uuid far = submit(SLEEP_FAR);
    assert_int_equal(try_submit(&order).rc, -EAGAIN);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, far), 0);
    wait_for_count_in(TASK_STATE_RUNNING, 0);
    struct receipt receipt = try_submit(&order);
    assert_int_equal(receipt.rc, 0);
    assert_false(receipt.is_replay);
    end_engine();
}

/* ---- retries ---- */

static void a_failed_task_is_tried_again_with_its_history(void **state)
{
    struct order order = {.kind = FAIL,
                          .payload = "{\"until\":3}",
                          .max_attempts = 5,
                          .backoff = {.base_ms = 1, .factor = 1, .max_ms = 1}};
    size_t other = task_metric_kind(&kinds[OK]);
    int64_t retried = metric_of(TASK_METRIC_RETRIED, other, 0);
    (void)state;

    start_engine("");
    struct uuid id = submit_order(&order);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    struct task *task = get(id);
    assert_int_equal(task->status.attempts, 3);
    assert_int_equal(task->status.run, 3);
    assert_string_equal(task->result, "{\"echo\":{\"until\":3},\"attempt\":3}");
    assert_int_equal(task->past_count, 2);
    for (unsigned i = 0; i < 2; i++) {
        char error[64];
        snprintf(error, sizeof(error), "no luck with attempt %u", i + 1);
        assert_int_equal(task->past[i].run, i + 1);
        assert_string_equal(task->past[i].error, error);
        assert_false(task->past[i].was_interrupted);
        assert_true(task->past[i].started_ms != 0 && task->past[i].finished_ms >= task->past[i].started_ms);
    }
    task_unref(task);
    end_engine();
    assert_int_equal(metric_of(TASK_METRIC_RETRIED, other, 0) - retried, 2);
}

static void a_task_that_fails_too_often_is_dead(void **state)
{
    struct order order = {
        .kind = FAIL, .max_attempts = 2, .backoff = {.base_ms = 1, .factor = 1, .max_ms = 1}};
    (void)state;

    start_engine("");
    struct uuid id = submit_order(&order);
    wait_for_state(id, TASK_STATE_DEAD);
    struct task *task = get(id);
    assert_int_equal(task->status.attempts, 2);
    assert_string_equal(task->error, "no luck with attempt 2");
    assert_int_equal(task->past_count, 1);
    task_unref(task);
    order.payload = "{\"is_final\":true}";
    id = submit_order(&order);
    wait_for_state(id, TASK_STATE_DEAD);
    assert_int_equal(status_of(id).attempts, 1);
    end_engine();
}

static void a_failed_task_waits_as_the_back_off_or_the_failure_says(void **state)
{
    struct order order = {
        .kind = FAIL, .max_attempts = 2, .backoff = {.base_ms = 1000000, .factor = 1, .max_ms = 1000000}};
    (void)state;

    start_engine("");
    struct uuid by_backoff = submit_order(&order);
    order.payload = "{\"after_ms\": 5000000}";
    struct uuid by_failure = submit_order(&order);
    wait_for_state(by_backoff, TASK_STATE_SCHEDULED);
    wait_for_state(by_failure, TASK_STATE_SCHEDULED);
    uint64_t now_ms = clock_wall_ms();
    assert_in_range(status_of(by_backoff).run_at_ms, now_ms + 1000000 - PATIENCE_MS, now_ms + 1000000);
    assert_in_range(status_of(by_failure).run_at_ms, now_ms + 5000000 - PATIENCE_MS, now_ms + 5000000);
    struct task *task = get(by_failure);
    assert_string_equal(task->error, "no luck with attempt 1");
    task_unref(task);
    end_engine();
}

static void a_task_that_takes_too_long_is_tried_again(void **state)
{
    struct order order = {.kind = SLEEP_FAR, .max_attempts = 2, .timeout_ms = 5};
    (void)state;

    start_engine("");
    struct uuid id = submit_order(&order);
    wait_for_state(id, TASK_STATE_DEAD);
    struct task *task = get(id);
    assert_int_equal(task->status.attempts, 2);
    assert_string_equal(task->error, "not done within its timeout of 5ms");
    task_unref(task);
    end_engine();
}

/* ---- scheduled ---- */

static void a_scheduled_task_starts_at_its_time_and_not_before(void **state)
{
    (void)state;

    start_engine("");
    uint64_t at_ms = clock_wall_ms() + 300;
    struct receipt receipt = try_submit(&(struct order){.kind = OK, .run_at_ms = at_ms});
    assert_int_equal(receipt.status.state, TASK_STATE_SCHEDULED);
    struct uuid past = submit_order(&(struct order){.kind = OK, .run_at_ms = 1});
    wait_for_state(past, TASK_STATE_SUCCEEDED);
    wait_for_state(receipt.id, TASK_STATE_SUCCEEDED);
    assert_true(status_of(receipt.id).started_ms >= at_ms);
    end_engine();
}

static void scheduled_tasks_outlive_a_restart(void **state)
{
    (void)state;
    start_engine("");
    struct uuid soon = submit_order(&(struct order){.kind = OK, .run_at_ms = clock_wall_ms() + 200});
    struct uuid far = submit_order(&(struct order){.kind = OK, .run_at_ms = clock_wall_ms() + 3600000});
    end_engine();
    reopen_engine("");
    wait_for_state(soon, TASK_STATE_SUCCEEDED);
    assert_int_equal(state_of(far), TASK_STATE_SCHEDULED);
    end_engine();
}

static void a_schedules_tick_makes_one_task(void **state)
{
    struct order order = {.kind = OK, .schedule = "nightly", .tick_ms = 1000};
    (void)state;

    start_engine("");
    submit_order(&order);
    assert_int_equal(try_submit(&order).rc, -ESTALE);
    order.tick_ms = 2000;
    submit_order(&order);
    end_engine();
    reopen_engine("");
    assert_int_equal(try_submit(&order).rc, -ESTALE);
    order.schedule = "hourly";
    submit_order(&order);
    end_engine();
}

/* ---- wishes ---- */

static void a_task_is_cancelled_in_each_state(void **state)
{
    struct task_status status;
    (void)state;

    start_engine("tasks: {max_running: 2}");
    struct uuid finished = submit(OK);
    wait_for_state(finished, TASK_STATE_SUCCEEDED);
    struct uuid asleep = submit(SLEEP_FAR);
    struct uuid pended = submit(PENDING);
    struct uuid queued = submit(OK);
    struct uuid scheduled = submit_order(&(struct order){.kind = OK, .run_at_ms = clock_wall_ms() + 3600000});
    wait_for_pending(1);

    assert_int_equal(wish_for(TASK_WISH_CANCEL, finished), -EBUSY);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, scheduled), 0);
    assert_int_equal(state_of(scheduled), TASK_STATE_CANCELLED);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, queued), 0);
    assert_int_equal(state_of(queued), TASK_STATE_CANCELLED);
    assert_int_equal(status_of(queued).attempts, 0);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, queued), -EBUSY);
    struct task_wish wish = {.type = TASK_WISH_CANCEL, .id = asleep, .if_version = TASK_VERSION_ANY};
    assert_int_equal(try_wish(wish, &status), 0);
    assert_int_equal(status.state, TASK_STATE_RUNNING);
    assert_true(status.is_cancelled);
    wait_for_state(asleep, TASK_STATE_CANCELLED);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, pended), 0);
    wait_for_state(pended, TASK_STATE_CANCELLED);
    struct task *task = get(pended);
    assert_string_equal(task->error, "cancelled");
    assert_int_equal(task->status.attempts, 1);
    task_unref(task);
    end_engine();
}

static void a_running_step_is_cancelled(void **state)
{
    (void)state;
    atomic_store(&watching, 0);
    start_engine("");
    struct uuid id = submit(UNTIL_STOP);
    wait_for_count(&watching, 1);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), 0);
    wait_for_state(id, TASK_STATE_CANCELLED);

    /* One that comes to its end all the same has come to its end. */
    id = submit(STUBBORN);
    wait_for_count(&watching, 2);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), 0);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    end_engine();
}

static void a_task_is_cancelled_in_the_transaction_that_starts_it(void **state)
{
    struct parcel other, parcel;
    struct waiting_wish wish;
    (void)state;

    start_engine("");
    hold_commits();
    post(&other, &(struct order){.kind = OK});
    wait_for_held_commit();
    post(&parcel, &(struct order){.kind = SLEEP_FAR});
    struct uuid id = parcel.item.task->id;
    post_wish(&wish, (struct task_wish){.type = TASK_WISH_CANCEL, .id = id, .if_version = TASK_VERSION_ANY});
    release_commits();
    receive(&other);
    assert_int_equal(receive(&parcel).rc, 0);
    assert_int_equal(receive_wish(&wish, NULL), 0);
    wait_for_state(id, TASK_STATE_CANCELLED);
    end_engine();
}

static void a_finished_task_is_retried_with_all_its_attempts(void **state)
{
    struct order order = {.kind = FAIL, .payload = "{\"is_final\":true}", .max_attempts = 3};
    (void)state;

    start_engine("");
    struct uuid id = submit_order(&order);
    wait_for_state(id, TASK_STATE_DEAD);
    unsigned version = status_of(id).version;
    assert_int_equal(wish_for(TASK_WISH_RETRY, id), 0);
    wait_for_state(id, TASK_STATE_DEAD);
    struct task *task = get(id);
    assert_int_equal(task->status.run, 2);
    assert_int_equal(task->status.attempts, 1);
    assert_true(task->status.version > version);
    assert_int_equal(task->past_count, 1);
    assert_string_equal(task->past[0].error, "no luck with attempt 1");
    task_unref(task);
    struct uuid ok = submit(OK);
    wait_for_state(ok, TASK_STATE_SUCCEEDED);
    assert_int_equal(wish_for(TASK_WISH_RETRY, ok), -EBUSY);
    end_engine();
}

static void a_retry_does_not_change_what_is_kept_of_earlier_runs(void **state)
{
    struct order order = {.kind = FAIL,
                          .payload = "{\"until\":2}",
                          .max_attempts = 2,
                          .backoff = {.base_ms = 3600000, .factor = 1, .max_ms = 3600000}};
    (void)state;

    start_engine("");
    struct uuid id = submit_order(&order);
    wait_for_state(id, TASK_STATE_SCHEDULED);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), 0);
    assert_int_equal(wish_for(TASK_WISH_RETRY, id), 0);
    wait_until_idle();
    struct task *task = get(id);
    assert_true(task->past_count >= 1);
    assert_string_equal(task->past[0].error, "no luck with attempt 1");
    task_unref(task);
    end_engine();
}

static void a_waiting_task_is_changed(void **state)
{
    struct task_status status;
    (void)state;

    start_engine("tasks: {max_running: 1}\nqueues: {other: {}}");
    struct uuid far = submit(SLEEP_FAR);
    struct uuid id = submit(OK);
    struct task_wish wish = {.type = TASK_WISH_CHANGE, .id = id, .if_version = 1};

    wish.has_priority = wish.has_queue = true;
    wish.priority = 2;
    wish.queue = queue_named("other");
    assert_int_equal(try_wish(wish, &status), 0);
    assert_int_equal(status.priority, 2);
    assert_int_equal(status.queue, wish.queue);
    assert_int_equal(status.version, 2);
    assert_int_equal(try_wish(wish, &status), -EILSEQ); /* it is version 2 now */
    assert_int_equal(status.version, 2);

    struct task_wish later = {.type = TASK_WISH_CHANGE,
                              .id = id,
                              .if_version = 2,
                              .has_run_at = true,
                              .run_at_ms = clock_wall_ms() + 3600000};
    assert_int_equal(try_wish(later, &status), 0);
    assert_int_equal(status.state, TASK_STATE_SCHEDULED);
    later.if_version = 3;
    later.run_at_ms = 0;
    assert_int_equal(try_wish(later, &status), 0);
    assert_int_equal(status.state, TASK_STATE_QUEUED);
    assert_int_equal(status.queue, wish.queue);

    later.id = far;
    later.if_version = TASK_VERSION_ANY;
    assert_int_equal(try_wish(later, NULL), -EBUSY);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, far), 0);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    end_engine();
}

static void a_finished_task_is_removed(void **state)
{
    (void)state;
    start_engine("");
    struct uuid id = submit(SLEEP_FAR);
    assert_int_equal(wish_for(TASK_WISH_REMOVE, id), -EBUSY);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), 0);
    wait_for_state(id, TASK_STATE_CANCELLED);
    struct task_wish wish = {.type = TASK_WISH_REMOVE, .id = id, .if_version = 1};
    assert_int_equal(try_wish(wish, NULL), -EILSEQ);
    assert_int_equal(wish_for(TASK_WISH_REMOVE, id), 0);
    assert_null(find(id));
    assert_int_equal(wish_for(TASK_WISH_REMOVE, id), -ENOENT);
    assert_int_equal(count_in(TASK_STATE_CANCELLED), 0);
    end_engine();
}

/* ---- queues ---- */

static void a_paused_queue_starts_nothing_over_restarts_too(void **state)
{
    static struct task_queue_info infos[TASK_QUEUE_MAX];
    (void)state;

    start_engine("queues: {slow: {}, born: {paused: true}}");
    set_paused("slow", true);
    struct uuid slow = submit_order(&(struct order){.kind = OK, .queue = "slow"});
    struct uuid born = submit_order(&(struct order){.kind = OK, .queue = "born"});
    wait_for_state(submit(OK), TASK_STATE_SUCCEEDED);
    end_engine();
    reopen_engine("queues: {slow: {}, born: {}}");
    wait_for_state(submit(OK), TASK_STATE_SUCCEEDED);
    assert_int_equal(state_of(slow), TASK_STATE_QUEUED);
    assert_int_equal(state_of(born), TASK_STATE_QUEUED);
    assert_int_equal(task_engine_queues(engine, infos), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(infos[i].is_paused, strcmp(infos[i].name, "default") != 0);
    set_paused("slow", false);
    wait_for_state(slow, TASK_STATE_SUCCEEDED);
    assert_int_equal(state_of(born), TASK_STATE_QUEUED);
    end_engine();
}

static void a_queue_runs_no_more_than_its_concurrency(void **state)
{
    (void)state;
    gate_set(false);
    start_engine("tasks: {runners: 5}\nqueues: {narrow: {concurrency: 2}}");
    for (unsigned i = 0; i < 6; i++)
        submit_order(&(struct order){.kind = GATE, .queue = "narrow"});
    gate_wait_for(2);
    submit(GATE);
    gate_wait_for(3);
    assert_int_equal(count_in(TASK_STATE_RUNNING), 3);
    gate_set(true);
    wait_for_count_in(TASK_STATE_SUCCEEDED, 7);
    end_engine();
}

static void threads_that_are_held_do_not_hold_up_the_others(void **state)
{
    (void)state;
    gate_set(false);
    start_engine("tasks: {runners: 2}");
    for (unsigned i = 0; i < 10; i++)
        submit(GATE);
    gate_wait_for(2);
    assert_int_equal(count_in(TASK_STATE_RUNNING), 2);
    struct uuid id = submit(OK);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    gate_set(true);
    wait_for_count_in(TASK_STATE_SUCCEEDED, 11);
    end_engine();
}

static void a_hundred_thousand_of_one_tenant_do_not_hold_another_up(void **state)
{
    enum { FLOOD = 100000, BATCH = 10000 };
    static struct task_submission items[BATCH];
    char payload[32];
    unsigned place = 0;
    (void)state;

    start_engine("tasks: {steppers: 1, max_running: 64, queue_capacity: 200000}");
    set_paused("default", true);
    atomic_store(&record.count, 0);
    for (unsigned i = 0; i < FLOOD; i++) {
        snprintf(payload, sizeof(payload), "{\"n\":%u}", i);
        items[i % BATCH] = item_of(&(struct order){.kind = RECORD, .payload = payload, .tenant = "flood"});
        if (i % BATCH < BATCH - 1)
            continue;
        assert_int_equal(submit_batch(items, BATCH, false), 0);
        done_batch(items, BATCH);
    }
    submit_order(&(struct order){.kind = RECORD, .payload = "{\"n\":1000000}", .tenant = "other"});
    set_paused("default", false);
    wait_for_count(&record.count, 1000);
    while (record.numbers[place] != 1000000 && place < 1000)
        place++;
    assert_in_range(place, 0, 2);
    set_paused("default", true);
    /* FIFO within the tenant. */
    for (unsigned i = place + 1; i < 1000; i++)
        assert_int_equal(record.numbers[i], i - 1);
    end_engine();
}

/* ---- explain ---- */

static void explain_says_who_comes_before_and_who_runs(void **state)
{
    struct uuid ids[3];
    (void)state;

    start_engine("tasks: {max_running: 2}");
    submit(SLEEP_FAR);
    submit(SLEEP_FAR);
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = submit_order(&(struct order){.kind = OK, .priority = i == 2 ? 1 : 0});
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        struct waiting_query waiting = {.query = {.type = TASK_QUERY_EXPLAIN, .id = ids[i]}};
        assert_int_equal(ask(&waiting), 1);
        assert_int_equal(waiting.query.position, i == 2 ? 0 : i + 1); /* the last has a better priority */
        assert_int_equal(waiting.query.running_count, 2);
        assert_string_equal(waiting.query.running[0]->spec.kind_name, "sleep_far");
        task_query_done(&waiting.query);
    }
    end_engine();
}

/* ---- callbacks ---- */

static void the_end_of_a_task_makes_its_callback_in_the_same_commit(void **state)
{
    struct watch_log log;
    (void)state;

    start_engine("");
    set_paused("default", true);
    struct uuid id = submit_order(
        &(struct order){.kind = OK, .callback = "{\"url\":\"http://client.test/hook\"}", .tenant = "t"});
    watch_log_init(&log);
    task_engine_watch(engine, &log.watcher);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), 0);
    wait_for_count(&log.told, 2);
    assert_true(uuid_equal(&log.events[0].id, &id));
    assert_int_equal(log.events[0].state, TASK_STATE_CANCELLED);
    assert_int_equal(log.events[1].state, TASK_STATE_QUEUED);
    assert_int_equal(log.events[1].at_ms, log.events[0].at_ms);
    struct task *callback = get(log.events[1].id);
    assert_string_equal(callback->spec.kind_name, "callback");
    assert_string_equal(callback->spec.tenant, "t");
    json_t *payload = json_loads(callback->spec.payload, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(payload, "url")), "http://client.test/hook");
    json_t *body = json_loads(json_string_value(json_object_get(payload, "body")), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(body, "type")), "task.cancelled");
    json_decref(body);
    json_decref(payload);
    task_unref(callback);
    task_engine_unwatch(engine, &log.watcher);
    assert_int_equal(watch_log_wait(&log), 0);
    watch_log_done(&log);
    set_paused("default", false);
    wait_for_count_in(TASK_STATE_SUCCEEDED, 1);
    end_engine();
}

/* ---- drain, stop, restart ---- */

static void drain_refuses_new_tasks_and_finishes_the_old(void **state)
{
    int64_t stopping = metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_STOPPING, 0);
    (void)state;

    start_engine("");
    for (unsigned i = 0; i < 20; i++)
        submit(NAPS);
    drain_all();
    assert_int_equal(count_in(TASK_STATE_SUCCEEDED), 20);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -ESHUTDOWN);
    assert_int_equal(metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_STOPPING, 0) - stopping, 1);
    end_engine();
}

static void an_engine_that_drains_starts_nothing(void **state)
{
    (void)state;
    start_engine("tasks: {max_running: 1}");
    submit(SLEEP_FAR);
    struct uuid id = submit(OK);
    assert_int_equal(task_engine_drain(engine, in_ms(10)), 1);
    assert_int_equal(state_of(id), TASK_STATE_QUEUED);
    end_engine();
}

static void any_order_of_ending_is_fine(void **state)
{
    (void)state;
    task_engine_free(NULL);
    new_store();
    create_engine_on(&task_store_sqlite, "");
    end_engine();

    create_engine_on(&task_store_sqlite, "");
    assert_int_equal(task_engine_drain(engine, in_ms(PATIENCE_MS)), 0);
    task_engine_stop(engine);
    task_engine_stop(engine);
    assert_int_equal(task_engine_drain(engine, in_ms(PATIENCE_MS)), 0);
    end_engine();

    start_engine("");
    struct uuid id = submit(SLEEP_FAR);
    task_engine_stop(engine);
    assert_int_equal(try_submit(&(struct order){.kind = OK}).rc, -ESHUTDOWN);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), -ESHUTDOWN);
    end_engine();
}

static void what_is_asked_of_an_engine_that_never_started_is_answered(void **state)
{
    struct waiting_query query = {
        .query = {
            .done = on_query, .type = TASK_QUERY_LIST, .limit = 10, .filter = {.state = -1, .queue = -1}}};
    struct watch_log log;
    struct parcel parcel;
    (void)state;

    new_store();
    create_engine_on(&task_store_sqlite, "");
    watch_log_init(&log);
    sem_init(&query.answered, 0, 0);
    post(&parcel, &(struct order){.kind = OK});
    task_engine_watch(engine, &log.watcher);
    task_engine_ask(engine, &query.query);
    end_engine();
    assert_int_equal(receive(&parcel).rc, 0);
    assert_int_equal(sem_trywait(&query.answered), 0);
    assert_int_equal(query.query.rc, 1);
    assert_int_equal(watch_log_wait(&log), -ESHUTDOWN);
    task_query_done(&query.query);
    sem_destroy(&query.answered);
    watch_log_done(&log);
}

static void stop_costs_those_it_breaks_off_nothing(void **state)
{
    struct uuid ids[3];
    (void)state;

    atomic_store(&watching, 0);
    start_engine("");
    ids[0] = submit(SLEEP_FAR);
    ids[1] = submit(PENDING);
    ids[2] = submit(UNTIL_STOP);
    wait_for_pending(1);
    wait_for_count(&watching, 1);
    end_engine();

    create_engine_on(&task_store_sqlite, "tasks: {max_running: 10}");
    assert_int_equal(count_in(TASK_STATE_QUEUED), 3);
    run_engine();
    wait_for_pending(1);
    wait_for_count(&watching, 2);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        wait_for_state(ids[i], TASK_STATE_RUNNING);
        struct task *task = get(ids[i]);
        assert_int_equal(task->status.run, 2);
        assert_int_equal(task->status.attempts, 1);
        assert_int_equal(task->status.interruptions, 0);
        assert_int_equal(task->past_count, 0);
        task_unref(task);
    }
    end_engine();
}

static void *stop_engine(void *arg)
{
    task_engine_stop(arg);
    return NULL;
}

static void stop_waits_for_the_step_that_runs(void **state)
{
    pthread_t stopper;
    (void)state;

    gate_set(false);
    start_engine(ONE_STEPPER);
    struct uuid gated = submit(GATE);
    struct uuid waits = submit(GATE);
    gate_wait_for(1);
    start(&stopper, stop_engine, engine);
    while (try_submit(&(struct order){.kind = OK}).rc != -ESHUTDOWN)
        usleep(100);
    gate_set(true);
    thread_join(stopper);
    end_engine();
    reopen_engine(ONE_STEPPER);
    assert_int_equal(state_of(gated), TASK_STATE_SUCCEEDED);
    wait_for_state(waits, TASK_STATE_SUCCEEDED);
    end_engine();
}

/* ---- interruptions ---- */

/* As if the process had ended while they ran: their rows say so. */
static void leave_running(const struct uuid *ids, size_t count, bool is_cancelled)
{
    struct task_store *store;
    struct err err = {0};

    assert_int_equal(task_store_sqlite.open(store_where, &store, &err), 0);
    assert_int_equal(task_store_sqlite.begin(store, &err), 0);
    for (size_t i = 0; i < count; i++) {
        struct task *task = NULL;
        assert_int_equal(task_store_sqlite.find(store, &ids[i], &task, &err), 1);
        struct task_status to = task->status;
        to.state = TASK_STATE_RUNNING;
        to.run++;
        to.attempts++;
        to.version++;
        to.started_ms = 1000;
        to.is_cancelled = is_cancelled;
        assert_int_equal(task_store_sqlite.move(store, task, &to, NULL, NULL, &err), 0);
        task_unref(task);
    }
    assert_int_equal(task_store_sqlite.commit(store, &err), 0);
    task_store_sqlite.close(store);
}

/* A task that is queued in a store that nobody has open. */
static struct uuid queue_one(int kind)
{
    new_store();
    create_engine_on(&task_store_sqlite, "queues: {default: {paused: true}}");
    run_engine();
    struct uuid id = submit(kind);
    end_engine();
    return id;
}

static void an_interrupted_task_runs_again_and_it_is_held_against_it(void **state)
{
    struct uuid id = queue_one(OK);
    int64_t interrupted = metric_of(TASK_METRIC_INTERRUPTED, 0, 0);
    (void)state;

    leave_running(&id, 1, false);
    reopen_engine("");
    assert_int_equal(metric_of(TASK_METRIC_INTERRUPTED, 0, 0) - interrupted, 1);
    struct task *task = get(id);
    assert_int_equal(task->status.state, TASK_STATE_QUEUED);
    assert_int_equal(task->status.attempts, 0);
    assert_int_equal(task->status.interruptions, 1);
    assert_int_equal(task->past_count, 1);
    assert_true(task->past[0].was_interrupted);
    task_unref(task);
    set_paused("default", false);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    assert_int_equal(status_of(id).attempts, 1);
    assert_int_equal(status_of(id).run, 2);
    end_engine();
}

static void a_task_that_is_interrupted_too_often_is_dead(void **state)
{
    struct uuid id = queue_one(OK);
    (void)state;

    for (unsigned i = 1; i <= 3; i++) {
        leave_running(&id, 1, false);
        create_engine_on(&task_store_sqlite, "tasks: {max_interruptions: 2}");
        end_engine();
    }
    reopen_engine("");
    struct task *task = get(id);
    assert_int_equal(task->status.state, TASK_STATE_DEAD);
    assert_string_equal(task->error, "interrupted 3 times: the process ended while it ran");
    assert_int_equal(task->status.attempts, 0);
    assert_int_equal(task->status.interruptions, 3);
    assert_int_equal(task->past_count, 3);
    task_unref(task);
    end_engine();
}

static void a_cancelled_task_that_is_interrupted_has_ended(void **state)
{
    struct uuid id = queue_one(OK);
    (void)state;

    leave_running(&id, 1, true);
    reopen_engine("");
    struct task *task = get(id);
    assert_int_equal(task->status.state, TASK_STATE_CANCELLED);
    assert_int_equal(task->status.attempts, 0); /* the run was broken off */
    assert_int_equal(task->status.interruptions, 1);
    assert_int_equal(task->past_count, 1);
    task_unref(task);
    end_engine();
}

static void a_task_of_a_kind_that_nobody_knows_is_set_aside(void **state)
{
    struct uuid id = queue_one(OK);
    (void)state;

    all_kinds[OK] = &kinds[FAIL]; /* as in an older program */
    reopen_engine("");
    set_paused("default", false);
    wait_for_state(id, TASK_STATE_DEAD);
    struct task *task = get(id);
    assert_string_equal(task->error, "this heddle knows no such kind of task");
    task_unref(task);
    end_engine();
    all_kinds[OK] = &kinds[OK];
}

/* ---- progress ---- */

static void progress_is_stored(void **state)
{
    struct watch_log log;
    (void)state;

    start_engine("");
    watch_log_init(&log);
    task_engine_watch(engine, &log.watcher);
    struct uuid id = submit(PROGRESS);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    task_engine_unwatch(engine, &log.watcher);
    assert_int_equal(watch_log_wait(&log), 0);
    assert_in_range(log.count, 2, 12);
    for (size_t i = 1; i + 1 < log.count; i++) {
        assert_true(log.events[i].is_progress);
        assert_int_equal(log.events[i].state, TASK_STATE_RUNNING);
    }
    assert_true(status_of(id).progress == 1);
    watch_log_done(&log);
    end_engine();
}

/* ---- many ---- */

enum { SUBMITTERS = 4, PER_SUBMITTER = 500, READERS = 2 };

static atomic_bool is_over;
static atomic_uint accepted;

static void *submit_many(void *arg)
{
    static const int mix[] = {OK, FAIL, NAPS, OK, NULL_POINTER, OK, RESUMED_EARLY};

    (void)arg;
    for (unsigned i = 0; i < PER_SUBMITTER; i++) {
        submit(mix[i % ARRAY_LEN(mix)]);
        atomic_fetch_add(&accepted, 1);
    }
    return NULL;
}

/* Renders what it finds while others change it. */
static void *read_many(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over)) {
        struct waiting_query waiting = {
            .query = {.type = TASK_QUERY_LIST, .limit = 20, .filter = {.state = -1, .queue = -1}}};
        int count = ask(&waiting);
        for (int i = 0; i < count; i++) {
            const struct task *task = waiting.query.tasks[i];
            struct buf text = BUF_INIT(1 << 16);
            task_append(&text, &(struct task_view){task, &task->status, "default"});
            if (text.failed)
                abort();
            buf_done(&text);
            task_unref(find(task->id));
        }
        task_query_done(&waiting.query);
    }
    return NULL;
}

static void many_submit_while_others_read(void **state)
{
    pthread_t submitters[SUBMITTERS];
    pthread_t readers[READERS];
    (void)state;

    atomic_store(&is_over, false);
    atomic_store(&accepted, 0);
    start_engine("tasks: {keep_succeeded: 50, keep_dead: 50}");
    for (unsigned i = 0; i < READERS; i++)
        start(&readers[i], read_many, NULL);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        start(&submitters[i], submit_many, NULL);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        thread_join(submitters[i]);
    wait_until_idle();
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < READERS; i++)
        thread_join(readers[i]);
    assert_int_equal(atomic_load(&accepted), SUBMITTERS * PER_SUBMITTER);
    assert_in_range(count_in(TASK_STATE_SUCCEEDED), 50, 60);
    assert_in_range(count_in(TASK_STATE_DEAD), 50, 60);
    end_engine();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_succeeds_with_its_result),
        cmocka_unit_test(a_task_that_waits_for_its_turn_has_no_times_but_its_creation),
        cmocka_unit_test(an_unknown_id_is_not_found),
        cmocka_unit_test(failures_and_bugs_are_logged),
        cmocka_unit_test(bugs_in_kinds_end_their_own_tasks_only),
        cmocka_unit_test(the_list_has_the_newest_first_up_to_the_limit),
        cmocka_unit_test(finished_tasks_are_forgotten_beyond_what_is_kept),
        cmocka_unit_test(metrics_add_up_when_all_is_over),
        cmocka_unit_test(a_full_engine_refuses),
        cmocka_unit_test(a_batch_is_accepted_task_by_task),
        cmocka_unit_test(an_atomic_batch_is_accepted_as_a_whole_or_not_at_all),
        cmocka_unit_test(an_atomic_batch_says_which_task_was_no_good),
        cmocka_unit_test(an_atomic_batch_with_one_that_was_no_good_before_is_refused),
        cmocka_unit_test(a_large_batch_is_done_in_order),
        cmocka_unit_test(a_unique_key_is_held_by_one_unfinished_task),
        cmocka_unit_test(a_task_that_runs_is_not_replaced),
        cmocka_unit_test(a_repeated_request_has_the_first_answer),
        cmocka_unit_test(a_key_outlives_its_task),
        cmocka_unit_test(the_same_key_twice_at_once_makes_one_task),
        cmocka_unit_test(a_request_that_was_refused_keeps_no_key),
        cmocka_unit_test(a_failed_task_is_tried_again_with_its_history),
        cmocka_unit_test(a_task_that_fails_too_often_is_dead),
        cmocka_unit_test(a_failed_task_waits_as_the_back_off_or_the_failure_says),
        cmocka_unit_test(a_task_that_takes_too_long_is_tried_again),
        cmocka_unit_test(a_scheduled_task_starts_at_its_time_and_not_before),
        cmocka_unit_test(scheduled_tasks_outlive_a_restart),
        cmocka_unit_test(a_schedules_tick_makes_one_task),
        cmocka_unit_test(a_task_is_cancelled_in_each_state),
        cmocka_unit_test(a_running_step_is_cancelled),
        cmocka_unit_test(a_task_is_cancelled_in_the_transaction_that_starts_it),
        cmocka_unit_test(a_finished_task_is_retried_with_all_its_attempts),
        cmocka_unit_test(a_retry_does_not_change_what_is_kept_of_earlier_runs),
        cmocka_unit_test(a_waiting_task_is_changed),
        cmocka_unit_test(a_finished_task_is_removed),
        cmocka_unit_test(a_paused_queue_starts_nothing_over_restarts_too),
        cmocka_unit_test(a_queue_runs_no_more_than_its_concurrency),
        cmocka_unit_test(threads_that_are_held_do_not_hold_up_the_others),
        cmocka_unit_test(a_hundred_thousand_of_one_tenant_do_not_hold_another_up),
        cmocka_unit_test(explain_says_who_comes_before_and_who_runs),
        cmocka_unit_test(the_end_of_a_task_makes_its_callback_in_the_same_commit),
        cmocka_unit_test(drain_refuses_new_tasks_and_finishes_the_old),
        cmocka_unit_test(an_engine_that_drains_starts_nothing),
        cmocka_unit_test(any_order_of_ending_is_fine),
        cmocka_unit_test(what_is_asked_of_an_engine_that_never_started_is_answered),
        cmocka_unit_test(stop_costs_those_it_breaks_off_nothing),
        cmocka_unit_test(stop_waits_for_the_step_that_runs),
        cmocka_unit_test(an_interrupted_task_runs_again_and_it_is_held_against_it),
        cmocka_unit_test(a_task_that_is_interrupted_too_often_is_dead),
        cmocka_unit_test(a_cancelled_task_that_is_interrupted_has_ended),
        cmocka_unit_test(a_task_of_a_kind_that_nobody_knows_is_set_aside),
        cmocka_unit_test(progress_is_stored),
        cmocka_unit_test(many_submit_while_others_read),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("engine", tests, make_store_folder, remove_store_folder);
}
