/* SHA-256: the vectors of FIPS 180, in one piece and in many. */
#include "harness.h"

#include "tasks/sha256.h"

static void assert_hash(const char *bytes, size_t size, size_t piece, const char *expected)
{
    cleanup(sha256_done) struct sha256 sha = {0};
    char hex[SHA256_HEX_SIZE];

    for (int round = 0; round < 2; round++) { /* one object serves for several */
        assert_int_equal(sha256_init(&sha), 0);
        for (size_t at = 0; at < size; at += piece)
            sha256_update(&sha, bytes + at, MIN(piece, size - at));
        assert_int_equal(sha256_finish(&sha, hex), 0);
        assert_string_equal(hex, expected);
    }
}

static void the_vectors_hold_however_the_bytes_come(void **state)
{
    static char a_million[1000000];
    static const size_t pieces[] = {1, 3, 63, 64, 65, 1000000};
    (void)state;

    memset(a_million, 'a', sizeof(a_million));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        assert_hash("", 0, pieces[i], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_hash("abc", 3, pieces[i], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_hash(a_million, sizeof(a_million), pieces[i],
                    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

static void one_that_was_never_set_up_can_be_freed(void **state)
{
    struct sha256 sha = {0};
    (void)state;

    sha256_done(&sha);
    sha256_done(&sha);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_hold_however_the_bytes_come),
        cmocka_unit_test(one_that_was_never_set_up_can_be_freed),
    };

    return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
