#include "front/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* nginx takes a full queue of a unix socket for a dead backend (an instant 502); the kernel cuts it to
 * somaxconn. */
#define BACKLOG 4096

#define SD_LISTEN_FDS_START 3

static int fail(struct listener *listener, struct err *err, int errnum, const char *what, const char *where)
{
    listener_close(listener);
    return err_set_errno(err, errnum, "%s %s", what, where);
}

/* ---- inherited ---- */

static bool env_is_number(const char *name, long expected)
{
    const char *text = getenv(name);
    char number[24];

    snprintf(number, sizeof(number), "%ld", expected);
    return text && strcmp(text, number) == 0;
}

bool listener_is_passed(void)
{
    return getenv("LISTEN_FDS") && env_is_number("LISTEN_PID", (long)getpid());
}

static int open_inherited(struct listener *listener, struct err *err)
{
    int is_listening = 0;
    int domain = 0;
    socklen_t size = sizeof(int);
    int fd = SD_LISTEN_FDS_START;

    if (!env_is_number("LISTEN_FDS", 1))
        return err_set(err, -EINVAL, "LISTEN_FDS is \"%s\": exactly one socket can be passed",
                       getenv("LISTEN_FDS"));
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || !is_listening)
        return err_set(err, -EINVAL, "LISTEN_FDS: descriptor %d is not a listening socket", fd);
    size = sizeof(int);
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    *listener = (struct listener){.fd = fd, .is_tcp = domain != AF_UNIX, .is_inherited = true};
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return 0;
}

/* ---- unix ---- */

/* 0 when somebody listens, or the errno value of trying: only ECONNREFUSED says that nobody does. */
static int try_connect(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return errno;
    int errnum = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    close(fd);
    return errnum == EAGAIN ? 0 : errnum; /* its backlog is full */
}

/* The folder of the socket, one level, as `run/` of a fresh checkout is missing. */
static void make_folder(const char *path)
{
    char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];

    snprintf(copy, sizeof(copy), "%s", path);
    mkdir(dirname(copy), 0755);
}

static int remove_stale(const struct sockaddr_un *address, struct err *err)
{
    struct stat st;

    if (lstat(address->sun_path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, -EEXIST, "%s exists and is not a socket", address->sun_path);
    int errnum = try_connect(address);
    if (errnum == 0)
        return err_set(err, -EADDRINUSE, "%s is in use: another server listens on it", address->sun_path);
    if (errnum != ECONNREFUSED && errnum != ENOENT)
        return err_set_errno(err, errnum, "cannot find out whether somebody listens on %s",
                             address->sun_path);
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot remove the stale socket %s", address->sun_path);
    return 0;
}

static int open_unix(struct listener *listener, const char *path, unsigned mode, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    make_folder(path);
    int rc = remove_stale(&address, err);
    if (rc < 0)
        return rc;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return err_set_errno(err, errno, "cannot make a socket");
    /* Nobody can connect before listen(), so the mode is right from the first connection on. */
    if (bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return fail(listener, err, errno, "cannot bind", path);
    if (stat(path, &st) == 0) {
        snprintf(listener->path, sizeof(listener->path), "%s", path);
        listener->device = st.st_dev;
        listener->inode = st.st_ino;
    }
    if (chmod(path, (mode_t)mode) != 0)
        return fail(listener, err, errno, "cannot set the mode of", path);
    if (listen(listener->fd, BACKLOG) != 0)
        return fail(listener, err, errno, "cannot listen on", path);
    return 0;
}

/* ---- TCP ---- */

static socklen_t tcp_address(const struct listen_address *listen_address, struct sockaddr_storage *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, listen_address->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)listen_address->port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, listen_address->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)listen_address->port);
        return sizeof(*v6);
    }
    return 0;
}

static int open_tcp(struct listener *listener, const struct listen_address *listen_address, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t size = tcp_address(listen_address, &address);
    int one = 1;
    char where[96];

    snprintf(where, sizeof(where), "%s port %u", listen_address->host, listen_address->port);
    if (size == 0)
        return err_set(err, -EINVAL, "%s is not an address", listen_address->host);
    listener->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return err_set_errno(err, errno, "cannot make a socket");
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener->fd, (struct sockaddr *)&address, size) != 0)
        return fail(listener, err, errno, "cannot bind", where);
    if (listen(listener->fd, BACKLOG) != 0)
        return fail(listener, err, errno, "cannot listen on", where);
    listener->is_tcp = true;
    return 0;
}

static int open_any(struct listener *listener, const struct config *config, struct err *err)
{
    if (listener_is_passed())
        return open_inherited(listener, err);
    if (config->listen.kind == LISTEN_UNIX)
        return open_unix(listener, config->listen.path, config->socket_mode, err);
    return open_tcp(listener, &config->listen, err);
}

int listener_open(struct listener *listener, const struct config *config, struct err *err)
{
    *listener = (struct listener){.fd = -1};
    int rc = open_any(listener, config, err);
    if (rc == 0 && listener->is_tcp) /* inherited by connections */
        setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return rc;
}

void listener_refuse(const struct listener *listener)
{
    if (!listener->is_inherited)
        shutdown(listener->fd, SHUT_RDWR);
}

void listener_close(struct listener *listener)
{
    struct stat st;

    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
    if (listener->path[0] != '\0' && stat(listener->path, &st) == 0 && st.st_dev == listener->device &&
        st.st_ino == listener->inode)
        unlink(listener->path);
}
