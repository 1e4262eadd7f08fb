#include "tasks/fence.h"

#include <assert.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/thread.h"

#define STACK_SIZE (64 * 1024)

static const struct {
    int signum;
    const char *name;
} caught[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}, {SIGABRT, "SIGABRT"},
};

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction old_actions[ARRAY_LEN(caught)]; /* guarded by install_lock, but for the handler */

struct active_fence {
    sigjmp_buf back;
    struct fence_fault *ret_fault;
};

/* The fence that the thread is behind, NULL outside of any. */
static _Thread_local struct active_fence *active;

/* The thread's signal mask between fence_thread_init and _done. */
static _Thread_local sigset_t own_mask;

static size_t row_of(int signum)
{
    size_t row = 0;

    while (caught[row].signum != signum)
        row++;
    return row;
}

/* By the kernel for what the thread did, or by raise(), which is how abort() does it. */
static bool is_own_doing(const siginfo_t *info)
{
    return info->si_code > 0 || (info->si_code == SI_TKILL && info->si_pid == getpid());
}

/* A signal that is none of the fence's: it comes again, to the action that was there before.  What the kernel
 * sent comes by itself once the faulty instruction is tried again. */
static void step_aside(int signum, const siginfo_t *info)
{
    sigaction(signum, &old_actions[row_of(signum)], NULL);
    if (info->si_code <= 0)
        raise(signum);
}

static void on_signal(int signum, siginfo_t *info, void *context)
{
    struct active_fence *fence = active;

    (void)context;
    if (!fence || !is_own_doing(info)) {
        step_aside(signum, info);
        return;
    }
    active = NULL;
    *fence->ret_fault = (struct fence_fault){.signum = signum, .name = caught[row_of(signum)].name};
    if (info->si_code > 0)
        fence->ret_fault->address = (uintptr_t)info->si_addr;
    siglongjmp(fence->back, 1);
}

/* Done for each thread, in case that somebody else has set a handler meanwhile. */
static void install_handlers(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    LOCK(&install_lock);
    for (size_t i = 0; i < ARRAY_LEN(caught); i++) {
        struct sigaction current;
        sigaction(caught[i].signum, NULL, &current);
        if (current.sa_sigaction == on_signal)
            continue;
        old_actions[i] = current;
        sigaction(caught[i].signum, &action, NULL);
    }
}

void fence_thread_init(struct fence_thread *fence)
{
    sigset_t signals;

    install_handlers();
    fence->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fence->stack != MAP_FAILED) {
        stack_t stack = {.ss_sp = fence->stack, .ss_size = STACK_SIZE};
        sigaltstack(&stack, &fence->old_stack);
    }

    /* A blocked fault would kill the process without asking the handler. */
    sigemptyset(&signals);
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        sigaddset(&signals, caught[i].signum);
    pthread_sigmask(SIG_UNBLOCK, &signals, &fence->old_mask);
    pthread_sigmask(SIG_BLOCK, NULL, &own_mask);
}

void fence_thread_done(struct fence_thread *fence)
{
    pthread_sigmask(SIG_SETMASK, &fence->old_mask, NULL);
    if (fence->stack == MAP_FAILED)
        return;
    sigaltstack(&fence->old_stack, NULL);
    munmap(fence->stack, STACK_SIZE);
}

/* ---- threads that keep it ---- */

static pthread_once_t keep_once = PTHREAD_ONCE_INIT;
static pthread_key_t keep_key; /* its destructor is called at the end of each thread that has a value */
static bool has_key;

static void undo_kept(void *fence)
{
    fence_thread_done(fence);
}

static void make_key(void)
{
    has_key = pthread_key_create(&keep_key, undo_kept) == 0;
}

void fence_thread_keep(void)
{
    static _Thread_local struct fence_thread kept;
    static _Thread_local bool is_kept;

    if (is_kept)
        return;
    is_kept = true;
    pthread_once(&keep_once, make_key);
    fence_thread_init(&kept);
    if (has_key)
        pthread_setspecific(keep_key, &kept);
}

/* ---- the fence ---- */

bool fence_call(void (*fn)(void *arg), void *arg, struct fence_fault *ret)
{
    struct active_fence fence;

    assert(!active);
    fence.ret_fault = ret;
    /* The mask is not saved here, which would be a system call for each call: it is always the same. */
    if (sigsetjmp(fence.back, 0) != 0) {
        pthread_sigmask(SIG_SETMASK, &own_mask, NULL);
        return false;
    }
    active = &fence;
    fn(arg);
    active = NULL;
    return true;
}
