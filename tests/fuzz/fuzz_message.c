/* fuzz_message.c - address_parse and message_write: whatever is taken, the message has the header fields that
 * were asked for and no others, and lines that a mail server takes.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: an address up to a newline, a subject up to the
 * next one, the rest is the text, and the html when it has an even number of bytes. */
#include <stdlib.h>
#include <string.h>

#include "mail/message.h"

#define ENCODING "Content-Transfer-Encoding: quoted-printable\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* The next line of the input, as a string that the caller frees. */
static char *take_line(const char **rest, size_t *size)
{
    const char *end = memchr(*rest, '\n', *size);
    size_t length = end ? (size_t)(end - *rest) : *size;
    char *line = strndup(*rest, length);

    check(line != NULL);
    *rest += length + (end != NULL);
    *size -= length + (end != NULL);
    return line;
}

/* Every line ends with CR LF and is printable ASCII; a body may have tabs as well. */
static const char *check_line(const char *line, bool is_header)
{
    const char *end = strstr(line, "\r\n");

    check(end && end - line <= 998);
    for (const char *c = line; c < end; c++)
        check((*c >= ' ' && *c <= '~') || (*c == '\t' && !is_header));
    return end + 2;
}

static void check_message(const char *text)
{
    static const char *const fields[] = {
        "Date: ", "From: ", "To: ", "Subject: ", "Message-ID: ", "MIME-Version: ", "Content-Type: ", ""};
    const char *const *field = fields;

    while (*text && strncmp(text, "\r\n", 2) != 0) {
        bool is_next = **field && strncmp(text, *field, strlen(*field)) == 0;
        check(text[0] == ' ' || is_next || (!**field && strncmp(text, ENCODING, strlen(ENCODING)) == 0));
        field += is_next;
        text = check_line(text, true);
    }
    check(**field == '\0' && *text);
    while (*text)
        text = check_line(text, false);
}

static void write_and_check(const struct address *address, const char *subject, const char *text,
                            bool has_html)
{
    struct buf out = BUF_INIT(16 * 1024 * 1024);
    struct message message = {.id = "00000000-0000-0000-0000-000000000000",
                              .from = address,
                              .to = address,
                              .to_count = 1,
                              .subject = subject,
                              .text = text,
                              .html = has_html ? text : NULL};

    message_write(&message, &out);
    char *written = buf_take(&out);
    check(written != NULL);
    check_message(written);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *rest = (const char *)data;
    struct address address;
    bool is_even = size % 2 == 0;
    char *from = take_line(&rest, &size);
    char *subject = take_line(&rest, &size);
    char *text = strndup(rest, size);

    check(text != NULL);
    if (address_parse(from, strlen(from), &address, NULL) == 0) {
        check(strlen(address.mailbox) > 0 && address_domain(&address)[0] != '\0');
        if (message_is_subject(subject, strlen(subject)))
            write_and_check(&address, subject, text, is_even);
    }
    free(from);
    free(subject);
    free(text);
    return 0;
}
