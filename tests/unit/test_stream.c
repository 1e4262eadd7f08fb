/* Answers without an end: who writes, who reads, who leaves, in any order. */
#include "harness.h"

#include <sys/ioctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "front/fcgi.h"
#include "front/front.h"
#include "front/front_int.h"

/* ---- what a handler would keep of its stream ---- */

struct feed {
    struct request_stream *stream;
    atomic_uint closed;
    pthread_t closer; /* set before `closed` */
};

#define FEEDS_MAX 4096

static struct {
    struct feed feeds[FEEDS_MAX];
    atomic_uint begun; /* feeds[0..begun) are ready */
    atomic_uint next;
    atomic_uint closed; /* of all */
    atomic_uint none;   /* request_stream_begin has said NULL */
    struct request *held;
    atomic_uint holds;
} feeds;

static void on_closed(void *arg)
{
    struct feed *feed = arg;

    feed->closer = pthread_self();
    atomic_fetch_add(&feed->closed, 1);
    atomic_fetch_add(&feeds.closed, 1);
}

/* NULL, and answered, when there are no more. */
static struct feed *take_feed(struct request *req)
{
    unsigned number = atomic_fetch_add(&feeds.next, 1);

    if (number < FEEDS_MAX)
        return &feeds.feeds[number];
    atomic_fetch_sub(&feeds.next, 1);
    request_problem(req, 503, "the test has no more feeds");
    return NULL;
}

static void get_stream(struct request *req)
{
    struct feed *feed = take_feed(req);

    if (!feed)
        return;
    request_add_header(req, "X-Kind", "events");
    feed->stream = request_stream_begin(req, "text/event-stream", on_closed, feed);
    if (feed->stream)
        atomic_fetch_add(&feeds.begun, 1);
    else
        atomic_fetch_add(&feeds.none, 1);
}

/* Ends at once, in the handler. */
static void get_short(struct request *req)
{
    struct feed *feed = take_feed(req);

    if (!feed)
        return;
    struct request_stream *stream = request_stream_begin(req, "text/plain", on_closed, feed);
    if (!stream) {
        atomic_fetch_add(&feeds.none, 1);
        return;
    }
    request_stream_write(stream, "short", 5);
    request_stream_end(stream);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void get_hold(struct request *req)
{
    static const struct request_wait wait = {nothing, nothing, NULL};

    request_suspend(req, &wait);
    feeds.held = req;
    atomic_fetch_add(&feeds.holds, 1);
}

static void get_now(struct request *req)
{
    request_reply(req, 200, "text/plain", "now", 3);
}

static const struct route routes[] = {
    {"/stream", HTTP_GET, .handler = get_stream},
    {"/short", HTTP_GET, .handler = get_short},
    {"/hold", HTTP_GET, .handler = get_hold},
    {"/now", HTTP_GET, .handler = get_now},
};

/* ---- a front for each test ---- */

struct server {
    struct config *config;
    struct front *front;
    char dir[32];
    char path[64];
    unsigned descriptors; /* open before */
};

static void server_start(struct server *server, const char *yaml, struct front_options options)
{
    struct listener listener;
    struct err err = {0};
    char text[512];

    memset(&feeds, 0, sizeof(feeds));
    *server = (struct server){.dir = "/tmp/stream-XXXXXX", .descriptors = count_descriptors()};
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->path, sizeof(server->path), "%s/s", server->dir);
    snprintf(text, sizeof(text), "listen: unix:%s\n%s", server->path, yaml);
    server->config = config_of(text);
    options.config = server->config;
    options.routes = routes;
    options.route_count = ARRAY_LEN(routes);
    options.max_in_flight = options.max_in_flight ? options.max_in_flight : 1000;
    if (listener_open(&listener, server->config, &err) < 0 ||
        front_create(&options, &listener, &server->front, &err) < 0 || front_start(server->front, &err) < 0)
        fail_msg("%s", err.text);
}

