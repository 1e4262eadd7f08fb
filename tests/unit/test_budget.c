#include "harness.h"

#include "base/budget.h"

static void what_does_not_fit_takes_nothing(void **state)
{
    struct budget budget;
    (void)state;

    budget_init(&budget, NULL, 100);
    assert_true(budget_take(&budget, 60));
    assert_false(budget_take(&budget, 41));
    assert_false(budget_take(&budget, SIZE_MAX));
    assert_int_equal(budget.used, 60);
    assert_true(budget_take(&budget, 40));
    assert_true(budget_take(&budget, 0));
    assert_false(budget_take(&budget, 1));
    budget_give(&budget, 100);
    assert_int_equal(budget.used, 0);
}

static void a_budget_is_a_part_of_those_above_it(void **state)
{
    struct budget process;
    struct budget listener;
    struct budget request;
    (void)state;

    budget_init(&process, NULL, 50);
    budget_init(&listener, &process, 1000);
    budget_init(&request, &listener, 40);
    assert_true(budget_take(&process, 20));
    assert_true(budget_take(&request, 30));
    assert_int_equal(process.used, 50);
    assert_int_equal(listener.used, 30);
    assert_false(budget_take(&request, 1)); /* the process has no more, and the two below it are put back */
    assert_int_equal(request.used, 30);
    assert_int_equal(listener.used, 30);
    budget_give(&request, 30);
    assert_int_equal(process.used, 20);
    assert_false(budget_take(&request, 31)); /* the process again */
    assert_true(budget_take(&request, 30));
    budget_give(&request, 30);
    budget_give(&process, 20);
    assert_int_equal(request.used + listener.used + process.used, 0);
}

static void no_budget_allows_everything(void **state)
{
    (void)state;

    assert_true(budget_take(NULL, SIZE_MAX));
    budget_give(NULL, SIZE_MAX);
}

/* ---- by many at once ---- */

#define THREADS 4
#define ROUNDS  20000

static struct budget shared;
static atomic_size_t held;
static atomic_size_t most_held;

static void *take_and_give(void *arg)
{
    struct budget own;

    (void)arg;
    budget_init(&own, &shared, 1000);
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t bytes = 1 + i % 40;
        if (!budget_take(&own, bytes))
            continue;
        size_t now = atomic_fetch_add(&held, bytes) + bytes;
        size_t most = atomic_load(&most_held);
        while (now > most && !atomic_compare_exchange_weak(&most_held, &most, now))
            continue;
        atomic_fetch_sub(&held, bytes);
        budget_give(&own, bytes);
    }
    assert_int_equal(own.used, 0);
    return NULL;
}

static void it_is_never_overdrawn(void **state)
{
    pthread_t threads[THREADS];
    (void)state;

    budget_init(&shared, NULL, 60);
    for (size_t i = 0; i < THREADS; i++)
        start(&threads[i], take_and_give, NULL);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    assert_in_range(most_held, 1, 60);
    assert_int_equal(shared.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_takes_nothing),
        cmocka_unit_test(a_budget_is_a_part_of_those_above_it),
        cmocka_unit_test(no_budget_allows_everything),
        cmocka_unit_test(it_is_never_overdrawn),
    };

    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
