/* The ledger against a model: random operations in random transactions, some of which fail, with restarts in
 * between.  What the store holds, what memory says and what was told must be what the model expects, and no
 * move may be other than the table below.
 *
 * One thread, and the same again with the same SEED; STEPS says how many transactions. */
#include "fault_store.h"
#include "task_kinds.h"

#include "base/log.h"
#include "tasks/engine.h"
#include "tasks/ledger.h"
#include "tasks/ops.h"

#define STEPS   2000
#define TASKS   40 /* that are in the model at the same time */
#define HOUR_MS UINT64_C(3600000)

#define CONFIGURATION                                                                                        \
    "tasks: {max_running: 6, runners: 2, queue_capacity: 1000, max_interruptions: 2}\n"                      \
    "queues: {default: {}, narrow: {concurrency: 2}, heavy: {weight: 5}}"

enum { MAX_RUNNING = 6, MAX_THREADS = 2, MAX_NARROW = 2, MAX_INTERRUPTIONS = 2, KEYS = 4, QUEUES = 3 };

static const char *const queue_names[QUEUES] = {"default", "narrow", "heavy"};
static const char *const keys[KEYS] = {"a", "b", "c", "d"};

/* Row: from; what a task may become, by the letters of the states. */
static const char *const allowed[TASK_STATE_COUNT] = {
    [TASK_STATE_SCHEDULED] = "qc", [TASK_STATE_QUEUED] = "srcd", [TASK_STATE_RUNNING] = "sqScd",
    [TASK_STATE_SUCCEEDED] = "",   [TASK_STATE_DEAD] = "q",      [TASK_STATE_CANCELLED] = "q",
};
static const char letters[TASK_STATE_COUNT] = {'s', 'q', 'r', 'S', 'd', 'c'};

/* ---- the model ---- */

struct model_task {
    bool is_there;
    struct uuid id;
    enum task_state state;
    enum task_state told; /* by the events */
    unsigned run, attempts, interruptions, max_attempts;
    unsigned queue;
    int key; /* -1: none */
    bool holds_thread, is_cancelled, is_due;
};

struct model {
    struct model_task tasks[TASKS];
    bool is_paused[QUEUES];
};

static struct model model; /* what has been committed */
static struct model next;  /* with what the transaction changes */

static uint64_t seed;

static unsigned pick(unsigned count)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % count;
}

static struct model_task *model_of(struct model *in, const struct uuid *id)
{
    for (size_t i = 0; i < TASKS; i++)
        if (in->tasks[i].is_there && uuid_equal(&in->tasks[i].id, id))
            return &in->tasks[i];
    fail_msg("a task that nobody knows");
    return NULL;
}

static struct model_task *free_place(void)
{
    for (size_t i = 0; i < TASKS; i++)
        if (!next.tasks[i].is_there)
            return &next.tasks[i];
    return NULL;
}

static struct model_task *any_task(void)
{
    struct model_task *task = &next.tasks[pick(TASKS)];

    return task->is_there ? task : NULL;
}

static struct model_task *holder_of(int key)
{
    for (size_t i = 0; key >= 0 && i < TASKS; i++)
        if (next.tasks[i].is_there && next.tasks[i].key == key && !task_state_is_final(next.tasks[i].state))
            return &next.tasks[i];
    return NULL;
}

/* ---- the ledger, and what runs ---- */

static struct config *config;
static struct ledger ledger;
static char where[64];

static struct task *running[MAX_RUNNING];
static struct task *ending[MAX_RUNNING]; /* of these, those whose end is in this transaction */
static size_t ending_count;

static void open_ledger(void)
{
    struct ledger_config ledger_config = {
        .config = config, .ops = fault_store(), .where = where, .kinds = all_kinds};
    struct err err = {0};

    if (ledger_open(&ledger, &ledger_config, &err) != 0)
        fail_msg("%s", err.text);
}

static void forget_running(struct task *task)
{
    for (size_t i = 0; i < MAX_RUNNING; i++)
        if (running[i] == task)
            running[i] = NULL;
    ledger_forget_running(&ledger, task);
    task_unref(task);
}

