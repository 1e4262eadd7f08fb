/* fuzz_template.c - template_parse, template_render and their JSON kin: whatever the values are, they stay
 * where they were put.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: a template up to a newline, the rest is what
 * its places hold: a byte says of what type a value is, and a text is what follows up to a NUL. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/template.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (1 << 20)

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* ---- values ---- */

struct values {
    const char *rest;
    size_t size;
    bool is_valid; /* only texts of valid UTF-8, as all of jansson's own are */
    json_t *made[TEMPLATE_PLACES_MAX];
    size_t count;
};

static json_t *take_text(struct values *values)
{
    size_t size = strnlen(values->rest, values->size);
    const char *text = values->rest;

    values->rest += size;
    values->size -= size;
    return values->is_valid ? json_stringn(text, size) : json_stringn_nocheck(text, size);
}

static json_t *make_value(struct values *values)
{
    if (values->size == 0)
        return NULL;
    values->size--;
    switch (*values->rest++) {
    case 'n':
        return json_null();
    case 't':
        return json_true();
    case 'i':
        return json_integer(-7);
    case 'r':
        return json_real(1e300);
    case 'o':
        return json_pack("{s: [i]}", "a", 1);
    case '0':
        return NULL;
    default:
        return take_text(values);
    }
}

static const json_t *lookup(const struct template_place *place, void *arg)
{
    struct values *values = arg;

    check(place->text && place->name && place->source <= TEMPLATE_PART);
    json_t *value = make_value(values);
    if (value)
        values->made[values->count++] = value;
    return value;
}

static void values_done(struct values *values)
{
    for (size_t i = 0; i < values->count; i++)
        json_decref(values->made[i]);
}

static const json_t *lookup_x(const struct template_place *place, void *arg)
{
    (void)place;
    return arg;
}

/* ---- what may come out ---- */

static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("-._~", c));
}

static void check_query(const struct buf *out)
{
    for (size_t i = 0; i < out->size; i++)
        check(is_unreserved(out->data[i]) || out->data[i] == '%');
}

static bool is_dots(const char *segment, size_t size)
{
    return size == 0 || (size == 1 && *segment == '.') || (size == 2 && memcmp(segment, "..", 2) == 0);
}

static size_t segment_size(const char *text, size_t size)
{
    size_t length = 0;

    while (length < size && !memchr("/;?#", text[length], 4))
        length++;
    return length;
}

/* The same delimiters in the same order as with harmless values, and no segment that vanishes. */
static void check_path(const struct buf *out, const struct buf *harmless)
{
    size_t i = 0;
    size_t j = 0;
    bool is_path = true;

    for (size_t k = 0; k < out->size; k++)
        check(is_unreserved(out->data[k]) || (out->data[k] && strchr("%:/?#@!$&'()*+,;=", out->data[k])));
    for (;;) {
        size_t own = segment_size(out->data + i, out->size - i);
        size_t other = segment_size(harmless->data + j, harmless->size - j);
        if (is_path && is_dots(out->data + i, own))
            check(is_dots(harmless->data + j, other));
        i += own;
        j += other;
        check((i == out->size) == (j == harmless->size));
        if (i == out->size)
            return;
        check(out->data[i] == harmless->data[j]);
        is_path &= out->data[i] == '/';
        i++;
        j++;
    }
}

static void check_header(const struct buf *out)
{
    for (size_t i = 0; i < out->size; i++)
        check(out->data[i] == '\t' || (out->data[i] >= 0x20 && out->data[i] <= 0x7e));
}

static void check_use(const struct template *template, enum template_use use, const struct buf *out)
{
    cleanup(buf_done) struct buf harmless = BUF_INIT(OUT_MAX);
    cleanup(json_decref_scope) json_t *x = json_string("x");

    if (use == TEMPLATE_USE_QUERY)
        check_query(out);
    if (use == TEMPLATE_USE_HEADER)
        check_header(out);
    if (use != TEMPLATE_USE_PATH || out->size == 0)
        return;
    check(template_render(template, use, lookup_x, x, &harmless, NULL) == 0);
    check_path(out, &harmless);
}

static void render(const struct template *template, enum template_use use, struct values values, size_t max)
{
    cleanup(buf_done) struct buf out = BUF_INIT(max);
    struct err err = {0};

    int rc = template_render(template, use, lookup, &values, &out, &err);
    check(rc == 0 || rc == -EINVAL || (rc == -ERANGE && max < OUT_MAX));
    if (rc == 0)
        check_use(template, use, &out);
    else
        check(out.size == 0 && err.text[0] != '\0');
    values_done(&values);
}

static void render_json(const struct json_template *template, struct values values, size_t max)
{
    cleanup(buf_done) struct buf out = BUF_INIT(max);

    int rc = json_template_render(template, lookup, &values, &out, NULL);
    check(rc == 0 || rc == -EINVAL || (rc == -ERANGE && max < OUT_MAX));
    if (rc == 0) {
        json_t *json = json_loadb(out.data, out.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        check(json != NULL);
        json_decref(json);
    }
    values_done(&values);
}

/* ---- both kinds ---- */

static void try_template(const char *text, struct values values)
{
    struct template *template;
    struct err err = {0};

    if (template_parse(text, &template, &err) < 0) {
        check(err.text[0] != '\0');
        return;
    }
    check(template_place_count(template) <= TEMPLATE_PLACES_MAX);
    check((template_constant(template) != NULL) == (template_place_count(template) == 0));
    for (enum template_use use = TEMPLATE_USE_PATH; use <= TEMPLATE_USE_TEXT; use++) {
        render(template, use, values, OUT_MAX);
        render(template, use, values, 40);
    }
    template_free(template);
}

static void try_json_template(const char *text, struct values values)
{
    struct json_template *template;

    values.is_valid = true;
    if (json_template_parse(text, &template, NULL) < 0)
        return;
    check(json_template_place_count(template) <= TEMPLATE_PLACES_MAX);
    render_json(template, values, OUT_MAX);
    render_json(template, values, 40);
    json_template_free(template);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *newline = memchr(text, '\n', size);
    size_t length = newline ? (size_t)(newline - text) : size;
    size_t used = length + (newline != NULL);
    struct values values = {.rest = text + used, .size = size - used};

    char *template = strndup(text, length);
    check(template != NULL);
    try_template(template, values);
    if (text_utf8_is_valid(template, strlen(template)))
        try_json_template(template, values);
    free(template);
    return 0;
}
