/* state.h - the states of a task and the moves between them.
 *
 *                    the time comes
 *      (scheduled) -----------------> (queued) <------- submit, retry
 *        |    ^   <------------------  |  | ^
 *        |    |     is given a time    |  | | interrupted
 *        |    |                        |  v |
 *        |    +------------------------|- (running) --------> (succeeded)
 *        |        failed: back-off     |    |   |
 *        |                             |    |   +-----------> (dead) ------> retry
 *        v            cancel           v    v                   ^
 *      (cancelled) <-------------------+----+     (queued) -----+ nobody knows its kind
 *           +----> retry
 *
 * A task that waits in the middle of its work (TASK_STEP_WAIT, TASK_STEP_PENDING) stays running.
 * Threads: any; nothing here changes. */
#pragma once

#include "base/common.h"

enum task_state {
    TASK_STATE_SCHEDULED, /* waits for its time to start */
    TASK_STATE_QUEUED,    /* could start, waits for a runner */
    TASK_STATE_RUNNING,   /* has been started and has not ended */
    TASK_STATE_SUCCEEDED, /* ended with a result */
    TASK_STATE_DEAD,      /* failed for good, with an error */
    TASK_STATE_CANCELLED, /* ended because somebody asked for it */
    TASK_STATE_COUNT,
};

/* Names as the HTTP interface and the metrics write them, in the order of the enum. */
extern const char *const task_state_names[TASK_STATE_COUNT];

/* Whether a task may go from one state to the other; the committer makes no move that this refuses. */
must_check bool task_state_can_move(enum task_state from, enum task_state to);

/* Whether a task in this state has ended: nothing but a retry leads out of it. */
must_check bool task_state_is_final(enum task_state state);