static void server_stop(struct server *server)
{
    front_drain(server->front, in_ms(PATIENCE_MS));
    front_stop(server->front);
    assert_int_equal(atomic_load(&feeds.closed), atomic_load(&feeds.next) - atomic_load(&feeds.none));
    for (unsigned i = 0; i < atomic_load(&feeds.next); i++)
        assert_in_range(atomic_load(&feeds.feeds[i].closed), 0, 1);
    assert_int_equal(atomic_load(&server->front->in_flight), 0);
    assert_int_equal(atomic_load(&server->front->streams), 0);
    assert_int_equal(server->front->conn_count, 0);
    front_free(server->front);
    config_free(server->config);
    rmdir(server->dir);
    assert_int_equal(count_descriptors(), server->descriptors);
}

static struct client dial(const struct server *server)
{
    return client_of(connect_unix(server->path));
}

static bool get(struct client *client, const char *uri)
{
    return client_request(client, true, "GET", uri, "", 0);
}

static int get_status(struct client *client, const char *uri)
{
    return get(client, uri) ? client_read_status(client) : 0;
}

/* A client with an open stream, which is the feed with this number. */
static struct client listen_as(const struct server *server, unsigned number)
{
    struct client client = dial(server);

    assert_true(get(&client, "/stream"));
    wait_for_count(&feeds.begun, number + 1);
    return client;
}

/* Reads the content of records until there are `size` bytes; false when the answer or the connection ends
 * before. */
static bool read_content(struct client *client, struct buf *out, size_t size)
{
    while (out->size < size) {
        if (!client_fill(client, FCGI_HEADER_LEN))
            return false;
        const unsigned char *at = (const unsigned char *)client->in.data;
        size_t content = (size_t)at[4] << 8 | at[5];
        size_t wire = FCGI_HEADER_LEN + content + at[6];
        if (at[1] != FCGI_STDOUT || content == 0 || !client_fill(client, wire))
            return false;
        buf_append(out, client->in.data + FCGI_HEADER_LEN, content);
        buf_consume(&client->in, wire);
    }
    return true;
}

/* The head of the answer, in its own record; what follows is left. */
static void read_head(struct client *client, struct buf *head)
{
    assert_true(read_content(client, head, 1));
    assert_memory_equal(head->data + head->size - 4, "\r\n\r\n", 4);
    buf_append(head, "", 1);
}

static void skip_head(struct client *client)
{
    cleanup(buf_done) struct buf head = BUF_INIT(1 << 16);

    read_head(client, &head);
}

static void assert_content(struct client *client, const char *expected)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 16);

    assert_true(read_content(client, &out, strlen(expected)));
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
}

static void assert_end(struct client *client)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 16);

    assert_true(client_read_stdout(client, &out));
    assert_int_equal(out.size, 0);
}

static bool put_text(struct feed *feed, const char *text)
{
    return request_stream_write(feed->stream, text, strlen(text));
}

static int open_streams(void)
{
    cleanup(buf_done) struct buf text = BUF_INIT(1 << 20);
    int value = -1;

    metrics_write(&text);
    buf_append(&text, "", 1);
    const char *at = strstr(text.data, "\nheddle_streams ");
    if (at)
        sscanf(at, "\nheddle_streams %d", &value);
    return value;
}

/* ---- one stream ---- */

