/* The parts of background tasks: states, back-off, fence, the kind `sleep`, the table of kinds. */
#include "task_kinds.h"

#include "base/log.h"
#include "tasks/fence.h"

/* -- states and back-off -- */

static void states_allow_exactly_the_moves_of_the_diagram(void **state)
{
    static const char *const moves[] = {
        "scheduled queued",  "scheduled cancelled", "queued running",    "queued cancelled",
        "queued dead",       "queued scheduled",    "running succeeded", "running dead",
        "running cancelled", "running scheduled",   "running queued",    "dead queued",
        "cancelled queued",
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

static void backoff_grows_up_to_its_limit(void **state)
{
    static const struct {
        double factor;
        uint64_t waits_ms[6];
    } rows[] = {
        {2, {100, 200, 400, 800, 1000, 1000}},
        {1, {100, 100, 100, 100, 100, 100}},
        {0.5, {100, 50, 25, 13, 6, 3}},
        {1e300, {100, 1000, 1000, 1000, 1000, 1000}},
        {0, {100, 0, 0, 0, 0, 0}},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct task_backoff backoff = {.base_ms = 100, .factor = rows[i].factor, .max_ms = 1000};
        for (unsigned attempt = 1; attempt <= 6; attempt++)
            assert_int_equal(task_backoff_ms(&backoff, attempt, 0.9), rows[i].waits_ms[attempt - 1]);
        assert_in_range(task_backoff_ms(&backoff, UINT32_MAX, 0.9), 0, 1000); /* and soon */
    }
}

static void backoff_varies_by_its_jitter_within_the_limit(void **state)
{
    struct task_backoff backoff = {.base_ms = 1000, .factor = 2, .max_ms = 2100, .jitter = 0.5};
    (void)state;

    assert_int_equal(task_backoff_ms(&backoff, 1, 0), 500);
    assert_int_equal(task_backoff_ms(&backoff, 1, 0.5), 1000);
    assert_int_equal(task_backoff_ms(&backoff, 1, 1), 1500);
    assert_int_equal(task_backoff_ms(&backoff, 2, 0), 1000);
    assert_int_equal(task_backoff_ms(&backoff, 2, 1), 2100);
    backoff.jitter = 1;
    assert_int_equal(task_backoff_ms(&backoff, 1, 0), 0);
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

/* -- the kind sleep, and the table of kinds -- */

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
        int rc = kind_sleep.check(payload, NULL, &problem);
        json_decref(payload);
        assert_int_equal(rc, cases[i].type == -1 ? 0 : -EINVAL);
        if (rc == 0)
            continue;
        assert_int_equal(problem.type, cases[i].type);
        assert_string_equal(problem.field, cases[i].field);
        assert_int_equal(strncmp(problem.text, problem.field, strlen(problem.field)), 0);
    }
}

static FAULTY int check_null(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    volatile int *volatile nowhere = NULL;

    (void)payload;
    (void)services;
    (void)ret;
    *nowhere = 1;
    return 0;
}

/* In a request thread, which has no fence of its own. */
static void a_check_that_crashes_is_a_problem_of_its_kind(void **state)
{
    static const struct task_kind faulty = {.name = "faulty", .check = check_null};
    int64_t faults = metric_of(TASK_METRIC_FAULTS, 0, 0);
    json_t *payload = json_pack("{s:s, s:i}", "message", "good night", "duration", 1);
    struct task_problem problem;
    sigset_t before = {0};
    sigset_t after = {0};
    (void)state;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(task_kind_check(&faulty, payload, NULL, &problem), -EINVAL);
    assert_int_equal(problem.type, TASK_PROBLEM_BUG);
    assert_string_equal(problem.text, "bug in task kind faulty: SIGSEGV");
    assert_int_equal(metric_of(TASK_METRIC_FAULTS, 0, 0) - faults, 1);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(task_kind_check(&kind_sleep, payload, NULL, &problem), 0);
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
        assert_int_equal(kind_sleep.check(payload, NULL, &problem), size <= 8192 ? 0 : -EINVAL);
        json_decref(payload);
    }
}

static void kinds_are_found_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; task_kinds[i]; i++) {
        assert_ptr_equal(task_kind_find(task_kinds, task_kinds[i]->name), task_kinds[i]);
        assert_string_equal(tasks_metrics[TASK_METRIC_SUBMITTED].labels[0].values[i], task_kinds[i]->name);
        assert_int_equal(task_metric_kind(task_kinds[i]), i);
    }
    assert_null(task_kind_find(task_kinds, "no such kind"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_allow_exactly_the_moves_of_the_diagram),
        cmocka_unit_test(states_that_lead_nowhere_are_final),
        cmocka_unit_test(backoff_grows_up_to_its_limit),
        cmocka_unit_test(backoff_varies_by_its_jitter_within_the_limit),
        cmocka_unit_test(fence_leaves_other_faults_their_action),
        cmocka_unit_test(fence_catches_again_and_again_with_signals_blocked_before),
        cmocka_unit_test(sleep_check_names_the_field_and_what_is_allowed),
        cmocka_unit_test(a_check_that_crashes_is_a_problem_of_its_kind),
        cmocka_unit_test(sleep_message_is_limited_in_bytes),
        cmocka_unit_test(kinds_are_found_by_name),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("tasks", tests, NULL, NULL);
}
