/* Upstreams end to end: what each policy makes of a call, and that calls end once whatever happens. */
#include "upstream_rig.h"

#include <arpa/inet.h>

#include "upstream/upstream_int.h"

/* ---- one call ---- */

static void a_plain_call_is_answered(void **state)
{
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    probe_init(&probe, &rig, "/?body=hello&type=text%2Fplain%3Bcharset%3Dlatin1");
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_OK);
    assert_int_equal(probe.call.reply->status, 200);
    assert_int_equal(probe.call.reply->body.size, 5);
    assert_memory_equal(probe.call.reply->body.data, "hello", 5);
    assert_string_equal(probe.call.reply->charset, "latin1");
    assert_true(probe.call.reply->body_is_whole);
    assert_int_equal(probe.call.attempts, 1);
    assert_false(probe.call.is_coalesced || probe.call.is_hedged);
    assert_true(probe.call.elapsed_ns > 0);
    probe_done(&probe);
    rig_end(&rig);
}

static void a_reply_outlives_its_call_and_its_upstreams(void **state)
{
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    probe_init(&probe, &rig, "/?body=hello");
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    struct upstream_reply *reply = upstream_reply_ref(probe.call.reply);
    probe_done(&probe);
    rig_end(&rig);
    assert_memory_equal(reply->body.data, "hello", 5);
    upstream_reply_unref(reply);
}

static void each_attempt_tells_its_span_and_the_time_that_is_left(void **state)
{
    static const char parent[] = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    static const char *const headers[] = {"X-One: 1", NULL};
    const struct fetch_call request = {.method = "POST", .headers = headers, .body = "x", .body_size = 1};
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    probe_init(&probe, &rig, "/?echo=1");
    probe.call.request = &request;
    probe.call.traceparent = parent;
    probe.call.tells_deadline = true;
    probe.call.deadline_ns = in_ms(30000);
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_OK);
    json_t *echo = json_loadb(probe.call.reply->body.data, probe.call.reply->body.size, 0, NULL);
    assert_non_null(echo);
    char *text = json_dumps(echo, 0);
    assert_non_null(strstr(text, "00-0123456789abcdef0123456789abcdef-"));
    assert_null(strstr(text, "-0123456789abcdef-"));
    const char *left = strcasestr(text, "X-Request-Timeout");
    assert_non_null(left);
    assert_in_range((uint64_t)strtod(strpbrk(left, "0123456789"), NULL), 1, 30);
    assert_non_null(strstr(text, "X-One"));
    free(text);
    json_decref(echo);
    probe_done(&probe);
    rig_end(&rig);
}

static void a_call_ends_at_its_deadline(void **state)
{
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    probe_init(&probe, &rig, "/?stall=1");
    probe.call.deadline_ns = in_ms(30);
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_TIMEOUT);
    assert_true(clock_now_ns() >= probe.call.deadline_ns);
    probe_done(&probe);

    probe_init(&probe, &rig, "/");
    probe.call.deadline_ns = clock_now_ns(); /* nothing left: nothing is sent */
    probe_submit(&probe, &rig);
    assert_int_equal(atomic_load(&probe.done), 1);
    assert_reason(&probe, FETCH_TIMEOUT);
    assert_int_equal(probe.call.attempts, 0);
    probe_done(&probe);
    rig_end(&rig);
}

static void an_error_of_a_call_keeps_its_body(void **state)
{
    const struct fetch_call request = {.method = "GET"};
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    probe_init(&probe, &rig, "/?status=404&body=nothing");
    probe.call.request = &request;
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_HTTP_STATUS);
    assert_int_equal(probe.call.reply->status, 404);
    assert_memory_equal(probe.call.reply->body.data, "nothing", 7);
    probe_done(&probe);
    rig_end(&rig);
}

/* ---- cancels ---- */

static void a_call_that_is_cancelled_before_is_not_sent(void **state)
{
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    probe_init(&probe, &rig, "/?key=cancelled-before&fail=0");
    upstream_cancel(&probe.call);
    assert_int_equal(atomic_load(&probe.done), 0);
    probe_submit(&probe, &rig);
    assert_int_equal(atomic_load(&probe.done), 1);
    assert_reason(&probe, FETCH_CANCELLED);
    upstream_cancel(&probe.call);
    probe_done(&probe);
    assert_int_equal(ask_mock(&rig, "/_count?key=cancelled-before", "count"), 0);
    rig_end(&rig);
}

static void on_attempt_done(struct fetch *fetch)
{
    atomic_fetch_add((atomic_uint *)fetch->arg, 1);
}