static void bytes_go_out_as_they_are_written(void **state)
{
    cleanup(buf_done) struct buf head = BUF_INIT(1 << 16);
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client client = listen_as(&server, 0);
    struct feed *feed = &feeds.feeds[0];
    read_head(&client, &head);
    assert_ptr_equal(strstr(head.data, "Status: 200 OK\r\n"), head.data);
    assert_non_null(strstr(head.data, "\r\nContent-Type: text/event-stream\r\n"));
    assert_non_null(strstr(head.data, "\r\nX-Accel-Buffering: no\r\n"));
    assert_non_null(strstr(head.data, "\r\nX-Kind: events\r\n"));
    assert_null(strstr(head.data, "Content-Length"));
    assert_int_equal(open_streams(), 1);
    assert_int_equal(atomic_load(&server.front->in_flight), 0);
    assert_true(put_text(feed, "one"));
    assert_content(&client, "one");
    assert_true(request_stream_write(feed->stream, "", 0));
    assert_true(put_text(feed, "two"));
    assert_content(&client, "two");
    assert_int_equal(atomic_load(&feed->closed), 0);
    request_stream_end(feed->stream);
    assert_end(&client);
    wait_for_count(&feed->closed, 1);
    assert_int_equal(get_status(&client, "/now"), 200); /* the connection is kept */
    assert_int_equal(open_streams(), 0);
    client_done(&client);
    server_stop(&server);
}

static void a_connection_has_one_stream_after_the_other(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client client = dial(&server);
    for (unsigned i = 0; i < 500; i++) {
        struct answer answer;
        assert_true(get(&client, "/short"));
        assert_true(client_read(&client, &answer));
        assert_int_equal(answer.body.size, 5);
        answer_done(&answer);
    }
    wait_for_count(&feeds.closed, 500);
    client_done(&client);
    server_stop(&server);
}

static void a_connection_that_is_not_to_be_kept_ends_with_its_stream(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client client = dial(&server);
    assert_true(client_request(&client, false, "GET", "/short", "", 0));
    assert_int_equal(client_read_status(&client), 200);
    assert_true(client_is_closed(&client));
    client_done(&client);
    server_stop(&server);
}

static void a_request_behind_a_stream_waits_for_its_end(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    for (unsigned i = 0; i < 100; i++) {
        struct client client = listen_as(&server, i);
        skip_head(&client);
        assert_true(get(&client, "/now"));
        if (i % 2)
            assert_true(put_text(&feeds.feeds[i], "x"));
        request_stream_end(feeds.feeds[i].stream);
        if (i % 2)
            assert_content(&client, "x");
        assert_end(&client);
        assert_int_equal(client_read_status(&client), 200);
        client_done(&client);
    }
    server_stop(&server);
}

static void head_is_answered_without_a_stream(void **state)
{
    struct server server;
    struct answer answer;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client client = dial(&server);
    assert_true(client_request(&client, true, "HEAD", "/stream", "", 0));
    assert_true(client_read(&client, &answer));
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, 0);
    assert_non_null(strstr(answer.head.data, "\r\nContent-Type: text/event-stream\r\n"));
    assert_non_null(strstr(answer.head.data, "\r\nX-Accel-Buffering: no\r\n"));
    assert_null(strstr(answer.head.data, "Content-Length"));
    wait_for_count(&feeds.none, 1);
    answer_done(&answer);
    assert_int_equal(get_status(&client, "/now"), 200);
    client_done(&client);
    server_stop(&server);
}

/* ---- clients that go away, or do not read ---- */

static void who_goes_away_is_told_of_once(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    for (unsigned i = 0; i < 200; i++) {
        struct client client = listen_as(&server, i);
        struct feed *feed = &feeds.feeds[i];
        assert_true(put_text(feed, "x"));
        client_done(&client);
        wait_for_count(&feed->closed, 1);
        assert_false(pthread_equal(feed->closer, pthread_self()));
        assert_false(put_text(feed, "y"));
        request_stream_end(feed->stream);
        assert_int_equal(atomic_load(&feed->closed), 1);
    }
    server_stop(&server);
}

static void the_end_of_sending_is_no_hang_up(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client client = listen_as(&server, 0);
    shutdown(client.fd, SHUT_WR);
    skip_head(&client);
    assert_true(put_text(&feeds.feeds[0], "still there"));
    assert_content(&client, "still there");
    request_stream_end(feeds.feeds[0].stream);
    assert_end(&client);
    assert_true(client_is_closed(&client));
    client_done(&client);
    server_stop(&server);
}

