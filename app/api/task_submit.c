/* POST /tasks, POST /start_background_task/: one task. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/task_look.h"
#include "api/task_reply.h"
#include "base/clock.h"
#include "base/http.h"
#include "base/json.h"
#include "base/parse.h"
#include "tasks/sha256.h"

/* A task on its way into the store, and perhaps to its end. */
struct start {
    struct task_look look;
    struct task_submission item;
    struct task_submit submit;
    struct prefer prefer;
    char key[TASK_KEY_MAX_BYTES + 1];
};

static void start_free(struct task_look *look)
{
    struct start *start = container_of(look, struct start, look);

    task_unref(start->item.task);
    free(start);
}

static void on_submitted(struct task_submit *submit)
{
    struct start *start = container_of(submit, struct start, submit);

    if (submit->rc < 0 || start->item.rc < 0 || start->prefer.wait_s == 0) {
        task_look_answer(&start->look);
        return;
    }
    start->look.id = start->item.task->id;
    task_look_wait(&start->look, start->prefer.wait_s * UINT64_C(1000));
}

/* NULL when the request has been answered. */
static struct start *start_create(struct request *req, request_fn answer)
{
    struct start *start = calloc(1, sizeof(*start));

    if (!start) {
        request_problem(req, 503, "out of memory");
        return NULL;
    }
    task_look_init(&start->look, req, answer, start_free);
    start->submit.done = on_submitted;
    start->submit.items = &start->item;
    start->submit.count = 1;
    return start;
}

static void submit(struct start *start)
{
    task_look_suspend(&start->look);
    task_engine_submit(start->look.engine, &start->submit);
}

static bool is_json(const struct request *req)
{
    const char *content_type = request_param(req, "CONTENT_TYPE");

    return content_type && http_is_json(content_type);
}

static void reply_no_json(struct request *req)
{
    request_problem(req, 415, "the Content-Type must be application/json");
}

/* ---- POST /tasks ---- */

/* SHA-256 over the method, the path and the body: what a key must not be used for twice with a difference. */
static int hash_request(const struct request *req, uint8_t ret_hash[32])
{
    static const char line[] = "POST /tasks\n";
    cleanup(sha256_done) struct sha256 sha = {0};
    char hex[SHA256_HEX_SIZE];
    size_t size;
    const char *body = request_body(req, &size);

    if (sha256_init(&sha) < 0)
        return -ENOMEM;
    sha256_update(&sha, line, sizeof(line) - 1);
    sha256_update(&sha, body, size);
    if (sha256_finish(&sha, hex) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < 32; i++)
        ret_hash[i] = (uint8_t)(parse_hex_digit(hex[2 * i]) << 4 | parse_hex_digit(hex[2 * i + 1]));
    return 0;
}

/* False when the request has been answered. */
static bool read_key(struct request *req, struct start *start)
{
    const char *key = request_param(req, "HTTP_IDEMPOTENCY_KEY");

    if (!key)
        return true;
    if (!idempotency_key_is_valid(key)) {
        request_problem(req, 400, "Idempotency-Key must be 1 to %d characters of printable ASCII",
                        TASK_KEY_MAX_BYTES);
        return false;
    }
    if (hash_request(req, start->submit.request_hash) < 0) {
        request_problem(req, 503, "out of memory");
        return false;
    }
    memcpy(start->key, key, strlen(key) + 1);
    start->submit.idempotency_key = start->key;
    return true;
}

/* False when the request has been answered. */
static bool read_task(struct request *req, struct start *start)
{
    char traceparent[TRACEPARENT_SIZE];
    struct task_reading reading = {start->look.engine, traceparent, clock_wall_ms()};
    struct task_refusal refusal;
    size_t size;
    const char *body = request_body(req, &size);

    traceparent_parse(request_param(req, "HTTP_TRACEPARENT"), traceparent);
    if (!is_json(req)) {
        reply_no_json(req);
        return false;
    }
    if (task_request_parse(&reading, body, size, &start->item, &refusal) < 0) {
        task_reply_refusal(req, &refusal);
        return false;
    }
    return true;
}

static void reply_item_refused(struct request *req, const struct task_submission *item)
{
    char id[UUID_TEXT_SIZE];

    if (item->rc != -EEXIST || !item->task) {
        request_problem(req, task_http_status(item->rc), "the queue is full");
        return;
    }
    uuid_format(&item->task->id, id);
    task_add_location(req, &item->task->id);
    request_problem_with(req, 409, "task", id, "the unfinished task %s has this unique_key", id);
}

