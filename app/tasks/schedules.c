#include "tasks/schedules.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cron.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"

/* The wall clock may be set: it is looked at again after so long. */
#define LOOK_AGAIN_MS 10000

/* After a task has been refused. */
#define RETRY_MS 1000

/* A tick that comes so late while we run was not missed, we were only slow. */
#define LATE_MS 60000

struct schedule {
    const struct config_schedule *config;
    const struct task_kind *kind;
    task_queue_id queue;
    char *payload; /* as the kind's check left it */
    struct cron cron;
    struct cron_zone *zone;
    uint64_t last_ms; /* the tick that it has come to */
    uint64_t next_ms; /* UINT64_MAX: there is none */
};

struct task_schedules {
    struct task_engine *engine;
    struct schedule *all;
    size_t count;

    pthread_mutex_t lock;
    /* guarded by lock: */
    pthread_cond_t wake;
    bool is_answered; /* what was submitted */
    bool is_stopping;

    /* the owner's thread only: */
    bool has_thread;
    pthread_t thread;
};

/* ---- ticks ---- */

static void set_last(struct schedule *schedule, uint64_t last_ms)
{
    schedule->last_ms = last_ms;
    if (!cron_next(&schedule->cron, schedule->zone, last_ms, &schedule->next_ms))
        schedule->next_ms = UINT64_MAX;
}

/* Goes over ticks that have been missed, as the schedule wants it; what is left to do is in next_ms. */
static void pass_over_missed(struct schedule *schedule, uint64_t now_ms, uint64_t late_ms)
{
    uint64_t limit_ms = now_ms - MIN(now_ms, late_ms);
    uint64_t next_ms;

    if (schedule->config->missed == MISSED_ALL || schedule->next_ms > limit_ms)
        return;
    while (cron_next(&schedule->cron, schedule->zone, schedule->next_ms, &next_ms) && next_ms <= limit_ms)
        set_last(schedule, schedule->next_ms);
    if (schedule->config->missed == MISSED_SKIP)
        set_last(schedule, schedule->next_ms);
}

/* ---- submitting ---- */

struct submission {
    struct task_schedules *schedules;
    struct task_submission item;
    struct task_submit submit;
};

static void on_submitted(struct task_submit *submit)
{
    struct submission *submission = container_of(submit, struct submission, submit);
    struct task_schedules *schedules = submission->schedules;

    LOCK(&schedules->lock);
    schedules->is_answered = true;
    pthread_cond_signal(&schedules->wake);
}

static struct task *make_task(const struct task_schedules *schedules, const struct schedule *schedule)
{
    const struct config *config = task_engine_services(schedules->engine)->config;
    const struct config_schedule *wanted = schedule->config;
    struct task_spec spec = {
        .kind_name = wanted->kind,
        .payload = schedule->payload,
        .schedule = wanted->name,
        .timeout_ms = wanted->timeout_ms ? wanted->timeout_ms : config->tasks.timeout_ms,
        .max_attempts = wanted->max_attempts ? wanted->max_attempts : config->tasks.max_attempts,
        .backoff = {.base_ms = config->tasks.backoff_base_ms,
                    .factor = config->tasks.backoff_factor,
                    .max_ms = config->tasks.backoff_max_ms,
                    .jitter = config->tasks.backoff_jitter},
    };
    struct uuid id;
    struct task *task = uuid_create(&id) == 0 ? task_create(&id, &spec, clock_wall_ms()) : NULL;

    if (!task)
        return NULL;
    task->kind = schedule->kind;
    task->status.queue = schedule->queue;
    task->status.priority = (uint8_t)wanted->priority;
    return task;
}

static void wait_for_answer(struct task_schedules *schedules)
{
    LOCK(&schedules->lock);
    while (!schedules->is_answered)
        pthread_cond_wait(&schedules->wake, &schedules->lock);
    schedules->is_answered = false;
}

