/* plan_http.h - what the files of parts that are calls share. */
#pragma once

#include "gather/plan_int.h"

/* The URL of a part: the upstream's base_url, and behind it path and query with the values in their places,
 * all escaped, so that none can change where it leads. */
must_check int http_step_make_target(const struct plan_step *step, struct plan_values *values,
                                     struct fetch_target **ret_target, struct err *err);

/* Fills in the target and the request of the part's call.  -EINVAL or -ERANGE when a value cannot stand where
 * it is to go: values->last; -ENOMEM.  Either way http_part_done frees what it has made. */
must_check int http_request_make(struct plan_part *part, struct plan_values *values, struct err *err);

/* Names of a query are escaped.  `ret` is for http_pairs_done also when it fails. */
must_check int http_pairs_compile(const struct config_pairs *config, bool is_query, struct plan_pairs *ret,
                                  struct err *err);
void http_pairs_done(struct plan_pairs *pairs);
/* In any case. */
bool http_pairs_have(const struct plan_pairs *pairs, const char *name);

void http_parts_start(struct part **parts, size_t count);
void http_part_cancel(struct part *part);
void http_part_done(struct plan_part *part);
