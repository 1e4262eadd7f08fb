#include "api/api.h"

#include "api/api_int.h"

const struct route api_routes[] = {
    {"/health/live", HTTP_GET, ROUTE_ALWAYS, health_live},
    {"/health/ready", HTTP_GET, ROUTE_ALWAYS, health_ready},
    {"/metrics", HTTP_GET, ROUTE_ALWAYS, metrics_get},
    {"/concurrent_requests/", HTTP_GET, 0, concurrent_get},
    {"/start_background_task/", HTTP_POST, 0, tasks_start},
    {"/tasks", HTTP_GET, 0, tasks_list},
    {"/tasks/{id}", HTTP_GET, 0, tasks_get},
};
const size_t api_route_count = ARRAY_LEN(api_routes);
