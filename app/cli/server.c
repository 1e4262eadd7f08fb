/* The running server: FastCGI requests to its HTTP interface. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/fcgi_client.h"
#include "cli/source.h"

#define TARGET_MAX_BYTES 4096
#define DETAIL_MAX_BYTES 4096
#define TASK_TARGET_SIZE 64
#define CLIENTS          16

struct server {
    struct fcgi_client clients[CLIENTS]; /* the first one for all that is asked alone */
};

/* ---- answers ---- */

/* What a problem (RFC 9457) says, or what stands for one that says nothing. */
static void read_problem(const struct fcgi_answer *answer, struct buf *out)
{
    char field[JSON_FIELD_SIZE];
    struct err ignored;
    cleanup(json_decref_scope) json_t *problem = NULL;
    const char *detail = NULL;

    if (answer->body.size > 0 &&
        json_parse_body(answer->body.data, answer->body.size, &problem, field, &ignored) == 0) {
        detail = json_string_value(json_object_get(problem, "detail"));
        if (!detail)
            detail = json_string_value(json_object_get(problem, "title"));
    }
    if (detail)
        buf_append_str(out, detail);
    else
        buf_printf(out, "the server answers with status %d", answer->status);
}

static int receive(struct fcgi_client *client, struct source_reply *ret, struct err *err)
{
    struct fcgi_answer answer;
    int rc = fcgi_client_receive(client, &answer, err);

    *ret = (struct source_reply){.text = BUF_INIT(DETAIL_MAX_BYTES)};
    if (rc == 0 && answer.status >= 200 && answer.status < 300) {
        ret->text = answer.body;
        return 0;
    }
    if (rc == 0) {
        ret->is_refused = true;
        ret->is_missing = answer.status == 404;
        read_problem(&answer, &ret->text);
    }
    buf_done(&answer.body);
    return rc;
}

static int ask(struct server *server, const char *method, const char *target, struct source_reply *ret,
               struct err *err)
{
    int rc = fcgi_client_send(&server->clients[0], method, target, err);

    return rc == 0 ? receive(&server->clients[0], ret, err) : rc;
}

/* ---- requests ---- */

/* All but RFC 3986's unreserved characters is escaped. */
static void append_parameter(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(out, "&%s=", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *p))
            buf_append(out, p, 1);
        else
            buf_printf(out, "%%%02X", (unsigned char)*p);
    }
}

static int server_page(void *self, const struct source_filter *filter, size_t limit, const char *cursor,
                       struct source_reply *ret, struct err *err)
{
    cleanup(buf_done) struct buf target = BUF_INIT(TARGET_MAX_BYTES);

    buf_printf(&target, "/tasks?limit=%zu", limit);
    append_parameter(&target, "state", filter->state);
    append_parameter(&target, "kind", filter->kind);
    append_parameter(&target, "queue", filter->queue);
    append_parameter(&target, "tag", filter->tag);
    append_parameter(&target, "cursor", cursor);
    buf_append(&target, "", 1);
    return target.failed ? err_set(err, -ENOMEM, "out of memory for a request")
                         : ask(self, "GET", target.data, ret, err);
}

/* "/tasks/ID", and what follows. */
static void format_target(char ret[TASK_TARGET_SIZE], const struct uuid *id, const char *ending)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    snprintf(ret, TASK_TARGET_SIZE, "/tasks/%s%s", text, ending);
}

static int server_get(void *self, const struct uuid *id, struct source_reply *ret, struct err *err)
{
    char target[TASK_TARGET_SIZE];

    format_target(target, id, "");
    return ask(self, "GET", target, ret, err);
}

static int server_stats(void *self, struct source_reply *ret, struct err *err)
{
    return ask(self, "GET", "/tasks/stats", ret, err);
}

/* Up to CLIENTS of them at the same time: the server writes them to its disk together. */
static int change_some(struct server *server, enum source_change change, const struct uuid *ids, size_t count,
                       struct source_reply *ret, struct err *err)
{
    static const struct {
        const char *method;
        const char *ending;
    } requests[] = {
        [SOURCE_CANCEL] = {"POST", "/cancel"},
        [SOURCE_RETRY] = {"POST", "/retry"},
        [SOURCE_REMOVE] = {"DELETE", ""},
    };
    char target[TASK_TARGET_SIZE];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        format_target(target, &ids[i], requests[change].ending);
        rc = fcgi_client_send(&server->clients[i], requests[change].method, target, err);
    }
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = receive(&server->clients[i], &ret[i], err);
    return rc;
}

static int server_change(void *self, enum source_change change, const struct uuid *ids, size_t count,
                         struct source_reply *ret, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < count; i++)
        ret[i] = (struct source_reply){0};
    for (size_t i = 0; rc == 0 && i < count; i += CLIENTS)
        rc = change_some(self, change, &ids[i], MIN(count - i, (size_t)CLIENTS), &ret[i], err);
    return rc;
}

static void server_close(void *self)
{
    struct server *server = self;

    for (size_t i = 0; i < CLIENTS; i++)
        fcgi_client_close(&server->clients[i]);
    free(server);
}

static const struct source_ops server_ops = {
    .page = server_page,
    .get = server_get,
    .stats = server_stats,
    .change = server_change,
    .close = server_close,
};

int source_server_open(const struct config *config, struct source *ret, struct err *err)
{
    struct server *server = calloc(1, sizeof(*server));

    if (!server)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 1; i < CLIENTS; i++)
        fcgi_client_init(&server->clients[i], &config->listen);
    int rc = fcgi_client_open(&server->clients[0], &config->listen, err);
    if (rc != 0) {
        server_close(server);
        return rc;
    }
    *ret = (struct source){&server_ops, server};
    return 0;
}
