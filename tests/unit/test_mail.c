/* The mailer against a mail server that follows a script: what it answers to each command, and where it
 * stalls. */
#include "harness.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include "fake_names.h"
#include "mail/mail.h"

/* ---- the server ---- */

enum { AT_GREETING, AT_EHLO, AT_AUTH, AT_MAIL, AT_RCPT, AT_DATA, AT_END, AT_QUIT, AT_COUNT };

#define STALL           NULL /* as an answer: none, until the client goes away */
#define CONNECTIONS_MAX 256

static const char *const good_answers[AT_COUNT] = {
    [AT_GREETING] = "220 hello", [AT_EHLO] = "250-test\r\n250 8BITMIME",
    [AT_AUTH] = "235 welcome",   [AT_MAIL] = "250 ok",
    [AT_RCPT] = "250 ok",        [AT_DATA] = "354 go on",
    [AT_END] = "250 taken",      [AT_QUIT] = "221 bye",
};

struct server {
    int fd;
    unsigned port;
    pthread_t acceptor;
    pthread_t threads[CONNECTIONS_MAX];
    int fds[CONNECTIONS_MAX];
    atomic_uint connections;
    atomic_uint stalled;  /* commands that got no answer */
    atomic_uint messages; /* taken */
    atomic_uint quits;
    _Atomic(const char *) answers[AT_COUNT];
    atomic_bool hangs_up; /* after a message */
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct buf commands; /* all of MAIL and RCPT */
    struct buf message;  /* the last one, with its dots */
};

struct connection {
    struct server *server;
    int fd;
};

static int step_of(const char *line)
{
    static const char *const words[AT_COUNT] = {"?", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "?", "QUIT"};

    for (int i = 0; i < AT_COUNT; i++)
        if (strncmp(line, words[i], 4) == 0)
            return i;
    return AT_COUNT;
}

/* False when the connection is over. */
static bool answer(struct server *server, FILE *in, int fd, int step)
{
    const char *text = step < AT_COUNT ? server->answers[step] : "500 what?";
    char line[2048];

    if (!text) {
        atomic_fetch_add(&server->stalled, 1);
        while (fgets(line, sizeof(line), in))
            continue;
        return false;
    }
    if (dprintf(fd, "%s\r\n", text) < 0)
        return false;
    return strncmp(text, "421", 3) != 0 && strncmp(text, "221", 3) != 0;
}

static void read_message(struct server *server, FILE *in)
{
    char line[2048];

    mutex_lock(&server->lock);
    server->message.size = 0;
    mutex_unlock(&server->lock);
    while (fgets(line, sizeof(line), in) && strcmp(line, ".\r\n") != 0) {
        LOCK(&server->lock);
        buf_append_str(&server->message, line);
    }
}

static void speak(struct server *server, FILE *in, int fd)
{
    char line[2048];
    bool goes_on = answer(server, in, fd, AT_GREETING);

    while (goes_on && fgets(line, sizeof(line), in)) {
        int step = step_of(line);
        if (step == AT_MAIL || step == AT_RCPT) {
            LOCK(&server->lock);
            buf_append_str(&server->commands, line);
        }
        if (step == AT_QUIT)
            atomic_fetch_add(&server->quits, 1);
        goes_on = answer(server, in, fd, step);
        if (step != AT_DATA || !goes_on || *server->answers[AT_DATA] != '3')
            continue;
        read_message(server, in);
        const char *verdict = server->answers[AT_END];
        if (verdict && *verdict == '2')
            atomic_fetch_add(&server->messages, 1);
        goes_on = answer(server, in, fd, AT_END);
        goes_on &= !server->hangs_up;
    }
}

static void *connection_main(void *arg)
{
    struct connection *connection = arg;
    FILE *in = fdopen(dup(connection->fd), "r");

    speak(connection->server, in, connection->fd);
    fclose(in);
    shutdown(connection->fd, SHUT_RDWR);
    free(connection);
    return NULL;
}

