/* Templates and what else of a part is a small language. */
#include <errno.h>
#include <string.h>

#include "base/json_pointer.h"
#include "base/template.h"
#include "config/config_int.h"

static void template_free_scope(struct template **template)
{
    template_free(*template);
}

static void json_template_free_scope(struct json_template **template)
{
    json_template_free(*template);
}

int config_check_template(const char *text, struct err *err)
{
    cleanup(template_free_scope) struct template *template = NULL;

    return template_parse(text, &template, err);
}

int config_check_path_template(const char *text, struct err *err)
{
    if (*text != '/')
        return err_set(err, -EINVAL, "does not begin with a slash; write a path such as /users/{id}");
    if (strpbrk(text, "?#"))
        return err_set(err, -EINVAL, "has a query or a fragment; write them as query: {name: text}");
    return config_check_template(text, err);
}

/* What is not in a placeholder must be able to stand in a header; the rest is seen when it is known. */
int config_check_header_template(const char *text, struct err *err)
{
    for (const char *p = text; *p; p++) {
        if (*p < ' ' || *p > '~')
            return err_set(err, -EINVAL, "has characters that cannot be sent in a header; write ASCII");
    }
    return config_check_template(text, err);
}

int config_check_json_template(const char *text, struct err *err)
{
    cleanup(json_template_free_scope) struct json_template *template = NULL;

    return *text ? json_template_parse(text, &template, err) : 0;
}

int config_check_pointer(const char *text, struct err *err)
{
    return json_pointer_check(text, err);
}

int config_check_param_name(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    struct template_place place = {.source = TEMPLATE_PART};
    int r = strlen(text) <= CONFIG_PARAM_NAME_MAX_BYTES ? template_place_parse(text, &place, NULL) : -EINVAL;
    bool is_param = r == 0 && place.source != TEMPLATE_PART;

    if (r == 0)
        template_place_done(&place);
    if (r == -ENOMEM)
        return err_set(err, r, "out of memory");
    if (is_param)
        return 0;
    return err_set(
        err, -EINVAL,
        "%s is not the name of a parameter; write id, query.NAME, header.NAME or body.POINTER, at most "
        "%d bytes",
        parse_quote(text, strlen(text), quoted), CONFIG_PARAM_NAME_MAX_BYTES);
}

int config_check_part_name(const char *text, struct err *err)
{
    static const char *const taken[] = {"query", "header", "body"};

    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        if (strcmp(text, taken[i]) == 0)
            return err_set(err, -EINVAL, "\"%s\" cannot be the name of a part: placeholders begin with it",
                           text);
    }
    return config_check_name(text, err);
}

/* All places of a part */

static int visit_template(const char *text, const char *key, config_place_fn visit, void *arg)
{
    cleanup(template_free_scope) struct template *template = NULL;
    int r = template_parse(text, &template, NULL);

    for (size_t i = 0; r == 0 && i < template_place_count(template); i++)
        r = visit(template_place(template, i), key, arg);
    return r;
}

static int visit_pairs(const struct config_pairs *pairs, const char *key, config_place_fn visit, void *arg)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < pairs->count; i++)
        r = visit_template(pairs->items[i].text, key, visit, arg);
    return r;
}

static int visit_body(const char *text, config_place_fn visit, void *arg)
{
    cleanup(json_template_free_scope) struct json_template *template = NULL;
    int r = json_template_parse(text, &template, NULL);

    for (size_t i = 0; r == 0 && i < json_template_place_count(template); i++)
        r = visit(json_template_place(template, i), "body", arg);
    return r;
}

int config_visit_places(const struct config_part *part, config_place_fn visit, void *arg)
{
    int r = part->path ? visit_template(part->path, "path", visit, arg) : 0;

    if (r == 0)
        r = visit_pairs(&part->query, "query", visit, arg);
    if (r == 0)
        r = visit_pairs(&part->headers, "headers", visit, arg);
    if (r == 0 && *part->body)
        r = visit_body(part->body, visit, arg);
    return r;
}
