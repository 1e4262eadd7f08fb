/* The circuit breaker as a state machine. */
#include "policy_state.h"

#define MS(n) ((n)*NS_PER_MS)

static const struct config_upstream settings = {
    .breaker = {.is_enabled = true,
                .failure_ratio = 0.5,
                .slow_ratio = 0.8,
                .slow_ms = 100,
                .min_requests = 10,
                .window_ms = 1000,
                .open_ms = 5000,
                .probes = 2},
};

static struct policy_refusal refusal;

static bool may_pass_as(void *state, uint64_t now_ns, bool is_hedge)
{
    const struct policy_ask ask = {.now_ns = now_ns, .deadline_ns = CLOCK_NEVER, .is_hedge = is_hedge};

    refusal = (struct policy_refusal){0};
    enum policy_verdict verdict = policy_breaker.admit(state, &ask, &refusal);
    assert_true(verdict == POLICY_PASS || verdict == POLICY_REFUSE);
    return verdict == POLICY_PASS;
}

static bool may_pass(void *state, uint64_t now_ns)
{
    return may_pass_as(state, now_ns, false);
}

static uint64_t begin(void *state, uint64_t now_ns)
{
    const struct policy_start start = {.now_ns = now_ns, .tries = 1};
    uint64_t mark = 0;

    assert_true(may_pass(state, now_ns));
    policy_breaker.started(state, &start, &mark);
    return mark;
}

static void end_after(void *state, uint64_t now_ns, uint64_t mark, enum policy_health health,
                      uint64_t elapsed_ns)
{
    const struct policy_end end = {
        .now_ns = now_ns, .elapsed_ns = elapsed_ns, .health = health, .chosen = "", .address = ""};

    policy_breaker.ended(state, &end, mark);
}

static void end(void *state, uint64_t now_ns, uint64_t mark, enum policy_health health)
{
    end_after(state, now_ns, mark, health, MS(1));
}

static void run(void *state, uint64_t now_ns, unsigned count, enum policy_health health)
{
    for (unsigned i = 0; i < count; i++)
        end(state, now_ns, begin(state, now_ns), health);
}

static void assert_state(void *state, uint64_t now_ns, const char *name)
{
    json_t *json = policy_json(&policy_breaker, state, now_ns);

    assert_string_equal(json_string_value(json_object_get(json, "state")), name);
    json_decref(json);
}

static void it_opens_at_the_ratio_of_failures(void **state)
{
    void *breaker = policy_create(&policy_breaker, &settings);
    (void)state;

    run(breaker, T0, 6, HEALTH_GOOD);
    run(breaker, T0, 5, HEALTH_BAD);
    assert_state(breaker, T0, "closed"); /* 5 of 11 */
    run(breaker, T0, 1, HEALTH_BAD);
    assert_state(breaker, T0, "open");
    assert_false(may_pass(breaker, T0));
    assert_int_equal(refusal.reason, FETCH_CIRCUIT_OPEN);
    assert_int_equal(refusal.retry_after_s, 5);
    assert_false(may_pass(breaker, T0 + MS(4100)));
    assert_int_equal(refusal.retry_after_s, 1);
    policy_free(&policy_breaker, breaker);
}

static void few_requests_decide_nothing(void **state)
{
    void *breaker = policy_create(&policy_breaker, &settings);
    (void)state;

    run(breaker, T0, 9, HEALTH_BAD);
    assert_true(may_pass(breaker, T0));
    run(breaker, T0, 1, HEALTH_BAD);
    assert_false(may_pass(breaker, T0));
    policy_free(&policy_breaker, breaker);
}

static void what_says_nothing_is_not_counted(void **state)
{
    void *breaker = policy_create(&policy_breaker, &settings);
    (void)state;

    run(breaker, T0, 9, HEALTH_BAD);
    run(breaker, T0, 100, HEALTH_UNKNOWN);
    assert_true(may_pass(breaker, T0));
    policy_free(&policy_breaker, breaker);
}

static void failures_of_long_ago_are_forgotten(void **state)
{
    void *breaker = policy_create(&policy_breaker, &settings);
    (void)state;

    run(breaker, T0, 9, HEALTH_BAD);
    run(breaker, T0 + MS(1000), 9, HEALTH_BAD);
    assert_true(may_pass(breaker, T0 + MS(1000)));
    run(breaker, T0 + MS(1800), 1, HEALTH_BAD);
    assert_false(may_pass(breaker, T0 + MS(1800)));
    policy_free(&policy_breaker, breaker);
}

static void it_opens_at_the_ratio_of_slow_calls(void **state)
{
    void *breaker = policy_create(&policy_breaker, &settings);
    (void)state;

    run(breaker, T0, 2, HEALTH_GOOD);
    for (unsigned i = 0; i < 8; i++) {
        assert_state(breaker, T0, "closed");
        end_after(breaker, T0, begin(breaker, T0), HEALTH_GOOD, MS(100));
    }
    assert_state(breaker, T0, "open");
    policy_free(&policy_breaker, breaker);
}

