/* The handlers of tasks with an engine and a front of their own: clients that come and go while what they
 * wait for happens.  What is answered is looked at in tests/e2e. */
#include "harness.h"

#include "api/api.h"
#include "api/app.h"
#include "base/log.h"
#include "front/fcgi.h"
#include "front/listener.h"
#include "tasks/metrics.h"

#define CLIENTS 8
#define ROUNDS  20

struct server {
    char dir[32];
    char path[48];
    char store[64];
    struct config *config;
    struct app app;
};

static struct server server;

/* ---- the server, as serve.c makes and ends it ---- */

static void server_start(void)
{
    struct listener listener;
    struct err err = {0};
    char text[256];

    server = (struct server){.dir = "/tmp/task-api-XXXXXX"};
    assert_non_null(mkdtemp(server.dir));
    snprintf(server.path, sizeof(server.path), "%s/s", server.dir);
    snprintf(server.store, sizeof(server.store), "%s/tasks.db", server.dir);
    snprintf(text, sizeof(text), "listen: unix:%s\nrequest_threads: 4\ntasks: {max_listeners: 1000}\n",
             server.path);
    server.config = config_of(text);
    server.app.config = server.config;
    server.app.services = (struct task_services){.config = server.config};
    struct task_engine_config engine = {
        .store = &task_store_sqlite,
        .where = server.store,
        .kinds = task_kinds,
        .services = &server.app.services,
    };
    if (task_engine_create(&engine, &server.app.tasks, &err) < 0 ||
        task_engine_start(server.app.tasks, &err) < 0)
        fail_msg("%s", err.text);
    struct front_options options = {
        .config = server.config,
        .routes = api_routes,
        .route_count = api_route_count,
        .max_in_flight = 1000,
        .app = &server.app,
    };
    if (listener_open(&listener, server.config, &err) < 0 ||
        front_create(&options, &listener, &server.app.front, &err) < 0 ||
        front_start(server.app.front, &err) < 0)
        fail_msg("%s", err.text);
}

static void server_stop(void)
{
    char command[64];

    front_drain(server.app.front, in_ms(200));
    task_engine_drain(server.app.tasks, in_ms(0));
    front_stop(server.app.front);
    task_engine_stop(server.app.tasks);
    front_free(server.app.front);
    task_engine_free(server.app.tasks);
    config_free(server.config);
    snprintf(command, sizeof(command), "rm -rf %s", server.dir);
    assert_int_equal(system(command), 0);
}

/* ---- clients ---- */

static bool ask(struct client *client, const char *method, const char *uri, const char *prefer,
                const char *body)
{
    struct buf params = BUF_INIT(4096);
    struct buf out = BUF_INIT(16384);
    char length[24];

    snprintf(length, sizeof(length), "%zu", strlen(body));
    add_pair(&params, "REQUEST_METHOD", method);
    add_pair(&params, "REQUEST_URI", uri);
    add_pair(&params, "CONTENT_TYPE", "application/json");
    add_pair(&params, "CONTENT_LENGTH", length);
    add_pair(&params, "HTTP_PREFER", prefer);
    add_begin(&out, true);
    add_params(&out, &params, 65535);
    add_stdin(&out, body, strlen(body), 65535);
    bool is_sent = client_send(client, out.data, out.size);
    buf_done(&params);
    buf_done(&out);
    return is_sent;
}

/* Asks and reads; the id that is first in the answer goes to `ret_id`. */
static int ask_for_id(struct client *client, const char *method, const char *uri, const char *prefer,
                      const char *body, char ret_id[UUID_TEXT_SIZE])
{
    struct answer answer;

    assert_true(ask(client, method, uri, prefer, body));
    assert_true(client_read(client, &answer));
    buf_append(&answer.body, "", 1);
    const char *id = answer.body.data ? strstr(answer.body.data, "{\"id\":\"") : NULL;
    ret_id[0] = '\0';
    if (id)
        snprintf(ret_id, UUID_TEXT_SIZE, "%s", id + strlen("{\"id\":\""));
    int status = answer.status;
    answer_done(&answer);
    return status;
}

#define SLEEP(seconds) "{\"kind\":\"sleep\",\"payload\":{\"message\":\"m\",\"duration\":" seconds "}}"

static const char batch[] = "[" SLEEP("0") "," SLEEP("0.001") "," SLEEP("-1") "]";

