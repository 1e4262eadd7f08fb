/* What endpoints answer: JSON, the status, the headers about parts, events. */
#include "plan_rig.h"

#define NO_REQUEST ((struct client_request){.query = NULL})

/* ---- the status ---- */

static int status_of_parts(const char *parts)
{
    char yaml[2048];
    struct rig rig;

    snprintf(yaml, sizeof(yaml), "  - path: /e/{id}\n    timeout: 1m\n%s", parts);
    rig_start(&rig, yaml);
    run(&rig, (struct client_request){.path_arg = "\xc3\xa9"});
    int status = answer_status(rig.run);
    assert_true(answer_retry_after_s(rig.run) >= 1);
    run_end(&rig);
    rig_end(&rig);
    return status;
}

#define PART_GOOD   "{name: ok, upstream: u, path: /, required: true}"
#define PART_BAD    "{name: bad, upstream: u, path: /, required: true, query: {status: '500'}}"
#define PART_DEAD   "{name: dead, upstream: dead, path: /, required: true}"
#define PART_LATE   "{name: late, upstream: u, path: /, required: true, timeout: 50ms, query: {stall: '1'}}"
#define PART_BUSY1  "{name: busy1, upstream: busy, path: /, timeout: 50ms, query: {stall: '1'}}"
#define PART_BUSY2  "{name: busy2, upstream: busy, path: /, required: true}"
#define PART_WRONG  "{name: wrong, upstream: u, path: /, required: true, headers: {X-Id: \"{id}\"}}"
#define PART_NOT    "{name: not, upstream: u, path: /, required: true, select: /x, query: {json: '{{}}'}}"
#define PART_BROKEN "{name: broken, upstream: u, path: \"/{ok./x}\", required: true}"

static void required_parts_decide_the_status(void **state)
{
    static const struct {
        const char *parts;
        int status;
    } cases[] = {
        {"[" PART_GOOD "]", 200},
        {"[" PART_GOOD ", " PART_BAD "]", 502},
        {"[" PART_DEAD "]", 502},
        {"[" PART_NOT "]", 502},
        {"[" PART_LATE "]", 504},
        {"[" PART_BUSY1 ", " PART_BUSY2 "]", 503},
        {"[" PART_BUSY1 ", " PART_BUSY2 ", " PART_LATE "]", 504},
        {"[" PART_LATE ", " PART_BAD "]", 502},
        {"[" PART_WRONG "]", 422},
        {"[" PART_BAD ", " PART_WRONG "]", 422},
        {"[{name: ok, upstream: u, path: /, query: {json: '{{}}'}}, " PART_BROKEN "]", 502},
        /* skipped for one that is not required itself */
        {"[{name: a, upstream: u, path: /, timeout: 50ms, query: {stall: '1'}},"
         " {name: b, upstream: u, path: /, after: [a]},"
         " {name: c, upstream: u, path: /, after: [b], required: true}]",
         504},
        {"[{name: a, upstream: u, path: /, query: {status: '500'}}]", 200},
    };
    char parts[1024];
    NEED_MOCK();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(parts, sizeof(parts), "    parts: %s\n", cases[i].parts);
        int status = status_of_parts(parts);
        if (status != cases[i].status)
            fail_msg("%d instead of %d for %s", status, cases[i].status, cases[i].parts);
    }
}

#define OPTIONAL_BAD   "{name: bad, upstream: u, path: /, query: {status: '500'}}"
#define OPTIONAL_LATE  "{name: late, upstream: u, path: /, timeout: 50ms, query: {stall: '1'}}"
#define OPTIONAL_NEVER "{name: late, upstream: u, path: /, query: {stall: '1'}}"
#define OPTIONAL_OK    "{name: ok, upstream: u, path: /}"

static void without_enough_all_that_failed_decide(void **state)
{
    NEED_MOCK();

    assert_int_equal(status_of_parts("    mode: first\n    parts: [" OPTIONAL_BAD ", " OPTIONAL_OK "]\n"),
                     200);
    assert_int_equal(status_of_parts("    mode: first\n    parts: [" OPTIONAL_BAD ", " OPTIONAL_LATE "]\n"),
                     502);
    assert_int_equal(status_of_parts("    mode: first\n    parts: [" OPTIONAL_LATE "]\n"), 504);
    assert_int_equal(
        status_of_parts("    mode: quorum\n    quorum: 2\n    parts: [" OPTIONAL_OK ", " OPTIONAL_LATE "]\n"),
        504);
}

