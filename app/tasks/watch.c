/* A watcher's entry is `starting` while the store is asked for older events, then `live`.  It is changed and
 * freed by the watch's thread alone (while it starts: by the reader's); everybody else only leaves wishes
 * under the lock and puts it into `dirty`.  So the thread may call a watcher without the lock. */
#include "tasks/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "tasks/metrics.h"
#include "tasks/tasks_int.h"

#define RING_SIZE ((size_t)1 << 16)
#define BUCKETS   4096

/* Events that are looked at in one go, and that are kept for one watcher. */
#define BATCH             256
#define PENDING_MAX_BYTES (BATCH * sizeof(struct task_event))

/* Older events that one question looks at. */
#define LOOK_AT_MAX 8192

/* How long one that cannot take events is left alone. */
#define REST_MS 20

struct task_watch_entry {
    /* set at creation, then read-only: */
    struct task_watch *watch;
    struct task_watcher *watcher;

    /* guarded by the watch's lock: */
    LIST_ENTRY(task_watch_entry) in_list; /* a bucket, or `broad` */
    TAILQ_ENTRY(task_watch_entry) in_dirty;
    bool is_dirty;
    bool is_starting; /* a reader has it */
    bool is_behind;   /* what the ring has of `from` on has not been told */
    bool is_removed;  /* somebody has asked for its end */
    struct heap_node timer;

    /* the watch's thread, or the reader's while it starts: */
    uint64_t from;      /* events below are not for it (any more) */
    struct buf pending; /* events that it has to be told */
    bool has_enough;
    unsigned looked_at; /* events, by the present question */
    uint64_t again_ns;  /* when to ask again whether it is ready; CLOCK_NEVER: it was */
    int rc;             /* why it ends, when it does */
    uint64_t tick_ns;
    struct task_question question;
};

LIST_HEAD(entry_list, task_watch_entry);
TAILQ_HEAD(dirty_list, task_watch_entry);

struct task_watch {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t wake;
    struct task_event *ring; /* event n is at n % RING_SIZE */
    uint64_t first;          /* the ring has the events from here */
    uint64_t next;           /* to here */
    struct entry_list buckets[BUCKETS];
    struct entry_list broad;
    struct dirty_list dirty;
    struct heap timers;
    size_t count;
    bool is_stopping;

    /* the thread's: */
    uint64_t seen; /* events below have been told */

    /* set before the thread starts, then read-only: */
    struct task_readers *readers;
    unsigned max_watchers;

    /* the owner's thread only: */
    bool has_thread;
    pthread_t thread;
};

static struct entry_list *list_of(struct task_watch *watch, const struct task_watcher *watcher)
{
    return watcher->is_for_task ? &watch->buckets[uuid_bucket(&watcher->id, BUCKETS)] : &watch->broad;
}

static bool concerns(const struct task_watcher *watcher, const struct task_event *event)
{
    if (watcher->is_for_task)
        return uuid_equal(&watcher->id, &event->id);
    return watcher->queue < 0 || watcher->queue == event->queue;
}

static void make_dirty_locked(struct task_watch *watch, struct task_watch_entry *entry)
{
    if (entry->is_dirty)
        return;
    entry->is_dirty = true;
    TAILQ_INSERT_TAIL(&watch->dirty, entry, in_dirty);
}

/* ---- telling one watcher ---- */

static void tell(struct task_watch_entry *entry, const struct task_event *events, size_t count)
{
    struct task_watcher *watcher = entry->watcher;

    if (count == 0 || entry->has_enough)
        return;
    if (watcher->events && !watcher->events(watcher, events, count))
        entry->has_enough = true;
    for (size_t i = 0; watcher->until_finished && i < count; i++)
        if (task_state_is_final((enum task_state)events[i].state))
            entry->has_enough = true;
}

/* Keeps an event for when it can be told. */
static void keep(struct task_watch_entry *entry, const struct task_event *event)
{
    buf_append(&entry->pending, event, sizeof(*event));
    if (!entry->pending.failed || entry->has_enough)
        return;
    entry->has_enough = true;
    entry->rc = -ENOMEM;
}

