/* task_kinds.h - kinds of tasks that behave, and misbehave, on command; tasks of them.
 *
 * How to use it: task_kinds_init before the first test; new_task, or all_kinds for an engine.
 * Threads: kinds are called by any; the functions for tests by the test's alone. */
#pragma once

#include "harness.h"

#include <poll.h>

#include "tasks/kind.h"
#include "tasks/metrics.h"
#include "tasks/task.h"
#include "tasks/tasks_int.h"

#define FAR_SECONDS 3600.0

static inline int64_t metric_of(size_t row, size_t label0, size_t label1)
{
    return metric_value(&tasks_metrics[row], label0, label1);
}

/* ---- kinds that come to an end at once ---- */

static inline enum task_step step_ok(struct task_run *run)
{
    run->result = json_pack("{s:O, s:i}", "echo", run->payload, "attempt", (int)run->attempt);
    return TASK_STEP_DONE;
}

/* Fails as its payload says. */
static inline enum task_step step_fail(struct task_run *run)
{
    json_int_t after_ms = json_integer_value(json_object_get(run->payload, "after_ms"));
    json_int_t until = json_integer_value(json_object_get(run->payload, "until"));

    if (until > 0 && run->attempt >= (unsigned)until)
        return step_ok(run);
    snprintf(run->error, sizeof(run->error), "no luck with attempt %u", run->attempt);
    run->retry_after_ms = (uint64_t)after_ms;
    run->is_final = json_is_true(json_object_get(run->payload, "is_final"));
    return TASK_STEP_FAILED;
}