static void take_started(void)
{
    struct task_list started = TAILQ_HEAD_INITIALIZER(started);
    struct task *task;

    ledger_take_started(&ledger, &started);
    while ((task = TAILQ_FIRST(&started)) != NULL) {
        size_t i = 0;
        TAILQ_REMOVE(&started, task, in_list);
        while (i < MAX_RUNNING && running[i])
            i++;
        assert_true(i < MAX_RUNNING);
        running[i] = task;
    }
}

static void tell_stopping(void)
{
    struct task *task;

    while ((task = TAILQ_FIRST(&ledger.stopping)) != NULL) {
        TAILQ_REMOVE(&ledger.stopping, task, in_stopping);
        task->is_stopping = false;
        task_unref(task);
    }
}

/* ---- operations: each is applied, and the model says what must come of it ---- */

static int apply_submit(struct err *err)
{
    struct model_task *place = free_place();
    struct uuid id;

    if (!place)
        return 0;
    struct model_task wanted = {.is_there = true,
                                .max_attempts = 1 + pick(3),
                                .queue = pick(QUEUES),
                                .key = pick(3) ? -1 : (int)pick(KEYS),
                                .holds_thread = pick(4) == 0,
                                .is_due = pick(5) != 0};
    const struct task_kind *kind = &kinds[wanted.holds_thread ? GATE : OK];
    struct task_spec spec = {.kind_name = kind->name,
                             .payload = "{}",
                             .unique_key = wanted.key >= 0 ? keys[wanted.key] : NULL,
                             .tenant = pick(2) ? "t" : NULL,
                             .max_attempts = wanted.max_attempts};
    assert_int_equal(uuid_create(&id), 0);
    struct task_submission item = {.task = task_create(&id, &spec, clock_wall_ms()),
                                   .on_unique = (enum task_on_unique)pick(3)};
    item.task->kind = kind;
    item.task->status.queue = (task_queue_id)task_queues_find(&ledger.queues, queue_names[wanted.queue]);
    item.task->status.priority = (uint8_t)pick(TASK_PRIORITY_COUNT);
    item.task->status.run_at_ms = wanted.is_due ? 0 : clock_wall_ms() + HOUR_MS;
    struct task_submit submit = {.items = &item, .count = 1, .is_atomic = pick(2)};
    struct model_task *holder = holder_of(wanted.key);

    int rc = task_op_submit.apply(&ledger, &submit.op, err);
    if (rc == 0 && holder &&
        !(item.on_unique == TASK_UNIQUE_REPLACE && holder->state != TASK_STATE_RUNNING)) {
        assert_int_equal(item.rc, item.on_unique == TASK_UNIQUE_RETURN ? 0 : -EEXIST);
        assert_true(item.is_existing && uuid_equal(&item.existing->id, &holder->id));
    } else if (rc == 0) {
        assert_int_equal(item.rc, 0);
        assert_int_equal(item.status.state == TASK_STATE_SCHEDULED, !wanted.is_due);
        if (holder)
            holder->state = TASK_STATE_CANCELLED;
        wanted.id = id;
        wanted.state = item.status.state;
        wanted.told = TASK_STATE_COUNT;
        wanted.run = wanted.attempts = item.status.state == TASK_STATE_RUNNING;
        *place = wanted;
    }
    task_unref(item.existing);
    task_unref(item.task);
    return rc;
}

static int wish_rc(struct task_wish *wish, struct err *err)
{
    wish->if_version = TASK_VERSION_ANY;
    int rc = task_op_wish.apply(&ledger, &wish->op, err);
    task_unref(wish->task);
    return rc;
}

static int apply_cancel(struct err *err)
{
    struct model_task *task = any_task();
    struct task_wish wish = {.type = TASK_WISH_CANCEL};

    if (!task)
        return 0;
    wish.id = task->id;
    int rc = wish_rc(&wish, err);
    if (rc != 0)
        return rc;
    assert_int_equal(wish.op.rc, task_state_is_final(task->state) ? -EBUSY : 0);
    if (task->state == TASK_STATE_RUNNING)
        task->is_cancelled = true;
    else if (!task_state_is_final(task->state))
        task->state = TASK_STATE_CANCELLED;
    return 0;
}

