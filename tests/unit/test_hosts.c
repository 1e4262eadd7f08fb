/* Which URLs tasks may call: patterns against URLs of all kinds, those that try to look like others among
 * them. */
#include "harness.h"

#include <curl/curl.h>

#include "fetch/hosts.h"

static char *patterns[] = {
    (char *)(uintptr_t) "example.com",     (char *)(uintptr_t) "*.below.test",
    (char *)(uintptr_t) "ports.test:8443", (char *)(uintptr_t) "*.ports.test:81",
    (char *)(uintptr_t) "127.0.0.1:9001",  (char *)(uintptr_t) "10.0.0.1",
    (char *)(uintptr_t) "[::1]:80",        (char *)(uintptr_t) "[2001:DB8::2]",
    (char *)(uintptr_t) "Dotted.Test.",    (char *)(uintptr_t) "*.0.0.2",
    (char *)(uintptr_t) "not a pattern",
};
static const struct config_list allowed = {patterns, ARRAY_LEN(patterns)};

static void assert_allowed(const char *const *urls, size_t count, bool is_allowed)
{
    for (size_t i = 0; i < count; i++) {
        struct err err = {0};
        if (hosts_allow_url(&allowed, "tasks", urls[i], &err) != is_allowed)
            fail_msg("%s: %s", urls[i], err.text);
        assert_int_equal(err.text[0] == '\0', is_allowed);
    }
}

static void hosts_that_match_are_allowed(void **state)
{
    static const char *const urls[] = {
        "http://example.com",
        "http://example.com/",
        "http://example.com:80/a?b#c",
        "http://example.com:/x:99999", /* an empty port is none */
        "https://example.com/",
        "https://example.com:443/",
        "HTTP://EXAMPLE.COM/",
        "http://example.com./",
        "http://example%2ecom/",
        "http://example.com/@evil.test",
        "http://example.com?@evil.test",
        "http://a.below.test/",
        "https://a.b.c.below.test/",
        "http://ports.test:8443/",
        "https://ports.test:8443/",
        "http://a.ports.test:81/",
        "http://127.0.0.1:9001/",
        "http://2130706433:9001/", /* which is 127.0.0.1, and will be called as such */
        "http://0x7f.1:9001/",
        "http://017700000001:9001/",
        "https://10.0.0.1/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]:80/",
        "https://[2001:db8::2]/",
        "http://[2001:db8:0::0:2]/",
        "http://dotted.test/",
        "http://dotted.test./",
    };
    (void)state;
    assert_allowed(urls, ARRAY_LEN(urls), true);
}

static void hosts_that_do_not_match_are_refused(void **state)
{
    static const char *const urls[] = {
        "http://evil.test/",
        "http://example.com:8080/",
        "http://example.com:443/", /* the default of the other scheme */
        "https://example.com:80/",
        "http://example.com:0/",
        "http://www.example.com/",
        "http://example.com.evil.test/",
        "http://example.com%2eevil.test/",
        "http://notexample.com/",
        "http://example.com../",
        "http://example.comm/",
        "http://xexample.com/",
        "http://below.test/",
        "http://.below.test/",
        "http://abelow.test/",
        "http://a.below.test:8080/",
        "http://a.below.test.evil.test/",
        "http://ports.test/",
        "http://ports.test:81/",
        "http://127.0.0.1/",
        "http://127.0.0.1:9002/",
        "http://127.0.0.2:9001/",
        "http://2130706434:9001/",
        "http://127.0.0.1.evil.test:9001/",
        "http://[::ffff:127.0.0.1]:9001/",
        "http://127.0.0.2/", /* a wildcard is for names */
        "http://1.0.0.2/",
        "http://[::1]:81/",
        "https://[::1]/",
        "http://[::2]/",
        "http://localhost:9001/",
        "http://0:9001/",
        "http://ex\xc3\xa4mple.com/",
        "http://\xef\xbd\x85xample.com/", /* a wide e, which IDN would make an e */
        "http://example\xe3\x80\x82"
        "com/", /* a dot of another script */
        "http://xn--example-.com/",
    };
    (void)state;
    assert_allowed(urls, ARRAY_LEN(urls), false);
}