/* Who cancels comes before, between, or after who sends. */
static void an_attempt_that_is_cancelled_while_it_is_sent_ends(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    for (unsigned order = 0; order < 3; order++) {
        struct attempt attempt = {.fetch = {.done = on_attempt_done}};
        struct fetch *fetch = &attempt.fetch;
        struct fetch_target *target;
        atomic_uint done = 0;
        char url[80];
        snprintf(url, sizeof(url), "%s?stall=1", rig.base_url);
        assert_int_equal(fetch_target_create(url, &target, NULL), 0);
        fetch->target = target;
        fetch->arg = &done;
        if (order == 0)
            attempt_cancel(&attempt);
        assert_int_equal(attempt_is_cancelled(&attempt), order == 0);
        fetch_submit(rig.pool, &fetch, 1);
        if (order == 1)
            attempt_cancel(&attempt);
        attempt_sent(&attempt);
        if (order == 2)
            attempt_cancel(&attempt);
        wait_for_count(&done, 1);
        assert_int_equal(fetch->reason, FETCH_CANCELLED);
        fetch_done(fetch);
        fetch_target_free(target);
    }
    rig_end(&rig);
}

/* ---- the bulkhead ---- */

static void no_more_than_max_in_flight_are_sent(void **state)
{
    static struct probe probes[40];
    struct upstream_call *calls[ARRAY_LEN(probes)];
    struct rig rig;
    NEED_MOCK();

    mock_stop(&mock);
    has_mock = mock_start(&mock);
    rig_init(&rig, mock.port);
    rig.settings.max_in_flight = 3;
    rig.settings.max_queue = ARRAY_LEN(probes);
    rig_start(&rig);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_init(&probes[i], &rig, "/?delay=5");
        calls[i] = &probes[i].call;
    }
    upstream_submit(rig.upstreams, calls, ARRAY_LEN(calls));
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_wait(&probes[i]);
        assert_reason(&probes[i], FETCH_OK);
        assert_true(probes[i].call.queued_ns > 0 || i < 3);
        probe_done(&probes[i]);
    }
    assert_int_equal(ask_mock(&rig, "/_stats", "max_in_flight"), 3);
    rig_end(&rig);
}

static void a_full_queue_refuses_at_once(void **state)
{
    struct probe probes[4];
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig.settings.max_in_flight = 1;
    rig.settings.max_queue = 2;
    rig_start(&rig);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_init(&probes[i], &rig, "/?stall=1");
        probe_submit(&probes[i], &rig);
    }
    assert_int_equal(atomic_load(&probes[3].done), 1);
    assert_reason(&probes[3], FETCH_OVERLOADED);
    assert_true(probes[3].call.reply->retry_after_s >= 1);
    assert_int_equal(probes[3].call.attempts, 0);
    for (size_t i = 0; i < 3; i++) {
        upstream_cancel(&probes[i].call);
        probe_wait(&probes[i]);
        assert_reason(&probes[i], FETCH_CANCELLED);
    }
    for (size_t i = 0; i < ARRAY_LEN(probes); i++)
        probe_done(&probes[i]);
    rig_end(&rig);
}

static void who_waits_ends_at_its_deadline(void **state)
{
    struct probe first, second;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig.settings.max_in_flight = 1;
    rig.settings.max_queue = 2;
    rig_start(&rig);
    probe_init(&first, &rig, "/?stall=1");
    probe_submit(&first, &rig);
    probe_init(&second, &rig, "/");
    second.call.deadline_ns = in_ms(20);
    probe_submit(&second, &rig);
    probe_wait(&second);
    assert_reason(&second, FETCH_OVERLOADED);
    assert_true(second.call.reply->retry_after_s >= 1);
    assert_int_equal(atomic_load(&first.done), 0);
    upstream_cancel(&first.call);
    probe_done(&second);
    probe_done(&first);
    rig_end(&rig);
}

static atomic_bool timers_may_go_on;

static void hold_the_timers(struct upstream_call *call)
{
    on_done(call);
    while (!atomic_load(&timers_may_go_on))
        usleep(100);
}

/* The place becomes free before the timers' thread comes to the one that has left. */
static void who_waits_and_has_left_is_not_sent(void **state)
{
    struct probe first, holder, second;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig.settings.max_in_flight = 1;
    rig.settings.max_queue = 2;
    rig_start(&rig);
    atomic_store(&timers_may_go_on, false);
    probe_init(&first, &rig, "/?stall=1");
    probe_init(&holder, &rig, "/");
    probe_init(&second, &rig, "/?stall=1");
    holder.call.deadline_ns = in_ms(50);
    holder.call.done = hold_the_timers;
    probe_submit(&first, &rig);
    probe_submit(&holder, &rig);
    probe_submit(&second, &rig);
    probe_wait(&holder);
    upstream_cancel(&second.call);
    upstream_cancel(&first.call);
    probe_wait(&second);
    assert_reason(&second, FETCH_CANCELLED);
    assert_int_equal(second.call.attempts, 0);
    atomic_store(&timers_may_go_on, true);
    probe_done(&second);
    probe_done(&holder);
    probe_done(&first);
    rig_end(&rig);
}

