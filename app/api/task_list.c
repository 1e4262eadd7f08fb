/* GET /tasks, GET /tasks/stats. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/counts.h"
#include "api/cursor.h"
#include "api/task_reply.h"
#include "base/http.h"
#include "base/parse.h"
#include "tasks/view.h"

#define LIMIT_DEFAULT 50

/* A summary is a few hundred bytes; its tags, its error and its keys may be longer. */
#define SUMMARY_MAX_BYTES ((size_t)16 * 1024)
#define STATS_MAX_BYTES   ((size_t)1024 * 1024)
#define LINK_MAX_BYTES    2048
#define FILTER_SIZE       (TASK_NAME_MAX_BYTES + 1)

/* What the query asks for. */
struct wanted {
    char state[16]; /* "" in these: all */
    char kind[FILTER_SIZE];
    char queue[FILTER_SIZE];
    char tag[FILTER_SIZE];
    uint64_t limit;
};

/* A list on its way from the store. */
struct list {
    struct request *req;
    struct wanted wanted;
    struct task_query query;
};

/* ---- the query ---- */

/* The parameter's value, or ""; false when the request has been answered. */
static bool read_parameter(struct request *req, const char *name, char *ret, size_t ret_size,
                           bool *ret_is_there)
{
    struct err err;
    int found = http_query_find(request_param(req, "QUERY_STRING"), name, ret, ret_size, &err);

    if (found < 0) {
        request_problem_with(req, 422, "field", name, "%s: %s", name, err.text);
        return false;
    }
    *ret_is_there = found > 0;
    return true;
}

static bool read_limit(struct request *req, struct wanted *wanted)
{
    char text[24];
    bool is_there;
    struct err err;

    wanted->limit = LIMIT_DEFAULT;
    if (!read_parameter(req, "limit", text, sizeof(text), &is_there))
        return false;
    if (!is_there || parse_number(PARSE_UINT, text, 1, TASK_QUERY_LIMIT_MAX, &wanted->limit, &err) == 0)
        return true;
    request_problem_with(req, 422, "field", "limit", "limit: %s", err.text);
    return false;
}

static bool read_state(struct request *req, struct list *list)
{
    char *state = list->wanted.state;
    bool is_there;

    list->query.filter.state = -1;
    if (!read_parameter(req, "state", state, sizeof(list->wanted.state), &is_there))
        return false;
    if (!is_there)
        return true;
    for (int i = 0; i < TASK_STATE_COUNT; i++) {
        if (strcmp(task_state_names[i], state) == 0)
            list->query.filter.state = i;
    }
    if (list->query.filter.state >= 0)
        return true;
    request_problem_with(req, 422, "field", "state",
                         "state must be scheduled, queued, running, succeeded, dead or cancelled");
    return false;
}

static bool read_queue(struct request *req, struct list *list)
{
    char *name = list->wanted.queue;
    char quoted[PARSE_QUOTED_SIZE];
    bool is_there;

    list->query.filter.queue = -1;
    if (!read_parameter(req, "queue", name, sizeof(list->wanted.queue), &is_there))
        return false;
    if (!is_there)
        return true;
    list->query.filter.queue = task_engine_find_queue(app_of(req)->tasks, name);
    if (list->query.filter.queue >= 0)
        return true;
    request_problem_with(req, 422, "field", "queue", "there is no queue %s",
                         parse_quote(name, strlen(name), quoted));
    return false;
}

/* A kind or a tag that no task has is no error. */
static bool read_text(struct request *req, const char *name, char *ret, const char **ret_filter)
{
    bool is_there;

    if (!read_parameter(req, name, ret, FILTER_SIZE, &is_there))
        return false;
    if (is_there && *ret == '\0') {
        request_problem_with(req, 422, "field", name, "%s: it is empty", name);
        return false;
    }
    *ret_filter = is_there ? ret : NULL;
    return true;
}

static bool read_cursor(struct request *req, struct list *list)
{
    char text[CURSOR_SIZE];
    bool is_there;

    if (!read_parameter(req, "cursor", text, sizeof(text), &is_there))
        return false;
    if (!is_there || cursor_parse(text, &list->query.filter.after))
        return true;
    request_problem_with(req, 422, "field", "cursor", "this is no cursor of an earlier answer");
    return false;
}

