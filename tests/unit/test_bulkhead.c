/* The bulkhead: who may go, who waits, who is refused. */
#include "policy_state.h"

#define MS(n) ((n)*NS_PER_MS)

static const struct config_upstream settings = {.max_in_flight = 10, .max_queue = 100};

static struct policy_refusal refusal;

static enum policy_verdict ask(void *state, unsigned in_flight, unsigned waiting, uint64_t left_ms)
{
    const struct policy_ask question = {
        .now_ns = T0,
        .deadline_ns = left_ms == UINT64_MAX ? CLOCK_NEVER : T0 + MS(left_ms),
        .in_flight = in_flight,
        .waiting = waiting,
    };

    refusal = (struct policy_refusal){0};
    return policy_bulkhead.admit(state, &question, &refusal);
}

static enum policy_verdict ask_first_in_queue(void *state, unsigned in_flight, uint64_t left_ms)
{
    const struct policy_ask question = {
        .now_ns = T0, .deadline_ns = T0 + MS(left_ms), .in_flight = in_flight, .is_waiting = true};

    return policy_bulkhead.admit(state, &question, &refusal);
}

/* As many attempts have taken that long that nothing else is known. */
static void *bulkhead_with(uint64_t elapsed_ms)
{
    void *bulkhead = policy_create(&policy_bulkhead, &settings);
    const struct policy_end end = {.now_ns = T0, .elapsed_ns = MS(elapsed_ms), .chosen = "", .address = ""};

    for (unsigned i = 0; i < 100 && elapsed_ms > 0; i++)
        policy_bulkhead.ended(bulkhead, &end, 0);
    return bulkhead;
}

static void it_is_off_without_a_limit(void **state)
{
    const struct config_upstream config = {.max_in_flight = 0};
    (void)state;

    assert_false(policy_bulkhead.is_on(&config));
}

static void up_to_the_limit_all_may_go(void **state)
{
    void *bulkhead = bulkhead_with(100);
    (void)state;

    assert_int_equal(ask(bulkhead, 0, 0, UINT64_MAX), POLICY_PASS);
    assert_int_equal(ask(bulkhead, 9, 0, UINT64_MAX), POLICY_PASS);
    assert_int_equal(ask(bulkhead, 9, 0, 1), POLICY_PASS); /* whether it comes back in time is not known */
    assert_int_equal(ask(bulkhead, 10, 0, UINT64_MAX), POLICY_WAIT);
    assert_int_equal(ask(bulkhead, 9, 1, UINT64_MAX), POLICY_WAIT); /* behind who waits already */
    policy_free(&policy_bulkhead, bulkhead);
}

static void a_full_queue_refuses(void **state)
{
    void *bulkhead = bulkhead_with(100);
    (void)state;

    assert_int_equal(ask(bulkhead, 10, 99, UINT64_MAX), POLICY_WAIT);
    assert_int_equal(ask(bulkhead, 10, 100, UINT64_MAX), POLICY_REFUSE);
    assert_int_equal(refusal.reason, FETCH_OVERLOADED);
    assert_int_equal(refusal.retry_after_s, 2); /* 101 * 100 ms / 10, and what is begun counts */
    policy_free(&policy_bulkhead, bulkhead);
}

static void who_cannot_be_served_in_time_is_refused_at_once(void **state)
{
    void *bulkhead = bulkhead_with(100);
    (void)state;

    /* (waiting + 1) * 100 ms / 10, and 100 ms for itself, and a tenth */
    assert_int_equal(ask(bulkhead, 10, 0, 122), POLICY_WAIT);
    assert_int_equal(ask(bulkhead, 10, 0, 120), POLICY_REFUSE);
    assert_int_equal(refusal.reason, FETCH_OVERLOADED);
    assert_int_equal(refusal.retry_after_s, 1);
    assert_int_equal(ask(bulkhead, 10, 49, 661), POLICY_WAIT);
    assert_int_equal(ask(bulkhead, 10, 49, 659), POLICY_REFUSE);
    policy_free(&policy_bulkhead, bulkhead);
}

static void while_nothing_is_known_the_queue_is_open(void **state)
{
    void *bulkhead = bulkhead_with(0);
    (void)state;

    assert_int_equal(ask(bulkhead, 10, 50, 1), POLICY_WAIT);
    policy_free(&policy_bulkhead, bulkhead);
}

static void what_varies_is_given_more_time(void **state)
{
    void *bulkhead = bulkhead_with(0);
    (void)state;

    for (unsigned i = 0; i < 1000; i++)
        policy_bulkhead.ended(
            bulkhead, &(struct policy_end){.elapsed_ns = MS(i % 2 ? 50 : 150), .chosen = "", .address = ""},
            0);
    assert_int_equal(ask(bulkhead, 10, 0, 200), POLICY_REFUSE);
    assert_int_equal(ask(bulkhead, 10, 0, 250), POLICY_WAIT);
    policy_free(&policy_bulkhead, bulkhead);
}

static void the_first_in_the_queue_goes_when_there_is_a_place_and_time(void **state)
{
    void *bulkhead = bulkhead_with(100);
    (void)state;

    assert_int_equal(ask_first_in_queue(bulkhead, 10, 1000), POLICY_WAIT);
    assert_int_equal(ask_first_in_queue(bulkhead, 10, 10), POLICY_WAIT); /* its time may still come */
    assert_int_equal(ask_first_in_queue(bulkhead, 9, 1000), POLICY_PASS);
    assert_int_equal(ask_first_in_queue(bulkhead, 9, 99), POLICY_REFUSE);
    assert_int_equal(refusal.reason, FETCH_OVERLOADED);
    policy_free(&policy_bulkhead, bulkhead);
}

static void a_hedge_does_not_wait(void **state)
{
    void *bulkhead = bulkhead_with(100);
    const struct policy_ask question = {.deadline_ns = CLOCK_NEVER, .in_flight = 10, .is_hedge = true};
    (void)state;

    assert_int_equal(policy_bulkhead.admit(bulkhead, &question, &refusal), POLICY_REFUSE);
    policy_free(&policy_bulkhead, bulkhead);
}

/* However slow it has become, the estimate follows when answers are quick again. */
static void the_estimate_recovers(void **state)
{
    void *bulkhead = bulkhead_with(10000);
    (void)state;

    assert_int_equal(ask(bulkhead, 10, 0, 1000), POLICY_REFUSE);
    for (unsigned i = 0; i < 100; i++)
        policy_bulkhead.ended(bulkhead,
                              &(struct policy_end){.elapsed_ns = MS(10), .chosen = "", .address = ""}, 0);
    assert_int_equal(ask(bulkhead, 10, 0, 1000), POLICY_WAIT);
    policy_free(&policy_bulkhead, bulkhead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_off_without_a_limit),
        cmocka_unit_test(up_to_the_limit_all_may_go),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(who_cannot_be_served_in_time_is_refused_at_once),
        cmocka_unit_test(while_nothing_is_known_the_queue_is_open),
        cmocka_unit_test(what_varies_is_given_more_time),
        cmocka_unit_test(the_first_in_the_queue_goes_when_there_is_a_place_and_time),
        cmocka_unit_test(a_hedge_does_not_wait),
        cmocka_unit_test(the_estimate_recovers),
    };

    return cmocka_run_group_tests_name("bulkhead", tests, NULL, NULL);
}
