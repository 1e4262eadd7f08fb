/* The fan-out against the mock upstream: order, concurrency, cancels at every moment. */
#include "harness.h"

#include <curl/curl.h>

#include "base/log.h"
#include "gather/gather.h"

#define PARTS_MAX 200

static struct mock mock;
static bool has_mock;

#define NEED_MOCK()                                                                                          \
    do {                                                                                                     \
        (void)state;                                                                                         \
        if (!has_mock)                                                                                       \
            skip();                                                                                          \
    } while (0)

struct fan {
    struct config *config;
    struct fetch_pool *pool;
    struct fetch_target *targets[PARTS_MAX];
    size_t count;
};

static void fan_add(struct fan *fan, const char *path)
{
    struct err err = {0};
    char url[256];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", mock.port, path);
    if (fetch_target_create(url, &fan->targets[fan->count++], &err) < 0)
        fail_msg("%s", err.text);
}

static void fan_start(struct fan *fan, size_t count, const char *path)
{
    struct err err = {0};

    *fan = (struct fan){.config = config_of("fetch: {workers: 2, timeout: 1m}")};
    for (size_t i = 0; i < count; i++)
        fan_add(fan, path);
    if (fetch_pool_create(fan->config, &fan->pool, &err) < 0 || fetch_pool_start(fan->pool, &err) < 0)
        fail_msg("%s", err.text);
}

static void fan_end(struct fan *fan)
{
    fetch_pool_stop(fan->pool);
    fetch_pool_free(fan->pool);
    for (size_t i = 0; i < fan->count; i++)
        fetch_target_free(fan->targets[i]);
    config_free(fan->config);
}

/* One gather and how often it was done. */
struct run {
    struct gather *gather;
    atomic_uint done;
    atomic_uint parts_ended;
    atomic_bool is_wrong;
};

static void on_part_ended(void *arg)
{
    struct run *run = arg;

    atomic_fetch_add(&run->parts_ended, 1);
    if (atomic_load(&run->done) > 0)
        atomic_store(&run->is_wrong, true);
}

static void on_done(struct gather *gather, void *arg)
{
    struct run *run = arg;

    if (gather != run->gather)
        atomic_store(&run->is_wrong, true);
    atomic_fetch_add(&run->done, 1);
}

static void run_create(struct run *run, struct fan *fan, unsigned max_concurrency)
{
    struct gather_options options = {
        .pool = fan->pool,
        .targets = fan->targets,
        .count = fan->count,
        .max_concurrency = max_concurrency,
        .keep_max_bytes = 100,
        .part_ended = on_part_ended,
        .done = on_done,
        .arg = run,
    };
    struct err err = {0};

    *run = (struct run){0};
    if (gather_create(&options, &run->gather, &err) < 0)
        fail_msg("%s", err.text);
}

static size_t count_reason(const struct run *run, enum fetch_reason reason)
{
    size_t count = 0;

    for (size_t i = 0; i < gather_count(run->gather); i++)
        count += gather_result(run->gather, i)->reason == reason;
    return count;
}

/* Each part ended once, which was told of those that had been started, and `done` was called once. */
static void run_end(struct run *run)
{
    size_t started = 0;

    wait_for_count(&run->done, 1);
    for (size_t i = 0; i < gather_count(run->gather); i++) {
        started += strcmp(gather_result(run->gather, i)->error, "cancelled before it began") != 0;
        assert_non_null(gather_result(run->gather, i));
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(gather_result(run->gather, i), gather_result(run->gather, j));
    }
    assert_int_equal(atomic_load(&run->parts_ended), started);
    assert_ptr_equal(gather_arg(run->gather), run);
    assert_int_equal(atomic_load(&run->done), 1);
    assert_false(atomic_load(&run->is_wrong));
    gather_unref(run->gather);
}

static void results_come_in_the_order_of_their_ends(void **state)
{
    static const char *const paths[] = {"/?delay=300&body=3", "/?delay=1&body=1", "/?delay=150&body=2"};
    struct fan fan;
    struct run run;
    NEED_MOCK();

    fan_start(&fan, 0, "");
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        fan_add(&fan, paths[i]);
    run_create(&run, &fan, 0);
    gather_start(run.gather);
    wait_for_count(&run.done, 1);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const struct fetch *part = gather_result(run.gather, i);
        assert_int_equal(part->reason, FETCH_OK);
        assert_int_equal(part->body.size, 1);
        assert_int_equal(part->body.data[0], '1' + (int)i);
    }
    run_end(&run);
    fan_end(&fan);
}

