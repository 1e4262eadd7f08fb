/* The fetch pool against the mock upstream: how each fetch ends, cancels, stop, shards, names. */
#include "fetch_probe.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <sys/epoll.h>
#include <sys/resource.h>

/* ---- an epoll_ctl that adds nothing when a test says so ---- */

static atomic_bool epoll_is_full;

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    typedef int (*epoll_ctl_fn)(int, int, int, struct epoll_event *);
    union {
        void *symbol;
        epoll_ctl_fn fn;
    } real = {.symbol = dlsym(RTLD_NEXT, "epoll_ctl")};

    if (operation == EPOLL_CTL_ADD && atomic_load(&epoll_is_full)) {
        errno = ENOSPC;
        return -1;
    }
    return real.fn(epoll_fd, operation, fd, event);
}

/* ---- outcomes ---- */

static void each_way_to_end_has_its_reason(void **state)
{
    static const struct {
        const char *path;
        enum fetch_reason reason;
        int status;
    } rows[] = {
        {"/?size=10", FETCH_OK, 200},
        {"/?size=0", FETCH_OK, 200},
        {"/?status=204", FETCH_OK, 204},
        {"/?size=1000&chunked=1", FETCH_OK, 200},
        {"/?size=1000&gzip=1", FETCH_OK, 200},
        {"/?status=404", FETCH_HTTP_STATUS, 404},
        {"/?status=503&size=10", FETCH_HTTP_STATUS, 503},
        {"/?stall=1", FETCH_TIMEOUT, 0},
        {"/?size=1000&drip=10", FETCH_TIMEOUT, 200},
        {"/?size=65537", FETCH_TOO_LARGE, 200},
        {"/?size=65537&chunked=1", FETCH_TOO_LARGE, 200},
        {"/?size=1000000&gzip=1", FETCH_TOO_LARGE, 200},
        {"/?size=65536", FETCH_OK, 200},
        {"/?garbage=1", FETCH_PROTOCOL, 0},
        {"/?hangup=before", FETCH_PROTOCOL, 0},
        {"/?hangup=body&size=100", FETCH_PROTOCOL, 200},
        {"/?size=10&length=20", FETCH_PROTOCOL, 200},
        {"/?badchunk=1&chunked=1&size=100", FETCH_PROTOCOL, 200},
        {"/?reset=1", FETCH_PROTOCOL, 0},
        {"/?redirect=4", FETCH_PROTOCOL, 302},
        {"/?redirect_to=ftp%3A%2F%2F127.0.0.1%2F", FETCH_PROTOCOL, 302},
    };
    NEED_MOCK();
    struct pool pool =
        pool_start("fetch: {workers: 1, timeout: 500ms, max_response: 64KiB, max_redirects: 3}");
    struct probe probe;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        probe_init_at(&probe, "127.0.0.1", rows[i].path);
        assert_outcome(&pool, &probe, rows[i].reason, rows[i].status);
    }
    pool_end(&pool);
}

static void an_answer_cut_in_its_head_is_a_protocol_error(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/?hangup=header&size=100");
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_PROTOCOL);
    probe_done(&probe);
    pool_end(&pool);
}

static unsigned unused_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void hosts_that_cannot_be_reached_have_their_reasons(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;
    char url[64];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", unused_port());
    probe_init(&probe, url);
    assert_outcome(&pool, &probe, FETCH_CONNECT, 0);
    probe_init(&probe, "http://gone.test/");
    assert_outcome(&pool, &probe, FETCH_DNS, 0);
    probe_init(&probe, "http://host.invalid/");
    assert_outcome(&pool, &probe, FETCH_DNS, 0);
    pool_end(&pool);
}

static void a_connection_that_cannot_be_watched_fails_its_fetch_at_once(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 1m, connect_timeout: 1m}");
    struct probe probe;

    for (int round = 0; round < 3; round++) {
        atomic_store(&epoll_is_full, true);
        probe_init_at(&probe, "127.0.0.1", "/?close=1");
        assert_outcome(&pool, &probe, FETCH_CONNECT, 0);
        atomic_store(&epoll_is_full, false);
        probe_init_at(&probe, "127.0.0.1", "/?close=1");
        assert_outcome(&pool, &probe, FETCH_OK, 200);
    }
    pool_end(&pool);
}

static void *say_no_main(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    char byte;

    assert_int_equal(write(fd, "This is no TLS.\n", 16), 16);
    while (read(fd, &byte, 1) == 1)
        continue;
    close(fd);
    return NULL;
}

static void a_host_that_does_not_speak_tls_has_its_reason(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct probe probe;
    pthread_t thread;
    char url[64];
    (void)state;

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    struct pool pool = pool_start("fetch: {workers: 1}");
    start(&thread, say_no_main, &fd);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", ntohs(address.sin_port));
    probe_init(&probe, url);
    assert_outcome(&pool, &probe, FETCH_TLS, 0);
    thread_join(thread);
    close(fd);
    pool.descriptors--;
    pool_end(&pool);
}

static void every_code_of_libcurl_has_a_reason_that_is_an_error(void **state)
{
    (void)state;
    for (int code = CURLE_OK + 1; code < CURL_LAST; code++)
        assert_true(outcome_reason((CURLcode)code) > FETCH_HTTP_STATUS);
    for (size_t i = 0; i < FETCH_REASON_COUNT; i++)
        assert_non_null(fetch_reason_names[i]);
}

static void a_body_is_kept_up_to_what_was_asked_for(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/?body=0123456789&type=text%2Fplain%3B%20charset%3DISO-8859-1");
    probe.fetch.keep_max_bytes = 4;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.body.size, 4);
    assert_memory_equal(probe.fetch.body.data, "0123", 4);
    assert_false(probe.fetch.body_is_whole);
    assert_int_equal(strcasecmp(probe.fetch.charset, "ISO-8859-1"), 0);
    probe_done(&probe);
    probe_init_at(&probe, "127.0.0.1", "/?body=0123456789&gzip=1");
    probe.fetch.keep_max_bytes = 10;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.body.size, 10);
    assert_true(probe.fetch.body_is_whole);
    probe_done(&probe);
    probe_init_at(&probe, "127.0.0.1", "/?size=5000");
    probe.fetch.keep_max_bytes = 0;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_OK);
    assert_int_equal(probe.fetch.received_bytes, 5000);
    probe_done(&probe);
    pool_end(&pool);
}