static void who_is_refused_hears_when_to_come_again(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n    timeout: 1m\n    parts: [" PART_BUSY1 ", " PART_BUSY2 "]\n");
    run(&rig, NO_REQUEST);
    assert_int_equal(answer_retry_after_s(rig.run),
                     MAX(outcome_of(&rig, "busy2").retry_after_s, UINT64_C(1)));
    run_end(&rig);
    rig_end(&rig);
}

/* ---- JSON ---- */

static void all_parts_are_in_it(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    parts:\n"
                    "      - {name: b, upstream: u, path: /, query: {json: '{{\"x\": 1}}', delay: '20'}}\n"
                    "      - {name: a, upstream: u, path: /, query: {json: '[2]'}}\n");
    run(&rig, NO_REQUEST);
    assert_answer(
        &rig, "{\"parts\":{\"b\":{\"x\": 1},\"a\":[2]},\"complete\":true,\"errors\":{},\"total_time\":1.5}");
    run_end(&rig);
    rig_end(&rig);
}

static void each_part_that_failed_says_why(void **state)
{
    struct rig rig;
    const char *reason;
    const char *error;
    int status;
    int attempts;
    double elapsed;
    int complete;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {status: '418'}}\n"
                    "      - {name: b, upstream: u, path: /, after: [a]}\n"
                    "      - {name: c, upstream: u, path: /, query: {json: '3'}}\n");
    run(&rig, NO_REQUEST);
    json_t *json = answer_of(&rig);
    assert_int_equal(
        json_unpack(json, "{s:{s:i!}, s:b, s:{s:{s:s, s:s, s:i, s:i, s:F!}, s:{s:s, s:s!}!}, s:F!}", "parts",
                    "c", &status, "complete", &complete, "errors", "a", "reason", &reason, "error", &error,
                    "status", &status, "attempts", &attempts, "elapsed", &elapsed, "b", "reason", &error,
                    "error", &error, "total_time", &elapsed),
        0);
    assert_string_equal(reason, "http_status");
    assert_int_equal(status, 418);
    assert_int_equal(attempts, 1);
    assert_false(complete);
    json_decref(json);
    run_end(&rig);
    rig_end(&rig);
}

static void what_was_not_needed_is_no_error(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n    mode: first\n    parts: [" OPTIONAL_NEVER ", " OPTIONAL_BAD ",\n"
                    "      {name: ok, upstream: u, path: /, query: {json: '1', delay: '50'}}]\n");
    run(&rig, NO_REQUEST);
    json_t *json = answer_of(&rig);
    assert_int_equal(json_object_size(json_object_get(json, "errors")), 1);
    assert_non_null(json_object_get(json_object_get(json, "errors"), "bad"));
    assert_true(json_is_true(json_object_get(json, "complete")));
    json_decref(json);
    run_end(&rig);
    rig_end(&rig);
}

static void an_answer_that_does_not_fit_has_failed(void **state)
{
    struct buf out = BUF_INIT(60);
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n    parts: [{name: a, upstream: u, path: /, query: {size: '100'}}]\n");
    run(&rig, NO_REQUEST);
    answer_append_json(&out, rig.run, 1);
    assert_true(out.failed);
    buf_done(&out);
    run_end(&rig);
    rig_end(&rig);
}

/* ---- merged ---- */

static void members_of_all_parts_are_merged(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(
        &rig,
        "  - path: /e\n"
        "    merge: flat\n"
        "    parts:\n"
        "      - {name: a, upstream: u, path: /, query: {json: ' {{ \"x\" : 1.0, \"x2\": [] }} '}}\n"
        "      - {name: b, upstream: u, path: /, query: {json: '{{}}'}}\n"
        "      - {name: c, upstream: u, path: /, query: {status: '204'}}\n"
        "      - {name: d, upstream: u, path: /, select: /d, query: {json: '{{\"d\": {{\"y\": {{}}}}}}'}}\n");
    run(&rig, NO_REQUEST);
    assert_answer(&rig, "{\"x\":1.0,\"x2\":[],\"y\":{}}");
    assert_int_equal(answer_status(rig.run), 200);
    run_end(&rig);
    rig_end(&rig);
}

