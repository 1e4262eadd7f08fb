/* args.h - the arguments of `heddle tasks`: which command, and what it is told.
 *
 * Ownership: texts point into argv.  Threads: one. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "cli/source.h"

enum cli_verb {
    CLI_LIST,
    CLI_SHOW,
    CLI_CANCEL,
    CLI_RETRY,
    CLI_PURGE,
    CLI_EXPORT,
    CLI_STATS,
    CLI_VERB_COUNT,
};

struct cli_args {
    enum cli_verb verb;
    const char *config_path;
    struct source_filter filter;
    size_t limit; /* list: 1 to SOURCE_PAGE_MAX */
    uint64_t older_than_ms;
    bool is_json;
    char **ids; /* texts of UUIDs, id_count of them */
    size_t id_count;
};

/* `argv` begins with "tasks"; its texts may be put into another order.  Returns 0, or -EINVAL with what is
 * wrong and what is allowed. */
must_check int cli_args_parse(int argc, char **argv, struct cli_args *ret, struct err *err);
