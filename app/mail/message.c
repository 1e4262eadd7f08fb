#include "mail/message.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#define LINE_CHARS        76 /* of a line with encoded words, or quoted-printable */
#define ENCODED_OVERHEAD  12 /* =?UTF-8?B? ?= */
#define ENCODED_MAX_CHARS 75
#define PLAIN_NAME_CHARS  60

/* ---- header fields ---- */

static void write_base64(struct buf *out, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned group = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? (unsigned)bytes[i + 2] : 0);
        const char four[] = {digits[group >> 18], digits[group >> 12 & 63],
                             left > 1 ? digits[group >> 6 & 63] : '=', left > 2 ? digits[group & 63] : '='};
        buf_append(out, four, sizeof(four));
    }
}

/* As many whole characters as an encoded word of `chars` can hold. */
static size_t fitting_size(const char *text, size_t size, size_t chars)
{
    size_t max = (chars - ENCODED_OVERHEAD) / 4 * 3;
    size_t used = 0;
    size_t next;

    while (used < size && (next = text_utf8_char_size(text + used, size - used)) > 0 && used + next <= max)
        used += next;
    return used;
}

/* Encoded words (RFC 2047), each on a line; the first behind `column` characters.  All are in base64: it is
 * the form that is right in every field, and the length of a word does not depend on what is in it. */
static void write_encoded(struct buf *out, const char *text, size_t column)
{
    size_t size = strlen(text);

    while (size > 0) {
        size_t part = fitting_size(text, size, MIN(LINE_CHARS - column, ENCODED_MAX_CHARS));
        if (part == 0)
            return;
        buf_append_str(out, "=?UTF-8?B?");
        write_base64(out, (const unsigned char *)text, part);
        buf_append_str(out, part < size ? "?=\r\n " : "?=");
        text += part;
        size -= part;
        column = 1;
    }
}

/* Printable ASCII that nobody takes for encoded words, without blanks that a reader would drop. */
static bool is_plain(const char *text, size_t max_chars)
{
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return size > 0 && size <= max_chars && text[0] != ' ' && text[size - 1] != ' ' && !strstr(text, "=?");
}

static void write_subject(struct buf *out, const char *subject)
{
    static const char name[] = "Subject: ";

    buf_append_str(out, name);
    if (is_plain(subject, LINE_CHARS - strlen(name)))
        buf_append_str(out, subject);
    else
        write_encoded(out, subject, strlen(name));
    buf_append_str(out, "\r\n");
}

static void write_quoted(struct buf *out, const char *text)
{
    buf_append_str(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_append_str(out, "\\");
        buf_append(out, text, 1);
    }
    buf_append_str(out, "\"");
}

static void write_address(struct buf *out, const struct address *address, size_t column)
{
    if (address->name[0] == '\0') {
        buf_append_str(out, address->mailbox);
        return;
    }
    if (is_plain(address->name, PLAIN_NAME_CHARS))
        write_quoted(out, address->name);
    else
        write_encoded(out, address->name, column);
    buf_printf(out, "\r\n <%s>", address->mailbox);
}

/* One address a line. */
static void write_addresses(struct buf *out, const char *name, const struct address *addresses, size_t count)
{
    if (count == 0)
        return;
    buf_printf(out, "%s: ", name);
    for (size_t i = 0; i < count; i++) {
        write_address(out, &addresses[i], i == 0 ? strlen(name) + 2 : 1);
        buf_append_str(out, i + 1 < count ? ",\r\n " : "\r\n");
    }
}

/* RFC 5322, section 3.3: English names, whatever the locale. */
static void write_date(struct buf *out, uint64_t wall_ms)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (!gmtime_r(&seconds, &tm))
        return;
    buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
               months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* ---- bodies ---- */

struct quoter {
    struct buf *out;
    size_t column;
};

/* A line has 76 characters with the `=` that says that it goes on. */
static void put(struct quoter *quoter, const char *chars, size_t count)
{
    if (quoter->column + count > LINE_CHARS - 1) {
        buf_append_str(quoter->out, "=\r\n");
        quoter->column = 0;
    }
    buf_append(quoter->out, chars, count);
    quoter->column += count;
}

static void put_escaped(struct quoter *quoter, unsigned char byte)
{
    static const char digits[] = "0123456789ABCDEF";

    put(quoter, (const char[]){'=', digits[byte >> 4], digits[byte & 15]}, 3);
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n' || c == '\0';
}

/* A blank at the end of a line does not: it might be lost on the way. */
static bool stands_for_itself(const char *text)
{
    if (*text == ' ' || *text == '\t')
        return !is_line_end(text[1]);
    return *text > ' ' && *text <= '~' && *text != '=';
}

/* Lines end with CR LF, CR or LF in `text`, and with CR LF in what is written.  Returns whether that ends
 * within a line. */
static bool write_quoted_printable(struct buf *out, const char *text)
{
    struct quoter quoter = {.out = out};

    for (; *text; text++) {
        if (is_line_end(*text)) {
            buf_append_str(out, "\r\n");
            quoter.column = 0;
            text += text[0] == '\r' && text[1] == '\n';
        } else if (stands_for_itself(text)) {
            put(&quoter, text, 1);
        } else {
            put_escaped(&quoter, (unsigned char)*text);
        }
    }
    return quoter.column > 0;
}

static bool write_part(struct buf *out, const char *type, const char *text)
{
    buf_printf(out,
               "Content-Type: %s; charset=utf-8\r\n"
               "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
               type);
    return write_quoted_printable(out, text);
}

static void write_only_part(struct buf *out, const char *type, const char *text)
{
    if (write_part(out, type, text))
        buf_append_str(out, "\r\n");
}

/* "=_" is in no quoted-printable text, so the boundary is in neither part (RFC 2045, section 6.7).  The part
 * that is to be preferred comes last.  The CR LF before a boundary belongs to it. */
static void write_alternatives(struct buf *out, const struct message *message)
{
    buf_printf(out, "Content-Type: multipart/alternative;\r\n boundary=\"=_%s\"\r\n\r\n--=_%s\r\n",
               message->id, message->id);
    (void)write_part(out, "text/plain", message->text);
    buf_printf(out, "\r\n--=_%s\r\n", message->id);
    (void)write_part(out, "text/html", message->html);
    buf_printf(out, "\r\n--=_%s--\r\n", message->id);
}

/* ---- the message ---- */

void message_format_id(const struct message *message, char ret_id[MESSAGE_ID_SIZE])
{
    snprintf(ret_id, MESSAGE_ID_SIZE, "<%.*s@%s>", MESSAGE_ID_MAX_BYTES, message->id,
             address_domain(message->from));
}

bool message_is_subject(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return size > 0 && size <= MESSAGE_SUBJECT_MAX_BYTES && text_utf8_is_valid(text, size);
}

void message_write(const struct message *message, struct buf *out)
{
    char id[MESSAGE_ID_SIZE];

    message_format_id(message, id);
    write_date(out, message->wall_ms);
    write_addresses(out, "From", message->from, 1);
    if (message->reply_to)
        write_addresses(out, "Reply-To", message->reply_to, 1);
    write_addresses(out, "To", message->to, message->to_count);
    write_addresses(out, "Cc", message->cc, message->cc_count);
    write_subject(out, message->subject);
    buf_printf(out, "Message-ID: %s\r\nMIME-Version: 1.0\r\n", id);
    if (message->text && message->html)
        write_alternatives(out, message);
    else if (message->text)
        write_only_part(out, "text/plain", message->text);
    else
        write_only_part(out, "text/html", message->html);
}
