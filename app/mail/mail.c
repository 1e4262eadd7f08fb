#include "mail/mail.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/mail_int.h"

/* ---- from outside ---- */

/* The sender that was busy last: its connection is the warmest. */
void mailer_submit(struct mailer *mailer, struct mail *mail)
{
    assert(mailer->host && mail->recipient_count > 0);
    LOCK(&mailer->lock);
    assert(mail->state == MAIL_IDLE && !mailer->is_stopping);
    mail->is_cancelled = false;
    struct mail_sender *sender = SLIST_FIRST(&mailer->idle);
    if (!sender) {
        mail->state = MAIL_WAITING;
        TAILQ_INSERT_TAIL(&mailer->waiting, mail, link);
        return;
    }
    SLIST_REMOVE_HEAD(&mailer->idle, idle_link);
    mail->state = MAIL_SENDING;
    mail->sender = sender;
    sender->mail = mail;
    pthread_cond_signal(&sender->has_mail);
}

static void cancel_locked(struct mailer *mailer, struct mail *mail)
{
    if (mail->state == MAIL_WAITING) {
        TAILQ_REMOVE(&mailer->waiting, mail, link);
        TAILQ_INSERT_TAIL(&mailer->ending, mail, link);
        mail->state = MAIL_ENDING;
        pthread_cond_signal(&mailer->has_ending);
    } else if (mail->state == MAIL_SENDING && !mail->is_cancelled) {
        mail->is_cancelled = true;
        mail_sender_break_locked(mail->sender);
        pthread_cond_broadcast(&mailer->has_answer);
    }
}

void mailer_cancel(struct mailer *mailer, struct mail *mail)
{
    LOCK(&mailer->lock);
    cancel_locked(mailer, mail);
}

bool mail_is_cancelled(struct mailer *mailer, const struct mail *mail)
{
    LOCK(&mailer->lock);
    return mail->is_cancelled;
}

/* ---- the threads ---- */

static void end(struct mail *mail)
{
    mail_count(mail);
    mail->done(mail);
}

/* Waits for the sender's next mail; NULL when there will be none.  One that gets no mail at once goes to the
 * idle. */
static struct mail *next_mail(struct mail_sender *sender)
{
    struct mailer *mailer = sender->mailer;

    LOCK(&mailer->lock);
    struct mail *mail = TAILQ_FIRST(&mailer->waiting);
    if (mail) {
        TAILQ_REMOVE(&mailer->waiting, mail, link);
        mail->state = MAIL_SENDING;
        mail->sender = sender;
        sender->mail = mail;
        return mail;
    }
    SLIST_INSERT_HEAD(&mailer->idle, sender, idle_link);
    while (!sender->mail && !mailer->is_stopping)
        cond_wait_until(&sender->has_mail, &mailer->lock, CLOCK_NEVER);
    return sender->mail;
}

/* From here on no cancel reaches the mail. */
static void close_to_cancels(struct mail_sender *sender)
{
    LOCK(&sender->mailer->lock);
    sender->mail->state = MAIL_IDLE;
    sender->mail->sender = NULL;
    sender->mail = NULL;
}

static void *sender_main(void *arg)
{
    struct mail_sender *sender = arg;
    struct mail *mail;

    while ((mail = next_mail(sender))) {
        mail_sender_send(sender, mail);
        close_to_cancels(sender);
        end(mail);
    }
    return NULL;
}

static struct mail *next_ending(struct mailer *mailer)
{
    LOCK(&mailer->lock);
    while (TAILQ_EMPTY(&mailer->ending) && !mailer->is_stopping)
        cond_wait_until(&mailer->has_ending, &mailer->lock, CLOCK_NEVER);
    struct mail *mail = TAILQ_FIRST(&mailer->ending);
    if (mail) {
        TAILQ_REMOVE(&mailer->ending, mail, link);
        mail->state = MAIL_IDLE;
    }
    return mail;
}

static void *ender_main(void *arg)
{
    struct mailer *mailer = arg;
    struct mail *mail;

    while ((mail = next_ending(mailer))) {
        mail->outcome = MAIL_CANCELLED;
        mail->reply_code = 0;
        mail->is_final = false;
        snprintf(mail->error, sizeof(mail->error), "cancelled");
        end(mail);
    }
    return NULL;
}

/* ---- life ---- */

static bool is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

static int split_server(struct mailer *mailer, struct err *err)
{
    CURLU *url = curl_url();
    CURLUcode code = CURLUE_OUT_OF_MEMORY;

    if (url)
        code = curl_url_set(url, CURLUPART_URL, mailer->config->mail.server, CURLU_DISALLOW_USER);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_HOST, &mailer->host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_PORT, &mailer->port, CURLU_DEFAULT_PORT);
    curl_url_cleanup(url);
    if (code == CURLUE_OUT_OF_MEMORY)
        return err_set(err, -ENOMEM, "out of memory");
    if (code != CURLUE_OK)
        return err_set(err, -EINVAL, "mail.server: %s", curl_url_strerror(code));
    mailer->needs_lookup = !is_numeric(mailer->host);
    return 0;
}

