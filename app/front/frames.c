#include "front/frames.h"

#include <errno.h>
#include <string.h>

#include <fastcgi.h>

void frames_init(struct frames *frames)
{
    *frames = (struct frames){0};
}

struct record {
    unsigned type;
    uint16_t request_id;
    size_t content_size;
    size_t wire_size; /* header, content and padding */
};

static void read_record(const unsigned char *bytes, struct record *ret_record)
{
    size_t content = (size_t)bytes[4] << 8 | bytes[5];

    *ret_record = (struct record){
        .type = bytes[1],
        .request_id = (uint16_t)(bytes[2] << 8 | bytes[3]),
        .content_size = content,
        .wire_size = FCGI_HEADER_LEN + content + bytes[6],
    };
}

static enum frames_status on_begin(struct frames *frames, const struct record *record,
                                   const unsigned char *bytes)
{
    const unsigned char *body = bytes + FCGI_HEADER_LEN;

    if (frames->request_id != 0 || record->request_id == 0 ||
        record->content_size != sizeof(FCGI_BeginRequestBody))
        return FRAMES_INVALID;
    if (((unsigned)body[0] << 8 | body[1]) != FCGI_RESPONDER)
        return FRAMES_INVALID;
    frames->request_id = record->request_id;
    frames->keep_conn = (body[2] & FCGI_KEEP_CONN) != 0;
    frames->params_begin = frames->next;
    return FRAMES_INCOMPLETE;
}

static enum frames_status on_params(struct frames *frames, const struct record *record)
{
    if (frames->params_end != 0)
        return FRAMES_INVALID;
    frames->params_bytes += record->content_size;
    if (record->content_size == 0) {
        frames->params_end = frames->next + FCGI_HEADER_LEN;
        frames->body_begin = frames->next + record->wire_size;
    }
    return FRAMES_INCOMPLETE;
}

static enum frames_status on_stdin(struct frames *frames, const struct record *record)
{
    if (frames->params_end == 0)
        return FRAMES_INVALID;
    if (record->content_size == 0)
        return FRAMES_COMPLETE;
    frames->body_bytes += record->content_size;
    return FRAMES_INCOMPLETE;
}

/* ABORT_REQUEST included: nginx closes the connection instead, and so do we. */
static enum frames_status on_record(struct frames *frames, const struct record *record,
                                    const unsigned char *bytes)
{
    if (record->type == FCGI_BEGIN_REQUEST)
        return on_begin(frames, record, bytes);
    if (frames->request_id == 0 || record->request_id != frames->request_id)
        return FRAMES_INVALID;
    if (record->type == FCGI_PARAMS)
        return on_params(frames, record);
    if (record->type == FCGI_STDIN)
        return on_stdin(frames, record);
    return FRAMES_INVALID;
}

/* What a record's header alone shows to be too much, before its content has arrived. */
static enum frames_status refuse_early(const struct frames *frames, const struct frames_limits *limits,
                                       const struct record *record)
{
    if (record->type == FCGI_PARAMS && frames->params_bytes + record->content_size > limits->params_max_bytes)
        return FRAMES_INVALID;
    if (record->type == FCGI_STDIN && frames->params_end != 0 &&
        frames->body_bytes + record->content_size > limits->body_max_bytes)
        return FRAMES_BODY_TOO_LARGE;
    if (frames->next + record->wire_size > frames_wire_max_bytes(limits))
        return FRAMES_INVALID;
    return FRAMES_INCOMPLETE;
}

enum frames_status frames_scan(struct frames *frames, const struct frames_limits *limits, const char *bytes,
                               size_t size)
{
    while (size - frames->next >= FCGI_HEADER_LEN) {
        const unsigned char *at = (const unsigned char *)bytes + frames->next;
        struct record record;

        read_record(at, &record);
        if (at[0] != FCGI_VERSION_1)
            return FRAMES_INVALID;
        enum frames_status refusal = refuse_early(frames, limits, &record);
        if (refusal != FRAMES_INCOMPLETE)
            return refusal;
        if (size - frames->next < record.wire_size)
            return FRAMES_INCOMPLETE;
        enum frames_status status = on_record(frames, &record, at);
        frames->next += record.wire_size;
        if (status != FRAMES_INCOMPLETE)
            return status;
    }
    /* A peer that is not FastCGI at all shows in its first byte. */
    if (size > frames->next && bytes[frames->next] != FCGI_VERSION_1)
        return FRAMES_INVALID;
    return FRAMES_INCOMPLETE;
}

/* Walks the content of the PARAMS records as one run of bytes. */
struct params_cursor {
    const unsigned char *bytes;
    size_t next_record;
    size_t end;
    size_t at;   /* next content byte */
    size_t left; /* content bytes of this record from `at` on */
};

static bool cursor_fill(struct params_cursor *cursor)
{
    while (cursor->left == 0) {
        struct record record;
        const unsigned char *at = cursor->bytes + cursor->next_record;

        if (cursor->next_record + FCGI_HEADER_LEN > cursor->end)
            return false;
        read_record(at, &record);
        if (record.type == FCGI_PARAMS) {
            cursor->at = cursor->next_record + FCGI_HEADER_LEN;
            cursor->left = record.content_size;
        }
        cursor->next_record += record.wire_size;
    }
    return true;
}

static bool cursor_skip(struct params_cursor *cursor, size_t count)
{
    while (count > 0) {
        if (!cursor_fill(cursor))
            return false;
        size_t step = MIN(count, cursor->left);
        cursor->at += step;
        cursor->left -= step;
        count -= step;
    }
    return true;
}

