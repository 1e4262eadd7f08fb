/* The request threads, the epoll set they share, and the queue of requests whose answer can be made. */
#include "front/front_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_PER_WAIT    8
#define READY_BATCH        8
#define ACCEPT_RETRY_MS    50
#define ACCEPT_BATCH       64
#define WARN_PERIOD_MS     10000
#define REST_MS            1000 /* nginx keeps a connection for requests that follow closely */
#define SCRATCH_BYTES      (64 * 1024)
#define LARGE_BUDGET_BYTES ((size_t)64 * 1024 * 1024)
#define FEED_MAX_BYTES     (1024 * 1024) /* the largest pipe that anyone may have */

/* Two event values that no connection has: its generation would have to be 2^32 - 1. */
#define EVENT_LISTENER UINT64_MAX
#define EVENT_WAKE     (UINT64_MAX - 1)

static _Thread_local struct front_thread *self;

struct front_thread *front_thread_self(void)
{
    return self;
}

/* ---- waking ---- */

static void wake(struct front *front)
{
    uint64_t one = 1;
    ssize_t written = write(front->wake_fd, &one, sizeof(one));
    (void)written;
}

/* Who makes the queue non-empty wakes one thread; a thread that leaves something in it wakes the next. */
void front_make_ready(struct conn *conn, request_fn fn, void *arg)
{
    struct front *front = conn->front;
    bool was_empty;

    conn->req.resume = fn;
    conn->req.resume_arg = arg;
    mutex_lock(&front->ready_lock);
    was_empty = STAILQ_EMPTY(&front->ready);
    STAILQ_INSERT_TAIL(&front->ready, conn, ready_link);
    mutex_unlock(&front->ready_lock);
    if (was_empty)
        wake(front);
}

static size_t take_ready(struct front *front, struct conn *batch[READY_BATCH], bool *ret_more)
{
    size_t count = 0;

    LOCK(&front->ready_lock);
    while (count < READY_BATCH && !STAILQ_EMPTY(&front->ready)) {
        batch[count++] = STAILQ_FIRST(&front->ready);
        STAILQ_REMOVE_HEAD(&front->ready, ready_link);
    }
    *ret_more = !STAILQ_EMPTY(&front->ready);
    return count;
}

static void run_ready(struct front *front)
{
    struct conn *batch[READY_BATCH];
    bool more;

    size_t count = take_ready(front, batch, &more);
    if (more)
        wake(front);
    for (size_t i = 0; i < count; i++)
        batch[i]->req.resume(&batch[i]->req, batch[i]->req.resume_arg);
}

/* ---- accepting ---- */

static int arm_listener(struct front *front, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = EVENT_LISTENER};

    return epoll_ctl(front->epoll_fd, operation, front->listener.fd, &event);
}

/* The listener rests until a connection ends, which may free what was missing, or a moment has passed:
 * accepting more would only take what nobody can serve. */
static void pause_accept(struct front *front)
{
    front_count_accept_paused();
    atomic_store(&front->accept_at_ns, clock_deadline_ns(clock_now_ns(), ACCEPT_RETRY_MS));
}

void front_resume_accept(struct front *front)
{
    if (atomic_load(&front->accept_at_ns) != CLOCK_NEVER &&
        atomic_exchange(&front->accept_at_ns, CLOCK_NEVER) != CLOCK_NEVER)
        arm_listener(front, EPOLL_CTL_MOD);
}

static bool is_out_of_descriptors(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

enum accept_result {
    ACCEPT_ONE,
    ACCEPT_NONE_LEFT,
    ACCEPT_NO_ROOM,
};

/* True at the first call, and then not before `period_ms` have passed. */
static bool is_time_for(_Atomic uint64_t *at_ns, uint64_t period_ms)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t due_ns = atomic_load(at_ns);

    return now_ns >= due_ns &&
           atomic_compare_exchange_strong(at_ns, &due_ns, clock_deadline_ns(now_ns, period_ms));
}

/* A slot first: who cannot be served stays in the backlog, where it waits and is not turned away. */
static enum accept_result accept_one(struct front *front, const char **ret_what)
{
    struct conn *conn = slab_acquire(front);

