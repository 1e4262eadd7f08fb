/* Kind `fan_out`: many URLs at once, and what each of them brought, as GET /concurrent_requests/ has it.  It
 * succeeds when all have ended, whichever way. */
#include "tasks/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "fetch/hosts.h"
#include "gather/results.h"
#include "gather/url_list.h"
#include "tasks/payload.h"

#define URLS_MAX          1000
#define CONTENT_CHARS_MAX 100000

struct fan_out {
    const struct config *config;
    struct task *task;
    struct gather *gather;
    uint64_t start_ns;
    size_t content_chars;
    size_t ended; /* for on_part_ended */
    size_t count;
    struct fetch_target *targets[];
};

/* ---- the payload ---- */

static int check_urls(const json_t *urls, const struct config *config, struct task_problem *problem)
{
    const json_t *url;
    char what[32];
    size_t i;
    int rc = 0;

    if (!json_is_array(urls) || json_array_size(urls) == 0 || json_array_size(urls) > URLS_MAX)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "urls", "urls must be a list of 1 to %d URLs",
                                URLS_MAX);
    json_array_foreach (urls, i, url) {
        snprintf(what, sizeof(what), "urls[%zu]", i);
        if (!json_is_string(url) || strlen(json_string_value(url)) != json_string_length(url))
            rc = task_problem_set(problem, TASK_PROBLEM_INVALID, "urls", "%s must be a string", what);
        else
            rc = task_payload_check_url(config, "urls", what, json_string_value(url), problem);
        if (rc < 0)
            break;
    }
    return rc;
}

/* The numbers are those of the configuration where there are none. */
static int read_numbers(const json_t *payload, const struct config *config, uint64_t *ret_concurrency,
                        uint64_t *ret_chars, struct task_problem *problem)
{
    *ret_concurrency = config->concurrent_requests.max_concurrency;
    *ret_chars = config->concurrent_requests.content_chars;
    int rc = task_payload_number(payload, "max_concurrency", 0, URLS_MAX, ret_concurrency, problem);
    return rc < 0 ? rc
                  : task_payload_number(payload, "content_chars", 0, CONTENT_CHARS_MAX, ret_chars, problem);
}

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    static const char *const used[] = {"urls", "max_concurrency", "content_chars", NULL};
    uint64_t concurrency;
    uint64_t chars;
    const json_t *urls = json_object_get(payload, "urls");

    if (!urls)
        return task_problem_set(ret, TASK_PROBLEM_MISSING, "urls", "urls is missing");
    int rc = check_urls(urls, services->config, ret);
    if (rc == 0)
        rc = read_numbers(payload, services->config, &concurrency, &chars, ret);
    if (rc == 0)
        task_payload_keep(payload, used);
    return rc;
}

/* ---- on the fetch workers ---- */

static bool may_visit(const struct fetch *fetch, const struct fetch_target *target, struct err *err)
{
    const struct fan_out *fan_out = fetch->arg;

    return hosts_allow_target(&fan_out->config->tasks.allowed_hosts, "tasks", target, err);
}

static void on_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct fan_out *fan_out = arg;

    (void)gather;
    (void)part;
    task_progress(fan_out->task, (double)++fan_out->ended / (double)fan_out->count);
}

static void on_gather_done(struct gather *gather, void *arg)
{
    struct fan_out *fan_out = arg;

    (void)gather;
    task_resume(fan_out->task);
}

/* ---- the start ---- */

static void release(void *state)
{
    struct fan_out *fan_out = state;

    gather_unref(fan_out->gather);
    for (size_t i = 0; i < fan_out->count; i++)
        fetch_target_free(fan_out->targets[i]);
    free(fan_out);
}

