/* message.h - a message as mail servers take it: header fields and MIME parts (RFC 5322, 2045, 2046, 2047).
 *
 * How to use it: fill in a struct message, message_write into a buffer whose max is the largest message.
 * Not libcurl's curl_mime: it makes up another boundary each time and needs a transfer to tell what it
 * wrote.  Here the same message is the same bytes, but for its date.
 * Ownership: everything is lent for the call.  Threads: any.
 * Invariants: every line ends with CR LF and has at most 998 bytes before that, all of them ASCII; no field's
 * value can begin another field or the body. */
#pragma once

#include "base/buf.h"
#include "mail/address.h"

/* RFC 5322, section 2.1.1: a line. */
#define MESSAGE_SUBJECT_MAX_BYTES 998

#define MESSAGE_ID_MAX_BYTES 64 /* of `id` */
#define MESSAGE_ID_SIZE      (MESSAGE_ID_MAX_BYTES + ADDRESS_MAX_BYTES + 4)

struct message {
    const char *id; /* letters, digits and '-' only: what makes the Message-ID and the boundary unique */
    uint64_t wall_ms;
    const struct address *from;
    const struct address *reply_to; /* NULL: none */
    const struct address *to;
    size_t to_count;
    const struct address *cc;
    size_t cc_count;
    const char *subject; /* valid UTF-8 without control characters */
    const char *text;    /* valid UTF-8, lines end as they like; NULL: none */
    const char *html;    /* the same; one of the two is there */
};

/* Appends the message; out->failed when it does not fit. */
void message_write(const struct message *message, struct buf *out);

/* The Message-ID with its angle brackets. */
void message_format_id(const struct message *message, char ret_id[MESSAGE_ID_SIZE]);

/* Whether a subject is what struct message asks for. */
must_check bool message_is_subject(const char *text, size_t size);
