/* The fetch pool and bodies that are larger than they should be: caps, budgets, and what is kept. */
#include "fetch_probe.h"

#include "base/budget.h"

#define MIB ((size_t)1024 * 1024)

static void probe_init_body(struct probe *probe, const char *path, size_t max_bytes, struct budget *budget)
{
    probe_init_at(probe, "127.0.0.1", path);
    probe->fetch.keep_max_bytes = SIZE_MAX;
    probe->fetch.max_bytes = max_bytes;
    probe->fetch.budget = budget;
}

static size_t used_by(struct budget *budget)
{
    return atomic_load(&budget->used);
}

/* ---- the cap ---- */

static void a_fetch_can_have_a_cap_of_its_own(void **state)
{
    static const struct {
        const char *path;
        size_t max_bytes;
        enum fetch_reason reason;
    } rows[] = {
        {"/?size=1000", 1000, FETCH_OK},
        {"/?size=1001", 1000, FETCH_TOO_LARGE},
        {"/?size=1000&chunked=1", 1000, FETCH_OK},
        {"/?size=1001&chunked=1", 1000, FETCH_TOO_LARGE},
        {"/?size=1001&chunked=1&gzip=1", 1000, FETCH_TOO_LARGE},
        {"/?size=100000", 200000, FETCH_OK},  /* more than the pool's */
        {"/?size=70000", 0, FETCH_TOO_LARGE}, /* which still holds for others */
        {"/?size=60000", 0, FETCH_OK},
    };
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, max_response: 64KiB}");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe probe;
        probe_init_body(&probe, rows[i].path, rows[i].max_bytes, NULL);
        assert_outcome(&pool, &probe, rows[i].reason, 200);
    }
    pool_end(&pool);
}

static void the_error_names_the_cap(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_body(&probe, "/?size=1001", 1000, NULL);
    run(&pool, &probe);
    assert_string_equal(probe.fetch.error, "the body is larger than 1000 bytes");
    probe_done(&probe);
    pool_end(&pool);
}

static void a_cap_survives_a_head_in_between(void **state)
{
    const struct fetch_call head = {.method = "HEAD"};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    for (int round = 0; round < 2; round++) {
        probe_init_body(&probe, "/?size=5000", 1000, NULL);
        assert_outcome(&pool, &probe, FETCH_TOO_LARGE, 200);
        probe_init_body(&probe, "/?size=5000", 1000, NULL);
        probe.fetch.call = &head;
        assert_outcome(&pool, &probe, FETCH_OK, 200);
    }
    pool_end(&pool);
}

/* ---- the budget ---- */

static void a_body_is_taken_from_the_budget_until_fetch_done(void **state)
{
    static const char *const paths[] = {"/?size=0",
                                        "/?size=1",
                                        "/?size=300",
                                        "/?size=16384",
                                        "/?size=100000",
                                        "/?size=100000&gzip=1",
                                        "/?size=3000000&chunked=1"};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct budget all;
    struct budget one;

    budget_init(&all, NULL, 8 * MIB);
    budget_init(&one, &all, 4 * MIB);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct probe probe;
        probe_init_body(&probe, paths[i], 4 * MIB, &one);
        run(&pool, &probe);
        assert_int_equal(probe.fetch.reason, FETCH_OK);
        assert_true(probe.fetch.body_is_whole);
        assert_int_equal(used_by(&one), probe.fetch.body.capacity);
        assert_int_equal(used_by(&all), probe.fetch.body.capacity);
        assert_true(probe.fetch.body.capacity < probe.fetch.body.size + 17000);
        probe_done(&probe);
        assert_int_equal(used_by(&one), 0);
        assert_int_equal(used_by(&all), 0);
    }
    pool_end(&pool);
}

static void a_body_that_just_fits_is_not_too_large(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct budget budget;
    struct probe probe;

    budget_init(&budget, NULL, 50001);
    probe_init_body(&probe, "/?size=50001&chunked=1", 0, &budget);
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    probe_init_body(&probe, "/?size=50002&chunked=1", 0, &budget);
    assert_outcome(&pool, &probe, FETCH_TOO_LARGE, 200);
    assert_int_equal(used_by(&budget), 0);
    pool_end(&pool);
}

static void a_body_can_be_taken_out_with_what_it_took(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct budget budget;
    struct probe probe;

    budget_init(&budget, NULL, MIB);
    probe_init_body(&probe, "/?size=5000", 0, &budget);
    run(&pool, &probe);
    struct buf body = probe.fetch.body;
    probe.fetch.body = (struct buf)BUF_INIT(0);
    probe_done(&probe);
    assert_int_equal(used_by(&budget), body.capacity);
    budget_give(&budget, body.capacity);
    assert_int_equal(used_by(&budget), 0);
    buf_done(&body);
    pool_end(&pool);
}

