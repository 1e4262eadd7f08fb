/* Answers in pieces: who makes them is asked when the reader has taken what was there. */
#include "harness.h"

#include <sched.h>

#include "base/log.h"
#include "front/fcgi.h"
#include "front/front.h"
#include "front/front_int.h"

#define PIECE_BYTES ((size_t)100 * 1000)

/* What a handler would keep. */
struct source {
    struct request_stream *stream;
    size_t total; /* bytes that are there to be written */
    bool is_lazy; /* waits to be woken for each piece */
    bool is_deaf; /* to the wish to stop */
    atomic_size_t written;
    atomic_bool is_busy; /* in one of its functions */
    atomic_uint fills;
    atomic_uint stops;
    atomic_uint closed;
    atomic_uint begun;
    atomic_uint none;
};

static struct source source;

static char byte_at(size_t i)
{
    return (char)(i * 7 / 3);
}

static void enter(void)
{
    assert_false(atomic_exchange(&source.is_busy, true));
    assert_int_equal(atomic_load(&source.closed), 0);
}

static void leave(void)
{
    atomic_store(&source.is_busy, false);
}

static void end(struct request_stream *stream)
{
    request_stream_end(request_stream_ref(stream));
}

static void on_fill(struct request_stream *stream, void *arg)
{
    static char piece[PIECE_BYTES];
    size_t size = MIN(source.total - source.written, PIECE_BYTES);

    assert_ptr_equal(arg, &source);
    enter();
    assert_int_equal(request_stream_unsent(stream), 0);
    atomic_fetch_add(&source.fills, 1);
    for (size_t i = 0; i < size; i++)
        piece[i] = byte_at(source.written + i);
    assert_true(request_stream_write(stream, piece, size));
    source.written += size;
    if (source.written == source.total)
        end(stream);
    else if (!source.is_lazy)
        request_stream_wake(stream);
    leave();
}

/* It has nothing more to say. */
static void on_stop(void *arg)
{
    (void)arg;
    enter();
    atomic_fetch_add(&source.stops, 1);
    leave();
    if (source.is_deaf)
        return;
    source.total = source.written;
    source.is_lazy = false;
    if (source.stream)
        request_stream_wake(source.stream);
}

static void on_closed(void *arg)
{
    (void)arg;
    enter();
    atomic_fetch_add(&source.closed, 1);
    leave();
}

static void get_pieces(struct request *req)
{
    static const struct request_stream_source calls = {on_fill, on_stop, on_closed, &source};

    source.stream = request_stream_pull(req, "text/plain", &calls);
    if (source.stream && !source.is_lazy)
        request_stream_wake(source.stream);
    atomic_fetch_add(source.stream ? &source.begun : &source.none, 1);
}

static void get_now(struct request *req)
{
    request_reply(req, 200, "text/plain", "now", 3);
}

static const struct route routes[] = {
    {"/pieces", HTTP_GET, .handler = get_pieces},
    {"/now", HTTP_GET, .handler = get_now},
};

/* ---- a front for each test ---- */

struct server {
    struct config *config;
    struct front *front;
    char dir[32];
    char path[64];
    struct client client;
};

static void server_start(struct server *server, struct source what, unsigned max_in_flight)
{
    struct listener listener;
    struct err err = {0};
    char text[512];

    source = what;
    *server = (struct server){.dir = "/tmp/pull-XXXXXX"};
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->path, sizeof(server->path), "%s/s", server->dir);
    snprintf(text, sizeof(text), "listen: unix:%s\nrequest_threads: 3\n", server->path);
    server->config = config_of(text);
    struct front_options options = {.config = server->config,
                                    .routes = routes,
                                    .route_count = ARRAY_LEN(routes),
                                    .max_in_flight = max_in_flight,
                                    .max_streams = 1};
    if (listener_open(&listener, server->config, &err) < 0 ||
        front_create(&options, &listener, &server->front, &err) < 0 || front_start(server->front, &err) < 0)
        fail_msg("%s", err.text);
    server->client = client_of(connect_unix(server->path));
}

