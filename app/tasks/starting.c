/* What may start, and in which order: see queues.h for whose turn it is. */
#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "tasks/ledger_int.h"

/* What one transaction takes at the most: tasks that are started, that are due. */
#define BATCH_STARTS 256
#define BATCH_DUE    256

/* Started tasks that wait for a thread, at the most; and when to look at them again. */
#define BACKLOG_MAX        512
#define BACKLOG_LOOK_AGAIN NS_PER_MS

/* Taken from one queue in one go: the grain of what is fair. */
#define CHUNK 32

/* The wall clock may be set: what it decides is looked at again after so long. */
#define LOOK_AGAIN_MS 1000

static size_t room_for_all(const struct ledger *ledger)
{
    uint64_t bytes = ledger->running_bytes + (uint64_t)ledger->bytes_change;
    uint64_t running = ledger->totals.by_state[TASK_STATE_RUNNING];
    uint64_t max = ledger->config.config->tasks.max_running;

    return running < max && bytes < ledger->config.config->tasks.max_running_bytes ? (size_t)(max - running)
                                                                                   : 0;
}

/* What is started has to have its turn soon, or one tenant's flood stands before another's next task in the
 * pool instead of in the queue. */
static size_t room_in_backlog(const struct ledger *ledger)
{
    const struct ledger_config *config = &ledger->config;
    size_t backlog = ledger->starting_count + (config->backlog ? config->backlog(config->backlog_arg) : 0);

    return backlog < BACKLOG_MAX ? BACKLOG_MAX - backlog : 0;
}

size_t ledger_room(const struct ledger *ledger, unsigned lane)
{
    uint64_t threads = ledger->running_threads + (uint64_t)ledger->threads_change;
    uint64_t max = ledger->config.config->tasks.runners;
    size_t room = room_for_all(ledger);

    if (lane == TASK_LANE_FREE)
        return MIN(room, room_in_backlog(ledger));
    return threads < max ? MIN(room, (size_t)(max - threads)) : 0;
}

static unsigned lanes_with_room(const struct ledger *ledger)
{
    unsigned lanes = 0;

    for (unsigned lane = 0; lane < TASK_LANE_COUNT; lane++)
        if (ledger_room(ledger, lane) > 0)
            lanes |= 1u << lane;
    return lanes;
}

bool ledger_may_start_at_once(struct ledger *ledger, const struct task *task)
{
    unsigned lane = task->kind && task->kind->holds_thread ? TASK_LANE_THREAD : TASK_LANE_FREE;
    struct task_queue *queue = &ledger->queues.all[task->status.queue];

    return ledger->may_start && task->kind && ledger->starting_count < BATCH_STARTS &&
           !queue->may_wait[lane] && !ledger->is_short[lane] && ledger_room(ledger, lane) > 0 &&
           task_queue_room(queue, ledger->now_ns) > 0;
}

/* ---- what is due ---- */

static void unref_all(struct task **tasks, int count)
{
    for (int i = 0; i < count; i++)
        task_unref(tasks[i]);
}

static int queue_task(struct ledger *ledger, struct task *task, struct err *err)
{
    struct task_status to = task->status;

    task->kind = task_kind_find(ledger->config.kinds, task->spec.kind_name);
    to.run_at_ms = MIN(to.run_at_ms, ledger->now_ms);
    ledger_enqueue(ledger, task, &to);
    return ledger_move(ledger, task, &to, NULL, NULL, err);
}

static int find_next_due(struct ledger *ledger, struct err *err)
{
    uint64_t due_ms;
    int rc = ledger->ops->next_due(ledger->store, &due_ms, err);

    if (rc >= 0)
        ledger->next_due_ms = rc > 0 ? due_ms : UINT64_MAX;
    return MIN(rc, 0);
}

static int queue_due(struct ledger *ledger, struct err *err)
{
    struct task *tasks[CHUNK];
    int count = CHUNK;
    int rc = 0;

    if (ledger->now_ms < ledger->next_due_ms)
        return 0;
    for (size_t done = 0; rc == 0 && count == CHUNK && done < BATCH_DUE; done += CHUNK) {
        count = ledger->ops->due(ledger->store, ledger->now_ms, CHUNK, tasks, err);
        for (int i = 0; rc == 0 && i < count; i++)
            rc = queue_task(ledger, tasks[i], err);
        unref_all(tasks, count);
        if (count < 0)
            rc = count;
    }
    return rc == 0 ? find_next_due(ledger, err) : rc;
}

