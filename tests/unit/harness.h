/* harness.h - what the tests of several modules share: waiting for a condition, a configuration from text,
 * counting descriptors, speaking FastCGI as nginx does, the mock upstream.
 *
 * Everything here fails the running test when it takes too long; nothing sleeps to let something happen. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <fastcgi.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/common.h"
#include "base/thread.h"
#include "config/config.h"

#define PATIENCE_MS 60000

static inline uint64_t in_ms(uint64_t ms)
{
    return clock_deadline_ns(clock_now_ns(), ms);
}

/* Polls until predicate(arg) holds; fails the test when it takes too long. */
static inline void wait_until(bool (*predicate)(void *arg), void *arg)
{
    uint64_t deadline_ns = in_ms(PATIENCE_MS);

    while (!predicate(arg)) {
        assert_true(clock_now_ns() < deadline_ns);
        usleep(1000);
    }
}

struct count_goal {
    atomic_uint *count;
    unsigned goal;
};

static inline bool count_is_reached(void *arg)
{
    struct count_goal *goal = arg;

    return atomic_load(goal->count) >= goal->goal;
}

static inline void wait_for_count(atomic_uint *count, unsigned goal)
{
    wait_until(count_is_reached, &(struct count_goal){count, goal});
}

static inline void start(pthread_t *ret_thread, thread_fn fn, void *arg)
{
    struct err err = {0};

    if (thread_start(ret_thread, "test", fn, arg, &err) < 0)
        fail_msg("%s", err.text);
}

/* A checked configuration; the caller frees it. */
static inline struct config *config_of(const char *yaml)
{
    struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    if (config_parse("test", yaml, strlen(yaml), &config, &errors) < 0)
        fail_msg("%.*s", (int)errors.text.size, errors.text.data);
    config_errors_done(&errors);
    return config;
}

static inline unsigned count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* ---- FastCGI, the web server's side ---- */

static inline void add_record_padded(struct buf *out, unsigned type, unsigned id, const void *content,
                                     size_t size, unsigned padding)
{
    const unsigned char header[FCGI_HEADER_LEN] = {
        FCGI_VERSION_1,
        (unsigned char)type,
        (unsigned char)(id >> 8),
        (unsigned char)id,
        (unsigned char)(size >> 8),
        (unsigned char)size,
        (unsigned char)padding,
        0,
    };
    static const char zeros[255];

    buf_append(out, header, sizeof(header));
    buf_append(out, content, size);
    buf_append(out, zeros, padding);
}

static inline void add_record(struct buf *out, unsigned type, unsigned id, const void *content, size_t size)
{
    add_record_padded(out, type, id, content, size, (unsigned)(-size & 7));
}

static inline void add_begin_as(struct buf *out, unsigned id, unsigned role, bool keep)
{
    const unsigned char body[8] = {(unsigned char)(role >> 8), (unsigned char)role,
                                   keep ? FCGI_KEEP_CONN : 0};

    add_record(out, FCGI_BEGIN_REQUEST, id, body, sizeof(body));
}

static inline void add_begin(struct buf *out, bool keep)
{
    add_begin_as(out, 1, FCGI_RESPONDER, keep);
}

static inline void add_length(struct buf *out, size_t length)
{
    const unsigned char bytes[4] = {
        (unsigned char)(length >> 24 | 0x80),
        (unsigned char)(length >> 16),
        (unsigned char)(length >> 8),
        (unsigned char)length,
    };

    if (length < 0x80)
        buf_append(out, &bytes[3], 1);
    else
        buf_append(out, bytes, 4);
}

static inline void add_pair(struct buf *params, const char *name, const char *value)
{
    add_length(params, strlen(name));
    add_length(params, strlen(value));
    buf_append_str(params, name);
    buf_append_str(params, value);
}

/* PARAMS records of `piece` bytes each, and the closing one. */
static inline void add_params(struct buf *out, const struct buf *params, size_t piece)
{
    for (size_t at = 0; at < params->size; at += piece)
        add_record(out, FCGI_PARAMS, 1, params->data + at, MIN(piece, params->size - at));
    add_record(out, FCGI_PARAMS, 1, "", 0);
}

static inline void add_stdin(struct buf *out, const char *body, size_t size, size_t piece)
{
    for (size_t at = 0; at < size; at += piece)
        add_record(out, FCGI_STDIN, 1, body + at, MIN(piece, size - at));
    add_record(out, FCGI_STDIN, 1, "", 0);
}

static inline void add_request(struct buf *out, bool keep, const char *method, const char *uri,
                               const char *body, size_t size)
{
    struct buf params = BUF_INIT(1 << 20);

    add_pair(&params, "REQUEST_METHOD", method);
    add_pair(&params, "REQUEST_URI", uri);
    add_begin(out, keep);
    add_params(out, &params, 8192);
    add_stdin(out, body, size, 32768);
    assert_false(out->failed || params.failed);
    buf_done(&params);
}

