/* arguments.h - what a client's request brings for an endpoint: looked at once, checked, then put into
 * parts.
 *
 * How to use it: arguments_rules_create when the endpoint is made ready; for each request arguments_create
 * with a reader of it, and arguments_lookup for templates.
 * Threads: rules and arguments never change after they have been created, and may be read by all.
 * Ownership: arguments copy what they need of the request.  Rules lend the endpoint, arguments their rules.
 */
#pragma once

#include "base/template.h"
#include "config/config.h"

/* Which values an endpoint takes from a request, and what they have to be. */
struct arguments_rules;

/* For every place that is named in `places` (all of all templates of the endpoint's plan; those that mean
 * parts are passed over) and every row of endpoint->params.  A value must be given unless its row or each
 * of its placeholders has a default.  Returns 0, -EINVAL with a text when a name or a row cannot be (a
 * checked configuration has none such), or -ENOMEM. */
must_check int arguments_rules_create(const struct config_endpoint *endpoint,
                                      const struct template_place *const *places, size_t place_count,
                                      struct arguments_rules **ret, struct err *err);
void arguments_rules_free(struct arguments_rules *rules);

/* How the values of a request are found; texts are lent for the call. */
struct request_reader {
    void *arg;
    /* The i-th path parameter of the endpoint's path, decoded; never NULL. */
    const char *(*path_arg)(void *arg, size_t i);
    const char *(*query)(void *arg);                    /* raw, NULL: none */
    const char *(*header)(void *arg, const char *name); /* NULL: none */
    const char *(*body)(void *arg, size_t *ret_size);   /* with its content type among the headers */
};

/* What is wrong with a request. */
struct arguments_problem {
    int status; /* 400 for a body that is no JSON, 415, 422 for a value that is not what its row asks, 503 */
    const char *name; /* of the parameter as placeholders say it, "" for the body as a whole; the rules' */
    char text[512];   /* for the client, valid UTF-8 */
};

struct arguments;

/* Reads and checks all values: types, patterns, limits, what is missing.  What the rules do not ask for is
 * not looked at.  With a row integers, booleans and strings are that; numbers are integers when they are
 * written so, else reals.  Without a row all are strings, but what the body holds stays as it is.  A null
 * of the body is no value where there is a row.  Texts must be valid UTF-8.  A body without a byte is no
 * error by itself.  Returns 0, or -1 with `ret_problem` set. */
must_check int arguments_create(const struct arguments_rules *rules, const struct request_reader *reader,
                                struct arguments **ret, struct arguments_problem *ret_problem);
void arguments_free(struct arguments *arguments);

/* The value of a place that does not mean a part, or the default of its row; NULL: none was given, and its
 * placeholder has a default. */
const json_t *arguments_lookup(const struct arguments *arguments, const struct template_place *place);
