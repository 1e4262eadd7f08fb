/* policy_state.h - a policy by itself: its state, at times that the test gives. */
#pragma once

#include "harness.h"

#include <jansson.h>

#include "upstream/policy.h"

/* Some moment: not the clock's beginning. */
#define T0 (1000 * NS_PER_SEC)

static inline void *policy_create(const struct upstream_policy *policy, const struct config_upstream *config)
{
    void *state = calloc(1, policy->state_size);
    struct err err = {0};

    assert_non_null(state);
    assert_true(policy->is_on(config));
    if (policy->init(state, config, 0, &err) < 0)
        fail_msg("%s", err.text);
    return state;
}

static inline void policy_free(const struct upstream_policy *policy, void *state)
{
    if (policy->done)
        policy->done(state);
    free(state);
}

static inline json_t *policy_json(const struct upstream_policy *policy, void *state, uint64_t now_ns)
{
    struct buf out = BUF_INIT(65536);

    policy->append_json(state, now_ns, &out);
    json_t *json = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(json);
    buf_done(&out);
    return json;
}
