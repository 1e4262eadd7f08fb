#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/batch_split.h"
#include "base/buf.h"

/* The elements, each with a bar behind it, and the result of the last call. */
static int split_all(const char *text, bool is_lines, struct buf *out)
{
    struct batch_split split;
    const char *element;
    size_t size;
    struct err err;
    int rc;

    batch_split_init(&split, text, strlen(text), is_lines);
    while ((rc = batch_split_next(&split, &element, &size, &err)) > 0) {
        buf_append(out, element, size);
        buf_append_str(out, "|");
    }
    buf_append(out, "", 1);
    return rc;
}

struct row {
    const char *text;
    int rc;
    const char *elements;
};

static void expect(const struct row *rows, size_t count, bool is_lines)
{
    for (size_t i = 0; i < count; i++) {
        cleanup(buf_done) struct buf out = BUF_INIT(1024);
        int rc = split_all(rows[i].text, is_lines, &out);
        if (rc != rows[i].rc || strcmp(out.data, rows[i].elements) != 0)
            fail_msg("%s: %d, \"%s\"", rows[i].text, rc, out.data);
    }
}

static void arrays_are_split(void **state)
{
    static const struct row rows[] = {
        {"[]", 0, ""},
        {" [ ] \n", 0, ""},
        {"[{}]", 0, "{}|"},
        {" [ {\"a\":1} , {\"b\":[1,2]} ] ", 0, "{\"a\":1}|{\"b\":[1,2]}|"},
        {"[{\"a\":\"],[\"},{\"b\":\"\\\"]\"}]", 0, "{\"a\":\"],[\"}|{\"b\":\"\\\"]\"}|"},
        {"[1, \"x\" ,nonsense,{]}]", -EINVAL, "1|\"x\"|nonsense|{]|"},
        {"[1 2]", 0, "1 2|"},
        {"", -EINVAL, ""},
        {"{}", -EINVAL, ""},
        {"[", -EINVAL, ""},
        {"[{}", -EINVAL, ""},
        {"[{}}", -EINVAL, "{}|"},
        {"[{},]", -EINVAL, "{}|"},
        {"[,{}]", -EINVAL, ""},
        {"[{}]]", -EINVAL, "{}|"},
        {"[] []", -EINVAL, ""},
        {"[\"", -EINVAL, ""},
        {"[\"\\", -EINVAL, ""},
        {"[{\"a\":1", -EINVAL, ""},
    };

    (void)state;
    expect(rows, ARRAY_LEN(rows), false);
}

static void lines_are_split(void **state)
{
    static const struct row rows[] = {
        {"", 0, ""},
        {"\n\r\n \n", 0, ""},
        {"{}", 0, "{}|"},
        {"{\"a\":1}\n{\"b\":2}\n", 0, "{\"a\":1}|{\"b\":2}|"},
        {"{} \r\n\n  []\n", 0, "{}|[]|"},
    };

    (void)state;
    expect(rows, ARRAY_LEN(rows), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_split),
        cmocka_unit_test(lines_are_split),
    };

    return cmocka_run_group_tests_name("batch_split", tests, NULL, NULL);
}
