#include "tasks/event.h"

#include <string.h>

static uint8_t *put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *at++ = (uint8_t)(value >> 8 * i);
    return at;
}

static const uint8_t *take(const uint8_t *at, size_t size, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)*at++ << 8 * i;
    *ret = value;
    return at;
}

void task_event_pack(const struct task_event *event, uint8_t ret_bytes[TASK_EVENT_PACKED_BYTES])
{
    uint32_t progress;

    memcpy(&progress, &event->progress, sizeof(progress));
    uint8_t *at = put(ret_bytes, event->at_ms, 8);
    memcpy(at, &event->id, sizeof(event->id));
    at = put(at + sizeof(event->id), event->attempts, 4);
    at = put(at, progress, 4);
    at = put(at, event->state, 1);
    at = put(at, event->is_progress, 1);
    put(at, event->queue, 2);
}

bool task_event_unpack(const uint8_t bytes[TASK_EVENT_PACKED_BYTES], uint64_t number, struct task_event *ret)
{
    struct task_event event = {.number = number};
    uint64_t attempts, progress_bits, state, is_progress, queue;
    uint32_t progress;

    const uint8_t *at = take(bytes, 8, &event.at_ms);
    memcpy(&event.id, at, sizeof(event.id));
    at = take(at + sizeof(event.id), 4, &attempts);
    at = take(at, 4, &progress_bits);
    at = take(at, 1, &state);
    at = take(at, 1, &is_progress);
    take(at, 2, &queue);
    progress = (uint32_t)progress_bits;
    memcpy(&event.progress, &progress, sizeof(progress));
    if (state >= TASK_STATE_COUNT || is_progress > 1 || queue >= TASK_QUEUE_MAX ||
        !(event.progress >= 0 && event.progress <= 1))
        return false;
    event.attempts = (uint32_t)attempts;
    event.state = (uint8_t)state;
    event.is_progress = (uint8_t)is_progress;
    event.queue = (uint16_t)queue;
    *ret = event;
    return true;
}
