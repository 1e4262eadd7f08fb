/* json_pointer.h - places in JSON values (RFC 6901), and which members of an object are shown.
 *
 * Threads: any. */
#pragma once

#include <jansson.h>

#include "base/common.h"
#include "base/err.h"

#define JSON_POINTER_MAX_BYTES 1024

/* 0 when `pointer` is "" or begins with a slash, every ~ is ~0 or ~1, and it is not too long. */
must_check int json_pointer_check(const char *pointer, struct err *err);

/* The place in `json`, borrowed; NULL when there is none.  "-" and array indexes with leading zeros, signs or
 * more digits than an index can have are no place.  The pointer has been checked. */
json_t *json_pointer_get(const json_t *json, const char *pointer);