static int apply_retry(struct err *err)
{
    struct model_task *task = any_task();
    struct task_wish wish = {.type = TASK_WISH_RETRY};

    if (!task)
        return 0;
    wish.id = task->id;
    bool is_ready = task->state == TASK_STATE_DEAD || task->state == TASK_STATE_CANCELLED;
    int expected = !is_ready ? -EBUSY : holder_of(task->key) ? -EEXIST : 0;
    int rc = wish_rc(&wish, err);
    if (rc != 0)
        return rc;
    assert_int_equal(wish.op.rc, expected);
    if (expected != 0)
        return 0;
    task->state = TASK_STATE_QUEUED;
    task->attempts = task->interruptions = 0;
    task->is_cancelled = false;
    task->is_due = true;
    return 0;
}

static int apply_change(struct err *err)
{
    struct model_task *task = any_task();
    struct task_wish wish = {.type = TASK_WISH_CHANGE, .has_queue = pick(2), .has_run_at = pick(2)};
    unsigned queue = pick(QUEUES);
    bool is_due = pick(3) != 0;

    if (!task)
        return 0;
    wish.id = task->id;
    wish.queue = (task_queue_id)task_queues_find(&ledger.queues, queue_names[queue]);
    wish.run_at_ms = is_due ? 1 : clock_wall_ms() + HOUR_MS;
    int rc = wish_rc(&wish, err);
    if (rc != 0)
        return rc;
    bool waits = task->state == TASK_STATE_SCHEDULED || task->state == TASK_STATE_QUEUED;
    assert_int_equal(wish.op.rc, waits ? 0 : -EBUSY);
    if (!waits)
        return 0;
    if (wish.has_queue)
        task->queue = queue;
    if (wish.has_run_at)
        task->is_due = is_due;
    task->state = task->is_due ? TASK_STATE_QUEUED : TASK_STATE_SCHEDULED;
    return 0;
}

static int apply_remove(struct err *err)
{
    struct model_task *task = any_task();
    struct task_wish wish = {.type = TASK_WISH_REMOVE};

    if (!task)
        return 0;
    wish.id = task->id;
    int rc = wish_rc(&wish, err);
    if (rc != 0)
        return rc;
    assert_int_equal(wish.op.rc, task_state_is_final(task->state) ? 0 : -EBUSY);
    task->is_there = !task_state_is_final(task->state);
    return 0;
}

static int apply_pause(struct err *err)
{
    unsigned queue = pick(QUEUES);
    bool is_paused = pick(3) == 0;
    struct task_wish wish = {.type = is_paused ? TASK_WISH_PAUSE_QUEUE : TASK_WISH_RESUME_QUEUE};

    wish.queue = (task_queue_id)task_queues_find(&ledger.queues, queue_names[queue]);
    int rc = wish_rc(&wish, err);
    if (rc == 0)
        next.is_paused[queue] = is_paused;
    return rc;
}

static enum task_state state_after(const struct model_task *task, const struct task_outcome *outcome)
{
    switch (outcome->type) {
    case TASK_OUTCOME_SUCCEEDED:
        return TASK_STATE_SUCCEEDED;
    case TASK_OUTCOME_CANCELLED:
        return TASK_STATE_CANCELLED;
    case TASK_OUTCOME_BROKEN_OFF:
        return task->is_cancelled ? TASK_STATE_CANCELLED : TASK_STATE_QUEUED;
    case TASK_OUTCOME_FAILED:
        break;
    }
    if (task->is_cancelled)
        return TASK_STATE_CANCELLED;
    return outcome->is_final || task->attempts >= task->max_attempts ? TASK_STATE_DEAD : TASK_STATE_SCHEDULED;
}

static bool is_ending(const struct task *task)
{
    for (size_t i = 0; i < ending_count; i++)
        if (ending[i] == task)
            return true;
    return false;
}

static int apply_end(struct err *err)
{
    struct task *task = running[pick(MAX_RUNNING)];
    char result[] = "1", error[] = "no luck";
    bool is_later = pick(2);

    if (!task || is_ending(task))
        return 0;
    task->outcome = (struct task_outcome){.type = (enum task_outcome_type)pick(4),
                                          .result = result,
                                          .error = error,
                                          .is_final = pick(4) == 0,
                                          .retry_after_ms = is_later ? HOUR_MS : 0};
    task->end_op = (struct task_op){.type = &task_op_end};
    ending[ending_count++] = task;
    int rc = task_op_end.apply(&ledger, &task->end_op, err);
    if (rc != 0)
        return rc;
    struct model_task *expected = model_of(&next, &task->id);
    assert_int_equal(task->end_op.rc, 0);
    assert_int_equal(expected->state, TASK_STATE_RUNNING);
    expected->state = state_after(expected, &task->outcome);
    if (expected->state == TASK_STATE_QUEUED)
        expected->attempts--;
    if (expected->state == TASK_STATE_SCHEDULED)
        expected->is_due = !is_later;
    return 0;
}

