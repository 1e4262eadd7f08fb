#include "tasks/ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "tasks/callback.h"
#include "tasks/ledger_int.h"

/* ---- counts and events ---- */

static struct task_queue *queue_of(struct ledger *ledger, const struct task_status *status)
{
    return &ledger->queues.all[status->queue];
}

static void count(struct ledger *ledger, const struct task_status *status, int change)
{
    queue_of(ledger, status)->counts.by_state[status->state] += (uint64_t)(int64_t)change;
    ledger->totals.by_state[status->state] += (uint64_t)(int64_t)change;
}

uint64_t ledger_unfinished(const struct ledger *ledger)
{
    return ledger->totals.by_state[TASK_STATE_SCHEDULED] + ledger->totals.by_state[TASK_STATE_QUEUED] +
           ledger->totals.by_state[TASK_STATE_RUNNING];
}

static int grow_events(struct ledger *ledger, struct err *err)
{
    size_t capacity = MAX(ledger->event_capacity * 2, (size_t)256);
    struct task_event *events = realloc(ledger->events, capacity * sizeof(*events));

    if (!events)
        return err_set(err, -ENOMEM, "out of memory");
    ledger->events = events;
    ledger->event_capacity = capacity;
    return 0;
}

static int add_event(struct ledger *ledger, const struct task *task, bool is_progress, struct err *err)
{
    if (ledger->event_count == ledger->event_capacity) {
        int rc = grow_events(ledger, err);
        if (rc != 0)
            return rc;
    }
    ledger->events[ledger->event_count] = (struct task_event){
        .number = ledger->last_event + 1 + ledger->event_count,
        .at_ms = ledger->now_ms,
        .id = task->id,
        .attempts = task->status.attempts,
        .progress = (float)task->status.progress,
        .state = (uint8_t)task->status.state,
        .is_progress = is_progress,
        .queue = task->status.queue,
    };
    ledger->event_count++;
    return 0;
}

static int store_events(struct ledger *ledger, struct err *err)
{
    size_t size = ledger->event_count * TASK_EVENT_PACKED_BYTES;

    if (size == 0)
        return 0;
    uint8_t *packed = malloc(size);
    if (!packed)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < ledger->event_count; i++)
        task_event_pack(&ledger->events[i], packed + i * TASK_EVENT_PACKED_BYTES);
    int rc = ledger->ops->add_events(ledger->store, ledger->last_event + 1, packed, ledger->event_count, err);
    free(packed);
    return rc;
}

/* ---- moves ---- */

/* What is in memory of a task that runs outlives the transaction, which may be rolled back. */
static void remember(struct ledger *ledger, struct task *task)
{
    if (ledger->is_recovering || task->status.state != TASK_STATE_RUNNING ||
        task->touched_in == ledger->number)
        return;
    task->touched_in = ledger->number;
    task->before = task->status;
    task_ref(task); /* not in the macro, which looks at its arguments several times */
    TAILQ_INSERT_TAIL(&ledger->touched, task, in_touched);
}

/* What a task takes that runs.  Those that are found running were not counted. */
static void count_running(struct ledger *ledger, const struct task *task, int change)
{
    if (ledger->is_recovering)
        return;
    ledger->bytes_change += change * (int64_t)task->bytes;
    if (task->kind && task->kind->holds_thread)
        ledger->threads_change += change;
}

int ledger_move(struct ledger *ledger, struct task *task, const struct task_status *to, const char *result,
                const char *error, struct err *err)
{
    const struct task_status from = task->status;
    struct task_status next = *to;

    assert(from.state == to->state || task_state_can_move(from.state, to->state));
    next.version = from.version + 1;
    int rc = ledger->ops->move(ledger->store, task, &next, result, error, err);
    if (rc != 0)
        return rc;
    remember(ledger, task);
    count(ledger, &from, -1);
    task->status = next;
    count(ledger, &task->status, 1);
    if (from.state == TASK_STATE_RUNNING && to->state != TASK_STATE_RUNNING)
        count_running(ledger, task, -1);
    if (to->state == TASK_STATE_SCHEDULED)
        ledger->next_due_ms = MIN(ledger->next_due_ms, to->run_at_ms);
    return from.state == to->state && from.progress == to->progress
               ? 0
               : add_event(ledger, task, from.state == to->state, err);
}

void ledger_enqueue(struct ledger *ledger, const struct task *task, struct task_status *status)
{
    struct task_queue *queue = queue_of(ledger, status);
    bool holds_thread = task->kind && task->kind->holds_thread;

    if (status->run_at_ms > ledger->now_ms) {
        status->state = TASK_STATE_SCHEDULED;
        return;
    }
    status->state = TASK_STATE_QUEUED;
    status->rank = task_queue_next_rank(queue, status->priority, task->spec.tenant);
    queue->may_wait[holds_thread ? TASK_LANE_THREAD : TASK_LANE_FREE] = true;
    if (task->accepted_ns ==
        0) /* from the store, where another program may have put it into the other lane */
        queue->may_wait[holds_thread ? TASK_LANE_FREE : TASK_LANE_THREAD] = true;
}