/* ---- what starts ---- */

/* Such a task can come from a newer program. */
static int bury_unknown_kind(struct ledger *ledger, struct task *task, struct err *err)
{
    log_error("a task of an unknown kind is set aside", LOG_STR("kind", task->spec.kind_name));
    return ledger_finish(ledger, task, TASK_STATE_DEAD, NULL, "this heddle knows no such kind of task", err);
}

static int start_task(struct ledger *ledger, struct task *task, struct err *err)
{
    task->kind = task_kind_find(ledger->config.kinds, task->spec.kind_name);
    return task->kind ? ledger_start(ledger, task, err) : bury_unknown_kind(ledger, task, err);
}

static int start_from(struct ledger *ledger, struct task_queue *queue, unsigned lane, struct err *err)
{
    struct task *tasks[CHUNK];
    size_t room = MIN(ledger_room(ledger, lane), task_queue_room(queue, ledger->now_ns));
    size_t limit = MIN(room, (size_t)CHUNK);
    int rc = 0;

    int count = ledger->ops->first_queued(ledger->store, task_queue_id_of(&ledger->queues, queue),
                                          lane == TASK_LANE_THREAD, limit, tasks, err);
    if (count < 0)
        return count;
    if ((size_t)count < limit)
        queue->may_wait[lane] = false;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = start_task(ledger, tasks[i], err);
    unref_all(tasks, count);
    return rc;
}

static int start_queued(struct ledger *ledger, struct err *err)
{
    unsigned lane;
    int rc = 0;

    while (rc == 0 && ledger->starting_count < BATCH_STARTS) {
        unsigned lanes = lanes_with_room(ledger);
        struct task_queue *queue = task_queues_choose(&ledger->queues, lanes, ledger->now_ns, &lane);
        if (!queue)
            break;
        rc = start_from(ledger, queue, lane, err);
    }
    for (lane = 0; lane < TASK_LANE_COUNT; lane++)
        ledger->is_short[lane] = ledger_room(ledger, lane) == 0;
    return rc;
}

int ledger_start_tasks(struct ledger *ledger, struct err *err)
{
    if (!ledger->may_start)
        return 0;
    int rc = queue_due(ledger, err);
    return rc == 0 ? start_queued(ledger, err) : rc;
}

/* ---- when ---- */

/* Whether something may wait in a lane that has room. */
static bool may_start_from(const struct task_queue *queue, unsigned lanes)
{
    for (unsigned lane = 0; lane < TASK_LANE_COUNT; lane++)
        if (queue->may_wait[lane] && lanes & 1u << lane)
            return true;
    return false;
}

bool ledger_has_work(struct ledger *ledger, uint64_t now_ns, uint64_t now_ms)
{
    unsigned lanes = lanes_with_room(ledger);

    if (now_ms >= ledger->next_due_ms || now_ns >= ledger->tidy_ns)
        return true;
    for (size_t i = 0; i < ledger->queues.count; i++) {
        struct task_queue *queue = &ledger->queues.all[i];
        if (queue->is_known && may_start_from(queue, lanes) && task_queue_room(queue, now_ns) > 0)
            return true;
    }
    return false;
}

uint64_t ledger_next_ns(const struct ledger *ledger, uint64_t now_ns, uint64_t now_ms)
{
    unsigned lanes = lanes_with_room(ledger);
    bool is_backlogged = room_for_all(ledger) > 0 && room_in_backlog(ledger) == 0;
    uint64_t next_ns = is_backlogged ? now_ns + BACKLOG_LOOK_AGAIN : ledger->tidy_ns;

    if (ledger->next_due_ms != UINT64_MAX) {
        uint64_t wait_ms = ledger->next_due_ms > now_ms ? ledger->next_due_ms - now_ms : 0;
        next_ns = MIN(next_ns, clock_deadline_ns(now_ns, MIN(wait_ms, (uint64_t)LOOK_AGAIN_MS)));
    }
    for (size_t i = 0; i < ledger->queues.count; i++) {
        const struct task_queue *queue = &ledger->queues.all[i];
        if (queue->is_known && may_start_from(queue, lanes))
            next_ns = MIN(next_ns, task_queue_ready_ns(queue));
    }
    return next_ns;
}
