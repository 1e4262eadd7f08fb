/* One transfer with libcurl: the easy handle and its options, its callbacks, its end.
 *
 * Easy handles are set up once and used again: making one costs more than a fetch.  The idle ones are trimmed
 * to what the last period needed, so a burst does not hold its memory for ever. Redirects are followed here
 * and not by libcurl: each hop goes through the resolver and the choice of a shard like a first request, and
 * its scheme is looked at.
 * Time-outs are kept here and in deadline.c: two timers for each transfer in libcurl's tree cost more than
 * the two lists, which are queues by deadline because nearly all fetches have the same time-outs. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http.h"
#include "fetch/fetch_int.h"

/* Memory for each transfer that is receiving; larger ones pay off only for bodies that we do not keep. */
#define RECEIVE_BUFFER_BYTES 2048L
#define UPLOAD_BUFFER_BYTES  16384L /* libcurl's minimum; TLS has one for each transfer */

/* Below the 60 to 75 s after which servers usually close idle connections. */
#define CONNECTION_IDLE_MAX_S 50L

/* How long libcurl keeps an address that it was given; it gets it again after half that time. */
#define ADDRESS_KEPT_S (2L * ADDRESS_GIVEN_MS / 1000)

/* ---- receiving ---- */

static size_t on_body(char *bytes, size_t one, size_t size, void *arg)
{
    struct transfer *transfer = arg;
    struct fetch *fetch = transfer->fetch;
    const struct config *config = transfer->worker->pool->config;

    (void)one;
    fetch->received_bytes += size;
    if (fetch->received_bytes > config->fetch.max_response_bytes) {
        transfer->is_too_large = true;
        return 0;
    }
    buf_append(&fetch->body, bytes, MIN(size, fetch->body.max - fetch->body.size));
    return fetch->body.failed ? 0 : size;
}

/* libcurl takes an answer that ends in the middle of its head for a whole one: an empty line must have ended
 * it. */
static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
    struct transfer *transfer = arg;

    (void)one;
    if (size <= 2)
        transfer->has_whole_head = true;
    else if (size > 5 && memcmp(line, "HTTP/", 5) == 0)
        transfer->has_whole_head = false; /* another one, after a 1xx */
    return size;
}

/* ---- connecting: from the first socket to the moment the request can be sent ---- */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = arg;
    struct fetch_worker *worker = transfer->worker;

    (void)purpose;
    if (!transfer->is_connecting) {
        transfer->is_connecting = true;
        transfer->connect_ns = worker->now_ns;
        TAILQ_INSERT_TAIL(&worker->connecting, transfer, connecting_link);
    }
    /* TLS writes its handshake at times that libcurl tells nobody about. */
    return shard_open_socket(worker, address, !transfer->is_tls);
}

static void end_connecting(struct transfer *transfer)
{
    if (!transfer->is_connecting)
        return;
    transfer->is_connecting = false;
    TAILQ_REMOVE(&transfer->worker->connecting, transfer, connecting_link);
}

/* The transfer has its connection: the one it opened, or one that was there. */
static int on_connected(void *arg, char *upstream_ip, char *own_ip, int upstream_port, int own_port)
{
    struct transfer *transfer = arg;

    (void)upstream_ip;
    (void)own_ip;
    (void)upstream_port;
    (void)own_port;
    fetch_count_connection(transfer->is_connecting);
    end_connecting(transfer);
    return CURL_PREREQFUNC_OK;
}

uint64_t transfer_next_connect_deadline_ns(const struct fetch_worker *worker)
{
    const struct transfer *oldest = TAILQ_FIRST(&worker->connecting);
    uint64_t timeout_ms = worker->pool->config->fetch.connect_timeout_ms;

    return oldest ? clock_deadline_ns(oldest->connect_ns, timeout_ms) : CLOCK_NEVER;
}

void transfer_expire_connecting(struct fetch_worker *worker)
{
    char error[FETCH_ERROR_SIZE];

    while (worker->now_ns >= transfer_next_connect_deadline_ns(worker)) {
        snprintf(error, sizeof(error), "not connected after %llu ms",
                 (unsigned long long)worker->pool->config->fetch.connect_timeout_ms);
        transfer_cancel(TAILQ_FIRST(&worker->connecting), FETCH_TIMEOUT, error);
    }
}

/* ---- easy handles ---- */

static void set_options(struct transfer *transfer)
{
    const struct config *config = transfer->worker->pool->config;
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, shard_on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->worker);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* or the environment decides, asked anew for each transfer */
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->worker->pool->headers);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)config->fetch.max_response_bytes);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_MAX_S);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, ADDRESS_KEPT_S);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (config->fetch.ca_file[0] != '\0')
        curl_easy_setopt(easy, CURLOPT_CAINFO, config->fetch.ca_file);
}

static void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}

static struct transfer *transfer_create(struct fetch_worker *worker)
{
    struct transfer *transfer = calloc(1, sizeof(*transfer));

    if (!transfer)
        return NULL;
    transfer->worker = worker;
    transfer->easy = curl_easy_init();
    if (!transfer->easy) {
        free(transfer);
        return NULL;
    }
    set_options(transfer);
    return transfer;
}

