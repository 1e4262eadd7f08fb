/* The front as a whole: connections, suspended requests, hang-ups, admission, drain and stop, with handlers
 * that are made for it. */
#include "harness.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "front/fcgi.h"
#include "front/front.h"
#include "front/front_int.h"

#define BIG_BYTES ((size_t)8 * 1024 * 1024)

/* ---- work that waits: held until the test lets it go, or passed to other threads ---- */

struct work {
    struct request *req;
    atomic_uint refs; /* of request_wait, and of the work itself */
    atomic_bool is_resumed;
    atomic_uint hangups;
    atomic_uint releases;
    STAILQ_ENTRY(work) link;
};

STAILQ_HEAD(work_list, work);

static struct {
    atomic_uint suspended;
    atomic_uint hangups;
    atomic_uint releases;
    atomic_uint finished;
    atomic_uint live;
    atomic_uint wrong; /* a promise that was not kept */

    pthread_mutex_t lock;
    /* guarded by lock: */
    struct work_list held;
    struct work_list queued;
    bool is_stopping;
    pthread_cond_t has_work;
} works;

static void work_unref(struct work *work)
{
    if (atomic_fetch_sub(&work->refs, 1) != 1)
        return;
    if (atomic_load(&work->hangups) > 1 || atomic_load(&work->releases) != 1)
        atomic_fetch_add(&works.wrong, 1);
    free(work);
    atomic_fetch_sub(&works.live, 1);
}

static void finish_work(struct request *req, void *arg)
{
    struct work *work = arg;

    atomic_fetch_add(&works.finished, 1);
    work_unref(work);
    request_reply(req, 200, "text/plain", "later", 5);
}

static void resume_work(struct work *work)
{
    if (!atomic_exchange(&work->is_resumed, true))
        request_resume(work->req, finish_work, work);
}

/* As a cancelled gather does: the work ends early and the request is resumed as ever. */
static void on_hangup(void *arg)
{
    struct work *work = arg;

    if (atomic_load(&work->releases) != 0)
        atomic_fetch_add(&works.wrong, 1);
    atomic_fetch_add(&work->hangups, 1);
    atomic_fetch_add(&works.hangups, 1);
    resume_work(work);
}

static void on_release(void *arg)
{
    struct work *work = arg;

    atomic_fetch_add(&work->releases, 1);
    atomic_fetch_add(&works.releases, 1);
    work_unref(work);
}

/* One reference more, for the caller. */
static struct work *suspend(struct request *req)
{
    struct work *work = calloc(1, sizeof(*work));

    assert_non_null(work);
    work->req = req;
    atomic_store(&work->refs, 3);
    atomic_fetch_add(&works.live, 1);
    request_suspend(req, &(struct request_wait){on_hangup, on_release, work});
    return work;
}

static void push_work(struct work_list *list, struct work *work)
{
    LOCK(&works.lock);
    STAILQ_INSERT_TAIL(list, work, link);
    pthread_cond_signal(&works.has_work);
}

static struct work *pop_held(void)
{
    LOCK(&works.lock);
    struct work *work = STAILQ_FIRST(&works.held);
    if (work)
        STAILQ_REMOVE_HEAD(&works.held, link);
    return work;
}

static void let_go_all(void)
{
    struct work *work;

    while ((work = pop_held())) {
        resume_work(work);
        work_unref(work);
    }
}

static struct work *next_queued(void)
{
    LOCK(&works.lock);
    while (STAILQ_EMPTY(&works.queued) && !works.is_stopping)
        cond_wait_until(&works.has_work, &works.lock, CLOCK_NEVER);
    struct work *work = STAILQ_FIRST(&works.queued);
    if (work)
        STAILQ_REMOVE_HEAD(&works.queued, link);
    return work;
}

static void *resumer_main(void *arg)
{
    struct work *work;

    while ((work = next_queued())) {
        resume_work(work);
        work_unref(work);
    }
    return arg;
}

/* ---- the routes ---- */

static void get_now(struct request *req)
{
    request_reply(req, 200, "text/plain", "now", 3);
}

static void get_hold(struct request *req)
{
    push_work(&works.held, suspend(req));
    atomic_fetch_add(&works.suspended, 1);
}

static void get_async(struct request *req)
{
    push_work(&works.queued, suspend(req));
    atomic_fetch_add(&works.suspended, 1);
}

static bool is_peer_gone(struct conn *conn)
{
    LOCK(&conn->lock);
    return conn->peer_gone;
}

/* Suspends when another thread has seen that the client has gone. */
static void get_too_late(struct request *req)
{
    uint64_t deadline_ns = in_ms(PATIENCE_MS);

    while (!is_peer_gone(container_of(req, struct conn, req)) && clock_now_ns() < deadline_ns)
        usleep(1000);
    get_hold(req);
}

static void get_big(struct request *req)
{
    struct buf body = BUF_INIT(BIG_BYTES);

    buf_reserve(&body, BIG_BYTES);
    for (size_t i = 0; i < BIG_BYTES / 8; i++)
        buf_append(&body, &i, 8);
    request_reply_buf(req, 200, "application/octet-stream", &body);
}

static void post_echo(struct request *req)
{
    size_t size;
    const char *body = request_body(req, &size);

    request_reply(req, 200, "application/octet-stream", body, size);
}

static void post_drop(struct request *req)
{
    request_drop_body(req);
    get_hold(req);
}

static void get_empty(struct request *req)
{
    request_add_header(req, "ETag", "\"7\"");
    request_reply_empty(req, (int)strtol(request_path_arg(req), NULL, 10));
}

static void get_item(struct request *req)
{
    request_add_header(req, "X-App", request_app(req));
    request_reply(req, 200, "text/plain", request_path_arg(req), strlen(request_path_arg(req)));
}

static void get_id(struct request *req)
{
    request_reply(req, 200, "text/plain", request_id(req), strlen(request_id(req)));
}

static size_t unread(int fd)
{
    int size = 0;

    assert_int_equal(ioctl(fd, FIONREAD, &size), 0);
    return (size_t)size;
}

static void fill_socket(int fd)
{
    static const char junk[4096];

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1024 * 1024}, sizeof(int));
    while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
        continue;
}

static struct {
    int peer_fd;
    size_t before; /* bytes that waited to be dropped */
    size_t after;  /* the thread's first turn */
} flood;

/* Here, on a request thread, a connection that is lingered on gets more than is read in one turn. */
static void get_flood(struct request *req)
{
    struct front *front = container_of(req, struct conn, req)->front;
    struct conn *conn = slab_acquire(front);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fill_socket(fds[0]);
    flood.peer_fd = fds[0];
    flood.before = unread(fds[1]);
    conn->fd = fds[1];
    event.data.u64 = (uint64_t)conn->generation << 32 | conn->index;
    mutex_lock(&conn->lock);
    conn->state = CONN_LINGERING;
    mutex_unlock(&conn->lock);
    conn_on_event(conn, conn->generation, EPOLLIN);
    flood.after = unread(fds[1]);
    assert_int_equal(epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event), 0);
    request_reply(req, 200, "text/plain", "", 0);
}

static const struct route routes[] = {
    {"/now", HTTP_GET, .handler = get_now},
    {"/health", HTTP_GET, .flags = ROUTE_ALWAYS, .handler = get_now},
    {"/hold", HTTP_GET, .handler = get_hold},
    {"/async", HTTP_GET, .handler = get_async},
    {"/too-late", HTTP_GET, .handler = get_too_late},
    {"/big", HTTP_GET, .handler = get_big},
    {"/flood", HTTP_GET, .handler = get_flood},
    {"/echo", HTTP_POST, .handler = post_echo},
    {"/large", HTTP_POST, .flags = ROUTE_LARGE_BODY, .handler = post_echo},
    {"/large/{id}/hold", HTTP_POST, .flags = ROUTE_LARGE_BODY, .handler = get_hold},
    {"/large/{id}/drop", HTTP_POST, .flags = ROUTE_LARGE_BODY, .handler = post_drop},
    {"/empty/{status}", HTTP_GET, .handler = get_empty},
    {"/items/{id}", HTTP_GET, .handler = get_item},
    {"/id", HTTP_GET, .handler = get_id},
};

