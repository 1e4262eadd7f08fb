/* Two ways to answer.
 *
 * All at once: the request is suspended with one reference to the gather for who tells of a hang-up, and
 * resumed by the gather's end, whose reference goes on to the answer.
 *
 * As a stream: the work and the stream have a reference to the gather each, and the work one to the stream.
 * The work only counts what has ended and wakes the stream, which asks for text when its reader has taken
 * what was there before (stream.h).  So the text of no more than one part is held beside the parts
 * themselves, and no fetch worker writes JSON. */
#include "api/exchange.h"

#include <string.h>

#include "api/api_int.h"

#define ANSWER_MAX_BYTES ((size_t)1024 * 1024 * 1024)

/* Of text that is handed to the stream at once. */
#define PIECE_BYTES ((size_t)64 * 1024)

/* ---- all at once ---- */

static void answer(struct request *req, void *arg)
{
    struct exchange *exchange = arg;
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);

    int status = exchange->ops->append_answer(&body, req, exchange);
    gather_unref(exchange->gather); /* with all that the body was made of, unless a hang-up is being told */
    request_reply_buf(req, status, reply_format_types[REPLY_JSON], &body);
}

static void on_hangup(void *arg)
{
    gather_cancel(arg);
}

static void on_release(void *arg)
{
    gather_unref(arg);
}

static void run_at_once(struct exchange *exchange)
{
    struct gather *gather = gather_ref(exchange->gather);
    struct request_wait wait = {.hangup = on_hangup, .release = on_release, .arg = gather_ref(gather)};

    request_suspend(exchange->req, &wait);
    gather_start(gather); /* `exchange` may be gone when it returns */
    gather_unref(gather);
}

/* ---- events ---- */

/* JSON without line breaks, in the frame of the format. */
static void append_event(struct exchange *exchange, const char *name, const struct part *part)
{
    struct buf *event = &exchange->event;
    bool is_named = exchange->format == REPLY_EVENTS;

    if (is_named)
        buf_printf(event, "event: %s\ndata: ", name);
    if (part)
        exchange->ops->append_part(event, exchange, part);
    else
        exchange->ops->append_summary(event, exchange);
    buf_append_str(event, is_named ? "\n\n" : "\n");
}

/* Makes the text of the next event; false when there is none, or not yet. */
static bool next_event(struct exchange *exchange)
{
    bool is_done = atomic_load(&exchange->is_done); /* first: when it is, all have ended */
    size_t ended = atomic_load(&exchange->ended);

    buf_done(&exchange->event);
    exchange->written = 0;
    if (exchange->told < ended) {
        append_event(exchange, "part", gather_ended(exchange->gather, exchange->told));
        exchange->told++;
    } else if (is_done && !exchange->is_told_all) {
        append_event(exchange, "summary", NULL);
        exchange->is_told_all = true;
    } else {
        return false;
    }
    return true;
}

static size_t write_piece(struct request_stream *stream, struct exchange *exchange)
{
    const struct buf *event = &exchange->event;
    size_t size = MIN(event->size - exchange->written, PIECE_BYTES);

    request_stream_write(stream, event->data + exchange->written, size);
    exchange->written += size;
    return size;
}

/* An event that there is no memory for ends the answer without a summary: a part that is left out is not to
 * be taken for one that never was. */
static bool is_over(const struct exchange *exchange)
{
    return exchange->event.failed || (exchange->is_told_all && exchange->written == exchange->event.size);
}

static void on_fill(struct request_stream *stream, void *arg)
{
    struct exchange *exchange = arg;
    size_t size = 0;

    while (size < PIECE_BYTES && !is_over(exchange) &&
           (exchange->written < exchange->event.size || next_event(exchange)))
        size += exchange->event.failed ? 0 : write_piece(stream, exchange);
    if (is_over(exchange))
        request_stream_end(request_stream_ref(stream)); /* the work's own is not ours to give */
    else if (size >= PIECE_BYTES)
        request_stream_wake(stream);
}

static void on_stop(void *arg)
{
    struct exchange *exchange = arg;

    gather_cancel(exchange->gather);
}

static void on_closed(void *arg)
{
    struct exchange *exchange = arg;

    gather_cancel(exchange->gather);
    gather_unref(exchange->gather);
}

static void run_as_stream(struct exchange *exchange)
{
    struct request_stream_source source = {
        .fill = on_fill, .stop = on_stop, .closed = on_closed, .arg = exchange};
    struct gather *gather = gather_ref(exchange->gather);

    gather_ref(gather); /* the stream's */
    exchange->stream = request_stream_pull(exchange->req, reply_format_types[exchange->format], &source);
    if (exchange->stream) {
        gather_start(gather); /* `exchange` may be gone when it returns */
    } else {
        gather_unref(gather);
        gather_unref(gather);
    }
    gather_unref(gather);
}

/* ---- the work ---- */

void exchange_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct exchange *exchange = arg;

    (void)gather;
    (void)part;
    if (!exchange->stream)
        return;
    atomic_fetch_add(&exchange->ended, 1);
    request_stream_wake(exchange->stream);
}

void exchange_end(struct exchange *exchange)
{
    struct request_stream *stream = exchange->stream;

    if (!stream) {
        request_resume(exchange->req, answer, exchange);
        return;
    }
    atomic_store(&exchange->is_done, true);
    request_stream_wake(stream);
    request_stream_unref(stream);
    gather_unref(exchange->gather);
}

/* ---- beginning ---- */

bool exchange_init(struct exchange *exchange, const struct exchange_ops *ops, struct request *req)
{
    request_add_header(req, "Vary", "Accept");
    *exchange = (struct exchange){
        .ops = ops,
        .start_ns = clock_now_ns(),
        .req = req,
        .format = accept_choose(request_param(req, "HTTP_ACCEPT")),
        .event = BUF_INIT(ANSWER_MAX_BYTES),
    };
    if (exchange->format != REPLY_FORMAT_COUNT)
        return true;
    request_problem(req, 406, "the answer can be had as %s, %s or %s", reply_format_types[REPLY_JSON],
                    reply_format_types[REPLY_NDJSON], reply_format_types[REPLY_EVENTS]);
    return false;
}

void exchange_done(struct exchange *exchange)
{
    buf_done(&exchange->event);
}

void exchange_run(struct exchange *exchange, struct gather *gather)
{
    exchange->gather = gather;
    if (exchange->format == REPLY_JSON)
        run_at_once(exchange);
    else
        run_as_stream(exchange);
}
