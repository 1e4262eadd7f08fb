/* The addresses of the one mail server.  All senders share them, and one query. */
#include "mail/mail_int.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

/* In a resolver thread, under the resolver's lock.  Without an answer the old addresses stay. */
static void on_answer(struct resolver_query *query)
{
    struct mailer *mailer = container_of(query, struct mailer, query);

    LOCK(&mailer->lock);
    mailer->is_asking = false;
    mailer->resolved_ns = clock_now_ns();
    mailer->gai_error = query->gai_error;
    if (query->addresses[0] != '\0')
        memcpy(mailer->addresses, query->addresses, sizeof(mailer->addresses));
    pthread_cond_broadcast(&mailer->has_answer);
}

/* True for the one who has to ask.  A failed look-up is repeated by the next mail. */
static bool begin_asking(struct mailer *mailer)
{
    LOCK(&mailer->lock);
    uint64_t stale_ns = clock_deadline_ns(mailer->resolved_ns, mailer->config->fetch.dns_ttl_ms);
    bool is_fresh = mailer->addresses[0] != '\0' && clock_now_ns() < stale_ns;
    if (is_fresh || mailer->is_asking)
        return false;
    mailer->is_asking = true;
    return true;
}

int mail_lookup(struct mailer *mailer, const struct mail *mail, uint64_t deadline_ns,
                char ret_addresses[RESOLVER_ADDRESSES_SIZE], struct err *err)
{
    bool in_time = true;

    ret_addresses[0] = '\0';
    if (!mailer->needs_lookup)
        return 0;
    if (begin_asking(mailer)) { /* not under the lock: the resolver calls us under its own */
        mailer->query.host = mailer->host;
        mailer->query.done = on_answer;
        resolver_ask(mailer->resolver, &mailer->query);
    }
    LOCK(&mailer->lock);
    while (mailer->addresses[0] == '\0' && mailer->is_asking && !mail->is_cancelled && in_time)
        in_time = cond_wait_until(&mailer->has_answer, &mailer->lock, deadline_ns);
    if (mailer->addresses[0] != '\0') {
        memcpy(ret_addresses, mailer->addresses, RESOLVER_ADDRESSES_SIZE);
        return 0;
    }
    if (mail->is_cancelled)
        return err_set(err, -ECANCELED, "cancelled");
    if (mailer->is_asking)
        return err_set(err, -ETIMEDOUT, "timed out, waiting for the address of the mail server");
    return err_set(err, -EHOSTUNREACH, "the mail server's name cannot be resolved: %s",
                   gai_strerror(mailer->gai_error));
}
