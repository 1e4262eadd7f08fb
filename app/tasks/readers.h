/* readers.h - a few threads that look into the store, so that nobody else waits for the disk.
 *
 * How to use it: task_readers_create, _start, any number of _ask; _stop, which answers what was asked; _free.
 * Threads: ask from any; the others from one, the owner's.
 * Ownership: a query is lent until its `done` is called, exactly once. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/queue.h"

struct task_readers;

/* Opens `count` readers of the store, which is open already. */
must_check int task_readers_create(const struct task_store_ops *store, const char *where, unsigned count,
                                   struct task_readers **ret, struct err *err);

/* Once at the most.  Returns 0, or -errno with none running. */
must_check int task_readers_start(struct task_readers *readers, struct err *err);

/* Never blocks.  Refused with -ESHUTDOWN, at once, when stopping. */
void task_readers_ask(struct task_readers *readers, struct task_query *query);

/* Answers what was asked, and joins the threads. */
void task_readers_stop(struct task_readers *readers);

/* After the stop.  NULL is fine. */
void task_readers_free(struct task_readers *readers);
