/* ledger_int.h - what the files of the ledger share. */
#pragma once

#include "tasks/ledger.h"

/* starting.c: whether nothing stands in the way of a new task: room, and nobody who waits before it. */
bool ledger_may_start_at_once(struct ledger *ledger, const struct task *task);

/* recovery.c: in the first transaction, with the queues loaded: what ran when the last owner ended is queued
 * again, before all others, or ended when that has happened too often. */
must_check int ledger_recover(struct ledger *ledger, struct err *err);