static void targets_that_are_not_http_are_refused(void **state)
{
    static const char *const urls[] = {
        "",        "/path",      "127.0.0.1",    "ftp://host/",     "file:///etc/passwd",
        "http://", "mailto:a@b", "http://h:0x/", "http://h:99999/", "http://a b/"};
    struct fetch_target *target;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct err err = {0};
        if (fetch_target_create(urls[i], &target, &err) >= 0)
            fail_msg("\"%s\" is taken", urls[i]);
        assert_true(err.text[0] != '\0');
    }
}

/* ---- redirects ---- */

static void redirects_are_followed(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, max_redirects: 3}");
    struct probe probe;
    char path[256];

    probe_init_at(&probe, "127.0.0.1", "/?redirect=3&body=there");
    run(&pool, &probe);
    assert_int_equal(probe.fetch.status, 200);
    assert_int_equal(probe.fetch.redirects, 3);
    assert_int_equal(probe.fetch.body.size, 5);
    assert_memory_equal(probe.fetch.body.data, "there", 5);
    assert_null(probe.fetch.hop);
    probe_done(&probe);

    /* To another host, whose name has to be looked up. */
    snprintf(path, sizeof(path), "/?redirect_to=http%%3A%%2F%%2Fonce.test%%3A%u%%2F%%3Fbody%%3Dhere",
             mock.port);
    probe_init_at(&probe, "127.0.0.1", path);
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_OK);
    assert_memory_equal(probe.fetch.body.data, "here", 4);
    assert_int_equal(atomic_load(&names_asked), 1);
    probe_done(&probe);
    pool_end(&pool);
}

/* As browsers and curl do. */
static void a_location_with_a_space_is_followed(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;
    char path[256];

    snprintf(path, sizeof(path), "/?redirect_to=http%%3A%%2F%%2F127.0.0.1%%3A%u%%2Fa%%20b%%3Fbody%%3Dhere",
             mock.port);
    probe_init_at(&probe, "127.0.0.1", path);
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    pool_end(&pool);
}

static void without_redirects_the_redirect_is_the_answer(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, max_redirects: 0}");
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/?redirect=1");
    assert_outcome(&pool, &probe, FETCH_OK, 302);
    pool_end(&pool);
}

static void redirects_do_not_start_the_time_anew(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 300ms, max_redirects: 50}");
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/?redirect=40&delay=50");
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_TIMEOUT);
    assert_true(probe.fetch.redirects >= 1);
    assert_true(probe.fetch.redirects < 20);
    probe_done(&probe);
    pool_end(&pool);
}

/* ---- calls ---- */

static void probe_init_call(struct probe *probe, const char *path, const struct fetch_call *call)
{
    probe_init_at(probe, "127.0.0.1", path);
    probe->fetch.call = call;
    probe->fetch.keep_max_bytes = 1 << 20;
}

/* What the upstream has seen of the request; the caller calls json_decref. */
static json_t *echo_of(const struct probe *probe)
{
    json_error_t error;
    json_t *echo = json_loadb(probe->fetch.body.data, probe->fetch.body.size, JSON_ALLOW_NUL, &error);

    if (!echo)
        fail_msg("%s: %s: %.*s", probe->fetch.error, error.text, (int)probe->fetch.body.size,
                 probe->fetch.body.data);
    return echo;
}

static const char *echoed_header(json_t *echo, const char *name)
{
    return json_string_value(json_object_get(json_object_get(echo, "headers"), name));
}

static void a_call_is_sent_as_it_was_given(void **state)
{
    static const char *const headers[] = {"X-One: 1",           "Content-Type: application/json", "X-Empty:",
                                          "User-Agent: mine/1", "Authorization: Bearer x",        NULL};
    static const struct {
        const char *method;
        const char *body;
        const char *length; /* of the Content-Length; NULL: none */
    } rows[] = {
        {"GET", "", NULL},    {"POST", "{\"a\": 1}\r\n", "10"},
        {"POST", "", "0"},    {"PUT", "x=1&y", "5"},
        {"PUT", "", "0"},     {"PATCH", "p", "1"},
        {"PATCH", "", "0"},   {"DELETE", "why", "3"},
        {"DELETE", "", NULL}, {"OPTIONS", "", NULL},
    };
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fetch_call call = {rows[i].method, headers, rows[i].body, strlen(rows[i].body)};
        struct probe probe;
        probe_init_call(&probe, "/?echo=1", &call);
        run(&pool, &probe);
        json_t *echo = echo_of(&probe);
        assert_int_equal(probe.fetch.reason, FETCH_OK);
        assert_string_equal(json_string_value(json_object_get(echo, "method")), rows[i].method);
        assert_string_equal(json_string_value(json_object_get(echo, "body")), rows[i].body);
        assert_string_equal(echoed_header(echo, "X-One"), "1");
        assert_string_equal(echoed_header(echo, "X-Empty"), "");
        assert_string_equal(echoed_header(echo, "Content-Type"), "application/json");
        assert_string_equal(echoed_header(echo, "User-Agent"), "mine/1");
        assert_string_equal(echoed_header(echo, "Authorization"), "Bearer x");
        assert_string_equal(echoed_header(echo, "Accept-Encoding"), "gzip");
        if (rows[i].length)
            assert_string_equal(echoed_header(echo, "Content-Length"), rows[i].length);
        else
            assert_null(echoed_header(echo, "Content-Length"));
        json_decref(echo);
        probe_done(&probe);
    }
    pool_end(&pool);
}

static void a_call_has_no_headers_that_nobody_asked_for(void **state)
{
    const struct fetch_call call = {.method = "POST", .body = "a=1", .body_size = 3};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_call(&probe, "/?echo=1", &call);
    run(&pool, &probe);
    json_t *echo = echo_of(&probe);
    json_t *headers = json_object_get(echo, "headers");
    assert_int_equal(json_object_size(headers), 5);
    assert_non_null(echoed_header(echo, "Host"));
    assert_non_null(echoed_header(echo, "Accept"));
    assert_non_null(echoed_header(echo, "Accept-Encoding"));
    assert_non_null(strstr(echoed_header(echo, "User-Agent"), "heddle"));
    assert_string_equal(echoed_header(echo, "Content-Length"), "3");
    json_decref(echo);
    probe_done(&probe);
    pool_end(&pool);
}

/* More than libcurl sends with the head, more than the socket takes at once, and what libcurl would ask for
 * with Expect: the upstream waits for nothing. */
static void a_large_body_arrives(void **state)
{
    static char body[3 << 20];
    const struct fetch_call call = {.method = "POST", .body = body, .body_size = sizeof(body)};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    memset(body, '\n', sizeof(body));
    probe_init_call(&probe, "/?echo=1", &call);
    run(&pool, &probe);
    json_t *echo = echo_of(&probe);
    assert_int_equal(json_integer_value(json_object_get(echo, "body_size")), sizeof(body));
    assert_null(echoed_header(echo, "Expect"));
    json_decref(echo);
    probe_done(&probe);
    pool_end(&pool);
}

