/* Schedules: which ticks make a task, over restarts, and what a configuration may have wrong. */
#include "task_engine.h"

#include "base/cron.h"
#include "tasks/schedules.h"

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static struct task_schedules *schedules;

/* ---- one life: the engine and its schedules ---- */

static void begin_life(const char *yaml)
{
    struct err err = {0};

    create_engine_on(holding_store(), yaml);
    if (task_schedules_create(engine, &schedules, &err) != 0)
        fail_msg("%s", err.text);
    run_engine();
    assert_int_equal(task_schedules_start(schedules, &err), 0);
}

static void end_life(void)
{
    task_schedules_free(schedules);
    end_engine();
}

static uint64_t count_all(void)
{
    uint64_t count = 0;

    for (int state = 0; state < TASK_STATE_COUNT; state++)
        count += count_in((enum task_state)state);
    return count;
}

/* Runs until `count` tasks have succeeded; returns how many there are when the schedules have stopped. */
static uint64_t live_until(const char *yaml, uint64_t count)
{
    begin_life(yaml);
    wait_for_count_in(TASK_STATE_SUCCEEDED, count);
    task_schedules_stop(schedules);
    wait_until_idle();
    uint64_t all = count_all();
    end_life();
    return all;
}

/* In a new store, the schedule `s` has come to a tick of so many days ago. */
static void stop_for_days(const char *yaml, uint64_t days)
{
    struct order tick = {.kind = OK, .schedule = "s", .tick_ms = clock_wall_ms() - days * DAY_MS};

    start_engine(yaml);
    struct uuid id = submit_order(&tick);
    wait_for_state(id, TASK_STATE_SUCCEEDED);
    assert_int_equal(wish_for(TASK_WISH_REMOVE, id), 0);
    end_engine();
}

#define DAILY(missed) "schedules: {s: {cron: '0 0 * * *', kind: ok, missed: " missed "}}\n"

/* ---- tests ---- */

static void all_missed_ticks_are_made_up_for(void **state)
{
    (void)state;
    stop_for_days(DAILY("all"), 5);
    assert_int_equal(live_until(DAILY("all"), 5), 5);
}

static void missed_ticks_are_made_up_for_once(void **state)
{
    (void)state;
    stop_for_days(DAILY("once"), 5);
    assert_int_equal(live_until(DAILY("once"), 1), 1);
}

static void missed_ticks_are_skipped(void **state)
{
    (void)state;
    stop_for_days(DAILY("skip"), 5);
    assert_int_equal(live_until(DAILY("skip"), 0), 0);
}

static void no_tick_makes_two_tasks_over_restarts(void **state)
{
    (void)state;
    stop_for_days(DAILY("all"), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(live_until(DAILY("all"), 3), 3);
}

static void a_tick_is_used_up_by_who_comes_first(void **state)
{
    struct order tick = {.kind = OK, .schedule = "s", .tick_ms = 1000};

    (void)state;
    start_engine("");
    submit_order(&tick);
    assert_int_equal(try_submit(&tick).rc, -ESTALE);
    tick.tick_ms = 999;
    assert_int_equal(try_submit(&tick).rc, -ESTALE);
    tick.tick_ms = 1001;
    submit_order(&tick);
    end_engine();
}

static void a_tick_of_a_full_queue_is_tried_again(void **state)
{
    struct order tick = {.kind = OK, .schedule = "s", .tick_ms = 1000};

    (void)state;
    start_engine("tasks: {queue_capacity: 1}\nqueues: {q: {paused: true}}\n");
    struct uuid waiting = submit_order(&(struct order){.kind = OK, .queue = "q"});
    assert_int_equal(try_submit(&tick).rc, -EAGAIN);
    assert_int_equal(wish_for(TASK_WISH_CANCEL, waiting), 0);
    submit_order(&tick);
    assert_int_equal(try_submit(&tick).rc, -ESTALE);
    end_engine();
}

/* What came before a schedule was written is not its own; from then on nothing is forgotten. */
static void a_new_schedule_begins_now(void **state)
{
    uint64_t tick_ms = 0;

    (void)state;
    new_store();
    uint64_t before_ms = clock_wall_ms();
    assert_int_equal(live_until(DAILY("all"), 0), 0);
    create_engine_on(holding_store(), DAILY("all"));
    assert_int_equal(task_engine_last_tick(engine, "s", &tick_ms, NULL), 0);
    assert_in_range(tick_ms, before_ms, clock_wall_ms());
    end_engine();
}

static void an_idle_schedule_ends_at_once(void **state)
{
    (void)state;
    stop_for_days("schedules: {s: {cron: '* * * * *', kind: ok, missed: skip}}\n", 0);
    begin_life("schedules: {s: {cron: '* * * * *', kind: ok, missed: once}}\n");
    end_life();
}

static void expect_error(const char *yaml, const char *error)
{
    struct err err = {0};

    new_store();
    create_engine_on(holding_store(), yaml);
    assert_true(task_schedules_create(engine, &schedules, &err) < 0);
    assert_string_equal(err.text, error);
    end_engine();
}

static void a_schedule_that_cannot_work_is_refused(void **state)
{
    (void)state;
    expect_error("schedules: {s: {cron: '@daily', kind: nothing}}\n",
                 "schedules.s.kind: there is no kind of task \"nothing\"");
    expect_error("schedules: {s: {cron: '@daily', kind: sleep, payload: '{\"message\": \"m\"}'}}\n",
                 "schedules.s.payload: duration is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_missed_ticks_are_made_up_for),
        cmocka_unit_test(missed_ticks_are_made_up_for_once),
        cmocka_unit_test(missed_ticks_are_skipped),
        cmocka_unit_test(no_tick_makes_two_tasks_over_restarts),
        cmocka_unit_test(a_tick_is_used_up_by_who_comes_first),
        cmocka_unit_test(a_tick_of_a_full_queue_is_tried_again),
        cmocka_unit_test(a_new_schedule_begins_now),
        cmocka_unit_test(an_idle_schedule_ends_at_once),
        cmocka_unit_test(a_schedule_that_cannot_work_is_refused),
    };

    return cmocka_run_group_tests(tests, make_store_folder, remove_store_folder);
}
