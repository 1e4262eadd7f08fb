#include "gather/arguments_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* ---- one value ---- */

static const char *name_of(const struct rule *rule)
{
    return rule->place.text;
}

static int check_number(const struct rule *rule, const json_t *value, struct err *err)
{
    double number = json_number_value(value);

    if (number < rule->param->min)
        return err_set(err, -EINVAL, "%s must be at least %.15g", name_of(rule), rule->param->min);
    if (number > rule->param->max)
        return err_set(err, -EINVAL, "%s must be at most %.15g", name_of(rule), rule->param->max);
    return 0;
}

static int check_string(const struct rule *rule, const json_t *value, struct err *err)
{
    if (json_string_length(value) > rule->param->max_length)
        return err_set(err, -EINVAL, "%s must have at most %u bytes", name_of(rule), rule->param->max_length);
    return 0;
}

static int check_nothing(const struct rule *rule, const json_t *value, struct err *err)
{
    (void)rule;
    (void)value;
    (void)err;
    return 0;
}

/* A number as JSON has it, from its first byte to its last; NULL for all else. */
static json_t *parse_number_text(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || !strchr("-0123456789", text[0]) || !strchr("0123456789", text[size - 1]))
        return NULL;
    return json_loadb(text, size, JSON_DECODE_ANY, NULL);
}

static json_t *parse_boolean_text(const char *text)
{
    if (strcmp(text, "true") == 0)
        return json_true();
    return strcmp(text, "false") == 0 ? json_false() : NULL;
}

static bool is_string(const json_t *value)
{
    return json_is_string(value);
}

static bool is_integer(const json_t *value)
{
    return json_is_integer(value);
}

static bool is_number(const json_t *value)
{
    return json_is_number(value);
}

static bool is_boolean(const json_t *value)
{
    return json_is_boolean(value);
}

static const struct kind {
    const char *noun;
    json_t *(*parse)(const char *text); /* NULL when it is no such */
    bool (*is_one)(const json_t *value);
    int (*check)(const struct rule *rule, const json_t *value, struct err *err);
} kinds[] = {
    [PARAM_STRING] = {"a string", json_string_nocheck, is_string, check_string},
    [PARAM_INTEGER] = {"an integer", parse_number_text, is_integer, check_number},
    [PARAM_NUMBER] = {"a number", parse_number_text, is_number, check_number},
    [PARAM_BOOLEAN] = {"true or false", parse_boolean_text, is_boolean, check_nothing},
};

static const struct kind *kind_of(const struct rule *rule)
{
    return &kinds[rule->param ? rule->param->type : PARAM_STRING];
}

static int match(const struct rule *rule, const char *text, struct err *err)
{
    if (!rule->pattern || pattern_matches(rule->pattern, text, strlen(text)))
        return 0;
    return err_set(err, -EINVAL, "%s does not match its pattern", name_of(rule));
}

/* `value` may be NULL: a text that is none of its kind. */
static int check(const struct rule *rule, const json_t *value, const char *text, struct err *err)
{
    const struct kind *kind = kind_of(rule);

    if (!value || !kind->is_one(value))
        return err_set(err, -EINVAL, "%s must be %s", name_of(rule), kind->noun);
    int rc = rule->param ? kind->check(rule, value, err) : 0;
    return rc == 0 ? match(rule, text, err) : rc;
}

int rule_read_text(const struct rule *rule, const char *text, json_t **ret, struct err *err)
{
    const struct kind *kind = kind_of(rule);

    if (!text_utf8_is_valid(text, strlen(text)))
        return err_set(err, -EINVAL, "%s is not valid UTF-8", name_of(rule));
    json_t *value = kind->parse(text);
    if (!value && kind->parse == json_string_nocheck)
        return out_of_memory(err);
    int rc = check(rule, value, text, err);
    if (rc < 0)
        json_decref(value);
    else
        *ret = value;
    return rc;
}

/* A pattern is for the text of whatever it is. */
static int check_json(const struct rule *rule, json_t *value, struct err *err)
{
    cleanup(buf_done) struct buf text = BUF_INIT(SIZE_MAX);

    if (json_is_string(value) || !rule->pattern)
        return check(rule, value, json_string_value(value), err);
    if (!kind_of(rule)->is_one(value))
        return check(rule, NULL, NULL, err);
    json_dump(value, &text);
    buf_append(&text, "", 1);
    return text.failed ? out_of_memory(err) : check(rule, value, text.data, err);
}

int rule_read_json(const struct rule *rule, json_t *value, json_t **ret, struct err *err)
{
    int rc = rule->param ? check_json(rule, value, err) : 0;

    if (rc == 0)
        *ret = json_incref(value);
    return rc;
}

/* ---- all of them ---- */

