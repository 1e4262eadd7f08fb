/* timers.h - functions that are called at their time, by one thread.
 *
 * How to use it: timers_create, timers_start; put a struct timer into what has to wait, timer_set with the
 * time and the function; timer_cancel when it is not needed any more.
 * Threads: timer_set and timer_cancel any; functions run on the timers' thread, one after the other, and
 * must not block.
 * Ownership: a timer is lent from timer_set until its function is about to be called, or timer_cancel
 * returns true.  When that returns false the function has been or is being called: whoever shares the
 * memory holds a reference for it.
 * Cost: O(log n) amortized, no memory (pairing.h); the thread is woken only when a new timer is the
 * earliest. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "base/pairing.h"

struct timers;

/* Zeroed memory is a timer that is not set. */
struct timer {
    void (*fn)(struct timer *timer);
    /* guarded by the timers' lock: */
    struct pairing_node node;
    bool is_set;
};

must_check int timers_create(struct timers **ret_timers, struct err *err);
must_check int timers_start(struct timers *timers, const char *thread_name, struct err *err);

/* `timer` is not set; its own function may set it again.  `due_ns` is on clock_now_ns; a time that has
 * passed is at once, CLOCK_NEVER never. */
void timer_set(struct timers *timers, struct timer *timer, uint64_t due_ns, void (*fn)(struct timer *timer));

/* True when the function will not be called for this timer_set; false as well for a timer that was not set.
 */
bool timer_cancel(struct timers *timers, struct timer *timer);

/* Joins the thread, if it was started; functions of timers that are still set are not called.  They may
 * still be cancelled, and others set, until timers_free. */
void timers_stop(struct timers *timers);
void timers_free(struct timers *timers); /* NULL is allowed */
