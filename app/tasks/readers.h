/* readers.h - a few threads that look into the store, so that nobody else waits for the disk.
 *
 * How to use it: task_readers_create, _start, any number of _ask; _stop, which answers what was asked; _free.
 * Threads: ask from any; the others from one, the owner's.
 * Ownership: a question is lent until it is answered, exactly once. */
#pragma once

#include <sys/queue.h>

#include "base/common.h"
#include "base/err.h"
#include "tasks/store.h"

struct task_readers;

/* Something to be read. */
struct task_question {
    TAILQ_ENTRY(task_question) in_list;
    bool is_long; /* it looks at many rows: one thread is kept free of such */
    /* Reads, and tells who asked.  `reader` is NULL, with the reason in `rc`, when it cannot be read.  On a
     * reader's thread, or inside task_readers_ask. */
    void (*answer)(struct task_question *question, const struct task_store_ops *ops,
                   struct task_reader *reader, int rc);
};

/* Opens `count` readers of the store, which is open already. */
must_check int task_readers_create(const struct task_store_ops *store, const char *where, unsigned count,
                                   struct task_readers **ret, struct err *err);

/* Once at the most.  Returns 0, or -errno with none running. */
must_check int task_readers_start(struct task_readers *readers, struct err *err);

/* Never blocks.  Refused with -ESHUTDOWN, at once, when stopping. */
void task_readers_ask(struct task_readers *readers, struct task_question *question);

/* Answers what was asked, and joins the threads. */
void task_readers_stop(struct task_readers *readers);

/* After the stop.  NULL is fine. */
void task_readers_free(struct task_readers *readers);
