/* kind.h - what a kind of task is: a check of its payload, and a step that does its work.
 *
 * How to add one: write kind_NAME.c, which ends with `const struct task_kind kind_NAME`, and add ROW(NAME) to
 * TASK_KINDS below.  Nothing else knows the kinds by name.
 *
 * A step runs in a runner thread, which it may use for as long as it computes.  It must not hold the thread
 * just to let time pass: it sets run->wake_ns and returns TASK_STEP_WAIT, and is called again then, in any
 * runner.  (Waiting for something other than a time is meant to become one more enum task_step, with a call
 * that makes the task runnable again.)
 *
 * A step that crashes or breaks this contract ends its own task, not the process: see fence.h for what that
 * can and cannot mean, and so for what a step should better not do: hold a lock while it works.
 * Threads: check and step may run in any number of threads at once. */
#pragma once

#include <jansson.h>

#include "base/common.h"

/* The first thing that is wrong with a payload. */
struct task_problem {
    enum {
        TASK_PROBLEM_MISSING, /* a field is not there */
        TASK_PROBLEM_INVALID, /* a field's value is not allowed */
        TASK_PROBLEM_BUG,     /* check itself is wrong */
    } type;
    const char *field; /* its name, a constant; NULL for a bug */
    char text[160];    /* what is wrong and what is allowed, for the client */
};

enum task_step {
    TASK_STEP_DONE,   /* run->result is set */
    TASK_STEP_FAILED, /* run->error is set */
    TASK_STEP_WAIT,   /* run->wake_ns is set */
};

struct task_run {
    /* Lent to the step: */
    const char *task_id;
    json_t *payload;     /* this call's own copy, has passed check; the step may change it */
    unsigned attempt;    /* 1 for the first */
    uint64_t started_ns; /* when this attempt began (clock_now_ns); the same in each of its steps */

    /* Set by the step: */
    json_t *result;   /* TASK_STEP_DONE: any JSON value; the runner takes it */
    uint64_t wake_ns; /* TASK_STEP_WAIT: when to be called again (clock_now_ns) */
    char error[256];  /* TASK_STEP_FAILED: one sentence without a full stop */
};

struct task_kind {
    const char *name;

    /* Looks at a payload before a task is made of it, and drops what the kind does not use.  Missing fields
     * are reported before wrong ones.  Returns 0, or -EINVAL with `ret` set. */
    int (*check)(json_t *payload, struct task_problem *ret);

    /* Does the next piece of the work. */
    enum task_step (*step)(struct task_run *run);
};

#define TASK_KINDS(ROW) ROW(sleep)

#define TASK_KIND_DECLARE(kind) extern const struct task_kind kind_##kind;
TASK_KINDS(TASK_KIND_DECLARE)
#undef TASK_KIND_DECLARE

/* All of them, and NULL behind the last. */
extern const struct task_kind *const task_kinds[];

/* Calls the kind's check, behind a fence.  Returns 0, or -EINVAL with `ret` set.  After TASK_PROBLEM_BUG,
 * which is counted and logged, the payload may be half changed: it must not be touched again, not even freed.
 * Any thread that is not behind a fence already. */
must_check int task_kind_check(const struct task_kind *kind, json_t *payload, struct task_problem *ret);

/* NULL when there is none of that name. */
const struct task_kind *task_kind_find(const char *name);
