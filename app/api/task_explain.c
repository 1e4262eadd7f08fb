/* GET /tasks/{id}/explain: why a task is where it is, in words and as data. */
#include <inttypes.h>

#include "api/api_int.h"
#include "api/task_look.h"
#include "api/task_reply.h"
#include "base/clock.h"
#include "tasks/view.h"

#define ANSWER_MAX_BYTES ((size_t)64 * 1024)

/* What there is to be looked at. */
struct facts {
    const struct task_query *query;
    const struct task *task;
    const struct task_kind *kind; /* NULL: this program knows none of that name */
    bool is_full;                 /* as many of its sort run as may */
    struct task_queue_info queue;
    uint64_t now_ms;
};

/* What is to be said: a row for each reason, what it is called and how it is put. */
struct reason {
    const char *name;
    void (*append_words)(struct buf *out, const struct facts *facts);
};

static const struct task_status *status_of(const struct facts *facts)
{
    return &facts->task->status;
}

/* ---- words: the inside of a JSON string; each text that is not ours goes through task_append_text ---- */

static void append_time(struct buf *out, uint64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(wall_ms, text);
    buf_append_str(out, text);
}

static void say_waits_for_time(struct buf *out, const struct facts *facts)
{
    buf_append_str(out, "It waits for its time, ");
    append_time(out, status_of(facts)->run_at_ms);
}

static void say_backs_off(struct buf *out, const struct facts *facts)
{
    const struct task *task = facts->task;

    buf_printf(out, "Attempt %u of %u has failed; the next one is to start at ", task->status.attempts,
               task->spec.max_attempts);
    append_time(out, task->status.run_at_ms);
}

static void say_runners_are_busy(struct buf *out, const struct facts *facts)
{
    (void)facts;
    buf_append_str(out, "Its kind holds a thread, and all of tasks.runners are busy");
}

static void say_all_places_are_taken(struct buf *out, const struct facts *facts)
{
    (void)facts;
    buf_append_str(out, "As many tasks run as tasks.max_running and tasks.max_running_bytes allow");
}

static void say_queue_is_paused(struct buf *out, const struct facts *facts)
{
    (void)facts;
    buf_append_str(out, "Its queue is paused");
}

static void say_queue_is_busy(struct buf *out, const struct facts *facts)
{
    buf_printf(out, "Its queue runs %u tasks at a time, and as many run; %" PRIu64 " come before it",
               facts->queue.concurrency, facts->query->position);
}

static void say_queue_is_limited(struct buf *out, const struct facts *facts)
{
    buf_printf(out, "Its queue starts %.15g tasks a second; %" PRIu64 " come before it",
               facts->queue.rate_per_s, facts->query->position);
}

static void say_waits_for_turn(struct buf *out, const struct facts *facts)
{
    buf_printf(out, "It waits for its turn; %" PRIu64 " tasks of its queue come before it",
               facts->query->position);
}

static void say_is_unknown(struct buf *out, const struct facts *facts)
{
    (void)facts;
    buf_append_str(out, "This program knows no kind of that name any more");
}

static void say_runs(struct buf *out, const struct facts *facts)
{
    buf_append_str(out, "It runs since ");
    append_time(out, status_of(facts)->started_ms);
}

static void say_is_cancelled(struct buf *out, const struct facts *facts)
{
    (void)facts;
    buf_append_str(out, "It has been asked to end, and has not yet");
}

static void say_has_succeeded(struct buf *out, const struct facts *facts)
{
    buf_append_str(out, "It has succeeded at ");
    append_time(out, status_of(facts)->finished_ms);
}

static void say_is_dead(struct buf *out, const struct facts *facts)
{
    buf_printf(out, "It has failed for good after %u of %u attempts and %u interruptions",
               status_of(facts)->attempts, facts->task->spec.max_attempts, status_of(facts)->interruptions);
}

static void say_was_cancelled(struct buf *out, const struct facts *facts)
{
    buf_append_str(out, "It was cancelled at ");
    append_time(out, status_of(facts)->finished_ms);
}

