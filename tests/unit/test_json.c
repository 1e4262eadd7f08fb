#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

static void object_is_parsed(void **state)
{
    cleanup(json_decref_scope) json_t *json = NULL;
    char field[JSON_FIELD_SIZE] = "";
    struct err err = {.code = 0};
    static const char body[] = " {\"message\": \"gr\xc3\xbc\xc3\x9f \\ud83d\\ude00\", \"duration\": 5}\r\n";

    (void)state;
    assert_int_equal(json_parse_body(body, strlen(body), &json, field, &err), 0);
    assert_string_equal(json_string_value(json_object_get(json, "message")),
                        "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
    assert_int_equal(json_integer_value(json_object_get(json, "duration")), 5);
}

static const struct {
    const char *body;
    size_t size;
    const char *text;
} refused[] = {
    {BYTES(""), "line 1, column 1 (byte 0): a JSON object is expected, there is nothing"},
    {BYTES(" \n "), "line 2, column 2 (byte 3): a JSON object is expected, there is nothing"},
    {BYTES("[1]"), "line 1, column 1 (byte 0): a JSON object is expected, it begins with '{'"},
    {BYTES("5"), "line 1, column 1 (byte 0): a JSON object is expected, it begins with '{'"},
    {BYTES("\xef\xbb\xbf{}"), "line 1, column 1 (byte 0): a JSON object is expected, it begins with '{'"},
    {BYTES("{\"a\":1,\"b\":2,\"a\":3}"), "line 1, column 17 (byte 16): duplicate object key near '\"a\"'"},
    {BYTES("{\"a\": tru}"), "line 1, column 10 (byte 9): invalid token near 'tru'"},
    {BYTES("{\"a\":1"), "line 1, column 7 (byte 6): '}' expected near end of file"},
    {BYTES("{\"a\":1,}"), "line 1, column 9 (byte 8): string or '}' expected near '}'"},
    {BYTES("{\"a\":1} {}"), "line 1, column 10 (byte 9): end of file expected near '{'"},
    {BYTES("{\"a\":NaN}"), "line 1, column 9 (byte 8): invalid token near 'NaN'"},
    {BYTES("{\"a\":1.}"), "line 1, column 8 (byte 7): invalid token near '1.'"},
    {BYTES("{\"a\":\n\n  'x'}"), "line 3, column 4 (byte 10): invalid token near '''"},
    {BYTES("{\"\xc3\xa9\xc3\xa9\":\xc3\xa9}"), "line 1, column 8 (byte 10): invalid token near '\xc3\xa9'"},
    {BYTES("{\"a\":\"\\u0000\"}"), "line 1, column 14 (byte 13): \\u0000 is not allowed in a string"},
    {BYTES("{\"a\\u0000\":1}"), "line 1, column 11 (byte 10): \\u0000 is not allowed in a string"},
    {BYTES("{\"a\":\0}"), "line 1, column 6 (byte 5): a NUL byte is not JSON"},
    {BYTES("{\"a\":\"x\xff\"}"), "line 1, column 8 (byte 7): unable to decode byte 0xff near '\"x'"},
    {BYTES("{\"a\":\"\xc3"), "line 1, column 7 (byte 6): unable to decode byte 0xc3 near '\"'"},
    {BYTES("{\"a\":\"\xed\xa0\x80\"}"), "line 1, column 7 (byte 6): unable to decode byte 0xed near '\"'"},
    {BYTES("{\"\\\xc3\xa9\":1}"), "line 1, column 5 (byte 4): invalid escape"},
    {BYTES("{\"a\":\"x\ny\"}"), "line 1, column 8 (byte 7): unexpected newline near '\"x'"},
};

static const struct {
    const char *body;
    const char *text;
    const char *field;
} too_large[] = {
    {"{\"a\":1e999}", "line 1, column 11 (byte 10): a must be a finite number, this one is too large", "a"},
    {"{\"b\":1,\"a\" :\n-99999999999999999999 }",
     "line 2, column 22 (byte 34): a must be a finite number, this one is too large", "a"},
    {"{\"a\":{\"\":1e999}}", "line 1, column 15 (byte 14): a number is too large", ""},
    {"{\"a\":[1,1e999]}", "line 1, column 14 (byte 13): a number is too large", ""},
    {"{\"12345678901234567890123456789012345678901\":1e999}",
     "line 1, column 51 (byte 50): a number is too large", ""},
};

static void number_that_is_too_large_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(too_large); i++) {
        json_t *json = NULL;
        char field[JSON_FIELD_SIZE] = "";
        struct err err = {.code = 0};
        assert_int_equal(json_parse_body(too_large[i].body, strlen(too_large[i].body), &json, field, &err),
                         -ERANGE);
        assert_int_equal(err.code, -ERANGE);
        assert_string_equal(err.text, too_large[i].text);
        assert_string_equal(field, too_large[i].field);
        assert_null(json);
    }
}