    if (!conn) {
        *ret_what = "max_connections are in use";
        return ACCEPT_NO_ROOM;
    }
    int fd = accept4(front->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        conn_open(conn, fd);
        return ACCEPT_ONE;
    }
    *ret_what = err_errno_text(errno);
    bool is_room_missing = is_out_of_descriptors(errno);
    slab_release(conn);
    return is_room_missing ? ACCEPT_NO_ROOM : ACCEPT_NONE_LEFT;
}

/* Closes one connection that has rested for a while.  The hand goes round, so each is looked at as often as
 * the others and the cost does not grow with their number while there are some to be found. */
static bool evict_one(struct front *front)
{
    uint64_t before_ns = clock_now_ns() - REST_MS * NS_PER_MS;
    unsigned count = slab_size(front);

    for (unsigned i = 0; i < count; i++)
        if (conn_evict(slab_find(front, atomic_fetch_add(&front->evict_hand, 1) % count), before_ns))
            return true;
    return false;
}

static bool somebody_waits(const struct front *front)
{
    struct pollfd listener = {.fd = front->listener.fd, .events = POLLIN};

    return poll(&listener, 1, 0) == 1;
}

static enum accept_result accept_or_evict(struct front *front)
{
    const char *what;
    enum accept_result result = accept_one(front, &what);

    if (result != ACCEPT_NO_ROOM)
        return result;
    if (!somebody_waits(front))
        return ACCEPT_NONE_LEFT;
    if (evict_one(front))
        return accept_one(front, &what);
    if (is_time_for(&front->warn_at_ns, WARN_PERIOD_MS))
        log_warning("cannot accept", LOG_STR("error", what));
    return ACCEPT_NO_ROOM;
}

static void accept_some(struct front *front)
{
    enum accept_result result = ACCEPT_ONE;

    for (int i = 0; i < ACCEPT_BATCH && result == ACCEPT_ONE; i++)
        result = accept_or_evict(front);
    if (result == ACCEPT_NO_ROOM)
        pause_accept(front);
    else if (result == ACCEPT_ONE || !atomic_load(&front->draining))
        arm_listener(front, EPOLL_CTL_MOD);
    else
        listener_refuse(&front->listener);
}

/* ---- request threads ---- */

static void handle_event(struct front *front, const struct epoll_event *event)
{
    if (event->data.u64 == EVENT_WAKE) {
        run_ready(front);
        return;
    }
    if (event->data.u64 == EVENT_LISTENER) {
        accept_some(front);
        return;
    }
    struct conn *conn = slab_find(front, (uint32_t)event->data.u64);
    assert(conn);
    conn_on_event(conn, (uint32_t)(event->data.u64 >> 32), event->events);
}

/* Does what is due and returns how long there is nothing else to do. */
static int run_timers(struct front *front)
{
    uint64_t sweep_at_ns = atomic_load(&front->sweep_at_ns);
    uint64_t accept_at_ns = atomic_load(&front->accept_at_ns);

    if (sweep_at_ns == CLOCK_NEVER && accept_at_ns == CLOCK_NEVER)
        return -1;
    uint64_t now_ns = clock_now_ns();
    if (now_ns >= sweep_at_ns)
        deadline_sweep(front, now_ns);
    if (now_ns >= accept_at_ns)
        front_resume_accept(front);
    return clock_poll_timeout_ms(now_ns,
                                 MIN(atomic_load(&front->sweep_at_ns), atomic_load(&front->accept_at_ns)));
}

static void thread_loop(struct front *front)
{
    struct epoll_event events[EVENTS_PER_WAIT];

    while (!atomic_load(&front->stopping)) {
        int count = epoll_wait(front->epoll_fd, events, EVENTS_PER_WAIT, run_timers(front));
        for (int i = 0; i < count; i++)
            handle_event(front, &events[i]);
    }
    wake(front); /* pass the stop on to the next thread */
}

static void free_thread(struct front_thread *thread)
{
    if (!thread)
        return;
    fcgi_feed_done(&thread->feed);
    free(thread->scratch);
    free(thread);
}

