#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void appends_add_up(void **state)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(100);

    (void)state;
    buf_append_str(&buf, "ab");
    buf_append(&buf, "c\0d", 3);
    buf_append(&buf, "", 0);
    buf_printf(&buf, "%d-%s", 42, "x");
    assert_false(buf.failed);
    assert_int_equal(buf.size, 9);
    assert_memory_equal(buf.data, "abc\0d42-x", 9);
}

static void buffer_grows_to_max_and_not_beyond(void **state)
{
    enum { MAX_BYTES = 1000 };
    cleanup(buf_done) struct buf buf = BUF_INIT(MAX_BYTES);

    (void)state;
    for (size_t i = 0; i < MAX_BYTES; i++) {
        buf_append(&buf, "x", 1);
        assert_true(!buf.failed && buf.size <= buf.capacity && buf.capacity <= MAX_BYTES);
    }
    buf_append(&buf, "x", 1);
    assert_true(buf.failed);
    assert_int_equal(buf.size, MAX_BYTES);
}

static void failure_sticks_until_done(void **state)
{
    struct buf buf = BUF_INIT(4);

    (void)state;
    buf_append_str(&buf, "abc");
    buf_append_str(&buf, "de");
    assert_true(buf.failed);
    buf_append_str(&buf, "f");
    buf_printf(&buf, "%d", 1);
    assert_false(buf_reserve(&buf, 1));
    assert_int_equal(buf.size, 3);
    assert_null(buf_take(&buf));

    buf_done(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.max, 4);
    buf_append_str(&buf, "abcd");
    assert_false(buf.failed);
    buf_done(&buf);
}

static void sizes_near_overflow_fail(void **state)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(SIZE_MAX);

    (void)state;
    buf_append_str(&buf, "abc");
    assert_false(buf_reserve(&buf, SIZE_MAX - 2));
    assert_true(buf.failed);
    assert_int_equal(buf.size, 3);
}

static void zeroed_buffer_takes_nothing(void **state)
{
    struct buf buf = {.data = NULL};

    (void)state;
    buf_append(&buf, "", 0);
    assert_false(buf.failed);
    buf_append_str(&buf, "a");
    assert_true(buf.failed);
    buf_done(&buf);
}

/* Around the size that is formatted on the stack first, and up to the very last byte. */
static void long_text_is_formatted_whole(void **state)
{
    static const size_t lengths[] = {510, 511, 512, 513, 4000};
    char text[4001];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        cleanup(buf_done) struct buf buf = BUF_INIT(lengths[i]);
        memset(text, 'a', lengths[i]);
        text[lengths[i]] = '\0';
        buf_printf(&buf, "%s", text);
        assert_false(buf.failed);
        assert_int_equal(buf.size, lengths[i]);
        assert_memory_equal(buf.data, text, lengths[i]);
    }
}

static void consume_removes_from_the_front(void **state)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(100);

    (void)state;
    buf_append_str(&buf, "abcdef");
    buf_consume(&buf, 0);
    buf_consume(&buf, 2);
    assert_int_equal(buf.size, 4);
    assert_memory_equal(buf.data, "cdef", 4);
    buf_consume(&buf, 4);
    assert_int_equal(buf.size, 0);
}

static void empty_buffer_may_be_consumed_and_taken(void **state)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(100);

    (void)state;
    buf_consume(&buf, 0);
    char *text = buf_take(&buf);
    assert_string_equal(text, "");
    free(text);
}

static void take_hands_over_a_string(void **state)
{
    cleanup(buf_done) struct buf buf = BUF_INIT(3);

    (void)state;
    buf_append_str(&buf, "abc");
    char *text = buf_take(&buf);
    assert_string_equal(text, "abc");
    assert_null(buf.data);
    assert_int_equal(buf.size, 0);
    buf_append_str(&buf, "def");
    assert_false(buf.failed);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_add_up),
        cmocka_unit_test(buffer_grows_to_max_and_not_beyond),
        cmocka_unit_test(failure_sticks_until_done),
        cmocka_unit_test(sizes_near_overflow_fail),
        cmocka_unit_test(zeroed_buffer_takes_nothing),
        cmocka_unit_test(long_text_is_formatted_whole),
        cmocka_unit_test(consume_removes_from_the_front),
        cmocka_unit_test(empty_buffer_may_be_consumed_and_taken),
        cmocka_unit_test(take_hands_over_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
