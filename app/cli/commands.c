#include "cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/pretty.h"
#include "cli/table.h"
#include "tasks/state.h"

/* A task with a payload, a result and a long past, indented. */
#define PRETTY_MAX_BYTES ((size_t)512 * 1024 * 1024)
#define LIST_MAX_BYTES   ((size_t)64 * 1024 * 1024)
#define EXPORT_PAGE      500
#define ERROR_MAX_CHARS  60

/* ---- what was refused ---- */

/* Says so; `what` is an id, or NULL. */
static int say_refused(const char *what, const struct source_reply *reply)
{
    char text[TABLE_CELL_SIZE];
    struct buf sentence = BUF_INIT(reply->text.size + 1);

    buf_append(&sentence, reply->text.data, reply->text.size);
    char *safe = buf_take(&sentence);
    table_set_cell(text, safe ? safe : "refused", SIZE_MAX);
    free(safe);
    fprintf(stderr, "heddle: %s%s%s\n", what ? what : "", what ? ": " : "", text);
    return -ECANCELED;
}

static int say_refused_id(const struct uuid *id, const struct source_reply *reply)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    return say_refused(text, reply);
}

/* ---- JSON of the source's ---- */

static int parse(const struct source_reply *reply, json_t **ret, struct err *err)
{
    char field[JSON_FIELD_SIZE];
    struct err why;
    int rc = json_parse_body(reply->text.data ? reply->text.data : "", reply->text.size, ret, field, &why);

    if (rc == -ENOMEM)
        return err_set(err, rc, "out of memory");
    return rc == 0 ? 0 : err_set(err, -EBADMSG, "the server's answer is not understood: %s", why.text);
}

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static json_int_t member_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool read_id(const json_t *task, struct uuid *ret)
{
    return uuid_parse(member_text(task, "id"), ret);
}

static void print_line(const struct buf *text)
{
    fwrite(text->data, 1, text->size, stdout);
    putchar('\n');
}

/* ---- pages ---- */

struct pages {
    const struct source *source;
    const struct source_filter *filter;
    char cursor[SOURCE_CURSOR_SIZE]; /* of the next one; "": the first */
    bool is_last;                    /* there is no next one */
};

/* Where to go on; a page that leads to itself would be asked for without end. */
static int take_cursor(struct pages *pages, const json_t *page, struct err *err)
{
    const char *next = member_text(page, "next");

    pages->is_last = next[0] == '\0';
    if (strlen(next) >= sizeof(pages->cursor) || (!pages->is_last && strcmp(next, pages->cursor) == 0))
        return err_set(err, -EBADMSG, "the server's answer is not understood: its cursor leads nowhere");
    memcpy(pages->cursor, next, strlen(next) + 1);
    return 0;
}

/* The next page, an object with an array `tasks`.  -ECANCELED when it was refused, which has been said. */
static int next_page(struct pages *pages, size_t limit, json_t **ret, struct err *err)
{
    cleanup(source_reply_done) struct source_reply reply = {0};
    const char *cursor = pages->cursor[0] != '\0' ? pages->cursor : NULL;
    const struct source *source = pages->source;
    json_t *page = NULL;

    int rc = source->ops->page(source->self, pages->filter, limit, cursor, &reply, err);
    if (rc == 0 && reply.is_refused)
        return say_refused(NULL, &reply);
    if (rc == 0)
        rc = parse(&reply, &page, err);
    if (rc == 0 && !json_is_array(json_object_get(page, "tasks")))
        rc = err_set(err, -EBADMSG, "the server's answer is not understood: it has no tasks");
    if (rc == 0)
        rc = take_cursor(pages, page, err);
    if (rc != 0) {
        json_decref(page);
        return rc;
    }
    *ret = page;
    return 0;
}

/* ---- list ---- */

