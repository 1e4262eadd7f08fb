#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/headers.h"
#include "base/common.h"
#include "tasks/engine.h"

static const struct {
    const char *value;
    unsigned wait_s;
    bool respond_async;
    const char *applied;
} prefers[] = {
    {NULL, 0, false, ""},
    {"", 0, false, ""},
    {"wait=10", 10, false, "wait=10"},
    {"WAIT=10", 10, false, "wait=10"},
    {"wait=\"10\"", 10, false, "wait=10"},
    {"wait = 10", 10, false, "wait=10"},
    {"wait=10; foo=bar", 10, false, "wait=10"},
    {"respond-async, wait=5", 5, true, "respond-async, wait=5"},
    {"wait=5,respond-async", 5, true, "respond-async, wait=5"},
    {"Respond-Async", 0, true, "respond-async"},
    {"handling=lenient, wait=7", 7, false, "wait=7"},
    {"x=\"a, wait=3\", wait=7", 7, false, "wait=7"},
    {"x=\"a\\\", wait=3\", wait=7", 7, false, "wait=7"},
    {"wait=60", 60, false, "wait=60"},
    {"wait=61", 60, false, "wait=60"},
    {"wait=99999999999999999999999999", 60, false, "wait=60"},
    {"wait=3, wait=9", 3, false, "wait=3"},
    {"wait=0", 0, false, ""},
    {"wait", 0, false, ""},
    {"wait=", 0, false, ""},
    {"wait=-1", 0, false, ""},
    {"wait=1.5", 0, false, ""},
    {"wait=5x", 0, false, ""},
    {"waiting=5", 0, false, ""},
    {"\"wait=5", 0, false, ""},
    {",,,", 0, false, ""},
};

static void preferences_are_read(void **state)
{
    char text[PREFER_TEXT_SIZE];
    struct prefer prefer;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(prefers); i++) {
        prefer_parse(prefers[i].value, &prefer);
        prefer_format(&prefer, text);
        if (prefer.wait_s != prefers[i].wait_s || prefer.respond_async != prefers[i].respond_async ||
            strcmp(text, prefers[i].applied) != 0)
            fail_msg("%s: wait %u, respond-async %d, \"%s\"", prefers[i].value, prefer.wait_s,
                     prefer.respond_async, text);
    }
}