static int (*const operations[])(struct err *err) = {
    apply_submit, apply_submit, apply_submit, apply_end,    apply_end,   apply_end,
    apply_cancel, apply_retry,  apply_change, apply_remove, apply_pause,
};

/* ---- what the ledger does by itself ---- */

static void follow_event(const struct task_event *event)
{
    struct model_task *task = model_of(&next, &event->id);
    enum task_state to = (enum task_state)event->state;

    if (task->told != TASK_STATE_COUNT && !strchr(allowed[task->told], letters[to]))
        fail_msg("from %s to %s", task_state_names[task->told], task_state_names[to]);
    task->told = to;
    if (task->state == TASK_STATE_SCHEDULED && to == TASK_STATE_QUEUED && task->is_due)
        task->state = to;
    if (task->state == TASK_STATE_QUEUED && to == TASK_STATE_RUNNING) {
        task->state = to;
        task->run++;
        task->attempts++;
    }
}

static void follow_events(void)
{
    for (size_t i = 0; i < ledger.event_count; i++) {
        const struct task_event *event = &ledger.events[i];
        assert_int_equal(event->number, ledger.last_event - ledger.event_count + 1 + i);
        bool is_there = false;
        for (size_t task = 0; task < TASKS; task++)
            is_there |= next.tasks[task].is_there && uuid_equal(&next.tasks[task].id, &event->id);
        if (is_there) /* else it was removed in the same transaction */
            follow_event(event);
    }
}

/* ---- comparing ---- */

static void compare_task(const struct model_task *expected, const char *when)
{
    struct task *task = NULL;
    struct err err = {0};
    char said[160], wanted[160];

    assert_int_equal(task_store_sqlite.find(ledger.store, &expected->id, &task, &err), 1);
    snprintf(said, sizeof(said), "%s run %u attempts %u interruptions %u queue %s cancelled %d",
             task_state_names[task->status.state], task->status.run, task->status.attempts,
             task->status.interruptions, ledger.queues.all[task->status.queue].name,
             task->status.is_cancelled);
    snprintf(wanted, sizeof(wanted), "%s run %u attempts %u interruptions %u queue %s cancelled %d",
             task_state_names[expected->state], expected->run, expected->attempts, expected->interruptions,
             queue_names[expected->queue], expected->is_cancelled);
    if (strcmp(said, wanted) != 0)
        fail_msg("%s: it is %s, and should be %s", when, said, wanted);
    task_unref(task);
}

static void compare(const char *when)
{
    uint64_t counts[TASK_STATE_COUNT] = {0};
    uint64_t threads = 0, narrow = 0;
    size_t runs = 0;

    for (size_t i = 0; i < TASKS; i++) {
        const struct model_task *task = &model.tasks[i];
        if (!task->is_there)
            continue;
        compare_task(task, when);
        counts[task->state]++;
        threads += task->state == TASK_STATE_RUNNING && task->holds_thread;
        narrow += task->state == TASK_STATE_RUNNING && task->queue == 1;
    }
    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        if (ledger.totals.by_state[i] != counts[i])
            fail_msg("%s: %ju tasks are %s, and not %ju", when, (uintmax_t)counts[i], task_state_names[i],
                     (uintmax_t)ledger.totals.by_state[i]);
    for (size_t i = 0; i < MAX_RUNNING; i++)
        if (running[i]) {
            runs++;
            assert_ptr_equal(ledger_find_running(&ledger, &running[i]->id), running[i]);
            assert_int_equal(model_of(&model, &running[i]->id)->run, running[i]->status.run);
            assert_int_equal(model_of(&model, &running[i]->id)->is_cancelled,
                             running[i]->status.is_cancelled);
        }
    assert_int_equal(runs, counts[TASK_STATE_RUNNING]);
    assert_int_equal(ledger.running_threads, threads);
    assert_in_range(threads, 0, MAX_THREADS);
    assert_in_range(narrow, 0, MAX_NARROW);
    for (size_t i = 0; i < QUEUES; i++)
        assert_int_equal(ledger.queues.all[task_queues_find(&ledger.queues, queue_names[i])].is_paused,
                         model.is_paused[i]);
}

