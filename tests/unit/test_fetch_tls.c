/* The fetch pool and TLS: who is trusted, who we say we are, whose connection it is, files that change. */
#include "capture.h"
#include "fetch_probe.h"
#include "tls_server.h"

#include <sys/stat.h>

static char folder[] = "/tmp/fetch-tls-XXXXXX";
static struct party authority;
static struct party server_party;
static struct party alice;
static struct party bob;

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static struct fetch_tls_options options_with(const char *ca, const char *cert)
{
    return (struct fetch_tls_options){.ca_file = ca,
                                      .cert_file = cert,
                                      .key_file = "",
                                      .verify = true,
                                      .http2 = true,
                                      .min_version_x10 = 12};
}

static struct fetch_tls *tls_of(struct pool *pool, const struct fetch_tls_options *options)
{
    struct fetch_tls *tls = NULL;
    struct err err = {0};

    if (fetch_tls_create(pool->config, options, &tls, &err) < 0)
        fail_msg("%s", err.text);
    return tls;
}

static struct fetch_tls *tls_with(struct pool *pool, const char *ca, const char *cert)
{
    struct fetch_tls_options options = options_with(ca, cert);

    return tls_of(pool, &options);
}

/* The server's ends of connections are this process's descriptors as well: they are not counted. */
static void end(struct pool *pool, struct tls_server *server)
{
    fetch_pool_stop(pool->pool);
    fetch_pool_free(pool->pool);
    config_free(pool->config);
    tls_server_stop(server);
}

static void probe_init_tls(struct probe *probe, const struct tls_server *server, const char *host,
                           const struct fetch_tls *tls)
{
    char url[128];

    snprintf(url, sizeof(url), "https://%s:%u/", host, server->port);
    probe_init(probe, url);
    probe->fetch.tls = tls;
}

static enum fetch_reason reason_of(struct pool *pool, const struct tls_server *server, const char *host,
                                   const struct fetch_tls *tls)
{
    struct probe probe;

    probe_init_tls(&probe, server, host, tls);
    run(pool, &probe);
    enum fetch_reason reason = probe.fetch.reason;
    probe_done(&probe);
    return reason;
}

/* What the server says of us: "alice TLSv1.3". */
static const char *seen_as(struct pool *pool, const struct tls_server *server, const struct fetch_tls *tls,
                           bool *ret_is_reused)
{
    static char seen[128];
    struct probe probe;

    probe_init_tls(&probe, server, "127.0.0.1", tls);
    run(pool, &probe);
    if (probe.fetch.reason != FETCH_OK)
        fail_msg("%s", probe.fetch.error);
    snprintf(seen, sizeof(seen), "%.*s", (int)probe.fetch.body.size, probe.fetch.body.data);
    *ret_is_reused = probe.fetch.is_reused;
    probe_done(&probe);
    return seen;
}

static void assert_seen_as(struct pool *pool, const struct tls_server *server, const struct fetch_tls *tls,
                           const char *expected, bool expects_reused)
{
    bool is_reused;

    assert_string_equal(seen_as(pool, server, tls, &is_reused), expected);
    assert_int_equal(is_reused, expects_reused);
}

/* ---- who is trusted ---- */

static void a_server_is_trusted_when_its_authority_is(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, NULL, TLS1_3_VERSION);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *trusting = tls_with(&pool, path_of("ca.pem"), "");
    struct fetch_tls *others = tls_with(&pool, path_of("other-ca.pem"), "");

    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", trusting), FETCH_OK);
    assert_int_equal(reason_of(&pool, &server, "localhost", trusting), FETCH_OK);
    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", others), FETCH_TLS);
    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", NULL), FETCH_TLS);
    end(&pool, &server);
    fetch_tls_free(trusting);
    fetch_tls_free(others);
}

static void the_configured_authorities_hold_where_none_are_given(void **state)
{
    struct tls_server server;
    char yaml[256];
    (void)state;
    tls_server_start(&server, &server_party, NULL, TLS1_3_VERSION);
    snprintf(yaml, sizeof(yaml), "fetch: {workers: 1, ca_file: %s}", path_of("ca.pem"));
    struct pool pool = pool_start(yaml);
    struct fetch_tls *tls = tls_with(&pool, "", "");

    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", NULL), FETCH_OK);
    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", tls), FETCH_OK);
    end(&pool, &server);
    fetch_tls_free(tls);
}