/* However they end, and with a redirect before. */
static void nothing_stays_taken_for_bodies_that_are_not_kept(void **state)
{
    static const struct {
        const char *path;
        enum fetch_reason reason;
    } rows[] = {
        {"/?size=100000&hangup=body", FETCH_PROTOCOL}, {"/?size=100000&status=500", FETCH_HTTP_STATUS},
        {"/?size=1000000&drip=100", FETCH_TIMEOUT},    {"/?size=3000000", FETCH_TOO_LARGE},
        {"/?size=3000000&chunked=1", FETCH_TOO_LARGE}, {"/?size=20000&redirect=1", FETCH_OK},
    };
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 500ms, max_redirects: 2}");
    struct budget budget;

    budget_init(&budget, NULL, 2 * MIB);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe probe;
        probe_init_body(&probe, rows[i].path, 4 * MIB, &budget);
        assert_outcome(&pool, &probe, rows[i].reason, ANY_STATUS);
        assert_int_equal(used_by(&budget), 0);
    }
    pool_end(&pool);
}

static void only_what_is_kept_is_taken_from_the_budget(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct budget budget;
    struct probe probe;

    budget_init(&budget, NULL, 20000);
    probe_init_body(&probe, "/?size=1000000", 0, &budget);
    probe.fetch.keep_max_bytes = 10000;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_OK);
    assert_int_equal(probe.fetch.body.size, 10000);
    assert_false(probe.fetch.body_is_whole);
    assert_int_equal(used_by(&budget), probe.fetch.body.capacity);
    probe_done(&probe);
    pool_end(&pool);
}

/* ---- memory ---- */

static size_t peak_kib(void)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        sscanf(line, "VmHWM: %zu kB", &kib);
    fclose(file);
    return kib;
}

/* Skips where the memory is not the program's own alone. */
static void reset_peak(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (!file || fputs("5", file) < 0 || fclose(file) != 0)
        skip();
}

/* A body without end, as it is and out of 1 MB of gzip. */
static void a_hostile_body_costs_no_more_than_its_cap(void **state)
{
    static const char *const paths[] = {"/?size=1000000000&chunked=1", "/?size=1000000000&gzip=1"};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 1m}");
    size_t max_bytes = 40 * MIB;
    struct probe probe;

    probe_init_body(&probe, "/?size=100000", 0, NULL); /* what every fetch needs */
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        reset_peak();
        size_t before_kib = peak_kib();
        probe_init_body(&probe, paths[i], max_bytes, NULL);
        assert_outcome(&pool, &probe, FETCH_TOO_LARGE, 200);
        size_t grown_kib = peak_kib() - MIN(peak_kib(), before_kib);
        assert_true(grown_kib < (max_bytes + MIB) / 1024);
    }
    pool_end(&pool);
}

static void large_bodies_arrive_whole(void **state)
{
    static const struct {
        const char *path;
        size_t size;
    } rows[] = {
        {"/?size=700001&chunked=1", 700001}, {"/?size=5000003", 5000003}, {"/?size=9000000&gzip=1", 9000000}};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe probe;
        probe_init_body(&probe, rows[i].path, rows[i].size, NULL);
        run(&pool, &probe);
        assert_int_equal(probe.fetch.reason, FETCH_OK);
        assert_int_equal(probe.fetch.body.size, rows[i].size);
        assert_true(probe.fetch.body_is_whole);
        assert_in_range(probe.fetch.body.capacity, rows[i].size, rows[i].size * 2);
        probe_done(&probe);
    }
    pool_end(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fetch_can_have_a_cap_of_its_own),
        cmocka_unit_test(the_error_names_the_cap),
        cmocka_unit_test(a_cap_survives_a_head_in_between),
        cmocka_unit_test(a_body_is_taken_from_the_budget_until_fetch_done),
        cmocka_unit_test(a_body_that_just_fits_is_not_too_large),
        cmocka_unit_test(a_body_can_be_taken_out_with_what_it_took),
        cmocka_unit_test(nothing_stays_taken_for_bodies_that_are_not_kept),
        cmocka_unit_test(only_what_is_kept_is_taken_from_the_budget),
        cmocka_unit_test(a_hostile_body_costs_no_more_than_its_cap),
        cmocka_unit_test(large_bodies_arrive_whole),
    };

    return cmocka_run_group_tests_name("fetch_body", tests, fetch_set_up, fetch_tear_down);
}
