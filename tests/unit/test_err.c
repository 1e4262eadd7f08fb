#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/text.h"

static void text_and_code_are_set(void **state)
{
    struct err err = {.code = 0};

    (void)state;
    assert_int_equal(err_set(&err, -EINVAL, "%s is %d", "a", 5), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "a is 5");
    assert_int_equal(err_set_errno(&err, ENOENT, "cannot open %s", "x"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "cannot open x: No such file or directory");
    assert_int_equal(err_set(NULL, -EIO, "nobody asks"), -EIO);
    assert_int_equal(err_set_errno(NULL, EIO, "nobody asks"), -EIO);
}

static void inner_error_may_be_wrapped(void **state)
{
    struct err err = {.code = 0};

    (void)state;
    err_set(&err, -EIO, "inner");
    err_set(&err, err.code, "outer: %s", err.text);
    assert_string_equal(err.text, "outer: inner");
}

static void long_text_is_cut_between_characters(void **state)
{
    char value[1000];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        struct err err = {.code = 0};
        memset(value, 'a', sizeof(value));
        for (size_t i = shift; i + 4 < sizeof(value); i += 4)
            memcpy(value + i, "\xf0\x9f\x98\x80", 4);
        value[sizeof(value) - 1] = '\0';
        err_set(&err, -EINVAL, "%s", value);
        assert_in_range(strlen(err.text), sizeof(err.text) - 4, sizeof(err.text) - 1);
        assert_true(text_utf8_is_valid(err.text, strlen(err.text)));
        err_set_errno(&err, EIO, "%s", value);
        assert_true(text_utf8_is_valid(err.text, strlen(err.text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_code_are_set),
        cmocka_unit_test(inner_error_may_be_wrapped),
        cmocka_unit_test(long_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
