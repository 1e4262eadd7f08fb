/* queues.h - the queues in memory, and whose turn it is: what may start next.
 *
 * Tasks wait in lanes: a lane is a queue, and in it either those that hold a thread or those that do not, so
 * that the one sort never stands in the way of the other.  The tasks of a lane are in the store; memory only
 * knows whether there may be any.
 *
 * Between queues: stride scheduling (Waldspurger, Weihl 1995): each task that starts moves its queue's pass
 * on by 1/weight, and the least pass is next.
 * Between tenants of a queue: start-time fair queueing (Goyal, Vin, Cheng 1996) over a fixed number of slots
 * that tenants are hashed to (stochastic fairness queueing, McKenney 1990): a task that begins to wait gets
 * a rank, one more than the greater of its slot's last rank and the rank that the queue has come to, and the
 * least rank is next.  So a tenant's flood takes ranks far ahead, and another tenant's task goes in between;
 * nothing has to be looked up in what waits, and memory does not grow with the tenants.
 *
 * Threads: the committer's alone, but for what is said to be read-only.
 * Ownership: names live as long as the table. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "config/config.h"
#include "tasks/store.h"

/* Tenants share so many slots for each priority of a queue. */
#define TASK_RANK_TENANT_SLOTS 256
#define TASK_RANK_SLOTS        (TASK_PRIORITY_COUNT * TASK_RANK_TENANT_SLOTS)

/* Behind them, for each priority, the rank that has come to its turn: after a restart too nobody has to wait
 * for what his slot has had before. */
#define TASK_RANK_COUNT (TASK_RANK_SLOTS + TASK_PRIORITY_COUNT)

enum { TASK_LANE_FREE, TASK_LANE_THREAD, TASK_LANE_COUNT };

struct task_queue {
    /* Set at creation, then read-only: */
    bool is_known;
    char name[TASK_NAME_MAX_BYTES + 1];
    unsigned concurrency; /* 0: no limit */
    double rate_per_s;    /* 0: no limit */
    unsigned weight;

    /* the committer's: */
    bool is_paused;
    bool may_wait[TASK_LANE_COUNT]; /* false: surely nothing is queued in the lane */
    unsigned next_lane;             /* to begin with */
    double pass;
    double tokens; /* starts that the rate allows now */
    uint64_t tokens_ns;
    struct task_counts counts;                       /* with what the present transaction changes */
    uint64_t *ranks;                                 /* TASK_RANK_COUNT of them: given last, and come to */
    bool has_new_ranks;                              /* that are not stored yet: */
    uint64_t new_ranks[(TASK_RANK_COUNT + 63) / 64]; /* a bit for each */
};

struct task_queues {
    struct task_queue all[TASK_QUEUE_MAX];
    size_t count; /* ids are below; not all need be known */
    double pass;  /* of the queue that was chosen last */
};

/* Takes those of the configuration, `default`, and those that the store still knows; adds to the store what
 * it does not know, in a transaction of the caller's, and reads counts and ranks. */
must_check int task_queues_load(struct task_queues *queues, const struct config *config,
                                const struct task_store_ops *ops, struct task_store *store, struct err *err);

/* Reads counts, ranks and pauses anew: after a transaction has been rolled back. */
must_check int task_queues_reload(struct task_queues *queues, const struct task_store_ops *ops,
                                  struct task_store *store, struct err *err);

void task_queues_done(struct task_queues *queues);

/* The queue of that name, or -ENOENT.  Any thread: reads what is read-only. */
int task_queues_find(const struct task_queues *queues, const char *name);

/* The rank for a task of that queue, priority and tenant that begins to wait now. */
uint64_t task_queue_next_rank(struct task_queue *queue, unsigned priority, const char *tenant);

/* Stores the ranks that are new. */
must_check int task_queues_store_ranks(struct task_queues *queues, const struct task_store_ops *ops,
                                       struct task_store *store, struct err *err);

/* How many tasks of this queue may start now: 0 when it is paused, at its limit, or ahead of its rate. */
size_t task_queue_room(struct task_queue *queue, uint64_t now_ns);

/* When a queue that only its rate holds up may start one; CLOCK_NEVER otherwise. */
uint64_t task_queue_ready_ns(const struct task_queue *queue);

/* A task of the queue, queued with that rank or not queued at all (0), starts. */
void task_queue_started(struct task_queues *queues, struct task_queue *queue, unsigned priority,
                        uint64_t rank);

/* The queue whose turn it is among those that may start something from a lane that `lanes` (bits) allows;
 * NULL when there is none.  `ret_lane` is where to look. */
struct task_queue *task_queues_choose(struct task_queues *queues, unsigned lanes, uint64_t now_ns,
                                      unsigned *ret_lane);

static inline task_queue_id task_queue_id_of(const struct task_queues *queues, const struct task_queue *queue)
{
    return (task_queue_id)(queue - queues->all);
}
