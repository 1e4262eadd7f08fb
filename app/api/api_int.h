/* api_int.h - the handlers, one file for each resource. */
#pragma once

#include "api/app.h"
#include "front/request.h"

static inline struct app *app_of(const struct request *req)
{
    return request_app(req);
}

/* For request_suspend, when a client that goes away changes nothing: what it asked for is done all the same,
 * or soon answered. */
extern const struct request_wait request_nobody_to_tell;

/* health.c */
void health_live(struct request *req);
void health_ready(struct request *req);
/* metrics.c */
void metrics_get(struct request *req);
/* concurrent.c */
void concurrent_get(struct request *req);
void concurrent_post(struct request *req);
/* endpoint.c */
void endpoint_handle(struct request *req);
/* upstreams.c */
void upstreams_get(struct request *req);
/* task_submit.c */
void tasks_start(struct request *req);
void tasks_submit(struct request *req);
/* task_batch.c */
void tasks_batch(struct request *req);
/* task_get.c */
void tasks_get(struct request *req);
void tasks_get_result(struct request *req);
/* task_explain.c */
void tasks_explain(struct request *req);
/* task_list.c */
void tasks_list(struct request *req);
void tasks_stats(struct request *req);
/* task_change.c */
void tasks_cancel(struct request *req);
void tasks_retry(struct request *req);
void tasks_patch(struct request *req);
void tasks_delete(struct request *req);
/* task_events.c */
void tasks_events(struct request *req);
void tasks_events_of(struct request *req);
/* queues.c */
void queues_list(struct request *req);
void queues_get(struct request *req);
void queues_pause(struct request *req);
void queues_resume(struct request *req);
