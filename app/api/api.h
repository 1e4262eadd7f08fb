/* api.h - the table of routes: every path the program answers, and its handler.
 *
 * A new handler is a function `void name(struct request *req)` in the file of its resource, declared in
 * api_int.h, and a row in api.c. */
#pragma once

#include "front/router.h"

extern const struct route api_routes[];
extern const size_t api_route_count;
