#include "tasks/callback.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/clock.h"

#define LOAD_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)
#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* Adds the JSON text, or nothing when there is none.  0, or -1 without memory. */
static int set_document(json_t *object, const char *key, const char *text)
{
    return text ? json_object_set_new(object, key, json_loads(text, LOAD_FLAGS, NULL)) : 0;
}

static json_t *data_of(const struct task *task, const char *result, const char *error)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(&task->id, id);
    json_t *data = json_pack("{s:s, s:s, s:s, s:i}", "id", id, "kind", task->spec.kind_name, "state",
                             task_state_names[task->status.state], "attempts", (int)task->status.attempts);
    if (set_document(data, "tags", task->spec.tags) != 0 || set_document(data, "result", result) != 0 ||
        (error && json_object_set_new(data, "error", json_string(error)) != 0)) {
        json_decref(data);
        return NULL;
    }
    return data;
}

/* What is sent, as text: it is signed as it stands. */
static char *body_of(const struct task *task, const char *result, const char *error)
{
    char type[32];
    char timestamp[CLOCK_RFC3339_SIZE];

    snprintf(type, sizeof(type), "task.%s", task_state_names[task->status.state]);
    clock_format_rfc3339(task->status.finished_ms, timestamp);
    json_t *body = json_pack("{s:s, s:s, s:o}", "type", type, "timestamp", timestamp, "data",
                             data_of(task, result, error));
    char *text = body ? json_dumps(body, DUMP_FLAGS) : NULL;
    json_decref(body);
    return text;
}

static char *payload_of(const struct task *task, const char *result, const char *error)
{
    json_t *callback = json_loads(task->spec.callback, LOAD_FLAGS, NULL);
    char *body = body_of(task, result, error);
    json_t *payload = callback && body
                          ? json_pack("{s:O, s:s}", "url", json_object_get(callback, "url"), "body", body)
                          : NULL;
    char *text = payload ? json_dumps(payload, DUMP_FLAGS) : NULL;

    json_decref(payload);
    json_decref(callback);
    free(body);
    return text;
}

int task_callback_create(const struct task *task, const char *result, const char *error,
                         const struct ledger_config *config, struct task **ret, struct err *err)
{
    const struct task_kind *kind = task_kind_find(config->kinds, TASK_CALLBACK_KIND);
    struct uuid id;

    *ret = NULL;
    if (!kind)
        return 0;
    char *payload = payload_of(task, result, error);
    struct task_spec spec = {
        .kind_name = kind->name,
        .payload = payload,
        .tenant = task->spec.tenant,
        .traceparent = task->spec.traceparent,
        .timeout_ms = config->config->tasks.timeout_ms,
        .max_attempts = config->config->tasks.max_attempts,
        .backoff = {.base_ms = config->config->tasks.backoff_base_ms,
                    .factor = config->config->tasks.backoff_factor,
                    .max_ms = config->config->tasks.backoff_max_ms,
                    .jitter = config->config->tasks.backoff_jitter},
    };
    struct task *callback =
        payload && uuid_create(&id) == 0 ? task_create(&id, &spec, clock_wall_ms()) : NULL;
    free(payload);
    if (!callback)
        return err_set(err, -ENOMEM, "out of memory for a callback");
    callback->kind = kind;
    callback->status.priority = TASK_PRIORITY_DEFAULT;
    *ret = callback;
    return 0;
}
