#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/places.h"
#include "upstream/upstream_int.h"

/* ---- making ---- */

/* What the rows of the configuration give to an upstream that says nothing. */
static int find_defaults(struct upstreams *upstreams, struct err *err)
{
    static const char text[] = "upstreams: [{name: defaults, base_url: \"http://localhost\"}]";
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;

    if (config_parse("defaults", text, sizeof(text) - 1, &upstreams->defaults, &errors) < 0)
        return err_set(err, -EINVAL, "the defaults of upstreams: %.*s", (int)errors.text.size,
                       errors.text.data);
    upstreams->implicit = upstreams->defaults->upstreams[0];
    return 0;
}

/* Of upstreams that are not configured. */
static int make_configs(struct upstreams *upstreams, struct err *err)
{
    const struct config *config = upstreams->config;
    int rc = config->concurrent_requests.urls.count > 0 ? find_defaults(upstreams, err) : 0;

    upstreams->implicit.max_in_flight = 0;
    upstreams->implicit.max_queue = 0;
    upstreams->implicit.timeout_ms = config->fetch.timeout_ms;
    upstreams->implicit.max_response_bytes = config->fetch.max_response_bytes;
    upstreams->others.timeout_ms = config->fetch.timeout_ms;
    upstreams->others.max_response_bytes = config->fetch.max_response_bytes;
    return rc;
}

static int make_tls(struct upstream *upstream, struct err *err)
{
    const struct config_upstream *config = upstream->config;
    const struct fetch_tls_options options = {
        .ca_file = config->tls.ca_file,
        .cert_file = config->tls.cert_file,
        .key_file = config->tls.key_file,
        .verify = config->tls.verify,
        .http2 = config->http2,
        .min_version_x10 = config->tls.min_version == TLS_VERSION_1_3 ? 13 : 12,
    };
    int rc = fetch_tls_create(upstream->upstreams->config, &options, &upstream->tls, err);

    return rc < 0 ? err_set(err, rc, "upstream %s: %s", upstream->name, err->text) : 0;
}

static int init_upstream(struct upstreams *upstreams, size_t index, struct err *err)
{
    const struct place *place = &upstreams->places->items[index];
    struct upstream *upstream = &upstreams->items[index];

    upstream->upstreams = upstreams;
    upstream->name = place->name;
    upstream->label = index;
    upstream->config = place->config ? place->config
                       : place->host ? &upstreams->implicit
                                     : &upstreams->others;
    mutex_init(&upstream->lock);
    TAILQ_INIT(&upstream->queue);
    TAILQ_INIT(&upstream->paused);
    upstreams->count++;
    int rc = policies_init(upstream, err);
    return rc == 0 && place->config && place->is_tls ? make_tls(upstream, err) : rc;
}

