/* What becomes of the bytes of an answer: counted, kept up to keep_max_bytes, charged to the budget.
 *
 * The buffer doubles while it is small and then goes at once to all that may be kept: memory that nothing
 * has been written to costs nothing, while doubling on would move the body again and again, and leave the
 * allocator with as much memory in pieces that are too small for what follows.  So the budget is charged
 * for what has come, in steps, and a body costs little more than its bytes at any time. */
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch_int.h"

#define CAPACITY_MIN_BYTES 256
#define CHARGE_STEP_BYTES  ((size_t)16 * 1024)
#define DOUBLING_MAX_BYTES ((size_t)256 * 1024)

size_t body_max_bytes(const struct fetch *fetch)
{
    return fetch->max_bytes > 0 ? fetch->max_bytes : fetch->worker->pool->config->fetch.max_response_bytes;
}

/* A whole step, or what is needed when there is no room for that. */
static bool charge(struct fetch *fetch, size_t need)
{
    if (!fetch->budget || need <= fetch->charged_bytes)
        return true;
    size_t exact = need - fetch->charged_bytes;
    size_t stepped =
        (need + CHARGE_STEP_BYTES - 1) / CHARGE_STEP_BYTES * CHARGE_STEP_BYTES - fetch->charged_bytes;
    if (budget_take(fetch->budget, stepped)) {
        fetch->charged_bytes += stepped;
        return true;
    }
    if (!budget_take(fetch->budget, exact))
        return false;
    fetch->charged_bytes += exact;
    return true;
}

/* What the upstream says that will come is taken at once: were all to take what they need bit by bit, all
 * could fail half received.  Of a compressed body it is the least that there will be. */
static size_t declared_bytes(const struct fetch *fetch)
{
    curl_off_t length = -1;

    curl_easy_getinfo(fetch->transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length > 0 ? (size_t)MIN((uint64_t)length, (uint64_t)fetch->body.max) : 0;
}

static bool charge_first(struct fetch *fetch, size_t need)
{
    return !fetch->budget || fetch->charged_bytes > 0 || charge(fetch, MAX(need, declared_bytes(fetch)));
}

static bool set_capacity(struct buf *body, size_t capacity)
{
    char *data = realloc(body->data, capacity);

    if (!data)
        return false;
    body->data = data;
    body->capacity = capacity;
    return true;
}

static bool grow(struct buf *body, size_t need)
{
    size_t doubled = MIN(MAX(need, MAX(body->capacity * 2, (size_t)CAPACITY_MIN_BYTES)), body->max);

    if (need <= body->capacity)
        return true;
    if (doubled > DOUBLING_MAX_BYTES && set_capacity(body, body->max))
        return true;
    return set_capacity(body, doubled);
}

static enum body_state keep(struct fetch *fetch, const char *bytes, size_t size)
{
    struct buf *body = &fetch->body;

    if (size == 0)
        return BODY_GOES_ON;
    if (!charge_first(fetch, body->size + size) || !charge(fetch, body->size + size))
        return BODY_NO_ROOM;
    if (!grow(body, body->size + size))
        return BODY_NO_MEMORY;
    memcpy(body->data + body->size, bytes, size);
    body->size += size;
    return BODY_GOES_ON;
}

size_t body_receive(char *bytes, size_t one, size_t size, void *arg)
{
    struct transfer *transfer = arg;
    struct fetch *fetch = transfer->fetch;

    (void)one;
    fetch->received_bytes += size;
    if (fetch->received_bytes > transfer->max_bytes)
        transfer->body_state = BODY_TOO_LARGE;
    else
        transfer->body_state = keep(fetch, bytes, MIN(size, fetch->body.max - fetch->body.size));
    return transfer->body_state == BODY_GOES_ON ? size : 0;
}

void body_settle(struct fetch *fetch)
{
    struct buf *body = &fetch->body;
    size_t wanted = fetch->budget ? fetch->charged_bytes : DOUBLING_MAX_BYTES;

    if (body->capacity > wanted && !set_capacity(body, body->size))
        body->capacity = body->size; /* it could not be made smaller: nobody is to write there */
    if (fetch->budget)
        budget_give(fetch->budget, fetch->charged_bytes - body->capacity);
    fetch->charged_bytes = 0;
}

void body_drop(struct fetch *fetch)
{
    if (fetch->budget)
        budget_give(fetch->budget, fetch->charged_bytes);
    fetch->charged_bytes = 0;
    buf_done(&fetch->body);
}