static void urls_that_pretend_are_refused(void **state)
{
    static const char *const urls[] = {
        "http://example.com@evil.test/",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://:password@example.com/",
        "http://@example.com/",
        "http://example.com:80@evil.test/",
        "http://example.com%40evil.test/",
        "http://evil.test#@example.com/",
        "http://evil.test?@example.com/",
        "http://evil.test/@example.com/",
        "http://evil.test\\@example.com/",
        "http://example.com\\.evil.test/",
        "http://evil.test%2f.below.test/",
        "http://evil.test%00.below.test/",
        "http://evil.test%23.below.test/",
        "http://evil.test\t.below.test/",
        "http://evil.test\r\n.below.test/",
        "http://evil.test .below.test/",
        " http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "file://example.com/etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "example.com",
        "/",
        "",
        "http://",
        "http:///",
        "http://example.com:99999/",
        "http://example.com:80a/",
        "javascript:alert(1)",
    };
    (void)state;
    assert_allowed(urls, ARRAY_LEN(urls), false);
}

static void a_password_is_not_repeated(void **state)
{
    struct err err = {0};
    (void)state;

    assert_false(hosts_allow_url(&allowed, "tasks", "http://user:secret@evil.test/", &err));
    assert_null(strstr(err.text, "secret"));
}

static void an_empty_list_allows_nothing(void **state)
{
    const struct config_list none = {0};
    struct err err = {0};
    (void)state;

    assert_false(hosts_allow_url(&none, "tasks", "http://example.com/", &err));
    assert_int_equal(err.code, -EACCES);
}

static void patterns_are_checked(void **state)
{
    static const char *const good[] = {"example.com", "EXAMPLE.com.",    "*.example.com", "a_b-c.test:1",
                                       "localhost",   "localhost:65535", "127.0.0.1",     "127.0.0.1:80",
                                       "[::1]",       "[::1]:8080",      "*.test"};
    static const char *const bad[] = {"",
                                      "*",
                                      "*.",
                                      "*example.com",
                                      "a.*.com",
                                      "http://example.com",
                                      "a..b",
                                      ".example.com",
                                      "a b",
                                      "a/b",
                                      "user@a.test",
                                      "a.test:",
                                      "a.test:0",
                                      "a.test:65536",
                                      "a.test:x",
                                      "a:1:2",
                                      "::1",
                                      "[::1",
                                      "[]",
                                      "[127.0.0.1]",
                                      "[::1]80",
                                      "[::1]:",
                                      "127.1",
                                      "1.2.3.4.5",
                                      "256.0.0.1",
                                      "2130706433",
                                      "\xc3\xa4.test",
                                      "*.[::1]",
                                      "a%2e.test",
                                      "..",
                                      "."};
    char longest[CONFIG_HOST_MAX_BYTES + 2];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (hosts_check_pattern(good[i], NULL) != 0)
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        if (hosts_check_pattern(bad[i], &err) != -EINVAL)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_true(err.text[0] != '\0');
    }
    memset(longest, 'x', sizeof(longest));
    longest[CONFIG_HOST_MAX_BYTES + 1] = '\0';
    assert_int_equal(hosts_check_pattern(longest, NULL), -EINVAL);
    assert_int_equal(hosts_check_pattern(longest + 1, NULL), 0);
}

/* What a list allows is what is called: the host of each URL, as the fetch pool has it, is the one that was
 * looked at. */
static void what_is_allowed_is_what_is_called(void **state)
{
    static const struct {
        const char *url;
        const char *host;
        unsigned port;
    } rows[] = {
        {"http://2130706433:9001/", "127.0.0.1", 9001},
        {"http://0x7f.1/", "127.0.0.1", 80},
        {"http://example%2ecom/", "example.com", 80},
        {"https://[0:0::1]/", "[::1]", 443},
        {"http://example.com:/x:99999", "example.com", 80},
        {"http://example.com@evil.test/", "evil.test", 80},
        {"http://evil.test#@example.com/", "evil.test", 80},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fetch_target *target;
        assert_int_equal(fetch_target_create(rows[i].url, &target, NULL), 0);
        struct fetch_place place = fetch_target_place(target);
        assert_string_equal(place.host, rows[i].host);
        assert_int_equal(place.port, rows[i].port);
        fetch_target_free(target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_that_match_are_allowed),
        cmocka_unit_test(hosts_that_do_not_match_are_refused),
        cmocka_unit_test(urls_that_pretend_are_refused),
        cmocka_unit_test(a_password_is_not_repeated),
        cmocka_unit_test(an_empty_list_allows_nothing),
        cmocka_unit_test(patterns_are_checked),
        cmocka_unit_test(what_is_allowed_is_what_is_called),
    };

    return cmocka_run_group_tests_name("hosts", tests, NULL, NULL);
}
