#include "gather/answer.h"

#include <string.h>

#include "base/json.h"

static size_t part_count(const struct plan_run *run)
{
    return plan_endpoint(plan_run_plan(run))->part_count;
}

static bool has_succeeded(const struct part_outcome *outcome)
{
    return outcome->state == PART_OK;
}

/* Neither a success nor a failure: it was enough without it. */
static bool was_not_needed(const struct plan_run *run, const struct part_outcome *outcome)
{
    return outcome->state == PART_CANCELLED && plan_run_is_complete(run);
}

/* ---- the status ---- */

/* The most lasting first. */
static const int statuses[] = {422, 502, 504, 503};

static const int status_of_reasons[FETCH_REASON_COUNT] = {
    [FETCH_TIMEOUT] = 504,
    [FETCH_CANCELLED] = 503,
    [FETCH_OVERLOADED] = 503,
    [FETCH_CIRCUIT_OPEN] = 503,
};

static int status_of(const struct plan_run *run, size_t index)
{
    const struct part *part = gather_part(plan_run_gather(run), index);

    while (part->state == PART_SKIPPED)
        part = part->cause;
    struct part_outcome outcome = plan_part_outcome(run, part->index);
    if (outcome.is_clients_fault)
        return 422;
    return status_of_reasons[outcome.fetch_reason] != 0 ? status_of_reasons[outcome.fetch_reason] : 502;
}

/* Whether the part's failure is that of the whole. */
static bool decides(const struct plan_run *run, const struct part_outcome *outcome)
{
    enum config_mode mode = plan_endpoint(plan_run_plan(run))->mode;

    if (has_succeeded(outcome))
        return false;
    return mode == MODE_ALL ? outcome->config->is_required : !plan_run_is_complete(run);
}

int answer_status(const struct plan_run *run)
{
    size_t most_lasting = ARRAY_LEN(statuses);

    for (size_t i = 0; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        for (size_t j = 0; decides(run, &outcome) && j < most_lasting; j++)
            if (statuses[j] == status_of(run, i))
                most_lasting = j;
    }
    return most_lasting < ARRAY_LEN(statuses) ? statuses[most_lasting] : 200;
}

uint64_t answer_retry_after_s(const struct plan_run *run)
{
    uint64_t seconds = 1;

    for (size_t i = 0; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        if (decides(run, &outcome) && status_of(run, i) == 503)
            seconds = MAX(seconds, outcome.retry_after_s);
    }
    return seconds;
}

/* ---- JSON ---- */

static void append_string(struct buf *out, const char *text)
{
    json_append_string(out, text, strlen(text));
}

/* Members without braces. */
static void append_failure(struct buf *out, const struct part_outcome *outcome)
{
    buf_append_str(out, "\"reason\":");
    append_string(out, outcome->reason);
    buf_append_str(out, ",\"error\":");
    append_string(out, outcome->error);
    if (outcome->status != 0)
        buf_printf(out, ",\"status\":%d", outcome->status);
    if (outcome->elapsed_ns == 0)
        return;
    buf_printf(out, ",\"attempts\":%u,\"elapsed\":", outcome->attempts);
    json_append_seconds(out, outcome->elapsed_ns);
}

static void append_key(struct buf *out, bool *is_first, const char *name)
{
    if (!*is_first)
        buf_append_str(out, ",");
    *is_first = false;
    append_string(out, name);
    buf_append_str(out, ":");
}

static void append_values(struct buf *out, const struct plan_run *run)
{
    bool is_first = true;

    buf_append_str(out, "{");
    for (size_t i = 0; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        if (!has_succeeded(&outcome))
            continue;
        append_key(out, &is_first, outcome.config->name);
        part_value_append(out, outcome.config, outcome.value);
    }
    buf_append_str(out, "}");
}

/* Returns how many there are. */
static size_t append_errors(struct buf *out, const struct plan_run *run)
{
    bool is_first = true;
    size_t count = 0;

    buf_append_str(out, "{");
    for (size_t i = 0; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        if (has_succeeded(&outcome) || was_not_needed(run, &outcome))
            continue;
        append_key(out, &is_first, outcome.config->name);
        buf_append_str(out, "{");
        append_failure(out, &outcome);
        buf_append_str(out, "}");
        count++;
    }
    buf_append_str(out, "}");
    return count;
}

static void append_complete(struct buf *out, const struct plan_run *run)
{
    buf_printf(out, "\"complete\":%s,\"errors\":", plan_run_is_complete(run) ? "true" : "false");
}

static void append_total_time(struct buf *out, uint64_t total_ns)
{
    buf_append_str(out, ",\"total_time\":");
    json_append_seconds(out, total_ns);
}

/* ---- merged ---- */

/* Names that two parts bring have been refused by now. */
static void append_members(struct buf *out, const struct part_outcome *outcome, const char **separator)
{
    struct json_member member;

    for (size_t at = 0; part_value_next(outcome->config, outcome->value, &at, &member);) {
        buf_append_str(out, *separator);
        buf_append(out, member.name.text, member.name.size);
        buf_append_str(out, ":");
        buf_append(out, member.value.text, member.value.size);
        *separator = ",";
    }
}

static void append_flat(struct buf *out, const struct plan_run *run)
{
    const char *separator = "";

    buf_append_str(out, "{");
    for (size_t i = 0; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        if (has_succeeded(&outcome))
            append_members(out, &outcome, &separator);
    }
    size_t size = out->size;
    buf_append_str(out, separator);
    append_complete(out, run);
    if (append_errors(out, run) == 0 && !out->failed)
        out->size = size; /* all is well, nothing has to be said */
    buf_append_str(out, "}");
}

/* ---- answers and events ---- */

void answer_append_json(struct buf *out, const struct plan_run *run, uint64_t total_ns)
{
    if (plan_endpoint(plan_run_plan(run))->merge == MERGE_FLAT) {
        append_flat(out, run);
        return;
    }
    buf_append_str(out, "{\"parts\":");
    append_values(out, run);
    buf_append_str(out, ",");
    append_complete(out, run);
    append_errors(out, run);
    append_total_time(out, total_ns);
    buf_append_str(out, "}");
}

/* An event is a line.  Line breaks in JSON are white space: strings have none. */
static void append_in_a_line(struct buf *out, const struct part_outcome *outcome)
{
    size_t start = out->size;

    part_value_append(out, outcome->config, outcome->value);
    for (size_t i = start; i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
}

void answer_append_part_event(struct buf *out, const struct plan_run *run, size_t index)
{
    struct part_outcome outcome = plan_part_outcome(run, index);

    buf_append_str(out, "{\"part\":");
    append_string(out, outcome.config->name);
    buf_append_str(out, ",");
    if (!has_succeeded(&outcome)) {
        append_failure(out, &outcome);
    } else {
        buf_append_str(out, "\"value\":");
        append_in_a_line(out, &outcome);
        buf_append_str(out, ",\"elapsed\":");
        json_append_seconds(out, outcome.elapsed_ns);
    }
    buf_append_str(out, "}");
}

void answer_append_summary_event(struct buf *out, const struct plan_run *run, uint64_t total_ns)
{
    buf_append_str(out, "{");
    append_complete(out, run);
    append_errors(out, run);
    buf_printf(out, ",\"status\":%d", answer_status(run));
    append_total_time(out, total_ns);
    buf_append_str(out, "}");
}
