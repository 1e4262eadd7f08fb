#include "harness.h"

#include <regex.h>

#include "base/pattern.h"

static struct pattern *parse(const char *text)
{
    struct pattern *pattern = NULL;
    struct err err = {0};

    if (pattern_parse(text, &pattern, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return pattern;
}

static bool matches(const char *text, const char *subject)
{
    struct pattern *pattern = parse(text);
    bool is_match = pattern_matches(pattern, subject, strlen(subject));

    pattern_free(pattern);
    return is_match;
}

static void all_of_a_text_must_match(void **state)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"abc", "abc", true},
        {"abc", "abcd", false},
        {"abc", "xabc", false},
        {"abc", "ab", false},
        {"a|bc|", "a", true},
        {"a|bc|", "bc", true},
        {"a|bc|", "", true},
        {"a|bc|", "abc", false},
        {"a*", "", true},
        {"a*", "aaaa", true},
        {"a*b", "aaaac", false},
        {"a+", "", false},
        {"a+", "aaa", true},
        {"ab?c", "ac", true},
        {"ab?c", "abbc", false},
        {"(ab)*", "ababab", true},
        {"(ab)*", "aba", false},
        {"(a*)*b", "aaab", true},
        {"(a|b)*abb", "babaabb", true},
        {"()", "", true},
        {"(()|a)+b", "ab", true},
        {"a{3}", "aaa", true},
        {"a{3}", "aa", false},
        {"a{3}", "aaaa", false},
        {"a{2,}", "a", false},
        {"a{2,}", "aaaaa", true},
        {"a{0,2}b", "b", true},
        {"a{0,2}b", "aab", true},
        {"a{0,2}b", "aaab", false},
        {"a{0,}", "aaaa", true},
        {"(a|bc){2,3}", "bcabc", true},
        {"(a|bc){2,3}", "bc", false},
        {"(a{2}){2}", "aaaa", true},
        {"(a{2}){2}", "aaa", false},
        {"^abc$", "abc", true},
        {"a^b", "ab", false},
        {"(^a|b$)+", "ab", true},
        {"(^|x)a", "xa", true},
        {"$", "", true},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (matches(cases[i].pattern, cases[i].text) != cases[i].matches)
            fail_msg("%s: %s", cases[i].pattern, cases[i].text);
}

static void sets_have_characters_ranges_and_classes(void **state)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } cases[] = {
        {"[abc]", "b", true},
        {"[abc]", "d", false},
        {"[^abc]", "d", true},
        {"[^abc]", "a", false},
        {"[^abc]", "", false},
        {"[a-c0-9]+", "a0c9", true},
        {"[a-c0-9]+", "d", false},
        {"[]a]+", "]a", true},
        {"[^]a]", "]", false},
        {"[a-]+", "a-", true},
        {"[-a]+", "-a", true},
        {"[a\\]+", "\\a", true},
        {"[[:digit:]x]+", "12x", true},
        {"[^[:space:]]+", "ab", true},
        {"[^[:space:]]+", "a\nb", false},
        {"[[:alpha:]]+", "aZ", true},
        {"[[:alpha:]]+", "a1", false},
        {"[[:xdigit:]]{4}", "0aF9", true},
        {"[[]", "[", true},
        {".", "\n", true},
        {".", "", false},
        {"a\\.b", "a.b", true},
        {"a\\.b", "axb", false},
        {"\\(\\[\\{\\*\\\\\\^", "([{*\\^", true},
        {"]}", "]}", true},
        /* A character is one in UTF-8, whatever its bytes. */
        {".", "\xc3\xa4", true},
        {"..", "\xc3\xa4", false},
        {"[^a]", "\xf0\x9f\x98\x80", true},
        {"\xc3\xa4+", "\xc3\xa4\xc3\xa4", true},
        {"[\xc3\xa0-\xc3\xbf]+", "\xc3\xa4\xc3\xb6", true},
        {"[\xc3\xa0-\xc3\xbf]+", "\xc3\xa4o", false},
        {"[a-z]", "\xc3\xa4", false},
        {"a", "\xff", false},
        {".", "\xff", true},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (matches(cases[i].pattern, cases[i].text) != cases[i].matches)
            fail_msg("%s: %s", cases[i].pattern, cases[i].text);
}

static void a_text_may_hold_a_nul(void **state)
{
    struct pattern *pattern = parse("a.b");
    (void)state;

    assert_true(pattern_matches(pattern, "a\0b", 3));
    assert_false(pattern_matches(pattern, "a\0c", 3));
    pattern_free(pattern);
}

