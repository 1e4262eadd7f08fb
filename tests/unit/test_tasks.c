/* Background tasks: states, heap, fence, the queue with kinds made for the test, the kind `sleep`. */
#include "capture.h"
#include "harness.h"

#include "base/log.h"
#include "tasks/fence.h"
#include "tasks/heap.h"
#include "tasks/metrics.h"
#include "tasks/queue.h"
#include "tasks/tasks_int.h"

#define FAR_SECONDS 3600.0

/* -- kinds for the tests -- */

static enum task_step step_ok(struct task_run *run)
{
    run->result = json_pack("{s:O, s:i}", "echo", run->payload, "attempt", (int)run->attempt);
    return TASK_STEP_DONE;
}

static enum task_step step_fail(struct task_run *run)
{
    snprintf(run->error, sizeof(run->error), "no luck today");
    return TASK_STEP_FAILED;
}

static enum task_step step_silent_fail(struct task_run *run)
{
    (void)run;
    return TASK_STEP_FAILED;
}

static enum task_step step_fail_in_latin1(struct task_run *run)
{
    snprintf(run->error, sizeof(run->error), "caf\xe9");
    return TASK_STEP_FAILED;
}

static enum task_step step_unterminated_error(struct task_run *run)
{
    memset(run->error, 'e', sizeof(run->error));
    return TASK_STEP_FAILED;
}

static enum task_step step_no_result(struct task_run *run)
{
    (void)run;
    return TASK_STEP_DONE;
}

static enum task_step step_latin1_result(struct task_run *run)
{
    run->result = json_string_nocheck("caf\xe9");
    return TASK_STEP_DONE;
}

/* LeakSanitizer's, where it is linked in. */
void __lsan_disable(void) __attribute__((weak));

static enum task_step step_result_nowhere(struct task_run *run)
{
    if (__lsan_disable) /* jansson crashes in the middle of its work: what it had allocated is lost */
        __lsan_disable();
    run->result = (json_t *)16;
    return TASK_STEP_DONE;
}

static enum task_step step_nonsense(struct task_run *run)
{
    (void)run;
    return (enum task_step)42;
}

static enum task_step step_wait_without_time(struct task_run *run)
{
    (void)run;
    return TASK_STEP_WAIT;
}

#define FAULTY __attribute__((noinline, no_sanitize("undefined", "address", "thread")))

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

static enum task_step step_abort(struct task_run *run)
{
    (void)run;
    abort();
}

static enum task_step step_illegal(struct task_run *run)
{
    (void)run;
    __builtin_trap();
}

static enum task_step step_bus(struct task_run *run)
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

static enum task_step step_overflow(struct task_run *run)
{
    volatile char seed = 1;

    return recurse(&seed, (int)run->attempt) == 0 ? TASK_STEP_DONE : TASK_STEP_WAIT;
}

/* Blocks its runner until the gate opens. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    unsigned inside;
    unsigned inside_max;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate_set(bool is_open)
{
    LOCK(&gate.lock);
    gate.is_open = is_open;
    gate.inside_max = 0;
    pthread_cond_broadcast(&gate.changed);
}

/* Waits until `count` steps are at the gate. */
static void gate_wait_for(unsigned count)
{
    uint64_t deadline_ns = in_ms(PATIENCE_MS);

    LOCK(&gate.lock);
    while (gate.inside < count) {
        struct timespec ts;
        assert_true(clock_now_ns() < deadline_ns);
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_sec++;
        pthread_cond_timedwait(&gate.changed, &gate.lock, &ts);
    }
}

static enum task_step step_gate(struct task_run *run)
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

/* Comes to the gate by way of the heap, so that the runner who watches the time is the one who gets stuck. */
static enum task_step step_nap_then_gate(struct task_run *run)
{
    run->wake_ns = run->started_ns + 5 * NS_PER_MS;
    return clock_now_ns() < run->wake_ns ? TASK_STEP_WAIT : step_gate(run);
}

/* Waits again and again until a while has passed since the start. */
static enum task_step step_naps(struct task_run *run)
{
    uint64_t now_ns = clock_now_ns();

    if (now_ns < run->started_ns + 3 * NS_PER_MS) {
        run->wake_ns = now_ns + NS_PER_MS;
        return TASK_STEP_WAIT;
    }
    return step_ok(run);
}

static int check_nothing(json_t *payload, struct task_problem *ret)
{
    (void)payload;
    (void)ret;
    return 0;
}

enum {
    OK,
    FAIL,
    GATE,
    NAPS,
    NAP_THEN_GATE,
    SILENT_FAIL,
    FAIL_IN_LATIN1,
    UNTERMINATED_ERROR,
    NO_RESULT,
    LATIN1_RESULT,
    RESULT_NOWHERE,
    NONSENSE,
    WAIT_WITHOUT_TIME,
    NULL_POINTER,
    DIVIDE,
    ABORT,
    ILLEGAL,
    BUS,
    OVERFLOW,
    KIND_COUNT,
    FIRST_BROKEN = SILENT_FAIL,
};

#define KIND(name, step)                                                                                     \
    {                                                                                                        \
        name, check_nothing, step                                                                            \
    }
