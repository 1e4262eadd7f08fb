/* Hedging: when a second request goes out, and how many; and how long answers take (latency.h). */
#include "policy_state.h"

#define MS(n) ((n)*NS_PER_MS)

static const struct config_upstream settings = {
    .hedge = {.is_enabled = true, .percentile = 0.95, .min_delay_ms = 1, .budget = 0.05},
};

/* ---- the histogram ---- */

static void a_percentile_is_at_most_an_eighth_too_high(void **state)
{
    (void)state;

    for (uint64_t ns = 20000; ns < 100 * NS_PER_SEC; ns = ns * 21 / 20) {
        struct latency latency = {0};
        for (unsigned i = 0; i < LATENCY_MIN_ANSWERS; i++)
            latency_note(&latency, T0, ns);
        uint64_t found_ns = latency_percentile_ns(&latency, 0.95);
        assert_true(found_ns >= ns);
        assert_true(found_ns <= ns + ns / 8 + 1024);
    }
}

static void times_of_any_length_are_counted(void **state)
{
    struct latency latency = {0};
    (void)state;

    for (unsigned i = 0; i < 20; i++)
        latency_note(&latency, T0, i % 2 ? 0 : UINT64_MAX);
    assert_true(latency_percentile_ns(&latency, 0.1) > 0);
    assert_true(latency_percentile_ns(&latency, 1) > 60 * NS_PER_SEC);
}

static void percentiles_part_the_answers(void **state)
{
    struct latency latency = {0};
    (void)state;

    for (unsigned i = 0; i < 100; i++)
        latency_note(&latency, T0, i < 90 ? MS(10) : i < 98 ? MS(100) : MS(1000));
    assert_in_range(latency_percentile_ns(&latency, 0.5), MS(10), MS(12));
    assert_in_range(latency_percentile_ns(&latency, 0.9), MS(10), MS(12));
    assert_in_range(latency_percentile_ns(&latency, 0.95), MS(100), MS(113));
    assert_in_range(latency_percentile_ns(&latency, 0.99), MS(1000), MS(1130));
}

static void few_answers_say_nothing(void **state)
{
    struct latency latency = {0};
    (void)state;

    for (unsigned i = 0; i < LATENCY_MIN_ANSWERS; i++) {
        assert_true(latency_percentile_ns(&latency, 0.5) == 0);
        latency_note(&latency, T0, MS(10));
    }
    assert_true(latency_percentile_ns(&latency, 0.5) > 0);
}

static void old_answers_fade(void **state)
{
    struct latency latency = {0};
    uint64_t later_ns = T0 + 4 * MS(LATENCY_HALF_LIFE_MS);
    (void)state;

    for (unsigned i = 0; i < 1000; i++)
        latency_note(&latency, T0, MS(10));
    for (unsigned i = 0; i < 100; i++) /* against what is left of 1000: 62 */
        latency_note(&latency, later_ns, MS(100));
    assert_in_range(latency_percentile_ns(&latency, 0.5), MS(100), MS(113));
    latency_note(&latency, later_ns + 1000 * MS(LATENCY_HALF_LIFE_MS), MS(1));
    assert_true(latency_percentile_ns(&latency, 0.5) == 0);
}

/* ---- the policy ---- */

static bool may_hedge(void *hedge, uint64_t now_ns)
{
    const struct policy_ask ask = {.now_ns = now_ns, .deadline_ns = CLOCK_NEVER, .is_hedge = true};
    struct policy_refusal refusal;

    return policy_hedge.admit(hedge, &ask, &refusal) == POLICY_PASS;
}

static void begin(void *hedge, uint64_t now_ns, bool is_hedge)
{
    uint64_t mark;

    policy_hedge.started(hedge, &(struct policy_start){.now_ns = now_ns, .tries = 1, .is_hedge = is_hedge},
                         &mark);
}

static void the_delay_follows_the_answers(void **state)
{
    void *hedge = policy_create(&policy_hedge, &settings);
    struct latency latency = {0};
    (void)state;

    assert_true(policy_hedge.hedge_after_ns(hedge, &latency, T0) == CLOCK_NEVER);
    for (unsigned i = 0; i < 100; i++)
        latency_note(&latency, T0, i < 94 ? MS(10) : MS(50));
    assert_in_range(policy_hedge.hedge_after_ns(hedge, &latency, T0 + MS(1)), MS(50), MS(57));
    for (unsigned i = 0; i < 1000; i++)
        latency_note(&latency, T0, MS(10));
    assert_in_range(policy_hedge.hedge_after_ns(hedge, &latency, T0 + MS(2)), MS(50), MS(57)); /* kept */
    assert_in_range(policy_hedge.hedge_after_ns(hedge, &latency, T0 + MS(101)), MS(10), MS(12));
    policy_free(&policy_hedge, hedge);
}

static void the_delay_is_never_below_the_minimum(void **state)
{
    struct config_upstream config = settings;
    struct latency latency = {0};
    (void)state;

    config.hedge.min_delay_ms = 30;
    void *hedge = policy_create(&policy_hedge, &config);
    for (unsigned i = 0; i < 100; i++)
        latency_note(&latency, T0, MS(1));
    assert_true(policy_hedge.hedge_after_ns(hedge, &latency, T0) == MS(30));
    policy_free(&policy_hedge, hedge);
}

static void hedges_are_a_small_part_of_the_requests(void **state)
{
    void *hedge = policy_create(&policy_hedge, &settings);
    unsigned hedges = 0;
    (void)state;

    assert_false(may_hedge(hedge, T0));
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t now_ns = T0 + i * MS(5);
        begin(hedge, now_ns, false);
        if (!may_hedge(hedge, now_ns))
            continue;
        hedges++;
        begin(hedge, now_ns, true);
    }
    assert_in_range(hedges, 450, 510);
    policy_free(&policy_hedge, hedge);
}

static void those_that_won_are_counted(void **state)
{
    void *hedge = policy_create(&policy_hedge, &settings);
    const struct policy_end ends[] = {
        {.is_hedge = true, .wins = true}, {.is_hedge = true}, {.wins = true}, {.is_hedge = false}};
    (void)state;

    begin(hedge, T0, true);
    begin(hedge, T0, true);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        policy_hedge.ended(hedge, &ends[i], 0);
    json_t *json = policy_json(&policy_hedge, hedge, T0);
    assert_int_equal(json_integer_value(json_object_get(json, "sent_total")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "won_total")), 1);
    json_decref(json);
    policy_free(&policy_hedge, hedge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_percentile_is_at_most_an_eighth_too_high),
        cmocka_unit_test(times_of_any_length_are_counted),
        cmocka_unit_test(percentiles_part_the_answers),
        cmocka_unit_test(few_answers_say_nothing),
        cmocka_unit_test(old_answers_fade),
        cmocka_unit_test(the_delay_follows_the_answers),
        cmocka_unit_test(the_delay_is_never_below_the_minimum),
        cmocka_unit_test(hedges_are_a_small_part_of_the_requests),
        cmocka_unit_test(those_that_won_are_counted),
    };

    return cmocka_run_group_tests_name("hedge", tests, NULL, NULL);
}
