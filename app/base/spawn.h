/* spawn.h - starts a child program, with four pipes and nothing else of ours.
 *
 * How to use it: spawn_child, then the pipes and the pidfd (readable when the child has ended), spawn_kill,
 * spawn_reap, spawn_close.  process.h does all of it; nobody else should need this header.
 * Threads: any, several at a time.  The thread that starts a child must live until it has reaped it: the
 * kernel kills the child when that thread ends (PR_SET_PDEATHSIG), and so also when this process is killed.
 * SIGCHLD must not be ignored in this process.
 * Ownership: options are lent for the call; the child, until spawn_close, is the caller's. */
#pragma once

#include <sys/types.h>

#include "base/common.h"
#include "base/err.h"

/* 0 means the limit that this process has itself.  None is raised above that. */
struct spawn_limits {
    uint64_t cpu_seconds;  /* of each process: SIGXCPU, a second later SIGKILL */
    uint64_t memory_bytes; /* address space of each process */
    uint64_t open_files;   /* of each process */
    uint64_t file_bytes;   /* size of a file that is written */
};

struct spawn_options {
    const char *const
        *argv; /* argv[0] is the path of the program; PATH is not searched.  NULL behind the last */
    const char *const *envp; /* the whole environment; NULL behind the last */
    const char *directory;   /* where it runs; NULL: where we are */
    struct spawn_limits limits;
};

/* The child's descriptors 0 to 3, and our ends of the pipes. */
enum spawn_pipe { SPAWN_INPUT, SPAWN_OUTPUT, SPAWN_ERRORS, SPAWN_PROGRESS, SPAWN_PIPE_COUNT };

struct spawn {
    pid_t pid;
    int pidfd;
    int pipes[SPAWN_PIPE_COUNT]; /* our ends, not blocking; -1 when closed */
};

/* Starts the program as the leader of a session and process group of its own, with default signals, none
 * blocked, without core files, and no descriptor but 0 to 3.  Returns when it runs, or a negative errno value
 * with a text such as
 *     cannot run /opt/x: No such file or directory */
must_check int spawn_child(const struct spawn_options *options, struct spawn *ret, struct err *err);

/* Sends a signal to the child's process group; not after spawn_reap. */
void spawn_kill(const struct spawn *spawn, int signal);

/* Waits for the end of the child.  *ret_status is its exit status, or -1 and *ret_signal what killed it. */
void spawn_reap(const struct spawn *spawn, int *ret_status, int *ret_signal);

void spawn_close_pipe(struct spawn *spawn, enum spawn_pipe pipe);

/* Closes the pipes and the pidfd. */
void spawn_close(struct spawn *spawn);
