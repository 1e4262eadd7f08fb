#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "gather/plan_int.h"

/* Of the time for the answer a tenth is kept to write it, but not more than this. */
#define RESERVE_MAX_NS (50 * NS_PER_MS)
#define RESERVE_SHARE  10

/* What one part may bring for the request of another: that alone becomes a tree. */
#define PLACE_MAX_BYTES ((size_t)64 * 1024)

/* ---- time ---- */

static uint64_t parts_deadline_ns(uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns();

    if (deadline_ns == CLOCK_NEVER || deadline_ns <= now_ns)
        return deadline_ns;
    return deadline_ns - MIN((deadline_ns - now_ns) / RESERVE_SHARE, RESERVE_MAX_NS);
}

uint64_t plan_part_deadline_ns(const struct plan_part *part)
{
    uint64_t timeout_ms = part->step->config->timeout_ms;

    if (timeout_ms == 0)
        return part->run->deadline_ns;
    return MIN(part->run->deadline_ns, clock_deadline_ns(clock_now_ns(), timeout_ms));
}

/* ---- values for templates ---- */

static const struct plan_part *find_part(const struct plan_run *run, const char *name)
{
    for (size_t i = 0; i < run->plan->step_count; i++)
        if (strcmp(run->plan->steps[i].config->name, name) == 0)
            return &run->parts[i];
    return NULL;
}

static bool is_number(struct json_piece json)
{
    return json.text[0] == '-' || (json.text[0] >= '0' && json.text[0] <= '9');
}

/* An integer that is too large for a tree goes on as it is written. */
static json_t *load(struct json_piece json)
{
    json_t *value = json_loadb(json.text, json.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    if (!value && is_number(json))
        value = json_stringn_nocheck(json.text, json.size);
    if (!value)
        value = json_loadb(json.text, json.size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                           NULL);
    return value;
}

static const json_t *keep(struct plan_values *values, json_t *value)
{
    if (!values->kept)
        values->kept = json_array();
    if (!value || json_array_append_new(values->kept, value) < 0)
        return NULL;
    return value;
}

static json_t *load_text(const struct part_bytes *bytes)
{
    cleanup(buf_done) struct buf text = BUF_INIT(PLACE_MAX_BYTES * 3);

    if (bytes->size > PLACE_MAX_BYTES)
        return NULL;
    text_decode_prefix(bytes->charset, bytes->data, bytes->size, bytes->is_whole, SIZE_MAX, &text);
    return text.failed ? NULL : json_stringn_nocheck(text.size > 0 ? text.data : "", text.size);
}

static const json_t *lookup_in_part(struct plan_values *values, const struct template_place *place)
{
    const struct plan_part *part = find_part(values->run, place->name);
    struct json_piece json;

    if (!part || part->part.state != PART_OK)
        return NULL;
    if (part->value.json.size == 0)
        return place->pointer[0] == '\0' ? keep(values, load_text(&part->value.bytes)) : NULL;
    if (!json_text_find(part->value.json, place->pointer, &json) || json.size > PLACE_MAX_BYTES)
        return NULL;
    return keep(values, load(json));
}

const json_t *plan_values_lookup(const struct template_place *place, void *arg)
{
    struct plan_values *values = arg;

    values->last = place;
    if (place->source == TEMPLATE_PART)
        return lookup_in_part(values, place);
    return arguments_lookup(values->run->options.arguments, place);
}

void plan_values_done(struct plan_values *values)
{
    json_decref(values->kept);
}

/* ---- what came of a part ---- */

/* Made readable, for others have written it, and cut between characters. */
void plan_part_fail(struct plan_part *part, const char *reason, const char *error)
{
    cleanup(buf_done) struct buf text = BUF_INIT(sizeof(part->error) * 3 + 1);

    text_utf8_mend(error, strnlen(error, sizeof(part->error) - 1), &text);
    buf_append(&text, "", 1);
    size_t size = MIN(text.size, sizeof(part->error)) - (text.size > 0);
    while (size > 0 && ((unsigned char)text.data[size] & 0xc0) == 0x80)
        size--;
    memcpy(part->error, text.data, size);
    part->error[size] = '\0';
    part->reason = reason;
}

bool plan_part_read(struct plan_part *part, const struct part_bytes *bytes)
{
    bool is_merged = part->run->plan->endpoint->merge == MERGE_FLAT;
    struct err err = {0};
    const char *reason = part_value_read(part->step->config, is_merged, bytes, &part->value, &err);

    if (reason)
        plan_part_fail(part, reason, err.text);
    return !reason;
}

/* Parts that never ran do not know why. */
static void explain(struct plan_part *part)
{
    char error[FETCH_ERROR_SIZE];

    if (part->part.state == PART_SKIPPED) {
        snprintf(error, sizeof(error), "not started: %s has not succeeded",
                 plan_part_of(part->part.cause)->step->config->name);
        plan_part_fail(part, "skipped", error);
    } else if (part->part.state == PART_CANCELLED && !part->reason) {
        part->fetch_reason = FETCH_CANCELLED;
        plan_part_fail(part, fetch_reason_names[FETCH_CANCELLED], "cancelled before it began");
    }
}

struct part_outcome plan_part_outcome(const struct plan_run *run, size_t index)
{
    const struct plan_part *part = &run->parts[index];
    const struct part *state = &part->part;

    assert(index < run->plan->step_count);
    return (struct part_outcome){
        .config = part->step->config,
        .state = state->state == PART_OK && part->reason ? PART_FAILED : state->state,
        .reason = part->reason,
        .fetch_reason = part->fetch_reason,
        .error = part->error,
        .is_clients_fault = part->is_clients_fault,
        .status = part->status,
        .attempts = part->attempts,
        .is_coalesced = part->is_coalesced,
        .is_hedged = part->is_hedged,
        .elapsed_ns = state->started_ns > 0 ? state->ended_ns - state->started_ns : 0,
        .retry_after_s = part->retry_after_s,
        .value = part->reason ? NULL : &part->value,
    };
}

/* ---- the run ---- */

static size_t enough(const struct config_endpoint *endpoint)
{
    return endpoint->mode == MODE_FIRST ? 1 : endpoint->mode == MODE_QUORUM ? endpoint->quorum : 0;
}

bool plan_run_is_complete(const struct plan_run *run)
{
    size_t needed = enough(run->plan->endpoint);
    size_t count = 0;

    for (size_t i = 0; i < run->plan->step_count; i++)
        count += run->parts[i].part.state == PART_OK && !run->parts[i].reason;
    return count >= (needed > 0 ? needed : run->plan->step_count);
}

static void on_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct plan_run *run = arg;

    explain(plan_part_of(part));
    if (run->options.part_ended)
        run->options.part_ended(gather, part, run->options.arg);
}

