/* The task queue from end to end, on a store of its own: what comes of tasks, looking at them, overflow,
 * drain, stop. */
#include "capture.h"
#include "task_queue.h"

#include "base/log.h"

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

/* -- queue: tasks from end to end -- */

static void task_succeeds_with_its_result(void **state)
{
    struct task_queue *queue = start_queue(2, 10, 10);
    struct uuid id;
    json_t *payload = json_pack("{s:s, s:f}", "text", "gr\xc3\xbc\xc3\x9f", "number", 0.1);

    (void)state;
    assert_int_equal(try_submit(queue, &kinds[OK], payload, &id), 0);
    drain_all(queue);

    struct task *task = get(queue, &id);
    assert_int_equal(task->status.state, TASK_STATE_SUCCEEDED);
    assert_string_equal(task->kind_name, "ok");
    assert_int_equal(task->status.attempts, 1);
    assert_true(task->created_ms <= task->status.started_ms &&
                task->status.started_ms <= task->status.finished_ms);
    json_t *json = task_json(task, &task->status);
    task_unref(task);
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

/* A queue whose only place is taken. */
static struct task_queue *start_full_queue(void)
{
    struct task_queue *queue = start_queue_with(
        &(struct test_queue_options){.runners = 1, .max_running = 1, .capacity = 10, .keep_finished = 10});

    submit_sleep(queue, FAR_SECONDS);
    return queue;
}

static void queued_task_has_no_times_but_its_creation(void **state)
{
    struct task_queue *queue = start_full_queue();
    struct waiting_submit answer;

    (void)state;
    assert_int_equal(submit_and_wait(queue, &kinds[OK], json_object(), &answer), 0);
    json_t *json = task_json(answer.submit.task, &answer.submit.status);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "queued");
    assert_int_equal(json_integer_value(json_object_get(json, "attempts")), 0);
    assert_non_null(json_object_get(json, "created_at"));
    assert_int_equal(json_object_size(json), 6); /* id, kind, state, attempts, created_at, payload */
    struct task *task = get(queue, &answer.submit.task->id);
    json_t *again = task_json(task, &task->status);
    assert_true(json_equal(json, again));
    json_decref(again);
    json_decref(json);
    task_unref(task);
    task_unref(answer.submit.task);
    task_queue_free(queue);
}

static void failed_task_is_dead_with_its_error(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    int64_t faults = metric_of(TASK_METRIC_FAULTS, 0, 0);
    struct uuid id = submit(queue, FAIL);

    (void)state;
    drain_all(queue);
    struct task *task = get(queue, &id);
    json_t *json = task_json(task, &task->status);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "dead");
    assert_string_equal(json_string_value(json_object_get(json, "error")), "no luck today");
    assert_null(json_object_get(json, "result"));
    json_decref(json);
    task_unref(task);
    task_queue_free(queue);
    assert_int_equal(metric_of(TASK_METRIC_FAULTS, 0, 0), faults);
}

static void failures_and_bugs_are_logged(void **state)
{
    static struct capture capture;
    struct task_queue *queue = start_queue(1, 10, 10);
    struct uuid failed, broken;
    char ids[2][UUID_TEXT_SIZE];
    char lines[2][256];
    (void)state;

    log_setup(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    capture_start(&capture);
    failed = submit(queue, FAIL);
    broken = submit(queue, SILENT_FAIL);
    drain_all(queue);
    const char *text = capture_stop(&capture);
    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);

    uuid_format(&failed, ids[0]);
    uuid_format(&broken, ids[1]);
    snprintf(lines[0], sizeof(lines[0]), "task failed task=%s kind=fail attempt=1 error=\"no luck today\"\n",
             ids[0]);
    snprintf(lines[1], sizeof(lines[1]), "task failed task=%s kind=silent_fail attempt=1 error=\"bug in ",
             ids[1]);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no \"%s\" in \"%s\"", lines[i], text);
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
            struct task *task = get(queue, &ids[round][kind]);
            assert_int_equal(task->status.state, TASK_STATE_DEAD);
            if (expected_errors[kind])
                assert_string_equal(task->error, expected_errors[kind]);
            else
                assert_int_equal(
                    strncmp(task->error, expected_error_starts[kind], strlen(expected_error_starts[kind])),
                    0);
            task_unref(task);
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
    struct task *task = get(queue, &id);
    assert_int_equal(task->status.state, TASK_STATE_SUCCEEDED);
    assert_int_equal(task->status.attempts, 1);
    assert_string_equal(task->result, "{\"echo\":{},\"attempt\":1}");
    task_unref(task);
    task_queue_free(queue);
}

