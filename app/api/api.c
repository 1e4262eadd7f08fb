#include "api/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

static void tell_nobody(void *arg)
{
    (void)arg;
}

const struct request_wait request_nobody_to_tell = {.hangup = tell_nobody, .release = tell_nobody};

const struct route api_routes[] = {
    {"/health/live", HTTP_GET, ROUTE_ALWAYS, health_live, NULL},
    {"/health/ready", HTTP_GET, ROUTE_ALWAYS, health_ready, NULL},
    {"/metrics", HTTP_GET, ROUTE_ALWAYS, metrics_get, NULL},
    {"/upstreams", HTTP_GET, 0, upstreams_get, NULL},
    {"/concurrent_requests/", HTTP_GET, 0, concurrent_get, NULL},
    {"/start_background_task/", HTTP_POST, 0, tasks_start, NULL},
    {"/tasks", HTTP_GET, 0, tasks_list, NULL},
    {"/tasks", HTTP_POST, ROUTE_LARGE_BODY, tasks_submit, NULL},
    {"/tasks/batch", HTTP_POST, ROUTE_LARGE_BODY, tasks_batch, NULL},
    {"/tasks/stats", HTTP_GET, 0, tasks_stats, NULL},
    {"/tasks/events", HTTP_GET, 0, tasks_events, NULL},
    {"/tasks/{id}", HTTP_GET, 0, tasks_get, NULL},
    {"/tasks/{id}", HTTP_PATCH, 0, tasks_patch, NULL},
    {"/tasks/{id}", HTTP_DELETE, 0, tasks_delete, NULL},
    {"/tasks/{id}/result", HTTP_GET, 0, tasks_get_result, NULL},
    {"/tasks/{id}/explain", HTTP_GET, 0, tasks_explain, NULL},
    {"/tasks/{id}/events", HTTP_GET, 0, tasks_events_of, NULL},
    {"/tasks/{id}/cancel", HTTP_POST, 0, tasks_cancel, NULL},
    {"/tasks/{id}/retry", HTTP_POST, 0, tasks_retry, NULL},
    {"/queues", HTTP_GET, 0, queues_list, NULL},
    {"/queues/{name}", HTTP_GET, 0, queues_get, NULL},
    {"/queues/{name}/pause", HTTP_POST, 0, queues_pause, NULL},
    {"/queues/{name}/resume", HTTP_POST, 0, queues_resume, NULL},
};
const size_t api_route_count = ARRAY_LEN(api_routes);

/* Only when clients may bring URLs of their own: otherwise the method is not allowed. */
static const struct route client_urls_route = {"/concurrent_requests/", HTTP_POST, 0, concurrent_post, NULL};

/* ---- endpoints of the configuration ---- */

static bool has_same_beginning(const char *a, const char *b)
{
    size_t size = strcspn(a + 1, "/") + 1;

    return size == strcspn(b + 1, "/") + 1 && strncmp(a, b, size) == 0;
}

/* What lies below a path of the program's own is kept for it, also what is not there yet. */
static bool is_own(const char *path)
{
    for (size_t i = 0; i < api_route_count; i++)
        if (has_same_beginning(api_routes[i].path, path))
            return true;
    return false;
}

size_t api_check(const struct config *config, const char *name, struct buf *out)
{
    size_t count = 0;

    for (size_t i = 0; i < config->endpoint_count; i++) {
        const char *path = config->endpoints[i].path;
        if (!is_own(path))
            continue;
        count++;
        buf_printf(
            out,
            "%s: endpoints: %s: paths that begin with %.*s are heddle's own; choose another one, such as "
            "/api%s\n",
            name, path, (int)(strcspn(path + 1, "/") + 1), path, path);
    }
    return count;
}

static unsigned method_of(const struct config_endpoint *endpoint)
{
    return endpoint->method == METHOD_POST ? HTTP_POST : HTTP_GET;
}

static void fill(struct api_table *table)
{
    const struct config *config = table->config;

    memcpy(table->routes, api_routes, api_route_count * sizeof(*api_routes));
    table->count = api_route_count;
    if (config->concurrent_requests.max_client_urls > 0)
        table->routes[table->count++] = client_urls_route;
    for (size_t i = 0; i < config->endpoint_count; i++)
        table->routes[table->count++] = (struct route){
            .path = config->endpoints[i].path,
            .methods = method_of(&config->endpoints[i]),
            .handler = endpoint_handle,
            .data = &table->endpoints[i],
        };
}

int api_table_create(const struct config *config, struct api_table **ret_table, struct err *err)
{
    struct api_table *table = calloc(1, sizeof(*table));

    if (table) {
        table->config = config;
        table->routes = calloc(api_route_count + 1 + config->endpoint_count, sizeof(*table->routes));
        table->endpoints = calloc(config->endpoint_count + 1, sizeof(*table->endpoints));
    }
    if (!table || !table->routes || !table->endpoints) {
        api_table_free(table);
        return err_set(err, -ENOMEM, "out of memory");
    }
    fill(table);
    *ret_table = table;
    return 0;
}

int api_table_plan(struct api_table *table, struct upstreams *upstreams, struct budget *budget,
                   struct err *err)
{
    for (size_t i = 0; i < table->config->endpoint_count; i++) {
        const struct config_endpoint *endpoint = &table->config->endpoints[i];
        struct err inner = {0};
        int rc = plan_create(endpoint, upstreams, budget, &table->endpoints[i].plan, &inner);
        if (rc < 0)
            return err_set(err, rc, "endpoint %s: %s", endpoint->path, inner.text);
    }
    return 0;
}

void api_table_free(struct api_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; table->endpoints && i < table->config->endpoint_count; i++)
        plan_free(table->endpoints[i].plan);
    free(table->endpoints);
    free(table->routes);
    free(table);
}