/* ---- a front for each test ---- */

struct server {
    struct config *config;
    struct front *front;
    char dir[32];
    char path[64];
    unsigned tcp_port; /* 0: a unix socket */
    pthread_t resumers[2];
    unsigned descriptors; /* open before */
};

static void start_resumers(struct server *server)
{
    works.is_stopping = false;
    for (size_t i = 0; i < ARRAY_LEN(server->resumers); i++)
        start(&server->resumers[i], resumer_main, NULL);
}

static void stop_resumers(struct server *server)
{
    mutex_lock(&works.lock);
    works.is_stopping = true;
    pthread_cond_broadcast(&works.has_work);
    mutex_unlock(&works.lock);
    for (size_t i = 0; i < ARRAY_LEN(server->resumers); i++)
        thread_join(server->resumers[i]);
}

static void reset_counts(void)
{
    atomic_store(&works.suspended, 0);
    atomic_store(&works.hangups, 0);
    atomic_store(&works.releases, 0);
    atomic_store(&works.finished, 0);
    atomic_store(&works.wrong, 0);
}

static void use_tcp(struct server *server, struct listener *listener)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    listener_close(listener);
    *listener = (struct listener){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .is_tcp = true};
    assert_int_equal(bind(listener->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener->fd, 100), 0);
    getsockname(listener->fd, (struct sockaddr *)&address, &size);
    server->tcp_port = ntohs(address.sin_port);
}

/* `options` without what is the same in all tests. */
static void server_start_with(struct server *server, const char *yaml, struct front_options options,
                              bool is_tcp)
{
    static char app[] = "the app";
    struct listener listener;
    struct err err = {0};
    char text[512];

    reset_counts();
    *server = (struct server){.dir = "/tmp/front-XXXXXX", .descriptors = count_descriptors()};
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->path, sizeof(server->path), "%s/s", server->dir);
    snprintf(text, sizeof(text), "listen: unix:%s\n%s", server->path, yaml);
    server->config = config_of(text);
    options.config = server->config;
    options.routes = routes;
    options.route_count = ARRAY_LEN(routes);
    options.app = app;
    if (listener_open(&listener, server->config, &err) < 0)
        fail_msg("%s", err.text);
    if (is_tcp)
        use_tcp(server, &listener);
    start_resumers(server);
    if (front_create(&options, &listener, &server->front, &err) < 0 || front_start(server->front, &err) < 0)
        fail_msg("%s", err.text);
}

static void server_start_on(struct server *server, const char *yaml, unsigned max_in_flight, bool is_tcp)
{
    server_start_with(server, yaml, (struct front_options){.max_in_flight = max_in_flight}, is_tcp);
}

static void server_start(struct server *server, const char *yaml)
{
    server_start_on(server, yaml, 10000, false);
}

static bool has_no_work(void *arg)
{
    (void)arg;
    return atomic_load(&works.live) == 0;
}

/* Ends the front and looks whether everything was kept and given back. */
static void server_stop(struct server *server)
{
    front_drain(server->front, in_ms(PATIENCE_MS));
    front_stop(server->front);
    let_go_all();
    stop_resumers(server);
    wait_until(has_no_work, NULL);
    assert_int_equal(atomic_load(&works.wrong), 0);
    assert_int_equal(atomic_load(&works.releases), atomic_load(&works.suspended));
    assert_int_equal(atomic_load(&works.finished), atomic_load(&works.suspended));
    assert_int_equal(atomic_load(&server->front->in_flight), 0);
    assert_int_equal(server->front->conn_count, 0);
    front_free(server->front);
    config_free(server->config);
    rmdir(server->dir);
    assert_int_equal(count_descriptors(), server->descriptors);
}

static struct client dial(const struct server *server)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)server->tcp_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    if (server->tcp_port == 0)
        return client_of(connect_unix(server->path));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return client_of(fd);
}

static bool get(struct client *client, const char *uri)
{
    return client_request(client, true, "GET", uri, "", 0);
}

static int get_status(struct client *client, const char *uri)
{
    return get(client, uri) ? client_read_status(client) : 0;
}

static void assert_answer(struct client *client, int status, const char *body)
{
    struct answer answer;

    assert_true(client_read(client, &answer));
    assert_int_equal(answer.status, status);
    assert_int_equal(answer.body.size, strlen(body));
    if (answer.body.size > 0)
        assert_memory_equal(answer.body.data, body, strlen(body));
    answer_done(&answer);
}

static void assert_header(struct client *client, int status, const char *header)
{
    struct answer answer;

    assert_true(client_read(client, &answer));
    assert_int_equal(answer.status, status);
    if (!strstr(answer.head.data, header))
        fail_msg("no \"%s\" in \"%s\"", header, answer.head.data);
    answer_done(&answer);
}

static bool is_idle(void *arg)
{
    struct conn *conn = arg;

    LOCK(&conn->lock);
    return conn->state == CONN_IDLE;
}

static bool are_all_closed(void *arg)
{
    struct front *front = arg;

    LOCK(&front->lock);
    return front->conn_count == 0;
}

/* ---- requests and answers ---- */

static void answers_at_once_and_later(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_true(get(&client, "/now"));
    assert_answer(&client, 200, "now");
    assert_true(get(&client, "/async"));
    assert_answer(&client, 200, "later");
    assert_true(client_request(&client, true, "POST", "/echo/", "a body", 6));
    assert_answer(&client, 200, "a body");
    assert_true(get(&client, "/items/a%20b?query"));
    assert_header(&client, 200, "\r\nX-App: the app\r\n");
    client_done(&client);
    server_stop(&server);
}

static void head_has_the_headers_and_no_body(void **state)
{
    struct server server;
    struct answer answer;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_true(client_request(&client, true, "HEAD", "/big", "", 0));
    assert_true(client_read(&client, &answer));
    assert_non_null(strstr(answer.head.data, "\r\nContent-Length: 8388608\r\n"));
    assert_int_equal(answer.body.size, 0);
    answer_done(&answer);
    client_done(&client);
    server_stop(&server);
}

/* RFC 9110, 8.6: no Content-Length with 204, and with 304 only that of the 200 it stands for. */
static void an_empty_answer_says_nothing_of_a_body(void **state)
{
    static const int statuses[] = {204, 304, 202};
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct answer answer;
        char uri[32];
        snprintf(uri, sizeof(uri), "/empty/%d", statuses[i]);
        assert_true(get(&client, uri));
        assert_true(client_read(&client, &answer));
        assert_int_equal(answer.status, statuses[i]);
        assert_int_equal(answer.body.size, 0);
        assert_null(strstr(answer.head.data, "Content-Type:"));
        assert_int_equal(strstr(answer.head.data, "\r\nContent-Length: 0\r\n") != NULL, statuses[i] == 202);
        assert_non_null(strstr(answer.head.data, "\r\nETag: \"7\"\r\n"));
        answer_done(&answer);
    }
    client_done(&client);
    server_stop(&server);
}

static void refuses_what_no_route_answers(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_int_equal(get_status(&client, "/nothing"), 404);
    assert_true(get(&client, "/echo"));
    assert_header(&client, 405, "\r\nAllow: POST\r\n");
    assert_true(client_request(&client, true, "BREW", "/now", "", 0));
    assert_header(&client, 405, "\r\nAllow: GET, HEAD\r\n");
    assert_int_equal(get_status(&client, "/%zz"), 400);
    assert_int_equal(get_status(&client, "/now"), 200);
    client_done(&client);
    server_stop(&server);
}