static void idempotency_keys_are_printable_ascii(void **state)
{
    char key[TASK_KEY_MAX_BYTES + 2];

    (void)state;
    memset(key, 'k', sizeof(key));
    key[TASK_KEY_MAX_BYTES] = '\0';
    assert_true(idempotency_key_is_valid(key));
    key[TASK_KEY_MAX_BYTES] = 'k';
    key[TASK_KEY_MAX_BYTES + 1] = '\0';
    assert_false(idempotency_key_is_valid(key));
    assert_true(idempotency_key_is_valid("\"8e03978e-40d5-43e8\" ~"));
    assert_false(idempotency_key_is_valid(""));
    assert_false(idempotency_key_is_valid("a\tb"));
    assert_false(idempotency_key_is_valid("a\x7f"));
    assert_false(idempotency_key_is_valid("\xc3\xa9"));
}

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static const struct {
    const char *value;
    const char *text;
} traces[] = {
    {TRACE, TRACE},
    {NULL, ""},
    {"", ""},
    {"00", ""},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", ""},
    {TRACE "-00", ""},
    {TRACE "x", ""},
    {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
     "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what\r\nnot",
     "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x", ""},
    {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ""},
    {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", ""},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", ""},
    {"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ""},
    {"00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", ""},
};

static void trace_contexts_are_checked(void **state)
{
    char text[TRACEPARENT_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(traces); i++) {
        traceparent_parse(traces[i].value, text);
        assert_string_equal(text, traces[i].text);
    }
}

static void tags_of_a_version_are_found(void **state)
{
    char tag[ETAG_SIZE];

    (void)state;
    etag_format(UINT32_MAX, tag);
    assert_string_equal(tag, "\"4294967295\"");
    assert_true(etag_is_named("\"7\"", 7));
    assert_true(etag_is_named("W/\"7\"", 7));
    assert_true(etag_is_named("\"1\", \"x,y\" , \"7\"", 7));
    assert_true(etag_is_named(" * ", 7));
    assert_false(etag_is_named(NULL, 7));
    assert_false(etag_is_named("", 7));
    assert_false(etag_is_named("7", 7));
    assert_false(etag_is_named("\"7", 7));
    assert_false(etag_is_named("\"77\"", 7));
    assert_false(etag_is_named("\"07\"", 7));
    assert_false(etag_is_named("\"seventy-seven thousand\"", 7));
}

static void expect_wanted(const char *value, int rc, unsigned version)
{
    unsigned got = version;

    if (etag_wanted(value, &got) != rc || got != version)
        fail_msg("%s: %u instead of %u", value, got, version);
}

static void the_version_that_must_match_is_read(void **state)
{
    const unsigned no_task = TASK_VERSION_ANY - 1;

    (void)state;
    expect_wanted(NULL, 0, TASK_VERSION_ANY);
    expect_wanted("*", 0, TASK_VERSION_ANY);
    expect_wanted("\"7\"", 0, 7);
    expect_wanted("\"abc\", \"7\"", 0, 7);
    expect_wanted("W/\"7\"", 0, no_task);
    expect_wanted("\"abc\"", 0, no_task);
    expect_wanted("\"4294967295\"", 0, no_task);
    expect_wanted("7", -EINVAL, 1);
    expect_wanted("\"7\" x", -EINVAL, 1);
    expect_wanted("", -EINVAL, 1);
}

static void event_numbers_are_decimal(void **state)
{
    uint64_t number = 1;

    (void)state;
    assert_true(event_number_parse("0", &number));
    assert_int_equal(number, 0);
    assert_true(event_number_parse("9223372036854775807", &number));
    assert_false(event_number_parse("9223372036854775808", &number));
    assert_false(event_number_parse("", &number));
    assert_false(event_number_parse("-1", &number));
    assert_false(event_number_parse("1 ", &number));
}

static void times_to_wait_are_seconds_or_have_a_unit(void **state)
{
    static const struct {
        const char *value;
        uint64_t ns;
    } good[] = {
        {"1", 1000000000},   {"1.5", 1500000000},   {"0.25", 250000000},
        {"0.000001", 1000},  {"800ms", 800000000},  {"2s", 2000000000},
        {"1m", 60000000000}, {"1h", 3600000000000}, {"86400", 86400000000000},
    };
    static const char *const bad[] = {
        "",
        "0",
        "0.0",
        "0ms",
        "0s",
        "-1",
        "-1s",
        "+1",
        "1e3",
        "nan",
        "inf",
        "0x1",
        "1 s",
        " 1",
        "1 ",
        ".5",
        "1.",
        "1,5",
        "1.5s",
        "soon",
        "s",
        "ms",
        "1s1",
        "1day",
        "1.0000001",
        "99999999999999999999",
        "99999999999999999999s",
        "31622401",
        "31622401s",
    };
    uint64_t ns = 7;
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (request_timeout_parse(good[i].value, &ns, &err) < 0 || ns != good[i].ns)
            fail_msg("%s: %llu, %s", good[i].value, (unsigned long long)ns, err.text);
    ns = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (request_timeout_parse(bad[i], &ns, &err) == 0 || ns != 7 || err.text[0] == '\0')
            fail_msg("\"%s\" is taken for %llu", bad[i], (unsigned long long)ns);
}

static void names_are_found_in_lists(void **state)
{
    (void)state;
    assert_true(header_list_has("close, X-Tenant", "x-tenant"));
    assert_true(header_list_has("X-Tenant", "X-Tenant"));
    assert_true(header_list_has(" ,, X-Tenant\t,", "X-Tenant"));
    assert_false(header_list_has("", "X-Tenant"));
    assert_false(header_list_has(",", ""));
    assert_false(header_list_has("X-Tenants, XX-Tenant, X-", "X-Tenant"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preferences_are_read),
        cmocka_unit_test(idempotency_keys_are_printable_ascii),
        cmocka_unit_test(trace_contexts_are_checked),
        cmocka_unit_test(tags_of_a_version_are_found),
        cmocka_unit_test(the_version_that_must_match_is_read),
        cmocka_unit_test(event_numbers_are_decimal),
        cmocka_unit_test(names_are_found_in_lists),
        cmocka_unit_test(times_to_wait_are_seconds_or_have_a_unit),
    };

    return cmocka_run_group_tests_name("headers", tests, NULL, NULL);
}
