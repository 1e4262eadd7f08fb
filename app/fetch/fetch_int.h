/* fetch_int.h - what the files of the fetch pool share.
 *
 *     fetch_submit -> inbox of a worker -> address of the origin known? -> shard -> libcurl -> done
 *                                            |  ^   no                               |
 *                                            v  |                                    v
 *                                          resolver       <------------------------ redirect
 *
 * A worker is a thread with an epoll set and several curl multi handles ("shards").  libcurl looks for a free
 * connection by walking all connections of that origin in the multi handle, so the cost of a fetch would grow
 * with what is in flight; a new shard is opened when all others have SHARD_ORIGIN_MAX transfers to the
 * origin. */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/thread.h"
#include "fetch/fetch.h"
#include "fetch/resolver.h"

#ifndef SHARD_ORIGIN_MAX
#define SHARD_ORIGIN_MAX 8
#endif
#define SHARDS_MAX 1024

/* After this long a shard is given an origin's addresses again. */
#define ADDRESS_GIVEN_MS (30 * 60 * 1000)

/* Addresses as texts: as the resolver gives them, split. */
struct address_list {
    const char *items[RESOLVER_ADDRESSES_MAX]; /* into `text` */
    size_t count;
    char text[RESOLVER_ADDRESSES_SIZE];
};

/* How the receiving of a body has gone. */
enum body_state { BODY_GOES_ON, BODY_TOO_LARGE, BODY_NO_ROOM, BODY_NO_MEMORY };

struct shard {
    struct fetch_worker *worker;
    CURLM *multi;
    unsigned index;
    bool is_touched; /* libcurl was called: a transfer may have ended */
    SLIST_ENTRY(shard) touched_link;
    unsigned transfer_count;
    bool was_used; /* since the last trim */
};

/* What a worker knows about scheme://host:port. */
struct origin {
    char *key;
    unsigned port;
    bool needs_lookup; /* the host is a name */
    struct fetch_worker *worker;
    struct resolver_query query; /* the resolver's while is_asked */
    bool is_asked;
    char addresses[RESOLVER_ADDRESSES_SIZE]; /* "1.2.3.4,::1", "" while unknown */
    struct address_list list;                /* the same */
    unsigned generation; /* counts changes of `addresses`, and when they are to be given again */
    uint64_t give_again_ns;
    uint64_t fresh_until_ns;
    uint64_t confirmed_ns; /* when `addresses` were found */
    TAILQ_HEAD(waiting_list, fetch) waiting;
    unsigned waiting_count;
    LIST_HEAD(route_list, route) routes;
    bool was_used; /* since the last trim */
    UT_hash_handle hh;
};

/* One way to an origin, whose connections are not those of its other ways: the address that is tried
 * first, and how TLS is spoken.  Most origins have one, with neither. */
struct route {
    struct origin *origin;
    LIST_ENTRY(route) link;
    char address[FETCH_ADDRESS_SIZE]; /* "": in the system's order */
    struct tls_snapshot *tls;         /* NULL: the pool's, or none */
    char *name;                       /* libcurl's for the host: it keeps connections apart by that */
    struct curl_slist *connect_to;    /* NULL when that is the host's own */
    unsigned fetch_count;             /* in flight */
    bool was_used;                    /* since the last trim */
    unsigned first_free;              /* all shards below are full */
    uint16_t in_flight[SHARDS_MAX];
    unsigned told[SHARDS_MAX]; /* the generation each shard's DNS cache was given */
};

/* A reusable easy handle. */
struct transfer {
    struct fetch_worker *worker;
    CURL *easy;
    struct fetch *fetch;
    struct shard *shard;
    struct curl_slist *headers; /* of its call */
    struct curl_slist *resolve; /* given with this transfer */
    unsigned resolve_generation;
    struct tls_snapshot *tls; /* what the handle is set up for; NULL at first */
    bool has_connect_to;
    long http_version;
    size_t max_bytes;
    bool is_tls;
    bool is_connecting;  /* in the worker's list of those */
    uint64_t connect_ns; /* when that began */
    TAILQ_ENTRY(transfer) connecting_link;
    bool is_last_use; /* its connection is closed behind it */
    enum body_state body_state;
    bool has_whole_head; /* the last header line was the empty one */
    SLIST_ENTRY(transfer) idle_link;
    char refusal[FETCH_ERROR_SIZE]; /* why may_connect refused an address; "" when it did not */
    char error[CURL_ERROR_SIZE];
};

/* What epoll was told about a descriptor, and what libcurl wants to know of it. */
struct fd_slot {
    uint16_t registered; /* EPOLLIN | EPOLLOUT, 0: silent, or not open */
    uint16_t wanted;
    uint16_t shard;
    bool is_corked;
    bool has_request; /* is in the worker's list of sockets to uncork */
};

#define UNCORK_BATCH 64

TAILQ_HEAD(fetch_list, fetch);

struct fetch_worker {
    /* set before the thread starts, then read-only: */
    struct fetch_pool *pool;
    pthread_t thread;
    bool is_started;
    int epoll_fd;
    int wake_fd;

