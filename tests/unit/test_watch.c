/* Events: who watches is told each once, in order, wherever they come from and whenever it began. */
#include "task_engine.h"

#include "base/log.h"

static struct watch_log *new_log(void)
{
    struct watch_log *log = calloc(1, sizeof(*log));

    assert_non_null(log);
    watch_log_init(log);
    return log;
}

/* Of all events after that number. */
static struct watch_log *watch_after(uint64_t after)
{
    struct watch_log *log = new_log();

    log->watcher.has_after = true;
    log->watcher.after = after;
    task_engine_watch(engine, &log->watcher);
    return log;
}

static void free_log(struct watch_log *log)
{
    watch_log_done(log);
    free(log);
}

static void unwatch(struct watch_log *log)
{
    task_engine_unwatch(engine, &log->watcher);
    assert_int_equal(watch_log_wait(log), 0);
    free_log(log);
}

/* The numbers go up by one, and the first is that. */
static void expect_numbers(const struct watch_log *log, uint64_t first)
{
    for (size_t i = 0; i < log->count; i++)
        assert_int_equal(log->events[i].number, first + i);
}

/* So many tasks come to their end: two events each. */
static void make_events(unsigned tasks)
{
    for (unsigned i = 0; i < tasks; i++)
        submit(OK);
    wait_until_idle();
}

struct last {
    struct watch_log *log;
    struct uuid id;
};

static bool has_seen_end(void *arg)
{
    struct last *last = arg;
    struct watch_log *log = last->log;

    LOCK(&log->lock);
    return log->count > 0 && uuid_equal(&log->events[log->count - 1].id, &last->id) &&
           log->events[log->count - 1].state == TASK_STATE_SUCCEEDED;
}

/* Waits until it has been told of the end of the task, after which nothing happens. */
static void wait_for_end(struct watch_log *log, struct uuid id)
{
    wait_until(has_seen_end, &(struct last){log, id});
}

/* Two events or more for each task, in few transactions. */
static void make_many_events(unsigned tasks)
{
    struct task_submission *items = calloc(tasks, sizeof(*items));

    assert_non_null(items);
    for (unsigned i = 0; i < tasks; i++)
        items[i].task = order_task(&(struct order){.kind = OK});
    assert_int_equal(submit_batch(items, tasks, false), 0);
    done_batch(items, tasks);
    free(items);
    wait_until_idle();
}

/* ---- what is told ---- */

static void all_that_happens_is_told_in_order(void **state)
{
    (void)state;
    start_engine("");
    struct watch_log *log = new_log();
    task_engine_watch(engine, &log->watcher);
    struct uuid id = submit(OK);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    wait_for_count(&log->told, 2);
    expect_numbers(log, 1);
    assert_int_equal(log->events[0].state, TASK_STATE_RUNNING);
    assert_int_equal(log->events[1].state, TASK_STATE_SUCCEEDED);
    for (size_t i = 0; i < 2; i++) {
        assert_true(uuid_equal(&log->events[i].id, &id));
        assert_int_equal(log->events[i].attempts, 1);
        assert_false(log->events[i].is_progress);
    }
    assert_true(log->events[1].at_ms >= log->events[0].at_ms);
    unwatch(log);
    end_engine();
}

static void one_task_is_watched_until_it_is_finished(void **state)
{
    (void)state;
    start_engine("tasks: {max_running: 1}");
    struct uuid far = submit(SLEEP_FAR);
    struct uuid id = submit(OK);
    struct watch_log *log = new_log();
    log->watcher.is_for_task = log->watcher.until_finished = true;
    log->watcher.id = id;
    task_engine_watch(engine, &log->watcher);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, far), 0);
    assert_int_equal(watch_log_wait(log), 0);
    assert_int_equal(log->count, 2);
    for (size_t i = 0; i < log->count; i++)
        assert_true(uuid_equal(&log->events[i].id, &id));
    assert_int_equal(log->events[1].state, TASK_STATE_SUCCEEDED);
    free_log(log);
    end_engine();
}

static void one_queue_is_watched(void **state)
{
    (void)state;
    start_engine("queues: {other: {}}");
    struct watch_log *log = new_log();
    log->watcher.queue = queue_named("other");
    task_engine_watch(engine, &log->watcher);
    make_events(3);
    struct uuid id = submit_order(&(struct order){.kind = OK, .queue = "other"});
    make_events(3);
    wait_for_count(&log->told, 2);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    assert_int_equal(log->count, 2);
    assert_true(uuid_equal(&log->events[0].id, &id));
    unwatch(log);
    end_engine();
}

/* ---- older events ---- */

