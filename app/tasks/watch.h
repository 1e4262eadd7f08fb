/* watch.h - tells those who watch what has happened to tasks.
 *
 * The committer puts events into a ring and goes on; one thread finds out whom they concern.  Who wants to
 * begin with older events has them read from the store first, then from the ring.
 *
 * How to use it: task_watch_create, _start; _publish after each commit, _add and _remove for watchers
 * (engine.h); _stop ends all of them; _free.
 * Threads: publish from one, add and remove from any; the others from one, the owner's.
 * Ownership: a watcher is lent until its `done` is called, exactly once. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/engine.h"
#include "tasks/readers.h"

struct task_watch;

/* `last_event` is the number of the last event that has been stored. */
must_check int task_watch_create(unsigned max_watchers, uint64_t last_event, struct task_readers *readers,
                                 struct task_watch **ret, struct err *err);
must_check int task_watch_start(struct task_watch *watch, struct err *err);

/* Costs a copy of the events when there is anybody who watches, else nothing. */
void task_watch_publish(struct task_watch *watch, const struct task_event *events, size_t count);

void task_watch_add(struct task_watch *watch, struct task_watcher *watcher);
void task_watch_remove(struct task_watch *watch, struct task_watcher *watcher);

/* Before the readers' stop.  Ends all with -ESHUTDOWN, and refuses others from then on. */
void task_watch_stop(struct task_watch *watch);
void task_watch_free(struct task_watch *watch);
