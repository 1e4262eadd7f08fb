#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* A text that was cut may end within a character. */
static void drop_half_character(char *text, size_t length)
{
    size_t start = length;

    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && text_utf8_char_size(text + start - 1, length - start + 1) == 0)
        text[start - 1] = '\0';
}

__attribute__((format(printf, 3, 0))) static void set_text(struct err *err, const char *suffix,
                                                           const char *format, va_list args)
{
    char text[sizeof(err->text)]; /* err->text itself may be among the arguments */

    int length = vsnprintf(text, sizeof(text), format, args);
    if (length < 0)
        length = 0;
    if ((size_t)length < sizeof(text))
        length += snprintf(text + length, sizeof(text) - (size_t)length, "%s", suffix);
    if ((size_t)length >= sizeof(text))
        drop_half_character(text, sizeof(text) - 1);
    memcpy(err->text, text, sizeof(text));
}

int err_set(struct err *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;

        va_start(args, format);
        set_text(err, "", format, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

int err_set_errno(struct err *err, int errnum, const char *format, ...)
{
    if (err) {
        char suffix[160];
        va_list args;

        snprintf(suffix, sizeof(suffix), ": %s", err_errno_text(errnum));
        va_start(args, format);
        set_text(err, suffix, format, args);
        va_end(args);
        err->code = -errnum;
    }
    return -errnum;
}

const char *err_errno_text(int errnum)
{
    static _Thread_local char text[128];

    return strerror_r(errnum, text, sizeof(text));
}
