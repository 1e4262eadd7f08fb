/* Messages and the addresses in them. */
#include "harness.h"

#include "mail/address.h"
#include "mail/message.h"

#define ID "01890a5d-ac96-774b-bcce-b302099a8057"

/* ---- addresses ---- */

static void addresses_that_are_good(void **state)
{
    static const struct {
        const char *text, *name, *mailbox;
    } cases[] = {
        {"a@b", "", "a@b"},
        {"jane.doe+news@mail.example.org", "", "jane.doe+news@mail.example.org"},
        {"  a@example.org ", "", "a@example.org"},
        {"<a@example.org>", "", "a@example.org"},
        {"Jane Doe <a@example.org>", "Jane Doe", "a@example.org"},
        {"Jane<a@example.org>", "Jane", "a@example.org"},
        {"J\xc3\xbcrgen \xe2\x9c\x89 <a@example.org>", "J\xc3\xbcrgen \xe2\x9c\x89", "a@example.org"},
        {"\"Doe, Jane\" <a@example.org>", "Doe, Jane", "a@example.org"},
        {"\"a \\\"b\\\" \\\\ <c@d>\" <a@example.org>", "a \"b\" \\ <c@d>", "a@example.org"},
        {"\"\" <a@example.org>", "", "a@example.org"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address address;
        struct err err = {0};
        if (address_parse(cases[i].text, strlen(cases[i].text), &address, &err) < 0)
            fail_msg("%s", err.text);
        assert_string_equal(address.name, cases[i].name);
        assert_string_equal(address.mailbox, cases[i].mailbox);
    }
}

static void addresses_that_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        " ",
        "a",
        "@b",
        "a@",
        "a@b@c",
        "a b@c",
        "a@b c",
        ".a@b",
        "a.@b",
        "a..b@c",
        "a@-b",
        "a@b-",
        "a@b..c",
        "a@b.",
        "a@[127.0.0.1]",
        "\"a b\"@c",
        "a@b, c@d",
        "a@b; c@d",
        "a@b, Jane <c@d>",
        "Jane <a@b>, <c@d>",
        "<c@d> Jane <a@b>",
        "Jane (her) <a@b>",
        "Jane: a@b;",
        "Jane <a@b",
        "Jane a@b>",
        "Jane <<a@b>>",
        "Jane <>",
        "<a@b>x",
        "\"Jane <a@b>",
        "\"Jane\" Doe <a@b>",
        "\"Jane\\\" <a@b>",
        "a@b\r\nBcc: c@d",
        "a@b\n",
        "Jane\r\nBcc: c@d <a@b>",
        "\"Jane\r\n\" <a@b>",
        "Jane\t<a@b>",
        "Jane\x7f <a@b>",
        "j\xc3\xbcrgen@b",
        "a@b\xc3\xbc.org",
        "Jane\xff <a@b>",
        "a@b> SIZE=1",
        "a@b> BODY=8BITMIME <a@b>",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address address = {"untouched", "untouched"};
        struct err err = {0};
        if (address_parse(cases[i], strlen(cases[i]), &address, &err) == 0)
            fail_msg("taken: %s", cases[i]);
        assert_int_equal(err.code, -EINVAL);
        assert_true(strlen(err.text) > 0);
        assert_string_equal(address.mailbox, "untouched");
    }
}

static void a_nul_does_not_end_an_address(void **state)
{
    struct address address;

    (void)state;
    assert_int_equal(address_parse("a@b\0c", 5, &address, NULL), -EINVAL);
    assert_int_equal(address_parse("Jane\0 <a@b>", 11, &address, NULL), -EINVAL);
}

static int parse_sized(size_t name_size, size_t local_size, size_t domain_labels)
{
    char text[2048];
    size_t size = 0;
    struct address address;

    for (size_t i = 0; i < name_size; i++)
        text[size++] = 'n';
    text[size++] = '<';
    for (size_t i = 0; i < local_size; i++)
        text[size++] = 'a';
    text[size++] = '@';
    for (size_t i = 0; i < domain_labels; i++) {
        memcpy(text + size, "abcdefghi.", 10);
        size += 10;
    }
    text[size++] = 'x';
    text[size++] = '>';
    return address_parse(text, size, &address, NULL);
}

static void lengths_are_limited(void **state)
{
    (void)state;
    assert_int_equal(parse_sized(200, 64, 18), 0);
    assert_int_equal(parse_sized(201, 64, 18), -EINVAL);
    assert_int_equal(parse_sized(0, 65, 1), -EINVAL);
    assert_int_equal(parse_sized(0, 62, 19), 0); /* 62 + 1 + 191 = 254 */
    assert_int_equal(parse_sized(0, 63, 19), -EINVAL);
}