/* A connection to the front, and what came on it behind the last answer. */
struct client {
    int fd;
    struct buf in;
};

struct answer {
    int status;
    struct buf head;
    struct buf body;
};

static inline void answer_done(struct answer *answer)
{
    buf_done(&answer->head);
    buf_done(&answer->body);
}

static inline struct client client_of(int fd)
{
    struct timeval timeout = {.tv_sec = PATIENCE_MS / 1000};

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    return (struct client){.fd = fd, .in = BUF_INIT((size_t)1 << 30)};
}

static inline int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline void client_done(struct client *client)
{
    close(client->fd);
    client->fd = -1;
    buf_done(&client->in);
}

static inline bool client_send(struct client *client, const void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = send(client->fd, (const char *)bytes + at, size - at, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static inline bool client_request(struct client *client, bool keep, const char *method, const char *uri,
                                  const char *body, size_t size)
{
    struct buf out = BUF_INIT(1 << 24);

    add_request(&out, keep, method, uri, body, size);
    bool is_sent = client_send(client, out.data, out.size);
    buf_done(&out);
    return is_sent;
}

/* At least `size` bytes in client->in; false at the end of the connection. */
static inline bool client_fill(struct client *client, size_t size)
{
    char bytes[65536];

    while (client->in.size < size) {
        ssize_t n = recv(client->fd, bytes, sizeof(bytes), 0);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("the peer neither answers nor closes");
        if (n <= 0)
            return false;
        buf_append(&client->in, bytes, (size_t)n);
    }
    return true;
}

/* The records of one answer, up to END_REQUEST; false when the connection ends before that. */
static inline bool client_read_stdout(struct client *client, struct buf *out)
{
    for (;;) {
        if (!client_fill(client, FCGI_HEADER_LEN))
            return false;
        const unsigned char *at = (const unsigned char *)client->in.data;
        size_t content = (size_t)at[4] << 8 | at[5];
        size_t wire = FCGI_HEADER_LEN + content + at[6];
        unsigned type = at[1];
        if (!client_fill(client, wire))
            return false;
        if (type == FCGI_STDOUT)
            buf_append(out, client->in.data + FCGI_HEADER_LEN, content);
        buf_consume(&client->in, wire);
        if (type == FCGI_END_REQUEST)
            return true;
    }
}

static inline bool client_read(struct client *client, struct answer *ret_answer)
{
    struct buf out = BUF_INIT((size_t)1 << 30);

    *ret_answer = (struct answer){.head = BUF_INIT(1 << 16), .body = BUF_INIT((size_t)1 << 30)};
    bool is_whole = client_read_stdout(client, &out);
    const char *end = is_whole ? memmem(out.data, out.size, "\r\n\r\n", 4) : NULL;
    if (end) {
        buf_append(&ret_answer->head, out.data, (size_t)(end - out.data) + 2);
        buf_append(&ret_answer->head, "", 1);
        buf_append(&ret_answer->body, end + 4, out.size - (size_t)(end + 4 - out.data));
        assert_int_equal(sscanf(ret_answer->head.data, "Status: %d", &ret_answer->status), 1);
    }
    buf_done(&out);
    return end != NULL;
}

/* The status of the next answer, 0 when the connection ends before it. */
static inline int client_read_status(struct client *client)
{
    struct answer answer;

    client_read(client, &answer);
    answer_done(&answer);
    return answer.status;
}

static inline bool client_is_closed(struct client *client)
{
    return !client_fill(client, client->in.size + 1);
}

/* ---- the mock upstream ---- */

struct mock {
    pid_t pid;
    unsigned port;
};

/* At a port of the loopback address, "0" for any; false when there is no mock upstream to start. */
static inline bool mock_start_at(struct mock *mock, const char *address, const char *port)
{
    const char *program = getenv("MOCK_UPSTREAM") ? getenv("MOCK_UPSTREAM") : "build/mock-upstream";
    char line[128] = "";
    int fds[2];

    if (access(program, X_OK) != 0) {
        print_message("SKIPPED: %s is missing\n", program);
        return false;
    }
    assert_int_equal(pipe(fds), 0);
    mock->pid = fork();
    assert_true(mock->pid >= 0);
    if (mock->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(program, program, "--address", address, "--port", port, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    for (size_t at = 0; at + 1 < sizeof(line) && read(fds[0], line + at, 1) == 1 && line[at] != '\n'; at++)
        continue;
    close(fds[0]);
    assert_int_equal(sscanf(line, "listening %*[0-9.]:%u", &mock->port), 1);
    return true;
}

static inline bool mock_start(struct mock *mock)
{
    return mock_start_at(mock, "127.0.0.1", "0");
}

static inline void mock_stop(struct mock *mock)
{
    if (mock->pid <= 0)
        return;
    kill(mock->pid, SIGTERM);
    waitpid(mock->pid, NULL, 0);
    mock->pid = 0;
}
