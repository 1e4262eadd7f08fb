#include "tasks/upkeep.h"

#include <errno.h>
#include <stdlib.h>

#include "tasks/ledger.h"
#include "tasks/ops.h"

struct task_upkeep {
    struct task_reader *reader;
    bool is_open; /* the ledger has to be closed */
    struct ledger ledger;
};

/* The reader comes first: it makes no store where there is none. */
static int open_parts(struct task_upkeep *upkeep, const struct ledger_config *config, struct err *err)
{
    int rc = config->ops->reader_open(config->where, &upkeep->reader, err);

    if (rc == -ENOENT)
        return err_set(err, rc, "there is no task store at %s that may be opened", config->where);
    if (rc != 0)
        return rc;
    upkeep->is_open = true; /* also when that fails: what it has is freed by its close */
    return ledger_open(&upkeep->ledger, config, err);
}

int task_upkeep_open(const struct config *config, const struct task_store_ops *store, const char *where,
                     const struct task_kind *const *kinds, struct task_upkeep **ret, struct err *err)
{
    struct ledger_config ledger = {
        .config = config,
        .ops = store,
        .where = where,
        .kinds = kinds,
        .leaves_running = true,
    };
    struct task_upkeep *upkeep = calloc(1, sizeof(*upkeep));

    if (!upkeep)
        return err_set(err, -ENOMEM, "out of memory for the task store");
    upkeep->ledger.ops = store;
    int rc = open_parts(upkeep, &ledger, err);
    if (rc != 0) {
        task_upkeep_close(upkeep);
        return rc;
    }
    *ret = upkeep;
    return 0;
}

void task_upkeep_close(struct task_upkeep *upkeep)
{
    if (!upkeep)
        return;
    upkeep->ledger.ops->reader_close(upkeep->reader); /* before who writes the log back */
    if (upkeep->is_open)
        ledger_close(&upkeep->ledger);
    free(upkeep);
}

/* ---- changes ---- */

static int apply(struct ledger *ledger, struct task_wish *wish, struct err *err)
{
    wish->op = (struct task_op){.type = &task_op_wish, .rows = 1};
    int rc = wish->op.type->apply(ledger, &wish->op, err);
    wish->rc = wish->op.rc;
    return rc;
}

int task_upkeep_wish(struct task_upkeep *upkeep, struct task_wish *wishes, size_t count, struct err *err)
{
    struct ledger *ledger = &upkeep->ledger;
    int rc = ledger_begin(ledger, false, err);

    if (rc != 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = apply(ledger, &wishes[i], err);
    if (rc == 0)
        rc = ledger_commit(ledger, err);
    if (rc != 0)
        ledger_rollback(ledger);
    return rc;
}

/* ---- questions ---- */

int task_upkeep_get(struct task_upkeep *upkeep, const struct uuid *id, struct task **ret, struct err *err)
{
    return upkeep->ledger.ops->get(upkeep->reader, id, ret, err);
}

int task_upkeep_list(struct task_upkeep *upkeep, const struct task_filter *filter, size_t limit,
                     struct task **ret_tasks, struct uuid *ret_next, struct err *err)
{
    return upkeep->ledger.ops->list(upkeep->reader, filter, limit, ret_tasks, ret_next, err);
}

const struct task_queues *task_upkeep_queues(const struct task_upkeep *upkeep)
{
    return &upkeep->ledger.queues;
}

const struct task_counts *task_upkeep_counts(const struct task_upkeep *upkeep)
{
    return &upkeep->ledger.totals;
}
