/* What an entry of each map may say. */
#include "config/config_int.h"

#include <assert.h>

#define SECOND_MS UINT64_C(1000)
#define HOUR_MS   (3600 * SECOND_MS)
#define DAY_MS    (24 * HOUR_MS)
#define TIB       (UINT64_C(1) << 40)

#define MEMBER(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

#define QUEUE(member)    MEMBER(struct config_queue, member)
#define COMMAND(member)  MEMBER(struct config_command, member)
#define SCHEDULE(member) MEMBER(struct config_schedule, member)

static_assert(offsetof(struct config_queue, name) == 0, "the name of an entry comes first");
static_assert(offsetof(struct config_command, name) == 0, "the name of an entry comes first");
static_assert(offsetof(struct config_schedule, name) == 0, "the name of an entry comes first");

/* Queues */

static const struct config_row queue_rows[] = {
    {
        .key = "concurrency",
        .type = CONFIG_UINT,
        QUEUE(concurrency),
        .default_text = "0",
        .max = 1000000,
        .help = "Tasks of the queue that run at the same time. 0: no limit but `tasks.max_running`.",
    },
    {
        .key = "rate",
        .type = CONFIG_RATE,
        QUEUE(rate_per_s),
        .default_text = "0",
        .min = 1,
        .max = 1000000,
        .help = "How often a task of the queue may start. 0: no limit.",
    },
    {
        .key = "paused",
        .type = CONFIG_BOOL,
        QUEUE(is_paused),
        .default_text = "false",
        .help = "A paused queue takes tasks and starts none.",
    },
    {
        .key = "weight",
        .type = CONFIG_UINT,
        QUEUE(weight),
        .default_text = "1",
        .min = 1,
        .max = 1000,
        .help = "Its share of the starts when several queues have tasks: one of weight 4 gets four "
                "times that of one of weight 1.",
    },
};

const struct config_map config_queues = {
    .entry = "a queue",
    .help =
        "Limits for tasks that belong together. A queue `default` always exists, and is where tasks go that "
        "name none; give it limits by an entry of that name.",
    .identity = "name",
    .check_name = config_check_name,
    .name_help = CONFIG_NAME_HELP,
    .entry_size = sizeof(struct config_queue),
    .count_offset = offsetof(struct config, tasks.queue_count),
    .table = {.rows = queue_rows, .row_count = ARRAY_LEN(queue_rows)},
};

/* Commands */

static const struct config_row command_rows[] = {
    {
        .key = "argv",
        .type = CONFIG_TEXTS,
        COMMAND(argv),
        .min = 1,
        .max = 64,
        .check_first = config_check_absolute_path,
        .help = "The program, by its absolute path, and its arguments, at most 4096 bytes each. No "
                "shell reads them.",
    },
    {
        .key = "environment",
        .type = CONFIG_TEXTS,
        .is_secret = true,
        COMMAND(environment),
        .default_text = "[]",
        .max = 64,
        .check = config_check_variable,
        .help = "Variables of the program, each `NAME=value`. It gets no others.",
    },
    {
        .key = "directory",
        .type = CONFIG_TEXT,
        COMMAND(directory),
        .default_text = "/",
        .min = 1,
        .max = 4095,
        .check = config_check_absolute_path,
        .help = "Its working directory, an absolute path.",
    },
    {
        .key = "timeout",
        .type = CONFIG_DURATION,
        COMMAND(timeout_ms),
        .default_text = "1h",
        .min = 1,
        .max = 7 * DAY_MS,
        .help = "Longest time it may run; then it is killed with all its children.",
    },
    {
        .key = "max_memory",
        .type = CONFIG_SIZE,
        COMMAND(max_memory_bytes),
        .default_text = "0",
        .max = TIB,
        .help = "Address space it may use. 0: no limit.",
    },
    {
        .key = "max_open_files",
        .type = CONFIG_UINT,
        COMMAND(max_open_files),
        .default_text = "256",
        .min = 16,
        .max = 1000000,
        .help = "Descriptors it may have open.",
    },
    {
        .key = "cpu",
        .type = CONFIG_DURATION,
        COMMAND(cpu_ms),
        .default_text = "0s",
        .max = 7 * DAY_MS,
        .help = "Processor time it may use; counted in whole seconds, rounded up. 0s: no limit.",
    },
};

