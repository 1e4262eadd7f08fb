/* fuzz_json.c - json_parse_body: either an object that dumps and parses to the same again, or an error in
 * valid UTF-8 that names its place.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: the body. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_error(const struct err *err)
{
    check(err->code == -EINVAL);
    check(text_utf8_is_valid(err->text, strlen(err->text)));
    check(strncmp(err->text, "line ", strlen("line ")) == 0);
}

static bool is_same(const struct buf *a, const struct buf *b)
{
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup(buf_done) struct buf first = BUF_INIT(1 << 22);
    cleanup(buf_done) struct buf second = BUF_INIT(1 << 22);
    cleanup(json_decref_scope) json_t *json = NULL;
    cleanup(json_decref_scope) json_t *again = NULL;
    char field[JSON_FIELD_SIZE] = "";
    struct err err = {.code = 0};

    if (json_parse_body((const char *)data, size, &json, field, &err) != 0) {
        check_error(&err);
        return 0;
    }
    check(json_is_object(json) && text_utf8_is_valid((const char *)data, size));
    json_dump(json, &first);
    check(!first.failed && text_utf8_is_valid(first.data, first.size));
    if (json_parse_body(first.data, first.size, &again, field, &err) != 0) {
        /* 15 digits can round the largest double up to what is none any more. */
        check(err.code == -ERANGE);
        return 0;
    }
    json_dump(again, &second);
    check(is_same(&first, &second));
    return 0;
}