static void a_server_with_another_name_is_not_trusted(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, NULL, TLS1_3_VERSION);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), "");
    struct fetch_tls_options options = options_with(path_of("other-ca.pem"), "");
    options.verify = false;
    struct fetch_tls *blind = tls_of(&pool, &options);

    assert_int_equal(reason_of(&pool, &server, "once.test", tls), FETCH_TLS);
    assert_int_equal(reason_of(&pool, &server, "once.test", blind), FETCH_OK);
    assert_int_equal(reason_of(&pool, &server, "once.test", tls), FETCH_TLS); /* not over that connection */
    end(&pool, &server);
    fetch_tls_free(tls);
    fetch_tls_free(blind);
}

/* libcurl knows the chosen address by another name. */
static void the_name_is_checked_that_the_url_has(void **state)
{
    static const char *const hosts[] = {"many.test", "once.test"};
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, NULL, TLS1_3_VERSION);
    names_set_many("127.0.0.1,127.0.0.77");
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), "");

    assert_int_equal(reason_of(&pool, &server, hosts[0], tls), FETCH_OK);
    assert_int_equal(reason_of(&pool, &server, hosts[1], tls), FETCH_TLS);
    end(&pool, &server);
    fetch_tls_free(tls);
}

static void an_old_version_of_tls_is_refused(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, NULL, TLS1_2_VERSION);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls_options options = options_with(path_of("ca.pem"), "");
    struct fetch_tls *any = tls_of(&pool, &options);
    options.min_version_x10 = 13;
    struct fetch_tls *modern = tls_of(&pool, &options);

    assert_seen_as(&pool, &server, any, "nobody TLSv1.2", false);
    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", modern), FETCH_TLS);
    assert_seen_as(&pool, &server, any, "nobody TLSv1.2", true);
    end(&pool, &server);
    fetch_tls_free(any);
    fetch_tls_free(modern);
}

/* ---- who we are ---- */

static void a_certificate_is_shown_to_who_asks(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), path_of("alice.pem"));
    struct fetch_tls *nobody = tls_with(&pool, path_of("ca.pem"), "");

    assert_seen_as(&pool, &server, tls, "alice TLSv1.3", false);
    assert_int_not_equal(reason_of(&pool, &server, "127.0.0.1", nobody), FETCH_OK);
    end(&pool, &server);
    fetch_tls_free(tls);
    fetch_tls_free(nobody);
}

static void the_key_may_be_in_a_file_of_its_own(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls_options options = options_with(path_of("ca.pem"), path_of("bob-cert.pem"));
    options.key_file = path_of("bob-key.pem");
    struct fetch_tls *tls = tls_of(&pool, &options);

    assert_seen_as(&pool, &server, tls, "bob TLSv1.3", false);
    end(&pool, &server);
    fetch_tls_free(tls);
}

static void connections_are_not_shared_between_settings(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *of_alice = tls_with(&pool, path_of("ca.pem"), path_of("alice.pem"));
    struct fetch_tls *of_bob = tls_with(&pool, path_of("ca.pem"), path_of("bob.pem"));

    for (int round = 0; round < 3; round++) {
        assert_seen_as(&pool, &server, of_alice, "alice TLSv1.3", round > 0);
        assert_seen_as(&pool, &server, of_bob, "bob TLSv1.3", round > 0);
    }
    assert_int_equal(atomic_load(&server.handshakes), 2);
    end(&pool, &server);
    fetch_tls_free(of_alice);
    fetch_tls_free(of_bob);
}

/* The settings are for the upstream and not for where it sends us. */
static void the_certificate_is_not_shown_where_a_redirect_leads(void **state)
{
    struct tls_server server;
    struct probe probe;
    char path[128];
    char yaml[256];
    NEED_MOCK();
    tls_server_start(&server, &server_party, NULL, TLS1_3_VERSION);
    SSL_CTX_set_verify(server.ctx, SSL_VERIFY_PEER, NULL);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(server.ctx), authority.certificate), 1);
    snprintf(yaml, sizeof(yaml), "fetch: {workers: 1, max_redirects: 1, ca_file: %s}", path_of("ca.pem"));
    struct pool pool = pool_start(yaml);
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), path_of("alice.pem"));

    assert_seen_as(&pool, &server, tls, "alice TLSv1.3", false);
    snprintf(path, sizeof(path), "/?redirect_to=https%%3A%%2F%%2F127.0.0.1%%3A%u%%2F", server.port);
    probe_init_at(&probe, "127.0.0.1", path);
    probe.fetch.tls = tls;
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_OK);
    assert_memory_equal(probe.fetch.body.data, "nobody TLSv1.3", probe.fetch.body.size);
    probe_done(&probe);
    end(&pool, &server);
    fetch_tls_free(tls);
}

/* ---- files ---- */