static void who_does_not_read_is_closed_at_the_cap(void **state)
{
    static const char event[1000];
    struct server server;
    size_t written = 0;
    (void)state;

    server_start(&server, "client_timeout: 1m", (struct front_options){0});
    struct client client = listen_as(&server, 0);
    struct feed *feed = &feeds.feeds[0];
    while (request_stream_write(feed->stream, event, sizeof(event)))
        written += sizeof(event);
    assert_in_range(written, STREAM_MAX_BYTES * 9 / 10, 8 * STREAM_MAX_BYTES);
    wait_for_count(&feed->closed, 1);
    assert_false(request_stream_write(feed->stream, event, 1));
    request_stream_end(feed->stream);
    while (client_fill(&client, client.in.size + 1)) /* what fitted into the socket, and the end */
        continue;
    client_done(&client);
    server_stop(&server);
}

static void one_write_larger_than_the_cap_is_refused(void **state)
{
    static const char much[STREAM_MAX_BYTES];
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    for (unsigned i = 0; i < 2; i++) {
        struct client client = listen_as(&server, i);
        skip_head(&client);
        assert_false(request_stream_write(feeds.feeds[i].stream, much, i ? SIZE_MAX : sizeof(much)));
        wait_for_count(&feeds.feeds[i].closed, 1);
        assert_true(client_is_closed(&client));
        request_stream_end(feeds.feeds[i].stream);
        client_done(&client);
    }
    server_stop(&server);
}

/* Writes until bytes wait that the socket does not take. */
static size_t fill(struct feed *feed, size_t goal)
{
    static char event[997];
    size_t written = 0;

    memset(event, 'e', sizeof(event));
    while (stream_unsent(feed->stream) < goal) {
        assert_true(request_stream_write(feed->stream, event, sizeof(event)));
        written += sizeof(event);
    }
    return written;
}

static void who_does_not_read_is_closed_by_the_timeout(void **state)
{
    struct client clients[3];
    struct server server;
    (void)state;

    server_start(&server, "client_timeout: 100ms", (struct front_options){0});
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = listen_as(&server, i);
        fill(&feeds.feeds[i], 1);
    }
    request_stream_end(feeds.feeds[0].stream); /* an end that waits is no better */
    wait_for_count(&feeds.closed, ARRAY_LEN(clients));
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        if (i > 0)
            request_stream_end(feeds.feeds[i].stream);
        client_done(&clients[i]);
    }
    server_stop(&server);
}

static bool has_passed(void *deadline_ns)
{
    return clock_now_ns() > *(uint64_t *)deadline_ns;
}

/* It has no deadline of its own: there is nothing that its peer should do. */
static void an_idle_stream_stays_open(void **state)
{
    struct server server;
    uint64_t later_ns;
    (void)state;

    server_start(&server, "client_timeout: 100ms", (struct front_options){0});
    struct client idle = listen_as(&server, 0);
    struct client late = listen_as(&server, 1);
    skip_head(&idle);
    skip_head(&late);
    size_t written = fill(&feeds.feeds[1], 1); /* once it had been too slow, nearly */
    cleanup(buf_done) struct buf out = BUF_INIT(16 * STREAM_MAX_BYTES);
    assert_true(read_content(&late, &out, written));
    later_ns = in_ms(500);
    wait_until(has_passed, &later_ns);
    for (unsigned i = 0; i < 2; i++)
        assert_true(put_text(&feeds.feeds[i], "here"));
    assert_content(&idle, "here");
    assert_content(&late, "here");
    for (unsigned i = 0; i < 2; i++)
        request_stream_end(feeds.feeds[i].stream);
    client_done(&idle);
    client_done(&late);
    server_stop(&server);
}

