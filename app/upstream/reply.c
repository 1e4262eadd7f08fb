/* What calls are told.  A reply is part of its flight: the bodies stay where the fetch has put them until the
 * last reference to the reply is gone. */
#include <stdio.h>

#include "upstream/upstream_int.h"

/* Their first reference is never given back. */
static struct upstream_reply static_replies[REPLY_KIND_COUNT] = {
    [REPLY_CANCELLED] = {.refs = 1, .reason = FETCH_CANCELLED, .error = "cancelled"},
    [REPLY_TIMEOUT] = {.refs = 1,
                       .reason = FETCH_TIMEOUT,
                       .error = "the time was over before there was an answer"},
    [REPLY_QUEUE_TIMEOUT] = {.refs = 1,
                             .reason = FETCH_OVERLOADED,
                             .retry_after_s = 1,
                             .error = "refused: the time was over before it was its turn"},
    [REPLY_NO_MEMORY] = {.refs = 1,
                         .reason = FETCH_OVERLOADED,
                         .retry_after_s = 1,
                         .error = "refused: out of memory"},
};

struct upstream_reply *reply_static(enum reply_kind kind)
{
    return upstream_reply_ref(&static_replies[kind]);
}

struct upstream_reply *upstream_reply_ref(struct upstream_reply *reply)
{
    atomic_fetch_add_explicit(&reply->refs, 1, memory_order_relaxed);
    return reply;
}

void upstream_reply_unref(struct upstream_reply *reply)
{
    if (reply && atomic_fetch_sub_explicit(&reply->refs, 1, memory_order_acq_rel) == 1)
        flight_drop_reply(container_of(reply, struct flight, reply));
}

void upstream_call_done(struct upstream_call *call)
{
    upstream_reply_unref(call->reply);
    call->reply = NULL;
}

void reply_fill_as(struct upstream_reply *reply, enum reply_kind kind)
{
    const struct upstream_reply *like = &static_replies[kind];

    reply->reason = like->reason;
    reply->retry_after_s = like->retry_after_s;
    snprintf(reply->error, sizeof(reply->error), "%s", like->error);
}

void reply_fill_refused(struct upstream_reply *reply, const struct policy_refusal *refusal)
{
    reply->reason = refusal->reason;
    reply->retry_after_s = refusal->retry_after_s;
    snprintf(reply->error, sizeof(reply->error), "%s", refusal->text);
}

void reply_fill_fetched(struct upstream_reply *reply, const struct fetch *fetch)
{
    reply->reason = fetch->reason;
    reply->status = fetch->status;
    reply->content_type = fetch->content_type;
    reply->body = fetch->body;
    reply->body_is_whole = fetch->body_is_whole;
    reply->retry_after_s = fetch->retry_after_s;
    snprintf(reply->charset, sizeof(reply->charset), "%s", fetch->charset);
    snprintf(reply->error, sizeof(reply->error), "%s", fetch->error);
}
