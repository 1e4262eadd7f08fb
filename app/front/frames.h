/* frames.h - finds the end of a FastCGI request in a run of bytes, without blocking and without copying; and
 * puts records around what goes out where libfcgi would block.
 *
 * How to use it: frames_init once per request, frames_scan after every read with all bytes of the request so
 * far; when it says FRAMES_COMPLETE or FRAMES_BODY_TOO_LARGE, frames_copy_body and the offsets tell what is
 * where.
 * Why: libfcgi reads a request with blocking reads and without a limit.  A request is therefore only given
 * to libfcgi when it is known to be whole and within the limits.
 * Source: FastCGI Specification 1.0, sections 3.3 and 5.  Responder role, one request at a time.
 * Threads: one at a time per object. */
#pragma once

#include "base/buf.h"
#include "base/common.h"

/* What a peer may send before its request is refused. */
struct frames_limits {
    size_t params_max_bytes; /* encoded names and values */
    size_t body_max_bytes;
};

enum frames_status {
    FRAMES_INCOMPLETE,
    FRAMES_COMPLETE,
    FRAMES_BODY_TOO_LARGE, /* parameters are whole, the rest of the body is not worth reading */
    FRAMES_INVALID,        /* not FastCGI, or beyond a limit that no honest peer reaches */
};

struct frames {
    size_t next;         /* where the next record begins */
    size_t params_begin; /* BEGIN_REQUEST and PARAMS records lie in [params_begin, params_end) */
    size_t params_end;   /* 0 until the closing PARAMS record was seen; its padding lies behind */
    size_t body_begin;   /* first byte behind the closing PARAMS record and its padding */
    size_t params_bytes;
    size_t body_bytes;
    uint16_t request_id; /* 0 until BEGIN_REQUEST */
    bool keep_conn;
};

void frames_init(struct frames *frames);

/* Goes on scanning bytes[0..size), which begins with the same bytes as at the last call. */
enum frames_status frames_scan(struct frames *frames, const struct frames_limits *limits, const char *bytes,
                               size_t size);

/* Whether the lengths of the names and values of a complete request add up.  libfcgi allocates what a length
 * says before it has seen the bytes and aborts when there is not that much memory, so it must not see a lie.
 */
bool frames_params_are_whole(const struct frames *frames, const char *bytes);

/* Copies the value of the first parameter with this name, cut to what fits into `ret_size` (at least 1) bytes
 * with a NUL behind it.  Returns the length of the whole value; -ENOENT when there is none.  Only once the
 * parameters are there (params_end != 0); the lengths in them need not add up. */
must_check int frames_find_param(const struct frames *frames, const char *bytes, const char *name, char *ret,
                                 size_t ret_size);

/* Most bytes that a request within the limits may need on the wire: beyond it a request is refused. */
size_t frames_wire_max_bytes(const struct frames_limits *limits);

/* Appends the content of the STDIN records of a complete request. */
void frames_copy_body(const struct frames *frames, const char *bytes, struct buf *out);

/* Moves that content to the beginning of `bytes`, over all that stood there.  Returns its size. */
size_t frames_move_body(const struct frames *frames, char *bytes);

/* The other way: appends STDOUT records with these bytes (size > 0), and how many bytes that makes. */
void frames_append_stdout(struct buf *out, uint16_t request_id, const void *bytes, size_t size);
size_t frames_stdout_size(size_t size);

/* Appends the records that end an answer: its last STDOUT and END_REQUEST. */
void frames_append_end(struct buf *out, uint16_t request_id);
#define FRAMES_END_SIZE ((size_t)24)
