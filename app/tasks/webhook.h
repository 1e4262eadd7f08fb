/* webhook.h - signatures that tell a receiver who has sent a call: Standard Webhooks 1.0, symmetric.
 *
 * How to use it: send the call with the headers
 *     webhook-id: ID                  the same for each attempt, so that the receiver sees repetitions
 *     webhook-timestamp: SECONDS      of this attempt, since 1970
 *     webhook-signature: SIGNATURE    what webhook_sign gives for both and the body
 * Threads: any.  Ownership: nothing is kept; the key is wiped from memory. */
#pragma once

#include "base/common.h"
#include "base/err.h"

/* A longer secret is refused. */
#define WEBHOOK_SECRET_MAX_BYTES 512

/* "v1,", the base64 of 32 bytes, and NUL. */
#define WEBHOOK_SIGNATURE_SIZE 48

/* 0 when webhook_sign takes the secret: "whsec_" and the base64 of the key (with its padding), or any other
 * text, whose bytes are then the key.  Otherwise -EINVAL, with a text that does not repeat it. */
must_check int webhook_check_secret(const char *secret, struct err *err);

/* Signs ID.TIMESTAMP.BODY with HMAC-SHA256.  Returns 0, -EINVAL for the secret, or -ENOMEM.  The id has no
 * dot in it (a UUID has none), or the signature would fit other parts as well. */
must_check int webhook_sign(const char *secret, const char *id, uint64_t timestamp_s, const void *body,
                            size_t size, char ret_signature[WEBHOOK_SIGNATURE_SIZE], struct err *err);