static void set_started(const struct ledger *ledger, struct task_status *status)
{
    status->state = TASK_STATE_RUNNING;
    status->run++;
    status->attempts++;
    status->started_ms = ledger->now_ms;
    status->progress = 0;
}

static void add_starting(struct ledger *ledger, struct task *task)
{
    task_queue_started(&ledger->queues, queue_of(ledger, &task->status), task->status.priority,
                       task->status.rank);
    task_ref(task);
    TAILQ_INSERT_TAIL(&ledger->starting, task, in_list);
    ledger->starting_count++;
    count_running(ledger, task, 1);
}

int ledger_start(struct ledger *ledger, struct task *task, struct err *err)
{
    struct task_status to = task->status;

    set_started(ledger, &to);
    int rc = ledger_move(ledger, task, &to, NULL, NULL, err);
    if (rc == 0)
        add_starting(ledger, task);
    return rc;
}

/* A task that nothing keeps from running is accepted as running: that is one change less. */
int ledger_insert(struct ledger *ledger, struct task *task, struct err *err)
{
    struct task_status status = {
        .queue = task->status.queue,
        .priority = task->status.priority,
        .run_at_ms = task->status.run_at_ms,
        .version = 1,
    };
    bool starts = status.run_at_ms <= ledger->now_ms && ledger_may_start_at_once(ledger, task);

    if (starts)
        set_started(ledger, &status);
    else
        ledger_enqueue(ledger, task, &status);
    task->status = status;
    int rc = ledger->ops->insert(ledger->store, task, err);
    if (rc != 0)
        return rc;
    count(ledger, &status, 1);
    if (status.state == TASK_STATE_SCHEDULED)
        ledger->next_due_ms = MIN(ledger->next_due_ms, status.run_at_ms);
    if (starts)
        add_starting(ledger, task);
    return add_event(ledger, task, false, err);
}

int ledger_finish(struct ledger *ledger, struct task *task, enum task_state state, const char *result,
                  const char *error, struct err *err)
{
    struct task_status to = task->status;
    struct task *callback = NULL;

    to.state = state;
    to.finished_ms = ledger->now_ms;
    if (state == TASK_STATE_SUCCEEDED)
        to.progress = 1;
    int rc = ledger_move(ledger, task, &to, result, error, err);
    if (rc != 0 || !task->spec.callback)
        return rc;
    rc = task_callback_create(task, result, error, &ledger->config, &callback, err);
    if (callback)
        callback->status.queue = (task_queue_id)MAX(task_queues_find(&ledger->queues, "default"), 0);
    if (rc == 0 && callback)
        rc = ledger_insert(ledger, callback, err);
    task_unref(callback);
    return rc;
}

int ledger_remove(struct ledger *ledger, const struct task *task, struct err *err)
{
    int rc = ledger->ops->remove(ledger->store, &task->id, err);

    if (rc == 0)
        count(ledger, &task->status, -1);
    return rc;
}

/* ---- what runs ---- */

struct task *ledger_find_running(const struct ledger *ledger, const struct uuid *id)
{
    struct task *task = LIST_FIRST(&ledger->running[uuid_bucket(id, LEDGER_RUNNING_BUCKETS)]);

    while (task && !uuid_equal(&task->id, id))
        task = LIST_NEXT(task, in_running);
    return task;
}

struct task *ledger_find_starting(const struct ledger *ledger, const struct uuid *id)
{
    struct task *task = TAILQ_FIRST(&ledger->starting);

    while (task && !uuid_equal(&task->id, id))
        task = TAILQ_NEXT(task, in_list);
    return task;
}

void ledger_stop_task(struct ledger *ledger, struct task *task)
{
    if (task->is_stopping)
        return;
    task->is_stopping = true;
    task_ref(task);
    TAILQ_INSERT_TAIL(&ledger->stopping, task, in_stopping);
}

void ledger_take_started(struct ledger *ledger, struct task_list *ret_started)
{
    struct task *task;

    for (task = TAILQ_FIRST(&ledger->starting); task; task = TAILQ_NEXT(task, in_list)) {
        size_t bucket = uuid_bucket(&task->id, LEDGER_RUNNING_BUCKETS);
        task_ref(task);
        LIST_INSERT_HEAD(&ledger->running[bucket], task, in_running);
    }
    TAILQ_CONCAT(ret_started, &ledger->starting, in_list);
    ledger->starting_count = 0;
}

void ledger_forget_running(struct ledger *ledger, struct task *task)
{
    (void)ledger;
    LIST_REMOVE(task, in_running);
    task_unref(task);
}

/* ---- transactions ---- */

static void clear_starting(struct ledger *ledger)
{
    struct task *task;

    while ((task = TAILQ_FIRST(&ledger->starting)) != NULL) {
        TAILQ_REMOVE(&ledger->starting, task, in_list);
        task_unref(task);
    }
    ledger->starting_count = 0;
}

