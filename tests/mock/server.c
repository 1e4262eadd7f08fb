#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX         (1 << 17) /* where the limit of descriptors is higher still */
#define ACCEPTS_PER_ROUND 64        /* so that a storm of connections does not hold up the requests */

struct listener {
    struct watch watch;
    struct server *server;
    int fd;
};

/* Out of descriptors: tells the peer by closing, or the socket would stay readable and the loop would spin.
 */
static void turn_away(struct listener *listener)
{
    struct server *server = listener->server;
    close(server->spare_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_ready(struct watch *watch, uint32_t events)
{
    struct listener *listener = container_of(watch, struct listener, watch);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(listener->server, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            turn_away(listener);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static void signal_ready(struct watch *watch, uint32_t events)
{
    (void)events;
    loop_stop(&container_of(watch, struct server, signals)->loop);
}

static int conns_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur < CONNS_MAX ? (int)limit.rlim_cur : CONNS_MAX;
}

static bool watch_signals(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    server->signals.ready = signal_ready;
    server->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return server->signal_fd >= 0 && loop_watch(&server->loop, server->signal_fd, EPOLLIN, &server->signals);
}

bool server_init(struct server *server, int listeners_max)
{
    memset(server, 0, offsetof(struct server, input));
    server->conns_max = conns_limit();
    server->conns = calloc((size_t)server->conns_max, sizeof *server->conns);
    server->listeners = calloc((size_t)listeners_max, sizeof *server->listeners);
    server->listeners_max = listeners_max;
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    content_init();
    return server->conns && server->listeners && loop_init(&server->loop) && watch_signals(server);
}

bool server_listen(struct server *server, int fd)
{
    struct listener *listener = &server->listeners[server->listener_count++];
    *listener = (struct listener){.watch.ready = accept_ready, .server = server, .fd = fd};
    return loop_watch(&server->loop, fd, EPOLLIN, &listener->watch);
}

void server_run(struct server *server)
{
    loop_run(&server->loop);
}

void server_done(struct server *server)
{
    for (int fd = 0; fd < server->conns_max && server->stats.connections_open > 0; fd++) {
        conn_close(&server->conns[fd]);
    }
    for (int i = 0; i < server->listener_count; i++) {
        close(server->listeners[i].fd);
    }
    close(server->signal_fd);
    close(server->spare_fd);
    loop_done(&server->loop);
    free(server->listeners);
    free(server->conns);
}
