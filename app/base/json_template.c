/* A JSON template is JSON text, and the templates of strings with their places in it.  Rendering copies the
 * one and renders the others; no tree is built for it. */
#include "base/template.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/parse.h"

struct piece {
    size_t end;                /* of the JSON text before the template, in json_template->text */
    struct template *template; /* with at least one place */
};

struct json_template {
    struct buf text;
    size_t piece_count;
    struct piece pieces[TEMPLATE_PLACES_MAX];
    size_t place_count;
    const struct template_place *places[TEMPLATE_PLACES_MAX]; /* of all pieces */
};

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* ---- parsing ---- */

/* Takes `string` when it has places. */
static int add_piece(struct json_template *template, struct template *string, struct err *err)
{
    size_t count = template_place_count(string);

    if (count > TEMPLATE_PLACES_MAX - template->place_count)
        return err_set(err, -ERANGE, "there are more than %d placeholders", TEMPLATE_PLACES_MAX);
    for (size_t i = 0; i < count; i++)
        template->places[template->place_count++] = template_place(string, i);
    template->pieces[template->piece_count++] = (struct piece){template->text.size, string};
    return 0;
}

static int add_string(struct json_template *template, const json_t *json, struct err *err)
{
    struct template *string;
    struct err inner = {0};
    char quoted[PARSE_QUOTED_SIZE];
    const char *text = json_string_value(json);

    int rc = template_parse(text, &string, &inner);
    if (rc < 0)
        return err_set(err, rc, "in %s: %s", parse_quote(text, strlen(text), quoted), inner.text);
    const char *constant = template_constant(string);
    if (constant)
        json_append_string(&template->text, constant, strlen(constant));
    else
        rc = add_piece(template, string, err);
    if (constant || rc < 0)
        template_free(string);
    return rc;
}

static int add_value(struct json_template *template, json_t *json, struct err *err);

static int add_members(struct json_template *template, json_t *object, struct err *err)
{
    const char *separator = "{";
    const char *name;
    json_t *value;
    int rc = 0;

    json_object_foreach (object, name, value) {
        buf_append(&template->text, separator, 1);
        json_append_string(&template->text, name, strlen(name));
        buf_append(&template->text, ":", 1);
        rc = add_value(template, value, err);
        if (rc < 0)
            return rc;
        separator = ",";
    }
    buf_append_str(&template->text, *separator == ',' ? "}" : "{}");
    return 0;
}

static int add_elements(struct json_template *template, json_t *array, struct err *err)
{
    size_t count = json_array_size(array);

    buf_append(&template->text, "[", 1);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append(&template->text, ",", 1);
        int rc = add_value(template, json_array_get(array, i), err);
        if (rc < 0)
            return rc;
    }
    buf_append(&template->text, "]", 1);
    return 0;
}

static int add_value(struct json_template *template, json_t *json, struct err *err)
{
    if (json_is_object(json))
        return add_members(template, json, err);
    if (json_is_array(json))
        return add_elements(template, json, err);
    if (json_is_string(json))
        return add_string(template, json, err);
    json_dump(json, &template->text);
    return 0;
}

/* A string alone is allowed as well, which json.h does not read: '"{body.}"' is all of the client's body. */
static int parse_json(const char *text, json_t **ret, struct err *err)
{
    json_error_t error;
    char field[JSON_FIELD_SIZE];

    if (text[strspn(text, " \t\r\n")] != '"')
        return json_parse_value(text, strlen(text), ret, field, err);
    *ret = json_loads(text, JSON_DECODE_ANY, &error);
    return *ret ? 0 : err_set(err, -EINVAL, "line %d, column %d: %s", error.line, error.column, error.text);
}

static int fill(struct json_template *template, const char *text, struct err *err)
{
    cleanup(json_decref_scope) json_t *json = NULL;

    int rc = parse_json(text, &json, err);
    if (rc == 0)
        rc = add_value(template, json, err);
    return rc == 0 && template->text.failed ? out_of_memory(err) : rc;
}

int json_template_parse(const char *text, struct json_template **ret, struct err *err)
{
    if (strnlen(text, TEMPLATE_MAX_BYTES + 1) > TEMPLATE_MAX_BYTES)
        return err_set(err, -ERANGE, "it is longer than %d bytes", TEMPLATE_MAX_BYTES);
    struct json_template *template = calloc(1, sizeof(*template));
    if (!template)
        return out_of_memory(err);
    template->text.max = SIZE_MAX; /* bounded by the text */
    int rc = fill(template, text, err);
    if (rc < 0)
        json_template_free(template);
    else
        *ret = template;
    return rc;
}

void json_template_free(struct json_template *template)
{
    if (!template)
        return;
    for (size_t i = 0; i < template->piece_count; i++)
        template_free(template->pieces[i].template);
    buf_done(&template->text);
    free(template);
}

size_t json_template_place_count(const struct json_template *template)
{
    return template->place_count;
}

const struct template_place *json_template_place(const struct json_template *template, size_t i)
{
    assert(i < template->place_count);
    return template->places[i];
}

/* ---- rendering ---- */

/* Whether it all fitted is looked at once, at the end. */
static int put_single(const struct template *string, template_lookup_fn lookup, void *arg, struct buf *out,
                      struct err *err)
{
    const struct template_place *place = template_place(string, 0);
    const json_t *value = lookup(place, arg);

    if (value)
        json_dump((json_t *)(uintptr_t)value, out);
    else if (place->fallback)
        json_append_string(out, place->fallback, strlen(place->fallback));
    else
        return err_set(err, -EINVAL, "%s has no value", place->text);
    return 0;
}

static int put_string(const struct template *string, template_lookup_fn lookup, void *arg, struct buf *out,
                      struct err *err)
{
    cleanup(buf_done) struct buf text = BUF_INIT(out->max);

    int rc = template_render(string, TEMPLATE_USE_TEXT, lookup, arg, &text, err);
    if (rc == 0)
        json_append_string(out, text.data, text.size);
    return rc;
}

static int put_all(const struct json_template *template, template_lookup_fn lookup, void *arg,
                   struct buf *out, struct err *err)
{
    size_t at = 0;

    for (size_t i = 0; i < template->piece_count; i++) {
        const struct piece *piece = &template->pieces[i];
        buf_append(out, template->text.data + at, piece->end - at);
        at = piece->end;
        int rc = template_is_single(piece->template) ? put_single(piece->template, lookup, arg, out, err)
                                                     : put_string(piece->template, lookup, arg, out, err);
        if (rc < 0)
            return rc;
    }
    buf_append(out, template->text.data + at, template->text.size - at);
    return 0;
}

int json_template_render(const struct json_template *template, template_lookup_fn lookup, void *arg,
                         struct buf *out, struct err *err)
{
    size_t start = out->size;
    bool has_failed = out->failed;

    int rc = put_all(template, lookup, arg, out, err);
    if (rc == 0 && out->failed)
        rc = err_set(err, -ERANGE, "it does not fit into %zu bytes", out->max);
    if (rc < 0) {
        out->size = start;
        out->failed = has_failed;
    }
    return rc;
}
