#include "config/config_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128

/* This happens after YAML has been read, value by value: whatever a variable holds, it cannot add a key, a
 * list item or a comment.  A default is taken as it stands; there is no substitution inside it. */

static const char name_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

static bool is_name(const char *text, size_t size)
{
    if (size == 0 || size > NAME_MAX_BYTES || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!memchr(name_chars, text[i], sizeof(name_chars) - 1))
            return false;
    }
    return true;
}

/* Appends the value of what stands between the braces.  As in a shell, the default also takes the place of an
 * empty value. */
static int expand(const char *text, size_t size, struct buf *out, struct err *err)
{
    char name[NAME_MAX_BYTES + 1];
    const char *fallback = memmem(text, size, ":-", 2);
    size_t name_size = fallback ? (size_t)(fallback - text) : size;

    if (!is_name(text, name_size)) {
        char quoted[PARSE_QUOTED_SIZE];
        return err_set(err, -EINVAL, "%s is not the name of a variable; write ${NAME} or ${NAME:-default}",
                       parse_quote(text, name_size, quoted));
    }
    memcpy(name, text, name_size);
    name[name_size] = '\0';
    const char *value = getenv(name);
    if (fallback && (!value || *value == '\0'))
        buf_append(out, fallback + 2, size - name_size - 2);
    else if (value)
        buf_append_str(out, value);
    else
        return err_set(err, -ENOENT, "the environment variable %s is not set; set it or write ${%s:-default}",
                       name, name);
    return 0;
}

int config_substitute(const char *text, size_t size, struct buf *out, struct err *err)
{
    const char *end = text + size;

    while (text < end) {
        size_t left = (size_t)(end - text);
        if (left >= 3 && memcmp(text, "$${", 3) == 0) {
            buf_append(out, "${", 2);
            text += 3;
        } else if (left >= 2 && memcmp(text, "${", 2) == 0) {
            const char *close = memchr(text, '}', left);
            if (!close)
                return err_set(err, -EINVAL,
                               "${ without }; write ${NAME}, ${NAME:-default}, or $${ for ${ itself");
            int r = expand(text + 2, (size_t)(close - text) - 2, out, err);
            if (r < 0)
                return r;
            text = close + 1;
        } else {
            buf_append(out, text++, 1);
        }
    }
    return 0;
}