static void format_age(const char *created_at, char *ret, size_t size)
{
    static const struct {
        uint64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    uint64_t now_ms = clock_wall_ms();
    uint64_t created_ms;
    size_t i = 0;

    if (!clock_parse_rfc3339(created_at, &created_ms))
        return;
    uint64_t age_s = now_ms > created_ms ? (now_ms - created_ms) / 1000 : 0;
    while (i + 1 < ARRAY_LEN(units) && age_s < units[i].seconds)
        i++;
    snprintf(ret, size, "%" PRIu64 "%c", age_s / units[i].seconds, units[i].unit);
}

static void fill_task(void *arg, size_t row, char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE])
{
    const json_t *task = json_array_get(arg, row);

    table_set_cell(cells[0], member_text(task, "id"), ERROR_MAX_CHARS);
    table_set_cell(cells[1], member_text(task, "state"), ERROR_MAX_CHARS);
    table_set_cell(cells[2], member_text(task, "kind"), ERROR_MAX_CHARS);
    table_set_cell(cells[3], member_text(task, "queue"), ERROR_MAX_CHARS);
    snprintf(cells[4], TABLE_CELL_SIZE, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT,
             member_number(task, "attempts"), member_number(task, "max_attempts"));
    format_age(member_text(task, "created_at"), cells[5], TABLE_CELL_SIZE);
    table_set_cell(cells[6], member_text(task, "error"), ERROR_MAX_CHARS);
}

static void print_tasks(json_t *tasks)
{
    static const char *const titles[] = {"ID", "STATE", "KIND", "QUEUE", "ATTEMPTS", "AGE", "ERROR"};
    struct table table = {titles, ARRAY_LEN(titles), json_array_size(tasks), fill_task, tasks};

    table_print(&table);
}

/* A page ends early where a filter has passed over many tasks: the next ones are put behind it. */
static int collect(struct pages *pages, size_t limit, json_t **ret, struct err *err)
{
    json_t *all = NULL;
    int rc = next_page(pages, limit, &all, err);

    while (rc == 0 && !pages->is_last && json_array_size(json_object_get(all, "tasks")) < limit) {
        json_t *tasks = json_object_get(all, "tasks");
        json_t *page = NULL;
        rc = next_page(pages, limit - json_array_size(tasks), &page, err);
        if (rc != 0)
            break;
        /* Their order, then what is new of all else. */
        if (json_array_extend(tasks, json_object_get(page, "tasks")) != 0 ||
            json_object_set(page, "tasks", tasks) != 0)
            rc = err_set(err, -ENOMEM, "out of memory");
        json_decref(all);
        all = page;
    }
    if (rc != 0) {
        json_decref(all);
        return rc;
    }
    *ret = all;
    return 0;
}

static int run_list(const struct cli_args *args, const struct source *source, struct err *err)
{
    struct pages pages = {.source = source, .filter = &args->filter};
    cleanup(json_decref_scope) json_t *all = NULL;
    cleanup(buf_done) struct buf text = BUF_INIT(LIST_MAX_BYTES);
    int rc = collect(&pages, args->limit, &all, err);

    if (rc != 0)
        return rc;
    if (!args->is_json) {
        print_tasks(json_object_get(all, "tasks"));
        return 0;
    }
    json_dump(all, &text);
    if (text.failed)
        return err_set(err, -ENOMEM, "out of memory");
    print_line(&text);
    return 0;
}

/* ---- show ---- */

static int run_show(const struct cli_args *args, const struct source *source, struct err *err)
{
    cleanup(source_reply_done) struct source_reply reply = {0};
    cleanup(buf_done) struct buf pretty = BUF_INIT(PRETTY_MAX_BYTES);
    struct uuid id;

    if (!uuid_parse(args->ids[0], &id))
        return err_set(err, -EINVAL, "this is no id");
    int rc = source->ops->get(source->self, &id, &reply, err);
    if (rc != 0)
        return rc;
    if (reply.is_refused)
        return say_refused_id(&id, &reply);
    if (!args->is_json)
        json_append_pretty(&pretty, reply.text.data, reply.text.size);
    if (pretty.failed)
        return err_set(err, -ENOMEM, "out of memory");
    print_line(args->is_json ? &reply.text : &pretty);
    return 0;
}

/* ---- cancel, retry ---- */

