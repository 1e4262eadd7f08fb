#include "capture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"

static struct capture capture;

static size_t count_lines(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += *text == '\n';
    return count;
}

/* What stands behind the time, which is 24 characters long. */
static const char *without_time(const char *line)
{
    assert_true(strlen(line) > 25);
    assert_int_equal(line[4], '-');
    assert_int_equal(line[23], 'Z');
    assert_int_equal(line[24], ' ');
    return line + 25;
}

static void text_line_has_all_parts(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    capture_start(&capture);
    log_warning("task failed", LOG_STR("task", "t-1"), LOG_UINT("attempt", UINT64_MAX),
                LOG_INT("code", INT64_MIN), LOG_STR("why", "no such file"), LOG_STR("none", NULL));
    const char *line = capture_stop(&capture);
    assert_string_equal(without_time(line),
                        "warning test_log: task failed task=t-1 attempt=18446744073709551615 "
                        "code=-9223372036854775808 why=\"no such file\" none=\"\"\n");
}

static void json_line_is_json(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture_start(&capture);
    log_error("quote \" and \\", LOG_STR("task", "gr\xc3\xbc\xc3\x9f\t\x7f"), LOG_UINT("n", 3),
              LOG_INT("i", -3));
    log_info("no fields");
    const char *lines = capture_stop(&capture);
    assert_int_equal(count_lines(lines), 2);

    json_t *json = json_loads(lines, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "level")), "error");
    assert_string_equal(json_string_value(json_object_get(json, "thread")), "test_log");
    assert_string_equal(json_string_value(json_object_get(json, "message")), "quote \" and \\");
    assert_string_equal(json_string_value(json_object_get(json, "task")), "gr\xc3\xbc\xc3\x9f\t\x7f");
    assert_int_equal(json_integer_value(json_object_get(json, "n")), 3);
    assert_int_equal(json_integer_value(json_object_get(json, "i")), -3);
    assert_int_equal(strlen(json_string_value(json_object_get(json, "time"))), 24);
    json_decref(json);
}

static void level_decides_what_is_written(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    capture_start(&capture);
    log_debug("1");
    log_info("2");
    log_warning("3");
    log_error("4");
    assert_int_equal(count_lines(capture_stop(&capture)), 2);
    assert_false(log_enabled(LOG_LEVEL_INFO));
    assert_true(log_enabled(LOG_LEVEL_WARNING));
}

static void value_cannot_forge_a_line(void **state)
{
    (void)state;
    for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
        log_setup(LOG_LEVEL_INFO, (enum log_format)format);
        capture_start(&capture);
        log_info("event", LOG_STR("value", "x\r\n2026-01-01T00:00:00.000Z error main: forged\x1b[31m"));
        const char *line = capture_stop(&capture);
        assert_int_equal(count_lines(line), 1);
        assert_null(strchr(line, '\r'));
        assert_null(strchr(line, '\x1b'));
    }
}

/* Values of one byte after another, of bytes that are no UTF-8, and cut in the middle of a character. */
static void any_value_leaves_a_valid_json_line(void **state)
{
    char value[1200];

    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    for (int byte = 1; byte < 256; byte++) {
        memset(value, byte, sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        for (size_t length = 1; length < sizeof(value); length += 1198) {
            value[length] = '\0';
            capture_start(&capture);
            log_info("event", LOG_STR("a", value), LOG_STR("b", value), LOG_STR("c", value),
                     LOG_STR("d", value));
            const char *line = capture_stop(&capture);
            value[length] = (char)byte;
            json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
            if (!json)
                fail_msg("byte %d, %zu times: %s", byte, length, line);
            json_decref(json);
        }
    }
}

static void cut_value_ends_on_a_whole_character(void **state)
{
    char value[2000];

    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    for (size_t shift = 0; shift < 4; shift++) {
        memset(value, 'a', sizeof(value));
        for (size_t i = shift; i + 4 < sizeof(value); i += 4)
            memcpy(value + i, "\xf0\x9f\x98\x80", 4);
        value[sizeof(value) - 1] = '\0';
        capture_start(&capture);
        log_info("event", LOG_STR("value", value));
        const char *line = capture_stop(&capture);
        assert_true(text_utf8_is_valid(line, strlen(line)));
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        json_decref(json);
    }
}

static void long_line_is_cut_and_ends_with_a_newline(void **state)
{
    char value[1001];

    (void)state;
    memset(value, 'v', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
        log_setup(LOG_LEVEL_INFO, (enum log_format)format);
        capture_start(&capture);
        log_info("event", LOG_STR("a", value), LOG_STR("b", value), LOG_STR("c", value), LOG_STR("d", value),
                 LOG_STR("e", value), LOG_STR("f", value));
        const char *line = capture_stop(&capture);
        assert_int_equal(count_lines(line), 1);
        assert_true(strlen(line) <= 4096);
        assert_int_equal(line[strlen(line) - 1], '\n');
    }
}

static void *log_a_hundred_lines(void *arg)
{
    for (int i = 0; i < 100; i++)
        log_info("from a thread", LOG_STR("value", arg));
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    enum { THREADS = 4 };
    char value[] = "abcdefghijklmnopqrstuvwxyz";
    pthread_t threads[THREADS];

    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    capture_start(&capture);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(
            thread_start(&threads[i], "a-name-that-is-too-long", log_a_hundred_lines, value, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    char *text = capture.text;
    capture_stop(&capture);

    size_t count = 0;
    for (char *line = strsep(&text, "\n"); text; line = strsep(&text, "\n"), count++)
        assert_true(strstr(line, ": from a thread value=abcdefghijklmnopqrstuvwxyz") != NULL);
    assert_int_equal(count, THREADS * 100);
}

static int set_thread_name(void **state)
{
    (void)state;
    return pthread_setname_np(pthread_self(), "test_log");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_line_has_all_parts),
        cmocka_unit_test(json_line_is_json),
        cmocka_unit_test(level_decides_what_is_written),
        cmocka_unit_test(value_cannot_forge_a_line),
        cmocka_unit_test(any_value_leaves_a_valid_json_line),
        cmocka_unit_test(cut_value_ends_on_a_whole_character),
        cmocka_unit_test(long_line_is_cut_and_ends_with_a_newline),
        cmocka_unit_test(lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, set_thread_name, NULL);
}