static struct transfer *acquire(struct fetch_worker *worker)
{
    struct transfer *transfer = SLIST_FIRST(&worker->idle);

    if (!transfer)
        return transfer_create(worker);
    SLIST_REMOVE_HEAD(&worker->idle, idle_link);
    worker->idle_count--;
    worker->idle_min = MIN(worker->idle_min, worker->idle_count);
    return transfer;
}

static void release(struct transfer *transfer)
{
    struct fetch_worker *worker = transfer->worker;

    transfer->fetch = NULL;
    SLIST_INSERT_HEAD(&worker->idle, transfer, idle_link);
    worker->idle_count++;
}

static void free_idle(struct fetch_worker *worker, unsigned count)
{
    while (count-- > 0) {
        struct transfer *transfer = SLIST_FIRST(&worker->idle);
        SLIST_REMOVE_HEAD(&worker->idle, idle_link);
        worker->idle_count--;
        transfer_free(transfer);
    }
}

void transfer_trim_idle(struct fetch_worker *worker)
{
    free_idle(worker, MIN(worker->idle_min, worker->idle_count));
    worker->idle_min = worker->idle_count;
}

void transfer_free_idle(struct fetch_worker *worker)
{
    free_idle(worker, worker->idle_count);
}

/* ---- starting ---- */

/* HTTP/2 where a TLS upstream offers it.  Without CURLOPT_PIPEWAIT: a transfer that waits for another's
 * connection stands in one list with those to all other origins, and one origin that hangs in its handshake
 * would hold up all. */
static void set_scheme(struct transfer *transfer, bool is_tls)
{
    if (transfer->is_tls == is_tls)
        return;
    transfer->is_tls = is_tls;
    curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION,
                     (long)(is_tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
}

/* Connections are kept for the next transfer unless there are too many. */
static void set_last_use(struct transfer *transfer)
{
    bool is_last_use = transfer->worker->surplus_count > 0;

    transfer->worker->surplus_count -= is_last_use;
    if (transfer->is_last_use == is_last_use)
        return;
    transfer->is_last_use = is_last_use;
    curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, is_last_use ? 1L : 0L);
}

/* The shard's DNS cache keeps what it was given ("+": for ADDRESS_KEPT_S), so an address goes in once for
 * each shard and generation.  It only counts as given when the transfer that brought it has ended by itself:
 * a cancel may have come before libcurl looked. */
static bool set_address(struct transfer *transfer, const struct origin *origin)
{
    char entry[CONFIG_HOST_MAX_BYTES + RESOLVER_ADDRESSES_SIZE + 16];

    if (!origin->needs_lookup || origin->told[transfer->shard->index] == origin->generation)
        return true;
    snprintf(entry, sizeof(entry), "+%s:%u:%s", origin->query.host, origin->port, origin->addresses);
    transfer->resolve = curl_slist_append(NULL, entry);
    transfer->resolve_generation = origin->generation;
    if (!transfer->resolve)
        return false;
    curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, transfer->resolve);
    return true;
}

static void note_address_given(const struct transfer *transfer)
{
    if (transfer->resolve)
        transfer->fetch->origin->told[transfer->shard->index] = transfer->resolve_generation;
}

void transfer_start(struct fetch *fetch, struct shard *shard)
{
    const struct fetch_target *target = fetch->hop ? fetch->hop : fetch->target;
    struct transfer *transfer = acquire(fetch->worker);

    if (!transfer) {
        fetch_end(fetch, FETCH_CONNECT, "out of memory");
        return;
    }
    transfer->fetch = fetch;
    transfer->shard = shard;
    transfer->is_too_large = false;
    transfer->has_whole_head = false;
    transfer->error[0] = '\0';
    fetch->transfer = transfer;
    fetch->received_bytes = 0;
    fetch->body.max = fetch->keep_max_bytes;
    shard_enter(shard, fetch->origin);
    curl_easy_setopt(transfer->easy, CURLOPT_CURLU, target->parts);
    set_scheme(transfer, target->is_tls);
    set_last_use(transfer);
    if ((fetch->call && !call_set(transfer)) || !set_address(transfer, fetch->origin) ||
        curl_multi_add_handle(shard->multi, transfer->easy) != CURLM_OK)
        transfer_cancel(transfer, FETCH_CONNECT, "out of memory");
}

/* ---- ending ---- */

static struct fetch *detach(struct transfer *transfer)
{
    struct fetch *fetch = transfer->fetch;

    assert(fetch && transfer->shard);
    curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
    end_connecting(transfer);
    shard_leave(transfer->shard, fetch->origin);
    fetch->transfer = NULL;
    if (fetch->call)
        call_unset(transfer);
    if (transfer->resolve) {
        curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, NULL);
        curl_slist_free_all(transfer->resolve);
        transfer->resolve = NULL;
    }
    release(transfer);
    return fetch;
}

static void read_status(struct transfer *transfer)
{
    long status = 0;

    assert(transfer->fetch);
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    transfer->fetch->status = (int)status;
}

