/* loop.h - one thread's event loop: descriptors that become ready, and timers that fall due.
 *
 * How to use it: loop_init; loop_watch for each descriptor; loop_run until a callback calls loop_stop;
 * loop_done. Threads:    none; a loop and all it calls belong to one thread. Ownership:  watches and timers
 * are embedded in the caller's structs and stay the caller's. Closing a descriptor takes it out of the loop.
 * A timer must be cancelled before its memory goes. Invariants: no callback runs inside another; in one
 * round, first all ready descriptors, then all due timers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct watch {
    void (*ready)(struct watch *watch, uint32_t events);
};

struct timer {
    void (*due)(struct timer *timer);
    uint32_t slot; /* 0: not set; otherwise its place in the heap */
};

struct timer_entry {
    int64_t at_ns;
    struct timer *timer;
};

struct loop {
    int epoll_fd;
    bool stopping;
    bool coarse; /* sleeps are counted in milliseconds */
    /* A binary heap, soonest first; entry 0 is not used. The times stand in the heap, not in the timers, so
     * that moving an entry touches no other memory. */
    struct timer_entry *heap;
    uint32_t timer_count;
    uint32_t heap_size;
};

/* False: errno tells why. */
bool loop_init(struct loop *loop);
void loop_done(struct loop *loop);

/* `events` are epoll's. False: errno tells why. */
bool loop_watch(struct loop *loop, int fd, uint32_t events, struct watch *watch);

void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

int64_t loop_now_ns(void);

/* Sets a timer that is not set. It is due at `at_ns` on CLOCK_MONOTONIC or up to 0.1 ms later, never before.
 */
void loop_timer_set(struct loop *loop, struct timer *timer, int64_t at_ns);

/* Does nothing to a timer that is not set. */
void loop_timer_cancel(struct loop *loop, struct timer *timer);
