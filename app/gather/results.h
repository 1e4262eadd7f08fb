/* results.h - what a fan-out over URLs (url_list.h) has brought, as JSON.
 *
 * Threads: any, after the gather's `done`, or for one result after the end of its part. */
#pragma once

#include "base/buf.h"
#include "gather/gather.h"

/* What has to be kept of a body for so many characters of its content. */
must_check size_t gather_keep_bytes(size_t content_chars);

/* Appends {"results": [{"url", "status", "content", "elapsed"}, ...], "total_time"} in the order in which
 * the parts ended; a part that failed has "error" and "reason" in place of its content, and a status only if
 * there was an answer.  Sets out->failed when it does not fit or memory is short. */
void gather_append_results(struct buf *out, const struct gather *gather, size_t content_chars,
                           uint64_t total_ns);

/* Appends one of these results. */
void gather_append_result(struct buf *out, const struct part *part, size_t content_chars);