static void *thread_main(void *arg)
{
    self = arg;
    thread_wake_gently();
    thread_loop(self->front);
    free_thread(self);
    return NULL;
}

static int start_thread(struct front *front, struct err *err)
{
    struct front_thread *thread = calloc(1, sizeof(*thread));
    char name[16];
    int rc;

    if (!thread)
        return err_set(err, -ENOMEM, "out of memory");
    thread->front = front;
    thread->scratch_size = SCRATCH_BYTES;
    thread->scratch = malloc(thread->scratch_size);
    rc = fcgi_feed_init(&thread->feed, MIN(2 * front->limits.params_max_bytes, (size_t)FEED_MAX_BYTES), err);
    if (rc == 0 && !thread->scratch)
        rc = err_set(err, -ENOMEM, "out of memory");
    snprintf(name, sizeof(name), "request-%u", front->thread_count);
    if (rc == 0)
        rc = thread_start(&front->threads[front->thread_count], name, thread_main, thread, err);
    if (rc < 0) {
        free_thread(thread);
        return rc;
    }
    front->thread_count++;
    return 0;
}

/* ---- life ---- */

int front_create(const struct front_options *options, struct listener *listener, struct front **ret_front,
                 struct err *err)
{
    struct front *front = calloc(1, sizeof(*front));

    if (!front)
        return err_set(err, -ENOMEM, "out of memory");
    front->options = *options;
    int rc = router_create(options->routes, options->route_count, &front->router, err);
    if (rc == 0 && slab_init(front) < 0)
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc < 0) {
        router_free(front->router);
        free(front);
        return rc;
    }
    front->limits =
        (struct frames_limits){options->config->max_params_bytes, options->config->max_body_bytes};
    front->large_body_max_bytes = MAX(options->max_large_body_bytes, options->config->max_body_bytes);
    atomic_store(
        &front->large_budget,
        MAX(options->max_large_bytes_in_flight ? options->max_large_bytes_in_flight : LARGE_BUDGET_BYTES,
            front->large_body_max_bytes));
    front->max_streams = options->max_streams ? options->max_streams : options->config->max_connections / 4;
    front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    front->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (front->epoll_fd < 0 || front->wake_fd < 0) {
        int errnum = errno;
        if (front->epoll_fd >= 0)
            close(front->epoll_fd);
        if (front->wake_fd >= 0)
            close(front->wake_fd);
        slab_free_all(front);
        router_free(front->router);
        free(front);
        return err_set_errno(err, errnum, "cannot make an epoll set");
    }
    mutex_init(&front->lock);
    mutex_init(&front->ready_lock);
    cond_init(&front->drained);
    SLIST_INIT(&front->free_conns);
    TAILQ_INIT(&front->deadlines);
    STAILQ_INIT(&front->ready);
    atomic_store(&front->sweep_at_ns, CLOCK_NEVER);
    atomic_store(&front->accept_at_ns, CLOCK_NEVER);
    front->listener = *listener;
    *listener = (struct listener){.fd = -1};
    *ret_front = front;
    return 0;
}

static unsigned wanted_threads(const struct config *config)
{
    return config->request_threads ? config->request_threads : MAX(thread_cpu_count(), 2u);
}

int front_start(struct front *front, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EVENT_WAKE};
    unsigned count = wanted_threads(front->options.config);

    front->threads = calloc(count, sizeof(*front->threads));
    if (!front->threads)
        return err_set(err, -ENOMEM, "out of memory");
    if (epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, front->wake_fd, &event) != 0)
        return err_set_errno(err, errno, "cannot watch for wake-ups");
    for (unsigned i = 0; i < count; i++) {
        int rc = start_thread(front, err);
        if (rc < 0)
            return rc;
    }
    if (arm_listener(front, EPOLL_CTL_ADD) != 0)
        return err_set_errno(err, errno, "cannot watch the listening socket");
    return 0;
}

bool front_is_draining(const struct front *front)
{
    return atomic_load(&front->draining);
}

