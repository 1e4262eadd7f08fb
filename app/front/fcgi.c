#include "front/fcgi.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

int fcgi_setup(struct err *err)
{
    if (FCGX_Init() != 0)
        return err_set(err, -EIO, "FCGX_Init failed");
    /* It has installed handlers of its own, which only set a flag for its own accept. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

static int feed_open(struct fcgi_feed *feed, struct err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_set_errno(err, errno, "cannot make a pipe");
    feed->read_fd = fds[0];
    feed->write_fd = fds[1];
    if (fcntl(feed->write_fd, F_SETPIPE_SZ, (int)feed->capacity) < 0) {
        int errnum = errno;
        fcgi_feed_done(feed);
        return err_set_errno(err, errnum, "cannot make a pipe of %zu bytes", feed->capacity);
    }
    return 0;
}

int fcgi_feed_init(struct fcgi_feed *feed, size_t capacity, struct err *err)
{
    *feed = (struct fcgi_feed){.read_fd = -1, .write_fd = -1, .capacity = capacity};
    return feed_open(feed, err);
}

void fcgi_feed_done(struct fcgi_feed *feed)
{
    if (feed->read_fd >= 0)
        close(feed->read_fd);
    if (feed->write_fd >= 0)
        close(feed->write_fd);
    feed->read_fd = feed->write_fd = -1;
}

int fcgi_open(struct fcgi_feed *feed, FCGX_Request *request, const char *bytes, size_t size)
{
    if (feed->read_fd < 0) {
        int rc = feed_open(feed, NULL);
        if (rc < 0)
            return rc;
    }
    if (write(feed->write_fd, bytes, size) != (ssize_t)size) {
        fcgi_feed_done(feed);
        return -EPROTO;
    }
    FCGX_InitRequest(request, -1, 0);
    request->ipcFd = feed->read_fd;
    request->keepConnection = 1; /* or the FCGX_Finish_r inside FCGX_Accept_r closes ipcFd */
    if (FCGX_Accept_r(request) != 0) {
        /* libfcgi has closed its end; what it left unread must not reach the next request. */
        feed->read_fd = -1;
        fcgi_feed_done(feed);
        return -EPROTO;
    }
    request->ipcFd = -1;
    FCGX_FreeStream(&request->in); /* 8 KiB that a request in flight need not hold: the body was read by us */
    return 0;
}

int fcgi_answer(FCGX_Request *request, int fd, const struct iovec *parts, size_t part_count)
{
    request->ipcFd = fd;
    for (size_t i = 0; i < part_count; i++)
        if (parts[i].iov_len > 0)
            FCGX_PutStr(parts[i].iov_base, (int)parts[i].iov_len, request->out);
    /* FCGX_Finish_r would do the same and then decide for itself whether to close. */
    FCGX_FClose(request->err);
    FCGX_FClose(request->out);
    int error = FCGX_GetError(request->out);
    fcgi_discard(request);
    return error == 0 ? 0 : -(error > 0 ? error : EPROTO);
}

void fcgi_discard(FCGX_Request *request)
{
    FCGX_Free(request, 0);
}
