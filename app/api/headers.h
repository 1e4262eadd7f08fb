/* headers.h - what clients say in the headers that requests understand; accept.h has one more.
 *
 * Threads: any.  Nothing here allocates.  Values are as the client sent them, NULL for an absent header; all
 * but Idempotency-Key and X-Request-Timeout are read leniently: what is malformed is passed over, as their
 * RFCs want it. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "tasks/task.h"

#define PREFER_WAIT_MAX_S 60

/* RFC 7240. */
struct prefer {
    unsigned wait_s; /* 0: not asked for; at most PREFER_WAIT_MAX_S */
    bool respond_async;
};

/* X-Request-Timeout: how long the client waits, as seconds ("1.5") or as the configuration has durations
 * ("800ms"); more than nothing.  -EINVAL or -ERANGE with a text for the client when it is not that. */
must_check int request_timeout_parse(const char *value, uint64_t *ret_ns, struct err *err);

/* Reads a Prefer header such as `respond-async, wait=10`. */
void prefer_parse(const char *value, struct prefer *ret);

/* What Preference-Applied says about it; "" when there was nothing that could be applied. */
#define PREFER_TEXT_SIZE 48
void prefer_format(const struct prefer *prefer, char ret_text[PREFER_TEXT_SIZE]);

/* An Idempotency-Key: 1 to TASK_KEY_MAX_BYTES bytes of printable ASCII. */
must_check bool idempotency_key_is_valid(const char *key);

/* W3C Trace Context: copies the part of `value` that every version has, "" when it is not valid. */
#define TRACEPARENT_SIZE 56
void traceparent_parse(const char *value, char ret_text[TRACEPARENT_SIZE]);

/* The entity tag of a task's version, with its quotes. */
#define ETAG_SIZE 16
void etag_format(unsigned version, char ret_text[ETAG_SIZE]);

/* If-None-Match: whether `value` names that version (weak comparison), or is `*`. */
must_check bool etag_is_named(const char *value, unsigned version);

/* If-Match: the version that the task must have.  -EINVAL when `value` is no list of entity tags.
 * TASK_VERSION_ANY for an absent header and `*`; a version that no task has when none of them can match; of
 * several that could the last counts. */
must_check int etag_wanted(const char *value, unsigned *ret_version);

/* Whether a list such as that of Connection (RFC 9110, section 5.6.1) has this name. */
must_check bool header_list_has(const char *list, const char *name);

/* The decimal number of an event; false for all else. */
must_check bool event_number_parse(const char *value, uint64_t *ret);
