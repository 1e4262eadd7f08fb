/* view.h - a task as it was at one moment, for those who only look.
 *
 * How to use it: task_queue_submit, _get and _list fill views; task_view_json makes the body of an answer;
 * task_view_done gives the view back.
 * Threads: a view belongs to one thread at a time; any number of views of a task may be in use while it runs.
 * Ownership: the strings are lent by the view, until task_view_done.  A view keeps the task's memory, so hold
 * it for the answer and not longer.
 * Invariants: the fields never change; a zeroed view is empty and may be given back. */
#pragma once

#include <jansson.h>

#include "base/common.h"
#include "base/uuid.h"
#include "tasks/state.h"

struct task;

struct task_view {
    char id[UUID_TEXT_SIZE];
    const char *kind;
    enum task_state state;
    unsigned attempts;    /* how often it was started */
    uint64_t created_ms;  /* clock_wall_ms */
    uint64_t started_ms;  /* 0: not yet */
    uint64_t finished_ms; /* 0: not yet */
    const char *payload;  /* JSON text */
    const char *result;   /* JSON text; NULL unless succeeded */
    const char *error;    /* NULL unless dead */

    struct task *task; /* one reference, for the strings' sake */
};

/* Gives the view back and empties it. */
void task_view_done(struct task_view *view);

/* {"id", "kind", "state", "attempts", "created_at", "started_at", "finished_at", "error"}, a few hundred
 * bytes.  Times are RFC 3339 in UTC.  What does not exist (yet) is left out, never null.  The value is the
 * caller's alone and does not need the view any more.  NULL when out of memory. */
must_check json_t *task_view_summary(const struct task_view *view);

/* The same with "payload" and "result". */
must_check json_t *task_view_json(const struct task_view *view);
