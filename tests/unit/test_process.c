#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/thread.h"

#define PATIENCE_MS 60000
#define MIB         (1 << 20)

static const char *const no_environment[] = {NULL};

/* A shell with that script; its own words are $0 and nothing else. */
struct shell {
    const char *argv[4];
    struct process_options options;
};

static void shell_init(struct shell *shell, const char *script)
{
    *shell = (struct shell){
        .argv = {"/bin/sh", "-c", script, NULL},
        .options = {.program = {.argv = shell->argv, .envp = no_environment},
                    .output_max_bytes = 4 * MIB,
                    .error_max_bytes = 4096,
                    .deadline_ns = clock_deadline_ns(clock_now_ns(), PATIENCE_MS),
                    .wake_fd = -1},
    };
}

static void run(struct shell *shell, struct process_result *ret)
{
    struct err err = {0};

    process_run(&shell->options, ret, &err);
    if (ret->how == PROCESS_NOT_STARTED)
        fail_msg("%s", err.text);
}

static void run_script(const char *script, struct process_result *ret)
{
    struct shell shell;

    shell_init(&shell, script);
    run(&shell, ret);
}

static void assert_text(const struct buf *buf, const char *text)
{
    if (buf->size != strlen(text) || memcmp(buf->size ? buf->data : "", text, buf->size) != 0)
        fail_msg("'%.*s' instead of '%s'", (int)buf->size, buf->size ? buf->data : "", text);
}

static void expect_output(const char *script, const char *text)
{
    cleanup(process_result_done) struct process_result result;

    run_script(script, &result);
    assert_int_equal(result.how, PROCESS_EXITED);
    assert_text(&result.output, text);
}

static bool is_gone(pid_t pid)
{
    char path[32];
    char stat[256] = "";

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    ssize_t got = read(fd, stat, sizeof(stat) - 1);
    close(fd);
    /* Whoever has to reap it may be slow, or not be there in a container. */
    const char *state = got > 0 ? strrchr(stat, ')') : NULL;
    return !state || state[2] == 'Z' || state[2] == 'X';
}

static void wait_until_gone(pid_t pid)
{
    uint64_t deadline_ns = clock_deadline_ns(clock_now_ns(), PATIENCE_MS);

    assert_true(pid > 1);
    while (!is_gone(pid)) {
        assert_true(clock_now_ns() < deadline_ns);
        usleep(1000);
    }
}

/* Of the numbers in the output, one for each process, none is running. */
static void expect_all_gone(struct buf *output, unsigned count)
{
    buf_append(output, "", 1);
    assert_false(output->failed);
    char *at = output->data;
    for (unsigned i = 0; i < count; i++) {
        char *end;
        long pid = strtol(at, &end, 10);
        assert_true(end > at);
        at = end;
        wait_until_gone((pid_t)pid);
    }
}

/* ---- how it ends ---- */

static void exit_status_and_signal_are_told(void **state)
{
    static const struct {
        const char *script;
        enum process_how how;
        int status;
        int signal;
    } cases[] = {
        {"exit 0", PROCESS_EXITED, 0, 0},
        {"exit 3", PROCESS_EXITED, 3, 0},
        {"exit 255", PROCESS_EXITED, 255, 0},
        {"kill -KILL $$", PROCESS_SIGNALLED, -1, SIGKILL},
        {"kill -TERM $$", PROCESS_SIGNALLED, -1, SIGTERM},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup(process_result_done) struct process_result result;
        run_script(cases[i].script, &result);
        assert_int_equal(result.how, cases[i].how);
        assert_int_equal(result.status, cases[i].status);
        assert_int_equal(result.signal, cases[i].signal);
        assert_true(result.elapsed_ns > 0 && result.elapsed_ns < PATIENCE_MS * NS_PER_MS);
    }
}