/* What stays corked goes out after 200 ms. */
static void bodies_of_all_sizes_leave_at_once(void **state)
{
    static char body[1 << 20];
    static const size_t sizes[] = {1, 1000, 1400, 16384, 65535, 65536, 65537, 100000, 262144, 1 << 20};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    uint64_t elapsed_ns = 0;

    for (size_t i = 0; i < 5 * ARRAY_LEN(sizes); i++) {
        struct fetch_call call = {.method = "PUT", .body = body, .body_size = sizes[i % ARRAY_LEN(sizes)]};
        struct probe probe;
        probe_init_call(&probe, "/", &call);
        run(&pool, &probe);
        assert_int_equal(probe.fetch.reason, FETCH_OK);
        elapsed_ns += probe.fetch.elapsed_ns;
        probe_done(&probe);
    }
    assert_true(elapsed_ns < 5 * ARRAY_LEN(sizes) * 20 * NS_PER_MS);
    pool_end(&pool);
}

/* They use the same handle and connection. */
static void a_fetch_after_a_call_is_a_plain_get(void **state)
{
    static const char *const headers[] = {"X-One: 1", NULL};
    static const char *const methods[] = {"POST", "HEAD", "DELETE", "PURGE"};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct fetch_call call = {.method = methods[i], .headers = headers};
        probe_init_call(&probe, "/?echo=1&retry_after=9&status=300&type=text/x-one", &call);
        assert_outcome(&pool, &probe, FETCH_OK, 300);
        probe_init_at(&probe, "127.0.0.1", "/?echo=1");
        probe.fetch.keep_max_bytes = 1000;
        run(&pool, &probe);
        json_t *echo = echo_of(&probe);
        assert_string_equal(json_string_value(json_object_get(echo, "method")), "GET");
        assert_int_equal(json_object_size(json_object_get(echo, "headers")), 4);
        assert_null(echoed_header(echo, "X-One"));
        assert_null(probe.fetch.content_type);
        assert_int_equal(probe.fetch.retry_after_s, 0);
        json_decref(echo);
        probe_done(&probe);
    }
    pool_end(&pool);
}

static void a_head_has_no_body_however_long_that_would_be(void **state)
{
    const struct fetch_call call = {.method = "HEAD"};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, max_response: 64KiB}");
    struct probe probe;

    probe_init_call(&probe, "/?size=100000", &call);
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_OK);
    assert_int_equal(probe.fetch.body.size, 0);
    assert_true(probe.fetch.body_is_whole);
    probe_done(&probe);
    probe_init_at(&probe, "127.0.0.1", "/?size=100000"); /* the limit holds again */
    assert_outcome(&pool, &probe, FETCH_TOO_LARGE, 200);
    pool_end(&pool);
}

static void what_an_error_says_is_kept_for_a_call(void **state)
{
    const struct fetch_call call = {.method = "POST", .body = "x", .body_size = 1};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, max_response: 64KiB}");
    struct probe probe;

    probe_init_call(&probe, "/?status=422&body=no%20such%20field&type=text/plain;charset=utf-8", &call);
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_HTTP_STATUS);
    assert_int_equal(probe.fetch.status, 422);
    assert_string_equal(probe.fetch.content_type, "text/plain;charset=utf-8");
    assert_int_equal(probe.fetch.body.size, 13);
    assert_memory_equal(probe.fetch.body.data, "no such field", 13);
    probe_done(&probe);
    probe_init_call(&probe, "/?status=500&size=100000", &call);
    assert_outcome(&pool, &probe, FETCH_TOO_LARGE, 500);
    pool_end(&pool);
}

static uint64_t retry_after_of(struct pool *pool, const struct fetch_call *call, int status,
                               const char *value)
{
    struct probe probe;
    char path[256];

    snprintf(path, sizeof(path), "/?status=%d&retry_after=%s", status, value);
    probe_init_at(&probe, "127.0.0.1", path);
    probe.fetch.call = call;
    run(pool, &probe);
    uint64_t retry_after_s = probe.fetch.retry_after_s;
    probe_done(&probe);
    return retry_after_s;
}

static void retry_after_is_read(void **state)
{
    time_t later = time(NULL) + 3600;
    struct tm parts;
    char date[64];
    const struct fetch_call call = {.method = "GET"};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    gmtime_r(&later, &parts);
    strftime(date, sizeof(date), "%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT", &parts);
    assert_int_equal(retry_after_of(&pool, &call, 503, "0"), 0);
    assert_int_equal(retry_after_of(&pool, &call, 503, "120"), 120);
    assert_int_equal(retry_after_of(&pool, &call, 503, "86400"), 86400);
    assert_in_range(retry_after_of(&pool, &call, 503, date), 3500, 3600);
    assert_int_equal(retry_after_of(&pool, &call, 503, "Wed,%2021%20Oct%202015%2007:28:00%20GMT"), 0);
    assert_int_equal(retry_after_of(&pool, &call, 503, "soon"), 0);
    assert_int_equal(retry_after_of(&pool, &call, 503, "-5"), 0);
    pool_end(&pool);
}

static void retry_after_of_a_plain_fetch_is_read_where_it_says_so(void **state)
{
    static const struct {
        int status;
        uint64_t retry_after_s;
    } rows[] = {{429, 120}, {503, 120}, {200, 0}, {500, 0}};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(retry_after_of(&pool, NULL, rows[i].status, "120"), rows[i].retry_after_s);
    pool_end(&pool);
}

static void only_calls_that_read_follow_redirects(void **state)
{
    static const struct {
        const char *method;
        int status;
    } rows[] = {{"GET", 200}, {"HEAD", 200}, {"POST", 302}, {"PUT", 302}, {"DELETE", 302}};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fetch_call call = {.method = rows[i].method};
        struct probe probe;
        probe_init_call(&probe, "/?redirect=2", &call);
        assert_outcome(&pool, &probe, FETCH_OK, rows[i].status);
    }
    pool_end(&pool);
}

