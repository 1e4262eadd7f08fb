#include "api/task_reply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"
#include "tasks/view.h"

void task_append_reply(struct buf *out, const struct request *req, const struct task *task,
                       const struct task_status *status, bool is_summary)
{
    struct task_view view = {
        .task = task,
        .status = status,
        .queue = task_engine_queue_name(app_of(req)->tasks, status->queue),
    };

    if (is_summary)
        task_append_summary(out, &view);
    else
        task_append(out, &view);
}

void task_reply(struct request *req, int http_status, const struct task *task,
                const struct task_status *status)
{
    struct buf body = BUF_INIT(TASK_REPLY_MAX_BYTES);

    task_append_reply(&body, req, task, status, false);
    task_add_etag(req, status);
    request_reply_buf(req, http_status, "application/json", &body);
}

/* ---- errors ---- */

int task_http_status(int code)
{
    switch (code) {
    case -ENOENT:
        return 404;
    case -EBUSY:
    case -EEXIST:
    case -EALREADY:
        return 409;
    case -EILSEQ:
        return 412;
    case -EINVAL:
    case -EKEYREJECTED:
        return 422;
    case -ECANCELED:
        return 424;
    case -ENOSPC:
        return 507;
    default:
        return 503;
    }
}

void task_reply_error(struct request *req, const struct err *err)
{
    int status = task_http_status(err->code);

    if (err->code == -EALREADY)
        request_add_header(req, "Retry-After", "1");
    if (err->code == -EKEYREJECTED)
        request_problem_with(req, status, "field", "Idempotency-Key", "%s", err->text);
    else
        request_problem(req, status, "%s", err->text);
}

void task_reply_refusal(struct request *req, const struct task_refusal *refusal)
{
    if (refusal->field[0] != '\0')
        request_problem_with(req, refusal->status, "field", refusal->field, "%s", refusal->text);
    else
        request_problem(req, refusal->status, "%s", refusal->text);
}

void task_reply_not_found(struct request *req)
{
    request_problem(req, 404, "there is no task with this id");
}

void task_reply_conflict(struct request *req, const struct task_status *status, const char *detail)
{
    request_problem_with(req, 409, "state", task_state_names[status->state], "%s: the task is %s", detail,
                         task_state_names[status->state]);
}

/* ---- headers ---- */

void task_add_location(struct request *req, const struct uuid *id)
{
    char location[sizeof("/tasks/") + UUID_TEXT_SIZE] = "/tasks/";

    uuid_format(id, location + strlen(location));
    request_add_header(req, "Location", location);
}

void task_add_etag(struct request *req, const struct task_status *status)
{
    char etag[ETAG_SIZE];

    etag_format(status->version, etag);
    request_add_header(req, "ETag", etag);
}

void task_add_retry_after(struct request *req, const struct task_status *status)
{
    uint64_t now_ms = clock_wall_ms();
    uint64_t wait_ms = status->run_at_ms > now_ms ? status->run_at_ms - now_ms : 0;
    char seconds[24];

    snprintf(seconds, sizeof(seconds), "%" PRIu64, MAX((wait_ms + 999) / 1000, UINT64_C(1)));
    request_add_header(req, "Retry-After", seconds);
}

void task_add_applied(struct request *req, const struct prefer *prefer, bool has_waited)
{
    struct prefer applied = {
        .wait_s = has_waited ? prefer->wait_s : 0,
        .respond_async = prefer->respond_async,
    };
    char text[PREFER_TEXT_SIZE];

    prefer_format(&applied, text);
    if (text[0] != '\0')
        request_add_header(req, "Preference-Applied", text);
}
