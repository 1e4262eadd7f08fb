#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/upstream_int.h"

static void on_timer(struct timer *timer);

/* ---- life ---- */

/* RFC 9110, section 9.2.2. */
static bool is_idempotent(const struct fetch_call *request)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};

    for (size_t i = 0; request && i < ARRAY_LEN(methods); i++)
        if (strcmp(request->method, methods[i]) == 0)
            return true;
    return !request;
}

struct flight *flight_create(struct upstream_call *call)
{
    struct flight *flight = calloc(1, sizeof(*flight));

    if (!flight)
        return NULL;
    atomic_init(&flight->refs, 1);
    flight->upstream = call->upstream;
    flight->request = (struct flight_request){
        .target = call->target,
        .call = call->request,
        .traceparent = call->request ? call->traceparent : NULL,
        .tells_deadline = call->request && call->tells_deadline,
        .timeout_ms = call->timeout_ms,
        .max_bytes = call->max_bytes,
        .keep_max_bytes = call->keep_max_bytes,
        .budget = call->budget,
        .may_visit = call->may_visit,
        .may_connect = call->may_connect,
        .fetch_arg = call->fetch_arg,
    };
    flight->is_idempotent = is_idempotent(call->request);
    flight->deadline_ns = call->deadline_ns;
    flight->first_deadline_ns = call->deadline_ns;
    flight->hedge_at_ns = CLOCK_NEVER;
    if (policies_share(call->upstream))
        flight->shared = shared_create(call, &flight->key);
    TAILQ_INIT(&flight->calls);
    TAILQ_INIT(&flight->leavers);
    TAILQ_INSERT_TAIL(&flight->calls, call, link);
    return flight;
}

struct flight *flight_ref(struct flight *flight)
{
    atomic_fetch_add_explicit(&flight->refs, 1, memory_order_relaxed);
    return flight;
}

static void free_flight(struct flight *flight)
{
    struct attempt *attempt;

    while ((attempt = SLIST_FIRST(&flight->attempts))) {
        SLIST_REMOVE_HEAD(&flight->attempts, link);
        attempt_done(attempt);
        if (attempt != &flight->first)
            free(attempt);
    }
    shared_free(flight->shared);
    free(flight);
}

void flight_unref(struct flight *flight)
{
    if (atomic_fetch_sub_explicit(&flight->refs, 1, memory_order_acq_rel) == 1)
        free_flight(flight);
}

void flight_drop_reply(struct flight *flight)
{
    struct attempt *attempt;

    for (attempt = SLIST_FIRST(&flight->attempts); attempt; attempt = SLIST_NEXT(attempt, link))
        attempt_done(attempt);
    flight_unref(flight);
}

static bool is_stopping(const struct upstream *upstream)
{
    return atomic_load(&upstream->upstreams->is_stopping);
}

/* ---- its timer ---- */

static bool is_abandoned(const struct flight *flight)
{
    return flight->is_cancelled || flight->is_too_late;
}

/* When there will be something to do, apart from the ends of attempts. */
static uint64_t due_ns(const struct flight *flight, uint64_t now_ns)
{
    uint64_t due_ns = CLOCK_NEVER;

    if (!TAILQ_EMPTY(&flight->leavers) || (is_abandoned(flight) && flight->running == 0))
        return now_ns;
    if (is_abandoned(flight) || flight->winner)
        return CLOCK_NEVER;
    if (flight->state == FLIGHT_QUEUED)
        due_ns = flight->deadline_ns;
    else if (flight->state == FLIGHT_PAUSED)
        due_ns = flight->paused_until_ns;
    else if (flight->state == FLIGHT_RUNNING)
        due_ns = flight->hedge_at_ns;
    return flight->shared ? MIN(due_ns, flight->first_deadline_ns) : due_ns;
}

/* One that is set earlier looks again by itself. */
static void arm_locked(struct flight *flight, uint64_t now_ns)
{
    struct timers *timers = flight->upstream->upstreams->timers;
    uint64_t at_ns = due_ns(flight, now_ns);

    if (at_ns == CLOCK_NEVER || is_stopping(flight->upstream))
        return;
    if (flight->timer_ns != 0) {
        if (flight->timer_ns <= at_ns || !timer_cancel(timers, &flight->timer))
            return; /* is being called: on_timer waits for the lock */
    } else {
        flight_ref(flight);
    }
    flight->timer_ns = at_ns;
    timer_set(timers, &flight->timer, at_ns, on_timer);
}

