/* A runner: takes a task, runs one step of it behind a fence, gives it back with what came out.
 *
 * All that touches what a kind made (the step itself, writing its result as JSON, freeing it) happens behind
 * the fence, since a kind with a bug may as well hand back a pointer to nowhere.  Each step gets a payload of
 * its own, parsed anew from the task's text: no JSON value is ever shared between threads, and a kind may do
 * with it what it likes. */
#include "tasks/tasks_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "tasks/fence.h"
#include "tasks/metrics.h"

struct attempt {
    const struct task *task;
    struct task_run run;
    int step; /* an enum task_step, if the kind is in order */
    char *result;
};

static void run_step(void *arg)
{
    struct attempt *attempt = arg;
    struct task_run *run = &attempt->run;

    run->payload = json_loads(attempt->task->payload, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!run->payload) {
        attempt->step = TASK_STEP_FAILED;
        snprintf(run->error, sizeof(run->error), "out of memory");
        return;
    }
    attempt->step = (int)attempt->task->kind->step(run);
    if (attempt->step == TASK_STEP_DONE && run->result)
        attempt->result = json_dumps(run->result, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void release_values(void *arg)
{
    struct attempt *attempt = arg;

    json_decref(attempt->run.payload);
    json_decref(attempt->run.result);
}

/* What a step that returned did wrong, NULL when nothing. */
static const char *broken_contract(struct attempt *attempt)
{
    struct task_run *run = &attempt->run;

    run->error[sizeof(run->error) - 1] = '\0';
    switch (attempt->step) {
    case TASK_STEP_DONE:
        if (!run->result)
            return "done without a result";
        return attempt->result ? NULL : "the result cannot be written as JSON";
    case TASK_STEP_FAILED:
        if (run->error[0] == '\0')
            return "failed without an error";
        return text_utf8_is_valid(run->error, strlen(run->error)) ? NULL : "the error is not valid UTF-8";
    case TASK_STEP_WAIT:
        return run->wake_ns == CLOCK_NEVER ? "waits without a time" : NULL;
    }
    return "the step returned nonsense";
}

static void log_failure(const struct attempt *attempt, enum log_level level, const char *error)
{
    log_event(level, "task failed",
              LOG_FIELDS(LOG_STR("task", attempt->run.task_id), LOG_STR("kind", attempt->task->kind->name),
                         LOG_UINT("attempt", attempt->run.attempt), LOG_STR("error", error)));
}

static struct task_outcome dead_by_bug(const struct attempt *attempt, const char *what)
{
    char error[320];

    snprintf(error, sizeof(error), "bug in task kind %s: %s", attempt->task->kind->name, what);
    metric_inc(&tasks_metrics[TASK_METRIC_FAULTS]);
    log_failure(attempt, LOG_LEVEL_ERROR, error);
    free(attempt->result);
    return (struct task_outcome){.state = TASK_STATE_DEAD, .error = strdup(error)};
}

static struct task_outcome dead_by_fault(const struct attempt *attempt, const struct fence_fault *fault)
{
    char what[48];

    if (fault->signum == SIGABRT)
        snprintf(what, sizeof(what), "%s", fault->name);
    else
        snprintf(what, sizeof(what), "%s at 0x%jx", fault->name, (uintmax_t)fault->address);
    return dead_by_bug(attempt, what);
}

static struct task_outcome outcome_of(struct attempt *attempt)
{
    const char *broken = broken_contract(attempt);

    if (broken)
        return dead_by_bug(attempt, broken);
    switch ((enum task_step)attempt->step) {
    case TASK_STEP_DONE:
        return (struct task_outcome){.state = TASK_STATE_SUCCEEDED, .result = attempt->result};
    case TASK_STEP_FAILED:
        log_failure(attempt, LOG_LEVEL_WARNING, attempt->run.error);
        return (struct task_outcome){.state = TASK_STATE_DEAD, .error = strdup(attempt->run.error)};
    case TASK_STEP_WAIT:
        break;
    }
    return (struct task_outcome){.state = TASK_STATE_RUNNING, .wake_ns = attempt->run.wake_ns};
}

static struct task_outcome run_task(const struct task *task)
{
    char id[UUID_TEXT_SIZE];
    struct fence_fault fault;
    struct attempt attempt = {
        .task = task,
        .run = {.task_id = id,
                .attempt = task->status.attempts,
                .started_ns = task->started_ns,
                .wake_ns = CLOCK_NEVER},
    };

    uuid_format(&task->id, id);
    bool returned = fence_call(run_step, &attempt, &fault);
    struct task_outcome outcome = returned ? outcome_of(&attempt) : dead_by_fault(&attempt, &fault);
    if (!fence_call(release_values, &attempt, &fault))
        log_error("task leaks memory", LOG_STR("task", id), LOG_STR("kind", task->kind->name));
    return outcome;
}

void *task_runner_main(void *arg)
{
    struct task_pool *pool = arg;
    struct task *task;
    struct fence_thread fence;

    fence_thread_init(&fence);
    while ((task = task_pool_take(pool)) != NULL) {
        struct task_outcome outcome = run_task(task);
        task_pool_settle(pool, task, &outcome);
    }
    fence_thread_done(&fence);
    return NULL;
}
