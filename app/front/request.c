/* From the bytes of a request to its handler, and from the handler's answer to bytes. */
#include "front/front_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/http.h"
#include "base/json.h"

/* Larger answers may not fit into a socket's buffer: a peer that does not read would block the thread. */
#define DIRECT_ANSWER_MAX_BYTES (64 * 1024)

/* What an answer is put together from. */
enum answer_part {
    ANSWER_HEAD,    /* the status and our own headers */
    ANSWER_HEADERS, /* the handler's */
    ANSWER_HEAD_END,
    ANSWER_BODY,
    ANSWER_PARTS,
};

static struct conn *conn_of(struct request *req)
{
    return container_of(req, struct conn, req);
}

/* ---- what handlers read ---- */

void *request_app(const struct request *req)
{
    return container_of(req, const struct conn, req)->front->options.app;
}

const char *request_param(const struct request *req, const char *name)
{
    return FCGX_GetParam(name, req->fcgx.envp);
}

const char *request_path_arg(const struct request *req)
{
    return request_path_arg_at(req, 0);
}

const char *request_path_arg_at(const struct request *req, unsigned i)
{
    const char *arg = req->args;

    assert(i < req->arg_count);
    while (i-- > 0)
        arg += strlen(arg) + 1;
    return arg;
}

const void *request_route_data(const struct request *req)
{
    return req->route->data;
}

const char *request_body(const struct request *req, size_t *ret_size)
{
    *ret_size = req->body.size;
    return req->body.data ? req->body.data : "";
}

void request_drop_body(struct request *req)
{
    buf_done(&req->body);
}

/* Letters, digits and a few marks: an id from outside goes into log lines and headers. */
static bool is_plain_id(const char *id)
{
    size_t length = strlen(id);

    return length > 0 && length < sizeof(((struct request *)0)->id) &&
           strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:/+=") == length;
}

const char *request_id(struct request *req)
{
    if (req->id[0] != '\0')
        return req->id;
    const char *given = request_param(req, "HTTP_X_REQUEST_ID");
    if (given && is_plain_id(given)) {
        snprintf(req->id, sizeof(req->id), "%s", given);
        return req->id;
    }
    unsigned char random[16] = {0};
    if (getrandom(random, sizeof(random), GRND_NONBLOCK) < 0)
        memcpy(random, &req->start_ns, sizeof(req->start_ns));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(req->id + 2 * i, 3, "%02x", random[i]);
    return req->id;
}

/* ---- starting ---- */

int request_decode_path(const char *uri, const char *name, const char *info, char ret_path[PATH_MAX_BYTES])
{
    if (uri)
        return http_percent_decode(uri, strcspn(uri, "?#"), ret_path, PATH_MAX_BYTES);
    int length = snprintf(ret_path, PATH_MAX_BYTES, "%s%s", name ? name : "", info ? info : "");
    return length < PATH_MAX_BYTES ? length : -ENOSPC;
}

/* REQUEST_URI as the client sent it; servers other than nginx may send SCRIPT_NAME alone, decoded already. */
static int read_path(const struct request *req, char ret_path[PATH_MAX_BYTES])
{
    return request_decode_path(request_param(req, "REQUEST_URI"), request_param(req, "SCRIPT_NAME"),
                               request_param(req, "PATH_INFO"), ret_path);
}

static bool admit(struct request *req)
{
    struct front *front = conn_of(req)->front;

    bool is_full = atomic_fetch_add(&front->in_flight, 1) >= front->options.max_in_flight;
    if ((is_full && !(req->route->flags & ROUTE_ALWAYS)) || atomic_load(&front->refusing)) {
        front_request_ended(front);
        return false;
    }
    req->is_admitted = true;
    front_count_in_flight(1);
    return true;
}

static void reject(struct request *req)
{
    bool is_stopping = atomic_load(&conn_of(req)->front->refusing);

    if (!is_stopping)
        front_count_rejected();
    request_problem(req, 503, "%s",
                    is_stopping ? "the server is stopping" : "too many requests are in flight");
}

static void dispatch(struct request *req)
{
    struct front *front = conn_of(req)->front;
    struct route_match match;
    char path[PATH_MAX_BYTES];
    const char *method = request_param(req, "REQUEST_METHOD");

    req->method = method ? http_method_parse(method) : 0;
    int rc = read_path(req, path);
    if (rc < 0 && rc != -ENOSPC) {
        request_problem(req, 400, "the path is badly encoded");
        return;
    }
    enum route_result result = rc < 0 ? ROUTE_NO_PATH : router_find(front->router, req->method, path, &match);
    if (result == ROUTE_NO_PATH) {
        request_problem(req, 404, "there is nothing at this path");
        return;
    }
    req->route = match.route;
    req->arg_count = match.arg_count;
    memcpy(req->args, match.args, sizeof(req->args));
    if (result == ROUTE_NO_METHOD) {
        request_add_header(req, "Allow", match.allow);
        request_problem(req, 405, "this path answers %s", match.allow);
    } else if (req->verdict == BODY_TOO_LARGE) {
        request_problem(req, 413, "the body is larger than %zu bytes", conn_of(req)->limits.body_max_bytes);
    } else if (req->verdict == BODY_NO_ROOM) {
        front_count_rejected();
        request_problem(req, 503, "too many large bodies are in flight");
    } else if (req->body.failed) {
        request_problem(req, 503, "out of memory");
    } else if (!admit(req)) {
        reject(req);
    } else {
        req->route->handler(req);
    }
}

