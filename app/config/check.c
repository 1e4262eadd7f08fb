/* What libfyaml must not see, because (0.7.12) it does not report it: a value with invalid UTF-8 comes out as
 * an empty one, and a very long run of blank lines or of '%' takes it quadratic time. */
#include "config/config_int.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define LINES_MAX 10000

/* Bytes from `p` to the beginning of the next character. */
static size_t char_size(const char *p, const char *end)
{
    size_t size = 1;

    while (p + size < end && ((unsigned char)p[size] & 0xc0) == 0x80)
        size++;
    return size;
}

static bool is_line_space(char c)
{
    return c == '\t' || c == '\n' || c == '\r';
}

/* A sentence when the character may not stand in a configuration at all; NULL otherwise. */
static const char *wrong_with(const char *p, size_t size)
{
    unsigned char first = (unsigned char)p[0];

    if (!text_utf8_is_valid(p, size))
        return "is not valid UTF-8";
    if ((first < 0x20 && !is_line_space(p[0])) || first == 0x7f)
        return "has a control character";
    if (first == 0xc2 && (unsigned char)p[1] < 0xa0)
        return "has a control character";
    return NULL;
}

bool config_check_bytes(const char *name, const char *text, size_t size, struct config_errors *errors)
{
    struct config_position at = {1, 1};
    const char *wrong = NULL;
    size_t length;

    for (size_t i = 0; i < size && !wrong; i += length) {
        length = char_size(text + i, text + size);
        wrong = wrong_with(text + i, length);
        if (at.column == 1 && text[i] == '%')
            wrong = "has a YAML directive (%), which is not supported";
        if (at.line > LINES_MAX)
            wrong = "has more than 10000 lines";
        if (wrong)
            break;
        at.column++;
        if (text[i] == '\n')
            at = (struct config_position){at.line + 1, 1};
    }
    if (wrong)
        config_error(errors, name, at, "the file %s", wrong);
    return !wrong;
}

int config_check_value(const char *text, size_t size, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    size_t length;

    for (size_t i = 0; i < size; i += length) {
        length = char_size(text + i, text + size);
        const char *wrong = is_line_space(text[i]) ? "has a control character" : wrong_with(text + i, length);
        if (wrong)
            return err_set(err, -EINVAL, "%s %s; write it as one line of text",
                           parse_quote(text, size, quoted), wrong);
    }
    return 0;
}