static const struct task_kind kinds[KIND_COUNT] = {
    [OK] = KIND("ok", step_ok),
    [FAIL] = KIND("fail", step_fail),
    [GATE] = KIND("gate", step_gate),
    [NAPS] = KIND("naps", step_naps),
    [NAP_THEN_GATE] = KIND("nap_then_gate", step_nap_then_gate),
    [SILENT_FAIL] = KIND("silent_fail", step_silent_fail),
    [FAIL_IN_LATIN1] = KIND("fail_in_latin1", step_fail_in_latin1),
    [UNTERMINATED_ERROR] = KIND("unterminated_error", step_unterminated_error),
    [NO_RESULT] = KIND("no_result", step_no_result),
    [LATIN1_RESULT] = KIND("latin1_result", step_latin1_result),
    [RESULT_NOWHERE] = KIND("result_nowhere", step_result_nowhere),
    [NONSENSE] = KIND("nonsense", step_nonsense),
    [WAIT_WITHOUT_TIME] = KIND("wait_without_time", step_wait_without_time),
    [NULL_POINTER] = KIND("null_pointer", step_null),
    [DIVIDE] = KIND("divide", step_divide),
    [ABORT] = KIND("abort", step_abort),
    [ILLEGAL] = KIND("illegal", step_illegal),
    [BUS] = KIND("bus", step_bus),
    [OVERFLOW] = KIND("overflow", step_overflow),
};

/* What the task's error must say; of the kinds that are not named here any text will do. */
static const char *const expected_errors[KIND_COUNT] = {
    [FAIL] = "no luck today",
    [SILENT_FAIL] = "bug in task kind silent_fail: failed without an error",
    [FAIL_IN_LATIN1] = "bug in task kind fail_in_latin1: the error is not valid UTF-8",
    [NO_RESULT] = "bug in task kind no_result: done without a result",
    [LATIN1_RESULT] = "bug in task kind latin1_result: the result cannot be written as JSON",
    [NONSENSE] = "bug in task kind nonsense: the step returned nonsense",
    [WAIT_WITHOUT_TIME] = "bug in task kind wait_without_time: waits without a time",
    [NULL_POINTER] = "bug in task kind null_pointer: SIGSEGV at 0x0",
    [ABORT] = "bug in task kind abort: SIGABRT",
};

static const char *const expected_error_starts[KIND_COUNT] = {
    [UNTERMINATED_ERROR] = "eeee",
    [RESULT_NOWHERE] = "bug in task kind result_nowhere: SIGSEGV at 0x",
    [DIVIDE] = "bug in task kind divide: SIGFPE at 0x",
    [ILLEGAL] = "bug in task kind illegal: SIGILL at 0x",
    [BUS] = "bug in task kind bus: SIGBUS",
    [OVERFLOW] = "bug in task kind overflow: SIGSEGV at 0x",
};

/* -- a queue to test with -- */

static struct task_queue *create_queue(unsigned runners, size_t capacity, size_t keep)
{
    struct task_queue_config config = {
        .runners = runners, .queue_capacity = capacity, .keep_finished = keep, .max_bytes = 64 << 20};
    struct task_queue *queue;

    assert_int_equal(task_queue_create(&config, &queue, NULL), 0);
    return queue;
}

static struct task_queue *start_queue(unsigned runners, size_t capacity, size_t keep)
{
    struct task_queue *queue = create_queue(runners, capacity, keep);

    assert_int_equal(task_queue_start(queue, NULL), 0);
    return queue;
}

static int try_submit(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                      struct uuid *ret)
{
    struct task_view view;
    struct err err = {0};

    int rc = task_queue_submit(queue, kind, payload, &view, &err);
    assert_int_equal(rc, err.code);
    if (rc == 0) {
        assert_true(uuid_parse(view.id, ret));
        task_view_done(&view);
    }
    return rc;
}

static struct uuid submit(struct task_queue *queue, int kind)
{
    struct uuid id;

    assert_int_equal(try_submit(queue, &kinds[kind], json_object(), &id), 0);
    return id;
}

static json_t *sleep_payload(double seconds)
{
    return json_pack("{s:s, s:f}", "message", "good night", "duration", seconds);
}

static struct uuid submit_sleep(struct task_queue *queue, double seconds)
{
    struct uuid id;

    assert_int_equal(try_submit(queue, &kind_sleep, sleep_payload(seconds), &id), 0);
    return id;
}

static struct task_view get(struct task_queue *queue, const struct uuid *id)
{
    struct task_view view;

    assert_true(task_queue_get(queue, id, &view));
    return view;
}

static enum task_state state_of(struct task_queue *queue, const struct uuid *id)
{
    struct task_view view = get(queue, id);
    enum task_state state = view.state;

    task_view_done(&view);
    return state;
}

struct task_at {
    struct task_queue *queue;
    struct uuid id;
    enum task_state state;
};

static bool is_in_state(void *arg)
{
    struct task_at *at = arg;

    return state_of(at->queue, &at->id) == at->state;
}

static void wait_for_state(struct task_queue *queue, struct uuid id, enum task_state state)
{
    struct task_at at = {queue, id, state};

    wait_until(is_in_state, &at);
}

static size_t count_in(struct task_queue *queue, enum task_state state)
{
    size_t counts[TASK_STATE_COUNT];

    task_queue_counts(queue, counts);
    return counts[state];
}

static void drain_all(struct task_queue *queue)
{
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 0);
}

static int64_t metric_of(size_t row, size_t label0, size_t label1)
{
    return metric_value(&tasks_metrics[row], label0, label1);
}

/* -- states and heap -- */

static void states_allow_exactly_the_moves_of_the_diagram(void **state)
{
    static const char *const moves[] = {
        "scheduled queued",  "scheduled cancelled", "queued running",    "queued cancelled",
        "running succeeded", "running dead",        "running cancelled", "running scheduled",
    };
    size_t allowed = 0;

    (void)state;
    for (unsigned from = 0; from < TASK_STATE_COUNT; from++) {
        for (unsigned to = 0; to < TASK_STATE_COUNT; to++) {
            char move[64];
            bool expected = false;
            snprintf(move, sizeof(move), "%s %s", task_state_names[from], task_state_names[to]);
            for (size_t i = 0; i < ARRAY_LEN(moves); i++)
                expected = expected || strcmp(move, moves[i]) == 0;
            assert_int_equal(task_state_can_move(from, to), expected);
            allowed += expected;
        }
    }
    assert_int_equal(allowed, ARRAY_LEN(moves));
    assert_false(task_state_can_move(TASK_STATE_COUNT, TASK_STATE_DEAD));
    assert_false(task_state_can_move(TASK_STATE_RUNNING, TASK_STATE_COUNT));
}