/* Uses a tick up, with its task or (count 0) without one.  0, also when it was used up before, or a negative
 * errno value. */
static int submit_tick(struct task_schedules *schedules, const struct schedule *schedule, uint64_t tick_ms,
                       size_t count)
{
    struct submission submission = {
        .schedules = schedules,
        .submit = {.done = on_submitted,
                   .count = count,
                   .schedule = schedule->config->name,
                   .tick_ms = tick_ms},
    };

    submission.submit.items = &submission.item;
    if (count > 0 && !(submission.item.task = make_task(schedules, schedule)))
        return -ENOMEM;
    task_engine_submit(schedules->engine, &submission.submit);
    wait_for_answer(schedules);
    task_unref(submission.item.task);
    int rc = submission.submit.rc;
    return rc == -ESTALE ? 0 : rc;
}

/* The next tick, which has come.  False: it is to be tried again. */
static bool fire(struct task_schedules *schedules, struct schedule *schedule)
{
    pass_over_missed(schedule, clock_wall_ms(), LATE_MS);
    if (schedule->next_ms > clock_wall_ms())
        return true;
    int rc = submit_tick(schedules, schedule, schedule->next_ms, 1);
    if (rc == 0)
        set_last(schedule, schedule->next_ms);
    else if (rc != -ESHUTDOWN)
        log_warning("a scheduled task is not accepted", LOG_STR("schedule", schedule->config->name),
                    LOG_STR("error", err_errno_text(-rc)));
    return rc == 0;
}

/* ---- the thread ---- */

/* Waits so long, or to the stop; false then. */
static bool wait_ms(struct task_schedules *schedules, uint64_t ms)
{
    uint64_t deadline_ns = clock_deadline_ns(clock_now_ns(), ms);

    LOCK(&schedules->lock);
    while (!schedules->is_stopping && clock_now_ns() < deadline_ns)
        cond_wait_until(&schedules->wake, &schedules->lock, deadline_ns);
    return !schedules->is_stopping;
}

/* What was missed while nobody ran is dealt with; a schedule that has never been seen begins now. */
static void begin(struct task_schedules *schedules)
{
    uint64_t now_ms = clock_wall_ms();

    for (size_t i = 0; i < schedules->count; i++) {
        struct schedule *schedule = &schedules->all[i];
        if (schedule->last_ms == 0 && submit_tick(schedules, schedule, now_ms, 0) == 0)
            schedule->last_ms = now_ms;
        set_last(schedule, schedule->last_ms ? schedule->last_ms : now_ms);
        pass_over_missed(schedule, now_ms, 0);
    }
}

/* Returns how long there is nothing to do then. */
static uint64_t fire_all(struct task_schedules *schedules)
{
    uint64_t next_ms = UINT64_MAX;
    uint64_t now_ms = clock_wall_ms();
    bool is_any_refused = false;

    for (size_t i = 0; i < schedules->count; i++) {
        struct schedule *schedule = &schedules->all[i];
        if (schedule->next_ms <= now_ms && !fire(schedules, schedule))
            is_any_refused = true;
        next_ms = MIN(next_ms, schedule->next_ms);
    }
    now_ms = clock_wall_ms();
    if (is_any_refused)
        return RETRY_MS;
    return next_ms <= now_ms ? 0 : MIN(next_ms - now_ms, (uint64_t)LOOK_AGAIN_MS);
}

static void *schedules_main(void *arg)
{
    struct task_schedules *schedules = arg;

    begin(schedules);
    while (wait_ms(schedules, fire_all(schedules)))
        continue;
    return NULL;
}

/* ---- from creation to the end ---- */

