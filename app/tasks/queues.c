#include "tasks/queues.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* A queue with a rate may start what it has not started in this part of a second all at once. */
#define BURST_SECONDS 0.1

/* ---- loading ---- */

static struct task_queue *add_row(struct task_queues *queues, const struct task_queue_row *row)
{
    struct task_queue *queue = &queues->all[row->id];

    queue->is_known = true;
    queue->weight = 1;
    memcpy(queue->name, row->name, sizeof(queue->name));
    queues->count = MAX(queues->count, (size_t)row->id + 1);
    return queue;
}

static void take_row(struct task_queue *queue, const struct task_queue_row *row)
{
    queue->is_paused = row->is_paused;
    queue->counts = row->counts;
    queue->may_wait[TASK_LANE_FREE] = queue->may_wait[TASK_LANE_THREAD] =
        row->counts.by_state[TASK_STATE_QUEUED] > 0;
}

static void take_rank(void *arg, task_queue_id queue, unsigned slot, uint64_t rank)
{
    struct task_queues *queues = arg;

    if (queue < queues->count && queues->all[queue].ranks && slot < TASK_RANK_COUNT)
        queues->all[queue].ranks[slot] = rank;
}

static void forget_ranks(struct task_queues *queues)
{
    for (size_t i = 0; i < queues->count; i++) {
        struct task_queue *queue = &queues->all[i];
        if (queue->is_known)
            memset(queue->ranks, 0, TASK_RANK_COUNT * sizeof(uint64_t));
        memset(queue->new_ranks, 0, sizeof(queue->new_ranks));
        queue->has_new_ranks = false;
    }
}

int task_queues_reload(struct task_queues *queues, const struct task_store_ops *ops, struct task_store *store,
                       struct err *err)
{
    struct task_queue_row *rows = calloc(TASK_QUEUE_MAX, sizeof(*rows));

    if (!rows)
        return err_set(err, -ENOMEM, "out of memory");
    int count = ops->queues(store, rows, err);
    for (int i = 0; i < count; i++)
        if (queues->all[rows[i].id].is_known)
            take_row(&queues->all[rows[i].id], &rows[i]);
    free(rows);
    forget_ranks(queues);
    return count < 0 ? count : ops->ranks(store, take_rank, queues, err);
}

/* The number of the queue of that name, or a new one for it. */
static int get_or_add(struct task_queues *queues, const char *name, bool is_paused,
                      const struct task_store_ops *ops, struct task_store *store, struct err *err)
{
    struct task_queue_row row = {.is_paused = is_paused};
    int id = task_queues_find(queues, name);

    if (id >= 0)
        return id;
    for (id = 0; id < TASK_QUEUE_MAX && queues->all[id].is_known; id++)
        continue;
    if (id == TASK_QUEUE_MAX)
        return err_set(err, -ENOSPC, "the task store knows %d queues already: there is no room for \"%s\"",
                       TASK_QUEUE_MAX, name);
    row.id = (task_queue_id)id;
    strncpy(row.name, name, sizeof(row.name) - 1);
    add_row(queues, &row);
    int rc = ops->add_queue(store, &row, err);
    return rc < 0 ? rc : id;
}

/* The queue that always exists may be configured like others. */
static bool is_default_paused(const struct config *config)
{
    for (size_t i = 0; i < config->tasks.queue_count; i++)
        if (strcmp(config->tasks.queues[i].name, "default") == 0)
            return config->tasks.queues[i].is_paused;
    return false;
}

static int add_configured(struct task_queues *queues, const struct config *config,
                          const struct task_store_ops *ops, struct task_store *store, struct err *err)
{
    int id = get_or_add(queues, "default", is_default_paused(config), ops, store, err);

    for (size_t i = 0; id >= 0 && i < config->tasks.queue_count; i++) {
        const struct config_queue *wanted = &config->tasks.queues[i];
        id = get_or_add(queues, wanted->name, wanted->is_paused, ops, store, err);
        if (id < 0)
            break;
        struct task_queue *queue = &queues->all[id];
        queue->concurrency = wanted->concurrency;
        queue->rate_per_s = wanted->rate_per_s;
        queue->weight = MAX(wanted->weight, 1u);
    }
    return id < 0 ? id : 0;
}

static int add_stored(struct task_queues *queues, const struct task_store_ops *ops, struct task_store *store,
                      struct err *err)
{
    struct task_queue_row *rows = calloc(TASK_QUEUE_MAX, sizeof(*rows));

    if (!rows)
        return err_set(err, -ENOMEM, "out of memory");
    int count = ops->queues(store, rows, err);
    for (int i = 0; i < count; i++)
        add_row(queues, &rows[i]);
    free(rows);
    return MIN(count, 0);
}

