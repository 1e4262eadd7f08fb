#include "api/batch_split.h"

#include <errno.h>
#include <string.h>

void batch_split_init(struct batch_split *split, const char *text, size_t size, bool is_lines)
{
    *split = (struct batch_split){.text = text, .size = size, .is_lines = is_lines};
}

static bool is_blank(char c)
{
    return memchr(" \t\r\n", c, 4);
}

static void skip_blanks(struct batch_split *split)
{
    while (split->at < split->size && is_blank(split->text[split->at]))
        split->at++;
}

/* ---- NDJSON: lines, of which blank ones do not count ---- */

static int next_line(struct batch_split *split, const char **ret, size_t *ret_size)
{
    skip_blanks(split);
    if (split->at == split->size)
        return 0;
    const char *line = split->text + split->at;
    const char *end = memchr(line, '\n', split->size - split->at);
    size_t size = end ? (size_t)(end - line) : split->size - split->at;
    split->at += size;
    while (is_blank(line[size - 1]))
        size--;
    *ret = line;
    *ret_size = size;
    return 1;
}

/* ---- an array ---- */

static int refuse(const struct batch_split *split, const char *what, struct err *err)
{
    return err_set(err, -EINVAL, "byte %zu: %s", split->at, what);
}

/* The character that comes next, or 0 at the end. */
static char peek(struct batch_split *split)
{
    skip_blanks(split);
    return split->at < split->size ? split->text[split->at] : '\0';
}

/* The position behind the string that begins at `at`, or the text's end. */
static size_t skip_string(const struct batch_split *split, size_t at)
{
    for (at++; at < split->size && split->text[at] != '"'; at++)
        at += split->text[at] == '\\';
    return MIN(at + 1, split->size);
}

/* Goes to the comma or bracket behind the element; false when there is none. */
static bool skip_element(struct batch_split *split)
{
    size_t depth = 0;

    while (split->at < split->size) {
        char c = split->text[split->at];
        if (depth == 0 && (c == ',' || c == ']' || c == '}'))
            return true;
        if (c == '"') {
            split->at = skip_string(split, split->at);
            continue;
        }
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        split->at++;
    }
    return false;
}

/* Goes behind what stands before an element; 0 when there is none any more. */
static int find_element(struct batch_split *split, struct err *err)
{
    char c = peek(split);

    if (!split->has_begun) {
        if (c != '[')
            return refuse(split, "a JSON array is expected, it begins with '['", err);
        split->has_begun = true;
        split->at++;
        if (peek(split) != ']')
            return 1;
    } else if (c == ',') {
        split->at++;
        return 1;
    } else if (c != ']') {
        return refuse(split, "',' or ']' is expected", err);
    }
    split->at++;
    split->has_ended = true;
    return peek(split) == '\0' && split->at == split->size
               ? 0
               : refuse(split, "nothing is expected behind the array", err);
}

static int next_element(struct batch_split *split, const char **ret, size_t *ret_size, struct err *err)
{
    int rc = split->has_ended ? 0 : find_element(split, err);
    if (rc <= 0)
        return rc;
    skip_blanks(split);
    size_t begin = split->at;
    if (!skip_element(split))
        return refuse(split, "the array does not end", err);
    size_t end = split->at;
    while (end > begin && is_blank(split->text[end - 1]))
        end--;
    if (end == begin)
        return refuse(split, "an element is expected", err);
    *ret = split->text + begin;
    *ret_size = end - begin;
    return 1;
}

int batch_split_next(struct batch_split *split, const char **ret, size_t *ret_size, struct err *err)
{
    return split->is_lines ? next_line(split, ret, ret_size) : next_element(split, ret, ret_size, err);
}
