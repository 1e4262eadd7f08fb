/* Kind `digest`: SHA-256 and size of a document, or of a text that is repeated: computing, and so with a
 * thread of its own.  While a document is fetched it holds none. */
#include "tasks/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/http_call.h"
#include "tasks/payload.h"
#include "tasks/sha256.h"

#define REPEAT_MAX     1000000000
#define SIZE_MAX_BYTES (UINT64_C(1) << 40)

/* Text is repeated in a buffer of at least this size, so that short ones do not cost a call each. */
#define BUFFER_MIN_BYTES ((size_t)64 * 1024)

/* So much is computed between two looks at whether to go on: a fraction of a millisecond. */
#define SLICE_BYTES ((size_t)256 * 1024)

/* ---- the payload ---- */

static int check_repeat(const json_t *payload, const char *text, uint64_t *ret_repeat,
                        struct task_problem *problem)
{
    *ret_repeat = 1;
    int rc = task_payload_number(payload, "repeat", 1, REPEAT_MAX, ret_repeat, problem);
    if (rc == 0 && strlen(text) > SIZE_MAX_BYTES / *ret_repeat)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "repeat",
                                "repeat: text times repeat may have at most 1 TiB");
    return rc;
}

/* Either `url` or `text` and `repeat`; the other is NULL. */
struct source {
    const char *url;
    const char *text;
    uint64_t repeat;
};

static int read_source(const json_t *payload, const struct config *config, struct source *ret,
                       struct task_problem *problem)
{
    *ret = (struct source){.url = NULL};
    int rc = task_payload_text(payload, "url", &ret->url, problem);
    if (rc == 0)
        rc = task_payload_text(payload, "text", &ret->text, problem);
    if (rc < 0)
        return rc;
    if (!ret->url && !ret->text)
        return task_problem_set(problem, TASK_PROBLEM_MISSING, "url", "url or text is missing");
    if (ret->url && (ret->text || json_object_get(payload, "repeat")))
        return task_problem_set(problem, TASK_PROBLEM_INVALID, ret->text ? "text" : "repeat",
                                "there is a url, so text and repeat must not be there");
    return ret->url ? task_payload_check_url(config, "url", "url", ret->url, problem)
                    : check_repeat(payload, ret->text, &ret->repeat, problem);
}

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    static const char *const used[] = {"url", "text", "repeat", NULL};
    struct source source;
    int rc = read_source(payload, services->config, &source, ret);

    if (rc == 0)
        task_payload_keep(payload, used);
    return rc;
}

/* ---- computing ---- */

static enum task_step finish(struct task_run *run, struct sha256 *sha, uint64_t size)
{
    char hex[SHA256_HEX_SIZE];

    if (sha256_finish(sha, hex) < 0)
        return task_run_fail(run, false, "out of memory");
    return task_run_done(run, json_pack("{s:s, s:I}", "sha256", hex, "size", (json_int_t)size));
}

/* Bytes that are wanted again and again, and how often they fit in what is wanted. */
struct pattern {
    char *bytes;
    size_t size;
    size_t text_size;
};

/* As many copies of the text as make a buffer. */
static bool pattern_create(const char *text, uint64_t repeat, struct pattern *ret)
{
    size_t text_size = strlen(text);
    uint64_t copies = MIN(repeat, (BUFFER_MIN_BYTES + text_size - 1) / text_size);
    char *bytes = malloc((size_t)copies * text_size);

    if (!bytes)
        return false;
    for (size_t i = 0; i < copies; i++)
        memcpy(bytes + i * text_size, text, text_size);
    *ret = (struct pattern){.bytes = bytes, .size = (size_t)copies * text_size, .text_size = text_size};
    return true;
}

/* True when all of it is in; false when the task has to stop. */
static bool update_repeated(const struct task_run *run, struct sha256 *sha, const struct pattern *pattern,
                            uint64_t total)
{
    uint64_t at = 0;
    uint64_t looked_at = 0;

    while (at < total) {
        size_t size = (size_t)MIN(total - at, (uint64_t)pattern->size);
        sha256_update(sha, pattern->bytes, size);
        at += size;
        if (at - looked_at < SLICE_BYTES)
            continue;
        if (task_run_must_stop(run))
            return false;
        task_run_progress(run, (double)at / (double)total);
        looked_at = at;
    }
    return true;
}

static enum task_step digest_text(struct task_run *run, const char *text, uint64_t repeat)
{
    cleanup(sha256_done) struct sha256 sha = {0};
    struct pattern pattern = {.bytes = NULL};
    uint64_t total = strlen(text) * repeat;

    if (sha256_init(&sha) < 0 || (total > 0 && !pattern_create(text, repeat, &pattern)))
        return task_run_fail(run, false, "out of memory");
    bool is_whole = update_repeated(run, &sha, &pattern, total);
    free(pattern.bytes);
    return is_whole ? finish(run, &sha, total) : task_run_fail(run, false, "stopped before its end");
}

static enum task_step digest_document(struct task_run *run, const struct http_call *call)
{
    const struct fetch *fetch = http_call_fetch(call);
    cleanup(sha256_done) struct sha256 sha = {0};

    if (http_call_fail(call, run))
        return TASK_STEP_FAILED;
    if (sha256_init(&sha) < 0)
        return task_run_fail(run, false, "out of memory");
    if (fetch->body.size > 0)
        sha256_update(&sha, fetch->body.data, fetch->body.size);
    return finish(run, &sha, fetch->body.size);
}

/* ---- the steps ---- */

static enum task_step fetch_document(struct task_run *run, const char *url)
{
    struct http_call *call;
    struct err err;
    int rc = http_call_create(run, "GET", url, &call, &err);

    if (rc < 0)
        return task_run_fail(run, rc != -ENOMEM, "%s", err.text);
    run->state = call;
    http_call_keep(call, run->services->config->fetch.max_response_bytes);
    if (http_call_start(call, run, &err) < 0)
        return task_run_fail(run, false, "%s", err.text);
    return TASK_STEP_PENDING;
}

/* The configuration may be another than when the task was checked. */
static enum task_step start(struct task_run *run)
{
    struct task_problem problem;
    struct source source;

    if (read_source(run->payload, run->services->config, &source, &problem) < 0)
        return task_run_fail(run, true, "%s", problem.text);
    return source.url ? fetch_document(run, source.url) : digest_text(run, source.text, source.repeat);
}

static enum task_step step(struct task_run *run)
{
    return run->state ? digest_document(run, run->state) : start(run);
}

const struct task_kind kind_digest = {
    .name = "digest",
    .holds_thread = true,
    .check = check,
    .step = step,
    .abort = http_call_abort,
    .release = http_call_free,
};
