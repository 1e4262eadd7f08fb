/* What an endpoint, its parameters and its parts can have wrong that their rows do not know. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "config/config_int.h"

static int refuse(struct config_conflict *ret, const char *key, struct err *err, const char *text)
{
    ret->key = key;
    return err_set(err, -EINVAL, "%s", text);
}

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* Endpoints */

static int check_clash(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->object;
    const struct config_endpoint *other = scope->config->endpoints;

    for (; other < endpoint; other++) {
        if (other->method == endpoint->method && config_paths_clash(other->path, endpoint->path)) {
            ret->other = other;
            return err_set(err, -EINVAL, "its requests are already those of \"%s\"", other->path);
        }
    }
    return 0;
}

static int check_quorum(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->object;

    if (endpoint->mode == MODE_QUORUM && endpoint->quorum == 0)
        return refuse(ret, "mode", err, "quorum needs a quorum: how many parts are enough");
    ret->key = "quorum";
    if (endpoint->mode != MODE_QUORUM && endpoint->quorum > 0)
        return err_set(err, -EINVAL, "goes with mode: quorum, which is not set");
    if (endpoint->quorum > endpoint->part_count)
        return err_set(err, -EINVAL, "%u is more than there are parts, %zu", endpoint->quorum,
                       endpoint->part_count);
    return 0;
}

const config_together_fn config_endpoint_checks[] = {check_clash, check_quorum, NULL};

/* Parameters */

/* "id", "query.limit", "body./a": a path parameter when there is no dot. */
static int check_source(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->parent;
    const struct config_param *param = scope->object;

    (void)ret;
    if (!strchr(param->name, '.') && !config_path_has_param(endpoint->path, param->name))
        return err_set(err, -EINVAL, "the path %s has no such parameter", endpoint->path);
    if (strncmp(param->name, "body.", 5) == 0 && endpoint->method == METHOD_GET)
        return err_set(err, -EINVAL, "a GET has no body");
    return 0;
}

static int check_limits(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_param *param = scope->object;
    bool is_number = param->type == PARAM_INTEGER || param->type == PARAM_NUMBER;

    if (!is_number && param->min != -INFINITY)
        return refuse(ret, "min", err, "goes with type: integer or number");
    if (!is_number && param->max != INFINITY)
        return refuse(ret, "max", err, "goes with type: integer or number");
    if (param->min > param->max)
        return refuse(ret, "min", err, "is more than max");
    return 0;
}

/* A sentence when the number is not what the row asks for. */
static const char *wrong_with_number(const struct config_param *param)
{
    double value;
    bool is_integer;

    if (!config_parse_number(param->default_text, &value, &is_integer))
        return param->type == PARAM_INTEGER ? "is not an integer" : "is not a number";
    if (param->type == PARAM_INTEGER && !is_integer)
        return "is not an integer";
    if (value < param->min)
        return "is less than min";
    return value > param->max ? "is more than max" : NULL;
}

static const char *wrong_with_default(const struct config_param *param)
{
    const char *text = param->default_text;

    switch (param->type) {
    case PARAM_INTEGER:
    case PARAM_NUMBER:
        return wrong_with_number(param);
    case PARAM_BOOLEAN:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ? NULL : "is neither true nor false";
    default:
        return strlen(text) > param->max_length ? "is longer than max_length" : NULL;
    }
}

static int check_default(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_param *param = scope->object;
    char quoted[PARSE_QUOTED_SIZE];

    if (!param->default_text)
        return 0;
    ret->key = "default";
    const char *wrong = wrong_with_default(param);
    int r = !wrong && *param->pattern ? config_pattern_matches(param->pattern, param->default_text) : 1;
    if (r < 0)
        return out_of_memory(err);
    if (r == 0)
        wrong = "does not match the pattern";
    if (wrong)
        return err_set(err, -EINVAL, "%s %s",
                       parse_quote(param->default_text, strlen(param->default_text), quoted), wrong);
    return 0;
}

const config_together_fn config_param_checks[] = {check_source, check_limits, check_default, NULL};

/* Parts */

/* `upstream` is NULL when the file does not give one. */
static int check_upstream(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config *config = scope->config;
    const struct config_part *part = scope->object;
    bool found = !part->upstream;

    for (size_t i = 0; i < config->upstream_count && !found; i++)
        found = strcmp(config->upstreams[i].name, part->upstream) == 0;
    ret->key = "upstream";
    return found
               ? 0
               : err_set(err, -EINVAL, "\"%s\" is not one of the upstreams; add it to them", part->upstream);
}

