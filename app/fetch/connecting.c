/* Connections: which addresses may be used, and how long it may take to get one.
 *
 * An address is looked at before anything is sent to it (on_open_socket) and again when the request is
 * about to be sent (on_connected), for a connection that was kept has not been opened for this fetch.  One
 * that is refused before is passed over like one that does not answer: another of the name may do. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "fetch/fetch_int.h"

/* ---- may it be used? ---- */

static bool is_allowed(struct transfer *transfer, const struct sockaddr *address)
{
    const struct fetch *fetch = transfer->fetch;
    struct err err = {0};

    if (!fetch->may_connect || fetch->may_connect(fetch, address, &err))
        return true;
    snprintf(transfer->refusal, sizeof(transfer->refusal), "%.*s", FETCH_ERROR_SIZE - 1,
             err.text[0] != '\0' ? err.text : "the address of the host is not allowed");
    return false;
}

/* An address that is IPv4 in truth: written so by route.c, or by who wrote the URL. */
static void unmap(struct curl_sockaddr *address)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6;

    if (address->family != AF_INET6)
        return;
    memcpy(&ipv6, &address->addr, sizeof(ipv6));
    if (!IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr))
        return;
    ipv4.sin_port = ipv6.sin6_port;
    memcpy(&ipv4.sin_addr, &ipv6.sin6_addr.s6_addr[12], sizeof(ipv4.sin_addr));
    memcpy(&address->addr, &ipv4, sizeof(ipv4));
    address->addrlen = sizeof(ipv4);
    address->family = AF_INET;
}

/* False for a text that is no address. */
static bool read_address(const char *text, int port, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        memcpy(ret_address, &ipv4, sizeof(ipv4));
    else if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1)
        memcpy(ret_address, &ipv6, sizeof(ipv6));
    else
        return false;
    return true;
}

static bool is_allowed_text(struct transfer *transfer, const char *text, int port)
{
    struct sockaddr_storage address;

    if (!transfer->fetch->may_connect)
        return true;
    if (read_address(text, port, &address))
        return is_allowed(transfer, (const struct sockaddr *)&address);
    snprintf(transfer->refusal, sizeof(transfer->refusal), "the address of the host is not known");
    return false;
}

/* ---- from the first socket to the moment the request can be sent ---- */

static void begin(struct transfer *transfer)
{
    struct fetch_worker *worker = transfer->worker;

    if (transfer->is_connecting)
        return;
    transfer->is_connecting = true;
    transfer->connect_ns = worker->now_ns;
    TAILQ_INSERT_TAIL(&worker->connecting, transfer, connecting_link);
}

void connecting_end(struct transfer *transfer)
{
    if (!transfer->is_connecting)
        return;
    transfer->is_connecting = false;
    TAILQ_REMOVE(&transfer->worker->connecting, transfer, connecting_link);
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = arg;

    (void)purpose;
    begin(transfer);
    unmap(address);
    if (!is_allowed(transfer, &address->addr))
        return CURL_SOCKET_BAD;
    /* TLS writes its handshake at times that libcurl tells nobody about. */
    return shard_open_socket(transfer->worker, address, !transfer->is_tls);
}

/* The transfer has its connection: the one it opened, or one that was there. */
static int on_connected(void *arg, char *upstream_ip, char *own_ip, int upstream_port, int own_port)
{
    struct transfer *transfer = arg;
    struct fetch *fetch = transfer->fetch;

    (void)own_ip;
    (void)own_port;
    fetch_count_connection(transfer->is_connecting);
    fetch->is_reused = !transfer->is_connecting;
    if (!memccpy(fetch->address, upstream_ip, '\0', sizeof(fetch->address)))
        fetch->address[0] = '\0'; /* cannot be: no address is longer */
    connecting_end(transfer);
    return is_allowed_text(transfer, upstream_ip, upstream_port) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

void connecting_set_options(struct transfer *transfer)
{
    curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(transfer->easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(transfer->easy, CURLOPT_PREREQDATA, transfer);
}

/* ---- too long ---- */

uint64_t connecting_next_deadline_ns(const struct fetch_worker *worker)
{
    const struct transfer *oldest = TAILQ_FIRST(&worker->connecting);
    uint64_t timeout_ms = worker->pool->config->fetch.connect_timeout_ms;

    return oldest ? clock_deadline_ns(oldest->connect_ns, timeout_ms) : CLOCK_NEVER;
}

void connecting_expire(struct fetch_worker *worker)
{
    char error[FETCH_ERROR_SIZE];

    while (worker->now_ns >= connecting_next_deadline_ns(worker)) {
        snprintf(error, sizeof(error), "not connected after %llu ms",
                 (unsigned long long)worker->pool->config->fetch.connect_timeout_ms);
        transfer_cancel(TAILQ_FIRST(&worker->connecting), FETCH_TIMEOUT, error);
    }
}