static int make_ranks(struct task_queues *queues, struct err *err)
{
    for (size_t i = 0; i < queues->count; i++) {
        struct task_queue *queue = &queues->all[i];
        queue->ranks = queue->is_known ? calloc(TASK_RANK_COUNT, sizeof(uint64_t)) : NULL;
        if (queue->is_known && !queue->ranks)
            return err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

int task_queues_load(struct task_queues *queues, const struct config *config,
                     const struct task_store_ops *ops, struct task_store *store, struct err *err)
{
    int rc = add_stored(queues, ops, store, err);

    if (rc == 0)
        rc = add_configured(queues, config, ops, store, err);
    if (rc == 0)
        rc = make_ranks(queues, err);
    return rc == 0 ? task_queues_reload(queues, ops, store, err) : rc;
}

void task_queues_done(struct task_queues *queues)
{
    for (size_t i = 0; i < queues->count; i++)
        free(queues->all[i].ranks);
}

int task_queues_find(const struct task_queues *queues, const char *name)
{
    for (size_t i = 0; i < queues->count; i++)
        if (queues->all[i].is_known && strcmp(queues->all[i].name, name) == 0)
            return (int)i;
    return -ENOENT;
}

/* ---- ranks ---- */

/* FNV-1a (Fowler, Noll, Vo). */
static unsigned slot_of(unsigned priority, const char *tenant)
{
    uint32_t hash = 2166136261u;

    for (; tenant && *tenant; tenant++)
        hash = (hash ^ (unsigned char)*tenant) * 16777619u;
    return priority * TASK_RANK_TENANT_SLOTS + (hash ^ hash >> 16) % TASK_RANK_TENANT_SLOTS;
}

static void set_rank(struct task_queue *queue, unsigned slot, uint64_t rank)
{
    queue->ranks[slot] = rank;
    queue->new_ranks[slot / 64] |= UINT64_C(1) << slot % 64;
    queue->has_new_ranks = true;
}

uint64_t task_queue_next_rank(struct task_queue *queue, unsigned priority, const char *tenant)
{
    unsigned slot = slot_of(priority, tenant);
    uint64_t rank = MAX(queue->ranks[slot], queue->ranks[TASK_RANK_SLOTS + priority]) + 1;

    set_rank(queue, slot, rank);
    return rank;
}

static int store_queue_ranks(struct task_queue *queue, task_queue_id id, const struct task_store_ops *ops,
                             struct task_store *store, struct err *err)
{
    for (unsigned word = 0; word < ARRAY_LEN(queue->new_ranks); word++) {
        uint64_t bits = queue->new_ranks[word];
        for (; bits != 0; bits &= bits - 1) {
            unsigned slot = word * 64 + (unsigned)__builtin_ctzll(bits);
            int rc = ops->set_rank(store, id, slot, queue->ranks[slot], err);
            if (rc != 0)
                return rc;
        }
        queue->new_ranks[word] = 0;
    }
    queue->has_new_ranks = false;
    return 0;
}

int task_queues_store_ranks(struct task_queues *queues, const struct task_store_ops *ops,
                            struct task_store *store, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < queues->count; i++)
        if (queues->all[i].has_new_ranks)
            rc = store_queue_ranks(&queues->all[i], (task_queue_id)i, ops, store, err);
    return rc;
}

/* ---- what may start ---- */

static double burst(const struct task_queue *queue)
{
    return MAX(queue->rate_per_s * BURST_SECONDS, 1.0);
}

static void refill(struct task_queue *queue, uint64_t now_ns)
{
    double seconds = (double)(now_ns - queue->tokens_ns) / (double)NS_PER_SEC;

    queue->tokens =
        queue->tokens_ns == 0 ? burst(queue) : MIN(queue->tokens + seconds * queue->rate_per_s, burst(queue));
    queue->tokens_ns = now_ns;
}

size_t task_queue_room(struct task_queue *queue, uint64_t now_ns)
{
    uint64_t running = queue->counts.by_state[TASK_STATE_RUNNING];
    size_t room = SIZE_MAX;

    if (queue->is_paused)
        return 0;
    if (queue->concurrency > 0)
        room = running < queue->concurrency ? (size_t)(queue->concurrency - running) : 0;
    if (queue->rate_per_s > 0) {
        refill(queue, now_ns);
        room = MIN(room, (size_t)queue->tokens);
    }
    return room;
}

uint64_t task_queue_ready_ns(const struct task_queue *queue)
{
    bool is_at_limit =
        queue->concurrency > 0 && queue->counts.by_state[TASK_STATE_RUNNING] >= queue->concurrency;
    bool waits = queue->may_wait[TASK_LANE_FREE] || queue->may_wait[TASK_LANE_THREAD];

    if (queue->rate_per_s == 0 || queue->is_paused || is_at_limit || !waits)
        return CLOCK_NEVER;
    double missing = MAX(1.0 - queue->tokens, 0.0) / queue->rate_per_s;
    return queue->tokens_ns + (uint64_t)(missing * (double)NS_PER_SEC) + NS_PER_MS;
}

void task_queue_started(struct task_queues *queues, struct task_queue *queue, unsigned priority,
                        uint64_t rank)
{
    /* One that has had nothing to start does not save its turns up. */
    queue->pass = MAX(queue->pass, queues->pass) + 1.0 / queue->weight;
    if (queue->rate_per_s > 0)
        queue->tokens -= 1;
    if (rank > queue->ranks[TASK_RANK_SLOTS + priority])
        set_rank(queue, TASK_RANK_SLOTS + priority, rank);
}

static bool find_lane(const struct task_queue *queue, unsigned lanes, unsigned *ret_lane)
{
    for (unsigned i = 0; i < TASK_LANE_COUNT; i++) {
        unsigned lane = (queue->next_lane + i) % TASK_LANE_COUNT;
        if (!queue->may_wait[lane] || !(lanes & 1u << lane))
            continue;
        *ret_lane = lane;
        return true;
    }
    return false;
}

struct task_queue *task_queues_choose(struct task_queues *queues, unsigned lanes, uint64_t now_ns,
                                      unsigned *ret_lane)
{
    struct task_queue *chosen = NULL;

    for (size_t i = 0; i < queues->count; i++) {
        struct task_queue *queue = &queues->all[i];
        unsigned lane;
        if (!queue->is_known || (chosen && queue->pass >= chosen->pass) || !find_lane(queue, lanes, &lane) ||
            task_queue_room(queue, now_ns) == 0)
            continue;
        chosen = queue;
        *ret_lane = lane;
    }
    if (!chosen)
        return NULL;
    queues->pass = MAX(queues->pass, chosen->pass);
    chosen->next_lane = *ret_lane + 1;
    return chosen;
}
