/* op.h - a change on its way to the committer (committer.h), a part of what it changes or of who wants it.
 *
 * Threads: the owner's, then the committer's from post to done. */
#pragma once

#include <sys/queue.h>

#include "base/common.h"

struct task_op;
struct task_op_type;

TAILQ_HEAD(task_op_list, task_op);

struct task_op {
    TAILQ_ENTRY(task_op) in_list;
    const struct task_op_type *type;
    size_t rows;                      /* about how many it writes, for the size of a transaction */
    bool is_refused;                  /* whatever comes of the others */
    int rc;                           /* 0, or why it has been refused: a negative errno value */
    void (*done)(struct task_op *op); /* it has been committed, or refused; on the committer's thread */
};