/* "ID queued", or what else the task has become. */
static int print_changed(const struct uuid *id, const struct source_reply *reply, struct err *err)
{
    cleanup(json_decref_scope) json_t *task = NULL;
    char text[UUID_TEXT_SIZE];
    char state[TABLE_CELL_SIZE];
    int rc = parse(reply, &task, err);

    if (rc != 0)
        return rc;
    uuid_format(id, text);
    bool is_ending = json_is_true(json_object_get(task, "cancelling"));
    table_set_cell(state, is_ending ? "cancelling" : member_text(task, "state"), ERROR_MAX_CHARS);
    printf("%s %s\n", text, state);
    return 0;
}

static int change_one(const struct cli_args *args, const struct source *source, const char *id_text,
                      struct err *err)
{
    enum source_change change = args->verb == CLI_CANCEL ? SOURCE_CANCEL : SOURCE_RETRY;
    cleanup(source_reply_done) struct source_reply reply = {0};
    struct uuid id;

    if (!uuid_parse(id_text, &id))
        return err_set(err, -EINVAL, "this is no id");
    int rc = source->ops->change(source->self, change, &id, 1, &reply, err);
    if (rc != 0)
        return rc;
    if (reply.is_refused)
        return say_refused_id(&id, &reply);
    if (!args->is_json)
        return print_changed(&id, &reply, err);
    print_line(&reply.text);
    return 0;
}

/* One that is refused does not keep the others from being changed. */
static int run_change(const struct cli_args *args, const struct source *source, struct err *err)
{
    int result = 0;

    for (size_t i = 0; i < args->id_count; i++) {
        int rc = change_one(args, source, args->ids[i], err);
        if (rc != 0 && rc != -ECANCELED)
            return rc;
        result = rc != 0 ? rc : result;
    }
    return result;
}

/* ---- purge ---- */

struct purge {
    const struct source *source;
    uint64_t until_ms; /* those that finished later stay */
    size_t removed;
    bool is_refused;
    size_t count;
    struct uuid ids[SOURCE_PAGE_MAX];
    struct source_reply replies[SOURCE_PAGE_MAX];
};

static void choose(struct purge *purge, const json_t *tasks)
{
    uint64_t finished_ms;
    size_t i;
    json_t *task;

    purge->count = 0;
    json_array_foreach (tasks, i, task) {
        if (purge->count < SOURCE_PAGE_MAX && read_id(task, &purge->ids[purge->count]) &&
            clock_parse_rfc3339(member_text(task, "finished_at"), &finished_ms) &&
            finished_ms <= purge->until_ms)
            purge->count++;
    }
}

/* What has gone meanwhile is as it should be. */
static void count_removed(struct purge *purge, size_t i)
{
    const struct source_reply *reply = &purge->replies[i];

    if (!reply->is_refused) {
        purge->removed++;
    } else if (!reply->is_missing) {
        say_refused_id(&purge->ids[i], reply);
        purge->is_refused = true;
    }
}

static int remove_chosen(struct purge *purge, struct err *err)
{
    const struct source *source = purge->source;

    if (purge->count == 0)
        return 0;
    int rc = source->ops->change(source->self, SOURCE_REMOVE, purge->ids, purge->count, purge->replies, err);
    for (size_t i = 0; i < purge->count; i++) {
        if (rc == 0)
            count_removed(purge, i);
        source_reply_done(&purge->replies[i]);
    }
    return rc;
}

static int purge_pages(struct purge *purge, const struct source_filter *filter, struct err *err)
{
    struct pages pages = {.source = purge->source, .filter = filter};
    int rc = 0;

    while (rc == 0 && !pages.is_last) {
        cleanup(json_decref_scope) json_t *page = NULL;
        rc = next_page(&pages, SOURCE_PAGE_MAX, &page, err);
        if (rc != 0)
            break;
        choose(purge, json_object_get(page, "tasks"));
        rc = remove_chosen(purge, err);
    }
    return rc;
}

static int run_purge(const struct cli_args *args, const struct source *source, struct err *err)
{
    struct purge *purge = calloc(1, sizeof(*purge));
    uint64_t now_ms = clock_wall_ms();

    if (!purge)
        return err_set(err, -ENOMEM, "out of memory");
    purge->source = source;
    purge->until_ms = now_ms > args->older_than_ms ? now_ms - args->older_than_ms : 0;
    int rc = purge_pages(purge, &args->filter, err);
    printf(args->is_json ? "{\"purged\":%zu}\n" : "%zu purged\n", purge->removed);
    if (rc == 0 && purge->is_refused)
        rc = -ECANCELED;
    free(purge);
    return rc;
}