static void tell_pending(struct task_watch_entry *entry)
{
    const void *events = entry->pending.data;

    tell(entry, events, entry->pending.size / sizeof(struct task_event));
    entry->pending.size = 0;
}

/* ---- older events, from the store ---- */

/* A reader's thread calls it for each.  Neither is one reader kept for long nor is a watcher told more than
 * it takes in one go: it asks again. */
static bool on_old_event(void *arg, const struct task_event *event)
{
    struct task_watch_entry *entry = arg;

    entry->from = event->number + 1;
    if (concerns(entry->watcher, event))
        keep(entry, event);
    return !entry->has_enough && entry->pending.size < PENDING_MAX_BYTES && ++entry->looked_at < LOOK_AT_MAX;
}

static void go_live(struct task_watch_entry *entry)
{
    struct task_watch *watch = entry->watch;

    LOCK(&watch->lock);
    entry->is_starting = false;
    entry->is_behind = true;
    make_dirty_locked(watch, entry);
    pthread_cond_signal(&watch->wake);
}

static void on_read(struct task_question *question, const struct task_store_ops *ops,
                    struct task_reader *reader, int rc)
{
    struct task_watch_entry *entry = container_of(question, struct task_watch_entry, question);
    struct err err;

    entry->looked_at = 0;
    if (reader)
        rc = ops->events(reader, entry->from, on_old_event, entry, &err);
    tell_pending(entry);
    if (rc < 0) {
        entry->has_enough = true;
        entry->rc = rc;
    }
    go_live(entry);
}

/* What the ring has of what it needs, as much as is told in one go: it is visited again for the rest.  False
 * when the ring does not have all of it. */
static bool catch_up_locked(struct task_watch *watch, struct task_watch_entry *entry)
{
    if (entry->from < watch->first)
        return false;
    for (; entry->from < watch->seen && entry->pending.size < PENDING_MAX_BYTES; entry->from++) {
        const struct task_event *event = &watch->ring[entry->from % RING_SIZE];
        if (concerns(entry->watcher, event) && !entry->has_enough)
            keep(entry, event);
    }
    entry->is_behind = entry->from < watch->seen;
    if (entry->is_behind)
        make_dirty_locked(watch, entry);
    return true;
}

/* ---- the thread ---- */

static uint64_t next_time(const struct task_watch_entry *entry)
{
    return MIN(MIN(entry->watcher->deadline_ns, entry->tick_ns), entry->again_ns);
}

/* Takes an entry out; nobody can find it any more. */
static void take_out(struct task_watch_entry *entry)
{
    struct task_watch *watch = entry->watch;

    LOCK(&watch->lock);
    LIST_REMOVE(entry, in_list);
    if (entry->is_dirty)
        TAILQ_REMOVE(&watch->dirty, entry, in_dirty);
    if (heap_has(&entry->timer))
        heap_remove(&watch->timers, &entry->timer);
    watch->count--;
    entry->watcher->entry = NULL;
}

static void end(struct task_watch_entry *entry, int rc)
{
    struct task_watcher *watcher = entry->watcher;

    take_out(entry);
    metric_add(&tasks_metrics[TASK_METRIC_WATCHERS], 0, 0, -1);
    buf_done(&entry->pending);
    free(entry);
    watcher->rc = rc;
    watcher->done(watcher);
}

/* The events of a batch that it has not been told of. */
static void tell_batch(struct task_watch_entry *entry, const struct task_event *batch, size_t count)
{
    struct task_event chosen[BATCH];
    size_t chosen_count = 0;

    for (size_t i = 0; i < count; i++)
        if (batch[i].number >= entry->from && concerns(entry->watcher, &batch[i]))
            chosen[chosen_count++] = batch[i];
    if (count > 0)
        entry->from = MAX(entry->from, batch[count - 1].number + 1);
    tell(entry, chosen, chosen_count);
}

