#include "text.h"

void text_add_number(struct text *text, uint64_t number, unsigned base)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    text_add(text, (struct slice){digits + at, sizeof digits - at});
}

void text_add_member(struct text *text, struct slice name, uint64_t number)
{
    text_add(text, name);
    text_add_number(text, number, 10);
}

void text_add_ms(struct text *text, int64_t ns)
{
    text_add_number(text, (uint64_t)ns / 1000000, 10);
    uint64_t rest = (uint64_t)ns % 1000000;
    for (uint64_t place = 100000; rest > 0; place /= 10) {
        text_add(text, place == 100000 ? SLICE(".") : SLICE(""));
        text_add_number(text, rest / place, 10);
        rest %= place;
    }
}

void text_add_json(struct text *text, struct slice piece)
{
    text_add(text, SLICE("\""));
    for (size_t i = 0; i < piece.len; i++) {
        unsigned char byte = (unsigned char)piece.at[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
            text_add(text, (struct slice){piece.at + i, 1});
        } else {
            const char *hex = "0123456789abcdef";
            char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
            text_add(text, (struct slice){escape, sizeof escape});
        }
    }
    text_add(text, SLICE("\""));
}

struct slice slice_take(struct slice *rest, char separator)
{
    const char *end = memchr(rest->at, separator, rest->len);
    size_t len = end ? (size_t)(end - rest->at) : rest->len;
    size_t skip = end ? len + 1 : len;
    struct slice part = {rest->at, len};
    *rest = (struct slice){rest->at + skip, rest->len - skip};
    return part;
}

bool slice_to_number(struct slice slice, uint64_t max, uint64_t *ret_number)
{
    if (slice.len == 0 || slice.len > 19) { /* 19 digits always fit */
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < slice.len; i++) {
        if (slice.at[i] < '0' || slice.at[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(slice.at[i] - '0');
    }
    if (number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}
