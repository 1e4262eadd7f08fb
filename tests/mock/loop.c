#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH 256
#define NS_PER_S   1000000000

bool loop_init(struct loop *loop)
{
    *loop = (struct loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    return loop->epoll_fd >= 0;
}

void loop_done(struct loop *loop)
{
    close(loop->epoll_fd);
    free(loop->heap);
}

bool loop_watch(struct loop *loop, int fd, uint32_t events, struct watch *watch)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

int64_t loop_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* ---- timers ---- */

static void heap_put(struct loop *loop, uint32_t slot, struct timer_entry entry)
{
    loop->heap[slot] = entry;
    entry.timer->slot = slot;
}

/* Moves the hole at `slot` to where `entry` belongs, and fills it. */
static void heap_settle(struct loop *loop, uint32_t slot, struct timer_entry entry)
{
    const struct timer_entry *heap = loop->heap;
    while (slot > 1 && heap[slot / 2].at_ns > entry.at_ns) {
        heap_put(loop, slot, heap[slot / 2]);
        slot /= 2;
    }
    for (uint32_t child = slot * 2; child <= loop->timer_count; child = slot * 2) {
        if (child < loop->timer_count && heap[child + 1].at_ns < heap[child].at_ns) {
            child++;
        }
        if (heap[child].at_ns >= entry.at_ns) {
            break;
        }
        heap_put(loop, slot, heap[child]);
        slot = child;
    }
    heap_put(loop, slot, entry);
}

static void heap_grow(struct loop *loop)
{
    loop->heap_size = loop->heap_size ? loop->heap_size * 2 : 256;
    loop->heap = reallocarray(loop->heap, loop->heap_size, sizeof *loop->heap);
    if (!loop->heap) {
        perror("mock-upstream: timers");
        abort();
    }
}

void loop_timer_set(struct loop *loop, struct timer *timer, int64_t at_ns)
{
    if (loop->timer_count + 1 >= loop->heap_size) {
        heap_grow(loop);
    }
    heap_settle(loop, ++loop->timer_count, (struct timer_entry){at_ns, timer});
}

void loop_timer_cancel(struct loop *loop, struct timer *timer)
{
    if (timer->slot == 0) {
        return;
    }
    uint32_t slot = timer->slot;
    timer->slot = 0;
    struct timer_entry last = loop->heap[loop->timer_count--];
    if (last.timer != timer) {
        heap_settle(loop, slot, last);
    }
}

static void run_due_timers(struct loop *loop)
{
    if (loop->timer_count == 0) {
        return;
    }
    int64_t now_ns = loop_now_ns(); /* read once, so a timer that a callback sets waits for the next round */
    while (loop->timer_count > 0 && loop->heap[1].at_ns <= now_ns) {
        struct timer *timer = loop->heap[1].timer;
        loop_timer_cancel(loop, timer);
        timer->due(timer);
    }
}

/* ---- waiting ---- */

/* The kernel may stretch a sleep by a thousandth of its length, so a long sleep ends a little early and the
 * rest, which is short, follows in the next round. Returns -1 for no timer. */
static int64_t time_to_sleep_ns(const struct loop *loop)
{
    if (loop->timer_count == 0) {
        return -1;
    }
    int64_t left_ns = loop->heap[1].at_ns - loop_now_ns();
    if (left_ns > NS_PER_S / 50) {
        left_ns -= left_ns / 500;
    }
    return left_ns > 0 ? left_ns : 0;
}

/* Some sandboxes and valgrind do not know epoll_pwait2; there a timer may be a millisecond late. */
static int wait_for_events(struct loop *loop, struct epoll_event *events)
{
    int64_t ns = time_to_sleep_ns(loop);
    if (!loop->coarse) {
        struct timespec sleep = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
        int count = epoll_pwait2(loop->epoll_fd, events, LOOP_BATCH, ns < 0 ? NULL : &sleep, NULL);
        if (count >= 0 || errno == EINTR) {
            return count;
        }
        loop->coarse = true;
    }
    return epoll_wait(loop->epoll_fd, events, LOOP_BATCH, ns < 0 ? -1 : (int)((ns + 999999) / 1000000));
}

void loop_run(struct loop *loop)
{
    while (!loop->stopping) {
        struct epoll_event events[LOOP_BATCH];
        int count = wait_for_events(loop, events);
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            watch->ready(watch, events[i].events);
        }
        run_due_timers(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}
