/* server.h - one worker: its loop, its listening sockets and its connections.
 *
 * How to use it: server_init; server_listen for each socket; server_run; server_done.
 * Ownership:     the listening sockets are taken. */
#pragma once

#include "conn.h"
#include "loop.h"
#include "reply.h"

/* More than a whole head, so that what is left of one always leaves room to receive. */
#define SERVER_INPUT_MAX (8 * REQUEST_HEAD_MAX)

struct listener;

struct server {
    struct loop loop;
    struct stats stats;
    struct conn *conns; /* by descriptor */
    int conns_max;
    struct listener *listeners;
    int listener_count;
    int listeners_max;
    int spare_fd; /* given up for a moment when descriptors run out */
    int signal_fd;
    struct watch signals;
    char input[SERVER_INPUT_MAX]; /* received and used before the next connection's turn */
};

/* The process serves at most `listeners_max` sockets. SIGTERM and SIGINT must be blocked: they end
 * server_run. False: errno tells why. */
bool server_init(struct server *server, int listeners_max);
bool server_listen(struct server *server, int fd);
void server_run(struct server *server);
void server_done(struct server *server);