static bool read_wanted(struct request *req, struct list *list)
{
    struct wanted *wanted = &list->wanted;
    struct task_filter *filter = &list->query.filter;

    if (!read_limit(req, wanted) || !read_state(req, list) || !read_queue(req, list) ||
        !read_text(req, "kind", wanted->kind, &filter->kind) ||
        !read_text(req, "tag", wanted->tag, &filter->tag) || !read_cursor(req, list))
        return false;
    list->query.limit = (size_t)wanted->limit;
    return true;
}

/* ---- the next page ---- */

/* All but RFC 3986's unreserved characters is escaped, so that nothing can end the link or the header. */
static void append_parameter(struct buf *out, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    buf_printf(out, "&%s=", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *p))
            buf_append(out, p, 1);
        else
            buf_printf(out, "%%%02X", (unsigned char)*p);
    }
}

static void add_link(struct request *req, const struct wanted *wanted, const char *cursor)
{
    cleanup(buf_done) struct buf link = BUF_INIT(LINK_MAX_BYTES);

    buf_printf(&link, "</tasks?limit=%" PRIu64, wanted->limit);
    append_parameter(&link, "state", wanted->state);
    append_parameter(&link, "kind", wanted->kind);
    append_parameter(&link, "queue", wanted->queue);
    append_parameter(&link, "tag", wanted->tag);
    append_parameter(&link, "cursor", cursor);
    buf_append_str(&link, ">; rel=\"next\"");
    buf_append(&link, "", 1);
    if (!link.failed)
        request_add_header(req, "Link", link.data);
}

/* ---- the answer ---- */

static void append_counts(struct buf *out, const struct request *req)
{
    struct task_counts counts;

    task_engine_counts(app_of(req)->tasks, &counts);
    buf_append_str(out, ",\"counts\":");
    counts_append(out, &counts);
}

static void append_tasks(struct buf *out, const struct request *req, const struct task_query *query)
{
    buf_append_str(out, "{\"tasks\":[");
    for (int i = 0; i < query->rc; i++) {
        const struct task *task = query->tasks[i];
        if (i > 0)
            buf_append(out, ",", 1);
        task_append_reply(out, req, task, &task->status, true);
    }
    buf_append_str(out, "]");
}

static void reply_list(struct request *req, const struct list *list)
{
    static const struct uuid none;
    struct buf body = BUF_INIT((list->query.limit + 1) * SUMMARY_MAX_BYTES);
    char cursor[CURSOR_SIZE];

    append_tasks(&body, req, &list->query);
    append_counts(&body, req);
    if (!uuid_equal(&list->query.next, &none)) {
        cursor_format(&list->query.next, cursor);
        buf_printf(&body, ",\"next\":\"%s\"", cursor);
        add_link(req, &list->wanted, cursor);
    }
    buf_append_str(&body, "}");
    request_reply_buf(req, 200, "application/json", &body);
}

static void answer_list(struct request *req, void *arg)
{
    struct list *list = arg;

    if (list->query.rc < 0)
        task_reply_error(req, &list->query.err);
    else
        reply_list(req, list);
    task_query_done(&list->query);
    free(list);
}

static void on_listed(struct task_query *query)
{
    struct list *list = container_of(query, struct list, query);

    request_resume(list->req, answer_list, list);
}

void tasks_list(struct request *req)
{
    struct list *list = calloc(1, sizeof(*list));

    if (!list) {
        request_problem(req, 503, "out of memory");
        return;
    }
    list->req = req;
    list->query.done = on_listed;
    list->query.type = TASK_QUERY_LIST;
    if (!read_wanted(req, list)) {
        free(list);
        return;
    }
    request_suspend(req, &request_nobody_to_tell);
    task_engine_ask(app_of(req)->tasks, &list->query);
}

/* ---- GET /tasks/stats ---- */

void tasks_stats(struct request *req)
{
    struct task_queue_info queues[TASK_QUEUE_MAX];
    size_t count = task_engine_queues(app_of(req)->tasks, queues);
    struct buf body = BUF_INIT(STATS_MAX_BYTES);
    struct task_counts counts;

    task_engine_counts(app_of(req)->tasks, &counts);
    buf_append_str(&body, "{\"counts\":");
    counts_append(&body, &counts);
    buf_append_str(&body, ",\"queues\":{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append(&body, ",", 1);
        task_append_text(&body, queues[i].name);
        buf_append(&body, ":", 1);
        counts_append(&body, &queues[i].counts);
    }
    buf_append_str(&body, "}}");
    request_reply_buf(req, 200, "application/json", &body);
}
