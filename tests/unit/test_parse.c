#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/parse.h"

#define HOUR_MS UINT64_C(3600000)

static uint64_t good(enum parse_kind kind, const char *text)
{
    uint64_t value = 0;
    struct err err = {0};

    if (parse_number(kind, text, 0, UINT64_MAX, &value, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return value;
}

static void bad(enum parse_kind kind, const char *text, uint64_t min, uint64_t max, const char *expected)
{
    uint64_t value = 42;
    struct err err = {0};

    assert_true(parse_number(kind, text, min, max, &value, &err) < 0);
    assert_string_equal(err.text, expected);
    assert_int_equal(value, 42);
}

static void whole_numbers_are_read(void **state)
{
    (void)state;
    assert_int_equal(good(PARSE_UINT, "0"), 0);
    assert_int_equal(good(PARSE_UINT, "4096"), 4096);
    assert_true(good(PARSE_UINT, "18446744073709551615") == UINT64_MAX);
}

static void what_only_looks_like_a_number_is_refused(void **state)
{
    static const char *const texts[] = {"",    " 5",  "5 ",  "-1",  "+1", "0x10", "1e3", "4k",      "1.0",
                                        "007", "1_0", "1,0", "inf", "٣",  "0b1",  "5\n", "0000000", "1 2"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint64_t value;
        struct err err = {0};
        assert_int_equal(parse_number(PARSE_UINT, texts[i], 0, 10, &value, &err), -EINVAL);
        assert_non_null(strstr(err.text, " is not a whole number; write a whole number (0 to 10)"));
    }
}

static void numbers_at_both_ends_of_the_range_are_taken_and_no_others(void **state)
{
    uint64_t value;

    (void)state;
    assert_int_equal(parse_number(PARSE_UINT, "5", 5, 9, &value, NULL), 0);
    assert_int_equal(parse_number(PARSE_UINT, "9", 5, 9, &value, NULL), 0);
    assert_int_equal(parse_number(PARSE_UINT, "4", 5, 9, &value, NULL), -ERANGE);
    bad(PARSE_UINT, "10", 5, 9, "\"10\" is out of range; write a whole number (5 to 9)");
}

static void overflow_is_out_of_range(void **state)
{
    (void)state;
    bad(PARSE_UINT, "99999999999999999999", 0, 256,
        "\"99999999999999999999\" is out of range; write a whole number (0 to 256)");
    bad(PARSE_UINT, "18446744073709551616", 0, 256,
        "\"18446744073709551616\" is out of range; write a whole number (0 to 256)");
    /* 2^64 / 2^30 GiB is 0 in 64 bits. */
    bad(PARSE_SIZE, "17179869184GiB", 0, 1 << 20,
        "\"17179869184GiB\" is out of range; write a size such as 512, 64KiB or 1MiB (0 to 1MiB)");
}

static void durations_have_a_unit(void **state)
{
    (void)state;
    assert_int_equal(good(PARSE_DURATION, "250ms"), 250);
    assert_int_equal(good(PARSE_DURATION, "10s"), 10000);
    assert_int_equal(good(PARSE_DURATION, "5m"), 300000);
    assert_int_equal(good(PARSE_DURATION, "1h"), HOUR_MS);
    assert_int_equal(good(PARSE_DURATION, "0s"), 0);
    bad(PARSE_DURATION, "10", 1, HOUR_MS,
        "\"10\" has no unit; write a duration such as 250ms, 10s or 5m (1ms to 1h)");
    bad(PARSE_DURATION, "10 s", 1, HOUR_MS,
        "\"10 s\" is not a duration; write a duration such as 250ms, 10s or 5m (1ms to 1h)");
    bad(PARSE_DURATION, "10S", 1, HOUR_MS,
        "\"10S\" is not a duration; write a duration such as 250ms, 10s or 5m (1ms to 1h)");
    bad(PARSE_DURATION, "s", 1, HOUR_MS,
        "\"s\" is not a duration; write a duration such as 250ms, 10s or 5m (1ms to 1h)");
    bad(PARSE_DURATION, "1m30s", 1, HOUR_MS,
        "\"1m30s\" is not a duration; write a duration such as 250ms, 10s or 5m (1ms to 1h)");
    bad(PARSE_DURATION, "0ms", 1, HOUR_MS,
        "\"0ms\" is out of range; write a duration such as 250ms, 10s or 5m (1ms to 1h)");
}

static void sizes_may_have_a_unit(void **state)
{
    (void)state;
    assert_int_equal(good(PARSE_SIZE, "512"), 512);
    assert_int_equal(good(PARSE_SIZE, "64KiB"), 65536);
    assert_int_equal(good(PARSE_SIZE, "1MiB"), 1 << 20);
    assert_int_equal(good(PARSE_SIZE, "1GiB"), 1 << 30);
    bad(PARSE_SIZE, "64KB", 0, 1024,
        "\"64KB\" is not a size; write a size such as 512, 64KiB or 1MiB (0 to 1KiB)");
    bad(PARSE_SIZE, "1M", 0, 1025,
        "\"1M\" is not a size; write a size such as 512, 64KiB or 1MiB (0 to 1025)");
}

static void modes_are_octal(void **state)
{
    (void)state;
    assert_int_equal(good(PARSE_MODE, "0660"), 0660);
    assert_int_equal(good(PARSE_MODE, "660"), 0660);
    bad(PARSE_MODE, "0888", 0, 0777,
        "\"0888\" is not an octal mode; write an octal mode such as 0660 (0000 to 0777)");
    bad(PARSE_MODE, "0o660", 0, 0777,
        "\"0o660\" is not an octal mode; write an octal mode such as 0660 (0000 to 0777)");
    bad(PARSE_MODE, "1777", 0, 0777,
        "\"1777\" is out of range; write an octal mode such as 0660 (0000 to 0777)");
}

static void formatted_numbers_are_short_and_read_back(void **state)
{
    static const struct {
        enum parse_kind kind;
        uint64_t value;
        const char *text;
    } cases[] = {
        {PARSE_UINT, 0, "0"},
        {PARSE_UINT, 10000000, "10000000"},
        {PARSE_DURATION, 0, "0s"},
        {PARSE_DURATION, 1, "1ms"},
        {PARSE_DURATION, 90000, "90s"},
        {PARSE_DURATION, 60000, "1m"},
        {PARSE_DURATION, 1500, "1500ms"},
        {PARSE_DURATION, HOUR_MS, "1h"},
        {PARSE_SIZE, 0, "0"},
        {PARSE_SIZE, 1, "1"},
        {PARSE_SIZE, 1 << 16, "64KiB"},
        {PARSE_SIZE, 1 << 30, "1GiB"},
        {PARSE_MODE, 0660, "0660"},
        {PARSE_MODE, 0, "0000"},
    };
    char text[PARSE_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        parse_format(cases[i].kind, cases[i].value, text);
        assert_string_equal(text, cases[i].text);
        assert_true(good(cases[i].kind, text) == cases[i].value);
    }
}

static void decimal_fractions_are_the_nearest_double(void **state)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {{"0", 0},
                 {"0.0", 0},
                 {"0.1", 0.1},
                 {"0.000001", 0.000001},
                 {"2", 2},
                 {"2.50", 2.5},
                 {"99.999999", 99.999999},
                 {"4294967295", 4294967295.0},
                 {"0.3", 0.3},
                 {"4294967294.999999", 4294967294.999999}};
    double value;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse_decimal(cases[i].text, 0, UINT32_MAX, &value, NULL), 0);
        assert_true(value == cases[i].value);
    }
}

