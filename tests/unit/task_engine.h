/* task_engine.h - a task engine to test with: one at a time, on a store in a folder of its own, and calls
 * that wait for their answer.
 *
 * How to use it: make_store_folder and remove_store_folder around the group; start_engine with a
 * configuration in YAML, reopen_engine for the same store again, end_engine.
 * Threads: the test's; what says so, any. */
#pragma once

#include "task_kinds.h"

#include <semaphore.h>

#include "tasks/engine.h"

static struct task_engine *engine;
static struct config *engine_config;
static struct task_services engine_services;
static atomic_uint store_failures; /* how often `failed` was called */

/* ---- stores ---- */

static char store_folder[] = "/tmp/tasks-XXXXXX";
static char store_where[64];

static inline int make_store_folder(void **state)
{
    (void)state;
    task_kinds_init();
    return mkdtemp(store_folder) ? 0 : -1;
}

static inline int remove_store_folder(void **state)
{
    DIR *dir = opendir(store_folder);
    struct dirent *entry;

    (void)state;
    task_kinds_done();
    if (!dir)
        return -1;
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(store_folder);
}

static inline void new_store(void)
{
    static unsigned number;

    snprintf(store_where, sizeof(store_where), "%s/%u.db", store_folder, ++number);
}

/* SQLite, whose commits can be held up: what is posted meanwhile comes into one transaction. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_held;
    bool is_there; /* a commit waits */
    atomic_uint commits;
} hold;

static inline int commit_held(struct task_store *store, struct err *err)
{
    mutex_lock(&hold.lock);
    hold.is_there = true;
    pthread_cond_broadcast(&hold.changed);
    while (hold.is_held)
        pthread_cond_wait(&hold.changed, &hold.lock);
    hold.is_there = false;
    mutex_unlock(&hold.lock);
    atomic_fetch_add(&hold.commits, 1);
    return task_store_sqlite.commit(store, err);
}

static inline void hold_commits(void)
{
    LOCK(&hold.lock);
    hold.is_held = true;
}

static inline void wait_for_held_commit(void)
{
    uint64_t deadline_ns = in_ms(PATIENCE_MS);

    LOCK(&hold.lock);
    while (!hold.is_there && cond_wait_until(&hold.changed, &hold.lock, deadline_ns))
        continue;
    assert_true(hold.is_there);
}

static inline void release_commits(void)
{
    LOCK(&hold.lock);
    hold.is_held = false;
    pthread_cond_broadcast(&hold.changed);
}

static inline const struct task_store_ops *holding_store(void)
{
    static struct task_store_ops ops;

    if (!ops.commit) {
        ops = task_store_sqlite;
        ops.commit = commit_held;
        mutex_init(&hold.lock);
        cond_init(&hold.changed);
    }
    return &ops;
}

/* ---- the engine ---- */

static inline void on_store_failure(void *arg)
{
    (void)arg;
    atomic_fetch_add(&store_failures, 1);
}

static inline int try_create_engine(const struct task_store_ops *store, const char *yaml, struct err *err)
{
    engine_config = config_of(yaml);
    engine_services = (struct task_services){.config = engine_config};
    struct task_engine_config config = {
        .store = store,
        .where = store_where,
        .kinds = all_kinds,
        .services = &engine_services,
        .failed = on_store_failure,
    };
    int rc = task_engine_create(&config, &engine, err);
    if (rc != 0)
        config_free(engine_config);
    return rc;
}