const struct config_map config_commands = {
    .entry = "a command",
    .help = "Programs that tasks may run. A task names one of them; it cannot bring its own.",
    .identity = "name",
    .check_name = config_check_name,
    .name_help = CONFIG_NAME_HELP,
    .entry_size = sizeof(struct config_command),
    .count_offset = offsetof(struct config, tasks.command_count),
    .table = {.rows = command_rows, .row_count = ARRAY_LEN(command_rows), .checks = config_command_checks},
};

/* Schedules */

static const char *const missed_names[] = {"skip", "once", "all"};

static const struct config_row schedule_rows[] = {
    {
        .key = "cron",
        .type = CONFIG_TEXT,
        SCHEDULE(cron),
        .min = 1,
        .max = 256,
        .help = "When: minute, hour, day of month, month, day of week, as in crontab(5).",
    },
    {
        .key = "time_zone",
        .type = CONFIG_TEXT,
        SCHEDULE(time_zone),
        .default_text = "UTC",
        .min = 1,
        .max = 64,
        .check = config_check_time_zone,
        .help = "Where those times hold, such as `Europe/Vienna`.",
    },
    {
        .key = "kind",
        .type = CONFIG_TEXT,
        SCHEDULE(kind),
        .min = 1,
        .max = CONFIG_NAME_MAX_BYTES,
        .check = config_check_name,
        .help = "The kind of the tasks.",
    },
    {
        .key = "queue",
        .type = CONFIG_TEXT,
        SCHEDULE(queue),
        .default_text = "default",
        .min = 1,
        .max = CONFIG_NAME_MAX_BYTES,
        .check = config_check_name,
        .help = "Their queue: `default` or one of `queues`.",
    },
    {
        .key = "payload",
        .type = CONFIG_JSON,
        SCHEDULE(payload),
        .default_text = "{}",
        .max = CONFIG_VALUE_MAX_BYTES,
        .help = "Their payload: the text of a JSON object, in single quotes.",
    },
    {
        .key = "missed",
        .type = CONFIG_CHOICE,
        SCHEDULE(missed),
        .default_text = "once",
        .max = ARRAY_LEN(missed_names) - 1,
        .names = missed_names,
        .help = "What becomes of times that went by while heddle was not running: `skip` them, make up "
                "for them `once`, or for `all`.",
    },
    {
        .key = "priority",
        .type = CONFIG_UINT,
        SCHEDULE(priority),
        .default_text = "5",
        .max = CONFIG_PRIORITY_MAX,
        .help = "Their priority; the least comes first.",
    },
    {
        .key = "max_attempts",
        .type = CONFIG_UINT,
        SCHEDULE(max_attempts),
        .default_text = "0",
        .max = 1000,
        .help = "How often one is tried. 0: as `tasks.max_attempts` says.",
    },
    {
        .key = "timeout",
        .type = CONFIG_DURATION,
        SCHEDULE(timeout_ms),
        .default_text = "0s",
        .max = 7 * DAY_MS,
        .help = "Longest time for one attempt. 0s: as `tasks.timeout` says.",
    },
};

const struct config_map config_schedules = {
    .entry = "a schedule",
    .help = "Tasks that are submitted again and again.",
    .identity = "name",
    .check_name = config_check_name,
    .name_help = CONFIG_NAME_HELP,
    .entry_size = sizeof(struct config_schedule),
    .count_offset = offsetof(struct config, tasks.schedule_count),
    .table = {.rows = schedule_rows, .row_count = ARRAY_LEN(schedule_rows), .checks = config_schedule_checks},
};
