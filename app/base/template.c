/* A parsed template is its text without the placeholders, and where in it each place is. */
#include "base/template.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/json_pointer.h"
#include "base/parse.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"

/* RFC 3986, section 2.3. */
#define UNRESERVED LETTERS DIGITS "-._~"

/* What http_query_find can find. */
#define QUERY_NAME_MAX_BYTES 63

struct item {
    size_t offset; /* in template->text */
    struct template_place place;
};

struct template
{
    char *text;
    size_t size;
    size_t place_count;
    struct item items[];
};

/* ---- parsing ---- */

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* A name of characters of `allowed` and nothing else. */
static bool is_name(const char *text, const char *allowed)
{
    return *text != '\0' && text[strspn(text, allowed)] == '\0';
}

static int check_path_name(const char *name, struct err *err)
{
    if (is_name(name, LETTERS DIGITS "_") && !strchr(DIGITS, *name))
        return 0;
    return err_set(err, -EINVAL,
                   "a placeholder is {id}, {query.NAME}, {header.NAME}, {body./POINTER} or {PART./POINTER}");
}

static int check_query_name(const char *name, struct err *err)
{
    if (*name == '\0' || strlen(name) > QUERY_NAME_MAX_BYTES)
        return err_set(err, -EINVAL, "the name of a query parameter has 1 to %d bytes", QUERY_NAME_MAX_BYTES);
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return err_set(err, -EINVAL, "a control character in the name of a query parameter");
    }
    return 0;
}

static int check_header_name(const char *name, struct err *err)
{
    if (is_name(name, LETTERS DIGITS "!#$%&'*+-.^_`|~"))
        return 0;
    return err_set(err, -EINVAL, "that is no name of a header");
}

static int check_part_name(const char *name, struct err *err)
{
    if (is_name(name, LETTERS DIGITS "_-"))
        return 0;
    return err_set(err, -EINVAL, "before the point stands query, header, body or the name of a part");
}

static int check_nothing(const char *name, struct err *err)
{
    (void)name;
    (void)err;
    return 0;
}

/* What a source with a point in it can be, by what stands before the point; the last is for all others. */
static const struct form {
    const char *prefix;
    enum template_source source;
    bool has_pointer;
    int (*check_name)(const char *name, struct err *err);
} forms[] = {
    {"query", TEMPLATE_QUERY, false, check_query_name},
    {"header", TEMPLATE_HEADER, false, check_header_name},
    {"body", TEMPLATE_BODY, true, check_nothing},
    {NULL, TEMPLATE_PART, true, check_part_name},
};

static const struct form path_form = {NULL, TEMPLATE_PATH, false, check_path_name};

static const struct form *find_form(const char *source, const char *point)
{
    const struct form *form = forms;

    if (!point)
        return &path_form;
    while (form->prefix && (strlen(form->prefix) != (size_t)(point - source) ||
                            strncmp(form->prefix, source, strlen(form->prefix)) != 0))
        form++;
    return form;
}

/* Half a place is left for template_place_done. */
static int read_place(const char *source, struct template_place *place, struct err *err)
{
    const char *point = strchr(source, '.');
    const struct form *form = find_form(source, point);
    size_t before = point ? (size_t)(point - source) : strlen(source);
    const char *behind = point ? point + 1 : "";

    place->source = form->source;
    place->text = strdup(source);
    if (form->source == TEMPLATE_QUERY || form->source == TEMPLATE_HEADER)
        place->name = strdup(behind);
    else
        place->name = strndup(source, form->source == TEMPLATE_BODY ? 0 : before);
    place->pointer = form->has_pointer ? strdup(behind) : NULL;
    if (!place->text || !place->name || (form->has_pointer && !place->pointer))
        return out_of_memory(err);
    int rc = form->check_name(place->name, err);
    return rc == 0 && place->pointer ? json_pointer_check(place->pointer, err) : rc;
}