static void files_that_cannot_be_used_are_refused(void **state)
{
    const struct {
        struct fetch_tls_options options;
        const char *error;
    } rows[] = {
        {options_with("/no/such/file", ""), "cannot open /no/such/file: No such file or directory"},
        {options_with(path_of("text"), ""), "no certificate in it"},
        {options_with(path_of("cut.pem"), ""), "not a PEM file of certificates"},
        {options_with(path_of("ca.pem"), path_of("bob-cert.pem")), "no private key in it"},
    };
    struct config *config = config_of("fetch: {workers: 1}");
    struct fetch_tls *tls;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        assert_true(fetch_tls_create(config, &rows[i].options, &tls, &err) < 0);
        if (!strstr(err.text, rows[i].error))
            fail_msg("%s", err.text);
    }
    config_free(config);
}

static void the_key_of_another_certificate_is_refused(void **state)
{
    struct config *config = config_of("fetch: {workers: 1}");
    struct fetch_tls_options options = options_with(path_of("ca.pem"), path_of("bob-cert.pem"));
    struct fetch_tls *tls;
    struct err err = {0};
    (void)state;

    options.key_file = path_of("alice.pem");
    assert_true(fetch_tls_create(config, &options, &tls, &err) < 0);
    assert_non_null(strstr(err.text, "not the key of the certificate"));
    config_free(config);
}

/* As workers do, who look once in a second: time goes by faster here. */
static void look_at_files(const struct fetch_tls *tls)
{
    static uint64_t now_ns;

    now_ns = MAX(now_ns, clock_now_ns()) + 2 * NS_PER_SEC;
    tls_current_id(tls, now_ns);
}

static void a_changed_certificate_is_shown_on_new_connections(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    party_write(&alice, path_of("changing.pem"), true, true);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), path_of("changing.pem"));

    assert_seen_as(&pool, &server, tls, "alice TLSv1.3", false);
    party_write(&bob, path_of("changing.pem"), true, true);
    look_at_files(tls);
    for (int round = 0; round < 3; round++)
        assert_seen_as(&pool, &server, tls, "bob TLSv1.3", round > 0);
    end(&pool, &server);
    fetch_tls_free(tls);
}

static bool is_bob(void *arg)
{
    struct probe *probe = arg;

    return probe->fetch.body.size > 3 && memcmp(probe->fetch.body.data, "bob", 3) == 0;
}

struct reload {
    struct pool *pool;
    struct tls_server *server;
    struct fetch_tls *tls;
};

static bool is_seen_as_bob(void *arg)
{
    struct reload *reload = arg;
    struct probe probe;

    probe_init_tls(&probe, reload->server, "127.0.0.1", reload->tls);
    run(reload->pool, &probe);
    bool is_seen = is_bob(&probe);
    probe_done(&probe);
    return is_seen;
}

static void workers_look_at_files_by_themselves(void **state)
{
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    party_write(&alice, path_of("changing.pem"), true, true);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), path_of("changing.pem"));

    party_write(&bob, path_of("changing.pem"), true, true);
    wait_until(is_seen_as_bob, &(struct reload){&pool, &server, tls});
    end(&pool, &server);
    fetch_tls_free(tls);
}

static void changed_authorities_are_trusted(void **state)
{
    struct party other = party_create("other", NULL);
    struct tls_server server;
    (void)state;
    tls_server_start(&server, &server_party, NULL, TLS1_3_VERSION);
    party_write(&other, path_of("changing.pem"), true, false);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("changing.pem"), "");

    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", tls), FETCH_TLS);
    party_write(&authority, path_of("changing.pem"), true, false);
    look_at_files(tls);
    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", tls), FETCH_OK);
    party_write(&other, path_of("changing.pem"), true, false);
    look_at_files(tls);
    assert_int_equal(reason_of(&pool, &server, "127.0.0.1", tls), FETCH_TLS); /* nor over what is open */
    end(&pool, &server);
    fetch_tls_free(tls);
    party_done(&other);
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned count = 0;

    while ((text = strstr(text, word))) {
        count++;
        text += strlen(word);
    }
    return count;
}