static void *acceptor_main(void *arg)
{
    struct server *server = arg;
    int fd;

    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        struct connection *connection = malloc(sizeof(*connection));
        unsigned number = atomic_load(&server->connections);
        assert_true(connection && number < CONNECTIONS_MAX);
        *connection = (struct connection){server, fd};
        server->fds[number] = fd;
        atomic_store(&server->connections, number + 1);
        start(&server->threads[number], connection_main, connection);
    }
    return NULL;
}

static void server_start(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    memset(server, 0, sizeof(*server));
    for (int i = 0; i < AT_COUNT; i++)
        server->answers[i] = good_answers[i];
    mutex_init(&server->lock);
    server->commands.max = server->message.max = 1024 * 1024;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
}

static void server_run(struct server *server)
{
    start(&server->acceptor, acceptor_main, server);
}

static void server_stop(struct server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    thread_join(server->acceptor);
    close(server->fd);
    for (unsigned i = 0; i < atomic_load(&server->connections); i++) {
        shutdown(server->fds[i], SHUT_RDWR);
        thread_join(server->threads[i]);
        close(server->fds[i]);
    }
    buf_done(&server->commands);
    buf_done(&server->message);
}

static void assert_buf_equal(struct server *server, const struct buf *buf, const char *text)
{
    LOCK(&server->lock);
    assert_int_equal(buf->size, strlen(text));
    assert_memory_equal(buf->data, text, buf->size);
}

/* ---- the mailer ---- */

struct setting {
    struct server server;
    char url[128];
    char empty[1];
    char user[16], password[16];
    struct config config;
    struct mailer *mailer;
};

static void setup_host(struct setting *setting, const char *host, unsigned connections)
{
    snprintf(setting->url, sizeof(setting->url), "smtp://%s:%u", host, setting->server.port);
    setting->empty[0] = '\0';
    setting->config = (struct config){
        .fetch = {.ca_file = setting->empty, .dns_ttl_ms = 30000},
        .mail = {.server = setting->url,
                 .starttls = MAIL_TLS_NEVER,
                 .user = setting->user,
                 .password = setting->password,
                 .from = setting->empty,
                 .timeout_ms = 30000,
                 .max_connections = connections},
    };
}

static void setting_start(struct setting *setting)
{
    struct err err = {0};

    if (mailer_create(&setting->config, &setting->mailer, &err) < 0 ||
        mailer_start(setting->mailer, &err) < 0)
        fail_msg("%s", err.text);
}

static void setting_stop(struct setting *setting)
{
    mailer_stop(setting->mailer);
    mailer_free(setting->mailer);
    server_stop(&setting->server);
}

/* A server and a mailer with as many connections; answers[at] is another when `at` is below AT_COUNT. */
static struct setting *begin(unsigned connections, int at, const char *text)
{
    static struct setting setting;

    memset(&setting, 0, sizeof(setting));
    server_start(&setting.server);
    if (at < AT_COUNT)
        setting.server.answers[at] = text;
    server_run(&setting.server);
    setup_host(&setting, "127.0.0.1", connections);
    setting_start(&setting);
    return &setting;
}

static void on_done(struct mail *mail)
{
    atomic_fetch_add((atomic_uint *)mail->arg, 1);
}

static char recipients[][ADDRESS_MAX_BYTES + 1] = {"to@example.org", "cc@example.org"};

static struct mail make_mail(atomic_uint *done_count)
{
    static const char text[] = "Subject: s\r\n\r\n.\r\n..two\r\nend\r\n";

    return (struct mail){.from = "from@example.org",
                         .recipients = recipients,
                         .recipient_count = 2,
                         .message = text,
                         .message_size = strlen(text),
                         .deadline_ns = CLOCK_NEVER,
                         .done = on_done,
                         .arg = done_count};
}

/* Sends one and waits for its outcome. */
static struct mail send_one(struct setting *setting)
{
    atomic_uint done = 0;
    struct mail mail = make_mail(&done);

    mailer_submit(setting->mailer, &mail);
    wait_for_count(&done, 1);
    return mail;
}

static void assert_outcome(const struct mail *mail, enum mail_outcome outcome, int reply_code,
                           const char *error)
{
    if (mail->outcome != outcome || !strstr(mail->error, error))
        fail_msg("outcome %d: %s", (int)mail->outcome, mail->error);
    assert_int_equal(mail->reply_code, reply_code);
    assert_int_equal(mail->is_final, outcome == MAIL_REFUSED);
}

