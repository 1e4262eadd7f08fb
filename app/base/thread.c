#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"

int thread_start(pthread_t *ret_thread, const char *name, thread_fn fn, void *arg, struct err *err)
{
    pthread_t thread;
    char short_name[16];

    int rc = pthread_create(&thread, NULL, fn, arg);
    if (rc != 0)
        return err_set_errno(err, rc, "cannot start thread %s", name);
    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(thread, short_name);
    *ret_thread = thread;
    return 0;
}

void thread_join(pthread_t thread)
{
    int rc = pthread_join(thread, NULL);
    assert(rc == 0);
    (void)rc;
}

void thread_block_signals(void)
{
    static const int others[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGQUIT, SIGTSTP};
    sigset_t all;

    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        sigdelset(&all, others[i]);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

void thread_wake_gently(void)
{
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
}

unsigned thread_cpu_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

void mutex_init(pthread_mutex_t *mutex)
{
    int rc = pthread_mutex_init(mutex, NULL);
    assert(rc == 0);
    (void)rc;
}

void mutex_lock(pthread_mutex_t *mutex)
{
    int rc = pthread_mutex_lock(mutex);
    assert(rc == 0);
    (void)rc;
}

void mutex_unlock(pthread_mutex_t *mutex)
{
    int rc = pthread_mutex_unlock(mutex);
    assert(rc == 0);
    (void)rc;
}

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(cond, &attr);
    assert(rc == 0);
    (void)rc;
    pthread_condattr_destroy(&attr);
}

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ns)
{
    if (deadline_ns == CLOCK_NEVER) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
    struct timespec ts = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_SEC),
        .tv_nsec = (long)(deadline_ns % NS_PER_SEC),
    };
    return pthread_cond_timedwait(cond, mutex, &ts) != ETIMEDOUT;
}
