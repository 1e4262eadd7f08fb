/* The order of building: first the plain body, then its compressed form, then the header, which needs the
 * length, then the segments in the order in which they are sent. All text lies in one buffer, in the order of
 * building. */
#include "reply.h"

#include "control.h"
#include "record.h"
#include "tally.h"

/* The most a text can be: a request echoed as JSON, six bytes for one; the same compressed; the header. */
#define TEXT_MAX (16 * (REQUEST_HEAD_MAX + REQUEST_BODY_MAX))

static union {
    struct reply reply;
    char room[sizeof(struct reply) + TEXT_MAX];
} draft;

static struct params params;

static const char *const reasons[600] = {
    [100] = "Continue",
    [101] = "Switching Protocols",
    [103] = "Early Hints",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [204] = "No Content",
    [206] = "Partial Content",
    [300] = "Multiple Choices",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [418] = "I'm a teapot",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [425] = "Too Early",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [451] = "Unavailable For Legal Reasons",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
};

static struct slice reason(uint64_t status)
{
    const char *text = reasons[status] ? reasons[status] : "Unnamed";
    return (struct slice){text, strlen(text)};
}

static void add_line(struct text *text, struct slice name, struct slice value)
{
    text_add(text, name);
    text_add(text, value);
    text_add(text, SLICE("\r\n"));
}

/* ---- bodies ---- */

static void add_default_body(struct text *text, const struct request *request)
{
    text_add(text, SLICE("path "));
    text_add(text, request->path);
    text_add(text, SLICE(" after "));
    text_add_ms(text, params.delay_ns);
    text_add(text, SLICE(" ms\n"));
}

static struct content make_body(struct text *text, const struct request *request)
{
    size_t start = text->len;
    if (params.echo) {
        request_add_json(request, text);
    } else if (params.json.at) {
        text_add(text, params.json);
    } else if (params.body.at) {
        text_add(text, params.body);
    } else if (params.zeros) {
        return content_of_zeros(params.size != PARAMS_NOT_GIVEN ? params.size : 0);
    } else if (params.size != PARAMS_NOT_GIVEN) {
        return content_of_pattern(params.size);
    } else {
        add_default_body(text, request);
    }
    return content_of_text(start, text->len - start);
}

/* ---- the header ---- */

/* The target of the request with one redirect less. */
static void add_next_redirect(struct text *text, const struct request *request)
{
    text_add(text, SLICE("Location: "));
    text_add(text, request->path);
    struct slice separator = SLICE("?");
    for (struct slice query = request->query; query.len > 0; separator = SLICE("&")) {
        struct slice value = slice_take(&query, '&');
        struct slice pair = value;
        text_add(text, separator);
        if (slice_is(slice_take(&value, '='), SLICE("redirect"))) {
            text_add_member(text, SLICE("redirect="), params.redirect - 1);
        } else {
            text_add(text, pair);
        }
    }
    text_add(text, SLICE("\r\n"));
}

static struct slice key_of(const struct request *request)
{
    return params.key.at ? params.key : request->path;
}

/* Requests without a key are only counted when the count decides something. */
static uint64_t count_request(const struct request *request)
{
    bool has_to_count = params.key.at || params.fail != PARAMS_NOT_GIVEN || params.slow_every > 0;
    return has_to_count ? tally_add(key_of(request)) : 0;
}

/* What the count of its key makes of a request. */
static void apply_slow(uint64_t number)
{
    if (params.slow_every > 0 && number % params.slow_every == 0) {
        params.delay_ns = params.slow_delay_ns;
    }
}

/* The status of a request that is the `number`th of its key. */
static void apply_fail(uint64_t number)
{
    if (params.fail == PARAMS_NOT_GIVEN) {
        return;
    }
    if (number > params.fail) {
        params.status = 200;
    } else if (params.status == PARAMS_NOT_GIVEN) {
        params.status = 503;
    }
}

static uint64_t choose_status(void)
{
    if (params.redirect > 0) {
        return 302;
    }
    return params.status != PARAMS_NOT_GIVEN ? params.status : params.redirect_to.at ? 302 : 200;
}

static bool status_has_body(uint64_t status)
{
    return status >= 200 && status != 204 && status != 304;
}

static struct slice default_type(void)
{
    return params.json.at || params.echo ? SLICE("application/json") : SLICE("text/plain; charset=utf-8");
}

static void add_body_headers(struct text *text, uint64_t len)
{
    add_line(text, SLICE("Content-Type: "), params.type.at ? params.type : default_type());
    if (params.chunked || params.badchunk) {
        text_add(text, SLICE("Transfer-Encoding: chunked\r\n"));
    } else {
        text_add_member(text, SLICE("Content-Length: "),
                        params.length != PARAMS_NOT_GIVEN ? params.length : len);
        text_add(text, SLICE("\r\n"));
    }
    if (params.gzip) {
        text_add(text, SLICE("Content-Encoding: gzip\r\n"));
    }
}

