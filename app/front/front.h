/* front.h - the FastCGI side: connections, request threads, admission, drain.
 *
 * How to use it: front_create, front_start; then front_drain, front_stop, front_free.
 * Threads: front_drain and front_stop from one thread that is not a request thread. */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "front/listener.h"
#include "front/router.h"
#include "metrics/metrics.h"

struct front;

struct front_options {
    const struct config *config; /* lent for the front's life */
    const struct route *routes;  /* lent */
    size_t route_count;
    unsigned max_in_flight; /* what config->max_in_flight comes to with this machine's limits */
    void *app;              /* for request_app */
    /* Of routes with ROUTE_LARGE_BODY; others and 0: config->max_body_bytes. */
    size_t max_large_body_bytes;
    /* Of all bodies above config->max_body_bytes together, by what they declare; at least one of the largest
     * is let in.  Those that do not fit get 503.  0: 64 MiB. */
    size_t max_large_bytes_in_flight;
    unsigned max_streams; /* beside max_in_flight; 0: a quarter of config->max_connections */
};

/* Takes the listener on success. */
must_check int front_create(const struct front_options *options, struct listener *listener,
                            struct front **ret_front, struct err *err);

/* Starts the request threads and begins to accept. */
must_check int front_start(struct front *front, struct err *err);

/* Stops accepting; each connection is closed after its present request.  Ends all streams at once.  Waits
 * until no request is in flight or `deadline_ns`, then cancels what is left and waits until that has ended
 * too.  Returns how many requests had to be cancelled. */
unsigned front_drain(struct front *front, uint64_t deadline_ns);

/* Ends and joins the request threads and closes all connections.  Call front_drain first. */
void front_stop(struct front *front);
void front_free(struct front *front);

bool front_is_draining(const struct front *front);

/* Registers the metrics of the front, whose labels are the routes' paths.  Once, with the table that the
 * front is created with; 0 or -ENOMEM. */
must_check int front_register_metrics(const struct route *routes, size_t count, struct err *err);
