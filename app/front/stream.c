/* Answers without an end.
 *
 * A stream's connection is nobody's (CONN_STREAMING) while there is nothing to send.  Who writes puts the
 * bytes into `waiting`, and becomes the owner if there is none: it sends what the socket takes at once.  If
 * there is one, that one is told by `pending`, as of any event, and looks again before it gives the
 * connection up.  So no thread waits for another, each byte goes out in its order, and no system call is made
 * under a lock.
 *
 * All but the sending is left to request threads (a turn, stream_turn): to wait for a socket that is full,
 * to end the answer, to close.  So `closed` is never called within a call of who holds the stream, which may
 * have locks of its own. */
#include "front/stream.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "front/front_int.h"

struct request_stream {
    atomic_uint refs; /* of the connection, and of who holds it */
    atomic_bool is_over;
    struct conn *conn; /* not looked at when is_over */
    uint16_t request_id;
    struct request_stream_source source; /* `fill` is NULL when it does not pull */
    atomic_bool is_woken;
    atomic_size_t unsent; /* bytes of `waiting` and `sending`; grows under conn->lock only */

    /* guarded by conn->lock: */
    struct buf waiting;
    bool is_ended; /* nothing comes behind `waiting` */
    bool must_stop;
    bool is_doomed;
    enum close_reason doom; /* why it is to be closed as soon as nothing more can be sent at once */

    /* the connection's owner only: */
    struct buf sending;
    size_t sent;     /* of `sending` */
    bool has_sent;   /* since the last look */
    bool is_watched; /* its socket was full: an event tells when it is not */
    bool is_told;    /* to stop */
};

static bool pulls(const struct request_stream *stream)
{
    return stream->source.fill != NULL;
}

/* ---- references ---- */

struct request_stream *request_stream_ref(struct request_stream *stream)
{
    atomic_fetch_add(&stream->refs, 1);
    return stream;
}

void request_stream_unref(struct request_stream *stream)
{
    if (atomic_fetch_sub(&stream->refs, 1) != 1)
        return;
    buf_done(&stream->waiting);
    buf_done(&stream->sending);
    free(stream);
}

size_t stream_unsent(const struct request_stream *stream)
{
    return atomic_load(&stream->unsent);
}

/* ---- sending: by the owner, any thread ---- */

enum flush_result {
    FLUSH_MORE,
    FLUSH_DONE,  /* nothing waits */
    FLUSH_FULL,  /* the socket takes no more */
    FLUSH_ENDED, /* the whole answer has been sent */
    FLUSH_DOOMED,
    FLUSH_GONE, /* the peer has gone */
    FLUSH_BROKEN,
};

/* Takes what has been written meanwhile, once all before it is sent. */
static enum flush_result next_bytes(struct conn *conn, struct request_stream *stream)
{
    if (stream->sent < stream->sending.size)
        return FLUSH_MORE;
    buf_done(&stream->sending);
    stream->sent = 0;
    LOCK(&conn->lock);
    if (conn->peer_gone)
        return FLUSH_GONE;
    stream->sending = stream->waiting;
    stream->waiting = (struct buf)BUF_INIT(stream->sending.max);
    if (stream->sending.size > 0)
        return FLUSH_MORE;
    return stream->is_ended ? FLUSH_ENDED : stream->is_doomed ? FLUSH_DOOMED : FLUSH_DONE;
}

static enum flush_result when_full(struct conn *conn, const struct request_stream *stream)
{
    LOCK(&conn->lock);
    return conn->peer_gone ? FLUSH_GONE : stream->is_doomed ? FLUSH_DOOMED : FLUSH_FULL;
}

static enum flush_result send_bytes(struct conn *conn, struct request_stream *stream)
{
    ssize_t n = send(conn->fd, stream->sending.data + stream->sent, stream->sending.size - stream->sent,
                     MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n >= 0) {
        stream->sent += (size_t)n;
        stream->has_sent = true;
        atomic_fetch_sub(&stream->unsent, (size_t)n);
        return FLUSH_MORE;
    }
    if (errno == EINTR)
        return FLUSH_MORE;
    if (errno == EAGAIN)
        return when_full(conn, stream);
    return errno == EPIPE || errno == ECONNRESET ? FLUSH_GONE : FLUSH_BROKEN;
}