/* ---- export ---- */

/* What has gone since it was listed is left out. */
static int export_one(const struct source *source, const struct uuid *id, struct err *err)
{
    cleanup(source_reply_done) struct source_reply reply = {0};
    int rc = source->ops->get(source->self, id, &reply, err);

    if (rc != 0 || reply.is_missing)
        return rc;
    if (reply.is_refused)
        return say_refused_id(id, &reply);
    print_line(&reply.text);
    return 0;
}

static int export_page(const struct source *source, const json_t *tasks, struct err *err)
{
    int result = 0;
    struct uuid id;
    size_t i;
    json_t *task;

    json_array_foreach (tasks, i, task) {
        int rc = read_id(task, &id) ? export_one(source, &id, err) : 0;
        if (rc != 0 && rc != -ECANCELED)
            return rc;
        result = rc != 0 ? rc : result;
        if (ferror(stdout))
            break;
    }
    return result;
}

static int run_export(const struct cli_args *args, const struct source *source, struct err *err)
{
    struct pages pages = {.source = source, .filter = &args->filter};
    int result = 0;

    while (!pages.is_last && !ferror(stdout)) {
        cleanup(json_decref_scope) json_t *page = NULL;
        int rc = next_page(&pages, EXPORT_PAGE, &page, err);
        if (rc == 0)
            rc = export_page(source, json_object_get(page, "tasks"), err);
        result = rc != 0 ? rc : result;
        if (rc != 0 && (rc != -ECANCELED || !page))
            break;
    }
    return result;
}

/* ---- stats ---- */

static void fill_counts(char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE], const char *name,
                        const json_t *counts)
{
    table_set_cell(cells[0], name, ERROR_MAX_CHARS);
    for (size_t i = 0; i < TASK_STATE_COUNT; i++)
        snprintf(cells[i + 1], TABLE_CELL_SIZE, "%" JSON_INTEGER_FORMAT,
                 member_number(counts, task_state_names[i]));
}

/* The queues, and all of them together behind. */
static void fill_queue(void *arg, size_t row, char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE])
{
    json_t *stats = arg;
    json_t *queues = json_object_get(stats, "queues");
    void *at = json_object_iter(queues);

    for (size_t i = 0; at && i < row; i++)
        at = json_object_iter_next(queues, at);
    if (at)
        fill_counts(cells, json_object_iter_key(at), json_object_iter_value(at));
    else
        fill_counts(cells, "(all)", json_object_get(stats, "counts"));
}

static int run_stats(const struct cli_args *args, const struct source *source, struct err *err)
{
    const char *titles[TASK_STATE_COUNT + 1] = {"QUEUE",     "SCHEDULED", "QUEUED",   "RUNNING",
                                                "SUCCEEDED", "DEAD",      "CANCELLED"};
    cleanup(source_reply_done) struct source_reply reply = {0};
    cleanup(json_decref_scope) json_t *stats = NULL;
    int rc = source->ops->stats(source->self, &reply, err);

    if (rc != 0)
        return rc;
    if (reply.is_refused)
        return say_refused(NULL, &reply);
    if (args->is_json) {
        print_line(&reply.text);
        return 0;
    }
    rc = parse(&reply, &stats, err);
    if (rc != 0)
        return rc;
    struct table table = {titles, ARRAY_LEN(titles), json_object_size(json_object_get(stats, "queues")) + 1,
                          fill_queue, stats};
    table_print(&table);
    return 0;
}

int command_run(const struct cli_args *args, const struct source *source, struct err *err)
{
    static int (*const commands[CLI_VERB_COUNT])(const struct cli_args *, const struct source *,
                                                 struct err *) = {
        [CLI_LIST] = run_list,    [CLI_SHOW] = run_show,   [CLI_CANCEL] = run_change,
        [CLI_RETRY] = run_change, [CLI_PURGE] = run_purge, [CLI_EXPORT] = run_export,
        [CLI_STATS] = run_stats,
    };

    return commands[args->verb](args, source, err);
}
