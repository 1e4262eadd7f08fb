/* One thread at a time moves a gather on, the one that found something to do while nobody else was at it: it
 * starts the parts that are ready, tells of those that have ended, asks those to end that are not needed, and
 * ends it.  The others (a part that ends on another worker, a part that ends while it is being started) leave
 * word under the lock and go.  So callbacks come one after the other and in order without a lock around them,
 * and a part that ends at once does not recurse.
 *
 * gather_cancel does not move it on: a hang-up is told of under locks of its caller's.  It only asks; after
 * it, as before, a part runs whose end will move it on. */
#include "gather/gather.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"

struct gather {
    struct gather_options options; /* read-only */
    atomic_uint refs;

    /* Who waits for part i: dependents[first_dependent[i]] up to first_dependent[i + 1]; read-only. */
    size_t *first_dependent;
    struct part **dependents;

    pthread_mutex_t lock;
    /* guarded by lock, as is what the gather changes in its parts: */
    bool is_started;
    bool is_over;     /* cancelled, or it is enough: nothing starts any more */
    bool must_cancel; /* who moves it on has parts to ask */
    bool is_moving;   /* a thread is moving it on */
    size_t running_count;
    size_t ok_count;
    struct part **ready; /* in order; taken_count of them were taken out to be started */
    size_t ready_count;
    size_t taken_count;
    struct part **ended; /* in order; settled: who waits for it knows; told: part_ended was called */
    size_t ended_count;
    size_t settled_count;
    size_t told_count;
};

/* ---- the graph ---- */

static size_t count_edges(const struct gather_options *options)
{
    size_t count = 0;

    for (size_t i = 0; i < options->count; i++)
        count += options->parts[i]->after_count;
    return count;
}

/* Counting sort of the edges by the part that is waited for. */
static void fill_dependents(struct gather *gather)
{
    const struct gather_options *options = &gather->options;
    size_t *first = gather->first_dependent;

    for (size_t i = 0; i < options->count; i++)
        for (size_t j = 0; j < options->parts[i]->after_count; j++) {
            assert(options->parts[i]->after[j] < options->count);
            first[options->parts[i]->after[j] + 1]++;
        }
    for (size_t i = 0; i < options->count; i++)
        first[i + 1] += first[i];
    for (size_t i = options->count; i-- > 0;)
        for (size_t j = 0; j < options->parts[i]->after_count; j++)
            gather->dependents[--first[options->parts[i]->after[j] + 1]] = options->parts[i];
    /* Each first[i + 1] is now where the list of i begins: move them to their places. */
    for (size_t i = 0; i < options->count; i++)
        first[i] = first[i + 1];
    first[options->count] = count_edges(options);
}

static void assert_has_no_cycle(const struct gather *gather, struct part **scratch)
{
    size_t count = 0;

    for (size_t i = 0; i < gather->options.count; i++)
        if (gather->options.parts[i]->waits_for == 0)
            scratch[count++] = gather->options.parts[i];
    for (size_t i = 0; i < count; i++)
        for (size_t j = gather->first_dependent[scratch[i]->index];
             j < gather->first_dependent[scratch[i]->index + 1]; j++)
            if (--gather->dependents[j]->waits_for == 0)
                scratch[count++] = gather->dependents[j];
    assert(count == gather->options.count);
}

static void init_parts(struct gather *gather)
{
    for (size_t i = 0; i < gather->options.count; i++) {
        struct part *part = gather->options.parts[i];
        part->gather = gather;
        part->state = PART_WAITING;
        part->index = i;
        part->waits_for = part->after_count;
    }
}

/* ---- life ---- */

