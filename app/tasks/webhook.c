#include "tasks/webhook.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define PREFIX    "whsec_"
#define MAC_BYTES 32

struct key {
    unsigned char bytes[WEBHOOK_SECRET_MAX_BYTES];
    size_t size;
};

static void key_wipe(struct key *key)
{
    OPENSSL_cleanse(key, sizeof(*key));
}

/* How many bytes the base64 text stands for, 0 when it is none: libcrypto passes over blanks, and counts the
 * padding as bytes. */
static size_t base64_size(const char *text)
{
    size_t digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t padding = strspn(text + digits, "=");

    if (text[digits + padding] != '\0' || padding > 2 || (digits + padding) % 4 != 0)
        return 0;
    return digits * 3 / 4;
}

static int key_read(const char *secret, struct key *key, struct err *err)
{
    size_t length = strlen(secret);
    const char *base64 = secret + strlen(PREFIX);

    if (length == 0)
        return err_set(err, -EINVAL, "the secret is empty");
    if (length > WEBHOOK_SECRET_MAX_BYTES)
        return err_set(err, -EINVAL, "the secret has more than %d bytes", WEBHOOK_SECRET_MAX_BYTES);
    if (strncmp(secret, PREFIX, strlen(PREFIX)) != 0) {
        memcpy(key->bytes, secret, length);
        key->size = length;
        return 0;
    }
    key->size = base64_size(base64);
    if (key->size == 0 || EVP_DecodeBlock(key->bytes, (const unsigned char *)base64, (int)strlen(base64)) < 0)
        return err_set(err, -EINVAL, "what follows " PREFIX " in the secret is not base64");
    return 0;
}

int webhook_check_secret(const char *secret, struct err *err)
{
    cleanup(key_wipe) struct key key = {0};

    return key_read(secret, &key, err);
}

static void mac_free_scope(EVP_MAC **mac)
{
    EVP_MAC_free(*mac);
}

static void mac_ctx_free_scope(EVP_MAC_CTX **ctx)
{
    EVP_MAC_CTX_free(*ctx);
}

/* What is signed, in its order. */
struct piece {
    const void *bytes;
    size_t size;
};

/* False when memory is short: there is nothing else that could fail. */
static bool compute_mac(const struct key *key, const struct piece *pieces, size_t count,
                        unsigned char ret_mac[MAC_BYTES])
{
    cleanup(mac_free_scope) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    cleanup(mac_ctx_free_scope) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    size_t mac_size = 0;
    bool is_fine = ctx && EVP_MAC_init(ctx, key->bytes, key->size, params) == 1;

    for (size_t i = 0; i < count && is_fine; i++)
        is_fine = pieces[i].size == 0 || EVP_MAC_update(ctx, pieces[i].bytes, pieces[i].size) == 1;
    return is_fine && EVP_MAC_final(ctx, ret_mac, &mac_size, MAC_BYTES) == 1 && mac_size == MAC_BYTES;
}

int webhook_sign(const char *secret, const char *id, uint64_t timestamp_s, const void *body, size_t size,
                 char ret_signature[WEBHOOK_SIGNATURE_SIZE], struct err *err)
{
    cleanup(key_wipe) struct key key = {0};
    unsigned char mac[MAC_BYTES];
    char timestamp[32];
    int rc = key_read(secret, &key, err);

    if (rc < 0)
        return rc;
    int length = snprintf(timestamp, sizeof(timestamp), ".%llu.", (unsigned long long)timestamp_s);
    const struct piece pieces[] = {{id, strlen(id)}, {timestamp, (size_t)length}, {body, size}};
    if (!compute_mac(&key, pieces, ARRAY_LEN(pieces), mac))
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(ret_signature, "v1,", 3);
    EVP_EncodeBlock((unsigned char *)ret_signature + 3, mac, MAC_BYTES);
    return 0;
}
