#include "tasks/sha256.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>

int sha256_init(struct sha256 *sha)
{
    if (!sha->ctx)
        sha->ctx = EVP_MD_CTX_new();
    sha->failed = !sha->ctx || EVP_DigestInit_ex(sha->ctx, EVP_sha256(), NULL) != 1;
    return sha->failed ? -ENOMEM : 0;
}

void sha256_update(struct sha256 *sha, const void *bytes, size_t size)
{
    assert(sha->ctx);
    if (size > 0 && !sha->failed)
        sha->failed = EVP_DigestUpdate(sha->ctx, bytes, size) != 1;
}

int sha256_finish(struct sha256 *sha, char ret_hex[SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[(SHA256_HEX_SIZE - 1) / 2];

    assert(sha->ctx);
    if (sha->failed || EVP_DigestFinal_ex(sha->ctx, hash, NULL) != 1)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof(hash); i++) {
        ret_hex[2 * i] = digits[hash[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_hex[SHA256_HEX_SIZE - 1] = '\0';
    return 0;
}

void sha256_done(struct sha256 *sha)
{
    EVP_MD_CTX_free(sha->ctx);
    *sha = (struct sha256){0};
}