static enum flush_result flush(struct conn *conn)
{
    enum flush_result result;

    do {
        result = next_bytes(conn, conn->stream);
        if (result == FLUSH_MORE)
            result = send_bytes(conn, conn->stream);
    } while (result == FLUSH_MORE);
    return result;
}

/* ---- turns: by the owner, on a request thread or one that ends the front ---- */

/* All is sent: nothing is waited for but more to send. */
static void rest(struct conn *conn)
{
    if (!conn->stream->is_watched)
        return;
    conn->stream->is_watched = false;
    deadline_clear(conn);
    conn_watch(conn, EPOLL_CTL_MOD, EPOLLIN);
}

/* False when the peer has not read for too long. */
static bool wait_for_peer(struct conn *conn)
{
    struct request_stream *stream = conn->stream;
    bool has_read = conn_has_peer_read(conn);

    if (!stream->is_watched)
        conn_watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    stream->is_watched = true;
    if (has_read || stream->has_sent)
        deadline_clear(conn);
    stream->has_sent = false;
    deadline_set(conn);
    return !conn_is_overdue(conn);
}

/* Bytes that came behind the request have had their event already: the connection is read before it rests. */
static void finish(struct conn *conn)
{
    rest(conn);
    stream_detach(conn);
    request_end(&conn->req);
    mutex_lock(&conn->lock);
    conn->pending = true;
    mutex_unlock(&conn->lock);
    conn_finish_answer(conn, 0);
}

static bool has_to_stop(struct conn *conn)
{
    LOCK(&conn->lock);
    return conn->stream->must_stop;
}

static void tell_to_stop(struct conn *conn)
{
    struct request_stream *stream = conn->stream;

    if (!pulls(stream) || stream->is_told || !has_to_stop(conn))
        return;
    stream->is_told = true;
    stream->source.stop(stream->source.arg);
}

/* What is written inside is looked at in the next round: it leaves the connection `pending`. */
static void ask_source(struct request_stream *stream)
{
    if (atomic_exchange(&stream->is_woken, false))
        stream->source.fill(stream, stream->source.arg);
}

void stream_turn(struct conn *conn)
{
    do {
        tell_to_stop(conn);
        switch (flush(conn)) {
        case FLUSH_MORE:
        case FLUSH_DONE:
            rest(conn);
            ask_source(conn->stream);
            break;
        case FLUSH_FULL:
            if (wait_for_peer(conn))
                break;
            conn_close(conn, CLOSE_TIMEOUT);
            return;
        case FLUSH_ENDED:
            finish(conn);
            return;
        case FLUSH_DOOMED:
            conn_close(conn, conn->stream->doom);
            return;
        case FLUSH_GONE:
            conn_close(conn, CLOSE_PEER);
            return;
        case FLUSH_BROKEN:
            conn_close(conn, CLOSE_ERROR);
            return;
        }
    } while (!conn_try_give_up(conn, CONN_STREAMING));
}

static void turn_ready(struct request *req, void *arg)
{
    (void)req;
    stream_turn(arg);
}

void stream_detach(struct conn *conn)
{
    struct request_stream *stream = conn->stream;

    if (!stream)
        return;
    atomic_store(&stream->is_over, true);
    mutex_lock(&conn->lock);
    conn->stream = NULL;
    mutex_unlock(&conn->lock);
    stream->source.closed(stream->source.arg);
    if (!pulls(stream))
        front_stream_ended(conn->front);
    request_stream_unref(stream);
}

/* ---- writing: any thread ---- */

static void doom_locked(struct request_stream *stream, enum close_reason reason)
{
    if (!stream->is_doomed)
        stream->doom = reason;
    stream->is_doomed = true;
}