static void ids_of_requests_are_given_or_made(void **state)
{
    struct server server;
    struct answer answer;
    struct buf out = BUF_INIT(4096);
    struct buf params = BUF_INIT(4096);
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    add_pair(&params, "REQUEST_METHOD", "GET");
    add_pair(&params, "REQUEST_URI", "/id");
    add_pair(&params, "HTTP_X_REQUEST_ID", "abc-1");
    add_begin(&out, true);
    add_params(&out, &params, 100);
    add_stdin(&out, "", 0, 1);
    assert_true(client_send(&client, out.data, out.size));
    assert_answer(&client, 200, "abc-1");
    assert_true(get(&client, "/id"));
    assert_true(client_read(&client, &answer));
    assert_int_equal(answer.body.size, 32);
    answer_done(&answer);
    buf_done(&out);
    buf_done(&params);
    client_done(&client);
    server_stop(&server);
}

static void closes_a_connection_that_is_not_to_be_kept(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_true(client_request(&client, false, "GET", "/now", "", 0));
    assert_answer(&client, 200, "now");
    assert_true(client_is_closed(&client));
    client_done(&client);
    server_stop(&server);
}

static void closes_a_peer_that_does_not_speak_fastcgi(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_true(client_send(&client, "GET / HTTP/1.0\r\n\r\n", 18));
    assert_true(client_is_closed(&client));
    client_done(&client);
    server_stop(&server);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    static const char *const bodies[] = {"first", "second", "", "fourth"};
    struct buf out = BUF_INIT(1 << 20);
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
            add_request(&out, true, "POST", "/echo", bodies[i], strlen(bodies[i]));
            add_request(&out, true, "GET", "/async", "", 0);
        }
    assert_true(client_send(&client, out.data, out.size));
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
            assert_answer(&client, 200, bodies[i]);
            assert_answer(&client, 200, "later");
        }
    buf_done(&out);
    client_done(&client);
    server_stop(&server);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    struct buf out = BUF_INIT(1 << 16);
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    add_request(&out, true, "POST", "/echo", "slowly", 6);
    add_request(&out, true, "GET", "/now", "", 0);
    for (size_t i = 0; i < out.size; i++)
        assert_true(client_send(&client, out.data + i, 1));
    assert_answer(&client, 200, "slowly");
    assert_answer(&client, 200, "now");
    buf_done(&out);
    client_done(&client);
    server_stop(&server);
}

static void a_body_over_the_limit_is_answered_before_it_is_sent(void **state)
{
    struct buf out = BUF_INIT(1 << 16);
    struct buf params = BUF_INIT(1024);
    char body[32768] = "";
    struct server server;
    (void)state;

    server_start(&server, "max_body: 1KiB");
    struct client client = dial(&server);
    add_pair(&params, "REQUEST_METHOD", "POST");
    add_pair(&params, "REQUEST_URI", "/echo");
    add_begin(&out, true);
    add_params(&out, &params, 1024);
    add_record(&out, FCGI_STDIN, 1, body, sizeof(body));
    assert_true(client_send(&client, out.data, out.size - sizeof(body)));
    assert_int_equal(client_read_status(&client), 413);
    assert_true(client_send(&client, body, sizeof(body))); /* no reset while we still send */
    assert_true(client_is_closed(&client));
    buf_done(&out);
    buf_done(&params);
    client_done(&client);
    server_stop(&server);
}

/* ---- large bodies ---- */

#define LARGE_BYTES  ((size_t)1024 * 1024)
#define BUDGET_BYTES (2 * LARGE_BYTES + LARGE_BYTES / 2)

static void server_start_large(struct server *server, const char *yaml)
{
    server_start_with(server, yaml,
                      (struct front_options){.max_in_flight = 10000,
                                             .max_large_body_bytes = LARGE_BYTES,
                                             .max_large_bytes_in_flight = BUDGET_BYTES},
                      false);
}

static size_t budget_left(const struct server *server)
{
    return atomic_load(&server->front->large_budget);
}

static bool is_budget_taken(void *server)
{
    return budget_left(server) != BUDGET_BYTES;
}

static bool is_budget_whole(void *server)
{
    return budget_left(server) == BUDGET_BYTES;
}

/* BEGIN_REQUEST and PARAMS of a POST; no CONTENT_LENGTH when that is NULL. */
static void add_head(struct buf *out, const char *uri, const char *content_length)
{
    cleanup(buf_done) struct buf params = BUF_INIT(1024);

    add_pair(&params, "REQUEST_METHOD", "POST");
    add_pair(&params, "REQUEST_URI", uri);
    if (content_length)
        add_pair(&params, "CONTENT_LENGTH", content_length);
    add_begin(out, true);
    add_params(out, &params, 7);
}

static void send_head(struct client *client, const char *uri, const char *content_length)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 16);

    add_head(&out, uri, content_length);
    assert_true(client_send(client, out.data, out.size));
}

static void send_body(struct client *client, const char *body, size_t size)
{
    cleanup(buf_done) struct buf out = BUF_INIT(4 * LARGE_BYTES);

    add_stdin(&out, body, size, 32768);
    assert_true(client_send(client, out.data, out.size));
}

static const char *large_body(void)
{
    static char body[LARGE_BYTES + 1];

    for (size_t i = 0; i < LARGE_BYTES; i++)
        body[i] = (char)(i / 251 + i);
    return body;
}

static void assert_echo(struct client *client, const char *body, size_t size)
{
    struct answer answer;

    assert_true(client_read(client, &answer));
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, size);
    assert_memory_equal(answer.body.data, body, size);
    answer_done(&answer);
}

static void a_large_body_comes_whole_where_its_route_takes_it(void **state)
{
    static const char *const lengths[] = {"1048576", NULL, "what", ""};
    static const char *const yamls[] = {"max_body: 1KiB", "max_body: 64KiB"};
    struct server server;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(yamls); i++) {
        server_start_large(&server, yamls[i]);
        struct client client = dial(&server);
        for (size_t j = 0; j < ARRAY_LEN(lengths); j++) {
            send_head(&client, "/large?query", lengths[j]);
            send_body(&client, large_body(), LARGE_BYTES);
            assert_echo(&client, large_body(), LARGE_BYTES);
            assert_int_equal(get_status(&client, "/now"), 200);
            assert_true(is_budget_whole(&server));
        }
        assert_true(client_request(&client, true, "POST", "/large", "small", 5));
        assert_echo(&client, "small", 5);
        client_done(&client);
        server_stop(&server);
    }
}

/* Above the usual limit, but in the thread's buffer at once. */
static void a_large_body_may_come_in_one_piece(void **state)
{
    struct server server;
    (void)state;

    server_start_large(&server, "max_body: 1KiB");
    struct client client = dial(&server);
    for (size_t size = 1023; size < 30000; size = size * 3 / 2) {
        cleanup(buf_done) struct buf out = BUF_INIT(1 << 16);
        add_head(&out, "/large", NULL);
        add_stdin(&out, large_body(), size, 10000);
        add_request(&out, true, "GET", "/now", "", 0); /* behind it */
        assert_true(client_send(&client, out.data, out.size));
        assert_echo(&client, large_body(), size);
        assert_answer(&client, 200, "now");
        assert_true(is_budget_whole(&server));
    }
    client_done(&client);
    server_stop(&server);
}

struct sending {
    struct client *client;
    const struct buf *out;
    bool is_sent;
};

static void *send_all(void *arg)
{
    struct sending *sending = arg;

    sending->is_sent = client_send(sending->client, sending->out->data, sending->out->size);
    return NULL;
}

