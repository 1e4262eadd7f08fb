/* What a flight that can be joined keeps of its first call, which may leave before it ends.
 *
 * One block of memory: a head, then what makes two calls the same (their URL, the headers that count), then
 * the headers that do not count.  The first two are the key; so looking for a flight to join costs one
 * allocation, and only the call that finds none has a target made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "upstream/upstream_int.h"

/* Compared as bytes: without padding. */
struct key_head {
    uint64_t timeout_ms;
    uint64_t max_bytes;
    uint64_t keep_max_bytes;
    uint64_t budget; /* the one above all others, by its address */
    uint64_t flags;
};

#define KEY_IS_CALL        1 /* bodies of errors are kept */
#define KEY_TELLS_DEADLINE 2

struct shared_request {
    struct fetch_target *target;
    struct fetch_call call;
    char traceparent[TRACE_PARENT_SIZE + 1]; /* what is too long stays too long */
    const char **headers;                    /* NULL behind the last */
    size_t header_count;
    size_t size; /* of `bytes` */
    size_t key_size;
    struct key_head head; /* with what follows: the key */
    char bytes[];         /* texts, each with its NUL */
};

/* They are another for each call, and change nothing of the answer. */
static const char *const passing_headers[] = {"traceparent:", "x-request-timeout:", "x-request-id:"};

static bool counts(const char *header)
{
    for (size_t i = 0; i < ARRAY_LEN(passing_headers); i++)
        if (strncasecmp(header, passing_headers[i], strlen(passing_headers[i])) == 0)
            return false;
    return true;
}

static bool can_be_shared(const struct upstream_call *call)
{
    return !call->may_visit && !call->may_connect &&
           (!call->request || (strcmp(call->request->method, "GET") == 0 && call->request->body_size == 0));
}

static const char *const *headers_of(const struct upstream_call *call)
{
    static const char *const none[] = {NULL};

    return call->request && call->request->headers ? call->request->headers : none;
}

/* FNV-1a, eight bytes at a time where there are as many. */
static uint64_t hash_of(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    while (size-- > 0)
        hash = (hash ^ *at++) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

/* A request's own budget may be gone before the others' replies: what is shared counts for all together. */
static struct budget *outermost(struct budget *budget)
{
    while (budget && budget->parent)
        budget = budget->parent;
    return budget;
}

static void put(struct shared_request *shared, const char *text)
{
    size_t size = strlen(text) + 1;

    memcpy(shared->bytes + shared->size, text, size);
    shared->size += size;
}

static void put_all(struct shared_request *shared, const struct upstream_call *call)
{
    put(shared, fetch_target_url(call->target));
    for (const char *const *header = headers_of(call); *header; header++)
        if (counts(*header))
            put(shared, *header);
    shared->key_size = shared->size;
    for (const char *const *header = headers_of(call); *header; header++)
        if (!counts(*header))
            put(shared, *header);
}

static size_t size_of_texts(const struct upstream_call *call, size_t *ret_header_count)
{
    size_t size = strlen(fetch_target_url(call->target)) + 1;
    size_t count = 0;

    for (const char *const *header = headers_of(call); *header; header++, count++)
        size += strlen(*header) + 1;
    *ret_header_count = count;
    return size;
}

struct shared_request *shared_create(const struct upstream_call *call, struct policy_key *ret_key)
{
    size_t header_count;

    if (!can_be_shared(call))
        return NULL;
    size_t size = size_of_texts(call, &header_count);
    struct shared_request *shared = malloc(sizeof(*shared) + size);
    if (!shared)
        return NULL;
    *shared = (struct shared_request){
        .header_count = header_count,
        .head = {.timeout_ms = call->timeout_ms,
                 .max_bytes = call->max_bytes,
                 .keep_max_bytes = call->keep_max_bytes,
                 .budget = (uintptr_t)outermost(call->budget),
                 .flags =
                     (call->request ? KEY_IS_CALL : 0) | (call->tells_deadline ? KEY_TELLS_DEADLINE : 0)},
    };
    put_all(shared, call);
    ret_key->bytes = &shared->head;
    ret_key->size = sizeof(shared->head) + shared->key_size;
    ret_key->hash = hash_of(ret_key->bytes, ret_key->size);
    return shared;
}

static bool take_headers(struct shared_request *shared)
{
    const char *text = shared->bytes;

    shared->headers = calloc(shared->header_count + 1, sizeof(*shared->headers));
    for (size_t i = 0; shared->headers && i < shared->header_count; i++)
        shared->headers[i] = text += strlen(text) + 1; /* the first text is the URL */
    return shared->headers != NULL;
}

bool shared_take(struct shared_request *shared, struct flight_request *request)
{
    if (fetch_target_create(shared->bytes, &shared->target, NULL) < 0 ||
        (request->call && !take_headers(shared)))
        return false;
    shared->call = (struct fetch_call){.method = "GET", .headers = shared->headers};
    request->target = shared->target;
    request->call = request->call ? &shared->call : NULL;
    if (request->traceparent) {
        snprintf(shared->traceparent, sizeof(shared->traceparent), "%s", request->traceparent);
        request->traceparent = shared->traceparent;
    }
    request->budget = outermost(request->budget);
    request->fetch_arg = NULL;
    return true;
}

void shared_free(struct shared_request *shared)
{
    if (!shared)
        return;
    fetch_target_free(shared->target);
    free(shared->headers);
    free(shared);
}
