#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

#define R "\xef\xbf\xbd" /* U+FFFD */

struct decode_case {
    const char *charset;
    const char *bytes;
    size_t size;
    const char *expected;
    size_t expected_size;
};

#define BYTES(literal) (literal), sizeof(literal) - 1
#define CASE(charset, literal, expected)                                                                     \
    {                                                                                                        \
        charset, BYTES(literal), BYTES(expected)                                                             \
    }

static void expect_decoded(const struct decode_case *c, bool is_whole, size_t max_chars)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);

    /* A copy of the exact size, so that AddressSanitizer sees a read behind it. */
    char *bytes = malloc(c->size ? c->size : 1);
    assert_non_null(bytes);
    memcpy(bytes, c->bytes, c->size);
    text_decode_prefix(c->charset, bytes, c->size, is_whole, max_chars, &out);
    free(bytes);

    assert_false(out.failed);
    if (out.size != c->expected_size || memcmp(out.size ? out.data : "", c->expected, out.size) != 0)
        fail_msg("charset %s: '%.*s' instead of '%s'", c->charset ? c->charset : "-", (int)out.size,
                 out.size ? out.data : "", c->expected);
    assert_true(text_utf8_is_valid(out.size ? out.data : "", out.size));
}

#define EXPECT_ALL(cases, is_whole)                                                                          \
    for (size_t i_ = 0; i_ < ARRAY_LEN(cases); i_++)                                                         \
    expect_decoded(&(cases)[i_], is_whole, 1000)

