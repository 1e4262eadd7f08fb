/* answer.h - what an endpoint answers: JSON, the status, and the headers that say what came of each part.
 *
 * Threads: any, after the part or the run has ended. */
#pragma once

#include "base/buf.h"
#include "gather/plan.h"

/* 200, or what the required parts have decided: 422 a value of the client's cannot stand where it was to go,
 * 502 an upstream has failed, 504 the time was over, 503 refused (overloaded, circuit open) or cancelled.
 * With several the most lasting counts, in this order.  A skipped part counts as the one that it was skipped
 * for.  Modes `first` and `quorum` without enough successes: the same over all parts that failed. */
int answer_status(const struct plan_run *run);

/* When to come again after a 503, in seconds, at least 1. */
uint64_t answer_retry_after_s(const struct plan_run *run);

/* Appends {"parts": {...}, "complete", "errors": {...}, "total_time"}; `errors` has an object for each part
 * that failed: {"reason", "error", "status", "attempts", "elapsed"}, the last three where there are any.
 * Parts that were cancelled because it was enough are in neither.  With `merge: flat` one object with the
 * members of all parts and, when something has failed, `complete` and `errors` beside them. */
void answer_append_json(struct buf *out, const struct plan_run *run, uint64_t total_ns);

/* Appends what is streamed: one event a part {"part", "value", "elapsed"} or {"part", "reason", "error",
 * "status", "attempts", "elapsed"}, and the last one {"complete", "errors": {...}, "status", "total_time"}.
 * Values are not merged. */
void answer_append_part_event(struct buf *out, const struct plan_run *run, size_t index);
void answer_append_summary_event(struct buf *out, const struct plan_run *run, uint64_t total_ns);

/* Server-Timing, an entry a part: `profile;dur=12.3, orders;dur=1000.0;desc="timeout"`; cut after whole
 * entries, with `more;desc="N"` in place of what does not fit.  Returns the length. */
#define ANSWER_TIMING_SIZE 1024
size_t answer_format_server_timing(const struct plan_run *run, char ret[ANSWER_TIMING_SIZE]);

/* Proxy-Status (RFC 9209), an entry a failed part, but for skipped ones:
 * `heddle; error=http_response_timeout; details="orders: ..."` with the error types of its section 2.3, and
 * `received-status=503` where the upstream has answered; cut in the same way, without a word.  Returns the
 * length, 0: nothing has failed. */
#define ANSWER_PROXY_STATUS_SIZE 1024
size_t answer_format_proxy_status(const struct plan_run *run, char ret[ANSWER_PROXY_STATUS_SIZE]);
