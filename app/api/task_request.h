/* task_request.h - one JSON object, as a client sends it, to a task that can be submitted.
 *
 *     {"kind", "payload", "queue", "priority" (0 to 9, 0 first), "delay" or "run_at", "timeout",
 *      "max_attempts", "backoff": {"base", "factor", "max", "jitter"}, "unique_key",
 *      "on_unique": "reject", "return" or "replace", "tenant", "tags", "callback": {"url"}}
 *
 * All but `kind` may be left out.  Times to wait are seconds (numbers) or texts as in the configuration
 * ("250ms"); `run_at` is RFC 3339.  A member that is unknown or wrong is refused by its name.
 * Threads: any.  Ownership: everything handed in is lent for the call, but for the JSON. */
#pragma once

#include <jansson.h>

#include "api/headers.h"
#include "tasks/engine.h"

/* Why an object was refused. */
struct task_refusal {
    int status;     /* of HTTP: 422, 413 for a payload that is too large, 500, 503 */
    char field[96]; /* the member's name, such as `backoff.base`; "" when it is about none */
    char text[512]; /* for the client, valid UTF-8 */
};

/* Sets it to what json_parse_body and the like have refused. */
void task_refusal_set_parse(struct task_refusal *ret, const char *field, const struct err *err);

struct task_reading {
    struct task_engine *engine;
    const char *traceparent; /* "" when there is none */
    uint64_t now_ms;         /* wall clock: `delay` counts from it */
};

/* Makes the submission that `json` (an object, which it takes) asks for, with a task of its own.  Returns 0,
 * or -EINVAL with `ret_refusal` set and ret->task NULL. */
must_check int task_request_read(const struct task_reading *reading, json_t *json,
                                 struct task_submission *ret, struct task_refusal *ret_refusal);

/* The same for JSON text: what json_parse_body refuses has status 400. */
must_check int task_request_parse(const struct task_reading *reading, const char *text, size_t size,
                                  struct task_submission *ret, struct task_refusal *ret_refusal);

/* The same for a task of `kind` with this payload (which it takes), that says nothing more.  A problem with
 * the payload is set as the kind reports it. */
must_check int task_request_of_payload(const struct task_reading *reading, const struct task_kind *kind,
                                       json_t *payload, struct task_submission *ret,
                                       struct task_problem *ret_problem, struct task_refusal *ret_refusal);

/* Reads what a client wants to change of a task that waits: {"queue", "priority", "delay" or "run_at"}, at
 * least one.  `json` is taken.  Sets the members of `ret` that say so. */
must_check int task_request_read_change(const struct task_reading *reading, json_t *json,
                                        struct task_wish *ret, struct task_refusal *ret_refusal);