void front_request_ended(struct front *front)
{
    if (atomic_fetch_sub(&front->in_flight, 1) != 1 || !atomic_load(&front->draining))
        return;
    LOCK(&front->lock);
    pthread_cond_broadcast(&front->drained);
}

bool front_stream_begins(struct front *front)
{
    front_count_streams(1);
    if (atomic_fetch_add(&front->streams, 1) < front->max_streams && !atomic_load(&front->draining))
        return true;
    front_stream_ended(front);
    return false;
}

void front_stream_ended(struct front *front)
{
    front_count_streams(-1);
    if (atomic_fetch_sub(&front->streams, 1) != 1 || !atomic_load(&front->draining))
        return;
    LOCK(&front->lock);
    pthread_cond_broadcast(&front->drained);
}

static bool is_drained(struct front *front)
{
    return atomic_load(&front->in_flight) == 0 && atomic_load(&front->streams) == 0;
}

static bool wait_drained(struct front *front, uint64_t deadline_ns)
{
    LOCK(&front->lock);
    while (!is_drained(front))
        if (!cond_wait_until(&front->drained, &front->lock, deadline_ns))
            return is_drained(front);
    return true;
}

static void cut_off_streams(struct front *front)
{
    struct conn *conn;

    for (uint32_t i = 0; (conn = slab_find(front, i)); i++)
        stream_cut_off(conn);
}

static unsigned cancel_all(struct front *front)
{
    unsigned count = 0;
    struct conn *conn;

    for (uint32_t i = 0; (conn = slab_find(front, i)); i++)
        count += conn_cancel(conn);
    return count;
}

/* A cancelled request ends within milliseconds, or has an answer that its peer does not read: the second
 * cancel cuts that off.  One that is still there then is a bug, and must not keep us from ending. */
#define CANCEL_GRACE_MS 2000
#define CUT_OFF_MS      100

/* Who comes now is turned away, or left to whom an inherited socket goes next.  Who has connected already is
 * accepted and served like those in flight.  TCP resets who waits when it refuses the others, so there it is
 * who accepts the last one that refuses (accept_some). */
static void stop_listening(struct front *front)
{
    if (front->listener.is_inherited) {
        arm_listener(front, EPOLL_CTL_DEL);
        return;
    }
    if (!front->listener.is_tcp || !somebody_waits(front))
        listener_refuse(&front->listener);
    arm_listener(front, EPOLL_CTL_MOD);
}

unsigned front_drain(struct front *front, uint64_t deadline_ns)
{
    atomic_store(&front->draining, true);
    stop_listening(front);
    cut_off_streams(front);
    wait_drained(front, deadline_ns);
    /* A connection that the web server keeps may still bring a request: it must not be in flight then. */
    atomic_store(&front->refusing, true);
    unsigned count = cancel_all(front);
    if (wait_drained(front, clock_deadline_ns(clock_now_ns(), CANCEL_GRACE_MS)))
        return count;
    cancel_all(front);
    if (!wait_drained(front, clock_deadline_ns(clock_now_ns(), CUT_OFF_MS)))
        log_error("requests did not end when cancelled", LOG_UINT("count", atomic_load(&front->in_flight)));
    return count;
}

static void close_all(struct front *front)
{
    struct conn *conn;

    for (uint32_t i = 0; (conn = slab_find(front, i)); i++)
        if (conn->fd >= 0)
            conn_close(conn, CLOSE_DRAIN);
}

void front_stop(struct front *front)
{
    atomic_store(&front->stopping, true);
    wake(front);
    for (unsigned i = 0; i < front->thread_count; i++)
        thread_join(front->threads[i]);
    front->thread_count = 0;
    close_all(front);
}

void front_free(struct front *front)
{
    if (!front)
        return;
    slab_free_all(front);
    router_free(front->router);
    listener_close(&front->listener);
    close(front->epoll_fd);
    close(front->wake_fd);
    pthread_mutex_destroy(&front->lock);
    pthread_mutex_destroy(&front->ready_lock);
    pthread_cond_destroy(&front->drained);
    free(front->threads);
    free(front);
}