static void on_done(struct gather *gather, void *arg)
{
    struct plan_run *run = arg;

    (void)gather;
    if (run->plan->endpoint->merge == MERGE_FLAT)
        merge_find_duplicates(run);
    run->options.done(run, run->options.arg);
}

static void free_run(struct plan_run *run)
{
    for (size_t i = 0; i < run->plan->step_count; i++)
        run->plan->steps[i].kind->part_done(&run->parts[i]);
    for (size_t i = 0; run->forwarded && i < run->plan->forward_count; i++)
        free(run->forwarded[i]);
    free(run->forwarded);
    free(run->traceparent);
    free(run->request_id);
    free(run->pointers);
    free(run);
}

static void on_release(void *arg)
{
    struct plan_run *run = arg;
    void (*release)(void *arg) = run->options.release;
    void *release_arg = run->options.arg;

    arguments_free(run->options.arguments);
    free_run(run);
    if (release)
        release(release_arg);
}

/* ---- making one ---- */

/* One that there is none of, or that cannot be sent on, is left out. */
static int copy_header(const char *name, const char *value, char **ret_line, struct err *err)
{
    if (!value || fetch_header_check(name, value, NULL) < 0)
        return 0;
    if (asprintf(ret_line, "%s: %s", name, value) >= 0)
        return 0;
    *ret_line = NULL;
    return err_set(err, -ENOMEM, "out of memory");
}

static int copy_client(struct plan_run *run, const struct plan_client *client, struct err *err)
{
    const struct plan *plan = run->plan;

    run->traceparent = strdup(client->traceparent);
    run->forwarded = calloc(plan->forward_count + 1, sizeof(run->forwarded[0]));
    if (!run->traceparent || !run->forwarded)
        return err_set(err, -ENOMEM, "out of memory");
    int rc = copy_header("X-Request-Id", client->request_id, &run->request_id, err);
    for (size_t i = 0; client->header && i < plan->forward_count && rc == 0; i++) {
        const char *value = client->header(client->arg, plan->forwards[i]);
        rc = copy_header(plan->forwards[i], value, &run->forwarded[i], err);
    }
    return rc;
}

static int create_gather(struct plan_run *run, struct err *err)
{
    const struct plan *plan = run->plan;
    const struct gather_options options = {
        .parts = run->pointers,
        .count = plan->step_count,
        .enough = enough(plan->endpoint),
        .part_ended = on_part_ended,
        .done = on_done,
        .release = on_release,
        .arg = run,
    };

    for (size_t i = 0; i < plan->step_count; i++) {
        struct plan_part *part = &run->parts[i];
        run->pointers[i] = &part->part;
        part->run = run;
        part->step = &plan->steps[i];
        part->part.ops = &plan->steps[i].kind->ops;
        part->part.after = plan->steps[i].config->waits_for;
        part->part.after_count = plan->steps[i].config->waits_for_count;
    }
    return gather_create(&options, &run->gather, err);
}

int plan_run_create(const struct plan *plan, struct plan_run_options *options, struct plan_run **ret_run,
                    struct err *err)
{
    struct plan_run *run = calloc(1, sizeof(*run) + plan->step_count * sizeof(run->parts[0]));

    if (!run || !(run->pointers = calloc(plan->step_count + 1, sizeof(run->pointers[0])))) {
        free(run);
        return err_set(err, -ENOMEM, "out of memory");
    }
    run->plan = plan;
    run->options = *options;
    run->deadline_ns = parts_deadline_ns(options->client.deadline_ns);
    budget_init(&run->budget, plan->process_budget, plan->endpoint->max_response_bytes);
    int rc = copy_client(run, &options->client, err);
    if (rc == 0)
        rc = create_gather(run, err);
    if (rc < 0) {
        free_run(run);
        return rc;
    }
    *ret_run = run;
    return 0;
}

struct gather *plan_run_gather(const struct plan_run *run)
{
    return run->gather;
}

const struct plan *plan_run_plan(const struct plan_run *run)
{
    return run->plan;
}
