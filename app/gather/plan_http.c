/* Parts that are calls to upstreams: their templates.  plan_http_request.c makes requests of them,
 * plan_http_run.c sends these. */
#include "gather/plan_http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- headers of the client ---- */

static bool is_listed(const struct config_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcasecmp(list->items[i], name) == 0)
            return true;
    return false;
}

/* A header that the part sets itself is not the client's to set. */
static int find_forwards(struct http_step *http, const struct plan *plan, struct err *err)
{
    http->forwards = calloc(plan->forward_count + 1, sizeof(http->forwards[0]));
    if (!http->forwards)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < plan->forward_count; i++) {
        const char *name = plan->forwards[i];
        if (!http_pairs_have(&http->headers, name) &&
            (is_listed(&plan->endpoint->forward_headers, name) ||
             is_listed(&upstream_config(http->upstream)->forward_headers, name)))
            http->forwards[http->forward_count++] = i;
    }
    return 0;
}

/* ---- a constant URL ---- */

static bool has_constant_url(const struct http_step *http)
{
    bool is_constant = template_constant(http->path) != NULL;

    for (size_t i = 0; i < http->query.count; i++)
        is_constant = is_constant && template_constant(http->query.items[i].value);
    return is_constant;
}

static int make_constant_target(struct plan_step *step, struct err *err)
{
    struct plan_values values = {.run = NULL}; /* nothing is looked up */

    return has_constant_url(&step->http) ? http_step_make_target(step, &values, &step->http.target, err) : 0;
}

/* ---- the step ---- */

static int compile_templates(struct http_step *http, const struct config_part *config, struct err *err)
{
    int rc = template_parse(config->path, &http->path, err);

    if (rc == 0)
        rc = http_pairs_compile(&config->query, true, &http->query, err);
    if (rc == 0)
        rc = http_pairs_compile(&config->headers, false, &http->headers, err);
    if (rc == 0 && config->body[0] != '\0')
        rc = json_template_parse(config->body, &http->body, err);
    return rc;
}

static int compile(struct plan_step *step, const struct plan *plan, struct err *err)
{
    struct http_step *http = &step->http;

    http->upstream = upstreams_find(plan->upstreams, step->config->upstream);
    if (!http->upstream)
        return err_set(err, -EINVAL, "there is no upstream %s", step->config->upstream);
    http->max_bytes = step->config->max_response_bytes > 0
                          ? step->config->max_response_bytes
                          : upstream_config(http->upstream)->max_response_bytes;
    int rc = compile_templates(http, step->config, err);
    if (rc == 0)
        rc = find_forwards(http, plan, err);
    if (rc == 0)
        rc = make_constant_target(step, err);
    http->has_content_type = http_pairs_have(&http->headers, "Content-Type");
    return rc;
}

static void step_done(struct plan_step *step)
{
    struct http_step *http = &step->http;

    template_free(http->path);
    http_pairs_done(&http->query);
    http_pairs_done(&http->headers);
    json_template_free(http->body);
    fetch_target_free(http->target);
    free(http->forwards);
}

/* ---- its places ---- */

static int visit_template(const struct template *template, plan_place_fn visit, void *arg)
{
    int rc = 0;

    for (size_t i = 0; i < template_place_count(template) && rc == 0; i++)
        rc = visit(template_place(template, i), arg);
    return rc;
}

static int visit_pairs(const struct plan_pairs *pairs, plan_place_fn visit, void *arg)
{
    int rc = 0;

    for (size_t i = 0; i < pairs->count && rc == 0; i++)
        rc = visit_template(pairs->items[i].value, visit, arg);
    return rc;
}

static int visit_body(const struct json_template *body, plan_place_fn visit, void *arg)
{
    int rc = 0;

    for (size_t i = 0; body && i < json_template_place_count(body) && rc == 0; i++)
        rc = visit(json_template_place(body, i), arg);
    return rc;
}

static int visit_places(const struct plan_step *step, plan_place_fn visit, void *arg)
{
    int rc = visit_template(step->http.path, visit, arg);

    if (rc == 0)
        rc = visit_pairs(&step->http.query, visit, arg);
    if (rc == 0)
        rc = visit_pairs(&step->http.headers, visit, arg);
    return rc == 0 ? visit_body(step->http.body, visit, arg) : rc;
}

const struct plan_kind plan_kind_http = {
    .ops = {.start = http_parts_start, .cancel = http_part_cancel},
    .compile = compile,
    .visit_places = visit_places,
    .step_done = step_done,
    .part_done = http_part_done,
};
