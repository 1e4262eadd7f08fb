/* The bulkhead: no more attempts at the same time than an upstream can bear, and a queue for a few calls
 * more.
 *
 * Who cannot be served in time is refused at once, before anything is spent on it: a place becomes free each
 * (time of an attempt) / max_in_flight, so who comes behind N others waits for about N + 1 of those, and then
 * needs the time of an attempt.  That time is kept as TCP keeps its round trip (RFC 6298), a mean and a mean
 * deviation.  A tenth more is asked for, and two deviations of the sum: were calls let in up to the last
 * moment, half of those would be sent in vain, or be refused after they had waited.  For the same reason it
 * is looked at again when a call leaves the queue. */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "upstream/policy.h"

struct bulkhead {
    const struct config_upstream *config;
    size_t label;
    double mean_ns; /* 0: no attempt has ended yet */
    double deviation_ns;
    uint64_t refused_total;
};

enum refused_why { REFUSED_FULL, REFUSED_LATE, REFUSED_WHY_COUNT };

static const char *const why_names[REFUSED_WHY_COUNT] = {"full", "late"};

static struct metric rows[] = {
    {.name = "heddle_upstream_refused_total",
     .type = METRIC_COUNTER,
     .help = "calls that the bulkhead refused: its queue was full, or their time would not have sufficed",
     .labels = {{.name = "upstream"}, {"why", why_names, REFUSED_WHY_COUNT}}},
};

static bool is_on(const struct config_upstream *config)
{
    return config->max_in_flight > 0;
}

static int init(void *state, const struct config_upstream *config, size_t label, struct err *err)
{
    struct bulkhead *bulkhead = state;

    (void)err;
    bulkhead->config = config;
    bulkhead->label = label;
    return 0;
}

/* How many times that of an attempt, until the place after `waiting` others becomes free. */
static double turns_before(const struct bulkhead *bulkhead, unsigned waiting)
{
    return ((double)waiting + 1) / bulkhead->config->max_in_flight;
}

static double need_ns(const struct bulkhead *bulkhead, unsigned waiting)
{
    double turns = turns_before(bulkhead, waiting) + 1;

    return 1.1 * turns * bulkhead->mean_ns + 2 * sqrt(turns) * bulkhead->deviation_ns;
}

static bool has_time(const struct policy_ask *ask, double wanted_ns)
{
    return ask->deadline_ns == CLOCK_NEVER ||
           (ask->deadline_ns > ask->now_ns && (double)(ask->deadline_ns - ask->now_ns) >= wanted_ns);
}

static enum policy_verdict refuse(struct bulkhead *bulkhead, const struct policy_ask *ask,
                                  enum refused_why why, struct policy_refusal *ret)
{
    double seconds = turns_before(bulkhead, ask->waiting) * bulkhead->mean_ns / (double)NS_PER_SEC;

    if (ask->is_hedge)
        return POLICY_REFUSE;
    bulkhead->refused_total++;
    metric_add(&rows[0], bulkhead->label, why, 1);
    ret->reason = FETCH_OVERLOADED;
    ret->retry_after_s = seconds > 3600 ? 3600 : 1 + (uint64_t)seconds;
    if (why == REFUSED_FULL)
        snprintf(ret->text, sizeof(ret->text), "refused: %u attempts are in flight and %u calls wait",
                 ask->in_flight, ask->waiting);
    else
        snprintf(ret->text, sizeof(ret->text),
                 "refused: the time that is left does not suffice, behind %u attempts and %u calls that wait",
                 ask->in_flight, ask->waiting);
    return POLICY_REFUSE;
}

static enum policy_verdict admit(void *state, const struct policy_ask *ask, struct policy_refusal *ret)
{
    struct bulkhead *bulkhead = state;
    bool has_place = ask->in_flight < bulkhead->config->max_in_flight && ask->waiting == 0;

    if (ask->is_waiting && !has_place)
        return POLICY_WAIT;
    if (ask->is_waiting && !has_time(ask, bulkhead->mean_ns))
        return refuse(bulkhead, ask, REFUSED_LATE, ret);
    if (has_place)
        return POLICY_PASS;
    if (ask->is_hedge || ask->waiting >= bulkhead->config->max_queue)
        return refuse(bulkhead, ask, REFUSED_FULL, ret);
    return has_time(ask, need_ns(bulkhead, ask->waiting)) ? POLICY_WAIT
                                                          : refuse(bulkhead, ask, REFUSED_LATE, ret);
}

static const char *ended(void *state, const struct policy_end *end, uint64_t mark)
{
    struct bulkhead *bulkhead = state;
    double error_ns = (double)end->elapsed_ns - bulkhead->mean_ns;

    (void)mark;
    if (bulkhead->mean_ns == 0) {
        bulkhead->mean_ns = (double)end->elapsed_ns;
        return NULL;
    }
    bulkhead->mean_ns += error_ns / 16;
    bulkhead->deviation_ns += ((error_ns < 0 ? -error_ns : error_ns) - bulkhead->deviation_ns) / 8;
    return NULL;
}

static void append_json(void *state, uint64_t now_ns, struct buf *out)
{
    const struct bulkhead *bulkhead = state;

    (void)now_ns;
    buf_printf(out, "{\"max_in_flight\":%u,\"max_queue\":%u,\"refused_total\":%llu,\"mean_time\":%.6f}",
               bulkhead->config->max_in_flight, bulkhead->config->max_queue,
               (unsigned long long)bulkhead->refused_total, bulkhead->mean_ns / (double)NS_PER_SEC);
}

const struct upstream_policy policy_bulkhead = {
    .name = "bulkhead",
    .state_size = sizeof(struct bulkhead),
    .is_on = is_on,
    .init = init,
    .admit = admit,
    .ended = ended,
    .append_json = append_json,
    .metrics = rows,
    .metric_count = ARRAY_LEN(rows),
};
