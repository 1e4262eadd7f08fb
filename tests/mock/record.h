/* record.h - what is remembered of single requests: when the clients of those in flight went away, and all
 * that came with those that want it.
 *
 * Both are rings, of RECORD_GONE_MAX and RECORD_REQUESTS_MAX: the oldest are forgotten.
 * Threads: none.  Keys are those of tally_hash; 0 as a question is any. */
#pragma once

#include "text.h"

#define RECORD_GONE_MAX      8192
#define RECORD_REQUESTS_MAX  128
#define RECORD_REQUEST_BYTES 4096 /* a longer one is not remembered */

/* The client of a request with this key has gone at `at_ns` (loop_now_ns). */
void record_gone(uint64_t key, int64_t at_ns);

/* `json` is copied. */
void record_request(uint64_t key, struct slice json);

/* Adds the items of a JSON array, oldest first: microseconds, as CLOCK_MONOTONIC counts them; requests. */
void record_add_gone(struct text *text, uint64_t key);
void record_add_requests(struct text *text, uint64_t key);
