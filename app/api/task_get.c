/* GET /tasks/{id}, GET /tasks/{id}/result. */
#include <string.h>

#include "api/api_int.h"
#include "api/task_look.h"
#include "api/task_reply.h"

/* The task of the answer, or NULL when the request has been answered. */
static struct task *find_task(struct request *req, const struct task_look *look)
{
    struct task *task = task_look_task(look);
    struct prefer prefer;

    if (look->query.rc < 0) {
        task_reply_error(req, &look->query.err);
        return NULL;
    }
    if (!task) {
        task_reply_not_found(req);
        return NULL;
    }
    prefer_parse(request_param(req, "HTTP_PREFER"), &prefer);
    prefer.respond_async = false; /* nothing is begun here */
    task_add_applied(req, &prefer, look->has_waited);
    return task;
}

static bool is_known(const struct request *req, const struct task_status *status)
{
    return etag_is_named(request_param(req, "HTTP_IF_NONE_MATCH"), status->version);
}

static void reply_not_modified(struct request *req, const struct task_status *status)
{
    task_add_etag(req, status);
    request_reply_empty(req, 304);
}

static void answer_get(struct request *req, void *arg)
{
    struct task_look *look = arg;
    const struct task *task = find_task(req, look);

    if (task && is_known(req, &task->status))
        reply_not_modified(req, &task->status);
    else if (task)
        task_reply(req, 200, task, &task->status);
    task_look_unref(look);
}

/* The result alone, as it is. */
static void reply_result(struct request *req, const struct task *task)
{
    const struct task_status *status = &task->status;

    if (!task_state_is_final(status->state))
        task_add_retry_after(req, status);
    if (status->state == TASK_STATE_DEAD) {
        task_reply_conflict(req, status, task->error ? task->error : "out of memory");
    } else if (status->state != TASK_STATE_SUCCEEDED) {
        task_reply_conflict(req, status, "there is no result");
    } else if (is_known(req, status)) {
        reply_not_modified(req, status);
    } else {
        const char *result = task->result ? task->result : "null";
        task_add_etag(req, status);
        request_reply(req, 200, "application/json", result, strlen(result));
    }
}

static void answer_result(struct request *req, void *arg)
{
    struct task_look *look = arg;
    const struct task *task = find_task(req, look);

    if (task)
        reply_result(req, task);
    task_look_unref(look);
}

static void begin(struct request *req, request_fn answer)
{
    struct task_look *look = task_look_create(req, answer);
    struct prefer prefer;

    if (!look)
        return;
    prefer_parse(request_param(req, "HTTP_PREFER"), &prefer);
    task_look_suspend(look);
    if (prefer.wait_s > 0)
        task_look_wait(look, prefer.wait_s * UINT64_C(1000));
    else
        task_look_ask(look);
}

void tasks_get(struct request *req)
{
    begin(req, answer_get);
}

void tasks_get_result(struct request *req)
{
    begin(req, answer_result);
}
