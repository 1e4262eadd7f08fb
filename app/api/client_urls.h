/* client_urls.h - URLs that clients bring themselves, and where they may lead.
 *
 * Two things decide, since heddle stands where clients do not.  The host, as libcurl will take it, must be on
 * the list (fetch/hosts.h), and there is no user name: looked at when the request comes in, and for each
 * redirect.  And the address that a connection really has must be public, or on the list of networks: looked
 * at before it is opened, and before each request on it, also when it has been kept.  So a name that leads
 * elsewhere when it is looked up again opens no way.
 * Threads: any.  Ownership: the targets are the list's. */
#pragma once

#include "api/app.h"
#include "front/request.h"

struct client_urls {
    struct fetch_target **targets;
    size_t count;
};

/* Reads {"urls": [...]}.  False when the request has been answered: it may not be. */
must_check bool client_urls_read(struct request *req, struct client_urls *ret_urls);
void client_urls_done(struct client_urls *urls);

/* For fetches whose `arg` is the struct app. */
must_check bool client_urls_may_visit(const struct fetch *fetch, const struct fetch_target *target,
                                      struct err *err);
must_check bool client_urls_may_connect(const struct fetch *fetch, const struct sockaddr *address,
                                        struct err *err);