static void nothing_to_fetch_is_done_at_once(void **state)
{
    struct fan fan;
    struct run run;
    (void)state;

    fan_start(&fan, 0, "");
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        run_create(&run, &fan, 5);
        if (cancelled)
            gather_cancel(run.gather);
        gather_start(run.gather);
        assert_int_equal(atomic_load(&run.done), 1);
        gather_cancel(run.gather);
        run_end(&run);
    }
    fan_end(&fan);
}

static void a_part_that_fails_is_a_result_like_others(void **state)
{
    struct fan fan;
    struct run run;
    NEED_MOCK();

    fan_start(&fan, 5, "/");
    fan_add(&fan, "/?status=500");
    fan_add(&fan, "/?hangup=before");
    run_create(&run, &fan, 0);
    gather_start(run.gather);
    wait_for_count(&run.done, 1);
    assert_int_equal(count_reason(&run, FETCH_OK), 5);
    assert_int_equal(count_reason(&run, FETCH_HTTP_STATUS), 1);
    assert_int_equal(count_reason(&run, FETCH_PROTOCOL), 1);
    run_end(&run);
    fan_end(&fan);
}

/* ---- concurrency: the mock counts the most requests it had at the same time ---- */

static unsigned long mock_max_in_flight(struct fan *fan)
{
    struct fan ask = {.pool = fan->pool};
    struct run run;
    unsigned long max = 0;

    fan_add(&ask, "/_stats");
    struct gather_options options = {.pool = fan->pool,
                                     .targets = ask.targets,
                                     .count = 1,
                                     .keep_max_bytes = 4096,
                                     .part_ended = on_part_ended,
                                     .done = on_done,
                                     .arg = &run};
    run = (struct run){0};
    assert_int_equal(gather_create(&options, &run.gather, NULL), 0);
    gather_start(run.gather);
    wait_for_count(&run.done, 1);
    const struct fetch *part = gather_result(run.gather, 0);
    const char *at = memmem(part->body.data, part->body.size, "\"max_in_flight\":", 16);
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"max_in_flight\":%lu", &max), 1);
    run_end(&run);
    fetch_target_free(ask.targets[0]);
    return max;
}

static void no_more_than_max_concurrency_run_at_once(void **state)
{
    static const unsigned limits[] = {1, 2, 7, 60}; /* rising, as the mock's count only does */
    struct fan fan;
    struct run run;
    NEED_MOCK();

    mock_stop(&mock);
    has_mock = mock_start(&mock);
    fan_start(&fan, 60, "/?delay=20");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        run_create(&run, &fan, i + 1 < ARRAY_LEN(limits) ? limits[i] : 0);
        gather_start(run.gather);
        wait_for_count(&run.done, 1);
        assert_int_equal(count_reason(&run, FETCH_OK), 60);
        run_end(&run);
        unsigned long max = mock_max_in_flight(&fan);
        assert_true(max <= limits[i]);
        assert_true(max > limits[i] / 2);
    }
    fan_end(&fan);
}

/* ---- cancels ---- */

static void cancelled_before_its_start_nothing_is_fetched(void **state)
{
    struct fan fan;
    struct run run;
    NEED_MOCK();

    fan_start(&fan, 50, "/");
    for (unsigned limit = 0; limit < 3; limit++) {
        run_create(&run, &fan, limit);
        gather_cancel(run.gather);
        assert_int_equal(atomic_load(&run.done), 0);
        gather_start(run.gather);
        assert_int_equal(atomic_load(&run.done), 1);
        assert_int_equal(count_reason(&run, FETCH_CANCELLED), 50);
        run_end(&run);
    }
    fan_end(&fan);
}

static void cancelled_while_it_runs_all_parts_end(void **state)
{
    static const unsigned limits[] = {0, 1, 10, 49, 50, 51};
    struct fan fan;
    struct run run;
    NEED_MOCK();

    fan_start(&fan, 50, "/?stall=1");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        run_create(&run, &fan, limits[i]);
        gather_start(run.gather);
        gather_cancel(run.gather);
        gather_cancel(run.gather);
        wait_for_count(&run.done, 1);
        assert_int_equal(count_reason(&run, FETCH_CANCELLED), 50);
        run_end(&run);
    }
    fan_end(&fan);
}