static void valid_utf8_is_copied_as_it_is(void **state)
{
    static const struct decode_case cases[] = {
        CASE(NULL, "", ""),
        CASE(NULL, "plain ascii that is longer than a word", "plain ascii that is longer than a word"),
        CASE("utf-8", "a\0b", "a\0b"),
        CASE("UTF8", "\xc2\x80 \xdf\xbf", "\xc2\x80 \xdf\xbf"),
        CASE("us-ascii", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"),
        CASE("Utf-8", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
             "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"),
        CASE(NULL, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
    };
    (void)state;
    EXPECT_ALL(cases, true);
    EXPECT_ALL(cases, false);
}

/* The examples of Unicode, section 3.9, tables 3-8 to 3-11, and the edges of table 3-7. */
static void each_maximal_subpart_becomes_one_replacement(void **state)
{
    static const struct decode_case cases[] = {
        CASE(NULL, "\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A"),
        CASE(NULL, "\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A"),
        CASE(NULL, "\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B"),
        CASE(NULL, "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"),
        CASE(NULL, "\xf5\x80\x80\x80", R R R R),
        CASE(NULL, "\xc1\xbf", R R),
        CASE(NULL,
             "12345678\xff"
             "12345678\xc3",
             "12345678" R "12345678" R),
        CASE(NULL, "\xc3\xa9\xc3", "\xc3\xa9" R),
        CASE(NULL, "\xf0\x9f\x98", R),
    };
    (void)state;
    EXPECT_ALL(cases, true);
}

static void incomplete_end_of_cut_input_is_left_out(void **state)
{
    static const struct decode_case cases[] = {
        CASE(NULL, "a\xc3", "a"),
        CASE(NULL, "a\xe2\x82", "a"),
        CASE(NULL, "a\xf0\x9f\x98", "a"),
        CASE(NULL, "a\xff", "a" R), /* broken however it goes on */
        CASE(NULL, "a\xe0\x80", "a" R R),
        CASE(NULL, "\xef\xbb", ""), /* of a byte order mark */
        CASE("shift_jis", "\x82\xa0\x82", "\xe3\x81\x82"),
        CASE("utf-16le", "a\0\x3d\xd8", "a"),
        CASE("utf-16le", "a\0b", "a"),
    };
    (void)state;
    EXPECT_ALL(cases, false);
}

static void byte_order_mark_decides_and_is_dropped(void **state)
{
    static const struct decode_case cases[] = {
        CASE(NULL, "\xef\xbb\xbf", ""),
        CASE(NULL, "\xef\xbb\xbf\xef\xbb\xbfx", "\xef\xbb\xbfx"),
        CASE("iso-8859-1", "\xef\xbb\xbf\xc3\xa9", "\xc3\xa9"),
        CASE("utf-16", "\xff\xfe\xe9\0", "\xc3\xa9"),
        CASE("utf-16", "\xfe\xff\0\xe9", "\xc3\xa9"),
        CASE("utf-16be", "\xff\xfe\xe9\0", "\xc3\xa9"),
        CASE("utf-8", "\xfe\xff\0\xe9", "\xc3\xa9"),
        CASE("utf-32", "\xff\xfe\0\0\xe9\0\0\0", "\xc3\xa9"),
        CASE(NULL, "\0\0\xfe\xff\0\0\0\xe9", "\xc3\xa9"),
    };
    (void)state;
    EXPECT_ALL(cases, true);
}

static void charsets_are_decoded_by_name(void **state)
{
    static const struct decode_case cases[] = {
        CASE("iso-8859-1", "caf\xe9", "caf\xc3\xa9"),
        CASE("ISO_8859-1:1987", "\xe9", "\xc3\xa9"),
        CASE("windows-1252", "\x80", "\xe2\x82\xac"),
        CASE("windows-1251", "\xcf\xf0", "\xd0\x9f\xd1\x80"),
        CASE("koi8-r", "\xf0", "\xd0\x9f"),
        CASE("shift_jis", "\x82\xa0\x41",
             "\xe3\x81\x82"
             "A"),
        CASE("euc-kr", "\xb0\xa1", "\xea\xb0\x80"),
        CASE("gb18030", "\x81\x30\x81\x30\xc4\xe3", "\xc2\x80\xe4\xbd\xa0"),
        CASE("big5", "\xa4\xa4", "\xe4\xb8\xad"),
        CASE("utf-16", "a\0\x3d\xd8\0\xde", "a\xf0\x9f\x98\x80"),
        CASE("utf-32be", "\0\x01\xf6\0", "\xf0\x9f\x98\x80"),
        CASE("utf-7", "+AOk-", "\xc3\xa9"),
        /* State: in and out of two-byte mode, and a last character that the converter holds back. */
        CASE("iso-2022-jp", "\x1b$B$\"\x1b(BA",
             "\xe3\x81\x82"
             "A"),
        CASE("iso-2022-jp", "\x1b$B$\"", "\xe3\x81\x82"),
        CASE("euc-jisx0213", "\xa4\xab", "\xe3\x81\x8b"),
    };
    (void)state;
    EXPECT_ALL(cases, true);
}

static void undecodable_bytes_are_replaced_in_any_charset(void **state)
{
    static const struct decode_case cases[] = {
        CASE("windows-1252",
             "a\x81"
             "b",
             "a" R "b"),
        CASE("shift_jis",
             "a\xff"
             "b",
             "a" R "b"),
        CASE("shift_jis", "a\x82", "a" R),
        CASE("euc-jp", "\xa4\xa2\xa4", "\xe3\x81\x82" R),
        CASE("utf-16le",
             "\x3d\xd8"
             "a\0",
             R "a"), /* a lone surrogate: one code unit */
        CASE("utf-16le",
             "\0\xde"
             "a\0",
             R "a"),
        CASE("utf-16le", "a\0b", "a" R),
        CASE("utf-32le", "\0\0\x11\0a\0\0\0", R "a"),
    };
    (void)state;
    EXPECT_ALL(cases, true);
}

static void names_that_are_no_charset_are_taken_for_utf8(void **state)
{
    static const struct decode_case cases[] = {
        CASE("", "\xc3\xa9", "\xc3\xa9"),
        CASE("no-such-charset", "\xc3\xa9\xff", "\xc3\xa9" R),
        CASE("iso-8859-1//TRANSLIT", "\xc3\xa9", "\xc3\xa9"),
        CASE("../../tmp/x", "\xc3\xa9", "\xc3\xa9"),
        CASE("iso-8859-1 ", "\xc3\xa9", "\xc3\xa9"),
        CASE("iso-8859-1\n", "\xc3\xa9", "\xc3\xa9"),
        CASE("iso-8859-1,utf-16", "\xc3\xa9", "\xc3\xa9"),
        CASE("iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii", "\xc3\xa9", "\xc3\xa9"),
    };
    (void)state;
    EXPECT_ALL(cases, true);
}

static void only_so_many_characters_are_taken(void **state)
{
    static const struct {
        struct decode_case decode;
        size_t max_chars;
    } cases[] = {
        {CASE(NULL, "abcdefghijkl", ""), 0},
        {CASE(NULL, "abcdefghijkl", "a"), 1},
        {CASE(NULL, "abcdefghijkl", "abcdefghij"), 10},
        {CASE(NULL, "abcdefghijkl", "abcdefghijkl"), 13},
        {CASE(NULL, "\xc3\xa9\xf0\x9f\x98\x80\xff\xc3\xa9", "\xc3\xa9\xf0\x9f\x98\x80" R), 3},
        {CASE(NULL, "\xff\xff\xff", R R), 2},
        {CASE(NULL,
              "\xef\xbb\xbf"
              "ab",
              "a"),
         1}, /* the mark does not count */
        {CASE("iso-8859-1", "\xe9\xe9\xe9", "\xc3\xa9"), 1},
        {CASE("utf-16le",
              "\x3d\xd8\0\xde"
              "a\0",
              "\xf0\x9f\x98\x80"),
         1},
        {CASE("windows-1252", "\x81\x81\x81", R R), 2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_decoded(&cases[i].decode, true, cases[i].max_chars);
}

/* Long enough for many windows, with an offset so that they cut characters at every place. */
static void long_input_is_decoded_across_windows(void **state)
{
    static const struct {
        const char *charset;
        const char *bytes;
        size_t size;
        const char *expected;
    } cases[] = {
        {"shift_jis", BYTES("\x82\xa0"), "\xe3\x81\x82"},
        {"gb18030", BYTES("\x81\x30\x81\x30"), "\xc2\x80"},
        {"utf-16le", BYTES("\x3d\xd8\0\xde"), "\xf0\x9f\x98\x80"},
        {"utf-7", BYTES("+AOk-"), "\xc3\xa9"},
        {"iso-2022-jp", BYTES("\x1b$B$\"\x1b(B"), "\xe3\x81\x82"},
        {"windows-1252", BYTES("\x81"), R},
    };
    enum { REPEAT = 3001 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 20);
        cleanup(buf_done) struct buf expected = BUF_INIT(1 << 20);
        for (size_t n = 0; n < REPEAT; n++) {
            buf_append(&in, cases[i].bytes, cases[i].size);
            buf_append_str(&expected, cases[i].expected);
        }
        struct decode_case whole = {cases[i].charset, in.data, in.size, expected.data, expected.size};
        expect_decoded(&whole, true, SIZE_MAX);
        for (size_t chars = 0; chars < 300; chars++) {
            whole.expected_size = chars * strlen(cases[i].expected);
            expect_decoded(&whole, false, chars);
        }
    }
}

static void full_buffer_fails_and_does_not_hang(void **state)
{
    static char bytes[1 << 16];
    (void)state;
    const char *const charsets[] = {NULL, "iso-8859-1", "utf-16"};

    memset(bytes, 0xff, sizeof(bytes));
    bytes[0] = 'a';
    for (size_t i = 0; i < ARRAY_LEN(charsets); i++) {
        cleanup(buf_done) struct buf out = BUF_INIT(100);
        text_decode_prefix(charsets[i], bytes, sizeof(bytes), true, SIZE_MAX, &out);
        assert_true(out.failed);
        assert_true(out.size <= 100);
    }
}

static void utf8_is_judged_as_unicode_defines_it(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool is_valid;
    } cases[] = {
        {BYTES(""), true},
        {BYTES("abcdefghijklmnop"), true},
        {BYTES("\0"), true},
        {BYTES("\xf4\x8f\xbf\xbf"), true},
        {BYTES("abcdefgh\x80"), false},
        {BYTES("\xc0\x80"), false},
        {BYTES("\xe0\x9f\xbf"), false},
        {BYTES("\xed\xa0\x80"), false},
        {BYTES("\xf0\x8f\xbf\xbf"), false},
        {BYTES("\xf4\x90\x80\x80"), false},
        {BYTES("\xf8\x88\x80\x80\x80"), false},
        {BYTES("ab\xe2\x82"), false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(text_utf8_is_valid(cases[i].bytes, cases[i].size), cases[i].is_valid);
}

static void size_of_the_first_character_is_told(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        size_t char_size;
    } cases[] = {
        {BYTES(""), 0},
        {BYTES("\0"), 1},
        {BYTES("ab"), 1},
        {BYTES("\xc3\xa9x"), 2},
        {BYTES("\xe2\x82\xac"), 3},
        {BYTES("\xf0\x9f\x98\x80x"), 4},
        {BYTES("\xf0\x9f\x98"), 0},
        {BYTES("\x80"), 0},
        {BYTES("\xffx"), 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(text_utf8_char_size(cases[i].bytes, cases[i].size), cases[i].char_size);
}

static void mended_text_has_neither_broken_bytes_nor_controls(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *expected;
    } cases[] = {
        {BYTES(""), ""},
        {BYTES("line 1\n\tline 2 gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n"),
         "line 1\n\tline 2 gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n"},
        {BYTES("a\0b"), "a" R "b"},
        {BYTES("\x1b[31mred\x1b[0m\r\n"), R "[31mred" R "[0m" R "\n"},
        {BYTES("\x7f\x1f\x20~"), R R " ~"},
        {BYTES("\xe2\x82\0\xc3\x7f\xff"), R R R R R},
        {BYTES("\xe2\x82"), R},
        {BYTES("\xef\xbb\xbfx"), "\xef\xbb\xbfx"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup(buf_done) struct buf out = BUF_INIT(cases[i].size * 3 + 1);
        text_utf8_mend(cases[i].bytes, cases[i].size, &out);
        buf_append(&out, "", 1);
        assert_false(out.failed);
        assert_string_equal(out.data, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_utf8_is_copied_as_it_is),
        cmocka_unit_test(each_maximal_subpart_becomes_one_replacement),
        cmocka_unit_test(incomplete_end_of_cut_input_is_left_out),
        cmocka_unit_test(byte_order_mark_decides_and_is_dropped),
        cmocka_unit_test(charsets_are_decoded_by_name),
        cmocka_unit_test(undecodable_bytes_are_replaced_in_any_charset),
        cmocka_unit_test(names_that_are_no_charset_are_taken_for_utf8),
        cmocka_unit_test(only_so_many_characters_are_taken),
        cmocka_unit_test(long_input_is_decoded_across_windows),
        cmocka_unit_test(full_buffer_fails_and_does_not_hang),
        cmocka_unit_test(utf8_is_judged_as_unicode_defines_it),
        cmocka_unit_test(size_of_the_first_character_is_told),
        cmocka_unit_test(mended_text_has_neither_broken_bytes_nor_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
