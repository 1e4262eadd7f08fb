#include "tasks/kind.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tasks/fence.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

#define ROW(kind) &kind_##kind,
const struct task_kind *const task_kinds[] = {TASK_KINDS(ROW) NULL};

const struct task_kind *task_kind_find(const struct task_kind *const *kinds, const char *name)
{
    while (*kinds && strcmp((*kinds)->name, name) != 0)
        kinds++;
    return *kinds;
}

int task_problem_set(struct task_problem *ret, int type, const char *field, const char *format, ...)
{
    va_list args;

    ret->type = type;
    ret->field = field;
    va_start(args, format);
    vsnprintf(ret->text, sizeof(ret->text), format, args);
    va_end(args);
    return -EINVAL;
}

struct check {
    const struct task_kind *kind;
    json_t *payload;
    const struct task_services *services;
    struct task_problem *ret;
    int rc;
};

static void run_check(void *arg)
{
    struct check *check = arg;

    check->rc = check->kind->check(check->payload, check->services, check->ret);
}

int task_kind_check(const struct task_kind *kind, json_t *payload, const struct task_services *services,
                    struct task_problem *ret)
{
    struct check check = {.kind = kind, .payload = payload, .services = services, .ret = ret};
    struct fence_fault fault;

    fence_thread_keep();
    bool returned = fence_call(run_check, &check, &fault);
    if (returned)
        return check.rc;
    *ret = (struct task_problem){.type = TASK_PROBLEM_BUG};
    snprintf(ret->text, sizeof(ret->text), "bug in task kind %s: %s", kind->name, fault.name);
    metric_inc(&tasks_metrics[TASK_METRIC_FAULTS]);
    log_error("a task's payload could not be checked", LOG_STR("error", ret->text));
    return -EINVAL;
}