    pthread_mutex_t lock;
    /* guarded by lock: */
    struct fetch_list inbox;
    struct fetch_list cancels;
    struct resolver_query_list resolved;
    bool is_woken; /* somebody has woken the worker for what is in the lists */
    bool is_stopping;

    /* Fetches that ever came in (changed under the lock), were taken out of the inbox, and have ended (`done`
     * has returned): each only grows. */
    _Atomic uint64_t pushed_count;
    _Atomic uint64_t taken_count;
    _Atomic uint64_t ended_count;

    /* worker thread only: */
    uint64_t now_ns;
    struct shard *shards[SHARDS_MAX];
    unsigned shard_count;
    SLIST_HEAD(touched_list, shard) touched;
    uint64_t timer_ns[SHARDS_MAX]; /* when libcurl wants to be called; together, since all are looked at */
    uint64_t timers_at_ns;         /* none of them is earlier */
    struct origin *origins;
    struct fd_slot *fds;
    size_t fd_count;
    unsigned surplus_count; /* connections that are not to be kept, for descriptors are short */
    int to_uncork[UNCORK_BATCH];
    unsigned to_uncork_count;
    SLIST_HEAD(idle_list, transfer) idle;
    unsigned idle_count;
    unsigned idle_min; /* since the last trim */
    uint64_t trim_at_ns;
    struct fetch_list live; /* taken and not ended, oldest first: the next to time out leads */
    TAILQ_HEAD(connecting_list, transfer) connecting; /* likewise */
    struct pairing live_own; /* like `live`, those with time-outs of their own; see deadline.c */
};

struct fetch_pool {
    const struct config *config;
    struct resolver *resolver;
    struct curl_slist *headers; /* sent with every request; read-only */
    struct fetch_tls *tls;      /* for fetches without one of their own */
    struct fetch_worker *workers;
    unsigned worker_count;
};

struct fetch_target {
    char *url;
    CURLU *parts;
    char *origin_key; /* scheme://host:port */
    char *host;       /* as getaddrinfo takes it */
    unsigned port;
    bool needs_lookup;
    bool is_tls;
    bool has_user;
};

/* target.c */

/* From a Location header: tolerant as browsers are, of spaces and bytes that should have been escaped. */
must_check int fetch_target_create_redirect(const char *url, struct fetch_target **ret_target,
                                            struct err *err);

/* worker.c */
must_check int worker_init(struct fetch_worker *worker, struct fetch_pool *pool, struct err *err);
must_check int worker_start(struct fetch_worker *worker, unsigned number, struct err *err);
void worker_tell_stop(struct fetch_worker *worker);
/* After all workers of the pool have been told. */
void worker_join(struct fetch_worker *worker);
void worker_done(struct fetch_worker *worker);
void worker_push(struct fetch_worker *worker, struct fetch **fetches, size_t count);
void worker_push_cancel(struct fetch_worker *worker, struct fetch *fetch);
void worker_push_resolved(struct fetch_worker *worker, struct resolver_query *query);

/* origin.c: called by the worker */

/* NULL when there is no room for another one. */
struct origin *origin_of(struct fetch_worker *worker, const struct fetch_target *target);
/* Has the address looked up, when that is not being done already. */
void origin_ask(struct origin *origin);
/* Takes in what the resolver found out; the fetches that waited for it go on. */
void origin_resolved(struct resolver_query *query);
void origin_wait(struct origin *origin, struct fetch *fetch);
void origin_stop_waiting(struct fetch *fetch);
/* Shards get the addresses with their next transfer. */
void origin_give_again(struct origin *origin);
/* Frees what nothing has used since the last trim. */
void origin_trim(struct fetch_worker *worker);
void origin_free_all(struct fetch_worker *worker);

/* route.c: called by the worker */

/* Sends a fetch on its way: to libcurl, or to wait for its origin's address. */
void route_fetch(struct fetch *fetch);
/* What libcurl is to know about the route's address, for CURLOPT_RESOLVE. */
#define ROUTE_ENTRY_SIZE (CONFIG_HOST_MAX_BYTES + 2 * RESOLVER_ADDRESSES_SIZE)
void route_format_entry(const struct route *route, char ret_entry[ROUTE_ENTRY_SIZE]);
/* Whether libcurl has to be told. */
bool route_needs_entry(const struct route *route);
/* Puts the host in the place of libcurl's name for it. */
void route_correct_error(const struct route *route, char error[CURL_ERROR_SIZE]);
/* Frees the routes of an origin: all, or those that nothing has used since the last time. */
void route_free_of(struct origin *origin, bool only_idle);

/* deadline.c: called by the worker; the fetches that were taken and have not ended */
void deadline_add(struct fetch *fetch);
void deadline_remove(struct fetch *fetch);
/* The next to time out, NULL when there is none. */
struct fetch *deadline_first(const struct fetch_worker *worker);
uint64_t deadline_first_ns(const struct fetch_worker *worker);
uint64_t deadline_timeout_ms(const struct fetch *fetch);

