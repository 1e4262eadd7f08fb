/* Kind `command`: runs a program that the configuration names (process.h), with the task's input as JSON on
 * its standard input, and takes what it writes for the result.
 *
 * Exit status 0 is success.  64 and 65 (EX_USAGE, EX_DATAERR of sysexits.h) say that the input is no good,
 * which no other attempt changes; all else is tried again: other statuses, signals, a program that cannot be
 * run. */
#include "tasks/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/process.h"
#include "base/text.h"
#include "tasks/payload.h"
#include "base/trace.h"

/* From SIGTERM to SIGKILL: who cancels a task waits for 2 s at the most. */
#define KILL_AFTER_MS 1500

/* What is kept of standard error. */
#define ERRORS_MAX_BYTES 4096
#define ERRORS_MAX_LINES 20

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- the payload ---- */

static const struct config_command *find_command(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->tasks.command_count; i++)
        if (strcmp(config->tasks.commands[i].name, name) == 0)
            return &config->tasks.commands[i];
    return NULL;
}

/* NULL, with the problem, when the payload names none. */
static const struct config_command *read_command(const json_t *payload, const struct config *config,
                                                 struct task_problem *problem)
{
    const struct config_command *command;
    const char *name = NULL;
    char quoted[PARSE_QUOTED_SIZE];

    if (task_payload_text(payload, "command", &name, problem) < 0)
        return NULL;
    if (!name) {
        task_problem_set(problem, TASK_PROBLEM_MISSING, "command", "command is missing");
        return NULL;
    }
    command = find_command(config, name);
    if (!command)
        task_problem_set(problem, TASK_PROBLEM_INVALID, "command",
                         "command: %s is not among the commands of the configuration",
                         parse_quote(name, strlen(name), quoted));
    return command;
}

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    static const char *const used[] = {"command", "input", NULL};

    if (!read_command(payload, services->config, ret))
        return -EINVAL;
    task_payload_keep(payload, used);
    return 0;
}

/* ---- the environment ---- */

/* Ours, before those of the configuration; PATH behind them, for it may set that itself. */
#define OWN_VARIABLES 4
#define VARIABLE_SIZE 128

struct environment {
    char own[OWN_VARIABLES][VARIABLE_SIZE];
    size_t count;
    const char *variables[]; /* NULL behind the last */
};

static bool has_variable(const struct environment *environment, const char *variable)
{
    size_t length = strcspn(variable, "=") + 1;

    for (size_t i = 0; i < environment->count; i++)
        if (strncmp(environment->variables[i], variable, length) == 0)
            return true;
    return false;
}

static void add_variable(struct environment *environment, const char *variable)
{
    if (!has_variable(environment, variable))
        environment->variables[environment->count++] = variable;
}

/* NULL without memory.  The caller frees it. */
static struct environment *environment_create(const struct task_run *run,
                                              const struct config_list *configured)
{
    struct environment *environment =
        calloc(1, sizeof(*environment) +
                      (configured->count + OWN_VARIABLES + 1) * sizeof(environment->variables[0]));
    char trace[TRACE_PARENT_SIZE] = "";

    if (!environment)
        return NULL;
    if (trace_continue(run->traceparent, trace) < 0)
        trace[0] = '\0';
    snprintf(environment->own[0], VARIABLE_SIZE, "HEDDLE_TASK_ID=%s", run->task_id);
    snprintf(environment->own[1], VARIABLE_SIZE, "HEDDLE_ATTEMPT=%u", run->attempt);
    snprintf(environment->own[2], VARIABLE_SIZE, "TRACEPARENT=%s", trace);
    snprintf(environment->own[3], VARIABLE_SIZE, "PATH=%s", DEFAULT_PATH);
    for (size_t i = 0; i < 3; i++)
        add_variable(environment, environment->own[i]);
    for (size_t i = 0; i < configured->count; i++)
        add_variable(environment, configured->items[i]);
    add_variable(environment, environment->own[3]);
    return environment;
}

/* ---- running it ---- */

static void on_progress(void *arg, double fraction)
{
    task_run_progress(arg, fraction);
}

/* With the NULL behind it that a list of the configuration does not have. */
static const char **argv_create(const struct config_list *list)
{
    const char **argv = calloc(list->count + 1, sizeof(argv[0]));

    for (size_t i = 0; argv && i < list->count; i++)
        argv[i] = list->items[i];
    return argv;
}

static struct spawn_limits limits_of(const struct config_command *command)
{
    return (struct spawn_limits){
        .cpu_seconds = (command->cpu_ms + 999) / 1000,
        .memory_bytes = command->max_memory_bytes,
        .open_files = command->max_open_files,
    };
}

static void run_program(struct task_run *run, const struct config_command *command, const char *const *argv,
                        const char *const *envp, const char *input, struct process_result *ret,
                        struct err *err)
{
    struct process_options options = {
        .program = {.argv = argv,
                    .envp = envp,
                    .directory = command->directory,
                    .limits = limits_of(command)},
        .input = input,
        .input_size = strlen(input),
        .output_max_bytes = run->services->config->tasks.max_result_bytes,
        .error_max_bytes = ERRORS_MAX_BYTES,
        .error_lines_max = ERRORS_MAX_LINES,
        .deadline_ns = MIN(run->deadline_ns, clock_deadline_ns(clock_now_ns(), command->timeout_ms)),
        .wake_fd = run->stop_fd,
        .kill_after_ms = KILL_AFTER_MS,
        .progress = on_progress,
        .progress_arg = run,
    };