static void disarm_locked(struct flight *flight)
{
    if (flight->timer_ns == 0 || !timer_cancel(flight->upstream->upstreams->timers, &flight->timer))
        return;
    flight->timer_ns = 0;
    flight_unref(flight); /* not the last: it lives */
}

/* ---- ending ---- */

static void leave_list_locked(struct flight *flight, uint64_t now_ns)
{
    struct upstream *upstream = flight->upstream;

    if (flight->state == FLIGHT_PAUSED) {
        TAILQ_REMOVE(&upstream->paused, flight, link);
    } else if (flight->state == FLIGHT_QUEUED) {
        TAILQ_REMOVE(&upstream->queue, flight, link);
        upstream->queued--;
        upstream_count_queued(upstream, -1);
        flight->queued_ns += now_ns > flight->queued_since_ns ? now_ns - flight->queued_since_ns : 0;
    }
}

/* No more calls join. */
static void close_locked(struct flight *flight)
{
    if (flight->is_open)
        policies_close_locked(flight->upstream, &flight->key);
    flight->is_open = false;
}

static void cancel_attempts_locked(struct flight *flight, struct outbox *outbox)
{
    struct attempt *attempt;

    for (attempt = SLIST_FIRST(&flight->attempts); attempt; attempt = SLIST_NEXT(attempt, link)) {
        if (!attempt->is_running || attempt->is_cancelled)
            continue;
        attempt->is_cancelled = true;
        flight_ref(flight);
        STAILQ_INSERT_TAIL(&outbox->cancels, attempt, cancel_link);
    }
}

/* Its reply is filled in. */
static void end_locked(struct flight *flight, struct outbox *outbox)
{
    struct upstream_call *call;

    assert(flight->running == 0 && flight->state != FLIGHT_ENDED);
    close_locked(flight);
    leave_list_locked(flight, outbox->now_ns);
    flight->state = FLIGHT_ENDED;
    for (call = TAILQ_FIRST(&flight->calls); call; call = TAILQ_NEXT(call, link)) {
        call->flight = NULL;
        flight->upstream->outcomes_total[flight->reply.reason]++;
    }
    TAILQ_CONCAT(&outbox->told, &flight->leavers, link);
    disarm_locked(flight);
    STAILQ_INSERT_TAIL(&outbox->ended, flight, outbox_link);
}

static void end_with_attempt_locked(struct flight *flight, struct attempt *attempt, struct outbox *outbox)
{
    reply_fill_fetched(&flight->reply, &attempt->fetch);
    if (flight->is_too_late && attempt->fetch.reason == FETCH_CANCELLED)
        reply_fill_as(&flight->reply, REPLY_TIMEOUT);
    end_locked(flight, outbox);
}

/* An earlier failure says more than that there was no room to try again. */
static void end_refused_locked(struct flight *flight, const struct policy_refusal *refusal,
                               struct outbox *outbox)
{
    if (flight->last) {
        end_with_attempt_locked(flight, flight->last, outbox);
        return;
    }
    reply_fill_refused(&flight->reply, refusal);
    end_locked(flight, outbox);
}

static void end_abandoned_locked(struct flight *flight, struct outbox *outbox)
{
    if (flight->is_cancelled)
        reply_fill_as(&flight->reply, REPLY_CANCELLED);
    else if (flight->last)
        reply_fill_fetched(&flight->reply, &flight->last->fetch);
    else
        reply_fill_as(&flight->reply, REPLY_QUEUE_TIMEOUT);
    end_locked(flight, outbox);
}

static void set_result(struct upstream_call *call, const struct flight *flight, struct upstream_reply *reply,
                       uint64_t now_ns)
{
    call->reply = reply;
    call->attempts = call->is_coalesced ? 0 : flight->attempt_count;
    call->is_hedged = flight->is_hedged;
    call->queued_ns = flight->queued_ns;
    call->elapsed_ns = now_ns > call->start_ns ? now_ns - call->start_ns : 0;
}

/* All references to the reply are there before the first call is told, and none is ours: who gives back the
 * last one finds the bodies gone, and may end the budget that they were taken from. */
void flight_tell(struct flight *flight, uint64_t now_ns)
{
    struct upstream_call *call;
    unsigned count = 0;

    for (call = TAILQ_FIRST(&flight->calls); call; call = TAILQ_NEXT(call, link))
        count++;
    assert(count > 0);
    atomic_init(&flight->reply.refs, count);
    flight_ref(flight); /* the replies' */
    while ((call = TAILQ_FIRST(&flight->calls))) {
        TAILQ_REMOVE(&flight->calls, call, link);
        set_result(call, flight, &flight->reply, now_ns);
        upstream_count_end(call->upstream, call);
        call->done(call);
    }
    flight_unref(flight);
}

