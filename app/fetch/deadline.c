/* The fetches of a worker that have not ended, by when they time out.
 *
 * Those with the pool's time-out are a queue: who came first is the first to time out, at no cost.  Those
 * with one of their own, which come by the thousand from tasks and upstreams and with any duration, are a
 * pairing heap: most leave long before their time and from anywhere in it, and it needs no memory but
 * theirs. */
#include "fetch/fetch_int.h"

uint64_t deadline_timeout_ms(const struct fetch *fetch)
{
    return fetch->timeout_ms ? fetch->timeout_ms : fetch->worker->pool->config->fetch.timeout_ms;
}

void deadline_add(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;

    if (fetch->timeout_ms == 0) {
        TAILQ_INSERT_TAIL(&worker->live, fetch, live_link);
        return;
    }
    fetch->live_node.due_ns = clock_deadline_ns(fetch->start_ns, fetch->timeout_ms);
    pairing_add(&worker->live_own, &fetch->live_node);
}

void deadline_remove(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;

    if (fetch->timeout_ms == 0)
        TAILQ_REMOVE(&worker->live, fetch, live_link);
    else
        pairing_remove(&worker->live_own, &fetch->live_node);
}

/* CLOCK_NEVER when there is none. */
static uint64_t queue_first_ns(const struct fetch_worker *worker)
{
    const struct fetch *oldest = TAILQ_FIRST(&worker->live);

    return oldest ? clock_deadline_ns(oldest->start_ns, deadline_timeout_ms(oldest)) : CLOCK_NEVER;
}

static uint64_t own_first_ns(const struct fetch_worker *worker)
{
    return worker->live_own.first ? worker->live_own.first->due_ns : CLOCK_NEVER;
}

struct fetch *deadline_first(const struct fetch_worker *worker)
{
    struct fetch *oldest = TAILQ_FIRST(&worker->live);
    struct pairing_node *own = worker->live_own.first;

    if (!own || (oldest && queue_first_ns(worker) <= own->due_ns))
        return oldest;
    return container_of(own, struct fetch, live_node);
}

uint64_t deadline_first_ns(const struct fetch_worker *worker)
{
    return MIN(queue_first_ns(worker), own_first_ns(worker));
}