static inline enum task_step step_long_result(struct task_run *run)
{
    char text[4096];

    memset(text, 'r', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    run->result = json_string(text);
    return TASK_STEP_DONE;
}

/* ---- kinds that break their contract ---- */

static inline enum task_step step_silent_fail(struct task_run *run)
{
    (void)run;
    return TASK_STEP_FAILED;
}

static inline enum task_step step_fail_in_latin1(struct task_run *run)
{
    snprintf(run->error, sizeof(run->error), "caf\xe9");
    return TASK_STEP_FAILED;
}

static inline enum task_step step_unterminated_error(struct task_run *run)
{
    memset(run->error, 'e', sizeof(run->error));
    return TASK_STEP_FAILED;
}

static inline enum task_step step_no_result(struct task_run *run)
{
    (void)run;
    return TASK_STEP_DONE;
}

static inline enum task_step step_latin1_result(struct task_run *run)
{
    run->result = json_string_nocheck("caf\xe9");
    return TASK_STEP_DONE;
}

/* LeakSanitizer's, where it is linked in. */
void __lsan_disable(void) __attribute__((weak));

static inline enum task_step step_result_nowhere(struct task_run *run)
{
    if (__lsan_disable) /* jansson crashes in the middle of its work: what it had allocated is lost */
        __lsan_disable();
    run->result = (json_t *)16;
    return TASK_STEP_DONE;
}

static inline enum task_step step_nonsense(struct task_run *run)
{
    (void)run;
    return (enum task_step)42;
}

static inline enum task_step step_wait_without_time(struct task_run *run)
{
    (void)run;
    return TASK_STEP_WAIT;
}

static inline enum task_step step_pend_for_ever(struct task_run *run)
{
    (void)run;
    return TASK_STEP_PENDING;
}

#define FAULTY __attribute__((unused, noinline, no_sanitize("undefined", "address", "thread")))

static FAULTY enum task_step step_null(struct task_run *run)
{
    volatile int *volatile nowhere = NULL;

    *nowhere = (int)run->attempt;
    return TASK_STEP_DONE;
}

static FAULTY enum task_step step_divide(struct task_run *run)
{
    volatile int zero = 0;

    return (enum task_step)((int)run->attempt / zero);
}

static inline enum task_step step_abort(struct task_run *run)
{
    (void)run;
    abort();
}

static inline enum task_step step_illegal(struct task_run *run)
{
    (void)run;
    __builtin_trap();
}

static inline enum task_step step_bus(struct task_run *run)
{
    (void)run;
    raise(SIGBUS);
    return TASK_STEP_WAIT;
}

/* Large frames, so that the stack ends before anything that counts calls does; smaller than the guard page
 * behind the stack, or they would step over it. */
static FAULTY int recurse(volatile char *from, int depth)
{
    volatile char frame[2048];

    frame[0] = *from;
    frame[sizeof(frame) - 1] = (char)depth;
    if (depth < 0)
        return 0;
    return recurse(frame, depth + 1) + frame[sizeof(frame) - 1];
}

static inline enum task_step step_overflow(struct task_run *run)
{
    volatile char seed = 1;

    return recurse(&seed, (int)run->attempt) == 0 ? TASK_STEP_DONE : TASK_STEP_WAIT;
}

/* ---- kinds that hold a thread ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    unsigned inside;
    unsigned inside_max;
} gate;

static inline void gate_set(bool is_open)
{
    LOCK(&gate.lock);
    gate.is_open = is_open;
    gate.inside_max = 0;
    pthread_cond_broadcast(&gate.changed);
}

/* Waits until `count` steps are at the gate. */
static inline void gate_wait_for(unsigned count)
{
    uint64_t deadline_ns = in_ms(PATIENCE_MS);

    LOCK(&gate.lock);
    while (gate.inside < count && cond_wait_until(&gate.changed, &gate.lock, deadline_ns))
        continue;
    assert_true(gate.inside >= count);
}

static inline unsigned gate_inside_max(void)
{
    LOCK(&gate.lock);
    return gate.inside_max;
}

/* Blocks its thread until the gate opens. */
static inline enum task_step step_gate(struct task_run *run)
{
    LOCK(&gate.lock);
    gate.inside++;
    gate.inside_max = MAX(gate.inside_max, gate.inside);
    pthread_cond_broadcast(&gate.changed);
    while (!gate.is_open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.inside--;
    run->result = json_true();
    return TASK_STEP_DONE;
}

/* Comes to the gate by way of the heap, so that the thread that watches the time is the one that gets
 * stuck. */
static inline enum task_step step_nap_then_gate(struct task_run *run)
{
    run->wake_ns = run->started_ns + 5 * NS_PER_MS;
    return clock_now_ns() < run->wake_ns ? TASK_STEP_WAIT : step_gate(run);
}

static atomic_uint watching; /* steps that have come to wait for their stop */

/* Ends when it is told to. */
static inline enum task_step step_until_stop(struct task_run *run)
{
    struct pollfd stop = {.fd = run->stop_fd, .events = POLLIN};

    atomic_fetch_add(&watching, 1);
    int ready = poll(&stop, 1, PATIENCE_MS);
    if (ready == 1 && task_run_must_stop(run))
        snprintf(run->error, sizeof(run->error), "told to stop");
    else
        snprintf(run->error, sizeof(run->error), "nobody has told it to stop");
    return TASK_STEP_FAILED;
}

/* Sees its end without a descriptor. */
static inline enum task_step step_until_must_stop(struct task_run *run)
{
    atomic_fetch_add(&watching, 1);
    while (!task_run_must_stop(run))
        usleep(100);
    snprintf(run->error, sizeof(run->error), "must stop");
    return TASK_STEP_FAILED;
}

/* Comes to its end all the same. */
static inline enum task_step step_stubborn(struct task_run *run)
{
    atomic_fetch_add(&watching, 1);
    while (!task_run_must_stop(run))
        usleep(100);
    return step_ok(run);
}

static inline enum task_step step_progress(struct task_run *run)
{
    for (unsigned i = 0; i <= 10000; i++)
        task_run_progress(run, i / 10000.0);
    task_run_progress(run, 7);
    return step_ok(run);
}

/* ---- kinds that wait ---- */

/* Waits again and again until a while has passed since the start. */
static inline enum task_step step_naps(struct task_run *run)
{
    uint64_t now_ns = clock_now_ns();

    if (now_ns < run->started_ns + 3 * NS_PER_MS) {
        run->wake_ns = now_ns + NS_PER_MS;
        return TASK_STEP_WAIT;
    }
    return step_ok(run);
}

static inline enum task_step step_sleep_far(struct task_run *run)
{
    run->wake_ns = run->ends_ns = clock_deadline_ns(run->started_ns, (uint64_t)FAR_SECONDS * 1000);
    return clock_now_ns() < run->wake_ns ? TASK_STEP_WAIT : step_ok(run);
}

/* A pending task: in `pending` until a test, or the thread that sees to those that are aborted, takes it. */
struct pending_state {
    struct task *task;
    bool is_resumed;
    TAILQ_ENTRY(pending_state) in_list;
};

TAILQ_HEAD(pending_list, pending_state);

static struct {
    pthread_mutex_t lock;
    struct pending_list list; /* that have not been resumed */
    unsigned count;           /* in the list */
    unsigned aborted;         /* in all */
    bool aborts_resume;       /* an abort leads to the end of the wait */
    struct pending_list to_resume;
    pthread_cond_t changed;
    bool is_stopping;
    pthread_t thread;
    unsigned released; /* states that have been freed */
} pending;

static inline enum task_step step_pending(struct task_run *run)
{
    struct pending_state *own = run->state;

    if (own) {
        run->result = json_pack("{s:b}", "resumed", own->is_resumed);
        return TASK_STEP_DONE;
    }
    run->state = own = calloc(1, sizeof(*own));
    own->task = run->task;
    LOCK(&pending.lock);
    TAILQ_INSERT_TAIL(&pending.list, own, in_list);
    pending.count++;
    return TASK_STEP_PENDING;
}

/* What it waits for has happened before the step returns. */
static inline enum task_step step_resumed_early(struct task_run *run)
{
    if (run->state)
        return step_ok(run);
    run->state = calloc(1, sizeof(struct pending_state));
    task_resume(run->task);
    return TASK_STEP_PENDING;
}

static inline void take_pending_locked(struct pending_state *own)
{
    TAILQ_REMOVE(&pending.list, own, in_list);
    pending.count--;
}

static inline void abort_pending_kind(void *state)
{
    struct pending_state *own = state;

    LOCK(&pending.lock);
    pending.aborted++;
    if (!pending.aborts_resume)
        return;
    take_pending_locked(own);
    TAILQ_INSERT_TAIL(&pending.to_resume, own, in_list);
    pthread_cond_signal(&pending.changed);
}

static inline void release_pending(void *state)
{
    free(state);
    LOCK(&pending.lock);
    pending.released++;
}

static inline void *resume_aborted(void *arg)
{
    struct pending_state *own;

    (void)arg;
    mutex_lock(&pending.lock);
    while (!pending.is_stopping || !TAILQ_EMPTY(&pending.to_resume)) {
        own = TAILQ_FIRST(&pending.to_resume);
        if (!own) {
            pthread_cond_wait(&pending.changed, &pending.lock);
            continue;
        }
        TAILQ_REMOVE(&pending.to_resume, own, in_list);
        mutex_unlock(&pending.lock);
        task_resume(own->task);
        mutex_lock(&pending.lock);
    }
    mutex_unlock(&pending.lock);
    return NULL;
}

/* What the first pending task waits for has happened. */
static inline void resume_first_pending(void)
{
    mutex_lock(&pending.lock);
    struct pending_state *own = TAILQ_FIRST(&pending.list);
    assert_non_null(own);
    take_pending_locked(own);
    own->is_resumed = true;
    struct task *task = own->task;
    mutex_unlock(&pending.lock);
    task_resume(task);
}

static inline unsigned count_pending(void)
{
    LOCK(&pending.lock);
    return pending.count;
}

static inline bool is_pending_count(void *arg)
{
    return count_pending() == *(unsigned *)arg;
}

static inline void wait_for_pending(unsigned count)
{
    wait_until(is_pending_count, &count);
}

static inline void set_aborts_resume(bool is_so)
{
    LOCK(&pending.lock);
    pending.aborts_resume = is_so;
}

static inline unsigned count_aborted(void)
{
    LOCK(&pending.lock);
    return pending.aborted;
}

/* ---- the order in which tasks are started ---- */

#define RECORD_MAX 200000

/* The `n` of the payloads of kind record, as their steps were called: in order with one stepper. */
static struct {
    pthread_mutex_t lock;
    unsigned numbers[RECORD_MAX];
    atomic_uint count;
} record;

static inline enum task_step step_record(struct task_run *run)
{
    LOCK(&record.lock);
    unsigned at = atomic_load(&record.count);
    if (at < RECORD_MAX)
        record.numbers[at] = (unsigned)json_integer_value(json_object_get(run->payload, "n"));
    atomic_store(&record.count, at + 1);
    run->result = json_true();
    return TASK_STEP_DONE;
}

/* ---- the table ---- */

static inline int check_nothing(json_t *payload, const struct task_services *services,
                                struct task_problem *ret)
{
    (void)payload;
    (void)services;
    (void)ret;
    return 0;
}

enum {
    OK,
    FAIL,
    LONG_RESULT,
    GATE,
    NAP_THEN_GATE,
    UNTIL_STOP,
    UNTIL_MUST_STOP,
    STUBBORN,
    PROGRESS,
    NAPS,
    SLEEP_FAR,
    PENDING,
    RESUMED_EARLY,
    RECORD,
    CALLBACK,
    SILENT_FAIL,
    FAIL_IN_LATIN1,
    UNTERMINATED_ERROR,
    NO_RESULT,
    LATIN1_RESULT,
    RESULT_NOWHERE,
    NONSENSE,
    WAIT_WITHOUT_TIME,
    PEND_FOR_EVER,
    NULL_POINTER,
    DIVIDE,
    ABORT,
    ILLEGAL,
    BUS,
    OVERFLOW,
    KIND_COUNT,
    FIRST_BROKEN = SILENT_FAIL,
};

#define KIND(text, function)                                                                                 \
    {                                                                                                        \
        .name = text, .check = check_nothing, .step = function                                               \
    }
#define THREAD_KIND(text, function)                                                                          \
    {                                                                                                        \
        .name = text, .holds_thread = true, .check = check_nothing, .step = function                         \
    }
#define PENDING_KIND(text, function)                                                                         \
    {                                                                                                        \
        .name = text, .check = check_nothing, .step = function, .abort = abort_pending_kind,                 \
        .release = release_pending                                                                           \
    }

static const struct task_kind kinds[KIND_COUNT] = {
    [OK] = KIND("ok", step_ok),
    [FAIL] = KIND("fail", step_fail),
    [LONG_RESULT] = KIND("long_result", step_long_result),
    [GATE] = THREAD_KIND("gate", step_gate),
    [NAP_THEN_GATE] = THREAD_KIND("nap_then_gate", step_nap_then_gate),
    [UNTIL_STOP] = THREAD_KIND("until_stop", step_until_stop),
    [UNTIL_MUST_STOP] = THREAD_KIND("until_must_stop", step_until_must_stop),
    [STUBBORN] = THREAD_KIND("stubborn", step_stubborn),
    [PROGRESS] = THREAD_KIND("progress", step_progress),
    [NAPS] = KIND("naps", step_naps),
    [SLEEP_FAR] = KIND("sleep_far", step_sleep_far),
    [PENDING] = PENDING_KIND("pending", step_pending),
    [RESUMED_EARLY] = PENDING_KIND("resumed_early", step_resumed_early),
    [RECORD] = KIND("record", step_record),
    [CALLBACK] = KIND("callback", step_ok),
    [SILENT_FAIL] = KIND("silent_fail", step_silent_fail),
    [FAIL_IN_LATIN1] = KIND("fail_in_latin1", step_fail_in_latin1),
    [UNTERMINATED_ERROR] = KIND("unterminated_error", step_unterminated_error),
    [NO_RESULT] = KIND("no_result", step_no_result),
    [LATIN1_RESULT] = KIND("latin1_result", step_latin1_result),
    [RESULT_NOWHERE] = KIND("result_nowhere", step_result_nowhere),
    [NONSENSE] = KIND("nonsense", step_nonsense),
    [WAIT_WITHOUT_TIME] = KIND("wait_without_time", step_wait_without_time),
    [PEND_FOR_EVER] = KIND("pend_for_ever", step_pend_for_ever),
    [NULL_POINTER] = KIND("null_pointer", step_null),
    [DIVIDE] = KIND("divide", step_divide),
    [ABORT] = KIND("abort", step_abort),
    [ILLEGAL] = KIND("illegal", step_illegal),
    [BUS] = KIND("bus", step_bus),
    [OVERFLOW] = KIND("overflow", step_overflow),
};

/* What the task's error must be; of the kinds that are not named here see below. */
static const char *const bug_errors[KIND_COUNT] = {
    [SILENT_FAIL] = "bug in task kind silent_fail: failed without an error",
    [FAIL_IN_LATIN1] = "bug in task kind fail_in_latin1: the error is not valid UTF-8",
    [NO_RESULT] = "bug in task kind no_result: done without a result",
    [LATIN1_RESULT] = "bug in task kind latin1_result: the result cannot be written as JSON",
    [NONSENSE] = "bug in task kind nonsense: the step returned nonsense",
    [WAIT_WITHOUT_TIME] = "bug in task kind wait_without_time: waits without a time",
    [PEND_FOR_EVER] = "bug in task kind pend_for_ever: waits for something that cannot be ended",
    [NULL_POINTER] = "bug in task kind null_pointer: SIGSEGV at 0x0",
    [ABORT] = "bug in task kind abort: SIGABRT",
};

/* How it must begin. */
static const char *const bug_error_starts[KIND_COUNT] = {
    [UNTERMINATED_ERROR] = "eeee",
    [RESULT_NOWHERE] = "bug in task kind result_nowhere: SIGSEGV at 0x",
    [DIVIDE] = "bug in task kind divide: SIGFPE at 0x",
    [ILLEGAL] = "bug in task kind illegal: SIGILL at 0x",
    [BUS] = "bug in task kind bus: SIGBUS",
    [OVERFLOW] = "bug in task kind overflow: SIGSEGV at 0x",
};

static inline void expect_bug_error(int kind, const char *error)
{
    const char *start = bug_errors[kind] ? bug_errors[kind] : bug_error_starts[kind];

    if (!error || strncmp(error, start, strlen(start)) != 0 ||
        (bug_errors[kind] && strcmp(error, start) != 0))
        fail_msg("kind %s: \"%s\" in place of \"%s\"", kinds[kind].name, error ? error : "", start);
}

/* All of these, kind `sleep`, and NULL. */
static const struct task_kind *all_kinds[KIND_COUNT + 2];

static inline void task_kinds_init(void)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        all_kinds[i] = &kinds[i];
    all_kinds[KIND_COUNT] = &kind_sleep;
    mutex_init(&gate.lock);
    cond_init(&gate.changed);
    mutex_init(&record.lock);
    mutex_init(&pending.lock);
    cond_init(&pending.changed);
    TAILQ_INIT(&pending.list);
    TAILQ_INIT(&pending.to_resume);
    pending.aborts_resume = true;
    start(&pending.thread, resume_aborted, NULL);
}

static inline void task_kinds_done(void)
{
    mutex_lock(&pending.lock);
    pending.is_stopping = true;
    pthread_cond_signal(&pending.changed);
    mutex_unlock(&pending.lock);
    thread_join(pending.thread);
}

/* A task of that kind, for one attempt and without a time-out. */
static inline struct task *new_task(const struct task_kind *kind, const char *payload)
{
    struct task_spec spec = {.kind_name = kind->name, .payload = payload, .max_attempts = 1};
    struct uuid id;

    assert_int_equal(uuid_create(&id), 0);
    struct task *task = task_create(&id, &spec, clock_wall_ms());
    assert_non_null(task);
    task->kind = kind;
    task->status.priority = TASK_PRIORITY_DEFAULT;
    return task;
}