static const struct reason waits_for_time = {"waiting_for_time", say_waits_for_time};
static const struct reason backs_off = {"backing_off", say_backs_off};
static const struct reason queue_is_paused = {"queue_paused", say_queue_is_paused};
static const struct reason queue_is_busy = {"queue_concurrency", say_queue_is_busy};
static const struct reason queue_is_limited = {"queue_rate", say_queue_is_limited};
static const struct reason runners_are_busy = {"runners_busy", say_runners_are_busy};
static const struct reason all_places_are_taken = {"max_running", say_all_places_are_taken};
static const struct reason waits_for_turn = {"waiting_for_turn", say_waits_for_turn};
static const struct reason is_unknown = {"unknown_kind", say_is_unknown};
static const struct reason runs = {"running", say_runs};
static const struct reason is_cancelled = {"being_cancelled", say_is_cancelled};
static const struct reason has_succeeded = {"succeeded", say_has_succeeded};
static const struct reason is_dead = {"dead", say_is_dead};
static const struct reason was_cancelled = {"cancelled", say_was_cancelled};

/* ---- which of them ---- */

static bool is_busy(const struct task_queue_info *queue)
{
    return queue->concurrency > 0 && queue->counts.by_state[TASK_STATE_RUNNING] >= queue->concurrency;
}

static const struct reason *find_reason_queued(const struct facts *facts)
{
    if (!facts->kind)
        return &is_unknown;
    if (facts->queue.is_paused)
        return &queue_is_paused;
    if (is_busy(&facts->queue))
        return &queue_is_busy;
    if (facts->is_full)
        return facts->kind->holds_thread ? &runners_are_busy : &all_places_are_taken;
    return facts->queue.rate_per_s > 0 ? &queue_is_limited : &waits_for_turn;
}

static const struct reason *find_reason(const struct facts *facts)
{
    switch (status_of(facts)->state) {
    case TASK_STATE_SCHEDULED:
        return status_of(facts)->attempts > 0 && facts->task->error ? &backs_off : &waits_for_time;
    case TASK_STATE_QUEUED:
        return find_reason_queued(facts);
    case TASK_STATE_RUNNING:
        return status_of(facts)->is_cancelled ? &is_cancelled : &runs;
    case TASK_STATE_SUCCEEDED:
        return &has_succeeded;
    case TASK_STATE_CANCELLED:
        return &was_cancelled;
    default:
        return &is_dead;
    }
}

/* ---- when it may start ---- */

/* How many tasks of its queue end in a ms, by Little's law: as many as run, each for about as long as those
 * that run now have done so far.  0: nobody can tell. */
static double ends_per_ms(const struct facts *facts)
{
    const struct task_query *query = facts->query;
    double age_ms = 0;

    for (size_t i = 0; i < query->running_count; i++) {
        uint64_t started_ms = query->running[i]->status.started_ms;
        age_ms += facts->now_ms > started_ms ? (double)(facts->now_ms - started_ms) : 0;
    }
    if (query->running_count == 0 || age_ms <= 0)
        return 0;
    return (double)facts->queue.counts.by_state[TASK_STATE_RUNNING] / (age_ms / (double)query->running_count);
}

/* 0: nobody can tell. */
static uint64_t estimate_start_ms(const struct facts *facts)
{
    double before = (double)facts->query->position + (is_busy(&facts->queue) ? 1 : 0);
    double ends = ends_per_ms(facts);
    double wait_ms = 0;

    if (facts->queue.is_paused || (ends <= 0 && facts->queue.rate_per_s <= 0))
        return 0;
    if (ends > 0)
        wait_ms = before / ends;
    if (facts->queue.rate_per_s > 0)
        wait_ms = MAX(wait_ms, before * 1000 / facts->queue.rate_per_s);
    return wait_ms > 1e12 ? 0 : facts->now_ms + (uint64_t)wait_ms;
}

/* ---- data ---- */

static void append_time_member(struct buf *out, const char *key, uint64_t wall_ms)
{
    if (wall_ms == 0)
        return;
    buf_append_str(out, key);
    buf_append(out, "\"", 1);
    append_time(out, wall_ms);
    buf_append(out, "\"", 1);
}

