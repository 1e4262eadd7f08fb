#include "tasks/kind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tasks/fence.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

#define ROW(kind) &kind_##kind,
const struct task_kind *const task_kinds[] = {TASK_KINDS(ROW) NULL};

const struct task_kind *task_kind_find(const char *name)
{
    for (size_t i = 0; task_kinds[i]; i++)
        if (strcmp(task_kinds[i]->name, name) == 0)
            return task_kinds[i];
    return NULL;
}

struct check {
    const struct task_kind *kind;
    json_t *payload;
    struct task_problem *ret;
    int rc;
};

static void run_check(void *arg)
{
    struct check *check = arg;

    check->rc = check->kind->check(check->payload, check->ret);
}

int task_kind_check(const struct task_kind *kind, json_t *payload, struct task_problem *ret)
{
    struct check check = {.kind = kind, .payload = payload, .ret = ret};
    struct fence_thread fence;
    struct fence_fault fault;

    fence_thread_init(&fence);
    bool returned = fence_call(run_check, &check, &fault);
    fence_thread_done(&fence);
    if (returned)
        return check.rc;
    *ret = (struct task_problem){.type = TASK_PROBLEM_BUG};
    snprintf(ret->text, sizeof(ret->text), "bug in task kind %s: %s", kind->name, fault.name);
    metric_inc(&tasks_metrics[TASK_METRIC_FAULTS]);
    log_error("a task's payload could not be checked", LOG_STR("error", ret->text));
    return -EINVAL;
}