static void unknown_id_is_not_found(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    struct uuid id = {{0}};

    (void)state;
    assert_null(find(queue, &id));
    id = submit(queue, OK);
    task_unref(get(queue, &id));
    id.bytes[15] ^= 1; /* the same stamp and counter */
    assert_null(find(queue, &id));
    task_queue_free(queue);
}

static void list_has_the_newest_first_up_to_the_limit(void **state)
{
    struct task_queue *queue = start_full_queue();
    struct task *tasks[10];
    struct uuid ids[5];

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        ids[i] = submit(queue, OK);
    for (size_t limit = 1; limit <= 5; limit += 2) {
        size_t count = ask(queue, NULL, limit, tasks);
        assert_int_equal(count, limit);
        for (size_t i = 0; i < count; i++) {
            assert_memory_equal(&tasks[i]->id, &ids[4 - i], sizeof(ids[0]));
            assert_null(tasks[i]->payload);
            task_unref(tasks[i]);
        }
    }
    assert_int_equal(ask(queue, NULL, 10, tasks), 6);
    for (size_t i = 0; i < 6; i++)
        task_unref(tasks[i]);
    task_queue_free(queue);
}

static void oldest_finished_task_is_forgotten(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 3);
    struct uuid ids[6];

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        ids[i] = submit(queue, OK);
        wait_for_state(queue, ids[i], TASK_STATE_SUCCEEDED);
    }
    for (unsigned i = 0; i < 6; i++) {
        struct task *task = find(queue, &ids[i]);
        assert_int_equal(task != NULL, i >= 3);
        task_unref(task);
    }
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), 3);
    task_queue_free(queue);
}

static void nothing_is_kept_when_so_configured(void **state)
{
    struct task_queue *queue = start_queue(2, 100, 0);
    struct task *task;

    (void)state;
    for (unsigned i = 0; i < 50; i++)
        submit(queue, i % 2 ? OK : FAIL);
    wait_for_count_in(queue, TASK_STATE_RUNNING, 0);
    assert_int_equal(ask(queue, NULL, 1, &task), 0);
    task_queue_free(queue);
}

/* -- queue: overflow, drain, stop -- */

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
    wait_for_state(queue, near, TASK_STATE_SUCCEEDED);
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

static void a_queue_that_drains_starts_nothing(void **state)
{
    struct task_queue *queue = start_full_queue();
    struct uuid id = submit(queue, OK);

    (void)state;
    assert_int_equal(task_queue_drain(queue, in_ms(10)), 1);
    assert_int_equal(state_of(queue, &id), TASK_STATE_QUEUED);
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
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 0);
    task_queue_stop(queue);
    task_queue_stop(queue);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 0);
    task_queue_free(queue);

    queue = start_queue(2, 10, 10);
    submit_sleep(queue, FAR_SECONDS);
    task_queue_stop(queue);
    assert_int_equal(try_submit(queue, &kinds[OK], json_object(), &id), -ESHUTDOWN);
    assert_int_equal(task_queue_drain(queue, in_ms(PATIENCE_MS)), 0);
    task_queue_free(queue);
}

