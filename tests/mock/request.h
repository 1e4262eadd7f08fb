/* request.h - the head of an HTTP/1 request, read where it lies.
 *
 * Ownership: the slices point into the bytes that were given and live as long as those. */
#pragma once

#include "text.h"

#define REQUEST_HEAD_MAX 8192
#define REQUEST_BODY_MAX 32768 /* that are shown; longer ones are read and thrown away */

struct request {
    struct slice method;
    struct slice path;
    struct slice query;   /* without the question mark */
    struct slice headers; /* lines, each ended by CR LF */
    struct slice body;    /* set by who has read it; `at` is NULL when nobody has */
    uint64_t content_length;
    bool keep_alive;
    bool old; /* HTTP/1.0 */
    bool chunked;
    bool expects_continue;
};

/* Returns the length of the head that `data` begins with; 0 when it is not all there yet; or, when it never
 * will be one, the HTTP status to answer with, negated. */
int request_parse(const char *data, size_t len, struct request *ret_request);

/* Takes the next header off `*lines`, the value without blanks around it. False at the end and at a bad line.
 */
bool request_next_header(struct slice *lines, struct slice *ret_name, struct slice *ret_value);

/* Adds the request as JSON: method, path, query, headers, the size of its body, and the body when it is
 * here. */
void request_add_json(const struct request *request, struct text *text);