static void set_timer(struct task_watch_entry *entry)
{
    struct task_watch *watch = entry->watch;
    uint64_t due_ns = next_time(entry);

    LOCK(&watch->lock);
    if (heap_has(&entry->timer) && entry->timer.due_ns == due_ns)
        return;
    if (heap_has(&entry->timer))
        heap_remove(&watch->timers, &entry->timer);
    if (due_ns != CLOCK_NEVER)
        heap_push(&watch->timers, due_ns, &entry->timer);
}

static void look_at_clock(struct task_watch_entry *entry, uint64_t now_ns)
{
    struct task_watcher *watcher = entry->watcher;

    if (now_ns >= watcher->deadline_ns && !entry->has_enough) {
        entry->has_enough = true;
        entry->rc = -ETIME;
    }
    if (now_ns < entry->tick_ns || entry->has_enough)
        return;
    if (watcher->tick && !watcher->tick(watcher))
        entry->has_enough = true;
    entry->tick_ns = clock_deadline_ns(now_ns, watcher->tick_ms);
}

/* What is to be done with a dirty entry, as far as the lock is needed for it. */
enum action { ACTION_REST, ACTION_TELL, ACTION_TELL_OLD, ACTION_END, ACTION_ASK, ACTION_LEAVE };

static enum action decide(struct task_watch_entry *entry, bool is_ready, size_t count, bool *ret_is_stopping)
{
    struct task_watch *watch = entry->watch;

    LOCK(&watch->lock);
    entry->is_dirty = false;
    if (!entry->is_starting && !entry->is_behind)
        entry->from = MAX(entry->from, watch->seen - count); /* what is before the batch has been told */
    *ret_is_stopping = watch->is_stopping;
    if (entry->is_starting)
        return ACTION_LEAVE;
    if (entry->is_removed || watch->is_stopping)
        return ACTION_END;
    if (!is_ready && !entry->has_enough) {
        entry->is_behind = true;
        return ACTION_REST;
    }
    if (entry->has_enough || !entry->is_behind || catch_up_locked(watch, entry))
        return entry->is_behind ? ACTION_TELL_OLD : ACTION_TELL;
    entry->is_starting = true;
    return ACTION_ASK;
}

static void finish_visit(struct task_watch_entry *entry)
{
    if (entry->has_enough)
        end(entry, entry->rc);
    else
        set_timer(entry);
}

static void visit(struct task_watch_entry *entry, const struct task_event *batch, size_t count)
{
    struct task_watcher *watcher = entry->watcher;
    bool is_ready = !watcher->is_ready || watcher->is_ready(watcher);
    bool is_stopping;

    entry->again_ns = CLOCK_NEVER;
    switch (decide(entry, is_ready, count, &is_stopping)) {
    case ACTION_LEAVE: /* it comes again when the reader is done */
        return;
    case ACTION_REST:
        entry->again_ns = clock_deadline_ns(clock_now_ns(), REST_MS);
        look_at_clock(entry, clock_now_ns());
        finish_visit(entry);
        return;
    case ACTION_ASK:
        task_readers_ask(entry->watch->readers, &entry->question);
        return;
    case ACTION_END:
        end(entry, is_stopping ? -ESHUTDOWN : 0);
        return;
    case ACTION_TELL_OLD: /* what is new is not its turn yet */
        count = 0;
        break;
    case ACTION_TELL:
        break;
    }
    tell_pending(entry);
    tell_batch(entry, batch, count);
    look_at_clock(entry, clock_now_ns());
    finish_visit(entry);
}

static void make_list_dirty_locked(struct task_watch *watch, struct entry_list *list, bool is_behind)
{
    struct task_watch_entry *entry;

    for (entry = LIST_FIRST(list); entry; entry = LIST_NEXT(entry, in_list)) {
        if (is_behind && !entry->is_behind && !entry->is_starting) {
            entry->from = MAX(entry->from, watch->seen); /* all before that has been told */
            entry->is_behind = true;
        }
        make_dirty_locked(watch, entry);
    }
}

