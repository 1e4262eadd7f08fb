/* thread.h - named threads, scope locks, and condition variables on the monotonic clock.
 *
 * Locks are plain pthread mutexes: LOCK(&x->lock) holds the lock to the end of the enclosing scope.  A
 * function that expects its lock held ends in _locked.  pthread calls that can only fail by a bug are
 * asserted. */
#pragma once

#include <pthread.h>

#include "base/common.h"
#include "base/err.h"

typedef void *(*thread_fn)(void *arg);

/* Starts a joinable thread; `name` is cut to 15 bytes.  0, or -errno with `err` set. */
must_check int thread_start(pthread_t *ret_thread, const char *name, thread_fn fn, void *arg,
                            struct err *err);

/* Joins; the thread must have been started. */
void thread_join(pthread_t thread);

/* Blocks every signal but those of faults, Ctrl-\ and Ctrl-Z in the calling thread and those it starts; call
 * before the first thread. */
void thread_block_signals(void);

/* The calling thread, when it is woken, waits for its turn and does not push others off their processor
 * (SCHED_BATCH): what wakes it, a web server or an upstream on the same machine, goes on and brings more, so
 * each turn has more to do.  Needs no right; where it is refused all stays as it was. */
void thread_wake_gently(void);

/* Number of processors this process may run on, at least 1. */
unsigned thread_cpu_count(void);

void mutex_init(pthread_mutex_t *mutex);
void mutex_lock(pthread_mutex_t *mutex);
void mutex_unlock(pthread_mutex_t *mutex);

static inline void mutex_unlock_scope(pthread_mutex_t **mutex)
{
    mutex_unlock(*mutex);
}

#define LOCK_NAME2(line) lock_of_line_##line
#define LOCK_NAME(line)  LOCK_NAME2(line)
#define LOCK(mutex)                                                                                          \
    cleanup(mutex_unlock_scope) pthread_mutex_t *LOCK_NAME(__LINE__) = (mutex);                              \
    mutex_lock(LOCK_NAME(__LINE__))

/* A condition variable whose timed waits are on CLOCK_MONOTONIC. */
void cond_init(pthread_cond_t *cond);

/* Waits until signalled or until `deadline_ns` (clock_now_ns time; CLOCK_NEVER waits for ever).  May return
 * early: call it in a loop around the predicate.  Returns false when the deadline has passed. */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ns);
