/* The addresses of a name: balance and ejection; and the window that they and others count in (window.h). */
#include "policy_state.h"

#include "upstream/window.h"

#define MS(n) ((n)*NS_PER_MS)

static char base_url[] = "http://name.test";

static const struct config_upstream settings = {
    .base_url = base_url,
    .breaker = {.is_enabled = true,
                .failure_ratio = 0.5,
                .slow_ratio = 1,
                .min_requests = 20,
                .window_ms = 10000,
                .open_ms = 1000,
                .probes = 1},
};

/* ---- the window ---- */

static void a_window_forgets_slot_by_slot(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, MS(1000));
    for (uint64_t i = 0; i < 10; i++)
        window_add(&window, T0 + i * MS(100), 0, 1);
    assert_int_equal(window_sum(&window, T0 + MS(999), 0), 10);
    assert_int_equal(window_newest(&window, T0 + MS(999), 0), 1);
    assert_int_equal(window_sum(&window, T0 + MS(1000), 0), 9);
    assert_int_equal(window_sum(&window, T0 + MS(1500), 0), 4);
    assert_int_equal(window_newest(&window, T0 + MS(1500), 0), 0);
    assert_int_equal(window_sum(&window, T0 + MS(100000), 0), 0);
}

static void a_time_that_comes_late_counts_in_the_newest_slot(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, MS(1000));
    window_add(&window, T0 + MS(500), 1, 1);
    window_add(&window, T0, 1, 2);
    assert_int_equal(window_newest(&window, T0, 1), 3);
    assert_int_equal(window_sum(&window, T0 + MS(1499), 1), 3);
    assert_int_equal(window_sum(&window, T0 + MS(1500), 1), 0);
}

/* ---- choosing ---- */

