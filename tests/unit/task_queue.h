/* task_queue.h - a task queue to test with: kinds that misbehave on command, a store in a folder of its own,
 * and calls that wait for their answer. */
#pragma once

#include "harness.h"

#include <semaphore.h>

#include "tasks/metrics.h"
#include "tasks/queue.h"
#include "tasks/tasks_int.h"
#include "tasks/view.h"

#define FAR_SECONDS 3600.0

/* -- kinds for the tests -- */

static inline enum task_step step_ok(struct task_run *run)
{
    run->result = json_pack("{s:O, s:i}", "echo", run->payload, "attempt", (int)run->attempt);
    return TASK_STEP_DONE;
}

static inline enum task_step step_fail(struct task_run *run)
{
    snprintf(run->error, sizeof(run->error), "no luck today");
    return TASK_STEP_FAILED;
}

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

/* Blocks its runner until the gate opens. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    unsigned inside;
    unsigned inside_max;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

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
    while (gate.inside < count) {
        struct timespec ts;
        assert_true(clock_now_ns() < deadline_ns);
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_sec++;
        pthread_cond_timedwait(&gate.changed, &gate.lock, &ts);
    }
}

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

/* Comes to the gate by way of the heap, so that the runner who watches the time is the one who gets stuck. */
static inline enum task_step step_nap_then_gate(struct task_run *run)
{
    run->wake_ns = run->started_ns + 5 * NS_PER_MS;
    return clock_now_ns() < run->wake_ns ? TASK_STEP_WAIT : step_gate(run);
}

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

static inline int check_nothing(json_t *payload, struct task_problem *ret)
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

/* All of these, kind `sleep`, and NULL. */
static const struct task_kind *all_kinds[KIND_COUNT + 2];

/* -- the folder of the stores -- */

static char store_folder[] = "/tmp/tasks-XXXXXX";
static unsigned store_count;

static inline int make_store_folder(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++)
        all_kinds[i] = &kinds[i];
    all_kinds[KIND_COUNT] = &kind_sleep;
    return mkdtemp(store_folder) ? 0 : -1;
}

static inline int remove_store_folder(void **state)
{
    DIR *dir = opendir(store_folder);
    struct dirent *entry;

    (void)state;
    if (!dir)
        return -1;
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(store_folder);
}

/* -- a queue -- */

struct test_queue_options {
    unsigned runners;
    size_t max_running;
    uint64_t capacity;
    uint64_t keep_finished;
    bool same_store; /* as the queue before */
    void (*failed)(void *arg);
    void *arg;
};

static inline struct task_queue *create_queue_with(const struct test_queue_options *options)
{
    static char where[64]; /* of the last queue: a test has one at a time */
    struct task_queue_config config = {
        .store = &task_store_sqlite,
        .where = where,
        .kinds = all_kinds,
        .runners = options->runners,
        .readers = 2,
        .max_running = options->max_running,
        .capacity = options->capacity,
        .keep_finished = options->keep_finished,
        .max_interruptions = 3,
        .failed = options->failed,
        .arg = options->arg,
    };
    struct task_queue *queue;
    struct err err = {0};

    snprintf(where, sizeof(where), "%s/%u.db", store_folder,
             options->same_store ? store_count : ++store_count);
    if (task_queue_create(&config, &queue, &err) != 0)
        fail_msg("%s", err.text);
    return queue;
}

static inline struct task_queue *start_queue_with(const struct test_queue_options *options)
{
    struct task_queue *queue = create_queue_with(options);
    struct err err = {0};

    if (task_queue_start(queue, &err) != 0)
        fail_msg("%s", err.text);
    return queue;
}

static inline struct task_queue *create_queue(unsigned runners, uint64_t capacity, uint64_t keep)
{
    return create_queue_with(&(struct test_queue_options){
        .runners = runners, .max_running = 20000, .capacity = capacity, .keep_finished = keep});
}

static inline struct task_queue *start_queue(unsigned runners, uint64_t capacity, uint64_t keep)
{
    struct task_queue *queue = create_queue(runners, capacity, keep);
    struct err err = {0};

    if (task_queue_start(queue, &err) != 0)
        fail_msg("%s", err.text);
    return queue;
}

/* -- calls that wait -- */

struct waiting_submit {
    struct task_submit submit;
    sem_t answered;
};

static inline void on_submit_answered(struct task_submit *submit)
{
    sem_post(&container_of(submit, struct waiting_submit, submit)->answered);
}

