/* A fetch worker: one thread that drives its shards from one epoll set.
 *
 * Time-outs are given to epoll_wait and not to a timerfd: setting that at each of libcurl's requests took a
 * third of all CPU.  What other threads want comes through three lists under one lock; who is the first
 * since the worker last looked writes the eventfd, which is edge-triggered and never read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "fetch/fetch_int.h"

#define EVENTS_PER_WAIT 256
#define EVENT_WAKE      UINT64_MAX
#define DESCRIPTORS_MAX (1024 * 1024)
#define TRIM_MS         10000

/* ---- the inbox: any thread ---- */

static void wake(struct fetch_worker *worker)
{
    uint64_t one = 1;
    ssize_t written = write(worker->wake_fd, &one, sizeof(one));
    (void)written;
}

/* True for the first who has mail since the worker last began to take it: that one wakes the worker. */
static bool has_to_wake_locked(struct fetch_worker *worker)
{
    bool was_woken = worker->is_woken;

    worker->is_woken = true;
    return !was_woken;
}

void worker_push(struct fetch_worker *worker, struct fetch **fetches, size_t count)
{
    uint64_t start_ns = clock_now_ns();

    mutex_lock(&worker->lock);
    for (size_t i = 0; i < count; i++) {
        fetches[i]->start_ns = start_ns;
        fetches[i]->worker = worker;
        fetches[i]->is_taken = false;
        fetches[i]->is_closed = false;
        fetches[i]->is_cancel_queued = false;
        TAILQ_INSERT_TAIL(&worker->inbox, fetches[i], link);
    }
    atomic_fetch_add(&worker->pushed_count, count);
    bool has_to_wake = has_to_wake_locked(worker);
    mutex_unlock(&worker->lock);
    if (has_to_wake)
        wake(worker);
}

void worker_push_cancel(struct fetch_worker *worker, struct fetch *fetch)
{
    bool has_to_wake = false;

    mutex_lock(&worker->lock);
    if (!fetch->is_closed && !fetch->is_cancel_queued) {
        fetch->is_cancel_queued = true;
        TAILQ_INSERT_TAIL(&worker->cancels, fetch, cancel_link);
        has_to_wake = has_to_wake_locked(worker);
    }
    mutex_unlock(&worker->lock);
    if (has_to_wake)
        wake(worker);
}

void worker_push_resolved(struct fetch_worker *worker, struct resolver_query *query)
{
    mutex_lock(&worker->lock);
    TAILQ_INSERT_TAIL(&worker->resolved, query, link);
    bool has_to_wake = has_to_wake_locked(worker);
    mutex_unlock(&worker->lock);
    if (has_to_wake)
        wake(worker);
}

/* ---- the inbox: the worker ---- */

static void take_new(struct fetch_worker *worker)
{
    struct fetch_list list = TAILQ_HEAD_INITIALIZER(list);
    struct fetch *fetch;

    mutex_lock(&worker->lock);
    for (fetch = TAILQ_FIRST(&worker->inbox); fetch; fetch = TAILQ_NEXT(fetch, link))
        fetch->is_taken = true;
    TAILQ_CONCAT(&list, &worker->inbox, link);
    atomic_store(&worker->taken_count, atomic_load(&worker->pushed_count));
    mutex_unlock(&worker->lock);
    while ((fetch = TAILQ_FIRST(&list))) {
        TAILQ_REMOVE(&list, fetch, link);
        fetch_count_start();
        deadline_add(fetch);
        route_fetch(fetch);
    }
}

static void end_early(struct fetch *fetch, enum fetch_reason reason, const char *error)
{
    if (fetch->transfer) {
        transfer_cancel(fetch->transfer, reason, error);
        return;
    }
    origin_stop_waiting(fetch);
    fetch_end(fetch, reason, "%s", error);
}

/* The next fetch to cancel.  It stays in the list, from where fetch_end takes it, when it is still in the
 * inbox. */
static struct fetch *next_cancel(struct fetch_worker *worker, bool *ret_is_taken)
{
    LOCK(&worker->lock);
    struct fetch *fetch = TAILQ_FIRST(&worker->cancels);
    if (!fetch)
        return NULL;
    *ret_is_taken = fetch->is_taken;
    if (fetch->is_taken) {
        TAILQ_REMOVE(&worker->cancels, fetch, cancel_link);
        fetch->is_cancel_queued = false;
    }
    return fetch;
}

static void take_cancels(struct fetch_worker *worker)
{
    struct fetch *fetch;
    bool is_taken;

    while ((fetch = next_cancel(worker, &is_taken))) {
        if (is_taken)
            end_early(fetch, FETCH_CANCELLED, "cancelled");
        else
            take_new(worker);
    }
}

static struct resolver_query *pop_resolved(struct fetch_worker *worker)
{
    LOCK(&worker->lock);
    struct resolver_query *query = TAILQ_FIRST(&worker->resolved);
    if (query)
        TAILQ_REMOVE(&worker->resolved, query, link);
    return query;
}

static void take_resolved(struct fetch_worker *worker)
{
    struct resolver_query *query;

    while ((query = pop_resolved(worker)))
        origin_resolved(query);
}

static void begin_taking(struct fetch_worker *worker)
{
    LOCK(&worker->lock);
    worker->is_woken = false;
}

static void take_inbox(struct fetch_worker *worker)
{
    begin_taking(worker);
    take_new(worker);
    take_cancels(worker);
    take_resolved(worker);
}

static bool is_stopping(struct fetch_worker *worker)
{
    LOCK(&worker->lock);
    return worker->is_stopping;
}