static void what_is_asked_of_a_queue_that_never_started_is_answered(void **state)
{
    struct task_queue *queue = create_queue(2, 10, 10);
    struct waiting_submit submit = {.submit.done = on_submit_answered};
    struct waiting_query query = {.query.done = on_query_answered};

    (void)state;
    sem_init(&submit.answered, 0, 0);
    sem_init(&query.answered, 0, 0);
    task_queue_submit(queue, &kinds[OK], json_object(), &submit.submit);
    task_queue_list(queue, 10, &query.query);
    task_queue_free(queue);
    assert_int_equal(sem_trywait(&submit.answered), 0);
    assert_int_equal(sem_trywait(&query.answered), 0);
    assert_int_equal(submit.submit.rc, 0);
    assert_int_equal(query.query.rc, 1);
    task_unref(submit.submit.task);
    task_unref(query.query.tasks[0]);
    sem_destroy(&submit.answered);
    sem_destroy(&query.answered);
}

static void *stop_queue(void *arg)
{
    task_queue_stop(arg);
    return NULL;
}

static void stop_waits_for_the_step_that_runs(void **state)
{
    struct test_queue_options options = {
        .runners = 1, .max_running = 10, .capacity = 10, .keep_finished = 10};
    struct task_queue *queue = start_queue_with(&options);
    pthread_t stopper;
    struct uuid id;

    (void)state;
    gate_set(false);
    struct uuid gated = submit(queue, GATE);
    struct uuid started = submit(queue, OK);
    gate_wait_for(1);
    assert_int_equal(thread_start(&stopper, "stopper", stop_queue, queue, NULL), 0);
    while (try_submit(queue, &kinds[OK], json_object(), &id) != -ESHUTDOWN)
        usleep(100);
    gate_set(true);
    thread_join(stopper);
    task_queue_free(queue);

    options.same_store = true;
    queue = create_queue_with(&options);
    assert_int_equal(count_in(queue, TASK_STATE_SUCCEEDED), 1);
    assert_true(count_in(queue, TASK_STATE_QUEUED) > 0);
    assert_int_equal(task_queue_start(queue, NULL), 0);
    wait_for_state(queue, started, TASK_STATE_SUCCEEDED);
    struct task *task = get(queue, &started);
    assert_int_equal(task->status.run, 2);
    assert_int_equal(task->status.attempts, 1);
    assert_int_equal(task->status.interruptions, 0);
    task_unref(task);
    assert_int_equal(state_of(queue, &gated), TASK_STATE_SUCCEEDED);
    task_queue_free(queue);
}

/* -- queue: many -- */

#define MANY 10000

struct sleeper {
    struct task_submit submit;
    atomic_uint *accepted;
};

static void on_sleeper_accepted(struct task_submit *submit)
{
    assert_int_equal(submit->rc, 0);
    task_unref(submit->task);
    atomic_fetch_add(container_of(submit, struct sleeper, submit)->accepted, 1);
}

static double far_from_now(unsigned i)
{
    return FAR_SECONDS - 0.001 * (i % 7);
}

static double soon(unsigned i)
{
    return 0.001 * (i * 7919 % 200);
}

static void submit_sleepers(struct task_queue *queue, double (*seconds)(unsigned i))
{
    struct sleeper *sleepers = calloc(MANY, sizeof(*sleepers));
    atomic_uint accepted = 0;

    assert_non_null(sleepers);
    for (unsigned i = 0; i < MANY; i++) {
        sleepers[i] = (struct sleeper){.submit.done = on_sleeper_accepted, .accepted = &accepted};
        task_queue_submit(queue, &kind_sleep, sleep_payload(seconds(i)), &sleepers[i].submit);
    }
    wait_for_count(&accepted, MANY);
    free(sleepers);
}

static bool all_are_asleep(void *arg)
{
    return metric_of(TASK_METRIC_SLEEPING, 0, 0) == *(int *)arg;
}

static void ten_thousand_sleep_at_once_and_hold_no_thread(void **state)
{
    struct task_queue *queue = start_queue(2, MANY + 1, 10);
    int many = MANY;

    (void)state;
    submit_sleepers(queue, far_from_now);
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
    submit_sleepers(queue, soon);
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
        submit(crowd->queue, mix[i % ARRAY_LEN(mix)]);
        atomic_fetch_add(&crowd->accepted, 1);
    }
    return NULL;
}

