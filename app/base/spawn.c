#include "base/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* fork would copy the page tables of a process that may be large, and posix_spawn can set no limits, no
 * signal for the death of the parent, and gives no pidfd.  So this is what posix_spawn does inside: the
 * child borrows our memory, on a stack of its own, and the calling thread stands still until it has called
 * exec or ended.  Other threads go on.  Therefore the child only makes system calls, without the C library,
 * whose locks may be held and whose wrappers the sanitizers replace; all that needs memory or thought is
 * prepared before; and no signal is let through until it has no handler of ours any more. */

#define CHILD_STACK_SIZE 16384
#define FIRST_OTHER_FD   SPAWN_PIPE_COUNT
#define SIGNAL_COUNT     64 /* of the kernel; a set of them has 8 bytes */
#define SIGNAL_SET_SIZE  8

/* clone by the C library's other name: ThreadSanitizer replaces the first one, for children with a memory of
 * their own, and would take ours for that. */
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

/* Functions that run in the child. */
#define in_child __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize("undefined")))

static const bool pipe_is_input[SPAWN_PIPE_COUNT] = {[SPAWN_INPUT] = true};

static const int limited[] = {RLIMIT_CPU, RLIMIT_AS, RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE};

enum step { STEP_SESSION, STEP_DESCRIPTORS, STEP_LIMITS, STEP_SIGNALS, STEP_DIRECTORY, STEP_EXEC };

/* What the child needs, and where it says how far it came. */
struct child {
    const struct spawn_options *options;
    pid_t parent;
    int fds[SPAWN_PIPE_COUNT]; /* its ends, all above its own numbers */
    struct rlimit limits[ARRAY_LEN(limited)];
    enum step step;
    int errnum; /* 0 when it runs */
};

/* ---- in the child ---- */

in_child static bool enter_session(const struct child *child)
{
    /* Our death may have come before the wish to be told of it. */
    return syscall(SYS_setsid) >= 0 && syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
           syscall(SYS_getppid) == child->parent;
}

in_child static bool set_descriptors(const struct child *child)
{
    for (int i = 0; i < SPAWN_PIPE_COUNT; i++)
        if (syscall(SYS_dup3, child->fds[i], i, 0) < 0)
            return false;
    return syscall(SYS_close_range, FIRST_OTHER_FD, UINT_MAX, 0) == 0;
}

in_child static bool set_limits(const struct child *child)
{
    for (size_t i = 0; i < ARRAY_LEN(limited); i++)
        if (syscall(SYS_prlimit64, 0, limited[i], &child->limits[i], NULL) != 0)
            return false;
    return true;
}

/* An action that is all zeros is the default one.  SIGKILL and SIGSTOP have no other, the call fails then. */
in_child static bool reset_signals(void)
{
    static const uint64_t none[8];

    for (int signal = 1; signal <= SIGNAL_COUNT; signal++)
        syscall(SYS_rt_sigaction, signal, none, NULL, SIGNAL_SET_SIZE);
    return syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, SIGNAL_SET_SIZE) == 0;
}

in_child static bool take_step(const struct child *child, enum step step)
{
    const struct spawn_options *options = child->options;

    switch (step) {
    case STEP_SESSION:
        return enter_session(child);
    case STEP_DESCRIPTORS:
        return set_descriptors(child);
    case STEP_LIMITS:
        return set_limits(child);
    case STEP_SIGNALS:
        return reset_signals();
    case STEP_DIRECTORY:
        return !options->directory || syscall(SYS_chdir, options->directory) == 0;
    case STEP_EXEC:
        return syscall(SYS_execve, options->argv[0], options->argv, options->envp) == 0;
    }
    return false;
}

in_child static int child_main(void *arg)
{
    struct child *child = arg;

    for (child->step = STEP_SESSION; child->step < STEP_EXEC; child->step++)
        if (!take_step(child, child->step))
            break;
    if (child->step == STEP_EXEC)
        take_step(child, STEP_EXEC);
    child->errnum = errno ? errno : ESRCH; /* after exec nobody is here */
    return 127;
}

/* ---- before and after ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Moves the child's end above the numbers that it will have there, so that none overwrites another. */
static bool move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_OTHER_FD);

    if (moved < 0)
        return false;
    close(*fd);
    *fd = moved;
    return true;
}

