/* fault_store.h - the SQLite store, with errors of it on command: at the n-th call of an operation, or of all
 * that want room while the disk is full.
 *
 * How to use it: fault_store as the ops of a ledger or an engine; fault_at, fault_disk_is_full, fault_none.
 * Threads: commands from any. */
#pragma once

#include "harness.h"

#include "tasks/store.h"

/* The operations that can fail, in the writer. */
#define FAULT_OPS(X)                                                                                         \
    X(begin)                                                                                                 \
    X(commit)                                                                                                \
    X(insert)                                                                                                \
    X(move)                                                                                                  \
    X(find)                                                                                                  \
    X(find_unique)                                                                                           \
    X(first_queued)                                                                                          \
    X(due)                                                                                                   \
    X(next_due)                                                                                              \
    X(add_attempt)                                                                                           \
    X(remove)                                                                                                \
    X(prune)                                                                                                 \
    X(queues)                                                                                                \
    X(pause_queue)                                                                                           \
    X(ranks)                                                                                                 \
    X(set_rank)                                                                                              \
    X(find_key)                                                                                              \
    X(put_key)                                                                                               \
    X(prune_keys)                                                                                            \
    X(add_events)

#define FAULT_NAME(op) FAULT_##op,
enum fault_op { FAULT_OPS(FAULT_NAME) FAULT_OP_COUNT };
#define FAULT_TEXT(op) #op,
static const char *const fault_op_names[] = {FAULT_OPS(FAULT_TEXT)};

static struct {
    atomic_uint calls[FAULT_OP_COUNT]; /* since fault_none */
    atomic_uint countdown;             /* the fault comes with the call that makes it 0; 0: none */
    atomic_int op;
    atomic_int rc;
    atomic_uint failed;       /* calls that were made to fail */
    atomic_bool disk_is_full; /* commits of inserts fail, and there is no room for a reserve */
    atomic_bool has_insert;   /* in this transaction */
    atomic_uint reserve_asked;
} fault;

static inline void fault_none(void)
{
    atomic_store(&fault.countdown, 0);
    atomic_store(&fault.disk_is_full, false);
    atomic_store(&fault.failed, 0);
    atomic_store(&fault.reserve_asked, 0);
    for (size_t i = 0; i < FAULT_OP_COUNT; i++)
        atomic_store(&fault.calls[i], 0);
}

static inline void fault_at(enum fault_op op, unsigned call, int rc)
{
    atomic_store(&fault.op, op);
    atomic_store(&fault.rc, rc);
    atomic_store(&fault.countdown, call);
}

static inline void fault_disk_is_full(bool is_full)
{
    atomic_store(&fault.disk_is_full, is_full);
}

static inline int fault_now(enum fault_op op, struct err *err)
{
    atomic_fetch_add(&fault.calls[op], 1);
    if (op == FAULT_begin)
        atomic_store(&fault.has_insert, false);
    if (op == FAULT_insert)
        atomic_store(&fault.has_insert, true);
    if (op == FAULT_commit && atomic_load(&fault.disk_is_full) && atomic_load(&fault.has_insert)) {
        atomic_fetch_add(&fault.failed, 1);
        return err_set(err, -ENOSPC, "the disk is full, says the test");
    }
    if (atomic_load(&fault.countdown) == 0 || (int)op != atomic_load(&fault.op) ||
        atomic_fetch_sub(&fault.countdown, 1) != 1)
        return 0;
    atomic_fetch_add(&fault.failed, 1);
    return err_set(err, atomic_load(&fault.rc), "%s fails, says the test", fault_op_names[op]);
}

