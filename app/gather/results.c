/* Written as text: building it as a tree of values first costs as much as a fetch. */
#include "gather/results.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"

/* Bytes that may be needed for one character, and for what stands before the first: a byte order mark, shift
 * sequences. */
#define BYTES_PER_CHAR 8
#define BYTES_BEFORE   64

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

size_t gather_keep_bytes(size_t content_chars)
{
    return content_chars * BYTES_PER_CHAR + BYTES_BEFORE;
}

void gather_append_results(struct buf *out, const struct gather *gather, size_t content_chars,
                           uint64_t total_ns)
{
    cleanup(buf_done) struct buf text = BUF_INIT(content_chars * 4 + sizeof(((struct fetch *)0)->error) * 3);

    buf_append_str(out, "{\"results\":[");
    for (size_t i = 0; i < gather_count(gather); i++) {
        if (i > 0)
            buf_append_str(out, ",");
        append_result(out, gather_result(gather, i), content_chars, &text);
    }
    buf_append_str(out, "],\"total_time\":");
    json_append_seconds(out, total_ns);
    buf_append_str(out, "}");
    out->failed |= text.failed;
}
