/* UUIDs: their form, their order, and what the strict parser refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/uuid.h"

static struct uuid make_at(uint64_t wall_ms)
{
    struct uuid uuid;

    assert_int_equal(uuid_create_at(wall_ms, &uuid), 0);
    return uuid;
}

static int compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static uint64_t stamp_of(const struct uuid *uuid)
{
    uint64_t ms = 0;

    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | uuid->bytes[i];
    return ms;
}

static void has_version_variant_and_stamp(void **state)
{
    struct uuid uuid;
    uint64_t before_ms = clock_wall_ms();

    (void)state;
    assert_int_equal(uuid_create(&uuid), 0);
    assert_int_equal(uuid.bytes[6] >> 4, 7);
    assert_int_equal(uuid.bytes[8] >> 6, 2);
    assert_true(stamp_of(&uuid) >= before_ms);
}

static void later_ones_are_greater_within_a_millisecond_and_when_the_clock_goes_back(void **state)
{
    uint64_t ms = clock_wall_ms() + 10000;
    struct uuid previous = make_at(ms);

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct uuid uuid = make_at(i % 3 == 0 ? ms - 5000 : ms);
        assert_true(compare(&uuid, &previous) > 0);
        assert_int_equal(uuid.bytes[6] >> 4, 7);
        previous = uuid;
    }
    /* 4096 fit in a millisecond: the stamp has run ahead, but by little. */
    assert_in_range(stamp_of(&previous), ms + 1, ms + 10);
}

static void later_ones_are_greater_than_one_of_another_process(void **state)
{
    struct uuid theirs = make_at(clock_wall_ms());
    struct uuid ours;

    (void)state;
    theirs.bytes[2] += 1; /* four hours ahead */
    memset(theirs.bytes + 7, 0xff, 9);
    uuid_begin_after(&theirs);
    assert_int_equal(uuid_create(&ours), 0);
    assert_true(compare(&ours, &theirs) > 0);
    assert_in_range(stamp_of(&ours), stamp_of(&theirs), stamp_of(&theirs) + 1);
    uuid_begin_after(&(struct uuid){{0}}); /* changes nothing */
    struct uuid next = make_at(clock_wall_ms());
    assert_true(compare(&next, &ours) > 0);
}

static void text_sorts_like_the_bytes(void **state)
{
    char previous[UUID_TEXT_SIZE] = "";

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        char text[UUID_TEXT_SIZE];
        struct uuid uuid;
        assert_int_equal(uuid_create(&uuid), 0);
        uuid_format(&uuid, text);
        assert_true(strcmp(text, previous) > 0);
        memcpy(previous, text, sizeof(text));
    }
}

#define THREADS    4
#define PER_THREAD 5000

static void *make_many(void *arg)
{
    struct uuid *uuids = arg;

    for (unsigned i = 0; i < PER_THREAD; i++)
        if (uuid_create(&uuids[i]) != 0)
            abort();
    return NULL;
}

static int compare_for_sort(const void *a, const void *b)
{
    return compare(a, b);
}

static void threads_never_get_the_same_one(void **state)
{
    struct uuid *uuids = calloc(THREADS * PER_THREAD, sizeof(*uuids));
    pthread_t threads[THREADS];

    (void)state;
    assert_non_null(uuids);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "uuids", make_many, &uuids[i * PER_THREAD], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    qsort(uuids, THREADS * PER_THREAD, sizeof(*uuids), compare_for_sort);
    for (unsigned i = 1; i < THREADS * PER_THREAD; i++)
        assert_true(compare(&uuids[i], &uuids[i - 1]) > 0);
    free(uuids);
}

/* The example of RFC 9562, appendix A.6. */
static const struct uuid rfc_example = {
    {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3, 0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f}};
#define RFC_EXAMPLE_TEXT "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"

static void formats_and_parses_the_example_of_the_rfc(void **state)
{
    char text[UUID_TEXT_SIZE];
    struct uuid uuid;

    (void)state;
    uuid_format(&rfc_example, text);
    assert_string_equal(text, RFC_EXAMPLE_TEXT);
    assert_true(uuid_parse(RFC_EXAMPLE_TEXT, &uuid));
    assert_int_equal(compare(&uuid, &rfc_example), 0);
    assert_true(uuid_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", &uuid));
    assert_int_equal(compare(&uuid, &rfc_example), 0);
}

static void parser_refuses_all_other_forms(void **state)
{
    static const char *const wrong[] = {
        "",
        "-",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
        "017f22e27-9b0-7cc3-98c4-dc0c0c07398f",
        " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "+17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398\n",
        "0x7f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739\xc3\xa9",
    };
    struct uuid uuid = rfc_example;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(uuid_parse(wrong[i], &uuid));
    assert_int_equal(compare(&uuid, &rfc_example), 0);
}

static void equal_are_only_the_same(void **state)
{
    struct uuid other = rfc_example;

    (void)state;
    assert_true(uuid_equal(&rfc_example, &other));
    other.bytes[15] ^= 1;
    assert_false(uuid_equal(&rfc_example, &other));
}

static void buckets_are_filled_evenly(void **state)
{
    enum { BUCKETS = 16, EACH = 1000 };
    unsigned count[BUCKETS] = {0};

    (void)state;
    for (unsigned i = 0; i < BUCKETS * EACH; i++) {
        struct uuid uuid;
        assert_int_equal(uuid_create(&uuid), 0);
        size_t bucket = uuid_bucket(&uuid, BUCKETS);
        assert_true(bucket < BUCKETS);
        count[bucket]++;
    }
    for (unsigned i = 0; i < BUCKETS; i++)
        assert_in_range(count[i], EACH / 2, EACH * 2);
    assert_int_equal(uuid_bucket(&rfc_example, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_version_variant_and_stamp),
        cmocka_unit_test(later_ones_are_greater_within_a_millisecond_and_when_the_clock_goes_back),
        cmocka_unit_test(later_ones_are_greater_than_one_of_another_process),
        cmocka_unit_test(text_sorts_like_the_bytes),
        cmocka_unit_test(threads_never_get_the_same_one),
        cmocka_unit_test(formats_and_parses_the_example_of_the_rfc),
        cmocka_unit_test(parser_refuses_all_other_forms),
        cmocka_unit_test(equal_are_only_the_same),
        cmocka_unit_test(buckets_are_filled_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