static void each_error_names_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        json_t *json = NULL;
        char field[JSON_FIELD_SIZE] = "";
        struct err err = {.code = 0};
        assert_int_equal(json_parse_body(refused[i].body, refused[i].size, &json, field, &err), -EINVAL);
        assert_null(json);
        assert_int_equal(err.code, -EINVAL);
        assert_string_equal(err.text, refused[i].text);
        assert_true(text_utf8_is_valid(err.text, strlen(err.text)));
    }
}

/* {"a":[[...]]} with so many levels. */
static void append_levels(struct buf *buf, size_t levels)
{
    buf_append_str(buf, "{\"a\":");
    for (size_t i = 1; i < levels; i++)
        buf_append_str(buf, "[");
    for (size_t i = 1; i < levels; i++)
        buf_append_str(buf, "]");
    buf_append_str(buf, levels == 1 ? "\"[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}" : "}");
}

static void depth_is_limited(void **state)
{
    static const struct {
        size_t levels;
        int rc;
    } cases[] = {{1, 0}, {JSON_DEPTH_MAX, 0}, {JSON_DEPTH_MAX + 1, -EINVAL}, {20000, -EINVAL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup(buf_done) struct buf body = BUF_INIT(1 << 20);
        cleanup(json_decref_scope) json_t *json = NULL;
        char field[JSON_FIELD_SIZE] = "";
        struct err err = {.code = 0};
        append_levels(&body, cases[i].levels);
        assert_int_equal(json_parse_body(body.data, body.size, &json, field, &err), cases[i].rc);
        if (cases[i].rc != 0)
            assert_string_equal(err.text,
                                "line 1, column 37 (byte 36): more than 32 levels of objects and arrays");
    }
}

/* Many siblings are not depth. */
static void siblings_are_not_depth(void **state)
{
    cleanup(buf_done) struct buf body = BUF_INIT(1 << 20);
    cleanup(json_decref_scope) json_t *json = NULL;
    char field[JSON_FIELD_SIZE] = "";
    struct err err = {.code = 0};

    (void)state;
    buf_append_str(&body, "{\"a\":[[]");
    for (size_t i = 0; i < 1000; i++)
        buf_append_str(&body, ",{},[]");
    buf_append_str(&body, "]}");
    assert_int_equal(json_parse_body(body.data, body.size, &json, field, &err), 0);
}

static void error_repeats_little_of_the_input(void **state)
{
    cleanup(buf_done) struct buf body = BUF_INIT(1 << 20);
    char field[JSON_FIELD_SIZE] = "";
    struct err err = {.code = 0};
    json_t *json = NULL;

    (void)state;
    buf_append_str(&body, "{\"a\":");
    for (size_t i = 0; i < 1000; i++)
        buf_append_str(&body, "xxxxxxxxxx");
    assert_int_equal(json_parse_body(body.data, body.size, &json, field, &err), -EINVAL);
    assert_null(strstr(err.text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
}

static void expect_dump(json_t *json, const char *expected)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);

    assert_non_null(json);
    json_dump(json, &out);
    json_decref(json);
    buf_append(&out, "", 1);
    assert_false(out.failed);
    assert_string_equal(out.data, expected);
}

static void dump_is_compact_and_plain(void **state)
{
    (void)state;
    expect_dump(json_object(), "{}");
    expect_dump(json_pack("{s:s, s:[i,b,n]}", "url", "http://a/b?c=\"d\"\\", "list", -5, true),
                "{\"url\":\"http://a/b?c=\\\"d\\\"\\\\\",\"list\":[-5,true,null]}");
    expect_dump(json_pack("[s]", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \xe2\x80\xa8"),
                "[\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \xe2\x80\xa8\"]");
    expect_dump(json_pack("[s%]", "a\0b\n\x1f", (size_t)5), "[\"a\\u0000b\\n\\u001F\"]");
}

static void reals_are_short_and_exact(void **state)
{
    (void)state;
    expect_dump(json_pack("[f,f,f,f]", 1.003, 0.1 + 0.2, 5.0, 0.000123),
                "[1.003,0.30000000000000004,5.0,0.000123]");
}

static void dump_reports_through_the_buffer(void **state)
{
    cleanup(buf_done) struct buf out = BUF_INIT(10);
    cleanup(buf_done) struct buf none = BUF_INIT(10);
    cleanup(json_decref_scope) json_t *json = json_pack("[s]", "0123456789");

    (void)state;
    json_dump(json, &out);
    assert_true(out.failed);
    json_dump(NULL, &none);
    assert_true(none.failed);
}

/* What json_append_string makes of it must be what jansson makes of it. */
static void expect_same_string(const char *text, size_t size)
{
    cleanup(buf_done) struct buf dumped = BUF_INIT(1 << 20);
    cleanup(buf_done) struct buf appended = BUF_INIT(1 << 20);
    cleanup(json_decref_scope) json_t *json = json_pack("[s%]", text, size);

    assert_non_null(json);
    json_dump(json, &dumped);
    buf_append_str(&appended, "[");
    json_append_string(&appended, text, size);
    buf_append_str(&appended, "]");
    assert_false(dumped.failed || appended.failed);
    assert_int_equal(appended.size, dumped.size);
    assert_memory_equal(appended.data, dumped.data, dumped.size);
}

static void appended_string_is_the_librarys(void **state)
{
    static const char mixed[] = "gr\xc3\xbc\xc3\x9f \"quoted\" \\ a/b \xf0\x9f\x98\x80\r\n";
    char text[3] = "x?y";

    (void)state;
    expect_same_string("", 0);
    expect_same_string(mixed, strlen(mixed));
    for (int c = 0; c < 128; c++) {
        text[1] = (char)c;
        expect_same_string(text, sizeof(text));
        expect_same_string(text + 1, 1);
    }
}

static void appended_seconds_are_short(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {499, "0.0"},
        {500, "0.000001"},
        {1003 * NS_PER_MS, "1.003"},
        {50123456, "0.050123"},
        {999999500, "1.0"},
        {10 * NS_PER_SEC, "10.0"},
        {UINT64_MAX, "18446744073.709552"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup(buf_done) struct buf out = BUF_INIT(64);
        json_append_seconds(&out, cases[i].ns);
        buf_append(&out, "", 1);
        assert_string_equal(out.data, cases[i].text);
    }
}

static void value_is_an_object_or_an_array(void **state)
{
    static const char *const good[] = {"{}", " [] ", "[1, {\"a\": [null, true]}]", "{\"a\":[]}"};
    static const struct {
        const char *text;
        int code;
        const char *error;
    } bad[] = {
        {"", -EINVAL, "line 1, column 1 (byte 0): a JSON object or array is expected, there is nothing"},
        {" 5", -EINVAL,
         "line 1, column 2 (byte 1): a JSON object or array is expected, it begins with '{' or '['"},
        {"[1,1e999]", -ERANGE, "line 1, column 9 (byte 8): a number is too large"},
        {"[1] 2", -EINVAL, "line 1, column 6 (byte 5): end of file expected near '2'"},
    };
    char field[JSON_FIELD_SIZE] = "";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cleanup(json_decref_scope) json_t *json = NULL;
        assert_int_equal(json_parse_value(good[i], strlen(good[i]), &json, field, NULL), 0);
        assert_non_null(json);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {.code = 0};
        json_t *json = NULL;
        assert_int_equal(json_parse_value(bad[i].text, strlen(bad[i].text), &json, field, &err), bad[i].code);
        assert_string_equal(err.text, bad[i].error);
        assert_null(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_is_parsed),
        cmocka_unit_test(each_error_names_its_place),
        cmocka_unit_test(number_that_is_too_large_is_named),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(siblings_are_not_depth),
        cmocka_unit_test(error_repeats_little_of_the_input),
        cmocka_unit_test(dump_is_compact_and_plain),
        cmocka_unit_test(reals_are_short_and_exact),
        cmocka_unit_test(dump_reports_through_the_buffer),
        cmocka_unit_test(appended_string_is_the_librarys),
        cmocka_unit_test(appended_seconds_are_short),
        cmocka_unit_test(value_is_an_object_or_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
