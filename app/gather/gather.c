#include "gather/gather.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/thread.h"

struct gather {
    struct gather_options options; /* read-only */
    atomic_uint refs;

    pthread_mutex_t lock; /* taken before a fetch worker's lock: a part is submitted and cancelled under it */
    /* guarded by lock: */
    size_t started_count; /* parts[0..started_count) were submitted, or ended by a cancel before that */
    size_t ended_count;
    bool is_cancelled;
    struct fetch **ended; /* in order */

    struct fetch parts[]; /* each the pool's while it runs */
};

static void on_part_done(struct fetch *part);

int gather_create(const struct gather_options *options, struct gather **ret_gather, struct err *err)
{
    struct gather *gather = calloc(1, sizeof(*gather) + options->count * sizeof(gather->parts[0]));

    if (!gather || !(gather->ended = calloc(options->count + 1, sizeof(*gather->ended)))) {
        free(gather);
        return err_set(err, -ENOMEM, "out of memory");
    }
    gather->options = *options;
    atomic_store(&gather->refs, 1);
    mutex_init(&gather->lock);
    for (size_t i = 0; i < options->count; i++) {
        struct fetch *part = &gather->parts[i];
        part->target = options->targets[i];
        part->keep_max_bytes = options->keep_max_bytes;
        part->may_visit = options->may_visit;
        part->done = on_part_done;
        part->arg = gather;
    }
    *ret_gather = gather;
    return 0;
}

static void submit_locked(struct gather *gather, size_t count)
{
    struct fetch *batch[32];

    while (count > 0) {
        size_t size = MIN(count, ARRAY_LEN(batch));
        for (size_t i = 0; i < size; i++)
            batch[i] = &gather->parts[gather->started_count++];
        fetch_submit(gather->options.pool, batch, size);
        count -= size;
    }
}

/* Parts that were never submitted end here. */
static void end_unstarted_locked(struct gather *gather)
{
    while (gather->started_count < gather->options.count) {
        struct fetch *part = &gather->parts[gather->started_count++];
        part->reason = FETCH_CANCELLED;
        snprintf(part->error, sizeof(part->error), "cancelled before it began");
        gather->ended[gather->ended_count++] = part;
    }
}

static bool is_finished_locked(const struct gather *gather)
{
    return gather->ended_count == gather->options.count;
}

static bool start_first(struct gather *gather)
{
    unsigned limit = gather->options.max_concurrency;
    size_t count = gather->options.count;

    LOCK(&gather->lock);
    if (gather->is_cancelled)
        end_unstarted_locked(gather);
    else
        submit_locked(gather, limit ? MIN(count, (size_t)limit) : count);
    return count == 0 || gather->is_cancelled;
}

void gather_start(struct gather *gather)
{
    if (start_first(gather))
        gather->options.done(gather, gather->options.arg);
}

static bool end_part(struct gather *gather, struct fetch *part)
{
    LOCK(&gather->lock);
    gather->ended[gather->ended_count++] = part;
    if (gather->started_count < gather->options.count)
        submit_locked(gather, 1);
    return is_finished_locked(gather);
}

static void on_part_done(struct fetch *part)
{
    struct gather *gather = part->arg;

    if (gather->options.part_ended)
        gather->options.part_ended(gather->options.arg);
    if (end_part(gather, part))
        gather->options.done(gather, gather->options.arg);
}

/* While it runs at least one part is with the pool: the last of those to end calls `done`. */
void gather_cancel(struct gather *gather)
{
    LOCK(&gather->lock);
    bool was_running = gather->started_count > 0 && !gather->is_cancelled && !is_finished_locked(gather);
    gather->is_cancelled = true;
    if (!was_running)
        return;
    for (size_t i = 0; i < gather->started_count; i++)
        fetch_cancel(&gather->parts[i]);
    end_unstarted_locked(gather);
}

size_t gather_count(const struct gather *gather)
{
    return gather->options.count;
}

const struct fetch *gather_result(const struct gather *gather, size_t i)
{
    assert(i < gather->options.count);
    return gather->ended[i];
}

void *gather_arg(const struct gather *gather)
{
    return gather->options.arg;
}

struct gather *gather_ref(struct gather *gather)
{
    atomic_fetch_add(&gather->refs, 1);
    return gather;
}

void gather_unref(struct gather *gather)
{
    if (!gather || atomic_fetch_sub(&gather->refs, 1) != 1)
        return;
    for (size_t i = 0; i < gather->options.count; i++)
        fetch_done(&gather->parts[i]);
    pthread_mutex_destroy(&gather->lock);
    free(gather->ended);
    free(gather);
}
