#include "base/json_pointer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* No index has more digits: 2^64 has 20. */
#define INDEX_DIGITS_MAX 19

int json_pointer_check(const char *pointer, struct err *err)
{
    if (pointer[0] != '\0' && pointer[0] != '/')
        return err_set(err, -EINVAL, "a JSON Pointer is empty or begins with a slash, such as /data/items/0");
    if (strnlen(pointer, JSON_POINTER_MAX_BYTES + 1) > JSON_POINTER_MAX_BYTES)
        return err_set(err, -EINVAL, "a JSON Pointer has at most %d bytes", JSON_POINTER_MAX_BYTES);
    for (const char *tilde = strchr(pointer, '~'); tilde; tilde = strchr(tilde + 1, '~')) {
        if (tilde[1] != '0' && tilde[1] != '1')
            return err_set(err, -EINVAL, "in a JSON Pointer ~ is written ~0, and / in a name ~1");
    }
    return 0;
}

/* Decodes ~0 and ~1; returns the length. */
static size_t unescape(const char *token, size_t size, char ret[JSON_POINTER_MAX_BYTES])
{
    size_t length = 0;

    assert(size <= JSON_POINTER_MAX_BYTES);
    for (size_t i = 0; i < size; i++) {
        if (token[i] == '~' && i + 1 < size)
            ret[length++] = token[++i] == '1' ? '/' : '~';
        else
            ret[length++] = token[i];
    }
    return length;
}

static json_t *find_member(const json_t *object, const char *token, size_t size)
{
    char name[JSON_POINTER_MAX_BYTES];

    if (!memchr(token, '~', size))
        return json_object_getn(object, token, size);
    return json_object_getn(object, name, unescape(token, size, name));
}

static json_t *find_element(const json_t *array, const char *token, size_t size)
{
    size_t index = 0;

    if (size == 0 || size > INDEX_DIGITS_MAX || (token[0] == '0' && size > 1))
        return NULL;
    for (size_t i = 0; i < size; i++) {
        if (token[i] < '0' || token[i] > '9')
            return NULL;
        index = index * 10 + (size_t)(token[i] - '0');
    }
    return json_array_get(array, index);
}

json_t *json_pointer_get(const json_t *json, const char *pointer)
{
    json_t *place = (json_t *)(uintptr_t)json; /* as jansson's own getters do */

    while (place && *pointer == '/') {
        const char *token = pointer + 1;
        size_t size = strcspn(token, "/");
        if (json_is_object(place))
            place = find_member(place, token, size);
        else
            place = json_is_array(place) ? find_element(place, token, size) : NULL;
        pointer = token + size;
    }
    return place;
}
