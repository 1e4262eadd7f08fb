#include "api/client_urls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/http.h"
#include "base/json.h"
#include "fetch/hosts.h"
#include "fetch/networks.h"

/* ---- where they may lead ---- */

static bool may_visit(const struct config *config, const struct fetch_target *target, struct err *err)
{
    return hosts_allow_target(&config->concurrent_requests.client_hosts, "clients", target, err);
}

bool client_urls_may_visit(const struct fetch *fetch, const struct fetch_target *target, struct err *err)
{
    const struct app *app = fetch->arg;

    return may_visit(app->config, target, err);
}

bool client_urls_may_connect(const struct fetch *fetch, const struct sockaddr *address, struct err *err)
{
    const struct app *app = fetch->arg;

    return networks_allow(app->client_networks, address, err);
}

/* ---- reading ---- */

static void refuse(struct request *req, int status, const char *text)
{
    request_problem_with(req, status, "field", "urls", "%s", text);
}

/* NULL when the request has been answered. */
static json_t *read_body(struct request *req)
{
    const char *content_type = request_param(req, "CONTENT_TYPE");
    char field[JSON_FIELD_SIZE];
    struct err err;
    size_t size;
    json_t *json;

    if (!content_type || !http_is_json(content_type)) {
        request_problem(req, 415, "the Content-Type must be application/json");
        return NULL;
    }
    const char *body = request_body(req, &size);
    int rc = json_parse_body(body, size, &json, field, &err);
    if (rc == 0)
        return json;
    request_problem(req, rc == -ENOMEM ? 503 : rc == -ERANGE ? 422 : 400, "%s", err.text);
    return NULL;
}

/* The list in a body that has nothing else; NULL when the request has been answered. */
static const json_t *find_urls(struct request *req, const json_t *body)
{
    unsigned max = app_of(req)->config->concurrent_requests.max_client_urls;
    const json_t *urls = json_object_get(body, "urls");

    if (json_is_array(urls) && json_object_size(body) == 1 && json_array_size(urls) >= 1 &&
        json_array_size(urls) <= max)
        return urls;
    request_problem_with(req, 422, "field", "urls",
                         "the body must be {\"urls\": [...]} and nothing else, with 1 to %u URLs", max);
    return NULL;
}

/* False when the request has been answered. */
static bool add(struct request *req, const json_t *url, struct client_urls *urls)
{
    struct err err = {0};
    struct fetch_target *target = NULL;

    if (!json_is_string(url)) {
        refuse(req, 422, "each URL must be a string");
        return false;
    }
    int rc = fetch_target_create(json_string_value(url), &target, &err);
    if (rc == 0) {
        urls->targets[urls->count++] = target;
        if (may_visit(app_of(req)->config, target, &err))
            return true;
    }
    refuse(req, err.code == -ENOMEM ? 503 : 422, err.text);
    return false;
}

bool client_urls_read(struct request *req, struct client_urls *ret_urls)
{
    cleanup(json_decref_scope) json_t *body = read_body(req);
    const json_t *urls = body ? find_urls(req, body) : NULL;

    if (!urls)
        return false;
    ret_urls->targets = calloc(json_array_size(urls), sizeof(struct fetch_target *));
    if (!ret_urls->targets) {
        request_problem(req, 503, "out of memory");
        return false;
    }
    for (size_t i = 0; i < json_array_size(urls); i++)
        if (!add(req, json_array_get(urls, i), ret_urls))
            return false;
    return true;
}

void client_urls_done(struct client_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++)
        fetch_target_free(urls->targets[i]);
    free(urls->targets);
    *urls = (struct client_urls){0};
}
