/* The fetches of a worker that have not ended, by when they time out.
 *
 * Those with the pool's time-out are a queue: who came first is the first to time out, at no cost.  Those
 * with one of their own, which come by the thousand from tasks and with any duration, are a pairing heap:
 * most leave long before their time and from anywhere in it, and it needs no memory but theirs.  (Fredman
 * et al., 1986: a tree whose nodes are not later than their children; to take one out, its children are
 * merged in pairs and then into one.) */
#include "fetch/fetch_int.h"

uint64_t deadline_timeout_ms(const struct fetch *fetch)
{
    return fetch->timeout_ms ? fetch->timeout_ms : fetch->worker->pool->config->fetch.timeout_ms;
}

static uint64_t due_ns(const struct fetch *fetch)
{
    return clock_deadline_ns(fetch->start_ns, deadline_timeout_ms(fetch));
}

/* Of two trees, either of which may be empty, one. */
static struct fetch *merge(struct fetch *a, struct fetch *b)
{
    if (!a || !b)
        return a ? a : b;
    struct fetch *first = due_ns(b) < due_ns(a) ? b : a;
    struct fetch *later = first == a ? b : a;
    later->own.before = first;
    later->own.next = first->own.child;
    if (first->own.child)
        first->own.child->own.before = later;
    first->own.child = later;
    return first;
}

static struct fetch *take_tree(struct fetch **list)
{
    struct fetch *tree = *list;

    if (tree) {
        *list = tree->own.next;
        tree->own.next = NULL;
        tree->own.before = NULL;
    }
    return tree;
}

/* Of the trees in a list, one. */
static struct fetch *merge_list(struct fetch *list)
{
    struct fetch *pairs = NULL;
    struct fetch *whole = NULL;

    while (list) {
        struct fetch *a = take_tree(&list);
        struct fetch *b = take_tree(&list);
        struct fetch *pair = merge(a, b);
        pair->own.next = pairs;
        pairs = pair;
    }
    while (pairs)
        whole = merge(take_tree(&pairs), whole);
    return whole;
}

static void cut(struct fetch *fetch)
{
    struct fetch *before = fetch->own.before;

    if (before->own.child == fetch)
        before->own.child = fetch->own.next;
    else
        before->own.next = fetch->own.next;
    if (fetch->own.next)
        fetch->own.next->own.before = before;
}

void deadline_add(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;

    if (fetch->timeout_ms == 0) {
        TAILQ_INSERT_TAIL(&worker->live, fetch, live_link);
        return;
    }
    fetch->own.child = fetch->own.next = fetch->own.before = NULL;
    worker->live_own = merge(worker->live_own, fetch);
}

void deadline_remove(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;

    if (fetch->timeout_ms == 0) {
        TAILQ_REMOVE(&worker->live, fetch, live_link);
        return;
    }
    struct fetch *children = merge_list(fetch->own.child);
    if (fetch == worker->live_own) {
        worker->live_own = children;
        return;
    }
    cut(fetch);
    worker->live_own = merge(worker->live_own, children);
}

struct fetch *deadline_first(const struct fetch_worker *worker)
{
    struct fetch *oldest = TAILQ_FIRST(&worker->live);
    struct fetch *own = worker->live_own;

    if (!oldest || !own)
        return oldest ? oldest : own;
    return due_ns(own) < due_ns(oldest) ? own : oldest;
}

uint64_t deadline_first_ns(const struct fetch_worker *worker)
{
    const struct fetch *first = deadline_first(worker);

    return first ? due_ns(first) : CLOCK_NEVER;
}
