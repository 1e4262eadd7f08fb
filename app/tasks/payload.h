/* payload.h - what the checks and steps of kinds share: reading a payload, and saying what came of it.
 *
 * Threads: any.  Ownership: all is lent for the call; results are the caller's. */
#pragma once

#include "base/common.h"
#include "tasks/kind.h"

/* Drops what nobody reads, so that it is not kept: all members but those named; NULL behind the last. */
void task_payload_keep(json_t *payload, const char *const *names);

/* The text of a member, NULL when there is none.  Returns 0, or -EINVAL for what is no string or has U+0000
 * in it. */
must_check int task_payload_text(const json_t *payload, const char *field, const char **ret,
                                 struct task_problem *problem);

/* The whole number of a member from `min` to `max`; *ret is left alone when there is none. */
must_check int task_payload_number(const json_t *payload, const char *field, uint64_t min, uint64_t max,
                                   uint64_t *ret, struct task_problem *problem);

/* 0 when tasks may call the URL in a member, or in the list that the member is; `what` names it in the text:
 * "url", "urls[3]". */
must_check int task_payload_check_url(const struct config *config, const char *field, const char *what,
                                      const char *url, struct task_problem *problem);

/* Sets run->error, cut between characters when it is long, and is_final.  Returns TASK_STEP_FAILED. */
enum task_step task_run_fail(struct task_run *run, bool is_final, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets run->result, which may be NULL: memory was short.  Returns TASK_STEP_DONE or _FAILED. */
enum task_step task_run_done(struct task_run *run, json_t *result);

/* Bytes from outside as a value of a result: valid UTF-8, and cut between characters when they would take
 * more than `max_bytes` (at least 2) as JSON.  `is_whole` is false when there was more of them.  NULL without
 * memory. */
must_check json_t *task_result_text(const char *charset, const char *bytes, size_t size, bool is_whole,
                                    size_t max_bytes, bool *ret_is_cut);

/* Bytes that should be JSON as a value; NULL when they are none, are too deep for us, have something in them
 * that we keep out of JSON, take more than `max_bytes`, or memory is short. */
must_check json_t *task_result_json(const char *bytes, size_t size, size_t max_bytes);
