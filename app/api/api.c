#include "api/api.h"

#include "api/api_int.h"

static void tell_nobody(void *arg)
{
    (void)arg;
}

const struct request_wait request_nobody_to_tell = {.hangup = tell_nobody, .release = tell_nobody};

const struct route api_routes[] = {
    {"/health/live", HTTP_GET, ROUTE_ALWAYS, health_live},
    {"/health/ready", HTTP_GET, ROUTE_ALWAYS, health_ready},
    {"/metrics", HTTP_GET, ROUTE_ALWAYS, metrics_get},
    {"/concurrent_requests/", HTTP_GET, 0, concurrent_get},
    {"/start_background_task/", HTTP_POST, 0, tasks_start},
    {"/tasks", HTTP_GET, 0, tasks_list},
    {"/tasks", HTTP_POST, ROUTE_LARGE_BODY, tasks_submit},
    {"/tasks/batch", HTTP_POST, ROUTE_LARGE_BODY, tasks_batch},
    {"/tasks/stats", HTTP_GET, 0, tasks_stats},
    {"/tasks/events", HTTP_GET, 0, tasks_events},
    {"/tasks/{id}", HTTP_GET, 0, tasks_get},
    {"/tasks/{id}", HTTP_PATCH, 0, tasks_patch},
    {"/tasks/{id}", HTTP_DELETE, 0, tasks_delete},
    {"/tasks/{id}/result", HTTP_GET, 0, tasks_get_result},
    {"/tasks/{id}/explain", HTTP_GET, 0, tasks_explain},
    {"/tasks/{id}/events", HTTP_GET, 0, tasks_events_of},
    {"/tasks/{id}/cancel", HTTP_POST, 0, tasks_cancel},
    {"/tasks/{id}/retry", HTTP_POST, 0, tasks_retry},
    {"/queues", HTTP_GET, 0, queues_list},
    {"/queues/{name}", HTTP_GET, 0, queues_get},
    {"/queues/{name}/pause", HTTP_POST, 0, queues_pause},
    {"/queues/{name}/resume", HTTP_POST, 0, queues_resume},
};
const size_t api_route_count = ARRAY_LEN(api_routes);
