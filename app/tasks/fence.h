/* fence.h - keeps a crash in somebody's code to the task that ran it.
 *
 * How to use it: a thread calls fence_thread_init, then fence_call around each call of code that is not to be
 * trusted, then fence_thread_done.
 * What is caught: SIGSEGV, SIGBUS, SIGFPE and SIGILL that the code brings upon itself, running out of stack,
 * and abort() (so a failed assert as well), in the calling thread, while fn runs.  The rest of fn is skipped.
 * What is not: the same signals anywhere else or sent by another process keep the action they had before (a
 * core dump, as a rule); _exit, deadlocks and endless loops.
 * What nobody can promise: fn stops where it stood.  Memory it had allocated leaks, a lock it held stays
 * locked, what it was changing stays half changed.  If it had written over memory that is not its own, or
 * crashed inside malloc, the process may crash or hang later.  So a fault is a bug to mend, not a way to
 * report errors; what the fence buys is that other people's tasks are finished meanwhile.
 * Threads: any; a fence belongs to the thread that made it. */
#pragma once

#include <signal.h>

#include "base/common.h"

struct fence_thread {
    void *stack; /* where the handler runs, since the thread's own stack may be what ran out */
    stack_t old_stack;
    sigset_t old_mask;
};

struct fence_fault {
    int signum;
    const char *name;  /* "SIGSEGV" */
    uintptr_t address; /* what was touched, or where it happened; 0 for SIGABRT */
};

/* Prepares the calling thread, which keeps its signal mask from here on: unblocks the signals above and gives
 * them a stack (without memory for that, running out of stack is not caught).  Installs the handlers, which
 * stay. */
void fence_thread_init(struct fence_thread *fence);

/* Puts the thread's signal stack and mask back. */
void fence_thread_done(struct fence_thread *fence);

/* The same once and for as long as the calling thread lives, for threads that are not the owner's to end:
 * about 25 us the first time, nothing after that. */
void fence_thread_keep(void);

/* Calls fn(arg).  True when it returned; false, with `ret` set, when it was stopped by a fault.  Does not
 * nest.  Costs some 10 ns. */
must_check bool fence_call(void (*fn)(void *arg), void *arg, struct fence_fault *ret);
