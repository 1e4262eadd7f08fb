/* tls_server.h - certificates made for a test, and an HTTPS server that says whom it speaks with. */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include "harness.h"

/* ---- certificates ---- */

struct party {
    X509 *certificate;
    EVP_PKEY *key;
};

static inline void party_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Issued by `issuer`, or by itself; for 127.0.0.1 and localhost. */
static inline struct party party_create(const char *name, const struct party *issuer)
{
    static long serial;
    struct party party = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
    const struct party *signer = issuer ? issuer : &party;

    assert_non_null(party.certificate);
    assert_non_null(party.key);
    X509_set_version(party.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(party.certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(party.certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(party.certificate), 24 * 3600L);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(party.certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(party.certificate, X509_get_subject_name(signer->certificate));
    X509_set_pubkey(party.certificate, party.key);
    party_add_extension(party.certificate, signer->certificate, NID_basic_constraints,
                        issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (issuer)
        party_add_extension(party.certificate, signer->certificate, NID_subject_alt_name,
                            "IP:127.0.0.1,DNS:localhost,DNS:many.test");
    assert_true(X509_sign(party.certificate, signer->key, EVP_sha256()) > 0);
    return party;
}

static inline void party_done(struct party *party)
{
    X509_free(party->certificate);
    EVP_PKEY_free(party->key);
}

/* To `path`, as programs do that care: beside it first. */
static inline void party_write(const struct party *party, const char *path, bool with_certificate,
                               bool with_key)
{
    char beside[512];

    snprintf(beside, sizeof(beside), "%s.new", path);
    FILE *file = fopen(beside, "w");
    assert_non_null(file);
    if (with_certificate)
        assert_int_equal(PEM_write_X509(file, party->certificate), 1);
    if (with_key)
        assert_int_equal(PEM_write_PrivateKey(file, party->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(beside, path), 0);
}

/* ---- the server ---- */

#define TLS_CONNECTIONS_MAX 64

struct tls_server {
    SSL_CTX *ctx;
    int listener;
    int stop_fds[2];
    unsigned port;
    pthread_t thread;
    pthread_t connections[TLS_CONNECTIONS_MAX]; /* the server thread's */
    unsigned connection_count;
    atomic_uint handshakes;
};

struct tls_connection {
    struct tls_server *server;
    int fd;
};

/* The peer's common name, or "nobody". */
static inline void tls_peer_name(SSL *ssl, char *ret_name, int size)
{
    X509 *peer = SSL_get1_peer_certificate(ssl);

    snprintf(ret_name, (size_t)size, "nobody");
    if (peer)
        X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, ret_name, size);
    X509_free(peer);
}

/* "alice TLSv1.3" to each request. */
static inline void tls_answer_requests(SSL *ssl)
{
    char request[4096];
    char name[64];
    char answer[256];
    char body[128];

    tls_peer_name(ssl, name, sizeof(name));
    while (SSL_read(ssl, request, sizeof(request)) > 0) { /* they are small: one read brings all of one */
        snprintf(body, sizeof(body), "%s %s", name, SSL_get_version(ssl));
        int size = snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                            strlen(body), body);
        if (SSL_write(ssl, answer, size) != size)
            return;
    }
}

static inline void *tls_connection_main(void *arg)
{
    struct tls_connection *connection = arg;
    SSL *ssl = SSL_new(connection->server->ctx);

    assert_non_null(ssl);
    SSL_set_fd(ssl, connection->fd);
    if (SSL_accept(ssl) == 1) {
        atomic_fetch_add(&connection->server->handshakes, 1);
        tls_answer_requests(ssl);
    }
    SSL_free(ssl);
    close(connection->fd);
    free(connection);
    return NULL;
}

static inline void *tls_server_main(void *arg)
{
    struct tls_server *server = arg;
    struct pollfd fds[2] = {{.fd = server->listener, .events = POLLIN},
                            {.fd = server->stop_fds[0], .events = POLLIN}};

    while (poll(fds, 2, -1) >= 0 && fds[1].revents == 0) {
        struct tls_connection *connection = calloc(1, sizeof(*connection));
        assert_non_null(connection);
        *connection = (struct tls_connection){server, accept4(server->listener, NULL, NULL, SOCK_CLOEXEC)};
        assert_true(server->connection_count < TLS_CONNECTIONS_MAX);
        start(&server->connections[server->connection_count++], tls_connection_main, connection);
    }
    return NULL;
}

/* With `clients`, each client must have a certificate of that authority. */
static inline void tls_server_start(struct tls_server *server, const struct party *party,
                                    const struct party *clients, int max_version)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    *server = (struct tls_server){.ctx = SSL_CTX_new(TLS_server_method())};
    assert_non_null(server->ctx);
    SSL_CTX_set_max_proto_version(server->ctx, max_version);
    assert_int_equal(SSL_CTX_use_certificate(server->ctx, party->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, party->key), 1);
    if (clients) {
        SSL_CTX_set_verify(server->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(server->ctx), clients->certificate), 1);
    }
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->listener, 64), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pipe2(server->stop_fds, O_CLOEXEC), 0);
    start(&server->thread, tls_server_main, server);
}

/* When its clients have closed their connections. */
static inline void tls_server_stop(struct tls_server *server)
{
    assert_int_equal(write(server->stop_fds[1], "", 1), 1);
    thread_join(server->thread);
    for (unsigned i = 0; i < server->connection_count; i++)
        thread_join(server->connections[i]);
    close(server->listener);
    close(server->stop_fds[0]);
    close(server->stop_fds[1]);
    SSL_CTX_free(server->ctx);
}
