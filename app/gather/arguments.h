/* arguments.h - what a client's request brings for an endpoint: looked at once, checked, then put into parts.
 *
 * How to use it: arguments_create with a reader of the request; arguments_lookup for templates.
 * Threads: created by one; afterwards it never changes and may be read by all.
 * Ownership: it copies what it needs of the request. */
#pragma once

#include "base/template.h"
#include "config/config.h"

/* How the values of a request are found; texts are lent for the call. */
struct request_reader {
    void *arg;
    /* The i-th path parameter of the endpoint's path, decoded; never NULL. */
    const char *(*path_arg)(void *arg, size_t i);
    const char *(*query)(void *arg);                     /* raw, NULL: none */
    const char *(*header)(void *arg, const char *name);  /* NULL: none */
    const char *(*body)(void *arg, size_t *ret_size);    /* with its content type among the headers */
};

/* What is wrong with a request. */
struct arguments_problem {
    int status;     /* 400 for a body that is no JSON, 413, 415, 422 for a value that is not what its row asks, 503 */
    char name[64];  /* of the parameter as placeholders say it, "" for the body as a whole */
    char text[256]; /* for the client */
};

struct arguments;

/* Reads every place that is named in `places` (all templates of the endpoint's plan, those that mean parts are
 * passed over) and every row of endpoint->params, and checks them: types, patterns, limits, what is missing.
 * Defaults of rows count before those of placeholders.  Returns 0, or -1 with `ret_problem` set. */
must_check int arguments_create(const struct config_endpoint *endpoint,
                                const struct template_place *const *places, size_t place_count,
                                const struct request_reader *reader, struct arguments **ret,
                                struct arguments_problem *ret_problem);
void arguments_free(struct arguments *arguments);

/* The value of a place that does not mean a part; NULL: none was given, and it has a default. */
const json_t *arguments_lookup(const struct arguments *arguments, const struct template_place *place);
