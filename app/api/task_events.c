/* GET /tasks/events, GET /tasks/{id}/events: Server-Sent Events.
 *
 * A follower is two ends that may go in any order: the stream to the client, and the watcher in the engine.
 * The one that ends tells the other, and who comes last frees.
 *
 * The stream of one task begins with where the task stands.  That is asked for once the watcher is in place,
 * so that nothing is lost between the two; when events come before the answer does, what it says may be older
 * than they are, and it is asked for again. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/task_look.h"
#include "api/task_reply.h"
#include "base/clock.h"
#include "base/http.h"
#include "base/thread.h"
#include "front/stream.h"
#include "tasks/view.h"

#define UNSENT_MAX_BYTES (64 * 1024)
#define TICK_MS          15000
#define WRITE_BYTES      ((size_t)32 * 1024) /* of events at once */
#define EVENT_MAX_BYTES  ((size_t)4 * 1024)
#define QUESTIONS_MAX    8

struct follower {
    struct task_engine *engine;
    atomic_uint refs;    /* the stream's, the watcher's, the handler's */
    atomic_uint pending; /* of the watcher and the question, those that are not done */
    atomic_bool is_watching;
    atomic_bool is_closed;
    struct request_stream *stream; /* set before the watcher, then read-only */
    struct task_watcher watcher;
    struct task_query query;

    pthread_mutex_t lock;
    /* guarded by lock: */
    bool has_begun;  /* where the task stands has been told, or need not be */
    bool has_missed; /* events came before */
    unsigned questions;
};

/* What a client may ask for. */
struct follow_wanted {
    bool has_after;
    uint64_t after;
    int queue;
};

static void follower_free(struct follower *follower)
{
    task_query_done(&follower->query);
    pthread_mutex_destroy(&follower->lock);
    free(follower);
}

static void unref(struct follower *follower)
{
    if (atomic_fetch_sub(&follower->refs, 1) == 1)
        follower_free(follower);
}

/* ---- events as text ---- */

static void append_event(struct buf *out, struct task_engine *engine, const struct task_event *event)
{
    char id[UUID_TEXT_SIZE];
    char at[CLOCK_RFC3339_SIZE];

    uuid_format(&event->id, id);
    clock_format_rfc3339(event->at_ms, at);
    if (event->number != 0)
        buf_printf(out, "id: %" PRIu64 "\n", event->number);
    buf_printf(out, "event: %s\ndata: {\"id\":\"%s\",\"state\":\"%s\",\"queue\":",
               event->is_progress ? "progress" : "state", id, task_state_names[event->state]);
    task_append_text(out, task_engine_queue_name(engine, event->queue));
    buf_printf(out, ",\"attempts\":%" PRIu32, event->attempts);
    if (event->progress > 0)
        buf_printf(out, ",\"progress\":%.4g", (double)event->progress);
    buf_printf(out, ",\"at\":\"%s\"}\n\n", at);
}

/* False when the client has gone or does not read. */
static bool flush(struct follower *follower, struct buf *text)
{
    bool ok = !text->failed && request_stream_write(follower->stream, text->data, text->size);

    text->size = 0;
    return ok;
}

static bool write_events(struct follower *follower, const struct task_event *events, size_t count)
{
    cleanup(buf_done) struct buf text = BUF_INIT(WRITE_BYTES + EVENT_MAX_BYTES);

    for (size_t i = 0; i < count; i++) {
        append_event(&text, follower->engine, &events[i]);
        if (text.size >= WRITE_BYTES && !flush(follower, &text))
            return false;
    }
    return text.size == 0 || flush(follower, &text);
}

static bool write_text(struct follower *follower, const char *text)
{
    return request_stream_write(follower->stream, text, strlen(text));
}

/* The same form as an event's, without a number: it is none. */
static void write_task(struct follower *follower, const struct task *task)
{
    const struct task_status *status = &task->status;
    struct task_event event = {
        .at_ms = clock_wall_ms(),
        .id = task->id,
        .attempts = status->attempts,
        .progress = (float)status->progress,
        .state = (uint8_t)status->state,
        .queue = status->queue,
    };

    write_events(follower, &event, 1);
}

