/* Hedging: when an answer takes longer than most do, the same is asked a second time (Dean and Barroso, The
 * Tail at Scale, 2013).
 *
 * How long most take is not configured but measured: the percentile of the recent answers.  The budget bounds
 * what a slow upstream is asked in addition. */
#include "base/clock.h"
#include "upstream/policy.h"
#include "upstream/window.h"

#define BUDGET_WINDOW_NS (10 * NS_PER_SEC)

/* The percentile is counted out at most this often. */
#define DELAY_FRESH_NS (100 * NS_PER_MS)

enum { WINDOW_REQUESTS, WINDOW_HEDGES };

enum hedge_result { HEDGE_SENT, HEDGE_WON, HEDGE_RESULT_COUNT };

static const char *const result_names[HEDGE_RESULT_COUNT] = {"sent", "won"};

struct hedge {
    const struct config_upstream *config;
    size_t label;
    struct window window;
    uint64_t delay_ns; /* CLOCK_NEVER: too little is known */
    uint64_t delay_found_ns;
    uint64_t totals[HEDGE_RESULT_COUNT];
};

static struct metric rows[] = {
    {.name = "heddle_upstream_hedges_total",
     .type = METRIC_COUNTER,
     .help = "second requests that were sent beside a slow first one, and those of them that answered first",
     .labels = {{.name = "upstream"}, {"result", result_names, HEDGE_RESULT_COUNT}}},
};

static bool is_on(const struct config_upstream *config)
{
    return config->hedge.is_enabled;
}

static int init(void *state, const struct config_upstream *config, size_t label, struct err *err)
{
    struct hedge *hedge = state;

    (void)err;
    hedge->config = config;
    hedge->label = label;
    hedge->delay_ns = CLOCK_NEVER;
    window_init(&hedge->window, BUDGET_WINDOW_NS);
    return 0;
}

static void count(struct hedge *hedge, enum hedge_result result)
{
    hedge->totals[result]++;
    metric_add(&rows[0], hedge->label, result, 1);
}

static bool has_budget(struct hedge *hedge, uint64_t now_ns)
{
    uint32_t requests = window_sum(&hedge->window, now_ns, WINDOW_REQUESTS);
    uint32_t hedges = window_sum(&hedge->window, now_ns, WINDOW_HEDGES);

    return (double)hedges < hedge->config->hedge.budget * requests;
}

static enum policy_verdict admit(void *state, const struct policy_ask *ask, struct policy_refusal *ret)
{
    (void)ret;
    return !ask->is_hedge || has_budget(state, ask->now_ns) ? POLICY_PASS : POLICY_REFUSE;
}

static void started(void *state, const struct policy_start *start, uint64_t *ret_mark)
{
    struct hedge *hedge = state;

    (void)ret_mark;
    window_add(&hedge->window, start->now_ns, start->is_hedge ? WINDOW_HEDGES : WINDOW_REQUESTS, 1);
    if (start->is_hedge)
        count(hedge, HEDGE_SENT);
}

static const char *ended(void *state, const struct policy_end *end, uint64_t mark)
{
    (void)mark;
    if (end->is_hedge && end->wins)
        count(state, HEDGE_WON);
    return NULL;
}

static uint64_t hedge_after_ns(void *state, const struct latency *latency, uint64_t now_ns)
{
    struct hedge *hedge = state;

    if (hedge->delay_ns == CLOCK_NEVER || now_ns >= hedge->delay_found_ns + DELAY_FRESH_NS) {
        uint64_t usual_ns = latency_percentile_ns(latency, hedge->config->hedge.percentile);
        hedge->delay_ns =
            usual_ns > 0 ? MAX(usual_ns, hedge->config->hedge.min_delay_ms * NS_PER_MS) : CLOCK_NEVER;
        hedge->delay_found_ns = now_ns;
    }
    return hedge->delay_ns;
}

static void append_json(void *state, uint64_t now_ns, struct buf *out)
{
    struct hedge *hedge = state;

    (void)now_ns;
    buf_printf(out, "{\"sent_total\":%llu,\"won_total\":%llu,\"delay\":",
               (unsigned long long)hedge->totals[HEDGE_SENT], (unsigned long long)hedge->totals[HEDGE_WON]);
    if (hedge->delay_ns == CLOCK_NEVER)
        buf_append_str(out, "null}");
    else
        buf_printf(out, "%.6f}", clock_seconds(hedge->delay_ns));
}

const struct upstream_policy policy_hedge = {
    .name = "hedge",
    .state_size = sizeof(struct hedge),
    .is_on = is_on,
    .init = init,
    .admit = admit,
    .started = started,
    .ended = ended,
    .hedge_after_ns = hedge_after_ns,
    .append_json = append_json,
    .metrics = rows,
    .metric_count = ARRAY_LEN(rows),
};
