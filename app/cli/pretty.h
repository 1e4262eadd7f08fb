/* pretty.h - JSON with line breaks and indentation, for people.
 *
 * Threads: any.  Ownership: lent for the call. */
#pragma once

#include "base/buf.h"

/* Appends valid JSON, of any depth, with two blanks for each level; texts and numbers stay as they are
 * written. */
void json_append_pretty(struct buf *out, const char *json, size_t size);
