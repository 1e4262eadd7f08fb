/* A connection from its first byte to its last: who may touch it, reading, going idle, ending. */
#include "front/front_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

/* A large answer goes out in pieces of this size.  Who takes one within client_timeout is slow, but there. */
#define SPOOL_PIECE_BYTES (16 * 1024)

/* Reads of one turn from a peer whose bytes nobody wants. */
#define LINGER_READS 4

/* Room for an answer that is written at once (64 KiB in records and pieces of 8 KiB), twice over since the
 * kernel counts its own part too; not more than anyone may ask for by default (net.core.wmem_max). */
#define SEND_BUFFER_BYTES (128 * 1024)

/* ---- ownership ---- */

static bool is_unowned_locked(const struct conn *conn)
{
    return conn->state == CONN_IDLE || conn->state == CONN_WRITING || conn->state == CONN_LINGERING ||
           conn->state == CONN_STREAMING;
}

/* A peer on a unix socket has gone when it has closed; on TCP its FIN is all that can be seen. */
static uint32_t hangup_events(const struct front *front)
{
    return front->listener.is_tcp ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR;
}

bool conn_take_wait_locked(struct conn *conn, struct request_wait *ret_wait)
{
    if (!conn->has_wait)
        return false;
    *ret_wait = conn->wait;
    conn->has_wait = false;
    return true;
}

enum event_action {
    EVENT_NOTHING,
    EVENT_READ,
    EVENT_WRITE,
    EVENT_LINGER,
    EVENT_STREAM,
    EVENT_HANGUP,
};

/* Decides what an event means, and takes the connection when that is to be done by the caller. */
static enum event_action claim_event(struct conn *conn, uint32_t generation, uint32_t events,
                                     struct request_wait *ret_wait)
{
    LOCK(&conn->lock);
    if (conn->generation != generation || conn->state == CONN_FREE)
        return EVENT_NOTHING;
    if (events & hangup_events(conn->front))
        conn->peer_gone = true;
    if (events & EPOLLRDHUP)
        conn->peer_ended = true;
    if (is_unowned_locked(conn)) {
        enum event_action action = conn->state == CONN_IDLE        ? EVENT_READ
                                   : conn->state == CONN_WRITING   ? EVENT_WRITE
                                   : conn->state == CONN_STREAMING ? EVENT_STREAM
                                                                   : EVENT_LINGER;
        conn->state = CONN_READING;
        return action;
    }
    conn->pending = true;
    if (conn->peer_gone && conn_take_wait_locked(conn, ret_wait))
        return EVENT_HANGUP;
    return EVENT_NOTHING;
}

/* The end of what the peer sends may lie behind bytes that were read: no other event will tell of it. */
bool conn_try_give_up(struct conn *conn, enum conn_state state)
{
    LOCK(&conn->lock);
    if (conn->pending || (conn->peer_ended && state == CONN_IDLE)) {
        conn->pending = false;
        return false;
    }
    conn->state = state;
    return true;
}

/* The sweeper, too, only makes somebody the owner and have a look. */
bool conn_is_overdue(const struct conn *conn)
{
    return conn->deadline_ns != 0 && clock_now_ns() >= conn->deadline_ns;
}

static void tell_hangup(const struct request_wait *wait)
{
    wait->hangup(wait->arg);
    wait->release(wait->arg);
}

/* ---- beginning ---- */

int conn_watch(struct conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {
        .events = events | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)conn->generation << 32 | conn->index,
    };

    return epoll_ctl(conn->front->epoll_fd, operation, conn->fd, &event);
}

static void set_timeouts(int fd, uint64_t timeout_ms)
{
    struct timeval timeout = {
        .tv_sec = (time_t)(timeout_ms / 1000),
        .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000),
    };

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

static void read_ready(struct request *req, void *arg)
{
    (void)req;
    conn_read(arg);
}

void conn_open(struct conn *conn, int fd)
{
    conn->fd = fd;
    set_timeouts(fd, conn->front->options.config->client_timeout_ms);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SEND_BUFFER_BYTES}, sizeof(int));
    front_count_accepted();
    deadline_set(conn);
    if (conn_watch(conn, EPOLL_CTL_ADD, EPOLLIN) != 0)
        conn_close(conn, CLOSE_ERROR);
    else if (!conn_try_give_up(conn, CONN_IDLE))
        front_make_ready(conn, read_ready, conn);
}

/* ---- ending ---- */

