/* Against jansson and json_pointer.h it is compared by tests/fuzz/fuzz_json_text.c. */
#include "harness.h"

#include "base/json_pointer.h"
#include "base/json_text.h"

static struct json_piece checked(const char *text)
{
    struct json_piece json = {NULL, 0};
    struct err err = {0};

    if (json_text_check(text, strlen(text), &json, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return json;
}

static void assert_piece(struct json_piece piece, const char *expected)
{
    if (piece.size != strlen(expected) || memcmp(piece.text, expected, piece.size) != 0)
        fail_msg("%.*s instead of %s", (int)piece.size, piece.text, expected);
}

static void values_of_all_types_are_json(void **state)
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-12.50e+3",
        "1E9",
        "1e999999",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\xc3\xa9\"",
        "[]",
        "{}",
        "[[],[{}]]",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"\":0}",
        "\"\\u0000\"",
        "\"\x7f\"",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_piece(checked(texts[i]), texts[i]);
}

static void white_space_and_a_byte_order_mark_are_left_out(void **state)
{
    (void)state;
    assert_piece(checked(" \t\r\n[ 1 , 2 ] \n"), "[ 1 , 2 ]");
    assert_piece(checked("\xef\xbb\xbf{ }"), "{ }");
}

static void what_is_no_json_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "nul",
        "nulls",
        "True",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "'a'",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\n\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{1:2}",
        "{\"a\":1]",
        "1 2",
        "{}{}",
        "\"\xff\"",
        "\"\xc3\"",
        "// x\n1",
        "\xef\xbb\xbf",
        "[1]]",
        "\"\xed\xa0\x80\"",
    };
    struct json_piece json;
    struct err err;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        err = (struct err){0};
        if (json_text_check(texts[i], strlen(texts[i]), &json, &err) == 0)
            fail_msg("%s", texts[i]);
        assert_int_equal(err.code, -EINVAL);
        assert_true(err.text[0] != '\0');
    }
    assert_true(json_text_check("1\0", 2, &json, &err) < 0);
    assert_true(json_text_check(NULL, 0, &json, &err) < 0);
}

static void no_more_than_so_many_levels(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(1 << 16);
    struct json_piece json;
    (void)state;

    for (int more = 0; more < 2; more++) {
        text.size = 0;
        for (int i = 0; i < JSON_TEXT_DEPTH_MAX + more; i++)
            buf_append_str(&text, i % 2 ? "[" : "{\"a\":");
        buf_append_str(&text, "1");
        for (int i = JSON_TEXT_DEPTH_MAX + more; i-- > 0;)
            buf_append_str(&text, i % 2 ? "]" : "}");
        assert_int_equal(json_text_check(text.data, text.size, &json, NULL), more ? -EINVAL : 0);
    }
    /* a hostile one: no stack is used up */
    text.size = 0;
    for (int i = 0; i < 60000; i++)
        buf_append_str(&text, "[");
    assert_int_equal(json_text_check(text.data, text.size, &json, NULL), -EINVAL);
}

/* The document of RFC 6901, section 5, and arrays. */
static const char document[] =
    "{\"foo\": [\"bar\", \"baz\"], \"\": 0, \"a/b\": 1, \"c%d\": 2, \"m~n\": 8, \"k\\\"l\": 6, \"\\u00e9\": "
    "[ ],"
    " \"deep\": [[{\"x\": {\"y\": 1.50}}], \"]}\\\\\"], \"twice\": 1, \"twic\\u0065\": 2}";

static void places_are_found(void **state)
{
    static const char *const cases[][2] = {
        {"/foo", "[\"bar\", \"baz\"]"},
        {"/foo/1", "\"baz\""},
        {"/", "0"},
        {"/a~1b", "1"},
        {"/c%d", "2"},
        {"/m~0n", "8"},
        {"/k\"l", "6"},
        {"/\xc3\xa9", "[ ]"},
        {"/deep/0/0/x/y", "1.50"},
        {"/deep/1", "\"]}\\\\\""},
        {"/twice", "2"},
    };
    struct json_piece json = checked(document);
    struct json_piece place;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!json_text_find(json, cases[i][0], &place))
            fail_msg("%s", cases[i][0]);
        assert_piece(place, cases[i][1]);
    }
    assert_true(json_text_find(json, "", &place));
    assert_piece(place, document);
}

static void what_is_not_there_is_no_place(void **state)
{
    static const char *const pointers[] = {
        "/bar",   "/foo/2",   "/foo/-",  "/foo/01",  "/foo/+0",
        "/foo/",  "/foo/0/0", "/a~1b/0", "/FOO",     "/foo/18446744073709551616",
        "/c%d/x", "/fo",      "/fooo",   "/deep/1/0"};
    struct json_piece json = checked(document);
    struct json_piece place = {NULL, 0};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(pointers); i++)
        if (json_text_find(json, pointers[i], &place))
            fail_msg("%s", pointers[i]);
    assert_null(place.text);
}

static void members_come_one_by_one(void **state)
{
    struct json_piece json = checked("{ \"a\\u0062\" : [1,2] , \"c\":{\"d\":\"}\"},\"e\":-1 }");
    struct json_member member;
    size_t at = 0;
    (void)state;

    assert_true(json_text_is_object(json) && !json_text_is_array(json));
    assert_true(json_text_next(json, &at, &member));
    assert_piece(member.name, "\"a\\u0062\"");
    assert_piece(member.value, "[1,2]");
    assert_true(json_text_equals(member.name, "ab", 2));
    assert_false(json_text_equals(member.name, "a", 1) || json_text_equals(member.name, "abc", 3));
    assert_true(json_text_next(json, &at, &member));
    assert_piece(member.value, "{\"d\":\"}\"}");
    assert_true(json_text_next(json, &at, &member));
    assert_piece(member.value, "-1");
    assert_false(json_text_next(json, &at, &member));
    assert_false(json_text_next(json, &at, &member));
}

static void elements_have_no_name(void **state)
{
    struct json_piece json = checked("[ null , \"x\",[] ]");
    struct json_member element;
    size_t count = 0;
    (void)state;

    for (size_t at = 0; json_text_next(json, &at, &element); count++)
        assert_int_equal(element.name.size, 0);
    assert_int_equal(count, 3);
    for (size_t at = 0; json_text_next(checked("[ ]"), &at, &element);)
        fail();
}

static void strings_are_decoded(void **state)
{
    char text[64];
    struct json_piece string = checked("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\\u20ac\\ud83d\\ude00z\"");
    (void)state;

    size_t size = json_text_decode(string, text);
    assert_int_equal(size, 9 + 1 + 2 + 3 + 4 + 1);
    assert_memory_equal(text, "a\"\\/\b\f\n\r\t\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", size);
    assert_int_equal(json_text_decode(checked("\"\""), text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_all_types_are_json),
        cmocka_unit_test(white_space_and_a_byte_order_mark_are_left_out),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(no_more_than_so_many_levels),
        cmocka_unit_test(places_are_found),
        cmocka_unit_test(what_is_not_there_is_no_place),
        cmocka_unit_test(members_come_one_by_one),
        cmocka_unit_test(elements_have_no_name),
        cmocka_unit_test(strings_are_decoded),
    };

    return cmocka_run_group_tests_name("json_text", tests, NULL, NULL);
}