static void enter_flight(struct conn *conn)
{
    LOCK(&conn->lock);
    conn->state = CONN_IN_FLIGHT;
}

void request_start(struct conn *conn, const char *bytes, size_t size, enum body_verdict verdict)
{
    struct request *req = &conn->req;
    const struct frames *frames = &conn->frames;

    int rc = fcgi_open(&front_thread_self()->feed, &req->fcgx, bytes + frames->params_begin,
                       frames->params_end - frames->params_begin);
    if (rc < 0) {
        conn_close(conn, rc == -EPROTO ? CLOSE_PROTOCOL : CLOSE_ERROR);
        return;
    }
    req->route = NULL;
    req->id[0] = '\0';
    req->start_ns = clock_now_ns();
    req->verdict = verdict;
    conn->keep = frames->keep_conn && verdict == BODY_FITS;
    if (verdict == BODY_FITS)
        body_take(conn, bytes, size);
    else
        buf_done(&conn->in);
    enter_flight(conn);
    dispatch(req);
}

/* ---- waiting ---- */

static bool register_wait(struct conn *conn, const struct request_wait *wait)
{
    LOCK(&conn->lock);
    if (conn->peer_gone || atomic_load(&conn->front->refusing))
        return false;
    conn->wait = *wait;
    conn->has_wait = true;
    return true;
}

void request_suspend(struct request *req, const struct request_wait *wait)
{
    if (!register_wait(conn_of(req), wait)) {
        wait->hangup(wait->arg);
        wait->release(wait->arg);
    }
}

void request_resume(struct request *req, request_fn fn, void *arg)
{
    front_make_ready(conn_of(req), fn, arg);
}

/* ---- answering ---- */

void request_add_header(struct request *req, const char *name, const char *value)
{
    buf_printf(&req->headers, "%s: %s\r\n", name, value);
}

void request_end(struct request *req)
{
    if (!req->is_admitted)
        return;
    req->is_admitted = false;
    front_count_in_flight(-1);
    front_request_ended(conn_of(req)->front);
}

/* True when the peer is still there. */
static bool end_wait(struct conn *conn)
{
    struct request_wait wait;
    bool had_wait;
    bool peer_gone;

    mutex_lock(&conn->lock);
    had_wait = conn_take_wait_locked(conn, &wait);
    peer_gone = conn->peer_gone;
    mutex_unlock(&conn->lock);
    if (had_wait)
        wait.release(wait.arg);
    return !peer_gone;
}

/* A small answer fits into the socket's buffer when the peer has taken all earlier ones: the write does not
 * block. */
static bool can_write_at_once(const struct conn *conn, size_t size)
{
    int queued;

    return size <= DIRECT_ANSWER_MAX_BYTES && ioctl(conn->fd, SIOCOUTQ, &queued) == 0 && queued == 0;
}

static void count_answer(struct request *req, int status)
{
    front_count_request(req, status);
    if (log_enabled(LOG_LEVEL_DEBUG))
        log_debug("request answered", LOG_STR("request", request_id(req)),
                  LOG_STR("route", req->route ? req->route->path : "none"),
                  LOG_UINT("status", (uint64_t)status),
                  LOG_UINT("us", (clock_now_ns() - req->start_ns) / NS_PER_US));
}

static void write_at_once(struct conn *conn, int status, const struct iovec parts[ANSWER_PARTS])
{
    count_answer(&conn->req, status); /* before the client can ask for it */
    request_end(&conn->req);
    conn_finish_answer(conn, fcgi_answer(&conn->req.fcgx, conn->fd, parts, ANSWER_PARTS));
}

/* Takes `spool_fd`, an empty file. */
static void write_spooled(struct conn *conn, int spool_fd, int status, const struct iovec parts[ANSWER_PARTS])
{
    if (fcgi_answer(&conn->req.fcgx, spool_fd, parts, ANSWER_PARTS) < 0) {
        close(spool_fd);
        conn_close(conn, CLOSE_ERROR);
        return;
    }
    count_answer(&conn->req, status);
    conn_write_spool(conn, spool_fd, lseek(spool_fd, 0, SEEK_END));
}

/* Ends a request that gets no answer, and its connection. */
static void abandon(struct request *req, enum close_reason reason)
{
    fcgi_discard(&req->fcgx);
    buf_done(&req->headers);
    buf_done(&req->body);
    conn_close(conn_of(req), reason);
}

static struct buf move_out(struct buf *buf)
{
    struct buf moved = *buf;

    *buf = (struct buf)BUF_INIT(buf->max);
    return moved;
}