static void states_that_lead_nowhere_are_final(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TASK_STATE_COUNT; i++)
        assert_int_equal(task_state_is_final(i), i >= TASK_STATE_SUCCEEDED);
}

static void heap_gives_the_earliest_first(void **state)
{
    enum { N = 1000 };
    struct task_heap heap;
    static struct task tasks[N]; /* only their addresses matter */
    uint64_t random = 1;
    uint64_t due[N];

    (void)state;
    assert_int_equal(task_heap_init(&heap, N), 0);
    assert_true(task_heap_due_ns(&heap) == CLOCK_NEVER);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            due[i] = random >> 55; /* many are equal */
            task_heap_push(&heap, due[i], &tasks[i]);
        }
        uint64_t last = 0;
        for (size_t i = 0; i < N; i++) {
            uint64_t now = task_heap_due_ns(&heap);
            assert_true(now >= last);
            assert_true(due[task_heap_pop(&heap) - tasks] == now);
            last = now;
        }
        assert_int_equal(heap.size, 0);
    }
    task_heap_done(&heap);
}

/* -- fence -- */

static void touch_null(void *arg)
{
    (void)arg;
    step_null(&(struct task_run){0});
}

static void do_nothing(void *arg)
{
    *(bool *)arg = true;
}

static void wait_for_a_signal(void *arg)
{
    char byte = 'x';

    if (write(*(int *)arg, &byte, 1) == 1)
        for (;;)
            pause();
}

/* Runs fn in a child process and tells whether the signal was its end. */
static bool dies_of(int signum, void (*fn)(int ready_fd), bool is_sent)
{
    int ready[2];
    int status;
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(signum, SIG_DFL); /* cmocka has a handler */
        if (!freopen("/dev/null", "w", stderr))
            _exit(0);
        fn(ready[1]);
        _exit(0);
    }
    close(ready[1]);
    if (is_sent) {
        assert_int_equal(read(ready[0], &byte, 1), 1);
        kill(pid, signum);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ready[0]);
    return WIFSIGNALED(status) && WTERMSIG(status) == signum;
}

static void fault_outside(int ready_fd)
{
    struct fence_thread fence;
    struct fence_fault fault;
    bool called = false;

    (void)ready_fd;
    fence_thread_init(&fence);
    if (fence_call(do_nothing, &called, &fault))
        touch_null(NULL);
}

static void abort_outside(int ready_fd)
{
    struct fence_thread fence;

    (void)ready_fd;
    fence_thread_init(&fence);
    abort();
}

static void wait_inside(int ready_fd)
{
    struct fence_thread fence;
    struct fence_fault fault;

    fence_thread_init(&fence);
    if (!fence_call(wait_for_a_signal, &ready_fd, &fault))
        _exit(0);
}

static void fence_leaves_other_faults_their_action(void **state)
{
    (void)state;
    assert_true(dies_of(SIGSEGV, fault_outside, false));
    assert_true(dies_of(SIGABRT, abort_outside, false));
    assert_true(dies_of(SIGSEGV, wait_inside, true));
    assert_true(dies_of(SIGABRT, wait_inside, true));
}

static void fence_catches_again_and_again_with_signals_blocked_before(void **state)
{
    struct fence_thread fence;
    struct fence_fault fault;
    sigset_t all;
    sigset_t before = {0};
    sigset_t after = {0};
    bool called = false;

    (void)state;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    fence_thread_init(&fence);
    for (unsigned i = 0; i < 100; i++) {
        assert_false(fence_call(touch_null, NULL, &fault));
        assert_int_equal(fault.signum, SIGSEGV);
        assert_int_equal(fault.address, 0);
    }
    assert_true(fence_call(do_nothing, &called, &fault));
    assert_true(called);
    fence_thread_done(&fence);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    assert_int_equal(sigismember(&after, SIGSEGV), 1);
}

/* -- queue: tasks from end to end -- */

static void task_succeeds_with_its_result(void **state)
{
    struct task_queue *queue = start_queue(2, 10, 10);
    struct uuid id;
    json_t *payload = json_pack("{s:s, s:f}", "text", "gr\xc3\xbc\xc3\x9f", "number", 0.1);

    (void)state;
    assert_int_equal(try_submit(queue, &kinds[OK], payload, &id), 0);
    drain_all(queue);

    struct task_view view = get(queue, &id);
    assert_int_equal(view.state, TASK_STATE_SUCCEEDED);
    assert_string_equal(view.kind, "ok");
    assert_int_equal(view.attempts, 1);
    assert_true(view.created_ms <= view.started_ms && view.started_ms <= view.finished_ms);
    json_t *json = task_view_json(&view);
    task_view_done(&view);
    task_queue_free(queue);

    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "succeeded");
    json_t *echo = json_object_get(json_object_get(json, "result"), "echo");
    assert_true(json_equal(echo, json_object_get(json, "payload")));
    assert_true(json_real_value(json_object_get(echo, "number")) == 0.1);
    assert_null(json_object_get(json, "error"));
    assert_int_equal(strlen(json_string_value(json_object_get(json, "finished_at"))), 24);
    json_decref(json);
}

