#include "tasks/view.h"

#include "base/clock.h"

static json_t *json_time(uint64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(wall_ms, text);
    return json_string(text);
}

/* Members whose value may be missing: 0 adds it. */

static int set_time(json_t *object, const char *key, uint64_t wall_ms)
{
    return wall_ms == 0 ? 0 : json_object_set_new(object, key, json_time(wall_ms));
}

static int set_count(json_t *object, const char *key, unsigned count)
{
    return count == 0 ? 0 : json_object_set_new(object, key, json_integer((json_int_t)count));
}

/* Text that json_dumps wrote. */
static int set_document(json_t *object, const char *key, const char *text)
{
    return !text ? 0
                 : json_object_set_new(object, key, json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
}

static int set_error(json_t *object, const struct task *task, const struct task_status *status)
{
    if (status->state == TASK_STATE_DEAD && !task->error)
        return json_object_set_new(object, "error", json_string("out of memory"));
    return !task->error ? 0 : json_object_set_new(object, "error", json_string(task->error));
}

json_t *task_summary_json(const struct task *task, const struct task_status *status)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(&task->id, id);
    json_t *object = json_pack("{s:s, s:s, s:s, s:i}", "id", id, "kind", task->kind_name, "state",
                               task_state_names[status->state], "attempts", (int)status->attempts);
    if (set_count(object, "interruptions", status->interruptions) != 0 ||
        set_time(object, "created_at", task->created_ms) != 0 ||
        set_time(object, "started_at", status->started_ms) != 0 ||
        set_time(object, "finished_at", status->finished_ms) != 0 || set_error(object, task, status) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *task_json(const struct task *task, const struct task_status *status)
{
    json_t *object = task_summary_json(task, status);

    if (set_document(object, "payload", task->payload) != 0 ||
        set_document(object, "result", task->result) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}
