/* The table of policies, and the ways to ask all of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/upstream_int.h"

/* The order counts for `admit`: who is refused by the breaker does not wait at the bulkhead, and a hedge
 * without a budget is not looked at by either. */
const struct upstream_policy *const upstream_policies[] = {
    &policy_coalesce,  &policy_hedge, &policy_breaker, &policy_bulkhead, &policy_retry,
    &policy_addresses, NULL,
};

_Static_assert(ARRAY_LEN(upstream_policies) <= POLICIES_MAX + 1, "POLICIES_MAX is too small");

/* For each policy that is on at `upstream` and has the function `hook`: its index. */
#define FOR_EACH_POLICY(i, upstream, hook)                                                                   \
    for (size_t i = 0; upstream_policies[i]; i++)                                                            \
        if ((upstream)->states[i] && upstream_policies[i]->hook)

int policies_init(struct upstream *upstream, struct err *err)
{
    for (size_t i = 0; upstream_policies[i]; i++) {
        const struct upstream_policy *policy = upstream_policies[i];
        if (!policy->is_on(upstream->config))
            continue;
        upstream->states[i] = calloc(1, policy->state_size);
        if (!upstream->states[i])
            return err_set(err, -ENOMEM, "out of memory");
        int rc = policy->init(upstream->states[i], upstream->config, upstream->label, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void policies_done(struct upstream *upstream)
{
    FOR_EACH_POLICY (i, upstream, done)
        upstream_policies[i]->done(upstream->states[i]);
    for (size_t i = 0; i < POLICIES_MAX; i++) {
        free(upstream->states[i]);
        upstream->states[i] = NULL;
    }
}

enum policy_verdict policies_admit_locked(struct flight *flight, uint64_t now_ns, bool is_hedge,
                                          struct policy_refusal *ret)
{
    struct upstream *upstream = flight->upstream;
    bool is_waiting = flight->state == FLIGHT_QUEUED;
    const struct policy_ask ask = {
        .now_ns = now_ns,
        .deadline_ns = flight->deadline_ns,
        .in_flight = upstream->in_flight,
        .waiting = is_waiting ? 0 : upstream->queued,
        .is_waiting = is_waiting,
        .is_hedge = is_hedge,
    };
    enum policy_verdict verdict = POLICY_PASS;

    FOR_EACH_POLICY (i, upstream, admit) {
        verdict = upstream_policies[i]->admit(upstream->states[i], &ask, ret);
        if (verdict != POLICY_PASS)
            break;
    }
    return verdict;
}

void policies_started_locked(struct attempt *attempt, uint64_t now_ns)
{
    struct upstream *upstream = attempt->flight->upstream;
    const struct policy_start start = {
        .now_ns = now_ns,
        .tries = attempt->flight->tries,
        .is_hedge = attempt->is_hedge,
    };

    FOR_EACH_POLICY (i, upstream, started)
        upstream_policies[i]->started(upstream->states[i], &start, &attempt->marks[i]);
}

const char *policies_ended_locked(struct attempt *attempt, const struct policy_end *end)
{
    struct upstream *upstream = attempt->flight->upstream;
    const char *log_text = NULL;

    FOR_EACH_POLICY (i, upstream, ended) {
        const char *text = upstream_policies[i]->ended(upstream->states[i], end, attempt->marks[i]);
        log_text = text ? text : log_text;
    }
    return log_text;
}

uint64_t policies_retry_after_ns_locked(struct upstream *upstream, const struct policy_failure *failure)
{
    FOR_EACH_POLICY (i, upstream, retry_after_ns) {
        uint64_t pause_ns = upstream_policies[i]->retry_after_ns(upstream->states[i], failure);
        if (pause_ns != CLOCK_NEVER)
            return pause_ns;
    }
    return CLOCK_NEVER;
}

uint64_t policies_hedge_after_ns_locked(struct upstream *upstream, uint64_t now_ns)
{
    uint64_t after_ns = CLOCK_NEVER;

    FOR_EACH_POLICY (i, upstream, hedge_after_ns)
        after_ns = MIN(after_ns,
                       upstream_policies[i]->hedge_after_ns(upstream->states[i], &upstream->latency, now_ns));
    return after_ns;
}

struct policy_key *policies_join_locked(struct upstream *upstream, const struct policy_key *key)
{
    FOR_EACH_POLICY (i, upstream, join) {
        struct policy_key *other = upstream_policies[i]->join(upstream->states[i], key);
        if (other)
            return other;
    }
    return NULL;
}

void policies_open_locked(struct upstream *upstream, struct policy_key *key)
{
    FOR_EACH_POLICY (i, upstream, open)
        upstream_policies[i]->open(upstream->states[i], key);
}

void policies_close_locked(struct upstream *upstream, struct policy_key *key)
{
    FOR_EACH_POLICY (i, upstream, close)
        upstream_policies[i]->close(upstream->states[i], key);
}

bool policies_share(const struct upstream *upstream)
{
    FOR_EACH_POLICY (i, upstream, join)
        return true;
    return false;
}

bool policies_have_choice(const struct upstream *upstream)
{
    FOR_EACH_POLICY (i, upstream, choose)
        return true;
    return false;
}

/* Where another attempt for the same call is, or has failed. */
static const char *address_to_avoid(const struct attempt *attempt)
{
    const struct attempt *other;

    for (other = SLIST_FIRST(&attempt->flight->attempts); other; other = SLIST_NEXT(other, link))
        if (other != attempt && other->address[0] != '\0')
            return other->address;
    return "";
}

static size_t index_of(const char *address, const char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(addresses[i], address) == 0)
            return i;
    return 0;
}

/* For fetch->choose. */
size_t policies_choose(const struct fetch *fetch, const char *const *addresses, size_t count)
{
    struct attempt *attempt = container_of(fetch, struct attempt, fetch);
    struct upstream *upstream = attempt->flight->upstream;
    struct policy_choice choice = {.now_ns = clock_now_ns(), .addresses = addresses, .count = count};

    LOCK(&upstream->lock);
    if (attempt->address[0] != '\0')
        return index_of(attempt->address, addresses, count);
    choice.avoid = address_to_avoid(attempt);
    FOR_EACH_POLICY (i, upstream, choose) {
        size_t index = upstream_policies[i]->choose(upstream->states[i], &choice);
        snprintf(attempt->address, sizeof(attempt->address), "%s", addresses[index]);
        return index;
    }
    return 0;
}

void policies_append_json_locked(struct upstream *upstream, uint64_t now_ns, struct buf *out)
{
    FOR_EACH_POLICY (i, upstream, append_json) {
        buf_printf(out, ",\"%s\":", upstream_policies[i]->name);
        upstream_policies[i]->append_json(upstream->states[i], now_ns, out);
    }
}
