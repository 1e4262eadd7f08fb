/* api_int.h - the handlers, one file for each resource. */
#pragma once

#include "api/app.h"
#include "front/request.h"

static inline struct app *app_of(const struct request *req)
{
    return request_app(req);
}

/* health.c */
void health_live(struct request *req);
void health_ready(struct request *req);
/* metrics.c */
void metrics_get(struct request *req);
/* concurrent.c */
void concurrent_get(struct request *req);
/* tasks.c */
void tasks_start(struct request *req);
void tasks_list(struct request *req);
void tasks_get(struct request *req);
