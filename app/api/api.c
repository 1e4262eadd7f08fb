#include "api/api.h"

#include "api/api_int.h"

const struct route api_routes[] = {
    {"/health/live", HTTP_GET, true, health_live},
    {"/health/ready", HTTP_GET, true, health_ready},
    {"/metrics", HTTP_GET, true, metrics_get},
    {"/concurrent_requests/", HTTP_GET, false, concurrent_get},
    {"/start_background_task/", HTTP_POST, false, tasks_start},
    {"/tasks", HTTP_GET, false, tasks_list},
    {"/tasks/{id}", HTTP_GET, false, tasks_get},
};
const size_t api_route_count = ARRAY_LEN(api_routes);
