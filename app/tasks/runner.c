/* A thread that runs tasks: takes one, runs one step of it behind a fence, gives it back with what came out.
 *
 * All that touches what a kind made (the step itself, writing its result as JSON, freeing it) happens behind
 * the fence, since a kind with a bug may as well hand back a pointer to nowhere.  Each step gets a payload of
 * its own, parsed anew from the task's text: no JSON value is ever shared between threads, and a kind may do
 * with it what it likes. */
#include "tasks/tasks_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "tasks/fence.h"
#include "tasks/metrics.h"

/* Progress is told no more often than this. */
#define PROGRESS_EVERY_NS (100 * NS_PER_MS)

/* One step of a task. */
struct attempt {
    struct task *task;
    const struct task_kind *kind;
    const struct task_pool_config *config;
    struct task_run run;
    int step; /* an enum task_step, if the kind is in order */
    char *result;
};

/* ---- what a step may ask and say ---- */

bool task_run_must_stop(const struct task_run *run)
{
    struct task *task = run->task;
    int none = TASK_STOP_NONE;

    if (atomic_load_explicit(&task->stop, memory_order_relaxed) != TASK_STOP_NONE)
        return true;
    if (run->deadline_ns == CLOCK_NEVER || clock_now_ns() < run->deadline_ns)
        return false;
    atomic_compare_exchange_strong(&task->stop, &none, TASK_STOP_TIMEOUT);
    return true;
}

void task_run_progress(const struct task_run *run, double fraction)
{
    task_progress(run->task, fraction);
}

void task_progress(struct task *task, double fraction)
{
    const struct task_pool_config *config = task_pool_config(task->pool);
    uint64_t now_ns = clock_now_ns();
    uint64_t told_ns = atomic_load(&task->progress_at_ns);

    if (!config->progress || !isfinite(fraction) || now_ns - told_ns < PROGRESS_EVERY_NS)
        return;
    if (atomic_compare_exchange_strong(&task->progress_at_ns, &told_ns, now_ns))
        config->progress(config->arg, task, fraction < 0 ? 0 : fraction > 1 ? 1 : fraction);
}

/* ---- behind the fence ---- */

/* JSON text, NULL when out of memory or when there is none.  A kind may say anything, also what is no UTF-8;
 * how much of it is kept is looked at later. */
static char *dump(json_t *result)
{
    struct buf text = BUF_INIT(SIZE_MAX / 2);

    json_dump(result, &text);
    bool is_valid = !text.failed && text_utf8_is_valid(text.data, text.size);
    char *taken = is_valid ? buf_take(&text) : NULL;
    buf_done(&text);
    return taken;
}

static void run_step(void *arg)
{
    struct attempt *attempt = arg;
    struct task_run *run = &attempt->run;

    run->payload = json_loads(attempt->task->spec.payload, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!run->payload) {
        attempt->step = TASK_STEP_FAILED;
        snprintf(run->error, sizeof(run->error), "out of memory");
        return;
    }
    attempt->step = (int)attempt->kind->step(run);
    if (attempt->step == TASK_STEP_DONE && run->result)
        attempt->result = dump(run->result);
}

static void release_values(void *arg)
{
    struct attempt *attempt = arg;

    json_decref(attempt->run.payload);
    json_decref(attempt->run.result);
}

static void release_state(void *arg)
{
    struct attempt *attempt = arg;

    if (attempt->run.state && attempt->kind->release)
        attempt->kind->release(attempt->run.state);
}

/* ---- what came out ---- */

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
    case TASK_STEP_PENDING:
        return attempt->kind->abort ? NULL : "waits for something that cannot be ended";
    }
    return "the step returned nonsense";
}

static void log_failure(const struct attempt *attempt, enum log_level level, const char *error)
{
    log_event(level, "task failed",
              LOG_FIELDS(LOG_STR("task", attempt->run.task_id), LOG_STR("kind", attempt->kind->name),
                         LOG_UINT("attempt", attempt->run.attempt), LOG_STR("error", error)));
}

static struct task_outcome failed(const struct attempt *attempt, const char *error, bool is_final)
{
    log_failure(attempt, LOG_LEVEL_WARNING, error);
    return (struct task_outcome){.type = TASK_OUTCOME_FAILED, .error = strdup(error), .is_final = is_final};
}

static struct task_outcome failed_by_bug(const struct attempt *attempt, const char *what)
{
    char error[320];

    snprintf(error, sizeof(error), "bug in task kind %s: %s", attempt->kind->name, what);
    metric_inc(&tasks_metrics[TASK_METRIC_FAULTS]);
    log_failure(attempt, LOG_LEVEL_ERROR, error);
    return (struct task_outcome){.type = TASK_OUTCOME_FAILED, .error = strdup(error), .is_final = true};
}

