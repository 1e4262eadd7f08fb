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

static int report(struct task_problem *ret, int type, const char *field, const char *text)
{
    ret->type = type;
    ret->field = field;
    snprintf(ret->text, sizeof(ret->text), "%s", text);
    return -EINVAL;
}

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

static int check(json_t *payload, struct task_problem *ret)
{
    const json_t *message = json_object_get(payload, "message");
    const json_t *duration = json_object_get(payload, "duration");

    if (!message)
        return report(ret, TASK_PROBLEM_MISSING, "message", "message is missing");
    if (!duration)
        return report(ret, TASK_PROBLEM_MISSING, "duration", "duration is missing");
    if (!json_is_string(message) || json_string_length(message) > MESSAGE_MAX_BYTES)
        return report(ret, TASK_PROBLEM_INVALID, "message",
                      "message must be a string of at most 8192 bytes of UTF-8");
    if (!is_duration(duration))
        return report(ret, TASK_PROBLEM_INVALID, "duration",
                      "duration must be a finite number of seconds from 0 to 86400");
    drop_other_members(payload);
    return 0;
}

static enum task_step step(struct task_run *run)
{
    json_t *message = json_object_get(run->payload, "message");
    double seconds = json_number_value(json_object_get(run->payload, "duration"));
    uint64_t now_ns = clock_now_ns();

    run->wake_ns = run->started_ns + (uint64_t)(seconds * (double)NS_PER_SEC);
    if (now_ns < run->wake_ns)
        return TASK_STEP_WAIT;

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
