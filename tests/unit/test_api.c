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
    };

    return cmocka_run_group_tests_name("api", tests, set_up, NULL);
}