static void what_is_behind_a_large_body_is_the_next_request(void **state)
{
    cleanup(buf_done) struct buf out = BUF_INIT(8 * LARGE_BYTES);
    struct server server;
    (void)state;

    server_start_large(&server, "");
    struct client client = dial(&server);
    for (int i = 0; i < 3; i++) {
        add_head(&out, "/large/", "1000000");
        add_stdin(&out, large_body(), 1000000, 65535);
        add_request(&out, true, "GET", "/items/7", "", 0);
    }
    pthread_t thread;
    struct sending sending = {&client, &out, false};
    start(&thread, send_all, &sending);
    for (int i = 0; i < 3; i++) {
        assert_echo(&client, large_body(), 1000000);
        assert_answer(&client, 200, "7");
    }
    thread_join(thread);
    assert_true(sending.is_sent);
    client_done(&client);
    server_stop(&server);
}

static void a_large_body_is_refused_where_its_route_does_not_take_it(void **state)
{
    static const struct {
        const char *uri;
        const char *length;
        int status;
    } rows[] = {
        {"/echo", "65537", 413},
        {"/echo", "99999999999999999999999999999999999999999999999999", 413},
        {"/large", "1048577", 413},
        {"/large", "18446744073709551616", 413},
        {"/large/7/hold/x", "65537", 404},
        {"/now", "65537", 405},
        {"/%zz", "65537", 400},
    };
    struct server server;
    (void)state;

    server_start_large(&server, "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) { /* without a byte of the body */
        struct client client = dial(&server);
        send_head(&client, rows[i].uri, rows[i].length);
        assert_int_equal(client_read_status(&client), rows[i].status);
        assert_true(client_is_closed(&client));
        client_done(&client);
    }
    assert_true(is_budget_whole(&server));
    server_stop(&server);
}

/* It could take what is not its own: the budget has what was declared. */
static void a_body_larger_than_it_was_declared_is_refused(void **state)
{
    static const char *const lengths[] = {"100", "70000"};
    struct server server;
    (void)state;

    server_start_large(&server, "");
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct client client = dial(&server);
        send_head(&client, "/large", lengths[i]);
        send_body(&client, large_body(), 80000);
        assert_int_equal(client_read_status(&client), 413);
        client_done(&client);
    }
    wait_until(is_budget_whole, &server);
    server_stop(&server);
}

static void large_bodies_share_a_budget(void **state)
{
    struct client clients[2];
    struct server server;
    (void)state;

    server_start_large(&server, "");
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = dial(&server);
        send_head(&clients[i], "/large/7/hold", "1048576");
        send_body(&clients[i], large_body(), LARGE_BYTES);
        wait_for_count(&works.suspended, i + 1);
    }
    assert_int_equal(budget_left(&server), BUDGET_BYTES - 2 * LARGE_BYTES);
    struct client third = dial(&server);
    send_head(&third, "/large", "1048576");
    assert_header(&third, 503, "\r\nRetry-After: 1\r\n");
    assert_true(client_is_closed(&third));
    client_done(&third);
    third = dial(&server); /* a smaller one finds room, a usual one needs none */
    send_head(&third, "/large", "500000");
    send_body(&third, large_body(), 500000);
    assert_echo(&third, large_body(), 500000);
    assert_true(client_request(&third, true, "POST", "/large", "small", 5));
    assert_echo(&third, "small", 5);
    let_go_all();
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        assert_answer(&clients[i], 200, "later");
        client_done(&clients[i]);
    }
    assert_true(is_budget_whole(&server));
    client_done(&third);
    server_stop(&server);
}

/* With its connection, in the middle of it, while it is waited for, and by who has read it. */
static void a_large_body_that_is_gone_leaves_its_room_to_others(void **state)
{
    struct server server;
    (void)state;

    server_start_large(&server, "");
    for (unsigned round = 1; round <= 5; round++) {
        struct client half = dial(&server);
        send_head(&half, "/large", "1048576");
        assert_true(client_send(&half, large_body(), 0));
        client_done(&half);
        wait_until(is_budget_whole, &server);

        struct client held = dial(&server);
        send_head(&held, "/large/7/hold", "1000000");
        send_body(&held, large_body(), 1000000);
        wait_for_count(&works.suspended, 2 * round - 1);
        assert_int_equal(budget_left(&server), BUDGET_BYTES - 1000000);
        client_done(&held);
        wait_until(is_budget_whole, &server);

        struct client dropped = dial(&server);
        send_head(&dropped, "/large/7/drop", "1000000");
        send_body(&dropped, large_body(), 1000000);
        wait_for_count(&works.suspended, 2 * round);
        assert_int_equal(budget_left(&server), BUDGET_BYTES - 1000000); /* for what was made of it */
        let_go_all();
        assert_answer(&dropped, 200, "later");
        wait_until(is_budget_whole, &server);
        client_done(&dropped);
    }
    server_stop(&server);
}

/* A claim is not memory: only what has arrived is. */
static void a_large_body_takes_memory_as_it_arrives(void **state)
{
    struct server server;
    (void)state;

    server_start_large(&server, "client_timeout: 1m");
    struct client client = dial(&server);
    send_head(&client, "/large", "1048576");
    wait_until(is_budget_taken, &server);
    struct conn *conn = slab_find(server.front, 0);
    wait_until(is_idle, conn);
    mutex_lock(&conn->lock); /* nobody owns it meanwhile */
    assert_true(conn->in.capacity < 1024);
    mutex_unlock(&conn->lock);
    client_done(&client);
    wait_until(is_budget_whole, &server);
    server_stop(&server);
}

static void a_half_large_body_ends_with_the_timeout(void **state)
{
    struct server server;
    (void)state;

    server_start_large(&server, "client_timeout: 100ms");
    struct client client = dial(&server);
    send_head(&client, "/large", "1048576");
    assert_true(client_is_closed(&client));
    assert_true(is_budget_whole(&server));
    client_done(&client);
    server_stop(&server);
}

/* Records of one byte with much padding: the wire limit comes before the others. */
static void a_request_over_the_wire_limit_is_refused_however_it_is_cut(void **state)
{
    struct frames_limits limits = {4096, 1024};
    size_t max = frames_wire_max_bytes(&limits);
    struct buf out = BUF_INIT(1 << 20);
    struct server server;
    (void)state;

    server_start(&server, "max_params: 4KiB\nmax_body: 1KiB\nrequest_threads: 1");
    add_begin(&out, true);
    while (max - out.size >= 2 * 264)
        add_record_padded(&out, FCGI_PARAMS, 1, "x", 1, 255);
    add_record_padded(&out, FCGI_PARAMS, 1, "x", 1, (unsigned)(max - out.size - 16) / 2);
    add_record_padded(&out, FCGI_PARAMS, 1, "x", 1, (unsigned)(max - out.size - 9));
    assert_int_equal(out.size, max);
    add_record(&out, FCGI_PARAMS, 1, "", 0);
    /* The limit in whole records and a part of one more header at once, then the rest. */
    for (size_t size = max; size < out.size; size++) {
        struct client client = dial(&server);
        assert_true(client_send(&client, out.data, size));
        for (size_t i = size; i < out.size && client_send(&client, out.data + i, 1); i++)
            continue;
        assert_true(client_is_closed(&client));
        client_done(&client);
    }
    buf_done(&out);
    server_stop(&server);
}

static int most_send_buffer(void)
{
    FILE *file = fopen("/proc/sys/net/core/wmem_max", "r");
    int bytes = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &bytes), 1);
    fclose(file);
    return 2 * bytes; /* the kernel doubles what is asked for, to count its own part */
}

/* Whatever the system's default is: an answer that is written at once must not block a thread. */
static void sockets_have_room_for_an_answer_that_is_written_at_once(void **state)
{
    struct server server;
    (void)state;

    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        int size = 0;
        socklen_t length = sizeof(size);
        server_start_on(&server, "", 10000, is_tcp);
        struct client client = dial(&server);
        assert_int_equal(get_status(&client, "/now"), 200);
        struct conn *conn = slab_find(server.front, 0);
        mutex_lock(&conn->lock); /* it rests: nobody owns it meanwhile */
        assert_int_equal(getsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &size, &length), 0);
        mutex_unlock(&conn->lock);
        assert_int_equal(size, MIN(2 * 128 * 1024, most_send_buffer()));
        client_done(&client);
        server_stop(&server);
    }
}

