#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/args.h"
#include "cli/commands.h"
#include "config/config.h"

const char cli_tasks_usage[] =
    "       heddle tasks [-c FILE] COMMAND      look at tasks and change them; FILE: conf/heddle.yaml\n"
    "           list [--state S] [--kind K] [--queue Q] [--tag T] [--limit N] [--json]\n"
    "           show ID [--json]\n"
    "           cancel ID... [--json]\n"
    "           retry ID... [--json]\n"
    "           purge --state succeeded|dead|cancelled [--older-than 7d] [--json]\n"
    "           export [--state S] [--kind K] [--queue Q] [--tag T]\n"
    "           stats [--json]\n"
    "         exit 0: done, 1: something refused, 2: wrong arguments, 3: no server and no store\n";

/* Whoever reads our output may have enough of it: that is no failure. */
static bool is_reader_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

static int end_output(void)
{
    bool is_written = fflush(stdout) == 0 && !ferror(stdout);

    return is_written || is_reader_gone() ? 0 : -1;
}

static int say_unreachable(const struct err *err)
{
    fprintf(stderr, "heddle: %s\n", err->text);
    return CLI_UNREACHABLE;
}

static int run(const struct cli_args *args, const struct config *config)
{
    struct source source = {0};
    struct err err = {0};

    if (source_open(config, &source, &err) != 0)
        return say_unreachable(&err);
    int rc = command_run(args, &source, &err);
    source_close(&source);
    if (end_output() != 0) {
        fprintf(stderr, "heddle: the output cannot be written\n");
        return CLI_REFUSED;
    }
    if (rc == 0 || rc == -ECANCELED)
        return rc == 0 ? CLI_DONE : CLI_REFUSED;
    return say_unreachable(&err);
}

int cli_tasks(int argc, char **argv)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    cleanup(config_free_scope) struct config *config = NULL;
    struct cli_args args;
    struct err err;

    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    if (cli_args_parse(argc, argv, &args, &err) != 0) {
        fprintf(stderr, "heddle: %s\nusage:\n%s", err.text, cli_tasks_usage);
        return CLI_USAGE;
    }
    if (config_load(args.config_path, &config, &errors) != 0) {
        fwrite(errors.text.data, 1, errors.text.size, stderr);
        return CLI_USAGE;
    }
    return run(&args, config);
}