/* From 127.0.0.1 to a name of the same upstream, which is another origin. */
static void headers_stay_with_their_origin(void **state)
{
    static const char *const headers[] = {"Authorization: Bearer x", "X-Key: y", "Accept: text/plain", NULL};
    static const char *const hosts[] = {"127.0.0.1", "once.test"};
    const struct fetch_call call = {.method = "GET", .headers = headers};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct probe probe;
        char path[256];
        snprintf(path, sizeof(path), "/?redirect_to=http%%3A%%2F%%2F%s%%3A%u%%2F%%3Fecho%%3D1", hosts[i],
                 mock.port);
        probe_init_call(&probe, path, &call);
        run(&pool, &probe);
        json_t *echo = echo_of(&probe);
        assert_int_equal(echoed_header(echo, "Authorization") != NULL, i == 0);
        assert_int_equal(echoed_header(echo, "X-Key") != NULL, i == 0);
        assert_string_equal(echoed_header(echo, "Accept"), "text/plain");
        json_decref(echo);
        probe_done(&probe);
    }
    pool_end(&pool);
}

static bool may_visit_127(const struct fetch *fetch, const struct fetch_target *target, struct err *err)
{
    struct fetch_place place = fetch_target_place(target);

    assert_ptr_equal(fetch->arg, &mock);
    if (strcmp(place.host, "127.0.0.1") == 0)
        return true;
    err_set(err, -EACCES, "%s:%u is not allowed", place.host, place.port);
    return false;
}

static void a_redirect_goes_only_where_it_may(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/?redirect=2");
    probe.fetch.may_visit = may_visit_127;
    probe.fetch.arg = &mock;
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    probe_init_at(&probe, "127.0.0.1", "/?redirect_to=http%3A%2F%2F127.0.0.1%40once.test%3A7%2F");
    probe.fetch.may_visit = may_visit_127;
    probe.fetch.arg = &mock;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_PROTOCOL);
    assert_string_equal(probe.fetch.error, "redirect not followed: once.test:7 is not allowed");
    assert_int_equal(probe.fetch.status, 302);
    assert_int_equal(atomic_load(&names_asked), 0);
    probe_done(&probe);
    pool_end(&pool);
}

static void a_call_can_be_cancelled_while_it_sends(void **state)
{
    static char body[8 << 20];
    const struct fetch_call call = {.method = "PUT", .body = body, .body_size = sizeof(body)};
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (int round = 0; round < 20; round++) {
        struct probe probe;
        probe_init_call(&probe, "/?stall=1", &call);
        submit(&pool, &probe);
        fetch_cancel(&probe.fetch);
        wait_for_count(&probe.done, 1);
        assert_int_equal(probe.fetch.reason, FETCH_CANCELLED);
        probe_done(&probe);
    }
    pool_end(&pool);
}

static void headers_that_are_not_the_callers_are_refused(void **state)
{
    static const struct {
        const char *name;
        const char *value;
        int result;
    } rows[] = {
        {"X-One", "1", 0},
        {"x!#$%&'*+-.^_`|~9", "a\tb \xc3\xa4 \xff", 0},
        {"Authorization", "Bearer x", 0},
        {"Cookie", "", 0},
        {"Content-Type", "text/plain", 0},
        {"", "1", -EINVAL},
        {"X One", "1", -EINVAL},
        {"X:One", "1", -EINVAL},
        {":authority", "x", -EINVAL},
        {"X-\xc3\xa4", "1", -EINVAL},
        {"X-One\r\nX-Two", "1", -EINVAL},
        {"X-One", "1\r\nX-Two: 2", -EINVAL},
        {"X-One", "1\nX-Two: 2", -EINVAL},
        {"X-One", "1\r", -EINVAL},
        {"X-One", "\x01", -EINVAL},
        {"X-One", "\x7f", -EINVAL},
        {"Host", "example.org", -EINVAL},
        {"content-length", "3", -EINVAL},
        {"Transfer-Encoding", "chunked", -EINVAL},
        {"connection", "close", -EINVAL},
        {"Expect", "100-continue", -EINVAL},
        {"Upgrade", "h2c", -EINVAL},
        {"TE", "trailers", -EINVAL},
        {"Accept-Encoding", "br", -EINVAL},
        {"proxy-authorization", "Basic x", -EINVAL},
    };
    static char longest[FETCH_HEADER_MAX_BYTES + 1];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        if (fetch_header_check(rows[i].name, rows[i].value, &err) != rows[i].result)
            fail_msg("%s: %s: %s", rows[i].name, rows[i].value, err.text);
        assert_int_equal(err.text[0] != '\0', rows[i].result != 0);
    }
    memset(longest, 'x', FETCH_HEADER_MAX_BYTES);
    assert_int_equal(fetch_header_check("A", longest, NULL), -ERANGE);
    assert_int_equal(fetch_header_check("A", longest + 1, NULL), 0);
}

/* ---- time-outs of their own ---- */

static void a_fetch_can_have_a_time_out_of_its_own(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 1s}");
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/?stall=1");
    probe.fetch.timeout_ms = 50;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_TIMEOUT);
    assert_string_equal(probe.fetch.error, "timed out after 50 ms");
    assert_in_range(probe.fetch.elapsed_ns, 50 * NS_PER_MS, 900 * NS_PER_MS);
    probe_done(&probe);
    probe_init_at(&probe, "127.0.0.1", "/?delay=1200");
    probe.fetch.timeout_ms = 60000;
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    pool_end(&pool);
}

static uint64_t earliest_of(const struct fetch *fetches, const bool *is_in, size_t count)
{
    uint64_t earliest_ns = CLOCK_NEVER;

    for (size_t i = 0; i < count; i++)
        if (is_in[i])
            earliest_ns = MIN(earliest_ns, clock_deadline_ns(fetches[i].start_ns, fetches[i].timeout_ms));
    return earliest_ns;
}

/* Against a search through all of them. */
static void the_next_to_time_out_is_found_whoever_left(void **state)
{
    static struct fetch fetches[200];
    static bool is_in[ARRAY_LEN(fetches)];
    struct fetch_worker worker = {.live = TAILQ_HEAD_INITIALIZER(worker.live)};
    (void)state;

    srand(1);
    for (size_t i = 0; i < 20000; i++) {
        size_t at = (size_t)rand() % ARRAY_LEN(fetches);
        bool is_first = rand() % 4 == 0 && worker.live_own.first;
        struct fetch *fetch = is_first ? deadline_first(&worker) : &fetches[at];
        at = (size_t)(fetch - fetches);
        is_in[at] = !is_in[at];
        if (is_in[at]) {
            *fetch =
                (struct fetch){.worker = &worker, .start_ns = i, .timeout_ms = 1 + (unsigned)rand() % 50};
            deadline_add(fetch);
        } else {
            deadline_remove(fetch);
        }
        assert_int_equal(deadline_first_ns(&worker), earliest_of(fetches, is_in, ARRAY_LEN(fetches)));
    }
}

