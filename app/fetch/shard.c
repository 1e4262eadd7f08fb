/* A shard: one curl multi handle, its sockets and its timer.
 *
 * Sockets are in the epoll set from their opening to their end.  libcurl takes back its interest after each
 * transfer and states it again at the next one on the same connection; following that to the letter would
 * cost two epoll_ctl calls a fetch.  So a socket nobody wants is only silenced when it becomes readable,
 * which means that the upstream has closed it.  What can run short, memory and the limit of watched
 * descriptors, fails at the opening, which ends one transfer: an error of libcurl's socket callback would end
 * all of the multi handle.
 *
 * Sockets for plain HTTP are corked: requests stay in the kernel until the end of the worker's turn and then
 * leave one right after the other, without libcurl's work between them.  An upstream on the same machine is
 * woken once for several and not for each, and does not push the worker off its processor between two. */
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fetch/fetch_int.h"

/* Connections a shard keeps open at the most; SHARD_ORIGIN_MAX bounds them per origin. */
#define SHARD_CONNECTIONS_MAX 1024

static uint32_t epoll_to_curl(uint32_t events)
{
    uint32_t mask = 0;

    if (events & EPOLLIN)
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP))
        mask |= CURL_CSELECT_ERR;
    return mask;
}

/* ---- corks ---- */

static void set_cork(int fd, int is_on)
{
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &is_on, sizeof(is_on));
}

void shard_uncork(struct fetch_worker *worker)
{
    for (unsigned i = 0; i < worker->to_uncork_count; i++) {
        int fd = worker->to_uncork[i];
        if (!worker->fds[fd].has_request)
            continue; /* closed since */
        worker->fds[fd].has_request = false;
        set_cork(fd, 0);
        set_cork(fd, 1);
    }
    worker->to_uncork_count = 0;
}

/* libcurl has written what it could and waits for the answer. */
static void note_request(struct fetch_worker *worker, int fd)
{
    struct fd_slot *slot = &worker->fds[fd];

    if (!slot->is_corked || slot->has_request)
        return;
    if (worker->to_uncork_count == UNCORK_BATCH)
        shard_uncork(worker);
    slot->has_request = true;
    worker->to_uncork[worker->to_uncork_count++] = fd;
}

/* ---- what libcurl calls ---- */

/* Without events it speaks up once more at the most, when the connection breaks. */
static void set_registered(struct fetch_worker *worker, int fd, uint16_t events)
{
    struct fd_slot *slot = &worker->fds[fd];
    struct epoll_event event = {.events = events ? events : EPOLLET, .data.u64 = (uint64_t)fd};

    if (slot->registered != events && epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        slot->registered = events;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct shard *shard = arg;
    struct fetch_worker *worker = shard->worker;

    (void)easy;
    (void)socket_arg;
    assert((size_t)fd < worker->fd_count);
    struct fd_slot *slot = &worker->fds[fd];
    slot->shard = (uint16_t)shard->index;
    slot->wanted = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        slot->wanted |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        slot->wanted |= EPOLLOUT;
    if (slot->wanted != 0)
        set_registered(worker, fd, slot->wanted);
    if (slot->wanted & EPOLLIN)
        note_request(worker, fd);
    return 0;
}

/* The kernel gives the lowest number that is free: a high one says that nearly all are used.  For each such
 * connection another one is closed after its transfer, and shards that are empty go at once. */
static bool is_near_limit(const struct fetch_worker *worker, int fd)
{
    return (size_t)fd >= worker->fd_count - worker->fd_count / 8;
}

/* libcurl 7.88 closes a socket that never got connected without shard_on_close: what is known of the number
 * may be about a socket that has gone. */
static bool start_watching(struct fetch_worker *worker, int fd)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.u64 = (uint64_t)fd};

    if ((size_t)fd >= worker->fd_count || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return false;
    worker->fds[fd] = (struct fd_slot){.registered = EPOLLOUT};
    return true;
}

curl_socket_t shard_open_socket(struct fetch_worker *worker, const struct curl_sockaddr *address,
                                bool is_corked)
{
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (!start_watching(worker, fd)) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    worker->fds[fd].is_corked = is_corked;
    if (is_corked)
        set_cork(fd, 1);
    if (is_near_limit(worker, fd))
        worker->surplus_count++;
    return fd;
}

int shard_on_close(void *arg, curl_socket_t fd)
{
    struct fetch_worker *worker = arg;

    worker->fds[fd] = (struct fd_slot){0}; /* closing takes it out of the epoll set */
    return close(fd);
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct shard *shard = arg;
    struct fetch_worker *worker = shard->worker;
    uint64_t at_ns = timeout_ms < 0 ? CLOCK_NEVER : clock_deadline_ns(worker->now_ns, (uint64_t)timeout_ms);

    (void)multi;
    worker->timer_ns[shard->index] = at_ns;
    worker->timers_at_ns = MIN(worker->timers_at_ns, at_ns);
    return 0;
}

