/* front_int.h - what the files of the front share: connections, requests, threads.
 *
 * A connection and its request are one object, since FastCGI as nginx speaks it has one request at a time on
 * a connection.  Who owns it follows from its state:
 *
 *                accept           first byte              whole request
 *     CONN_FREE ---------> IDLE ------------> READING -----------------> IN_FLIGHT
 *         ^                 ^  <------------   |                            |
 *         |                 |   not whole yet  |                            | answer
 *         |                 +------------------|----------------------------+
 *         |                                    |                            v
 *         +------------------------------------+<-- WRITING, LINGERING <----+
 *
 *     IDLE, WRITING, LINGERING   nobody: the next event, or the sweeper, takes it and becomes the owner
 *     STREAMING                  nobody, or who writes to the stream (stream.c); begins and ends as WRITING
 *     READING                    the request thread that took it
 *     IN_FLIGHT                  the request's owner: a handler, a gather, the ready queue
 *
 * Every connection is in the epoll set once, edge-triggered, from accept to close: no system call arms or
 * disarms it.  An event that finds the connection owned is remembered in `pending`, and whoever gives the
 * connection up looks there first (try_give_up), so no event is lost.  An event taken by a thread may be
 * about a connection that another thread has closed meanwhile: connections live in a slab that is never
 * given back, and the event carries the generation.
 *
 * Locks: conn->lock, front->lock and front->ready_lock are never held together. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "front/fcgi.h"
#include "front/frames.h"
#include "front/front.h"
#include "front/stream.h"

enum conn_state {
    CONN_FREE,
    CONN_IDLE,
    CONN_READING,
    CONN_IN_FLIGHT,
    CONN_WRITING,
    CONN_LINGERING,
    CONN_STREAMING,
};

/* Why a connection ended, for the metric. */
enum close_reason {
    CLOSE_PEER,     /* the peer closed it, or did not ask to keep it */
    CLOSE_TIMEOUT,  /* silent, half a request, or not reading its answer */
    CLOSE_PROTOCOL, /* not FastCGI, or beyond a limit */
    CLOSE_ERROR,    /* reading or writing failed */
    CLOSE_DRAIN,    /* we are stopping */
    CLOSE_EVICTED,  /* it rested, and its place was needed */
    CLOSE_REASON_COUNT,
};

/* What becomes of a request's body. */
enum body_verdict {
    BODY_FITS,      /* so far */
    BODY_TOO_LARGE, /* 413 */
    BODY_NO_ROOM,   /* 503: too many large ones are in flight */
};

/* A path, decoded, with its NUL; longer ones are nobody's. */
#define PATH_MAX_BYTES 2048

struct request {
    FCGX_Request fcgx;
    const struct route *route; /* NULL when no row matched */
    unsigned method;
    bool is_admitted;          /* counted in front->in_flight */
    enum body_verdict verdict; /* the body was not read to its end unless it fits */
    char id[64];               /* empty until asked for */
    unsigned arg_count;
    char args[ROUTE_ARGS_SIZE]; /* as struct route_match has them */
    uint64_t start_ns;
    struct buf headers; /* of the answer, added by the handler */
    struct buf body;
    request_fn resume; /* set by request_resume */
    void *resume_arg;
};

struct conn {
    struct front *front;
    uint32_t index;

    pthread_mutex_t lock;
    /* guarded by lock: */
    enum conn_state state;
    uint32_t generation; /* changed by the owner alone, so it may read it without the lock */
    bool pending;        /* an event came while the connection was owned */
    bool peer_gone;      /* the peer hung up while a request was in flight */
    bool peer_ended;     /* it sends nothing more: behind what is there to read is the end */
    bool has_wait;
    struct request_wait wait;
    struct request_stream *stream; /* changed by the owner alone; NULL: the request is none */

    /* owner only: */
    int fd;
    uint64_t deadline_ns;   /* 0: none; while is_listed it changes under front->lock only */
    uint64_t rest_since_ns; /* when the last request was answered; 0 before the first */
    bool keep;              /* the peer wants to go on using the connection */
    struct frames frames;
    struct frames_limits limits; /* the front's, unless the request brings a large body */
    size_t large_bytes;          /* what the request has of front->large_budget */
    bool is_judged;              /* what its parameters say of the body's size has been looked at */
    struct buf in;               /* bytes of a request that did not come in one piece */
    struct request req;
    int spool_fd; /* an answer that waits for its peer to read; -1 */
    off_t spool_offset;
    off_t spool_size;
    int unread; /* what the peer had not read at the last look */

