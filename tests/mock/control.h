/* control.h - what a process tells of itself, and is told, by paths that begin with an underscore.
 *
 *     GET  /_stats               its counters
 *     GET  /_count?key=k         how many requests had this key
 *     GET  /_gone?key=k          when clients went away from requests with this key (or path), in
 * microseconds
 *     GET  /_requests?key=k      the requests with this key (or path) that had record=1
 *     POST /_mode?PARAMETERS     from now on all requests are answered as if these stood in their query, too;
 *                                none: as before
 *
 * Answers are JSON.  None of these requests is counted, and the mode does not touch them. */
#pragma once

#include "params.h"
#include "reply.h"

/* False: the path is none of these.  Otherwise adds the answer's body and sets its status. */
bool control_answer(const struct request *request, const struct stats *stats, struct text *text,
                    unsigned *ret_status);

/* Reads what the request and the mode ask for. */
bool control_parse(struct params *params, const struct request *request, struct text *ret_wrong);
