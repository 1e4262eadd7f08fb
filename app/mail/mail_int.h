/* mail_int.h - what the mailer's files share. */
#pragma once

#include <curl/curl.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/thread.h"
#include "fetch/resolver.h"
#include "mail/mail.h"

/* A connection is tried over both families at once, while the one before it may still be open. */
#define SENDER_SOCKETS_MAX 8

/* A thread that sends one message after the other, over a connection of its own. */
struct mail_sender {
    struct mailer *mailer;
    unsigned number;
    pthread_t thread;
    bool is_started;
    CURLM *multi; /* holds the connection; curl_multi_wakeup from any thread */

    /* its own thread only: */
    CURL *easy;
    const char *unsent;
    size_t unsent_size;
    int reply_code;     /* of the last reply in this transfer; 0: none yet */
    bool is_reply_open; /* more lines of it follow */
    char reply[160];    /* its first line */
    char error[CURL_ERROR_SIZE];

    /* guarded by mailer->lock: */
    struct mail *mail; /* NULL: idle */
    int sockets[SENDER_SOCKETS_MAX];
    size_t socket_count;
    SLIST_ENTRY(mail_sender) idle_link;
    pthread_cond_t has_mail;
};

TAILQ_HEAD(mail_list, mail);
SLIST_HEAD(mail_sender_list, mail_sender);

struct mailer {
    /* set before threads start, then read-only: */
    const struct config *config;
    char *host; /* of mail.server; NULL when there is none */
    char *port;
    bool needs_lookup; /* the host is a name */
    struct resolver *resolver;
    struct mail_sender *senders;
    unsigned sender_count;

    pthread_mutex_t lock;
    /* guarded by lock: */
    struct mail_list waiting; /* for a sender */
    struct mail_list ending;  /* cancelled before it was their turn */
    struct mail_sender_list idle;
    bool is_stopping;
    bool is_asking;       /* `query` is the resolver's */
    uint64_t resolved_ns; /* when it last answered; 0: never */
    int gai_error;        /* what it answered */
    char addresses[RESOLVER_ADDRESSES_SIZE];

    pthread_cond_t has_ending;
    pthread_cond_t has_answer; /* of the resolver, or a mail was cancelled */
    struct resolver_query query;
    pthread_t ender; /* ends those in `ending`, for all senders may be busy */
    bool is_ender_started;
};

/* ---- mail.c ---- */

must_check bool mail_is_cancelled(struct mailer *mailer, const struct mail *mail);

/* ---- lookup.c ---- */

/* Gives the addresses of the server's name, as CURLOPT_RESOLVE wants them; "" when it has none.  Waits for
 * them until `deadline_ns` or until the mail is cancelled; old ones serve while new ones are asked for.
 * Returns 0, -ECANCELED, -ETIMEDOUT or -EHOSTUNREACH, with `err` set. */
must_check int mail_lookup(struct mailer *mailer, const struct mail *mail, uint64_t deadline_ns,
                           char ret_addresses[RESOLVER_ADDRESSES_SIZE], struct err *err);

/* ---- sender.c ---- */

must_check int mail_sender_init(struct mail_sender *sender, struct err *err);
void mail_sender_done(struct mail_sender *sender);

/* Sends the mail and sets its results.  Blocks until it is sent, too late or cancelled. */
void mail_sender_send(struct mail_sender *sender, struct mail *mail);

/* Breaks off what the sender does, wherever in libcurl that is.  Does not block. */
void mail_sender_break_locked(struct mail_sender *sender);

/* Closes the connection that is left, without waiting for the server's farewell. */
void mail_sender_hang_up(struct mail_sender *sender);

/* ---- metrics.c ---- */

void mail_count(const struct mail *mail);

extern const char *const mail_outcome_names[MAIL_OUTCOME_COUNT];
