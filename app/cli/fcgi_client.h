/* fcgi_client.h - asks a FastCGI server, as nginx does: one request after the other on one connection.
 *
 * How to use it: fcgi_client_open, any number of fcgi_client_send and _receive by turns,
 * fcgi_client_close.
 * Source: FastCGI Specification 1.0, sections 3.3, 5 and 6.2.
 * Limits: an answer has at most FCGI_ANSWER_MAX_BYTES; a server that is silent for FCGI_CLIENT_TIMEOUT_S is
 * taken for dead.
 * Threads: one.  Every call blocks. */
#pragma once

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "config/config.h"

#define FCGI_ANSWER_MAX_BYTES ((size_t)96 * 1024 * 1024)
#define FCGI_CLIENT_TIMEOUT_S 30

struct fcgi_client {
    const struct listen_address *address; /* lent */
    int fd;                               /* -1: not connected */
    bool has_answered;                    /* on this connection */
    bool may_repeat;                      /* the last request */
    struct buf request;                   /* its bytes */
};

struct fcgi_answer {
    int status;      /* of HTTP */
    struct buf body; /* the caller's: buf_done */
};

/* Connects.  -ECONNREFUSED or -ENOENT when nobody listens there, or another -errno. */
must_check int fcgi_client_open(struct fcgi_client *client, const struct listen_address *address,
                                struct err *err);

/* The same, but connects when it is asked. */
void fcgi_client_init(struct fcgi_client *client, const struct listen_address *address);

/* Sends a request without a body; `target` is a path with or without a query, as in a URL.  The server may
 * have closed a connection that rested: GET and DELETE are then sent again on a new one, here or in the
 * receive.  POST, which may not come twice, always gets a new one.
 * Returns 0, or as the receive. */
must_check int fcgi_client_send(struct fcgi_client *client, const char *method, const char *target,
                                struct err *err);

/* Waits for the answer to what was sent.  Returns 0 with `ret`, whose body the caller frees in any case;
 * -ETIME; -EBADMSG when the answer is not one; -ENOMEM; or another -errno of the connection. */
must_check int fcgi_client_receive(struct fcgi_client *client, struct fcgi_answer *ret, struct err *err);

void fcgi_client_close(struct fcgi_client *client);
