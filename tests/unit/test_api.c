/* The API's handlers on a front of their own, without the program's other parts: what cannot be met from
 * outside, where the program has started before it can be asked. */
#include "harness.h"

#include "api/api.h"
#include "api/app.h"
#include "base/log.h"
#include "front/fcgi.h"
#include "front/listener.h"

struct server {
    char dir[32];
    char path[48];
    struct config *config;
    struct app app;
};

static void server_start(struct server *server)
{
    struct listener listener;
    struct err err = {0};
    char text[128];

    *server = (struct server){.dir = "/tmp/api-XXXXXX"};
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->path, sizeof(server->path), "%s/s", server->dir);
    snprintf(text, sizeof(text), "listen: unix:%s\n", server->path);
    server->config = config_of(text);
    server->app.config = server->config;
    struct front_options options = {
        .config = server->config,
        .routes = api_routes,
        .route_count = api_route_count,
        .max_in_flight = 100,
        .app = &server->app,
    };
    if (listener_open(&listener, server->config, &err) < 0)
        fail_msg("%s", err.text);
    if (front_create(&options, &listener, &server->app.front, &err) < 0 ||
        front_start(server->app.front, &err) < 0)
        fail_msg("%s", err.text);
}

static void server_stop(struct server *server)
{
    front_drain(server->app.front, in_ms(PATIENCE_MS));
    front_stop(server->app.front);
    front_free(server->app.front);
    config_free(server->config);
    rmdir(server->dir);
}

/* The answer has this status and, in its head or body, each of `texts`, which end with NULL. */
static void expect(struct client *client, const char *uri, int status, const char *const texts[])
{
    struct answer answer;

    assert_true(client_request(client, true, "GET", uri, "", 0));
    assert_true(client_read(client, &answer));
    buf_append(&answer.body, "", 1);
    assert_int_equal(answer.status, status);
    for (size_t i = 0; texts[i]; i++) {
        if (!strstr(answer.head.data, texts[i]) && !strstr(answer.body.data, texts[i]))
            fail_msg("%s: no \"%s\" in \"%s%s\"", uri, texts[i], answer.head.data, answer.body.data);
    }
    answer_done(&answer);
}

static void is_ready_once_it_has_started(void **state)
{
    static const char *const live[] = {"\"live\"", NULL};
    static const char *const starting[] = {"application/problem+json", "\r\nRetry-After: ", "\"starting\"",
                                           NULL};
    static const char *const ready[] = {"\"ready\"", NULL};
    struct server server;
    (void)state;

    server_start(&server);
    struct client client = client_of(connect_unix(server.path));
    expect(&client, "/health/live", 200, live);
    expect(&client, "/health/ready", 503, starting);
    atomic_store(&server.app.started, true);
    expect(&client, "/health/ready", 200, ready);
    client_done(&client);
    server_stop(&server);
}

/* ---- the table of routes ---- */

static struct config *config_with_paths(const char *const *paths)
{
    char text[4096] = "upstreams: [{name: u, base_url: 'http://127.0.0.1:1'}]\nendpoints:\n";

    for (; *paths; paths++) {
        size_t size = strlen(text);
        snprintf(text + size, sizeof(text) - size,
                 "  - {path: '%s', parts: [{name: p, upstream: u, path: /}]}\n", *paths);
    }
    return config_of(text);
}

static void endpoints_are_not_below_the_programs_own_paths(void **state)
{
    static const char *const own[] = {"/health/x",
                                      "/health",
                                      "/metrics",
                                      "/tasks/{x}/y",
                                      "/queues/x",
                                      "/upstreams",
                                      "/upstreams/{x}",
                                      "/concurrent_requests/x",
                                      "/start_background_task",
                                      NULL};
    static const char *const free[] = {"/api/tasks", "/task", "/tasksx", "/{tasks}", "/a/metrics", "/", NULL};
    cleanup(buf_done) struct buf text = BUF_INIT(1 << 16);
    (void)state;

    struct config *config = config_with_paths(free);
    assert_int_equal(api_check(config, "x.yaml", &text), 0);
    assert_int_equal(text.size, 0);
    config_free(config);
    config = config_with_paths(own);
    assert_int_equal(api_check(config, "x.yaml", &text), ARRAY_LEN(own) - 1);
    buf_append(&text, "", 1);
    for (size_t i = 0; own[i]; i++) {
        char line[64];
        snprintf(line, sizeof(line), "x.yaml: endpoints: %s: ", own[i]);
        if (!strstr(text.data, line))
            fail_msg("no \"%s\" in\n%s", line, text.data);
    }
    config_free(config);
}

static void the_table_has_all_rows_and_makes_a_router(void **state)
{
    static const char *const paths[] = {"/api/{a}/{b}", "/api/{a}", "/{a}", "/", NULL};
    struct config *config = config_with_paths(paths);
    struct api_table *table;
    struct router *router;
    struct route_match match;
    (void)state;

    assert_int_equal(api_table_create(config, &table, NULL), 0);
    assert_int_equal(table->count, api_route_count + 4);
    assert_int_equal(router_create(table->routes, table->count, &router, NULL), 0);
    assert_int_equal(router_find(router, HTTP_GET, "/api/x/y/", &match), ROUTE_FOUND);
    assert_ptr_equal(match.route->data, &table->endpoints[0]);
    assert_int_equal(router_find(router, HTTP_GET, "/tasks/x", &match), ROUTE_FOUND);
    assert_null(match.route->data);
    assert_int_equal(router_find(router, HTTP_POST, "/concurrent_requests", &match), ROUTE_NO_METHOD);
    router_free(router);
    api_table_free(table);
    config_free(config);
}

static void post_is_allowed_when_clients_may_bring_urls(void **state)
{
    struct config *config = config_of("concurrent_requests: {max_client_urls: 1, client_hosts: [a.test]}");
    struct api_table *table;
    struct router *router;
    struct route_match match;
    (void)state;

    assert_int_equal(api_table_create(config, &table, NULL), 0);
    assert_int_equal(router_create(table->routes, table->count, &router, NULL), 0);
    assert_int_equal(router_find(router, HTTP_POST, "/concurrent_requests", &match), ROUTE_FOUND);
    assert_int_equal(router_find(router, HTTP_GET, "/concurrent_requests", &match), ROUTE_FOUND);
    router_free(router);
    api_table_free(table);
    config_free(config);
}

static int set_up(void **state)
{
    (void)state;
    if (fcgi_setup(NULL) < 0)
        return -1;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return front_register_metrics(api_routes, api_route_count, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_ready_once_it_has_started),
        cmocka_unit_test(endpoints_are_not_below_the_programs_own_paths),
        cmocka_unit_test(the_table_has_all_rows_and_makes_a_router),
        cmocka_unit_test(post_is_allowed_when_clients_may_bring_urls),
    };

    return cmocka_run_group_tests_name("api", tests, set_up, NULL);
}