/* ---- what a server takes ---- */

static void a_message_is_delivered_as_it_is(void **state)
{
    struct setting *setting = begin(1, AT_COUNT, NULL);
    struct mail mail = send_one(setting);

    (void)state;
    assert_outcome(&mail, MAIL_DELIVERED, 250, "");
    assert_string_equal(mail.error, "");
    assert_buf_equal(&setting->server, &setting->server.commands,
                     "MAIL FROM:<from@example.org>\r\n"
                     "RCPT TO:<to@example.org>\r\nRCPT TO:<cc@example.org>\r\n");
    assert_buf_equal(&setting->server, &setting->server.message, "Subject: s\r\n\r\n..\r\n...two\r\nend\r\n");
    setting_stop(setting);
}

static void a_connection_is_used_again(void **state)
{
    struct setting *setting = begin(1, AT_COUNT, NULL); /* of several another may be the first to be free */

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct mail mail = send_one(setting);
        assert_outcome(&mail, MAIL_DELIVERED, 250, "");
    }
    assert_int_equal(atomic_load(&setting->server.connections), 1);
    setting_stop(setting);
}

static void a_connection_that_the_server_closed_is_made_anew(void **state)
{
    struct setting *setting = begin(1, AT_COUNT, NULL);

    (void)state;
    setting->server.hangs_up = true;
    for (unsigned i = 1; i <= 3; i++) {
        struct mail mail = send_one(setting);
        assert_outcome(&mail, MAIL_DELIVERED, 250, "");
        assert_int_equal(atomic_load(&setting->server.messages), i);
    }
    setting_stop(setting);
}

static void many_go_over_a_few_connections(void **state)
{
    enum { COUNT = 200 };
    static struct mail mails[COUNT];
    struct setting *setting = begin(3, AT_COUNT, NULL);
    atomic_uint done = 0;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        mails[i] = make_mail(&done);
        mailer_submit(setting->mailer, &mails[i]);
    }
    wait_for_count(&done, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        assert_outcome(&mails[i], MAIL_DELIVERED, 250, "");
    assert_int_equal(atomic_load(&setting->server.messages), COUNT);
    assert_in_range(atomic_load(&setting->server.connections), 1, 3);
    setting_stop(setting);
}

/* ---- what it does not take ---- */