    /* guarded by front->lock: */
    bool is_listed; /* in front->deadlines */
    uint32_t listed_generation;
    TAILQ_ENTRY(conn) deadline_link;
    SLIST_ENTRY(conn) free_link;

    /* guarded by front->ready_lock: */
    STAILQ_ENTRY(conn) ready_link;
};

#define CONNS_PER_CHUNK 64

struct front {
    /* set before threads start, then read-only: */
    struct front_options options;
    struct router *router;
    struct frames_limits limits; /* of usual requests */
    size_t large_body_max_bytes;
    unsigned max_streams;
    struct listener listener;
    int epoll_fd;
    int wake_fd; /* eventfd, edge-triggered: the ready queue has something, or the front stops */
    pthread_t *threads;
    unsigned thread_count;
    struct conn *_Atomic *chunks; /* each is filled in once, under lock */

    atomic_bool draining;
    atomic_bool refusing; /* the drain's time is over: nothing begins any more */
    atomic_bool stopping;
    atomic_uint in_flight;
    atomic_uint streams;
    atomic_size_t large_budget;    /* bytes that large bodies may still take */
    _Atomic uint64_t sweep_at_ns;  /* earliest deadline of any connection */
    _Atomic uint64_t accept_at_ns; /* when to listen again; CLOCK_NEVER while we listen */

    atomic_uint evict_hand;      /* the slot to look at next */
    _Atomic uint64_t warn_at_ns; /* no "cannot accept" before */

    pthread_mutex_t lock;
    /* guarded by lock: */
    size_t chunk_count;
    unsigned conn_count; /* in use */
    SLIST_HEAD(free_list, conn) free_conns;
    TAILQ_HEAD(deadline_list, conn) deadlines; /* earliest first: all have the same time-out */
    pthread_cond_t drained;                    /* in_flight or streams has come down to 0 */

    pthread_mutex_t ready_lock;
    /* guarded by ready_lock: */
    STAILQ_HEAD(ready_list, conn) ready;
};

/* What a request thread has of its own. */
struct front_thread {
    struct front *front;
    struct fcgi_feed feed;
    char *scratch;
    size_t scratch_size;
};

/* The request thread that calls; NULL in other threads. */
struct front_thread *front_thread_self(void);

/* slab.c */

must_check int slab_init(struct front *front);
/* A connection slot that the caller owns (state READING).  NULL when max_connections are in use or memory is
 * short. */
struct conn *slab_acquire(struct front *front);
/* The slot with this number, NULL when there is none.  Any thread. */
struct conn *slab_find(struct front *front, uint32_t index);
/* How many slots there are by now: their numbers are those below. */
unsigned slab_size(struct front *front);
/* Gives a slot back.  Its owner must not look at it again. */
void slab_release(struct conn *conn);
void slab_free_all(struct front *front);

/* conn.c: called by the owner unless said otherwise */

/* Reacts to an epoll event, or to a deadline that has passed (events 0); the caller owns nothing yet. */
void conn_on_event(struct conn *conn, uint32_t generation, uint32_t events);
/* Gives the slot the connection `fd` (taken), which has just been accepted, and gives it up. */
void conn_open(struct conn *conn, int fd);
/* Reads until there is a whole request, nothing more, or the end. */
void conn_read(struct conn *conn);
/* Gives the connection up after an answer: for the next request, or closed. */
void conn_finish_answer(struct conn *conn, int result);
void conn_close(struct conn *conn, enum close_reason reason);
/* Sends `size` bytes of `spool_fd` (taken) as the peer reads them, then finishes the answer. */
void conn_write_spool(struct conn *conn, int spool_fd, off_t size);
/* Gives the connection up; false when an event has come meanwhile and the caller is still the owner. */
must_check bool conn_try_give_up(struct conn *conn, enum conn_state state);
/* Changes what is watched for (EPOLL_CTL_*, EPOLL*). */
int conn_watch(struct conn *conn, int operation, uint32_t events);
/* Whether the peer has read since the last look.  A unix socket shows it in whole pieces only. */
bool conn_has_peer_read(struct conn *conn);
/* Whether its deadline has passed: the owner closes it then. */
bool conn_is_overdue(const struct conn *conn);
/* Cancels a request that waits, as if its client had gone, or closes one whose peer does not take its answer;
 * false when there is neither.  Any thread. */