/* Renders what it finds while runners change it. */
static void *read_many(void *arg)
{
    struct crowd *crowd = arg;
    struct task *tasks[20];

    while (!atomic_load(&crowd->is_over)) {
        size_t count = ask(crowd->queue, NULL, ARRAY_LEN(tasks), tasks);
        for (size_t i = 0; i < count; i++) {
            json_t *json = task_json(tasks[i], &tasks[i]->status);
            if (!json)
                abort();
            task_unref(find(crowd->queue, &tasks[i]->id));
            task_unref(tasks[i]);
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

    (void)state;
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&readers[i], "reader", read_many, &crowd, NULL), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        assert_int_equal(thread_start(&submitters[i], "submitter", submit_many, &crowd, NULL), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        thread_join(submitters[i]);
    wait_for_count_in(crowd.queue, TASK_STATE_RUNNING, 0);
    atomic_store(&crowd.is_over, true);
    for (unsigned i = 0; i < READERS; i++)
        thread_join(readers[i]);

    assert_int_equal(atomic_load(&crowd.accepted), SUBMITTERS * PER_SUBMITTER);
    assert_int_equal(count_in(crowd.queue, TASK_STATE_SUCCEEDED) + count_in(crowd.queue, TASK_STATE_DEAD),
                     50);
    task_queue_free(crowd.queue);
}

static void sleep_hands_the_message_back(void **state)
{
    struct task_queue *queue = start_queue(1, 10, 10);
    struct uuid id = submit_sleep(queue, 0.002);

    (void)state;
    drain_all(queue);
    struct task *task = get(queue, &id);
    assert_int_equal(task->status.state, TASK_STATE_SUCCEEDED);
    json_t *result = json_loads(task->result, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(result, "message")), "good night");
    assert_true(json_real_value(json_object_get(result, "slept")) >= 0.002);
    json_decref(result);
    task_unref(task);
    task_queue_free(queue);
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
        cmocka_unit_test(task_succeeds_with_its_result),
        cmocka_unit_test(queued_task_has_no_times_but_its_creation),
        cmocka_unit_test(failed_task_is_dead_with_its_error),
        cmocka_unit_test(failures_and_bugs_are_logged),
        cmocka_unit_test(bugs_in_kinds_end_their_own_tasks_only),
        cmocka_unit_test(task_that_waits_is_called_again_in_the_same_attempt),
        cmocka_unit_test(unknown_id_is_not_found),
        cmocka_unit_test(list_has_the_newest_first_up_to_the_limit),
        cmocka_unit_test(oldest_finished_task_is_forgotten),
        cmocka_unit_test(nothing_is_kept_when_so_configured),
        cmocka_unit_test(push_to_full_queue_reports_full),
        cmocka_unit_test(runners_work_side_by_side_and_no_more_than_configured),
        cmocka_unit_test(sleeper_wakes_while_another_runner_is_blocked),
        cmocka_unit_test(time_is_watched_when_its_watcher_is_blocked),
        cmocka_unit_test(earlier_sleeper_overtakes_a_later_one),
        cmocka_unit_test(drain_refuses_new_tasks_and_finishes_the_old),
        cmocka_unit_test(drain_does_not_wait_for_far_sleepers),
        cmocka_unit_test(drain_gives_up_at_its_deadline),
        cmocka_unit_test(a_queue_that_drains_starts_nothing),
        cmocka_unit_test(any_order_of_ending_is_fine),
        cmocka_unit_test(what_is_asked_of_a_queue_that_never_started_is_answered),
        cmocka_unit_test(stop_waits_for_the_step_that_runs),
        cmocka_unit_test(ten_thousand_sleep_at_once_and_hold_no_thread),
        cmocka_unit_test(ten_thousand_sleepers_all_finish),
        cmocka_unit_test(many_submit_while_others_read),
        cmocka_unit_test(sleep_hands_the_message_back),
        cmocka_unit_test(metrics_add_up_when_all_is_over),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("task queue", tests, make_store_folder, remove_store_folder);
}
