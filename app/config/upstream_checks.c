/* What an upstream can have wrong that its rows do not know. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "config/config_int.h"

static int refuse(struct config_conflict *ret, const char *key, struct err *err, const char *text)
{
    ret->key = key;
    return err_set(err, -EINVAL, "%s", text);
}

int config_check_retry_status(const char *text, struct err *err)
{
    uint64_t status;
    char quoted[PARSE_QUOTED_SIZE];

    if (parse_number(PARSE_UINT, text, 400, 599, &status, NULL) == 0)
        return 0;
    return err_set(err, -EINVAL, "%s is not a status of an error; write one from 400 to 599",
                   parse_quote(text, strlen(text), quoted));
}

static int check_ratios(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_upstream *upstream = scope->object;

    if (upstream->breaker.failure_ratio == 0)
        return refuse(ret, "breaker.failure_ratio", err,
                      "0 would open it without a failure; write more, or breaker.enabled: false for none");
    if (upstream->breaker.slow_ratio == 0)
        return refuse(ret, "breaker.slow_ratio", err,
                      "0 would open it without a slow call; write more, and breaker.slow: 0s for none");
    return 0;
}

static int check_backoff(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_upstream *upstream = scope->object;
    char base[PARSE_TEXT_SIZE];
    char max[PARSE_TEXT_SIZE];

    if (upstream->retry.backoff_base_ms <= upstream->retry.backoff_max_ms)
        return 0;
    ret->key = "retry.backoff_base";
    parse_format(PARSE_DURATION, upstream->retry.backoff_base_ms, base);
    parse_format(PARSE_DURATION, upstream->retry.backoff_max_ms, max);
    return err_set(err, -EINVAL, "%s is more than retry.backoff_max, %s", base, max);
}

static int check_hedge(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_upstream *upstream = scope->object;

    if (upstream->hedge.percentile > 0 && upstream->hedge.percentile < 1)
        return 0;
    return refuse(ret, "hedge.percentile", err, "is not between 0 and 1; write a share such as 0.95");
}

static int check_key_file(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_upstream *upstream = scope->object;

    if (!*upstream->tls.key_file || *upstream->tls.cert_file)
        return 0;
    return refuse(ret, "tls.key_file", err, "goes with tls.cert_file, which is not set");
}

/* Settings of TLS that would not be used make believe that there is some. */
static int check_tls_is_spoken(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_upstream *upstream = scope->object;
    const char *key = *upstream->tls.ca_file                         ? "tls.ca_file"
                      : *upstream->tls.cert_file                     ? "tls.cert_file"
                      : upstream->tls.min_version != TLS_VERSION_1_2 ? "tls.min_version"
                                                                     : NULL;

    if (!key || !upstream->base_url || strncasecmp(upstream->base_url, "https:", 6) == 0)
        return 0;
    return refuse(ret, key, err, "has no use: the base_url is not https");
}

const config_together_fn config_upstream_checks[] = {
    check_ratios, check_backoff, check_hedge, check_key_file, check_tls_is_spoken, NULL,
};