static int read_payload(struct schedule *schedule, const struct task_services *services, struct err *err)
{
    const char *name = schedule->config->name;
    struct task_problem problem;
    json_t *payload = json_loads(schedule->config->payload, 0, NULL);

    if (!payload)
        return err_set(err, -ENOMEM, "out of memory for the schedule %s", name);
    if (task_kind_check(schedule->kind, payload, services, &problem) != 0) {
        if (problem.type != TASK_PROBLEM_BUG)
            json_decref(payload);
        return err_set(err, -EINVAL, "schedules.%s.payload: %s", name, problem.text);
    }
    schedule->payload = json_dumps(payload, JSON_COMPACT);
    json_decref(payload);
    return schedule->payload ? 0 : err_set(err, -ENOMEM, "out of memory for the schedule %s", name);
}

static int init_schedule(struct task_engine *engine, const struct config_schedule *config,
                         struct schedule *schedule, struct err *err)
{
    struct err inner;
    int queue = task_engine_find_queue(engine, config->queue);

    schedule->config = config;
    schedule->kind = task_engine_kind(engine, config->kind);
    if (!schedule->kind || schedule->kind->is_internal)
        return err_set(err, -EINVAL, "schedules.%s.kind: there is no kind of task \"%s\"", config->name,
                       config->kind);
    if (queue < 0)
        return err_set(err, -EINVAL, "schedules.%s.queue: there is no queue \"%s\"", config->name,
                       config->queue);
    schedule->queue = (task_queue_id)queue;
    if (cron_parse(config->cron, &schedule->cron, &inner) != 0)
        return err_set(err, -EINVAL, "schedules.%s.cron: %s", config->name, inner.text);
    if (cron_zone_load(config->time_zone, &schedule->zone, &inner) != 0)
        return err_set(err, -EINVAL, "schedules.%s.time_zone: %s", config->name, inner.text);
    int rc = read_payload(schedule, task_engine_services(engine), err);
    return rc == 0 ? task_engine_last_tick(engine, config->name, &schedule->last_ms, err) : rc;
}

int task_schedules_create(struct task_engine *engine, struct task_schedules **ret, struct err *err)
{
    const struct config *config = task_engine_services(engine)->config;
    struct task_schedules *schedules = calloc(1, sizeof(*schedules));
    int rc = 0;

    if (!schedules)
        return err_set(err, -ENOMEM, "out of memory");
    schedules->engine = engine;
    mutex_init(&schedules->lock);
    cond_init(&schedules->wake);
    schedules->all = calloc(config->tasks.schedule_count + 1, sizeof(schedules->all[0]));
    if (!schedules->all) {
        task_schedules_free(schedules);
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (; rc == 0 && schedules->count < config->tasks.schedule_count; schedules->count++)
        rc = init_schedule(engine, &config->tasks.schedules[schedules->count],
                           &schedules->all[schedules->count], err);
    if (rc != 0) {
        task_schedules_free(schedules);
        return rc;
    }
    *ret = schedules;
    return 0;
}

int task_schedules_start(struct task_schedules *schedules, struct err *err)
{
    if (schedules->count == 0)
        return 0;
    int rc = thread_start(&schedules->thread, "task-schedules", schedules_main, schedules, err);
    schedules->has_thread = rc == 0;
    return rc;
}

static void ask_to_stop(struct task_schedules *schedules)
{
    LOCK(&schedules->lock);
    schedules->is_stopping = true;
    pthread_cond_signal(&schedules->wake);
}

void task_schedules_stop(struct task_schedules *schedules)
{
    ask_to_stop(schedules);
    if (schedules->has_thread)
        thread_join(schedules->thread);
    schedules->has_thread = false;
}

void task_schedules_free(struct task_schedules *schedules)
{
    if (!schedules)
        return;
    task_schedules_stop(schedules);
    for (size_t i = 0; i < schedules->count; i++) {
        cron_zone_free(schedules->all[i].zone);
        free(schedules->all[i].payload);
    }
    free(schedules->all);
    pthread_cond_destroy(&schedules->wake);
    pthread_mutex_destroy(&schedules->lock);
    free(schedules);
}
