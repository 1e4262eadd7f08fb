/* GET /queues, GET /queues/{name}, POST /queues/{name}/pause, POST /queues/{name}/resume. */
#include <stdlib.h>

#include "api/api_int.h"
#include "api/counts.h"
#include "api/task_reply.h"
#include "tasks/view.h"

#define ANSWER_MAX_BYTES ((size_t)1024 * 1024)

static void append_queue(struct buf *out, const struct task_queue_info *queue)
{
    buf_append_str(out, "{\"name\":");
    task_append_text(out, queue->name);
    buf_printf(out, ",\"paused\":%s,\"weight\":%u", queue->is_paused ? "true" : "false", queue->weight);
    if (queue->concurrency > 0)
        buf_printf(out, ",\"concurrency\":%u", queue->concurrency);
    if (queue->rate_per_s > 0)
        buf_printf(out, ",\"rate\":%.15g", queue->rate_per_s);
    buf_append_str(out, ",\"counts\":");
    counts_append(out, &queue->counts);
    buf_append_str(out, "}");
}

void queues_list(struct request *req)
{
    struct task_queue_info queues[TASK_QUEUE_MAX];
    size_t count = task_engine_queues(app_of(req)->tasks, queues);
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);

    buf_append_str(&body, "{\"queues\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append(&body, ",", 1);
        append_queue(&body, &queues[i]);
    }
    buf_append_str(&body, "]}");
    request_reply_buf(req, 200, "application/json", &body);
}

/* The queue's number, negative when the request has been answered. */
static int find(struct request *req)
{
    int id = task_engine_find_queue(app_of(req)->tasks, request_path_arg(req));

    if (id < 0)
        request_problem(req, 404, "there is no queue of this name");
    return id;
}

static void reply_queue(struct request *req, task_queue_id id)
{
    struct task_queue_info queues[TASK_QUEUE_MAX];
    size_t count = task_engine_queues(app_of(req)->tasks, queues);
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);
    size_t i = 0;

    while (i < count && queues[i].id != id)
        i++;
    if (i == count) {
        request_problem(req, 404, "there is no queue of this name");
        return;
    }
    append_queue(&body, &queues[i]);
    request_reply_buf(req, 200, "application/json", &body);
}

void queues_get(struct request *req)
{
    int id = find(req);

    if (id >= 0)
        reply_queue(req, (task_queue_id)id);
}

/* ---- pause and resume ---- */

struct pause {
    struct request *req;
    struct task_wish wish;
};

static void answer_pause(struct request *req, void *arg)
{
    struct pause *pause = arg;

    if (pause->wish.rc < 0)
        task_reply_error(req, &pause->wish.err);
    else
        reply_queue(req, pause->wish.queue);
    free(pause);
}

static void on_wished(struct task_wish *wish)
{
    struct pause *pause = container_of(wish, struct pause, wish);

    request_resume(pause->req, answer_pause, pause);
}

static void wish(struct request *req, enum task_wish_type type)
{
    struct pause *pause;
    int id = find(req);

    if (id < 0)
        return;
    pause = calloc(1, sizeof(*pause));
    if (!pause) {
        request_problem(req, 503, "out of memory");
        return;
    }
    pause->req = req;
    pause->wish = (struct task_wish){
        .done = on_wished,
        .type = type,
        .queue = (task_queue_id)id,
        .if_version = TASK_VERSION_ANY,
    };
    request_suspend(req, &request_nobody_to_tell);
    task_engine_wish(app_of(req)->tasks, &pause->wish);
}

void queues_pause(struct request *req)
{
    wish(req, TASK_WISH_PAUSE_QUEUE);
}

void queues_resume(struct request *req)
{
    wish(req, TASK_WISH_RESUME_QUEUE);
}
