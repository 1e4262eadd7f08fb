/* POST /tasks/batch: many tasks in one commit, with a result for each in order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/batch_split.h"
#include "api/task_reply.h"
#include "base/clock.h"
#include "base/http.h"
#include "base/json.h"

/* After so many a request thread lets others go first. */
#define TASKS_A_TURN 500

#define RESULT_MAX_BYTES 4096

/* Where the result of a task stands that was refused before it was submitted. */
struct refused {
    size_t begin;
    size_t size; /* 0: it was not */
};

struct batch {
    struct request *req;
    struct batch_split split;
    char traceparent[TRACEPARENT_SIZE];
    uint64_t now_ms;
    bool is_atomic;

    struct task_submission *items;
    struct refused *refused; /* one for each item */
    size_t count;
    size_t capacity;
    size_t refused_count;
    int first_refused;   /* the first one's status */
    struct buf refusals; /* their results */

    struct task_submit submit;
};

static void batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        task_unref(batch->items[i].task);
    free(batch->items);
    free(batch->refused);
    buf_done(&batch->refusals);
    free(batch);
}

/* ---- the answer ---- */

static void append_refusal(struct buf *out, const struct task_refusal *refusal)
{
    buf_printf(out, "{\"status\":%d", refusal->status);
    if (refusal->field[0] != '\0') {
        buf_append_str(out, ",\"field\":");
        json_append_string(out, refusal->field, strlen(refusal->field));
    }
    buf_append_str(out, ",\"detail\":");
    json_append_string(out, refusal->text, strlen(refusal->text));
    buf_append_str(out, "}");
}

static const char *detail_of(int code)
{
    switch (code) {
    case -EEXIST:
        return "an unfinished task has this unique_key";
    case -EAGAIN:
        return "the queue is full";
    case -ECANCELED:
        return "another task of the batch was refused";
    default:
        return "refused";
    }
}

static bool is_accepted(const struct task_submission *item)
{
    return item->rc == 0 && item->task && !item->is_existing;
}

static void append_outcome(struct buf *out, const struct task_submission *item)
{
    char id[UUID_TEXT_SIZE];

    buf_printf(out, "{\"status\":%d",
               item->rc == 0 ? (item->is_existing ? 200 : 202) : task_http_status(item->rc));
    if (item->task && (item->rc == 0 || item->is_existing)) {
        uuid_format(&item->task->id, id);
        buf_printf(out, ",\"id\":\"%s\"", id);
    }
    if (item->is_existing)
        buf_append_str(out, ",\"existing\":true");
    if (item->rc < 0)
        buf_printf(out, ",\"detail\":\"%s\"", detail_of(item->rc));
    buf_append_str(out, "}");
}

static void append_results(struct buf *out, const struct batch *batch)
{
    size_t accepted = 0;

    buf_append_str(out, "\"results\":[");
    for (size_t i = 0; i < batch->count; i++) {
        const struct refused *refused = &batch->refused[i];
        if (i > 0)
            buf_append(out, ",", 1);
        if (refused->size > 0)
            buf_append(out, batch->refusals.data + refused->begin, refused->size);
        else
            append_outcome(out, &batch->items[i]);
        accepted += is_accepted(&batch->items[i]);
    }
    buf_printf(out, "],\"accepted\":%zu}", accepted);
}

static size_t answer_max_bytes(const struct batch *batch)
{
    return 4096 + batch->refusals.size + batch->count * RESULT_MAX_BYTES;
}

static void reply_results(struct request *req, const struct batch *batch)
{
    struct buf body = BUF_INIT(answer_max_bytes(batch));

    buf_append_str(&body, "{");
    append_results(&body, batch);
    request_reply_buf(req, 200, "application/json", &body);
}