static void queued_task_has_no_times_but_its_creation(void **state)
{
    struct task_queue *queue = create_queue(1, 10, 10);
    struct task_view view;

    (void)state;
    assert_int_equal(task_queue_submit(queue, &kinds[OK], json_object(), &view, NULL), 0);
    json_t *json = task_view_json(&view);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "queued");
    assert_int_equal(json_integer_value(json_object_get(json, "attempts")), 0);
    assert_non_null(json_object_get(json, "created_at"));
    assert_int_equal(json_object_size(json), 6); /* id, kind, state, attempts, created_at, payload */
    json_decref(json);
    task_view_done(&view);
    task_queue_free(queue);
}

static void failed_task_is_dead_with_its_error(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    int64_t faults = metric_of(TASK_METRIC_FAULTS, 0, 0);
    struct uuid id = submit(queue, FAIL);

    (void)state;
    drain_all(queue);
    struct task_view view = get(queue, &id);
    json_t *json = task_view_json(&view);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "dead");
    assert_string_equal(json_string_value(json_object_get(json, "error")), "no luck today");
    assert_null(json_object_get(json, "result"));
    json_decref(json);
    task_view_done(&view);
    task_queue_free(queue);
    assert_int_equal(metric_of(TASK_METRIC_FAULTS, 0, 0), faults);
}

static void failures_and_bugs_are_logged(void **state)
{
    static struct capture capture;
    struct task_queue *queue = start_queue(1, 10, 10);
    struct uuid failed, broken;
    char lines[2][256];
    (void)state;

    log_setup(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    capture_start(&capture);
    failed = submit(queue, FAIL);
    broken = submit(queue, SILENT_FAIL);
    drain_all(queue);
    const char *text = capture_stop(&capture);
    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);

    struct task_view views[2] = {get(queue, &failed), get(queue, &broken)};
    snprintf(lines[0], sizeof(lines[0]), "task failed task=%s kind=fail attempt=1 error=\"no luck today\"\n",
             views[0].id);
    snprintf(lines[1], sizeof(lines[1]), "task failed task=%s kind=silent_fail attempt=1 error=\"bug in ",
             views[1].id);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (!strstr(text, lines[i]))
            fail_msg("no \"%s\" in \"%s\"", lines[i], text);
        task_view_done(&views[i]);
    }
    task_queue_free(queue);
}

static void bugs_in_kinds_end_their_own_tasks_only(void **state)
{
    enum { ROUNDS = 3 };
    struct task_queue *queue = start_queue(2, 1000, 1000);
    int64_t faults = metric_of(TASK_METRIC_FAULTS, 0, 0);
    struct uuid ids[ROUNDS][KIND_COUNT];

    (void)state;
    for (int round = 0; round < ROUNDS; round++)
        for (int kind = FIRST_BROKEN; kind < KIND_COUNT; kind++)
            ids[round][kind] = submit(queue, kind);
    struct uuid last = submit(queue, OK);
    drain_all(queue);

    for (int round = 0; round < ROUNDS; round++) {
        for (int kind = FIRST_BROKEN; kind < KIND_COUNT; kind++) {
            struct task_view view = get(queue, &ids[round][kind]);
            assert_int_equal(view.state, TASK_STATE_DEAD);
            if (expected_errors[kind])
                assert_string_equal(view.error, expected_errors[kind]);
            else
                assert_int_equal(
                    strncmp(view.error, expected_error_starts[kind], strlen(expected_error_starts[kind])), 0);
            task_view_done(&view);
        }
    }
    assert_int_equal(state_of(queue, &last), TASK_STATE_SUCCEEDED);
    task_queue_free(queue);
    /* All of them but the one that only forgot to end its text. */
    assert_int_equal(metric_of(TASK_METRIC_FAULTS, 0, 0) - faults, ROUNDS * (KIND_COUNT - FIRST_BROKEN - 1));
}

static void task_that_waits_is_called_again_in_the_same_attempt(void **state)
{
    struct task_queue *queue = start_queue(2, 10, 10);
    struct uuid id = submit(queue, NAPS);

    (void)state;
    drain_all(queue);
    struct task_view view = get(queue, &id);
    assert_int_equal(view.state, TASK_STATE_SUCCEEDED);
    assert_int_equal(view.attempts, 1);
    assert_string_equal(view.result, "{\"echo\":{},\"attempt\":1}");
    task_view_done(&view);
    task_queue_free(queue);
}

static void unknown_id_is_not_found(void **state)
{
    struct task_queue *queue = create_queue(1, 10, 10);
    struct task_view view;
    struct uuid id = {{0}};

    (void)state;
    assert_false(task_queue_get(queue, &id, &view));
    submit(queue, OK);
    assert_false(task_queue_get(queue, &id, &view));
    task_queue_free(queue);
}

static void list_has_the_newest_first_up_to_the_limit(void **state)
{
    struct task_queue *queue = create_queue(1, 10, 10);
    struct task_view views[10];
    char ids[5][UUID_TEXT_SIZE];

    (void)state;
    assert_int_equal(task_queue_list(queue, 10, views), 0);
    for (unsigned i = 0; i < 5; i++) {
        struct uuid id = submit(queue, OK);
        uuid_format(&id, ids[i]);
    }
    assert_int_equal(task_queue_list(queue, 0, views), 0);
    for (size_t limit = 1; limit <= 10; limit += 3) {
        size_t count = task_queue_list(queue, limit, views);
        assert_int_equal(count, MIN(limit, 5u));
        for (size_t i = 0; i < count; i++) {
            assert_string_equal(views[i].id, ids[4 - i]);
            task_view_done(&views[i]);
        }
    }
    task_queue_free(queue);
}

