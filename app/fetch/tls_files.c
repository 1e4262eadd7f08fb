/* PEM files as OpenSSL has them, parsed once and not for each connection: the 140 authorities of a system
 * take longer than a handshake, and a megabyte, which every connection would hold for itself. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fetch/fetch_int.h"

/* Those that were read from one state of a file. */
struct tls_trust {
    char *path;
    struct tls_file_stamp stamp;
    struct stack_st_X509 *certificates;
    unsigned refs; /* guarded by trusts.lock */
    LIST_ENTRY(tls_trust) link;
};

struct tls_identity {
    struct stack_st_X509 *certificates; /* ours first */
    EVP_PKEY *key;
};

static struct {
    pthread_mutex_t lock;
    /* guarded by lock: */
    LIST_HEAD(trust_list, tls_trust) list;
} trusts = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- reading ---- */

void tls_file_stamp(const char *path, struct tls_file_stamp *ret_stamp)
{
    struct stat status;

    memset(ret_stamp, 0, sizeof(*ret_stamp)); /* they are compared with their padding */
    if (path[0] == '\0' || stat(path, &status) != 0)
        return;
    ret_stamp->device = status.st_dev;
    ret_stamp->inode = status.st_ino;
    ret_stamp->size = status.st_size;
    ret_stamp->changed = status.st_ctim;
    ret_stamp->modified = status.st_mtim;
}

static void free_certificates(struct stack_st_X509 *certificates)
{
    sk_X509_pop_free(certificates, X509_free);
}

/* Says what OpenSSL has against the file, and forgets it, so that libcurl does not find it. */
static int refuse(struct err *err, const char *path, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    err_set(err, -EINVAL, "%s: %s%s%s", path, what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return -EINVAL;
}

/* An encrypted key is refused: nobody is there to ask for its password. */
static int no_password(char *text, int size, int is_for_writing, void *arg)
{
    (void)text;
    (void)size;
    (void)is_for_writing;
    (void)arg;
    return -1;
}

static void close_scope(FILE **file)
{
    if (*file)
        fclose(*file);
}

/* All certificates of a file, at least one. */
static int read_certificates(const char *path, struct stack_st_X509 **ret_certificates, struct err *err)
{
    cleanup(close_scope) FILE *file = fopen(path, "re");
    struct stack_st_X509 *certificates = sk_X509_new_null();
    X509 *certificate;

    if (!file || !certificates) {
        free_certificates(certificates);
        return file ? err_set(err, -ENOMEM, "out of memory")
                    : err_set_errno(err, errno, "cannot open %s", path);
    }
    ERR_clear_error();
    while ((certificate = PEM_read_X509_AUX(file, NULL, no_password, NULL)))
        if (sk_X509_push(certificates, certificate) == 0) {
            X509_free(certificate);
            free_certificates(certificates);
            return err_set(err, -ENOMEM, "out of memory");
        }
    bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!is_at_end || sk_X509_num(certificates) == 0) {
        free_certificates(certificates);
        return refuse(err, path, is_at_end ? "no certificate in it" : "not a PEM file of certificates");
    }
    ERR_clear_error();
    *ret_certificates = certificates;
    return 0;
}

static int read_key(const char *path, EVP_PKEY **ret_key, struct err *err)
{
    cleanup(close_scope) FILE *file = fopen(path, "re");

    if (!file)
        return err_set_errno(err, errno, "cannot open %s", path);
    ERR_clear_error();
    *ret_key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    return *ret_key ? 0 : refuse(err, path, "no private key in it that could be read");
}

/* ---- authorities ---- */

static struct tls_trust *find_trust_locked(const char *path, const struct tls_file_stamp *stamp)
{
    struct tls_trust *trust;

    for (trust = LIST_FIRST(&trusts.list); trust; trust = LIST_NEXT(trust, link))
        if (strcmp(trust->path, path) == 0 && memcmp(&trust->stamp, stamp, sizeof(*stamp)) == 0)
            return trust;
    return NULL;
}

