#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define TEXT_OF2(macro) #macro
#define TEXT_OF(macro)  TEXT_OF2(macro)

/* Jansson's own limit of depth is fixed at 2048, and it counts the top level's type as a matter of syntax, so
 * both are looked at before it.  Its positions lie behind the token that it had trouble with. */

/* An error at byte `offset`. */
static int err_set_at(struct err *err, const char *text, size_t offset, const char *what)
{
    size_t line = 1;
    size_t column = 1;

    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return err_set(err, -EINVAL, "line %zu, column %zu (byte %zu): %s", line, column, offset, what);
}

static bool is_blank(char c)
{
    return memchr(" \t\r\n", c, 4);
}

/* The first byte that is not white space, or `size`. */
static size_t find_start(const char *text, size_t size)
{
    size_t i = 0;

    while (i < size && is_blank(text[i]))
        i++;
    return i;
}

bool json_is_blank(const char *text, size_t size)
{
    return find_start(text, size) == size;
}

/* The bracket that opens one level too many, or `size`.  Of strings it knows only where they end; whether the
 * brackets match is the parser's business. */
static size_t find_too_deep(const char *text, size_t size)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else if ((c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
            return i;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return size;
}

/* Jansson repeats a few bytes behind "near" and may cut the last character: better no repetition then. */
static void drop_cut_context(json_error_t *error)
{
    char *context = strstr(error->text, " near ");

    if (context && !text_utf8_is_valid(context, strlen(context)))
        *context = '\0';
}

static bool is_number_char(char c)
{
    return memchr("+-.eE0123456789", c, 15);
}

static size_t skip_back(const char *text, size_t end, bool (*is_skipped)(char))
{
    while (end > 0 && is_skipped(text[end - 1]))
        end--;
    return end;
}

/* The name of the member whose value is the number that ends at `end`, as it is written; "" for one that is
 * in an array, or whose name is too long to repeat or has a quote in it. */
static void find_member_name(const char *text, size_t end, char ret_field[JSON_FIELD_SIZE])
{
    ret_field[0] = '\0';
    end = skip_back(text, skip_back(text, end, is_number_char), is_blank);
    if (end == 0 || text[end - 1] != ':')
        return;
    end = skip_back(text, end - 1, is_blank) - 1;
    const char *quote = memrchr(text, '"', end);
    if (!quote || quote == text || quote[-1] == '\\')
        return;
    size_t size = (size_t)(text + end - (quote + 1));
    if (size < JSON_FIELD_SIZE)
        snprintf(ret_field, JSON_FIELD_SIZE, "%.*s", (int)size, quote + 1);
}

static int err_set_overflow(struct err *err, const char *text, size_t offset, char ret_field[JSON_FIELD_SIZE])
{
    char what[128] = "a number is too large";

    find_member_name(text, offset, ret_field);
    if (ret_field[0] != '\0')
        snprintf(what, sizeof(what), "%s must be a finite number, this one is too large", ret_field);
    err_set_at(err, text, offset, what);
    if (err)
        err->code = -ERANGE;
    return -ERANGE;
}

static int err_set_parse(struct err *err, const char *text, size_t size, json_error_t *error,
                         char ret_field[JSON_FIELD_SIZE])
{
    size_t offset = MIN((size_t)MAX(error->position, 0), size);

    if (error->text[0] == '\0') /* what it says of a tree that it has no memory for */
        return err_set(err, -ENOMEM, "out of memory");
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        return err_set(err, -ENOMEM, "out of memory");
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return err_set_at(err, text, offset, "\\u0000 is not allowed in a string");
    case json_error_numeric_overflow:
        return err_set_overflow(err, text, offset, ret_field);
    default:
        drop_cut_context(error);
        return err_set_at(err, text, offset, error->text);
    }
}

/* What a text may be, by the brackets that it may begin with. */
struct form {
    const char *brackets;
    const char *nothing; /* the error when there is nothing */
    const char *other;   /* the error when it begins with something else */
};

static const struct form body_form = {"{", "a JSON object is expected, there is nothing",
                                      "a JSON object is expected, it begins with '{'"};
static const struct form value_form = {"{[", "a JSON object or array is expected, there is nothing",
                                       "a JSON object or array is expected, it begins with '{' or '['"};

