/* fcgi.h - gives libfcgi a request that has already been read, and a connection to answer on.
 *
 * libfcgi wants to accept, read, linger and close by itself, blocking.  Here the front owns every connection
 * and libfcgi only decodes and encodes: it reads the request from a pipe that holds exactly that request, so
 * FCGX_Accept_r never blocks, then its descriptor is exchanged for the one the answer goes to.
 * This uses fields of FCGX_Request below "Don't use anything below here"; nothing outside fcgi.c does, and
 * tests/unit/test_fcgi.c fails when a newer libfcgi changes what we rely on.
 *
 * How to use it: fcgi_feed_init per thread; fcgi_open, then FCGX_GetParam on request->envp; fcgi_answer once.
 * Threads: a feed belongs to one thread; a request to one thread at a time.
 * Ownership: the connection's descriptor stays the caller's; libfcgi never closes it. */
#pragma once

#include <sys/uio.h>

#include <fcgiapp.h>

#include "base/common.h"
#include "base/err.h"

/* The pipe that one thread feeds libfcgi through. */
struct fcgi_feed {
    int read_fd;
    int write_fd;
    size_t capacity;
};

/* Once per process, before any thread.  Afterwards SIGPIPE is ignored. */
must_check int fcgi_setup(struct err *err);

/* A feed for requests of up to `capacity` bytes. */
must_check int fcgi_feed_init(struct fcgi_feed *feed, size_t capacity, struct err *err);
void fcgi_feed_done(struct fcgi_feed *feed);

/* Decodes `size` bytes: BEGIN_REQUEST and all PARAMS records up to and including the closing one's header.
 * 0, or -EPROTO when the parameters are malformed or more than the feed holds, or another negative errno
 * value when we are short of something.  On failure there is nothing to free. */
must_check int fcgi_open(struct fcgi_feed *feed, FCGX_Request *request, const char *bytes, size_t size);

/* Writes the header block and the body as one answer to `fd` and frees the request.  Blocks while `fd`
 * blocks.  0, or a negative errno value when the answer did not go out whole. */
must_check int fcgi_answer(FCGX_Request *request, int fd, const struct iovec *parts, size_t part_count);

/* Frees a request that gets no answer. */
void fcgi_discard(FCGX_Request *request);
