/* accept.h - in which of its forms an answer is wanted (RFC 9110, section 12.5.1).
 *
 * Threads: any.  Nothing here allocates. */
#pragma once

#include "base/common.h"

enum reply_format {
    REPLY_JSON,   /* all at once */
    REPLY_NDJSON, /* a line for each part as it ends, and a last one */
    REPLY_EVENTS, /* the same as Server-Sent Events */
    REPLY_FORMAT_COUNT,
};

extern const char *const reply_format_types[REPLY_FORMAT_COUNT];

/* The form that an Accept header likes best, JSON for NULL and ""; REPLY_FORMAT_COUNT when it takes none of
 * them.  Of those it likes alike the one that it names counts before what fits a range, then the first of
 * several, then JSON.  What is malformed in it is passed over. */
must_check enum reply_format accept_choose(const char *accept);