/* The task as it was found after waiting, or else as it was accepted. */
static void reply_accepted(struct request *req, const struct start *start)
{
    const struct task *found = task_look_task(&start->look);
    const struct task *task = found ? found : start->item.task;
    const struct task_status *status = found ? &found->status : &start->item.status;
    bool is_returned = start->item.is_existing && !start->submit.is_replay && start->prefer.wait_s == 0;
    bool is_done = task_state_is_final(status->state) || is_returned;

    task_add_location(req, &task->id);
    task_add_applied(req, &start->prefer, start->look.has_waited);
    if (start->submit.is_replay)
        request_add_header(req, "Idempotency-Replayed", "true");
    if (!is_done)
        task_add_retry_after(req, status);
    task_reply(req, is_done ? 200 : 202, task, status);
}

static void answer_submit(struct request *req, void *arg)
{
    struct start *start = arg;

    if (start->submit.rc < 0)
        task_reply_error(req, &start->submit.err);
    else if (start->item.rc < 0)
        reply_item_refused(req, &start->item);
    else
        reply_accepted(req, start);
    task_look_unref(&start->look);
}

void tasks_submit(struct request *req)
{
    struct start *start = start_create(req, answer_submit);

    if (!start)
        return;
    prefer_parse(request_param(req, "HTTP_PREFER"), &start->prefer);
    if (!read_key(req, start) || !read_task(req, start)) {
        task_look_unref(&start->look);
        return;
    }
    request_drop_body(req);
    submit(start);
}

/* ---- POST /start_background_task/, as the tutorial has it ---- */

static void reply_missing(struct request *req, const char *detail)
{
    request_problem_with(req, 400, "error", "Missing message or duration in request",
                         "%s; send a JSON object such as {\"message\": \"hello\", \"duration\": 5}", detail);
}

static void reply_problem(struct request *req, const struct task_problem *problem,
                          const struct task_refusal *refusal)
{
    if (!problem->field)
        task_reply_refusal(req, refusal);
    else if (problem->type == TASK_PROBLEM_MISSING)
        reply_missing(req, problem->text);
    else
        request_problem_with(req, 422, "field", problem->field, "%s", problem->text);
}

/* The body as JSON, or NULL when the request has been answered. */
static json_t *read_body(struct request *req)
{
    char field[JSON_FIELD_SIZE] = "";
    struct task_refusal refusal;
    struct err err;
    json_t *json;
    size_t size;
    const char *body = request_body(req, &size);

    if (json_is_blank(body, size)) {
        reply_missing(req, "the body is empty");
        return NULL;
    }
    if (!is_json(req)) {
        reply_no_json(req);
        return NULL;
    }
    if (json_parse_body(body, size, &json, field, &err) < 0) {
        task_refusal_set_parse(&refusal, field, &err);
        task_reply_refusal(req, &refusal);
        return NULL;
    }
    return json;
}

static void reply_started(struct request *req, const struct task_submission *item)
{
    struct buf body = BUF_INIT(TASK_REPLY_MAX_BYTES);

    task_add_location(req, &item->task->id);
    buf_append_str(&body, "{\"message\":\"Background task started successfully\",\"task\":");
    task_append_reply(&body, req, item->task, &item->status, false);
    buf_append_str(&body, "}");
    request_reply_buf(req, 202, "application/json", &body);
}

static void answer_start(struct request *req, void *arg)
{
    struct start *start = arg;

    if (start->submit.rc < 0)
        task_reply_error(req, &start->submit.err);
    else if (start->item.rc < 0)
        reply_item_refused(req, &start->item);
    else
        reply_started(req, &start->item);
    task_look_unref(&start->look);
}

void tasks_start(struct request *req)
{
    struct task_reading reading = {app_of(req)->tasks, "", clock_wall_ms()};
    struct task_problem problem;
    struct task_refusal refusal;
    struct start *start;
    json_t *payload = read_body(req);

    if (!payload)
        return;
    start = start_create(req, answer_start);
    if (!start) {
        json_decref(payload);
        return;
    }
    if (task_request_of_payload(&reading, task_engine_kind(start->look.engine, "sleep"), payload,
                                &start->item, &problem, &refusal) < 0) {
        reply_problem(req, &problem, &refusal);
        task_look_unref(&start->look);
        return;
    }
    submit(start);
}