/* ---- the loop ---- */

static void expire_oldest(struct fetch_worker *worker)
{
    char error[FETCH_ERROR_SIZE];

    while (worker->now_ns >= deadline_first_ns(worker)) {
        struct fetch *fetch = deadline_first(worker);
        snprintf(error, sizeof(error), "timed out after %llu ms%s",
                 (unsigned long long)deadline_timeout_ms(fetch),
                 fetch->transfer ? "" : ", waiting for the address of the host");
        end_early(fetch, FETCH_TIMEOUT, error);
    }
}

static int wait_ms(const struct fetch_worker *worker)
{
    uint64_t next_ns = MIN(worker->timers_at_ns, deadline_first_ns(worker));

    next_ns = MIN(next_ns, connecting_next_deadline_ns(worker));
    if (worker->idle_count > 0 || worker->origins || worker->shard_count > 0)
        next_ns = MIN(next_ns, worker->trim_at_ns);
    return clock_poll_timeout_ms(clock_now_ns(), next_ns);
}

static void run_housekeeping(struct fetch_worker *worker)
{
    expire_oldest(worker);
    connecting_expire(worker);
    if (worker->surplus_count > 0)
        shard_free_empty(worker);
    if (worker->now_ns >= worker->trim_at_ns) {
        worker->trim_at_ns = clock_deadline_ns(worker->now_ns, TRIM_MS);
        transfer_trim_idle(worker);
        origin_trim(worker);
        shard_trim(worker);
    }
}

static void run_once(struct fetch_worker *worker)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    bool has_mail = false;

    int count = epoll_wait(worker->epoll_fd, events, EVENTS_PER_WAIT, wait_ms(worker));
    worker->now_ns = clock_now_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == EVENT_WAKE)
            has_mail = true;
        else
            shard_on_event(worker, (int)events[i].data.u64, events[i].events);
    }
    shard_collect(worker);
    if (has_mail)
        take_inbox(worker);
    shard_run_timers(worker);
    shard_uncork(worker);
    shard_collect(worker);
    run_housekeeping(worker);
}

/* Everything that is left ends as cancelled. */
static void cancel_all(struct fetch_worker *worker)
{
    struct fetch *fetch;

    take_inbox(worker);
    while ((fetch = deadline_first(worker)))
        end_early(fetch, FETCH_CANCELLED, "stopping");
}

/* What has ended is counted first: what that brought has been pushed by then. */
static bool all_have_ended(struct fetch_pool *pool)
{
    uint64_t open_count = 0;

    for (unsigned i = 0; i < pool->worker_count; i++)
        open_count -= atomic_load(&pool->workers[i].ended_count);
    for (unsigned i = 0; i < pool->worker_count; i++)
        open_count += atomic_load(&pool->workers[i].pushed_count);
    return open_count == 0;
}

static void wake_all(struct fetch_pool *pool)
{
    for (unsigned i = 0; i < pool->worker_count; i++)
        wake(&pool->workers[i]);
}

static void *thread_main(void *arg)
{
    struct fetch_worker *worker = arg;

    thread_wake_gently();
    worker->now_ns = clock_now_ns();
    worker->trim_at_ns = clock_deadline_ns(worker->now_ns, TRIM_MS);
    while (!is_stopping(worker))
        run_once(worker);
    /* A fetch that ends may bring another, to any worker: none goes before all have ended. */
    for (cancel_all(worker); !all_have_ended(worker->pool); cancel_all(worker))
        run_once(worker);
    wake_all(worker->pool);
    transfer_free_idle(worker);
    shard_free_all(worker);
    return NULL;
}

/* ---- life ---- */

/* A slot for each descriptor there can be; what is never used costs address space only. */
static size_t descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > DESCRIPTORS_MAX)
        return DESCRIPTORS_MAX;
    return (size_t)limit.rlim_cur;
}

int worker_init(struct fetch_worker *worker, struct fetch_pool *pool, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EVENT_WAKE};

    worker->pool = pool;
    worker->fd_count = descriptor_limit();
    worker->fds = calloc(worker->fd_count, sizeof(*worker->fds));
    mutex_init(&worker->lock);
    TAILQ_INIT(&worker->inbox);
    TAILQ_INIT(&worker->cancels);
    TAILQ_INIT(&worker->resolved);
    SLIST_INIT(&worker->idle);
    SLIST_INIT(&worker->touched);
    worker->timers_at_ns = CLOCK_NEVER;
    TAILQ_INIT(&worker->live);
    TAILQ_INIT(&worker->connecting);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->epoll_fd < 0 || worker->wake_fd < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) != 0 || !worker->fds) {
        int errnum = errno;
        worker_done(worker);
        return err_set_errno(err, errnum, "cannot set up a fetch worker");
    }
    return 0;
}

int worker_start(struct fetch_worker *worker, unsigned number, struct err *err)
{
    char name[16];

    snprintf(name, sizeof(name), "fetch-%u", number);
    int rc = thread_start(&worker->thread, name, thread_main, worker, err);
    worker->is_started = rc == 0;
    return rc;
}

void worker_tell_stop(struct fetch_worker *worker)
{
    LOCK(&worker->lock);
    worker->is_stopping = true;
    wake(worker);
}

void worker_join(struct fetch_worker *worker)
{
    if (!worker->is_started)
        return;
    thread_join(worker->thread);
    worker->is_started = false;
}

void worker_done(struct fetch_worker *worker)
{
    origin_free_all(worker);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    free(worker->fds);
    pthread_mutex_destroy(&worker->lock);
}
