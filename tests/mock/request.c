#include "request.h"

#include <strings.h>

/* ---- the headers that matter here ---- */

static bool read_connection(struct request *request, struct slice value)
{
    if (value.len == 5 && strncasecmp(value.at, "close", 5) == 0) {
        request->keep_alive = false;
    } else if (value.len == 10 && strncasecmp(value.at, "keep-alive", 10) == 0) {
        request->keep_alive = true;
    }
    return true;
}

static bool read_content_length(struct request *request, struct slice value)
{
    return slice_to_number(value, INT64_MAX, &request->content_length);
}

static bool read_transfer_encoding(struct request *request, struct slice value)
{
    (void)value;
    request->chunked = true;
    return true;
}

static bool read_expect(struct request *request, struct slice value)
{
    request->expects_continue = value.len == 12 && strncasecmp(value.at, "100-continue", 12) == 0;
    return request->expects_continue;
}

static const struct known_header {
    struct slice name;
    bool (*read)(struct request *request, struct slice value);
} known_headers[] = {
    {{"connection", 10}, read_connection},
    {{"content-length", 14}, read_content_length},
    {{"transfer-encoding", 17}, read_transfer_encoding},
    {{"expect", 6}, read_expect},
};

static bool read_header(struct request *request, struct slice name, struct slice value)
{
    for (size_t i = 0; i < sizeof known_headers / sizeof *known_headers; i++) {
        const struct known_header *known = &known_headers[i];
        if (known->name.len == name.len && strncasecmp(known->name.at, name.at, name.len) == 0) {
            return known->read(request, value);
        }
    }
    return true;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

bool request_next_header(struct slice *lines, struct slice *ret_name, struct slice *ret_value)
{
    struct slice value = slice_take(lines, '\n');
    struct slice name = slice_take(&value, ':');
    if (name.len == 0 || value.len == 0) { /* without a colon not even the CR is left for the value */
        return false;
    }
    while (value.len > 0 && is_blank(value.at[0])) {
        value.at++;
        value.len--;
    }
    while (value.len > 0 && is_blank(value.at[value.len - 1])) {
        value.len--;
    }
    *ret_name = name;
    *ret_value = value;
    return true;
}

static bool read_headers(struct request *request)
{
    struct slice lines = request->headers;
    while (lines.len > 0) {
        struct slice name, value;
        if (!request_next_header(&lines, &name, &value) || !read_header(request, name, value)) {
            return false;
        }
    }
    return true;
}

/* ---- the request line ---- */

static int read_request_line(struct request *request, struct slice line)
{
    request->method = slice_take(&line, ' ');
    struct slice target = slice_take(&line, ' ');
    if (request->method.len == 0 || target.len == 0 || (target.at[0] != '/' && target.at[0] != '*')) {
        return -400;
    }
    if (!slice_is(line, SLICE("HTTP/1.1\r")) && !slice_is(line, SLICE("HTTP/1.0\r"))) {
        return line.len > 5 && memcmp(line.at, "HTTP/", 5) == 0 ? -505 : -400;
    }
    request->path = slice_take(&target, '?');
    request->query = target;
    request->old = line.at[7] == '0';
    request->keep_alive = !request->old;
    return 0;
}

int request_parse(const char *data, size_t len, struct request *ret_request)
{
    const char *end = memmem(data, len < REQUEST_HEAD_MAX ? len : REQUEST_HEAD_MAX, "\r\n\r\n", 4);
    if (!end) {
        return len < REQUEST_HEAD_MAX ? 0 : -431;
    }
    *ret_request = (struct request){.headers = {data, (size_t)(end - data) + 2}};
    int status = read_request_line(ret_request, slice_take(&ret_request->headers, '\n'));
    if (status == 0 && !read_headers(ret_request)) {
        status = -400;
    }
    if (status == 0 && ret_request->chunked) {
        status = -411;
    }
    return status < 0 ? status : (int)(end - data) + 4;
}

/* ---- showing it ---- */

void request_add_json(const struct request *request, struct text *text)
{
    text_add(text, SLICE("{\"method\":"));
    text_add_json(text, request->method);
    text_add(text, SLICE(",\"path\":"));
    text_add_json(text, request->path);
    text_add(text, SLICE(",\"query\":"));
    text_add_json(text, request->query);
    text_add(text, SLICE(",\"headers\":{"));
    struct slice lines = request->headers, name, value;
    for (bool first = true; request_next_header(&lines, &name, &value); first = false) {
        text_add(text, first ? SLICE("") : SLICE(","));
        text_add_json(text, name);
        text_add(text, SLICE(":"));
        text_add_json(text, value);
    }
    text_add_member(text, SLICE("},\"body_size\":"), request->content_length);
    text_add(text, SLICE(",\"body\":"));
    if (request->body.at) {
        text_add_json(text, request->body);
    } else {
        text_add(text, SLICE("null"));
    }
    text_add(text, SLICE("}\n"));
}