int template_place_parse(const char *source, struct template_place *ret, struct err *err)
{
    struct template_place place = {.source = TEMPLATE_PATH};

    int rc = strpbrk(source, "{}:") ? err_set(err, -EINVAL, "neither braces nor a colon can be in a name")
                                    : read_place(source, &place, err);
    if (rc < 0)
        template_place_done(&place);
    else
        *ret = place;
    return rc;
}

void template_place_done(struct template_place *place)
{
    free(place->text);
    free(place->name);
    free(place->pointer);
    free(place->fallback);
    *place = (struct template_place){.source = TEMPLATE_PATH};
}

static size_t column_of(const char *text, const char *at)
{
    size_t column = 1;

    for (; text < at; text++)
        column += ((unsigned char)*text & 0xc0) != 0x80;
    return column;
}

static int fail_at(struct err *err, const char *text, const char *at, int code, const char *what)
{
    return err_set(err, code, "column %zu: %s", column_of(text, at), what);
}

/* Reads what stands between `start` and `end`, without its braces. */
static int read_placeholder(const char *text, const char *start, const char *end,
                            struct template_place *place, struct err *err)
{
    struct err inner = {0};
    const char *colon = memchr(start, ':', (size_t)(end - start));
    char *source = strndup(start, (size_t)((colon ? colon : end) - start));

    if (!source)
        return out_of_memory(err);
    int rc = read_place(source, place, &inner);
    free(source);
    if (rc == -EINVAL)
        return fail_at(err, text, start, rc, inner.text);
    if (rc < 0)
        return out_of_memory(err);
    place->fallback = colon ? strndup(colon + 1, (size_t)(end - colon - 1)) : NULL;
    return colon && !place->fallback ? out_of_memory(err) : 0;
}

/* Reads the placeholder at *at and moves it behind that. */
static int add_place(struct template *template, const char *text, const char **at, struct err *err)
{
    const char *start = *at + 1;
    const char *end = start + strcspn(start, "{}");

    if (*end != '}')
        return fail_at(err, text, *at, -EINVAL,
                       *end == '\0' ? "the brace is not closed; write {{ for a brace"
                                    : "there is a brace in a placeholder; write {{ for a brace");
    if (template->place_count == TEMPLATE_PLACES_MAX)
        return fail_at(err, text, *at, -ERANGE, "there are too many placeholders");
    struct item *item = &template->items[template->place_count++];
    item->offset = template->size;
    *at = end + 1;
    return read_placeholder(text, start, end, &item->place, err);
}

static int fill(struct template *template, const char *text, struct err *err)
{
    const char *at = text;

    while (*at) {
        if (*at == '{' && at[1] != '{') {
            int rc = add_place(template, text, &at, err);
            if (rc < 0)
                return rc;
            continue;
        }
        if (*at == '}' && at[1] != '}')
            return fail_at(err, text, at, -EINVAL, "there is no { before this }; write }} for a brace");
        at += *at == '{' || *at == '}';
        template->text[template->size++] = *at++;
    }
    return 0;
}

/* As many places as there are braces are enough. */
static size_t count_braces(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += *text == '{';
    return MIN(count, TEMPLATE_PLACES_MAX);
}

int template_parse(const char *text, struct template **ret, struct err *err)
{
    size_t size = strnlen(text, TEMPLATE_MAX_BYTES + 1);

    if (size > TEMPLATE_MAX_BYTES)
        return err_set(err, -ERANGE, "it is longer than %d bytes", TEMPLATE_MAX_BYTES);
    struct template *template = calloc(1, sizeof(*template) + count_braces(text) * sizeof(struct item));
    if (!template)
        return out_of_memory(err);
    template->text = calloc(1, size + 1);
    int rc = template->text ? fill(template, text, err) : out_of_memory(err);
    if (rc < 0)
        template_free(template);
    else
        *ret = template;
    return rc;
}

void template_free(struct template *template)
{
    if (!template)
        return;
    for (size_t i = 0; i < template->place_count; i++)
        template_place_done(&template->items[i].place);
    free(template->text);
    free(template);
}