/* In any order among themselves and among those without; some leave early. */
static void each_fetch_times_out_at_its_time(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 300ms}");
    size_t count = 400;
    struct probe *probes = probes_at(count, "127.0.0.1", "/?stall=1");

    for (size_t i = 0; i < count; i++)
        probes[i].fetch.timeout_ms = i % 5 == 0 ? 0 : 100 + i * 7919 % 500;
    submit_all(&pool, probes, count);
    for (size_t i = 0; i < count; i += 3)
        fetch_cancel(&probes[i].fetch);
    wait_for_count(&done_count, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        uint64_t timeout_ms = probes[i].fetch.timeout_ms ? probes[i].fetch.timeout_ms : 300;
        assert_int_equal(probes[i].fetch.reason, i % 3 == 0 ? FETCH_CANCELLED : FETCH_TIMEOUT);
        if (i % 3 != 0)
            assert_in_range(probes[i].fetch.elapsed_ns, timeout_ms * NS_PER_MS,
                            (timeout_ms + 5000) * NS_PER_MS);
        probe_done(&probes[i]);
    }
    free(probes);
    pool_end(&pool);
}

/* ---- cancels ---- */

static void a_fetch_cancelled_at_once_ends(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (int round = 0; round < 200; round++) {
        struct probe probe;
        probe_init_at(&probe, "127.0.0.1", "/?stall=1");
        submit(&pool, &probe);
        fetch_cancel(&probe.fetch);
        fetch_cancel(&probe.fetch);
        wait_for_count(&probe.done, 1);
        assert_int_equal(probe.fetch.reason, FETCH_CANCELLED);
        assert_true(probe.fetch.error[0] != '\0');
        probe_done(&probe);
    }
    pool_end(&pool);
}

/* `first` has been answered, so `second`, which came before it, is with the upstream. */
static void a_fetch_cancelled_while_it_runs_ends(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe first;
    struct probe second;

    probe_init_at(&second, "127.0.0.1", "/?size=100000&drip=100");
    submit(&pool, &second);
    probe_init_at(&first, "127.0.0.1", "/");
    run(&pool, &first);
    fetch_cancel(&second.fetch);
    wait_for_count(&second.done, 1);
    assert_int_equal(second.fetch.reason, FETCH_CANCELLED);
    assert_int_equal(second.fetch.body.size, 0);
    probe_done(&first);
    probe_done(&second);
    pool_end(&pool);
}

static struct pool *nested_pool;
static struct probe nested;

static void submit_and_cancel(struct probe *probe)
{
    (void)probe;
    submit(nested_pool, &nested);
    fetch_cancel(&nested.fetch);
}

/* The easy handle it is given has the status of its last transfer. */
static void a_fetch_cancelled_before_it_ran_has_no_status(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe first;

    nested_pool = &pool;
    probe_init_at(&nested, "127.0.0.1", "/");
    probe_init_at(&first, "127.0.0.1", "/");
    first.then = submit_and_cancel;
    assert_outcome(&pool, &first, FETCH_OK, 200);
    wait_for_count(&nested.done, 1);
    assert_int_equal(nested.fetch.reason, FETCH_CANCELLED);
    assert_int_equal(nested.fetch.status, 0);
    probe_done(&nested);
    pool_end(&pool);
}

static void a_cancel_after_the_end_changes_nothing(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;
    struct probe next;

    probe_init_at(&probe, "127.0.0.1", "/?body=whole");
    run(&pool, &probe);
    fetch_cancel(&probe.fetch);
    probe_init_at(&next, "127.0.0.1", "/");
    run(&pool, &next);
    assert_int_equal(probe.fetch.reason, FETCH_OK);
    assert_int_equal(probe.fetch.body.size, 5);
    probe_done(&probe);
    probe_done(&next);
    pool_end(&pool);
}

#define SUBMITTERS 4
#define EACH       250

struct submitter {
    struct pool *pool;
    struct probe *probes;
    bool cancels;
};

static void *submitter_main(void *arg)
{
    struct submitter *submitter = arg;

    for (size_t i = 0; i < EACH; i++) {
        submit(submitter->pool, &submitter->probes[i]);
        if (submitter->cancels && i % 2)
            fetch_cancel(&submitter->probes[i / 2].fetch);
    }
    return NULL;
}

static void run_submitters(bool cancels)
{
    struct pool pool = pool_start("fetch: {workers: 2}");
    struct submitter submitters[SUBMITTERS];
    pthread_t threads[SUBMITTERS];

    for (size_t i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){&pool, probes_at(EACH, "127.0.0.1", "/?size=20&delay=1"), cancels};
        start(&threads[i], submitter_main, &submitters[i]);
    }
    for (size_t i = 0; i < SUBMITTERS; i++)
        thread_join(threads[i]);
    wait_for_count(&done_count, SUBMITTERS * EACH);
    pool_end(&pool);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        for (size_t j = 0; j < EACH; j++) {
            enum fetch_reason reason = submitters[i].probes[j].fetch.reason;
            assert_true(reason == FETCH_OK || (cancels && reason == FETCH_CANCELLED));
            probe_done(&submitters[i].probes[j]);
        }
        free(submitters[i].probes);
    }
}

static void fetches_of_several_threads_end_once_each(void **state)
{
    NEED_MOCK();
    run_submitters(false);
}

static void cancels_of_several_threads_end_each_fetch_once(void **state)
{
    NEED_MOCK();
    run_submitters(true);
}

/* ---- stop ---- */

/* The workers must not wait for a name, and the resolver may. */
static void *open_names_when_all_is_done_main(void *arg)
{
    wait_for_count(&done_count, 310);
    names_open(true);
    return arg;
}

static void stop_cancels_what_is_left(void **state)
{
    pthread_t thread;
    NEED_MOCK();
    for (int round = 0; round < 5; round++) {
        struct pool pool = pool_start("fetch: {workers: 2, timeout: 1m}");
        struct probe *running = probes_at(300, "127.0.0.1", "/?stall=1");
        struct probe *waiting = probes_at(10, "slow.test", "/");
        submit_all(&pool, running, 300);
        submit_all(&pool, waiting, 10);
        wait_for_count(&names_held, 1);
        start(&thread, open_names_when_all_is_done_main, NULL);
        fetch_pool_stop(pool.pool);
        assert_int_equal(atomic_load(&done_count), 310);
        thread_join(thread);
        pool_end(&pool);
        free_probes(running, 300, FETCH_CANCELLED);
        free_probes(waiting, 10, FETCH_CANCELLED);
    }
}

