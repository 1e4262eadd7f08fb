#include "base/timers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"

struct timers {
    pthread_t thread;
    bool is_started; /* the owner's */

    pthread_mutex_t lock;
    /* guarded by lock: */
    pthread_cond_t changed; /* another timer is the earliest, or the thread is to stop */
    struct pairing waiting;
    bool is_stopping;
};

typedef void (*timer_fn)(struct timer *timer);

/* The next one whose time has come, out of the heap, and its function; NULL when the thread is to stop. */
static struct timer *wait_for_next(struct timers *timers, timer_fn *ret_fn)
{
    LOCK(&timers->lock);
    while (!timers->is_stopping) {
        struct pairing_node *first = timers->waiting.first;
        if (first && first->due_ns <= clock_now_ns()) {
            struct timer *timer = container_of(first, struct timer, node);
            pairing_remove(&timers->waiting, first);
            timer->is_set = false;
            *ret_fn = timer->fn;
            return timer;
        }
        cond_wait_until(&timers->changed, &timers->lock, first ? first->due_ns : CLOCK_NEVER);
    }
    return NULL;
}

static void *run(void *arg)
{
    struct timers *timers = arg;
    struct timer *timer;
    timer_fn fn;

    while ((timer = wait_for_next(timers, &fn)) != NULL)
        fn(timer);
    return NULL;
}

int timers_create(struct timers **ret_timers, struct err *err)
{
    struct timers *timers = calloc(1, sizeof(*timers));

    if (!timers)
        return err_set(err, -ENOMEM, "out of memory");
    mutex_init(&timers->lock);
    cond_init(&timers->changed);
    *ret_timers = timers;
    return 0;
}

int timers_start(struct timers *timers, const char *thread_name, struct err *err)
{
    int rc = thread_start(&timers->thread, thread_name, run, timers, err);

    timers->is_started = rc == 0;
    return rc;
}

static bool add(struct timers *timers, struct timer *timer, uint64_t due_ns, void (*fn)(struct timer *timer))
{
    LOCK(&timers->lock);
    assert(!timer->is_set);
    timer->fn = fn;
    timer->is_set = true;
    timer->node.due_ns = due_ns;
    pairing_add(&timers->waiting, &timer->node);
    return timers->waiting.first == &timer->node;
}

/* Outside of the lock, which the woken thread takes first of all. */
void timer_set(struct timers *timers, struct timer *timer, uint64_t due_ns, void (*fn)(struct timer *timer))
{
    if (add(timers, timer, due_ns, fn))
        pthread_cond_signal(&timers->changed);
}

bool timer_cancel(struct timers *timers, struct timer *timer)
{
    LOCK(&timers->lock);
    if (!timer->is_set)
        return false;
    pairing_remove(&timers->waiting, &timer->node);
    timer->is_set = false;
    return true;
}

void timers_stop(struct timers *timers)
{
    if (!timers->is_started)
        return;
    mutex_lock(&timers->lock);
    timers->is_stopping = true;
    mutex_unlock(&timers->lock);
    pthread_cond_signal(&timers->changed);
    thread_join(timers->thread);
    timers->is_started = false;
}

void timers_free(struct timers *timers)
{
    if (!timers)
        return;
    assert(!timers->is_started);
    pthread_cond_destroy(&timers->changed);
    pthread_mutex_destroy(&timers->lock);
    free(timers);
}