/* The answer is in `ret`, whose task is to be given back. */
static inline int submit_and_wait(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                                  struct waiting_submit *ret)
{
    *ret = (struct waiting_submit){.submit.done = on_submit_answered};
    sem_init(&ret->answered, 0, 0);
    task_queue_submit(queue, kind, payload, &ret->submit);
    while (sem_wait(&ret->answered) != 0)
        continue;
    sem_destroy(&ret->answered);
    assert_int_equal(ret->submit.rc, ret->submit.err.code);
    return ret->submit.rc;
}

static inline int try_submit(struct task_queue *queue, const struct task_kind *kind, json_t *payload,
                             struct uuid *ret)
{
    struct waiting_submit answer;
    int rc = submit_and_wait(queue, kind, payload, &answer);

    if (rc == 0)
        *ret = answer.submit.task->id;
    task_unref(answer.submit.task);
    return rc;
}

static inline struct uuid submit(struct task_queue *queue, int kind)
{
    struct uuid id;

    assert_int_equal(try_submit(queue, &kinds[kind], json_object(), &id), 0);
    return id;
}

static inline json_t *sleep_payload(double seconds)
{
    return json_pack("{s:s, s:f}", "message", "good night", "duration", seconds);
}

static inline struct uuid submit_sleep(struct task_queue *queue, double seconds)
{
    struct uuid id;

    assert_int_equal(try_submit(queue, &kind_sleep, sleep_payload(seconds), &id), 0);
    return id;
}

struct waiting_query {
    struct task_query query;
    sem_t answered;
};

static inline void on_query_answered(struct task_query *query)
{
    sem_post(&container_of(query, struct waiting_query, query)->answered);
}

/* How many tasks there are, which are to be given back.  `id` NULL: the newest, up to `limit`. */
static inline size_t ask(struct task_queue *queue, const struct uuid *id, size_t limit,
                         struct task **ret_tasks)
{
    struct waiting_query question = {.query.done = on_query_answered};

    sem_init(&question.answered, 0, 0);
    if (id)
        task_queue_get(queue, id, &question.query);
    else
        task_queue_list(queue, limit, &question.query);
    while (sem_wait(&question.answered) != 0)
        continue;
    sem_destroy(&question.answered);
    if (question.query.rc < 0)
        fail_msg("%s", question.query.err.text);
    for (int i = 0; i < question.query.rc; i++)
        ret_tasks[i] = question.query.tasks[i];
    return (size_t)question.query.rc;
}

/* NULL when there is none of that id. */
static inline struct task *find(struct task_queue *queue, const struct uuid *id)
{
    struct task *task = NULL;

    ask(queue, id, 1, &task);
    return task;
}

static inline struct task *get(struct task_queue *queue, const struct uuid *id)
{
    struct task *task = find(queue, id);

    assert_non_null(task);
    return task;
}

static inline enum task_state state_of(struct task_queue *queue, const struct uuid *id)
{
    struct task *task = get(queue, id);
    enum task_state state = task->status.state;

    task_unref(task);
    return state;
}

struct task_at {
    struct task_queue *queue;
    struct uuid id;
    enum task_state state;
};

static inline bool is_in_state(void *arg)
{
    struct task_at *at = arg;

    return state_of(at->queue, &at->id) == at->state;
}

static inline void wait_for_state(struct task_queue *queue, struct uuid id, enum task_state state)
{
    struct task_at at = {queue, id, state};

    wait_until(is_in_state, &at);
}

static inline uint64_t count_in(struct task_queue *queue, enum task_state state)
{
    struct task_counts counts;

    task_queue_counts(queue, &counts);
    return counts.by_state[state];
}

struct count_in_state {
    struct task_queue *queue;
    enum task_state state;
    uint64_t count;
};

static inline bool is_count_in_state(void *arg)
{
    const struct count_in_state *goal = arg;

    return count_in(goal->queue, goal->state) == goal->count;
}

static inline void wait_for_count_in(struct task_queue *queue, enum task_state state, uint64_t count)
{
    wait_until(is_count_in_state, &(struct count_in_state){queue, state, count});
}

/* Everything that runs ends, and is written. */
static inline void drain_all(struct task_queue *queue)
{
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 0);
    wait_for_count_in(queue, TASK_STATE_RUNNING, 0);
}

static inline int64_t metric_of(size_t row, size_t label0, size_t label1)
{
    return metric_value(&tasks_metrics[row], label0, label1);
}
