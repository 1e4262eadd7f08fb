#include "cli/fcgi_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/parse.h"

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7 };

#define VERSION           1
#define HEADER_SIZE       8
#define CONTENT_MAX       65535
#define ROLE_RESPONDER    1
#define FLAG_KEEP_CONN    1
#define REQUEST_ID        1
#define REQUEST_MAX_BYTES (16 * 1024)

/* ---- the connection ---- */

union address {
    struct sockaddr any;
    struct sockaddr_un unix_path;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t to_sockaddr(const struct listen_address *from, union address *ret)
{
    *ret = (union address){0};
    if (from->kind == LISTEN_UNIX) {
        ret->unix_path.sun_family = AF_UNIX;
        strncpy(ret->unix_path.sun_path, from->path, sizeof(ret->unix_path.sun_path) - 1);
        return sizeof(ret->unix_path);
    }
    if (inet_pton(AF_INET, from->host, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons((uint16_t)from->port);
        return sizeof(ret->v4);
    }
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons((uint16_t)from->port);
    return inet_pton(AF_INET6, from->host, &ret->v6.sin6_addr) == 1 ? sizeof(ret->v6) : 0;
}

/* `errnum` of the connection, in words. */
static int fail(struct err *err, int errnum)
{
    if (errnum == EAGAIN || errnum == EINPROGRESS)
        return err_set(err, -ETIME, "no answer within %d s", FCGI_CLIENT_TIMEOUT_S);
    return err_set(err, -errnum, "%s", err_errno_text(errnum));
}

/* The time-outs go for the connect as well. */
static int set_timeouts(int fd)
{
    const struct timeval timeout = {.tv_sec = FCGI_CLIENT_TIMEOUT_S};

    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0 &&
                   setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) == 0
               ? 0
               : -1;
}

static int connect_to(struct fcgi_client *client, struct err *err)
{
    union address address;
    socklen_t size = to_sockaddr(client->address, &address);
    int fd = size > 0 ? socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;

    if (fd < 0)
        return fail(err, size > 0 ? errno : EINVAL);
    if (set_timeouts(fd) != 0 || connect(fd, &address.any, size) != 0) {
        int errnum = errno;
        close(fd);
        return fail(err, errnum);
    }
    client->fd = fd;
    return 0;
}

void fcgi_client_init(struct fcgi_client *client, const struct listen_address *address)
{
    *client = (struct fcgi_client){.address = address, .fd = -1, .request = BUF_INIT(2 * REQUEST_MAX_BYTES)};
}

int fcgi_client_open(struct fcgi_client *client, const struct listen_address *address, struct err *err)
{
    fcgi_client_init(client, address);
    return connect_to(client, err);
}

static void disconnect(struct fcgi_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->has_answered = false;
}

void fcgi_client_close(struct fcgi_client *client)
{
    disconnect(client);
    buf_done(&client->request);
}

/* ---- the request ---- */

static void append_record(struct buf *out, int type, const void *content, size_t size)
{
    const uint8_t header[HEADER_SIZE] = {
        VERSION, (uint8_t)type, 0, REQUEST_ID, (uint8_t)(size >> 8), (uint8_t)size, 0, 0,
    };

    buf_append(out, header, sizeof(header));
    buf_append(out, content, size);
}

static void append_length(struct buf *out, size_t length)
{
    const uint8_t bytes[] = {(uint8_t)(length >> 24 | 0x80), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                             (uint8_t)length};

    if (length < 0x80)
        buf_append(out, &bytes[3], 1);
    else
        buf_append(out, bytes, sizeof(bytes));
}

static void append_param(struct buf *out, const char *name, const char *value)
{
    append_length(out, strlen(name));
    append_length(out, strlen(value));
    buf_append_str(out, name);
    buf_append_str(out, value);
}

static void append_request(struct buf *out, const char *method, const char *target, bool keeps)
{
    const uint8_t begin[HEADER_SIZE] = {0, ROLE_RESPONDER, keeps ? FLAG_KEEP_CONN : 0};
    const char *query = strchr(target, '?');
    cleanup(buf_done) struct buf params = BUF_INIT(REQUEST_MAX_BYTES);

    append_param(&params, "REQUEST_METHOD", method);
    append_param(&params, "REQUEST_URI", target);
    append_param(&params, "QUERY_STRING", query ? query + 1 : "");
    append_param(&params, "SERVER_PROTOCOL", "HTTP/1.1");
    append_record(out, BEGIN_REQUEST, begin, sizeof(begin));
    append_record(out, PARAMS, params.data, params.size);
    append_record(out, PARAMS, "", 0);
    append_record(out, STDIN, "", 0);
    out->failed |= params.failed;
}

static int send_all(int fd, const struct buf *bytes, struct err *err)
{
    for (size_t sent = 0; sent < bytes->size;) {
        ssize_t size = send(fd, bytes->data + sent, bytes->size - sent, MSG_NOSIGNAL);
        if (size < 0 && errno != EINTR)
            return fail(err, errno == EPIPE ? ECONNRESET : errno);
        sent += size > 0 ? (size_t)size : 0;
    }
    return 0;
}

/* ---- the answer ---- */

/* Reads `size` bytes, no more and no less. */
static int receive(int fd, void *ret, size_t size, struct err *err)
{
    for (size_t got = 0; got < size;) {
        ssize_t more = recv(fd, (char *)ret + got, size - got, 0);
        if (more < 0 && errno != EINTR)
            return fail(err, errno);
        if (more == 0)
            return err_set(err, -ECONNRESET, "the connection was closed before the end of an answer");
        got += more > 0 ? (size_t)more : 0;
    }
    return 0;
}

static int refuse_bytes(struct err *err)
{
    return err_set(err, -EBADMSG, "what answers there does not speak FastCGI");
}

/* Reads one record, of which STDOUT is kept; what the program says beside it is not for us. */
static int read_record(int fd, struct buf *out, int *ret_type, struct err *err)
{
    uint8_t header[HEADER_SIZE];
    char content[CONTENT_MAX + UINT8_MAX];
    int rc = receive(fd, header, sizeof(header), err);

    if (rc != 0)
        return rc;
    size_t size = (size_t)header[4] << 8 | header[5];
    if (header[0] != VERSION || header[1] < END_REQUEST || header[1] > STDERR || header[3] != REQUEST_ID)
        return refuse_bytes(err);
    rc = receive(fd, content, size + header[6], err);
    if (rc != 0)
        return rc;
    *ret_type = header[1];
    if (header[1] == STDOUT)
        buf_append(out, content, size);
    return out->failed ? err_set(err, -ENOMEM, "the answer is too large") : 0;
}

static int read_output(int fd, struct buf *out, struct err *err)
{
    int type = STDOUT;
    int rc = 0;

    while (rc == 0 && type != END_REQUEST)
        rc = read_record(fd, out, &type, err);
    return rc;
}

/* The number in the line `Status: 200 OK`, which is 200 when there is none. */
static int read_status(const char *head, size_t size)
{
    static const char name[] = "Status: ";
    const char *line = memmem(head, size, name, strlen(name));
    char digits[4] = "";
    uint64_t status;
    struct err ignored;

    if (!line)
        return 200;
    size_t left = size - (size_t)(line - head) - strlen(name);
    memcpy(digits, line + strlen(name), MIN(left, (size_t)3));
    return parse_number(PARSE_UINT, digits, 100, 599, &status, &ignored) == 0 ? (int)status : -1;
}

/* A CGI document: headers, an empty line, the body. */
static int split(struct fcgi_answer *answer, struct err *err)
{
    static const char end[] = "\r\n\r\n";
    struct buf *output = &answer->body;
    const char *head_end = output->size > 0 ? memmem(output->data, output->size, end, strlen(end)) : NULL;

    if (!head_end)
        return refuse_bytes(err);
    size_t head_size = (size_t)(head_end - output->data);
    answer->status = read_status(output->data, head_size);
    if (answer->status < 0)
        return refuse_bytes(err);
    buf_consume(output, head_size + strlen(end));
    return 0;
}

/* ---- asking ---- */

static int send_request(struct fcgi_client *client, struct err *err)
{
    int rc = client->fd >= 0 ? 0 : connect_to(client, err);

    return rc == 0 ? send_all(client->fd, &client->request, err) : rc;
}

/* Whether it is only that the connection was closed while it rested. */
static bool has_been_left(const struct fcgi_client *client, int rc)
{
    return rc == -ECONNRESET && client->may_repeat && client->has_answered;
}

int fcgi_client_send(struct fcgi_client *client, const char *method, const char *target, struct err *err)
{
    client->may_repeat = strcmp(method, "POST") != 0;
    buf_done(&client->request);
    append_request(&client->request, method, target, client->may_repeat);
    if (client->request.failed)
        return err_set(err, -ENOMEM, "out of memory for a request");
    if (!client->may_repeat)
        disconnect(client);
    int rc = send_request(client, err);
    if (has_been_left(client, rc)) {
        disconnect(client);
        rc = send_request(client, err);
    }
    if (rc != 0)
        disconnect(client);
    return rc;
}

int fcgi_client_receive(struct fcgi_client *client, struct fcgi_answer *ret, struct err *err)
{
    *ret = (struct fcgi_answer){.body = BUF_INIT(FCGI_ANSWER_MAX_BYTES)};
    int rc = read_output(client->fd, &ret->body, err);
    if (has_been_left(client, rc) && ret->body.size == 0) {
        disconnect(client);
        rc = send_request(client, err);
        if (rc == 0)
            rc = read_output(client->fd, &ret->body, err);
    }
    if (rc != 0 || !client->may_repeat)
        disconnect(client);
    else
        client->has_answered = true;
    return rc == 0 ? split(ret, err) : rc;
}