static void append_ids(struct buf *out, struct task *const *tasks, size_t count)
{
    char id[UUID_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        uuid_format(&tasks[i]->id, id);
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", id);
    }
}

static void append_queued(struct buf *out, const struct facts *facts)
{
    const struct task_query *query = facts->query;
    bool is_exact = query->position < TASK_POSITION_MAX;

    buf_printf(out, ",\"position\":%" PRIu64 ",\"position_is_exact\":%s", query->position,
               is_exact ? "true" : "false");
    if (is_exact)
        append_time_member(out, ",\"estimated_start\":", estimate_start_ms(facts));
    buf_append_str(out, ",\"running\":[");
    append_ids(out, query->running, query->running_count);
    buf_append_str(out, "]");
}

static void append_queue(struct buf *out, const struct task_queue_info *queue)
{
    buf_append_str(out, ",\"queue\":{\"name\":");
    task_append_text(out, queue->name);
    buf_printf(out, ",\"paused\":%s,\"running\":%" PRIu64 ",\"queued\":%" PRIu64,
               queue->is_paused ? "true" : "false", queue->counts.by_state[TASK_STATE_RUNNING],
               queue->counts.by_state[TASK_STATE_QUEUED]);
    if (queue->concurrency > 0)
        buf_printf(out, ",\"concurrency\":%u", queue->concurrency);
    if (queue->rate_per_s > 0)
        buf_printf(out, ",\"rate\":%.15g", queue->rate_per_s);
    buf_append_str(out, "}");
}

static void append_explanation(struct buf *out, const struct facts *facts)
{
    const struct task *task = facts->task;
    const struct reason *reason = find_reason(facts);
    char id[UUID_TEXT_SIZE];

    uuid_format(&task->id, id);
    buf_printf(out, "{\"id\":\"%s\",\"state\":\"%s\",\"reason\":\"%s\",\"text\":\"", id,
               task_state_names[task->status.state], reason->name);
    reason->append_words(out, facts);
    buf_printf(out, "\",\"attempts\":%u,\"max_attempts\":%u", task->status.attempts, task->spec.max_attempts);
    append_time_member(out, ",\"run_at\":", task->status.run_at_ms);
    if (task->status.state == TASK_STATE_QUEUED)
        append_queued(out, facts);
    append_queue(out, &facts->queue);
    if (task->error) {
        buf_append_str(out, ",\"error\":");
        task_append_text(out, task->error);
    }
    buf_append_str(out, "}");
}

/* ---- the handler ---- */

static void find_queue(struct task_engine *engine, task_queue_id id, struct task_queue_info *ret)
{
    struct task_queue_info queues[TASK_QUEUE_MAX];
    size_t count = task_engine_queues(engine, queues);

    *ret = (struct task_queue_info){.id = id, .name = task_engine_queue_name(engine, id)};
    for (size_t i = 0; i < count; i++) {
        if (queues[i].id == id)
            *ret = queues[i];
    }
}

static void reply_explanation(struct request *req, const struct task_look *look, const struct task *task)
{
    struct facts facts = {.query = &look->query, .task = task, .now_ms = clock_wall_ms()};
    struct buf body = BUF_INIT(ANSWER_MAX_BYTES);

    facts.kind = task_engine_kind(look->engine, task->spec.kind_name);
    facts.is_full = facts.kind && task_engine_is_full(look->engine, facts.kind);
    find_queue(look->engine, task->status.queue, &facts.queue);
    append_explanation(&body, &facts);
    request_reply_buf(req, 200, "application/json", &body);
}

static void answer_explain(struct request *req, void *arg)
{
    struct task_look *look = arg;
    const struct task *task = task_look_task(look);

    if (look->query.rc < 0)
        task_reply_error(req, &look->query.err);
    else if (!task)
        task_reply_not_found(req);
    else
        reply_explanation(req, look, task);
    task_look_unref(look);
}

void tasks_explain(struct request *req)
{
    struct task_look *look = task_look_create(req, answer_explain);

    if (!look)
        return;
    look->type = TASK_QUERY_EXPLAIN;
    task_look_suspend(look);
    task_look_ask(look);
}