static void nothing_merges_to_an_empty_object(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n    merge: flat\n    parts: [{name: a, upstream: u, path: /, query: "
                    "{json: '{{}}'}}]\n");
    run(&rig, NO_REQUEST);
    assert_answer(&rig, "{}");
    run_end(&rig);
    rig_end(&rig);
}

static void a_member_of_two_parts_is_an_error_of_the_later(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    merge: flat\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {json: '{{\"x\": 1}}', delay: '30'}}\n"
                    "      - {name: b, upstream: u, path: /, required: true, query: {json: '{{\"y\": 1, "
                    "\"\\u0078\": 2}}'}}\n"
                    "      - {name: c, upstream: u, path: /, query: {json: '{{\"errors\": []}}'}}\n"
                    "      - {name: d, upstream: u, path: /, query: {json: '[]'}}\n"
                    "      - {name: e, upstream: u, path: /, query: {json: '{{\"y\": 5}}'}}\n");
    run(&rig, NO_REQUEST);
    assert_fails(&rig, "b", "duplicate_key");
    assert_fails(&rig, "c", "duplicate_key");
    assert_fails(&rig, "d", "not_an_object");
    assert_value(&rig, "e", "{\"y\": 5}");
    assert_int_equal(answer_status(rig.run), 502);
    json_t *json = answer_of(&rig);
    assert_int_equal(json_object_size(json), 4);
    assert_int_equal(json_integer_value(json_object_get(json, "x")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "y")), 5);
    assert_true(json_is_false(json_object_get(json, "complete")));
    assert_int_equal(json_object_size(json_object_get(json, "errors")), 3);
    json_decref(json);
    run_end(&rig);
    rig_end(&rig);
}

/* ---- events ---- */

static void an_event_is_one_line(void **state)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e/{id}\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {json: \"[1,{id}2]\"}}\n"
                    "      - {name: b, upstream: u, path: /, required: true, query: {status: '500'}}\n");
    run(&rig, (struct client_request){.path_arg = "\r\n\n"});
    answer_append_part_event(&out, rig.run, 0);
    buf_append(&out, "", 1);
    assert_ptr_equal(strstr(out.data, "{\"part\":\"a\",\"value\":[1,   2],\"elapsed\":"), out.data);
    out.size = 0;
    answer_append_part_event(&out, rig.run, 1);
    buf_append(&out, "", 1);
    assert_ptr_equal(strstr(out.data, "{\"part\":\"b\",\"reason\":\"http_status\",\"error\":\"HTTP 500"),
                     out.data);
    out.size = 0;
    answer_append_summary_event(&out, rig.run, 2 * NS_PER_SEC);
    buf_append(&out, "", 1);
    assert_ptr_equal(strstr(out.data, "{\"complete\":false,\"errors\":{\"b\":{"), out.data);
    assert_non_null(strstr(out.data, "},\"status\":502,\"total_time\":2.0}"));
    run_end(&rig);
    rig_end(&rig);
}

/* ---- headers ---- */

static void server_timing_has_an_entry_for_each_part(void **state)
{
    char text[ANSWER_TIMING_SIZE];
    unsigned whole;
    unsigned tenths;
    int end = 0;
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {delay: '20'}}\n"
                    "      - {name: b, upstream: u, path: /, query: {status: '500'}}\n"
                    "      - {name: c, upstream: u, path: /, after: [b]}\n");
    run(&rig, NO_REQUEST);
    size_t length = answer_format_server_timing(rig.run, text);
    assert_int_equal(length, strlen(text));
    assert_int_equal(sscanf(text, "a;dur=%u.%1u, b;dur=%*u.%*1u;desc=\"http_status\", c;desc=\"skipped\"%n",
                            &whole, &tenths, &end),
                     2);
    assert_true(whole >= 20);
    assert_int_equal(end, strlen(text));
    run_end(&rig);
    rig_end(&rig);
}