void conn_close(struct conn *conn, enum close_reason reason)
{
    struct front *front = conn->front;

    front_count_closed(reason); /* before the peer can see it */
    deadline_clear(conn);
    stream_detach(conn);
    buf_done(&conn->in);
    body_give_back(conn);
    close(conn->fd);
    conn->fd = -1;
    if (conn->spool_fd >= 0)
        close(conn->spool_fd);
    conn->spool_fd = -1;
    request_end(&conn->req);
    slab_release(conn);
    front_resume_accept(front);
}

static void linger_on(struct request *req, void *arg);

/* What the peer still sends is read and dropped, or closing would reset the connection under the answer.  One
 * that never stops sending gets its turns with the others until its time is over. */
static void linger(struct conn *conn)
{
    struct front_thread *self = front_thread_self();
    ssize_t n = 1;

    for (int i = 0; i < LINGER_READS && n > 0; i++)
        n = recv(conn->fd, self->scratch, self->scratch_size, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(conn, CLOSE_PEER);
    else if (conn_is_overdue(conn))
        conn_close(conn, CLOSE_TIMEOUT);
    else if (n > 0 || !conn_try_give_up(conn, CONN_LINGERING))
        front_make_ready(conn, linger_on, conn);
}

static void linger_on(struct request *req, void *arg)
{
    (void)req;
    linger(arg);
}

static void start_linger(struct conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
    deadline_clear(conn);
    deadline_set(conn);
    linger(conn);
}

/* ---- answers larger than the socket takes at once ---- */

static void set_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);

    fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

static void finish_spool(struct conn *conn)
{
    set_blocking(conn->fd, true);
    close(conn->spool_fd);
    conn->spool_fd = -1;
    deadline_clear(conn);
    request_end(&conn->req);
    conn_watch(conn, EPOLL_CTL_MOD, EPOLLIN);
    conn_finish_answer(conn, 0);
}

bool conn_has_peer_read(struct conn *conn)
{
    int unread = 0;

    if (ioctl(conn->fd, SIOCOUTQ, &unread) != 0)
        return false;
    bool has_read = unread < conn->unread;
    conn->unread = unread;
    return has_read;
}

static void write_spool(struct conn *conn)
{
    for (;;) {
        if (conn->spool_offset == conn->spool_size) {
            finish_spool(conn);
            return;
        }
        ssize_t n = sendfile(conn->fd, conn->spool_fd, &conn->spool_offset,
                             (size_t)MIN(conn->spool_size - conn->spool_offset, SPOOL_PIECE_BYTES));
        if (n > 0) {
            conn->unread = INT_MAX;
            continue;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            conn_close(conn, CLOSE_ERROR);
            return;
        }
        if (conn_has_peer_read(conn))
            deadline_clear(conn);
        deadline_set(conn);
        if (conn_is_overdue(conn)) {
            conn_close(conn, CLOSE_TIMEOUT);
            return;
        }
        if (conn_try_give_up(conn, CONN_WRITING))
            return;
    }
}

void conn_write_spool(struct conn *conn, int spool_fd, off_t size)
{
    conn->spool_fd = spool_fd;
    conn->spool_offset = 0;
    conn->spool_size = size;
    set_blocking(conn->fd, false);
    conn_watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    write_spool(conn);
}

/* ---- reading ---- */

enum scan_result {
    SCAN_STARTED, /* the request has taken the connection */
    SCAN_MORE,
    SCAN_CLOSED,
};

/* Scans within the limits that the request has by its route. */
static enum frames_status scan_judged(struct conn *conn, const char *bytes, size_t size,
                                      enum body_verdict *ret_verdict)
{
    enum frames_status status;

    do {
        status = frames_scan(&conn->frames, &conn->limits, bytes, size);
        *ret_verdict = body_judge(conn, bytes, status);
    } while (status == FRAMES_BODY_TOO_LARGE && *ret_verdict == BODY_FITS);
    return status;
}

static enum scan_result scan(struct conn *conn, const char *bytes, size_t size)
{
    enum body_verdict verdict;
    enum frames_status status = scan_judged(conn, bytes, size, &verdict);

    if (status == FRAMES_INCOMPLETE && verdict == BODY_FITS)
        return SCAN_MORE;
    if (status == FRAMES_INVALID || !frames_params_are_whole(&conn->frames, bytes)) {
        conn_close(conn, CLOSE_PROTOCOL);
        return SCAN_CLOSED;
    }
    deadline_clear(conn);
    request_start(conn, bytes, size, verdict);
    return SCAN_STARTED;
}

/* New bytes: alone when they are the first of a request (the usual case: nothing is copied), else behind the
 * others. */
