#include "api/task_look.h"

#include <errno.h>
#include <stdlib.h>

#include "api/api_int.h"
#include "api/task_reply.h"
#include "base/clock.h"

/* To wait for a task's end is to watch it.  It may have ended before the watcher is in place, so the store is
 * asked once that is the case: of what was committed before, that answer tells; of all that comes later, the
 * watcher.  Whichever of the two is done last goes on. */

void task_look_init(struct task_look *look, struct request *req, request_fn answer,
                    void (*free)(struct task_look *look))
{
    look->req = req;
    look->engine = app_of(req)->tasks;
    look->answer = answer;
    look->free = free;
    atomic_init(&look->refs, 1);
    atomic_init(&look->pending, 0);
    atomic_init(&look->is_watching, false);
    atomic_init(&look->is_gone, false);
}

static void free_look(struct task_look *look)
{
    free(look);
}

bool task_look_read_id(struct request *req, struct uuid *ret)
{
    if (uuid_parse(request_path_arg(req), ret))
        return true;
    task_reply_not_found(req);
    return false;
}

struct task_look *task_look_create(struct request *req, request_fn answer)
{
    struct task_look *look;
    struct uuid id;

    if (!task_look_read_id(req, &id))
        return NULL;
    look = calloc(1, sizeof(*look));
    if (!look) {
        request_problem(req, 503, "out of memory");
        return NULL;
    }
    task_look_init(look, req, answer, free_look);
    look->id = id;
    return look;
}

static void look_ref(struct task_look *look)
{
    atomic_fetch_add(&look->refs, 1);
}

void task_look_unref(struct task_look *look)
{
    if (atomic_fetch_sub(&look->refs, 1) != 1)
        return;
    task_query_done(&look->query);
    look->free(look);
}

struct task *task_look_task(const struct task_look *look)
{
    return look->query.rc > 0 ? look->query.tasks[0] : NULL;
}

/* ---- the client may go away ---- */

/* Who sets its flag last sees the other's. */
static void unwatch_if_gone(struct task_look *look)
{
    if (atomic_load(&look->is_gone) && atomic_load(&look->is_watching))
        task_engine_unwatch(look->engine, &look->watcher);
}

static void on_hangup(void *arg)
{
    struct task_look *look = arg;

    atomic_store(&look->is_gone, true);
    unwatch_if_gone(look);
}

static void on_release(void *arg)
{
    task_look_unref(arg);
}

void task_look_suspend(struct task_look *look)
{
    struct request_wait wait = {.hangup = on_hangup, .release = on_release, .arg = look};

    look_ref(look);
    request_suspend(look->req, &wait);
}

/* ---- asking ---- */

void task_look_answer(struct task_look *look)
{
    request_resume(look->req, look->answer, look);
}

static void on_asked(struct task_query *query)
{
    task_look_answer(container_of(query, struct task_look, query));
}

static void ask(struct task_look *look, void (*done)(struct task_query *query))
{
    look->query = (struct task_query){.done = done, .type = look->type, .id = look->id};
    task_engine_ask(look->engine, &look->query);
}

void task_look_ask(struct task_look *look)
{
    ask(look, on_asked);
}

/* ---- waiting ---- */

/* There is nothing (more) to wait for. */
static bool is_settled(const struct task_look *look)
{
    const struct task *task = task_look_task(look);

    return !task || task_state_is_final(task->status.state);
}

/* The watcher or the question is done. */
static void end_one(struct task_look *look)
{
    if (atomic_fetch_sub(&look->pending, 1) != 1)
        return;
    look->has_waited = is_settled(look) || look->watcher.rc == 0 || look->watcher.rc == -ETIME;
    if (is_settled(look) || atomic_load(&look->is_gone)) {
        task_look_answer(look);
        return;
    }
    task_query_done(&look->query);
    task_look_ask(look);
}

static void on_first_asked(struct task_query *query)
{
    struct task_look *look = container_of(query, struct task_look, query);

    if (is_settled(look))
        task_engine_unwatch(look->engine, &look->watcher);
    end_one(look);
}

static bool on_events(struct task_watcher *watcher, const struct task_event *events, size_t count)
{
    (void)watcher;
    (void)events;
    (void)count;
    return true;
}

static void on_watched(struct task_watcher *watcher)
{
    end_one(container_of(watcher, struct task_look, watcher));
}

void task_look_wait(struct task_look *look, uint64_t wait_ms)
{
    look->watcher = (struct task_watcher){
        .is_for_task = true,
        .id = look->id,
        .queue = -1,
        .until_finished = true,
        .deadline_ns = clock_deadline_ns(clock_now_ns(), wait_ms),
        .events = on_events,
        .done = on_watched,
    };
    atomic_store(&look->pending, 2);
    look_ref(look); /* until this call is over: all may be done before */
    task_engine_watch(look->engine, &look->watcher);
    atomic_store(&look->is_watching, true);
    unwatch_if_gone(look);
    ask(look, on_first_asked);
    task_look_unref(look);
}