static struct tls_trust *find_trust(const char *path, const struct tls_file_stamp *stamp)
{
    LOCK(&trusts.lock);
    struct tls_trust *trust = find_trust_locked(path, stamp);
    if (trust)
        trust->refs++;
    return trust;
}

static void trust_free(struct tls_trust *trust)
{
    free_certificates(trust->certificates);
    free(trust->path);
    free(trust);
}

static int trust_create(const char *path, const struct tls_file_stamp *stamp, struct tls_trust **ret_trust,
                        struct err *err)
{
    struct tls_trust *trust = calloc(1, sizeof(*trust));

    if (!trust || !(trust->path = strdup(path))) {
        free(trust);
        return err_set(err, -ENOMEM, "out of memory");
    }
    trust->stamp = *stamp;
    trust->refs = 1;
    int rc = path[0] != '\0' ? read_certificates(path, &trust->certificates, err) : 0;
    if (rc < 0) {
        trust_free(trust);
        return rc;
    }
    *ret_trust = trust;
    return 0;
}

static void insert(struct tls_trust *trust)
{
    LOCK(&trusts.lock);
    LIST_INSERT_HEAD(&trusts.list, trust, link);
}

/* Two threads may read the same file at the same time; then there are two for a while. */
int tls_trust_acquire(const char *path, struct tls_trust **ret_trust, struct err *err)
{
    struct tls_file_stamp stamp;

    tls_file_stamp(path, &stamp);
    struct tls_trust *trust = find_trust(path, &stamp);
    if (!trust) {
        int rc = trust_create(path, &stamp, &trust, err);
        if (rc < 0)
            return rc;
        insert(trust);
    }
    *ret_trust = trust;
    return 0;
}

void tls_trust_release(struct tls_trust *trust)
{
    if (!trust)
        return;
    mutex_lock(&trusts.lock);
    bool is_last = --trust->refs == 0;
    if (is_last)
        LIST_REMOVE(trust, link);
    mutex_unlock(&trusts.lock);
    if (is_last)
        trust_free(trust);
}

/* ---- our own certificate ---- */

void tls_identity_free(struct tls_identity *identity)
{
    if (!identity)
        return;
    free_certificates(identity->certificates);
    EVP_PKEY_free(identity->key);
    free(identity);
}

int tls_identity_create(const char *cert_file, const char *key_file, struct tls_identity **ret_identity,
                        struct err *err)
{
    struct tls_identity *identity = calloc(1, sizeof(*identity));

    if (!identity)
        return err_set(err, -ENOMEM, "out of memory");
    int rc = read_certificates(cert_file, &identity->certificates, err);
    if (rc == 0)
        rc = read_key(key_file, &identity->key, err);
    if (rc == 0 && X509_check_private_key(sk_X509_value(identity->certificates, 0), identity->key) != 1)
        rc = refuse(err, key_file, "not the key of the certificate");
    if (rc < 0) {
        tls_identity_free(identity);
        return rc;
    }
    *ret_identity = identity;
    return 0;
}

/* ---- giving ---- */

static bool give_trust(const struct tls_trust *trust, X509_STORE *store)
{
    for (int i = 0; i < sk_X509_num(trust->certificates); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(trust->certificates, i)) != 1)
            return false;
    return true;
}

static bool give_identity(const struct tls_identity *identity, SSL_CTX *ctx)
{
    if (SSL_CTX_use_certificate(ctx, sk_X509_value(identity->certificates, 0)) != 1)
        return false;
    for (int i = 1; i < sk_X509_num(identity->certificates); i++)
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(identity->certificates, i)) != 1)
            return false;
    return SSL_CTX_use_PrivateKey(ctx, identity->key) == 1;
}

bool tls_files_give(const struct tls_snapshot *snapshot, void *ssl_ctx)
{
    SSL_CTX *ctx = ssl_ctx;

    return (!snapshot->trust || give_trust(snapshot->trust, SSL_CTX_get_cert_store(ctx))) &&
           (!snapshot->identity || give_identity(snapshot->identity, ctx));
}