/* Makes room for as many bytes of records; false when there is none. */
static bool reserve_locked(struct request_stream *stream, size_t size)
{
    if (buf_reserve(&stream->waiting, size)) {
        atomic_fetch_add(&stream->unsent, size);
        return true;
    }
    stream->waiting.failed = false; /* what was written before is sent */
    doom_locked(stream, CLOSE_ERROR);
    return false;
}

static bool append_locked(struct request_stream *stream, const void *bytes, size_t size)
{
    size_t room = STREAM_MAX_BYTES - MIN(atomic_load(&stream->unsent), STREAM_MAX_BYTES);

    if (size > room || frames_stdout_size(size) > room) {
        doom_locked(stream, CLOSE_TIMEOUT);
        return false;
    }
    if (!reserve_locked(stream, frames_stdout_size(size)))
        return false;
    frames_append_stdout(&stream->waiting, stream->request_id, bytes, size);
    return true;
}

static void end_locked(struct request_stream *stream)
{
    if (stream->is_ended || stream->is_doomed || !reserve_locked(stream, FRAMES_END_SIZE))
        return;
    frames_append_end(&stream->waiting, stream->request_id);
    stream->is_ended = true;
}

/* True when the caller is the owner now; else the owner looks again. */
static bool claim_locked(struct conn *conn)
{
    if (conn->state != CONN_STREAMING) {
        conn->pending = true;
        return false;
    }
    conn->state = CONN_READING;
    return true;
}

/* Sends what the socket takes, and leaves all else to a request thread.  A socket that is watched already
 * needs none: its event comes. */
static void push(struct conn *conn)
{
    do {
        enum flush_result result = flush(conn);
        bool is_waited_for = result == FLUSH_FULL && conn->stream->is_watched;
        bool is_at_rest = result == FLUSH_DONE && !atomic_load(&conn->stream->is_woken);
        if (!is_at_rest && !is_waited_for) {
            front_make_ready(conn, turn_ready, conn);
            return;
        }
    } while (!conn_try_give_up(conn, CONN_STREAMING));
}

/* Whether the bytes wait to be sent now. */
static bool put(struct request_stream *stream, const void *bytes, size_t size, bool *ret_is_owner)
{
    struct conn *conn = stream->conn;

    *ret_is_owner = false;
    LOCK(&conn->lock);
    if (conn->stream != stream || stream->is_ended || stream->is_doomed)
        return false;
    bool is_put = append_locked(stream, bytes, size);
    *ret_is_owner = claim_locked(conn);
    return is_put;
}

size_t request_stream_unsent(const struct request_stream *stream)
{
    return atomic_load(&stream->unsent);
}

bool request_stream_write(struct request_stream *stream, const void *bytes, size_t size)
{
    bool is_owner;

    if (atomic_load(&stream->is_over))
        return false;
    if (size == 0)
        return true; /* an empty record would be the end */
    bool is_put = put(stream, bytes, size, &is_owner);
    if (is_owner)
        push(stream->conn);
    return is_put;
}

static bool claim_to_fill(struct request_stream *stream)
{
    struct conn *conn = stream->conn;

    LOCK(&conn->lock);
    if (conn->stream != stream)
        return false;
    atomic_store(&stream->is_woken, true);
    return claim_locked(conn);
}

void request_stream_wake(struct request_stream *stream)
{
    if (!atomic_load(&stream->is_over) && claim_to_fill(stream))
        front_make_ready(stream->conn, turn_ready, stream->conn);
}

static bool put_end(struct request_stream *stream)
{
    struct conn *conn = stream->conn;

    LOCK(&conn->lock);
    if (conn->stream != stream)
        return false;
    end_locked(stream);
    return claim_locked(conn);
}

void request_stream_end(struct request_stream *stream)
{
    if (!atomic_load(&stream->is_over) && put_end(stream))
        push(stream->conn);
    request_stream_unref(stream);
}

/* What is sent at once ends the answer well; what is not is cut off. */
static void cut_off_locked(struct request_stream *stream)
{
    end_locked(stream);
    doom_locked(stream, CLOSE_DRAIN);
}

