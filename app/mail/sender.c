/* One transfer of libcurl at a time, in a thread of its own.
 *
 * Not all of them in one thread, as the fetches are: libcurl (7.88) waits inside of curl_multi_perform for
 * what a server says to the end of the data and to QUIT, a second and more where a filter reads each message.
 * In one thread that wait would be everybody's, and no cancel would be heard.  Here it is that of one
 * message, and who cancels it shuts the socket down, which ends every wait there can be. */
#include "mail/mail_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTION_IDLE_MAX_S 60 /* servers hang up after a few minutes; many sooner */
#define POLL_MS               1000

/* ---- libcurl's callbacks ---- */

static size_t on_read(char *out, size_t one, size_t room, void *arg)
{
    struct mail_sender *sender = arg;
    size_t size = MIN(one * room, sender->unsent_size);

    memcpy(out, sender->unsent, size);
    sender->unsent += size;
    sender->unsent_size -= size;
    return size;
}

static bool is_reply_line(const char *line, size_t size)
{
    return size >= 4 && isdigit((unsigned char)line[0]) && isdigit((unsigned char)line[1]) &&
           isdigit((unsigned char)line[2]) && (line[3] == ' ' || line[3] == '-' || line[3] == '\r');
}

/* Error messages are stored and shown: only printable ASCII goes on. */
static void copy_printable(char *ret_text, size_t room, const char *text, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < size && used + 1 < room; i++)
        if (text[i] != '\r' && text[i] != '\n')
            ret_text[used++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    ret_text[used] = '\0';
}

/* Each line of the server's.  Kept is the first line of the last reply: what follows in long ones is advice.
 * 221 is the farewell to libcurl's QUIT, which tells nothing about the message. */
static size_t on_reply(char *line, size_t one, size_t size, void *arg)
{
    struct mail_sender *sender = arg;

    (void)one;
    if (!is_reply_line(line, size) || memcmp(line, "221", 3) == 0)
        return size;
    if (!sender->is_reply_open) {
        sender->reply_code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
        copy_printable(sender->reply, sizeof(sender->reply), line, size);
    }
    sender->is_reply_open = line[3] == '-';
    return size;
}

static size_t ignore_body(char *bytes, size_t one, size_t size, void *arg)
{
    (void)bytes;
    (void)arg;
    return one * size;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct mail_sender *sender = arg;

    (void)purpose;
    LOCK(&sender->mailer->lock);
    if (sender->socket_count == SENDER_SOCKETS_MAX)
        return CURL_SOCKET_BAD;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    sender->sockets[sender->socket_count++] = fd;
    return fd;
}

/* Closed under the lock: nobody shuts down what has the same number next. */
static int on_close(void *arg, curl_socket_t fd)
{
    struct mail_sender *sender = arg;

    LOCK(&sender->mailer->lock);
    for (size_t i = 0; i < sender->socket_count; i++)
        if (sender->sockets[i] == fd)
            sender->sockets[i--] = sender->sockets[--sender->socket_count];
    return close(fd);
}

/* ---- breaking off ---- */

static void shut_down_locked(struct mail_sender *sender, int how)
{
    for (size_t i = 0; i < sender->socket_count; i++)
        shutdown(sender->sockets[i], how);
}

/* The wake-up is for where libcurl polls; a socket may not have been connected yet, and cannot be shut down
 * then. */
void mail_sender_break_locked(struct mail_sender *sender)
{
    shut_down_locked(sender, SHUT_RDWR);
    curl_multi_wakeup(sender->multi);
}

/* libcurl says QUIT and reads an end instead of an answer. */
void mail_sender_hang_up(struct mail_sender *sender)
{
    mutex_lock(&sender->mailer->lock);
    shut_down_locked(sender, SHUT_RD);
    mutex_unlock(&sender->mailer->lock);
    mail_sender_done(sender);
}

/* ---- one transfer ---- */

static long tls_level(enum mail_tls tls)
{
    switch (tls) {
    case MAIL_TLS_TRY:
        return CURLUSESSL_TRY;
    case MAIL_TLS_REQUIRED:
        return CURLUSESSL_ALL;
    case MAIL_TLS_NEVER:
    default:
        return CURLUSESSL_NONE;
    }
}

/* A reply may take all of the time that the message has; whole seconds, libcurl knows no less. */
static long reply_timeout_s(const struct config *config)
{
    return (long)(config->mail.timeout_ms / 1000 + 1);
}

