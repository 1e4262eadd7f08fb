/* answer.h - what an endpoint answers: JSON, the status, and the headers that say what came of each part.
 *
 * Threads: any, after the part or the run has ended. */
#pragma once

#include "base/buf.h"
#include "gather/plan.h"

/* 200, or what the required parts have decided: 502 an upstream has failed, 504 the time was over, 503 refused
 * (overloaded, circuit open).  With several the most lasting counts: 502, then 504, then 503.  Modes `first` and
 * `quorum` without enough successes: the same over all parts that failed. */
int answer_status(const struct plan_run *run);

/* When to come again after a 503, in seconds, at least 1. */
uint64_t answer_retry_after_s(const struct plan_run *run);

/* Appends {"parts": {...}, "complete", "errors": {...}, "total_time"}, or with `merge: flat` one object with the
 * members of all parts and, when something has failed, `errors` and `complete` beside them.  A key that two
 * parts bring is an error of the later part in the configuration: reason "duplicate_key". */
void answer_append_json(struct buf *out, const struct plan_run *run, uint64_t total_ns);

/* Appends what is streamed: one event a part {"part", "value" | "error", "reason", "status", "attempts",
 * "elapsed"} and the last one {"complete", "errors": {...}, "status", "total_time"}. */
void answer_append_part_event(struct buf *out, const struct plan_run *run, size_t index);
void answer_append_summary_event(struct buf *out, const struct plan_run *run, uint64_t total_ns);

/* Server-Timing, an entry a part: `profile;dur=12.3, orders;dur=1000.0;desc="timeout"`; cut after whole entries,
 * with `more;desc="N"` in place of what does not fit.  Returns the length. */
#define ANSWER_TIMING_SIZE 1024
size_t answer_format_server_timing(const struct plan_run *run, char ret[ANSWER_TIMING_SIZE]);

/* Proxy-Status (RFC 9209), an entry a failed part: `heddle; error=http_request_error; details="profile: ..."`
 * with the error types of its section 2.3; cut in the same way.  Returns the length, 0: nothing has failed. */
#define ANSWER_PROXY_STATUS_SIZE 1024
size_t answer_format_proxy_status(const struct plan_run *run, char ret[ANSWER_PROXY_STATUS_SIZE]);