size_t template_place_count(const struct template *template)
{
    return template->place_count;
}

const struct template_place *template_place(const struct template *template, size_t i)
{
    assert(i < template->place_count);
    return &template->items[i].place;
}

const char *template_constant(const struct template *template)
{
    return template->place_count == 0 ? template->text : NULL;
}

bool template_is_single(const struct template *template)
{
    return template->place_count == 1 && template->size == 0;
}

/* ---- rendering ---- */

/* Text on its way to where it is used. */
struct sink {
    struct buf *out;
    struct err *err;
    const struct use *use;
    const struct template_place *place; /* whose value is being put, NULL for the text around */
    /* for paths: */
    size_t segment; /* where in out->data the last one begins */
    const struct template_place
        *in_segment; /* a place whose value is in that segment, NULL when there is none */
    bool is_behind;  /* the path is over: this is its query */
};

struct use {
    int (*put_text)(struct sink *sink, const char *text, size_t size);
    int (*put_value)(struct sink *sink, const char *text, size_t size);
    int (*finish)(struct sink *sink);
};

static int put(struct sink *sink, const char *text, size_t size)
{
    struct buf *out = sink->out;

    if (size > out->max - out->size)
        return err_set(sink->err, -ERANGE, "it would be longer than %zu bytes", out->max);
    buf_append(out, text, size);
    return out->failed ? out_of_memory(sink->err) : 0;
}

/* Every byte that is not in `allowed` becomes %XX. */
static int put_escaped(struct sink *sink, const char *text, size_t size, const bool allowed[256])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t start = 0; /* of what is not put yet */
    int rc = 0;

    for (size_t i = 0; i < size && rc == 0; i++) {
        unsigned char c = (unsigned char)text[i];
        if (allowed[c])
            continue;
        rc = put(sink, text + start, i - start);
        if (rc == 0)
            rc = put(sink, (const char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
        start = i + 1;
    }
    return rc == 0 ? put(sink, text + start, size - start) : rc;
}

static const bool unreserved[256] = {
    ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['-'] = true,
    ['.'] = true,         ['_'] = true,         ['~'] = true,
};

/* What a URL may have, its escapes included: RFC 3986's unreserved, reserved and "%", but for brackets, which
 * belong to hosts. */
static const bool url_bytes[256] = {
    ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true,
    ['_'] = true,         ['~'] = true,         [':'] = true,         ['/'] = true, ['?'] = true,
    ['#'] = true,         ['@'] = true,         ['!'] = true,         ['$'] = true, ['&'] = true,
    ['\''] = true,        ['('] = true,         [')'] = true,         ['*'] = true, ['+'] = true,
    [','] = true,         [';'] = true,         ['='] = true,         ['%'] = true,
};

static int put_query(struct sink *sink, const char *text, size_t size)
{
    return put_escaped(sink, text, size, unreserved);
}

/* Whether it is nothing but dots, up to `most` of them; a dot may be written %2e. */
static bool is_dots(const char *segment, size_t size, unsigned most)
{
    size_t at = 0;
    unsigned dots = 0;

    while (at < size && dots <= most) {
        if (segment[at] == '.')
            at++;
        else if (size - at >= 3 && strncasecmp(segment + at, "%2e", 3) == 0)
            at += 3;
        else
            return false;
        dots++;
    }
    return dots <= most;
}

/* The last segment has ended: with the values in it, it must still be one. */
static int end_segment(struct sink *sink)
{
    const struct template_place *place = sink->in_segment;

    sink->in_segment = NULL;
    if (!place || !is_dots(sink->out->data + sink->segment, sink->out->size - sink->segment, 2))
        return 0;
    return err_set(sink->err, -EINVAL, "%s cannot be empty, \".\" or \"..\" here", place->text);
}

/* A segment ends before ";" as well, where some servers have parameters of it: "..;v=1" is ".." to them. */
static int put_path_text(struct sink *sink, const char *text, size_t size)
{
    size_t start = 0;
    int rc = 0;

    for (size_t i = 0; i < size && rc == 0 && !sink->is_behind; i++) {
        if (!memchr("/;?#", text[i], 4))
            continue;
        rc = put_escaped(sink, text + start, i - start, url_bytes);
        if (rc == 0)
            rc = end_segment(sink);
        if (rc == 0)
            rc = put(sink, text + i, 1);
        sink->segment = sink->out->size;
        sink->is_behind = text[i] == '?' || text[i] == '#';
        start = i + 1;
    }
    return rc == 0 ? put_escaped(sink, text + start, size - start, url_bytes) : rc;
}

static int put_path_value(struct sink *sink, const char *text, size_t size)
{
    if (!sink->is_behind)
        sink->in_segment = sink->place;
    return put_escaped(sink, text, size, unreserved);
}

static int put_header(struct sink *sink, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((text[i] < 0x20 && text[i] != '\t') || text[i] > 0x7e)
            return err_set(sink->err, -EINVAL, "%s has characters that cannot be in a header",
                           sink->place ? sink->place->text : "the text");
    }
    return put(sink, text, size);
}