/* A call goes and the flight goes on. */
static void detach_locked(struct upstream_call *call, enum reply_kind kind, struct call_list *to,
                          uint64_t now_ns)
{
    struct flight *flight = call->flight;

    TAILQ_REMOVE(&flight->calls, call, link);
    set_result(call, flight, reply_static(kind), now_ns);
    flight->upstream->outcomes_total[call->reply->reason]++;
    call->flight = NULL;
    TAILQ_INSERT_TAIL(to, call, link);
}

static bool is_only_call(const struct upstream_call *call)
{
    return TAILQ_FIRST(&call->flight->calls) == call && !TAILQ_NEXT(call, link);
}

/* ---- starting ---- */

static bool start_attempt_locked(struct flight *flight, bool is_hedge, struct outbox *outbox)
{
    struct upstream *upstream = flight->upstream;
    struct attempt *attempt = attempt_create_locked(flight, outbox->now_ns, is_hedge);

    if (!attempt)
        return false;
    leave_list_locked(flight, outbox->now_ns);
    flight->state = FLIGHT_RUNNING;
    flight->running++;
    flight->attempt_count++;
    flight->tries += !is_hedge;
    flight->is_hedged |= is_hedge;
    upstream->in_flight++;
    upstream->attempts_total++;
    upstream_count_in_flight(upstream, 1);
    attempt->is_running = true;
    SLIST_INSERT_HEAD(&flight->attempts, attempt, link);
    policies_started_locked(attempt, outbox->now_ns);
    flight_ref(flight);
    STAILQ_INSERT_TAIL(&outbox->starts, attempt, start_link);
    return true;
}

static void plan_hedge_locked(struct flight *flight, uint64_t now_ns)
{
    uint64_t after_ns = CLOCK_NEVER;

    if (flight->is_idempotent && !flight->is_hedged)
        after_ns = policies_hedge_after_ns_locked(flight->upstream, now_ns);
    flight->hedge_at_ns = after_ns == CLOCK_NEVER ? CLOCK_NEVER : now_ns + after_ns;
}

static void enqueue_locked(struct flight *flight, uint64_t now_ns)
{
    struct upstream *upstream = flight->upstream;

    leave_list_locked(flight, now_ns);
    flight->state = FLIGHT_QUEUED;
    flight->queued_since_ns = now_ns;
    TAILQ_INSERT_TAIL(&upstream->queue, flight, link);
    upstream->queued++;
    upstream_count_queued(upstream, 1);
}

/* False when it waits. */
static bool try_start_locked(struct flight *flight, struct outbox *outbox)
{
    struct policy_refusal refusal = {FETCH_OVERLOADED, 1, "refused: out of memory"};
    enum policy_verdict verdict = policies_admit_locked(flight, outbox->now_ns, false, &refusal);

    if (verdict == POLICY_PASS && start_attempt_locked(flight, false, outbox)) {
        plan_hedge_locked(flight, outbox->now_ns);
    } else if (verdict == POLICY_WAIT) {
        if (flight->state != FLIGHT_QUEUED)
            enqueue_locked(flight, outbox->now_ns);
    } else {
        end_refused_locked(flight, &refusal, outbox);
        return true;
    }
    arm_locked(flight, outbox->now_ns);
    return verdict != POLICY_WAIT;
}

static void try_hedge_locked(struct flight *flight, struct outbox *outbox)
{
    struct policy_refusal refusal; /* nobody is told */

    flight->hedge_at_ns = CLOCK_NEVER;
    if (policies_admit_locked(flight, outbox->now_ns, true, &refusal) == POLICY_PASS)
        (void)start_attempt_locked(flight, true, outbox);
}

static void start_waiting_locked(struct upstream *upstream, struct outbox *outbox)
{
    struct flight *flight;

    while ((flight = TAILQ_FIRST(&upstream->queue))) {
        if (is_abandoned(flight)) /* and its timer has not come to it yet */
            end_abandoned_locked(flight, outbox);
        else if (!try_start_locked(flight, outbox))
            break;
    }
}

/* ---- submitting ---- */

/* Refused before there was a flight. */
static void end_call_locked(struct flight *flight, enum reply_kind kind, struct outbox *outbox)
{
    struct upstream_call *call = TAILQ_FIRST(&flight->calls);

    call->flight = flight;
    detach_locked(call, kind, &outbox->told, outbox->now_ns);
    flight_unref(flight);
}