static void starts_and_stops_without_a_fetch(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct pool pool = pool_start("fetch: {workers: 3}");
        pool_end(&pool);
    }
}

static void a_pool_that_was_never_started_can_be_freed(void **state)
{
    struct config *config = config_of("fetch: {workers: 2}");
    struct fetch_pool *pool;
    (void)state;

    assert_int_equal(fetch_pool_create(config, &pool, NULL), 0);
    fetch_pool_stop(pool);
    fetch_pool_free(pool);
    config_free(config);
}

/* ---- which worker, and when a request leaves ---- */

static void a_worker_that_keeps_up_gets_all(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 4}");

    for (size_t i = 0; i < 50; i++) {
        struct probe probe;
        probe_init_at(&probe, "127.0.0.1", "/");
        run(&pool, &probe);
        assert_ptr_equal(probe.fetch.worker, &pool.pool->workers[0]);
        probe_done(&probe);
    }
    pool_end(&pool);
}

static struct pool *crowded_pool;
static struct probe *crowd;

static void submit_crowd(struct probe *probe)
{
    (void)probe;
    for (size_t i = 0; i < 6; i++)
        submit(crowded_pool, &crowd[i]);
}

/* While `first` ends, its worker begins nothing. */
static void a_worker_that_is_behind_gets_help(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 2}");
    struct probe first;
    size_t helped_count = 0;

    crowded_pool = &pool;
    crowd = probes_at(6, "127.0.0.1", "/");
    probe_init_at(&first, "127.0.0.1", "/");
    first.then = submit_crowd;
    run(&pool, &first);
    wait_for_count(&done_count, 7);
    for (size_t i = 0; i < 6; i++)
        helped_count += crowd[i].fetch.worker == &pool.pool->workers[1];
    assert_in_range(helped_count, 3, 5); /* all but the first when the helper has nothing else to do */
    probe_done(&first);
    free_probes(crowd, 6, FETCH_OK);
    pool_end(&pool);
}

/* They wait for an address, so none ends meanwhile. */
static void workers_share_what_is_much(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 3, timeout: 1m}");
    size_t counts[3] = {0};
    size_t count = 3000;
    struct probe *probes = probes_at(count, "slow.test", "/");

    for (size_t i = 0; i < count; i++) {
        submit(&pool, &probes[i]);
        counts[probes[i].fetch.worker - pool.pool->workers]++;
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(counts[i], 999, 1001);
    for (size_t i = 0; i < count; i++)
        fetch_cancel(&probes[i].fetch);
    wait_for_count(&done_count, (unsigned)count);
    names_open(true);
    free_probes(probes, count, FETCH_CANCELLED);
    pool_end(&pool);
}

/* What stays corked goes out after 200 ms. */
static void requests_leave_at_the_end_of_their_turn(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    uint64_t elapsed_ns = 0;

    for (size_t i = 0; i < 100; i++) {
        struct probe probe;
        probe_init_at(&probe, "127.0.0.1", "/");
        run(&pool, &probe);
        elapsed_ns += probe.fetch.elapsed_ns;
        probe_done(&probe);
    }
    assert_true(elapsed_ns < 100 * 100 * NS_PER_MS);
    pool_end(&pool);
}

/* ---- shards and trimming: looked at on the worker, when a fetch ends ---- */

static void look(struct probe *probe)
{
    struct fetch_worker *worker = probe->fetch.worker;

    probe->shard_count = worker->shard_count;
    probe->idle_count = worker->idle_count;
    probe->origin_count = HASH_COUNT(worker->origins);
}

static void more_fetches_to_an_origin_open_more_shards(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    size_t count = 5 * SHARD_ORIGIN_MAX;
    struct probe *probes = probes_at(count, "127.0.0.1", "/?delay=200");

    for (size_t i = 0; i < count; i++)
        probes[i].then = look;
    submit_all(&pool, probes, count);
    wait_for_count(&done_count, (unsigned)count);
    assert_in_range(probes[0].shard_count, 5, 7); /* a few end before the last has begun on a busy machine */
    unsigned shard_count = probes[0].shard_count;
    free_probes(probes, count, FETCH_OK);
    /* They are used again and not opened again. */
    probes = probes_at(count, "127.0.0.1", "/?delay=50");
    for (size_t i = 0; i < count; i++)
        probes[i].then = look;
    submit_all(&pool, probes, count);
    wait_for_count(&done_count, 2 * (unsigned)count);
    assert_int_equal(probes[0].shard_count, shard_count);
    free_probes(probes, count, FETCH_OK);
    pool_end(&pool);
}

static void trim_twice(struct probe *probe)
{
    struct fetch_worker *worker = probe->fetch.worker;

    transfer_trim_idle(worker);
    transfer_trim_idle(worker);
    origin_trim(worker);
    origin_trim(worker);
    look(probe);
}

static void what_is_not_used_any_more_is_trimmed(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe *probes = probes_at(50, "127.0.0.1", "/?delay=50");
    struct probe before;
    struct probe after;

    submit_all(&pool, probes, 50);
    wait_for_count(&done_count, 50);
    probe_init_at(&before, "once.test", "/"); /* which has waited for its address */
    before.then = look;
    run(&pool, &before);
    assert_in_range(before.idle_count, 40, 51);
    assert_int_equal(before.origin_count, 2);
    probe_init_at(&after, "127.0.0.1", "/");
    after.then = trim_twice;
    run(&pool, &after);
    assert_in_range(after.idle_count, 0, 1);
    assert_int_equal(after.origin_count, 0);
    probe_done(&before);
    probe_init_at(&before, "127.0.0.1", "/"); /* and goes on */
    assert_outcome(&pool, &before, FETCH_OK, 200);
    probe_done(&after);
    free_probes(probes, 50, FETCH_OK);
    pool_end(&pool);
}

/* At the end of this turn. */
static void trim_soon(struct probe *probe)
{
    probe->fetch.worker->trim_at_ns = 0;
    look(probe);
}

static void shards_that_are_not_used_any_more_are_freed(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    size_t count = 3 * SHARD_ORIGIN_MAX;
    struct probe last;

    for (size_t round = 0; round < 2;
         round++) { /* the second opens them again, at a name they have forgotten */
        struct probe *probes = probes_at(count, "once.test", "/?delay=50");
        submit_all(&pool, probes, count);
        wait_for_count(&done_count, (unsigned)(round * (count + 3) + count));
        free_probes(probes, count, FETCH_OK);
        for (size_t i = 0; i < 3; i++) {
            probe_init_at(&last, "once.test", "/");
            last.then = trim_soon;
            run(&pool, &last);
            probe_done(&last);
        }
        assert_int_equal(last.shard_count, 1);
    }
    assert_int_equal(atomic_load(&names_asked), 1); /* libcurl has not asked by itself */
    pool_end(&pool);
}

