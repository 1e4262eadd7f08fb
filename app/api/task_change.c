/* POST /tasks/{id}/cancel, POST /tasks/{id}/retry, PATCH and DELETE /tasks/{id}. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/task_look.h"
#include "api/task_reply.h"
#include "base/clock.h"
#include "base/http.h"
#include "base/json.h"

/* A running task that is cancelled has this long to end before its client is told that it has not yet. */
#define CANCEL_WAIT_MS 3000

/* A wish on its way to the committer and, for a running task, to the task's end. */
struct change {
    struct task_look look;
    struct task_wish wish;
};

static void change_free(struct task_look *look)
{
    struct change *change = container_of(look, struct change, look);

    task_unref(change->wish.task);
    free(change);
}

/* ---- the answer ---- */

static void reply_state(struct request *req, const struct task_wish *wish)
{
    static const char *const details[] = {
        [TASK_WISH_CANCEL] = "only a task that has not finished can be cancelled",
        [TASK_WISH_RETRY] = "only a dead or cancelled task can be tried again",
        [TASK_WISH_CHANGE] = "only a task that waits can be changed",
        [TASK_WISH_REMOVE] = "only a finished task can be removed",
    };

    task_reply_conflict(req, &wish->status, details[wish->type]);
}

static void reply_refused(struct request *req, const struct task_wish *wish)
{
    if (wish->rc == -ENOENT) {
        task_reply_not_found(req);
    } else if (wish->rc == -EBUSY) {
        reply_state(req, wish);
    } else if (wish->rc == -EILSEQ) {
        task_add_etag(req, &wish->status);
        request_problem(req, 412, "the task has changed: it has another version than If-Match says");
    } else {
        task_reply_error(req, &wish->err);
    }
}

static void reply_changed(struct request *req, const struct change *change)
{
    const struct task *found = task_look_task(&change->look);
    const struct task *task = found ? found : change->wish.task;
    const struct task_status *status = found ? &found->status : &change->wish.status;
    bool has_to_end = change->wish.type == TASK_WISH_CANCEL && !task_state_is_final(status->state);

    if (has_to_end) {
        task_add_location(req, &task->id);
        task_add_retry_after(req, status);
    }
    task_reply(req, has_to_end ? 202 : 200, task, status);
}

static void answer_change(struct request *req, void *arg)
{
    struct change *change = arg;

    if (change->wish.rc < 0)
        reply_refused(req, &change->wish);
    else if (change->wish.type == TASK_WISH_REMOVE)
        request_reply_empty(req, 204);
    else
        reply_changed(req, change);
    task_look_unref(&change->look);
}

/* ---- the wish ---- */

static void on_wished(struct task_wish *wish)
{
    struct change *change = container_of(wish, struct change, wish);

    if (wish->rc == 0 && wish->type == TASK_WISH_CANCEL && !task_state_is_final(wish->status.state))
        task_look_wait(&change->look, CANCEL_WAIT_MS);
    else
        task_look_answer(&change->look);
}

/* NULL when the request has been answered. */
static struct change *change_create(struct request *req, enum task_wish_type type)
{
    struct change *change;
    struct uuid id;
    unsigned version;

    if (!task_look_read_id(req, &id))
        return NULL;
    if (etag_wanted(request_param(req, "HTTP_IF_MATCH"), &version) < 0) {
        request_problem(req, 400, "If-Match must be * or entity tags such as \"7\"");
        return NULL;
    }
    change = calloc(1, sizeof(*change));
    if (!change) {
        request_problem(req, 503, "out of memory");
        return NULL;
    }
    task_look_init(&change->look, req, answer_change, change_free);
    change->look.id = id;
    change->wish = (struct task_wish){.done = on_wished, .type = type, .id = id, .if_version = version};
    return change;
}

static void wish(struct change *change)
{
    task_look_suspend(&change->look);
    task_engine_wish(change->look.engine, &change->wish);
}

static void create_and_wish(struct request *req, enum task_wish_type type)
{
    struct change *change = change_create(req, type);

    if (change)
        wish(change);
}

void tasks_cancel(struct request *req)
{
    create_and_wish(req, TASK_WISH_CANCEL);
}

void tasks_retry(struct request *req)
{
    create_and_wish(req, TASK_WISH_RETRY);
}

void tasks_delete(struct request *req)
{
    create_and_wish(req, TASK_WISH_REMOVE);
}

/* ---- PATCH ---- */

/* application/json, or RFC 7396, which for these members means the same. */
static bool read_change(struct request *req, struct change *change, struct task_refusal *ret_refusal)
{
    const char *content_type = request_param(req, "CONTENT_TYPE");
    struct task_reading reading = {change->look.engine, "", clock_wall_ms()};
    char field[JSON_FIELD_SIZE] = "";
    struct err err;
    json_t *json;
    size_t size;
    const char *body = request_body(req, &size);

    if (!content_type || !http_is_json(content_type)) {
        *ret_refusal = (struct task_refusal){415, "", "the Content-Type must be application/json"};
        return false;
    }
    if (json_parse_body(body, size, &json, field, &err) < 0) {
        task_refusal_set_parse(ret_refusal, field, &err);
        return false;
    }
    return task_request_read_change(&reading, json, &change->wish, ret_refusal) == 0;
}

void tasks_patch(struct request *req)
{
    struct change *change = change_create(req, TASK_WISH_CHANGE);
    struct task_refusal refusal;

    if (!change)
        return;
    if (read_change(req, change, &refusal)) {
        wish(change);
        return;
    }
    task_reply_refusal(req, &refusal);
    task_look_unref(&change->look);
}