int gather_create(const struct gather_options *options, struct gather **ret_gather, struct err *err)
{
    size_t edges = count_edges(options);
    size_t pointers = 2 * options->count + edges;
    struct gather *gather =
        calloc(1, sizeof(*gather) + pointers * sizeof(struct part *) + (options->count + 1) * sizeof(size_t));

    if (!gather)
        return err_set(err, -ENOMEM, "out of memory");
    gather->options = *options;
    gather->ready = (struct part **)(gather + 1);
    gather->ended = gather->ready + options->count;
    gather->dependents = gather->ended + options->count;
    gather->first_dependent = (size_t *)(gather->dependents + edges);
    atomic_init(&gather->refs, 1);
    mutex_init(&gather->lock);
    init_parts(gather);
    if (edges > 0) {
        fill_dependents(gather);
        assert_has_no_cycle(gather, gather->ended);
        init_parts(gather);
    }
    *ret_gather = gather;
    return 0;
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
    void (*release)(void *arg) = gather->options.release;
    void *arg = gather->options.arg;
    pthread_mutex_destroy(&gather->lock);
    free(gather);
    if (release)
        release(arg);
}

/* ---- ends ---- */

static void end_locked(struct part *part, enum part_state state, uint64_t now_ns)
{
    struct gather *gather = part->gather;

    part->state = state;
    part->ended_ns = now_ns;
    gather->ended[gather->ended_count++] = part;
}

static void be_over_locked(struct gather *gather, uint64_t now_ns)
{
    gather->is_over = true;
    for (size_t i = 0; i < gather->options.count; i++)
        if (gather->options.parts[i]->state == PART_WAITING)
            end_locked(gather->options.parts[i], PART_CANCELLED, now_ns);
}

static void settle_dependent_locked(struct part *part, const struct part *ended, uint64_t now_ns)
{
    struct gather *gather = part->gather;

    if (part->state != PART_WAITING)
        return;
    if (ended->state != PART_OK) {
        part->cause = ended;
        end_locked(part, PART_SKIPPED, now_ns);
    } else if (--part->waits_for == 0) {
        gather->ready[gather->ready_count++] = part;
    }
}

/* Those who wait for parts that have ended get ready, or are skipped, which others may wait for in turn. */
static void settle_locked(struct gather *gather, uint64_t now_ns)
{
    while (gather->settled_count < gather->ended_count) {
        const struct part *part = gather->ended[gather->settled_count++];
        for (size_t i = gather->first_dependent[part->index]; i < gather->first_dependent[part->index + 1];
             i++)
            settle_dependent_locked(gather->dependents[i], part, now_ns);
    }
}

static void record_end_locked(struct part *part, bool is_ok)
{
    struct gather *gather = part->gather;
    uint64_t now_ns = clock_now_ns();

    assert(part->state == PART_RUNNING);
    gather->running_count--;
    gather->ok_count += is_ok;
    end_locked(part, is_ok ? PART_OK : part->is_asked ? PART_CANCELLED : PART_FAILED, now_ns);
    if (!gather->is_over && gather->options.enough > 0 && gather->ok_count == gather->options.enough) {
        be_over_locked(gather, now_ns);
        gather->must_cancel = true;
    }
    settle_locked(gather, now_ns);
}

/* ---- cancelling those that run ---- */

#define CANCEL_BATCH 32

static size_t take_to_cancel_locked(struct gather *gather, size_t *next, struct part **ret_batch)
{
    size_t count = 0;

    for (; *next < gather->options.count && count < CANCEL_BATCH; ++*next) {
        struct part *part = gather->options.parts[*next];
        if (part->state != PART_RUNNING || !part->is_started || part->is_asked)
            continue;
        part->is_asked = true;
        ret_batch[count++] = part;
    }
    return count;
}

/* Those that are being started just now are asked by who starts them.  The lock is held on entry and at the
 * end, but not while a part is asked: the caller moves it on, or has a reference, or else it could be gone
 * then. */
static void cancel_running_locked(struct gather *gather)
{
    struct part *batch[CANCEL_BATCH];
    size_t next = 0;

    while (gather->running_count > 0 && next < gather->options.count) {
        size_t count = take_to_cancel_locked(gather, &next, batch);
        mutex_unlock(&gather->lock);
        for (size_t i = 0; i < count; i++)
            batch[i]->ops->cancel(batch[i]);
        mutex_lock(&gather->lock);
    }
}

/* ---- moving on ---- */

static size_t count_startable_locked(const struct gather *gather)
{
    unsigned limit = gather->options.max_concurrency;
    size_t count = gather->ready_count - gather->taken_count;

    if (gather->is_over)
        return 0;
    return limit > 0 ? MIN(count, limit - MIN(gather->running_count, (size_t)limit)) : count;
}

