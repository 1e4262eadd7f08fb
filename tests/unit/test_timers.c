#include "harness.h"

#include "base/timers.h"

static struct timers *timers;
static atomic_uint called;

static int setup(void **state)
{
    (void)state;
    atomic_store(&called, 0);
    return timers_create(&timers, NULL) < 0 || timers_start(timers, "test-timers", NULL) < 0;
}

static int teardown(void **state)
{
    (void)state;
    timers_stop(timers);
    timers_free(timers);
    return 0;
}

static void count(struct timer *timer)
{
    (void)timer;
    atomic_fetch_add(&called, 1);
}

/* ---- order ---- */

struct numbered {
    struct timer timer;
    unsigned number;
};

#define COUNT 300

static unsigned order[COUNT];

static void note(struct timer *timer)
{
    order[atomic_load(&called)] = container_of(timer, struct numbered, timer)->number;
    atomic_fetch_add(&called, 1);
}

static void functions_are_called_in_the_order_of_their_times(void **state)
{
    static struct numbered entries[COUNT];
    uint64_t start_ns = in_ms(20);
    (void)state;

    for (unsigned i = 0; i < COUNT; i++) {
        entries[i].number = i * 7 % COUNT;
        timer_set(timers, &entries[i].timer, start_ns + entries[i].number * NS_PER_US, note);
    }
    wait_for_count(&called, COUNT);
    assert_true(clock_now_ns() >= start_ns + (COUNT - 1) * NS_PER_US);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(order[i], i);
}

static void a_time_that_has_passed_is_at_once(void **state)
{
    struct timer entries[2] = {{0}};
    (void)state;

    timer_set(timers, &entries[0], 0, count);
    timer_set(timers, &entries[1], clock_now_ns(), count);
    wait_for_count(&called, 2);
}

static void an_earlier_timer_does_not_wait_for_a_later_one(void **state)
{
    struct timer late = {0};
    struct timer never = {0};
    struct timer early = {0};
    (void)state;

    timer_set(timers, &never, CLOCK_NEVER, count);
    timer_set(timers, &late, in_ms(3600000), count);
    timer_set(timers, &early, in_ms(1), count);
    wait_for_count(&called, 1);
    assert_true(timer_cancel(timers, &late));
    assert_true(timer_cancel(timers, &never));
    assert_int_equal(atomic_load(&called), 1);
}

/* ---- cancelling ---- */

static void a_cancelled_timer_is_not_called(void **state)
{
    struct timer entries[3] = {{0}};
    (void)state;

    for (unsigned i = 0; i < 3; i++)
        timer_set(timers, &entries[i], in_ms(3600000 + i), count);
    assert_true(timer_cancel(timers, &entries[0]));
    assert_false(timer_cancel(timers, &entries[0])); /* it is not set any more */
    timer_set(timers, &entries[0], in_ms(1), count); /* and may be set again */
    wait_for_count(&called, 1);
    assert_false(timer_cancel(timers, &entries[0]));
    assert_true(timer_cancel(timers, &entries[2]));
    assert_true(timer_cancel(timers, &entries[1]));
    assert_int_equal(atomic_load(&called), 1);
}

static void a_timer_that_was_never_set_cannot_be_cancelled(void **state)
{
    struct timer timer = {0};
    (void)state;

    assert_false(timer_cancel(timers, &timer));
}

static void set_again_twice(struct timer *timer)
{
    if (atomic_fetch_add(&called, 1) < 2)
        timer_set(timers, timer, clock_now_ns() + NS_PER_MS, set_again_twice);
}

static void a_function_may_set_its_timer_again(void **state)
{
    struct timer timer = {0};
    (void)state;

    timer_set(timers, &timer, in_ms(1), set_again_twice);
    wait_for_count(&called, 3);
}

/* ---- by many at once: each timer is either cancelled or called ---- */

#define THREADS 3
#define ROUNDS  1000

struct user {
    struct timer timer;
    atomic_bool is_called;
    unsigned cancelled;
};

static void mark(struct timer *timer)
{
    atomic_fetch_add(&called, 1);
    atomic_store(&container_of(timer, struct user, timer)->is_called, true);
}

static bool was_called(void *arg)
{
    return atomic_load(&((struct user *)arg)->is_called);
}

static void *set_and_cancel(void *arg)
{
    struct user *user = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        atomic_store(&user->is_called, false);
        timer_set(timers, &user->timer, clock_now_ns() + i % 5 * 10 * NS_PER_US, mark);
        if (i % 7 == 0)
            wait_until(was_called, user);
        if (timer_cancel(timers, &user->timer))
            user->cancelled++;
        else
            wait_until(was_called, user);
    }
    return NULL;
}

static void a_timer_is_either_cancelled_or_called(void **state)
{
    static struct user users[THREADS];
    pthread_t threads[THREADS];
    unsigned cancelled = 0;
    (void)state;

    for (size_t i = 0; i < THREADS; i++)
        start(&threads[i], set_and_cancel, &users[i]);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    for (size_t i = 0; i < THREADS; i++)
        cancelled += users[i].cancelled;
    assert_int_equal(cancelled + atomic_load(&called), THREADS * ROUNDS);
}

/* ---- the end ---- */

static void what_is_left_when_they_stop_is_not_called(void **state)
{
    struct timer left = {0};
    struct timer later = {0};
    (void)state;

    timer_set(timers, &left, in_ms(3600000), count);
    timers_stop(timers);
    timers_stop(timers);
    timer_set(timers, &later, 0, count);
    assert_true(timer_cancel(timers, &left));
    assert_true(timer_cancel(timers, &later));
    assert_int_equal(atomic_load(&called), 0);
}

static void those_that_never_started_can_be_freed(void **state)
{
    struct timers *others = NULL;
    (void)state;

    assert_int_equal(timers_create(&others, NULL), 0);
    timers_stop(others);
    timers_free(others);
    timers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(functions_are_called_in_the_order_of_their_times, setup, teardown),
        cmocka_unit_test_setup_teardown(a_time_that_has_passed_is_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(an_earlier_timer_does_not_wait_for_a_later_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_timer_is_not_called, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_that_was_never_set_cannot_be_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_function_may_set_its_timer_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_is_either_cancelled_or_called, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_left_when_they_stop_is_not_called, setup, teardown),
        cmocka_unit_test(those_that_never_started_can_be_freed),
    };

    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
