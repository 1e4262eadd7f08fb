/* The circuit breaker: an upstream that fails too often is left alone for a while.
 *
 *                too many failures or slow calls
 *        CLOSED ---------------------------------> OPEN <-----.
 *           ^                                       |         | one fails, or is slow
 *           |                                       | open_ms |
 *           |   all probes have succeeded           v         |
 *           `------------------------------------ HALF_OPEN --'
 *
 * What was sent before a change says nothing about the state after it: an attempt's mark is the number of the
 * state in which it was sent, and ends of older ones are passed over. */
#include <stdio.h>

#include "base/clock.h"
#include "upstream/policy.h"
#include "upstream/window.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_STATE_COUNT };

static const char *const state_names[BREAKER_STATE_COUNT] = {"closed", "half_open", "open"};

enum { WINDOW_CALLS, WINDOW_FAILURES, WINDOW_SLOW };

struct breaker {
    const struct config_upstream *config;
    size_t label;
    enum breaker_state state;
    uint64_t generation; /* counts changes of the state */
    uint64_t open_until_ns;
    unsigned probes_running;
    unsigned probes_ok;
    uint64_t opened_total;
    struct window window;
};

enum { ROW_STATE, ROW_OPENED };

static struct metric rows[] = {
    [ROW_STATE] = {.name = "heddle_upstream_breaker_state",
                   .type = METRIC_GAUGE,
                   .help = "the circuit breaker: 0 closed, 1 half open, 2 open",
                   .labels = {{.name = "upstream"}}},
    [ROW_OPENED] = {.name = "heddle_upstream_breaker_opened_total",
                    .type = METRIC_COUNTER,
                    .help = "times that the circuit breaker opened",
                    .labels = {{.name = "upstream"}}},
};

static bool is_on(const struct config_upstream *config)
{
    return config->breaker.is_enabled;
}

static int init(void *state, const struct config_upstream *config, size_t label, struct err *err)
{
    struct breaker *breaker = state;

    (void)err;
    breaker->config = config;
    breaker->label = label;
    window_init(&breaker->window, config->breaker.window_ms * NS_PER_MS);
    return 0;
}

static void move(struct breaker *breaker, enum breaker_state to)
{
    metric_add(&rows[ROW_STATE], breaker->label, 0, (int64_t)to - (int64_t)breaker->state);
    breaker->state = to;
    breaker->generation++;
    breaker->probes_running = 0;
    breaker->probes_ok = 0;
    window_clear(&breaker->window);
}

static void open_circuit(struct breaker *breaker, uint64_t now_ns)
{
    move(breaker, BREAKER_OPEN);
    breaker->open_until_ns = clock_deadline_ns(now_ns, breaker->config->breaker.open_ms);
    breaker->opened_total++;
    metric_add(&rows[ROW_OPENED], breaker->label, 0, 1);
}

static enum policy_verdict refuse(const struct breaker *breaker, uint64_t now_ns, struct policy_refusal *ret)
{
    uint64_t left_ns = breaker->open_until_ns > now_ns ? breaker->open_until_ns - now_ns : 0;

    ret->reason = FETCH_CIRCUIT_OPEN;
    ret->retry_after_s = MAX((left_ns + NS_PER_SEC - 1) / NS_PER_SEC, UINT64_C(1));
    snprintf(ret->text, sizeof(ret->text), "not tried: the upstream has failed too often (circuit %s)",
             breaker->state == BREAKER_OPEN ? "open" : "half open");
    return POLICY_REFUSE;
}

static enum policy_verdict admit(void *state, const struct policy_ask *ask, struct policy_refusal *ret)
{
    struct breaker *breaker = state;

    if (breaker->state == BREAKER_CLOSED)
        return POLICY_PASS;
    if (ask->is_hedge)
        return POLICY_REFUSE;
    if (breaker->state == BREAKER_OPEN && ask->now_ns >= breaker->open_until_ns)
        move(breaker, BREAKER_HALF_OPEN);
    bool has_room = breaker->probes_running + breaker->probes_ok < breaker->config->breaker.probes;
    return breaker->state == BREAKER_HALF_OPEN && has_room ? POLICY_PASS : refuse(breaker, ask->now_ns, ret);
}

