#include "harness.h"

#include "base/random.h"
#include "base/trace.h"

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

static void a_trace_goes_on_with_another_span(void **state)
{
    char first[TRACE_PARENT_SIZE];
    char second[TRACE_PARENT_SIZE];
    (void)state;

    assert_int_equal(trace_continue(PARENT, first), 0);
    assert_int_equal(trace_continue(PARENT, second), 0);
    assert_int_equal(strlen(first), TRACE_PARENT_SIZE - 1);
    assert_memory_equal(first, PARENT, 36);
    assert_string_equal(first + 52, "-00");
    assert_memory_not_equal(first + 36, &PARENT[36], 16);
    assert_memory_not_equal(first + 36, second + 36, 16);
}

static void what_is_no_trace_begins_a_new_one(void **state)
{
    static const char *const parents[] = {
        "",
        "x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-000",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-00",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "00-00000000000000000000000000000000-b7ad6b7169203331-00",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(parents); i++) {
        char text[TRACE_PARENT_SIZE];
        assert_int_equal(trace_continue(parents[i], text), 0);
        assert_int_equal(strspn(text, "0123456789abcdef-"), TRACE_PARENT_SIZE - 1);
        assert_null(strstr(text, "0af7651916cd43dd"));
        assert_string_equal(text + 52, "-01");
    }
}

/* ---- what they are made of ---- */

static void *draw(void *arg)
{
    uint64_t *numbers = arg;

    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(random_u64(&numbers[i]), 0);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return (*x > *y) - (*x < *y);
}

static void no_number_comes_twice_in_any_thread(void **state)
{
    static uint64_t numbers[3][1000];
    uint64_t *all = numbers[0];
    pthread_t threads[3];
    (void)state;

    for (size_t i = 0; i < 3; i++)
        start(&threads[i], draw, numbers[i]);
    for (size_t i = 0; i < 3; i++)
        thread_join(threads[i]);
    qsort(all, 3000, sizeof(*all), compare);
    for (size_t i = 1; i < 3000; i++)
        assert_true(all[i - 1] != all[i]);
}

/* Seven standard deviations: one run in 10^10 fails. */
static void every_bit_is_as_often_set_as_not(void **state)
{
    unsigned set[64] = {0};
    (void)state;

    for (size_t i = 0; i < 10000; i++) {
        uint64_t number;
        assert_int_equal(random_u64(&number), 0);
        for (unsigned bit = 0; bit < 64; bit++)
            set[bit] += number >> bit & 1;
    }
    for (unsigned bit = 0; bit < 64; bit++)
        assert_in_range(set[bit], 5000 - 350, 5000 + 350);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_goes_on_with_another_span),
        cmocka_unit_test(what_is_no_trace_begins_a_new_one),
        cmocka_unit_test(no_number_comes_twice_in_any_thread),
        cmocka_unit_test(every_bit_is_as_often_set_as_not),
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
