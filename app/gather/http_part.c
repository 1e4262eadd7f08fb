#include "gather/http_part.h"

#define SUBMIT_BATCH 64

static void on_call_done(struct upstream_call *call)
{
    struct http_part *http = container_of(call, struct http_part, call);

    part_end(&http->part, call->reply->reason == FETCH_OK);
}

static void start(struct part **parts, size_t count)
{
    const struct http_context *context = gather_arg(parts[0]->gather);
    struct upstream_call *calls[SUBMIT_BATCH];

    while (count > 0) {
        size_t size = MIN(count, ARRAY_LEN(calls));
        for (size_t i = 0; i < size; i++) {
            calls[i] = &http_part_of(parts[i])->call;
            calls[i]->done = on_call_done;
        }
        upstream_submit(context->upstreams, calls, size);
        parts += size;
        count -= size;
    }
}

static void cancel(struct part *part)
{
    upstream_cancel(&http_part_of(part)->call);
}

const struct part_ops http_part_ops = {.start = start, .cancel = cancel};
