/* Endpoints run against the mock upstream: what is sent, what becomes of what comes. */
#include "plan_rig.h"

/* ---- what is sent ---- */

static void values_go_to_their_places_escaped(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig,
              "  - path: /e/{id}\n"
              "    parts:\n"
              "      - name: a\n"
              "        upstream: v\n"
              "        path: \"/x/{id}/y z\"\n"
              "        query: {echo: '1', \"x_é\": \"{query.q:none}\", x_id: \"<{id}>\"}\n"
              "        headers: {X-Id: \"id {id}\", Accept-Language: \"{header.Accept-Language:de}\"}\n");
    run(&rig, (struct client_request){.path_arg = "a/b?c#d&e=f%\xc3\xa9", .query = "q=1%262%3D+3&z=1"});
    assert_fails(&rig, "a", "bad_request"); /* not in a header */
    assert_true(outcome_of(&rig, "a").is_clients_fault);
    assert_int_equal(outcome_of(&rig, "a").attempts, 0);
    run_end(&rig);

    run(&rig, (struct client_request){.path_arg = "a/b?c#d&e=f%", .query = "q=1%262%3D+3&z=1"});
    assert_echo(&rig, "a", "path", "/base/x/a%2Fb%3Fc%23d%26e%3Df%25/y%20z");
    assert_echo(&rig, "a", "query", "echo=1&x_%C3%A9=1%262%3D%203&x_id=%3Ca%2Fb%3Fc%23d%26e%3Df%25%3E");
    assert_header(&rig, "a", "X-Id", "id a/b?c#d&e=f%");
    assert_header(&rig, "a", "Accept-Language", "de");
    run_end(&rig);
    rig_end(&rig);
}

static void a_value_cannot_change_where_a_part_leads(void **state)
{
    static const char *const values[] = {".",      "..",  "",  "@evil.example", "//evil.example/",
                                         "\\evil", ":80", "?", "%2f",           "a\r\nHost: evil"};
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e/{id}\n"
                    "    parts: [{name: a, upstream: u, path: \"/{id}\", query: {echo: '1'}}]\n");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        run(&rig, (struct client_request){.path_arg = values[i]});
        if (i < 3) {
            assert_fails(&rig, "a", "bad_request");
        } else {
            json_t *echo = echo_of(&rig, "a");
            assert_null(strpbrk(json_string_value(json_object_get(echo, "path")) + 1, "/@\\:?\r\n"));
            json_decref(echo);
        }
        run_end(&rig);
    }
    rig_end(&rig);
}

static void headers_go_along_by_the_lists_alone(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    forward_headers: [Authorization, X-Own]\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {echo: '1'}, headers: {x-own: mine}}\n"
                    "      - {name: b, upstream: v, path: /, query: {echo: '1'}}\n");
    run(&rig, (struct client_request){
                  .headers = {"Authorization", "secret", "X-Wish", "w", "Cookie", "c", "X-Own", "theirs"}});
    assert_header(&rig, "a", "Authorization", "secret");
    assert_header(&rig, "a", "X-Wish", "");
    assert_header(&rig, "a", "X-Own", "mine");
    assert_header(&rig, "b", "X-Own", "theirs");
    assert_header(&rig, "b", "X-Wish", "w");
    assert_header(&rig, "b", "Cookie", "");
    assert_header(&rig, "b", "X-Request-Id", "f00d");
    char *trace = header_of(&rig, "a", "traceparent");
    assert_non_null(strstr(trace, "0af7651916cd43dd8448eb211c80319c"));
    assert_null(strstr(trace, "b7ad6b7169203331"));
    free(trace);
    run_end(&rig);
    rig_end(&rig);
}

static void a_header_that_cannot_be_sent_on_is_left_out(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    forward_headers: [X-One]\n"
                    "    parts: [{name: a, upstream: u, path: /, query: {echo: '1'}}]\n");
    run(&rig, (struct client_request){.headers = {"X-One", "a\r\nX-Two: b"}});
    assert_header(&rig, "a", "X-One", "");
    assert_header(&rig, "a", "X-Two", "");
    run_end(&rig);
    rig_end(&rig);
}

