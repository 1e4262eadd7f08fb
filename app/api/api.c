#include "api/api.h"

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
