#include "tasks/state.h"

const char *const task_state_names[TASK_STATE_COUNT] = {
    [TASK_STATE_SCHEDULED] = "scheduled", [TASK_STATE_QUEUED] = "queued",
    [TASK_STATE_RUNNING] = "running",     [TASK_STATE_SUCCEEDED] = "succeeded",
    [TASK_STATE_DEAD] = "dead",           [TASK_STATE_CANCELLED] = "cancelled",
};

#define BIT(state) (1u << TASK_STATE_##state)

/* Row: from; bits: to. */
static const unsigned allowed_moves[TASK_STATE_COUNT] = {
    [TASK_STATE_SCHEDULED] = BIT(QUEUED) | BIT(CANCELLED),
    [TASK_STATE_QUEUED] = BIT(RUNNING) | BIT(CANCELLED) | BIT(DEAD) | BIT(SCHEDULED),
    [TASK_STATE_RUNNING] = BIT(SUCCEEDED) | BIT(DEAD) | BIT(CANCELLED) | BIT(SCHEDULED) | BIT(QUEUED),
    [TASK_STATE_DEAD] = BIT(QUEUED),
    [TASK_STATE_CANCELLED] = BIT(QUEUED),
};

bool task_state_can_move(enum task_state from, enum task_state to)
{
    return from < TASK_STATE_COUNT && to < TASK_STATE_COUNT && (allowed_moves[from] & 1u << to) != 0;
}

bool task_state_is_final(enum task_state state)
{
    return state >= TASK_STATE_SUCCEEDED;
}