/* Names of headers do not differ by case. */
static int compare_places(const struct template_place *a, const struct template_place *b)
{
    if (a->source == TEMPLATE_HEADER && b->source == TEMPLATE_HEADER)
        return strcasecmp(a->name, b->name);
    return strcmp(a->text, b->text);
}

static int compare_rules(const void *a, const void *b)
{
    const struct rule *x = a;
    const struct rule *y = b;

    return compare_places(&x->place, &y->place);
}

const struct rule *rules_find(const struct arguments_rules *rules, const struct template_place *place)
{
    size_t low = 0;
    size_t high = rules->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_places(place, &rules->items[middle].place);
        if (order == 0)
            return &rules->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The rule for a source, which is made when there is none yet. */
static int mention(struct arguments_rules *rules, const char *source, struct rule **ret, struct err *err)
{
    struct template_place place;

    int rc = template_place_parse(source, &place, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < rules->count; i++) {
        if (compare_places(&rules->items[i].place, &place) == 0) {
            template_place_done(&place);
            *ret = &rules->items[i];
            return 0;
        }
    }
    *ret = &rules->items[rules->count++];
    (*ret)->place = place;
    return 0;
}

static int add_param(struct arguments_rules *rules, const struct config_param *param, struct err *err)
{
    struct rule *rule;

    int rc = mention(rules, param->name, &rule, err);
    if (rc < 0)
        return rc;
    if (rule->param || rule->place.source == TEMPLATE_PART)
        return err_set(err, -EINVAL, "%s cannot be a parameter, or is one already", param->name);
    rule->param = param;
    rule->is_required = true;
    return 0;
}

static int add_place(struct arguments_rules *rules, const struct template_place *place, struct err *err)
{
    struct rule *rule;

    if (place->source == TEMPLATE_PART)
        return 0;
    int rc = mention(rules, place->text, &rule, err);
    if (rc < 0)
        return rc;
    rule->is_required = (rule->is_required && rule->is_placed) || !place->fallback;
    rule->is_placed = true;
    return 0;
}

/* Which of the path's parameters has this name. */
static int find_in_path(const char *path, const char *name, size_t *ret_index, struct err *err)
{
    size_t size = strlen(name);
    size_t index = 0;

    for (const char *brace = strchr(path, '{'); brace; brace = strchr(brace + 1, '{'), index++) {
        if (strncmp(brace + 1, name, size) == 0 && brace[1 + size] == '}') {
            *ret_index = index;
            return 0;
        }
    }
    return err_set(err, -EINVAL, "the path %s has no parameter %s", path, name);
}

static int finish_rule(struct rule *rule, const struct config_endpoint *endpoint, struct err *err)
{
    const struct config_param *param = rule->param;
    int rc = 0;

    if (rule->place.source == TEMPLATE_PATH)
        rc = find_in_path(endpoint->path, rule->place.name, &rule->path_index, err);
    if (rc == 0 && param && *param->pattern)
        rc = pattern_parse(param->pattern, &rule->pattern, err);
    if (rc == 0 && param && param->default_text) {
        rule->is_required = false;
        rc = rule_read_text(rule, param->default_text, &rule->fallback, err);
    }
    return rc;
}

static int fill(struct arguments_rules *rules, const struct config_endpoint *endpoint,
                const struct template_place *const *places, size_t place_count, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < endpoint->param_count && rc == 0; i++)
        rc = add_param(rules, &endpoint->params[i], err);
    for (size_t i = 0; i < place_count && rc == 0; i++)
        rc = add_place(rules, places[i], err);
    if (rules->count > 0)
        qsort(rules->items, rules->count, sizeof(rules->items[0]), compare_rules);
    for (size_t i = 0; i < rules->count && rc == 0; i++) {
        rc = finish_rule(&rules->items[i], endpoint, err);
        rules->takes_query |= rules->items[i].place.source == TEMPLATE_QUERY;
        rules->takes_body |= rules->items[i].place.source == TEMPLATE_BODY;
    }
    return rc;
}

int arguments_rules_create(const struct config_endpoint *endpoint, const struct template_place *const *places,
                           size_t place_count, struct arguments_rules **ret, struct err *err)
{
    size_t most = endpoint->param_count + place_count;
    struct arguments_rules *rules = calloc(1, sizeof(*rules) + most * sizeof(rules->items[0]));

    if (!rules)
        return out_of_memory(err);
    int rc = fill(rules, endpoint, places, place_count, err);
    if (rc < 0)
        arguments_rules_free(rules);
    else
        *ret = rules;
    return rc;
}

void arguments_rules_free(struct arguments_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->count; i++) {
        struct rule *rule = &rules->items[i];
        template_place_done(&rule->place);
        pattern_free(rule->pattern);
        json_decref(rule->fallback);
    }
    free(rules);
}