static int check_after(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->parent;
    const struct config_part *part = scope->object;

    ret->key = "after";
    for (size_t i = 0; i < part->after.count; i++) {
        if (config_find_part(endpoint, part->after.items[i]) == endpoint->part_count)
            return err_set(err, -EINVAL, "the endpoint has no part \"%s\", so this one could never start",
                           part->after.items[i]);
    }
    return 0;
}

/* A placeholder that means nothing. */
struct stray {
    const struct config_endpoint *endpoint;
    const char *key;
    struct err err;
};

static int check_place(const struct template_place *place, const char *key, void *arg)
{
    struct stray *stray = arg;
    const struct config_endpoint *endpoint = stray->endpoint;

    stray->key = key;
    if (place->source == TEMPLATE_PATH && !config_path_has_param(endpoint->path, place->name))
        return err_set(&stray->err, -EINVAL, "{%s}: the path %s has no such parameter", place->text,
                       endpoint->path);
    if (place->source == TEMPLATE_BODY && endpoint->method == METHOD_GET)
        return err_set(&stray->err, -EINVAL, "{%s}: a GET has no body", place->text);
    if (place->source == TEMPLATE_PART && config_find_part(endpoint, place->name) == endpoint->part_count)
        return err_set(&stray->err, -EINVAL, "{%s}: the endpoint has no part \"%s\"", place->text,
                       place->name);
    return 0;
}

static int check_places(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    struct stray stray = {.endpoint = scope->parent};
    int r = config_visit_places(scope->object, check_place, &stray);

    if (r == 0)
        return 0;
    ret->key = stray.key;
    return stray.err.code < 0 ? err_set(err, r, "%s", stray.err.text) : out_of_memory(err);
}

static int check_required(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->parent;
    const struct config_part *part = scope->object;

    if (!part->is_required || endpoint->mode == MODE_ALL)
        return 0;
    return refuse(ret, "required", err,
                  "has no meaning in the modes first and quorum, where any part will do");
}

static int check_body(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_part *part = scope->object;

    if (!*part->body || part->method != METHOD_GET)
        return 0;
    return refuse(ret, "body", err, "a GET has none; set another method");
}

/* Names of headers do not differ by case. */
static int check_headers(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_pairs *headers = &((const struct config_part *)scope->object)->headers;

    ret->key = "headers";
    for (size_t i = 0; i < headers->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcasecmp(headers->items[i].name, headers->items[j].name) == 0)
                return err_set(err, -EINVAL, "has %s twice", headers->items[i].name);
        }
    }
    return 0;
}

static int check_members(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_part *part = scope->object;

    if (part->pick.count == 0 || part->drop.count == 0)
        return 0;
    return refuse(ret, "drop", err, "does not go with pick, which leaves out all others already");
}

static bool has_item(const struct config_list *list, const char *text)
{
    bool found = false;

    for (size_t i = 0; i < list->count && !found; i++)
        found = strcmp(list->items[i], text) == 0;
    return found;
}

/* Of `merge: flat`: who has the member already; NULL: nobody. */
static const char *owner_of(const struct config_endpoint *endpoint, const struct config_part *part,
                            const char *member)
{
    if (strcmp(member, "errors") == 0 || strcmp(member, "complete") == 0)
        return "the answer itself";
    for (const struct config_part *other = endpoint->parts; other < part; other++) {
        if (has_item(&other->pick, member))
            return other->name;
    }
    return NULL;
}

/* A member that two parts bring is seen when the answer is made; here as far as they say what they bring. */
static int check_flat(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_endpoint *endpoint = scope->parent;
    const struct config_part *part = scope->object;
    char quoted[PARSE_QUOTED_SIZE];
    bool is_one = endpoint->mode == MODE_FIRST || (endpoint->mode == MODE_QUORUM && endpoint->quorum == 1);

    ret->key = "pick";
    for (size_t i = 0; endpoint->merge == MERGE_FLAT && !is_one && i < part->pick.count; i++) {
        const char *member = part->pick.items[i];
        const char *owner = owner_of(endpoint, part, member);
        if (owner)
            return err_set(err, -EINVAL, "with merge: flat the member %s is already that of %s",
                           parse_quote(member, strlen(member), quoted), owner);
    }
    return 0;
}

const config_together_fn config_part_checks[] = {
    check_upstream, check_after,   check_places,  config_check_waits, check_required,
    check_body,     check_headers, check_members, check_flat,         NULL,
};
