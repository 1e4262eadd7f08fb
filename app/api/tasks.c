/* POST /start_background_task/, GET /tasks, GET /tasks/{id}. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/http.h"
#include "base/json.h"
#include "base/parse.h"
#include "tasks/view.h"

#define ANSWER_MAX_BYTES (16 * 1024 * 1024)
#define LIST_LIMIT       50

/* A client that goes away changes nothing: its task is accepted all the same, its question soon answered. */
static void tell_nobody(void *arg)
{
    (void)arg;
}

static const struct request_wait nobody_to_tell = {.hangup = tell_nobody, .release = tell_nobody};

static void reply_json(struct request *req, int status, json_t *json)
{
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);

    json_dump(json, &body);
    json_decref(json);
    request_reply_buf(req, status, "application/json", &body);
}

/* ---- starting a task ---- */

static void reply_missing(struct request *req, const char *detail)
{
    request_problem_with(req, 400, "error", "Missing message or duration in request",
                         "%s; send a JSON object such as {\"message\": \"hello\", \"duration\": 5}", detail);
}

static void reply_unparsable(struct request *req, const char *field, const struct err *err)
{
    if (err->code == -ERANGE && field[0] != '\0')
        request_problem_with(req, 422, "field", field, "%s", err->text);
    else
        request_problem(req, err->code == -ENOMEM ? 503 : err->code == -ERANGE ? 422 : 400, "%s", err->text);
}

static void reply_problem(struct request *req, const struct task_problem *problem)
{
    switch (problem->type) {
    case TASK_PROBLEM_MISSING:
        reply_missing(req, problem->text);
        return;
    case TASK_PROBLEM_INVALID:
        request_problem_with(req, 422, "field", problem->field, "%s", problem->text);
        return;
    case TASK_PROBLEM_BUG:
        request_problem(req, 500, "%s", problem->text);
        return;
    }
}

/* The payload, or NULL when the request has been answered. */
static json_t *read_payload(struct request *req, const struct task_kind *kind)
{
    const char *content_type = request_param(req, "CONTENT_TYPE");
    char field[JSON_FIELD_SIZE];
    struct task_problem problem;
    struct err err;
    json_t *payload;
    size_t size;
    const char *body = request_body(req, &size);

    if (json_is_blank(body, size)) {
        reply_missing(req, "the body is empty");
        return NULL;
    }
    if (!content_type || !http_is_json(content_type)) {
        request_problem(req, 415, "the Content-Type must be application/json");
        return NULL;
    }
    if (json_parse_body(body, size, &payload, field, &err) < 0) {
        reply_unparsable(req, field, &err);
        return NULL;
    }
    if (task_kind_check(kind, payload, &problem) == 0)
        return payload;
    if (problem.type != TASK_PROBLEM_BUG)
        json_decref(payload);
    reply_problem(req, &problem);
    return NULL;
}

/* A task on its way into the store. */
struct start {
    struct request *req;
    struct task_submit submit;
};

static void reply_refused(struct request *req, const struct err *err)
{
    request_problem(req, err->code == -ENOSPC ? 507 : 503, "%s", err->text);
}

static void reply_accepted(struct request *req, const struct task_submit *submit)
{
    char location[sizeof("/tasks/") + UUID_TEXT_SIZE] = "/tasks/";

    uuid_format(&submit->task->id, location + strlen(location));
    request_add_header(req, "Location", location);
    reply_json(req, 202,
               json_pack("{s:s, s:o}", "message", "Background task started successfully", "task",
                         task_json(submit->task, &submit->status)));
}

static void answer_start(struct request *req, void *arg)
{
    struct start *start = arg;

    if (start->submit.rc < 0)
        reply_refused(req, &start->submit.err);
    else
        reply_accepted(req, &start->submit);
    task_unref(start->submit.task);
    free(start);
}

static void on_submitted(struct task_submit *submit)
{
    struct start *start = container_of(submit, struct start, submit);

    request_resume(start->req, answer_start, start);
}