/* A problem with the results in it. */
static void reply_refused(struct request *req, const struct batch *batch, int status, const char *detail)
{
    struct buf body = BUF_INIT(answer_max_bytes(batch));

    if (status == 503)
        request_add_header(req, "Retry-After", "1");
    buf_printf(
        &body,
        "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\",\"request_id\":\"%s\",",
        http_reason_phrase(status), status, detail, request_id(req));
    append_results(&body, batch);
    request_reply_buf(req, status, "application/problem+json", &body);
}

/* ---- submitting ---- */

/* The reason why an atomic batch as a whole was refused; 0: it was not. */
static int atomic_status(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        int rc = batch->items[i].rc;
        if (rc < 0 && rc != -ECANCELED)
            return task_http_status(rc);
    }
    return 0;
}

static bool are_all_refused_for_full(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i].rc != -EAGAIN)
            return false;
    }
    return batch->count > 0;
}

static void answer_submitted(struct request *req, void *arg)
{
    struct batch *batch = arg;
    int status = batch->is_atomic ? atomic_status(batch) : 0;

    if (batch->submit.rc < 0)
        task_reply_error(req, &batch->submit.err);
    else if (status != 0)
        reply_refused(req, batch, status, "a task of the batch was refused, and so none was accepted");
    else if (are_all_refused_for_full(batch))
        reply_refused(req, batch, 503, "the queue is full");
    else
        reply_results(req, batch);
    batch_free(batch);
}

static void on_submitted(struct task_submit *submit)
{
    struct batch *batch = container_of(submit, struct batch, submit);

    request_resume(batch->req, answer_submitted, batch);
}

/* All have been read.  Where nothing can be accepted nobody has to be asked. */
static void finish(struct request *req, struct batch *batch)
{
    if (batch->is_atomic && batch->refused_count > 0) {
        for (size_t i = 0; i < batch->count; i++)
            batch->items[i].rc = batch->items[i].rc < 0 ? batch->items[i].rc : -ECANCELED;
        reply_refused(req, batch, batch->first_refused,
                      "a task of the batch was refused, and so none was accepted");
        batch_free(batch);
        return;
    }
    if (batch->refused_count == batch->count) {
        reply_results(req, batch);
        batch_free(batch);
        return;
    }
    request_drop_body(req);
    batch->submit = (struct task_submit){
        .done = on_submitted,
        .items = batch->items,
        .count = batch->count,
        .is_atomic = batch->is_atomic,
    };
    task_engine_submit(app_of(req)->tasks, &batch->submit);
}

/* ---- reading ---- */

static bool make_room(struct batch *batch, size_t max)
{
    size_t capacity = MIN(MAX(batch->capacity * 2, (size_t)64), max);

    if (batch->count < batch->capacity)
        return true;
    struct task_submission *items = reallocarray(batch->items, capacity, sizeof(*items));
    if (!items)
        return false;
    batch->items = items;
    struct refused *refused = reallocarray(batch->refused, capacity, sizeof(*refused));
    if (!refused)
        return false;
    batch->refused = refused;
    batch->capacity = capacity;
    return true;
}

static void keep_refusal(struct batch *batch, const struct task_refusal *refusal)
{
    struct refused *refused = &batch->refused[batch->count];

    refused->begin = batch->refusals.size;
    append_refusal(&batch->refusals, refusal);
    refused->size = batch->refusals.size - refused->begin;
    if (batch->refused_count++ == 0)
        batch->first_refused = refusal->status == 400 ? 422 : refusal->status;
}

static void read_task(struct batch *batch, const char *text, size_t size)
{
    struct task_reading reading = {app_of(batch->req)->tasks, batch->traceparent, batch->now_ms};
    struct task_refusal refusal;

    batch->refused[batch->count] = (struct refused){.size = 0};
    if (task_request_parse(&reading, text, size, &batch->items[batch->count], &refusal) < 0)
        keep_refusal(batch, &refusal);
    batch->count++;
}

enum progress { PROGRESS_MORE, PROGRESS_DONE, PROGRESS_ANSWERED };