static const char *const four[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"};

static size_t choose_avoiding(void *addresses, uint64_t now_ns, size_t count, const char *avoid)
{
    const struct policy_choice choice = {.now_ns = now_ns, .addresses = four, .count = count, .avoid = avoid};
    size_t index = policy_addresses.choose(addresses, &choice);

    assert_true(index < count);
    return index;
}

static size_t choose(void *addresses, uint64_t now_ns, size_t count)
{
    return choose_avoiding(addresses, now_ns, count, "");
}

static void end_at(void *addresses, uint64_t now_ns, const char *chosen, const char *address,
                   enum policy_health health)
{
    const struct policy_end end = {.now_ns = now_ns, .health = health, .chosen = chosen, .address = address};

    policy_addresses.ended(addresses, &end, 0);
}

static void end(void *addresses, uint64_t now_ns, size_t index, enum policy_health health)
{
    end_at(addresses, now_ns, four[index], four[index], health);
}

/* How often each of `count` is chosen when all answer at once. */
static void tally(void *addresses, uint64_t now_ns, size_t count, unsigned ret[4])
{
    memset(ret, 0, 4 * sizeof(ret[0]));
    for (unsigned i = 0; i < 1000; i++) {
        size_t index = choose(addresses, now_ns, count);
        ret[index]++;
        end(addresses, now_ns, index, HEALTH_UNKNOWN);
    }
}

/* Attempts to this address, whatever else is chosen meanwhile. */
static void fail_at(void *addresses, uint64_t now_ns, size_t count, size_t index, unsigned times)
{
    while (times > 0) {
        size_t chosen = choose(addresses, now_ns, count);
        times -= chosen == index;
        end(addresses, now_ns, chosen, chosen == index ? HEALTH_BAD : HEALTH_UNKNOWN);
    }
}

static unsigned count_ejected(void *addresses, uint64_t now_ns)
{
    json_t *json = policy_json(&policy_addresses, addresses, now_ns);
    unsigned count = 0;

    for (size_t i = 0; i < json_array_size(json); i++)
        count += json_is_true(json_object_get(json_array_get(json, i), "ejected"));
    json_decref(json);
    return count;
}

static void idle_addresses_are_asked_evenly(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    unsigned counts[4];
    (void)state;

    tally(addresses, T0, 4, counts);
    for (size_t i = 0; i < 4; i++)
        assert_in_range(counts[i], 180, 320);
    policy_free(&policy_addresses, addresses);
}

static void a_slow_address_is_asked_less(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    unsigned counts[4] = {0};
    (void)state;

    for (unsigned i = 0; i < 1000; i++) { /* the first never answers */
        size_t index = choose(addresses, T0, 4);
        counts[index]++;
        if (index != 0)
            end(addresses, T0, index, HEALTH_GOOD);
    }
    assert_in_range(counts[0], 1, 2); /* two: when it is drawn twice before it has one in flight */
    policy_free(&policy_addresses, addresses);
}

static void another_address_is_asked_than_the_one_to_avoid(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    (void)state;

    for (unsigned i = 0; i < 200; i++) {
        assert_int_not_equal(choose_avoiding(addresses, T0, 4, four[1]), 1);
        assert_int_equal(choose_avoiding(addresses, T0, 2, four[1]), 0);
    }
    policy_free(&policy_addresses, addresses);
}

/* ---- ejecting ---- */

static void one_that_fails_in_a_row_is_left_alone_for_a_while(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    unsigned counts[4];
    (void)state;

    fail_at(addresses, T0, 4, 2, 4);
    assert_int_equal(count_ejected(addresses, T0), 0);
    fail_at(addresses, T0, 4, 2, 1);
    assert_int_equal(count_ejected(addresses, T0), 1);
    tally(addresses, T0 + MS(999), 4, counts);
    assert_int_equal(counts[2], 0);
    tally(addresses, T0 + MS(1000), 4, counts);
    assert_in_range(counts[2], 180, 320);
    policy_free(&policy_addresses, addresses);
}

static void a_success_between_ends_the_row(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    (void)state;

    for (unsigned i = 0; i < 10; i++) { /* one in three fails: never the half */
        fail_at(addresses, T0, 2, 0, 4);
        for (unsigned good = 0; good < 8;) {
            size_t index = choose(addresses, T0, 2);
            good += index == 0;
            end(addresses, T0, index, HEALTH_GOOD);
        }
    }
    assert_int_equal(count_ejected(addresses, T0), 0);
    policy_free(&policy_addresses, addresses);
}

static void the_ratio_ejects_as_well(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    (void)state;

    for (unsigned i = 0; i < 40 && count_ejected(addresses, T0) == 0;) { /* each second one fails */
        size_t index = choose(addresses, T0, 2);
        end(addresses, T0, index, index == 0 && i++ % 2 ? HEALTH_BAD : HEALTH_GOOD);
    }
    assert_int_equal(count_ejected(addresses, T0), 1);
    policy_free(&policy_addresses, addresses);
}

static void ejections_grow_and_are_forgiven(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    uint64_t now_ns = T0;
    (void)state;

    fail_at(addresses, now_ns, 2, 0, 5);
    for (uint64_t length_ms = 1000; length_ms <= 256000; length_ms *= 2) {
        assert_int_equal(count_ejected(addresses, now_ns + MS(length_ms) - 1), 1);
        now_ns += MS(length_ms);
        assert_int_equal(count_ejected(addresses, now_ns), 0);
        fail_at(addresses, now_ns, 2, 0, 1); /* one is enough when it has just come back */
    }
    now_ns += MS(300000);
    assert_int_equal(count_ejected(addresses, now_ns), 0);
    now_ns += MS(300000);
    for (size_t index = 1; index != 0;) {
        index = choose(addresses, now_ns, 2);
        end(addresses, now_ns, index, HEALTH_GOOD);
    }
    fail_at(addresses, now_ns, 2, 0, 5);
    assert_int_equal(count_ejected(addresses, now_ns + MS(999)), 1);
    assert_int_equal(count_ejected(addresses, now_ns + MS(1000)), 0);
    policy_free(&policy_addresses, addresses);
}

static void at_most_half_are_ejected(void **state)
{
    static const unsigned goals[] = {0, 0, 1, 1, 2};
    (void)state;

    for (size_t count = 1; count <= 4; count++) {
        void *addresses = policy_create(&policy_addresses, &settings);
        for (unsigned i = 0; i < 1000; i++)
            end(addresses, T0, choose(addresses, T0, count), HEALTH_BAD);
        assert_int_equal(count_ejected(addresses, T0), goals[count]);
        policy_free(&policy_addresses, addresses);
    }
}

static void one_that_is_always_overtaken_is_ejected(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    (void)state;

    for (unsigned overtaken = 0; overtaken < 5;) {
        size_t index = choose(addresses, T0, 2);
        const struct policy_end over = {
            .now_ns = T0, .is_overtaken = index == 0, .chosen = four[index], .address = four[index]};
        overtaken += index == 0;
        policy_addresses.ended(addresses, &over, 0);
    }
    assert_int_equal(count_ejected(addresses, T0), 1);
    policy_free(&policy_addresses, addresses);
}

static void without_a_breaker_none_is_ejected(void **state)
{
    struct config_upstream config = settings;
    (void)state;

    config.breaker.is_enabled = false;
    config.breaker.window_ms = 0;
    void *addresses = policy_create(&policy_addresses, &config);
    for (unsigned i = 0; i < 1000; i++)
        end(addresses, T0, choose(addresses, T0, 4), HEALTH_BAD);
    assert_int_equal(count_ejected(addresses, T0), 0);
    policy_free(&policy_addresses, addresses);
}

static void the_address_that_could_not_be_connected_to_is_blamed(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    (void)state;

    for (unsigned bad = 0; bad < 5;) {
        size_t index = choose(addresses, T0, 2);
        bad += index == 0;
        end_at(addresses, T0, four[index], four[1], HEALTH_GOOD); /* the second stands in for the first */
    }
    json_t *json = policy_json(&policy_addresses, addresses, T0);
    for (size_t i = 0; i < 2; i++) {
        json_t *address = json_array_get(json, i);
        bool is_first = strcmp(json_string_value(json_object_get(address, "address")), four[0]) == 0;
        assert_int_equal(json_is_true(json_object_get(address, "ejected")), is_first);
        assert_int_equal(json_integer_value(json_object_get(address, "in_flight")), 0);
    }
    json_decref(json);
    policy_free(&policy_addresses, addresses);
}

static void a_name_may_change_its_addresses_for_ever(void **state)
{
    void *addresses = policy_create(&policy_addresses, &settings);
    char texts[2][FETCH_ADDRESS_SIZE];
    const char *const list[] = {texts[0], texts[1]};
    (void)state;

    for (unsigned i = 0; i < 1000; i++) {
        struct policy_choice choice = {.now_ns = T0 + i, .addresses = list, .count = 2, .avoid = ""};
        snprintf(texts[0], sizeof(texts[0]), "10.1.%u.%u", i / 250, i % 250);
        snprintf(texts[1], sizeof(texts[1]), "10.2.%u.%u", i / 250, i % 250);
        size_t index = policy_addresses.choose(addresses, &choice);
        end_at(addresses, T0 + i, texts[index], texts[index], i % 3 ? HEALTH_GOOD : HEALTH_BAD);
    }
    json_t *json = policy_json(&policy_addresses, addresses, T0 + 1000);
    assert_int_equal(json_array_size(json), 2);
    json_decref(json);
    policy_free(&policy_addresses, addresses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_forgets_slot_by_slot),
        cmocka_unit_test(a_time_that_comes_late_counts_in_the_newest_slot),
        cmocka_unit_test(idle_addresses_are_asked_evenly),
        cmocka_unit_test(a_slow_address_is_asked_less),
        cmocka_unit_test(another_address_is_asked_than_the_one_to_avoid),
        cmocka_unit_test(one_that_fails_in_a_row_is_left_alone_for_a_while),
        cmocka_unit_test(a_success_between_ends_the_row),
        cmocka_unit_test(the_ratio_ejects_as_well),
        cmocka_unit_test(ejections_grow_and_are_forgiven),
        cmocka_unit_test(at_most_half_are_ejected),
        cmocka_unit_test(one_that_is_always_overtaken_is_ejected),
        cmocka_unit_test(without_a_breaker_none_is_ejected),
        cmocka_unit_test(the_address_that_could_not_be_connected_to_is_blamed),
        cmocka_unit_test(a_name_may_change_its_addresses_for_ever),
    };

    return cmocka_run_group_tests_name("addresses", tests, NULL, NULL);
}