static void oldest_finished_task_goes_and_its_view_stays(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 3);
    struct task_view first;
    struct task_view view;
    struct uuid ids[6];
    struct uuid blocked;

    (void)state;
    gate_set(true);
    assert_int_equal(task_queue_submit(queue, &kinds[OK], json_pack("{s:i}", "n", 7), &first, NULL), 0);
    assert_true(uuid_parse(first.id, &ids[0]));
    for (unsigned i = 1; i < 6; i++)
        ids[i] = submit(queue, OK);
    wait_for_state(queue, ids[5], TASK_STATE_SUCCEEDED);
    blocked = submit(queue, GATE);
    wait_for_state(queue, blocked, TASK_STATE_SUCCEEDED);

    for (unsigned i = 0; i < 6; i++) {
        bool is_kept = task_queue_get(queue, &ids[i], &view);
        assert_int_equal(is_kept, i >= 4);
        if (is_kept)
            task_view_done(&view);
    }
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), 3);
    task_queue_free(queue);
    assert_string_equal(first.payload, "{\"n\":7}");
    task_view_done(&first);
}

static void nothing_is_kept_when_so_configured(void **state)
{
    struct task_queue *queue = start_queue(2, 100, 0);
    struct task_view view;

    (void)state;
    for (unsigned i = 0; i < 50; i++)
        submit(queue, i % 2 ? OK : FAIL);
    drain_all(queue);
    assert_int_equal(task_queue_list(queue, 1, &view), 0);
    task_queue_free(queue);
}

/* -- queue: overflow, drain, stop -- */

/* About 48 KiB each, as JSON. */
static json_t *large_payload(double seconds)
{
    char message[8192];

    memset(message, 1, sizeof(message));
    return json_pack("{s:s%, s:f}", "message", message, sizeof(message), "duration", seconds);
}

static void bytes_of_tasks_are_bounded(void **state)
{
    struct task_queue_config config = {
        .runners = 2, .queue_capacity = 1000, .keep_finished = 1000, .max_bytes = 1 << 20};
    struct task_queue *queue;
    struct uuid id;
    int64_t refused = metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_BYTES, 0);
    int rc = 0;
    (void)state;

    assert_int_equal(task_queue_create(&config, &queue, NULL), 0);
    assert_int_equal(task_queue_start(queue, NULL), 0);
    /* Finished ones, of twice the size, make room. */
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(try_submit(queue, &kind_sleep, large_payload(0), &id), 0);
        wait_for_state(queue, id, TASK_STATE_SUCCEEDED);
    }
    assert_in_range(count_in(queue, TASK_STATE_SUCCEEDED), 5, 10);
    /* Those that sleep do not. */
    size_t accepted = 0;
    while (accepted < 1000 && (rc = try_submit(queue, &kind_sleep, large_payload(3600), &id)) == 0)
        accepted++;
    assert_int_equal(rc, -ENOSPC);
    assert_in_range(accepted, 15, 21);
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), 0);
    assert_int_equal(metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_BYTES, 0) - refused, 1);
    /* One that is refused anyhow costs nobody his record. */
    id = submit(queue, OK);
    wait_for_state(queue, id, TASK_STATE_SUCCEEDED);
    assert_int_equal(try_submit(queue, &kind_sleep, large_payload(3600), &id), -ENOSPC);
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), 1);
    task_queue_free(queue);
}

static void push_to_full_queue_reports_full(void **state)
{
    struct task_queue *queue = start_queue(2, 3, 10);
    int64_t full = metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_FULL, 0);
    struct uuid id;

    (void)state;
    gate_set(false);
    struct uuid gated = submit(queue, GATE);
    struct uuid asleep = submit_sleep(queue, FAR_SECONDS);
    submit(queue, GATE);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(try_submit(queue, &kinds[OK], json_object(), &id), -EAGAIN);
    assert_int_equal(metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_FULL, 0) - full, 2);

    gate_set(true);
    wait_for_state(queue, gated, TASK_STATE_SUCCEEDED);
    id = submit(queue, OK);
    wait_for_state(queue, id, TASK_STATE_SUCCEEDED);
    wait_for_state(queue, asleep, TASK_STATE_RUNNING);
    task_queue_free(queue);
}

static void runners_work_side_by_side_and_no_more_than_configured(void **state)
{
    struct task_queue *queue = start_queue(3, 10, 10);

    (void)state;
    /* One runner watches the time: it has to join in as well. */
    wait_for_state(queue, submit_sleep(queue, FAR_SECONDS), TASK_STATE_RUNNING);
    gate_set(false);
    for (unsigned i = 0; i < 5; i++)
        submit(queue, GATE);
    gate_wait_for(3);
    assert_int_equal(count_in(queue, TASK_STATE_QUEUED), 2);
    assert_int_equal(metric_of(TASK_METRIC_QUEUE_DEPTH, 0, 0), 2);
    {
        LOCK(&gate.lock);
        assert_int_equal(gate.inside_max, 3);
    }
    gate_set(true);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 1);
    task_queue_free(queue);
}

static void sleeper_wakes_while_another_runner_is_blocked(void **state)
{
    struct task_queue *queue = start_queue(2, 10, 10);

    (void)state;
    /* Whichever runner watches the time: one of them is taken away from it. */
    for (unsigned round = 0; round < 5; round++) {
        gate_set(false);
        struct uuid asleep = submit_sleep(queue, 0.005);
        struct uuid gated = submit(queue, GATE);
        gate_wait_for(1);
        wait_for_state(queue, asleep, TASK_STATE_SUCCEEDED);
        gate_set(true);
        wait_for_state(queue, gated, TASK_STATE_SUCCEEDED);
    }
    task_queue_free(queue);
}