static int parse(const struct form *form, const char *text, size_t size, json_t **ret,
                 char ret_field[JSON_FIELD_SIZE], struct err *err)
{
    json_error_t error = {.position = 0};

    size_t start = find_start(text, size);
    if (start == size)
        return err_set_at(err, text, start, form->nothing);
    if (!memchr(form->brackets, text[start], strlen(form->brackets)))
        return err_set_at(err, text, start, form->other);
    const char *nul = memchr(text, '\0', size);
    if (nul)
        return err_set_at(err, text, (size_t)(nul - text), "a NUL byte is not JSON");
    size_t too_deep = find_too_deep(text, size);
    if (too_deep < size)
        return err_set_at(err, text, too_deep,
                          "more than " TEXT_OF(JSON_DEPTH_MAX) " levels of objects and arrays");

    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return err_set_parse(err, text, size, &error, ret_field);
    *ret = json;
    return 0;
}

int json_parse_body(const char *text, size_t size, json_t **ret, char ret_field[JSON_FIELD_SIZE],
                    struct err *err)
{
    return parse(&body_form, text, size, ret, ret_field, err);
}

int json_parse_value(const char *text, size_t size, json_t **ret, char ret_field[JSON_FIELD_SIZE],
                     struct err *err)
{
    return parse(&value_form, text, size, ret, ret_field, err);
}

static void append_escape(struct buf *out, unsigned char c)
{
    static const char letters[256] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

    if (letters[c])
        buf_append(out, (const char[]){'\\', letters[c]}, 2);
    else
        buf_printf(out, "\\u%04X", c);
}

void json_append_string(struct buf *out, const char *text, size_t size)
{
    size_t start = 0; /* of what is not appended yet */

    buf_append(out, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, text + start, i - start);
        append_escape(out, c);
        start = i + 1;
    }
    buf_append(out, text + start, size - start);
    buf_append(out, "\"", 1);
}

/* Digits by hand: snprintf costs more than the rest of a result together. */
void json_append_seconds(struct buf *out, uint64_t ns)
{
    char text[32];
    char *end = text + sizeof(text);
    char *start = end;
    uint64_t us = ns / NS_PER_US + (ns % NS_PER_US >= NS_PER_US / 2);

    for (int decimals = 0; decimals < 6; decimals++, us /= 10)
        *--start = (char)('0' + us % 10);
    *--start = '.';
    do
        *--start = (char)('0' + us % 10);
    while ((us /= 10) > 0);
    while (end[-1] == '0' && end[-2] != '.')
        end--;
    buf_append(out, start, (size_t)(end - start));
}

/* Few digits, but as many as give the number back when they are read. */
static void append_real(struct buf *out, double value)
{
    char text[40];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_append_str(out, text);
    if (!strpbrk(text, ".e"))
        buf_append_str(out, ".0");
}

static void append_value(struct buf *out, json_t *json);

static void append_members(struct buf *out, json_t *object)
{
    const char *separator = "{";
    const char *name;
    json_t *value;

    json_object_foreach (object, name, value) {
        buf_append(out, separator, 1);
        json_append_string(out, name, strlen(name));
        buf_append(out, ":", 1);
        append_value(out, value);
        separator = ",";
    }
    buf_append_str(out, *separator == ',' ? "}" : "{}");
}

static void append_elements(struct buf *out, json_t *array)
{
    size_t count = json_array_size(array);

    buf_append(out, "[", 1);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append(out, ",", 1);
        append_value(out, json_array_get(array, i));
    }
    buf_append(out, "]", 1);
}

static void append_value(struct buf *out, json_t *json)
{
    if (!json) {
        out->failed = true;
        return;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        append_members(out, json);
        break;
    case JSON_ARRAY:
        append_elements(out, json);
        break;
    case JSON_STRING:
        json_append_string(out, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        break;
    case JSON_REAL:
        append_real(out, json_real_value(json));
        break;
    case JSON_TRUE:
        buf_append_str(out, "true");
        break;
    case JSON_FALSE:
        buf_append_str(out, "false");
        break;
    case JSON_NULL:
        buf_append_str(out, "null");
        break;
    }
}

void json_dump(json_t *json, struct buf *out)
{
    append_value(out, json);
}
