#include "base/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

/* One loop around poll: our ends of the four pipes, a descriptor that says that the program has ended, one
 * that says that it shall.  No signal handler is involved.
 *
 * The end of the program is what counts, and not the end of its output: descendants may hold the pipes open
 * for ever.  They are killed while the dead leader is not reaped, so that its number, which is that of the
 * group, cannot belong to others yet. */

#define CHUNK_SIZE    16384
#define LINE_MAX_SIZE 32 /* of a line of progress */

enum { POLL_ENDED = SPAWN_PIPE_COUNT, POLL_WAKE, POLL_COUNT };

struct run {
    const struct process_options *options;
    struct process_result *result;
    struct spawn spawn;
    size_t input_at;
    bool errors_are_cut;
    char line[LINE_MAX_SIZE]; /* of progress, as far as it has come */
    size_t line_size;         /* LINE_MAX_SIZE for one that is too long */
    bool is_stopping;
    bool has_ended;
    uint64_t act_ns; /* when it is stopped, or killed */
};

/* ---- stopping ---- */

/* Only the first reason counts.  A group that was stopped has to go on to die of SIGTERM. */
static void stop(struct run *run, enum process_how how)
{
    uint64_t kill_after_ms = run->options->kill_after_ms;

    if (run->is_stopping)
        return;
    run->is_stopping = true;
    run->result->how = how;
    run->act_ns = clock_deadline_ns(clock_now_ns(), kill_after_ms ? kill_after_ms : PROCESS_KILL_AFTER_MS);
    spawn_kill(&run->spawn, SIGTERM);
    spawn_kill(&run->spawn, SIGCONT);
}

static void act_when_due(struct run *run)
{
    if (clock_now_ns() < run->act_ns)
        return;
    if (!run->is_stopping) {
        stop(run, PROCESS_TIMED_OUT);
        return;
    }
    spawn_kill(&run->spawn, SIGKILL);
    run->act_ns = CLOCK_NEVER;
}

/* ---- what the program writes ---- */

static void on_output(struct run *run, const char *bytes, size_t size)
{
    struct buf *output = &run->result->output;
    size_t room = output->max - output->size;

    buf_append(output, bytes, MIN(size, room));
    if (output->failed)
        stop(run, PROCESS_NO_MEMORY);
    else if (size > room)
        stop(run, PROCESS_TOO_LARGE);
}

static void on_errors(struct run *run, const char *bytes, size_t size)
{
    struct buf *errors = &run->result->errors;
    size_t kept = MIN(size, errors->max);
    size_t room = errors->max - errors->size;

    run->errors_are_cut |= size > room;
    if (kept > room)
        buf_consume(errors, kept - room);
    buf_append(errors, bytes + size - kept, kept);
}

/* A decimal fraction from 0 to 1, with nothing around it. */
static bool read_fraction(const char *p, const char *end, double *ret)
{
    double value = 0;
    double scale = 1;
    const char *start = p;

    for (; p < end && *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (*p - '0');
    if (p == start)
        return false;
    if (p < end && *p == '.' && ++p == end)
        return false;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        scale /= 10;
        value += (*p - '0') * scale;
    }
    if (p < end || value > 1)
        return false;
    *ret = value;
    return true;
}

static bool read_progress(const char *line, size_t size, double *ret)
{
    static const char word[] = "progress ";
    size_t word_size = sizeof(word) - 1;

    return size < LINE_MAX_SIZE && size > word_size && memcmp(line, word, word_size) == 0 &&
           read_fraction(line + word_size, line + size, ret);
}

static void on_progress(struct run *run, const char *bytes, size_t size)
{
    double progress;
    bool is_news = false;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            is_news |= read_progress(run->line, run->line_size, &progress);
            run->line_size = 0;
        } else if (run->line_size < LINE_MAX_SIZE) {
            run->line[run->line_size++] = bytes[i];
        }
    }
    if (is_news && run->options->progress)
        run->options->progress(run->options->progress_arg, progress);
}

static void (*const on_bytes[SPAWN_PIPE_COUNT])(struct run *, const char *, size_t) = {
    [SPAWN_OUTPUT] = on_output, [SPAWN_ERRORS] = on_errors, [SPAWN_PROGRESS] = on_progress};