static struct task_outcome failed_by_fault(const struct attempt *attempt, const struct fence_fault *fault)
{
    char what[48];

    if (fault->signum == SIGABRT)
        snprintf(what, sizeof(what), "%s", fault->name);
    else
        snprintf(what, sizeof(what), "%s at 0x%jx", fault->name, (uintmax_t)fault->address);
    return failed_by_bug(attempt, what);
}

static struct task_outcome timed_out(const struct attempt *attempt)
{
    char timeout[PARSE_TEXT_SIZE];
    char error[96];

    parse_format(PARSE_DURATION, attempt->task->spec.timeout_ms, timeout);
    snprintf(error, sizeof(error), "not done within its timeout of %s", timeout);
    return failed(attempt, error, false);
}

/* A run that was told to end, and has not come to an end of its own. */
static struct task_outcome stopped(const struct attempt *attempt, int why)
{
    if (why == TASK_STOP_TIMEOUT)
        return timed_out(attempt);
    return (struct task_outcome){.type = why == TASK_STOP_CANCEL ? TASK_OUTCOME_CANCELLED
                                                                 : TASK_OUTCOME_BROKEN_OFF};
}

static struct task_outcome succeeded(struct attempt *attempt)
{
    size_t size = strlen(attempt->result);
    char error[96];

    if (size <= attempt->config->result_max_bytes) {
        struct task_outcome outcome = {.type = TASK_OUTCOME_SUCCEEDED, .result = attempt->result};
        attempt->result = NULL;
        return outcome;
    }
    snprintf(error, sizeof(error), "the result has %zu bytes, more than tasks.max_result (%zu)", size,
             attempt->config->result_max_bytes);
    return failed(attempt, error, true);
}

static struct task_outcome outcome_of(struct attempt *attempt)
{
    int why = atomic_load(&attempt->task->stop);

    if (attempt->step == TASK_STEP_DONE)
        return succeeded(attempt);
    if (why != TASK_STOP_NONE)
        return stopped(attempt, why);
    struct task_outcome outcome = failed(attempt, attempt->run.error, attempt->run.is_final);
    outcome.retry_after_ms = attempt->run.retry_after_ms;
    return outcome;
}

/* ---- a task ---- */

static void finish(struct attempt *attempt, struct task_outcome outcome)
{
    struct fence_fault fault;

    if (!fence_call(release_state, attempt, &fault))
        log_error("task leaks memory", LOG_STR("task", attempt->run.task_id),
                  LOG_STR("kind", attempt->kind->name));
    free(attempt->result);
    task_pool_end(attempt->task->pool, attempt->task, &outcome);
}

static void run_one_step(struct attempt *attempt)
{
    struct task *task = attempt->task;
    struct fence_fault fault;
    bool returned = fence_call(run_step, attempt, &fault);
    const char *broken = returned ? broken_contract(attempt) : NULL;
    struct fence_fault leak;

    if (!fence_call(release_values, attempt, &leak))
        log_error("task leaks memory", LOG_STR("task", attempt->run.task_id),
                  LOG_STR("kind", attempt->kind->name));
    task->state = attempt->run.state;
    task->ends_ns = attempt->run.ends_ns;
    if (!returned)
        finish(attempt, failed_by_fault(attempt, &fault));
    else if (broken)
        finish(attempt, failed_by_bug(attempt, broken));
    else if (attempt->step == TASK_STEP_WAIT)
        task_pool_wait(task->pool, task, attempt->run.wake_ns);
    else if (attempt->step == TASK_STEP_PENDING)
        task_pool_pend(task->pool, task);
    else
        finish(attempt, outcome_of(attempt));
}

static void run_task(struct task_thread *thread, struct task *task)
{
    char id[UUID_TEXT_SIZE];
    const struct task_pool_config *config = task_pool_config(thread->pool);
    struct attempt attempt = {
        .task = task,
        .kind = task->kind,
        .config = config,
        .run = {.services = config->services,
                .task = task,
                .task_id = id,
                .traceparent = task->spec.traceparent ? task->spec.traceparent : "",
                .attempt = task->attempt,
                .started_ns = task->started_ns,
                .deadline_ns = task->deadline_ns,
                .stop_fd = task->kind->holds_thread ? thread->stop_fd : -1,
                .state = task->state,
                .wake_ns = CLOCK_NEVER},
    };
    int why = atomic_load(&task->stop);

    uuid_format(&task->id, id);
    if (why != TASK_STOP_NONE)
        finish(&attempt, stopped(&attempt, why));
    else
        run_one_step(&attempt);
}

void *task_thread_main(void *arg)
{
    struct task_thread *thread = arg;
    struct task *task;
    struct fence_thread fence;

    fence_thread_init(&fence);
    while ((task = task_pool_take(thread)) != NULL)
        run_task(thread, task);
    fence_thread_done(&fence);
    return NULL;
}
