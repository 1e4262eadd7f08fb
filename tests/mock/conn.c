/* One descriptor, one epoll_ctl: every connection is watched once, for edges of everything (readable,
 * writable, peer gone), and stays so until it is closed. A request on a kept connection then costs one recv
 * and one send, besides its share of an epoll_pwait2; and as the kernel reports "writable" only after a write
 * that found the buffer full, watching for it is free.
 *
 * Input is received into the server's one buffer and used from there. Only what cannot be used yet, part of a
 * head or a request that came while another is being answered, is kept with the connection. */
#include "conn.h"

#include "record.h"
#include "server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define VECTORS_MAX    16
#define SEND_PER_ROUND (4 << 20) /* so that one large body does not hold up the others */
#define LINGER_NS      1000000000

#define TO(state) (1u << (state))

static void conn_move(struct conn *conn, enum conn_state state)
{
    static const unsigned allowed[CONN_STATE_COUNT] = {
        [CONN_FREE] = TO(CONN_READING),
        [CONN_READING] = TO(CONN_FREE) | TO(CONN_DISCARDING) | TO(CONN_WAITING) | TO(CONN_WRITING),
        [CONN_DISCARDING] = TO(CONN_FREE) | TO(CONN_WAITING) | TO(CONN_WRITING),
        [CONN_WAITING] = TO(CONN_FREE) | TO(CONN_WRITING),
        [CONN_WRITING] =
            TO(CONN_FREE) | TO(CONN_WRITING) | TO(CONN_WAITING) | TO(CONN_READING) | TO(CONN_LINGERING),
        [CONN_LINGERING] = TO(CONN_FREE),
    };
    if (!(allowed[conn->state] & TO(state))) {
        fprintf(stderr, "mock-upstream: connection moved from state %d to %d\n", (int)conn->state,
                (int)state);
        abort();
    }
    conn->state = state;
}

/* ---- a request's time in flight ---- */

static void take_reply(struct conn *conn, struct reply *reply)
{
    struct stats *stats = &conn->server->stats;
    conn->reply = reply;
    conn->sent = 0;
    stats->requests += reply->counted;
    stats->in_flight += reply->counted;
    if (stats->in_flight > stats->max_in_flight) {
        stats->max_in_flight = stats->in_flight;
    }
}

static void drop_reply(struct conn *conn)
{
    if (conn->reply) {
        conn->server->stats.in_flight -= conn->reply->counted;
        reply_free(conn->reply);
        conn->reply = NULL;
    }
}

static void drop_kept(struct conn *conn)
{
    free(conn->kept);
    conn->kept = NULL;
    conn->kept_len = 0;
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_FREE) {
        return;
    }
    conn_move(conn, CONN_FREE);
    loop_timer_cancel(&conn->server->loop, &conn->timer);
    drop_reply(conn);
    drop_kept(conn);
    close(conn->fd);
    conn->server->stats.connections_open--;
}

/* The peer closed, or half-closed, which counts as gone too: so a proxy that gives a request up is seen at
 * once. */
static void peer_gone(struct conn *conn)
{
    if (conn->reply && conn->reply->counted) {
        conn->server->stats.aborted++;
        record_gone(conn->reply->key, loop_now_ns());
    }
    conn_close(conn);
}

/* ---- answering ---- */

static void wait_ns(struct conn *conn, int64_t ns)
{
    conn->reply = reply_keep(conn->reply);
    conn_move(conn, CONN_WAITING);
    loop_timer_set(&conn->server->loop, &conn->timer, loop_now_ns() + ns);
}

static void end_keep(struct conn *conn)
{
    conn_move(conn, CONN_READING);
}

static void end_linger(struct conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
    conn_move(conn, CONN_LINGERING);
    loop_timer_set(&conn->server->loop, &conn->timer, loop_now_ns() + LINGER_NS);
}

static void end_reset(struct conn *conn)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    conn_close(conn);
}

static void finish_reply(struct conn *conn)
{
    static void (*const ends[REPLY_END_COUNT])(struct conn * conn) = {
        [REPLY_END_KEEP] = end_keep,
        [REPLY_END_CLOSE] = conn_close,
        [REPLY_END_LINGER] = end_linger,
        [REPLY_END_RESET] = end_reset,
    };
    enum reply_end end = conn->reply->end;
    drop_reply(conn);
    ends[end](conn);
}

static ssize_t send_until(struct conn *conn, uint64_t until)
{
    struct iovec vectors[VECTORS_MAX];
    int count = reply_vectors(conn->reply, conn->sent, until, vectors, VECTORS_MAX);
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
    return sendmsg(conn->fd, &message, MSG_NOSIGNAL);
}

/* Sends as much as the pace of the reply and the socket allow. */
static void send_more(struct conn *conn)
{
    uint64_t stop = conn->sent + SEND_PER_ROUND;
    conn_move(conn, CONN_WRITING);
    while (conn->sent < conn->reply->total) {
        uint64_t until;
        int64_t pause_ns = reply_pace(conn->reply, conn->sent, &until);
        ssize_t sent = send_until(conn, until);
        if (sent < 0 && errno == EAGAIN) {
            conn->reply = reply_keep(conn->reply);
            return;
        }
        if (sent < 0) {
            peer_gone(conn);
            return;
        }
        conn->sent += (uint64_t)sent;
        if (conn->sent < conn->reply->total && (pause_ns > 0 || conn->sent >= stop)) {
            wait_ns(conn, pause_ns);
            return;
        }
    }
    finish_reply(conn);
}

