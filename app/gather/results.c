/* Written as text: building it as a tree of values first costs as much as a fetch. */
#include "gather/results.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "gather/http_part.h"

/* Bytes that may be needed for one character, and for what stands before the first: a byte order mark, shift
 * sequences. */
#define BYTES_PER_CHAR 8
#define BYTES_BEFORE   64

static void append_string(struct buf *out, const char *name, const char *text, size_t size)
{
    buf_append_str(out, name);
    json_append_string(out, text, size);
}

static void append_content(struct buf *out, const struct upstream_reply *reply, size_t content_chars,
                           struct buf *text)
{
    text->size = 0;
    text_decode_prefix(reply->charset, reply->body.data, reply->body.size, reply->body_is_whole,
                       content_chars, text);
    append_string(out, ",\"content\":", text->data, text->size);
}

static void append_error(struct buf *out, const char *error, enum fetch_reason reason, struct buf *text)
{
    text->size = 0;
    text_decode_prefix(NULL, error, strlen(error), false, FETCH_ERROR_SIZE, text);
    append_string(out, ",\"error\":", text->data, text->size);
    append_string(out, ",\"reason\":", fetch_reason_names[reason], strlen(fetch_reason_names[reason]));
}

static void append_reply(struct buf *out, const struct upstream_reply *reply, size_t content_chars,
                         struct buf *text)
{
    if (reply->status != 0)
        buf_printf(out, ",\"status\":%d", reply->status);
    if (reply->reason == FETCH_OK)
        append_content(out, reply, content_chars, text);
    else
        append_error(out, reply->error, reply->reason, text);
}

static void append_result(struct buf *out, const struct upstream_call *call, size_t content_chars,
                          struct buf *text)
{
    const char *url = fetch_target_url(call->target);

    append_string(out, "{\"url\":", url, strlen(url));
    if (call->reply)
        append_reply(out, call->reply, content_chars, text);
    else
        append_error(out, "cancelled before it began", FETCH_CANCELLED, text);
    buf_append_str(out, ",\"elapsed\":");
    json_append_seconds(out, call->elapsed_ns);
    buf_append_str(out, "}");
}

size_t gather_keep_bytes(size_t content_chars)
{
    return content_chars * BYTES_PER_CHAR + BYTES_BEFORE;
}

/* Room for the content of one result as UTF-8, or for its error. */
static struct buf text_buf(size_t content_chars)
{
    return (struct buf)BUF_INIT(content_chars * 4 + FETCH_ERROR_SIZE * 3);
}

void gather_append_result(struct buf *out, const struct part *part, size_t content_chars)
{
    cleanup(buf_done) struct buf text = text_buf(content_chars);

    append_result(out, &http_part_of(part)->call, content_chars, &text);
    out->failed |= text.failed;
}

void gather_append_results(struct buf *out, const struct gather *gather, size_t content_chars,
                           uint64_t total_ns)
{
    cleanup(buf_done) struct buf text = text_buf(content_chars);

    buf_append_str(out, "{\"results\":[");
    for (size_t i = 0; i < gather_count(gather); i++) {
        if (i > 0)
            buf_append_str(out, ",");
        append_result(out, &http_part_of(gather_ended(gather, i))->call, content_chars, &text);
    }
    buf_append_str(out, "],\"total_time\":");
    json_append_seconds(out, total_ns);
    buf_append_str(out, "}");
    out->failed |= text.failed;
}
