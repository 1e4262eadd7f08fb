/* process.h - runs a child program to its end, in the calling thread.
 *
 * How to use it: fill process_options, process_run, look at `how`, process_result_done.
 * Threads: any, several at a time; the call blocks until the program has ended.
 * SIGPIPE must be ignored or blocked in the calling thread, SIGCHLD must not be ignored in the process.
 * Ownership: options are lent for the call; the result is the caller's.
 *
 * The program has a session and process group of its own.  When it has ended, of itself or not, the rest of
 * its group is killed, and what still lies in the pipes is read; nobody waits for descendants that hold
 * them open.  A descendant that leaves the group (setsid) escapes.  When this process is killed the program
 * is killed by the kernel, but not its descendants, which find their pipes closed; nor a program that
 * changes its user (setuid). */
#pragma once

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "base/spawn.h"

#define PROCESS_KILL_AFTER_MS 2000

typedef void (*process_progress_fn)(void *arg, double progress);

struct process_options {
    struct spawn_options program;
    const void *input; /* what it reads from standard input; it need not read all of it */
    size_t input_size;
    size_t output_max_bytes; /* of standard output; the program is stopped when it writes more */
    size_t error_max_bytes;  /* of standard error the last bytes and lines are kept */
    size_t error_lines_max;  /* 0: any number */
    uint64_t deadline_ns;    /* clock_now_ns time, when it is stopped; CLOCK_NEVER */
    int wake_fd;             /* the program is stopped when this is readable, which it stays; -1 for none */
    /* To stop is to send SIGTERM to the group and, so much later, SIGKILL; 0 for PROCESS_KILL_AFTER_MS. */
    uint64_t kill_after_ms;
    /* Called, in the calling thread, for a line `progress 0.4` (0 to 1) on descriptor 3; of several lines
     * that come together only for the last.  May be NULL. */
    process_progress_fn progress;
    void *progress_arg;
};

enum process_how {
    PROCESS_EXITED,
    PROCESS_SIGNALLED, /* killed by a signal that did not come from here */
    PROCESS_TIMED_OUT,
    PROCESS_CANCELLED, /* by wake_fd */
    PROCESS_TOO_LARGE, /* more output than output_max_bytes, which is what `output` holds then */
    PROCESS_NO_MEMORY, /* for its output; it was stopped */
    PROCESS_NOT_STARTED,
    PROCESS_HOW_COUNT,
};

struct process_result {
    enum process_how how;
    int status;        /* its exit status; -1 when it was killed or not started */
    int signal;        /* that killed it; 0 otherwise */
    struct buf output; /* any bytes */
    struct buf errors; /* any bytes, whole lines where it was cut; empty also when memory is short */
    uint64_t elapsed_ns;
};

/* Runs it.  `ret` is filled in any case; `err` has a code and a text when it could not be started. */
void process_run(const struct process_options *options, struct process_result *ret, struct err *err);

void process_result_done(struct process_result *result);