static void a_peer_that_floods_is_read_in_turns(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 1");
    struct client client = dial(&server);
    assert_int_equal(get_status(&client, "/flood"), 200);
    assert_true(flood.after > 0);
    assert_true(flood.before - flood.after <= 256 * 1024);
    close(flood.peer_fd);
    client_done(&client);
    wait_until(are_all_closed, server.front); /* the other turns came as well */
    server_stop(&server);
}

/* ---- many at once ---- */

#define CLIENTS 8
#define ROUNDS  400

static void *client_main(void *arg)
{
    static const char *const uris[] = {"/now", "/async", "/async", "/items/7"};
    static const char *const bodies[] = {"now", "later", "later", "7"};
    struct client client = dial(arg);
    struct answer answer;
    uintptr_t good = 0;

    for (size_t i = 0; i < ROUNDS; i++) {
        const char *body = bodies[i % ARRAY_LEN(uris)];
        if (!get(&client, uris[i % ARRAY_LEN(uris)]) || !client_read(&client, &answer))
            break;
        good += answer.status == 200 && answer.body.size == strlen(body) &&
                memcmp(answer.body.data, body, strlen(body)) == 0;
        answer_done(&answer);
    }
    client_done(&client);
    return (void *)good;
}

static void run_clients(struct server *server)
{
    pthread_t threads[CLIENTS];

    for (size_t i = 0; i < CLIENTS; i++)
        start(&threads[i], client_main, server);
    for (size_t i = 0; i < CLIENTS; i++) {
        void *good;
        pthread_join(threads[i], &good);
        assert_int_equal((uintptr_t)good, ROUNDS);
    }
}

static void thousands_of_requests_over_several_connections(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 4");
    run_clients(&server);
    assert_int_equal(atomic_load(&works.suspended), CLIENTS * ROUNDS / 2);
    assert_int_equal(atomic_load(&works.hangups), 0);
    server_stop(&server);
}

static void one_thread_serves_several_connections(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 1");
    run_clients(&server);
    server_stop(&server);
}

static void tcp_serves_as_well(void **state)
{
    struct server server;
    (void)state;

    server_start_on(&server, "", 10000, true);
    run_clients(&server);
    server_stop(&server);
}

/* ---- clients that go away ---- */

static void a_hang_up_cancels_exactly_once(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    for (unsigned round = 1; round <= 200; round++) {
        struct client client = dial(&server);
        assert_true(get(&client, "/hold"));
        wait_for_count(&works.suspended, round);
        client_done(&client);
        wait_for_count(&works.releases, round);
        assert_int_equal(atomic_load(&works.hangups), round);
    }
    wait_until(are_all_closed, server.front);
    let_go_all();
    server_stop(&server);
}

static void a_hang_up_before_the_wait_is_told_as_well(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 2");
    struct client client = dial(&server);
    assert_true(get(&client, "/too-late"));
    client_done(&client);
    wait_for_count(&works.releases, 1);
    assert_int_equal(atomic_load(&works.hangups), 1);
    server_stop(&server);
}

static void on_tcp_the_end_of_sending_is_a_hang_up(void **state)
{
    struct server server;
    (void)state;

    server_start_on(&server, "", 10000, true);
    struct client client = dial(&server);
    assert_true(get(&client, "/hold"));
    wait_for_count(&works.suspended, 1);
    shutdown(client.fd, SHUT_WR);
    wait_for_count(&works.hangups, 1);
    client_done(&client);
    server_stop(&server);
}

static void on_a_unix_socket_the_end_of_sending_is_none(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    for (unsigned round = 1; round <= 500; round++) { /* it may be seen at any moment of the request */
        struct client client = dial(&server);
        assert_true(get(&client, "/hold"));
        shutdown(client.fd, SHUT_WR);
        wait_for_count(&works.suspended, round);
        let_go_all();
        assert_answer(&client, 200, "later");
        assert_true(client_is_closed(&client));
        client_done(&client);
    }
    assert_int_equal(atomic_load(&works.hangups), 0);
    server_stop(&server);
}

/* Hang-up, resume and the start of the request in any order. */
static void hang_ups_race_with_answers(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 4");
    for (unsigned round = 0; round < 500; round++) {
        struct client clients[4];
        for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
            clients[i] = dial(&server);
            get(&clients[i], "/async");
        }
        for (size_t i = 0; i < ARRAY_LEN(clients); i++)
            client_done(&clients[i]);
    }
    wait_until(are_all_closed, server.front);
    server_stop(&server);
}

static void a_request_behind_the_one_that_was_left_is_not_started(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    get(&client, "/hold");
    get(&client, "/hold");
    wait_for_count(&works.suspended, 1);
    client_done(&client);
    wait_until(are_all_closed, server.front);
    let_go_all();
    assert_int_equal(atomic_load(&works.suspended), 1);
    server_stop(&server);
}

/* ---- too many ---- */

static void above_max_in_flight_requests_are_refused(void **state)
{
    struct client clients[3];
    struct server server;
    (void)state;

    server_start_on(&server, "", 2, false);
    for (unsigned i = 0; i < 2; i++) {
        clients[i] = dial(&server);
        assert_true(get(&clients[i], "/hold"));
        wait_for_count(&works.suspended, i + 1);
    }
    clients[2] = dial(&server);
    assert_true(get(&clients[2], "/now"));
    assert_header(&clients[2], 503, "\r\nRetry-After: 1\r\n");
    assert_int_equal(get_status(&clients[2], "/health"), 200);
    let_go_all();
    assert_answer(&clients[0], 200, "later");
    assert_answer(&clients[1], 200, "later");
    assert_int_equal(get_status(&clients[2], "/now"), 200);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        client_done(&clients[i]);
    server_stop(&server);
}

static void above_max_connections_a_peer_waits_until_one_ends(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "max_connections: 2");
    for (int round = 0; round < 100; round++) {
        struct client first = dial(&server);
        struct client second = dial(&server);
        assert_int_equal(get_status(&first, "/now"), 200);
        assert_int_equal(get_status(&second, "/now"), 200);
        struct client third = dial(&server);
        assert_true(get(&third, "/now"));
        client_done(&first);
        assert_answer(&third, 200, "now");
        client_done(&second);
        client_done(&third);
    }
    server_stop(&server);
}

static bool is_a_second_later(void *since_ns)
{
    return clock_now_ns() > *(uint64_t *)since_ns + 1100 * NS_PER_MS;
}

/* A web server may keep more connections than there can be, and use none of them. */
static void above_max_connections_one_that_rests_is_closed(void **state)
{
    struct server server;
    uint64_t now_ns;
    (void)state;

    server_start(&server, "max_connections: 2");
    struct client first = dial(&server);
    struct client second = dial(&server);
    assert_int_equal(get_status(&first, "/now"), 200);
    assert_true(get(&second, "/hold"));
    wait_for_count(&works.suspended, 1);
    now_ns = clock_now_ns();
    wait_until(is_a_second_later, &now_ns);
    struct client third = dial(&server);
    assert_int_equal(get_status(&third, "/now"), 200);
    assert_true(client_is_closed(&first)); /* and not the one with a request in flight */
    let_go_all();
    assert_answer(&second, 200, "later");
    client_done(&first);
    client_done(&second);
    client_done(&third);
    server_stop(&server);
}

