/* /concurrent_requests/: URLs at once, those of the configuration (GET) or of the client's own (POST). */
#include <stdlib.h>

#include "api/api_int.h"
#include "api/client_urls.h"
#include "api/exchange.h"
#include "base/json.h"
#include "gather/results.h"
#include "gather/url_list.h"

struct fan_out {
    struct exchange exchange;
    size_t content_chars;
    struct client_urls urls; /* of POST */
};

/* ---- the answer ---- */

static const struct fan_out *fan_out_of(const struct exchange *exchange)
{
    return container_of(exchange, const struct fan_out, exchange);
}

static int append_answer(struct buf *out, struct request *req, const struct exchange *exchange)
{
    (void)req;
    gather_append_results(out, exchange->gather, fan_out_of(exchange)->content_chars,
                          exchange_elapsed_ns(exchange));
    return 200;
}

static void append_part(struct buf *out, const struct exchange *exchange, const struct part *part)
{
    gather_append_result(out, part, fan_out_of(exchange)->content_chars);
}

static void append_summary(struct buf *out, const struct exchange *exchange)
{
    buf_append_str(out, "{\"total_time\":");
    json_append_seconds(out, exchange_elapsed_ns(exchange));
    buf_append_str(out, "}");
}

static const struct exchange_ops ops = {
    .append_answer = append_answer,
    .append_part = append_part,
    .append_summary = append_summary,
};

/* ---- the work ---- */

static void on_done(struct gather *gather, void *arg)
{
    (void)gather;
    exchange_end(arg);
}

static void fan_out_free(struct fan_out *fan_out)
{
    client_urls_done(&fan_out->urls);
    exchange_done(&fan_out->exchange);
    free(fan_out);
}

static void on_release(void *arg)
{
    fan_out_free(container_of(arg, struct fan_out, exchange));
}

/* NULL when the request has been answered. */
static struct fan_out *create(struct request *req)
{
    struct fan_out *fan_out = calloc(1, sizeof(*fan_out));

    if (!fan_out) {
        request_problem(req, 503, "out of memory");
        return NULL;
    }
    fan_out->content_chars = app_of(req)->config->concurrent_requests.content_chars;
    if (exchange_init(&fan_out->exchange, &ops, req))
        return fan_out;
    free(fan_out);
    return NULL;
}

/* A fetch that has waited for fetch.timeout has had its time, so that a list takes no longer than those it is
 * fetched in: with max_concurrency one after the other.  Beyond that nothing is tried again; the slack lets
 * the fetch end by its own time-out. */
#define SLACK_MS 10

static uint64_t deadline_ns(const struct config *config, uint64_t start_ns, size_t count)
{
    size_t at_once = config->concurrent_requests.max_concurrency;
    size_t rounds = at_once > 0 && count > at_once ? (count + at_once - 1) / at_once : 1;

    return clock_deadline_ns(start_ns, rounds * config->fetch.timeout_ms + SLACK_MS);
}

/* Takes the request and the fan-out, in any case.  `options` says which URLs. */
static void run(struct request *req, struct fan_out *fan_out, struct url_list_options options)
{
    struct app *app = app_of(req);
    struct url_list *list;

    options.upstreams = app->upstreams;
    options.max_concurrency = app->config->concurrent_requests.max_concurrency;
    options.keep_max_bytes = gather_keep_bytes(fan_out->content_chars);
    options.deadline_ns = deadline_ns(app->config, fan_out->exchange.start_ns, options.count);
    options.budget = &app->buffered;
    options.part_ended = exchange_part_ended;
    options.done = on_done;
    options.release = on_release;
    options.arg = &fan_out->exchange;
    if (url_list_create(&options, &list, NULL) < 0) {
        fan_out_free(fan_out);
        request_problem(req, 503, "out of memory");
        return;
    }
    exchange_run(&fan_out->exchange, url_list_gather(list));
}

void concurrent_get(struct request *req)
{
    const struct app *app = app_of(req);
    struct fan_out *fan_out = create(req);

    if (fan_out)
        run(req, fan_out,
            (struct url_list_options){.targets = app->targets,
                                      .count = app->config->concurrent_requests.urls.count});
}

void concurrent_post(struct request *req)
{
    struct fan_out *fan_out = create(req);

    if (!fan_out)
        return;
    if (!client_urls_read(req, &fan_out->urls)) {
        fan_out_free(fan_out);
        return;
    }
    run(req, fan_out,
        (struct url_list_options){.targets = fan_out->urls.targets,
                                  .count = fan_out->urls.count,
                                  .may_visit = client_urls_may_visit,
                                  .may_connect = client_urls_may_connect,
                                  .fetch_arg = app_of(req)});
}
