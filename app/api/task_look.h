/* task_look.h - a request that looks at one task, perhaps after it has waited for the task's end; no thread
 * waits meanwhile.
 *
 * How to use it: embed it, task_look_init, task_look_suspend, which suspends the request; then work that
 * ends with task_look_answer, or task_look_ask or task_look_wait, which both end with that.  `answer` answers
 * the request, with the look as its argument, and then calls task_look_unref, once.
 * Ownership: counted, for a client may go away at any time: who waits for the answer has one reference, the
 * connection another.
 * Threads: init and suspend on a request thread, the others on any; one at a time. */
#pragma once

#include <stdatomic.h>

#include "front/request.h"
#include "tasks/engine.h"

struct task_look {
    /* Set at task_look_init, then read-only: */
    struct request *req;
    struct task_engine *engine;
    request_fn answer;
    void (*free)(struct task_look *look);

    /* Set before task_look_ask and task_look_wait: */
    struct uuid id;
    enum task_query_type type;

    /* What has come of it: */
    struct task_query query; /* rc 0 and no tasks unless there was a question */
    bool has_waited;         /* for the whole time, or to the task's end */

    /* Its own: */
    atomic_uint refs;
    atomic_uint pending; /* of the watcher and the question, those that are not done */
    atomic_bool is_watching;
    atomic_bool is_gone; /* the client */
    struct task_watcher watcher;
};

/* `answer` will have the look as its argument. */
void task_look_init(struct task_look *look, struct request *req, request_fn answer,
                    void (*free)(struct task_look *look));

/* One on the heap that is no part of anything, of the task that the path names; NULL when the request has
 * been answered. */
struct task_look *task_look_create(struct request *req, request_fn answer);

/* The id of the task that the path names; false when the request has been answered: no task can have it. */
must_check bool task_look_read_id(struct request *req, struct uuid *ret);

void task_look_suspend(struct task_look *look);

/* Has the request answered, with what there is. */
void task_look_answer(struct task_look *look);

/* Asks the store; then the request is answered. */
void task_look_ask(struct task_look *look);

/* Waits until the task has finished, but at most so long and not for a client that has gone; then asks the
 * store.  A task that has finished already, or is not there, is not waited for. */
void task_look_wait(struct task_look *look, uint64_t wait_ms);

/* The task that was found, or NULL. */
struct task *task_look_task(const struct task_look *look);

/* The last reference gives the answers back and calls `free`. */
void task_look_unref(struct task_look *look);
