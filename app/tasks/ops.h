/* ops.h - the operations that change tasks, by what op->type points to.
 *
 * Each is a part of the struct that its `apply` finds around it: struct task_submit (submit.c), struct
 * task_wish (wishes.c), struct task (ends.c: a run that has ended, and its progress). */
#pragma once

#include "tasks/committer.h"

extern const struct task_op_type task_op_submit;
extern const struct task_op_type task_op_wish;      /* may be refused for want of room */
extern const struct task_op_type task_op_sure_wish; /* must happen */
extern const struct task_op_type task_op_end;
extern const struct task_op_type task_op_progress;
