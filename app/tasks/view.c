#include "tasks/view.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

void task_append_text(struct buf *out, const char *text)
{
    size_t size = strlen(text);

    if (text_utf8_is_valid(text, size)) {
        json_append_string(out, text, size);
        return;
    }
    cleanup(buf_done) struct buf valid = BUF_INIT(size * 3);
    text_utf8_mend(text, size, &valid);
    json_append_string(out, valid.data, valid.size);
    out->failed |= valid.failed;
}

/* Members whose value may be missing.  `key` is written as it stands: `,"error":`. */

static void append_text(struct buf *out, const char *key, const char *text)
{
    if (!text)
        return;
    buf_append_str(out, key);
    task_append_text(out, text);
}

static void append_time(struct buf *out, const char *key, uint64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    if (wall_ms == 0)
        return;
    clock_format_rfc3339(wall_ms, text);
    buf_append_str(out, key);
    json_append_string(out, text, strlen(text));
}

static void append_count(struct buf *out, const char *key, unsigned count)
{
    if (count > 0)
        buf_printf(out, "%s%u", key, count);
}

/* JSON text, as the program itself has written it. */
static void append_document(struct buf *out, const char *key, const char *json)
{
    if (!json)
        return;
    buf_append_str(out, key);
    buf_append_str(out, json);
}

static void append_times(struct buf *out, const struct task *task, const struct task_status *status)
{
    append_time(out, ",\"created_at\":", task->created_ms);
    append_time(out, ",\"run_at\":", status->run_at_ms);
    append_time(out, ",\"started_at\":", status->started_ms);
    append_time(out, ",\"finished_at\":", status->finished_ms);
    if (task->spec.timeout_ms > 0) {
        buf_append_str(out, ",\"timeout\":");
        json_append_seconds(out, task->spec.timeout_ms * NS_PER_MS);
    }
}

/* The last error; a dead task has one, even if there was no memory to keep it. */
static const char *error_of(const struct task *task, const struct task_status *status)
{
    return !task->error && status->state == TASK_STATE_DEAD ? "out of memory" : task->error;
}

static void append_members(struct buf *out, const struct task_view *view)
{
    const struct task *task = view->task;
    const struct task_status *status = view->status;
    char id[UUID_TEXT_SIZE];

    uuid_format(&task->id, id);
    buf_printf(out, "{\"id\":\"%s\"", id);
    append_text(out, ",\"kind\":", task->spec.kind_name);
    buf_printf(out, ",\"state\":\"%s\"", task_state_names[status->state]);
    append_text(out, ",\"queue\":", view->queue);
    buf_printf(out, ",\"priority\":%u,\"attempts\":%u", status->priority, status->attempts);
    append_count(out, ",\"max_attempts\":", task->spec.max_attempts);
    append_count(out, ",\"interruptions\":", status->interruptions);
    if (status->is_cancelled && status->state == TASK_STATE_RUNNING)
        buf_append_str(out, ",\"cancelling\":true");
    if (status->progress > 0)
        buf_printf(out, ",\"progress\":%.4g", status->progress);
    append_times(out, task, status);
    append_text(out, ",\"tenant\":", task->spec.tenant);
    append_document(out, ",\"tags\":", task->spec.tags);
    append_text(out, ",\"unique_key\":", task->spec.unique_key);
    append_text(out, ",\"schedule\":", task->spec.schedule);
    append_text(out, ",\"error\":", error_of(task, status));
}

static void append_history(struct buf *out, const struct task *task)
{
    if (task->past_count == 0)
        return;
    buf_append_str(out, ",\"history\":");
    for (size_t i = 0; i < task->past_count; i++) {
        const struct task_attempt *attempt = &task->past[i];
        buf_printf(out, "%s{\"run\":%u", i == 0 ? "[" : ",", attempt->run);
        append_time(out, ",\"started_at\":", attempt->started_ms);
        append_time(out, ",\"finished_at\":", attempt->finished_ms);
        buf_printf(out, ",\"outcome\":\"%s\"", attempt->was_interrupted ? "interrupted" : "failed");
        append_text(out, ",\"error\":", attempt->error);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "]");
}

void task_append_summary(struct buf *out, const struct task_view *view)
{
    append_members(out, view);
    buf_append_str(out, "}");
}

void task_append(struct buf *out, const struct task_view *view)
{
    const struct task *task = view->task;

    append_members(out, view);
    append_document(out, ",\"callback\":", task->spec.callback);
    append_history(out, task);
    append_document(out, ",\"payload\":", task->spec.payload);
    append_document(out, ",\"result\":", task->result);
    buf_append_str(out, "}");
}
