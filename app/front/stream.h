/* stream.h - an answer whose bytes go out whenever there are some: one without an end, such as the events of
 * tasks, or one that is made in pieces.
 *
 * How to use it: a handler calls request_stream_begin in place of request_reply; then any thread
 * request_stream_write, any number of times, and request_stream_end once, in any case.
 *     When pieces are large, or what they are made of is still there when they are wanted:
 * request_stream_pull in place of request_stream_begin.  Then request_stream_wake, from any thread, says that
 * there is something to be written, and `fill` is asked for it when all that was written before has been
 * sent.  So the peer's reading drives the writing, and no more than one piece is held in memory twice.
 * Threads: request_stream_begin and _pull only on a request thread; the others any.  None of them ever
 * blocks, or calls `closed`, `fill` or `stop`.
 * Ownership: who began the stream has one reference to it, which request_stream_end gives back; with
 * request_stream_ref others may have theirs.  A stream that is over stays valid as long as there are
 * references, and does nothing.  Calls must have returned before front_free, but for streams that are over.
 * Invariants: `closed` is called exactly once for every stream that began, whatever ended it.
 * Limits: max_streams of struct front_options, but for those that pull, which count as requests in flight;
 * STREAM_MAX_BYTES for each.  An idle stream costs its connection and one small allocation: no thread, no
 * timer. */
#pragma once

#include "base/common.h"
#include "front/request.h"

struct request_stream;

/* Bytes that may wait for a peer to read, with 8 bytes for each write. */
#define STREAM_MAX_BYTES ((size_t)256 * 1024)

/* Answers 200 with the added headers and no length, and makes a stream of the request, which it takes.  The
 * request does not count as in flight any more.  NULL when there is no stream: the request has been answered
 * (503 when there are too many, memory is short or we are stopping; a HEAD has its headers) or its client
 * has gone, and `closed` is not called.
 *
 * closed(arg) says that the stream is over: its client has gone, or does not read (client_timeout, or more
 * than STREAM_MAX_BYTES wait), or we are stopping, or all is sent after request_stream_end.  `arg` is not
 * used any more.  It may be called before this function returns, by another thread: a request thread, or the
 * one that calls front_drain or front_stop. */
struct request_stream *request_stream_begin(struct request *req, const char *content_type,
                                            void (*closed)(void *arg), void *arg);

/* How the bytes of an answer in pieces are asked for.  None of these is called while another one is. */
struct request_stream_source {
    /* Writes some, at most STREAM_MAX_BYTES; calls request_stream_wake when there are more already, and
     * request_stream_end behind the last.  Once for one or more calls of request_stream_wake. */
    void (*fill)(struct request_stream *stream, void *arg);
    /* The server is about to stop: end soon.  At most once. */
    void (*stop)(void *arg);
    void (*closed)(void *arg); /* as above */
    void *arg;
};

/* request_stream_begin for an answer that ends by itself before long: it counts as in flight until it is
 * over, and front_drain waits for it. */
struct request_stream *request_stream_pull(struct request *req, const char *content_type,
                                           const struct request_stream_source *source);

/* Has `fill` called, on a request thread, when all that was written has been sent.  Not after `closed`. */
void request_stream_wake(struct request_stream *stream);

/* Sends bytes, or has them wait until the peer reads.  False when they will not be sent: the stream is over,
 * or is about to be since more than STREAM_MAX_BYTES would wait or memory is short. */
bool request_stream_write(struct request_stream *stream, const void *bytes, size_t size);

/* Bytes that wait for the peer to read.  Any thread. */
size_t request_stream_unsent(const struct request_stream *stream);

/* Ends the answer behind what was written, and gives the reference back.  Also when it is over. */
void request_stream_end(struct request_stream *stream);

struct request_stream *request_stream_ref(struct request_stream *stream);
void request_stream_unref(struct request_stream *stream);