static void make_all_dirty_locked(struct task_watch *watch, bool is_behind)
{
    for (size_t i = 0; i < BUCKETS; i++)
        make_list_dirty_locked(watch, &watch->buckets[i], is_behind);
    make_list_dirty_locked(watch, &watch->broad, is_behind);
}

/* The next events into `ret_batch`, and those whom they concern into `dirty`. */
static size_t take_batch_locked(struct task_watch *watch, struct task_event ret_batch[BATCH])
{
    struct task_watch_entry *entry;
    size_t count = 0;

    if (watch->seen < watch->first) { /* the ring was too small: the store has what it has lost */
        make_all_dirty_locked(watch, true);
        watch->seen = watch->first;
    }
    for (; watch->seen < watch->next && count < BATCH; watch->seen++)
        ret_batch[count++] = watch->ring[watch->seen % RING_SIZE];
    for (size_t i = 0; i < count; i++) {
        struct entry_list *bucket = &watch->buckets[uuid_bucket(&ret_batch[i].id, BUCKETS)];
        for (entry = LIST_FIRST(bucket); entry; entry = LIST_NEXT(entry, in_list))
            if (uuid_equal(&entry->watcher->id, &ret_batch[i].id))
                make_dirty_locked(watch, entry);
    }
    if (count > 0)
        make_list_dirty_locked(watch, &watch->broad, false);
    return count;
}

static void take_due_locked(struct task_watch *watch)
{
    uint64_t now_ns = clock_now_ns();

    while (heap_due_ns(&watch->timers) <= now_ns && watch->timers.size > 0) {
        struct task_watch_entry *entry =
            container_of(heap_first(&watch->timers), struct task_watch_entry, timer);
        heap_remove(&watch->timers, &entry->timer);
        make_dirty_locked(watch, entry);
    }
}

static bool is_any_work_locked(const struct task_watch *watch)
{
    return !TAILQ_EMPTY(&watch->dirty) || watch->seen < watch->next ||
           heap_due_ns(&watch->timers) <= clock_now_ns();
}

/* Waits for something to do; false when there will be nothing any more. */
static bool wait_for_work(struct task_watch *watch, struct dirty_list *ret_dirty,
                          struct task_event ret_batch[BATCH], size_t *ret_count)
{
    LOCK(&watch->lock);
    while (!is_any_work_locked(watch) || watch->count == 0) {
        watch->seen = watch->next;
        if (watch->is_stopping && watch->count == 0)
            return false;
        cond_wait_until(&watch->wake, &watch->lock, heap_due_ns(&watch->timers));
    }
    *ret_count = take_batch_locked(watch, ret_batch);
    take_due_locked(watch);
    TAILQ_CONCAT(ret_dirty, &watch->dirty, in_dirty);
    return true;
}

static void *watch_main(void *arg)
{
    struct task_watch *watch = arg;
    struct dirty_list dirty = TAILQ_HEAD_INITIALIZER(dirty);
    struct task_event batch[BATCH];
    struct task_watch_entry *entry;
    size_t count;

    while (wait_for_work(watch, &dirty, batch, &count))
        while ((entry = TAILQ_FIRST(&dirty)) != NULL) {
            TAILQ_REMOVE(&dirty, entry, in_dirty);
            visit(entry, batch, count);
        }
    return NULL;
}

/* ---- from outside ---- */

static void put_locked(struct task_watch *watch, const struct task_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++)
        watch->ring[events[i].number % RING_SIZE] = events[i];
    watch->next += count;
    if (watch->next > watch->first + RING_SIZE)
        watch->first = watch->next - RING_SIZE;
}

void task_watch_publish(struct task_watch *watch, const struct task_event *events, size_t count)
{
    LOCK(&watch->lock);
    if (watch->count == 0) {
        watch->next += count;
        watch->first = watch->next;
        return;
    }
    put_locked(watch, events, count);
    pthread_cond_signal(&watch->wake);
}