static void program_that_cannot_be_run_is_told_by_text(void **state)
{
    static const struct {
        const char *program;
        const char *directory;
        int code;
        const char *text;
    } cases[] = {
        {"/no/such", NULL, -ENOENT, "cannot run /no/such: No such file or directory"},
        {"/etc/passwd", NULL, -EACCES, "cannot run /etc/passwd: Permission denied"},
        {"/bin", NULL, -EACCES, "cannot run /bin: Permission denied"},
        {"/bin/sh", "/no/such", -ENOENT, "cannot change to /no/such: No such file or directory"},
        {"sh", NULL, -ENOENT, "cannot run sh: No such file or directory"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct shell shell;
        cleanup(process_result_done) struct process_result result;
        struct err err = {0};
        shell_init(&shell, "exit 0");
        shell.argv[0] = cases[i].program;
        shell.options.program.directory = cases[i].directory;
        process_run(&shell.options, &result, &err);
        assert_int_equal(result.how, PROCESS_NOT_STARTED);
        assert_int_equal(result.status, -1);
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.text, cases[i].text);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left to reap */
    }
}

static void no_descriptors_left_is_an_error(void **state)
{
    int fds[1024];
    size_t count = 0;
    struct rlimit before;
    struct shell shell;
    cleanup(process_result_done) struct process_result result;
    struct err err = {0};

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, before.rlim_max}), 0);
    while (count < ARRAY_LEN(fds) && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    for (size_t spare = 0; spare < 8; spare++) { /* the pipes need 8 */
        shell_init(&shell, "exit 0");
        process_run(&shell.options, &result, &err);
        assert_int_equal(result.how, PROCESS_NOT_STARTED);
        assert_string_equal(err.text, "cannot start a process for /bin/sh: Too many open files");
        close(fds[--count]);
    }
    while (count > 0)
        close(fds[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* ---- what goes in and out ---- */

static void a_mebibyte_goes_in_and_out_at_once(void **state)
{
    struct shell shell;
    cleanup(process_result_done) struct process_result result;
    char *bytes = malloc(MIB);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < MIB; i++)
        bytes[i] = (char)(i * 2654435761U >> 13);
    shell_init(&shell, "exec cat");
    shell.options.input = bytes;
    shell.options.input_size = MIB;
    shell.options.output_max_bytes = MIB;
    run(&shell, &result);
    assert_int_equal(result.how, PROCESS_EXITED);
    assert_int_equal(result.output.size, MIB);
    assert_memory_equal(result.output.data, bytes, MIB);
    assert_int_equal(result.errors.size, 0);
    free(bytes);
}

static void input_that_is_not_read_is_no_error(void **state)
{
    static char bytes[MIB];
    static const char *const scripts[] = {"exit 0", "exec <&-; echo closed >&2; exit 0",
                                          "head -c 10 >/dev/null"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct shell shell;
        cleanup(process_result_done) struct process_result result;
        shell_init(&shell, scripts[i]);
        shell.options.input = bytes;
        shell.options.input_size = sizeof(bytes);
        run(&shell, &result);
        assert_int_equal(result.how, PROCESS_EXITED);
        assert_int_equal(result.status, 0);
    }
}

static void no_input_is_the_end_of_input(void **state)
{
    (void)state;
    expect_output("cat; echo end", "end\n");
}

static void too_much_output_stops_the_program(void **state)
{
    static const char *const scripts[] = {"while :; do echo 0123456789; done", "echo 0123456789"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct shell shell;
        cleanup(process_result_done) struct process_result result;
        shell_init(&shell, scripts[i]);
        shell.options.output_max_bytes = 5;
        run(&shell, &result);
        assert_int_equal(result.how, PROCESS_TOO_LARGE);
        assert_text(&result.output, "01234");
    }
}

static void output_of_just_the_maximum_is_kept(void **state)
{
    struct shell shell;
    cleanup(process_result_done) struct process_result result;

    (void)state;
    shell_init(&shell, "printf 01234");
    shell.options.output_max_bytes = 5;
    run(&shell, &result);
    assert_int_equal(result.how, PROCESS_EXITED);
    assert_text(&result.output, "01234");
}

static void the_end_of_errors_is_kept(void **state)
{
    static const struct {
        const char *script;
        size_t max_bytes;
        size_t max_lines;
        const char *text;
    } cases[] = {
        {"echo one >&2; echo two >&2", 100, 0, "one\ntwo\n"},
        {"echo one >&2; echo two >&2; echo three >&2", 100, 2, "two\nthree\n"},
        {"echo one >&2; echo two >&2; printf three >&2", 100, 2, "two\nthree"},
        {"echo one >&2; echo two >&2; echo three >&2", 100, 3, "one\ntwo\nthree\n"},
        {"echo one >&2; echo two >&2; echo three >&2", 14, 0, "one\ntwo\nthree\n"},
        {"echo one >&2; echo two >&2; echo three >&2", 9, 0, "three\n"},
        {"printf 0123456789 >&2", 4, 0, "6789"},
        {"echo 0123456789 >&2", 4, 1, "789\n"},
        {"echo one >&2", 0, 0, ""},
        {"i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2", 100, 2,
         "line 19998\nline 19999\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct shell shell;
        cleanup(process_result_done) struct process_result result;
        shell_init(&shell, cases[i].script);
        shell.options.error_max_bytes = cases[i].max_bytes;
        shell.options.error_lines_max = cases[i].max_lines;
        run(&shell, &result);
        assert_int_equal(result.how, PROCESS_EXITED);
        assert_text(&result.errors, cases[i].text);
    }
}

struct told {
    unsigned count;
    double last;
};

static void on_progress(void *arg, double progress)
{
    struct told *told = arg;

    told->count++;
    told->last = progress;
}

static void progress_is_told(void **state)
{
    static const struct {
        const char *script;
        unsigned count; /* 0: nothing is told */
        double last;
    } cases[] = {
        {"echo progress 0.4 >&3", 1, 0.4},
        {"echo progress 0 >&3", 1, 0},
        {"echo progress 1.000 >&3", 1, 1},
        {"echo progress 0.1 >&3; echo hello >&3; echo progress 0.25 >&3; echo progress 7 >&3", 1, 0.25},
        {"echo progress 1.01 >&3; echo progress -1 >&3; echo progress >&3; echo progress .5 >&3", 0, 0},
        {"echo progress 0. >&3; echo progress 0.5x >&3; echo 'progress  0.5' >&3; echo PROGRESS 1 >&3", 0, 0},
        {"echo progress 0.00000000000000000000000000000000001 >&3", 0, 0}, /* too long */
        {"printf 'progress 0.5' >&3", 0, 0},                               /* no line */
        {"printf 'progr' >&3; printf 'ess 0.5\n' >&3", 1, 0.5},
        {"head -c 100000 /dev/zero >&3; echo >&3; echo progress 0.5 >&3", 1, 0.5},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct shell shell;
        struct told told = {0};
        cleanup(process_result_done) struct process_result result;
        shell_init(&shell, cases[i].script);
        shell.options.progress = on_progress;
        shell.options.progress_arg = &told;
        run(&shell, &result);
        assert_int_equal(result.how, PROCESS_EXITED);
        if ((told.count > 0) != (cases[i].count > 0) || told.last < cases[i].last - 1e-9 ||
            told.last > cases[i].last + 1e-9)
            fail_msg("%s: told %u times, last %g", cases[i].script, told.count, told.last);
    }
    expect_output("echo progress 0.4 >&3; echo nobody listens", "nobody listens\n");
}

/* ---- what it inherits ---- */

static void it_has_no_descriptors_of_ours(void **state)
{
    int fds[20];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        assert_true((fds[i] = open("/dev/null", O_RDONLY)) >= 0); /* on purpose without O_CLOEXEC */
    /* The shell opens the folder as one more. */
    expect_output("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done", "0\n1\n2\n3\n");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

/* Then the pipes have the numbers 0 to 3 themselves. */
static void it_works_without_standard_descriptors(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct shell shell;
        struct process_result result;
        for (int fd = 0; fd <= 3; fd++)
            close(fd);
        shell_init(&shell, "cat; echo err >&2; echo progress 0.5 >&3");
        shell.options.input = "in";
        shell.options.input_size = 2;
        process_run(&shell.options, &result, NULL);
        _exit(result.how == PROCESS_EXITED && result.status == 0 && result.output.size == 2 &&
                      memcmp(result.output.data, "in", 2) == 0 && result.errors.size == 4
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void environment_and_directory_are_as_given(void **state)
{
    static const char *const envp[] = {"ONE=1", "TWO=two words", NULL};
    struct shell shell;
    cleanup(process_result_done) struct process_result result;

    (void)state;
    assert_int_equal(setenv("HEDDLE_SECRET", "x", 1), 0);
    shell_init(&shell, "tr '\\0' '\\n' </proc/$$/environ; pwd");
    shell.options.program.envp = envp;
    shell.options.program.directory = "/usr";
    run(&shell, &result);
    assert_text(&result.output, "ONE=1\nTWO=two words\n/usr\n");
}

static void signals_are_default_and_not_blocked(void **state)
{
    sigset_t all;
    sigset_t before;

    (void)state;
    sigfillset(&all);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
    signal(SIGUSR1, SIG_IGN);
    /* Of grep itself; handlers do not survive exec in any case. */
    expect_output("exec grep -E '^Sig(Blk|Ign)' /proc/self/status",
                  "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    signal(SIGUSR1, SIG_DFL);
    sigset_t now;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, &now), 0);
    assert_int_equal(sigismember(&now, SIGUSR2), 1); /* ours is as it was */
}

static void it_leads_a_session_of_its_own(void **state)
{
    (void)state;
    expect_output("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && echo leader", "leader\n");
}

static void limits_are_set(void **state)
{
    struct shell shell;
    cleanup(process_result_done) struct process_result result;
    cleanup(process_result_done) struct process_result slow;
    cleanup(process_result_done) struct process_result large;

    (void)state;
    shell_init(&shell, "ulimit -t; ulimit -v; ulimit -n; ulimit -f; ulimit -c");
    shell.options.program.limits = (struct spawn_limits){7, 512 * MIB, 32, 8192};
    run(&shell, &result);
    assert_text(&result.output, "7\n524288\n32\n16\n0\n");

    shell_init(&shell, "while :; do :; done");
    shell.options.program.limits.cpu_seconds = 1;
    run(&shell, &slow);
    assert_int_equal(slow.how, PROCESS_SIGNALLED);
    assert_int_equal(slow.signal, SIGXCPU);

    shell_init(&shell, "f=$(mktemp) && { exec 4>$f; rm $f; exec head -c 100000 /dev/zero >&4; }");
    shell.options.program.limits.file_bytes = 4096;
    run(&shell, &large);
    assert_int_equal(large.how, PROCESS_SIGNALLED);
    assert_int_equal(large.signal, SIGXFSZ);
}

/* ---- stopping ---- */

static void deadline_ends_it(void **state)
{
    struct shell shell;
    cleanup(process_result_done) struct process_result result;

    (void)state;
    shell_init(&shell, "echo begun; exec sleep 100");
    shell.options.deadline_ns = clock_deadline_ns(clock_now_ns(), 200);
    run(&shell, &result);
    assert_int_equal(result.how, PROCESS_TIMED_OUT);
    assert_int_equal(result.signal, SIGTERM);
    assert_true(result.elapsed_ns < 30 * NS_PER_SEC);
}

/* A deadline that came before the program was ready is tried again with more time. */
static void who_ignores_sigterm_is_killed_with_its_children(void **state)
{
    (void)state;
    for (uint64_t ms = 300;; ms *= 2) {
        struct shell shell;
        cleanup(process_result_done) struct process_result result;
        shell_init(&shell, "trap '' TERM; sleep 1000 & echo $!; (while :; do sleep 1; done) & echo $!;"
                           "echo $$; while :; do sleep 1; done");
        shell.options.deadline_ns = clock_deadline_ns(clock_now_ns(), ms);
        shell.options.kill_after_ms = 200;
        run(&shell, &result);
        assert_int_equal(result.how, PROCESS_TIMED_OUT);
        if (result.signal == SIGTERM && ms < PATIENCE_MS)
            continue;
        assert_int_equal(result.signal, SIGKILL);
        assert_true(result.elapsed_ns >= (ms + 200) * NS_PER_MS);
        expect_all_gone(&result.output, 3);
        return;
    }
}

static void stopped_program_dies_as_well(void **state)
{
    struct shell shell;
    cleanup(process_result_done) struct process_result result;

    (void)state;
    shell_init(&shell, "kill -STOP $$");
    shell.options.deadline_ns = clock_deadline_ns(clock_now_ns(), 100);
    shell.options.kill_after_ms = PATIENCE_MS;
    run(&shell, &result);
    assert_int_equal(result.how, PROCESS_TIMED_OUT);
    assert_int_equal(result.signal, SIGTERM);
}

struct cancel {
    int wake_fd;
    uint64_t cancelled_ns;
};

static void on_begun(void *arg, double progress)
{
    struct cancel *cancel = arg;

    (void)progress;
    cancel->cancelled_ns = clock_now_ns();
    assert_int_equal(eventfd_write(cancel->wake_fd, 1), 0);
}

/* Runs a script that is cancelled as soon as it says `progress`; returns how long it took to end then. */
static uint64_t run_cancelled(const char *script, uint64_t kill_after_ms, struct process_result *ret)
{
    struct shell shell;
    struct cancel cancel = {.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    eventfd_t value;

    assert_true(cancel.wake_fd >= 0);
    shell_init(&shell, script);
    shell.options.wake_fd = cancel.wake_fd;
    shell.options.kill_after_ms = kill_after_ms;
    shell.options.progress = on_begun;
    shell.options.progress_arg = &cancel;
    run(&shell, ret);
    uint64_t took_ns = clock_now_ns() - cancel.cancelled_ns;
    assert_int_equal(ret->how, PROCESS_CANCELLED);
    assert_int_equal(eventfd_read(cancel.wake_fd, &value), 0); /* it is the caller's to read */
    close(cancel.wake_fd);
    return took_ns;
}

/* The machine may be busy: one time of many has to be quick. */
static void cancel_ends_it_at_once(void **state)
{
    uint64_t took_ns = UINT64_MAX;

    (void)state;
    for (unsigned i = 0; i < 20 && took_ns >= 100 * NS_PER_MS; i++) {
        cleanup(process_result_done) struct process_result result;
        took_ns = run_cancelled("sleep 1000 & echo $!; echo progress 0 >&3; wait", PATIENCE_MS, &result);
        assert_int_equal(result.signal, SIGTERM);
        expect_all_gone(&result.output, 1);
    }
    assert_true(took_ns < 100 * NS_PER_MS);
}

static void who_handles_sigterm_may_still_write(void **state)
{
    cleanup(process_result_done) struct process_result result;

    (void)state;
    run_cancelled("trap 'echo tidy; exit 5' TERM; echo progress 0 >&3; while :; do sleep 0.01; done",
                  PATIENCE_MS, &result);
    assert_int_equal(result.status, 5);
    assert_text(&result.output, "tidy\n");
}

static void cancel_from_before_counts(void **state)
{
    struct shell shell;
    cleanup(process_result_done) struct process_result result;

    (void)state;
    shell_init(&shell, "exec sleep 1000");
    shell.options.wake_fd = eventfd(1, EFD_CLOEXEC);
    run(&shell, &result);
    assert_int_equal(result.how, PROCESS_CANCELLED);
    close(shell.options.wake_fd);
}

/* ---- its children ---- */

static void children_in_the_background_do_not_hold_it_up(void **state)
{
    cleanup(process_result_done) struct process_result result;

    (void)state;
    run_script("sleep 1000 & echo $!; (sleep 1000 & echo $!; sleep 1000) & echo $!; sleep 0.1; exit 4",
               &result);
    assert_int_equal(result.how, PROCESS_EXITED);
    assert_int_equal(result.status, 4);
    assert_true(result.elapsed_ns < 30 * NS_PER_SEC);
    expect_all_gone(&result.output, 3);
}

static void who_leaves_the_group_does_not_hold_it_up(void **state)
{
    cleanup(process_result_done) struct process_result result;

    (void)state;
    run_script("setsid sh -c 'echo $$; echo progress 1 >&3; yes' & read line; sleep 0.2; exit 0", &result);
    assert_true(result.how == PROCESS_EXITED || result.how == PROCESS_TOO_LARGE);
    buf_append(&result.output, "", 1);
    /* It finds the pipe closed. */
    if (result.output.size > 1)
        wait_until_gone((pid_t)strtol(result.output.data, NULL, 10));
}

static void it_dies_with_us(void **state)
{
    int ends[2];
    char text[32] = "";

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct shell shell;
        struct process_result result;
        char script[64];
        snprintf(script, sizeof(script), "echo $$ >/proc/%d/fd/%d; exec sleep 1000", (int)getppid(), ends[1]);
        shell_init(&shell, script);
        process_run(&shell.options, &result, NULL);
        _exit(1);
    }
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    pid_t child = (pid_t)strtol(text, NULL, 10);
    assert_false(is_gone(child));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    wait_until_gone(child);
    close(ends[0]);
    close(ends[1]);
}

/* ---- threads ---- */

static void *run_many(void *arg)
{
    atomic_uint *good = arg;

    for (unsigned i = 0; i < 25; i++) {
        struct shell shell;
        struct process_result result;
        shell_init(&shell, "cat; for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done");
        shell.options.input = "ab";
        shell.options.input_size = 2;
        process_run(&shell.options, &result, NULL);
        if (result.how == PROCESS_EXITED && result.output.size == 10 &&
            memcmp(result.output.data, "ab0\n1\n2\n3\n", 10) == 0)
            atomic_fetch_add(good, 1);
        process_result_done(&result);
    }
    return NULL;
}

static unsigned count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void threads_run_programs_at_once(void **state)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    atomic_uint good = 0;
    unsigned before = count_descriptors();

    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "test", run_many, &good, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    assert_int_equal(good, THREADS * 25);
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_status_and_signal_are_told),
        cmocka_unit_test(program_that_cannot_be_run_is_told_by_text),
        cmocka_unit_test(no_descriptors_left_is_an_error),
        cmocka_unit_test(a_mebibyte_goes_in_and_out_at_once),
        cmocka_unit_test(input_that_is_not_read_is_no_error),
        cmocka_unit_test(no_input_is_the_end_of_input),
        cmocka_unit_test(too_much_output_stops_the_program),
        cmocka_unit_test(output_of_just_the_maximum_is_kept),
        cmocka_unit_test(the_end_of_errors_is_kept),
        cmocka_unit_test(progress_is_told),
        cmocka_unit_test(it_has_no_descriptors_of_ours),
        cmocka_unit_test(it_works_without_standard_descriptors),
        cmocka_unit_test(environment_and_directory_are_as_given),
        cmocka_unit_test(signals_are_default_and_not_blocked),
        cmocka_unit_test(it_leads_a_session_of_its_own),
        cmocka_unit_test(limits_are_set),
        cmocka_unit_test(deadline_ends_it),
        cmocka_unit_test(who_ignores_sigterm_is_killed_with_its_children),
        cmocka_unit_test(who_handles_sigterm_may_still_write),
        cmocka_unit_test(stopped_program_dies_as_well),
        cmocka_unit_test(cancel_ends_it_at_once),
        cmocka_unit_test(cancel_from_before_counts),
        cmocka_unit_test(children_in_the_background_do_not_hold_it_up),
        cmocka_unit_test(who_leaves_the_group_does_not_hold_it_up),
        cmocka_unit_test(it_dies_with_us),
        cmocka_unit_test(threads_run_programs_at_once),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
