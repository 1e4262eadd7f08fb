/* The store of a server that is stopped, opened as its owner (tasks/upkeep.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "cli/source.h"
#include "tasks/upkeep.h"
#include "tasks/view.h"

#define REPLY_MAX_BYTES ((size_t)64 * 1024 * 1024)

static void reply_begin(struct source_reply *ret)
{
    *ret = (struct source_reply){.text = BUF_INIT(REPLY_MAX_BYTES)};
}

static int reply_end(const struct source_reply *reply, struct err *err)
{
    return reply->text.failed ? err_set(err, -ENOMEM, "out of memory for an answer") : 0;
}

static struct task_view view_of(const struct task_upkeep *upkeep, const struct task *task)
{
    return (struct task_view){
        .task = task,
        .status = &task->status,
        .queue = task_upkeep_queues(upkeep)->all[task->status.queue].name,
    };
}

static void append_counts(struct buf *out, const struct task_counts *counts)
{
    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i == 0 ? "{" : ",", task_state_names[i], counts->by_state[i]);
    buf_append_str(out, "}");
}

/* ---- lists ---- */

static int find_state(const char *name)
{
    for (int i = 0; name && i < TASK_STATE_COUNT; i++)
        if (strcmp(task_state_names[i], name) == 0)
            return i;
    return -1;
}

/* False when that has been refused: no task can be in a queue that is not there. */
static bool find_queue(const struct task_upkeep *upkeep, const char *name, int *ret,
                       struct source_reply *reply)
{
    char quoted[PARSE_QUOTED_SIZE];

    *ret = name ? task_queues_find(task_upkeep_queues(upkeep), name) : -1;
    if (!name || *ret >= 0)
        return true;
    reply->is_refused = true;
    buf_printf(&reply->text, "there is no queue %s", parse_quote(name, strlen(name), quoted));
    return false;
}

static void append_page(struct buf *out, const struct task_upkeep *upkeep, struct task *const *tasks,
                        int count, const struct uuid *next)
{
    static const struct uuid none;
    char cursor[UUID_TEXT_SIZE];

    buf_append_str(out, "{\"tasks\":[");
    for (int i = 0; i < count; i++) {
        struct task_view view = view_of(upkeep, tasks[i]);
        if (i > 0)
            buf_append_str(out, ",");
        task_append_summary(out, &view);
    }
    buf_append_str(out, "],\"counts\":");
    append_counts(out, task_upkeep_counts(upkeep));
    if (!uuid_equal(next, &none)) {
        uuid_format(next, cursor);
        buf_printf(out, ",\"next\":\"%s\"", cursor);
    }
    buf_append_str(out, "}");
}

static int stopped_page(void *self, const struct source_filter *wanted, size_t limit, const char *cursor,
                        struct source_reply *ret, struct err *err)
{
    struct task_upkeep *upkeep = self;
    struct task_filter filter = {
        .state = find_state(wanted->state), .kind = wanted->kind, .tag = wanted->tag};
    struct task *tasks[SOURCE_PAGE_MAX];
    struct uuid next;

    reply_begin(ret);
    if (!find_queue(upkeep, wanted->queue, &filter.queue, ret))
        return reply_end(ret, err);
    if (cursor && !uuid_parse(cursor, &filter.after))
        return err_set(err, -EINVAL, "this is no cursor");
    int count = task_upkeep_list(upkeep, &filter, MIN(limit, (size_t)SOURCE_PAGE_MAX), tasks, &next, err);
    if (count < 0)
        return count;
    append_page(&ret->text, upkeep, tasks, count, &next);
    for (int i = 0; i < count; i++)
        task_unref(tasks[i]);
    return reply_end(ret, err);
}

/* ---- one task, and the counts ---- */

static int stopped_get(void *self, const struct uuid *id, struct source_reply *ret, struct err *err)
{
    struct task_upkeep *upkeep = self;
    struct task *task = NULL;

    reply_begin(ret);
    int found = task_upkeep_get(upkeep, id, &task, err);
    if (found < 0)
        return found;
    if (found > 0) {
        struct task_view view = view_of(upkeep, task);
        task_append(&ret->text, &view);
        task_unref(task);
    } else {
        ret->is_refused = ret->is_missing = true;
        buf_append_str(&ret->text, "there is no task with this id");
    }
    return reply_end(ret, err);
}