static enum progress read_one(struct request *req, struct batch *batch)
{
    unsigned max = app_of(req)->config->tasks.max_batch;
    const char *text;
    size_t size;
    struct err err;

    int rc = batch_split_next(&batch->split, &text, &size, &err);
    if (rc == 0)
        return PROGRESS_DONE;
    if (rc < 0) {
        request_problem(req, 400, "%s", err.text);
    } else if (batch->count == max) {
        request_problem(req, 413, "a batch has at most %u tasks", max);
    } else if (!make_room(batch, max)) {
        request_problem(req, 503, "out of memory");
    } else {
        read_task(batch, text, size);
        if (!batch->refusals.failed)
            return PROGRESS_MORE;
        request_problem(req, 503, "out of memory");
    }
    return PROGRESS_ANSWERED;
}

static void read_some(struct request *req, void *arg)
{
    struct batch *batch = arg;
    enum progress progress = PROGRESS_MORE;

    for (int i = 0; i < TASKS_A_TURN && progress == PROGRESS_MORE; i++)
        progress = read_one(req, batch);
    if (progress == PROGRESS_MORE)
        request_resume(req, read_some, batch);
    else if (progress == PROGRESS_DONE)
        finish(req, batch);
    else
        batch_free(batch);
}

/* application/json or NDJSON under one of its names; false when the request has been answered. */
static bool read_form(struct request *req, bool *ret_is_lines)
{
    const char *content_type = request_param(req, "CONTENT_TYPE");
    struct http_media_type media;

    http_content_type_parse(content_type, &media);
    *ret_is_lines = strcmp(media.type, "application") == 0 &&
                    (strcmp(media.subtype, "x-ndjson") == 0 || strcmp(media.subtype, "ndjson") == 0 ||
                     strcmp(media.subtype, "jsonl") == 0);
    if (*ret_is_lines || (content_type && http_is_json(content_type)))
        return true;
    request_problem(req, 415, "the Content-Type must be application/json or application/x-ndjson");
    return false;
}

/* ?atomic=true; false when the request has been answered. */
static bool read_atomic(struct request *req, bool *ret_is_atomic)
{
    char text[8];
    struct err err;
    int found = http_query_find(request_param(req, "QUERY_STRING"), "atomic", text, sizeof(text), &err);

    *ret_is_atomic = found > 0 && strcmp(text, "true") == 0;
    if (found == 0 || *ret_is_atomic || (found > 0 && strcmp(text, "false") == 0))
        return true;
    request_problem_with(req, 422, "field", "atomic", "atomic must be true or false");
    return false;
}

/* A key stands for one answer, and tasks of a batch have one each. */
static bool has_key(struct request *req)
{
    if (!request_param(req, "HTTP_IDEMPOTENCY_KEY"))
        return false;
    request_problem(req, 400, "Idempotency-Key is for single tasks; give the tasks of a batch a unique_key");
    return true;
}

void tasks_batch(struct request *req)
{
    bool is_lines;
    bool is_atomic;
    struct batch *batch;
    size_t size;
    const char *body = request_body(req, &size);

    if (has_key(req) || !read_form(req, &is_lines) || !read_atomic(req, &is_atomic))
        return;
    batch = calloc(1, sizeof(*batch));
    if (!batch) {
        request_problem(req, 503, "out of memory");
        return;
    }
    batch->req = req;
    batch->is_atomic = is_atomic;
    batch->now_ms = clock_wall_ms();
    batch->refusals = (struct buf)BUF_INIT((size_t)app_of(req)->config->tasks.max_batch * RESULT_MAX_BYTES);
    traceparent_parse(request_param(req, "HTTP_TRACEPARENT"), batch->traceparent);
    batch_split_init(&batch->split, body, size, is_lines);
    request_suspend(req, &request_nobody_to_tell);
    request_resume(req, read_some, batch);
}
