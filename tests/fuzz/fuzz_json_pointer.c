/* fuzz_json_pointer.c - json_pointer_check and json_pointer_get, against a search that is written
 * differently: names of all places, compared as texts.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: a pointer up to a newline, the rest is the
 * document. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_pointer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* Appends "/" and the name as a pointer has it. */
static void append_token(struct buf *path, const char *name)
{
    buf_append(path, "/", 1);
    for (; *name; name++) {
        if (*name == '~' || *name == '/')
            buf_append_str(path, *name == '~' ? "~0" : "~1");
        else
            buf_append(path, name, 1);
    }
}

static const json_t *search(json_t *json, const char *pointer, struct buf *path);

static const json_t *search_below(json_t *json, const char *name, const char *pointer, struct buf *path)
{
    size_t before = path->size;

    append_token(path, name);
    const json_t *found = search(json, pointer, path);
    path->size = before;
    return found;
}

/* The place below `json`, which is at `path`, whose pointer is `pointer`. */
static const json_t *search(json_t *json, const char *pointer, struct buf *path)
{
    const json_t *found = NULL;
    const char *name;
    json_t *value;
    char index[24];

    if (path->size == strlen(pointer) && (path->size == 0 || memcmp(path->data, pointer, path->size) == 0))
        return json;
    json_object_foreach (json, name, value) {
        if (!found)
            found = search_below(value, name, pointer, path);
    }
    for (size_t i = 0; i < json_array_size(json) && !found; i++) {
        snprintf(index, sizeof(index), "%zu", i);
        found = search_below(json_array_get(json, i), index, pointer, path);
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *newline = memchr(text, '\n', size);
    char field[JSON_FIELD_SIZE];
    cleanup(buf_done) struct buf path = BUF_INIT(1 << 20);
    cleanup(json_decref_scope) json_t *json = NULL;
    struct err err = {0};

    if (!newline)
        return 0;
    char *pointer = strndup(text, (size_t)(newline - text));
    check(pointer != NULL);
    if (json_pointer_check(pointer, &err) < 0)
        check(err.text[0] != '\0');
    else if (json_parse_value(newline + 1, size - (size_t)(newline + 1 - text), &json, field, NULL) == 0)
        check(json_pointer_get(json, pointer) == search(json, pointer, &path));
    free(pointer);
    return 0;
}