static void without_a_time_no_call_is_slow(void **state)
{
    struct config_upstream config = settings;
    (void)state;

    config.breaker.slow_ms = 0;
    void *breaker = policy_create(&policy_breaker, &config);
    for (unsigned i = 0; i < 100; i++)
        end_after(breaker, T0, begin(breaker, T0), HEALTH_GOOD, MS(100000));
    assert_state(breaker, T0, "closed");
    policy_free(&policy_breaker, breaker);
}

#define OPENED (T0 + MS(5000))

static void *open_one(void)
{
    void *breaker = policy_create(&policy_breaker, &settings);

    run(breaker, T0, 10, HEALTH_BAD);
    assert_false(may_pass(breaker, OPENED - 1));
    return breaker;
}

static void as_many_probes_as_configured_close_it(void **state)
{
    void *breaker = open_one();
    (void)state;

    uint64_t first = begin(breaker, OPENED);
    uint64_t second = begin(breaker, OPENED);
    assert_false(may_pass(breaker, OPENED)); /* no third */
    assert_int_equal(refusal.reason, FETCH_CIRCUIT_OPEN);
    assert_int_equal(refusal.retry_after_s, 1);
    assert_state(breaker, OPENED, "half_open");
    end(breaker, OPENED + MS(10), first, HEALTH_GOOD);
    assert_false(may_pass(breaker, OPENED + MS(10)));
    end(breaker, OPENED + MS(20), second, HEALTH_GOOD);
    assert_state(breaker, OPENED, "closed");
    run(breaker, OPENED + MS(20), 9, HEALTH_BAD); /* what was before does not count */
    assert_state(breaker, OPENED, "closed");
    policy_free(&policy_breaker, breaker);
}

static void a_probe_that_fails_opens_it_again(void **state)
{
    void *breaker = open_one();
    (void)state;

    uint64_t first = begin(breaker, OPENED);
    uint64_t second = begin(breaker, OPENED);
    end(breaker, OPENED + MS(10), first, HEALTH_BAD);
    assert_false(may_pass(breaker, OPENED + MS(20)));
    end(breaker, OPENED + MS(20), second, HEALTH_GOOD); /* too late to matter */
    assert_false(may_pass(breaker, OPENED + MS(5009)));
    assert_true(may_pass(breaker, OPENED + MS(5010)));
    policy_free(&policy_breaker, breaker);
}

static void a_slow_probe_opens_it_again(void **state)
{
    void *breaker = open_one();
    (void)state;

    end_after(breaker, OPENED + MS(100), begin(breaker, OPENED), HEALTH_GOOD, MS(100));
    assert_state(breaker, OPENED + MS(100), "open");
    policy_free(&policy_breaker, breaker);
}

static void a_cancelled_probe_gives_its_place_to_another(void **state)
{
    void *breaker = open_one();
    (void)state;

    for (unsigned i = 0; i < 10; i++)
        end(breaker, OPENED + i, begin(breaker, OPENED + i), HEALTH_UNKNOWN);
    run(breaker, OPENED + MS(1), 2, HEALTH_GOOD);
    assert_state(breaker, OPENED + MS(1), "closed");
    policy_free(&policy_breaker, breaker);
}

static void what_was_sent_before_it_opened_does_not_count_after(void **state)
{
    void *breaker = policy_create(&policy_breaker, &settings);
    uint64_t old[20];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        old[i] = begin(breaker, T0);
    run(breaker, T0, 10, HEALTH_BAD);
    uint64_t probe = begin(breaker, OPENED);
    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        end(breaker, OPENED, old[i], i % 2 ? HEALTH_GOOD : HEALTH_BAD);
    assert_state(breaker, OPENED, "half_open");
    end(breaker, OPENED, probe, HEALTH_GOOD);
    run(breaker, OPENED, 1, HEALTH_GOOD);
    assert_state(breaker, OPENED, "closed");
    policy_free(&policy_breaker, breaker);
}

static void a_hedge_is_no_probe(void **state)
{
    void *breaker = open_one();
    (void)state;

    assert_false(may_pass_as(breaker, OPENED, true));
    begin(breaker, OPENED);
    assert_false(may_pass_as(breaker, OPENED, true));
    policy_free(&policy_breaker, breaker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_at_the_ratio_of_failures),
        cmocka_unit_test(few_requests_decide_nothing),
        cmocka_unit_test(what_says_nothing_is_not_counted),
        cmocka_unit_test(failures_of_long_ago_are_forgotten),
        cmocka_unit_test(it_opens_at_the_ratio_of_slow_calls),
        cmocka_unit_test(without_a_time_no_call_is_slow),
        cmocka_unit_test(as_many_probes_as_configured_close_it),
        cmocka_unit_test(a_probe_that_fails_opens_it_again),
        cmocka_unit_test(a_slow_probe_opens_it_again),
        cmocka_unit_test(a_cancelled_probe_gives_its_place_to_another),
        cmocka_unit_test(what_was_sent_before_it_opened_does_not_count_after),
        cmocka_unit_test(a_hedge_is_no_probe),
    };

    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
