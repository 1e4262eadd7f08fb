/* commands.h - what the commands of `heddle tasks` do, with whichever source of tasks there is.
 *
 * Results go to standard output, each refusal to standard error.
 * Threads: one.  Memory is bounded by one page of summaries and one task. */
#pragma once

#include "base/err.h"
#include "cli/args.h"
#include "cli/source.h"

/* Returns 0 when all has been done, -ECANCELED when something was refused, which has been said, or another
 * negative errno value with `err` set: the source has failed. */
must_check int command_run(const struct cli_args *args, const struct source *source, struct err *err);
