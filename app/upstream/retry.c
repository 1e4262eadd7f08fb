/* Retries: of what may be repeated, after a pause, and never so many that they make an outage worse.
 *
 * The pause is drawn from 0 to base * 2^(tries - 1) (full jitter), so that those who failed together do not
 * come back together.  The budget is looked at and taken in one step, when the pause begins: else all that
 * fail within one pause would find it untouched. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/parse.h"
#include "upstream/policy.h"
#include "upstream/window.h"

#define BUDGET_WINDOW_NS (10 * NS_PER_SEC)

#define STATUS_MIN 100
#define STATUS_MAX 599

enum { WINDOW_REQUESTS, WINDOW_RETRIES };

enum denied_why { DENIED_ATTEMPTS, DENIED_TIME, DENIED_BUDGET, DENIED_WHY_COUNT };

static const char *const why_names[DENIED_WHY_COUNT] = {"attempts", "time", "budget"};

struct retry {
    const struct config_upstream *config;
    size_t label;
    uint64_t random;
    struct window window; /* its slots are seconds */
    uint64_t retries_total;
    uint64_t denied_total;
    bool statuses[STATUS_MAX - STATUS_MIN + 1];
};

enum { ROW_RETRIES, ROW_DENIED };

static struct metric rows[] = {
    [ROW_RETRIES] = {.name = "heddle_upstream_retries_total",
                     .type = METRIC_COUNTER,
                     .help = "attempts that were sent because one before had failed",
                     .labels = {{.name = "upstream"}}},
    [ROW_DENIED] = {.name = "heddle_upstream_retries_denied_total",
                    .type = METRIC_COUNTER,
                    .help = "failures that could have been tried again but for: max_attempts, the time that "
                            "was left, the budget",
                    .labels = {{.name = "upstream"}, {"why", why_names, DENIED_WHY_COUNT}}},
};

static bool is_on(const struct config_upstream *config)
{
    return config->retry.is_enabled && config->retry.max_attempts > 1;
}

static int init(void *state, const struct config_upstream *config, size_t label, struct err *err)
{
    struct retry *retry = state;

    retry->config = config;
    retry->label = label;
    window_init(&retry->window, BUDGET_WINDOW_NS);
    if (getrandom(&retry->random, sizeof(retry->random), 0) != (ssize_t)sizeof(retry->random))
        return err_set_errno(err, errno, "no random bytes");
    for (size_t i = 0; i < config->retry.statuses.count; i++) {
        uint64_t status = 0;
        int rc =
            parse_number(PARSE_UINT, config->retry.statuses.items[i], STATUS_MIN, STATUS_MAX, &status, err);
        if (rc < 0)
            return rc;
        retry->statuses[status - STATUS_MIN] = true;
    }
    return 0;
}

static void started(void *state, const struct policy_start *start, uint64_t *ret_mark)
{
    struct retry *retry = state;

    (void)ret_mark;
    if (start->is_hedge)
        return;
    if (start->tries == 1) {
        window_add(&retry->window, start->now_ns, WINDOW_REQUESTS, 1);
    } else {
        retry->retries_total++;
        metric_add(&rows[ROW_RETRIES], retry->label, 0, 1);
    }
}

/* ---- whether, and when ---- */

/* After these the upstream has seen nothing of the request. */
static bool was_surely_not_sent(const struct policy_failure *failure)
{
    return failure->reason == FETCH_CONNECT || failure->reason == FETCH_DNS;
}

static bool may_help(const struct retry *retry, const struct policy_failure *failure)
{
    switch (failure->reason) {
    case FETCH_CONNECT:
    case FETCH_DNS:
    case FETCH_TLS:
    case FETCH_TIMEOUT:
    case FETCH_PROTOCOL:
        return true;
    case FETCH_HTTP_STATUS:
        return failure->status >= STATUS_MIN && failure->status <= STATUS_MAX &&
               retry->statuses[failure->status - STATUS_MIN];
    default:
        return false;
    }
}

static uint64_t draw_pause_ns(struct retry *retry, const struct policy_failure *failure)
{
    uint64_t max_ms = retry->config->retry.backoff_max_ms;
    uint64_t pause_ms = retry->config->retry.backoff_base_ms;

    for (unsigned i = 1; i < failure->tries && pause_ms < max_ms; i++)
        pause_ms *= 2;
    uint64_t drawn_ns = policy_random(&retry->random) % (MIN(pause_ms, max_ms) * NS_PER_MS + 1);
    return MAX(drawn_ns, MIN(failure->retry_after_s, UINT64_C(86400)) * NS_PER_SEC);
}

/* Not only the pause has to fit, but also what an answer usually takes. */
static bool has_time(const struct policy_failure *failure, uint64_t pause_ns)
{
    if (failure->deadline_ns == CLOCK_NEVER)
        return true;
    uint64_t left_ns = failure->deadline_ns > failure->now_ns ? failure->deadline_ns - failure->now_ns : 0;
    return left_ns > pause_ns && left_ns - pause_ns > failure->typical_ns;
}

static bool take_budget(struct retry *retry, uint64_t now_ns)
{
    uint32_t requests = window_sum(&retry->window, now_ns, WINDOW_REQUESTS);
    uint32_t retries = window_sum(&retry->window, now_ns, WINDOW_RETRIES);
    bool is_free =
        (double)retries < retry->config->retry.budget * requests ||
        window_newest(&retry->window, now_ns, WINDOW_RETRIES) < retry->config->retry.budget_min_per_s;

    if (is_free)
        window_add(&retry->window, now_ns, WINDOW_RETRIES, 1);
    return is_free;
}

static uint64_t deny(struct retry *retry, enum denied_why why)
{
    retry->denied_total++;
    metric_add(&rows[ROW_DENIED], retry->label, why, 1);
    return CLOCK_NEVER;
}

static uint64_t retry_after_ns(void *state, const struct policy_failure *failure)
{
    struct retry *retry = state;

    if (!may_help(retry, failure) || !(failure->is_idempotent || was_surely_not_sent(failure)))
        return CLOCK_NEVER;
    if (failure->tries >= retry->config->retry.max_attempts)
        return deny(retry, DENIED_ATTEMPTS);
    uint64_t pause_ns = draw_pause_ns(retry, failure);
    if (!has_time(failure, pause_ns))
        return deny(retry, DENIED_TIME);
    return take_budget(retry, failure->now_ns) ? pause_ns : deny(retry, DENIED_BUDGET);
}

static void append_json(void *state, uint64_t now_ns, struct buf *out)
{
    struct retry *retry = state;

    buf_printf(out,
               "{\"max_attempts\":%u,\"retries_total\":%llu,\"denied_total\":%llu,\"recent_requests\":%u,"
               "\"recent_retries\":%u}",
               retry->config->retry.max_attempts, (unsigned long long)retry->retries_total,
               (unsigned long long)retry->denied_total, window_sum(&retry->window, now_ns, WINDOW_REQUESTS),
               window_sum(&retry->window, now_ns, WINDOW_RETRIES));
}

const struct upstream_policy policy_retry = {
    .name = "retry",
    .state_size = sizeof(struct retry),
    .is_on = is_on,
    .init = init,
    .started = started,
    .retry_after_ns = retry_after_ns,
    .append_json = append_json,
    .metrics = rows,
    .metric_count = ARRAY_LEN(rows),
};