static bool set_options(struct mail_sender *sender)
{
    const struct config *config = sender->mailer->config;
    CURL *easy = sender->easy;
    bool ok = true;

    ok &= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps") == CURLE_OK;
    ok &= curl_easy_setopt(easy, CURLOPT_URL, config->mail.server) == CURLE_OK;
    ok &= curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK; /* not what the environment says */
    ok &= curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK;
    ok &= curl_easy_setopt(easy, CURLOPT_USE_SSL, tls_level(config->mail.starttls)) == CURLE_OK;
    if (config->fetch.ca_file[0] != '\0')
        ok &= curl_easy_setopt(easy, CURLOPT_CAINFO, config->fetch.ca_file) == CURLE_OK;
    if (config->mail.user[0] != '\0') {
        ok &= curl_easy_setopt(easy, CURLOPT_USERNAME, config->mail.user) == CURLE_OK;
        ok &= curl_easy_setopt(easy, CURLOPT_PASSWORD, config->mail.password) == CURLE_OK;
    }
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, sender->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(easy, CURLOPT_SASL_IR, 1L); /* a round trip less */
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, sender);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore_body);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_reply);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, sender);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, sender);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, sender);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)CONNECTION_IDLE_MAX_S);
    curl_easy_setopt(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, reply_timeout_s(config));
    return ok;
}

/* Runs the transfer to its end.  libcurl's waits in between are ended by the shut-down of the socket. */
static CURLcode drive(struct mail_sender *sender, const struct mail *mail)
{
    int running = 1;
    int left;
    const CURLMsg *message;

    while (curl_multi_perform(sender->multi, &running) == CURLM_OK && running > 0) {
        if (mail_is_cancelled(sender->mailer, mail))
            return CURLE_ABORTED_BY_CALLBACK;
        curl_multi_poll(sender->multi, NULL, 0, POLL_MS, NULL);
    }
    while ((message = curl_multi_info_read(sender->multi, &left)))
        if (message->msg == CURLMSG_DONE)
            return message->data.result;
    return CURLE_OUT_OF_MEMORY;
}

static CURLcode perform(struct mail_sender *sender, const struct mail *mail, uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns();

    if (mail_is_cancelled(sender->mailer, mail))
        return CURLE_ABORTED_BY_CALLBACK;
    if (now_ns >= deadline_ns)
        return CURLE_OPERATION_TIMEDOUT;
    sender->unsent = mail->message;
    sender->unsent_size = mail->message_size;
    sender->reply_code = 0;
    sender->is_reply_open = false;
    sender->reply[0] = '\0';
    sender->error[0] = '\0';
    curl_easy_setopt(sender->easy, CURLOPT_TIMEOUT_MS, (long)clock_poll_timeout_ms(now_ns, deadline_ns));
    if (curl_multi_add_handle(sender->multi, sender->easy) != CURLM_OK)
        return CURLE_OUT_OF_MEMORY;
    CURLcode code = drive(sender, mail);
    curl_multi_remove_handle(sender->multi, sender->easy);
    return code;
}

/* The server has hung up on a connection that was kept, before it took anything. */
static bool was_stale(const struct mail_sender *sender, CURLcode code)
{
    long connects = 0;

    curl_easy_getinfo(sender->easy, CURLINFO_NUM_CONNECTS, &connects);
    return code != CURLE_OK && code != CURLE_OPERATION_TIMEDOUT && code != CURLE_ABORTED_BY_CALLBACK &&
           connects == 0 && (sender->reply_code == 0 || sender->reply_code == 421);
}

static CURLcode perform_or_repeat(struct mail_sender *sender, const struct mail *mail, uint64_t deadline_ns)
{
    CURLcode code = perform(sender, mail, deadline_ns);

    if (!was_stale(sender, code))
        return code;
    curl_easy_setopt(sender->easy, CURLOPT_FRESH_CONNECT, 1L);
    code = perform(sender, mail, deadline_ns);
    curl_easy_setopt(sender->easy, CURLOPT_FRESH_CONNECT, 0L);
    return code;
}

static struct curl_slist *make_recipients(const struct mail *mail)
{
    struct curl_slist *list = NULL;