static bool claim_to_cut_off(struct conn *conn)
{
    LOCK(&conn->lock);
    if (!conn->stream || pulls(conn->stream))
        return false;
    cut_off_locked(conn->stream);
    return claim_locked(conn);
}

void stream_cut_off(struct conn *conn)
{
    if (claim_to_cut_off(conn))
        stream_turn(conn);
}

/* The first time it is asked to stop, which it does with what else it has to say. */
static bool claim_to_stop(struct conn *conn, bool *ret_is_found)
{
    LOCK(&conn->lock);
    *ret_is_found = conn->stream && pulls(conn->stream);
    if (!*ret_is_found)
        return false;
    if (conn->stream->must_stop)
        cut_off_locked(conn->stream);
    conn->stream->must_stop = true;
    return claim_locked(conn);
}

bool stream_stop(struct conn *conn)
{
    bool is_found;

    if (claim_to_stop(conn, &is_found))
        front_make_ready(conn, turn_ready, conn);
    return is_found;
}

/* ---- beginning ---- */

static bool append_head(struct request_stream *stream, const struct buf *headers, const char *content_type)
{
    cleanup(buf_done) struct buf head = BUF_INIT(2 * REQUEST_HEADER_MAX_BYTES);

    buf_printf(&head,
               "Status: 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n",
               content_type);
    buf_append(&head, headers->data, headers->size);
    buf_append_str(&head, "\r\n");
    return !head.failed && append_locked(stream, head.data, head.size);
}

/* Of the connection's request; NULL when memory is short. */
static struct request_stream *create(struct conn *conn, const char *content_type)
{
    struct request_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    atomic_store(&stream->refs, 1);
    stream->conn = conn;
    stream->request_id = conn->frames.request_id;
    stream->waiting.max = STREAM_MAX_BYTES + FRAMES_END_SIZE;
    if (append_head(stream, &conn->req.headers, content_type))
        return stream;
    request_stream_unref(stream);
    return NULL;
}

/* From here on nobody but the owner of the connection ends it.  front_drain may have passed by already. */
static void attach(struct conn *conn, struct request_stream *stream)
{
    request_stream_ref(stream);
    LOCK(&conn->lock);
    conn->stream = stream;
    if (!pulls(stream) && front_is_draining(conn->front))
        cut_off_locked(stream);
    stream->must_stop = atomic_load(&conn->front->refusing);
}

static void reply_head(struct request *req, const char *content_type)
{
    request_add_header(req, "X-Accel-Buffering", "no");
    request_reply(req, 200, content_type, "", REQUEST_SIZE_UNKNOWN);
}

/* One that pulls has its place already: that of a request in flight. */
static bool take_place(struct front *front, bool is_pulled)
{
    return is_pulled || front_stream_begins(front);
}

static struct request_stream *begin(struct request *req, const char *content_type,
                                    const struct request_stream_source *source)
{
    struct conn *conn = container_of(req, struct conn, req);
    bool is_pulled = source->fill != NULL;

    if (!request_can_answer(req))
        return NULL;
    if (req->method == HTTP_HEAD) {
        reply_head(req, content_type);
        return NULL;
    }
    if (!take_place(conn->front, is_pulled)) {
        front_count_rejected();
        request_problem(req, 503, "too many streams are open");
        return NULL;
    }
    struct request_stream *stream = create(conn, content_type);
    if (!stream) {
        if (!is_pulled)
            front_stream_ended(conn->front);
        request_problem(req, 503, "out of memory");
        return NULL;
    }
    stream->source = *source;
    attach(conn, stream);
    request_become_stream(req, !is_pulled);
    push(conn);
    return stream;
}

struct request_stream *request_stream_begin(struct request *req, const char *content_type,
                                            void (*closed)(void *arg), void *arg)
{
    return begin(req, content_type, &(struct request_stream_source){.closed = closed, .arg = arg});
}

struct request_stream *request_stream_pull(struct request *req, const char *content_type,
                                           const struct request_stream_source *source)
{
    assert(source->fill && source->stop && source->closed);
    return begin(req, content_type, source);
}
