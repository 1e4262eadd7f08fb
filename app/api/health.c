#include "api/api_int.h"

static void reply_status(struct request *req, const char *json, size_t size)
{
    request_reply(req, 200, "application/json", json, size);
}

/* The process answers: nothing else is asked. */
void health_live(struct request *req)
{
    static const char json[] = "{\"status\":\"live\"}";

    reply_status(req, json, sizeof(json) - 1);
}

/* Work may be sent here: not while starting, not while stopping. */
void health_ready(struct request *req)
{
    static const char json[] = "{\"status\":\"ready\"}";
    struct app *app = app_of(req);

    if (!atomic_load(&app->started))
        request_problem(req, 503, "starting");
    else if (front_is_draining(app->front))
        request_problem(req, 503, "draining: this process is about to stop");
    else
        reply_status(req, json, sizeof(json) - 1);
}