/* Up to `max` bytes; returns how many came. */
static size_t read_pipe(struct run *run, enum spawn_pipe pipe, size_t max)
{
    char bytes[CHUNK_SIZE];
    ssize_t got = read(run->spawn.pipes[pipe], bytes, MIN(max, sizeof(bytes)));

    if (got > 0) {
        on_bytes[pipe](run, bytes, (size_t)got);
        return (size_t)got;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        spawn_close_pipe(&run->spawn, pipe);
    return 0;
}

/* What lies in the pipe now, and no more: who escaped may still write. */
static void drain_pipe(struct run *run, enum spawn_pipe pipe)
{
    int left = 0;

    if (run->spawn.pipes[pipe] < 0 || ioctl(run->spawn.pipes[pipe], FIONREAD, &left) != 0)
        return;
    while (left > 0) {
        size_t got = read_pipe(run, pipe, (size_t)left);
        if (got == 0)
            return;
        left -= (int)got;
    }
}

/* ---- what it reads ---- */

/* A program that does not want it (EPIPE) is as good as one that has read it all. */
static void write_input(struct run *run)
{
    const struct process_options *options = run->options;
    size_t left = options->input_size - run->input_at;
    ssize_t put =
        left > 0 ? write(run->spawn.pipes[SPAWN_INPUT], (const char *)options->input + run->input_at, left)
                 : 0;

    if (put > 0)
        run->input_at += (size_t)put;
    if (run->input_at == options->input_size || (put < 0 && errno != EAGAIN && errno != EINTR))
        spawn_close_pipe(&run->spawn, SPAWN_INPUT);
}

/* ---- the loop ---- */

static void run_once(struct run *run)
{
    struct pollfd fds[POLL_COUNT] = {
        [POLL_ENDED] = {.fd = run->spawn.pidfd, .events = POLLIN},
        [POLL_WAKE] = {.fd = run->is_stopping ? -1 : run->options->wake_fd, .events = POLLIN},
    };

    for (int i = 0; i < SPAWN_PIPE_COUNT; i++)
        fds[i] = (struct pollfd){.fd = run->spawn.pipes[i], .events = i == SPAWN_INPUT ? POLLOUT : POLLIN};
    if (poll(fds, POLL_COUNT, clock_poll_timeout_ms(clock_now_ns(), run->act_ns)) >= 0) {
        if (fds[SPAWN_INPUT].revents)
            write_input(run);
        for (enum spawn_pipe i = SPAWN_OUTPUT; i < SPAWN_PIPE_COUNT; i++)
            if (fds[i].revents)
                read_pipe(run, i, SIZE_MAX);
        run->has_ended = fds[POLL_ENDED].revents != 0;
        if (fds[POLL_WAKE].revents && !run->has_ended)
            stop(run, PROCESS_CANCELLED);
    }
    if (!run->has_ended)
        act_when_due(run);
}

/* Leaves whole lines, and of them the last ones. */
static void trim_errors(struct run *run)
{
    struct buf *errors = &run->result->errors;
    size_t lines = run->options->error_lines_max;

    if (errors->size == 0)
        return;
    const char *first = run->errors_are_cut ? memchr(errors->data, '\n', errors->size - 1) : NULL;
    if (first)
        buf_consume(errors, (size_t)(first + 1 - errors->data));
    if (lines == 0)
        return;
    for (size_t i = errors->size - 1; i > 0; i--) {
        if (errors->data[i - 1] != '\n' || --lines > 0)
            continue;
        buf_consume(errors, i);
        return;
    }
}

static void finish(struct run *run)
{
    struct process_result *result = run->result;

    spawn_kill(&run->spawn, SIGKILL);
    for (enum spawn_pipe i = SPAWN_OUTPUT; i < SPAWN_PIPE_COUNT; i++)
        drain_pipe(run, i);
    spawn_reap(&run->spawn, &result->status, &result->signal);
    spawn_close(&run->spawn);
    trim_errors(run);
    if (!run->is_stopping)
        result->how = result->signal != 0 ? PROCESS_SIGNALLED : PROCESS_EXITED;
}

void process_run(const struct process_options *options, struct process_result *ret, struct err *err)
{
    struct run run = {.options = options, .result = ret, .act_ns = options->deadline_ns};
    uint64_t start_ns = clock_now_ns();

    *ret = (struct process_result){
        .how = PROCESS_NOT_STARTED,
        .status = -1,
        .output = BUF_INIT(options->output_max_bytes),
        .errors = BUF_INIT(options->error_max_bytes),
    };
    if (spawn_child(&options->program, &run.spawn, err) == 0) {
        if (options->input_size == 0)
            spawn_close_pipe(&run.spawn, SPAWN_INPUT);
        while (!run.has_ended)
            run_once(&run);
        finish(&run);
    }
    ret->elapsed_ns = clock_now_ns() - start_ns;
}

void process_result_done(struct process_result *result)
{
    buf_done(&result->output);
    buf_done(&result->errors);
}