/* RFC 9110, 8.6: 204 has no length, and that of 304 would be of the body it stands for. */
static bool has_length(int status, size_t size)
{
    return status != 204 && status != 304 && size != REQUEST_SIZE_UNKNOWN;
}

#define HEAD_MAX_BYTES 512

/* The status and our own headers; `content_type` is NULL when there is no body. */
static size_t format_head(char ret_head[HEAD_MAX_BYTES], int status, const char *content_type, size_t size)
{
    char length[64] = "";

    if (has_length(status, size))
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n", size);
    return (size_t)snprintf(ret_head, HEAD_MAX_BYTES, "Status: %d %s\r\n%s%s%s%sCache-Control: no-store\r\n",
                            status, http_reason_phrase(status), content_type ? "Content-Type: " : "",
                            content_type ? content_type : "", content_type ? "\r\n" : "", length);
}

/* Writes the answer to the connection, or to `spool_fd` (taken) unless that is -1. */
static void write_answer(struct request *req, int spool_fd, int status, const char *content_type,
                         const void *body, size_t size)
{
    static char head_end[] = "\r\n";
    char head[HEAD_MAX_BYTES];
    size_t length = format_head(head, status, content_type, size);
    /* The next request may begin before this call ends, and `body` may be what request_body handed out. */
    cleanup(buf_done) struct buf headers = move_out(&req->headers);
    cleanup(buf_done) struct buf received = move_out(&req->body);
    (void)received;
    body_give_back(conn_of(req));
    struct iovec parts[ANSWER_PARTS] = {
        [ANSWER_HEAD] = {head, length},
        [ANSWER_HEADERS] = {headers.data, headers.size},
        [ANSWER_HEAD_END] = {head_end, 2},
        [ANSWER_BODY] = {(void *)(uintptr_t)body, req->method == HTTP_HEAD ? 0 : size},
    };

    if (spool_fd < 0)
        write_at_once(conn_of(req), status, parts);
    else
        write_spooled(conn_of(req), spool_fd, status, parts);
}

bool request_can_answer(struct request *req)
{
    bool peer_is_there = end_wait(conn_of(req));

    if (peer_is_there && !req->headers.failed)
        return true;
    if (!peer_is_there)
        front_count_request_gone(req);
    abandon(req, peer_is_there ? CLOSE_ERROR : CLOSE_PEER);
    return false;
}

void request_become_stream(struct request *req, bool ends)
{
    count_answer(req, 200);
    fcgi_discard(&req->fcgx);
    buf_done(&req->headers);
    request_drop_body(req);
    if (ends)
        request_end(req);
}

void request_reply(struct request *req, int status, const char *content_type, const void *body, size_t size)
{
    if (!request_can_answer(req))
        return;
    if (can_write_at_once(conn_of(req), req->method == HTTP_HEAD ? 0 : size)) {
        write_answer(req, -1, status, content_type, body, size);
        return;
    }
    int spool_fd = memfd_create("answer", MFD_CLOEXEC);
    if (spool_fd >= 0) {
        write_answer(req, spool_fd, status, content_type, body, size);
    } else if (size > DIRECT_ANSWER_MAX_BYTES) { /* a shorter one may not need a file */
        buf_done(&req->headers);
        request_problem(req, 503, "there is no descriptor for an answer of this size");
    } else {
        abandon(req, CLOSE_ERROR);
    }
}

void request_reply_empty(struct request *req, int status)
{
    request_reply(req, status, NULL, "", 0);
}

void request_reply_buf(struct request *req, int status, const char *content_type, struct buf *body)
{
    if (body->failed)
        request_problem(req, 500, "out of memory");
    else
        request_reply(req, status, content_type, body->data, body->size);
    buf_done(body);
}

static void reply_problem(struct request *req, int status, const char *name, const char *value,
                          const char *detail)
{
    cleanup(json_decref_scope) json_t *problem =
        json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title", http_reason_phrase(status),
                  "status", status, "detail", detail, "request_id", request_id(req));
    struct buf body = BUF_INIT(64 * 1024);

    if (status == 503)
        request_add_header(req, "Retry-After", "1");
    if (problem && name)
        json_object_set_new(problem, name, json_string(value));
    json_dump(problem, &body);
    if (body.failed) {
        buf_done(&body);
        static const char fallback[] = "{\"type\":\"about:blank\",\"title\":\"Out of memory\"}";
        request_reply(req, status, "application/problem+json", fallback, sizeof(fallback) - 1);
        return;
    }
    request_reply_buf(req, status, "application/problem+json", &body);
}

void request_problem(struct request *req, int status, const char *detail, ...)
{
    char text[1024];
    va_list args;

    va_start(args, detail);
    vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    reply_problem(req, status, NULL, NULL, text);
}

void request_problem_with(struct request *req, int status, const char *name, const char *value,
                          const char *detail, ...)
{
    char text[1024];
    va_list args;

    va_start(args, detail);
    vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    reply_problem(req, status, name, value, text);
}
