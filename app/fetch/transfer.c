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

/* ---- easy handles ---- */

/* libcurl is to read no certificates by itself: see tls_files.c. */
static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *arg)
{
    const struct transfer *transfer = arg;

    (void)easy;
    return tls_files_give(transfer->tls, ssl_ctx) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

static void set_options(struct transfer *transfer)
{
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_receive);
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
    connecting_set_options(transfer);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_MAX_S);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, ADDRESS_KEPT_S);
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* or it gives what we gave one to the others */
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, transfer);
}

static void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    tls_snapshot_unref(transfer->tls);
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

static void set_http_version(struct transfer *transfer, long version)
{
    if (transfer->http_version == version)
        return;
    transfer->http_version = version;
    curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION, version);
}

static void set_tls_options(CURL *easy, const struct tls_snapshot *tls)
{
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION,
                     (long)(tls->min_version_x10 >= 13 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
}

/* Takes the reference. */
static void take_tls(struct transfer *transfer, struct tls_snapshot *tls)
{
    tls_snapshot_unref(transfer->tls);
    transfer->tls = tls;
    set_tls_options(transfer->easy, tls);
}

static void set_tls(struct transfer *transfer, const struct route *route)
{
    const struct fetch_worker *worker = transfer->worker;
    const struct fetch_tls *shared = worker->pool->tls;
    uint64_t id = route->tls ? route->tls->id : tls_current_id(shared, worker->now_ns);

    if (!transfer->tls || transfer->tls->id != id)
        take_tls(transfer, route->tls ? tls_snapshot_ref(route->tls) : tls_acquire(shared));
}

/* HTTP/2 where a TLS upstream offers it.  Without CURLOPT_PIPEWAIT: a transfer that waits for another's
 * connection stands in one list with those to all other origins, and one origin that hangs in its handshake
 * would hold up all. */
static void set_scheme(struct transfer *transfer, const struct route *route, bool is_tls)
{
    transfer->is_tls = is_tls;
    if (is_tls)
        set_tls(transfer, route);
    set_http_version(transfer,
                     is_tls && transfer->tls->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
}

void transfer_set_max_bytes(struct transfer *transfer, size_t max_bytes)
{
    if (transfer->max_bytes == max_bytes)
        return;
    transfer->max_bytes = max_bytes;
    curl_easy_setopt(transfer->easy, CURLOPT_MAXFILESIZE_LARGE,
                     (curl_off_t)MIN(max_bytes, (size_t)INT64_MAX));
}

static void set_connect_to(struct transfer *transfer, const struct route *route)
{
    if (!route->connect_to && !transfer->has_connect_to)
        return;
    transfer->has_connect_to = route->connect_to != NULL;
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, route->connect_to);
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
static bool set_address(struct transfer *transfer, const struct route *route)
{
    char entry[ROUTE_ENTRY_SIZE];

    if (!route_needs_entry(route) || route->told[transfer->shard->index] == route->origin->generation)
        return true;
    route_format_entry(route, entry);
    transfer->resolve = curl_slist_append(NULL, entry);
    transfer->resolve_generation = route->origin->generation;
    if (!transfer->resolve)
        return false;
    curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, transfer->resolve);
    return true;
}

static void note_address_given(const struct transfer *transfer)
{
    if (transfer->resolve)
        transfer->fetch->route->told[transfer->shard->index] = transfer->resolve_generation;
}

static void begin_result(struct transfer *transfer, struct fetch *fetch)
{
    transfer->fetch = fetch;
    transfer->body_state = BODY_GOES_ON;
    transfer->has_whole_head = false;
    transfer->error[0] = '\0';
    transfer->refusal[0] = '\0';
    fetch->transfer = transfer;
    fetch->received_bytes = 0;
    fetch->address[0] = '\0';
    fetch->is_reused = false;
    fetch->body.max = MIN(fetch->keep_max_bytes, transfer->max_bytes);
}

void transfer_start(struct fetch *fetch, struct shard *shard)
{
    const struct fetch_target *target = fetch->hop ? fetch->hop : fetch->target;
    struct transfer *transfer = acquire(fetch->worker);

    if (!transfer) {
        fetch_end(fetch, FETCH_CONNECT, "out of memory");
        return;
    }
    transfer->shard = shard;
    transfer_set_max_bytes(transfer, body_max_bytes(fetch));
    begin_result(transfer, fetch);
    shard_enter(shard, fetch->route);
    curl_easy_setopt(transfer->easy, CURLOPT_CURLU, target->parts);
    set_scheme(transfer, fetch->route, target->is_tls);
    set_connect_to(transfer, fetch->route);
    set_last_use(transfer);
    if ((fetch->call && !call_set(transfer)) || !set_address(transfer, fetch->route) ||
        curl_multi_add_handle(shard->multi, transfer->easy) != CURLM_OK)
        transfer_cancel(transfer, FETCH_CONNECT, "out of memory");
}

/* ---- ending ---- */

static struct fetch *detach(struct transfer *transfer)
{
    struct fetch *fetch = transfer->fetch;

    assert(fetch && transfer->shard);
    curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
    connecting_end(transfer);
    shard_leave(transfer->shard, fetch->route);
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

static void read_retry_after(struct transfer *transfer)
{
    curl_off_t retry_after_s = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    transfer->fetch->retry_after_s = retry_after_s > 0 ? (uint64_t)retry_after_s : 0;
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
    body_drop(fetch);
    fetch_done(fetch);
    route_fetch(fetch);
}

static void end_with_code(struct fetch *fetch, CURLcode code, const char *error)
{
    if (code != CURLE_OK)
        fetch_end(fetch, outcome_reason(code), "%s",
                  error[0] && code != CURLE_OUT_OF_MEMORY ? error : curl_easy_strerror(code));
    else if (fetch->status >= 400)
        fetch_end(fetch, FETCH_HTTP_STATUS, "HTTP %d %s", fetch->status, http_reason_phrase(fetch->status));
    else
        fetch_end(fetch, FETCH_OK, "%s", "");
}

/* What was ended by us, from a callback of libcurl's; false when it was not. */
static bool end_with_refusal(const struct transfer *transfer, struct fetch *fetch, CURLcode code)
{
    if (transfer->body_state == BODY_TOO_LARGE || code == CURLE_FILESIZE_EXCEEDED)
        fetch_end(fetch, FETCH_TOO_LARGE, "the body is larger than %zu bytes", transfer->max_bytes);
    else if (transfer->body_state == BODY_NO_ROOM)
        fetch_end(fetch, FETCH_TOO_LARGE, "the body does not fit into what may be held at the same time");
    else if (transfer->refusal[0] != '\0' &&
             (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
        fetch_end(fetch, FETCH_FORBIDDEN, "%s", transfer->refusal);
    else
        return false;
    return true;
}

/* What libcurl says, and what it does not see. */
static CURLcode corrected_code(const struct transfer *transfer, CURLcode code)
{
    if (transfer->body_state == BODY_NO_MEMORY)
        return CURLE_OUT_OF_MEMORY;
    return code == CURLE_OK && !transfer->has_whole_head ? CURLE_PARTIAL_FILE : code;
}

static void read_answer(struct transfer *transfer)
{
    read_status(transfer);
    read_charset(transfer);
    if (transfer->fetch->call)
        call_read_answer(transfer);
    if (transfer->fetch->call || transfer->fetch->status == 429 || transfer->fetch->status == 503)
        read_retry_after(transfer);
}

void transfer_finish(struct transfer *transfer, CURLcode libcurl_code)
{
    CURLcode code = corrected_code(transfer, libcurl_code);

    note_address_given(transfer);
    read_answer(transfer);
    if (code != CURLE_OK)
        route_correct_error(transfer->fetch->route, transfer->error);
    const char *url = code == CURLE_OK ? redirect_url(transfer) : NULL;
    struct fetch *fetch = detach(transfer); /* its texts stay until it is used again */
    if (url)
        follow(fetch, url);
    else if (!end_with_refusal(transfer, fetch, code))
        end_with_code(fetch, code, transfer->error);
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
        body_drop(fetch);
    else
        body_settle(fetch);
    fetch_target_free(fetch->hop);
    fetch->hop = NULL;
    fetch_count_end(fetch);
    deadline_remove(fetch);
    close_to_cancels(fetch);
    fetch->done(fetch);
    atomic_fetch_add(&worker->ended_count, 1);
}