/* ---- the two ends ---- */

/* Who sets its flag last sees the other's. */
static void unwatch_if_closed(struct follower *follower)
{
    if (atomic_load(&follower->is_closed) && atomic_load(&follower->is_watching))
        task_engine_unwatch(follower->engine, &follower->watcher);
}

static void on_closed(void *arg)
{
    struct follower *follower = arg;

    atomic_store(&follower->is_closed, true);
    unwatch_if_closed(follower);
    unref(follower);
}

/* The watcher or the question is done. */
static void end_one(struct follower *follower)
{
    if (atomic_fetch_sub(&follower->pending, 1) != 1)
        return;
    request_stream_end(follower->stream);
    unref(follower);
}

/* False: the events are missed, and the question has to be asked again. */
static bool can_write(struct follower *follower)
{
    LOCK(&follower->lock);
    follower->has_missed = !follower->has_begun;
    return follower->has_begun;
}

static bool on_events(struct task_watcher *watcher, const struct task_event *events, size_t count)
{
    struct follower *follower = container_of(watcher, struct follower, watcher);

    return !can_write(follower) || write_events(follower, events, count);
}

/* A client that reads slowly is told no faster. */
static bool is_ready(struct task_watcher *watcher)
{
    return request_stream_unsent(container_of(watcher, struct follower, watcher)->stream) <= UNSENT_MAX_BYTES;
}

static bool on_tick(struct task_watcher *watcher)
{
    return write_text(container_of(watcher, struct follower, watcher), ":\n\n");
}

static void on_watched(struct task_watcher *watcher)
{
    struct follower *follower = container_of(watcher, struct follower, watcher);

    if (watcher->rc == -EAGAIN)
        write_text(follower, ": too many listeners, or too slow\n\n");
    end_one(follower);
}

/* ---- where one task stands ---- */

static void ask(struct follower *follower);

/* Whether events were missed since it was last asked; if not and `is_told`, none will be. */
static bool has_missed(struct follower *follower, bool is_told)
{
    LOCK(&follower->lock);
    bool missed = follower->has_missed && ++follower->questions < QUESTIONS_MAX;
    follower->has_missed = false;
    follower->has_begun = is_told && !missed;
    return missed;
}

/* Tells where the task stands; false when that may be older than events that have come. */
static bool try_begin(struct follower *follower)
{
    if (has_missed(follower, false))
        return false;
    if (follower->query.rc > 0)
        write_task(follower, follower->query.tasks[0]);
    return !has_missed(follower, true);
}

static void on_asked(struct task_query *query)
{
    struct follower *follower = container_of(query, struct follower, query);

    if (!try_begin(follower)) {
        task_query_done(query);
        ask(follower);
        return;
    }
    if (query->rc <= 0 || task_state_is_final(query->tasks[0]->status.state))
        task_engine_unwatch(follower->engine, &follower->watcher);
    end_one(follower);
}

static void ask(struct follower *follower)
{
    follower->query = (struct task_query){
        .done = on_asked,
        .type = TASK_QUERY_GET,
        .id = follower->watcher.id,
    };
    task_engine_ask(follower->engine, &follower->query);
}

/* ---- beginning ---- */

static struct follower *follower_create(struct request *req, const struct follow_wanted *wanted)
{
    struct follower *follower = calloc(1, sizeof(*follower));

    if (!follower)
        return NULL;
    follower->engine = app_of(req)->tasks;
    atomic_init(&follower->refs, 3);
    atomic_init(&follower->pending, 1);
    pthread_mutex_init(&follower->lock, NULL);
    follower->has_begun = true;
    follower->watcher = (struct task_watcher){
        .queue = wanted->queue,
        .deadline_ns = CLOCK_NEVER,
        .tick_ms = TICK_MS,
        .has_after = wanted->has_after,
        .after = wanted->after,
        .events = on_events,
        .is_ready = is_ready,
        .tick = on_tick,
        .done = on_watched,
    };
    return follower;
}

