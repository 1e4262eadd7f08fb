#include "harness.h"

#include "base/json_pointer.h"

/* The document of RFC 6901, section 5, and arrays. */
static const char document[] =
    "{\"foo\": [\"bar\", \"baz\"], \"\": 0, \"a/b\": 1, \"c%d\": 2, \"e^f\": 3, \"g|h\": 4,"
    " \"i\\\\j\": 5, \"k\\\"l\": 6, \" \": 7, \"m~n\": 8, \"~1\": 9, \"01\": 10,"
    " \"deep\": [[{\"x\": {\"y\": 11}}]], \"null\": null}";

static json_t *load(void)
{
    json_t *json = json_loads(document, 0, NULL);

    assert_non_null(json);
    return json;
}

static void places_of_the_rfc_are_found(void **state)
{
    static const struct {
        const char *pointer;
        int value;
    } cases[] = {{"/", 0},     {"/a~1b", 1}, {"/c%d", 2},  {"/e^f", 3}, {"/g|h", 4}, {"/i\\j", 5},
                 {"/k\"l", 6}, {"/ ", 7},    {"/m~0n", 8}, {"/~01", 9}, {"/01", 10}, {"/deep/0/0/x/y", 11}};
    json_t *json = load();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(json_pointer_check(cases[i].pointer, NULL), 0);
        const json_t *place = json_pointer_get(json, cases[i].pointer);
        assert_true(json_is_integer(place));
        assert_int_equal(json_integer_value(place), cases[i].value);
    }
    assert_ptr_equal(json_pointer_get(json, ""), json);
    assert_string_equal(json_string_value(json_pointer_get(json, "/foo/1")), "baz");
    assert_true(json_is_null(json_pointer_get(json, "/null")));
    json_decref(json);
}

static void what_is_not_there_is_no_place(void **state)
{
    static const char *const pointers[] = {"/bar",
                                           "/foo/2",
                                           "/foo/-",
                                           "/foo/01",
                                           "/foo/+0",
                                           "/foo/ 0",
                                           "/foo/0x",
                                           "/foo/",
                                           "/foo/0/",
                                           "/foo/0/0",
                                           "/null/a",
                                           "/foo/1e0",
                                           "//",
                                           "/a~1b/0",
                                           "/foo/00",
                                           "/FOO",
                                           "/foo/-1",
                                           "/foo/18446744073709551616",
                                           "/foo/99999999999999999999999999",
                                           "/foo/9999999999999999999"};
    json_t *json = load();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(pointers); i++)
        assert_null(json_pointer_get(json, pointers[i]));
    assert_null(json_pointer_get(NULL, "/a"));
    assert_null(json_pointer_get(NULL, ""));
    json_decref(json);
}

static void malformed_pointers_are_refused(void **state)
{
    static const char *const pointers[] = {"a", "foo/bar", "/~", "/~2", "/a~", "/a~/b", "~0", " /a", "#/a"};
    struct err err = {0};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(pointers); i++) {
        err.text[0] = '\0';
        assert_int_equal(json_pointer_check(pointers[i], &err), -EINVAL);
        assert_true(strlen(err.text) > 0);
    }
}

static void the_longest_pointer_is_found_and_a_longer_one_refused(void **state)
{
    char name[JSON_POINTER_MAX_BYTES / 2];
    char pointer[JSON_POINTER_MAX_BYTES + 2] = "/~0";
    (void)state;

    /* Names of as many tildes as fit, each of them two bytes in the pointer. */
    memset(name, '~', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (size_t i = 1; i + 2 < sizeof(pointer); i += 2)
        memcpy(pointer + i, "~0", 3);
    pointer[JSON_POINTER_MAX_BYTES - 1] = '\0';
    json_t *json = json_pack("{s: i}", name, 7);
    assert_int_equal(json_pointer_check(pointer, NULL), 0);
    assert_int_equal(json_integer_value(json_pointer_get(json, pointer)), 7);
    json_decref(json);

    memset(pointer, 'a', sizeof(pointer));
    pointer[0] = '/';
    pointer[JSON_POINTER_MAX_BYTES] = '\0';
    assert_int_equal(json_pointer_check(pointer, NULL), 0);
    pointer[JSON_POINTER_MAX_BYTES] = 'a';
    pointer[JSON_POINTER_MAX_BYTES + 1] = '\0';
    assert_int_equal(json_pointer_check(pointer, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_of_the_rfc_are_found),
        cmocka_unit_test(what_is_not_there_is_no_place),
        cmocka_unit_test(malformed_pointers_are_refused),
        cmocka_unit_test(the_longest_pointer_is_found_and_a_longer_one_refused),
    };

    return cmocka_run_group_tests_name("json_pointer", tests, NULL, NULL);
}