static void malformed_patterns_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *pattern;
        const char *error;
    } cases[] = {
        {"(a", "column 1: the group is not closed"},
        {"a(b(c)", "column 2: the group is not closed"},
        {"a)", "column 2: there is no ( before this; write \\) for a parenthesis"},
        {"\xc3\xa4[a", "column 2: the bracket is not closed"},
        {"[]", "column 1: the bracket is not closed"},
        {"[b-a]", "column 2: the range ends before it begins, or not with a character"},
        {"[[:word:]]", "column 2: there is no such class; write one such as [:alpha:] or [:digit:]"},
        {"[[.a.]]", "column 2: neither [. nor [= can be in brackets"},
        {"*a", "column 1: there is nothing to repeat; write a backslash before it"},
        {"a|*", "column 3: there is nothing to repeat; write a backslash before it"},
        {"(+)", "column 2: there is nothing to repeat; write a backslash before it"},
        {"{2}", "column 1: there is nothing to repeat; write a backslash before it"},
        {"a**", "column 3: it is repeated already; put it in parentheses"},
        {"a{2}{3}", "column 5: it is repeated already; put it in parentheses"},
        {"a{", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"a{,5}", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"a{0}", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"a{0,0}", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"a{3,2}", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"a{256}", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"a{99999999999999999999}", "column 2: a repetition is {2}, {2,} or {2,5}, of 1 to 255"},
        {"(a)\\1", "column 4: a backslash stands before a character that is no letter and no digit"},
        {"\\d", "column 1: a backslash stands before a character that is no letter and no digit"},
        {"a\\", "column 2: a backslash stands before a character that is no letter and no digit"},
        {"\xff", "it is not valid UTF-8"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pattern *pattern = NULL;
        struct err err = {0};
        assert_int_equal(pattern_parse(cases[i].pattern, &pattern, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
        assert_null(pattern);
    }
}

static void what_comes_to_too_much_is_refused(void **state)
{
    static const char *const patterns[] = {
        "a{255}{255}",          "(a{255}){255}",
        "((a{255}){255}){255}", "(((){255}){255}){255}",
        "([a-cx-z]{200}){10}",  "((((((a{1,255}){1,255}){1,255}){1,255}){1,255}){1,255}){1,255}"};
    char deep[100];
    struct pattern *pattern = NULL;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        assert_true(pattern_parse(patterns[i], &pattern, NULL) < 0);
    memset(deep, '(', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(pattern_parse(deep, &pattern, NULL), -EINVAL);
    pattern_free(parse("[0-9a-z]{255}[0-9]{200}"));
}

/* Each would take a backtracking search longer than there is time, or a cache of states all memory. */
static void no_text_makes_a_pattern_expensive(void **state)
{
    static const char *const patterns[] = {"(a*)*b", "(a|aa)+b", "(a|b)*a(a|b){100}", ".*a.{100}b",
                                           "(.*)(.*)(.*)(.*)x"};
    char text[4096];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct pattern *pattern = parse(patterns[i]);
        for (unsigned round = 0; round < 20; round++) {
            for (size_t j = 0; j < sizeof(text); j++)
                text[j] = (char)('a' + (rand() >> 7) % (round % 2 ? 1 : 2));
            text[sizeof(text) - 1] = 'c';
            assert_false(pattern_matches(pattern, text, sizeof(text)));
        }
        pattern_free(pattern);
    }
}

/* ---- against regexec, with patterns and texts at random ---- */

static void append_random_pattern(struct buf *out, unsigned depth)
{
    static const char *const atoms[] = {"a", "b", "c", ".", "[ab]", "[^a]", "[b-c]", "\\.", "x"};
    static const char *const repetitions[] = {"", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}"};
    unsigned branches = 1 + (unsigned)rand() % 8 / 6;

    for (unsigned i = 0; i < branches; i++) {
        unsigned pieces = 1 + (unsigned)rand() % 3;
        if (i > 0)
            buf_append_str(out, "|");
        for (unsigned j = 0; j < pieces; j++) {
            if (depth > 0 && rand() % 3 == 0) {
                buf_append_str(out, "(");
                append_random_pattern(out, depth - 1);
                buf_append_str(out, ")");
            } else {
                buf_append_str(out, atoms[(unsigned)rand() % ARRAY_LEN(atoms)]);
            }
            buf_append_str(out, repetitions[(unsigned)rand() % ARRAY_LEN(repetitions)]);
        }
    }
}

static void compare(const char *text)
{
    struct buf whole = BUF_INIT(65536);
    struct pattern *pattern = parse(text);
    regex_t regex;

    buf_printf(&whole, "^(%s)$", text);
    buf_append(&whole, "", 1);
    assert_int_equal(regcomp(&regex, whole.data, REG_EXTENDED | REG_NOSUB), 0);
    for (unsigned i = 0; i < 30; i++) {
        char subject[10] = "";
        for (unsigned j = (unsigned)rand() % sizeof(subject); j > 0; j--)
            subject[strlen(subject)] = "abc."[rand() % 4];
        bool is_match = regexec(&regex, subject, 0, NULL, 0) == 0;
        if (pattern_matches(pattern, subject, strlen(subject)) != is_match)
            fail_msg("%s: \"%s\" should%s match", text, subject, is_match ? "" : " not");
    }
    regfree(&regex);
    pattern_free(pattern);
    buf_done(&whole);
}

static void it_agrees_with_the_system(void **state)
{
    (void)state;

    srand(1);
    for (unsigned i = 0; i < 3000; i++) {
        struct buf text = BUF_INIT(65536);
        append_random_pattern(&text, 2);
        buf_append(&text, "", 1);
        compare(text.data);
        buf_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_text_must_match),
        cmocka_unit_test(sets_have_characters_ranges_and_classes),
        cmocka_unit_test(a_text_may_hold_a_nul),
        cmocka_unit_test(malformed_patterns_are_refused_with_their_place),
        cmocka_unit_test(what_comes_to_too_much_is_refused),
        cmocka_unit_test(no_text_makes_a_pattern_expensive),
        cmocka_unit_test(it_agrees_with_the_system),
    };

    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