static enum scan_result scan_new(struct conn *conn, const char *bytes, size_t size)
{
    bool is_first = conn->in.size == 0;

    if (is_first) {
        enum scan_result result = scan(conn, bytes, size);
        if (result != SCAN_MORE)
            return result;
    }
    buf_append(&conn->in, bytes, size);
    if (conn->in.failed) {
        conn_close(conn, CLOSE_PROTOCOL);
        return SCAN_CLOSED;
    }
    return is_first ? SCAN_MORE : scan(conn, conn->in.data, conn->in.size);
}

void conn_read(struct conn *conn)
{
    struct front_thread *self = front_thread_self();

    if (conn->in.size > 0 && scan(conn, conn->in.data, conn->in.size) != SCAN_MORE)
        return;
    for (;;) {
        ssize_t n = recv(conn->fd, self->scratch, self->scratch_size, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            conn_close(conn, CLOSE_PEER);
            return;
        }
        if (n > 0 && scan_new(conn, self->scratch, (size_t)n) != SCAN_MORE)
            return;
        if (n == (ssize_t)self->scratch_size)
            continue;
        if (conn->in.size > 0)
            deadline_set(conn);
        if (conn_is_overdue(conn)) {
            conn_close(conn, CLOSE_TIMEOUT);
            return;
        }
        if (conn_try_give_up(conn, CONN_IDLE))
            return;
    }
}

void conn_finish_answer(struct conn *conn, int result)
{
    bool linger_first = conn->req.verdict != BODY_FITS;
    bool draining = atomic_load(&conn->front->draining);

    frames_init(&conn->frames);
    body_begin(conn);
    conn->rest_since_ns = clock_now_ns();
    if (result < 0 || conn->in.failed) {
        conn_close(conn, CLOSE_ERROR);
    } else if (linger_first) {
        start_linger(conn);
    } else if (!conn->keep || draining) {
        conn_close(conn, draining ? CLOSE_DRAIN : CLOSE_PEER);
    } else if (conn->in.size > 0 || !conn_try_give_up(conn, CONN_IDLE)) {
        /* More is there to read: not from here, or a peer that keeps sending would keep this stack growing.
         */
        front_make_ready(conn, read_ready, conn);
    }
}

/* ---- events ---- */

void conn_on_event(struct conn *conn, uint32_t generation, uint32_t events)
{
    struct request_wait wait = {0};

    switch (claim_event(conn, generation, events, &wait)) {
    case EVENT_NOTHING:
        return;
    case EVENT_READ:
        conn_read(conn);
        return;
    case EVENT_WRITE:
        write_spool(conn);
        return;
    case EVENT_LINGER:
        linger(conn);
        return;
    case EVENT_STREAM:
        stream_turn(conn);
        return;
    case EVENT_HANGUP:
        tell_hangup(&wait);
        return;
    }
}

static bool claim_rested(struct conn *conn, uint64_t before_ns)
{
    LOCK(&conn->lock);
    bool is_rested = conn->state == CONN_IDLE && conn->rest_since_ns != 0 && conn->rest_since_ns < before_ns;
    if (is_rested)
        conn->state = CONN_READING;
    return is_rested;
}

static bool has_bytes(const struct conn *conn)
{
    char byte;

    return conn->in.size > 0 || recv(conn->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
}

bool conn_evict(struct conn *conn, uint64_t before_ns)
{
    if (!claim_rested(conn, before_ns))
        return false;
    if (has_bytes(conn)) { /* a request has just come */
        conn_read(conn);
        return false;
    }
    conn_close(conn, CLOSE_EVICTED);
    return true;
}

enum cancel_action {
    CANCEL_NOTHING,
    CANCEL_HANGUP,
    CANCEL_CLOSE,
};

static enum cancel_action claim_cancel(struct conn *conn, struct request_wait *ret_wait)
{
    LOCK(&conn->lock);
    if (conn->state == CONN_WRITING) {
        conn->state = CONN_READING;
        return CANCEL_CLOSE;
    }
    return conn->state == CONN_IN_FLIGHT && conn_take_wait_locked(conn, ret_wait) ? CANCEL_HANGUP
                                                                                  : CANCEL_NOTHING;
}

bool conn_cancel(struct conn *conn)
{
    struct request_wait wait;

    switch (claim_cancel(conn, &wait)) {
    case CANCEL_NOTHING:
        return stream_stop(conn);
    case CANCEL_HANGUP:
        tell_hangup(&wait);
        return true;
    case CANCEL_CLOSE:
        conn_close(conn, CLOSE_DRAIN);
        return true;
    }
    return false;
}