static void be_short_of_fds(struct probe *probe)
{
    probe->fetch.worker->surplus_count = 12;
    look(probe);
}

/* The lowest free number is high: the next connections are not kept.  One that is held in the last shard sees
 * to it that no shard is freed with its connections. */
static void connections_are_closed_when_descriptors_are_short(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe *probes = probes_at(20, "127.0.0.1", "/?delay=100");
    struct probe held;
    struct probe probe;
    unsigned warm_count;

    submit_all(&pool, probes, 20);
    probe_init_at(&held, "127.0.0.1", "/?delay=600000");
    submit(&pool, &held);
    wait_for_count(&done_count, 20);
    free_probes(probes, 20, FETCH_OK);
    warm_count = count_descriptors();
    probe_init_at(&probe, "127.0.0.1", "/");
    probe.then = be_short_of_fds;
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    probes = probes_at(20, "127.0.0.1", "/?delay=100");
    submit_all(&pool, probes, 20);
    wait_for_count(&done_count, 41);
    free_probes(probes, 20, FETCH_OK);
    assert_int_equal(warm_count - count_descriptors(), 12);
    fetch_cancel(&held.fetch);
    wait_for_count(&held.done, 1);
    probe_done(&held);
    pool_end(&pool);
}

static void empty_shards_are_freed_when_descriptors_are_short(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    size_t count = 3 * SHARD_ORIGIN_MAX;
    struct probe *probes = probes_at(count, "127.0.0.1", "/?delay=100");
    struct probe last[2];

    submit_all(&pool, probes, count);
    wait_for_count(&done_count, (unsigned)count);
    free_probes(probes, count, FETCH_OK);
    for (size_t i = 0; i < 2; i++) {
        probe_init_at(&last[i], "127.0.0.1", "/");
        last[i].then = i == 0 ? be_short_of_fds : look;
        run(&pool, &last[i]);
        probe_done(&last[i]);
    }
    assert_int_equal(last[0].shard_count, 3);
    assert_int_equal(last[1].shard_count, 1);
    pool_end(&pool);
}

static void a_high_number_says_that_descriptors_are_short(void **state)
{
    struct rlimit limit;
    struct probe probe;
    NEED_MOCK();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    unsigned used = count_descriptors();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){used + 30, limit.rlim_max}), 0);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe *probes = probes_at(60, "127.0.0.1", "/?delay=100");

    submit_all(&pool, probes, 60); /* more than there can be sockets */
    wait_for_count(&done_count, 60);
    probe_init_at(&probe, "127.0.0.1", "/");
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    assert_true(pool.pool->workers[0].surplus_count > 0);
    for (size_t i = 0; i < 60; i++)
        probe_done(&probes[i]);
    free(probes);
    pool_end(&pool);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- names ---- */

static void a_name_is_looked_up_once(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe *probes = probes_at(200, "once.test", "/?delay=20");

    submit_all(&pool, probes, 200);
    wait_for_count(&done_count, 200);
    free_probes(probes, 200, FETCH_OK);
    probes = probes_at(200, "once.test", "/");
    submit_all(&pool, probes, 200);
    wait_for_count(&done_count, 400);
    free_probes(probes, 200, FETCH_OK);
    assert_int_equal(atomic_load(&names_asked), 1);
    pool_end(&pool);
}

static void a_name_of_this_machine_is_found(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_at(&probe, "localhost", "/");
    assert_outcome(&pool, &probe, FETCH_OK, 200);
    pool_end(&pool);
}

static void a_failed_look_up_is_not_repeated_at_once(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe *probes = probes_at(100, "gone.test", "/");

    for (size_t i = 0; i < 100; i++)
        run(&pool, &probes[i]);
    assert_true(atomic_load(&names_asked) < 50);
    free_probes(probes, 100, FETCH_DNS);
    pool_end(&pool);
}

static void an_address_is_looked_up_again_when_it_is_old(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, dns_ttl: 0s}");

    for (unsigned round = 1; round <= 3; round++) {
        struct probe probe;
        probe_init_at(&probe, "once.test", "/?close=1");
        run(&pool, &probe);
        assert_int_equal(probe.fetch.reason, FETCH_OK);
        wait_for_count(&names_asked, round); /* the old address served meanwhile */
        probe_done(&probe);
    }
    pool_end(&pool);
}

static enum fetch_reason reason_at(struct pool *pool, const char *host)
{
    struct probe probe;

    probe_init_at(&probe, host, "/?close=1");
    run(pool, &probe);
    enum fetch_reason reason = probe.fetch.reason;
    probe_done(&probe);
    return reason;
}

static bool name_is_gone(void *pool)
{
    return reason_at(pool, "gone-later.test") == FETCH_DNS;
}

static void a_name_that_is_no_more_is_not_used_any_more(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, dns_ttl: 0s}");

    assert_int_equal(reason_at(&pool, "gone-later.test"), FETCH_OK);
    wait_until(name_is_gone, &pool); /* the old address serves until the answer is there */
    pool_end(&pool);
}

static void an_address_serves_while_no_name_server_answers(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, dns_ttl: 0s}");

    assert_int_equal(reason_at(&pool, "dumb-later.test"), FETCH_OK);
    assert_int_equal(reason_at(&pool, "dumb-later.test"), FETCH_OK);
    wait_for_count(&names_asked, 2);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(reason_at(&pool, "dumb-later.test"), FETCH_OK);
    pool_end(&pool);
}

static void a_fetch_that_waits_for_its_address_is_cancelled(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 1m}");
    struct probe probes[2];

    for (size_t i = 0; i < 2; i++) {
        probe_init_at(&probes[i], "slow.test", "/?body=x");
        submit(&pool, &probes[i]);
    }
    wait_for_count(&names_held, 1);
    fetch_cancel(&probes[0].fetch);
    wait_for_count(&probes[0].done, 1);
    assert_int_equal(probes[0].fetch.reason, FETCH_CANCELLED);
    names_open(true);
    wait_for_count(&probes[1].done, 1);
    assert_int_equal(probes[1].fetch.reason, FETCH_OK);
    probe_done(&probes[0]);
    probe_done(&probes[1]);
    pool_end(&pool);
}

static void a_fetch_does_not_wait_for_its_address_for_ever(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 100ms}");
    struct probe probe;

    probe_init_at(&probe, "slow.test", "/");
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_TIMEOUT);
    names_open(true);
    probe_done(&probe);
    pool_end(&pool);
}