/* ---- the circuit breaker ---- */

static void a_failing_upstream_is_left_alone_and_tried_again(void **state)
{
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig.settings.breaker.is_enabled = true;
    rig.settings.breaker.min_requests = 4;
    rig.settings.breaker.failure_ratio = 0.5;
    rig.settings.breaker.open_ms = 100;
    rig_start(&rig);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(run_path(&rig, "/?status=404"), FETCH_HTTP_STATUS);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(run_path(&rig, "/?status=500&key=breaker&fail=100"), FETCH_HTTP_STATUS);
    struct probe probe;
    probe_init(&probe, &rig, "/");
    probe_submit(&probe, &rig);
    assert_int_equal(atomic_load(&probe.done), 1);
    assert_reason(&probe, FETCH_CIRCUIT_OPEN);
    assert_int_equal(probe.call.reply->retry_after_s, 1);
    probe_done(&probe);
    assert_int_equal(ask_mock(&rig, "/_count?key=breaker", "count"), 4);
    uint64_t patience_ns = in_ms(PATIENCE_MS);
    enum fetch_reason reason = FETCH_CIRCUIT_OPEN;
    while (reason == FETCH_CIRCUIT_OPEN && clock_now_ns() < patience_ns)
        reason = run_path(&rig, "/");
    assert_int_equal(reason, FETCH_OK);
    assert_int_equal(run_path(&rig, "/"), FETCH_OK);
    rig_end(&rig);
}

/* ---- retries ---- */

static void start_retrying(struct rig *rig)
{
    static char status[] = "503";
    static char *statuses[] = {status};

    rig_init(rig, mock.port);
    rig->settings.retry.is_enabled = true;
    rig->settings.retry.statuses = (struct config_list){statuses, 1};
    rig_start(rig);
}

static void what_failed_is_tried_again(void **state)
{
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    start_retrying(&rig);
    probe_init(&probe, &rig, "/?fail=2&key=retry-1");
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_OK);
    assert_int_equal(probe.call.attempts, 3);
    probe_done(&probe);
    probe_init(&probe, &rig, "/?fail=3&key=retry-2"); /* once more than it is tried */
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_HTTP_STATUS);
    assert_int_equal(probe.call.reply->status, 503);
    assert_int_equal(probe.call.attempts, 3);
    probe_done(&probe);
    rig_end(&rig);
}

static void a_post_is_not_sent_twice(void **state)
{
    const struct fetch_call request = {.method = "POST", .body = "x", .body_size = 1};
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    start_retrying(&rig);
    probe_init(&probe, &rig, "/?fail=1&key=retry-post");
    probe.call.request = &request;
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_HTTP_STATUS);
    assert_int_equal(probe.call.attempts, 1);
    probe_done(&probe);
    rig_end(&rig);
}

/* A port that refuses: bound, not listening. */
static int refuse_at(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void a_post_that_found_no_connection_is_tried_again(void **state)
{
    const struct fetch_call request = {.method = "POST", .body = "x", .body_size = 1};
    struct probe probe;
    struct rig rig;
    unsigned port;
    (void)state;

    int fd = refuse_at(&port);
    rig_init(&rig, port);
    rig.settings.retry.is_enabled = true;
    rig_start(&rig);
    probe_init(&probe, &rig, "/");
    probe.call.request = &request;
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_CONNECT);
    assert_int_equal(probe.call.attempts, 3);
    probe_done(&probe);
    rig_end(&rig);
    close(fd);
}

static void a_retry_after_beyond_the_deadline_ends_it(void **state)
{
    const struct fetch_call request = {.method = "GET"};
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    start_retrying(&rig);
    probe_init(&probe, &rig, "/?fail=1&key=retry-after&retry_after=100");
    probe.call.deadline_ns = in_ms(20000);
    probe.call.request = &request;
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_HTTP_STATUS);
    assert_int_equal(probe.call.reply->retry_after_s, 100);
    assert_int_equal(probe.call.attempts, 1);
    assert_true(clock_now_ns() < probe.call.deadline_ns);
    probe_done(&probe);
    rig_end(&rig);
}

/* Even without a deadline: Retry-After is the upstream's wish, and it may be hostile. */
static void a_retry_after_beyond_the_timeout_ends_it(void **state)
{
    const struct fetch_call request = {.method = "GET"};
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    start_retrying(&rig);
    probe_init(&probe, &rig, "/?fail=1&key=retry-timeout&retry_after=100");
    probe.call.request = &request;
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_HTTP_STATUS);
    assert_int_equal(probe.call.attempts, 1);
    probe_done(&probe);
    rig_end(&rig);
}

static bool has_a_resting_flight(void *arg)
{
    struct upstream *upstream = arg;

    LOCK(&upstream->lock);
    return !TAILQ_EMPTY(&upstream->paused);
}