static int finish_nothing(struct sink *sink)
{
    (void)sink;
    return 0;
}

static const struct use uses[] = {
    [TEMPLATE_USE_PATH] = {put_path_text, put_path_value, end_segment},
    [TEMPLATE_USE_QUERY] = {put_query, put_query, finish_nothing},
    [TEMPLATE_USE_HEADER] = {put_header, put_header, finish_nothing},
    [TEMPLATE_USE_TEXT] = {put, put, finish_nothing},
};

static int put_real(struct sink *sink, const json_t *value)
{
    cleanup(buf_done) struct buf text = BUF_INIT(64);
    struct json_t *real = (json_t *)(uintptr_t)value;

    json_dump(real, &text);
    return text.failed ? out_of_memory(sink->err) : sink->use->put_value(sink, text.data, text.size);
}

static int put_integer(struct sink *sink, const json_t *value)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));

    return sink->use->put_value(sink, text, (size_t)length);
}

static int put_string(struct sink *sink, const char *text)
{
    return sink->use->put_value(sink, text, strlen(text));
}

static int put_value(struct sink *sink, const json_t *value)
{
    const char *fallback = sink->place->fallback;

    if (!value || json_is_null(value))
        return fallback ? put_string(sink, fallback)
                        : err_set(sink->err, -EINVAL, "%s has no value", sink->place->text);
    switch (json_typeof(value)) {
    case JSON_STRING:
        return sink->use->put_value(sink, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return put_integer(sink, value);
    case JSON_REAL:
        return put_real(sink, value);
    case JSON_TRUE:
    case JSON_FALSE:
        return put_string(sink, json_is_true(value) ? "true" : "false");
    default:
        return err_set(sink->err, -EINVAL, "%s is an %s, which cannot stand in a text", sink->place->text,
                       json_is_array(value) ? "array" : "object");
    }
}

static int put_all(struct sink *sink, const struct template *template, template_lookup_fn lookup, void *arg)
{
    size_t at = 0;
    int rc = 0;

    for (size_t i = 0; i < template->place_count && rc == 0; i++) {
        const struct item *item = &template->items[i];
        sink->place = NULL;
        rc = sink->use->put_text(sink, template->text + at, item->offset - at);
        at = item->offset;
        sink->place = &item->place;
        if (rc == 0)
            rc = put_value(sink, lookup(&item->place, arg));
    }
    sink->place = NULL;
    if (rc == 0)
        rc = sink->use->put_text(sink, template->text + at, template->size - at);
    return rc == 0 ? sink->use->finish(sink) : rc;
}

int template_render(const struct template *template, enum template_use use, template_lookup_fn lookup,
                    void *arg, struct buf *out, struct err *err)
{
    size_t start = out->size;
    struct sink sink = {.out = out, .err = err, .use = &uses[use], .segment = start};

    int rc = put_all(&sink, template, lookup, arg);
    if (rc < 0)
        out->size = start;
    return rc;
}