static int make_items(struct upstreams *upstreams, struct err *err)
{
    upstreams->items = calloc(upstreams->places->count, sizeof(*upstreams->items));
    if (!upstreams->items)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < upstreams->places->count; i++) {
        int rc = init_upstream(upstreams, i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int upstreams_create(const struct config *config, struct fetch_pool *pool, struct upstreams **ret_upstreams,
                     struct err *err)
{
    struct upstreams *upstreams = calloc(1, sizeof(*upstreams));

    if (!upstreams)
        return err_set(err, -ENOMEM, "out of memory");
    upstreams->config = config;
    upstreams->pool = pool;
    int rc = make_configs(upstreams, err);
    if (rc == 0)
        rc = places_create(config, &upstreams->places, err);
    if (rc == 0)
        rc = timers_create(&upstreams->timers, err);
    if (rc == 0)
        rc = make_items(upstreams, err);
    if (rc < 0) {
        upstreams_free(upstreams);
        return rc;
    }
    *ret_upstreams = upstreams;
    return 0;
}

static void free_upstream(struct upstream *upstream)
{
    assert(upstream->in_flight == 0 && TAILQ_EMPTY(&upstream->queue) && TAILQ_EMPTY(&upstream->paused));
    policies_done(upstream);
    fetch_tls_free(upstream->tls);
    pthread_mutex_destroy(&upstream->lock);
}

void upstreams_free(struct upstreams *upstreams)
{
    if (!upstreams)
        return;
    for (size_t i = 0; i < upstreams->count; i++)
        free_upstream(&upstreams->items[i]);
    free(upstreams->items);
    timers_free(upstreams->timers);
    places_free(upstreams->places);
    config_free(upstreams->defaults);
    free(upstreams);
}

/* ---- start and stop ---- */

int upstreams_start(struct upstreams *upstreams, struct err *err)
{
    return timers_start(upstreams->timers, "upstream-timers", err);
}

/* The flag is set before any lock is taken: who has taken it after us sees the flag, so nothing waits any
 * more when all have been looked at. */
void upstreams_stop(struct upstreams *upstreams)
{
    struct outbox outbox;

    atomic_store(&upstreams->is_stopping, true);
    outbox_init(&outbox, upstreams, clock_now_ns());
    for (size_t i = 0; i < upstreams->count; i++) {
        LOCK(&upstreams->items[i].lock);
        flight_end_waiting_locked(&upstreams->items[i], &outbox);
    }
    outbox_flush(&outbox);
    timers_stop(upstreams->timers);
}

/* ---- finding ---- */

struct upstream *upstreams_find(const struct upstreams *upstreams, const char *name)
{
    size_t index = places_find_name(upstreams->places, name);

    return upstreams->places->items[index].config ? &upstreams->items[index] : NULL;
}

struct upstream *upstreams_of_target(const struct upstreams *upstreams, const struct fetch_target *target)
{
    return &upstreams->items[places_find_target(upstreams->places, target)];
}

struct upstream *upstreams_others(const struct upstreams *upstreams)
{
    return &upstreams->items[upstreams->places->count - 1];
}

const char *upstream_name(const struct upstream *upstream)
{
    return upstream->name;
}

const struct config_upstream *upstream_config(const struct upstream *upstream)
{
    return upstream->config;
}

/* ---- calls ---- */

/* A flight for each call; for which there is no memory, that ends. */
static void make_flights(struct upstream_call **calls, size_t count, struct flight_outbox *flights,
                         struct outbox *outbox)
{
    for (size_t i = 0; i < count; i++) {
        struct flight *flight;
        calls[i]->start_ns = outbox->now_ns;
        calls[i]->reply = NULL;
        flight = flight_create(calls[i]);
        if (flight) {
            STAILQ_INSERT_TAIL(flights, flight, outbox_link);
        } else {
            calls[i]->reply = reply_static(REPLY_NO_MEMORY);
            TAILQ_INSERT_TAIL(&outbox->told, calls[i], link);
        }
    }
}

/* Those of one upstream that follow one another, under its lock once. */
static void submit_run(struct flight_outbox *flights, struct outbox *outbox)
{
    struct flight *flight = STAILQ_FIRST(flights);
    struct upstream *upstream = flight->upstream;

    LOCK(&upstream->lock);
    while ((flight = STAILQ_FIRST(flights)) && flight->upstream == upstream) {
        STAILQ_REMOVE_HEAD(flights, outbox_link);
        flight_submit_locked(flight, outbox);
    }
}

void upstream_submit(struct upstreams *upstreams, struct upstream_call **calls, size_t count)
{
    struct flight_outbox flights = STAILQ_HEAD_INITIALIZER(flights);
    struct outbox outbox;

    outbox_init(&outbox, upstreams, clock_now_ns());
    make_flights(calls, count, &flights, &outbox);
    while (!STAILQ_EMPTY(&flights))
        submit_run(&flights, &outbox);
    outbox_flush(&outbox);
}

void upstream_cancel(struct upstream_call *call)
{
    struct upstream *upstream = call->upstream;
    struct outbox outbox;

    outbox_init(&outbox, upstream->upstreams, clock_now_ns());
    mutex_lock(&upstream->lock);
    call->is_cancelled = true;
    if (call->flight)
        flight_leave_locked(call, &outbox);
    mutex_unlock(&upstream->lock);
    outbox_flush(&outbox);
}