bool conn_cancel(struct conn *conn);
/* Takes out whom to tell about a hang-up; false when nobody is to be told (any more).  Lock held. */
bool conn_take_wait_locked(struct conn *conn, struct request_wait *ret_wait);

/* Closes a connection that rests since before `before_ns`; false when it is in use, or has had no request
 * yet.  Any request thread. */
bool conn_evict(struct conn *conn, uint64_t before_ns);

/* deadline.c */
void deadline_set(struct conn *conn); /* from now on, unless it has one */
void deadline_clear(struct conn *conn);
void deadline_sweep(struct front *front, uint64_t now_ns);

/* body.c: called by the owner */

/* Nothing is known of the next request: it has the usual limits. */
void body_begin(struct conn *conn);
/* After each frames_scan, which said `status`.  BODY_FITS for FRAMES_BODY_TOO_LARGE means that the limits are
 * wider now and the scan is to go on.  Otherwise, when it does not fit, the request is to be started without
 * its body. */
must_check enum body_verdict body_judge(struct conn *conn, const char *bytes, enum frames_status status);
/* Takes the body of the request that is complete in bytes[0..size) and keeps in conn->in what lies behind it.
 * `bytes` is not valid any more. */
void body_take(struct conn *conn, const char *bytes, size_t size);
/* A large body has been freed, or will not come: its bytes are for others.  May be called again. */
void body_give_back(struct conn *conn);

/* stream.c */

/* The owner's turn: sends what waits, and gives the connection up, finishes the answer or closes. */
void stream_turn(struct conn *conn);
/* The stream, if the connection is one, is over; tells who began it.  By the owner. */
void stream_detach(struct conn *conn);
/* Ends the stream, if the connection is one that does not pull, as if its client had gone.  By who drains. */
void stream_cut_off(struct conn *conn);
/* The same for one that pulls, in two steps: it is told to stop, and is cut off at the second call.  False
 * when the connection is none.  By who drains. */
must_check bool stream_stop(struct conn *conn);

/* How many bytes wait to be sent.  Any thread. */
size_t stream_unsent(const struct request_stream *stream);

/* request.c */

/* Ends the waiting of a request that is about to be answered.  False when nobody can be answered: the
 * request is gone then, with its connection. */
must_check bool request_can_answer(struct request *req);
/* For request_reply, to HEAD only: no Content-Length. */
#define REQUEST_SIZE_UNKNOWN SIZE_MAX
/* Its answer has begun, and nothing of the request is needed any more; `ends` when it does not count as in
 * flight either. */
void request_become_stream(struct request *req, bool ends);
/* Starts the request that is complete in bytes[0..size): opens it, keeps what lies behind it in conn->in,
 * finds its route and calls the handler.  Takes the connection. */
void request_start(struct conn *conn, const char *bytes, size_t size, enum body_verdict verdict);
/* The path of a request, decoded and without its query: of the URI as the client sent it or, when that is
 * NULL, what the other two (decoded already, either may be NULL) make together.  Its length; -EINVAL when it
 * is badly encoded, -ENOSPC when it is too long. */
must_check int request_decode_path(const char *uri, const char *name, const char *info,
                                   char ret_path[PATH_MAX_BYTES]);
/* The request does not count as in flight any more; may be called again. */
void request_end(struct request *req);

/* front.c */
void front_make_ready(struct conn *conn, request_fn fn, void *arg);
void front_request_ended(struct front *front);
void front_resume_accept(struct front *front);
/* False when there are max_streams, or we are draining; otherwise front_stream_ended is to follow. */
must_check bool front_stream_begins(struct front *front);
void front_stream_ended(struct front *front);

/* front_metrics.c */
void front_count_request(const struct request *req, int status);
void front_count_request_gone(const struct request *req);
void front_count_in_flight(int change);
void front_count_streams(int change);
void front_count_rejected(void);
void front_count_accepted(void);
void front_count_accept_paused(void);
void front_count_closed(enum close_reason reason);