static int check_from(const char *from, struct err *err)
{
    struct address address;
    struct err inner;

    if (from[0] != '\0' && address_parse(from, strlen(from), &address, &inner) < 0)
        return err_set(err, -EINVAL, "mail.from: %s", inner.text);
    return 0;
}

static int create_senders(struct mailer *mailer, struct err *err)
{
    unsigned count = mailer->config->mail.max_connections;
    int rc = 0;

    mailer->senders = calloc(count, sizeof(*mailer->senders));
    if (!mailer->senders)
        return err_set(err, -ENOMEM, "out of memory");
    for (mailer->sender_count = 0; mailer->sender_count < count && rc == 0; mailer->sender_count++) {
        struct mail_sender *sender = &mailer->senders[mailer->sender_count];
        sender->mailer = mailer;
        sender->number = mailer->sender_count;
        cond_init(&sender->has_mail);
        rc = mail_sender_init(sender, err);
    }
    return rc;
}

static void init(struct mailer *mailer, const struct config *config)
{
    mailer->config = config;
    mutex_init(&mailer->lock);
    cond_init(&mailer->has_ending);
    cond_init(&mailer->has_answer);
    TAILQ_INIT(&mailer->waiting);
    TAILQ_INIT(&mailer->ending);
    SLIST_INIT(&mailer->idle);
}

int mailer_create(const struct config *config, struct mailer **ret_mailer, struct err *err)
{
    struct mailer *mailer = calloc(1, sizeof(*mailer));
    int rc;

    if (!mailer)
        return err_set(err, -ENOMEM, "out of memory");
    init(mailer, config);
    rc = check_from(config->mail.from, err);
    if (rc == 0 && config->mail.server[0] != '\0') {
        rc = split_server(mailer, err);
        if (rc == 0)
            rc = create_senders(mailer, err);
        if (rc == 0 && mailer->needs_lookup)
            rc = resolver_create(1, &mailer->resolver, err);
    }
    if (rc < 0) {
        mailer_free(mailer);
        return rc;
    }
    *ret_mailer = mailer;
    return 0;
}

int mailer_start(struct mailer *mailer, struct err *err)
{
    char name[16];

    if (!mailer->host)
        return 0;
    int rc = thread_start(&mailer->ender, "mail-ender", ender_main, mailer, err);
    mailer->is_ender_started = rc == 0;
    for (unsigned i = 0; i < mailer->sender_count && rc == 0; i++) {
        struct mail_sender *sender = &mailer->senders[i];
        snprintf(name, sizeof(name), "mail-%u", sender->number);
        rc = thread_start(&sender->thread, name, sender_main, sender, err);
        sender->is_started = rc == 0;
    }
    return rc;
}

static void tell_stop(struct mailer *mailer)
{
    struct mail *mail;

    LOCK(&mailer->lock);
    mailer->is_stopping = true;
    while ((mail = TAILQ_FIRST(&mailer->waiting)))
        cancel_locked(mailer, mail);
    for (unsigned i = 0; i < mailer->sender_count; i++) {
        if (mailer->senders[i].mail)
            cancel_locked(mailer, mailer->senders[i].mail);
        pthread_cond_signal(&mailer->senders[i].has_mail);
    }
    pthread_cond_signal(&mailer->has_ending);
}

void mailer_stop(struct mailer *mailer)
{
    tell_stop(mailer);
    for (unsigned i = 0; i < mailer->sender_count; i++) {
        struct mail_sender *sender = &mailer->senders[i];
        if (sender->is_started)
            thread_join(sender->thread);
        sender->is_started = false;
    }
    if (mailer->is_ender_started)
        thread_join(mailer->ender);
    mailer->is_ender_started = false;
}

void mailer_free(struct mailer *mailer)
{
    if (!mailer)
        return;
    resolver_free(mailer->resolver); /* from here on nobody answers */
    for (unsigned i = 0; i < mailer->sender_count; i++) {
        mail_sender_hang_up(&mailer->senders[i]);
        pthread_cond_destroy(&mailer->senders[i].has_mail);
    }
    free(mailer->senders);
    curl_free(mailer->host);
    curl_free(mailer->port);
    pthread_mutex_destroy(&mailer->lock);
    pthread_cond_destroy(&mailer->has_ending);
    pthread_cond_destroy(&mailer->has_answer);
    free(mailer);
}