/* shard.c: called by the worker */
struct shard *shard_choose(struct route *route);
/* Counts a transfer of the route in the shard, from transfer_start to its end. */
void shard_enter(struct shard *shard, struct route *route);
void shard_leave(struct shard *shard, struct route *route);
/* Frees the last shards when nothing has used them since the last trim, with the connections they keep. */
void shard_trim(struct fetch_worker *worker);
/* The same at once, however lately they were used. */
void shard_free_empty(struct fetch_worker *worker);
void shard_free_all(struct fetch_worker *worker);
void shard_on_event(struct fetch_worker *worker, int fd, uint32_t events);
void shard_run_timers(struct fetch_worker *worker);
void shard_collect(struct fetch_worker *worker);
/* Lets go what has been written to corked sockets. */
void shard_uncork(struct fetch_worker *worker);
/* For CURLOPT_OPENSOCKETFUNCTION.  What is written to a corked socket goes out with shard_uncork. */
curl_socket_t shard_open_socket(struct fetch_worker *worker, const struct curl_sockaddr *address,
                                bool is_corked);
/* CURLOPT_CLOSESOCKETFUNCTION */
int shard_on_close(void *worker, curl_socket_t fd);

/* transfer.c: called by the worker */
void transfer_start(struct fetch *fetch, struct shard *shard);
void transfer_finish(struct transfer *transfer, CURLcode code);
void transfer_cancel(struct transfer *transfer, enum fetch_reason reason, const char *error);
/* Tells libcurl; 0: as many as there are. */
void transfer_set_max_bytes(struct transfer *transfer, size_t max_bytes);
void transfer_trim_idle(struct fetch_worker *worker);
void transfer_free_idle(struct fetch_worker *worker);
/* Ends a fetch: counts it, closes it to cancels, calls `done`. */
void fetch_end(struct fetch *fetch, enum fetch_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* connecting.c: called by the worker */
void connecting_set_options(struct transfer *transfer);
/* The transfer waits for its connection no longer. */
void connecting_end(struct transfer *transfer);
/* Ends the transfers whose connection took longer than connect_timeout. */
void connecting_expire(struct fetch_worker *worker);
uint64_t connecting_next_deadline_ns(const struct fetch_worker *worker);

/* body.c: called by the worker */

/* CURLOPT_WRITEFUNCTION, with the transfer. */
size_t body_receive(char *bytes, size_t one, size_t size, void *transfer);
size_t body_max_bytes(const struct fetch *fetch);
/* Nothing more comes: what was taken from the budget is body.capacity from now on. */
void body_settle(struct fetch *fetch);
void body_drop(struct fetch *fetch);

/* tls.c */

/* The files of a fetch_tls as they were read, and its settings.  Never changes; shared by all threads. */
struct tls_snapshot {
    atomic_uint refs;
    uint64_t id; /* no other snapshot of the process has the same */
    bool verify;
    bool http2;
    unsigned min_version_x10;
    struct tls_trust *trust;       /* NULL without `verify` */
    struct tls_identity *identity; /* NULL: no certificate of our own */
};
/* The id of the latest.  Looks for changed files now and then. */
uint64_t tls_current_id(const struct fetch_tls *tls, uint64_t now_ns);
/* The latest, with a reference for the caller. */
struct tls_snapshot *tls_acquire(const struct fetch_tls *tls);
struct tls_snapshot *tls_snapshot_ref(struct tls_snapshot *snapshot);
void tls_snapshot_unref(struct tls_snapshot *snapshot);

/* tls_files.c */

/* Which file it was, and when it was changed last. */
struct tls_file_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
    struct timespec modified;
};
void tls_file_stamp(const char *path, struct tls_file_stamp *ret_stamp);

/* Certificates of authorities; those who name the same file share them. */
must_check int tls_trust_acquire(const char *path, struct tls_trust **ret_trust, struct err *err);
void tls_trust_release(struct tls_trust *trust);
/* A certificate, those behind it, and its key. */
must_check int tls_identity_create(const char *cert_file, const char *key_file,
                                   struct tls_identity **ret_identity, struct err *err);
void tls_identity_free(struct tls_identity *identity);
/* CURLOPT_SSL_CTX_FUNCTION gives it to a new connection. */
must_check bool tls_files_give(const struct tls_snapshot *snapshot, void *ssl_ctx);

/* call.c: called by the worker */

/* Sets the handle up for fetch->call; false when out of memory.  call_unset follows, either way. */
must_check bool call_set(struct transfer *transfer);
void call_unset(struct transfer *transfer);
void call_read_answer(struct transfer *transfer);
must_check bool call_follows_redirects(const struct fetch_call *call);

/* outcome.c */
enum fetch_reason outcome_reason(CURLcode code);

/* fetch_metrics.c */
void fetch_count_start(void);
void fetch_count_end(const struct fetch *fetch);
void fetch_count_connection(bool is_new);
void fetch_count_lookup(bool found);
