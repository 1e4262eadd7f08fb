#include "cli/pretty.h"

#include <string.h>

static void break_line(struct buf *out, size_t depth)
{
    buf_append_str(out, "\n");
    for (size_t i = 0; i < depth; i++)
        buf_append_str(out, "  ");
}

/* Bytes of the string at the beginning, with its quotes. */
static size_t string_size(const char *json, size_t size)
{
    size_t i = 1;

    while (i < size && json[i] != '"')
        i += json[i] == '\\' ? 2 : 1;
    return i < size ? i + 1 : size;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(const char *json, size_t size, size_t at)
{
    while (at < size && is_space(json[at]))
        at++;
    return at;
}

/* An opening bracket; an empty pair stays together. */
static size_t append_open(struct buf *out, const char *json, size_t size, size_t at, size_t *depth)
{
    size_t next = skip_space(json, size, at + 1);

    buf_append(out, &json[at], 1);
    if (next < size && (json[next] == '}' || json[next] == ']')) {
        buf_append(out, &json[next], 1);
        return next + 1;
    }
    break_line(out, ++*depth);
    return next;
}

void json_append_pretty(struct buf *out, const char *json, size_t size)
{
    size_t depth = 0;

    for (size_t i = skip_space(json, size, 0); i < size; i = skip_space(json, size, i)) {
        size_t step = json[i] == '"' ? string_size(json + i, size - i) : 1;
        if (json[i] == '{' || json[i] == '[') {
            i = append_open(out, json, size, i, &depth);
            continue;
        }
        if ((json[i] == '}' || json[i] == ']') && depth > 0)
            break_line(out, --depth);
        buf_append(out, json + i, step);
        if (json[i] == ',')
            break_line(out, depth);
        else if (json[i] == ':')
            buf_append_str(out, " ");
        i += step;
    }
}