static void time_is_watched_when_its_watcher_is_blocked(void **state)
{
    struct task_queue *queue = start_queue(3, 10, 10);

    (void)state;
    gate_set(false);
    submit(queue, NAP_THEN_GATE);
    submit(queue, NAP_THEN_GATE);
    struct uuid asleep = submit_sleep(queue, 0.03);
    gate_wait_for(2);
    wait_for_state(queue, asleep, TASK_STATE_SUCCEEDED);
    gate_set(true);
    drain_all(queue);
    task_queue_free(queue);
}

static void earlier_sleeper_overtakes_a_later_one(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    struct uuid late = submit_sleep(queue, FAR_SECONDS);

    (void)state;
    wait_for_state(queue, late, TASK_STATE_RUNNING);
    struct uuid early = submit_sleep(queue, 0.001);
    wait_for_state(queue, early, TASK_STATE_SUCCEEDED);
    assert_int_equal(state_of(queue, &late), TASK_STATE_RUNNING);
    task_queue_free(queue);
}

static void drain_refuses_new_tasks_and_finishes_the_old(void **state)
{
    struct task_queue *queue = start_queue(1, 100, 100);
    int64_t stopping = metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_STOPPING, 0);
    struct uuid id;

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        submit_sleep(queue, 0.001 * i);
    drain_all(queue);
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), 20);
    assert_int_equal(try_submit(queue, &kinds[OK], json_object(), &id), -ESHUTDOWN);
    assert_int_equal(metric_of(TASK_METRIC_REJECTED, TASK_REJECTED_STOPPING, 0) - stopping, 1);
    task_queue_free(queue);
}

static void drain_does_not_wait_for_far_sleepers(void **state)
{
    struct task_queue *queue = start_queue(2, 10, 10);
    uint64_t deadline_ns = in_ms(PATIENCE_MS);

    (void)state;
    submit_sleep(queue, FAR_SECONDS);
    struct uuid near = submit_sleep(queue, 0.01);
    assert_int_equal(task_queue_drain(queue, deadline_ns), 1);
    assert_true(clock_now_ns() < deadline_ns);
    assert_int_equal(state_of(queue, &near), TASK_STATE_SUCCEEDED);
    task_queue_free(queue);
}

static void drain_gives_up_at_its_deadline(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);

    (void)state;
    gate_set(false);
    submit(queue, GATE);
    submit(queue, OK);
    gate_wait_for(1);
    assert_int_equal(task_queue_drain(queue, in_ms(1)), 2);
    assert_int_equal(task_queue_drain(queue, 0), 2);
    gate_set(true);
    drain_all(queue);
    task_queue_free(queue);
}

static void any_order_of_ending_is_fine(void **state)
{
    struct task_queue *queue = create_queue(2, 10, 10);
    struct uuid id;

    (void)state;
    task_queue_free(NULL);
    task_queue_free(queue);

    queue = create_queue(2, 10, 10);
    submit(queue, OK);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 1);
    task_queue_stop(queue);
    task_queue_stop(queue);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 1);
    task_queue_free(queue);

    queue = start_queue(2, 10, 10);
    submit_sleep(queue, FAR_SECONDS);
    task_queue_stop(queue);
    assert_int_equal(try_submit(queue, &kinds[OK], json_object(), &id), -ESHUTDOWN);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 1);
    task_queue_free(queue);
}

static void *stop_queue(void *arg)
{
    task_queue_stop(arg);
    return NULL;
}

static void stop_waits_for_the_step_that_runs(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    pthread_t stopper;
    struct uuid id;

    (void)state;
    gate_set(false);
    struct uuid gated = submit(queue, GATE);
    struct uuid queued = submit(queue, OK);
    gate_wait_for(1);
    assert_int_equal(thread_start(&stopper, "stopper", stop_queue, queue, NULL), 0);
    while (try_submit(queue, &kinds[OK], json_object(), &id) != -ESHUTDOWN)
        usleep(100);
    gate_set(true);
    thread_join(stopper);
    assert_int_equal(state_of(queue, &gated), TASK_STATE_SUCCEEDED);
    assert_int_equal(state_of(queue, &queued), TASK_STATE_QUEUED);
    task_queue_free(queue);
}

/* -- queue: many -- */

#define MANY 10000

static bool all_are_asleep(void *arg)
{
    return metric_of(TASK_METRIC_SLEEPING, 0, 0) == *(int *)arg;
}

static void ten_thousand_sleep_at_once_and_hold_no_thread(void **state)
{
    struct task_queue *queue = start_queue(2, MANY + 1, 10);
    int many = MANY;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        submit_sleep(queue, FAR_SECONDS - 0.001 * (i % 7));
    wait_until(all_are_asleep, &many);
    assert_int_equal(count_in(queue, TASK_STATE_RUNNING), MANY);
    struct uuid id = submit(queue, OK);
    wait_for_state(queue, id, TASK_STATE_SUCCEEDED);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), MANY);
    task_queue_free(queue);
    assert_int_equal(metric_of(TASK_METRIC_SLEEPING, 0, 0), 0);
}

static void ten_thousand_sleepers_all_finish(void **state)
{
    struct task_queue *queue = start_queue(2, MANY, MANY);

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        submit_sleep(queue, 0.001 * (i * 7919 % 200));
    drain_all(queue);
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), MANY);
    task_queue_free(queue);
}

enum { SUBMITTERS = 4, PER_SUBMITTER = 500, READERS = 2 };

struct crowd {
    struct task_queue *queue;
    atomic_bool is_over;
    atomic_uint accepted;
};

