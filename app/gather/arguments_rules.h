/* arguments_rules.h - what arguments_rules.c and arguments.c share. */
#pragma once

#include "base/pattern.h"
#include "gather/arguments.h"

/* One value that is taken from a request. */
struct rule {
    struct template_place place;
    const struct config_param *param; /* NULL: whatever it is */
    size_t path_index;                /* for TEMPLATE_PATH */
    bool is_required;
    bool is_placed;          /* a placeholder has named it */
    struct pattern *pattern; /* NULL: any text */
    json_t *fallback;        /* of the row; NULL: none */
};

struct arguments_rules {
    bool takes_query;
    bool takes_body;
    size_t count;
    struct rule items[]; /* by their text */
};

/* NULL when there is none. */
const struct rule *rules_find(const struct arguments_rules *rules, const struct template_place *place);

/* A text from outside as the value that the rule wants: 0, -EINVAL with a sentence for the client, or
 * -ENOMEM. */
must_check int rule_read_text(const struct rule *rule, const char *text, json_t **ret, struct err *err);

/* The same for a value of the body, of which it takes a reference. */
must_check int rule_read_json(const struct rule *rule, json_t *value, json_t **ret, struct err *err);
