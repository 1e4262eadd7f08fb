/* event.h - what happened to a task, as those who listen are told.
 *
 * Events are numbered without gaps in the order in which they became true, over all tasks and restarts; those
 * of one transaction are stored as one block of bytes.
 * Threads: plain values. */
#pragma once

#include "base/common.h"
#include "base/uuid.h"
#include "tasks/state.h"
#include "tasks/task.h"

struct task_event {
    uint64_t number;
    uint64_t at_ms; /* wall clock */
    struct uuid id;
    uint32_t attempts;
    float progress;
    uint8_t state;       /* the state it is in now */
    uint8_t is_progress; /* only the progress has changed */
    uint16_t queue;
};

/* A packed event: little-endian, in the order of the struct without its number. */
#define TASK_EVENT_PACKED_BYTES 36

void task_event_pack(const struct task_event *event, uint8_t ret_bytes[TASK_EVENT_PACKED_BYTES]);

/* False when these are no event. */
must_check bool task_event_unpack(const uint8_t bytes[TASK_EVENT_PACKED_BYTES], uint64_t number,
                                  struct task_event *ret);
