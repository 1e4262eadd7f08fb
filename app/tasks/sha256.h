/* sha256.h - SHA-256 of bytes that come in pieces.
 *
 * How to use it:
 *     cleanup(sha256_done) struct sha256 sha = {0};
 *     if (sha256_init(&sha) < 0) ...
 *     sha256_update(&sha, bytes, size);       as often as needed
 *     if (sha256_finish(&sha, hex) < 0) ...
 * Ownership: sha256_done frees what it holds; zeroed memory is a valid one that was never set up.
 * Threads: one at a time per object. */
#pragma once

#include "base/common.h"

/* 64 hexadecimal digits in lower case, and NUL. */
#define SHA256_HEX_SIZE 65

struct sha256 {
    struct evp_md_ctx_st *ctx;
    bool failed; /* in an update; sha256_finish tells */
};

/* Begins, also anew.  Returns 0 or -ENOMEM. */
must_check int sha256_init(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *bytes, size_t size);

/* Returns 0 or -ENOMEM.  sha256_init has to follow before the next update. */
must_check int sha256_finish(struct sha256 *sha, char ret_hex[SHA256_HEX_SIZE]);
void sha256_done(struct sha256 *sha);