/* The last of its places is taken, but nobody waits for one. */
static void nobody_is_closed_for_nobody(void **state)
{
    struct server server;
    uint64_t now_ns;
    (void)state;

    server_start(&server, "max_connections: 2");
    struct client first = dial(&server);
    assert_int_equal(get_status(&first, "/now"), 200);
    now_ns = clock_now_ns();
    wait_until(is_a_second_later, &now_ns);
    struct client second = dial(&server);
    assert_int_equal(get_status(&second, "/now"), 200);
    assert_int_equal(get_status(&second, "/now"), 200);
    assert_int_equal(get_status(&first, "/now"), 200);
    client_done(&first);
    client_done(&second);
    server_stop(&server);
}

static bool accept_rests(void *arg)
{
    struct front *front = arg;

    return atomic_load(&front->accept_at_ns) != CLOCK_NEVER;
}

/* However long its request took: the web server is about to use it again. */
static void a_connection_rests_from_its_answer_on(void **state)
{
    struct client clients[2];
    struct server server;
    uint64_t now_ns;
    (void)state;

    server_start(&server, "max_connections: 2");
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = dial(&server);
        assert_true(get(&clients[i], "/hold"));
        wait_for_count(&works.suspended, i + 1);
    }
    now_ns = clock_now_ns();
    wait_until(is_a_second_later, &now_ns);
    let_go_all();
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++)
        assert_answer(&clients[i], 200, "later");
    struct client third = dial(&server);
    assert_true(get(&third, "/now"));
    wait_until(accept_rests, server.front); /* it has found no place */
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++)
        assert_int_equal(get_status(&clients[i], "/now"), 200);
    client_done(&clients[0]);
    assert_answer(&third, 200, "now");
    client_done(&clients[1]);
    client_done(&third);
    server_stop(&server);
}

/* No connection ends here that could tell: accepting is tried again after a moment. */
static void without_descriptors_a_peer_waits_until_there_are_some(void **state)
{
    struct rlimit old;
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_int_equal(get_status(&client, "/now"), 200);
    client_done(&client);
    wait_until(are_all_closed, server.front);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct rlimit low = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server.path);
    int rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
    wait_until(accept_rests, server.front);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(rc, 0);
    client = client_of(fd);
    assert_int_equal(get_status(&client, "/now"), 200);
    client_done(&client);
    server_stop(&server);
}

/* The limit is such that there are so many descriptors left; returns the old one. */
static struct rlimit leave_descriptors(rlim_t count)
{
    struct rlimit old;
    int fd = dup(STDOUT_FILENO);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = (rlim_t)fd + count, .rlim_max = old.rlim_max};
    close(fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    return old;
}

/* The value of a metric's cell, as it is scraped. */
static int metric(const char *cell)
{
    cleanup(buf_done) struct buf text = BUF_INIT(1 << 20);
    int value = 0;

    metrics_write(&text);
    buf_append(&text, "", 1);
    const char *at = strstr(text.data, cell);
    if (at)
        sscanf(at + strlen(cell), "%d", &value);
    return value;
}

#define BIG_200 "heddle_requests_total{route=\"/big\",status=\"200\"} "
#define BIG_503 "heddle_requests_total{route=\"/big\",status=\"503\"} "

static void an_answer_there_is_no_file_for_is_503(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_int_equal(get_status(&client, "/now"), 200); /* it is accepted */
    int answered = metric(BIG_200);
    int refused = metric(BIG_503);
    struct rlimit old = leave_descriptors(0);
    int status = get_status(&client, "/big");
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(status, 503);
    assert_int_equal(metric(BIG_200), answered);
    assert_int_equal(metric(BIG_503), refused + 1);
    assert_int_equal(get_status(&client, "/big"), 200);
    client_done(&client);
    server_stop(&server);
}

#define CLOSED_ERROR    "heddle_connections_closed_total{reason=\"error\"} "
#define CLOSED_PROTOCOL "heddle_connections_closed_total{reason=\"protocol\"} "

/* So much padding that the thread's pipe does not take the parameters; it needs a new pipe then. */
static void send_more_than_a_pipe(struct client *client)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 16);
    cleanup(buf_done) struct buf params = BUF_INIT(1024);

    add_pair(&params, "REQUEST_URI", "/now");
    add_begin(&out, true);
    for (size_t i = 0; i < params.size; i++)
        add_record_padded(&out, FCGI_PARAMS, 1, params.data + i, 1, 255);
    while (out.size < 9000)
        add_record_padded(&out, FCGI_PARAMS, 1, "\0\0", 2, 255);
    add_record(&out, FCGI_PARAMS, 1, "", 0);
    add_record(&out, FCGI_STDIN, 1, "", 0);
    assert_true(client_send(client, out.data, out.size));
}

static void what_ends_a_connection_is_told_apart(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 1\nmax_params: 4KiB");
    struct client first = dial(&server);
    struct client second = dial(&server);
    assert_int_equal(get_status(&second, "/now"), 200);
    int protocol = metric(CLOSED_PROTOCOL);
    int error = metric(CLOSED_ERROR);
    send_more_than_a_pipe(&first);
    assert_true(client_is_closed(&first));
    assert_int_equal(metric(CLOSED_PROTOCOL), protocol + 1);
    client_done(&first);
    struct rlimit old = leave_descriptors(0);
    bool is_sent = get(&second, "/now");
    bool is_closed = client_is_closed(&second);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_true(is_sent && is_closed);
    assert_int_equal(metric(CLOSED_PROTOCOL), protocol + 1);
    assert_int_equal(metric(CLOSED_ERROR), error + 1);
    client_done(&second);
    server_stop(&server);
}

/* ---- peers that are slow or silent ---- */

static void a_silent_peer_is_closed_and_an_idle_one_is_kept(void **state)
{
    struct buf out = BUF_INIT(4096);
    struct server server;
    (void)state;

    server_start(&server, "client_timeout: 100ms");
    struct client idle = dial(&server);
    assert_int_equal(get_status(&idle, "/now"), 200);
    struct client silent = dial(&server);
    struct client half = dial(&server);
    add_request(&out, true, "GET", "/now", "", 0);
    assert_true(client_send(&half, out.data, 20));
    assert_true(client_is_closed(&silent));
    assert_true(client_is_closed(&half));
    assert_int_equal(get_status(&idle, "/now"), 200);
    /* Half of a second request. */
    assert_true(client_send(&idle, out.data, 20));
    assert_true(client_is_closed(&idle));
    buf_done(&out);
    client_done(&idle);
    client_done(&silent);
    client_done(&half);
    server_stop(&server);
}

static void read_big(struct client *client)
{
    struct answer answer;

    assert_true(client_read(client, &answer));
    assert_int_equal(answer.body.size, BIG_BYTES);
    for (size_t i = 0; i < BIG_BYTES / 8; i++)
        if (memcmp(answer.body.data + 8 * i, &i, 8) != 0)
            fail_msg("the answer is wrong at byte %zu", 8 * i);
    answer_done(&answer);
}

static void a_peer_that_reads_late_gets_all_of_its_answer(void **state)
{
    struct client clients[4];
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 2\nclient_timeout: 1m");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = dial(&server);
        assert_true(get(&clients[i], "/big"));
        assert_true(get(&clients[i], "/now"));
    }
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        read_big(&clients[i]);
        assert_answer(&clients[i], 200, "now");
        client_done(&clients[i]);
    }
    server_stop(&server);
}

/* Peers that do not read must not keep the threads from others. */
static void peers_that_do_not_read_hold_up_nobody(void **state)
{
    struct client lazy[4];
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 1\nclient_timeout: 1m");
    struct client client = dial(&server);
    for (size_t i = 0; i < ARRAY_LEN(lazy); i++) {
        lazy[i] = dial(&server);
        assert_true(get(&lazy[i], "/big"));
        assert_true(client_fill(&lazy[i], 1)); /* its answer has begun */
    }
    uint64_t start_ns = clock_now_ns();
    assert_int_equal(get_status(&client, "/now"), 200);
    assert_true(clock_now_ns() - start_ns < 30 * NS_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(lazy); i++)
        client_done(&lazy[i]);
    client_done(&client);
    server_stop(&server);
}

