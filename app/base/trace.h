/* trace.h - W3C trace context: the header `traceparent` of what is called on somebody's behalf.
 *
 * Threads: any. */
#pragma once

#include "base/common.h"

/* "00-", 32 digits, "-", 16 digits, "-01", and NUL. */
#define TRACE_PARENT_SIZE 56

/* The header for a call made on behalf of `parent`: the same trace and flags with a new span, or, when
 * `parent` is not a traceparent of version 00 (""), a new trace.  Cheap.  Returns 0, or -errno when the
 * system has no random bytes. */
must_check int trace_continue(const char *parent, char ret[TRACE_PARENT_SIZE]);
