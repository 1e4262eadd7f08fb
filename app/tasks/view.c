#include "tasks/view.h"

#include "base/clock.h"
#include "tasks/tasks_int.h"

void task_view_fill(struct task *task, struct task_view *ret)
{
    *ret = (struct task_view){
        .kind = task->kind->name,
        .state = task->state,
        .attempts = task->attempts,
        .created_ms = task->created_ms,
        .started_ms = task->started_ms,
        .finished_ms = task->finished_ms,
        .payload = task->payload,
        .result = task->result,
        .error = task->error,
        .task = task,
    };
    uuid_format(&task->id, ret->id);
    atomic_fetch_add_explicit(&task->refs, 1, memory_order_relaxed);
}

void task_view_done(struct task_view *view)
{
    task_unref(view->task);
    *view = (struct task_view){0};
}

static json_t *json_time(uint64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(wall_ms, text);
    return json_string(text);
}

/* A member whose value may be missing: 0 adds it. */
static int set_time(json_t *object, const char *key, uint64_t wall_ms)
{
    return wall_ms == 0 ? 0 : json_object_set_new(object, key, json_time(wall_ms));
}

/* Text that json_dumps wrote. */
static int set_document(json_t *object, const char *key, const char *text)
{
    return !text ? 0
                 : json_object_set_new(object, key, json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
}

static int set_error(json_t *object, const struct task_view *view)
{
    if (view->state != TASK_STATE_DEAD)
        return 0;
    return json_object_set_new(object, "error", json_string(view->error ? view->error : "out of memory"));
}

json_t *task_view_summary(const struct task_view *view)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:i}", "id", view->id, "kind", view->kind, "state",
                               task_state_names[view->state], "attempts", (int)view->attempts);

    if (set_time(object, "created_at", view->created_ms) != 0 ||
        set_time(object, "started_at", view->started_ms) != 0 ||
        set_time(object, "finished_at", view->finished_ms) != 0 || set_error(object, view) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *task_view_json(const struct task_view *view)
{
    json_t *object = task_view_summary(view);

    if (set_document(object, "payload", view->payload) != 0 ||
        set_document(object, "result", view->result) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}