static void wrong_decimal_fractions_are_refused(void **state)
{
    static const char *const malformed[] = {"",   ".",  "1.", ".1",   "1.1.1", "-1",  "+1",        "1e1",
                                            " 1", "1 ", "01", "00.1", "1,5",   "0x1", "1.0000000", "inf"};
    static const char *const outside[] = {"0", "0.999999", "2.000001", "3", "99999999999999999999"};
    struct err err = {0};
    double value = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        assert_int_equal(parse_decimal(malformed[i], 0, 2, &value, NULL), -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(outside); i++)
        assert_int_equal(parse_decimal(outside[i], 1, 2, &value, &err), -ERANGE);
    assert_string_equal(err.text,
                        "\"99999999999999999999\" is out of range; write a number such as 2 or 0.25 "
                        "(1 to 2)");
    assert_true(value == 7);
}

static void hexadecimal_digits_are_told_from_all_else(void **state)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    int found = 0;

    (void)state;
    for (size_t i = 0; i < strlen(digits); i++)
        assert_int_equal(parse_hex_digit(digits[i]), i % 16);
    for (int c = -128; c < 128; c++)
        found += parse_hex_digit((char)c) >= 0;
    assert_int_equal(found, 10 + 2 * 6);
}

static void quoted_text_is_printable_and_bounded(void **state)
{
    char quoted[PARSE_QUOTED_SIZE];
    char text[1000];

    (void)state;
    assert_string_equal(parse_quote("", 0, quoted), "\"\"");
    assert_string_equal(parse_quote("a\x1b[31m\0\xff", 8, quoted), "\"a\\x1b[31m\\x00\\xff\"");
    for (size_t size = 0; size < sizeof(text); size++) {
        memset(text, size % 2 ? '\n' : 'x', sizeof(text));
        size_t length = strlen(parse_quote(text, size, quoted));
        assert_true(length < PARSE_QUOTED_SIZE);
        assert_int_equal(quoted[length - 1], '"');
    }
    assert_non_null(strstr(quoted, "...\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_read),
        cmocka_unit_test(what_only_looks_like_a_number_is_refused),
        cmocka_unit_test(numbers_at_both_ends_of_the_range_are_taken_and_no_others),
        cmocka_unit_test(overflow_is_out_of_range),
        cmocka_unit_test(durations_have_a_unit),
        cmocka_unit_test(sizes_may_have_a_unit),
        cmocka_unit_test(modes_are_octal),
        cmocka_unit_test(formatted_numbers_are_short_and_read_back),
        cmocka_unit_test(decimal_fractions_are_the_nearest_double),
        cmocka_unit_test(wrong_decimal_fractions_are_refused),
        cmocka_unit_test(hexadecimal_digits_are_told_from_all_else),
        cmocka_unit_test(quoted_text_is_printable_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
