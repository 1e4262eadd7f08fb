#include "api/counts.h"

#include <inttypes.h>

#include "tasks/state.h"

void counts_append(struct buf *out, const struct task_counts *counts)
{
    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i == 0 ? "{" : ",", task_state_names[i], counts->by_state[i]);
    buf_append(out, "}", 1);
}