static void join_locked(struct flight *flight, struct flight *unused, struct outbox *outbox)
{
    struct upstream_call *call = TAILQ_FIRST(&unused->calls);

    TAILQ_REMOVE(&unused->calls, call, link);
    flight_unref(unused);
    call->flight = flight;
    call->is_coalesced = true;
    TAILQ_INSERT_TAIL(&flight->calls, call, link);
    flight->deadline_ns = MAX(flight->deadline_ns, call->deadline_ns);
    flight->first_deadline_ns = MIN(flight->first_deadline_ns, call->deadline_ns);
    arm_locked(flight, outbox->now_ns);
}

static void open_locked(struct flight *flight)
{
    if (!shared_take(flight->shared, &flight->request)) {
        shared_free(flight->shared);
        flight->shared = NULL;
        return;
    }
    flight->is_open = true;
    policies_open_locked(flight->upstream, &flight->key);
}

void flight_submit_locked(struct flight *flight, struct outbox *outbox)
{
    struct upstream *upstream = flight->upstream;
    struct upstream_call *call = TAILQ_FIRST(&flight->calls);
    struct policy_key *key = NULL;

    upstream->requests_total++;
    if (call->is_cancelled || is_stopping(upstream)) {
        end_call_locked(flight, REPLY_CANCELLED, outbox);
        return;
    }
    if (call->deadline_ns <= outbox->now_ns) {
        end_call_locked(flight, REPLY_TIMEOUT, outbox);
        return;
    }
    if (flight->shared && (key = policies_join_locked(upstream, &flight->key))) {
        join_locked(container_of(key, struct flight, key), flight, outbox);
        return;
    }
    call->flight = flight;
    if (flight->shared)
        open_locked(flight);
    (void)try_start_locked(flight, outbox);
}

/* ---- leaving ---- */

static void abandon_locked(struct flight *flight, struct outbox *outbox)
{
    close_locked(flight);
    cancel_attempts_locked(flight, outbox);
}

/* The last call stays with its flight until the attempts have ended: they hold what it has lent.  Calls are
 * never told here, for who cancels may hold a lock of its own. */
void flight_leave_locked(struct upstream_call *call, struct outbox *outbox)
{
    struct flight *flight = call->flight;

    if (is_only_call(call)) {
        flight->is_cancelled = true;
        abandon_locked(flight, outbox);
    } else {
        detach_locked(call, REPLY_CANCELLED, &flight->leavers, outbox->now_ns);
    }
    arm_locked(flight, outbox->now_ns);
}

/* Ends the calls of a shared flight whose own time is over. */
static void expire_calls_locked(struct flight *flight, struct outbox *outbox)
{
    enum reply_kind kind = flight->attempt_count > 0 ? REPLY_TIMEOUT : REPLY_QUEUE_TIMEOUT;
    struct upstream_call *next;

    flight->first_deadline_ns = CLOCK_NEVER;
    for (struct upstream_call *call = TAILQ_FIRST(&flight->calls); call; call = next) {
        next = TAILQ_NEXT(call, link);
        if (call->deadline_ns > outbox->now_ns) {
            flight->first_deadline_ns = MIN(flight->first_deadline_ns, call->deadline_ns);
        } else if (is_only_call(call)) {
            flight->is_too_late = true;
            abandon_locked(flight, outbox);
        } else {
            detach_locked(call, kind, &outbox->told, outbox->now_ns);
        }
    }
}

/* ---- what happens later ---- */

static void look_locked(struct flight *flight, struct outbox *outbox)
{
    uint64_t now_ns = outbox->now_ns;

    TAILQ_CONCAT(&outbox->told, &flight->leavers, link);
    if (flight->shared && !is_abandoned(flight) && !flight->winner && now_ns >= flight->first_deadline_ns)
        expire_calls_locked(flight, outbox);
    if (flight->state == FLIGHT_QUEUED && now_ns >= flight->deadline_ns)
        flight->is_too_late = true;
    if (is_abandoned(flight) && flight->running == 0) {
        end_abandoned_locked(flight, outbox);
        return;
    }
    if (flight->state == FLIGHT_PAUSED && now_ns >= flight->paused_until_ns) {
        (void)try_start_locked(flight, outbox);
        return;
    }
    if (flight->state == FLIGHT_RUNNING && !is_abandoned(flight) && !flight->winner &&
        now_ns >= flight->hedge_at_ns)
        try_hedge_locked(flight, outbox);
    arm_locked(flight, now_ns);
}