static int stopped_stats(void *self, struct source_reply *ret, struct err *err)
{
    struct task_upkeep *upkeep = self;
    const struct task_queues *queues = task_upkeep_queues(upkeep);
    const char *separator = "";

    reply_begin(ret);
    buf_append_str(&ret->text, "{\"counts\":");
    append_counts(&ret->text, task_upkeep_counts(upkeep));
    buf_append_str(&ret->text, ",\"queues\":{");
    for (size_t i = 0; i < queues->count; i++) {
        if (!queues->all[i].is_known)
            continue;
        buf_append_str(&ret->text, separator);
        task_append_text(&ret->text, queues->all[i].name);
        buf_append_str(&ret->text, ":");
        append_counts(&ret->text, &queues->all[i].counts);
        separator = ",";
    }
    buf_append_str(&ret->text, "}}");
    return reply_end(ret, err);
}

/* ---- changes ---- */

static const struct {
    enum task_wish_type type;
    const char *condition;
} wishes_of[] = {
    [SOURCE_CANCEL] = {TASK_WISH_CANCEL, "only a task that has not finished can be cancelled"},
    [SOURCE_RETRY] = {TASK_WISH_RETRY, "only a dead or cancelled task can be tried again"},
    [SOURCE_REMOVE] = {TASK_WISH_REMOVE, "only a finished task can be removed"},
};

static void refuse(enum source_change change, const struct task_wish *wish, struct source_reply *ret)
{
    struct buf *out = &ret->text;

    ret->is_refused = true;
    ret->is_missing = wish->rc == -ENOENT;
    if (wish->rc == -ENOENT)
        buf_append_str(out, "there is no task with this id");
    else if (wish->rc == -EBUSY)
        buf_printf(out, "%s: the task is %s", wishes_of[change].condition,
                   task_state_names[wish->status.state]);
    else if (wish->rc == -EEXIST)
        buf_append_str(out, "an unfinished task has the same unique key");
    else
        buf_append_str(out, "the task queue is full: tasks.queue_capacity tasks are unfinished");
}

static int answer(struct task_upkeep *upkeep, enum source_change change, const struct task_wish *wish,
                  struct source_reply *ret, struct err *err)
{
    reply_begin(ret);
    if (wish->rc == 0)
        return change == SOURCE_REMOVE ? 0 : stopped_get(upkeep, &wish->id, ret, err);
    refuse(change, wish, ret);
    return reply_end(ret, err);
}

static int stopped_change(void *self, enum source_change change, const struct uuid *ids, size_t count,
                          struct source_reply *ret, struct err *err)
{
    struct task_upkeep *upkeep = self;
    struct task_wish *wishes = calloc(count, sizeof(*wishes));

    for (size_t i = 0; i < count; i++)
        ret[i] = (struct source_reply){0};
    if (!wishes)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        wishes[i] =
            (struct task_wish){.type = wishes_of[change].type, .id = ids[i], .if_version = TASK_VERSION_ANY};
    int rc = task_upkeep_wish(upkeep, wishes, count, err);
    for (size_t i = 0; i < count; i++) {
        if (rc == 0)
            rc = answer(upkeep, change, &wishes[i], &ret[i], err);
        task_unref(wishes[i].task);
    }
    free(wishes);
    return rc;
}

static void stopped_close(void *self)
{
    task_upkeep_close(self);
}

static const struct source_ops stopped_ops = {
    .page = stopped_page,
    .get = stopped_get,
    .stats = stopped_stats,
    .change = stopped_change,
    .close = stopped_close,
};

int source_stopped_open(const struct config *config, struct source *ret, struct err *err)
{
    const char *where;
    const struct task_store_ops *store = task_store_find(config->tasks.store, &where);
    struct task_upkeep *upkeep;

    if (!store)
        return err_set(err, -EINVAL, "there is no such task store: %s", config->tasks.store);
    int rc = task_upkeep_open(config, store, where, task_kinds, &upkeep, err);
    if (rc != 0)
        return rc;
    *ret = (struct source){&stopped_ops, upkeep};
    return 0;
}