static void start_reply(struct conn *conn)
{
    if (conn->reply->stall) {
        conn->reply = reply_keep(conn->reply);
        conn_move(conn, CONN_WAITING);
    } else if (conn->reply->delay_ns > 0) {
        wait_ns(conn, conn->reply->delay_ns);
    } else {
        send_more(conn);
    }
}

/* ---- using input: each takes what it can of the bytes, and returns how many that were ---- */

static size_t use_head(struct conn *conn, const char *data, size_t len)
{
    struct request request;
    int head_len = request_parse(data, len, &request);
    if (head_len == 0) {
        return 0;
    }
    if (head_len < 0) {
        take_reply(conn, reply_build_error((unsigned)-head_len));
        start_reply(conn);
        return len;
    }
    size_t body_len = reply_wants_body(&request) ? (size_t)request.content_length : 0;
    bool is_whole = len - (size_t)head_len >= body_len;
    if (request.content_length > 0 && request.expects_continue && len == (size_t)head_len) {
        send(conn->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    }
    if (!is_whole) {
        return 0;
    }
    if (body_len == request.content_length) {
        request.body = (struct slice){data + head_len, body_len};
    }
    take_reply(conn, reply_build(&request, &conn->server->stats));
    conn->discard = request.content_length - body_len;
    if (conn->discard == 0) {
        start_reply(conn);
    } else {
        conn->reply = reply_keep(conn->reply);
        conn_move(conn, CONN_DISCARDING);
    }
    return (size_t)head_len + body_len;
}

static size_t use_body(struct conn *conn, const char *data, size_t len)
{
    (void)data;
    size_t used = len < conn->discard ? len : (size_t)conn->discard;
    conn->discard -= used;
    if (conn->discard == 0) {
        start_reply(conn);
    }
    return used;
}

static size_t use_nothing(struct conn *conn, const char *data, size_t len)
{
    (void)conn;
    (void)data;
    return len;
}

/* The states that take input. */
static size_t (*const uses[CONN_STATE_COUNT])(struct conn *conn, const char *data, size_t len) = {
    [CONN_READING] = use_head,
    [CONN_DISCARDING] = use_body,
    [CONN_LINGERING] = use_nothing,
};

static void keep(struct conn *conn, const char *data, size_t len)
{
    conn->kept = malloc(len);
    if (!conn->kept) {
        perror("mock-upstream: input");
        abort();
    }
    memcpy(conn->kept, data, len);
    conn->kept_len = (uint32_t)len;
}

static void use_input(struct conn *conn, const char *data, size_t len)
{
    while (len > 0 && uses[conn->state]) {
        size_t used = uses[conn->state](conn, data, len);
        if (used == 0) {
            break;
        }
        data += used;
        len -= used;
    }
    if (len > 0 && conn->state != CONN_FREE) {
        keep(conn, data, len);
        /* busy with another request: what is kept is input for later. In need of more: it is not. */
        conn->input_waiting |= !uses[conn->state];
    }
}

/* Receives and uses until there is no more, or until a request must be answered first. */
static void read_on(struct conn *conn)
{
    char *input = conn->server->input;
    while (conn->input_waiting && uses[conn->state]) {
        size_t len = conn->kept_len;
        if (len > 0) {
            memcpy(input, conn->kept, len);
            drop_kept(conn);
        }
        ssize_t received = recv(conn->fd, input + len, SERVER_INPUT_MAX - len, 0);
        if (received < 0 && errno != EAGAIN) {
            peer_gone(conn);
            return;
        }
        /* less than there was room for: that was all. At the end of the stream another event tells so. */
        conn->input_waiting = received == (ssize_t)(SERVER_INPUT_MAX - len);
        use_input(conn, input, len + (received > 0 ? (size_t)received : 0));
    }
}

/* ---- what the loop calls ---- */

static void conn_ready(struct watch *watch, uint32_t events)
{
    struct conn *conn = container_of(watch, struct conn, watch);
    if (events & (EPOLLERR | EPOLLHUP)) {
        peer_gone(conn);
        return;
    }
    conn->input_waiting |= (events & EPOLLIN) != 0;
    if ((events & EPOLLOUT) && conn->state == CONN_WRITING) {
        send_more(conn);
    }
    read_on(conn);
    if (events & EPOLLRDHUP) {
        peer_gone(conn);
    }
}

static void conn_due(struct timer *timer)
{
    struct conn *conn = container_of(timer, struct conn, timer);
    if (conn->state == CONN_LINGERING) {
        conn_close(conn);
        return;
    }
    send_more(conn);
    read_on(conn);
}

void conn_open(struct server *server, int fd)
{
    struct conn *conn = fd < server->conns_max ? &server->conns[fd] : NULL;
    if (!conn) {
        close(fd);
        return;
    }
    *conn = (struct conn){.watch.ready = conn_ready, .timer.due = conn_due, .server = server, .fd = fd};
    conn_move(conn, CONN_READING);
    server->stats.connections_open++;
    server->stats.connections_total++;
    if (!loop_watch(&server->loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &conn->watch)) {
        conn_close(conn);
    }
}