static void on_timer(struct timer *timer)
{
    struct flight *flight = container_of(timer, struct flight, timer);
    struct upstream *upstream = flight->upstream;
    struct outbox outbox;

    outbox_init(&outbox, upstream->upstreams, clock_now_ns());
    mutex_lock(&upstream->lock);
    flight->timer_ns = 0;
    if (flight->state != FLIGHT_ENDED && !is_stopping(upstream))
        look_locked(flight, &outbox);
    mutex_unlock(&upstream->lock);
    outbox_flush(&outbox);
    flight_unref(flight);
}

/* A call without a deadline does not rest longer than an attempt may take, whatever Retry-After says. */
static uint64_t retry_deadline_ns(const struct flight *flight, uint64_t now_ns)
{
    return flight->deadline_ns != CLOCK_NEVER ? flight->deadline_ns
                                              : clock_deadline_ns(now_ns, attempt_timeout_ms(flight));
}

static bool pause_locked(struct flight *flight, const struct attempt *attempt, uint64_t now_ns)
{
    const struct policy_failure failure = {
        .now_ns = now_ns,
        .deadline_ns = retry_deadline_ns(flight, now_ns),
        .typical_ns = latency_percentile_ns(&flight->upstream->latency, 0.5),
        .tries = flight->tries,
        .is_idempotent = flight->is_idempotent,
        .reason = attempt->fetch.reason,
        .status = attempt->fetch.status,
        .retry_after_s = attempt->fetch.retry_after_s,
    };

    if (attempt->fetch.reason == FETCH_OK || is_abandoned(flight) || is_stopping(flight->upstream))
        return false;
    uint64_t pause_ns = policies_retry_after_ns_locked(flight->upstream, &failure);
    if (pause_ns == CLOCK_NEVER)
        return false;
    flight->state = FLIGHT_PAUSED;
    flight->paused_until_ns = now_ns + pause_ns;
    TAILQ_INSERT_TAIL(&flight->upstream->paused, flight, link);
    arm_locked(flight, now_ns);
    return true;
}

static void note_end_locked(struct attempt *attempt, bool wins, struct outbox *outbox)
{
    struct upstream *upstream = attempt->flight->upstream;
    const struct policy_end end = {
        .now_ns = outbox->now_ns,
        .elapsed_ns = outbox->now_ns - attempt->started_ns,
        .health = attempt_health(attempt, &upstream->latency),
        .is_hedge = attempt->is_hedge,
        .wins = wins,
        .is_overtaken = attempt_is_overtaken(attempt, &upstream->latency),
        .chosen = attempt->address,
        .address = attempt->fetch.address,
    };

    if (attempt->fetch.reason == FETCH_OK)
        latency_note(&upstream->latency, end.now_ns, end.elapsed_ns);
    const char *text = policies_ended_locked(attempt, &end);
    if (!text)
        return;
    outbox->log_text = text;
    outbox->log_upstream = upstream;
    snprintf(outbox->log_address, sizeof(outbox->log_address), "%s", attempt->address);
}

/* What comes behind an attempt that has ended: the other one, another one, or the end. */
static void go_on_locked(struct attempt *attempt, bool wins, struct outbox *outbox)
{
    struct flight *flight = attempt->flight;

    if (wins) {
        flight->winner = attempt;
        abandon_locked(flight, outbox);
    } else if (!flight->winner) {
        flight->last = attempt;
    }
    if (flight->running > 0)
        return;
    if (flight->winner)
        end_with_attempt_locked(flight, flight->winner, outbox);
    else if (!pause_locked(flight, attempt, outbox->now_ns))
        end_with_attempt_locked(flight, attempt, outbox);
}

/* An answer that is an error wins only over one that runs: else it might be tried again. */
void flight_attempt_ended(struct attempt *attempt, struct outbox *outbox)
{
    struct flight *flight = attempt->flight;
    struct upstream *upstream = flight->upstream;

    LOCK(&upstream->lock);
    attempt->is_running = false;
    flight->running--;
    upstream->in_flight--;
    upstream_count_in_flight(upstream, -1);
    bool wins = !flight->winner && attempt_is_answer(attempt) &&
                (attempt->fetch.reason == FETCH_OK || flight->running > 0);
    note_end_locked(attempt, wins, outbox);
    go_on_locked(attempt, wins, outbox);
    start_waiting_locked(upstream, outbox);
}

void flight_end_waiting_locked(struct upstream *upstream, struct outbox *outbox)
{
    struct flight *flight;

    while ((flight = TAILQ_FIRST(&upstream->queue)) || (flight = TAILQ_FIRST(&upstream->paused))) {
        flight->is_cancelled = true;
        end_abandoned_locked(flight, outbox);
    }
}