/* ---- messages ---- */

static struct address address_of(const char *text)
{
    struct address address;
    struct err err = {0};

    if (address_parse(text, strlen(text), &address, &err) < 0)
        fail_msg("%s", err.text);
    return address;
}

/* As a string, which the caller frees; every line is checked. */
static char *write_message(const struct message *message)
{
    struct buf out = BUF_INIT(1024 * 1024);

    message_write(message, &out);
    char *text = buf_take(&out);
    assert_non_null(text);
    const char *line = text;
    for (const char *end; (end = strstr(line, "\r\n")); line = end + 2) {
        assert_in_range((size_t)(end - line), 0, 998);
        for (const char *c = line; c < end; c++)
            assert_true(*c >= ' ' && *c <= '~');
    }
    assert_string_equal(line, "");
    return text;
}

static char *write_simple(const char *from, const char *to, const char *subject, const char *text,
                          const char *html)
{
    struct address sender = address_of(from);
    struct address recipient = address_of(to);
    struct message message = {.id = ID,
                              .wall_ms = UINT64_C(1700000000123),
                              .from = &sender,
                              .to = &recipient,
                              .to_count = 1,
                              .subject = subject,
                              .text = text,
                              .html = html};

    return write_message(&message);
}

static void a_text_is_one_part(void **state)
{
    char *text = write_simple("Heddle <heddle@example.org>", "a@b", "Hello", "Hi there,\nhow are you?", NULL);

    (void)state;
    assert_string_equal(text, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
                              "From: \"Heddle\"\r\n <heddle@example.org>\r\n"
                              "To: a@b\r\n"
                              "Subject: Hello\r\n"
                              "Message-ID: <" ID "@example.org>\r\n"
                              "MIME-Version: 1.0\r\n"
                              "Content-Type: text/plain; charset=utf-8\r\n"
                              "Content-Transfer-Encoding: quoted-printable\r\n"
                              "\r\n"
                              "Hi there,\r\nhow are you?\r\n");
    free(text);
}

static void text_and_html_are_alternatives_the_html_last(void **state)
{
    char *text = write_simple("a@b", "c@d", "s", "plain\n", "<p class=\"x\">");

    (void)state;
    assert_non_null(strstr(text, "Content-Type: multipart/alternative;\r\n boundary=\"=_" ID "\"\r\n"
                                 "\r\n--=_" ID "\r\n"
                                 "Content-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Transfer-Encoding: quoted-printable\r\n"
                                 "\r\n"
                                 "plain\r\n"
                                 "\r\n--=_" ID "\r\n"
                                 "Content-Type: text/html; charset=utf-8\r\n"
                                 "Content-Transfer-Encoding: quoted-printable\r\n"
                                 "\r\n"
                                 "<p class=3D\"x\">"
                                 "\r\n--=_" ID "--\r\n"));
    free(text);
}