    process_run(&options, ret, err);
}

/* False without memory; else `ret` is to be done with. */
static bool run_command(struct task_run *run, const struct config_command *command,
                        struct process_result *ret, struct err *err)
{
    const json_t *value = json_object_get(run->payload, "input");
    char *input = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
    const char **argv = argv_create(&command->argv);
    struct environment *environment = environment_create(run, &command->environment);
    bool is_ready = input && argv && environment;

    if (is_ready)
        run_program(run, command, argv, environment->variables, input, ret, err);
    free(environment);
    free(argv);
    free(input);
    return is_ready;
}

/* ---- what came of it ---- */

/* What it wrote to standard error, as text; `text` is its memory. */
static const char *errors_of(const struct process_result *result, struct buf *text)
{
    if (result->errors.size > 0)
        text_utf8_mend(result->errors.data, result->errors.size, text);
    while (text->size > 0 && strchr(" \t\n", text->data[text->size - 1]))
        text->size--;
    buf_append(text, "", 1);
    return text->failed ? "" : text->data;
}

/* The end of a text, whole characters that have room in so many bytes. */
static const char *end_of(const char *text, size_t max_bytes)
{
    size_t size = strlen(text);

    if (size <= max_bytes)
        return text;
    text += size - max_bytes;
    while (((unsigned char)*text & 0xc0) == 0x80)
        text++;
    return text;
}

static enum task_step fail(struct task_run *run, bool is_final, const char *what, const char *errors)
{
    size_t room = TASK_ERROR_SIZE - strlen(what) - sizeof(": ");

    return task_run_fail(run, is_final, "%s%s%s", what, errors[0] != '\0' ? ": " : "", end_of(errors, room));
}

static enum task_step fail_by_time(struct task_run *run, const struct config_command *command,
                                   const char *errors)
{
    char timeout[PARSE_TEXT_SIZE];
    char what[96];

    if (task_run_must_stop(run)) /* the engine says it in its own words */
        return fail(run, false, "not done within the timeout of the task", errors);
    parse_format(PARSE_DURATION, command->timeout_ms, timeout);
    snprintf(what, sizeof(what), "not done within the command's timeout of %s", timeout);
    return fail(run, false, what, errors);
}

static enum task_step fail_by_signal(struct task_run *run, int number, const char *errors)
{
    const char *name = sigabbrev_np(number);
    char what[64];

    if (name)
        snprintf(what, sizeof(what), "killed by SIG%s", name);
    else
        snprintf(what, sizeof(what), "killed by signal %d", number);
    return fail(run, false, what, errors);
}

static enum task_step fail_by_status(struct task_run *run, int status, const char *errors)
{
    char what[64];

    snprintf(what, sizeof(what), "exit status %d", status);
    return fail(run, status == EX_USAGE || status == EX_DATAERR, what, errors);
}

/* JSON when it is that, else text. */
static json_t *output_of(const struct buf *output)
{
    bool is_cut;
    json_t *json = task_result_json(output->data, output->size, SIZE_MAX);

    return json ? json : task_result_text(NULL, output->data, output->size, true, output->max * 8, &is_cut);
}

static enum task_step succeed(struct task_run *run, const struct process_result *result, const char *errors)
{
    json_t *value = json_pack("{s:o, s:f}", "output", output_of(&result->output), "elapsed",
                              clock_seconds(result->elapsed_ns));

    if (value && errors[0] != '\0' && json_object_set_new(value, "stderr", json_string(errors)) != 0) {
        json_decref(value);
        value = NULL;
    }
    return task_run_done(run, value);
}

static enum task_step judge(struct task_run *run, const struct config_command *command,
                            const struct process_result *result, const struct err *err)
{
    cleanup(buf_done) struct buf text = BUF_INIT(ERRORS_MAX_BYTES * 3 + 1);
    const char *errors = errors_of(result, &text);

    switch (result->how) {
    case PROCESS_EXITED:
        return result->status == 0 ? succeed(run, result, errors)
                                   : fail_by_status(run, result->status, errors);
    case PROCESS_SIGNALLED:
        return fail_by_signal(run, result->signal, errors);
    case PROCESS_TIMED_OUT:
        return fail_by_time(run, command, errors);
    case PROCESS_CANCELLED:
        return fail(run, false, "stopped", errors);
    case PROCESS_TOO_LARGE:
        return fail(run, true, "it wrote more than tasks.max_result allows", errors);
    case PROCESS_NO_MEMORY:
        return fail(run, false, "out of memory for what it wrote", errors);
    default:
        return fail(run, false, err->text, "");
    }
}

/* ---- the step ---- */

/* The configuration may be another than when the task was checked. */
static enum task_step step(struct task_run *run)
{
    struct task_problem problem;
    struct process_result result;
    struct err err = {0};
    const struct config_command *command = read_command(run->payload, run->services->config, &problem);

    if (!command)
        return task_run_fail(run, true, "%s", problem.text);
    if (!run_command(run, command, &result, &err))
        return task_run_fail(run, false, "out of memory");
    enum task_step outcome = judge(run, command, &result, &err);
    process_result_done(&result);
    return outcome;
}

const struct task_kind kind_command = {.name = "command", .holds_thread = true, .check = check, .step = step};