void tasks_start(struct request *req)
{
    const struct task_kind *kind = task_kind_find("sleep");
    json_t *payload = read_payload(req, kind);
    struct start *start;

    if (!payload)
        return;
    start = calloc(1, sizeof(*start));
    if (!start) {
        json_decref(payload);
        request_problem(req, 503, "out of memory");
        return;
    }
    start->req = req;
    start->submit.done = on_submitted;
    request_suspend(req, &nobody_to_tell);
    task_queue_submit(app_of(req)->tasks, kind, payload, &start->submit);
}

/* ---- looking at tasks ---- */

/* A question on its way to the store. */
struct look {
    struct request *req;
    request_fn answer;
    struct task_query query;
};

static void on_looked_up(struct task_query *query)
{
    struct look *look = container_of(query, struct look, query);

    request_resume(look->req, look->answer, look);
}

/* NULL when the request has been answered. */
static struct look *look_create(struct request *req, request_fn answer)
{
    struct look *look = calloc(1, sizeof(*look));

    if (!look) {
        request_problem(req, 503, "out of memory");
        return NULL;
    }
    look->req = req;
    look->answer = answer;
    look->query.done = on_looked_up;
    return look;
}

static void look_free(struct look *look)
{
    for (int i = 0; i < look->query.rc; i++)
        task_unref(look->query.tasks[i]);
    free(look);
}

static void answer_get(struct request *req, void *arg)
{
    struct look *look = arg;

    if (look->query.rc < 0)
        request_problem(req, 503, "%s", look->query.err.text);
    else if (look->query.rc == 0)
        request_problem(req, 404, "there is no task with this id");
    else
        reply_json(req, 200, task_json(look->query.tasks[0], &look->query.tasks[0]->status));
    look_free(look);
}

void tasks_get(struct request *req)
{
    struct look *look;
    struct uuid id;

    if (!uuid_parse(request_path_arg(req), &id)) {
        request_problem(req, 404, "there is no task with this id");
        return;
    }
    look = look_create(req, answer_get);
    if (!look)
        return;
    request_suspend(req, &nobody_to_tell);
    task_queue_get(app_of(req)->tasks, &id, &look->query);
}

/* ?limit=, or the default; false when the request has been answered. */
static bool read_limit(struct request *req, uint64_t *ret_limit)
{
    char text[24];
    struct err err;
    int found = http_query_find(request_param(req, "QUERY_STRING"), "limit", text, sizeof(text), &err);

    *ret_limit = LIST_LIMIT;
    if (found > 0)
        found = parse_number(PARSE_UINT, text, 1, TASK_QUERY_LIMIT_MAX, ret_limit, &err);
    if (found < 0) {
        request_problem_with(req, 422, "field", "limit", "limit: %s", err.text);
        return false;
    }
    return true;
}

static json_t *counts_json(struct task_queue *queue)
{
    struct task_counts counts;
    json_t *json = json_object();

    task_queue_counts(queue, &counts);
    for (size_t i = 0; i < TASK_STATE_COUNT; i++) {
        json_t *count = json_integer((json_int_t)counts.by_state[i]);
        if (json_object_set_new(json, task_state_names[i], count) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

/* What cannot be shown whole is not shown: NULL. */
static json_t *summaries_json(const struct task_query *query)
{
    json_t *list = json_array();

    for (int i = 0; i < query->rc; i++) {
        const struct task *task = query->tasks[i];
        if (json_array_append_new(list, task_summary_json(task, &task->status)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static void answer_list(struct request *req, void *arg)
{
    struct look *look = arg;

    if (look->query.rc < 0)
        request_problem(req, 503, "%s", look->query.err.text);
    else
        reply_json(req, 200,
                   json_pack("{s:o, s:o}", "tasks", summaries_json(&look->query), "counts",
                             counts_json(app_of(req)->tasks)));
    look_free(look);
}

void tasks_list(struct request *req)
{
    struct look *look;
    uint64_t limit;

    if (!read_limit(req, &limit))
        return;
    look = look_create(req, answer_list);
    if (!look)
        return;
    request_suspend(req, &nobody_to_tell);
    task_queue_list(app_of(req)->tasks, (size_t)limit, &look->query);
}
