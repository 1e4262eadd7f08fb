#include "gather/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http.h"
#include "base/json.h"
#include "base/json_pointer.h"
#include "gather/arguments_rules.h"

struct arguments {
    const struct arguments_rules *rules;
    json_t *values[]; /* by the rules' index; NULL: none was given */
};

/* A request on its way to its values. */
struct reading {
    const struct request_reader *reader;
    const char *query; /* NULL: none */
    char *scratch;     /* room for any value of the query, decoded */
    size_t scratch_size;
    json_t *body; /* NULL: none */
    struct arguments_problem *problem;
};

/* ---- problems ---- */

static int refuse(struct reading *reading, int status, const char *name, const char *text)
{
    reading->problem->status = status;
    reading->problem->name = name;
    snprintf(reading->problem->text, sizeof(reading->problem->text), "%s", text);
    return -1;
}

static int refuse_memory(struct reading *reading)
{
    return refuse(reading, 503, "", "out of memory");
}

static int refuse_value(struct reading *reading, const struct rule *rule, const struct err *err)
{
    return err->code == -ENOMEM ? refuse_memory(reading) : refuse(reading, 422, rule->place.text, err->text);
}

/* ---- where values come from ---- */

/* Each sets `ret` when there is a value, and returns 0, or a negative errno with `err` set. */
typedef int (*read_fn)(struct reading *reading, const struct rule *rule, json_t **ret, struct err *err);

static int read_path(struct reading *reading, const struct rule *rule, json_t **ret, struct err *err)
{
    const char *text = reading->reader->path_arg(reading->reader->arg, rule->path_index);

    return rule_read_text(rule, text, ret, err);
}

static int read_query(struct reading *reading, const struct rule *rule, json_t **ret, struct err *err)
{
    if (!reading->query)
        return 0;
    int rc = http_query_find(reading->query, rule->place.name, reading->scratch, reading->scratch_size, err);
    return rc == 1 ? rule_read_text(rule, reading->scratch, ret, err) : rc;
}

static int read_header(struct reading *reading, const struct rule *rule, json_t **ret, struct err *err)
{
    const char *text = reading->reader->header(reading->reader->arg, rule->place.name);

    return text ? rule_read_text(rule, text, ret, err) : 0;
}

static int read_body(struct reading *reading, const struct rule *rule, json_t **ret, struct err *err)
{
    json_t *value = json_pointer_get(reading->body, rule->place.pointer);

    return value && !(rule->param && json_is_null(value)) ? rule_read_json(rule, value, ret, err) : 0;
}

static const read_fn readers[] = {
    [TEMPLATE_PATH] = read_path,
    [TEMPLATE_QUERY] = read_query,
    [TEMPLATE_HEADER] = read_header,
    [TEMPLATE_BODY] = read_body,
};

static int read_value(struct reading *reading, const struct rule *rule, json_t **ret)
{
    struct err err = {0};

    int rc = readers[rule->place.source](reading, rule, ret, &err);
    if (rc == 0 && !*ret && rule->is_required)
        rc = err_set(&err, -EINVAL, "%s is missing", rule->place.text);
    return rc < 0 ? refuse_value(reading, rule, &err) : 0;
}

/* ---- the request as a whole ---- */

static int parse_body(struct reading *reading)
{
    char field[JSON_FIELD_SIZE];
    struct err err = {0};
    size_t size = 0;
    const char *text = reading->reader->body(reading->reader->arg, &size);

    if (size == 0)
        return 0;
    if (!http_is_json(reading->reader->header(reading->reader->arg, "Content-Type")))
        return refuse(reading, 415, "", "the body must be JSON, with Content-Type: application/json");
    int rc = json_parse_value(text, size, &reading->body, field, &err);
    if (rc == -ENOMEM)
        return refuse_memory(reading);
    return rc < 0 ? refuse(reading, rc == -ERANGE ? 422 : 400, "", err.text) : 0;
}

static int prepare_query(struct reading *reading)
{
    reading->query = reading->reader->query(reading->reader->arg);
    if (!reading->query)
        return 0;
    reading->scratch_size = strlen(reading->query) + 1;
    reading->scratch = malloc(reading->scratch_size);
    return reading->scratch ? 0 : refuse_memory(reading);
}

static int read_all(struct reading *reading, struct arguments *arguments)
{
    const struct arguments_rules *rules = arguments->rules;
    int rc = rules->takes_query ? prepare_query(reading) : 0;

    if (rc == 0 && rules->takes_body)
        rc = parse_body(reading);
    for (size_t i = 0; i < rules->count && rc == 0; i++)
        rc = read_value(reading, &rules->items[i], &arguments->values[i]);
    return rc;
}

int arguments_create(const struct arguments_rules *rules, const struct request_reader *reader,
                     struct arguments **ret, struct arguments_problem *ret_problem)
{
    struct reading reading = {.reader = reader, .problem = ret_problem};
    struct arguments *arguments = calloc(1, sizeof(*arguments) + rules->count * sizeof(arguments->values[0]));

    if (!arguments)
        return refuse_memory(&reading);
    arguments->rules = rules;
    int rc = read_all(&reading, arguments);
    free(reading.scratch);
    json_decref(reading.body);
    if (rc < 0)
        arguments_free(arguments);
    else
        *ret = arguments;
    return rc;
}

void arguments_free(struct arguments *arguments)
{
    if (!arguments)
        return;
    for (size_t i = 0; i < arguments->rules->count; i++)
        json_decref(arguments->values[i]);
    free(arguments);
}

const json_t *arguments_lookup(const struct arguments *arguments, const struct template_place *place)
{
    const struct rule *rule = rules_find(arguments->rules, place);

    if (!rule)
        return NULL;
    const json_t *value = arguments->values[rule - arguments->rules->items];
    return value ? value : rule->fallback;
}