static void clear_stopping(struct ledger *ledger)
{
    struct task *task;

    while ((task = TAILQ_FIRST(&ledger->stopping)) != NULL) {
        TAILQ_REMOVE(&ledger->stopping, task, in_stopping);
        task->is_stopping = false;
        task_unref(task);
    }
}

static void clear_touched(struct ledger *ledger, bool put_back)
{
    struct task *task;

    while ((task = TAILQ_FIRST(&ledger->touched)) != NULL) {
        TAILQ_REMOVE(&ledger->touched, task, in_touched);
        if (put_back)
            task->status = task->before;
        task_unref(task);
    }
}

static void add_up(struct ledger *ledger)
{
    ledger->totals = (struct task_counts){0};
    for (size_t i = 0; i < ledger->queues.count; i++)
        for (size_t state = 0; state < TASK_STATE_COUNT; state++)
            ledger->totals.by_state[state] += ledger->queues.all[i].counts.by_state[state];
}

static int reload(struct ledger *ledger, struct err *err)
{
    int rc = task_queues_reload(&ledger->queues, ledger->ops, ledger->store, err);

    ledger->is_stale = rc != 0;
    ledger->next_due_ms = 0; /* looked up with the next start of tasks */
    if (rc == 0)
        add_up(ledger);
    return rc;
}

int ledger_begin(struct ledger *ledger, bool may_start, struct err *err)
{
    int rc = ledger->is_stale ? reload(ledger, err) : 0;

    assert(ledger->starting_count == 0);
    ledger->number++;
    ledger->now_ms = clock_wall_ms();
    ledger->now_ns = clock_now_ns();
    ledger->may_start = may_start;
    ledger->event_count = 0;
    ledger->threads_change = 0;
    ledger->bytes_change = 0;
    return rc == 0 ? ledger->ops->begin(ledger->store, err) : rc;
}

int ledger_commit(struct ledger *ledger, struct err *err)
{
    int rc = task_queues_store_ranks(&ledger->queues, ledger->ops, ledger->store, err);

    if (rc == 0)
        rc = store_events(ledger, err);
    if (rc == 0)
        rc = ledger->ops->commit(ledger->store, err);
    if (rc != 0)
        return rc;
    ledger->last_event += ledger->event_count;
    ledger->running_threads += (uint64_t)ledger->threads_change;
    ledger->running_bytes += (uint64_t)ledger->bytes_change;
    clear_touched(ledger, false);
    return 0;
}

void ledger_rollback(struct ledger *ledger)
{
    struct err err;

    ledger->ops->rollback(ledger->store);
    clear_starting(ledger);
    clear_stopping(ledger);
    clear_touched(ledger, true);
    ledger->event_count = 0;
    ledger->threads_change = 0;
    ledger->bytes_change = 0;
    if (reload(ledger, &err) != 0)
        log_warning("what the task store holds could not be read again", LOG_STR("error", err.text));
}

/* ---- opening and closing ---- */

/* In a transaction. */
static int load(struct ledger *ledger, struct err *err)
{
    struct uuid greatest;
    int rc = task_queues_load(&ledger->queues, ledger->config.config, ledger->ops, ledger->store, err);

    if (rc == 0)
        rc = ledger->ops->greatest_id(ledger->store, &greatest, err);
    if (rc == 0)
        rc = ledger->ops->last_event(ledger->store, &ledger->last_event, err);
    if (rc != 0)
        return rc;
    uuid_begin_after(&greatest);
    add_up(ledger);
    if (ledger->config.leaves_running)
        return 0;
    ledger->is_recovering = true;
    rc = ledger_recover(ledger, err);
    ledger->is_recovering = false;
    return rc;
}

int ledger_open(struct ledger *ledger, const struct ledger_config *config, struct err *err)
{
    *ledger = (struct ledger){.config = *config, .ops = config->ops};
    ledger->number = clock_wall_ms() << 20; /* greater than those of earlier processes */
    TAILQ_INIT(&ledger->starting);
    TAILQ_INIT(&ledger->stopping);
    TAILQ_INIT(&ledger->touched);
    int rc = config->ops->open(config->where, &ledger->store, err);
    if (rc == 0)
        rc = ledger_begin(ledger, false, err);
    if (rc == 0)
        rc = load(ledger, err);
    if (rc == 0)
        rc = ledger_commit(ledger, err);
    ledger->kept_events = 0;
    ledger->event_count = 0;
    return rc;
}

void ledger_close(struct ledger *ledger)
{
    clear_starting(ledger);
    clear_stopping(ledger);
    clear_touched(ledger, false);
    for (size_t i = 0; i < LEDGER_RUNNING_BUCKETS; i++)
        assert(LIST_EMPTY(&ledger->running[i]));
    if (ledger->store)
        ledger->ops->close(ledger->store);
    task_queues_done(&ledger->queues);
    free(ledger->events);
}
