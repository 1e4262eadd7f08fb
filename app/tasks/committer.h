/* committer.h - the one thread that changes what is stored, and so decides what becomes of every task.
 *
 * Changes are posted to it as operations.  It takes all that wait, applies them in one transaction, starts as
 * many queued tasks as may run in the same transaction, and commits: one sync of the disk for all of them.
 * Then, and not before, it tells the world: started tasks are handed to `started`, events to `happened`, and
 * each operation is told what has become of it.  While it waits for the disk the next operations gather, so
 * the more there is to do the less each change costs, and nobody waits longer than for two commits.
 *
 * How to use it: task_committer_create, _start, any number of _post; _pause when no more tasks are to be
 * started; _stop, which lets everything posted happen first; _free.
 * Threads: post, pause and the counts from any; the others from one, the owner's.
 * Ownership: an operation is lent until its `done` is called, exactly once, on the committer's thread; it
 * must not block.
 * Invariants: memory says nothing that the disk does not: what is in flight becomes true by the commit. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/ledger.h"
#include "tasks/op.h"

struct task_committer;

/* How an operation is carried out. */
struct task_op_type {
    /* Writes the change.  0, also when it is refused, with the reason in op->rc; a negative errno value when
     * the store has failed: the transaction is rolled back, and apply may be called again in another. */
    int (*apply)(struct ledger *ledger, struct task_op *op, struct err *err);
    /* It is not refused for want of space or memory, but tried again until there is some. */
    bool must_happen;
};

struct task_committer_config {
    struct ledger_config ledger;

    /* All on the committer's thread, after a commit; must not block. */

    /* Takes tasks that have been started out of the list, each with a reference. */
    void (*started)(void *arg, struct task_list *tasks);
    /* What has become true; lent for the call. */
    void (*happened)(void *arg, const struct task_event *events, size_t count);
    /* The store has failed.  Once at the most. */
    void (*failed)(void *arg);
    void *arg;
};

/* Opens the store and makes everything runnable that ran when its last owner ended. */
must_check int task_committer_create(const struct task_committer_config *config, struct task_committer **ret,
                                     struct err *err);

/* Once at the most. */
must_check int task_committer_start(struct task_committer *committer, struct err *err);

/* Never blocks on the disk.  Refused with -ESHUTDOWN, at once, when stopping. */
void task_committer_post(struct task_committer *committer, struct task_op *op);

/* Starts no more tasks, once it returns: waits for the transaction that is being made. */
void task_committer_pause(struct task_committer *committer);

/* For operations' `done`, and to read what never changes: the ledger. */
struct ledger *task_committer_ledger(struct task_committer *committer);

/* A queue as of the last commit. */
void task_committer_queue(struct task_committer *committer, task_queue_id queue,
                          struct task_counts *ret_counts, bool *ret_is_paused);

/* Whether no more tasks of that lane may run, whatever their queue, as of the last commit. */
bool task_committer_is_full(struct task_committer *committer, unsigned lane);

/* How many tasks there are in each state, as of the last commit. */
void task_committer_counts(struct task_committer *committer, struct task_counts *ret);

/* Carries out what has been posted, and joins the thread. */
void task_committer_stop(struct task_committer *committer);

/* After the stop.  NULL is fine. */
void task_committer_free(struct task_committer *committer);
