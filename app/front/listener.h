/* listener.h - the listening socket: made by us, or inherited from systemd.
 *
 * Ownership: listener_close closes the descriptor and removes a socket file that listener_open made.
 * Threads: the owner's. */
#pragma once

#include <sys/stat.h>

#include "base/common.h"
#include "base/err.h"
#include "config/config.h"

struct listener {
    int fd;
    bool is_tcp;
    bool is_inherited;
    char path[108]; /* of the socket file we made; empty otherwise */
    dev_t device;   /* of that file: a file somebody else has put there since is left alone */
    ino_t inode;
};

/* Opens what the configuration says, or takes the descriptor that systemd passed (LISTEN_FDS, see
 * sd_listen_fds(3)), which then goes before the configuration.  A stale socket file is replaced; one that
 * somebody listens on is an error. */
must_check int listener_open(struct listener *listener, const struct config *config, struct err *err);

/* Whether systemd passed a socket to this process; not any more once listener_open has taken it. */
must_check bool listener_is_passed(void);

/* Turns further connections away; those that wait can still be accepted on a unix socket, and are reset by
 * TCP.  A socket that is shared with who passed it to us is left as it is.  May be called again, and while
 * other threads accept. */
void listener_refuse(const struct listener *listener);

void listener_close(struct listener *listener);