static void bodies_are_json_whose_values_keep_their_types(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    method: POST\n"
                    "    parts:\n"
                    "      - name: a\n"
                    "        upstream: u\n"
                    "        method: PUT\n"
                    "        path: /\n"
                    "        query: {echo: '1'}\n"
                    "        body: '{\"n\": \"{body./n}\", \"all\": \"{body.}\", \"s\": \"<{body./s}>\"}'\n");
    run(&rig, (struct client_request){.body = "{\"n\": 7, \"s\": \"a\\\"b\"}"});
    assert_echo(&rig, "a", "method", "PUT");
    assert_echo(&rig, "a", "body", "{\"n\":7,\"all\":{\"n\":7,\"s\":\"a\\\"b\"},\"s\":\"<a\\\"b>\"}");
    assert_header(&rig, "a", "Content-Type", "application/json");
    run_end(&rig);
    rig_end(&rig);
}

/* ---- parts that need others ---- */

static void a_part_gets_what_another_has_brought(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig,
              "  - path: /e\n"
              "    parts:\n"
              "      - {name: late, upstream: u, path: \"/{early./id}\", select: /path, query: {echo: '1'}}\n"
              "      - {name: text, upstream: u, path: \"/\", select: /query,\n"
              "         query: {echo: '1', x_a: \"{early./a}\", x_none: \"{early./none:-}\", x_big: "
              "\"{early./big}\"}}\n"
              "      - {name: early, upstream: u, path: /, select: /data, drop: [a],\n"
              "         query: {json: '{{\"data\": {{\"id\": 7, \"a\": \"b/c\", \"big\": "
              "12345678901234567890123}}}}'}}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_value(&rig, "early", "{\"id\":7,\"big\":12345678901234567890123}");
    assert_value(&rig, "late", "\"/7\"");
    assert_value(&rig, "text", "\"echo=1&x_a=b%2Fc&x_none=-&x_big=12345678901234567890123\"");
    assert_int_equal(rig.ended[0], 2);
    run_end(&rig);
    rig_end(&rig);
}

static void what_another_has_not_brought_is_a_bad_request(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {json: '{{\"x\": {{}}}}'}}\n"
                    "      - {name: b, upstream: u, path: \"/{a./y}\"}\n"
                    "      - {name: c, upstream: u, path: \"/{a./x}\"}\n"
                    "      - {name: d, upstream: u, path: /, after: [c]}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_fails(&rig, "b", "bad_request");
    assert_fails(&rig, "c", "bad_request");
    assert_false(outcome_of(&rig, "b").is_clients_fault);
    assert_fails(&rig, "d", "skipped");
    assert_string_equal(outcome_of(&rig, "d").error, "not started: c has not succeeded");
    assert_int_equal(answer_status(rig.run), 200);
    run_end(&rig);
    rig_end(&rig);
}

/* ---- values ---- */