static void events_before_the_first_watcher_come_from_the_store(void **state)
{
    (void)state;
    start_engine("");
    make_events(100);
    for (uint64_t after = 0; after <= 200; after += 67) {
        struct watch_log *log = watch_after(after);
        wait_for_count(&log->told, (unsigned)(200 - after));
        expect_numbers(log, after + 1);
        unwatch(log);
    }
    end_engine();
}

static void numbers_have_no_gaps_over_restarts(void **state)
{
    (void)state;
    start_engine("");
    make_events(10);
    end_engine();
    reopen_engine("");
    struct watch_log *log = watch_after(5);
    make_events(10);
    wait_for_count(&log->told, 35);
    expect_numbers(log, 6);
    unwatch(log);
    end_engine();
}

static void events_that_are_in_memory_come_from_there(void **state)
{
    (void)state;
    start_engine("");
    struct watch_log *other = new_log(); /* as long as somebody watches they are kept */
    task_engine_watch(engine, &other->watcher);
    make_events(100);
    struct watch_log *log = watch_after(50);
    make_events(100);
    wait_for_count(&log->told, 350);
    expect_numbers(log, 51);
    unwatch(log);
    unwatch(other);
    end_engine();
}

static void who_is_far_behind_catches_up(void **state)
{
    enum { TASKS = 5000 };
    (void)state;

    start_engine("");
    struct watch_log *other = new_log();
    task_engine_watch(engine, &other->watcher);
    make_many_events(TASKS);
    struct watch_log *log = watch_after(3);
    make_events(10);
    struct uuid last = submit(OK);
    wait_for_end(log, last);
    expect_numbers(log, 4);
    wait_for_end(other, last);
    expect_numbers(other, 1);
    assert_int_equal(log->count, other->count - 3);
    unwatch(log);
    unwatch(other);
    end_engine();
}

static void what_has_not_happened_yet_is_not_told(void **state)
{
    static const uint64_t afters[] = {20, 23, 1000000, UINT64_MAX};
    (void)state;

    start_engine("");
    struct watch_log *other = watch_after(0);
    make_events(10);
    for (unsigned i = 0; i < ARRAY_LEN(afters); i++) {
        wait_for_count(&other->told, 20 + 2 * i);
        struct watch_log *log = watch_after(afters[i]);
        make_events(1);
        wait_for_count(&log->told, 2);
        expect_numbers(log, 21 + 2 * i);
        unwatch(log);
    }
    unwatch(other);
    end_engine();
}

static void forgotten_events_are_left_out(void **state)
{
    (void)state;
    start_engine("tasks: {keep_events: 1000}");
    for (unsigned i = 0; i < 20; i++)
        make_many_events(100);
    struct watch_log *log = watch_after(0);
    wait_for_end(log, submit(OK));
    assert_in_range(log->count, 1000, 2000);
    assert_true(log->events[0].number > 1000);
    expect_numbers(log, log->events[0].number);
    unwatch(log);
    end_engine();
}

/* ---- the end ---- */

static void who_has_enough_is_told_no_more(void **state)
{
    (void)state;
    start_engine("");
    struct watch_log *log = new_log();
    log->enough = 1;
    log->watcher.has_after = true;
    task_engine_watch(engine, &log->watcher);
    make_events(1);
    assert_int_equal(watch_log_wait(log), 0);
    make_events(3);
    assert_in_range(log->count, 1, 2);
    free_log(log);
    end_engine();
}

static void a_watch_ends_at_its_deadline(void **state)
{
    (void)state;
    start_engine("");
    struct watch_log *log = new_log();
    log->watcher.deadline_ns = in_ms(20);
    task_engine_watch(engine, &log->watcher);
    assert_int_equal(watch_log_wait(log), -ETIME);
    assert_true(clock_now_ns() >= log->watcher.deadline_ns);
    free_log(log);
    end_engine();
}

static void a_watch_ticks_until_it_has_enough(void **state)
{
    (void)state;
    start_engine("");
    struct watch_log *log = new_log();
    log->watcher.tick_ms = 1;
    log->tick_enough = 5;
    uint64_t begin_ns = clock_now_ns();
    task_engine_watch(engine, &log->watcher);
    assert_int_equal(watch_log_wait(log), 0);
    assert_int_equal(atomic_load(&log->ticks), 5);
    assert_true(clock_now_ns() - begin_ns >= 5 * NS_PER_MS);
    free_log(log);
    end_engine();
}