static void add_connection_header(struct text *text, const struct request *request)
{
    if (params.close || !request->keep_alive) {
        text_add(text, SLICE("Connection: close\r\n"));
    } else if (request->old) {
        text_add(text, SLICE("Connection: keep-alive\r\n"));
    }
}

static void add_head(struct text *text, const struct request *request, uint64_t status, uint64_t body_len)
{
    text_add(text, SLICE("HTTP/1.1 "));
    text_add_number(text, status, 10);
    add_line(text, SLICE(" "), reason(status));
    if (status_has_body(status)) {
        add_body_headers(text, body_len);
    }
    if (params.redirect > 0) {
        add_next_redirect(text, request);
    } else if (params.redirect_to.at) {
        add_line(text, SLICE("Location: "), params.redirect_to);
    }
    if (params.retry_after.at && status >= 300) {
        add_line(text, SLICE("Retry-After: "), params.retry_after);
    }
    for (unsigned i = 0; i < params.header_count; i++) {
        add_line(text, SLICE(""), params.headers[i]);
    }
    add_connection_header(text, request);
    text_add(text, SLICE("\r\n"));
}

/* ---- segments ---- */

static struct reply *draft_start(struct text *ret_text)
{
    struct reply *reply = &draft.reply;
    *reply = (struct reply){.counted = true};
    *ret_text = (struct text){reply->text, 0, TEXT_MAX};
    return reply;
}

static void add_segment(struct reply *reply, struct segment segment)
{
    reply->segments[reply->segment_count++] = segment;
    reply->total += segment.len;
}

/* The text from `start` on. */
static void add_text(struct reply *reply, const struct text *text, size_t start)
{
    add_segment(reply, (struct segment){NULL, start, text->len - start, SEGMENT_NO_PERIOD});
}

static void add_content(struct reply *reply, const struct content *content, uint64_t from, uint64_t until)
{
    for (unsigned i = 0; i < content->count; i++) {
        struct segment part = content->parts[i];
        uint64_t len = part.len;
        if (from < len && until > 0) {
            part.start += from;
            part.len = (until < len ? until : len) - from;
            add_segment(reply, part);
        }
        from = from < len ? 0 : from - len;
        until = until < len ? 0 : until - len;
    }
}

static void add_chunk_size(struct reply *reply, struct text *text, struct slice before, uint64_t size)
{
    size_t start = text->len;
    text_add(text, before);
    text_add_number(text, size, 16);
    text_add(text, size > 0 ? SLICE("\r\n") : SLICE("\r\n\r\n"));
    add_text(reply, text, start);
}

static void add_chunks(struct reply *reply, struct text *text, const struct content *body)
{
    struct slice before = SLICE("");
    uint64_t middle = body->len - body->len / 2;
    if (middle > 0) {
        add_chunk_size(reply, text, before, middle);
        add_content(reply, body, 0, middle);
        before = SLICE("\r\n");
    }
    if (middle < body->len) {
        add_chunk_size(reply, text, params.badchunk ? SLICE("\r\nno size ") : before, body->len - middle);
        add_content(reply, body, middle, body->len);
    }
    add_chunk_size(reply, text, before, 0);
}

/* ---- the whole ---- */

static void break_off(struct reply *reply)
{
    static const struct {
        unsigned head_halves, body_halves;
    } sent[HANGUP_COUNT] = {
        [HANGUP_NEVER] = {2, 2},
        [HANGUP_BEFORE] = {0, 0},
        [HANGUP_HEADER] = {1, 0},
        [HANGUP_BODY] = {2, 1},
    };
    enum hangup hangup = params.reset && params.hangup == HANGUP_NEVER ? HANGUP_BEFORE : params.hangup;
    uint64_t body_len = reply->total - reply->head_len;
    reply->total = reply->head_len * sent[hangup].head_halves / 2 + body_len * sent[hangup].body_halves / 2;
}

static enum reply_end choose_end(const struct request *request)
{
    if (params.reset) {
        return REPLY_END_RESET;
    }
    /* after a lie about the length of the answer the peer and we disagree on where the next one begins */
    bool lied = params.length != PARAMS_NOT_GIVEN || params.badchunk || params.garbage;
    bool close = params.close || params.hangup != HANGUP_NEVER || lied || !request->keep_alive;
    return close ? REPLY_END_CLOSE : REPLY_END_KEEP;
}

static struct reply *draft_finish(struct reply *reply, const struct text *text)
{
    reply->text_len = text->len;
    return reply;
}

static void add_answer(struct reply *reply, struct text *text, const struct request *request,
                       const struct content *body)
{
    uint64_t status = choose_status();
    size_t start = text->len;
    add_head(text, request, status, body->len);
    add_text(reply, text, start);
    reply->head_len = reply->total;
    if (!status_has_body(status) || slice_is(request->method, SLICE("HEAD"))) {
        return;
    }
    if (params.chunked || params.badchunk) {
        add_chunks(reply, text, body);
    } else {
        add_content(reply, body, 0, body->len);
    }
}

