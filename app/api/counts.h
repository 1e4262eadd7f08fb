/* counts.h - how many tasks there are in each state, as JSON. */
#pragma once

#include "base/buf.h"
#include "tasks/store.h"

/* Appends {"scheduled": 0, "queued": 12, ...} with all states. */
void counts_append(struct buf *out, const struct task_counts *counts);