/* The first of the ready ones with the same ops, as many as may run. */
static size_t take_ready_locked(struct gather *gather, struct part ***ret_parts)
{
    struct part **parts = gather->ready + gather->taken_count;
    size_t most = count_startable_locked(gather);
    uint64_t now_ns = most > 0 ? clock_now_ns() : 0;
    size_t count = 0;

    for (; count < most && parts[count]->ops == parts[0]->ops; count++) {
        parts[count]->state = PART_RUNNING;
        parts[count]->started_ns = now_ns;
    }
    gather->taken_count += count;
    gather->running_count += count;
    *ret_parts = parts;
    return count;
}

/* The lock is held on entry and at the end, but not during the start. */
static bool start_ready_locked(struct gather *gather)
{
    struct part **parts;
    size_t count = take_ready_locked(gather, &parts);

    if (count == 0)
        return false;
    mutex_unlock(&gather->lock);
    parts[0]->ops->start(parts, count);
    mutex_lock(&gather->lock);
    for (size_t i = 0; i < count; i++)
        parts[i]->is_started = true;
    gather->must_cancel |= gather->is_over;
    return true;
}

static bool cancel_unneeded_locked(struct gather *gather)
{
    if (!gather->must_cancel)
        return false;
    gather->must_cancel = false;
    cancel_running_locked(gather);
    return true;
}

static bool tell_next_locked(struct gather *gather)
{
    if (gather->told_count == gather->ended_count)
        return false;
    struct part *part = gather->ended[gather->told_count++];
    if (!gather->options.part_ended)
        return true;
    mutex_unlock(&gather->lock);
    gather->options.part_ended(gather, part, gather->options.arg);
    mutex_lock(&gather->lock);
    return true;
}

/* What others wait for starts before anybody is told.  Returns whether all has ended. */
static bool move_on_locked(struct gather *gather)
{
    if (gather->is_moving)
        return false;
    gather->is_moving = true;
    while (cancel_unneeded_locked(gather) || start_ready_locked(gather) || tell_next_locked(gather))
        continue;
    gather->is_moving = gather->told_count == gather->options.count; /* for ever */
    return gather->is_moving;
}

static bool start(struct gather *gather)
{
    LOCK(&gather->lock);
    assert(!gather->is_started);
    gather->is_started = true;
    for (size_t i = 0; i < gather->options.count && !gather->is_over; i++)
        if (gather->options.parts[i]->waits_for == 0)
            gather->ready[gather->ready_count++] = gather->options.parts[i];
    return move_on_locked(gather);
}

void gather_start(struct gather *gather)
{
    if (start(gather))
        gather->options.done(gather, gather->options.arg);
}

static bool end_part(struct part *part, bool is_ok)
{
    struct gather *gather = part->gather;

    LOCK(&gather->lock);
    record_end_locked(part, is_ok);
    return move_on_locked(gather);
}

void part_end(struct part *part, bool is_ok)
{
    struct gather *gather = part->gather;

    if (end_part(part, is_ok))
        gather->options.done(gather, gather->options.arg);
}

void gather_cancel(struct gather *gather)
{
    uint64_t now_ns = clock_now_ns();

    LOCK(&gather->lock);
    if (gather->is_over)
        return;
    be_over_locked(gather, now_ns);
    settle_locked(gather, now_ns);
    cancel_running_locked(gather);
}

/* ---- what there is ---- */

size_t gather_count(const struct gather *gather)
{
    return gather->options.count;
}

struct part *gather_ended(const struct gather *gather, size_t i)
{
    assert(i < gather->options.count);
    return gather->ended[i];
}

struct part *gather_part(const struct gather *gather, size_t index)
{
    assert(index < gather->options.count);
    return gather->options.parts[index];
}

bool gather_is_complete(const struct gather *gather)
{
    return gather->ok_count >= (gather->options.enough > 0 ? gather->options.enough : gather->options.count);
}

void *gather_arg(const struct gather *gather)
{
    return gather->options.arg;
}
