/* How large a request's body may be.  The usual limit holds for all; only when a request goes beyond it, by
 * what it declares or by what it sends, are its parameters asked which route it means.  So a request in one
 * piece, nearly all of them, costs nothing here, and libfcgi still sees no request before it is whole.
 *
 * What a large body declares is taken from the budget before it is read: those that were let in can all come
 * to their end, while bodies that share what is left byte by byte could all fail half read. */
#include "front/front_int.h"

#include <errno.h>

#include "base/parse.h"

/* A path is not decoded yet: each byte may have taken three. */
#define URI_MAX_BYTES (3 * PATH_MAX_BYTES)

/* False when no length is declared; SIZE_MAX for one that no limit allows. */
static bool read_declared(const struct frames *frames, const char *bytes, size_t *ret_size)
{
    char text[32];
    struct err err;
    uint64_t size;

    int length = frames_find_param(frames, bytes, "CONTENT_LENGTH", text, sizeof(text));
    if (length <= 0)
        return false;
    int rc =
        (size_t)length < sizeof(text) ? parse_number(PARSE_UINT, text, 0, SIZE_MAX, &size, &err) : -ERANGE;
    if (rc == -EINVAL)
        return false;
    *ret_size = rc == 0 ? (size_t)size : SIZE_MAX;
    return true;
}

static int read_path(const struct frames *frames, const char *bytes, char ret_path[PATH_MAX_BYTES])
{
    char uri[URI_MAX_BYTES];
    char info[PATH_MAX_BYTES];

    if (frames_find_param(frames, bytes, "REQUEST_URI", uri, sizeof(uri)) >= 0)
        return request_decode_path(uri, NULL, NULL, ret_path);
    bool has_name = frames_find_param(frames, bytes, "SCRIPT_NAME", uri, sizeof(uri)) >= 0;
    bool has_info = frames_find_param(frames, bytes, "PATH_INFO", info, sizeof(info)) >= 0;
    return request_decode_path(NULL, has_name ? uri : NULL, has_info ? info : NULL, ret_path);
}

static bool is_for_large_bodies(const struct front *front, const struct frames *frames, const char *bytes)
{
    struct route_match match;
    char method[16];
    char path[PATH_MAX_BYTES];

    if (frames_find_param(frames, bytes, "REQUEST_METHOD", method, sizeof(method)) < 0 ||
        read_path(frames, bytes, path) < 0)
        return false;
    return router_find(front->router, http_method_parse(method), path, &match) == ROUTE_FOUND &&
           (match.route->flags & ROUTE_LARGE_BODY);
}

static bool take_budget(struct front *front, size_t size)
{
    size_t left = atomic_load(&front->large_budget);

    do {
        if (size > left)
            return false;
    } while (!atomic_compare_exchange_weak(&front->large_budget, &left, left - size));
    return true;
}

static enum body_verdict let_in(struct conn *conn, const char *bytes, bool is_declared, size_t size)
{
    struct front *front = conn->front;

    if (!is_for_large_bodies(front, &conn->frames, bytes))
        return BODY_TOO_LARGE;
    conn->limits.body_max_bytes = front->large_body_max_bytes;
    if (is_declared && size > front->large_body_max_bytes)
        return BODY_TOO_LARGE;
    if (!is_declared)
        size = front->large_body_max_bytes;
    if (!take_budget(front, size))
        return BODY_NO_ROOM;
    conn->large_bytes = size;
    conn->limits.body_max_bytes = size;
    conn->in.max = frames_wire_max_bytes(&conn->limits);
    return BODY_FITS;
}

enum body_verdict body_judge(struct conn *conn, const char *bytes, enum frames_status status)
{
    bool is_beyond = status == FRAMES_BODY_TOO_LARGE;
    size_t declared = 0;

    if (!is_beyond && (status != FRAMES_INCOMPLETE || conn->frames.params_end == 0 || conn->is_judged))
        return BODY_FITS;
    conn->is_judged = true;
    if (conn->large_bytes > 0)
        return is_beyond ? BODY_TOO_LARGE : BODY_FITS;
    bool is_declared = read_declared(&conn->frames, bytes, &declared);
    if (is_declared ? declared > conn->limits.body_max_bytes : is_beyond)
        return let_in(conn, bytes, is_declared, declared);
    return is_beyond ? BODY_TOO_LARGE : BODY_FITS;
}

/* The bytes behind the request are the beginning of the next one. */
static void keep_rest(struct conn *conn, const char *bytes, size_t size)
{
    if (conn->in.size > 0) {
        buf_consume(&conn->in, conn->frames.next);
        if (conn->in.size == 0)
            buf_done(&conn->in);
    } else if (size > conn->frames.next) {
        conn->in.max = frames_wire_max_bytes(&conn->front->limits);
        buf_append(&conn->in, bytes + conn->frames.next, size - conn->frames.next);
    }
}

/* A large body is there already, with the heads of records between its parts: it is not copied. */
static void take_in_place(struct conn *conn)
{
    struct buf *body = &conn->req.body;
    struct buf rest = BUF_INIT(frames_wire_max_bytes(&conn->front->limits));

    buf_append(&rest, conn->in.data + conn->frames.next, conn->in.size - conn->frames.next);
    *body = conn->in;
    body->size = frames_move_body(&conn->frames, body->data);
    conn->in = rest;
}

void body_take(struct conn *conn, const char *bytes, size_t size)
{
    if (conn->large_bytes > 0 && conn->in.size > 0) {
        take_in_place(conn);
        return;
    }
    conn->req.body.max = conn->limits.body_max_bytes;
    frames_copy_body(&conn->frames, bytes, &conn->req.body);
    keep_rest(conn, bytes, size);
}

void body_give_back(struct conn *conn)
{
    if (conn->large_bytes > 0)
        atomic_fetch_add(&conn->front->large_budget, conn->large_bytes);
    conn->large_bytes = 0;
}

void body_begin(struct conn *conn)
{
    body_give_back(conn);
    conn->limits = conn->front->limits;
    conn->in.max = frames_wire_max_bytes(&conn->limits);
    conn->is_judged = false;
}
