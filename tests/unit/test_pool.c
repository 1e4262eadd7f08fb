/* The pool that runs tasks, without a store: what comes of each run, and where a task may be when it is told
 * to end. */
#include "task_kinds.h"

#include "base/log.h"
#include "tasks/pool.h"

#define MANY 10000

/* ---- a pool, new for each test ---- */

static struct task_pool *pool;
static atomic_uint ended;
static atomic_uint told; /* how often tasks said how far they are */
static atomic_int told_wrong;

static void on_end(void *arg, struct task *task, struct task_outcome *outcome)
{
    (void)arg;
    task->outcome = *outcome;
    atomic_fetch_add(&ended, 1);
    task_unref(task);
}

static void on_progress(void *arg, struct task *task, double fraction)
{
    (void)arg;
    (void)task;
    atomic_fetch_add(&told, 1);
    if (!(fraction >= 0 && fraction <= 1))
        atomic_store(&told_wrong, 1);
}

static void create_pool(unsigned threads)
{
    struct task_pool_config config = {
        .name = "test-pool",
        .threads = threads,
        .capacity = MANY + 10,
        .result_max_bytes = 1024,
        .end = on_end,
        .progress = on_progress,
    };
    struct err err = {0};

    atomic_store(&ended, 0);
    atomic_store(&told, 0);
    atomic_store(&watching, 0);
    pending.aborted = pending.released = 0;
    if (task_pool_create(&config, &pool, &err) != 0)
        fail_msg("%s", err.text);
}

static void start_pool(unsigned threads)
{
    struct err err = {0};

    create_pool(threads);
    if (task_pool_start(pool, &err) != 0)
        fail_msg("%s", err.text);
}

static void free_pool(void)
{
    task_pool_stop(pool);
    task_pool_free(pool);
    assert_int_equal(metric_of(TASK_METRIC_SLEEPING, 0, 0), 0);
}

/* ---- tasks ---- */

static void push(struct task *task)
{
    struct task_list list = TAILQ_HEAD_INITIALIZER(list);

    task->status.state = TASK_STATE_RUNNING;
    task->status.attempts = 1;
    task_ref(task);
    TAILQ_INSERT_TAIL(&list, task, in_list);
    task_pool_push(pool, &list);
    assert_true(TAILQ_EMPTY(&list));
}

static struct task *push_with(const struct task_kind *kind, const char *payload, uint64_t timeout_ms)
{
    struct task *task = new_task(kind, payload);

    task->spec.timeout_ms = timeout_ms;
    push(task);
    return task;
}

static struct task *push_new(int kind)
{
    return push_with(&kinds[kind], "{}", 0);
}

static struct task *push_sleep(double seconds)
{
    char payload[96];

    snprintf(payload, sizeof(payload), "{\"message\": \"good night\", \"duration\": %.6f}", seconds);
    return push_with(&kind_sleep, payload, 0);
}

static void forget(struct task *task)
{
    free(task->outcome.result);
    free(task->outcome.error);
    task_unref(task);
}

static void expect(struct task *task, enum task_outcome_type type, const char *text)
{
    const char *said = task->outcome.result ? task->outcome.result : task->outcome.error;

    assert_int_equal(task->outcome.type, type);
    if (text) {
        assert_non_null(said);
        assert_string_equal(said, text);
    }
    forget(task);
}

static bool all_sleep(void *arg)
{
    return metric_of(TASK_METRIC_SLEEPING, 0, 0) == *(int *)arg;
}

static void wait_for_sleepers(int count)
{
    wait_until(all_sleep, &count);
}

/* ---- what comes out ---- */

static void a_step_that_is_done_gives_its_result(void **state)
{
    (void)state;
    start_pool(2);
    struct task *task = push_with(&kinds[OK], "{\"text\":\"gr\xc3\xbc\xc3\x9f\"}", 0);
    wait_for_count(&ended, 1);
    expect(task, TASK_OUTCOME_SUCCEEDED, "{\"echo\":{\"text\":\"gr\xc3\xbc\xc3\x9f\"},\"attempt\":1}");
    free_pool();
}