static void submit_and_wait(struct client *client, unsigned round)
{
    char id[UUID_TEXT_SIZE];

    assert_int_equal(ask_for_id(client, "POST", "/tasks", "wait=20", SLEEP("0.002"), id), 200);
    assert_int_equal(ask_for_id(client, "POST", "/tasks/batch", "", batch, id), 200);
    assert_int_equal(
        ask_for_id(client, "POST", "/start_background_task/", "", "{\"message\":\"m\",\"duration\":0}", id),
        202);
    (void)round;
}

/* One waits for a task, one listens to it, one to all; it is cancelled as they go away. */
static void wait_and_go_away(struct client *client, unsigned round)
{
    static const char *const waits[] = {"", "/result", "/events", "/events"};
    char id[UUID_TEXT_SIZE];
    char uri[96];
    struct client others[ARRAY_LEN(waits)];

    assert_int_equal(ask_for_id(client, "POST", "/tasks", "", SLEEP("3600"), id), 202);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        snprintf(uri, sizeof(uri), "/tasks/%s%s", id, waits[i]);
        others[i] = client_of(connect_unix(server.path));
        assert_true(ask(&others[i], "GET", i == 3 ? "/tasks/events" : uri, "wait=60", ""));
    }
    if (round % 2 == 0) {
        for (size_t i = 0; i < ARRAY_LEN(waits); i++)
            client_done(&others[i]);
    }
    snprintf(uri, sizeof(uri), "/tasks/%s/cancel", id);
    assert_int_equal(ask_for_id(client, "POST", uri, "", "", id), 200);
    if (round % 2 == 1) {
        assert_int_equal(client_read_status(&others[0]), 200);
        assert_int_equal(client_read_status(&others[1]), 409);
        assert_int_equal(client_read_status(&others[2]), 200);
        for (size_t i = 0; i < ARRAY_LEN(waits); i++)
            client_done(&others[i]);
    }
}

static void look_around(struct client *client, unsigned round)
{
    static const char *const paths[] = {"/tasks", "/tasks/stats", "/queues", "/queues/default", "/metrics"};
    char id[UUID_TEXT_SIZE];

    assert_int_equal(ask_for_id(client, "GET", paths[round % ARRAY_LEN(paths)], "", "", id), 200);
    assert_int_equal(ask_for_id(client, "POST",
                                round % 2 ? "/queues/default/pause" : "/queues/default/resume", "", "", id),
                     200);
    assert_int_equal(ask_for_id(client, "POST", "/queues/default/resume", "", "", id), 200);
}

static void (*const acts[])(struct client *client, unsigned round) = {submit_and_wait, wait_and_go_away,
                                                                      look_around};

static void *client_main(void *arg)
{
    struct client client = client_of(connect_unix(server.path));
    unsigned number = *(const unsigned *)arg;

    for (unsigned round = 0; round < ROUNDS; round++)
        acts[(number + round) % ARRAY_LEN(acts)](&client, round);
    client_done(&client);
    return NULL;
}

static void clients_come_and_go(void **state)
{
    pthread_t threads[CLIENTS];
    unsigned numbers[CLIENTS];

    (void)state;
    server_start();
    for (unsigned i = 0; i < CLIENTS; i++) {
        numbers[i] = i;
        start(&threads[i], client_main, &numbers[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    server_stop();
}

/* Those who wait are answered or turned away, streams end, and nothing is left over. */
static void a_stop_ends_all_that_wait(void **state)
{
    struct client clients[3 * 5];
    struct client client;
    char id[UUID_TEXT_SIZE];
    char uri[64];

    (void)state;
    server_start();
    client = client_of(connect_unix(server.path));
    assert_int_equal(ask_for_id(&client, "POST", "/tasks", "", SLEEP("3600"), id), 202);
    snprintf(uri, sizeof(uri), "/tasks/%s", id);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        char events[80];
        snprintf(events, sizeof(events), "%s/events", uri);
        clients[i] = client_of(connect_unix(server.path));
        assert_true(ask(&clients[i], "GET",
                        i % 3 == 0   ? uri
                        : i % 3 == 1 ? events
                                     : "/tasks/events",
                        "wait=60", ""));
    }
    assert_int_equal(ask_for_id(&client, "GET", "/queues", "", "", id), 200);
    server_stop();
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        client_done(&clients[i]);
    client_done(&client);
}

static int set_up(void **state)
{
    (void)state;
    if (fcgi_setup(NULL) < 0)
        return -1;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    if (front_register_metrics(api_routes, api_route_count, NULL) < 0)
        return -1;
    metrics_register(tasks_metrics, tasks_metrics_count);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_come_and_go),
        cmocka_unit_test(a_stop_ends_all_that_wait),
    };

    return cmocka_run_group_tests_name("task_api", tests, set_up, NULL);
}
