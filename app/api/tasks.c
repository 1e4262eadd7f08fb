/* POST /start_background_task/, GET /tasks, GET /tasks/{id}. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/http.h"
#include "base/json.h"
#include "base/parse.h"

#define ANSWER_MAX_BYTES (16 * 1024 * 1024)
#define LIST_LIMIT       50
#define LIST_LIMIT_MAX   200

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

static void reply_refused(struct request *req, const struct err *err)
{
    request_problem(req, 503, "%s", err->text);
}

static void reply_accepted(struct request *req, struct task_view *view)
{
    char location[64] = "/tasks/";

    memcpy(location + strlen(location), view->id, sizeof(view->id));
    request_add_header(req, "Location", location);
    json_t *task = task_view_json(view);
    task_view_done(view);
    reply_json(req, 202,
               json_pack("{s:s, s:o}", "message", "Background task started successfully", "task", task));
}

void tasks_start(struct request *req)
{
    const struct task_kind *kind = task_kind_find("sleep");
    json_t *payload = read_payload(req, kind);
    struct task_view view;
    struct err err;

    if (!payload)
        return;
    if (task_queue_submit(app_of(req)->tasks, kind, payload, &view, &err) < 0)
        reply_refused(req, &err);
    else
        reply_accepted(req, &view);
}

/* ---- looking at tasks ---- */

void tasks_get(struct request *req)
{
    struct task_view view;
    struct uuid id;

    if (!uuid_parse(request_path_arg(req), &id) || !task_queue_get(app_of(req)->tasks, &id, &view)) {
        request_problem(req, 404, "there is no task with this id");
        return;
    }
    json_t *task = task_view_json(&view);
    task_view_done(&view);
    reply_json(req, 200, task);
}

/* ?limit=, or the default; false when the request has been answered. */
static bool read_limit(struct request *req, uint64_t *ret_limit)
{
    char text[24];
    struct err err;
    int found = http_query_find(request_param(req, "QUERY_STRING"), "limit", text, sizeof(text), &err);

    *ret_limit = LIST_LIMIT;
    if (found > 0)
        found = parse_number(PARSE_UINT, text, 1, LIST_LIMIT_MAX, ret_limit, &err);
    if (found < 0) {
        request_problem_with(req, 422, "field", "limit", "limit: %s", err.text);
        return false;
    }
    return true;
}

static json_t *counts_json(struct task_queue *queue)
{
    size_t counts[TASK_STATE_COUNT];
    json_t *json = json_object();

    task_queue_counts(queue, counts);
    for (size_t i = 0; i < TASK_STATE_COUNT; i++) {
        if (json_object_set_new(json, task_state_names[i], json_integer((json_int_t)counts[i])) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

/* What cannot be shown whole is not shown: NULL. */
static json_t *summaries_json(struct task_queue *queue, size_t limit)
{
    struct task_view views[LIST_LIMIT_MAX];
    json_t *list = json_array();
    bool is_whole = true;

    size_t count = task_queue_list(queue, limit, views);
    for (size_t i = 0; i < count; i++) {
        is_whole &= json_array_append_new(list, task_view_summary(&views[i])) == 0;
        task_view_done(&views[i]);
    }
    if (is_whole)
        return list;
    json_decref(list);
    return NULL;
}

void tasks_list(struct request *req)
{
    struct task_queue *queue = app_of(req)->tasks;
    uint64_t limit;

    if (!read_limit(req, &limit))
        return;
    json_t *list = summaries_json(queue, (size_t)limit);
    reply_json(req, 200, json_pack("{s:o, s:o}", "tasks", list, "counts", counts_json(queue)));
}
