/* GET /concurrent_requests/: all configured URLs at once, the answer when the last one has ended. */
#include <stdlib.h>

#include "api/api_int.h"
#include "base/clock.h"
#include "gather/results.h"
#include "gather/url_list.h"

#define ANSWER_MAX_BYTES ((size_t)1024 * 1024 * 1024)

struct fan_out {
    struct request *req;
    struct gather *gather;
    uint64_t start_ns;
};

static void answer(struct request *req, void *arg)
{
    struct fan_out *fan_out = arg;
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);

    gather_append_results(&body, fan_out->gather, app_of(req)->config->concurrent_requests.content_chars,
                          clock_now_ns() - fan_out->start_ns);
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
    struct url_list *list;
    struct url_list_options options = {
        .upstreams = app->upstreams,
        .targets = app->targets,
        .count = app->config->concurrent_requests.urls.count,
        .max_concurrency = app->config->concurrent_requests.max_concurrency,
        .keep_max_bytes = gather_keep_bytes(app->config->concurrent_requests.content_chars),
        .deadline_ns = CLOCK_NEVER,
        .done = on_gather_done,
        .arg = fan_out,
    };
    if (url_list_create(&options, &list, NULL) < 0) {
        free(fan_out);
        return NULL;
    }
    fan_out->gather = url_list_gather(list);
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
