/* Kind `sleep`: the tutorial's background task.  Waits `duration` seconds and hands `message` back. */
#include "tasks/kind.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define MESSAGE_MAX_BYTES    8192
#define DURATION_MAX_SECONDS 86400

/* How often it says how far it is: so many times, but not more often than this. */
#define PROGRESS_STEPS  10
#define PROGRESS_MIN_NS (500 * NS_PER_MS)

static bool is_duration(const json_t *duration)
{
    double seconds = json_number_value(duration);

    return json_is_number(duration) && isfinite(seconds) && seconds >= 0 && seconds <= DURATION_MAX_SECONDS;
}

/* What nobody reads is not kept: a payload takes no more room than the limits of its members allow. */
static void drop_other_members(json_t *payload)
{
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe (payload, next, name, value)
        if (strcmp(name, "message") != 0 && strcmp(name, "duration") != 0)
            json_object_del(payload, name);
}

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    const json_t *message = json_object_get(payload, "message");
    const json_t *duration = json_object_get(payload, "duration");

    (void)services;
    if (!message)
        return task_problem_set(ret, TASK_PROBLEM_MISSING, "message", "message is missing");
    if (!duration)
        return task_problem_set(ret, TASK_PROBLEM_MISSING, "duration", "duration is missing");
    if (!json_is_string(message) || json_string_length(message) > MESSAGE_MAX_BYTES)
        return task_problem_set(ret, TASK_PROBLEM_INVALID, "message",
                                "message must be a string of at most 8192 bytes of UTF-8");
    if (!is_duration(duration))
        return task_problem_set(ret, TASK_PROBLEM_INVALID, "duration",
                                "duration must be a finite number of seconds from 0 to 86400");
    drop_other_members(payload);
    return 0;
}

/* Until its time, or until it is time to say how far it is. */
static void wait_on(struct task_run *run, uint64_t now_ns)
{
    uint64_t whole_ns = run->wake_ns - run->started_ns;

    if (now_ns - run->started_ns >= PROGRESS_MIN_NS)
        task_run_progress(run, (double)(now_ns - run->started_ns) / (double)whole_ns);
    run->ends_ns = run->wake_ns;
    run->wake_ns = MIN(run->wake_ns, now_ns + MAX(whole_ns / PROGRESS_STEPS, PROGRESS_MIN_NS));
}

static enum task_step step(struct task_run *run)
{
    json_t *message = json_object_get(run->payload, "message");
    double seconds = json_number_value(json_object_get(run->payload, "duration"));
    uint64_t now_ns = clock_now_ns();

    run->wake_ns = run->started_ns + (uint64_t)(seconds * (double)NS_PER_SEC);
    if (now_ns < run->wake_ns) {
        wait_on(run, now_ns);
        return TASK_STEP_WAIT;
    }

    run->result =
        json_pack("{s:O, s:f}", "message", message, "slept", clock_seconds(now_ns - run->started_ns));
    if (!run->result) {
        snprintf(run->error, sizeof(run->error), "out of memory");
        return TASK_STEP_FAILED;
    }
    log_info("background task finished", LOG_STR("task", run->task_id),
             LOG_STR("message", json_string_value(message)));
    return TASK_STEP_DONE;
}

const struct task_kind kind_sleep = {.name = "sleep", .check = check, .step = step};
