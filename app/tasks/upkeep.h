/* upkeep.h - the tasks of a server that is stopped: who looks after them is the store's owner meanwhile, and
 * changes them by the same rules (wishes.c), but runs nothing.
 *
 * How to use it: task_upkeep_open, any number of the others, task_upkeep_close.
 * What a crash has left: tasks that say `running` are not recovered here, so that looking costs them no
 * interruption and no attempt; the next server does that.  To cancel one is to leave a note in it: the next
 * server ends it as cancelled instead of running it again.  To retry or to remove one is refused.
 * Nothing is started and no time passes: what is due stays scheduled, what is too old stays kept.
 * Threads: one.  Every call waits for the disk.
 * Ownership: tasks handed out belong to the caller. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/engine.h"
#include "tasks/queues.h"

struct task_upkeep;

/* Opens a store that is there; `config`, `where` and `kinds` are lent until the close.  -ENOENT when there is
 * none, -EBUSY, saying by whom, when another process has it. */
must_check int task_upkeep_open(const struct config *config, const struct task_store_ops *store,
                                const char *where, const struct task_kind *const *kinds,
                                struct task_upkeep **ret, struct err *err);

/* Lets go of the store.  NULL is fine. */
void task_upkeep_close(struct task_upkeep *upkeep);

/* Applies the wishes, in which `type`, `id` and `if_version` are set (`done` is not called), in one
 * transaction: 0, and each wish's `rc`, task (the caller's) and status say what has come of it; or, with
 * nothing changed, the error of the store. */
must_check int task_upkeep_wish(struct task_upkeep *upkeep, struct task_wish *wishes, size_t count,
                                struct err *err);

/* The task of that id with all there is: 1, or 0 when there is none. */
must_check int task_upkeep_get(struct task_upkeep *upkeep, const struct uuid *id, struct task **ret,
                               struct err *err);

/* As `list` in store.h. */
must_check int task_upkeep_list(struct task_upkeep *upkeep, const struct task_filter *filter, size_t limit,
                                struct task **ret_tasks, struct uuid *ret_next, struct err *err);

/* Of the configuration, and those that the store still knows. */
const struct task_queues *task_upkeep_queues(const struct task_upkeep *upkeep);

/* Over all queues. */
const struct task_counts *task_upkeep_counts(const struct task_upkeep *upkeep);