static void server_stop(struct server *server)
{
    if (server->client.fd >= 0)
        client_done(&server->client);
    front_drain(server->front, in_ms(PATIENCE_MS));
    front_stop(server->front);
    assert_int_equal(atomic_load(&server->front->in_flight), 0);
    assert_int_equal(atomic_load(&server->front->streams), 0);
    front_free(server->front);
    if (source.stream)
        request_stream_unref(source.stream);
    config_free(server->config);
    rmdir(server->dir);
}

static void ask(struct server *server)
{
    assert_true(client_request(&server->client, true, "GET", "/pieces", "", 0));
    wait_for_count(&source.begun, 1);
}

static void assert_answer(struct server *server, size_t size)
{
    struct answer answer;

    assert_true(client_read(&server->client, &answer));
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, size);
    for (size_t i = 0; i < size; i++)
        if (answer.body.data[i] != byte_at(i))
            fail_msg("byte %zu is another", i);
    answer_done(&answer);
}

static int get_status(const struct server *server, const char *uri)
{
    struct client client = client_of(connect_unix(server->path));

    assert_true(client_request(&client, true, "GET", uri, "", 0));
    int status = client_read_status(&client);
    client_done(&client);
    return status;
}

static unsigned in_flight(const struct server *server)
{
    return atomic_load(&server->front->in_flight);
}

/* `closed` is called a moment before. */
static void wait_for_none_in_flight(const struct server *server)
{
    while (in_flight(server) > 0)
        sched_yield();
}

/* ---- the tests ---- */

static void all_bytes_come_in_their_order(void **state)
{
    static const size_t totals[] = {1, PIECE_BYTES, PIECE_BYTES + 1, 20 * 1000 * 1000};
    struct server server;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        server_start(&server, (struct source){.total = totals[i]}, 10);
        ask(&server);
        assert_answer(&server, totals[i]);
        wait_for_count(&source.closed, 1);
        wait_for_none_in_flight(&server);
        assert_true(client_request(&server.client, true, "GET", "/now", "", 0)); /* it is kept */
        assert_int_equal(client_read_status(&server.client), 200);
        server_stop(&server);
    }
}

static bool is_watched(void *arg)
{
    struct server *server = arg;

    (void)server;
    return request_stream_unsent(source.stream) > 0;
}

static void no_more_is_made_than_the_reader_takes(void **state)
{
    const size_t total = 20 * 1000 * 1000;
    struct server server;
    (void)state;

    server_start(&server, (struct source){.total = total}, 10);
    ask(&server);
    wait_until(is_watched, &server);
    assert_true(source.written <= 20 * PIECE_BYTES); /* what a socket holds, and one piece */
    assert_answer(&server, total);
    server_stop(&server);
}

static void it_is_asked_once_for_each_time_it_is_woken(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, (struct source){.total = 3 * PIECE_BYTES, .is_lazy = true}, 10);
    ask(&server);
    assert_int_equal(get_status(&server, "/now"), 200);
    assert_int_equal(atomic_load(&source.fills), 0);
    for (unsigned i = 1; i <= 3; i++) {
        request_stream_wake(source.stream);
        wait_for_count(&source.fills, i);
        assert_true(client_fill(&server.client, i * PIECE_BYTES));
    }
    assert_answer(&server, 3 * PIECE_BYTES);
    wait_for_count(&source.closed, 1);
    request_stream_wake(source.stream); /* nobody is asked any more */
    assert_int_equal(atomic_load(&source.fills), 3);
    server_stop(&server);
}

static void *wake_often(void *arg)
{
    struct request_stream *stream = arg;

    for (unsigned i = 0; i < 20000; i++)
        request_stream_wake(stream);
    return NULL;
}

static void threads_wake_it_while_it_is_read(void **state)
{
    const size_t total = 40 * 1000 * 1000;
    pthread_t threads[3];
    struct server server;
    (void)state;

    server_start(&server, (struct source){.total = total, .is_lazy = true}, 10);
    ask(&server);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        start(&threads[i], wake_often, source.stream);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(threads[i]);
    while (client_fill(&server.client, server.client.in.size + 1) && source.written < total)
        request_stream_wake(source.stream);
    assert_answer(&server, total);
    server_stop(&server);
}