/* ---- choosing ---- */

static struct shard *open_shard(struct fetch_worker *worker)
{
    struct shard *shard = calloc(1, sizeof(*shard));

    if (!shard || !(shard->multi = curl_multi_init())) {
        free(shard);
        return NULL;
    }
    shard->worker = worker;
    shard->index = worker->shard_count;
    worker->timer_ns[shard->index] = CLOCK_NEVER;
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)SHARD_CONNECTIONS_MAX);
    worker->shards[worker->shard_count++] = shard;
    return shard;
}

/* The first shard with room, so that few connections stay warm and not many half cold. */
struct shard *shard_choose(struct route *route)
{
    struct fetch_worker *worker = route->origin->worker;

    while (route->first_free < worker->shard_count && route->in_flight[route->first_free] >= SHARD_ORIGIN_MAX)
        route->first_free++;
    if (route->first_free < worker->shard_count)
        return worker->shards[route->first_free];
    struct shard *shard = worker->shard_count < SHARDS_MAX ? open_shard(worker) : NULL;
    if (shard || worker->shard_count == 0)
        return shard;
    return worker->shards[route->fetch_count % worker->shard_count];
}

void shard_enter(struct shard *shard, struct route *route)
{
    route->in_flight[shard->index]++;
    route->fetch_count++;
    shard->transfer_count++;
    shard->was_used = true;
}

void shard_leave(struct shard *shard, struct route *route)
{
    route->in_flight[shard->index]--;
    route->fetch_count--;
    shard->transfer_count--;
    route->first_free = MIN(route->first_free, shard->index);
}

/* ---- driving ---- */

static void touch(struct shard *shard)
{
    if (shard->is_touched)
        return;
    shard->is_touched = true;
    SLIST_INSERT_HEAD(&shard->worker->touched, shard, touched_link);
}

void shard_on_event(struct fetch_worker *worker, int fd, uint32_t events)
{
    struct fd_slot *slot = &worker->fds[fd];
    int running;

    if (slot->registered == 0)
        return; /* closed by what an earlier event of the same batch led to */
    if (slot->wanted == 0) {
        set_registered(worker, fd, 0);
        return;
    }
    struct shard *shard = worker->shards[slot->shard];
    touch(shard);
    curl_multi_socket_action(shard->multi, fd, (int)epoll_to_curl(events), &running);
}

void shard_run_timers(struct fetch_worker *worker)
{
    int running;

    if (worker->timers_at_ns > worker->now_ns)
        return;
    worker->timers_at_ns = CLOCK_NEVER;
    for (unsigned i = 0; i < worker->shard_count; i++) {
        if (worker->timer_ns[i] <= worker->now_ns) {
            worker->timer_ns[i] = CLOCK_NEVER; /* libcurl sets the next one */
            touch(worker->shards[i]);
            curl_multi_socket_action(worker->shards[i]->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        worker->timers_at_ns = MIN(worker->timers_at_ns, worker->timer_ns[i]);
    }
}

static void collect(struct shard *shard)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(shard->multi, &left))) {
        struct transfer *transfer;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_finish(transfer, code);
    }
}

void shard_collect(struct fetch_worker *worker)
{
    struct shard *shard;

    while ((shard = SLIST_FIRST(&worker->touched))) {
        SLIST_REMOVE_HEAD(&worker->touched, touched_link);
        shard->is_touched = false;
        collect(shard);
    }
}

/* ---- ending ---- */

/* The next shard with this number knows no addresses. */
static void forget_told(struct fetch_worker *worker, unsigned index)
{
    struct route *route;

    for (struct origin *origin = worker->origins; origin; origin = origin->hh.next)
        for (route = LIST_FIRST(&origin->routes); route; route = LIST_NEXT(route, link))
            route->told[index] = 0;
}

static void free_last(struct fetch_worker *worker)
{
    struct shard *shard = worker->shards[--worker->shard_count];

    assert(shard->transfer_count == 0 && !shard->is_touched);
    forget_told(worker, shard->index);
    curl_multi_cleanup(shard->multi);
    free(shard);
}

/* The last one when it is empty. */
static struct shard *last_empty(const struct fetch_worker *worker)
{
    struct shard *last = worker->shard_count > 0 ? worker->shards[worker->shard_count - 1] : NULL;

    return last && last->transfer_count == 0 ? last : NULL;
}

void shard_free_empty(struct fetch_worker *worker)
{
    while (last_empty(worker))
        free_last(worker);
}

void shard_trim(struct fetch_worker *worker)
{
    struct shard *last;

    while ((last = last_empty(worker)) && !last->was_used)
        free_last(worker);
    for (unsigned i = 0; i < worker->shard_count; i++)
        worker->shards[i]->was_used = false;
    worker->surplus_count = 0;
}

void shard_free_all(struct fetch_worker *worker)
{
    while (worker->shard_count > 0)
        free_last(worker);
}