static void html_alone_is_one_part(void **state)
{
    char *text = write_simple("a@b", "c@d", "s", NULL, "<p>");

    (void)state;
    assert_non_null(strstr(text, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_null(strstr(text, "multipart"));
    free(text);
}

static void empty_parts_are_parts(void **state)
{
    char *text = write_simple("a@b", "c@d", "s", "", "");

    (void)state;
    assert_non_null(strstr(text, "quoted-printable\r\n\r\n\r\n--=_" ID "\r\n"));
    free(text);
}

static const char *body_of(const char *text)
{
    return strstr(text, "\r\n\r\n") + 4;
}

static void bodies_are_quoted_printable(void **state)
{
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"", ""},
        {"a=b", "a=3Db\r\n"},
        {"\xc3\xbc", "=C3=BC\r\n"},
        {"a \nb\t", "a=20\r\nb=09\r\n"},
        {"a\r\nb\rc\nd", "a\r\nb\r\nc\r\nd\r\n"},
        {"\n\n.\n..\n", "\r\n\r\n.\r\n..\r\n"},
        {"\x01\x7f", "=01=7F\r\n"},
        {"1234567890123456789012345678901234567890123456789012345678901234567890123456",
         "123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n6\r\n"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234\xc3\xbc",
         "12345678901234567890123456789012345678901234567890123456789012345678901234=\r\n=C3=BC\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = write_simple("a@b", "c@d", "s", cases[i].text, NULL);
        assert_string_equal(body_of(text), cases[i].written);
        free(text);
    }
}

static void subjects_that_are_not_plain_are_encoded_words(void **state)
{
    static const struct {
        const char *subject, *written;
    } cases[] = {
        {"plain words: 100%", "Subject: plain words: 100%\r\n"},
        {"\xc3\xbc", "Subject: =?UTF-8?B?w7w=?=\r\n"},
        {"=?UTF-8?B?w7w=?=", "Subject: =?UTF-8?B?PT9VVEYtOD9CP3c3dz0/PQ==?=\r\n"},
        {" a", "Subject: =?UTF-8?B?IGE=?=\r\n"},
        {"1234567890123456789012345678901234567890123456789012345678901234567",
         "Subject: 1234567890123456789012345678901234567890123456789012345678901234567\r\n"},
        {"12345678901234567890123456789012345678901234567890123456789012345678",
         "Subject: =?UTF-8?B?MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5?=\r\n"
         " =?UTF-8?B?MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg=?=\r\n"},
        /* a character of three bytes is not cut */
        {"12345678901234567890123456789012345678\xe2\x9c\x89",
         "Subject: =?UTF-8?B?MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg=?=\r\n"
         " =?UTF-8?B?4pyJ?=\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = write_simple("a@b", "c@d", cases[i].subject, "t", NULL);
        if (!strstr(text, cases[i].written))
            fail_msg("%s", text);
        free(text);
    }
}

static void subjects_are_one_line(void **state)
{
    char longest[MESSAGE_SUBJECT_MAX_BYTES + 1];

    (void)state;
    memset(longest, 's', sizeof(longest));
    assert_true(message_is_subject("s", 1));
    assert_true(message_is_subject(longest, MESSAGE_SUBJECT_MAX_BYTES));
    assert_false(message_is_subject(longest, MESSAGE_SUBJECT_MAX_BYTES + 1));
    assert_false(message_is_subject("", 0));
    assert_false(message_is_subject("a\r\nBcc: b@c", 11));
    assert_false(message_is_subject("a\nb", 3));
    assert_false(message_is_subject("a\rb", 3));
    assert_false(message_is_subject("a\0b", 3));
    assert_false(message_is_subject("a\tb", 3));
    assert_false(message_is_subject("\xff", 1));
}

static void names_are_quoted_or_encoded(void **state)
{
    char *text = write_simple("\"a \\\"b\\\" \\\\\" <a@b>", "J\xc3\xbcrgen <c@d>", "s", "t", NULL);

    (void)state;
    assert_non_null(strstr(text, "\r\nFrom: \"a \\\"b\\\" \\\\\"\r\n <a@b>\r\n"));
    assert_non_null(strstr(text, "\r\nTo: =?UTF-8?B?SsO8cmdlbg==?=\r\n <c@d>\r\n"));
    free(text);
}

static void a_name_that_looks_encoded_is_encoded(void **state)
{
    char *text = write_simple("=?UTF-8?Q?boss?= <a@b>", "c@d", "s", "t", NULL);

    (void)state;
    assert_null(strstr(text, "boss"));
    free(text);
}

static void lists_have_an_address_a_line(void **state)
{
    struct address sender = address_of("a@b");
    struct address people[] = {address_of("c@d"), address_of("Eve <e@f>"), address_of("g@h")};
    struct address reply_to = address_of("r@s");
    struct message message = {.id = ID,
                              .from = &sender,
                              .reply_to = &reply_to,
                              .to = people,
                              .to_count = 2,
                              .cc = people + 2,
                              .cc_count = 1,
                              .subject = "s",
                              .text = "t"};
    char *text = write_message(&message);

    (void)state;
    assert_non_null(strstr(text, "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
                                 "From: a@b\r\n"
                                 "Reply-To: r@s\r\n"
                                 "To: c@d,\r\n \"Eve\"\r\n <e@f>\r\n"
                                 "Cc: g@h\r\n"));
    free(text);
}

static void a_message_that_does_not_fit_fails(void **state)
{
    struct address sender = address_of("a@b");
    struct buf out = BUF_INIT(100);
    struct message message = {
        .id = ID, .from = &sender, .to = &sender, .to_count = 1, .subject = "s", .text = "t"};

    (void)state;
    message_write(&message, &out);
    assert_true(out.failed);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_that_are_good),
        cmocka_unit_test(addresses_that_are_refused),
        cmocka_unit_test(a_nul_does_not_end_an_address),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(a_text_is_one_part),
        cmocka_unit_test(text_and_html_are_alternatives_the_html_last),
        cmocka_unit_test(html_alone_is_one_part),
        cmocka_unit_test(empty_parts_are_parts),
        cmocka_unit_test(bodies_are_quoted_printable),
        cmocka_unit_test(subjects_that_are_not_plain_are_encoded_words),
        cmocka_unit_test(subjects_are_one_line),
        cmocka_unit_test(names_are_quoted_or_encoded),
        cmocka_unit_test(a_name_that_looks_encoded_is_encoded),
        cmocka_unit_test(lists_have_an_address_a_line),
        cmocka_unit_test(a_message_that_does_not_fit_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