/* The text is only borrowed. */
static void remember(const struct request *request, uint64_t key, const struct text *text)
{
    struct text json = *text;
    if (params.record) {
        request_add_json(request, &json);
        record_request(key, (struct slice){text->at + text->len, json.len - text->len});
    }
}

static struct reply *build_from_params(const struct request *request)
{
    struct text text;
    struct reply *reply = draft_start(&text);
    uint64_t number = count_request(request);
    apply_fail(number);
    apply_slow(number);
    reply->key = tally_hash(key_of(request));
    remember(request, reply->key, &text);
    reply->delay_ns = params.delay_ns;
    reply->drip_ns = params.drip_ns;
    reply->drip_header_ns = params.drip_header_ns;
    reply->stall = params.stall;
    reply->end = choose_end(request);
    if (params.garbage) {
        text_add(&text, SLICE("\x16\x03\x01 this is not HTTP\n"));
        add_text(reply, &text, 0);
    } else {
        struct content body = make_body(&text, request);
        if (params.gzip) {
            body = content_gzip(&body, &text);
        }
        add_answer(reply, &text, request, &body);
    }
    break_off(reply);
    return draft_finish(reply, &text);
}

/* Answers with `status` and the text already in the draft. */
static struct reply *build_plain(struct reply *reply, struct text *text, const struct request *request,
                                 unsigned status, struct slice type)
{
    struct content body = content_of_text(0, text->len);
    params_parse(&params, SLICE(""), NULL);
    params.status = status;
    params.type = type;
    reply->end = request->keep_alive ? REPLY_END_KEEP : REPLY_END_CLOSE;
    add_answer(reply, text, request, &body);
    return draft_finish(reply, text);
}

bool reply_wants_body(const struct request *request)
{
    struct text wrong;
    draft_start(&wrong);
    return request->content_length <= REQUEST_BODY_MAX && control_parse(&params, request, &wrong) &&
           (params.echo || params.record);
}

struct reply *reply_build(const struct request *request, const struct stats *stats)
{
    struct text text;
    struct reply *reply = draft_start(&text);
    unsigned status;
    if (control_answer(request, stats, &text, &status)) {
        reply->counted = false;
        return build_plain(reply, &text, request, status,
                           status == 200 ? SLICE("application/json") : SLICE("text/plain; charset=utf-8"));
    }
    if (!control_parse(&params, request, &text)) {
        return build_plain(reply, &text, request, 400, SLICE("text/plain; charset=utf-8"));
    }
    return build_from_params(request);
}

struct reply *reply_build_error(unsigned status)
{
    const struct request nobody = {0};
    struct text text;
    struct reply *reply = draft_start(&text);
    add_line(&text, SLICE(""), reason(status));
    build_plain(reply, &text, &nobody, status, SLICE("text/plain; charset=utf-8"));
    reply->end = REPLY_END_LINGER;
    return reply;
}

struct reply *reply_keep(struct reply *reply)
{
    if (reply != &draft.reply) {
        return reply;
    }
    struct reply *copy = malloc(sizeof *reply + reply->text_len);
    if (!copy) {
        perror("mock-upstream: reply");
        abort();
    }
    return memcpy(copy, reply, sizeof *reply + reply->text_len);
}

void reply_free(struct reply *reply)
{
    if (reply != &draft.reply) {
        free(reply);
    }
}

/* ---- sending ---- */

int64_t reply_pace(const struct reply *reply, uint64_t from, uint64_t *ret_until)
{
    bool in_head = from < reply->head_len;
    int64_t pause_ns = in_head ? reply->drip_header_ns : reply->drip_ns;
    if (pause_ns > 0) {
        *ret_until = from + 1;
    } else {
        *ret_until =
            in_head && reply->drip_ns > 0 && reply->head_len < reply->total ? reply->head_len : reply->total;
    }
    return pause_ns;
}

int reply_vectors(const struct reply *reply, uint64_t from, uint64_t until, struct iovec *vectors, int max)
{
    int count = 0;
    for (unsigned i = 0; i < reply->segment_count && until > 0; i++) {
        const struct segment *segment = &reply->segments[i];
        const char *data = segment->data ? segment->data : reply->text;
        uint64_t end = until < segment->len ? until : segment->len;
        while (from < end && count < max) {
            uint64_t at = (segment->start + from) % segment->period;
            uint64_t run = segment->period - at < end - from ? segment->period - at : end - from;
            vectors[count++] = (struct iovec){(void *)(uintptr_t)(data + at), (size_t)run};
            from += run;
        }
        from = from > segment->len ? from - segment->len : 0;
        until -= end;
    }
    return count;
}