static int create_targets(struct fan_out *fan_out, const json_t *urls, struct err *err)
{
    for (size_t i = 0; i < fan_out->count; i++) {
        int rc = fetch_target_create(json_string_value(json_array_get(urls, i)), &fan_out->targets[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int create_gather(struct fan_out *fan_out, const struct task_run *run, unsigned concurrency,
                         struct err *err)
{
    struct url_list *list;
    struct url_list_options options = {
        .upstreams = run->services->upstreams,
        .targets = fan_out->targets,
        .count = fan_out->count,
        .max_concurrency = concurrency,
        .keep_max_bytes =
            MIN(gather_keep_bytes(fan_out->content_chars),
                gather_keep_bytes(run->services->config->tasks.max_result_bytes / fan_out->count)),
        .deadline_ns = CLOCK_NEVER,
        .may_visit = may_visit,
        .fetch_arg = fan_out,
        .part_ended = on_part_ended,
        .done = on_gather_done,
        .arg = fan_out,
    };

    int rc = url_list_create(&options, &list, err);
    if (rc == 0)
        fan_out->gather = url_list_gather(list);
    return rc;
}

static struct fan_out *fan_out_create(const struct task_run *run, size_t count, size_t content_chars)
{
    struct fan_out *fan_out = calloc(1, sizeof(*fan_out) + count * sizeof(fan_out->targets[0]));

    if (!fan_out)
        return NULL;
    fan_out->config = run->services->config;
    fan_out->task = run->task;
    fan_out->start_ns = clock_now_ns();
    fan_out->content_chars = content_chars;
    fan_out->count = count;
    return fan_out;
}

/* The configuration may be another than when the task was checked.  What `done` may free is not touched after
 * gather_start: the gather holds on to itself, this one is freed after the step has returned. */
static enum task_step start(struct task_run *run)
{
    const json_t *urls = json_object_get(run->payload, "urls");
    struct task_problem problem;
    struct err err;
    uint64_t concurrency;
    uint64_t chars;

    if (check_urls(urls, run->services->config, &problem) < 0 ||
        read_numbers(run->payload, run->services->config, &concurrency, &chars, &problem) < 0)
        return task_run_fail(run, true, "%s", problem.text);
    struct fan_out *fan_out = fan_out_create(run, json_array_size(urls), (size_t)chars);
    if (!fan_out)
        return task_run_fail(run, false, "out of memory");
    run->state = fan_out;
    if (create_targets(fan_out, urls, &err) < 0 ||
        create_gather(fan_out, run, (unsigned)concurrency, &err) < 0)
        return task_run_fail(run, false, "%s", err.text);
    gather_start(fan_out->gather);
    return TASK_STEP_PENDING;
}

/* ---- the result ---- */

/* Written with fewer characters of each content when it would be more than a result may have. */
static void write_results(const struct fan_out *fan_out, uint64_t total_ns, struct buf *out)
{
    size_t chars = fan_out->content_chars;

    gather_append_results(out, fan_out->gather, chars, total_ns);
    while (out->failed && chars > 0) {
        chars /= 2;
        buf_done(out);
        gather_append_results(out, fan_out->gather, chars, total_ns);
    }
}

static enum task_step finish(struct task_run *run, const struct fan_out *fan_out)
{
    size_t max_bytes = run->services->config->tasks.max_result_bytes;
    /* A number may be written longer when all is written again. */
    cleanup(buf_done) struct buf text = BUF_INIT(max_bytes - MIN(max_bytes / 2, (fan_out->count + 1) * 16));

    write_results(fan_out, clock_now_ns() - fan_out->start_ns, &text);
    if (text.failed)
        return task_run_fail(run, true, "the results have more than tasks.max_result (%zu bytes)", max_bytes);
    return task_run_done(run, json_loadb(text.data, text.size, JSON_ALLOW_NUL, NULL));
}

static enum task_step step(struct task_run *run)
{
    return run->state ? finish(run, run->state) : start(run);
}

static void abort_fan_out(void *state)
{
    struct fan_out *fan_out = state;

    gather_cancel(fan_out->gather);
}

const struct task_kind kind_fan_out = {
    .name = "fan_out",
    .check = check,
    .step = step,
    .abort = abort_fan_out,
    .release = release,
};