static void answers_decide_whether_to_try_again(void **state)
{
    static const struct {
        int at;
        const char *answer;
        enum mail_outcome outcome;
    } cases[] = {
        {AT_GREETING, "421 too busy", MAIL_DEFERRED}, {AT_GREETING, "554 not you", MAIL_REFUSED},
        {AT_MAIL, "451 later", MAIL_DEFERRED},        {AT_MAIL, "530 log in first", MAIL_REFUSED},
        {AT_RCPT, "450 mailbox busy", MAIL_DEFERRED}, {AT_RCPT, "550 no such user", MAIL_REFUSED},
        {AT_DATA, "451 no room", MAIL_DEFERRED},      {AT_DATA, "554 no", MAIL_REFUSED},
        {AT_END, "452 disk full", MAIL_DEFERRED},     {AT_END, "552 too long", MAIL_REFUSED},
        {AT_END, "421 going down", MAIL_DEFERRED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct setting *setting = begin(1, cases[i].at, cases[i].answer);
        struct mail mail = send_one(setting);
        assert_outcome(&mail, cases[i].outcome,
                       (cases[i].answer[0] - '0') * 100 + (cases[i].answer[1] - '0') * 10 +
                           cases[i].answer[2] - '0',
                       cases[i].answer);
        assert_int_equal(atomic_load(&setting->server.messages), 0);
        setting_stop(setting);
    }
}

static void of_a_long_answer_the_first_line_counts(void **state)
{
    struct setting *setting = begin(1, AT_RCPT, "550-5.1.1 no such\x01\xff user\r\n550 5.1.1 see our pages");
    struct mail mail = send_one(setting);

    (void)state;
    assert_outcome(&mail, MAIL_REFUSED, 550, "the mail server answered 550-5.1.1 no such?? user");
    assert_null(strstr(mail.error, "pages"));
    setting_stop(setting);
}

static void a_refusal_does_not_harm_the_next(void **state)
{
    struct setting *setting = begin(1, AT_RCPT, "550 no such user");
    struct mail mail = send_one(setting);

    (void)state;
    assert_outcome(&mail, MAIL_REFUSED, 550, "");
    setting->server.answers[AT_RCPT] = "250-ok\r\n250 ok";
    mail = send_one(setting);
    assert_outcome(&mail, MAIL_DELIVERED, 250, "");
    setting_stop(setting);
}

static struct mail send_with_login(const char *auth_answer)
{
    static struct setting setting;

    memset(&setting, 0, sizeof(setting));
    server_start(&setting.server);
    setting.server.answers[AT_EHLO] = "250-test\r\n250 AUTH PLAIN";
    setting.server.answers[AT_AUTH] = auth_answer;
    server_run(&setting.server);
    setup_host(&setting, "127.0.0.1", 1);
    snprintf(setting.user, sizeof(setting.user), "user");
    snprintf(setting.password, sizeof(setting.password), "secret");
    setting_start(&setting);
    struct mail mail = send_one(&setting);
    setting_stop(&setting);
    return mail;
}

static void logins(void **state)
{
    (void)state;
    struct mail mail = send_with_login("235 welcome");
    assert_outcome(&mail, MAIL_DELIVERED, 250, "");
    mail = send_with_login("535 5.7.8 no");
    assert_outcome(&mail, MAIL_REFUSED, 535, "535 5.7.8 no");
    assert_null(strstr(mail.error, "secret"));
    mail = send_with_login("454 not now");
    assert_outcome(&mail, MAIL_DEFERRED, 454, "454 not now");
}

static void without_tls_nothing_is_sent_that_needs_it(void **state)
{
    static struct setting setting;

    (void)state;
    memset(&setting, 0, sizeof(setting));
    server_start(&setting.server);
    server_run(&setting.server);
    setup_host(&setting, "127.0.0.1", 1);
    setting.config.mail.starttls = MAIL_TLS_REQUIRED;
    setting_start(&setting);
    struct mail mail = send_one(&setting);
    assert_int_equal(mail.outcome, MAIL_FAILED);
    assert_false(mail.is_final);
    assert_int_equal(setting.server.commands.size, 0);
    setting_stop(&setting);
}

static void a_server_that_is_gone_is_tried_again(void **state)
{
    static struct setting setting;

    (void)state;
    memset(&setting, 0, sizeof(setting));
    server_start(&setting.server);
    close(setting.server.fd);
    setup_host(&setting, "127.0.0.1", 1);
    setting_start(&setting);
    struct mail mail = send_one(&setting);
    assert_outcome(&mail, MAIL_FAILED, 0, "the mail server could not be used: ");
    mailer_stop(setting.mailer);
    mailer_free(setting.mailer);
}

/* ---- names ---- */

static struct mail send_to_host(const char *host)
{
    static struct setting setting;

    memset(&setting, 0, sizeof(setting));
    server_start(&setting.server);
    server_run(&setting.server);
    setup_host(&setting, host, 2);
    setting_start(&setting);
    struct mail mail = send_one(&setting);
    setting_stop(&setting);
    return mail;
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct mail mail = send_to_host("once.test");
    assert_outcome(&mail, MAIL_DELIVERED, 250, "");
    mail = send_to_host("gone.test");
    assert_outcome(&mail, MAIL_FAILED, 0, "the mail server's name cannot be resolved: ");
}

static void a_look_up_that_hangs_holds_up_no_cancel(void **state)
{
    static struct setting setting;
    atomic_uint done = 0;
    struct mail mails[] = {make_mail(&done), make_mail(&done)};

    (void)state;
    memset(&setting, 0, sizeof(setting));
    names_open(false);
    server_start(&setting.server);
    server_run(&setting.server);
    setup_host(&setting, "slow.test", 2);
    setting_start(&setting);
    mails[1].deadline_ns = in_ms(50);
    mailer_submit(setting.mailer, &mails[0]);
    mailer_submit(setting.mailer, &mails[1]);
    wait_for_count(&names_held, 1);
    wait_for_count(&done, 1);
    assert_outcome(&mails[1], MAIL_TIMEOUT, 0, "waiting for the address");
    mailer_cancel(setting.mailer, &mails[0]);
    wait_for_count(&done, 2);
    assert_outcome(&mails[0], MAIL_CANCELLED, 0, "cancelled");
    names_open(true);
    setting_stop(&setting);
}

/* ---- ends from outside ---- */

static void wherever_it_stalls_a_cancel_is_heard_at_once(void **state)
{
    static const int places[] = {AT_GREETING, AT_EHLO, AT_MAIL, AT_RCPT, AT_DATA, AT_END};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct setting *setting = begin(1, places[i], STALL);
        atomic_uint done = 0;
        struct mail mail = make_mail(&done);
        mailer_submit(setting->mailer, &mail);
        wait_for_count(&setting->server.stalled, 1);
        uint64_t before_ns = clock_now_ns();
        mailer_cancel(setting->mailer, &mail);
        wait_for_count(&done, 1);
        assert_true(clock_now_ns() - before_ns < 500 * NS_PER_MS); /* libcurl itself looks up every second */
        assert_int_equal(mail.outcome, MAIL_CANCELLED);
        assert_false(mail.is_final);
        setting_stop(setting);
    }
}