static void a_call_that_rests_can_be_cancelled(void **state)
{
    const struct fetch_call request = {.method = "GET"};
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    start_retrying(&rig);
    probe_init(&probe, &rig, "/?fail=1&key=retry-rest&retry_after=50");
    probe.call.request = &request;
    probe_submit(&probe, &rig);
    wait_until(has_a_resting_flight, rig.upstream);
    upstream_cancel(&probe.call);
    upstream_cancel(&probe.call);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_CANCELLED);
    probe_done(&probe);
    rig_end(&rig);
}

/* ---- hedging: a server whose requests with a certain number hang ---- */

struct server {
    int fd;
    unsigned port;
    pthread_t thread;
    atomic_uint requests;
    atomic_uint hang_at;
    atomic_uint closed; /* of those that hang */
    atomic_bool is_over;
};

static void *serve_connection(void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct server *server = ((void **)arg)[0];
    int fd = (int)(intptr_t)((void **)arg)[1];
    char bytes[4096];

    free(arg);
    while (read(fd, bytes, sizeof(bytes)) > 0) {
        if (atomic_fetch_add(&server->requests, 1) + 1 == atomic_load(&server->hang_at)) {
            while (read(fd, bytes, sizeof(bytes)) > 0)
                continue;
            atomic_fetch_add(&server->closed, 1);
            break;
        }
        if (write(fd, answer, sizeof(answer) - 1) < 0)
            break;
    }
    close(fd);
    return NULL;
}

static void *server_main(void *arg)
{
    struct server *server = arg;
    pthread_t threads[64];
    size_t count = 0;
    int fd;

    while (count < ARRAY_LEN(threads) && (fd = accept(server->fd, NULL, NULL)) >= 0) {
        void **args = calloc(2, sizeof(*args));
        assert_non_null(args);
        args[0] = server;
        args[1] = (void *)(intptr_t)fd;
        start(&threads[count++], serve_connection, args);
    }
    for (size_t i = 0; i < count; i++)
        thread_join(threads[i]);
    return NULL;
}

static void server_start(struct server *server)
{
    *server = (struct server){0};
    server->fd = refuse_at(&server->port);
    assert_int_equal(listen(server->fd, 64), 0);
    start(&server->thread, server_main, server);
}

static void server_stop(struct server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    thread_join(server->thread);
    close(server->fd);
}

static void a_second_request_overtakes_a_slow_first(void **state)
{
    struct server server;
    struct probe probe;
    struct rig rig;
    (void)state;

    server_start(&server);
    rig_init(&rig, server.port);
    rig.settings.hedge.is_enabled = true;
    rig.settings.hedge.min_delay_ms = 5;
    rig_start(&rig);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(run_path(&rig, "/"), FETCH_OK);
    atomic_store(&server.hang_at, atomic_load(&server.requests) + 1);
    probe_init(&probe, &rig, "/slow");
    probe_submit(&probe, &rig);
    probe_wait(&probe);
    assert_reason(&probe, FETCH_OK);
    assert_true(probe.call.is_hedged);
    assert_int_equal(probe.call.attempts, 2);
    probe_done(&probe);
    wait_for_count(&server.closed, 1); /* the loser is cancelled */
    rig_end(&rig);
    server_stop(&server);
}

/* ---- coalescing ---- */

static void start_retrying_and_sharing(struct rig *rig)
{
    static char status[] = "503";
    static char *statuses[] = {status};

    rig_init(rig, mock.port);
    rig->settings.coalesce = true;
    rig->settings.retry.is_enabled = true;
    rig->settings.retry.statuses = (struct config_list){statuses, 1};
    rig_start(rig);
}

static void start_sharing(struct rig *rig)
{
    rig_init(rig, mock.port);
    rig->settings.coalesce = true;
    rig_start(rig);
}

static void calls_for_the_same_share_one_fetch(void **state)
{
    static struct probe probes[50];
    struct upstream_call *calls[ARRAY_LEN(probes)];
    unsigned coalesced = 0;
    struct rig rig;
    NEED_MOCK();

    start_sharing(&rig);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_init(&probes[i], &rig, "/?delay=20&body=same&key=share&fail=0");
        calls[i] = &probes[i].call;
    }
    upstream_submit(rig.upstreams, calls, ARRAY_LEN(calls));
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_wait(&probes[i]);
        assert_reason(&probes[i], FETCH_OK);
        assert_memory_equal(probes[i].call.reply->body.data, "same", 4);
        assert_int_equal(probes[i].call.attempts, probes[i].call.is_coalesced ? 0 : 1);
        coalesced += probes[i].call.is_coalesced;
        probe_done(&probes[i]);
    }
    assert_int_equal(coalesced, ARRAY_LEN(probes) - 1);
    assert_int_equal(ask_mock(&rig, "/_count?key=share", "count"), 1);
    rig_end(&rig);
}