/* More than the socket takes, in its order, and the end behind it. */
static void who_reads_late_gets_all(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "client_timeout: 1m\nrequest_threads: 1", (struct front_options){0});
    for (unsigned i = 0; i < 20; i++) {
        cleanup(buf_done) struct buf out = BUF_INIT(16 * STREAM_MAX_BYTES);
        struct client client = listen_as(&server, i);
        struct feed *feed = &feeds.feeds[i];
        size_t count = 0;
        while (stream_unsent(feed->stream) < STREAM_MAX_BYTES - 10000) {
            assert_true(request_stream_write(feed->stream, &count, sizeof(count)));
            count++;
            if (count % 64 == 0) {
                static const char filler[8000];
                assert_true(request_stream_write(feed->stream, filler, sizeof(filler)));
            }
        }
        request_stream_end(feed->stream);
        skip_head(&client);
        assert_true(client_read_stdout(&client, &out));
        size_t at = 0;
        for (size_t j = 0; j < count; j++) {
            assert_memory_equal(out.data + at, &j, sizeof(j));
            at += sizeof(j) + ((j + 1) % 64 == 0 ? 8000 : 0);
        }
        assert_int_equal(at, out.size);
        assert_int_equal(get_status(&client, "/now"), 200);
        client_done(&client);
    }
    server_stop(&server);
}

static void one_write_may_need_several_records(void **state)
{
    static char much[STREAM_MAX_BYTES - 1000];
    cleanup(buf_done) struct buf out = BUF_INIT(16 * STREAM_MAX_BYTES);
    struct server server;
    (void)state;

    for (size_t i = 0; i < sizeof(much); i++)
        much[i] = (char)(i / 7);
    server_start(&server, "", (struct front_options){0});
    struct client client = listen_as(&server, 0);
    skip_head(&client);
    assert_true(request_stream_write(feeds.feeds[0].stream, much, sizeof(much)));
    assert_true(read_content(&client, &out, sizeof(much)));
    assert_int_equal(out.size, sizeof(much));
    assert_memory_equal(out.data, much, sizeof(much));
    request_stream_end(feeds.feeds[0].stream);
    client_done(&client);
    server_stop(&server);
}

/* ---- many ---- */

static void above_max_streams_there_are_no_more(void **state)
{
    struct server server;
    struct answer answer;
    (void)state;

    server_start(&server, "", (struct front_options){.max_in_flight = 1, .max_streams = 2});
    struct client first = listen_as(&server, 0);
    struct client second = listen_as(&server, 1);
    struct client third = dial(&server);
    assert_true(get(&third, "/stream"));
    assert_true(client_read(&third, &answer));
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.head.data, "\r\nRetry-After: 1\r\n"));
    answer_done(&answer);
    assert_int_equal(open_streams(), 2);
    assert_int_equal(get_status(&third, "/now"), 200); /* streams take no place of requests */
    client_done(&first);
    wait_for_count(&feeds.closed, 1);
    request_stream_end(feeds.feeds[0].stream);
    while (!get(&third, "/stream"))
        continue;
    skip_head(&third);
    wait_for_count(&feeds.begun, 3);
    client_done(&third);
    client_done(&second);
    wait_for_count(&feeds.closed, 2);
    request_stream_end(feeds.feeds[1].stream);
    wait_for_count(&feeds.closed, 3);
    request_stream_end(feeds.feeds[3].stream);
    server_stop(&server);
}

#define LISTENERS 300

static void one_event_reaches_all_listeners(void **state)
{
    static struct client clients[LISTENERS];
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 2", (struct front_options){.max_streams = LISTENERS});
    for (unsigned i = 0; i < LISTENERS; i++) {
        clients[i] = listen_as(&server, i);
        skip_head(&clients[i]);
    }
    for (unsigned i = 0; i < LISTENERS; i++)
        assert_true(put_text(&feeds.feeds[i], "data: x\n\n"));
    for (unsigned i = 0; i < LISTENERS; i++) {
        assert_content(&clients[i], "data: x\n\n");
        client_done(&clients[i]);
    }
    wait_for_count(&feeds.closed, LISTENERS);
    for (unsigned i = 0; i < LISTENERS; i++)
        request_stream_end(feeds.feeds[i].stream);
    server_stop(&server);
}