static void it_counts_as_in_flight_and_not_as_a_stream(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, (struct source){.total = 1, .is_lazy = true}, 1);
    ask(&server);
    assert_int_equal(in_flight(&server), 1);
    assert_int_equal(atomic_load(&server.front->streams), 0);
    assert_int_equal(get_status(&server, "/now"), 503);
    request_stream_wake(source.stream);
    assert_answer(&server, 1);
    wait_for_count(&source.closed, 1);
    server_stop(&server);
}

static void head_is_answered_without_a_source(void **state)
{
    struct server server;
    struct answer answer;
    (void)state;

    server_start(&server, (struct source){.total = 1}, 10);
    assert_true(client_request(&server.client, true, "HEAD", "/pieces", "", 0));
    assert_true(client_read(&server.client, &answer));
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, 0);
    answer_done(&answer);
    wait_for_count(&source.none, 1);
    assert_int_equal(atomic_load(&source.fills) + atomic_load(&source.closed), 0);
    server_stop(&server);
}

static void who_goes_away_is_told_of_at_once(void **state)
{
    struct server server;
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        server_start(&server, (struct source){.total = SIZE_MAX, .is_lazy = i == 0}, 10);
        ask(&server);
        client_done(&server.client);
        wait_for_count(&source.closed, 1);
        wait_for_none_in_flight(&server);
        request_stream_wake(source.stream);
        server_stop(&server);
    }
}

struct drain {
    struct front *front;
    uint64_t deadline_ns;
    atomic_uint ended;
};

static void *drain_main(void *arg)
{
    struct drain *drain = arg;

    front_drain(drain->front, drain->deadline_ns);
    atomic_fetch_add(&drain->ended, 1);
    return NULL;
}

static bool is_draining(void *arg)
{
    return front_is_draining(arg);
}

static void drain_waits_for_its_end(void **state)
{
    struct server server;
    pthread_t thread;
    (void)state;

    server_start(&server, (struct source){.total = 2 * PIECE_BYTES, .is_lazy = true}, 10);
    ask(&server);
    struct drain drain = {.front = server.front, .deadline_ns = in_ms(PATIENCE_MS)};
    start(&thread, drain_main, &drain);
    wait_until(is_draining, server.front);
    request_stream_wake(source.stream);
    assert_true(client_fill(&server.client, PIECE_BYTES));
    assert_int_equal(atomic_load(&drain.ended) + atomic_load(&source.stops), 0);
    request_stream_wake(source.stream);
    assert_answer(&server, 2 * PIECE_BYTES);
    thread_join(thread);
    assert_int_equal(atomic_load(&source.stops), 0);
    server_stop(&server);
}

static void one_that_has_no_more_time_is_told_to_stop(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, (struct source){.total = PIECE_BYTES, .is_lazy = true}, 10);
    ask(&server);
    assert_int_equal(front_drain(server.front, in_ms(1)), 1);
    assert_int_equal(atomic_load(&source.stops), 1);
    assert_int_equal(atomic_load(&source.closed), 1);
    assert_answer(&server, 0);
    server_stop(&server);
}

static void one_that_does_not_stop_is_cut_off(void **state)
{
    struct server server;
    (void)state;

    server_start(&server, (struct source){.total = PIECE_BYTES, .is_lazy = true, .is_deaf = true}, 10);
    ask(&server);
    front_drain(server.front, in_ms(1));
    assert_int_equal(atomic_load(&source.stops), 1);
    assert_int_equal(atomic_load(&source.closed), 1);
    server_stop(&server);
}

static int set_up(void **state)
{
    (void)state;
    if (fcgi_setup(NULL) < 0)
        return -1;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_come_in_their_order),
        cmocka_unit_test(no_more_is_made_than_the_reader_takes),
        cmocka_unit_test(it_is_asked_once_for_each_time_it_is_woken),
        cmocka_unit_test(threads_wake_it_while_it_is_read),
        cmocka_unit_test(it_counts_as_in_flight_and_not_as_a_stream),
        cmocka_unit_test(head_is_answered_without_a_source),
        cmocka_unit_test(who_goes_away_is_told_of_at_once),
        cmocka_unit_test(drain_waits_for_its_end),
        cmocka_unit_test(one_that_has_no_more_time_is_told_to_stop),
        cmocka_unit_test(one_that_does_not_stop_is_cut_off),
    };

    return cmocka_run_group_tests_name("stream_pull", tests, set_up, NULL);
}
