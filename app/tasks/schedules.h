/* schedules.h - tasks that come by the clock: the configuration's `schedules`.
 *
 * One thread sleeps until the next tick of any schedule and submits its task.  The tick that a schedule has
 * come to is stored by the same transaction that accepts the task, so that no tick makes two, over any number
 * of restarts.
 *
 * How to use it: task_schedules_create, which checks them; _start, _stop, _free.
 * Threads: one, the owner's. */
#pragma once

#include "base/err.h"
#include "tasks/engine.h"

struct task_schedules;

/* `engine` must outlive it. */
must_check int task_schedules_create(struct task_engine *engine, struct task_schedules **ret,
                                     struct err *err);
must_check int task_schedules_start(struct task_schedules *schedules, struct err *err);

/* Waits until what it has submitted is answered. */
void task_schedules_stop(struct task_schedules *schedules);
void task_schedules_free(struct task_schedules *schedules);