static void a_broken_file_is_said_once_and_the_one_before_stays(void **state)
{
    struct capture *capture = calloc(1, sizeof(*capture));
    struct tls_server server;
    (void)state;
    assert_non_null(capture);
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    party_write(&alice, path_of("changing.pem"), true, true);
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), path_of("changing.pem"));

    assert_seen_as(&pool, &server, tls, "alice TLSv1.3", false);
    capture_start(capture);
    log_setup(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    party_write(&bob, path_of("changing.pem"), true, false); /* its key is missing */
    for (int i = 0; i < 5; i++)
        look_at_files(tls);
    assert_seen_as(&pool, &server, tls, "alice TLSv1.3", true);
    const char *logged = capture_stop(capture);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    assert_int_equal(count_of(logged, "changed TLS files are not used"), 1);
    assert_non_null(strstr(logged, "no private key in it"));
    party_write(&bob, path_of("changing.pem"), true, true);
    look_at_files(tls);
    assert_seen_as(&pool, &server, tls, "bob TLSv1.3", false);
    end(&pool, &server);
    fetch_tls_free(tls);
    free(capture);
}

/* ---- threads ---- */

struct changer {
    const struct fetch_tls *tls;
    atomic_bool is_done;
};

static void *changer_main(void *arg)
{
    struct changer *changer = arg;

    for (int i = 0; !atomic_load(&changer->is_done); i++) {
        party_write(i % 2 ? &bob : &alice, path_of("changing.pem"), true, true);
        look_at_files(changer->tls);
    }
    return NULL;
}

static void files_may_change_while_all_workers_use_them(void **state)
{
    struct tls_server server;
    struct changer changer = {0};
    pthread_t thread;
    (void)state;
    tls_server_start(&server, &server_party, &authority, TLS1_3_VERSION);
    party_write(&alice, path_of("changing.pem"), true, true);
    struct pool pool = pool_start("fetch: {workers: 3}");
    struct fetch_tls *tls = tls_with(&pool, path_of("ca.pem"), path_of("changing.pem"));
    struct probe probes[20];

    changer.tls = tls;
    start(&thread, changer_main, &changer);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_init_tls(&probes[i], &server, "127.0.0.1", tls);
        submit(&pool, &probes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        wait_for_count(&probes[i].done, 1);
        assert_int_equal(probes[i].fetch.reason, FETCH_OK);
        probe_done(&probes[i]);
    }
    atomic_store(&changer.is_done, true);
    thread_join(thread);
    end(&pool, &server);
    fetch_tls_free(tls);
}

/* ---- all ---- */

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state)
{
    struct party other = party_create("other", NULL);

    assert_non_null(mkdtemp(folder));
    authority = party_create("authority", NULL);
    server_party = party_create("server", &authority);
    alice = party_create("alice", &authority);
    bob = party_create("bob", &authority);
    party_write(&authority, path_of("ca.pem"), true, false);
    party_write(&other, path_of("other-ca.pem"), true, false);
    party_write(&alice, path_of("alice.pem"), true, true);
    party_write(&bob, path_of("bob.pem"), true, true);
    party_write(&bob, path_of("bob-cert.pem"), true, false);
    party_write(&bob, path_of("bob-key.pem"), false, true);
    write_text("text", "This is no certificate.\n");
    write_text("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    party_done(&other);
    return fetch_set_up(state);
}

static int tear_down(void **state)
{
    static const char *const files[] = {"ca.pem",  "other-ca.pem", "alice.pem",
                                        "bob.pem", "bob-cert.pem", "bob-key.pem",
                                        "text",    "cut.pem",      "changing.pem"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(path_of(files[i]));
    rmdir(folder);
    party_done(&authority);
    party_done(&server_party);
    party_done(&alice);
    party_done(&bob);
    return fetch_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_is_trusted_when_its_authority_is),
        cmocka_unit_test(the_configured_authorities_hold_where_none_are_given),
        cmocka_unit_test(a_server_with_another_name_is_not_trusted),
        cmocka_unit_test(the_name_is_checked_that_the_url_has),
        cmocka_unit_test(an_old_version_of_tls_is_refused),
        cmocka_unit_test(a_certificate_is_shown_to_who_asks),
        cmocka_unit_test(the_key_may_be_in_a_file_of_its_own),
        cmocka_unit_test(connections_are_not_shared_between_settings),
        cmocka_unit_test(the_certificate_is_not_shown_where_a_redirect_leads),
        cmocka_unit_test(files_that_cannot_be_used_are_refused),
        cmocka_unit_test(the_key_of_another_certificate_is_refused),
        cmocka_unit_test(a_changed_certificate_is_shown_on_new_connections),
        cmocka_unit_test(workers_look_at_files_by_themselves),
        cmocka_unit_test(changed_authorities_are_trusted),
        cmocka_unit_test(a_broken_file_is_said_once_and_the_one_before_stays),
        cmocka_unit_test(files_may_change_while_all_workers_use_them),
    };

    return cmocka_run_group_tests_name("fetch_tls", tests, set_up, tear_down);
}