static void *submit_many(void *arg)
{
    struct crowd *crowd = arg;
    static const int mix[] = {OK, FAIL, NAPS, OK, NULL_POINTER, OK};

    for (unsigned i = 0; i < PER_SUBMITTER; i++) {
        struct task_view view;
        const struct task_kind *kind = &kinds[mix[i % ARRAY_LEN(mix)]];
        if (task_queue_submit(crowd->queue, kind, json_object(), &view, NULL) != 0)
            abort();
        atomic_fetch_add(&crowd->accepted, 1);
        task_view_done(&view);
    }
    return NULL;
}

/* Renders what it finds while runners change it. */
static void *read_many(void *arg)
{
    struct crowd *crowd = arg;
    struct task_view views[20];
    struct uuid id;

    while (!atomic_load(&crowd->is_over)) {
        size_t count = task_queue_list(crowd->queue, ARRAY_LEN(views), views);
        for (size_t i = 0; i < count; i++) {
            struct task_view again;
            json_t *json = task_view_json(&views[i]);
            if (!json || !uuid_parse(views[i].id, &id))
                abort();
            if (task_queue_get(crowd->queue, &id, &again))
                task_view_done(&again);
            task_view_done(&views[i]);
            json_decref(json);
        }
    }
    return NULL;
}

static void many_submit_while_others_read(void **state)
{
    struct crowd crowd = {.queue = start_queue(3, SUBMITTERS * PER_SUBMITTER, 50)};
    pthread_t submitters[SUBMITTERS];
    pthread_t readers[READERS];
    size_t counts[TASK_STATE_COUNT];

    (void)state;
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&readers[i], "reader", read_many, &crowd, NULL), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        assert_int_equal(thread_start(&submitters[i], "submitter", submit_many, &crowd, NULL), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        thread_join(submitters[i]);
    drain_all(crowd.queue);
    atomic_store(&crowd.is_over, true);
    for (unsigned i = 0; i < READERS; i++)
        thread_join(readers[i]);

    task_queue_counts(crowd.queue, counts);
    assert_int_equal(atomic_load(&crowd.accepted), SUBMITTERS * PER_SUBMITTER);
    assert_int_equal(counts[TASK_STATE_SUCCEEDED] + counts[TASK_STATE_DEAD], 50);
    assert_int_equal(counts[TASK_STATE_QUEUED] + counts[TASK_STATE_RUNNING], 0);
    task_queue_free(crowd.queue);
}

/* -- the kind sleep, and the table of kinds -- */

static void sleep_hands_the_message_back(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    struct uuid id = submit_sleep(queue, 0.002);

    (void)state;
    drain_all(queue);
    struct task_view view = get(queue, &id);
    assert_int_equal(view.state, TASK_STATE_SUCCEEDED);
    json_t *result = json_loads(view.result, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(result, "message")), "good night");
    assert_true(json_real_value(json_object_get(result, "slept")) >= 0.002);
    json_decref(result);
    task_view_done(&view);
    task_queue_free(queue);
}

static void sleep_check_names_the_field_and_what_is_allowed(void **state)
{
    static const struct {
        const char *payload;
        int type; /* -1: accepted */
        const char *field;
    } cases[] = {
        {"{\"message\": \"x\", \"duration\": 5}", -1, NULL},
        {"{\"message\": \"\", \"duration\": 0}", -1, NULL},
        {"{\"message\": \"x\", \"duration\": 86400.0, \"more\": 1}", -1, NULL},
        {"{}", TASK_PROBLEM_MISSING, "message"},
        {"[]", TASK_PROBLEM_MISSING, "message"},
        {"{\"duration\": \"wrong as well\"}", TASK_PROBLEM_MISSING, "message"},
        {"{\"message\": 7}", TASK_PROBLEM_MISSING, "duration"},
        {"{\"message\": null, \"duration\": 5}", TASK_PROBLEM_INVALID, "message"},
        {"{\"message\": [\"x\"], \"duration\": 5}", TASK_PROBLEM_INVALID, "message"},
        {"{\"message\": \"x\", \"duration\": null}", TASK_PROBLEM_INVALID, "duration"},
        {"{\"message\": \"x\", \"duration\": \"5\"}", TASK_PROBLEM_INVALID, "duration"},
        {"{\"message\": \"x\", \"duration\": true}", TASK_PROBLEM_INVALID, "duration"},
        {"{\"message\": \"x\", \"duration\": -0.001}", TASK_PROBLEM_INVALID, "duration"},
        {"{\"message\": \"x\", \"duration\": 86400.5}", TASK_PROBLEM_INVALID, "duration"},
        {"{\"message\": \"x\", \"duration\": 9223372036854775807}", TASK_PROBLEM_INVALID, "duration"},
        {"{\"message\": \"x\", \"duration\": 1e300}", TASK_PROBLEM_INVALID, "duration"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct task_problem problem = {0};
        json_t *payload = json_loads(cases[i].payload, 0, NULL);
        int rc = kind_sleep.check(payload, &problem);
        json_decref(payload);
        assert_int_equal(rc, cases[i].type == -1 ? 0 : -EINVAL);
        if (rc == 0)
            continue;
        assert_int_equal(problem.type, cases[i].type);
        assert_string_equal(problem.field, cases[i].field);
        assert_int_equal(strncmp(problem.text, problem.field, strlen(problem.field)), 0);
    }
}

static FAULTY int check_null(json_t *payload, struct task_problem *ret)
{
    volatile int *volatile nowhere = NULL;

    (void)payload;
    (void)ret;
    *nowhere = 1;
    return 0;
}

/* In a request thread, which has no fence of its own. */
static void a_check_that_crashes_is_a_problem_of_its_kind(void **state)
{
    static const struct task_kind faulty = {.name = "faulty", .check = check_null};
    int64_t faults = metric_of(TASK_METRIC_FAULTS, 0, 0);
    json_t *payload = sleep_payload(1);
    struct task_problem problem;
    sigset_t before = {0};
    sigset_t after = {0};
    (void)state;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(task_kind_check(&faulty, payload, &problem), -EINVAL);
    assert_int_equal(problem.type, TASK_PROBLEM_BUG);
    assert_string_equal(problem.text, "bug in task kind faulty: SIGSEGV");
    assert_int_equal(metric_of(TASK_METRIC_FAULTS, 0, 0) - faults, 1);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(task_kind_check(&kind_sleep, payload, &problem), 0);
    json_decref(payload);
}

static void sleep_message_is_limited_in_bytes(void **state)
{
    char message[8194];
    struct task_problem problem;

    (void)state;
    for (unsigned size = 8192; size <= 8193; size++) {
        memset(message, 'm', size);
        message[size] = '\0';
        json_t *payload = json_pack("{s:s, s:i}", "message", message, "duration", 1);
        assert_int_equal(kind_sleep.check(payload, &problem), size <= 8192 ? 0 : -EINVAL);
        json_decref(payload);
    }
}

static void kinds_are_found_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; task_kinds[i]; i++) {
        assert_ptr_equal(task_kind_find(task_kinds[i]->name), task_kinds[i]);
        assert_string_equal(tasks_metrics[TASK_METRIC_SUBMITTED].labels[0].values[i], task_kinds[i]->name);
        assert_int_equal(task_metric_kind(task_kinds[i]), i);
    }
    assert_null(task_kind_find("no such kind"));
}