static void only_what_differs_in_the_answer_keeps_calls_apart(void **state)
{
    static const char *const rows[][3] = {
        {"Accept: a", "X-Request-Id: 1"},
        {"Accept: a", "X-Request-Id: 2"}, /* these share */
        {"Accept: b", "X-Request-Id: 1"},
        {"Accept: a"}, /* and the last with them */
        {"X-Request-Id: 1"},
    };
    static struct probe probes[ARRAY_LEN(rows) + 2];
    struct fetch_call requests[ARRAY_LEN(rows)];
    struct fetch_call post = {.method = "POST"};
    struct rig rig;
    NEED_MOCK();

    start_sharing(&rig);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_init(&probes[i], &rig, "/?delay=20&key=apart&fail=0");
        if (i < ARRAY_LEN(rows)) {
            requests[i] = (struct fetch_call){.method = "GET", .headers = rows[i]};
            probes[i].call.request = &requests[i];
        }
    }
    probes[ARRAY_LEN(rows)].call.request = &post;
    for (size_t i = 0; i < ARRAY_LEN(probes); i++)
        probe_submit(&probes[i], &rig);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_wait(&probes[i]);
        assert_reason(&probes[i], FETCH_OK);
        assert_int_equal(probes[i].call.is_coalesced, i == 1 || i == 3);
        probe_done(&probes[i]);
    }
    rig_end(&rig);
}

static void the_first_to_ask_can_leave_the_others(void **state)
{
    struct probe first, second;
    struct rig rig;
    NEED_MOCK();

    start_sharing(&rig);
    probe_init(&first, &rig, "/?delay=200&body=x");
    probe_init(&second, &rig, "/?delay=200&body=x");
    probe_submit(&first, &rig);
    probe_submit(&second, &rig);
    upstream_cancel(&first.call);
    probe_wait(&first);
    assert_reason(&first, FETCH_CANCELLED);
    assert_int_equal(atomic_load(&second.done), 0);
    probe_done(&first); /* with all that it has lent */
    probe_wait(&second);
    assert_reason(&second, FETCH_OK);
    assert_true(second.call.is_coalesced);
    probe_done(&second);
    rig_end(&rig);
}

/* The one that has gone took with it what it had lent. */
static void what_is_shared_is_tried_again_without_the_first(void **state)
{
    static const char *const headers[] = {"X-One: 1", NULL};
    struct probe *first = calloc(1, sizeof(*first));
    struct probe second;
    struct rig rig;
    NEED_MOCK();

    assert_non_null(first);
    start_retrying_and_sharing(&rig);
    struct fetch_call *request = calloc(1, sizeof(*request));
    assert_non_null(request);
    *request = (struct fetch_call){.method = "GET", .headers = headers};
    const struct fetch_call same = *request;
    probe_init(first, &rig, "/?delay=100&fail=1&key=shared-retry");
    probe_init(&second, &rig, "/?delay=100&fail=1&key=shared-retry");
    first->call.request = request;
    first->call.traceparent = "";
    second.call.request = &same;
    second.call.traceparent = "";
    probe_submit(first, &rig);
    probe_submit(&second, &rig);
    upstream_cancel(&first->call);
    probe_done(first);
    free(request);
    free(first);
    probe_wait(&second);
    assert_reason(&second, FETCH_OK);
    assert_true(second.call.is_coalesced);
    probe_done(&second);
    assert_int_equal(ask_mock(&rig, "/_count?key=shared-retry", "count"), 2);
    rig_end(&rig);
}

static void each_of_those_who_share_has_its_own_deadline(void **state)
{
    struct probe probes[3];
    struct rig rig;
    NEED_MOCK();

    start_sharing(&rig);
    for (size_t i = 0; i < 3; i++)
        probe_init(&probes[i], &rig, "/?delay=300");
    probes[0].call.deadline_ns = in_ms(60);
    probes[1].call.deadline_ns = in_ms(30);
    for (size_t i = 0; i < 3; i++)
        probe_submit(&probes[i], &rig);
    probe_wait(&probes[1]);
    assert_reason(&probes[1], FETCH_TIMEOUT);
    probe_wait(&probes[0]);
    assert_reason(&probes[0], FETCH_TIMEOUT);
    assert_true(probes[0].call.elapsed_ns >= probes[1].call.elapsed_ns);
    probe_wait(&probes[2]);
    assert_reason(&probes[2], FETCH_OK);
    for (size_t i = 0; i < 3; i++)
        probe_done(&probes[i]);
    rig_end(&rig);
}