static struct task_watch_entry *create_entry(struct task_watch *watch, struct task_watcher *watcher)
{
    struct task_watch_entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->watch = watch;
    entry->watcher = watcher;
    entry->question.answer = on_read;
    entry->question.is_long = true;
    entry->again_ns = CLOCK_NEVER;
    entry->pending = (struct buf)BUF_INIT(PENDING_MAX_BYTES);
    entry->is_behind = true;
    entry->tick_ns = watcher->tick_ms > 0 ? clock_deadline_ns(clock_now_ns(), watcher->tick_ms) : CLOCK_NEVER;
    return entry;
}

static int add(struct task_watch *watch, struct task_watch_entry *entry)
{
    struct task_watcher *watcher = entry->watcher;
    uint64_t due_ns = next_time(entry);

    LOCK(&watch->lock);
    if (watch->is_stopping)
        return -ESHUTDOWN;
    if (watch->count >= watch->max_watchers)
        return -EAGAIN;
    watch->count++;
    entry->from = watcher->has_after ? MIN(watcher->after, watch->next - 1) + 1 : watch->next;
    watcher->entry = entry;
    LIST_INSERT_HEAD(list_of(watch, watcher), entry, in_list);
    if (due_ns != CLOCK_NEVER)
        heap_push(&watch->timers, due_ns, &entry->timer);
    make_dirty_locked(watch, entry);
    metric_add(&tasks_metrics[TASK_METRIC_WATCHERS], 0, 0, 1);
    pthread_cond_signal(&watch->wake);
    return 0;
}

void task_watch_add(struct task_watch *watch, struct task_watcher *watcher)
{
    struct task_watch_entry *entry = create_entry(watch, watcher);
    int rc = entry ? add(watch, entry) : -ENOMEM;

    if (rc == 0)
        return;
    free(entry);
    watcher->rc = rc;
    watcher->done(watcher);
}

void task_watch_remove(struct task_watch *watch, struct task_watcher *watcher)
{
    LOCK(&watch->lock);
    if (!watcher->entry)
        return;
    watcher->entry->is_removed = true;
    make_dirty_locked(watch, watcher->entry);
    pthread_cond_signal(&watch->wake);
}

/* ---- from creation to the end ---- */

int task_watch_create(unsigned max_watchers, uint64_t last_event, struct task_readers *readers,
                      struct task_watch **ret, struct err *err)
{
    struct task_watch *watch = calloc(1, sizeof(*watch));

    if (watch)
        watch->ring = calloc(RING_SIZE, sizeof(watch->ring[0]));
    if (!watch || !watch->ring || heap_init(&watch->timers, max_watchers) != 0) {
        free(watch ? watch->ring : NULL);
        free(watch);
        return err_set(err, -ENOMEM, "out of memory");
    }
    watch->first = watch->next = watch->seen = last_event + 1;
    watch->readers = readers;
    watch->max_watchers = max_watchers;
    mutex_init(&watch->lock);
    cond_init(&watch->wake);
    TAILQ_INIT(&watch->dirty);
    *ret = watch;
    return 0;
}

int task_watch_start(struct task_watch *watch, struct err *err)
{
    int rc = thread_start(&watch->thread, "task-watch", watch_main, watch, err);

    watch->has_thread = rc == 0;
    return rc;
}

static void ask_to_stop(struct task_watch *watch)
{
    LOCK(&watch->lock);
    watch->is_stopping = true;
    make_all_dirty_locked(watch, false);
    pthread_cond_signal(&watch->wake);
}

void task_watch_stop(struct task_watch *watch)
{
    ask_to_stop(watch);
    if (watch->has_thread)
        thread_join(watch->thread);
    else
        watch_main(watch);
    watch->has_thread = false;
}

void task_watch_free(struct task_watch *watch)
{
    if (!watch)
        return;
    assert(!watch->has_thread && watch->count == 0);
    heap_done(&watch->timers);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch->ring);
    free(watch);
}