static void a_step_that_fails_says_how(void **state)
{
    (void)state;
    start_pool(1);
    struct task *task = push_with(&kinds[FAIL], "{\"after_ms\": 1500}", 0);
    struct task *final = push_with(&kinds[FAIL], "{\"is_final\": true}", 0);
    wait_for_count(&ended, 2);
    assert_false(task->outcome.is_final);
    assert_int_equal(task->outcome.retry_after_ms, 1500);
    assert_true(final->outcome.is_final);
    assert_int_equal(final->outcome.retry_after_ms, 0);
    expect(task, TASK_OUTCOME_FAILED, "no luck with attempt 1");
    expect(final, TASK_OUTCOME_FAILED, "no luck with attempt 1");
    free_pool();
}

static void a_result_that_is_too_long_is_an_error_for_good(void **state)
{
    (void)state;
    start_pool(1);
    struct task *task = push_new(LONG_RESULT);
    wait_for_count(&ended, 1);
    assert_true(task->outcome.is_final);
    assert_null(task->outcome.result);
    expect(task, TASK_OUTCOME_FAILED, "the result has 4097 bytes, more than tasks.max_result (1024)");
    free_pool();
}

static void bugs_in_kinds_end_their_own_tasks_only(void **state)
{
    enum { ROUNDS = 3 };
    struct task *tasks[ROUNDS][KIND_COUNT];
    int64_t faults = metric_of(TASK_METRIC_FAULTS, 0, 0);
    (void)state;

    start_pool(2);
    for (int round = 0; round < ROUNDS; round++)
        for (int kind = FIRST_BROKEN; kind < KIND_COUNT; kind++)
            tasks[round][kind] = push_new(kind);
    struct task *last = push_new(OK);
    wait_for_count(&ended, ROUNDS * (KIND_COUNT - FIRST_BROKEN) + 1);
    for (int round = 0; round < ROUNDS; round++)
        for (int kind = FIRST_BROKEN; kind < KIND_COUNT; kind++) {
            expect_bug_error(kind, tasks[round][kind]->outcome.error);
            assert_int_equal(tasks[round][kind]->outcome.is_final, kind != UNTERMINATED_ERROR);
            expect(tasks[round][kind], TASK_OUTCOME_FAILED, NULL);
        }
    expect(last, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
    /* All of them but the one that only forgot to end its text. */
    assert_int_equal(metric_of(TASK_METRIC_FAULTS, 0, 0) - faults, ROUNDS * (KIND_COUNT - FIRST_BROKEN - 1));
}

/* ---- waiting ---- */

static void a_task_that_waits_is_called_again_in_the_same_attempt(void **state)
{
    (void)state;
    start_pool(2);
    struct task *task = push_new(NAPS);
    wait_for_count(&ended, 1);
    expect(task, TASK_OUTCOME_SUCCEEDED, "{\"echo\":{},\"attempt\":1}");
    free_pool();
}

static void an_earlier_sleeper_overtakes_a_later_one(void **state)
{
    (void)state;
    start_pool(1);
    struct task *late = push_new(SLEEP_FAR);
    wait_for_sleepers(1);
    struct task *early = push_sleep(0.001);
    wait_for_count(&ended, 1);
    expect(early, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
    expect(late, TASK_OUTCOME_BROKEN_OFF, NULL);
}

static void ten_thousand_sleep_at_once_and_hold_no_thread(void **state)
{
    static struct task *tasks[MANY];
    (void)state;

    start_pool(2);
    for (unsigned i = 0; i < MANY; i++)
        tasks[i] = push_new(SLEEP_FAR);
    wait_for_sleepers(MANY);
    struct task *task = push_new(OK);
    wait_for_count(&ended, 1);
    expect(task, TASK_OUTCOME_SUCCEEDED, NULL);
    assert_int_equal(task_pool_drain(pool, in_ms(PATIENCE_MS)), MANY);
    task_pool_stop(pool);
    for (unsigned i = 0; i < MANY; i++)
        expect(tasks[i], TASK_OUTCOME_BROKEN_OFF, NULL);
    free_pool();
}

static void ten_thousand_sleepers_all_finish(void **state)
{
    static struct task *tasks[MANY];
    (void)state;

    start_pool(2);
    for (unsigned i = 0; i < MANY; i++)
        tasks[i] = push_sleep(0.001 * (i * 7919 % 200));
    wait_for_count(&ended, MANY);
    for (unsigned i = 0; i < MANY; i++)
        expect(tasks[i], TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

static void a_sleeper_wakes_while_another_thread_is_blocked(void **state)
{
    (void)state;
    start_pool(2);
    /* Whichever thread watches the time: one of them is taken away from it. */
    for (unsigned round = 1; round <= 5; round++) {
        gate_set(false);
        struct task *asleep = push_sleep(0.005);
        struct task *gated = push_new(GATE);
        gate_wait_for(1);
        wait_for_count(&ended, 2 * round - 1);
        expect(asleep, TASK_OUTCOME_SUCCEEDED, NULL);
        gate_set(true);
        wait_for_count(&ended, 2 * round);
        expect(gated, TASK_OUTCOME_SUCCEEDED, NULL);
    }
    free_pool();
}

static void time_is_watched_when_its_watcher_is_blocked(void **state)
{
    struct task *gated[2];
    (void)state;

    start_pool(3);
    gate_set(false);
    for (size_t i = 0; i < ARRAY_LEN(gated); i++)
        gated[i] = push_new(NAP_THEN_GATE);
    struct task *asleep = push_sleep(0.03);
    gate_wait_for(2);
    wait_for_count(&ended, 1);
    expect(asleep, TASK_OUTCOME_SUCCEEDED, NULL);
    gate_set(true);
    wait_for_count(&ended, 3);
    for (size_t i = 0; i < ARRAY_LEN(gated); i++)
        expect(gated[i], TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

static void threads_work_side_by_side(void **state)
{
    struct task *gated[5];
    (void)state;

    start_pool(3);
    /* One thread watches the time: it has to join in as well. */
    struct task *asleep = push_new(SLEEP_FAR);
    wait_for_sleepers(1);
    gate_set(false);
    for (size_t i = 0; i < ARRAY_LEN(gated); i++)
        gated[i] = push_new(GATE);
    gate_wait_for(3);
    assert_int_equal(gate_inside_max(), 3);
    gate_set(true);
    assert_int_equal(task_pool_drain(pool, in_ms(PATIENCE_MS)), 1);
    for (size_t i = 0; i < ARRAY_LEN(gated); i++)
        expect(gated[i], TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
    expect(asleep, TASK_OUTCOME_BROKEN_OFF, NULL);
}

/* ---- pending ---- */

static void a_pending_task_goes_on_when_it_is_resumed(void **state)
{
    struct task *tasks[20];
    (void)state;

    start_pool(1);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        tasks[i] = push_new(PENDING);
    wait_for_pending(ARRAY_LEN(tasks)); /* none of them holds the thread */
    struct task *other = push_new(OK);
    wait_for_count(&ended, 1);
    expect(other, TASK_OUTCOME_SUCCEEDED, NULL);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        resume_first_pending();
    wait_for_count(&ended, 1 + ARRAY_LEN(tasks));
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        expect(tasks[i], TASK_OUTCOME_SUCCEEDED, "{\"resumed\":true}");
    assert_int_equal(pending.released, ARRAY_LEN(tasks));
    assert_int_equal(count_aborted(), 0);
    free_pool();
}

static void a_task_may_be_resumed_before_its_step_returns(void **state)
{
    struct task *tasks[100];
    (void)state;

    start_pool(2);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        tasks[i] = push_new(RESUMED_EARLY);
    wait_for_count(&ended, ARRAY_LEN(tasks));
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        expect(tasks[i], TASK_OUTCOME_SUCCEEDED, NULL);
    assert_int_equal(pending.released, ARRAY_LEN(tasks));
    free_pool();
}

/* ---- the end from outside ---- */

static void a_task_is_stopped_before_its_first_step(void **state)
{
    (void)state;
    start_pool(1);
    gate_set(false);
    struct task *gated = push_new(GATE);
    gate_wait_for(1);
    struct task *task = push_new(NULL_POINTER); /* a step would be noticed */
    task_pool_stop_task(task, TASK_STOP_CANCEL);
    gate_set(true);
    wait_for_count(&ended, 2);
    expect(gated, TASK_OUTCOME_SUCCEEDED, NULL);
    expect(task, TASK_OUTCOME_CANCELLED, NULL);
    free_pool();
}

static void a_task_is_stopped_while_it_waits(void **state)
{
    (void)state;
    start_pool(1);
    struct task *task = push_new(SLEEP_FAR);
    wait_for_sleepers(1);
    task_pool_stop_task(task, TASK_STOP_CANCEL);
    wait_for_count(&ended, 1);
    task_pool_stop_task(task, TASK_STOP_CANCEL); /* it has ended: nothing happens */
    expect(task, TASK_OUTCOME_CANCELLED, NULL);
    free_pool();
}

static void a_pending_task_is_aborted_once(void **state)
{
    (void)state;
    start_pool(1);
    set_aborts_resume(false);
    struct task *task = push_new(PENDING);
    wait_for_pending(1);
    task_pool_stop_task(task, TASK_STOP_CANCEL);
    task_pool_stop_task(task, TASK_STOP_CANCEL);
    task_pool_stop_task(task, TASK_STOP_SHUTDOWN);
    set_aborts_resume(true);
    resume_first_pending();
    wait_for_count(&ended, 1);
    expect(task, TASK_OUTCOME_CANCELLED, NULL); /* the first reason counts */
    assert_int_equal(count_aborted(), 1);
    assert_int_equal(pending.released, 1);
    free_pool();
}

static void a_step_that_runs_is_told_to_stop_and_the_next_one_is_not(void **state)
{
    (void)state;
    start_pool(1);
    for (unsigned round = 1; round <= 3; round++) {
        struct task *task = push_new(UNTIL_STOP);
        wait_for_count(&watching, 2 * round - 1);
        struct task *next = push_new(UNTIL_STOP);
        task_pool_stop_task(task, TASK_STOP_CANCEL);
        wait_for_count(&watching, 2 * round);
        expect(task, TASK_OUTCOME_CANCELLED, NULL);
        task_pool_stop_task(next, TASK_STOP_CANCEL);
        wait_for_count(&ended, 2 * round);
        expect(next, TASK_OUTCOME_CANCELLED, NULL); /* else it had failed: nobody has told it */
    }
    free_pool();
}

static void a_step_that_finishes_all_the_same_has_finished(void **state)
{
    (void)state;
    start_pool(1);
    struct task *task = push_new(STUBBORN);
    wait_for_count(&watching, 1);
    task_pool_stop_task(task, TASK_STOP_CANCEL);
    wait_for_count(&ended, 1);
    expect(task, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

/* ---- deadlines ---- */

#define TIMED_OUT "not done within its timeout of 20ms"

static void a_deadline_ends_a_task_wherever_it_is(void **state)
{
    static const int asleep_or_in_hand[] = {SLEEP_FAR, PENDING, UNTIL_MUST_STOP};
    (void)state;

    start_pool(1);
    for (unsigned i = 0; i < ARRAY_LEN(asleep_or_in_hand); i++) {
        struct task *task = push_with(&kinds[asleep_or_in_hand[i]], "{}", 20);
        wait_for_count(&ended, i + 1);
        assert_true(clock_now_ns() >= task->deadline_ns);
        assert_false(task->outcome.is_final);
        expect(task, TASK_OUTCOME_FAILED, TIMED_OUT);
    }
    assert_int_equal(count_aborted(), 1);
    free_pool();
}

static void a_deadline_that_passes_before_the_first_step_counts(void **state)
{
    (void)state;
    start_pool(1);
    gate_set(false);
    struct task *gated = push_new(GATE);
    gate_wait_for(1);
    struct task *task = push_with(&kinds[UNTIL_MUST_STOP], "{}", 20);
    while (clock_now_ns() < task->deadline_ns)
        usleep(1000);
    gate_set(true);
    wait_for_count(&ended, 2);
    expect(gated, TASK_OUTCOME_SUCCEEDED, NULL);
    expect(task, TASK_OUTCOME_FAILED, TIMED_OUT);
    free_pool();
}

static void a_task_that_is_done_before_its_deadline_is_left_alone(void **state)
{
    (void)state;
    start_pool(1);
    struct task *naps = push_with(&kinds[NAPS], "{}", PATIENCE_MS);
    struct task *task = push_with(&kinds[PENDING], "{}", PATIENCE_MS);
    wait_for_pending(1);
    resume_first_pending();
    wait_for_count(&ended, 2);
    expect(naps, TASK_OUTCOME_SUCCEEDED, NULL);
    expect(task, TASK_OUTCOME_SUCCEEDED, NULL);
    assert_int_equal(task_pool_drain(pool, 0), 0);
    free_pool();
}

/* ---- progress ---- */

static void progress_is_told_now_and_then(void **state)
{
    (void)state;
    start_pool(1);
    struct task *task = push_new(PROGRESS);
    wait_for_count(&ended, 1);
    uint64_t elapsed_ms = (clock_now_ns() - task->started_ns) / NS_PER_MS;
    assert_in_range(atomic_load(&told), 1, 1 + elapsed_ms / 100);
    assert_false(atomic_load(&told_wrong));
    expect(task, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

/* ---- drain and stop ---- */

static void drain_waits_for_those_who_can_end_in_time(void **state)
{
    uint64_t deadline_ns = in_ms(PATIENCE_MS);
    (void)state;

    start_pool(2);
    struct task *far = push_new(SLEEP_FAR);
    struct task *near = push_sleep(0.01);
    struct task *naps = push_new(NAPS);
    assert_int_equal(task_pool_drain(pool, deadline_ns), 1);
    assert_true(clock_now_ns() < deadline_ns);
    expect(near, TASK_OUTCOME_SUCCEEDED, NULL);
    expect(naps, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
    expect(far, TASK_OUTCOME_BROKEN_OFF, NULL);
}

static void drain_gives_up_at_its_deadline(void **state)
{
    (void)state;
    start_pool(1);
    gate_set(false);
    struct task *gated = push_new(GATE);
    struct task *behind = push_new(OK);
    gate_wait_for(1);
    assert_int_equal(task_pool_drain(pool, in_ms(1)), 2);
    assert_int_equal(task_pool_drain(pool, 0), 2);
    gate_set(true);
    assert_int_equal(task_pool_drain(pool, in_ms(PATIENCE_MS)), 0);
    expect(gated, TASK_OUTCOME_SUCCEEDED, NULL);
    expect(behind, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

static void drain_waits_for_a_pending_task(void **state)
{
    (void)state;
    start_pool(1);
    struct task *task = push_new(PENDING);
    wait_for_pending(1);
    assert_int_equal(task_pool_drain(pool, in_ms(1)), 1);
    resume_first_pending();
    assert_int_equal(task_pool_drain(pool, in_ms(PATIENCE_MS)), 0);
    expect(task, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

static void *stop_pool(void *arg)
{
    (void)arg;
    task_pool_stop(pool);
    return NULL;
}

static bool has_stopped_others(void *arg)
{
    struct task *task = arg;

    return atomic_load(&task->stop) != TASK_STOP_NONE;
}

static void stop_ends_everything_wherever_it_is(void **state)
{
    enum { EACH = 50 };
    struct task *asleep[EACH], *pended[EACH], *queued[EACH];
    pthread_t stopper;
    (void)state;

    start_pool(3);
    for (unsigned i = 0; i < EACH; i++) {
        asleep[i] = push_new(SLEEP_FAR);
        pended[i] = push_new(PENDING);
    }
    wait_for_sleepers(EACH);
    wait_for_pending(EACH);
    gate_set(false);
    struct task *gated = push_new(GATE);
    struct task *in_hand = push_new(UNTIL_STOP);
    struct task *stubborn = push_new(STUBBORN);
    gate_wait_for(1);
    wait_for_count(&watching, 2);
    for (unsigned i = 0; i < EACH; i++)
        queued[i] = push_new(NULL_POINTER);
    start(&stopper, stop_pool, NULL);
    wait_until(has_stopped_others, queued[EACH - 1]);
    gate_set(true);
    thread_join(stopper);
    assert_int_equal(atomic_load(&ended), 3 * EACH + 3);
    for (unsigned i = 0; i < EACH; i++) {
        expect(asleep[i], TASK_OUTCOME_BROKEN_OFF, NULL);
        expect(pended[i], TASK_OUTCOME_BROKEN_OFF, NULL);
        expect(queued[i], TASK_OUTCOME_BROKEN_OFF, NULL);
    }
    assert_int_equal(pending.released, EACH);
    expect(gated, TASK_OUTCOME_SUCCEEDED, NULL);
    expect(in_hand, TASK_OUTCOME_BROKEN_OFF, NULL);
    expect(stubborn, TASK_OUTCOME_SUCCEEDED, NULL);
    free_pool();
}

static void a_pool_that_never_started_ends_what_it_has(void **state)
{
    struct task *tasks[3];
    (void)state;

    task_pool_free(NULL);
    create_pool(2);
    task_pool_free(pool);
    create_pool(2);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        tasks[i] = push_new(OK);
    assert_int_equal(task_pool_drain(pool, in_ms(PATIENCE_MS)), 3);
    task_pool_stop(pool);
    task_pool_stop(pool);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        expect(tasks[i], TASK_OUTCOME_BROKEN_OFF, NULL);
    free_pool();
}

/* ---- all at once ---- */

enum { CROWD = 4, PER_MEMBER = 400 };

static void *push_and_stop(void *arg)
{
    static const int mix[] = {OK, NAPS, SLEEP_FAR, RESUMED_EARLY, PENDING, FAIL};
    struct task *tasks[PER_MEMBER];
    unsigned seed = *(unsigned *)arg;

    for (unsigned i = 0; i < PER_MEMBER; i++) {
        tasks[i] = push_with(&kinds[mix[(i + seed) % ARRAY_LEN(mix)]], "{}", i % 7 == 0 ? 1 : 0);
        if (i % 3 == 0)
            task_pool_stop_task(tasks[i / 2], TASK_STOP_CANCEL);
    }
    for (unsigned i = 0; i < PER_MEMBER; i++)
        task_pool_stop_task(tasks[i], TASK_STOP_CANCEL);
    wait_for_count(&ended, CROWD * PER_MEMBER);
    for (unsigned i = 0; i < PER_MEMBER; i++)
        forget(tasks[i]);
    return NULL;
}

static void many_push_and_stop_at_the_same_time(void **state)
{
    pthread_t threads[CROWD];
    unsigned seeds[CROWD];
    (void)state;

    start_pool(3);
    for (unsigned i = 0; i < CROWD; i++) {
        seeds[i] = i;
        start(&threads[i], push_and_stop, &seeds[i]);
    }
    for (unsigned i = 0; i < CROWD; i++)
        thread_join(threads[i]);
    assert_int_equal(count_pending(), 0);
    free_pool();
}

static int set_up(void **state)
{
    (void)state;
    task_kinds_init();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    task_kinds_done();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_that_is_done_gives_its_result),
        cmocka_unit_test(a_step_that_fails_says_how),
        cmocka_unit_test(a_result_that_is_too_long_is_an_error_for_good),
        cmocka_unit_test(bugs_in_kinds_end_their_own_tasks_only),
        cmocka_unit_test(a_task_that_waits_is_called_again_in_the_same_attempt),
        cmocka_unit_test(an_earlier_sleeper_overtakes_a_later_one),
        cmocka_unit_test(ten_thousand_sleep_at_once_and_hold_no_thread),
        cmocka_unit_test(ten_thousand_sleepers_all_finish),
        cmocka_unit_test(a_sleeper_wakes_while_another_thread_is_blocked),
        cmocka_unit_test(time_is_watched_when_its_watcher_is_blocked),
        cmocka_unit_test(threads_work_side_by_side),
        cmocka_unit_test(a_pending_task_goes_on_when_it_is_resumed),
        cmocka_unit_test(a_task_may_be_resumed_before_its_step_returns),
        cmocka_unit_test(a_task_is_stopped_before_its_first_step),
        cmocka_unit_test(a_task_is_stopped_while_it_waits),
        cmocka_unit_test(a_pending_task_is_aborted_once),
        cmocka_unit_test(a_step_that_runs_is_told_to_stop_and_the_next_one_is_not),
        cmocka_unit_test(a_step_that_finishes_all_the_same_has_finished),
        cmocka_unit_test(a_deadline_ends_a_task_wherever_it_is),
        cmocka_unit_test(a_deadline_that_passes_before_the_first_step_counts),
        cmocka_unit_test(a_task_that_is_done_before_its_deadline_is_left_alone),
        cmocka_unit_test(progress_is_told_now_and_then),
        cmocka_unit_test(drain_waits_for_those_who_can_end_in_time),
        cmocka_unit_test(drain_gives_up_at_its_deadline),
        cmocka_unit_test(drain_waits_for_a_pending_task),
        cmocka_unit_test(stop_ends_everything_wherever_it_is),
        cmocka_unit_test(a_pool_that_never_started_ends_what_it_has),
        cmocka_unit_test(many_push_and_stop_at_the_same_time),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("pool", tests, set_up, tear_down);
}
