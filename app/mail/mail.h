/* mail.h - messages to the one mail server (SMTP by libcurl), with a bounded number of connections.
 *
 * How to use it: fill in a struct mail, mailer_submit; `done` is called with its outcome.
 * Threads:   mailer_submit and mailer_cancel from any, between mailer_start and mailer_stop; neither blocks.
 *            `done` is called in a thread of the mailer, with no lock held, and must not block.
 * Ownership: the mail and all it points to is lent until `done`; its caller frees it then, or later.
 * Invariants: `done` is called exactly once for each submit.  At most mail.max_connections messages are on
 *            their way at once, the others wait in the order in which they came.  Either all recipients were
 *            accepted and have the message, or nobody has: one that the server refuses ends the mail before
 *            anything was sent, so that trying again sends nobody the same twice. */
#pragma once

#include <sys/queue.h>

#include "base/common.h"
#include "base/err.h"
#include "config/config.h"
#include "mail/address.h"
#include "metrics/metrics.h"

struct mailer;

enum mail_outcome {
    MAIL_DELIVERED, /* the server has taken it */
    MAIL_DEFERRED,  /* it answered 4yz */
    MAIL_REFUSED,   /* it answered 5yz, or wants another user or password */
    MAIL_TIMEOUT,   /* mail.timeout, or the mail's deadline */
    MAIL_FAILED,    /* not reached, connection lost, TLS */
    MAIL_CANCELLED,
    MAIL_OUTCOME_COUNT,
};

#define MAIL_ERROR_SIZE 400

struct mail {
    /* set by the caller: */
    const char *from; /* the envelope's sender: a@b */
    char (*recipients)[ADDRESS_MAX_BYTES + 1];
    size_t recipient_count; /* at least one */
    const char *message;
    size_t message_size;
    uint64_t deadline_ns; /* CLOCK_NEVER: only mail.timeout, which counts from when it is its turn */
    void (*done)(struct mail *mail);
    void *arg;

    /* set before `done`: */
    enum mail_outcome outcome;
    int reply_code;              /* the server's last; 0 when there was none */
    bool is_final;               /* trying again is of no use */
    char error[MAIL_ERROR_SIZE]; /* one sentence of ASCII without a full stop; "" when delivered */

    /* the mailer's: */
    TAILQ_ENTRY(mail) link;
    struct mail_sender *sender; /* who sends it */
    enum { MAIL_IDLE, MAIL_WAITING, MAIL_SENDING, MAIL_ENDING } state;
    bool is_cancelled;
};

/* Without mail.server it is a mailer that must not be given anything.  The configuration is lent.  Returns 0,
 * or -errno with `err` set: -EINVAL when mail.server or mail.from cannot be used. */
must_check int mailer_create(const struct config *config, struct mailer **ret_mailer, struct err *err);

must_check int mailer_start(struct mailer *mailer, struct err *err);

/* `mail->state` must be MAIL_IDLE (0) before the first submit; the mail may be given again after `done`. */
void mailer_submit(struct mailer *mailer, struct mail *mail);

/* `done` follows within milliseconds, in another thread; nothing when it has been called already.  The
 * server may have taken the message all the same, when its answer had not come. */
void mailer_cancel(struct mailer *mailer, struct mail *mail);

/* Ends all mails as cancelled and joins the threads. */
void mailer_stop(struct mailer *mailer);

/* After mailer_stop, or when it was never started.  NULL is allowed. */
void mailer_free(struct mailer *mailer);

extern struct metric mail_metrics[];
extern const size_t mail_metrics_count;