/* ---- threads ---- */

#define WRITERS 4
#define EVENTS  3000

struct writer {
    struct request_stream *stream;
    uint32_t number;
};

struct event {
    uint32_t writer;
    uint32_t number;
};

static void *writer_main(void *arg)
{
    struct writer *writer = arg;

    for (uint32_t i = 0; i < EVENTS; i++) {
        struct event event = {writer->number, i};
        while (stream_unsent(writer->stream) > STREAM_MAX_BYTES / 2)
            usleep(100);
        if (!request_stream_write(writer->stream, &event, sizeof(event)))
            return (void *)1;
    }
    request_stream_unref(writer->stream);
    return NULL;
}

/* Each writer's events come whole, and in their order. */
static void threads_write_to_one_stream(void **state)
{
    cleanup(buf_done) struct buf out = BUF_INIT((size_t)1 << 24);
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    uint32_t next[WRITERS] = {0};
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 2\nclient_timeout: 1m", (struct front_options){0});
    struct client client = listen_as(&server, 0);
    struct request_stream *stream = feeds.feeds[0].stream;
    skip_head(&client);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){request_stream_ref(stream), i};
        start(&threads[i], writer_main, &writers[i]);
    }
    assert_true(read_content(&client, &out, WRITERS * EVENTS * sizeof(struct event)));
    for (uint32_t i = 0; i < WRITERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (size_t at = 0; at < out.size; at += sizeof(struct event)) {
        struct event event;
        memcpy(&event, out.data + at, sizeof(event));
        assert_in_range(event.writer, 0, WRITERS - 1);
        assert_int_equal(event.number, next[event.writer]++);
    }
    request_stream_end(stream);
    assert_end(&client);
    client_done(&client);
    server_stop(&server);
}

static void *chatter_main(void *arg)
{
    struct feed *feed = arg;

    for (int i = 0; i < 50 && put_text(feed, "chatter"); i++)
        continue;
    request_stream_end(feed->stream);
    return NULL;
}

/* Writes, the end, hang-ups and the next request in any order. */
static void hang_ups_race_with_writes(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "request_threads: 2", (struct front_options){0});
    for (unsigned i = 0; i < 400; i++) {
        struct client client = listen_as(&server, i);
        pthread_t thread;
        start(&thread, chatter_main, &feeds.feeds[i]);
        if (i % 4 == 0)
            client_fill(&client, 200);
        if (i % 4 == 1)
            get(&client, "/now");
        client_done(&client);
        thread_join(thread);
    }
    wait_for_count(&feeds.closed, 400);
    server_stop(&server);
}

/* ---- drain and stop ---- */

struct drain {
    struct front *front;
    uint64_t deadline_ns;
};

static void *drain_main(void *arg)
{
    struct drain *drain = arg;

    front_drain(drain->front, drain->deadline_ns);
    return NULL;
}

static bool is_draining(void *arg)
{
    return front_is_draining(arg);
}

static void begin_late(struct request *req, void *arg)
{
    (void)arg;
    get_stream(req);
}

static void drain_ends_streams_and_waits_for_requests(void **state)
{
    struct server server;
    pthread_t thread;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client idle = listen_as(&server, 0);
    struct client slow = listen_as(&server, 1);
    struct client held = dial(&server);
    skip_head(&idle);
    fill(&feeds.feeds[1], 1);
    assert_true(get(&held, "/hold"));
    wait_for_count(&feeds.holds, 1);
    struct drain drain = {server.front, in_ms(PATIENCE_MS)};
    start(&thread, drain_main, &drain);
    wait_until(is_draining, server.front);
    wait_for_count(&feeds.closed, 2);
    assert_end(&idle); /* its answer ends as it should */
    assert_true(client_is_closed(&idle));
    assert_false(put_text(&feeds.feeds[0], "too late"));
    request_resume(feeds.held, begin_late, NULL); /* no stream begins any more */
    assert_int_equal(client_read_status(&held), 503);
    thread_join(thread);
    for (unsigned i = 0; i < 2; i++)
        request_stream_end(feeds.feeds[i].stream);
    client_done(&idle);
    client_done(&slow);
    client_done(&held);
    server_stop(&server);
}

