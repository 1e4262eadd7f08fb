#include "tasks/task.h"

#include <stdlib.h>
#include <string.h>

struct task *task_create(const struct uuid *id, const char *kind_name, const char *payload,
                         uint64_t created_ms)
{
    size_t name_size = strlen(kind_name) + 1;
    size_t payload_size = payload ? strlen(payload) + 1 : 0;
    struct task *task = calloc(1, sizeof(*task) + name_size + payload_size);

    if (!task)
        return NULL;
    atomic_init(&task->refs, 1);
    task->id = *id;
    task->created_ms = created_ms;
    task->kind_name = memcpy(task->text, kind_name, name_size);
    if (payload)
        task->payload = memcpy(task->text + name_size, payload, payload_size);
    return task;
}

struct task *task_ref(struct task *task)
{
    atomic_fetch_add_explicit(&task->refs, 1, memory_order_relaxed);
    return task;
}

void task_unref(struct task *task)
{
    if (!task || atomic_fetch_sub_explicit(&task->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(task->result);
    free(task->error);
    free(task);
}