/* ---- a step ---- */

static int change_something(struct err *err)
{
    int rc = ledger_begin(&ledger, pick(8) != 0, err);

    for (unsigned i = 1 + pick(4); rc == 0 && i > 0; i--)
        rc = operations[pick(ARRAY_LEN(operations))](err);
    if (rc == 0)
        rc = ledger_start_tasks(&ledger, err);
    if (rc == 0)
        rc = ledger_prune(&ledger, err);
    return rc == 0 ? ledger_commit(&ledger, err) : rc;
}

static void committed(void)
{
    for (size_t i = 0; i < ending_count; i++)
        forget_running(ending[i]);
    take_started();
    tell_stopping();
    follow_events();
    model = next;
}

/* Each operation fails now and then, also those with which a transaction is put back. */
static void transaction(void)
{
    struct err err = {0};

    next = model;
    ending_count = 0;
    fault_none();
    if (pick(6) == 0)
        fault_at((enum fault_op)pick(FAULT_OP_COUNT), 1 + pick(4), pick(2) ? -ENOSPC : -ENOMEM);
    int rc = change_something(&err);
    if (rc == 0)
        committed();
    else
        ledger_rollback(&ledger);
    bool was_meant = atomic_load(&fault.failed) > 0;
    fault_none();
    if (rc != 0 && !was_meant)
        fail_msg("%s", err.text);
    if (ledger.is_stale) { /* as the next transaction would */
        assert_int_equal(ledger_begin(&ledger, false, &err), 0);
        assert_int_equal(ledger_commit(&ledger, &err), 0);
    }
    compare(rc == 0 ? "committed" : "rolled back");
}

static void interrupt(struct model_task *task)
{
    task->interruptions++;
    task->attempts--;
    task->state = task->is_cancelled                         ? TASK_STATE_CANCELLED
                  : task->interruptions <= MAX_INTERRUPTIONS ? TASK_STATE_QUEUED
                                                             : TASK_STATE_DEAD;
    task->told = task->state;
}

/* The process ends, and another begins. */
static void crash(void)
{
    for (size_t i = 0; i < MAX_RUNNING; i++)
        if (running[i])
            forget_running(running[i]);
    ledger_close(&ledger);
    open_ledger();
    for (size_t i = 0; i < TASKS; i++)
        if (model.tasks[i].is_there && model.tasks[i].state == TASK_STATE_RUNNING)
            interrupt(&model.tasks[i]);
    compare("after a crash");
}

static unsigned number_of(const char *name, unsigned usual)
{
    const char *text = getenv(name);

    return text ? (unsigned)strtoul(text, NULL, 10) : usual;
}

static void the_ledger_does_what_the_model_says(void **state)
{
    unsigned steps = number_of("STEPS", STEPS);
    unsigned first = number_of("SEED", 1);
    (void)state;

    print_message("SEED=%u STEPS=%u\n", first, steps);
    seed = first;
    fault_none();
    config = config_of(CONFIGURATION);
    open_ledger();
    for (unsigned i = 0; i < steps; i++)
        if (pick(40) == 0)
            crash();
        else
            transaction();
    crash(); /* and nothing that runs is left */
    ledger_close(&ledger);
    config_free(config);
}

/* ---- a folder, in memory if there is one: nothing is asked of the disk ---- */

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    task_kinds_init();
    snprintf(folder, sizeof(folder), "%s/model-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(where, sizeof(where), "%.40s/tasks.db", folder);
    return 0;
}

static int tear_down(void **state)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    (void)state;
    task_kinds_done();
    if (!dir)
        return -1;
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ledger_does_what_the_model_says),
    };

    log_setup(LOG_LEVEL_COUNT, LOG_FORMAT_TEXT);
    metrics_register(tasks_metrics, tasks_metrics_count);
    return cmocka_run_group_tests_name("state model", tests, set_up, tear_down);
}
