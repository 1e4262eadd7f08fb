/* kind.h - what a kind of task is: a check of its payload, and a step that does its work.
 *
 * How to add one: write kind_NAME.c, which ends with `const struct task_kind kind_NAME`, and add ROW(NAME) to
 * TASK_KINDS below.  Nothing else knows the kinds by name.
 *
 * A step does the next piece of the work.  A kind that computes, or that calls what blocks, says so by
 * `holds_thread`: its steps run in the runner threads, one task to a thread.  All others share a few stepper
 * threads and must not hold one up: to let time pass, a step sets run->wake_ns and returns TASK_STEP_WAIT; to
 * wait for something that another thread does, it returns TASK_STEP_PENDING, and task_resume is called, once,
 * when that has happened (it may be before the step returns).  Either way step is called again then, in any
 * thread.  What has to live from step to step hangs on run->state.
 *
 * The end from outside (cancel, the deadline, the program's stop): a step that runs sees it by
 * task_run_must_stop and returns soon, with TASK_STEP_FAILED or whatever it has; one that is pending is asked
 * by the kind's `abort` to have task_resume called soon.  No step is called after that.
 *
 * A step that crashes or breaks this contract ends its own task, not the process: see fence.h for what that
 * can and cannot mean, and so for what a step should better not do: hold a lock while it works.
 * Threads: check and step may run in any number of threads at once; the steps of one task run one after the
 * other. */
#pragma once

#include <jansson.h>

#include "base/common.h"
#include "config/config.h"

struct fetch_pool;
struct mailer;
struct task;
struct upstreams;

/* What kinds work with; lent to all of them for the life of the engine.  Members may be NULL in tests. */
struct task_services {
    const struct config *config;
    struct fetch_pool *fetch;
    struct upstreams *upstreams;
    struct mailer *mailer;
};

/* The first thing that is wrong with a payload. */
struct task_problem {
    enum {
        TASK_PROBLEM_MISSING, /* a field is not there */
        TASK_PROBLEM_INVALID, /* a field's value is not allowed */
        TASK_PROBLEM_BUG,     /* check itself is wrong */
    } type;
    const char *field; /* its name, a constant; NULL for a bug */
    char text[256];    /* what is wrong and what is allowed, for the client */
};

enum task_step {
    TASK_STEP_DONE,    /* run->result is set */
    TASK_STEP_FAILED,  /* run->error is set */
    TASK_STEP_WAIT,    /* run->wake_ns is set */
    TASK_STEP_PENDING, /* task_resume has been or will be called */
};

#define TASK_ERROR_SIZE 512

/* One attempt, as its steps see it. */
struct task_run {
    /* Lent to the step: */
    const struct task_services *services;
    struct task *task;       /* for task_resume and task_run_* */
    const char *task_id;     /* the text form */
    const char *traceparent; /* W3C trace context of who asked for the task; "" when there was none */
    json_t *payload;         /* this call's own copy, has passed check; the step may change it */
    unsigned attempt;        /* 1 for the first */
    uint64_t started_ns;     /* when this attempt began (clock_now_ns); the same in each of its steps */
    uint64_t deadline_ns;    /* when it will be ended as failed; CLOCK_NEVER: not at all */
    int stop_fd;             /* holds_thread: becomes readable when the step must stop; else -1 */

    /* The kind's own, NULL in an attempt's first step; goes to kind->release at its end. */
    void *state;

    /* Set by the step: */
    json_t *result;              /* TASK_STEP_DONE: any JSON value; the runner takes it */
    uint64_t wake_ns;            /* TASK_STEP_WAIT: when to be called again (clock_now_ns) */
    uint64_t ends_ns;            /* TASK_STEP_WAIT: not done before; 0: nobody knows */
    char error[TASK_ERROR_SIZE]; /* TASK_STEP_FAILED: one sentence of UTF-8 without a full stop */
    bool is_final;               /* TASK_STEP_FAILED: trying again is of no use */
    uint64_t retry_after_ms;     /* TASK_STEP_FAILED: not before; 0: as the task's back-off says */
};

struct task_kind {
    const char *name;
    bool holds_thread;
    bool is_internal; /* made by the program itself, never by a client's request */

    /* Looks at a payload (an object) before a task is made of it, and drops what the kind does not use.
     * Missing fields are reported before wrong ones.  Returns 0, or -EINVAL with `ret` set. */
    int (*check)(json_t *payload, const struct task_services *services, struct task_problem *ret);

    /* Does the next piece of the work. */
    enum task_step (*step)(struct task_run *run);

    /* Asks for the end of what a pending task waits for: task_resume must follow soon, and must not be called
     * inside.  Any thread, under a lock: must not block.  At most once for each attempt.  NULL when no step
     * ever returns TASK_STEP_PENDING. */
    void (*abort)(void *state);

    /* Frees run->state when it is not NULL, after the last step and the last task_resume. */
    void (*release)(void *state);
};

/* The wait of a step that returned, or is about to return, TASK_STEP_PENDING is over.  Exactly once for each.
 * Any thread; does not block. */
void task_resume(struct task *task);

/* Whether the step should come to an end: it has been cancelled, its time is over, or the program stops.  A
 * few ns; look every millisecond or so. */
must_check bool task_run_must_stop(const struct task_run *run);

/* How far it is, from 0 to 1.  Shown to whoever looks; cheap, may be called often. */
void task_run_progress(const struct task_run *run, double fraction);

/* The same, for what a pending task waits for.  Any thread, before its task_resume. */
void task_progress(struct task *task, double fraction);

#define TASK_KINDS(ROW)                                                                                      \
    ROW(callback)                                                                                            \
    ROW(command)                                                                                             \
    ROW(digest)                                                                                              \
    ROW(email)                                                                                               \
    ROW(fan_out)                                                                                             \
    ROW(http)                                                                                                \
    ROW(sleep)

#define TASK_KIND_DECLARE(kind) extern const struct task_kind kind_##kind;
TASK_KINDS(TASK_KIND_DECLARE)
#undef TASK_KIND_DECLARE

/* All of them, and NULL behind the last. */
extern const struct task_kind *const task_kinds[];

/* Calls the kind's check, behind a fence.  Returns 0, or -EINVAL with `ret` set.  After TASK_PROBLEM_BUG,
 * which is counted and logged, the payload may be half changed: it must not be touched again, not even freed.
 * Any thread that is not behind a fence already. */
must_check int task_kind_check(const struct task_kind *kind, json_t *payload,
                               const struct task_services *services, struct task_problem *ret);

/* NULL when there is none of that name. */
const struct task_kind *task_kind_find(const struct task_kind *const *kinds, const char *name);

/* For checks: fills in `ret` and returns -EINVAL; `type` is TASK_PROBLEM_MISSING or _INVALID. */
int task_problem_set(struct task_problem *ret, int type, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