static void a_watcher_may_need_no_events(void **state)
{
    (void)state;
    start_engine("");
    struct uuid id = submit(SLEEP_FAR);
    struct watch_log *log = new_log();
    log->watcher.events = NULL;
    log->watcher.is_for_task = log->watcher.until_finished = true;
    log->watcher.id = id;
    task_engine_watch(engine, &log->watcher);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, id), 0);
    assert_int_equal(watch_log_wait(log), 0);
    free_log(log);
    end_engine();
}

static void too_many_watchers_are_refused(void **state)
{
    struct watch_log *logs[2];
    (void)state;

    start_engine("tasks: {max_listeners: 2}");
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        logs[i] = new_log();
        logs[i]->watcher.deadline_ns = in_ms(PATIENCE_MS);
        task_engine_watch(engine, &logs[i]->watcher);
    }
    struct watch_log *refused = new_log();
    task_engine_watch(engine, &refused->watcher);
    assert_int_equal(sem_trywait(&refused->ended), 0); /* at once */
    assert_int_equal(refused->watcher.rc, -EAGAIN);
    free_log(refused);
    unwatch(logs[0]);
    logs[0] = new_log();
    task_engine_watch(engine, &logs[0]->watcher);
    assert_int_equal(metric_of(TASK_METRIC_WATCHERS, 0, 0), 2);
    for (size_t i = 0; i < ARRAY_LEN(logs); i++)
        unwatch(logs[i]);
    assert_int_equal(metric_of(TASK_METRIC_WATCHERS, 0, 0), 0);
    end_engine();
}

static void stop_ends_all_watches(void **state)
{
    struct watch_log *logs[20];
    (void)state;

    start_engine("");
    make_events(10);
    for (size_t i = 0; i < ARRAY_LEN(logs); i++)
        logs[i] = watch_after(i % 2 ? 0 : 100);
    task_engine_stop(engine);
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        assert_int_equal(watch_log_wait(logs[i]), -ESHUTDOWN);
        free_log(logs[i]);
    }
    struct watch_log *late = new_log();
    task_engine_watch(engine, &late->watcher);
    assert_int_equal(sem_trywait(&late->ended), 0);
    assert_int_equal(late->watcher.rc, -ESHUTDOWN);
    free_log(late);
    end_engine();
}

/* ---- many ---- */

enum { WATCHERS = 4, ROUNDS = 20 };

static void *come_and_go(void *arg)
{
    (void)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct watch_log *log = new_log();
        log->watcher.has_after = round % 2;
        log->enough = 50 + round;
        task_engine_watch(engine, &log->watcher);
        if (round % 3 == 0)
            task_engine_unwatch(engine, &log->watcher);
        if (watch_log_wait(log) != 0)
            abort();
        for (size_t i = 1; i < log->count; i++)
            if (log->events[i].number != log->events[i - 1].number + 1)
                abort();
        if (log->watcher.has_after && log->count > 0 && log->events[0].number != 1)
            abort();
        free_log(log);
    }
    return NULL;
}

static atomic_bool is_over;

static void *submit_until_over(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over))
        submit(OK);
    return NULL;
}

static void watchers_come_and_go_while_tasks_run(void **state)
{
    pthread_t watchers[WATCHERS];
    pthread_t submitter;
    (void)state;

    atomic_store(&is_over, false);
    start_engine("");
    start(&submitter, submit_until_over, NULL);
    for (size_t i = 0; i < WATCHERS; i++)
        start(&watchers[i], come_and_go, NULL);
    for (size_t i = 0; i < WATCHERS; i++)
        thread_join(watchers[i]);
    atomic_store(&is_over, true);
    thread_join(submitter);
    end_engine();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_happens_is_told_in_order),
        cmocka_unit_test(one_task_is_watched_until_it_is_finished),
        cmocka_unit_test(one_queue_is_watched),
        cmocka_unit_test(events_before_the_first_watcher_come_from_the_store),
        cmocka_unit_test(numbers_have_no_gaps_over_restarts),
        cmocka_unit_test(events_that_are_in_memory_come_from_there),
        cmocka_unit_test(who_is_far_behind_catches_up),
        cmocka_unit_test(what_has_not_happened_yet_is_not_told),
        cmocka_unit_test(forgotten_events_are_left_out),
        cmocka_unit_test(who_has_enough_is_told_no_more),
        cmocka_unit_test(a_watch_ends_at_its_deadline),
        cmocka_unit_test(a_watch_ticks_until_it_has_enough),
        cmocka_unit_test(a_watcher_may_need_no_events),
        cmocka_unit_test(too_many_watchers_are_refused),
        cmocka_unit_test(stop_ends_all_watches),
        cmocka_unit_test(watchers_come_and_go_while_tasks_run),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("watch", tests, make_store_folder, remove_store_folder);
}