static void json_stays_as_it_came(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(
        &rig,
        "  - path: /e\n"
        "    parts:\n"
        "      - {name: a, upstream: u, path: /, query: {json: ' [1.10, 1e999, 12345678901234567890] '}}\n"
        "      - {name: b, upstream: u, path: /, select: /1, query: {json: '[0, {{\"x\": 1.0}}]'}}\n"
        "      - {name: c, upstream: u, path: /, pick: [b, a],\n"
        "         query: {json: '[{{\"a\": 1.0, \"b\": {{}}, \"c\": 0}}, 5, {{\"c\": 1}}]'}}\n"
        "      - {name: d, upstream: u, path: /, drop: [\"é\", x],\n"
        "         query: {json: '{{\"\\u00e9\": 1, \"y\": [ ]}}'}}\n"
        "      - {name: e, upstream: u, path: /, query: {status: '204'}}\n"
        "      - {name: f, upstream: u, path: /, query: {json: '', body: ''}}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_value(&rig, "a", "[1.10, 1e999, 12345678901234567890]");
    assert_value(&rig, "b", "{\"x\": 1.0}");
    assert_value(&rig, "c", "[{\"a\":1.0,\"b\":{}},5,{}]");
    assert_value(&rig, "d", "{\"y\":[ ]}");
    assert_value(&rig, "e", "null");
    assert_value(&rig, "f", "null");
    run_end(&rig);
    rig_end(&rig);
}

static void other_texts_become_strings(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(
        &rig,
        "  - path: /e\n"
        "    parts:\n"
        "      - {name: a, upstream: u, path: /, query: {body: \"say \\\"é\\\"\", type: text/plain}}\n"
        "      - {name: b, upstream: u, path: /, query: {body: \"é\", type: 'text/plain; charset=latin1'}}\n"
        "      - {name: c, upstream: u, path: /, select: /a, query: {body: \"{{}}\", type: text/html}}\n"
        "      - {name: d, upstream: u, path: \"/{b.}\", select: /path, query: {echo: '1'}}\n"
        "      - {name: e, upstream: u, path: \"/{b./x}\"}\n"
        "      - {name: f, upstream: u, path: /, query: {body: \"\xef\xbb\xbf\", type: text/plain}}\n"
        "      - {name: g, upstream: u, path: /, query: {size: '4', zeros: '1', type: text/plain}}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_value(&rig, "d", "\"/%C3%83%C2%A9\"");
    assert_fails(&rig, "e", "bad_request");
    assert_value(&rig, "f", "\"\"");
    assert_value(&rig, "g", "\"\\u0000\\u0000\\u0000\\u0000\"");
    assert_value(&rig, "a", "\"say \\\"\xc3\xa9\\\"\"");
    assert_value(&rig, "b", "\"\xc3\x83\xc2\xa9\"");
    assert_fails(&rig, "c", "bad_select");
    run_end(&rig);
    rig_end(&rig);
}

static void what_is_no_json_or_lacks_the_place_fails(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {json: '{{\"x\": 1'}}\n"
                    "      - {name: b, upstream: u, path: /, select: /y, query: {json: '{{\"x\": 1}}'}}\n"
                    "      - {name: c, upstream: u, path: /, query: {status: '500', json: '{{}}'}}\n"
                    "      - {name: d, upstream: dead, path: /}\n"
                    "      - {name: e, upstream: u, path: /, select: /y, query: {status: '204'}}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_fails(&rig, "a", "bad_json");
    assert_fails(&rig, "b", "bad_select");
    assert_fails(&rig, "c", "http_status");
    assert_int_equal(outcome_of(&rig, "c").status, 500);
    assert_int_equal(outcome_of(&rig, "c").attempts, 1);
    assert_fails(&rig, "d", "connect");
    assert_fails(&rig, "e", "bad_select");
    run_end(&rig);
    rig_end(&rig);
}

static void caps_hold_for_a_part_and_for_all_together(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    max_response: 100KiB\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, max_response: 1KiB, query: {size: '1024'}}\n"
                    "      - {name: b, upstream: u, path: /, max_response: 1KiB, query: {size: '1025'}}\n"
                    "      - {name: c, upstream: u, path: /, max_response: 1MiB, query: {size: '200000'}}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_int_equal(outcome_of(&rig, "a").state, PART_OK);
    assert_fails(&rig, "b", "too_large");
    assert_fails(&rig, "c", "too_large");
    assert_int_equal(atomic_load(&rig.budget.used), 1024); /* is held as long as the run is */
    run_end(&rig);
    assert_int_equal(atomic_load(&rig.budget.used), 0);
    rig_end(&rig);
}

/* ---- time, enough, cancels ---- */

static void no_part_lives_longer_than_the_answer(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    timeout: 1m\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {stall: '1'}}\n"
                    "      - {name: b, upstream: u, path: /, timeout: 20ms, query: {stall: '1'}}\n"
                    "      - {name: c, upstream: u, path: /, after: [b]}\n");
    run(&rig, (struct client_request){.deadline_ms = 300});
    assert_fails(&rig, "a", "timeout");
    assert_fails(&rig, "b", "timeout");
    assert_fails(&rig, "c", "skipped");
    assert_int_equal(rig.ended[0], 1);
    run_end(&rig);
    rig_end(&rig);
}

static double told_timeout_s(const struct rig *rig, const char *part)
{
    char *text = header_of(rig, part, "X-Request-Timeout");
    double timeout_s = -1;

    assert_int_equal(sscanf(text, "%lf", &timeout_s), 1);
    free(text);
    return timeout_s;
}

static void what_is_left_of_the_time_is_passed_on(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    timeout: 40s\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {echo: '1'}}\n"
                    "      - {name: b, upstream: u, path: /, timeout: 20s, query: {echo: '1'}}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_true(told_timeout_s(&rig, "a") > 20 && told_timeout_s(&rig, "a") <= 39.951);
    assert_true(told_timeout_s(&rig, "b") > 0 && told_timeout_s(&rig, "b") <= 20);
    run_end(&rig);
    rig_end(&rig);
}