static inline void create_engine_on(const struct task_store_ops *store, const char *yaml)
{
    struct err err = {0};

    if (try_create_engine(store, yaml, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void run_engine(void)
{
    struct err err = {0};

    if (task_engine_start(engine, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void start_engine_on(const struct task_store_ops *store, const char *yaml)
{
    new_store();
    create_engine_on(store, yaml);
    run_engine();
}

static inline void start_engine(const char *yaml)
{
    start_engine_on(holding_store(), yaml);
}

/* The same store again. */
static inline void reopen_engine(const char *yaml)
{
    create_engine_on(holding_store(), yaml);
    run_engine();
}

static inline void end_engine(void)
{
    task_engine_free(engine);
    engine = NULL;
    config_free(engine_config);
}

static inline task_queue_id queue_named(const char *name)
{
    int queue = task_engine_find_queue(engine, name ? name : "default");

    assert_true(queue >= 0);
    return (task_queue_id)queue;
}

/* ---- submit ---- */

/* What is wanted; what is 0 or NULL is usual. */
struct order {
    int kind;
    const char *payload;
    const char *queue;
    const char *tenant;
    const char *unique_key;
    const char *callback;
    enum task_on_unique on_unique;
    unsigned priority; /* 0: the usual one, 1 + the priority otherwise */
    unsigned max_attempts;
    struct task_backoff backoff;
    uint64_t run_at_ms;
    uint64_t timeout_ms;
    const char *idempotency_key;
    unsigned char hash;
    const char *schedule;
    uint64_t tick_ms;
};

/* A submit of one task on its way; in place until it is answered. */
struct parcel {
    struct task_submit submit;
    struct task_submission item;
    sem_t answered;
};

static inline void on_parcel(struct task_submit *submit)
{
    sem_post(&container_of(submit, struct parcel, submit)->answered);
}

static inline struct task *order_task(const struct order *order)
{
    const struct task_kind *kind = &kinds[order->kind];
    struct task_spec spec = {
        .kind_name = kind->name,
        .payload = order->payload ? order->payload : "{}",
        .tenant = order->tenant,
        .unique_key = order->unique_key,
        .callback = order->callback,
        .timeout_ms = order->timeout_ms,
        .max_attempts = MAX(order->max_attempts, 1u),
        .backoff = order->backoff,
    };
    struct uuid id;

    if (uuid_create(&id) != 0)
        abort();
    struct task *task = task_create(&id, &spec, clock_wall_ms());
    if (!task)
        abort();
    task->kind = kind;
    task->status.queue = queue_named(order->queue);
    task->status.priority = (uint8_t)(order->priority ? order->priority - 1 : TASK_PRIORITY_DEFAULT);
    task->status.run_at_ms = order->run_at_ms;
    return task;
}

/* Any thread. */
static inline void post(struct parcel *parcel, const struct order *order)
{
    *parcel = (struct parcel){
        .submit = {.done = on_parcel,
                   .items = &parcel->item,
                   .count = 1,
                   .idempotency_key = order->idempotency_key,
                   .schedule = order->schedule,
                   .tick_ms = order->tick_ms},
        .item = {.task = order_task(order), .on_unique = order->on_unique},
    };
    memset(parcel->submit.request_hash, order->hash, sizeof(parcel->submit.request_hash));
    sem_init(&parcel->answered, 0, 0);
    task_engine_submit(engine, &parcel->submit);
}

static inline void wait_sem(sem_t *sem)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    while (sem_timedwait(sem, &until) != 0)
        assert_int_equal(errno, EINTR);
}

struct receipt {
    int rc; /* of the submit, or of its one item */
    bool is_existing;
    bool is_replay;
    struct uuid id;
    struct task_status status;
};

static inline struct receipt receive(struct parcel *parcel)
{
    wait_sem(&parcel->answered);
    sem_destroy(&parcel->answered);
    struct receipt receipt = {
        .rc = parcel->submit.rc ? parcel->submit.rc : parcel->item.rc,
        .is_existing = parcel->item.is_existing,
        .is_replay = parcel->submit.is_replay,
        .id = parcel->item.task->id,
        .status = parcel->item.status,
    };
    assert_int_equal(parcel->submit.rc, parcel->submit.err.code);
    task_unref(parcel->item.task);
    return receipt;
}

static inline struct receipt try_submit(const struct order *order)
{
    struct parcel parcel;

    post(&parcel, order);
    return receive(&parcel);
}

static inline struct uuid submit_order(const struct order *order)
{
    struct receipt receipt = try_submit(order);

    assert_int_equal(receipt.rc, 0);
    return receipt.id;
}

static inline struct uuid submit(int kind)
{
    return submit_order(&(struct order){.kind = kind});
}

/* ---- many at once ---- */

struct batch {
    struct task_submit submit;
    sem_t answered;
};

static inline void on_batch(struct task_submit *submit)
{
    sem_post(&container_of(submit, struct batch, submit)->answered);
}

/* Returns submit.rc; the items' tasks are the caller's to give back. */
static inline int submit_batch(struct task_submission *items, size_t count, bool is_atomic)
{
    struct batch batch = {
        .submit = {.done = on_batch, .items = items, .count = count, .is_atomic = is_atomic}};

    sem_init(&batch.answered, 0, 0);
    task_engine_submit(engine, &batch.submit);
    wait_sem(&batch.answered);
    sem_destroy(&batch.answered);
    return batch.submit.rc;
}

static inline void done_batch(struct task_submission *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        task_unref(items[i].task);
}

/* ---- wishes ---- */

struct waiting_wish {
    struct task_wish wish;
    sem_t answered;
};

static inline void on_wish(struct task_wish *wish)
{
    sem_post(&container_of(wish, struct waiting_wish, wish)->answered);
}

static inline void post_wish(struct waiting_wish *waiting, struct task_wish wish)
{
    waiting->wish = wish;
    waiting->wish.done = on_wish;
    sem_init(&waiting->answered, 0, 0);
    task_engine_wish(engine, &waiting->wish);
}

/* `ret_status` may be NULL. */
static inline int receive_wish(struct waiting_wish *waiting, struct task_status *ret_status)
{
    wait_sem(&waiting->answered);
    sem_destroy(&waiting->answered);
    assert_int_equal(waiting->wish.rc, waiting->wish.err.code);
    if (ret_status)
        *ret_status = waiting->wish.status;
    task_unref(waiting->wish.task);
    return waiting->wish.rc;
}

static inline int try_wish(struct task_wish wish, struct task_status *ret_status)
{
    struct waiting_wish waiting;

    post_wish(&waiting, wish);
    return receive_wish(&waiting, ret_status);
}

static inline int wish_for(enum task_wish_type type, struct uuid id)
{
    return try_wish((struct task_wish){.type = type, .id = id, .if_version = TASK_VERSION_ANY}, NULL);
}

static inline void set_paused(const char *queue, bool is_paused)
{
    struct task_wish wish = {.type = is_paused ? TASK_WISH_PAUSE_QUEUE : TASK_WISH_RESUME_QUEUE,
                             .queue = queue_named(queue)};

    assert_int_equal(try_wish(wish, NULL), 0);
}

/* ---- questions ---- */

struct waiting_query {
    struct task_query query;
    sem_t answered;
};

static inline void on_query(struct task_query *query)
{
    sem_post(&container_of(query, struct waiting_query, query)->answered);
}

/* The answer is in waiting->query, to be given to task_query_done. */
static inline int ask(struct waiting_query *waiting)
{
    waiting->query.done = on_query;
    sem_init(&waiting->answered, 0, 0);
    task_engine_ask(engine, &waiting->query);
    wait_sem(&waiting->answered);
    sem_destroy(&waiting->answered);
    if (waiting->query.rc < 0)
        fail_msg("%s", waiting->query.err.text);
    return waiting->query.rc;
}

/* NULL when there is none of that id. */
static inline struct task *find(struct uuid id)
{
    struct waiting_query waiting = {.query = {.type = TASK_QUERY_GET, .id = id}};
    struct task *task = ask(&waiting) > 0 ? task_ref(waiting.query.tasks[0]) : NULL;

    task_query_done(&waiting.query);
    return task;
}

static inline struct task *get(struct uuid id)
{
    struct task *task = find(id);

    assert_non_null(task);
    return task;
}

static inline struct task_status status_of(struct uuid id)
{
    struct task *task = get(id);
    struct task_status status = task->status;

    task_unref(task);
    return status;
}

static inline enum task_state state_of(struct uuid id)
{
    return status_of(id).state;
}

struct task_at {
    struct uuid id;
    enum task_state state;
};

static inline bool is_in_state(void *arg)
{
    struct task_at *at = arg;

    return state_of(at->id) == at->state;
}

static inline void wait_for_state(struct uuid id, enum task_state state)
{
    wait_until(is_in_state, &(struct task_at){id, state});
}

static inline uint64_t count_in(enum task_state state)
{
    struct task_counts counts;

    task_engine_counts(engine, &counts);
    return counts.by_state[state];
}

struct count_in_state {
    enum task_state state;
    uint64_t count;
};

static inline bool is_count_in_state(void *arg)
{
    const struct count_in_state *goal = arg;

    return count_in(goal->state) == goal->count;
}

static inline void wait_for_count_in(enum task_state state, uint64_t count)
{
    wait_until(is_count_in_state, &(struct count_in_state){state, count});
}

/* Nothing waits for its turn, and nothing runs. */
static inline void wait_until_idle(void)
{
    wait_for_count_in(TASK_STATE_QUEUED, 0);
    wait_for_count_in(TASK_STATE_RUNNING, 0);
}

/* Nothing that runs is left, and its end is written. */
static inline void drain_all(void)
{
    assert_int_equal(task_engine_drain(engine, in_ms(PATIENCE_MS)), 0);
    wait_for_count_in(TASK_STATE_RUNNING, 0);
}

/* ---- watching ---- */

struct watch_log {
    struct task_watcher watcher;
    pthread_mutex_t lock;
    struct task_event *events;
    size_t count;
    size_t enough; /* 0, or: false after so many */
    atomic_uint told;
    atomic_uint ticks;
    unsigned tick_enough;
    sem_t ended;
};

static inline bool on_events(struct task_watcher *watcher, const struct task_event *events, size_t count)
{
    struct watch_log *log = container_of(watcher, struct watch_log, watcher);

    LOCK(&log->lock);
    log->events = realloc(log->events, (log->count + count) * sizeof(*events));
    memcpy(&log->events[log->count], events, count * sizeof(*events));
    log->count += count;
    atomic_store(&log->told, (unsigned)log->count);
    return log->enough == 0 || log->count < log->enough;
}

static inline bool on_tick(struct task_watcher *watcher)
{
    struct watch_log *log = container_of(watcher, struct watch_log, watcher);

    return atomic_fetch_add(&log->ticks, 1) + 1 != log->tick_enough;
}

static inline void on_watch_end(struct task_watcher *watcher)
{
    sem_post(&container_of(watcher, struct watch_log, watcher)->ended);
}

/* A watcher of everything; to be changed before it is started. */
static inline void watch_log_init(struct watch_log *log)
{
    *log = (struct watch_log){.watcher = {.queue = -1,
                                          .deadline_ns = CLOCK_NEVER,
                                          .events = on_events,
                                          .tick = on_tick,
                                          .done = on_watch_end}};
    mutex_init(&log->lock);
    sem_init(&log->ended, 0, 0);
}

static inline int watch_log_wait(struct watch_log *log)
{
    wait_sem(&log->ended);
    return log->watcher.rc;
}

static inline void watch_log_done(struct watch_log *log)
{
    free(log->events);
    sem_destroy(&log->ended);
    pthread_mutex_destroy(&log->lock);
}