static void cancelled_after_its_end_it_stays_as_it_is(void **state)
{
    struct fan fan;
    struct run run;
    NEED_MOCK();

    fan_start(&fan, 20, "/");
    run_create(&run, &fan, 3);
    gather_start(run.gather);
    wait_for_count(&run.done, 1);
    gather_cancel(run.gather);
    assert_int_equal(count_reason(&run, FETCH_OK), 20);
    run_end(&run);
    fan_end(&fan);
}

#define CANCELLERS 3

struct race {
    struct run run;
    pthread_barrier_t barrier;
    atomic_bool is_over;
};

static void *canceller_main(void *arg)
{
    struct race *race = arg;

    for (;;) {
        pthread_barrier_wait(&race->barrier);
        if (atomic_load(&race->is_over))
            return NULL;
        struct gather *gather = gather_ref(race->run.gather);
        gather_cancel(gather);
        gather_unref(gather);
        pthread_barrier_wait(&race->barrier);
    }
}

/* Start, answers and several cancels at the same time, many times. */
static void cancels_from_several_threads_end_it_once(void **state)
{
    pthread_t threads[CANCELLERS];
    struct race race = {.is_over = false};
    struct fan fan;
    NEED_MOCK();

    fan_start(&fan, 12, "/");
    pthread_barrier_init(&race.barrier, NULL, CANCELLERS + 1);
    for (size_t i = 0; i < CANCELLERS; i++)
        start(&threads[i], canceller_main, &race);
    for (unsigned round = 0; round < 500; round++) {
        run_create(&race.run, &fan, round % 14);
        if (round % 3)
            gather_start(race.run.gather);
        pthread_barrier_wait(&race.barrier);
        if (round % 3 == 0)
            gather_start(race.run.gather);
        pthread_barrier_wait(&race.barrier);
        run_end(&race.run);
    }
    atomic_store(&race.is_over, true);
    pthread_barrier_wait(&race.barrier);
    for (size_t i = 0; i < CANCELLERS; i++)
        thread_join(threads[i]);
    pthread_barrier_destroy(&race.barrier);
    fan_end(&fan);
}

static void many_at_once_end_once_each(void **state)
{
    static struct run runs[100];
    struct fan fan;
    NEED_MOCK();

    fan_start(&fan, 10, "/?size=50");
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        run_create(&runs[i], &fan, (unsigned)(i % 11));
        gather_start(runs[i].gather);
    }
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        wait_for_count(&runs[i].done, 1);
        assert_int_equal(count_reason(&runs[i], FETCH_OK), 10);
    }
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        run_end(&runs[i]);
    fan_end(&fan);
}

/* Parts that end make others begin, also while the pool stops. */
static void a_pool_that_stops_ends_it(void **state)
{
    static const char *const paths[] = {"/?stall=1", "/?delay=1"};
    NEED_MOCK();

    for (unsigned round = 0; round < 20; round++) {
        struct run runs[4];
        struct fan fan;
        fan_start(&fan, 100, paths[round % ARRAY_LEN(paths)]);
        for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
            run_create(&runs[i], &fan, 3);
            gather_start(runs[i].gather);
        }
        fetch_pool_stop(fan.pool);
        for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
            assert_int_equal(atomic_load(&runs[i].done), 1);
            run_end(&runs[i]);
        }
        fan_end(&fan);
    }
}

static int set_up(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    has_mock = mock_start(&mock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mock_stop(&mock);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_in_the_order_of_their_ends),
        cmocka_unit_test(nothing_to_fetch_is_done_at_once),
        cmocka_unit_test(a_part_that_fails_is_a_result_like_others),
        cmocka_unit_test(no_more_than_max_concurrency_run_at_once),
        cmocka_unit_test(cancelled_before_its_start_nothing_is_fetched),
        cmocka_unit_test(cancelled_while_it_runs_all_parts_end),
        cmocka_unit_test(cancelled_after_its_end_it_stays_as_it_is),
        cmocka_unit_test(cancels_from_several_threads_end_it_once),
        cmocka_unit_test(many_at_once_end_once_each),
        cmocka_unit_test(a_pool_that_stops_ends_it),
    };

    return cmocka_run_group_tests_name("gather", tests, set_up, tear_down);
}
