#include "mail/address.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define LABEL_MAX_BYTES 63

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 5322, section 3.2.3: atext. */
static bool is_atom_character(char c)
{
    return c != '\0' && (is_letter_or_digit(c) || strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool has_control_character(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    return false;
}

static bool is_ascii(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= 0x80)
            return false;
    return true;
}

/* ---- the mailbox ---- */

static bool is_local_part(const char *text, size_t size)
{
    bool after_dot = true; /* a dot stands neither first, nor last, nor behind another */

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '.' ? after_dot : !is_atom_character(text[i]))
            return false;
        after_dot = text[i] == '.';
    }
    return size > 0 && !after_dot;
}

static bool is_label(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_letter_or_digit(text[i]) && text[i] != '-')
            return false;
    return size > 0 && size <= LABEL_MAX_BYTES && text[0] != '-' && text[size - 1] != '-';
}

static bool is_domain(const char *text, size_t size)
{
    const char *dot;

    while ((dot = memchr(text, '.', size))) {
        size_t label_size = (size_t)(dot - text);
        if (!is_label(text, label_size))
            return false;
        text += label_size + 1;
        size -= label_size + 1;
    }
    return is_label(text, size);
}

static int parse_mailbox(const char *text, size_t size, struct address *ret, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    const char *at = memchr(text, '@', size);
    size_t local_size = at ? (size_t)(at - text) : 0;

    parse_quote(text, size, quoted);
    if (!is_ascii(text, size))
        return err_set(err, -EINVAL,
                       "%s is not ASCII, which mail servers need not take; write a domain in its xn-- form",
                       quoted);
    if (!at || !is_local_part(text, local_size) || !is_domain(at + 1, size - local_size - 1))
        return err_set(err, -EINVAL,
                       "%s is no address; write one such as a@example.org or Name <a@example.org>", quoted);
    if (size > ADDRESS_MAX_BYTES || local_size > ADDRESS_LOCAL_MAX_BYTES)
        return err_set(err, -EINVAL, "%s is too long; an address has at most %d bytes, %d before the @",
                       quoted, ADDRESS_MAX_BYTES, ADDRESS_LOCAL_MAX_BYTES);
    memcpy(ret->mailbox, text, size);
    ret->mailbox[size] = '\0';
    return 0;
}

/* ---- the name ---- */

/* The characters between the quotes; false when they are not one quoted string. */
static bool unquote(const char *text, size_t size, char *out, size_t *ret_size)
{
    size_t used = 0;

    if (size < 2 || text[size - 1] != '"')
        return false;
    for (size_t i = 1; i < size - 1; i++) {
        if (text[i] == '"' || (text[i] == '\\' && ++i == size - 1))
            return false;
        out[used++] = text[i];
    }
    *ret_size = used;
    return true;
}

static bool is_plain_name(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (strchr("()<>[]:;@\\,\"", text[i]))
            return false;
    return true;
}

static int parse_name(const char *text, size_t size, struct address *ret, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    size_t name_size = size;

    if (size > ADDRESS_NAME_MAX_BYTES)
        return err_set(err, -EINVAL, "the name %s has %zu bytes; at most %d are allowed",
                       parse_quote(text, size, quoted), size, ADDRESS_NAME_MAX_BYTES);
    if (size > 0 && text[0] == '"') {
        if (!unquote(text, size, ret->name, &name_size))
            return err_set(err, -EINVAL, "the name %s is not one quoted string",
                           parse_quote(text, size, quoted));
    } else if (is_plain_name(text, size)) {
        memcpy(ret->name, text, size);
    } else {
        return err_set(err, -EINVAL,
                       "the name %s has one of ( ) < > [ ] : ; @ \\ , in it: quote it, as in "
                       "\"Doe, Jane\" <a@example.org>, or make a list of several addresses",
                       parse_quote(text, size, quoted));
    }
    ret->name[name_size] = '\0';
    return 0;
}

static size_t trim(const char **text, size_t size)
{
    while (size > 0 && **text == ' ') {
        (*text)++;
        size--;
    }
    while (size > 0 && (*text)[size - 1] == ' ')
        size--;
    return size;
}

int address_parse(const char *text, size_t size, struct address *ret, struct err *err)
{
    struct address address = {0};
    char quoted[PARSE_QUOTED_SIZE];

    if (has_control_character(text, size) || !text_utf8_is_valid(text, size))
        return err_set(err, -EINVAL, "%s has a control character or invalid UTF-8 in it",
                       parse_quote(text, size, quoted));
    size = trim(&text, size);
    const char *open = size > 0 && text[size - 1] == '>' ? memrchr(text, '<', size) : NULL;
    int rc;
    if (open) {
        size_t name_size = (size_t)(open - text);
        rc = parse_mailbox(open + 1, size - name_size - 2, &address, err);
        name_size = trim(&text, name_size);
        if (rc == 0)
            rc = parse_name(text, name_size, &address, err);
    } else {
        rc = parse_mailbox(text, size, &address, err);
    }
    if (rc == 0)
        *ret = address;
    return rc;
}

const char *address_domain(const struct address *address)
{
    return strrchr(address->mailbox, '@') + 1;
}