/* A fetch that is cancelled before libcurl has seen it must not keep the address from the shard: libcurl
 * would look the name up by itself. */
static void a_cancelled_fetch_does_not_take_the_address_with_it(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 1m}");
    struct probe *running = probes_at(SHARD_ORIGIN_MAX, "once.test", "/?stall=1");
    struct probe trigger;
    struct probe last;

    nested_pool = &pool;
    submit_all(&pool, running, SHARD_ORIGIN_MAX);
    probe_init_at(&nested, "once.test", "/");
    probe_init_at(&trigger, "127.0.0.1", "/?delay=20");
    trigger.then = submit_and_cancel;
    run(&pool, &trigger);
    wait_for_count(&nested.done, 1);
    probe_init_at(&last, "once.test", "/");
    run(&pool, &last);
    assert_int_equal(last.fetch.reason, FETCH_OK);
    fetch_pool_stop(pool.pool);
    assert_int_equal(atomic_load(&names_asked), 1);
    probe_done(&trigger);
    probe_done(&nested);
    probe_done(&last);
    pool_end(&pool);
    free_probes(running, SHARD_ORIGIN_MAX, FETCH_CANCELLED);
}

/* Nothing of it may be left among the cancels. */
static void a_fetch_that_ends_before_its_cancel_is_seen_ends_once(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    nested_pool = &pool;
    for (int round = 0; round < 3; round++) {
        probe_init(&probe, "http://gone.test/"); /* the next one is refused without asking */
        run(&pool, &probe);
        probe_done(&probe);
        probe_init(&nested, "http://gone.test/");
        probe_init_at(&probe, "127.0.0.1", "/");
        probe.then = submit_and_cancel;
        run(&pool, &probe);
        wait_for_count(&nested.done, 1);
        probe_done(&probe);
        probe_init_at(&probe, "127.0.0.1", "/");
        assert_outcome(&pool, &probe, FETCH_OK, 200);
        probe_done(&nested);
    }
    pool_end(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_to_end_has_its_reason),
        cmocka_unit_test(an_answer_cut_in_its_head_is_a_protocol_error),
        cmocka_unit_test(hosts_that_cannot_be_reached_have_their_reasons),
        cmocka_unit_test(a_connection_that_cannot_be_watched_fails_its_fetch_at_once),
        cmocka_unit_test(a_host_that_does_not_speak_tls_has_its_reason),
        cmocka_unit_test(every_code_of_libcurl_has_a_reason_that_is_an_error),
        cmocka_unit_test(a_body_is_kept_up_to_what_was_asked_for),
        cmocka_unit_test(targets_that_are_not_http_are_refused),
        cmocka_unit_test(redirects_are_followed),
        cmocka_unit_test(a_location_with_a_space_is_followed),
        cmocka_unit_test(without_redirects_the_redirect_is_the_answer),
        cmocka_unit_test(redirects_do_not_start_the_time_anew),
        cmocka_unit_test(a_call_is_sent_as_it_was_given),
        cmocka_unit_test(a_call_has_no_headers_that_nobody_asked_for),
        cmocka_unit_test(a_large_body_arrives),
        cmocka_unit_test(bodies_of_all_sizes_leave_at_once),
        cmocka_unit_test(a_fetch_after_a_call_is_a_plain_get),
        cmocka_unit_test(a_head_has_no_body_however_long_that_would_be),
        cmocka_unit_test(what_an_error_says_is_kept_for_a_call),
        cmocka_unit_test(retry_after_is_read),
        cmocka_unit_test(retry_after_of_a_plain_fetch_is_read_where_it_says_so),
        cmocka_unit_test(only_calls_that_read_follow_redirects),
        cmocka_unit_test(headers_stay_with_their_origin),
        cmocka_unit_test(a_redirect_goes_only_where_it_may),
        cmocka_unit_test(a_call_can_be_cancelled_while_it_sends),
        cmocka_unit_test(headers_that_are_not_the_callers_are_refused),
        cmocka_unit_test(a_fetch_can_have_a_time_out_of_its_own),
        cmocka_unit_test(the_next_to_time_out_is_found_whoever_left),
        cmocka_unit_test(each_fetch_times_out_at_its_time),
        cmocka_unit_test(a_fetch_cancelled_at_once_ends),
        cmocka_unit_test(a_fetch_cancelled_while_it_runs_ends),
        cmocka_unit_test(a_fetch_cancelled_before_it_ran_has_no_status),
        cmocka_unit_test(a_cancel_after_the_end_changes_nothing),
        cmocka_unit_test(fetches_of_several_threads_end_once_each),
        cmocka_unit_test(cancels_of_several_threads_end_each_fetch_once),
        cmocka_unit_test(stop_cancels_what_is_left),
        cmocka_unit_test(starts_and_stops_without_a_fetch),
        cmocka_unit_test(a_pool_that_was_never_started_can_be_freed),
        cmocka_unit_test(a_worker_that_keeps_up_gets_all),
        cmocka_unit_test(a_worker_that_is_behind_gets_help),
        cmocka_unit_test(workers_share_what_is_much),
        cmocka_unit_test(requests_leave_at_the_end_of_their_turn),
        cmocka_unit_test(more_fetches_to_an_origin_open_more_shards),
        cmocka_unit_test(what_is_not_used_any_more_is_trimmed),
        cmocka_unit_test(shards_that_are_not_used_any_more_are_freed),
        cmocka_unit_test(connections_are_closed_when_descriptors_are_short),
        cmocka_unit_test(empty_shards_are_freed_when_descriptors_are_short),
        cmocka_unit_test(a_high_number_says_that_descriptors_are_short),
        cmocka_unit_test(a_name_is_looked_up_once),
        cmocka_unit_test(a_name_of_this_machine_is_found),
        cmocka_unit_test(a_failed_look_up_is_not_repeated_at_once),
        cmocka_unit_test(an_address_is_looked_up_again_when_it_is_old),
        cmocka_unit_test(a_name_that_is_no_more_is_not_used_any_more),
        cmocka_unit_test(an_address_serves_while_no_name_server_answers),
        cmocka_unit_test(a_fetch_that_waits_for_its_address_is_cancelled),
        cmocka_unit_test(a_fetch_does_not_wait_for_its_address_for_ever),
        cmocka_unit_test(a_fetch_that_ends_before_its_cancel_is_seen_ends_once),
        cmocka_unit_test(a_cancelled_fetch_does_not_take_the_address_with_it),
    };

    return cmocka_run_group_tests_name("fetch", tests, fetch_set_up, fetch_tear_down);
}
