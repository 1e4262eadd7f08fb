/* plan_http.h - what the two files of parts that are calls share. */
#pragma once

#include "gather/plan_int.h"

/* The URL of a part: the upstream's base_url, and behind it path and query with the values in their places, all
 * escaped, so that none can change where it leads. */
must_check int http_step_make_target(const struct plan_step *step, struct plan_values *values,
                                     struct fetch_target **ret_target, struct err *err);

void http_parts_start(struct part **parts, size_t count);
void http_part_cancel(struct part *part);
void http_part_done(struct plan_part *part);
