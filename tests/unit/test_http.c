#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/http.h"

static void status_has_a_reason_phrase(void **state)
{
    static const struct {
        int status;
        const char *phrase;
    } cases[] = {
        {200, "OK"},
        {202, "Accepted"},
        {404, "Not Found"},
        {413, "Content Too Large"},
        {503, "Service Unavailable"},
        {199, "Informational"},
        {299, "Success"},
        {399, "Redirection"},
        {499, "Client Error"},
        {599, "Server Error"},
        {600, "Unknown Status"},
        {99, "Unknown Status"},
        {0, "Unknown Status"},
        {-1, "Unknown Status"},
        {1 << 30, "Unknown Status"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(http_reason_phrase(cases[i].status), cases[i].phrase);
}

static void content_type_is_read_leniently(void **state)
{
    static const struct {
        const char *value;
        struct http_media_type media;
    } cases[] = {
        {NULL, {"", "", ""}},
        {"", {"", "", ""}},
        {"text/html", {"text", "html", ""}},
        {"  Text/HTML  ; Charset=UTF-8 ", {"text", "html", "UTF-8"}},
        {"text/html;charset=\"utf-8\"", {"text", "html", "utf-8"}},
        {"text/html;charset='utf-8'", {"text", "html", "utf-8"}},
        {"text/html;charset=iso-8859-1;x", {"text", "html", "iso-8859-1"}},
        {"text/html; x=\"a;charset=b\\\";\"; charset=c", {"text", "html", "c"}},
        {"text/html; charset = utf-8", {"text", "html", "utf-8"}},
        {"text/html; charset=a; charset=b", {"text", "html", "a"}},
        {"text/html;;; ;charset=a", {"text", "html", "a"}},
        {"text/html; charset", {"text", "html", ""}},
        {"text/html; charset=", {"text", "html", ""}},
        {"text/html; charset=\"", {"text", "html", ""}},
        {"text/html; charset=\"a\\", {"text", "html", "a\\"}},
        {"text/html; charset=\"utf-8", {"text", "html", "utf-8"}},
        {"text/html; xcharset=a; charsets=b", {"text", "html", ""}},
        {"charset=utf-8", {"", "", ""}},
        {"; charset=utf-8", {"", "", "utf-8"}},
        {"text; charset=utf-8", {"", "", "utf-8"}},
        {"/", {"", "", ""}},
        {"\xff\x01/\xfe", {"", "", ""}},
        {"image/svg+xml", {"image", "svg+xml", ""}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_media_type media;
        http_content_type_parse(cases[i].value, &media);
        assert_string_equal(media.type, cases[i].media.type);
        assert_string_equal(media.subtype, cases[i].media.subtype);
        assert_string_equal(media.charset, cases[i].media.charset);
    }
}

static void parts_that_do_not_fit_are_empty(void **state)
{
    struct http_media_type media;
    char value[8192 + 64];
    char *end = value;

    (void)state;
    memset(value, 'a', sizeof(value));
    end += 4096;
    memcpy(end, "/json;charset=", strlen("/json;charset="));
    value[sizeof(value) - 1] = '\0';
    http_content_type_parse(value, &media);
    assert_string_equal(media.type, "");
    assert_string_equal(media.subtype, "json");
    assert_string_equal(media.charset, "");

    /* Exactly as much as fits, and one more. */
    memcpy(value, "text/html;charset=", strlen("text/html;charset="));
    value[strlen("text/html;charset=") + sizeof(media.charset) - 1] = '\0';
    memset(value + strlen("text/html;charset="), 'c', sizeof(media.charset) - 1);
    http_content_type_parse(value, &media);
    assert_int_equal(strlen(media.charset), sizeof(media.charset) - 1);
    memcpy(value + strlen(value), "c", 2);
    http_content_type_parse(value, &media);
    assert_string_equal(media.charset, "");
}

static void json_is_recognised(void **state)
{
    static const char *const json[] = {"application/json", "Application/JSON; charset=utf-8",
                                       "application/problem+json", "application/vnd.api+json;v=1"};
    static const char *const other[] = {NULL,
                                        "",
                                        "text/json",
                                        "application/jsonp",
                                        "application/json-seq",
                                        "application/x+json2",
                                        "application/x-www-form-urlencoded",
                                        "json",
                                        "application/",
                                        "text/plain; a=application/json"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(json); i++)
        assert_true(http_is_json(json[i]));
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        assert_false(http_is_json(other[i]));
}

static void percent_escapes_are_decoded_strictly(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *decoded;
    } cases[] = {
        {"", 0, ""},
        {"a+b", 3, "a+b"},
        {"%2Fa%2f", 3, "/a/"},
        {"%C3%A9", 2, "\xc3\xa9"},
        {"%", -EINVAL, NULL},
        {"%2", -EINVAL, NULL},
        {"%zz", -EINVAL, NULL},
        {"%2g", -EINVAL, NULL},
        {"%00", -EINVAL, NULL},
        {"1234567", 7, "1234567"},
        {"12345678", -ENOSPC, NULL},
    };
    char decoded[8];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = http_percent_decode(cases[i].text, strlen(cases[i].text), decoded, sizeof(decoded));
        assert_int_equal(rc, cases[i].rc);
        if (rc >= 0)
            assert_string_equal(decoded, cases[i].decoded);
    }
    assert_int_equal(http_percent_decode("%41%41", 5, decoded, sizeof(decoded)), -EINVAL);
    assert_int_equal(http_percent_decode("", 0, decoded, 0), -ENOSPC);
}

static void query_parameter_is_found_and_decoded(void **state)
{
    static const struct {
        const char *query;
        int rc;
        const char *value;
    } cases[] = {
        {NULL, 0, ""},
        {"", 0, ""},
        {"limit=20", 1, "20"},
        {"a=1&limit=20&b=2", 1, "20"},
        {"limit", 1, ""},
        {"limit=", 1, ""},
        {"limit=a%2Fb+c", 1, "a/b c"},
        {"limit=a=b", 1, "a=b"},
        {"%6cimit=5", 1, "5"},
        {"&&=&limit=1&&", 1, "1"},
        {"limits=1&limi=2&Limit=3", 0, ""},
        {"a=%zz&limit=1", 1, "1"},
        {"%zz=1", 0, ""},
        {"a=limit=1", 0, ""},
    };
    struct err err = {.code = 0};
    char value[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(http_query_find(cases[i].query, "limit", value, sizeof(value), &err), cases[i].rc);
        assert_string_equal(value, cases[i].value);
    }
}

static void bad_query_parameter_is_refused_by_name(void **state)
{
    static const struct {
        const char *query;
        const char *text;
    } cases[] = {
        {"limit=1&limit=1", "the query parameter limit is given twice"},
        {"limit=%", "the query parameter limit is not well encoded"},
        {"limit=%00", "the query parameter limit is not well encoded"},
        {"limit=%ff", "the query parameter limit is not well encoded"},
        {"limit=12345678", "the query parameter limit is longer than 7 bytes"},
    };
    char value[8];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {.code = 0};
        assert_int_equal(http_query_find(cases[i].query, "limit", value, sizeof(value), &err), -EINVAL);
        assert_string_equal(err.text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_has_a_reason_phrase),
        cmocka_unit_test(content_type_is_read_leniently),
        cmocka_unit_test(parts_that_do_not_fit_are_empty),
        cmocka_unit_test(json_is_recognised),
        cmocka_unit_test(percent_escapes_are_decoded_strictly),
        cmocka_unit_test(query_parameter_is_found_and_decoded),
        cmocka_unit_test(bad_query_parameter_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
