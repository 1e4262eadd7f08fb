#include "serve.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "api/api.h"
#include "api/app.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "front/fcgi.h"
#include "capacity.h"
#include "tasks/metrics.h"

#define LISTEN_TEXT_SIZE 160

int serve_register_metrics(const struct config *config, const struct route *routes, size_t route_count,
                           struct err *err)
{
    metrics_register(metrics_process, metrics_process_count);
    int rc = front_register_metrics(routes, route_count, err);
    if (rc < 0)
        return rc;
    metrics_register(fetch_metrics, fetch_metrics_count);
    upstreams_register_metrics(config);
    metrics_register(mail_metrics, mail_metrics_count);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return 0;
}

/* ---- making the parts ---- */

static int create_targets(struct app *app, struct err *err)
{
    size_t count = app->config->concurrent_requests.urls.count;

    int rc = networks_create(&app->config->concurrent_requests.client_networks, &app->client_networks, err);
    if (rc < 0)
        return rc;
    app->targets = calloc(count + 1, sizeof(struct fetch_target *));
    if (!app->targets)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        rc = fetch_target_create(app->config->concurrent_requests.urls.items[i], &app->targets[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What was accepted is safe, but nothing more can be: the process ends as if it had been asked to, and says
 * by its status that something is wrong. */
static void on_store_failed(void *arg)
{
    struct app *app = arg;

    atomic_store(&app->failed, true);
    kill(getpid(), SIGTERM);
}

static int create_tasks(struct app *app, struct err *err)
{
    app->services = (struct task_services){
        .config = app->config, .fetch = app->fetch, .upstreams = app->upstreams, .mailer = app->mailer};
    struct task_engine_config config = {
        .kinds = task_kinds,
        .services = &app->services,
        .failed = on_store_failed,
        .arg = app,
    };

    config.store = task_store_find(app->config->tasks.store, &config.where);
    assert(config.store); /* the configuration has been checked */
    int rc = task_engine_create(&config, &app->tasks, err);
    return rc == 0 ? task_schedules_create(app->tasks, &app->schedules, err) : rc;
}

static int create_front(struct app *app, unsigned max_in_flight, struct err *err)
{
    struct listener listener;
    struct front_options options = {
        .config = app->config,
        .routes = app->table->routes,
        .route_count = app->table->count,
        .max_in_flight = max_in_flight,
        .app = app,
        .max_large_body_bytes = app->config->tasks.max_batch_bytes,
        .max_streams = MIN(app->config->tasks.max_listeners, app->config->max_connections / 2),
    };

    int rc = listener_open(&listener, app->config, err);
    if (rc < 0)
        return rc;
    rc = front_create(&options, &listener, &app->front, err);
    if (rc < 0)
        listener_close(&listener);
    return rc;
}

static int create_parts(struct app *app, struct err *err)
{
    unsigned max_in_flight;
    int rc = capacity_apply(app->config, &max_in_flight, err);

    if (rc == 0)
        rc = fcgi_setup(err);
    if (rc == 0)
        rc = create_targets(app, err);
    if (rc == 0)
        rc = fetch_pool_create(app->config, &app->fetch, err);
    if (rc == 0)
        rc = upstreams_create(app->config, app->fetch, &app->upstreams, err);
    if (rc == 0)
        rc = api_table_plan(app->table, app->upstreams, &app->buffered, err);
    if (rc == 0)
        rc = mailer_create(app->config, &app->mailer, err);
    if (rc == 0)
        rc = create_tasks(app, err);
    if (rc == 0)
        rc = create_front(app, max_in_flight, err);
    return rc;
}

/* What takes work starts after what does it. */
static int start_parts(struct app *app, struct err *err)
{
    int rc = fetch_pool_start(app->fetch, err);

    if (rc == 0)
        rc = upstreams_start(app->upstreams, err);
    if (rc == 0)
        rc = mailer_start(app->mailer, err);
    if (rc == 0)
        rc = task_engine_start(app->tasks, err);
    if (rc == 0)
        rc = task_schedules_start(app->schedules, err);
    if (rc == 0)
        rc = front_start(app->front, err);
    return rc;
}

static void free_parts(struct app *app)
{
    front_free(app->front);
    task_schedules_free(app->schedules);
    task_engine_free(app->tasks);
    mailer_free(app->mailer);
    api_table_free(app->table);
    upstreams_free(app->upstreams);
    fetch_pool_free(app->fetch);
    for (size_t i = 0; app->targets && app->targets[i]; i++)
        fetch_target_free(app->targets[i]);
    free(app->targets);
    networks_free(app->client_networks);
}

/* ---- signals ---- */

static const int stop_signals[] = {SIGTERM, SIGINT};

/* One that we inherited as ignored (nohup, a shell's background job) would never arrive. */
static void unignore_stop_signals(void)
{
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        signal(stop_signals[i], SIG_DFL);
}

/* A terminal's Ctrl-C and the TERM of who watches over us come together: that is one wish to stop. */
#define SAME_WISH_MS 500

/* Who asks later does not want to wait: from now on a stop signal ends the process. */
static void on_wish_over(int signal_number)
{
    (void)signal_number;
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        signal(stop_signals[i], SIG_DFL);
}

static void ignore_same_wish(void)
{
    const struct itimerval timer = {.it_value = {.tv_usec = (suseconds_t)SAME_WISH_MS * 1000}};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++) {
        signal(stop_signals[i], SIG_IGN);
        sigaddset(&set, stop_signals[i]);
    }
    signal(SIGALRM, on_wish_over);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static int wait_for_stop_signal(void)
{
    sigset_t set;
    int signal_number = 0;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        sigaddset(&set, stop_signals[i]);
    while (sigwait(&set, &signal_number) != 0)
        continue;
    ignore_same_wish();
    return signal_number;
}

/* ---- ending ---- */

static void stop_parts(struct app *app)
{
    uint64_t deadline_ns = clock_deadline_ns(clock_now_ns(), app->config->shutdown_timeout_ms);

    /* What waits to run waits for the next process. */
    if (app->schedules)
        task_schedules_stop(app->schedules);
    if (app->tasks)
        task_engine_pause(app->tasks);
    /* No new connections; requests in flight are answered, and cancelled at the deadline. */
    unsigned cancelled = app->front ? front_drain(app->front, deadline_ns) : 0;
    /* No new tasks; those that can end in time do. */
    size_t unfinished = app->tasks ? task_engine_drain(app->tasks, deadline_ns) : 0;
    /* Nothing is in flight any more: the threads end, those who ask before those who serve. */
    if (app->front)
        front_stop(app->front);
    if (app->tasks)
        task_engine_stop(app->tasks);
    if (app->mailer)
        mailer_stop(app->mailer);
    if (app->upstreams)
        upstreams_stop(app->upstreams);
    if (app->fetch)
        fetch_pool_stop(app->fetch);
    log_info("stopped", LOG_UINT("requests_cancelled", cancelled), LOG_UINT("tasks_interrupted", unfinished));
}

static void format_listen(const struct listen_address *address, char ret_text[LISTEN_TEXT_SIZE])
{
    if (listener_is_passed())
        snprintf(ret_text, LISTEN_TEXT_SIZE, "LISTEN_FDS");
    else if (address->kind == LISTEN_UNIX)
        snprintf(ret_text, LISTEN_TEXT_SIZE, "unix:%s", address->path);
    else
        snprintf(ret_text, LISTEN_TEXT_SIZE, "tcp:%s:%u", address->host, address->port);
}

int serve(const struct config *config)
{
    struct app app = {.config = config};
    struct err err = {0};
    char listen[LISTEN_TEXT_SIZE];

    format_listen(&config->listen, listen); /* taking over LISTEN_FDS clears it */
    log_setup(config->log.level, config->log.format);
    thread_block_signals();
    unignore_stop_signals();
    budget_init(&app.buffered, NULL, config->fetch.max_buffered_bytes);
    int rc = api_table_create(config, &app.table, &err);
    if (rc == 0)
        rc = serve_register_metrics(config, app.table->routes, app.table->count, &err);
    if (rc == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        rc = err_set(&err, -ENOMEM, "libcurl cannot be initialized");
    if (rc == 0)
        rc = create_parts(&app, &err);
    if (rc == 0)
        rc = start_parts(&app, &err);
    if (rc == 0) {
        atomic_store(&app.started, true);
        log_info("heddle is ready", LOG_STR("version", HEDDLE_VERSION), LOG_STR("listen", listen),
                 LOG_UINT("pid", (uint64_t)getpid()));
        int signal_number = wait_for_stop_signal();
        log_info("stopping", LOG_STR("signal", signal_number == SIGINT ? "SIGINT" : "SIGTERM"));
    } else {
        log_error("cannot start", LOG_STR("error", err.text));
    }
    stop_parts(&app);
    free_parts(&app);
    curl_global_cleanup();
    return rc == 0 && !atomic_load(&app.failed) ? 0 : 1;
}
