#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gather/plan_int.h"

/* ---- headers of the client ---- */

static bool is_known(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->forward_count; i++)
        if (strcasecmp(plan->forwards[i], name) == 0)
            return true;
    return false;
}

static void add_forwards(struct plan *plan, const struct config_list *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (!is_known(plan, names->items[i]))
            plan->forwards[plan->forward_count++] = names->items[i];
}

static const struct config_list *headers_of_part(const struct plan *plan, size_t index)
{
    const struct upstream *upstream = upstreams_find(plan->upstreams, plan->endpoint->parts[index].upstream);
    static const struct config_list none;

    return upstream ? &upstream_config(upstream)->forward_headers : &none;
}

static int find_forwards(struct plan *plan, struct err *err)
{
    size_t count = plan->endpoint->forward_headers.count;

    for (size_t i = 0; i < plan->endpoint->part_count; i++)
        count += headers_of_part(plan, i)->count;
    plan->forwards = calloc(count + 1, sizeof(plan->forwards[0]));
    if (!plan->forwards)
        return err_set(err, -ENOMEM, "out of memory");
    add_forwards(plan, &plan->endpoint->forward_headers);
    for (size_t i = 0; i < plan->endpoint->part_count; i++)
        add_forwards(plan, headers_of_part(plan, i));
    return 0;
}

/* ---- steps ---- */

static int compile_steps(struct plan *plan, struct err *err)
{
    for (size_t i = 0; i < plan->endpoint->part_count; i++) {
        struct plan_step *step = &plan->steps[plan->step_count++];
        step->config = &plan->endpoint->parts[i];
        step->kind = &plan_kind_http;
        int rc = step->kind->compile(step, plan, err);
        if (rc < 0)
            return err_set(err, rc, "endpoint %s, part %s: %s", plan->endpoint->path, step->config->name,
                           err ? err->text : "");
    }
    return 0;
}

/* ---- what is taken from requests ---- */

struct places {
    const struct template_place **items;
    size_t count;
    size_t capacity;
};

static int add_place(const struct template_place *place, void *arg)
{
    struct places *places = arg;

    if (places->count == places->capacity) {
        size_t capacity = MAX(places->capacity * 2, (size_t)16);
        const struct template_place **items = reallocarray(places->items, capacity, sizeof(items[0]));
        if (!items)
            return -ENOMEM;
        places->items = items;
        places->capacity = capacity;
    }
    places->items[places->count++] = place;
    return 0;
}

static int make_rules(struct plan *plan, struct err *err)
{
    struct places places = {.count = 0};
    int rc = 0;

    for (size_t i = 0; i < plan->step_count && rc == 0; i++)
        rc = plan->steps[i].kind->visit_places(&plan->steps[i], add_place, &places);
    if (rc == 0)
        rc = arguments_rules_create(plan->endpoint, places.items, places.count, &plan->rules, err);
    else
        err_set(err, rc, "out of memory");
    free(places.items);
    return rc;
}

/* ---- life ---- */

int plan_create(const struct config_endpoint *endpoint, struct upstreams *upstreams,
                struct budget *process_budget, struct plan **ret_plan, struct err *err)
{
    struct plan *plan = calloc(1, sizeof(*plan) + endpoint->part_count * sizeof(plan->steps[0]));

    if (!plan)
        return err_set(err, -ENOMEM, "out of memory");
    plan->endpoint = endpoint;
    plan->upstreams = upstreams;
    plan->process_budget = process_budget;
    int rc = find_forwards(plan, err);
    if (rc == 0)
        rc = compile_steps(plan, err);
    if (rc == 0)
        rc = make_rules(plan, err);
    if (rc < 0) {
        plan_free(plan);
        return rc;
    }
    *ret_plan = plan;
    return 0;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->step_count; i++)
        plan->steps[i].kind->step_done(&plan->steps[i]);
    arguments_rules_free(plan->rules);
    free(plan->forwards);
    free(plan);
}

const struct config_endpoint *plan_endpoint(const struct plan *plan)
{
    return plan->endpoint;
}

const struct arguments_rules *plan_rules(const struct plan *plan)
{
    return plan->rules;
}