static void metrics_add_up_when_all_is_over(void **state)
{
    int64_t submitted = 0;
    int64_t finished = 0;
    size_t kind_values = tasks_metrics[TASK_METRIC_SUBMITTED].labels[0].count;
    struct task_queue *queue = start_queue(2, 100, 100);
    size_t other = task_metric_kind(&kinds[OK]);
    int64_t dead = metric_of(TASK_METRIC_FINISHED, other, TASK_STATE_DEAD);

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        submit(queue, i < 3 ? FAIL : OK);
    drain_all(queue);
    assert_int_equal(metric_of(TASK_METRIC_FINISHED, other, TASK_STATE_DEAD) - dead, 3);
    assert_int_equal(metric_of(TASK_METRIC_TASKS, TASK_STATE_DEAD, 0), 3);
    assert_int_equal(metric_of(TASK_METRIC_TASKS, TASK_STATE_SUCCEEDED, 0), 7);
    task_queue_free(queue);

    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        assert_int_equal(metric_of(TASK_METRIC_TASKS, i, 0), 0);
    assert_int_equal(metric_of(TASK_METRIC_QUEUE_DEPTH, 0, 0), 0);
    assert_int_equal(metric_of(TASK_METRIC_SLEEPING, 0, 0), 0);
    for (size_t kind = 0; kind < kind_values; kind++) {
        submitted += metric_of(TASK_METRIC_SUBMITTED, kind, 0);
        for (size_t i = 0; i < TASK_STATE_COUNT; i++)
            finished += metric_of(TASK_METRIC_FINISHED, kind, i);
    }
    assert_true(submitted >= finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_allow_exactly_the_moves_of_the_diagram),
        cmocka_unit_test(states_that_lead_nowhere_are_final),
        cmocka_unit_test(heap_gives_the_earliest_first),
        cmocka_unit_test(fence_leaves_other_faults_their_action),
        cmocka_unit_test(fence_catches_again_and_again_with_signals_blocked_before),
        cmocka_unit_test(task_succeeds_with_its_result),
        cmocka_unit_test(queued_task_has_no_times_but_its_creation),
        cmocka_unit_test(failed_task_is_dead_with_its_error),
        cmocka_unit_test(failures_and_bugs_are_logged),
        cmocka_unit_test(bugs_in_kinds_end_their_own_tasks_only),
        cmocka_unit_test(task_that_waits_is_called_again_in_the_same_attempt),
        cmocka_unit_test(unknown_id_is_not_found),
        cmocka_unit_test(list_has_the_newest_first_up_to_the_limit),
        cmocka_unit_test(oldest_finished_task_goes_and_its_view_stays),
        cmocka_unit_test(nothing_is_kept_when_so_configured),
        cmocka_unit_test(push_to_full_queue_reports_full),
        cmocka_unit_test(bytes_of_tasks_are_bounded),
        cmocka_unit_test(runners_work_side_by_side_and_no_more_than_configured),
        cmocka_unit_test(sleeper_wakes_while_another_runner_is_blocked),
        cmocka_unit_test(time_is_watched_when_its_watcher_is_blocked),
        cmocka_unit_test(earlier_sleeper_overtakes_a_later_one),
        cmocka_unit_test(drain_refuses_new_tasks_and_finishes_the_old),
        cmocka_unit_test(drain_does_not_wait_for_far_sleepers),
        cmocka_unit_test(drain_gives_up_at_its_deadline),
        cmocka_unit_test(any_order_of_ending_is_fine),
        cmocka_unit_test(stop_waits_for_the_step_that_runs),
        cmocka_unit_test(ten_thousand_sleep_at_once_and_hold_no_thread),
        cmocka_unit_test(ten_thousand_sleepers_all_finish),
        cmocka_unit_test(many_submit_while_others_read),
        cmocka_unit_test(sleep_hands_the_message_back),
        cmocka_unit_test(sleep_check_names_the_field_and_what_is_allowed),
        cmocka_unit_test(a_check_that_crashes_is_a_problem_of_its_kind),
        cmocka_unit_test(sleep_message_is_limited_in_bytes),
        cmocka_unit_test(kinds_are_found_by_name),
        cmocka_unit_test(metrics_add_up_when_all_is_over),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
