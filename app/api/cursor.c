#include "api/cursor.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

void cursor_format(const struct uuid *at, char ret_text[CURSOR_SIZE])
{
    for (size_t i = 0; i < sizeof(at->bytes); i++)
        snprintf(ret_text + 2 * i, 3, "%02x", at->bytes[i]);
}

bool cursor_parse(const char *text, struct uuid *ret)
{
    struct uuid at;

    if (strlen(text) != CURSOR_SIZE - 1)
        return false;
    for (size_t i = 0; i < sizeof(at.bytes); i++) {
        int high = parse_hex_digit(text[2 * i]);
        int low = parse_hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        at.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = at;
    return true;
}