    for (size_t i = 0; i < mail->recipient_count; i++) {
        struct curl_slist *longer = curl_slist_append(list, mail->recipients[i]);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

static struct curl_slist *make_resolve(const struct mailer *mailer, const char *addresses)
{
    char entry[CONFIG_HOST_MAX_BYTES + RESOLVER_ADDRESSES_SIZE + 16];

    snprintf(entry, sizeof(entry), "%s:%s:%s", mailer->host, mailer->port, addresses);
    return curl_slist_append(NULL, entry);
}

static CURLcode transfer(struct mail_sender *sender, const struct mail *mail, const char *addresses,
                         uint64_t deadline_ns)
{
    struct curl_slist *recipients = make_recipients(mail);
    struct curl_slist *resolve = addresses[0] != '\0' ? make_resolve(sender->mailer, addresses) : NULL;
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (recipients && (resolve || addresses[0] == '\0') &&
        curl_easy_setopt(sender->easy, CURLOPT_MAIL_FROM, mail->from) == CURLE_OK) {
        curl_easy_setopt(sender->easy, CURLOPT_MAIL_RCPT, recipients);
        curl_easy_setopt(sender->easy, CURLOPT_RESOLVE, resolve);
        curl_easy_setopt(sender->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)mail->message_size);
        code = perform_or_repeat(sender, mail, deadline_ns);
    }
    curl_easy_setopt(sender->easy, CURLOPT_MAIL_RCPT, NULL);
    curl_easy_setopt(sender->easy, CURLOPT_RESOLVE, NULL);
    curl_slist_free_all(recipients);
    curl_slist_free_all(resolve);
    return code;
}

/* ---- outcomes: the one place where libcurl's codes become ours ---- */

/* The codes that libcurl has for a reply it did not want.  With all others the last reply was a good one. */
static bool is_about_reply(CURLcode code)
{
    return code == CURLE_SEND_ERROR || code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_LOGIN_DENIED ||
           code == CURLE_REMOTE_ACCESS_DENIED || code == CURLE_USE_SSL_FAILED;
}

static enum mail_outcome find_outcome(CURLcode code, int reply_code, bool is_cancelled)
{
    if (code == CURLE_OK)
        return MAIL_DELIVERED;
    if (is_cancelled)
        return MAIL_CANCELLED;
    if (is_about_reply(code) && reply_code >= 500)
        return MAIL_REFUSED;
    if (is_about_reply(code) && reply_code >= 400)
        return MAIL_DEFERRED;
    if (code == CURLE_LOGIN_DENIED)
        return MAIL_REFUSED;
    return code == CURLE_OPERATION_TIMEDOUT ? MAIL_TIMEOUT : MAIL_FAILED;
}

static void set_error(struct mail *mail, const char *before, const char *text)
{
    size_t size = (size_t)snprintf(mail->error, sizeof(mail->error), "%s", before);

    copy_printable(mail->error + size, sizeof(mail->error) - size, text, strlen(text));
}

static void set_results(const struct mail_sender *sender, struct mail *mail, CURLcode code, bool is_cancelled)
{
    const char *text =
        sender->error[0] && code != CURLE_OUT_OF_MEMORY ? sender->error : curl_easy_strerror(code);

    mail->outcome = find_outcome(code, sender->reply_code, is_cancelled);
    mail->reply_code = sender->reply_code;
    mail->is_final = mail->outcome == MAIL_REFUSED;
    mail->error[0] = '\0';
    if (mail->outcome == MAIL_CANCELLED)
        set_error(mail, "cancelled", "");
    else if (is_about_reply(code) && sender->reply_code >= 400)
        set_error(mail, "the mail server answered ", sender->reply);
    else if (code == CURLE_OPERATION_TIMEDOUT)
        set_error(mail, "timed out, waiting for the mail server", "");
    else if (code != CURLE_OK)
        set_error(mail, "the mail server could not be used: ", text);
}

static void set_not_found(struct mail *mail, int rc, const struct err *err)
{
    mail->outcome = rc == -ECANCELED ? MAIL_CANCELLED : rc == -ETIMEDOUT ? MAIL_TIMEOUT : MAIL_FAILED;
    mail->reply_code = 0;
    mail->is_final = false;
    set_error(mail, "", err->text);
}

void mail_sender_send(struct mail_sender *sender, struct mail *mail)
{
    struct mailer *mailer = sender->mailer;
    uint64_t deadline_ns = clock_deadline_ns(clock_now_ns(), mailer->config->mail.timeout_ms);
    char addresses[RESOLVER_ADDRESSES_SIZE];
    struct err err;

    deadline_ns = MIN(deadline_ns, mail->deadline_ns);
    int rc = mail_lookup(mailer, mail, deadline_ns, addresses, &err);
    if (rc < 0) {
        set_not_found(mail, rc, &err);
        return;
    }
    CURLcode code = transfer(sender, mail, addresses, deadline_ns);
    set_results(sender, mail, code, mail_is_cancelled(mailer, mail));
}

/* ---- life ---- */

int mail_sender_init(struct mail_sender *sender, struct err *err)
{
    sender->easy = curl_easy_init();
    sender->multi = curl_multi_init();
    if (sender->easy && sender->multi && set_options(sender))
        return 0;
    return err_set(err, -ENOMEM, "out of memory");
}

void mail_sender_done(struct mail_sender *sender)
{
    curl_easy_cleanup(sender->easy);
    curl_multi_cleanup(sender->multi);
    sender->easy = NULL;
    sender->multi = NULL;
}