static void *listener_main(void *arg)
{
    struct server *server = arg;
    int fd;

    while ((fd = connect_unix(server->path)) >= 0) {
        struct client client = client_of(fd);
        get(&client, "/short");
        client_read_status(&client);
        get(&client, "/stream");
        client_is_closed(&client); /* a byte, or the end */
        client_done(&client);
    }
    return NULL;
}

/* Streams begin, end and are left while the front is stopped: none is forgotten. */
static void drain_meets_streams_in_every_state(void **state)
{
    pthread_t threads[3];
    struct server server;
    (void)state;

    for (unsigned round = 0; round < 20; round++) {
        server_start(&server, "request_threads: 3", (struct front_options){0});
        for (size_t i = 0; i < ARRAY_LEN(threads); i++)
            start(&threads[i], listener_main, &server);
        wait_for_count(&feeds.closed, 10 + 3 * round);
        uint64_t start_ns = clock_now_ns();
        front_drain(server.front, in_ms(PATIENCE_MS));
        assert_true(clock_now_ns() - start_ns < PATIENCE_MS / 2 * NS_PER_MS);
        front_stop(server.front);
        listener_close(&server.front->listener); /* with who still waited to be accepted */
        for (size_t i = 0; i < ARRAY_LEN(threads); i++)
            thread_join(threads[i]);
        for (unsigned i = 0; i < atomic_load(&feeds.next); i++)
            if (feeds.feeds[i].stream)
                request_stream_end(feeds.feeds[i].stream);
        server_stop(&server);
    }
}

/* Who holds a stream may give it back when there is no front any more. */
static void a_stream_that_is_over_outlives_the_front(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, "", (struct front_options){0});
    struct client client = listen_as(&server, 0);
    struct request_stream *stream = feeds.feeds[0].stream;
    front_drain(server.front, in_ms(PATIENCE_MS));
    client_done(&client);
    server_stop(&server);
    assert_false(request_stream_write(stream, "x", 1));
    request_stream_end(stream);
}

static int set_up(void **state)
{
    (void)state;
    if (fcgi_setup(NULL) < 0)
        return -1;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return front_register_metrics(routes, ARRAY_LEN(routes), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_out_as_they_are_written),
        cmocka_unit_test(a_connection_has_one_stream_after_the_other),
        cmocka_unit_test(a_connection_that_is_not_to_be_kept_ends_with_its_stream),
        cmocka_unit_test(a_request_behind_a_stream_waits_for_its_end),
        cmocka_unit_test(head_is_answered_without_a_stream),
        cmocka_unit_test(who_goes_away_is_told_of_once),
        cmocka_unit_test(the_end_of_sending_is_no_hang_up),
        cmocka_unit_test(who_does_not_read_is_closed_at_the_cap),
        cmocka_unit_test(one_write_larger_than_the_cap_is_refused),
        cmocka_unit_test(who_does_not_read_is_closed_by_the_timeout),
        cmocka_unit_test(an_idle_stream_stays_open),
        cmocka_unit_test(who_reads_late_gets_all),
        cmocka_unit_test(one_write_may_need_several_records),
        cmocka_unit_test(above_max_streams_there_are_no_more),
        cmocka_unit_test(one_event_reaches_all_listeners),
        cmocka_unit_test(threads_write_to_one_stream),
        cmocka_unit_test(hang_ups_race_with_writes),
        cmocka_unit_test(drain_ends_streams_and_waits_for_requests),
        cmocka_unit_test(drain_meets_streams_in_every_state),
        cmocka_unit_test(a_stream_that_is_over_outlives_the_front),
    };

    return cmocka_run_group_tests_name("stream", tests, set_up, NULL);
}