static void started(void *state, const struct policy_start *start, uint64_t *ret_mark)
{
    struct breaker *breaker = state;

    (void)start;
    *ret_mark = breaker->generation;
    if (breaker->state == BREAKER_HALF_OPEN)
        breaker->probes_running++;
}

static bool is_slow(const struct breaker *breaker, const struct policy_end *end)
{
    uint64_t slow_ms = breaker->config->breaker.slow_ms;

    return slow_ms > 0 && end->elapsed_ns >= slow_ms * NS_PER_MS;
}

static bool has_share(uint32_t count, uint32_t total, double ratio)
{
    return count > 0 && (double)count >= ratio * (double)total;
}

static const char *note_call(struct breaker *breaker, const struct policy_end *end)
{
    const struct config_upstream *config = breaker->config;
    struct window *window = &breaker->window;

    window_add(window, end->now_ns, WINDOW_CALLS, 1);
    window_add(window, end->now_ns, WINDOW_FAILURES, end->health == HEALTH_BAD);
    window_add(window, end->now_ns, WINDOW_SLOW, is_slow(breaker, end));
    uint32_t total = window_sum(window, end->now_ns, WINDOW_CALLS);
    uint32_t failures = window_sum(window, end->now_ns, WINDOW_FAILURES);
    uint32_t slow = window_sum(window, end->now_ns, WINDOW_SLOW);
    if (total < config->breaker.min_requests)
        return NULL;
    if (!has_share(failures, total, config->breaker.failure_ratio) &&
        !has_share(slow, total, config->breaker.slow_ratio))
        return NULL;
    open_circuit(breaker, end->now_ns);
    return "circuit opened";
}

static const char *note_probe(struct breaker *breaker, const struct policy_end *end)
{
    if (end->health == HEALTH_BAD || is_slow(breaker, end)) {
        open_circuit(breaker, end->now_ns);
        return "circuit stays open";
    }
    if (++breaker->probes_ok < breaker->config->breaker.probes)
        return NULL;
    move(breaker, BREAKER_CLOSED);
    return "circuit closed";
}

static const char *ended(void *state, const struct policy_end *end, uint64_t mark)
{
    struct breaker *breaker = state;

    if (mark != breaker->generation)
        return NULL;
    if (breaker->state == BREAKER_HALF_OPEN)
        breaker->probes_running--;
    if (end->health == HEALTH_UNKNOWN)
        return NULL;
    return breaker->state == BREAKER_HALF_OPEN ? note_probe(breaker, end) : note_call(breaker, end);
}

static void append_json(void *state, uint64_t now_ns, struct buf *out)
{
    struct breaker *breaker = state;
    struct window *window = &breaker->window;
    bool is_over = breaker->state == BREAKER_OPEN && now_ns >= breaker->open_until_ns;

    buf_printf(out, "{\"state\":\"%s\",\"opened_total\":%llu,\"calls\":%u,\"failures\":%u,\"slow\":%u",
               state_names[is_over ? BREAKER_HALF_OPEN : breaker->state],
               (unsigned long long)breaker->opened_total, window_sum(window, now_ns, WINDOW_CALLS),
               window_sum(window, now_ns, WINDOW_FAILURES), window_sum(window, now_ns, WINDOW_SLOW));
    if (breaker->state == BREAKER_OPEN && !is_over)
        buf_printf(out, ",\"open_for\":%.3f", clock_seconds(breaker->open_until_ns - now_ns));
    buf_append_str(out, "}");
}

const struct upstream_policy policy_breaker = {
    .name = "breaker",
    .state_size = sizeof(struct breaker),
    .is_on = is_on,
    .init = init,
    .admit = admit,
    .started = started,
    .ended = ended,
    .append_json = append_json,
    .metrics = rows,
    .metric_count = ARRAY_LEN(rows),
};