static void the_last_to_leave_ends_the_fetch(void **state)
{
    struct probe probes[3];
    struct rig rig;
    NEED_MOCK();

    start_sharing(&rig);
    for (size_t i = 0; i < 3; i++) {
        probe_init(&probes[i], &rig, "/?stall=1");
        probes[i].call.deadline_ns = i == 2 ? in_ms(50) : CLOCK_NEVER;
        probe_submit(&probes[i], &rig);
    }
    upstream_cancel(&probes[0].call);
    upstream_cancel(&probes[1].call);
    probe_wait(&probes[2]);
    assert_reason(&probes[2], FETCH_TIMEOUT);
    for (size_t i = 0; i < 3; i++)
        probe_done(&probes[i]);
    assert_int_equal(run_path(&rig, "/?body=x"), FETCH_OK);
    rig_end(&rig);
}

static void a_shared_failure_does_not_stick(void **state)
{
    struct probe probes[5];
    struct rig rig;
    NEED_MOCK();

    start_sharing(&rig);
    for (size_t i = 0; i < 5; i++) {
        probe_init(&probes[i], &rig, "/?delay=20&fail=1&key=sticky");
        probe_submit(&probes[i], &rig);
    }
    for (size_t i = 0; i < 5; i++) {
        probe_wait(&probes[i]);
        assert_reason(&probes[i], FETCH_HTTP_STATUS);
        probe_done(&probes[i]);
    }
    assert_int_equal(run_path(&rig, "/?delay=20&fail=1&key=sticky"), FETCH_OK);
    rig_end(&rig);
}

/* ---- where targets belong ---- */

static void a_target_belongs_to_the_upstream_of_its_origin(void **state)
{
    struct fetch_target *target;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    char url[128];
    snprintf(url, sizeof(url), "%sany/path?x", rig.base_url);
    assert_int_equal(fetch_target_create(url, &target, NULL), 0);
    assert_ptr_equal(upstreams_of_target(rig.upstreams, target), rig.upstream);
    fetch_target_free(target);
    assert_int_equal(fetch_target_create("http://elsewhere.test/", &target, NULL), 0);
    struct upstream *others = upstreams_of_target(rig.upstreams, target);
    assert_string_equal(upstream_name(others), "others");
    fetch_target_free(target);
    assert_null(upstreams_find(rig.upstreams, "others"));
    assert_null(upstreams_find(rig.upstreams, "none"));
    rig_end(&rig);
}

static const char *name_of(const struct upstreams *upstreams, const char *url)
{
    struct fetch_target *target;

    assert_int_equal(fetch_target_create(url, &target, NULL), 0);
    const char *name = upstream_name(upstreams_of_target(upstreams, target));
    fetch_target_free(target);
    return name;
}