static bool make_pipe(bool is_input, int *ret_ours, int *ret_childs)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    *ret_ours = ends[is_input ? 1 : 0];
    *ret_childs = ends[is_input ? 0 : 1];
    return fcntl(*ret_ours, F_SETFL, O_NONBLOCK) == 0 &&
           (*ret_childs >= FIRST_OTHER_FD || move_up(ret_childs));
}

static bool make_pipes(struct spawn *spawn, struct child *child)
{
    for (int i = 0; i < SPAWN_PIPE_COUNT; i++)
        if (!make_pipe(pipe_is_input[i], &spawn->pipes[i], &child->fds[i]))
            return false;
    return true;
}

/* Not above what we have, 0 for that itself.  The processor's hard limit is a second later than the soft one,
 * whose signal has a name that says what happened. */
static struct rlimit limit_of(int resource, uint64_t wanted)
{
    struct rlimit limit;
    rlim_t extra = resource == RLIMIT_CPU ? 1 : 0;

    getrlimit(resource, &limit);
    if (wanted == 0 && resource != RLIMIT_CORE)
        return limit;
    limit.rlim_max = MIN(limit.rlim_max, (rlim_t)wanted + extra);
    limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)wanted);
    return limit;
}

static void plan_limits(const struct spawn_limits *limits, struct rlimit ret[ARRAY_LEN(limited)])
{
    const uint64_t wanted[ARRAY_LEN(limited)] = {limits->cpu_seconds, limits->memory_bytes,
                                                 limits->open_files, limits->file_bytes, 0};

    for (size_t i = 0; i < ARRAY_LEN(limited); i++)
        ret[i] = limit_of(limited[i], wanted[i]);
}

/* 0 or a positive errno value; child->errnum is what went wrong in the child. */
static int start(struct child *child, struct spawn *spawn)
{
    char stack[CHILD_STACK_SIZE] __attribute__((aligned(16)));
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    spawn->pid = __clone(child_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                         child, &spawn->pidfd);
    int errnum = spawn->pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errnum;
}

static int refuse(const struct child *child, struct err *err)
{
    static const char *const steps[] = {
        [STEP_SESSION] = "start a session for",
        [STEP_DESCRIPTORS] = "set the descriptors of",
        [STEP_LIMITS] = "set the limits of",
        [STEP_SIGNALS] = "reset the signals of",
        [STEP_EXEC] = "run",
    };

    if (child->step == STEP_DIRECTORY)
        return err_set_errno(err, child->errnum, "cannot change to %s", child->options->directory);
    return err_set_errno(err, child->errnum, "cannot %s %s", steps[child->step], child->options->argv[0]);
}

int spawn_child(const struct spawn_options *options, struct spawn *ret, struct err *err)
{
    struct child child = {.options = options, .parent = getpid(), .fds = {-1, -1, -1, -1}};
    struct spawn spawn = {.pid = -1, .pidfd = -1, .pipes = {-1, -1, -1, -1}};
    int rc = 0;

    plan_limits(&options->limits, child.limits);
    int errnum = make_pipes(&spawn, &child) ? start(&child, &spawn) : errno;
    for (int i = 0; i < SPAWN_PIPE_COUNT; i++)
        close_fd(&child.fds[i]);
    if (errnum != 0)
        rc = err_set_errno(err, errnum, "cannot start a process for %s", options->argv[0]);
    else if (child.errnum != 0) {
        int status;
        int signal;
        spawn_reap(&spawn, &status, &signal);
        rc = refuse(&child, err);
    }
    if (rc < 0)
        spawn_close(&spawn);
    else
        *ret = spawn;
    return rc;
}

void spawn_kill(const struct spawn *spawn, int signal)
{
    kill(-spawn->pid, signal);
}

void spawn_reap(const struct spawn *spawn, int *ret_status, int *ret_signal)
{
    siginfo_t info;
    int rc;

    do
        rc = waitid(P_PIDFD, (id_t)spawn->pidfd, &info, WEXITED);
    while (rc != 0 && errno == EINTR);
    assert(rc == 0);
    bool has_exited = info.si_code == CLD_EXITED;
    *ret_status = has_exited ? info.si_status : -1;
    *ret_signal = has_exited ? 0 : info.si_status;
}

void spawn_close_pipe(struct spawn *spawn, enum spawn_pipe pipe)
{
    close_fd(&spawn->pipes[pipe]);
}

void spawn_close(struct spawn *spawn)
{
    for (int i = 0; i < SPAWN_PIPE_COUNT; i++)
        close_fd(&spawn->pipes[i]);
    close_fd(&spawn->pidfd);
}
