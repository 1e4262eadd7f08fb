/* GET /concurrent_requests/: all configured URLs at once, the answer when the last one has ended. */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "gather/gather.h"

/* Bytes that may be needed for one character, and for what stands before the first: a byte order mark, shift
 * sequences. */
#define BYTES_PER_CHAR 8
#define BYTES_BEFORE   64

#define ANSWER_MAX_BYTES ((size_t)1024 * 1024 * 1024)

struct fan_out {
    struct request *req;
    struct gather *gather;
    uint64_t start_ns;
};

/* ---- the answer, written as text: building it as a tree of values first costs as much as a fetch ---- */

static void append_string(struct buf *out, const char *name, const char *text, size_t size)
{
    buf_append_str(out, name);
    json_append_string(out, text, size);
}

static void append_content(struct buf *out, const struct fetch *fetch, size_t content_chars, struct buf *text)
{
    text->size = 0;
    text_decode_prefix(fetch->charset, fetch->body.data, fetch->body.size, fetch->body_is_whole,
                       content_chars, text);
    append_string(out, ",\"content\":", text->data, text->size);
}

static void append_error(struct buf *out, const struct fetch *fetch, struct buf *text)
{
    text->size = 0;
    text_decode_prefix(NULL, fetch->error, strlen(fetch->error), false, sizeof(fetch->error), text);
    append_string(out, ",\"error\":", text->data, text->size);
    append_string(out, ",\"reason\":", fetch_reason_names[fetch->reason],
                  strlen(fetch_reason_names[fetch->reason]));
}

static void append_result(struct buf *out, const struct fetch *fetch, size_t content_chars, struct buf *text)
{
    const char *url = fetch_target_url(fetch->target);

    append_string(out, "{\"url\":", url, strlen(url));
    if (fetch->status != 0)
        buf_printf(out, ",\"status\":%d", fetch->status);
    if (fetch->reason == FETCH_OK)
        append_content(out, fetch, content_chars, text);
    else
        append_error(out, fetch, text);
    buf_append_str(out, ",\"elapsed\":");
    json_append_seconds(out, fetch->elapsed_ns);
    buf_append_str(out, "}");
}

static void build_answer(const struct fan_out *fan_out, size_t content_chars, struct buf *body)
{
    cleanup(buf_done) struct buf text = BUF_INIT(content_chars * 4 + sizeof(((struct fetch *)0)->error) * 3);

    buf_append_str(body, "{\"results\":[");
    for (size_t i = 0; i < gather_count(fan_out->gather); i++) {
        if (i > 0)
            buf_append_str(body, ",");
        append_result(body, gather_result(fan_out->gather, i), content_chars, &text);
    }
    buf_append_str(body, "],\"total_time\":");
    json_append_seconds(body, clock_now_ns() - fan_out->start_ns);
    buf_append_str(body, "}");
    body->failed |= text.failed;
}

static void answer(struct request *req, void *arg)
{
    struct fan_out *fan_out = arg;
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);

    build_answer(fan_out, app_of(req)->config->concurrent_requests.content_chars, &body);
    gather_unref(fan_out->gather);
    free(fan_out);
    request_reply_buf(req, 200, "application/json", &body);
}

/* ---- the work ---- */

static void on_gather_done(struct gather *gather, void *arg)
{
    struct fan_out *fan_out = arg;

    (void)gather;
    request_resume(fan_out->req, answer, fan_out);
}

static void on_hangup(void *arg)
{
    gather_cancel(arg);
}

static void on_release(void *arg)
{
    gather_unref(arg);
}

static struct fan_out *create(struct request *req)
{
    const struct app *app = app_of(req);
    struct fan_out *fan_out = calloc(1, sizeof(*fan_out));

    if (!fan_out)
        return NULL;
    fan_out->req = req;
    fan_out->start_ns = clock_now_ns();
    struct gather_options options = {
        .pool = app->fetch,
        .targets = app->targets,
        .count = app->config->concurrent_requests.urls.count,
        .max_concurrency = app->config->concurrent_requests.max_concurrency,
        .keep_max_bytes =
            (size_t)app->config->concurrent_requests.content_chars * BYTES_PER_CHAR + BYTES_BEFORE,
        .done = on_gather_done,
        .arg = fan_out,
    };
    if (gather_create(&options, &fan_out->gather, NULL) < 0) {
        free(fan_out);
        return NULL;
    }
    return fan_out;
}

void concurrent_get(struct request *req)
{
    struct fan_out *fan_out = create(req);

    if (!fan_out) {
        request_problem(req, 503, "out of memory");
        return;
    }
    struct gather *gather = gather_ref(fan_out->gather);
    struct request_wait wait = {.hangup = on_hangup, .release = on_release, .arg = gather_ref(gather)};
    request_suspend(req, &wait);
    gather_start(gather); /* `fan_out` may be gone when it returns */
    gather_unref(gather);
}