#define FAULT_WRAP(op, args, params)                                                                         \
    static inline int fault_##op params                                                                      \
    {                                                                                                        \
        int rc_of_fault = fault_now(FAULT_##op, err);                                                        \
        return rc_of_fault != 0 ? rc_of_fault : task_store_sqlite.op args;                                   \
    }

FAULT_WRAP(begin, (store, err), (struct task_store * store, struct err *err))
FAULT_WRAP(insert, (store, task, err), (struct task_store * store, const struct task *task, struct err *err))
FAULT_WRAP(move, (store, task, to, result, error, err),
           (struct task_store * store, const struct task *task, const struct task_status *to,
            const char *result, const char *error, struct err *err))
FAULT_WRAP(find, (store, id, ret, err),
           (struct task_store * store, const struct uuid *id, struct task **ret, struct err *err))
FAULT_WRAP(find_unique, (store, key, ret, err),
           (struct task_store * store, const char *key, struct task **ret, struct err *err))
FAULT_WRAP(first_queued, (store, queue, holds_thread, limit, ret, err),
           (struct task_store * store, task_queue_id queue, bool holds_thread, size_t limit,
            struct task **ret, struct err *err))
FAULT_WRAP(due, (store, now_ms, limit, ret, err),
           (struct task_store * store, uint64_t now_ms, size_t limit, struct task **ret, struct err *err))
FAULT_WRAP(next_due, (store, ret, err), (struct task_store * store, uint64_t *ret, struct err *err))
FAULT_WRAP(add_attempt, (store, id, attempt, err),
           (struct task_store * store, const struct uuid *id, const struct task_attempt *attempt,
            struct err *err))
FAULT_WRAP(remove, (store, id, err), (struct task_store * store, const struct uuid *id, struct err *err))
FAULT_WRAP(prune, (store, state, until_ms, limit, ret, err),
           (struct task_store * store, enum task_state state, uint64_t until_ms, size_t limit, uint64_t *ret,
            struct err *err))
FAULT_WRAP(queues, (store, ret, err),
           (struct task_store * store, struct task_queue_row ret[TASK_QUEUE_MAX], struct err *err))
FAULT_WRAP(pause_queue, (store, queue, is_paused, err),
           (struct task_store * store, task_queue_id queue, bool is_paused, struct err *err))
FAULT_WRAP(ranks, (store, each, arg, err),
           (struct task_store * store, void (*each)(void *, task_queue_id, unsigned, uint64_t), void *arg,
            struct err *err))
FAULT_WRAP(set_rank, (store, queue, slot, rank, err),
           (struct task_store * store, task_queue_id queue, unsigned slot, uint64_t rank, struct err *err))
FAULT_WRAP(find_key, (store, key, ret, err),
           (struct task_store * store, const char *key, struct task_idempotent *ret, struct err *err))
FAULT_WRAP(put_key, (store, key, value, err),
           (struct task_store * store, const char *key, const struct task_idempotent *value, struct err *err))
FAULT_WRAP(prune_keys, (store, until_ms, limit, err),
           (struct task_store * store, uint64_t until_ms, size_t limit, struct err *err))
FAULT_WRAP(add_events, (store, first, packed, count, err),
           (struct task_store * store, uint64_t first, const uint8_t *packed, size_t count, struct err *err))

/* As the store does: it has rolled back when a commit fails. */
static inline int fault_commit(struct task_store *store, struct err *err)
{
    int rc = fault_now(FAULT_commit, err);

    if (rc == 0)
        return task_store_sqlite.commit(store, err);
    task_store_sqlite.rollback(store);
    return rc;
}

static inline int fault_keep_reserve(struct task_store *store, struct err *err)
{
    atomic_fetch_add(&fault.reserve_asked, 1);
    if (atomic_load(&fault.disk_is_full))
        return err_set(err, -ENOSPC, "the disk is full, says the test");
    return task_store_sqlite.keep_reserve(store, err);
}

static inline const struct task_store_ops *fault_store(void)
{
    static struct task_store_ops ops;

    ops = task_store_sqlite;
#define FAULT_SET(op) ops.op = fault_##op;
    FAULT_OPS(FAULT_SET)
    ops.keep_reserve = fault_keep_reserve;
    return &ops;
}
