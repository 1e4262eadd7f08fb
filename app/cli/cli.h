/* cli.h - `heddle tasks`: looks at tasks and changes them, from the command line.
 *
 * The running server is asked where it listens; when none answers there, the store itself is opened, which
 * nobody else can have meanwhile: a server that is started before the command has ended does not start.
 * tasks/upkeep.h says what is done with tasks that a crash has left running.
 * Threads: the main thread of a process that does nothing else; SIGPIPE is ignored from then on. */
#pragma once

#include "base/common.h"

/* What the process ends with. */
enum cli_status {
    CLI_DONE = 0,
    CLI_REFUSED = 1,     /* something was refused, and named on standard error; or could not be printed */
    CLI_USAGE = 2,       /* the command line or the configuration is wrong: nothing was begun */
    CLI_UNREACHABLE = 3, /* neither a server nor the store could be used */
};

/* `argv` begins with "tasks".  Returns an enum cli_status. */
must_check int cli_tasks(int argc, char **argv);

/* The synopsis, for `heddle --help`. */
extern const char cli_tasks_usage[];