static void the_first_success_is_enough(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    mode: first\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {stall: '1'}}\n"
                    "      - {name: b, upstream: u, path: /, query: {json: '1', delay: '50'}}\n"
                    "      - {name: c, upstream: dead, path: /}\n");
    run(&rig, (struct client_request){.query = NULL});
    assert_value(&rig, "b", "1");
    assert_fails(&rig, "a", "cancelled");
    assert_int_equal(outcome_of(&rig, "a").state, PART_CANCELLED);
    assert_fails(&rig, "c", "connect");
    assert_true(plan_run_is_complete(rig.run));
    run_end(&rig);
    rig_end(&rig);
}

static void cancelled_it_ends(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e\n"
                    "    parts:\n"
                    "      - {name: a, upstream: u, path: /, query: {stall: '1'}}\n"
                    "      - {name: b, upstream: u, path: /, after: [a]}\n");
    for (int is_started = 0; is_started < 2; is_started++) {
        struct client_request request = {.query = NULL};
        run_create(&rig, &request);
        if (!is_started)
            gather_cancel(rig.gather);
        gather_start(rig.gather);
        gather_cancel(rig.gather);
        run_wait(&rig);
        assert_fails(&rig, "a", "cancelled");
        assert_fails(&rig, "b", "cancelled");
        run_end(&rig);
    }
    rig_end(&rig);
}

static void given_up_before_its_start_it_leaves_nothing(void **state)
{
    struct client_request request = {.path_arg = "1"};
    struct rig rig;
    NEED_MOCK();

    rig_start(&rig, "  - path: /e/{id}\n"
                    "    forward_headers: [A]\n"
                    "    parts: [{name: a, upstream: u, path: \"/{id}\"}]\n");
    run_create(&rig, &request);
    gather_unref(rig.gather);
    assert_int_equal(atomic_load(&rig.released), 1);
    rig_end(&rig);
}

static void many_at_once_keep_their_values_apart(void **state)
{
    static struct rig rigs[40];
    char ids[ARRAY_LEN(rigs)][8];
    NEED_MOCK();

    rig_start(&rigs[0],
              "  - path: /e/{id}\n"
              "    parts:\n"
              "      - {name: a, upstream: u, path: \"/{id}\", select: /path, query: {echo: '1'}}\n"
              "      - {name: b, upstream: u, path: \"/{a.}\", select: /path, query: {echo: '1'}}\n");
    for (size_t i = 0; i < ARRAY_LEN(rigs); i++) {
        rigs[i].plan = rigs[0].plan;
        snprintf(ids[i], sizeof(ids[i]), "%zu", i);
        struct client_request request = {.path_arg = ids[i]};
        run_create(&rigs[i], &request);
        gather_start(rigs[i].gather);
    }
    for (size_t i = 0; i < ARRAY_LEN(rigs); i++) {
        char expected[32];
        run_wait(&rigs[i]);
        snprintf(expected, sizeof(expected), "\"/%zu\"", i);
        assert_value(&rigs[i], "a", expected);
        run_end(&rigs[i]);
    }
    rig_end(&rigs[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_go_to_their_places_escaped),
        cmocka_unit_test(a_value_cannot_change_where_a_part_leads),
        cmocka_unit_test(headers_go_along_by_the_lists_alone),
        cmocka_unit_test(a_header_that_cannot_be_sent_on_is_left_out),
        cmocka_unit_test(bodies_are_json_whose_values_keep_their_types),
        cmocka_unit_test(a_part_gets_what_another_has_brought),
        cmocka_unit_test(what_another_has_not_brought_is_a_bad_request),
        cmocka_unit_test(json_stays_as_it_came),
        cmocka_unit_test(other_texts_become_strings),
        cmocka_unit_test(what_is_no_json_or_lacks_the_place_fails),
        cmocka_unit_test(caps_hold_for_a_part_and_for_all_together),
        cmocka_unit_test(no_part_lives_longer_than_the_answer),
        cmocka_unit_test(what_is_left_of_the_time_is_passed_on),
        cmocka_unit_test(the_first_success_is_enough),
        cmocka_unit_test(cancelled_it_ends),
        cmocka_unit_test(given_up_before_its_start_it_leaves_nothing),
        cmocka_unit_test(many_at_once_keep_their_values_apart),
    };

    return cmocka_run_group_tests_name("plan", tests, mock_set_up, mock_tear_down);
}
