/* Parts that are calls to upstreams: a request made out of templates. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gather/plan_http.h"

#define URL_MAX_BYTES  16384
#define BODY_MAX_BYTES ((size_t)1024 * 1024)

/* Beside the part's own and the client's: X-Request-Id, Content-Type. */
#define OWN_HEADERS 2

static const char *const method_names[] = {
    [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
    [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
};

/* ---- the URL ---- */

static int append_query(struct buf *url, const struct plan_pairs *query, struct plan_values *values,
                        struct err *err)
{
    for (size_t i = 0; i < query->count; i++) {
        buf_append_str(url, i == 0 ? "?" : "&");
        buf_append_str(url, query->items[i].name);
        buf_append_str(url, "=");
        int rc =
            template_render(query->items[i].value, TEMPLATE_USE_QUERY, plan_values_lookup, values, url, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int http_step_make_target(const struct plan_step *step, struct plan_values *values,
                          struct fetch_target **ret_target, struct err *err)
{
    const struct http_step *http = &step->http;
    cleanup(buf_done) struct buf url = BUF_INIT(URL_MAX_BYTES);

    buf_append_str(&url, upstream_config(http->upstream)->base_url);
    int rc = template_render(http->path, TEMPLATE_USE_PATH, plan_values_lookup, values, &url, err);
    if (rc == 0)
        rc = append_query(&url, &http->query, values, err);
    if (rc < 0)
        return rc;
    buf_append(&url, "", 1);
    if (url.failed)
        return err_set(err, -ERANGE, "the URL has more than %d bytes", URL_MAX_BYTES);
    return fetch_target_create(url.data, ret_target, err);
}

static int set_target(struct plan_part *part, struct plan_values *values, struct err *err)
{
    struct http_run *http = &part->http;
    int rc = part->step->http.target ? 0 : http_step_make_target(part->step, values, &http->target, err);

    http->call.target = part->step->http.target ? part->step->http.target : http->target;
    return rc;
}

/* ---- headers ---- */

/* "Name: value". */
static int render_header(const struct plan_pair *pair, struct plan_values *values, char **ret_line,
                         struct err *err)
{
    cleanup(buf_done) struct buf line = BUF_INIT(FETCH_HEADER_MAX_BYTES + 3);

    buf_append_str(&line, pair->name);
    buf_append_str(&line, ": ");
    size_t start = line.size;
    int rc = template_render(pair->value, TEMPLATE_USE_HEADER, plan_values_lookup, values, &line, err);
    if (rc < 0)
        return rc;
    buf_append(&line, "", 1);
    if (line.failed)
        return err_set(err, -ERANGE, "the header %s has more than %d bytes", pair->name,
                       FETCH_HEADER_MAX_BYTES);
    rc = fetch_header_check(pair->name, line.data + start, err);
    if (rc == 0 && !(*ret_line = buf_take(&line)))
        rc = err_set(err, -ENOMEM, "out of memory");
    return rc;
}

static int render_headers(struct plan_part *part, struct plan_values *values, size_t *count, struct err *err)
{
    const struct plan_pairs *headers = &part->step->http.headers;
    struct http_run *http = &part->http;

    for (size_t i = 0; i < headers->count; i++) {
        int rc = render_header(&headers->items[i], values, &http->lines[i], err);
        if (rc < 0)
            return rc;
        http->headers[(*count)++] = http->lines[i];
    }
    return 0;
}

static void add_forwarded(struct plan_part *part, size_t *count)
{
    const struct http_step *step = &part->step->http;

    for (size_t i = 0; i < step->forward_count; i++) {
        const char *line = part->run->forwarded[step->forwards[i]];
        if (line)
            part->http.headers[(*count)++] = line;
    }
}

static int set_headers(struct plan_part *part, struct plan_values *values, struct err *err)
{
    const struct http_step *step = &part->step->http;
    struct http_run *http = &part->http;
    size_t count = 0;

    http->headers = calloc(step->headers.count + step->forward_count + OWN_HEADERS + 1, sizeof(char *));
    http->lines = calloc(step->headers.count + 1, sizeof(char *));
    if (!http->headers || !http->lines)
        return err_set(err, -ENOMEM, "out of memory");
    http->request.headers = http->headers;
    if (part->run->request_id)
        http->headers[count++] = part->run->request_id;
    if (step->body && !step->has_content_type)
        http->headers[count++] = "Content-Type: application/json";
    add_forwarded(part, &count);
    return render_headers(part, values, &count, err);
}

/* ---- the request ---- */

static int set_body(struct plan_part *part, struct plan_values *values, struct err *err)
{
    struct http_run *http = &part->http;

    if (!part->step->http.body)
        return 0;
    http->body = (struct buf)BUF_INIT(BODY_MAX_BYTES);
    int rc = json_template_render(part->step->http.body, plan_values_lookup, values, &http->body, err);
    http->request.body = http->body.data;
    http->request.body_size = http->body.size;
    return rc;
}

int http_request_make(struct plan_part *part, struct plan_values *values, struct err *err)
{
    int rc = set_target(part, values, err);

    part->http.request.method = method_names[part->step->config->method];
    if (rc == 0)
        rc = set_headers(part, values, err);
    return rc == 0 ? set_body(part, values, err) : rc;
}