static void read_charset(struct transfer *transfer)
{
    struct fetch *fetch = transfer->fetch;
    struct http_media_type media_type;
    const char *content_type = NULL;

    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &content_type);
    http_content_type_parse(content_type, &media_type);
    snprintf(fetch->charset, sizeof(fetch->charset), "%s", media_type.charset);
}

void transfer_cancel(struct transfer *transfer, enum fetch_reason reason, const char *error)
{
    if (transfer->has_whole_head) /* or libcurl may still tell the status of the handle's transfer before */
        read_status(transfer);
    fetch_end(detach(transfer), reason, "%s", error);
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where the answer points to, NULL when it is not to be followed.  Lent by the easy handle until it is used
 * again. */
static const char *redirect_url(const struct transfer *transfer)
{
    const char *url = NULL;

    const struct fetch_call *call = transfer->fetch->call;
    if (!is_redirect(transfer->fetch->status) || transfer->worker->pool->config->fetch.max_redirects == 0 ||
        (call && !call_follows_redirects(call)))
        return NULL;
    curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &url);
    return url;
}

static void follow(struct fetch *fetch, const char *url)
{
    struct fetch_target *target;
    struct err err = {0};

    if (++fetch->redirects > fetch->worker->pool->config->fetch.max_redirects) {
        fetch_end(fetch, FETCH_PROTOCOL, "more than %u redirects", fetch->redirects - 1);
        return;
    }
    int rc = fetch_target_create_redirect(url, &target, &err);
    if (rc < 0) {
        fetch_end(fetch, rc == -ENOMEM ? FETCH_CONNECT : FETCH_PROTOCOL, "redirect not followed: %s",
                  err.text);
        return;
    }
    if (fetch->may_visit && !fetch->may_visit(fetch, target, &err)) {
        fetch_target_free(target);
        fetch_end(fetch, FETCH_PROTOCOL, "redirect not followed: %s", err.text);
        return;
    }
    fetch_target_free(fetch->hop);
    fetch->hop = target;
    fetch->status = 0;
    fetch->retry_after_s = 0;
    fetch_done(fetch);
    route_fetch(fetch);
}

static void end_with_code(struct fetch *fetch, CURLcode code, bool is_too_large, const char *error)
{
    if (is_too_large || code == CURLE_FILESIZE_EXCEEDED)
        fetch_end(fetch, FETCH_TOO_LARGE, "the body is larger than %zu bytes",
                  fetch->worker->pool->config->fetch.max_response_bytes);
    else if (code != CURLE_OK)
        fetch_end(fetch, outcome_reason(code), "%s",
                  error[0] && code != CURLE_OUT_OF_MEMORY ? error : curl_easy_strerror(code));
    else if (fetch->status >= 400)
        fetch_end(fetch, FETCH_HTTP_STATUS, "HTTP %d %s", fetch->status, http_reason_phrase(fetch->status));
    else
        fetch_end(fetch, FETCH_OK, "%s", "");
}

/* What libcurl says, and what it does not see. */
static CURLcode corrected_code(const struct transfer *transfer, CURLcode code)
{
    if (transfer->fetch->body.failed)
        return CURLE_OUT_OF_MEMORY;
    return code == CURLE_OK && !transfer->has_whole_head ? CURLE_PARTIAL_FILE : code;
}

void transfer_finish(struct transfer *transfer, CURLcode libcurl_code)
{
    CURLcode code = corrected_code(transfer, libcurl_code);
    bool is_too_large = transfer->is_too_large;

    note_address_given(transfer);
    read_status(transfer);
    read_charset(transfer);
    if (transfer->fetch->call)
        call_read_answer(transfer);
    const char *url = code == CURLE_OK ? redirect_url(transfer) : NULL;
    struct fetch *fetch = detach(transfer); /* its texts stay until it is used again */
    if (url)
        follow(fetch, url);
    else
        end_with_code(fetch, code, is_too_large, transfer->error);
}

/* From here on no cancel reaches the fetch. */
static void close_to_cancels(struct fetch *fetch)
{
    struct fetch_worker *worker = fetch->worker;

    LOCK(&worker->lock);
    fetch->is_closed = true;
    if (fetch->is_cancel_queued)
        TAILQ_REMOVE(&worker->cancels, fetch, cancel_link);
    fetch->is_cancel_queued = false;
}

void fetch_end(struct fetch *fetch, enum fetch_reason reason, const char *format, ...)
{
    struct fetch_worker *worker = fetch->worker;
    va_list args;

    va_start(args, format);
    vsnprintf(fetch->error, sizeof(fetch->error), format, args);
    va_end(args);
    fetch->reason = reason;
    fetch->elapsed_ns = clock_now_ns() - fetch->start_ns;
    fetch->body_is_whole = fetch->body.size == fetch->received_bytes;
    if (reason != FETCH_OK && !(reason == FETCH_HTTP_STATUS && fetch->call))
        buf_done(&fetch->body);
    fetch_target_free(fetch->hop);
    fetch->hop = NULL;
    fetch_count_end(fetch);
    deadline_remove(fetch);
    close_to_cancels(fetch);
    fetch->done(fetch);
    atomic_fetch_add(&worker->ended_count, 1);
}