static bool cursor_byte(struct params_cursor *cursor, size_t *ret_byte)
{
    if (!cursor_fill(cursor))
        return false;
    *ret_byte = cursor->bytes[cursor->at];
    return cursor_skip(cursor, 1);
}

/* One byte below 128, or four with the top bit set. */
static bool cursor_length(struct params_cursor *cursor, size_t *ret_length)
{
    size_t length;
    size_t byte;

    if (!cursor_byte(cursor, &length))
        return false;
    if (length & 0x80) {
        length &= 0x7f;
        for (int i = 0; i < 3; i++) {
            if (!cursor_byte(cursor, &byte))
                return false;
            length = length << 8 | byte;
        }
    }
    *ret_length = length;
    return true;
}

/* Copies what fits, with a NUL behind it, and goes on behind `length` bytes. */
static bool cursor_copy(struct params_cursor *cursor, size_t length, char *ret, size_t ret_size)
{
    size_t room = MIN(length, ret_size - 1);

    ret[room] = '\0';
    while (room > 0) {
        if (!cursor_fill(cursor))
            return false;
        size_t step = MIN(room, cursor->left);
        memcpy(ret, cursor->bytes + cursor->at, step);
        if (!cursor_skip(cursor, step))
            return false;
        ret += step;
        room -= step;
        length -= step;
    }
    return cursor_skip(cursor, length);
}

static struct params_cursor params_of(const struct frames *frames, const char *bytes)
{
    return (struct params_cursor){
        .bytes = (const unsigned char *)bytes,
        .next_record = frames->params_begin,
        .end = frames->params_end,
    };
}

bool frames_params_are_whole(const struct frames *frames, const char *bytes)
{
    struct params_cursor cursor = params_of(frames, bytes);

    while (cursor_fill(&cursor)) {
        size_t name;
        size_t value;
        if (!cursor_length(&cursor, &name) || !cursor_length(&cursor, &value) ||
            !cursor_skip(&cursor, name) || !cursor_skip(&cursor, value))
            return false;
    }
    return true;
}

#define NAME_MAX_BYTES 64

int frames_find_param(const struct frames *frames, const char *bytes, const char *name, char *ret,
                      size_t ret_size)
{
    struct params_cursor cursor = params_of(frames, bytes);
    char found[NAME_MAX_BYTES];
    size_t name_length;
    size_t value_length;

    while (cursor_fill(&cursor) && cursor_length(&cursor, &name_length) &&
           cursor_length(&cursor, &value_length) && cursor_copy(&cursor, name_length, found, sizeof(found))) {
        bool is_it = name_length < sizeof(found) && strcmp(found, name) == 0;
        if (is_it)
            return cursor_copy(&cursor, value_length, ret, ret_size) ? (int)value_length : -ENOENT;
        if (!cursor_skip(&cursor, value_length))
            break;
    }
    return -ENOENT;
}

size_t frames_wire_max_bytes(const struct frames_limits *limits)
{
    /* Twice the content leaves room for the headers and padding of records of a few dozen bytes each. */
    return 2 * (limits->params_max_bytes + limits->body_max_bytes) + 4096;
}

void frames_copy_body(const struct frames *frames, const char *bytes, struct buf *out)
{
    for (size_t at = frames->body_begin; at + FCGI_HEADER_LEN <= frames->next;) {
        struct record record;

        read_record((const unsigned char *)bytes + at, &record);
        buf_append(out, bytes + at + FCGI_HEADER_LEN, record.content_size);
        at += record.wire_size;
    }
}

size_t frames_move_body(const struct frames *frames, char *bytes)
{
    size_t size = 0;

    for (size_t at = frames->body_begin; at + FCGI_HEADER_LEN <= frames->next;) {
        struct record record;

        read_record((const unsigned char *)bytes + at, &record);
        memmove(bytes + size, bytes + at + FCGI_HEADER_LEN, record.content_size);
        size += record.content_size;
        at += record.wire_size;
    }
    return size;
}

#define CONTENT_MAX_BYTES ((size_t)65535)

static void append_header(struct buf *out, unsigned char type, uint16_t request_id, size_t content_size)
{
    const unsigned char header[FCGI_HEADER_LEN] = {
        [0] = FCGI_VERSION_1,
        [1] = type,
        [2] = (unsigned char)(request_id >> 8),
        [3] = (unsigned char)request_id,
        [4] = (unsigned char)(content_size >> 8),
        [5] = (unsigned char)content_size,
    };

    buf_append(out, header, sizeof(header));
}

size_t frames_stdout_size(size_t size)
{
    return size + (size + CONTENT_MAX_BYTES - 1) / CONTENT_MAX_BYTES * FCGI_HEADER_LEN;
}

void frames_append_stdout(struct buf *out, uint16_t request_id, const void *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += CONTENT_MAX_BYTES) {
        size_t piece = MIN(size - at, CONTENT_MAX_BYTES);
        append_header(out, FCGI_STDOUT, request_id, piece);
        buf_append(out, (const char *)bytes + at, piece);
    }
}

_Static_assert(FRAMES_END_SIZE == 2 * FCGI_HEADER_LEN + sizeof(FCGI_EndRequestBody), "two records");

void frames_append_end(struct buf *out, uint16_t request_id)
{
    static const FCGI_EndRequestBody complete = {.protocolStatus = FCGI_REQUEST_COMPLETE};

    append_header(out, FCGI_STDOUT, request_id, 0);
    append_header(out, FCGI_END_REQUEST, request_id, sizeof(complete));
    buf_append(out, &complete, sizeof(complete));
}