static void a_server_that_does_not_say_goodbye_holds_up_no_cancel(void **state)
{
    static struct setting setting;
    atomic_uint done = 0;
    struct mail mail = make_mail(&done);

    (void)state;
    memset(&setting, 0, sizeof(setting));
    server_start(&setting.server);
    setting.server.answers[AT_RCPT] = "550 no such user";
    setting.server.answers[AT_QUIT] = STALL;
    server_run(&setting.server);
    setup_host(&setting, "127.0.0.1", 1);
    setting_start(&setting);
    mailer_submit(setting.mailer, &mail);
    wait_for_count(&setting.server.stalled, 1);
    mailer_cancel(setting.mailer, &mail);
    wait_for_count(&done, 1);
    setting_stop(&setting);
}

static void a_deadline_ends_a_stall(void **state)
{
    static const int places[] = {AT_GREETING, AT_MAIL, AT_END};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct setting *setting = begin(1, places[i], STALL);
        atomic_uint done = 0;
        struct mail mail = make_mail(&done);
        mail.deadline_ns = in_ms(200);
        mailer_submit(setting->mailer, &mail);
        wait_for_count(&done, 1);
        assert_int_equal(mail.outcome, MAIL_TIMEOUT);
        assert_string_equal(mail.error, "timed out, waiting for the mail server");
        setting_stop(setting);
    }
}

static void those_that_wait_are_cancelled_while_all_senders_are_busy(void **state)
{
    struct setting *setting = begin(2, AT_END, STALL);
    atomic_uint done = 0, cancelled = 0;
    struct mail busy[2], waiting[10];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        busy[i] = make_mail(&done);
        mailer_submit(setting->mailer, &busy[i]);
    }
    wait_for_count(&setting->server.stalled, 2);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        waiting[i] = make_mail(&cancelled);
        mailer_submit(setting->mailer, &waiting[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        mailer_cancel(setting->mailer, &waiting[i]);
        mailer_cancel(setting->mailer, &waiting[i]);
    }
    wait_for_count(&cancelled, ARRAY_LEN(waiting));
    assert_outcome(&waiting[9], MAIL_CANCELLED, 0, "cancelled");
    assert_int_equal(atomic_load(&done), 0);
    assert_int_equal(atomic_load(&setting->server.connections), 2);
    mailer_cancel(setting->mailer, &waiting[0]); /* too late: nothing */
    setting_stop(setting);
    assert_int_equal(atomic_load(&done), 2);
    assert_int_equal(atomic_load(&cancelled), ARRAY_LEN(waiting));
}

