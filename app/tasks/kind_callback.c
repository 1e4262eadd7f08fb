/* Kind `callback`: tells of the end of another task, signed as Standard Webhooks has it (webhook.h).  The
 * engine makes such tasks (callback.h); a client's `http` task would not be signed. */
#include "tasks/kind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tasks/callback.h"
#include "tasks/http_call.h"
#include "tasks/payload.h"
#include "tasks/webhook.h"

/* Of the receiver's answer. */
#define BODY_MAX_BYTES 4096

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    static const char *const used[] = {"url", "body", NULL};
    const char *url = NULL;
    const char *body = NULL;

    int rc = task_payload_text(payload, "url", &url, ret);
    if (rc == 0)
        rc = task_payload_text(payload, "body", &body, ret);
    if (rc < 0)
        return rc;
    if (!url || !body)
        return task_problem_set(ret, TASK_PROBLEM_MISSING, url ? "body" : "url", "%s is missing",
                                url ? "body" : "url");
    rc = task_payload_check_url(services->config, "url", "url", url, ret);
    if (rc == 0)
        task_payload_keep(payload, used);
    return rc;
}

static int add_headers(const struct task_run *run, struct http_call *call, const char *body, struct err *err)
{
    const char *secret = run->services->config->tasks.webhook_secret;
    uint64_t now_s = clock_wall_ms() / 1000;
    char timestamp[24];
    char signature[WEBHOOK_SIGNATURE_SIZE];

    snprintf(timestamp, sizeof(timestamp), "%llu", (unsigned long long)now_s);
    int rc = http_call_add_header(call, "Content-Type", "application/json", err);
    if (rc == 0)
        rc = http_call_add_header(call, "webhook-id", run->task_id, err);
    if (rc == 0)
        rc = http_call_add_header(call, "webhook-timestamp", timestamp, err);
    if (rc < 0 || secret[0] == '\0')
        return rc;
    rc = webhook_sign(secret, run->task_id, now_s, body, strlen(body), signature, err);
    return rc == 0 ? http_call_add_header(call, "webhook-signature", signature, err) : rc;
}

static int send_request(struct task_run *run, struct http_call *call, struct err *err)
{
    char *body = strdup(json_string_value(json_object_get(run->payload, "body")));

    if (!body)
        return err_set(err, -ENOMEM, "out of memory");
    http_call_set_body(call, body, strlen(body));
    http_call_keep(call, BODY_MAX_BYTES);
    int rc = add_headers(run, call, body, err);
    return rc == 0 ? http_call_start(call, run, err) : rc;
}

static enum task_step start(struct task_run *run)
{
    struct task_problem problem;
    struct http_call *call;
    struct err err;

    if (check(run->payload, run->services, &problem) < 0)
        return task_run_fail(run, true, "%s", problem.text);
    int rc =
        http_call_create(run, "POST", json_string_value(json_object_get(run->payload, "url")), &call, &err);
    if (rc < 0)
        return task_run_fail(run, rc != -ENOMEM, "%s", err.text);
    run->state = call;
    rc = send_request(run, call, &err);
    return rc == 0 ? TASK_STEP_PENDING : task_run_fail(run, false, "%s", err.text);
}

static enum task_step step(struct task_run *run)
{
    const struct http_call *call = run->state;

    if (!call)
        return start(run);
    if (http_call_fail(call, run))
        return TASK_STEP_FAILED;
    return task_run_done(run, http_call_result(call, BODY_MAX_BYTES));
}

const struct task_kind kind_callback = {.name = TASK_CALLBACK_KIND,
                                        .is_internal = true,
                                        .check = check,
                                        .step = step,
                                        .abort = http_call_abort,
                                        .release = http_call_free};
