/* What was decided under an upstream's lock and is done without it. */
#include <stdio.h>

#include "base/log.h"
#include "upstream/upstream_int.h"

#define BATCH_MAX 64

void outbox_init(struct outbox *outbox, struct upstreams *upstreams, uint64_t now_ns)
{
    outbox->upstreams = upstreams;
    outbox->now_ns = now_ns;
    outbox->log_text = NULL;
    STAILQ_INIT(&outbox->starts);
    STAILQ_INIT(&outbox->cancels);
    STAILQ_INIT(&outbox->ended);
    TAILQ_INIT(&outbox->told);
}

/* What was not sent ends at once. */
static void end_unsent(struct attempt *attempt, struct outbox *outbox)
{
    struct fetch *fetch = &attempt->fetch;
    bool is_cancelled = attempt_is_cancelled(attempt);

    fetch->reason = is_cancelled ? FETCH_CANCELLED : FETCH_CONNECT;
    snprintf(fetch->error, sizeof(fetch->error), "%s", is_cancelled ? "cancelled" : "out of memory");
    flight_attempt_ended(attempt, outbox);
    flight_unref(attempt->flight);
}

static size_t take_batch(struct outbox *outbox, struct fetch *fetches[BATCH_MAX])
{
    struct attempt *attempt;
    size_t count = 0;

    while (count < BATCH_MAX && (attempt = STAILQ_FIRST(&outbox->starts))) {
        STAILQ_REMOVE_HEAD(&outbox->starts, start_link);
        if (attempt_is_cancelled(attempt) || !attempt_prepare(attempt))
            end_unsent(attempt, outbox);
        else
            fetches[count++] = &attempt->fetch;
    }
    return count;
}

static void send_starts(struct outbox *outbox)
{
    struct fetch *fetches[BATCH_MAX];
    size_t count;

    while ((count = take_batch(outbox, fetches)) > 0) {
        fetch_submit(outbox->upstreams->pool, fetches, count);
        for (size_t i = 0; i < count; i++) {
            struct attempt *attempt = container_of(fetches[i], struct attempt, fetch);
            attempt_sent(attempt);
            flight_unref(attempt->flight);
        }
    }
}

static void send_cancels(struct outbox *outbox)
{
    struct attempt *attempt;

    while ((attempt = STAILQ_FIRST(&outbox->cancels))) {
        STAILQ_REMOVE_HEAD(&outbox->cancels, cancel_link);
        attempt_cancel(attempt);
        flight_unref(attempt->flight);
    }
}

static void tell(struct outbox *outbox)
{
    struct upstream_call *call;
    struct flight *flight;

    while ((call = TAILQ_FIRST(&outbox->told))) {
        TAILQ_REMOVE(&outbox->told, call, link);
        upstream_count_end(call->upstream, call);
        call->done(call);
    }
    while ((flight = STAILQ_FIRST(&outbox->ended))) {
        STAILQ_REMOVE_HEAD(&outbox->ended, outbox_link);
        flight_tell(flight, outbox->now_ns);
    }
}

static void write_log(struct outbox *outbox)
{
    const char *text = outbox->log_text;

    if (!text)
        return;
    outbox->log_text = NULL;
    if (outbox->log_address[0] != '\0')
        log_warning(text, LOG_STR("upstream", upstream_name(outbox->log_upstream)),
                    LOG_STR("address", outbox->log_address));
    else
        log_warning(text, LOG_STR("upstream", upstream_name(outbox->log_upstream)));
}

void outbox_flush(struct outbox *outbox)
{
    send_starts(outbox);
    send_cancels(outbox);
    write_log(outbox);
    tell(outbox);
}
