#include "cli/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "tasks/state.h"
#include "tasks/task.h"

#define DAY_MS         (UINT64_C(24) * 3600 * 1000)
#define OLDER_MAX_DAYS 36500
#define LIMIT_DEFAULT  50

enum { CONFIG = 'c', STATE = 's', KIND = 'k', QUEUE = 'q', TAG = 't', LIMIT = 'l', OLDER = 'o', JSON = 'j' };

#define FILTERS "skqt"

static const struct option options[] = {
    {"config", required_argument, NULL, CONFIG},
    {"state", required_argument, NULL, STATE},
    {"kind", required_argument, NULL, KIND},
    {"queue", required_argument, NULL, QUEUE},
    {"tag", required_argument, NULL, TAG},
    {"limit", required_argument, NULL, LIMIT},
    {"older-than", required_argument, NULL, OLDER},
    {"json", no_argument, NULL, JSON},
    {NULL, 0, NULL, 0},
};

static const struct {
    const char *name;
    const char *options; /* that it takes, besides -c */
    size_t ids_min;
    size_t ids_max;
} verbs[CLI_VERB_COUNT] = {
    [CLI_LIST] = {"list", FILTERS "lj", 0, 0},   [CLI_SHOW] = {"show", "j", 1, 1},
    [CLI_CANCEL] = {"cancel", "j", 1, SIZE_MAX}, [CLI_RETRY] = {"retry", "j", 1, SIZE_MAX},
    [CLI_PURGE] = {"purge", "soj", 0, 0},        [CLI_EXPORT] = {"export", FILTERS, 0, 0},
    [CLI_STATS] = {"stats", "j", 0, 0},
};

/* ---- values ---- */

static int read_state(const char *value, struct cli_args *args, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    args->filter.state = value;
    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        if (strcmp(task_state_names[i], value) == 0)
            return 0;
    return err_set(err, -EINVAL,
                   "--state %s is none: write scheduled, queued, running, succeeded, dead or cancelled",
                   parse_quote(value, strlen(value), quoted));
}

static int read_name(const char *option, const char *value, const char **ret, struct err *err)
{
    size_t size = strlen(value);

    *ret = value;
    if (size > 0 && size <= TASK_NAME_MAX_BYTES)
        return 0;
    return err_set(err, -EINVAL, "--%s takes 1 to %d bytes", option, TASK_NAME_MAX_BYTES);
}

static int read_limit(const char *value, struct cli_args *args, struct err *err)
{
    uint64_t limit;
    struct err why;

    if (parse_number(PARSE_UINT, value, 1, SOURCE_PAGE_MAX, &limit, &why) != 0)
        return err_set(err, -EINVAL, "--limit %s", why.text);
    args->limit = (size_t)limit;
    return 0;
}

/* A duration, or days: 7d. */
static int read_older_than(const char *value, struct cli_args *args, struct err *err)
{
    char days[16];
    size_t size = strlen(value);
    struct err why;
    int rc;

    if (size > 1 && size < sizeof(days) && value[size - 1] == 'd') {
        memcpy(days, value, size - 1);
        days[size - 1] = '\0';
        rc = parse_number(PARSE_UINT, days, 0, OLDER_MAX_DAYS, &args->older_than_ms, &why);
        args->older_than_ms *= DAY_MS;
    } else {
        rc = parse_number(PARSE_DURATION, value, 0, OLDER_MAX_DAYS * DAY_MS, &args->older_than_ms, &why);
    }
    return rc == 0 ? 0 : err_set(err, -EINVAL, "--older-than %s; days are written 7d", why.text);
}

static int read_option(int option, const char *value, struct cli_args *args, struct err *err)
{
    switch (option) {
    case CONFIG:
        args->config_path = value;
        return 0;
    case STATE:
        return read_state(value, args, err);
    case KIND:
        return read_name("kind", value, &args->filter.kind, err);
    case QUEUE:
        return read_name("queue", value, &args->filter.queue, err);
    case TAG:
        return read_name("tag", value, &args->filter.tag, err);
    case LIMIT:
        return read_limit(value, args, err);
    case OLDER:
        return read_older_than(value, args, err);
    default:
        args->is_json = true;
        return 0;
    }
}

/* ---- the whole ---- */

/* Notes each option in `ret_given`, by its letter, once. */
static int read_options(int argc, char **argv, struct cli_args *args, char ret_given[ARRAY_LEN(options)],
                        struct err *err)
{
    int rc = 0;
    int option;

    opterr = 0;
    optind = 1;
    while (rc == 0 && (option = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
        if (option == ':')
            return err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
        if (option == '?')
            return err_set(err, -EINVAL, "unknown option, or one without a value: %s", argv[optind - 1]);
        rc = read_option(option, optarg, args, err);
        if (rc == 0 && option != CONFIG && !strchr(ret_given, option))
            ret_given[strlen(ret_given)] = (char)option;
    }
    return rc;
}

static const char *option_name(int letter)
{
    size_t i = 0;

    while (options[i].val != letter)
        i++;
    return options[i].name;
}

static int find_verb(const char *name, enum cli_verb *ret, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    for (size_t i = 0; i < CLI_VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) != 0)
            continue;
        *ret = (enum cli_verb)i;
        return 0;
    }
    return err_set(err, -EINVAL, "unknown command %s", parse_quote(name, strlen(name), quoted));
}

static int check_options(const struct cli_args *args, const char *given, struct err *err)
{
    size_t fits = strspn(given, verbs[args->verb].options);

    if (given[fits] != '\0')
        return err_set(err, -EINVAL, "%s takes no --%s", verbs[args->verb].name, option_name(given[fits]));
    if (args->verb == CLI_PURGE && !args->filter.state)
        return err_set(err, -EINVAL, "purge needs --state succeeded, dead or cancelled");
    if (args->verb == CLI_PURGE && strcmp(args->filter.state, "succeeded") != 0 &&
        strcmp(args->filter.state, "dead") != 0 && strcmp(args->filter.state, "cancelled") != 0)
        return err_set(err, -EINVAL, "purge takes --state succeeded, dead or cancelled");
    return 0;
}

static int check_ids(const struct cli_args *args, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    struct uuid id;

    if (args->id_count < verbs[args->verb].ids_min)
        return err_set(err, -EINVAL, "%s needs the id of a task", verbs[args->verb].name);
    if (args->id_count > verbs[args->verb].ids_max)
        return err_set(err, -EINVAL, "too many arguments for %s", verbs[args->verb].name);
    for (size_t i = 0; i < args->id_count; i++)
        if (!uuid_parse(args->ids[i], &id))
            return err_set(err, -EINVAL, "%s is not the id of a task",
                           parse_quote(args->ids[i], strlen(args->ids[i]), quoted));
    return 0;
}

int cli_args_parse(int argc, char **argv, struct cli_args *ret, struct err *err)
{
    char given[ARRAY_LEN(options)] = "";

    *ret = (struct cli_args){.config_path = "conf/heddle.yaml", .limit = LIMIT_DEFAULT};
    int rc = read_options(argc, argv, ret, given, err);
    if (rc != 0)
        return rc;
    if (optind >= argc)
        return err_set(err, -EINVAL, "no command");
    rc = find_verb(argv[optind], &ret->verb, err);
    ret->ids = argv + optind + 1;
    ret->id_count = (size_t)(argc - optind - 1);
    if (rc == 0)
        rc = check_options(ret, given, err);
    return rc == 0 ? check_ids(ret, err) : rc;
}
