/* reply.h - an answer, planned to its last byte before the first is sent.
 *
 * A reply is a list of segments, a total that may be less than they hold (then it breaks off), pauses, and
 * what becomes of the connection at the end. Who sends it needs to know nothing else about the request.
 *
 * Ownership: the builders return the one draft, which the next builder overwrites; so a reply that is sent at
 * once costs no allocation. reply_keep makes a copy of a draft that lasts until reply_free. */
#pragma once

#include "content.h"
#include "request.h"

#include <sys/uio.h>

#define REPLY_SEGMENTS_MAX 12

enum reply_end { REPLY_END_KEEP, REPLY_END_CLOSE, REPLY_END_LINGER, REPLY_END_RESET, REPLY_END_COUNT };

struct reply {
    uint64_t total;    /* bytes to send */
    uint64_t head_len; /* of the HTTP header at their beginning */
    int64_t delay_ns;
    int64_t drip_header_ns; /* pause after each byte of the header, 0: none */
    int64_t drip_ns;        /* of the body */
    enum reply_end end;
    bool stall;   /* never begin */
    bool counted; /* in the statistics; only control's answers are not */
    uint64_t key; /* of the request, for record_gone */
    unsigned segment_count;
    struct segment segments[REPLY_SEGMENTS_MAX];
    size_t text_len;
    char text[];
};

struct stats {
    uint64_t requests;
    uint64_t connections_open;
    uint64_t connections_total;
    uint64_t in_flight;
    uint64_t max_in_flight;
    uint64_t aborted;
};

/* True when the answer needs the body of the request, which is then to be in it. */
bool reply_wants_body(const struct request *request);

struct reply *reply_build(const struct request *request, const struct stats *stats);

/* For what is not a request; the connection cannot be used after it. */
struct reply *reply_build_error(unsigned status);

struct reply *reply_keep(struct reply *reply);

/* Does nothing to NULL and to the draft. */
void reply_free(struct reply *reply);

/* How far after byte `from` one may send without a pause: returns the pause that follows. */
int64_t reply_pace(const struct reply *reply, uint64_t from, uint64_t *ret_until);

/* Bytes `from` to `until` as at most `max` vectors; how many there are. They may end before `until`. */
int reply_vectors(const struct reply *reply, uint64_t from, uint64_t until, struct iovec *vectors, int max);
