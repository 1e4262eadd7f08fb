/* Retries: what is tried again, when, and how often at the most. */
#include "policy_state.h"

#define MS(n) ((n)*NS_PER_MS)

static char status_502[] = "502";
static char status_429[] = "429";
static char *statuses[] = {status_502, status_429};

static const struct config_upstream settings = {
    .retry = {.is_enabled = true,
              .max_attempts = 4,
              .backoff_base_ms = 100,
              .backoff_max_ms = 300,
              .budget = 0.2,
              .budget_min_per_s = 1000000,
              .statuses = {statuses, 2}},
};

static uint64_t pause_of(void *state, const struct policy_failure *failure)
{
    return policy_retry.retry_after_ns(state, failure);
}

/* A failure that is tried again, unless the test changes something. */
static struct policy_failure failure_of(enum fetch_reason reason)
{
    return (struct policy_failure){
        .now_ns = T0, .deadline_ns = CLOCK_NEVER, .tries = 1, .is_idempotent = true, .reason = reason};
}

static void only_what_may_help_and_may_be_repeated_is_tried_again(void **state)
{
    static const struct {
        enum fetch_reason reason;
        int status;
        bool when_idempotent;
        bool always;
    } rows[] = {
        {FETCH_OK, 200, false, false},          {FETCH_HTTP_STATUS, 502, true, false},
        {FETCH_HTTP_STATUS, 429, true, false},  {FETCH_HTTP_STATUS, 500, false, false},
        {FETCH_HTTP_STATUS, 404, false, false}, {FETCH_HTTP_STATUS, 999, false, false},
        {FETCH_TIMEOUT, 0, true, false},        {FETCH_DNS, 0, true, true},
        {FETCH_CONNECT, 0, true, true},         {FETCH_TLS, 0, true, false},
        {FETCH_TOO_LARGE, 0, false, false},     {FETCH_PROTOCOL, 0, true, false},
        {FETCH_CANCELLED, 0, false, false},     {FETCH_FORBIDDEN, 0, false, false},
    };
    void *retry = policy_create(&policy_retry, &settings);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy_failure failure = failure_of(rows[i].reason);
        failure.status = rows[i].status;
        assert_int_equal(pause_of(retry, &failure) != CLOCK_NEVER, rows[i].when_idempotent);
        failure.is_idempotent = false;
        assert_int_equal(pause_of(retry, &failure) != CLOCK_NEVER, rows[i].always);
    }
    policy_free(&policy_retry, retry);
}

static void the_last_attempt_is_the_last(void **state)
{
    void *retry = policy_create(&policy_retry, &settings);
    struct policy_failure failure = failure_of(FETCH_CONNECT);
    (void)state;

    failure.tries = 3;
    assert_true(pause_of(retry, &failure) != CLOCK_NEVER);
    failure.tries = 4;
    assert_true(pause_of(retry, &failure) == CLOCK_NEVER);
    policy_free(&policy_retry, retry);
}

/* From nothing to 100, 200, 300, 300 ms, everywhere in between. */
static void pauses_are_drawn_from_all_of_a_range_that_doubles(void **state)
{
    static const uint64_t max_ms[] = {100, 200, 300, 300};
    struct config_upstream config = settings;
    (void)state;

    config.retry.max_attempts = 10;
    void *retry = policy_create(&policy_retry, &config);
    for (unsigned tries = 1; tries <= 4; tries++) {
        struct policy_failure failure = failure_of(FETCH_CONNECT);
        unsigned quarters[4] = {0};
        failure.tries = tries;
        for (unsigned i = 0; i < 4000; i++) {
            uint64_t pause_ns = pause_of(retry, &failure);
            assert_true(pause_ns <= MS(max_ms[tries - 1]));
            quarters[MIN(pause_ns * 4 / MS(max_ms[tries - 1]), UINT64_C(3))]++;
        }
        for (size_t i = 0; i < 4; i++)
            assert_in_range(quarters[i], 800, 1200);
    }
    policy_free(&policy_retry, retry);
}