/* False when the request has been answered, and the follower is gone. */
static bool open_stream(struct request *req, struct follower *follower)
{
    static const char greeting[] = "retry: 2000\n\n";

    follower->stream = request_stream_begin(req, "text/event-stream", on_closed, follower);
    if (follower->stream) {
        write_text(follower, greeting);
        return true;
    }
    follower_free(follower);
    return false;
}

static void watch(struct follower *follower)
{
    task_engine_watch(follower->engine, &follower->watcher);
    atomic_store(&follower->is_watching, true);
    unwatch_if_closed(follower);
}

/* Last-Event-ID, or ?last_event_id= for clients that cannot set headers; false when the request has been
 * answered. */
static bool read_after(struct request *req, struct follow_wanted *ret)
{
    const char *value = request_param(req, "HTTP_LAST_EVENT_ID");
    char text[24];
    struct err err = {.text = "it must be the number of an event"};
    int found = 1;

    if (!value) {
        found =
            http_query_find(request_param(req, "QUERY_STRING"), "last_event_id", text, sizeof(text), &err);
        value = text;
    }
    ret->has_after = found > 0 && event_number_parse(value, &ret->after);
    if (found == 0 || ret->has_after)
        return true;
    request_problem_with(req, 422, "field", "last_event_id", "last_event_id: %s", err.text);
    return false;
}

/* ?queue=; false when the request has been answered. */
static bool read_queue(struct request *req, struct follow_wanted *ret)
{
    char name[TASK_NAME_MAX_BYTES + 1];
    struct err err = {.text = "there is no queue of this name"};
    int found = http_query_find(request_param(req, "QUERY_STRING"), "queue", name, sizeof(name), &err);

    ret->queue = found > 0 ? task_engine_find_queue(app_of(req)->tasks, name) : -1;
    if (found == 0 || ret->queue >= 0)
        return true;
    request_problem_with(req, 422, "field", "queue", "queue: %s", err.text);
    return false;
}

void tasks_events(struct request *req)
{
    struct follow_wanted wanted = {.queue = -1};
    struct follower *follower;

    if (!read_after(req, &wanted) || !read_queue(req, &wanted))
        return;
    follower = follower_create(req, &wanted);
    if (!follower) {
        request_problem(req, 503, "out of memory");
        return;
    }
    if (!open_stream(req, follower))
        return;
    watch(follower);
    unref(follower);
}

/* ---- one task ---- */

/* It will not change any more: there is nothing to listen to. */
static void end_with(struct follower *follower, const struct task *task)
{
    write_task(follower, task);
    request_stream_end(follower->stream);
    atomic_fetch_sub(&follower->refs, 1); /* the watcher's, which is not needed; the caller's is left */
}

static void follow(struct follower *follower, const struct task *task)
{
    follower->watcher.is_for_task = true;
    follower->watcher.id = task->id;
    follower->watcher.until_finished = true;
    if (follower->watcher.has_after) {
        watch(follower);
        return;
    }
    follower->has_begun = false;
    atomic_store(&follower->pending, 2);
    watch(follower);
    ask(follower);
}

static void answer_found(struct request *req, const struct task *task)
{
    struct follow_wanted wanted = {.queue = -1};
    struct follower *follower;

    if (!read_after(req, &wanted))
        return;
    follower = follower_create(req, &wanted);
    if (!follower) {
        request_problem(req, 503, "out of memory");
        return;
    }
    if (!open_stream(req, follower))
        return;
    if (task_state_is_final(task->status.state))
        end_with(follower, task);
    else
        follow(follower, task);
    unref(follower);
}

static void answer_events_of(struct request *req, void *arg)
{
    struct task_look *look = arg;
    const struct task *task = task_look_task(look);

    if (look->query.rc < 0)
        task_reply_error(req, &look->query.err);
    else if (!task)
        task_reply_not_found(req);
    else
        answer_found(req, task);
    task_look_unref(look);
}

void tasks_events_of(struct request *req)
{
    struct task_look *look = task_look_create(req, answer_events_of);

    if (!look)
        return;
    task_look_suspend(look);
    task_look_ask(look);
}
