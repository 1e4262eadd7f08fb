#include "tasks/task.h"

#include <stdlib.h>
#include <string.h>

/* The texts of a spec, for all that goes over each of them. */
#define SPEC_TEXT_COUNT 8

static void list_texts(struct task_spec *spec, const char **ret_texts[SPEC_TEXT_COUNT])
{
    const char **const texts[SPEC_TEXT_COUNT] = {
        &spec->kind_name, &spec->payload,  &spec->tenant,      &spec->unique_key,
        &spec->tags,      &spec->callback, &spec->traceparent, &spec->schedule,
    };

    memcpy(ret_texts, texts, sizeof(texts));
}

struct task *task_create(const struct uuid *id, const struct task_spec *spec, uint64_t created_ms)
{
    struct task_spec copy = *spec;
    const char **texts[SPEC_TEXT_COUNT];
    size_t sizes[SPEC_TEXT_COUNT];
    size_t total = 0;

    list_texts(&copy, texts);
    for (size_t i = 0; i < SPEC_TEXT_COUNT; i++) {
        sizes[i] = *texts[i] ? strlen(*texts[i]) + 1 : 0;
        total += sizes[i];
    }
    struct task *task = calloc(1, sizeof(*task) + total);
    if (!task)
        return NULL;
    char *at = task->text;
    for (size_t i = 0; i < SPEC_TEXT_COUNT; i++) {
        if (sizes[i] == 0)
            continue;
        *texts[i] = memcpy(at, *texts[i], sizes[i]);
        at += sizes[i];
    }
    atomic_init(&task->refs, 1);
    task->id = *id;
    task->created_ms = created_ms;
    task->bytes = sizeof(*task) + total;
    task->spec = copy;
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
    for (size_t i = 0; i < task->past_count; i++)
        free(task->past[i].error);
    free(task->past);
    free(task->result);
    free(task->error);
    free(task);
}

uint64_t task_backoff_ms(const struct task_backoff *backoff, unsigned attempt, double random)
{
    double wait_ms = (double)backoff->base_ms;
    double max_ms = (double)backoff->max_ms;

    /* Not pow(): a factor of 1 or less would go on for as many rounds as there were attempts. */
    if (backoff->factor > 1)
        for (unsigned i = 1; i < attempt && wait_ms > 0 && wait_ms < max_ms; i++)
            wait_ms *= backoff->factor;
    else
        for (unsigned i = 1; i < attempt && wait_ms >= 1 && backoff->factor < 1; i++)
            wait_ms *= backoff->factor;
    wait_ms = MIN(wait_ms, max_ms);
    wait_ms *= 1 + backoff->jitter * (2 * random - 1);
    wait_ms = MIN(wait_ms, max_ms);
    return wait_ms > 0 ? (uint64_t)(wait_ms + 0.5) : 0;
}