static void retry_after_is_waited_for_when_there_is_time(void **state)
{
    void *retry = policy_create(&policy_retry, &settings);
    struct policy_failure failure = failure_of(FETCH_HTTP_STATUS);
    (void)state;

    failure.status = 429;
    failure.retry_after_s = 2;
    failure.deadline_ns = T0 + MS(2500);
    assert_true(pause_of(retry, &failure) == MS(2000));
    failure.deadline_ns = T0 + MS(2000);
    assert_true(pause_of(retry, &failure) == CLOCK_NEVER);
    failure.deadline_ns = CLOCK_NEVER;
    failure.retry_after_s = UINT64_MAX;
    assert_true(pause_of(retry, &failure) != CLOCK_NEVER); /* a day */
    policy_free(&policy_retry, retry);
}

static void nothing_is_begun_that_cannot_end_in_time(void **state)
{
    struct config_upstream config = settings;
    struct policy_failure failure = failure_of(FETCH_CONNECT);
    (void)state;

    config.retry.backoff_base_ms = 0;
    void *retry = policy_create(&policy_retry, &config);
    failure.deadline_ns = T0 + MS(50);
    failure.typical_ns = MS(49);
    assert_true(pause_of(retry, &failure) == 0);
    failure.typical_ns = MS(50);
    assert_true(pause_of(retry, &failure) == CLOCK_NEVER);
    failure.deadline_ns = T0 - 1;
    failure.typical_ns = 0;
    assert_true(pause_of(retry, &failure) == CLOCK_NEVER);
    policy_free(&policy_retry, retry);
}

/* Of an outage: requests come at a rate, each fails, and is tried again as often as it may. */
static unsigned retries_in_an_outage(unsigned per_s, unsigned seconds, unsigned min_per_s)
{
    struct config_upstream config = settings;
    unsigned retries = 0;
    uint64_t mark;

    config.retry.budget_min_per_s = min_per_s;
    void *retry = policy_create(&policy_retry, &config);
    for (unsigned i = 0; i < per_s * seconds; i++) {
        uint64_t now_ns = T0 + i * NS_PER_SEC / per_s;
        struct policy_failure failure = failure_of(FETCH_CONNECT);
        failure.now_ns = now_ns;
        policy_retry.started(retry, &(struct policy_start){.now_ns = now_ns, .tries = 1}, &mark);
        for (failure.tries = 1; pause_of(retry, &failure) != CLOCK_NEVER; failure.tries++)
            retries++;
    }
    policy_free(&policy_retry, retry);
    return retries;
}

static void an_outage_is_not_multiplied(void **state)
{
    (void)state;

    assert_in_range(retries_in_an_outage(100, 60, 0), 60 * 15, 60 * 20 + 20);
    assert_in_range(retries_in_an_outage(100, 60, 3), 60 * 15, 60 * 23);
    assert_in_range(retries_in_an_outage(5, 60, 3), 60 * 2, 60 * 3 + 3); /* the minimum */
    assert_int_equal(retries_in_an_outage(5, 60, 0) <= 60, true);
}

static void a_hedge_is_neither_a_request_nor_a_retry(void **state)
{
    void *retry = policy_create(&policy_retry, &settings);
    uint64_t mark;
    (void)state;

    policy_retry.started(retry, &(struct policy_start){.now_ns = T0, .tries = 1, .is_hedge = true}, &mark);
    policy_retry.started(retry, &(struct policy_start){.now_ns = T0, .tries = 1}, &mark);
    policy_retry.started(retry, &(struct policy_start){.now_ns = T0, .tries = 2}, &mark);
    json_t *json = policy_json(&policy_retry, retry, T0);
    assert_int_equal(json_integer_value(json_object_get(json, "recent_requests")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "retries_total")), 1);
    json_decref(json);
    policy_free(&policy_retry, retry);
}

static void one_attempt_means_no_retries(void **state)
{
    struct config_upstream config = settings;
    (void)state;

    config.retry.max_attempts = 1;
    assert_false(policy_retry.is_on(&config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_may_help_and_may_be_repeated_is_tried_again),
        cmocka_unit_test(the_last_attempt_is_the_last),
        cmocka_unit_test(pauses_are_drawn_from_all_of_a_range_that_doubles),
        cmocka_unit_test(retry_after_is_waited_for_when_there_is_time),
        cmocka_unit_test(nothing_is_begun_that_cannot_end_in_time),
        cmocka_unit_test(an_outage_is_not_multiplied),
        cmocka_unit_test(a_hedge_is_neither_a_request_nor_a_retry),
        cmocka_unit_test(one_attempt_means_no_retries),
    };

    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