static void a_stop_ends_everything(void **state)
{
    unsigned descriptors = count_descriptors();
    struct setting *setting = begin(2, AT_DATA, STALL);
    atomic_uint done = 0;
    struct mail mails[20];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mails); i++) {
        mails[i] = make_mail(&done);
        mailer_submit(setting->mailer, &mails[i]);
    }
    mailer_stop(setting->mailer);
    assert_int_equal(atomic_load(&done), ARRAY_LEN(mails));
    for (size_t i = 0; i < ARRAY_LEN(mails); i++)
        assert_int_equal(mails[i].outcome, MAIL_CANCELLED);
    setting_stop(setting);
    assert_int_equal(count_descriptors(), descriptors);
}

static void kept_connections_are_closed_without_waiting(void **state)
{
    struct setting *setting = begin(1, AT_QUIT, STALL);
    struct mail mail = send_one(setting);

    (void)state;
    assert_outcome(&mail, MAIL_DELIVERED, 250, "");
    mailer_stop(setting->mailer);
    uint64_t before_ns = clock_now_ns();
    mailer_free(setting->mailer);
    assert_true(clock_now_ns() - before_ns < 500 * NS_PER_MS);
    wait_for_count(&setting->server.quits, 1);
    server_stop(&setting->server);
}

struct storm {
    struct setting *setting;
    struct mail *mails;
    size_t count;
};

static void *cancel_all(void *arg)
{
    struct storm *storm = arg;

    for (size_t i = 0; i < storm->count; i++)
        mailer_cancel(storm->setting->mailer, &storm->mails[i]);
    return NULL;
}

/* For the sanitizers: each `done` once, whatever meets. */
static void cancels_may_come_at_any_time(void **state)
{
    enum { COUNT = 20, ROUNDS = 10 };
    struct setting *setting = begin(2, AT_COUNT, NULL);
    struct mail mails[COUNT];
    pthread_t thread;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        atomic_uint done = 0;
        for (size_t i = 0; i < COUNT; i++) {
            mails[i] = make_mail(&done);
            mailer_submit(setting->mailer, &mails[i]);
        }
        start(&thread, cancel_all, &(struct storm){setting, mails, COUNT});
        wait_for_count(&done, COUNT);
        thread_join(thread);
        assert_int_equal(atomic_load(&done), COUNT);
    }
    setting_stop(setting);
}

/* ---- life ---- */

static void without_a_server_nothing_is_started(void **state)
{
    static struct setting setting;

    (void)state;
    setup_host(&setting, "127.0.0.1", 2);
    setting.url[0] = '\0';
    setting_start(&setting);
    mailer_stop(setting.mailer);
    mailer_free(setting.mailer);
    mailer_free(NULL);
}

static void a_sender_that_cannot_be_used_is_refused(void **state)
{
    static struct setting setting;
    char from[] = "nobody";
    struct err err = {0};

    (void)state;
    setup_host(&setting, "127.0.0.1", 2);
    setting.config.mail.from = from;
    assert_int_equal(mailer_create(&setting.config, &setting.mailer, &err), -EINVAL);
    assert_non_null(strstr(err.text, "mail.from: \"nobody\" is no address"));
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_delivered_as_it_is),
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(a_connection_that_the_server_closed_is_made_anew),
        cmocka_unit_test(many_go_over_a_few_connections),
        cmocka_unit_test(answers_decide_whether_to_try_again),
        cmocka_unit_test(of_a_long_answer_the_first_line_counts),
        cmocka_unit_test(a_refusal_does_not_harm_the_next),
        cmocka_unit_test(logins),
        cmocka_unit_test(without_tls_nothing_is_sent_that_needs_it),
        cmocka_unit_test(a_server_that_is_gone_is_tried_again),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(a_look_up_that_hangs_holds_up_no_cancel),
        cmocka_unit_test(wherever_it_stalls_a_cancel_is_heard_at_once),
        cmocka_unit_test(a_server_that_does_not_say_goodbye_holds_up_no_cancel),
        cmocka_unit_test(a_deadline_ends_a_stall),
        cmocka_unit_test(those_that_wait_are_cancelled_while_all_senders_are_busy),
        cmocka_unit_test(a_stop_ends_everything),
        cmocka_unit_test(kept_connections_are_closed_without_waiting),
        cmocka_unit_test(cancels_may_come_at_any_time),
        cmocka_unit_test(without_a_server_nothing_is_started),
        cmocka_unit_test(a_sender_that_cannot_be_used_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
