/* config_text.h - what the tests of the configuration share: texts that load, and texts that must not.
 *
 * Everything here fails the running test when it is not as said. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

#define LONG_TEXT_MAX (2 * CONFIG_FILE_MAX_BYTES)

static inline struct config *load_text(const char *text, size_t size)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    if (config_parse("f.yaml", text, size, &config, &errors) < 0)
        fail_msg("%.*s", (int)errors.text.size, errors.text.data);
    assert_int_equal(errors.count, 0);
    return config;
}

static inline struct config *load(const char *text)
{
    return load_text(text, strlen(text));
}

/* Exactly these lines, and the caller's pointer as it was. */
static inline void expect_errors_of(const char *text, size_t size, const char *expected)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    assert_int_equal(config_parse("f.yaml", text, size, &config, &errors), -1);
    assert_null(config);
    assert_true(errors.count > 0);
    buf_append(&errors.text, "", 1);
    assert_false(errors.text.failed);
    assert_string_equal(errors.text.data, expected);
}

static inline void expect_errors(const char *text, const char *expected)
{
    expect_errors_of(text, strlen(text), expected);
}

static inline char *repeated(const char *text, size_t times, struct buf *out)
{
    for (size_t i = 0; i < times; i++)
        buf_append_str(out, text);
    assert_false(out->failed);
    return out->data;
}
