/* fuzz_json_text.c - json_text.h sees in a text what jansson and json_pointer.h see in the tree of it.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: a JSON Pointer, a line break, the text. */
#include <stdlib.h>
#include <string.h>

#include "base/json_pointer.h"
#include "base/json_text.h"

#define FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void free_scope(char **text)
{
    free(*text);
}

static void decref_scope(json_t **json)
{
    json_decref(*json);
}

/* What only jansson refuses: numbers that no double holds, NUL in a name. */
static bool may_differ(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

static void check_same(struct json_piece piece, const json_t *value)
{
    json_t *again = json_loadb(piece.text, piece.size, FLAGS, NULL);

    check(again && json_equal(again, value));
    json_decref(again);
}

static void check_members(struct json_piece json, const json_t *value)
{
    struct json_member member;
    char *name = malloc(json.size + 1);
    size_t count = 0;

    for (size_t at = 0; name && json_text_next(json, &at, &member); count++) {
        size_t size = json_is_object(value) ? json_text_decode(member.name, name) : 0;
        const json_t *found =
            json_is_object(value) ? json_object_getn(value, name, size) : json_array_get(value, count);
        check(found && json_equal(found, found));
        check(!json_is_object(value) || json_text_equals(member.name, name, size));
    }
    check(json_is_object(value) ? count >= json_object_size(value) : count == json_array_size(value));
    free(name);
}

static void check_text(const char *pointer, const char *text, size_t size)
{
    struct json_piece json;
    struct json_piece place;
    struct err err;
    json_error_t error;
    cleanup(decref_scope) json_t *tree = json_loadb(text, size, FLAGS, &error);
    bool is_json = json_text_check(text, size, &json, &err) == 0;

    if (!tree && is_json && may_differ(&error))
        return;
    /* jansson takes no byte order mark, and a NUL byte for the end. */
    if ((size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) || memchr(text, '\0', size))
        return;
    if (tree && !is_json)
        check(strstr(err.text, "too many levels") != NULL);
    if (!tree || !is_json) {
        check(!tree == !is_json || strstr(err.text, "too many levels"));
        return;
    }
    check_same(json, tree);
    if (json_is_object(tree) || json_is_array(tree))
        check_members(json, tree);
    if (json_pointer_check(pointer, NULL) < 0)
        return;
    const json_t *value = json_pointer_get(tree, pointer);
    check(json_text_find(json, pointer, &place) == (value != NULL));
    if (value)
        check_same(place, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = memchr(data, '\n', size);
    size_t length = line ? (size_t)(line - data) : 0;
    cleanup(free_scope) char *pointer = strndup((const char *)data, length);
    /* Its own memory, so that one byte too far is seen. */
    size_t text_size = size - length - (line ? 1 : 0);
    cleanup(free_scope) char *text = malloc(text_size + 1);

    if (!pointer || !text)
        return 0;
    memcpy(text, data + size - text_size, text_size);
    cleanup(free_scope) char *exact = realloc(text, text_size > 0 ? text_size : 1);
    text = NULL;
    check_text(pointer, exact, text_size);
    return 0;
}
