/* Signatures of webhooks: the vector of the specification, secrets of all forms, every byte counts. */
#include "harness.h"

#include "tasks/webhook.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID     "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define STAMP  1614265330
#define BODY   "{\"test\": 2432232314}"

static void sign(const char *secret, const char *id, uint64_t timestamp_s, const void *body, size_t size,
                 char ret_signature[WEBHOOK_SIGNATURE_SIZE])
{
    struct err err = {0};

    if (webhook_sign(secret, id, timestamp_s, body, size, ret_signature, &err) < 0)
        fail_msg("%s", err.text);
}

static void the_vector_of_the_specification_holds(void **state)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];
    (void)state;

    sign(SECRET, ID, STAMP, BODY, strlen(BODY), signature);
    assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/* printf '%s' 'id.1.' | openssl dgst -sha256 -hmac secret -binary | base64 */
static void a_secret_without_prefix_is_the_key(void **state)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];
    char encoded[WEBHOOK_SIGNATURE_SIZE];
    (void)state;

    sign("secret", "id", 1, NULL, 0, signature);
    assert_string_equal(signature, "v1,bzwDMPynlapJfBda5fBwrNNeY6f3K3TIyBWPs2R9eio=");
    sign("whsec_c2VjcmV0", "id", 1, "", 0, encoded);
    assert_string_equal(encoded, signature);
}

static void every_part_is_signed(void **state)
{
    static const struct {
        const char *secret;
        const char *id;
        uint64_t timestamp_s;
        const char *body;
        size_t size;
    } rows[] = {
        {SECRET, ID, STAMP, BODY, 20},       {SECRET, ID, STAMP, BODY, 19},
        {SECRET, ID, STAMP, BODY, 0},        {SECRET, ID, STAMP + 1, BODY, 20},
        {SECRET, "x", STAMP, BODY, 20},      {"other", ID, STAMP, BODY, 20},
        {SECRET, ID, STAMP, "\0", 1},        {SECRET, ID, STAMP, "\0\0", 2},
        {"whsec_Mw==", ID, STAMP, BODY, 20}, {"whsec_MzM=", ID, STAMP, BODY, 20},
    };
    char signatures[ARRAY_LEN(rows)][WEBHOOK_SIGNATURE_SIZE];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sign(rows[i].secret, rows[i].id, rows[i].timestamp_s, rows[i].body, rows[i].size, signatures[i]);
        assert_int_equal(strlen(signatures[i]), WEBHOOK_SIGNATURE_SIZE - 1);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(signatures[i], signatures[j]);
    }
}

static void secrets_that_are_none_are_refused(void **state)
{
    static const char *const secrets[] = {
        "",          "whsec_",       "whsec_=",       "whsec_====",  "whsec_A",        "whsec_AB",
        "whsec_ABC", "whsec_AB=",    "whsec_A===",    "whsec_ABC=D", "whsec_ABCD=",    "whsec_AB CD",
        "whsec_!!!", "whsec_ABCD\n", "whsec_ secret", "whsec_AB-_",  "whsec_ABC=ABCD",
    };
    char longest[WEBHOOK_SECRET_MAX_BYTES + 2];
    char signature[WEBHOOK_SIGNATURE_SIZE] = "untouched";
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        struct err err = {0};
        if (webhook_check_secret(secrets[i], &err) != -EINVAL)
            fail_msg("\"%s\" is taken", secrets[i]);
        assert_true(err.text[0] != '\0');
        assert_int_equal(webhook_sign(secrets[i], ID, STAMP, BODY, 1, signature, NULL), -EINVAL);
    }
    assert_string_equal(signature, "untouched");
    memset(longest, 'x', sizeof(longest));
    longest[WEBHOOK_SECRET_MAX_BYTES + 1] = '\0';
    assert_int_equal(webhook_check_secret(longest, NULL), -EINVAL);
    assert_int_equal(webhook_check_secret(longest + 1, NULL), 0);
    memcpy(longest + 1, "whsec_", 6); /* 506 digits are not whole groups of four */
    assert_int_equal(webhook_check_secret(longest + 1, NULL), -EINVAL);
    longest[WEBHOOK_SECRET_MAX_BYTES - 1] = '\0';
    assert_int_equal(webhook_check_secret(longest + 1, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_the_specification_holds),
        cmocka_unit_test(a_secret_without_prefix_is_the_key),
        cmocka_unit_test(every_part_is_signed),
        cmocka_unit_test(secrets_that_are_none_are_refused),
    };

    return cmocka_run_group_tests_name("webhook", tests, NULL, NULL);
}
