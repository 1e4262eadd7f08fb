/* conn.h - one client connection, from accept to close.
 *
 * Connections live in the server's table, at the index of their descriptor; zeroed memory is a free one. An
 * idle connection has no buffer. `reply` is there exactly while a request is in flight. */
#pragma once

#include "loop.h"

struct reply;
struct server;

/*               +---------------------- answered, connection kept -----------------------+
 *               v                                                                        |
 * FREE --> READING -- head complete --> DISCARDING -- body consumed --> WAITING <--> WRITING --> LINGERING
 *               |                                                          ^             ^
 *               +-- no body -----------------------------------------------+-- no delay -+
 *
 * and from everywhere back to FREE. */
enum conn_state {
    CONN_FREE,
    CONN_READING,    /* idle, or part of a head is here */
    CONN_DISCARDING, /* reading a request body, which nobody wants */
    CONN_WAITING,    /* for a timer: the delay or a pause; or, without one, for the peer to go */
    CONN_WRITING,
    CONN_LINGERING, /* all is said; unread input would turn a close into a reset, so it is read */
    CONN_STATE_COUNT
};

struct conn {
    struct watch watch;
    struct timer timer;
    struct server *server;
    int fd;
    enum conn_state state;
    bool input_waiting; /* there may be bytes to read; an edge does not tell twice */
    uint32_t kept_len;
    char *kept;       /* bytes received and not used yet */
    uint64_t discard; /* bytes of a request body still to come */
    struct reply *reply;
    uint64_t sent; /* of the reply */
};

/* Takes `fd`. */
void conn_open(struct server *server, int fd);

/* Does nothing to a free one. */
void conn_close(struct conn *conn);