static void a_peer_that_never_reads_is_closed(void **state)
{
    struct client clients[4];
    struct server server;
    (void)state;

    server_start(&server, "client_timeout: 100ms");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = dial(&server);
        assert_true(get(&clients[i], "/big"));
        assert_true(client_fill(&clients[i], 1));
    }
    wait_until(are_all_closed, server.front);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        client_done(&clients[i]);
    server_stop(&server);
}

static void a_peer_that_leaves_in_the_middle_of_its_answer_is_closed(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "client_timeout: 1m");
    struct client client = dial(&server);
    assert_true(get(&client, "/big"));
    assert_true(client_fill(&client, 100000));
    client_done(&client);
    wait_until(are_all_closed, server.front);
    server_stop(&server);
}

/* ---- a peer that never stops sending what is not wanted any more ---- */

static void a_peer_that_sends_for_ever_is_closed(void **state)
{
    struct buf out = BUF_INIT(1 << 16);
    struct buf params = BUF_INIT(1024);
    static char junk[60000];
    struct server server;
    uint64_t deadline_ns = in_ms(20000);
    (void)state;

    server_start(&server, "max_body: 1KiB\nclient_timeout: 100ms\nrequest_threads: 1");
    struct client client = dial(&server);
    add_pair(&params, "REQUEST_METHOD", "POST");
    add_pair(&params, "REQUEST_URI", "/echo");
    add_begin(&out, true);
    add_params(&out, &params, 1024);
    add_record(&out, FCGI_STDIN, 1, junk, sizeof(junk));
    bool is_open = client_send(&client, out.data, out.size);
    while (is_open && clock_now_ns() < deadline_ns)
        is_open = client_send(&client, junk, sizeof(junk));
    client_done(&client);
    server_stop(&server);
    assert_false(is_open);
    buf_done(&out);
    buf_done(&params);
}

/* ---- drain and stop ---- */

struct drain {
    struct front *front;
    uint64_t deadline_ns;
    unsigned cancelled;
};

static void *drain_main(void *arg)
{
    struct drain *drain = arg;

    drain->cancelled = front_drain(drain->front, drain->deadline_ns);
    return NULL;
}

static bool is_draining(void *arg)
{
    return front_is_draining(arg);
}

static void drain_waits_for_requests_in_flight(void **state)
{
    struct server server;
    pthread_t thread;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_true(get(&client, "/hold"));
    wait_for_count(&works.suspended, 1);
    struct drain drain = {server.front, in_ms(PATIENCE_MS), 99};
    start(&thread, drain_main, &drain);
    wait_until(is_draining, server.front);
    let_go_all();
    thread_join(thread);
    assert_int_equal(drain.cancelled, 0);
    assert_answer(&client, 200, "later");
    assert_true(client_is_closed(&client));
    client_done(&client);
    server_stop(&server);
}

/* It has connected before the drain began, and nobody else will take it. */
static void drain_serves_who_waits(bool is_tcp)
{
    struct client held[2];
    struct server server;
    pthread_t thread;

    server_start_on(&server, "max_connections: 2", 10000, is_tcp);
    for (unsigned i = 0; i < ARRAY_LEN(held); i++) {
        held[i] = dial(&server);
        assert_true(get(&held[i], "/hold"));
        wait_for_count(&works.suspended, i + 1);
    }
    struct client gone = dial(&server);
    struct client waiting = dial(&server);
    assert_true(get(&waiting, "/now"));
    struct drain drain = {server.front, in_ms(PATIENCE_MS), 99};
    atomic_fetch_add(&server.front->in_flight, 1); /* keeps the drain waiting */
    start(&thread, drain_main, &drain);
    wait_until(is_draining, server.front);
    client_done(&gone); /* before it is its turn */
    let_go_all();
    for (unsigned i = 0; i < ARRAY_LEN(held); i++) {
        assert_answer(&held[i], 200, "later");
        client_done(&held[i]);
    }
    assert_answer(&waiting, 200, "now");
    front_request_ended(server.front);
    thread_join(thread);
    assert_int_equal(drain.cancelled, 0);
    client_done(&waiting);
    server_stop(&server);
}

static void drain_serves_who_waits_to_be_accepted(void **state)
{
    (void)state;
    drain_serves_who_waits(false);
    drain_serves_who_waits(true);
}

static void drain_cancels_what_is_left_at_the_deadline(void **state)
{
    struct client clients[3];
    struct server server;
    (void)state;

    server_start(&server, "");
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = dial(&server);
        assert_true(get(&clients[i], "/hold"));
        wait_for_count(&works.suspended, i + 1);
    }
    assert_int_equal(front_drain(server.front, in_ms(20)), ARRAY_LEN(clients));
    assert_int_equal(atomic_load(&works.hangups), ARRAY_LEN(clients));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        assert_answer(&clients[i], 200, "later");
        client_done(&clients[i]);
    }
    server_stop(&server);
}

static void drain_turns_new_connections_away(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    assert_int_equal(front_drain(server.front, in_ms(1000)), 0);
    assert_int_equal(connect_unix(server.path), -1);
    server_stop(&server);
}

/* A connection that nginx has kept may bring one more request at any time. */
static void a_request_after_the_drain_is_answered(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "");
    struct client client = dial(&server);
    assert_int_equal(get_status(&client, "/now"), 200);
    assert_int_equal(front_drain(server.front, in_ms(1000)), 0);
    if (get(&client, "/hold")) {
        int status = client_read_status(&client);
        assert_true(status == 503 || status == 0);
    }
    client_done(&client);
    server_stop(&server);
}

struct hammer {
    const struct server *server;
    atomic_bool is_stopping;
};

static void *hammer_main(void *arg)
{
    struct hammer *hammer = arg;

    while (!atomic_load(&hammer->is_stopping)) {
        int fd = connect_unix(hammer->server->path);
        if (fd < 0)
            continue;
        struct client client = client_of(fd);
        while (get_status(&client, "/async") != 0)
            continue;
        client_done(&client);
    }
    return NULL;
}

/* Requests that are refused come and go while the drain waits for the last one. */
static void drain_under_overload_ends_when_the_last_request_does(void **state)
{
    pthread_t threads[4];
    struct server server;
    (void)state;

    for (int round = 0; round < 30; round++) {
        server_start_on(&server, "request_threads: 4", 1, false);
        struct hammer hammer = {.server = &server};
        for (size_t i = 0; i < ARRAY_LEN(threads); i++)
            start(&threads[i], hammer_main, &hammer);
        wait_for_count(&works.finished, 20);
        uint64_t start_ns = clock_now_ns();
        front_drain(server.front, in_ms(PATIENCE_MS));
        assert_true(clock_now_ns() - start_ns < PATIENCE_MS / 2 * NS_PER_MS);
        atomic_store(&hammer.is_stopping, true);
        front_stop(server.front);
        listener_close(&server.front->listener); /* with who still waited to be accepted */
        for (size_t i = 0; i < ARRAY_LEN(threads); i++)
            thread_join(threads[i]);
        server_stop(&server);
    }
}

/* The last request ends while one is being refused, which counts for a moment: then that one tells the drain.
 * `in_flight` is set by hand to have it so each time. */
static void a_refused_request_may_be_the_last_that_the_drain_waits_for(void **state)
{
    struct server server;
    pthread_t thread;
    (void)state;

    for (int round = 0; round < 10; round++) {
        server_start_on(&server, "", 0, false);
        struct client client = dial(&server);
        assert_int_equal(get_status(&client, "/now"), 503);
        wait_until(is_idle, slab_find(server.front, 0)); /* or the drain would close it */
        struct drain drain = {server.front, in_ms(PATIENCE_MS), 99};
        atomic_store(&server.front->in_flight, 1);
        start(&thread, drain_main, &drain);
        wait_until(is_draining, server.front);
        atomic_store(&server.front->in_flight, 0);
        assert_int_equal(get_status(&client, "/now"), 503);
        thread_join(thread);
        assert_true(clock_now_ns() < drain.deadline_ns);
        client_done(&client);
        server_stop(&server);
    }
}