static void the_origins_of_the_urls_have_upstreams_of_their_own(void **state)
{
    struct config *config =
        config_of("{upstreams: [{name: b, base_url: 'http://b.test/x'}], concurrent_requests: {urls: ["
                  "'http://a.test:81/1', 'http://A.test:81/2', 'http://a.test/', 'http://b.test/y', "
                  "'http://[::1]:82/', 'http://c.test:443/', 'https://c.test/']}}");
    struct upstreams *upstreams;
    struct fetch_target *target;
    struct err err = {0};
    (void)state;

    if (upstreams_create(config, NULL, &upstreams, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(name_of(upstreams, "http://a.test:81/3?x"), "a.test:81");
    assert_string_equal(name_of(upstreams, "http://A.TEST:81"), "a.test:81");
    assert_string_equal(name_of(upstreams, "http://a.test/"), "a.test:80");
    assert_string_equal(name_of(upstreams, "https://a.test:81/"), "others");
    assert_string_equal(name_of(upstreams, "http://b.test/"), "b");
    assert_string_equal(name_of(upstreams, "http://[0:0::1]:82/"), "[::1]:82");
    assert_string_equal(name_of(upstreams, "http://c.test:443/"), "c.test:443");
    assert_string_equal(name_of(upstreams, "https://c.test/"), "others"); /* its name is taken */
    assert_int_equal(fetch_target_create("http://a.test:81/", &target, NULL), 0);
    const struct config_upstream *settings = upstream_config(upstreams_of_target(upstreams, target));
    assert_true(settings->breaker.is_enabled && settings->retry.is_enabled);
    assert_int_equal(settings->max_in_flight, 0);
    assert_false(settings->coalesce || settings->hedge.is_enabled);
    fetch_target_free(target);
    upstreams_free(upstreams);
    config_free(config);
}

static void too_many_origins_are_others(void **state)
{
    struct buf yaml = BUF_INIT(1 << 20);
    struct upstreams *upstreams;
    struct err err = {0};
    (void)state;

    buf_append_str(&yaml, "concurrent_requests: {urls: [http://n0.test/");
    for (unsigned i = 1; i < 300; i++)
        buf_printf(&yaml, ", http://n%u.test/", i);
    buf_append_str(&yaml, "]}");
    char *text = buf_take(&yaml);
    struct config *config = config_of(text);
    if (upstreams_create(config, NULL, &upstreams, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(name_of(upstreams, "http://n255.test/"), "n255.test:80");
    assert_string_equal(name_of(upstreams, "http://n256.test/"), "others");
    upstreams_free(upstreams);
    config_free(config);
    free(text);
}

static void what_goes_on_is_shown_as_json(void **state)
{
    struct buf out = BUF_INIT(1 << 20);
    struct probe probe;
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig.settings.max_in_flight = 7;
    rig.settings.max_queue = 3;
    rig.settings.breaker.is_enabled = true;
    rig.settings.retry.is_enabled = true;
    rig.settings.hedge.is_enabled = true;
    rig.settings.coalesce = true;
    rig_start(&rig);
    assert_int_equal(run_path(&rig, "/"), FETCH_OK);
    probe_init(&probe, &rig, "/?stall=1");
    probe_submit(&probe, &rig);
    upstreams_append_json(rig.upstreams, &out);
    assert_false(out.failed);
    json_t *json = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(json);
    json_t *first = json_array_get(json_object_get(json, "upstreams"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "mock");
    assert_int_equal(json_integer_value(json_object_get(first, "in_flight")), 1);
    assert_int_equal(json_integer_value(json_object_get(first, "requests_total")), 2);
    assert_string_equal(json_string_value(json_object_get(json_object_get(first, "breaker"), "state")),
                        "closed");
    assert_true(json_is_array(json_object_get(first, "addresses")));
    for (size_t i = 0; i < 5; i++)
        assert_true(json_is_object(json_object_get(
            first, ((const char *const[]){"bulkhead", "breaker", "retry", "hedge", "coalesce"})[i])));
    json_decref(json);
    buf_done(&out);
    upstream_cancel(&probe.call);
    probe_done(&probe);
    rig_end(&rig);
}

/* ---- storms ---- */

static uint64_t random_number(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

#define STORM_THREADS 4
#define STORM_CALLS   400

struct storm {
    struct rig *rig;
    const char *const *paths;
    size_t path_count;
    uint64_t seed;
};

/* Submits, cancels some at once, some later, some before; deadlines of any length. */
static void *storm_main(void *arg)
{
    struct storm *storm = arg;
    struct probe *probes = calloc(STORM_CALLS, sizeof(*probes));
    uint64_t seed = storm->seed;

    assert_non_null(probes);
    for (size_t i = 0; i < STORM_CALLS; i++) {
        probe_init(&probes[i], storm->rig, storm->paths[random_number(&seed) % storm->path_count]);
        if (random_number(&seed) % 3 == 0)
            probes[i].call.deadline_ns = in_ms(random_number(&seed) % 20);
        if (random_number(&seed) % 20 == 0)
            upstream_cancel(&probes[i].call);
        probe_submit(&probes[i], storm->rig);
        if (random_number(&seed) % 3 == 0)
            upstream_cancel(&probes[random_number(&seed) % (i + 1)].call);
    }
    for (size_t i = 0; i < STORM_CALLS; i++)
        if (random_number(&seed) % 2)
            upstream_cancel(&probes[i].call);
    for (size_t i = 0; i < STORM_CALLS; i++)
        probe_done(&probes[i]);
    free(probes);
    return NULL;
}

static void run_storm(struct rig *rig, const char *const *paths, size_t path_count)
{
    pthread_t threads[STORM_THREADS];
    struct storm storms[STORM_THREADS];

    for (size_t i = 0; i < STORM_THREADS; i++) {
        storms[i] = (struct storm){rig, paths, path_count, i * 7919 + 1};
        start(&threads[i], storm_main, &storms[i]);
    }
    for (size_t i = 0; i < STORM_THREADS; i++)
        thread_join(threads[i]);
}

static void all_policies_on(struct rig *rig)
{
    static char status[] = "503";
    static char *statuses[] = {status};

    rig_init(rig, mock.port);
    rig->settings.max_in_flight = 20;
    rig->settings.max_queue = 50;
    rig->settings.breaker.is_enabled = true;
    rig->settings.breaker.min_requests = 20;
    rig->settings.breaker.failure_ratio = 0.3;
    rig->settings.breaker.open_ms = 1;
    rig->settings.breaker.window_ms = 100;
    rig->settings.retry.is_enabled = true;
    rig->settings.retry.statuses = (struct config_list){statuses, 1};
    rig->settings.hedge.is_enabled = true;
    rig->settings.hedge.percentile = 0.5;
    rig->settings.timeout_ms = 500;
}

static void a_storm_of_calls_and_cancels_ends_each_once(void **state)
{
    static const char *const paths[] = {"/",         "/?delay=1",    "/?delay=5",
                                        "/?stall=1", "/?status=503", "/?hangup=before"};
    struct rig rig;
    NEED_MOCK();

    all_policies_on(&rig);
    rig_start(&rig);
    run_storm(&rig, paths, ARRAY_LEN(paths));
    rig_end(&rig);
}

static void a_storm_on_shared_flights_ends_each_once(void **state)
{
    static const char *const paths[] = {"/?body=a", "/?delay=3", "/?delay=10&body=b", "/?stall=1",
                                        "/?status=503&fail=3"};
    struct rig rig;
    NEED_MOCK();

    all_policies_on(&rig);
    rig.settings.coalesce = true;
    rig_start(&rig);
    run_storm(&rig, paths, ARRAY_LEN(paths));
    rig_end(&rig);
}

static void nothing_limits_a_storm_without_policies(void **state)
{
    static const char *const paths[] = {"/", "/?delay=1", "/?hangup=before"};
    struct rig rig;
    NEED_MOCK();

    rig_init(&rig, mock.port);
    rig_start(&rig);
    run_storm(&rig, paths, ARRAY_LEN(paths));
    rig_end(&rig);
}

/* Calls in each state: in flight, shared, waiting, resting. */
static void upstreams_that_stop_end_all_calls(void **state)
{
    static struct probe probes[60];
    NEED_MOCK();

    for (unsigned round = 0; round < 8; round++) {
        struct rig rig;
        all_policies_on(&rig);
        rig.settings.coalesce = round % 2;
        rig.settings.retry.backoff_base_ms = 10000;
        rig.settings.retry.backoff_max_ms = 10000;
        rig.settings.timeout_ms = PATIENCE_MS;
        rig_start(&rig);
        for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
            probe_init(&probes[i], &rig, i % 3 ? "/?stall=1" : "/?status=503");
            if (i % 5 == 0)
                probes[i].call.deadline_ns = in_ms(50000);
            probe_submit(&probes[i], &rig);
        }
        if (round % 4 == 3)
            upstream_cancel(&probes[1].call);
        rig_stop(&rig);
        for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
            assert_int_equal(atomic_load(&probes[i].done), 1);
            probe_done(&probes[i]);
        }
        struct probe late;
        probe_init(&late, &rig, "/");
        probe_submit(&late, &rig);
        assert_int_equal(atomic_load(&late.done), 1);
        assert_reason(&late, FETCH_CANCELLED);
        probe_done(&late);
        rig_free(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_call_is_answered),
        cmocka_unit_test(a_reply_outlives_its_call_and_its_upstreams),
        cmocka_unit_test(each_attempt_tells_its_span_and_the_time_that_is_left),
        cmocka_unit_test(a_call_ends_at_its_deadline),
        cmocka_unit_test(an_error_of_a_call_keeps_its_body),
        cmocka_unit_test(a_call_that_is_cancelled_before_is_not_sent),
        cmocka_unit_test(an_attempt_that_is_cancelled_while_it_is_sent_ends),
        cmocka_unit_test(no_more_than_max_in_flight_are_sent),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(who_waits_ends_at_its_deadline),
        cmocka_unit_test(who_waits_and_has_left_is_not_sent),
        cmocka_unit_test(a_failing_upstream_is_left_alone_and_tried_again),
        cmocka_unit_test(what_failed_is_tried_again),
        cmocka_unit_test(a_post_is_not_sent_twice),
        cmocka_unit_test(a_post_that_found_no_connection_is_tried_again),
        cmocka_unit_test(a_retry_after_beyond_the_deadline_ends_it),
        cmocka_unit_test(a_retry_after_beyond_the_timeout_ends_it),
        cmocka_unit_test(a_call_that_rests_can_be_cancelled),
        cmocka_unit_test(a_second_request_overtakes_a_slow_first),
        cmocka_unit_test(calls_for_the_same_share_one_fetch),
        cmocka_unit_test(only_what_differs_in_the_answer_keeps_calls_apart),
        cmocka_unit_test(the_first_to_ask_can_leave_the_others),
        cmocka_unit_test(what_is_shared_is_tried_again_without_the_first),
        cmocka_unit_test(each_of_those_who_share_has_its_own_deadline),
        cmocka_unit_test(the_last_to_leave_ends_the_fetch),
        cmocka_unit_test(a_shared_failure_does_not_stick),
        cmocka_unit_test(a_target_belongs_to_the_upstream_of_its_origin),
        cmocka_unit_test(the_origins_of_the_urls_have_upstreams_of_their_own),
        cmocka_unit_test(too_many_origins_are_others),
        cmocka_unit_test(what_goes_on_is_shown_as_json),
        cmocka_unit_test(a_storm_of_calls_and_cancels_ends_each_once),
        cmocka_unit_test(a_storm_on_shared_flights_ends_each_once),
        cmocka_unit_test(nothing_limits_a_storm_without_policies),
        cmocka_unit_test(upstreams_that_stop_end_all_calls),
    };

    return cmocka_run_group_tests_name("upstream", tests, rig_set_up, rig_tear_down);
}