static void proxy_status_says_why(void **state)
{
    char text[ANSWER_PROXY_STATUS_SIZE];
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    timeout: 1m\n"
                    "    parts:\n"
                    "      - {name: ok, upstream: u, path: /}\n"
                    "      - {name: a, upstream: u, path: /, query: {status: '503'}}\n"
                    "      - {name: b, upstream: dead, path: /}\n"
                    "      - {name: c, upstream: u, path: /, timeout: 50ms, query: {stall: '1'}}\n"
                    "      - {name: d, upstream: u, path: /, after: [b]}\n"
                    "      - {name: e, upstream: u, path: /, query: {json: '1'},\n"
                    "         select: \"/a\\\"\\\\é\"}\n");
    run(&rig, NO_REQUEST);
    size_t length = answer_format_proxy_status(rig.run, text);
    assert_int_equal(length, strlen(text));
    assert_ptr_equal(strstr(text, "heddle; received-status=503; details=\"a: HTTP 503"), text);
    assert_non_null(strstr(text, ", heddle; error=connection_refused; details=\"b: "));
    assert_non_null(strstr(text, ", heddle; error=http_response_timeout; details=\"c: "));
    assert_non_null(
        strstr(text, ", heddle; received-status=200; details=\"e: there is no /a\\\"\\\\?? in the answer\""));
    assert_null(strstr(text, "d: "));
    assert_null(strstr(text, "ok"));
    run_end(&rig);
    rig_end(&rig);
}

static void without_failures_there_is_no_proxy_status(void **state)
{
    char text[ANSWER_PROXY_STATUS_SIZE] = "x";
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n    mode: first\n    parts: [" OPTIONAL_NEVER ", " OPTIONAL_OK "]\n");
    run(&rig, NO_REQUEST);
    assert_int_equal(answer_format_proxy_status(rig.run, text), 0);
    assert_string_equal(text, "");
    run_end(&rig);
    rig_end(&rig);
}

static void headers_are_cut_between_entries(void **state)
{
    cleanup(buf_done) struct buf yaml = BUF_INIT(1 << 16);
    char text[ANSWER_TIMING_SIZE];
    char status[ANSWER_PROXY_STATUS_SIZE];
    unsigned more = 0;
    size_t entries = 1;
    struct rig rig;
    NEED_MOCK();

    buf_append_str(&yaml, "  - path: /e\n    parts:\n");
    for (int i = 0; i < CONFIG_PARTS_MAX; i++)
        buf_printf(&yaml, "      - {name: a_part_with_quite_a_long_name_%d, upstream: dead, path: /}\n", i);
    buf_append(&yaml, "", 1);
    rig_start(&rig, yaml.data);
    run(&rig, NO_REQUEST);
    size_t length = answer_format_server_timing(rig.run, text);
    assert_int_equal(length, strlen(text));
    assert_true(length < ANSWER_TIMING_SIZE && length > ANSWER_TIMING_SIZE - 100);
    for (const char *p = strchr(text, ','); p; p = strchr(p + 1, ','))
        entries++;
    assert_int_equal(sscanf(strrchr(text, ','), ", more;desc=\"%u\"", &more), 1);
    assert_int_equal(more + entries - 1, CONFIG_PARTS_MAX);
    length = answer_format_proxy_status(rig.run, status);
    assert_true(length < ANSWER_PROXY_STATUS_SIZE && length > ANSWER_PROXY_STATUS_SIZE - 300);
    assert_int_equal(status[length - 1], '"');
    run_end(&rig);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(required_parts_decide_the_status),
        cmocka_unit_test(without_enough_all_that_failed_decide),
        cmocka_unit_test(who_is_refused_hears_when_to_come_again),
        cmocka_unit_test(all_parts_are_in_it),
        cmocka_unit_test(each_part_that_failed_says_why),
        cmocka_unit_test(what_was_not_needed_is_no_error),
        cmocka_unit_test(an_answer_that_does_not_fit_has_failed),
        cmocka_unit_test(members_of_all_parts_are_merged),
        cmocka_unit_test(nothing_merges_to_an_empty_object),
        cmocka_unit_test(a_member_of_two_parts_is_an_error_of_the_later),
        cmocka_unit_test(an_event_is_one_line),
        cmocka_unit_test(server_timing_has_an_entry_for_each_part),
        cmocka_unit_test(proxy_status_says_why),
        cmocka_unit_test(without_failures_there_is_no_proxy_status),
        cmocka_unit_test(headers_are_cut_between_entries),
    };

    return cmocka_run_group_tests_name("answer", tests, mock_set_up, mock_tear_down);
}