/* Idle, half a request, an answer nobody reads. */
static void stop_closes_connections_in_every_state(void **state)
{
    struct buf out = BUF_INIT(4096);
    struct server server;
    (void)state;

    server_start(&server, "client_timeout: 1m");
    struct client idle = dial(&server);
    struct client half = dial(&server);
    struct client big = dial(&server);
    assert_int_equal(get_status(&idle, "/now"), 200);
    add_request(&out, true, "GET", "/now", "", 0);
    assert_true(client_send(&half, out.data, 20));
    assert_true(get(&big, "/big"));
    assert_true(client_fill(&big, 1));
    front_drain(server.front, in_ms(10));
    front_stop(server.front);
    assert_true(client_is_closed(&idle));
    assert_true(client_is_closed(&half));
    while (client_fill(&big, big.in.size + 1))
        continue;
    assert_true(big.in.size < BIG_BYTES);
    buf_done(&out);
    client_done(&idle);
    client_done(&half);
    client_done(&big);
    server_stop(&server);
}

static void starts_and_stops_without_a_request(void **state)
{
    struct server server;
    (void)state;

    for (int round = 0; round < 20; round++) {
        server_start(&server, "");
        server_stop(&server);
    }
}

/* With no descriptor for the epoll set, and with the last one taken by it. */
static void a_front_that_cannot_be_made_leaves_nothing_behind(void **state)
{
    struct config *config = config_of("");
    struct front_options options = {.config = config, .routes = routes, .route_count = ARRAY_LEN(routes)};
    unsigned before = count_descriptors();
    (void)state;

    for (rlim_t room = 0; room < 2; room++) {
        struct listener listener = {.fd = -1};
        struct front *front = NULL;
        struct rlimit old = leave_descriptors(room);
        int rc = front_create(&options, &listener, &front, NULL);
        setrlimit(RLIMIT_NOFILE, &old);
        assert_int_equal(rc, -EMFILE);
        assert_null(front);
        assert_int_equal(count_descriptors(), before);
    }
    config_free(config);
}

/* ---- deadlines at bad moments ---- */

/* The sweeper comes while an event has the connection: its owner must be told to look at the clock. */
static void a_deadline_that_finds_the_connection_taken_is_not_lost(void **state)
{
    struct listener listener = {.fd = -1};
    struct config *config = config_of("");
    struct front_options options = {.config = config, .routes = routes, .route_count = ARRAY_LEN(routes)};
    struct front *front;
    (void)state;

    assert_int_equal(front_create(&options, &listener, &front, NULL), 0);
    struct conn *conn = slab_acquire(front);
    conn->fd = dup(STDOUT_FILENO);
    deadline_set(conn);
    conn->state = CONN_READING;
    deadline_sweep(front, conn->deadline_ns);
    assert_true(conn->pending);
    conn_close(conn, CLOSE_TIMEOUT);
    front_free(front);
    config_free(config);
}

static int set_up(void **state)
{
    (void)state;
    if (fcgi_setup(NULL) < 0)
        return -1;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    mutex_init(&works.lock);
    cond_init(&works.has_work);
    STAILQ_INIT(&works.held);
    STAILQ_INIT(&works.queued);
    return front_register_metrics(routes, ARRAY_LEN(routes), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_at_once_and_later),
        cmocka_unit_test(head_has_the_headers_and_no_body),
        cmocka_unit_test(an_empty_answer_says_nothing_of_a_body),
        cmocka_unit_test(refuses_what_no_route_answers),
        cmocka_unit_test(ids_of_requests_are_given_or_made),
        cmocka_unit_test(closes_a_connection_that_is_not_to_be_kept),
        cmocka_unit_test(closes_a_peer_that_does_not_speak_fastcgi),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_request_may_come_byte_by_byte),
        cmocka_unit_test(a_body_over_the_limit_is_answered_before_it_is_sent),
        cmocka_unit_test(a_large_body_comes_whole_where_its_route_takes_it),
        cmocka_unit_test(a_large_body_may_come_in_one_piece),
        cmocka_unit_test(what_is_behind_a_large_body_is_the_next_request),
        cmocka_unit_test(a_large_body_is_refused_where_its_route_does_not_take_it),
        cmocka_unit_test(a_body_larger_than_it_was_declared_is_refused),
        cmocka_unit_test(large_bodies_share_a_budget),
        cmocka_unit_test(a_large_body_that_is_gone_leaves_its_room_to_others),
        cmocka_unit_test(a_large_body_takes_memory_as_it_arrives),
        cmocka_unit_test(a_half_large_body_ends_with_the_timeout),
        cmocka_unit_test(a_request_over_the_wire_limit_is_refused_however_it_is_cut),
        cmocka_unit_test(sockets_have_room_for_an_answer_that_is_written_at_once),
        cmocka_unit_test(a_peer_that_floods_is_read_in_turns),
        cmocka_unit_test(thousands_of_requests_over_several_connections),
        cmocka_unit_test(one_thread_serves_several_connections),
        cmocka_unit_test(tcp_serves_as_well),
        cmocka_unit_test(a_hang_up_cancels_exactly_once),
        cmocka_unit_test(a_hang_up_before_the_wait_is_told_as_well),
        cmocka_unit_test(on_tcp_the_end_of_sending_is_a_hang_up),
        cmocka_unit_test(on_a_unix_socket_the_end_of_sending_is_none),
        cmocka_unit_test(hang_ups_race_with_answers),
        cmocka_unit_test(a_request_behind_the_one_that_was_left_is_not_started),
        cmocka_unit_test(above_max_in_flight_requests_are_refused),
        cmocka_unit_test(above_max_connections_a_peer_waits_until_one_ends),
        cmocka_unit_test(above_max_connections_one_that_rests_is_closed),
        cmocka_unit_test(nobody_is_closed_for_nobody),
        cmocka_unit_test(a_connection_rests_from_its_answer_on),
        cmocka_unit_test(without_descriptors_a_peer_waits_until_there_are_some),
        cmocka_unit_test(an_answer_there_is_no_file_for_is_503),
        cmocka_unit_test(what_ends_a_connection_is_told_apart),
        cmocka_unit_test(a_silent_peer_is_closed_and_an_idle_one_is_kept),
        cmocka_unit_test(a_peer_that_reads_late_gets_all_of_its_answer),
        cmocka_unit_test(peers_that_do_not_read_hold_up_nobody),
        cmocka_unit_test(a_peer_that_never_reads_is_closed),
        cmocka_unit_test(a_peer_that_leaves_in_the_middle_of_its_answer_is_closed),
        cmocka_unit_test(a_peer_that_sends_for_ever_is_closed),
        cmocka_unit_test(drain_waits_for_requests_in_flight),
        cmocka_unit_test(drain_serves_who_waits_to_be_accepted),
        cmocka_unit_test(drain_cancels_what_is_left_at_the_deadline),
        cmocka_unit_test(drain_turns_new_connections_away),
        cmocka_unit_test(a_request_after_the_drain_is_answered),
        cmocka_unit_test(drain_under_overload_ends_when_the_last_request_does),
        cmocka_unit_test(a_refused_request_may_be_the_last_that_the_drain_waits_for),
        cmocka_unit_test(stop_closes_connections_in_every_state),
        cmocka_unit_test(starts_and_stops_without_a_request),
        cmocka_unit_test(a_front_that_cannot_be_made_leaves_nothing_behind),
        cmocka_unit_test(a_deadline_that_finds_the_connection_taken_is_not_lost),
    };

    return cmocka_run_group_tests_name("front", tests, set_up, NULL);
}
