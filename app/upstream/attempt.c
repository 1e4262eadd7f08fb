/* One fetch for a flight: what is sent, and how it is sent and cancelled.
 *
 * Who sends it and who cancels it may be two threads, and fetch_cancel is not allowed before fetch_submit:
 * both leave word in `handover`, and the second to come cancels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/upstream_int.h"

/* While nothing is known of how long answers take, a call's deadline says something about the upstream when
 * it left as much. */
#define TELLING_TIMEOUT_NS (500 * NS_PER_MS)

/* ---- making ---- */

uint64_t attempt_timeout_ms(const struct flight *flight)
{
    const struct upstream *upstream = flight->upstream;

    if (flight->request.timeout_ms > 0)
        return flight->request.timeout_ms;
    return upstream->config->timeout_ms > 0 ? upstream->config->timeout_ms
                                            : upstream->upstreams->config->fetch.timeout_ms;
}

/* Of a flight that can be joined the deadline may still be put off: the flight looks after it by its
 * timer. */
static void set_timeout(struct attempt *attempt, uint64_t now_ns)
{
    const struct flight *flight = attempt->flight;
    uint64_t timeout_ms = attempt_timeout_ms(flight);
    uint64_t left_ms = UINT64_MAX;

    if (flight->deadline_ns != CLOCK_NEVER)
        left_ms =
            flight->deadline_ns > now_ns ? (flight->deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 1;
    attempt->time_left_ms = MIN(timeout_ms, left_ms);
    attempt->is_cut_short = left_ms < timeout_ms;
    if (!flight->shared)
        timeout_ms = attempt->time_left_ms;
    /* Those with the pool's own time-out cost it less. */
    if (timeout_ms != flight->upstream->upstreams->config->fetch.timeout_ms)
        attempt->fetch.timeout_ms = timeout_ms;
}

static void fetch_ended(struct fetch *fetch)
{
    struct attempt *attempt = container_of(fetch, struct attempt, fetch);
    struct outbox outbox;

    outbox_init(&outbox, attempt->flight->upstream->upstreams, clock_now_ns());
    flight_attempt_ended(attempt, &outbox);
    outbox_flush(&outbox);
}

static void set_fetch(struct attempt *attempt)
{
    const struct flight_request *request = &attempt->flight->request;
    const struct upstream *upstream = attempt->flight->upstream;
    struct fetch *fetch = &attempt->fetch;

    fetch->target = request->target;
    fetch->call = request->call;
    fetch->may_visit = request->may_visit;
    fetch->may_connect = request->may_connect;
    fetch->choose = policies_have_choice(upstream) ? policies_choose : NULL;
    fetch->tls = upstream->tls;
    fetch->budget = request->budget;
    fetch->max_bytes = request->max_bytes > 0 ? request->max_bytes : upstream->config->max_response_bytes;
    fetch->keep_max_bytes = request->keep_max_bytes;
    fetch->done = fetch_ended;
    fetch->arg = request->fetch_arg;
}

struct attempt *attempt_create_locked(struct flight *flight, uint64_t now_ns, bool is_hedge)
{
    struct attempt *attempt = &flight->first;

    if (flight->attempt_count > 0 && !(attempt = calloc(1, sizeof(*attempt))))
        return NULL;
    attempt->flight = flight;
    attempt->started_ns = now_ns;
    attempt->is_hedge = is_hedge;
    atomic_init(&attempt->handover, HANDOVER_NEW);
    set_fetch(attempt);
    set_timeout(attempt, now_ns);
    return attempt;
}

void attempt_done(struct attempt *attempt)
{
    fetch_done(&attempt->fetch);
    free(attempt->headers);
    attempt->headers = NULL;
}

/* ---- its headers ---- */

/* The list, and behind it the texts. */
struct header_block {
    char traceparent[sizeof("traceparent: ") + TRACE_PARENT_SIZE];
    char timeout[48];
    const char *list[];
};

static size_t count_headers(const char *const *headers)
{
    size_t count = 0;

    while (headers && headers[count])
        count++;
    return count;
}

static void add_traceparent(struct header_block *block, const char *parent, size_t *count)
{
    char text[TRACE_PARENT_SIZE];

    if (!parent || trace_continue(parent, text) < 0)
        return;
    snprintf(block->traceparent, sizeof(block->traceparent), "traceparent: %s", text);
    block->list[(*count)++] = block->traceparent;
}

static void add_timeout(struct header_block *block, const struct attempt *attempt, size_t *count)
{
    if (!attempt->flight->request.tells_deadline)
        return;
    snprintf(block->timeout, sizeof(block->timeout), "X-Request-Timeout: %llu.%03llu",
             (unsigned long long)(attempt->time_left_ms / 1000),
             (unsigned long long)(attempt->time_left_ms % 1000));
    block->list[(*count)++] = block->timeout;
}

bool attempt_prepare(struct attempt *attempt)
{
    const struct flight_request *request = &attempt->flight->request;

    if (!request->call || (!request->traceparent && !request->tells_deadline))
        return true;
    size_t count = count_headers(request->call->headers);
    struct header_block *block = malloc(sizeof(*block) + (count + 3) * sizeof(block->list[0]));
    if (!block)
        return false;
    for (size_t i = 0; i < count; i++)
        block->list[i] = request->call->headers[i];
    add_traceparent(block, request->traceparent, &count);
    add_timeout(block, attempt, &count);
    block->list[count] = NULL;
    attempt->headers = block;
    attempt->call = *request->call;
    attempt->call.headers = block->list;
    attempt->fetch.call = &attempt->call;
    return true;
}

/* ---- sending and cancelling ---- */

void attempt_sent(struct attempt *attempt)
{
    if (atomic_exchange(&attempt->handover, HANDOVER_SENT) == HANDOVER_CANCELLED)
        fetch_cancel(&attempt->fetch);
}

void attempt_cancel(struct attempt *attempt)
{
    if (atomic_exchange(&attempt->handover, HANDOVER_CANCELLED) == HANDOVER_SENT)
        fetch_cancel(&attempt->fetch);
}

bool attempt_is_cancelled(struct attempt *attempt)
{
    return atomic_load(&attempt->handover) == HANDOVER_CANCELLED;
}

/* ---- its result ---- */

static const enum policy_health health_of_reasons[FETCH_REASON_COUNT] = {
    [FETCH_OK] = HEALTH_GOOD,      [FETCH_HTTP_STATUS] = HEALTH_GOOD, [FETCH_TIMEOUT] = HEALTH_BAD,
    [FETCH_DNS] = HEALTH_BAD,      [FETCH_CONNECT] = HEALTH_BAD,      [FETCH_TLS] = HEALTH_BAD,
    [FETCH_PROTOCOL] = HEALTH_BAD,
};

/* That an answer did not come within the little time that a client had left is not the upstream's fault, or
 * clients could open its circuit for all others; but when hardly any of the recent answers took as long, it
 * is. */
static bool is_telling(const struct attempt *attempt, const struct latency *latency)
{
    uint64_t usual_ns = latency_percentile_ns(latency, 0.99);

    return !attempt->is_cut_short ||
           attempt->fetch.elapsed_ns >= (usual_ns > 0 ? usual_ns : TELLING_TIMEOUT_NS);
}

enum policy_health attempt_health(const struct attempt *attempt, const struct latency *latency)
{
    const struct fetch *fetch = &attempt->fetch;

    if (fetch->reason == FETCH_HTTP_STATUS && fetch->status >= 500)
        return HEALTH_BAD;
    if (fetch->reason == FETCH_TIMEOUT && !is_telling(attempt, latency))
        return HEALTH_UNKNOWN;
    if (fetch->reason == FETCH_CANCELLED && attempt->flight->is_too_late && is_telling(attempt, latency))
        return HEALTH_BAD;
    return health_of_reasons[fetch->reason];
}

bool attempt_is_overtaken(const struct attempt *attempt, const struct latency *latency)
{
    uint64_t usual_ns = latency_percentile_ns(latency, 0.99);

    return attempt->fetch.reason == FETCH_CANCELLED && attempt->flight->winner && usual_ns > 0 &&
           attempt->fetch.elapsed_ns >= usual_ns;
}

/* Those of 4xx that ask to come again (RFC 9110, RFC 8470, RFC 6585). */
static bool is_passing(int status)
{
    return status == 408 || status == 425 || status == 429;
}

bool attempt_is_answer(const struct attempt *attempt)
{
    const struct fetch *fetch = &attempt->fetch;

    if (fetch->reason == FETCH_HTTP_STATUS)
        return fetch->status < 500 && !is_passing(fetch->status);
    return fetch->reason == FETCH_OK || fetch->reason == FETCH_TOO_LARGE || fetch->reason == FETCH_FORBIDDEN;
}
