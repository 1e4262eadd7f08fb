#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/config_int.h"
#include "config_text.h"

static void expect_urls_error(const char *url, const char *expected)
{
    char text[512];
    char line[1024];

    snprintf(text, sizeof(text), "concurrent_requests:\n  urls:\n    - %s\n", url);
    snprintf(line, sizeof(line), "f.yaml:3:7: concurrent_requests.urls: %s\n", expected);
    expect_errors(text, line);
}

static const void *field_of(const void *object, const struct config_row *row)
{
    return (const char *)object + row->offset;
}

/* Values */

static void empty_file_gives_the_defaults(void **state)
{
    static const char *const empty[] = {"",           "\n",     "# nothing\n",    "---\n",
                                        "---\n...\n", "null\n", "fetch:\nlog:\n", "\xef\xbb\xbf"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        cleanup(config_free_scope) struct config *config = load(empty[i]);
        assert_int_equal(config->listen.kind, LISTEN_UNIX);
        assert_string_equal(config->listen.path, "run/heddle.sock");
        assert_null(config->listen.host);
        assert_int_equal(config->socket_mode, 0660);
        assert_int_equal(config->request_threads, 0);
        assert_int_equal(config->max_in_flight, 0);
        assert_int_equal(config->max_connections, 16384);
        assert_int_equal(config->shutdown_timeout_ms, 10000);
        assert_int_equal(config->client_timeout_ms, 5000);
        assert_int_equal(config->max_params_bytes, 65536);
        assert_int_equal(config->max_body_bytes, 65536);
        assert_int_equal(config->log.level, LOG_LEVEL_INFO);
        assert_int_equal(config->log.format, LOG_FORMAT_TEXT);
        assert_int_equal(config->fetch.workers, 0);
        assert_int_equal(config->fetch.timeout_ms, 10000);
        assert_int_equal(config->fetch.connect_timeout_ms, 5000);
        assert_int_equal(config->fetch.dns_ttl_ms, 30000);
        assert_int_equal(config->fetch.resolver_threads, 16);
        assert_int_equal(config->fetch.max_response_bytes, 1 << 20);
        assert_int_equal(config->fetch.max_redirects, 10);
        assert_string_equal(config->fetch.ca_file, "");
        assert_string_equal(config->fetch.user_agent, "heddle/" HEDDLE_VERSION);
        assert_int_equal(config->concurrent_requests.urls.count, 0);
        assert_int_equal(config->concurrent_requests.max_concurrency, 0);
        assert_int_equal(config->concurrent_requests.content_chars, 100);
        assert_int_equal(config->tasks.runners, 4);
        assert_string_equal(config->tasks.store, "sqlite:run/tasks.db");
        assert_int_equal(config->tasks.readers, 2);
        assert_int_equal(config->tasks.max_running, 20000);
        assert_int_equal(config->tasks.queue_capacity, 10000000);
        assert_int_equal(config->tasks.steppers, 2);
        assert_int_equal(config->tasks.max_listeners, 10000);
        assert_int_equal(config->tasks.max_payload_bytes, 256 << 10);
        assert_int_equal(config->tasks.max_result_bytes, 1 << 20);
        assert_int_equal(config->tasks.max_tags, 16);
        assert_int_equal(config->tasks.max_batch, 10000);
        assert_int_equal(config->tasks.max_batch_bytes, 8 << 20);
        assert_int_equal(config->tasks.max_attempts, 5);
        assert_int_equal(config->tasks.timeout_ms, 3600000);
        assert_int_equal(config->tasks.backoff_base_ms, 1000);
        assert_true(config->tasks.backoff_factor == 2);
        assert_int_equal(config->tasks.backoff_max_ms, 3600000);
        assert_true(config->tasks.backoff_jitter == 0.2);
        assert_int_equal(config->tasks.keep_succeeded, 100000);
        assert_int_equal(config->tasks.keep_dead, 100000);
        assert_int_equal(config->tasks.keep_cancelled, 100000);
        assert_int_equal(config->tasks.keep_for_ms, 0);
        assert_int_equal(config->tasks.keep_events, 100000);
        assert_int_equal(config->tasks.idempotency_ttl_ms, 24 * 3600000);
        assert_int_equal(config->tasks.allowed_hosts.count, 0);
        assert_string_equal(config->tasks.webhook_secret, "");
        assert_null(config->tasks.queues);
        assert_int_equal(config->tasks.queue_count, 0);
        assert_null(config->tasks.commands);
        assert_int_equal(config->tasks.command_count, 0);
        assert_null(config->tasks.schedules);
        assert_int_equal(config->tasks.schedule_count, 0);
        assert_string_equal(config->mail.server, "");
        assert_int_equal(config->mail.starttls, MAIL_TLS_REQUIRED);
        assert_string_equal(config->mail.user, "");
        assert_string_equal(config->mail.password, "");
        assert_string_equal(config->mail.from, "");
        assert_int_equal(config->mail.timeout_ms, 30000);
        assert_int_equal(config->mail.max_connections, 8);
        assert_int_equal(config->mail.max_message_bytes, 10 << 20);
        assert_int_equal(config->tasks.max_interruptions, 3);
    }
}

static void every_setting_is_read(void **state)
{
    cleanup(config_free_scope) struct config *config = load("listen: tcp:[::1]:9000\n"
                                                            "socket_mode: 0600\n"
                                                            "request_threads: 8\n"
                                                            "max_in_flight: 1000\n"
                                                            "max_connections: 2000\n"
                                                            "shutdown_timeout: 1m\n"
                                                            "client_timeout: 250ms\n"
                                                            "max_params: 32KiB\n"
                                                            "max_body: \"1MiB\"\n"
                                                            "log: {level: debug, format: json}\n"
                                                            "fetch:\n"
                                                            "  workers: 3\n"
                                                            "  timeout: 1s\n"
                                                            "  connect_timeout: 2s\n"
                                                            "  dns_ttl: 0s\n"
                                                            "  resolver_threads: 1\n"
                                                            "  max_response: 1\n"
                                                            "  max_redirects: 0\n"
                                                            "  ca_file: /etc/ca.pem\n"
                                                            "  user_agent: 'a b'\n"
                                                            "concurrent_requests:\n"
                                                            "  urls:\n"
                                                            "  - http://a\n"
                                                            "  - HTTPS://b:8443/c?d=%20#e\n"
                                                            "  max_concurrency: 5\n"
                                                            "  content_chars: 0\n"
                                                            "tasks:\n"
                                                            "  store: sqlite:/x/y.db\n"
                                                            "  runners: 1\n"
                                                            "  readers: 3\n"
                                                            "  max_running: 4\n"
                                                            "  queue_capacity: 2\n"
                                                            "  max_interruptions: 0\n");

    (void)state;
    assert_int_equal(config->listen.kind, LISTEN_TCP);
    assert_string_equal(config->listen.host, "::1");
    assert_int_equal(config->listen.port, 9000);
    assert_null(config->listen.path);
    assert_int_equal(config->socket_mode, 0600);
    assert_int_equal(config->request_threads, 8);
    assert_int_equal(config->max_in_flight, 1000);
    assert_int_equal(config->max_connections, 2000);
    assert_int_equal(config->shutdown_timeout_ms, 60000);
    assert_int_equal(config->client_timeout_ms, 250);
    assert_int_equal(config->max_params_bytes, 32768);
    assert_int_equal(config->max_body_bytes, 1 << 20);
    assert_int_equal(config->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(config->log.format, LOG_FORMAT_JSON);
    assert_int_equal(config->fetch.workers, 3);
    assert_int_equal(config->fetch.timeout_ms, 1000);
    assert_int_equal(config->fetch.connect_timeout_ms, 2000);
    assert_int_equal(config->fetch.dns_ttl_ms, 0);
    assert_int_equal(config->fetch.resolver_threads, 1);
    assert_int_equal(config->fetch.max_response_bytes, 1);
    assert_int_equal(config->fetch.max_redirects, 0);
    assert_string_equal(config->fetch.ca_file, "/etc/ca.pem");
    assert_string_equal(config->fetch.user_agent, "a b");
    assert_int_equal(config->concurrent_requests.urls.count, 2);
    assert_string_equal(config->concurrent_requests.urls.items[0], "http://a");
    assert_string_equal(config->concurrent_requests.urls.items[1], "HTTPS://b:8443/c?d=%20#e");
    assert_int_equal(config->concurrent_requests.max_concurrency, 5);
    assert_int_equal(config->concurrent_requests.content_chars, 0);
    assert_int_equal(config->tasks.runners, 1);
    assert_int_equal(config->tasks.queue_capacity, 2);
    assert_string_equal(config->tasks.store, "sqlite:/x/y.db");
    assert_int_equal(config->tasks.readers, 3);
    assert_int_equal(config->tasks.max_running, 4);
    assert_int_equal(config->tasks.max_interruptions, 0);
}

static void every_setting_of_tasks_and_mail_is_read(void **state)
{
    cleanup(config_free_scope) struct config *config = load("tasks:\n"
                                                            "  steppers: 64\n"
                                                            "  max_listeners: 7\n"
                                                            "  max_payload: 1KiB\n"
                                                            "  max_result: 2KiB\n"
                                                            "  max_tags: 0\n"
                                                            "  max_batch: 3\n"
                                                            "  max_batch_bytes: 64KiB\n"
                                                            "  max_attempts: 1000\n"
                                                            "  timeout: 168h\n"
                                                            "  backoff_base: 10ms\n"
                                                            "  backoff_factor: 1.5\n"
                                                            "  backoff_max: 10ms\n"
                                                            "  backoff_jitter: 0\n"
                                                            "  keep_succeeded: 0\n"
                                                            "  keep_dead: 1\n"
                                                            "  keep_cancelled: 2\n"
                                                            "  keep_for: 720h\n"
                                                            "  keep_events: 4\n"
                                                            "  idempotency_ttl: 1m\n"
                                                            "  allowed_hosts: [a.example, '*.b.example']\n"
                                                            "  webhook_secret: 0123456789abcdef\n"
                                                            "mail:\n"
                                                            "  server: smtps://mail.example:465\n"
                                                            "  starttls: never\n"
                                                            "  user: u\n"
                                                            "  password: p\n"
                                                            "  from: heddle@example.org\n"
                                                            "  timeout: 1s\n"
                                                            "  max_connections: 1\n"
                                                            "  max_message: 1KiB\n");

    (void)state;
    assert_int_equal(config->tasks.steppers, 64);
    assert_int_equal(config->tasks.max_listeners, 7);
    assert_int_equal(config->tasks.max_payload_bytes, 1024);
    assert_int_equal(config->tasks.max_result_bytes, 2048);
    assert_int_equal(config->tasks.max_tags, 0);
    assert_int_equal(config->tasks.max_batch, 3);
    assert_int_equal(config->tasks.max_batch_bytes, 65536);
    assert_int_equal(config->tasks.max_attempts, 1000);
    assert_int_equal(config->tasks.timeout_ms, 7 * 24 * 3600000);
    assert_int_equal(config->tasks.backoff_base_ms, 10);
    assert_true(config->tasks.backoff_factor == 1.5);
    assert_int_equal(config->tasks.backoff_max_ms, 10);
    assert_true(config->tasks.backoff_jitter == 0);
    assert_int_equal(config->tasks.keep_succeeded, 0);
    assert_int_equal(config->tasks.keep_dead, 1);
    assert_int_equal(config->tasks.keep_cancelled, 2);
    assert_int_equal(config->tasks.keep_for_ms, UINT64_C(720) * 3600000);
    assert_int_equal(config->tasks.keep_events, 4);
    assert_int_equal(config->tasks.idempotency_ttl_ms, 60000);
    assert_int_equal(config->tasks.allowed_hosts.count, 2);
    assert_string_equal(config->tasks.allowed_hosts.items[0], "a.example");
    assert_string_equal(config->tasks.allowed_hosts.items[1], "*.b.example");
    assert_string_equal(config->tasks.webhook_secret, "0123456789abcdef");
    assert_string_equal(config->mail.server, "smtps://mail.example:465");
    assert_int_equal(config->mail.starttls, MAIL_TLS_NEVER);
    assert_string_equal(config->mail.user, "u");
    assert_string_equal(config->mail.password, "p");
    assert_string_equal(config->mail.from, "heddle@example.org");
    assert_int_equal(config->mail.timeout_ms, 1000);
    assert_int_equal(config->mail.max_connections, 1);
    assert_int_equal(config->mail.max_message_bytes, 1024);
}

static void localhost_is_a_numeric_address(void **state)
{
    cleanup(config_free_scope) struct config *config = load("listen: tcp:localhost:65535");

    (void)state;
    assert_string_equal(config->listen.host, "127.0.0.1");
    assert_int_equal(config->listen.port, 65535);
}

static void wrong_addresses_are_refused(void **state)
{
#define FORMS "; write unix:PATH or tcp:ADDRESS:PORT, such as tcp:127.0.0.1:9000\n"
#define PORT  "has a port that is not a number from 1 to 65535" FORMS
#define HOST  "has an address that is not numeric (IPv6 in brackets) or localhost" FORMS
    static const char *const cases[][2] = {
        {"9000", "\"9000\" is not an address" FORMS},
        {"/run/x.sock", "\"/run/x.sock\" is not an address" FORMS},
        {"'unix:'", "\"unix:\" has no path" FORMS},
        {"tcp:9000", "\"tcp:9000\" has no port" FORMS},
        {"tcp:127.0.0.1:0", "\"tcp:127.0.0.1:0\" " PORT},
        {"tcp:127.0.0.1:65536", "\"tcp:127.0.0.1:65536\" " PORT},
        {"tcp:127.0.0.1:9k", "\"tcp:127.0.0.1:9k\" " PORT},
        {"'tcp:127.0.0.1:'", "\"tcp:127.0.0.1:\" " PORT},
        {"tcp:example.org:9000", "\"tcp:example.org:9000\" " HOST},
        {"tcp:::1:9000", "\"tcp:::1:9000\" " HOST},
        {"tcp:[127.0.0.1]:9000", "\"tcp:[127.0.0.1]:9000\" " HOST},
        {"tcp:[localhost]:9000", "\"tcp:[localhost]:9000\" " HOST},
        {"tcp::9000", "\"tcp::9000\" " HOST},
        {"tcp:[]:9000", "\"tcp:[]:9000\" " HOST},
        {"tcp:127.1:9000", "\"tcp:127.1:9000\" " HOST},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        char expected[256];
        snprintf(text, sizeof(text), "listen: %s", cases[i][0]);
        snprintf(expected, sizeof(expected), "f.yaml:1:%d: listen: %s", cases[i][0][0] == '\'' ? 10 : 9,
                 cases[i][1]);
        expect_errors(text, expected);
    }
}

static void unix_paths_end_at_107_bytes(void **state)
{
    char text[256] = "listen: unix:";
    size_t prefix = strlen(text);

    (void)state;
    memset(text + prefix, 'p', 107);
    cleanup(config_free_scope) struct config *config = load(text);
    assert_int_equal(strlen(config->listen.path), 107);
    text[prefix + 107] = 'p';
    expect_errors(text, "f.yaml:1:9: listen: the path has 108 bytes; a unix socket's path has at most 107\n");
}

/* Rows */

static void for_each_row_of(const struct config_table *table,
                            void (*use)(const struct config_table *table, const struct config_row *row))
{
    for (size_t i = 0; i < table->row_count; i++) {
        use(table, &table->rows[i]);
        if (table->rows[i].map)
            for_each_row_of(&table->rows[i].map->table, use);
    }
}

/* Calls `use` for every row there is, those of the maps' entries included. */
static void for_each_row(void (*use)(const struct config_table *table, const struct config_row *row))
{
    for_each_row_of(&config_settings, use);
}

static void check_complete(const struct config_table *table, const struct config_row *row)
{
    size_t same = 0;

    assert_non_null(row->key);
    for (size_t i = 0; i < table->row_count; i++)
        same += strcmp(table->rows[i].key, row->key) == 0;
    assert_int_equal(same, 1);
    assert_true(strlen(row->key) < CONFIG_KEY_MAX_BYTES - 2 * CONFIG_NAME_MAX_BYTES);
    assert_true(row->min <= row->max);
    assert_true(row->default_text || table != &config_settings);
    assert_true((row->type == CONFIG_MAP) == (row->map != NULL));
    assert_true((row->type == CONFIG_CHOICE) == (row->names != NULL));
    assert_null(strchr(row->help, '|'));
    assert_int_equal(row->help[strlen(row->help) - 1], '.');
}

static void rows_are_complete(void **state)
{
    (void)state;
    for_each_row(check_complete);
}

static bool is_number(const struct config_row *row)
{
    return row->type <= CONFIG_MODE;
}

/* Any of the structs that a table fills. */
union object {
    struct config config;
    struct config_queue queue;
    struct config_command command;
    struct config_schedule schedule;
    struct config_upstream upstream;
    struct config_endpoint endpoint;
    struct config_param param;
    struct config_part part;
};

static int set(const struct config_row *row, uint64_t value)
{
    static const enum parse_kind kinds[] = {PARSE_UINT, PARSE_DURATION, PARSE_SIZE, PARSE_MODE};
    char text[PARSE_TEXT_SIZE];
    union object object = {0};

    parse_format(kinds[row->type], value, text);
    int r = config_value_set(row, text, &object, NULL);
    if (r == 0) {
        uint64_t stored = 0;
        memcpy(&stored, field_of(&object, row), row->size);
        assert_true(stored == value);
    }
    return r;
}

static void check_range(const struct config_table *table, const struct config_row *row)
{
    (void)table;
    if (!is_number(row))
        return;
    assert_int_equal(set(row, row->min), 0);
    assert_int_equal(set(row, row->max), 0);
    assert_int_equal(set(row, row->max + 1), -ERANGE);
    if (row->min > 0)
        assert_int_equal(set(row, row->min - 1), -ERANGE);
}

static void numbers_are_taken_at_both_ends_of_their_range(void **state)
{
    (void)state;
    for_each_row(check_range);
}

/* Errors */

static void wrong_values_say_what_is_allowed(void **state)
{
    static const char *const cases[][2] = {
        {"request_threads: 4k",
         "f.yaml:1:18: request_threads: \"4k\" is not a whole number; write a whole number (0 to 256)\n"},
        {"request_threads: 257",
         "f.yaml:1:18: request_threads: \"257\" is out of range; write a whole number (0 to 256)\n"},
        {"max_in_flight: 99999999999999999999",
         "f.yaml:1:16: max_in_flight: \"99999999999999999999\" is out of "
         "range; write a whole number (0 to 1000000)\n"},
        {"tasks:\n  runners: 0",
         "f.yaml:2:12: tasks.runners: \"0\" is out of range; write a whole number (1 to 256)\n"},
        {"fetch:\n  timeout: \"10\"",
         "f.yaml:2:13: fetch.timeout: \"10\" has no unit; write a duration such as "
         "250ms, 10s or 5m (1ms to 1h)\n"},
        {"max_body: 17MiB",
         "f.yaml:1:11: max_body: \"17MiB\" is out of range; write a size such as 512, 64KiB or "
         "1MiB (1KiB to 16MiB)\n"},
        {"socket_mode: 0888",
         "f.yaml:1:14: socket_mode: \"0888\" is not an octal mode; write an octal mode such "
         "as 0660 (0000 to 0777)\n"},
        {"log:\n  level: trace",
         "f.yaml:2:10: log.level: \"trace\" is not known; write debug, info, warning or error\n"},
        {"fetch:\n  user_agent: ''",
         "f.yaml:2:16: fetch.user_agent: has 0 bytes; write a text of 1 to 256 bytes\n"},
        {"fetch:\n  user_agent: \"a\\nX: b\"", "f.yaml:2:16: fetch.user_agent: \"a\\x0aX: b\" has a control "
                                               "character; write it as one line of text\n"},
        {"fetch:\n  ca_file: \"a\\0b\"",
         "f.yaml:2:13: fetch.ca_file: \"a\\x00b\" has a control character; write "
         "it as one line of text\n"},
        {"max_body:", "f.yaml:1:1: max_body: has no value; write a size, or take the key out for the default "
                      "(64KiB)\n"},
        {"max_body: ~",
         "f.yaml:1:11: max_body: has no value; write a size, or take the key out for the default "
         "(64KiB)\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors(cases[i][0], cases[i][1]);
}

static void columns_count_characters(void **state)
{
    (void)state;
    expect_errors("log: {level: \"ü\", format: x}",
                  "f.yaml:1:15: log.level: \"\\xc3\\xbc\" is not known; write debug, info, warning or error\n"
                  "f.yaml:1:27: log.format: \"x\" is not known; write text or json\n");
}

static void all_errors_are_reported_at_once(void **state)
{
    (void)state;
    expect_errors(
        "listen: nowhere\n"
        "fetch:\n"
        "  tiemout: 10s\n"
        "  workers: [1, {a: b}]\n"
        "  max_redirects: 51\n"
        "tasks: {store: run/tasks.db}\n"
        "log: 4\n",
        "f.yaml:1:9: listen: \"nowhere\" is not an address; write unix:PATH or tcp:ADDRESS:PORT, such as "
        "tcp:127.0.0.1:9000\n"
        "f.yaml:3:3: unknown key \"tiemout\" in fetch; did you mean \"timeout\"?\n"
        "f.yaml:4:12: fetch.workers: is a list; write a single value, a whole number\n"
        "f.yaml:5:18: fetch.max_redirects: \"51\" is out of range; write a whole number (0 to 50)\n"
        "f.yaml:6:16: tasks.store: \"run/tasks.db\" is not a store; write sqlite:PATH, such as "
        "sqlite:run/tasks.db\n"
        "f.yaml:7:6: log must be a mapping, lines of the form key: value\n");
}

static void errors_beyond_the_cap_are_counted(void **state)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);
    struct config *config;

    (void)state;
    for (int i = 0; i < CONFIG_ERRORS_MAX + 7; i++)
        buf_printf(&text, "key%d: 1\n", i);
    assert_int_equal(config_parse("f.yaml", text.data, text.size, &config, &errors), -1);
    assert_int_equal(errors.count, CONFIG_ERRORS_MAX + 7);
    buf_append(&errors.text, "", 1);
    assert_non_null(strstr(errors.text.data, "\nf.yaml:100:1: unknown key \"key99\"\nand 7 more\n"));
}

static void unknown_keys_come_with_the_nearest_one(void **state)
{
    static const char *const cases[][2] = {
        {"lisen: x", "f.yaml:1:1: unknown key \"lisen\"; did you mean \"listen\"?\n"},
        {"tiemout: 1s", "f.yaml:1:1: unknown key \"tiemout\"\n"},
        {"timeout: 1s", "f.yaml:1:1: unknown key \"timeout\"; did you mean \"fetch.timeout\"?\n"},
        {"task: {x: y}", "f.yaml:1:1: unknown key \"task\"; did you mean \"tasks\"?\n"},
        {"fetch: {connect-timeout: 1s}",
         "f.yaml:1:9: unknown key \"connect-timeout\" in fetch; did you mean \"connect_timeout\"?\n"},
        {"fetch: {runners: 1}",
         "f.yaml:1:9: unknown key \"runners\" in fetch; did you mean \"tasks.runners\"?\n"},
        {"zebra: [1, {a: b}]", "f.yaml:1:1: unknown key \"zebra\"\n"},
        {"x: 1", "f.yaml:1:1: unknown key \"x\"\n"},
        {"Listen: x", "f.yaml:1:1: unknown key \"Listen\"; did you mean \"listen\"?\n"},
        {"fetch.timeout: 1s",
         "f.yaml:1:1: unknown key \"fetch.timeout\"; a key is one word, below its section\n"},
        {"\"\": 1", "f.yaml:1:2: unknown key \"\"; a key is one word, below its section\n"},
        {"\"listen\\0\": 1",
         "f.yaml:1:2: unknown key \"listen\\x00\"; a key is one word, below its section\n"},
        {"\"a\\e[1m\": 1", "f.yaml:1:2: unknown key \"a\\x1b[1m\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors(cases[i][0], cases[i][1]);
}

static void as_many_in_flight_as_connections_is_an_error(void **state)
{
    static const char contradiction[] =
        "f.yaml:2:1: max_in_flight: 10 is not less than max_connections, 10: without a connection above it "
        "nobody can be told that there are too many requests\n";
    static const char fits[] = "max_in_flight: 9\nmax_connections: 10\n";
    char both[512];
    (void)state;

    config_free(load_text(fits, strlen(fits)));
    expect_errors("max_connections: 10\nmax_in_flight: 10\n", contradiction);
    snprintf(both, sizeof(both), "f.yaml:3:1: unknown key \"lgo\"; did you mean \"log\"?\n%s", contradiction);
    expect_errors("max_connections: 10\nmax_in_flight: 10\nlgo: {}\n", both);
}

static void nodes_of_the_wrong_kind_are_named(void **state)
{
    static const char *const cases[][2] = {
        {"- listen", "f.yaml:1:1: a configuration must be a mapping, lines of the form key: value\n"},
        {"listen", "f.yaml:1:1: a configuration must be a mapping, lines of the form key: value\n"},
        {"listen: {a: b}", "f.yaml:1:9: listen: is a mapping; write a single value, an address\n"},
        {"fetch: [timeout]", "f.yaml:1:8: fetch must be a mapping, lines of the form key: value\n"},
        {"concurrent_requests:\n  urls: http://a",
         "f.yaml:2:9: concurrent_requests.urls: is not a list; write a "
         "list of URLs, each on a line of its own after a dash\n"},
        {"concurrent_requests:\n  urls: {a: b}",
         "f.yaml:2:9: concurrent_requests.urls: is not a list; write a "
         "list of URLs, each on a line of its own after a dash\n"},
        {"concurrent_requests:\n  urls:\n    - [a]\n    - http://a\n    -\n",
         "f.yaml:3:7: concurrent_requests.urls: item 1 is a list or a mapping; write one value after each "
         "dash\n"
         "f.yaml:4:7: concurrent_requests.urls: item 3 is empty; write one value after each dash\n"},
        {"? [a, b]\n: 1\nlog: 1\n", "f.yaml:1:3: a key must be a word\n"
                                    "f.yaml:3:6: log must be a mapping, lines of the form key: value\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors(cases[i][0], cases[i][1]);
}

static void duplicate_keys_are_reported_with_both_places(void **state)
{
    (void)state;
    expect_errors(
        "fetch:\n  timeout: 1s\n  workers: 1\n  timeout: 2s\nlog:\n  level: info\nfetch:\n  workers: 2\n",
        "f.yaml:4:3: duplicate key \"fetch.timeout\"; it is already on line 2, column 3\n"
        "f.yaml:7:1: duplicate key \"fetch\"; it is already on line 1, column 1\n");
}

static void aliases_anchors_and_tags_are_refused(void **state)
{
    (void)state;
    expect_errors(
        "listen: &a unix:x\nfetch:\n  ca_file: *a\n  <<: *a\n  timeout: !!str 1s\nlog: &l {level: info}\n"
        "tasks: *l\n",
        "f.yaml:1:12: listen: has an anchor (&name), which is not supported; write the value itself\n"
        "f.yaml:3:13: fetch.ca_file: has an alias (*name), which is not supported; write the value "
        "itself\n"
        "f.yaml:4:3: unknown key \"<<\" in fetch\n"
        "f.yaml:5:18: fetch.timeout: has a tag (!name), which is not supported; write the value itself\n"
        "f.yaml:6:9: log: has an anchor (&name), which is not supported; write the value itself\n"
        "f.yaml:7:9: tasks: has an alias (*name), which is not supported; write the value itself\n");
}

static void a_second_document_is_refused(void **state)
{
    (void)state;
    expect_errors("---\nmax_body: 1KiB\n---\nmax_body: 2KiB\n",
                  "f.yaml:3:1: a second YAML document begins here; a configuration is one document\n");
    expect_errors("max_body: 1KiB\n...\n# next\nmax_body: 2KiB\n",
                  "f.yaml:4:1: a second YAML document begins here; a configuration is one document\n");
    expect_errors("---\n---\n",
                  "f.yaml:2:1: a second YAML document begins here; a configuration is one document\n");
}

/* The words after the place are libfyaml's and differ between its versions. */
static void expect_broken(const char *text, const char *expected_start)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config;

    assert_int_equal(config_parse("f.yaml", text, strlen(text), &config, &errors), -1);
    assert_int_equal(errors.count, 1);
    buf_append(&errors.text, "", 1);
    assert_memory_equal(errors.text.data, expected_start, strlen(expected_start));
}

static void broken_yaml_is_reported_where_it_is(void **state)
{
    (void)state;
    expect_broken("listen: unix:a\nlog:\n  level: \"inf\n", "f.yaml:3:11: not valid YAML: ");
    expect_broken("concurrent_requests:\n  urls: [http://a,\n", "f.yaml:3:1: not valid YAML: ");
    expect_broken("fetch:\n\ttimeout: 1s\n", "f.yaml:2:1: not valid YAML: ");
    expect_broken("@\n", "f.yaml:1:1: not valid YAML: ");
    expect_broken("max_body: 1KiB\nmax_body\n", "f.yaml:2:1: not valid YAML: ");
    expect_broken("listen: unix:x: y\n", "f.yaml:1:15: not valid YAML: ");
}

/* What libfyaml would print by itself would go to standard error. */
static void broken_yaml_prints_nothing(void **state)
{
    char path[] = "/tmp/heddle-test-XXXXXX";
    int file = mkstemp(path);
    int saved = dup(STDERR_FILENO);

    (void)state;
    assert_true(file >= 0 && saved >= 0);
    unlink(path);
    dup2(file, STDERR_FILENO);
    expect_broken("listen: unix:a: b", "f.yaml:1:15: not valid YAML: ");
    dup2(saved, STDERR_FILENO);
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    close(saved);
    close(file);
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *expected;
    } cases[] = {
        {"log:\n  ü: \xff\n", 12, "f.yaml:2:6: the file is not valid UTF-8\n"},
        {"a: \xc0\xaf\n", 6, "f.yaml:1:4: the file is not valid UTF-8\n"},
        {"a: \xed\xa0\x80\n", 7, "f.yaml:1:4: the file is not valid UTF-8\n"},
        {"a: \xe2\x82", 5, "f.yaml:1:4: the file is not valid UTF-8\n"},
        {"\xff\xfe"
         "a\0:\0",
         6, "f.yaml:1:1: the file is not valid UTF-8\n"},
        {"a: x\0y", 6, "f.yaml:1:5: the file has a control character\n"},
        {"a: \x1b[1m", 7, "f.yaml:1:4: the file has a control character\n"},
        {"a: \xc2\x9b", 5, "f.yaml:1:4: the file has a control character\n"},
        {"# x\n%YAML 1.2\n", 14, "f.yaml:2:1: the file has a YAML directive (%), which is not supported\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors_of(cases[i].text, cases[i].size, cases[i].expected);
}

static void files_that_would_take_long_are_refused(void **state)
{
    cleanup(buf_done) struct buf lines = BUF_INIT(LONG_TEXT_MAX);
    cleanup(buf_done) struct buf large = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    expect_errors_of(repeated("\n", 20000, &lines), 20000,
                     "f.yaml:10001:1: the file has more than 10000 lines\n");
    repeated("#", CONFIG_FILE_MAX_BYTES + 1, &large);
    config_free(load_text(large.data, CONFIG_FILE_MAX_BYTES));
    expect_errors_of(large.data, CONFIG_FILE_MAX_BYTES + 1, "f.yaml: is longer than 1MiB\n");
}

static void deep_nesting_is_harmless(void **state)
{
    static const char *const openings[] = {"[", "{a: ", "- ", "? ", "fetch: {"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(openings); i++) {
        cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
        cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);
        struct config *config;
        repeated(openings[i], 100000, &text);
        assert_int_equal(config_parse("f.yaml", text.data, text.size, &config, &errors), -1);
    }
}

/* Substitution */

static void variables_are_replaced(void **state)
{
    static const char *const cases[][2] = {
        {"${HEDDLE_T1}", "one"},
        {"a${HEDDLE_T1}b${HEDDLE_T1}c", "aonebonec"},
        {"${HEDDLE_UNSET:-other}", "other"},
        {"${HEDDLE_EMPTY:-other}", "other"},
        {"x${HEDDLE_EMPTY}y", "xy"},
        {"x${HEDDLE_UNSET:-}y", "xy"},
        {"${HEDDLE_T1:-other}", "one"},
        {"${HEDDLE_UNSET:-a:-b}", "a:-b"},
        {"$${HEDDLE_T1}", "${HEDDLE_T1}"},
        {"$$${HEDDLE_T1}", "$${HEDDLE_T1}"},
        {"$ $$ $HEDDLE_T1", "$ $$ $HEDDLE_T1"},
        {"'${HEDDLE_YAML}'", "a\"'#: [x], {y}"},
        {"${HEDDLE_YAML}", "a\"'#: [x], {y}"},
        {"${HEDDLE_NESTED}", "${HEDDLE_T1}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        snprintf(text, sizeof(text), "fetch:\n  user_agent: %s\n", cases[i][0]);
        cleanup(config_free_scope) struct config *config = load(text);
        assert_string_equal(config->fetch.user_agent, cases[i][1]);
    }
}

static void replaced_values_are_parsed_by_their_type(void **state)
{
    cleanup(config_free_scope) struct config *config =
        load("request_threads: ${HEDDLE_SEVEN}\nclient_timeout: ${HEDDLE_SEVEN}s\n");

    (void)state;
    assert_int_equal(config->request_threads, 7);
    assert_int_equal(config->client_timeout_ms, 7000);
    expect_errors(
        "request_threads: ${HEDDLE_T1}\n",
        "f.yaml:1:18: request_threads: \"one\" is not a whole number; write a whole number (0 to 256)\n");
}

static void wrong_substitutions_are_reported(void **state)
{
    static const char *const cases[][2] = {
        {"a${HEDDLE_UNSET}", "the environment variable HEDDLE_UNSET is not set; set it or write "
                             "${HEDDLE_UNSET:-default}"},
        {"a${HEDDLE_T1", "${ without }; write ${NAME}, ${NAME:-default}, or $${ for ${ itself"},
        {"${}", "\"\" is not the name of a variable; write ${NAME} or ${NAME:-default}"},
        {"${1A}", "\"1A\" is not the name of a variable; write ${NAME} or ${NAME:-default}"},
        {"${A-b}", "\"A-b\" is not the name of a variable; write ${NAME} or ${NAME:-default}"},
        {"${A${B}}", "\"A${B\" is not the name of a variable; write ${NAME} or ${NAME:-default}"},
        {"${HEDDLE_LINES}", "\"a\\x0ab\" has a control character; write it as one line of text"},
        {"${HEDDLE_BYTES}", "\"a\\xff\" is not valid UTF-8; write it as one line of text"},
        {"${HEDDLE_HUGE}", "is longer than 64KiB"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        char expected[512];
        snprintf(text, sizeof(text), "fetch:\n  ca_file: %s\n", cases[i][0]);
        snprintf(expected, sizeof(expected), "f.yaml:2:12: fetch.ca_file: %s\n", cases[i][1]);
        expect_errors(text, expected);
    }
}

/* URLs */

static void wrong_urls_are_refused(void **state)
{
#define X50      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define ABSOLUTE "; write an absolute URL such as https://example.org/path"
    static const char *const cases[][2] = {
        {"ftp://a/", "\"ftp://a/\" is not an http or https URL" ABSOLUTE},
        {"file:///etc/passwd", "\"file:///etc/passwd\" is not an http or https URL" ABSOLUTE},
        {"example.org", "\"example.org\" is not an http or https URL" ABSOLUTE},
        {"/path", "\"/path\" is not an http or https URL" ABSOLUTE},
        {"http:/a", "\"http:/a\" is not an http or https URL" ABSOLUTE},
        {"http:///a", "\"http:///a\" is not an http or https URL" ABSOLUTE},
        {"http://", "\"http://\" has no host" ABSOLUTE},
        {"http://:80/", "\"http://:80/\" has no host" ABSOLUTE},
        {"http://a:0/", "\"http://a:0/\" has a port that is not a number from 1 to 65535" ABSOLUTE},
        {"http://a:65536/", "\"http://a:65536/\" has a port that is not a number from 1 to 65535" ABSOLUTE},
        {"http://a:x/", "\"http://a:x/\" has a port that is not a number from 1 to 65535" ABSOLUTE},
        {"http://a b/", "\"http://a b/\" has a space in it (write %20)" ABSOLUTE},
        {"http://u:secret@a/", "the URL has a user name, which would show in answers and logs; leave it out"},
        {"http://[::1/", "\"http://[::1/\" Bad IPv6 address" ABSOLUTE},
        {"http://a|b/", "the host name has characters that no name has"},
        {"http://b\u00fccher.example/", "the host name is not ASCII: write its xn-- form"},
        {"http://" X50 X50 X50 X50 X50 "aaaa/", "the host name has 254 bytes; at most 253 are allowed"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_urls_error(cases[i][0], cases[i][1]);
}

static void urls_end_at_8_kib(void **state)
{
    static const char start[] = "concurrent_requests:\n  urls:\n    - ";
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, start);
    buf_append_str(&text, "http://a/");
    repeated("x", CONFIG_URL_MAX_BYTES - strlen("http://a/"), &text);
    config_free(load_text(text.data, text.size));
    buf_append_str(&text, "x");
    expect_errors_of(
        text.data, text.size,
        "f.yaml:3:7: concurrent_requests.urls: the URL has 8193 bytes; at most 8192 are allowed\n");
}

static void lists_end_at_1000_urls(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, "concurrent_requests:\n  urls:\n");
    repeated("  - http://a\n", 1000, &text);
    cleanup(config_free_scope) struct config *config = load_text(text.data, text.size);
    assert_int_equal(config->concurrent_requests.urls.count, 1000);
    repeated("  - http://a\n", 5, &text);
    expect_errors_of(text.data, text.size,
                     "f.yaml:1003:5: concurrent_requests.urls: has more than 1000 items\n");
}

/* Fractions, rates, booleans */

static void fractions_rates_and_booleans_are_read(void **state)
{
    static const struct {
        const char *text;
        double value;
    } rates[] = {{"0", 0},           {"1/s", 1}, {"100/s", 100}, {"30/m", 0.5}, {"1000/h", 1000.0 / 3600},
                 {"1000000/s", 1e6}, {"60/m", 1}};
    cleanup(config_free_scope) struct config *fractions =
        load("tasks: {backoff_factor: 99.999999, backoff_jitter: 0.000001}");

    (void)state;
    assert_true(fractions->tasks.backoff_factor == 99.999999);
    assert_true(fractions->tasks.backoff_jitter == 0.000001);
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        char text[64];
        snprintf(text, sizeof(text), "queues: {q: {rate: %s, paused: true}}", rates[i].text);
        cleanup(config_free_scope) struct config *config = load(text);
        assert_true(config->tasks.queues[0].rate_per_s == rates[i].value);
        assert_true(config->tasks.queues[0].is_paused);
    }
}

static void wrong_fractions_rates_and_booleans_are_refused(void **state)
{
#define NUMBER "; write a number such as 2 or 0.25 (0 to 1)\n"
#define RATE                                                                                                 \
    " is not a rate; write 0 for none, or a rate such as 10/s, 30/m or 1000/h (1 to 1000000 before the "     \
    "slash)\n"
    static const char *const cases[][3] = {
        {"tasks: {backoff_jitter: %s}", "1.000001", "\"1.000001\" is out of range" NUMBER},
        {"tasks: {backoff_jitter: %s}", "2", "\"2\" is out of range" NUMBER},
        {"tasks: {backoff_jitter: %s}", ".5", "\".5\" is not a number" NUMBER},
        {"tasks: {backoff_jitter: %s}", "0.", "\"0.\" is not a number" NUMBER},
        {"tasks: {backoff_jitter: %s}", "1e0", "\"1e0\" is not a number" NUMBER},
        {"tasks: {backoff_jitter: %s}", "-0", "\"-0\" is not a number" NUMBER},
        {"tasks: {backoff_jitter: %s}", "nan", "\"nan\" is not a number" NUMBER},
        {"tasks: {backoff_jitter: %s}", "00.5", "\"00.5\" is not a number" NUMBER},
        {"tasks: {backoff_jitter: %s}", "0.1234567", "\"0.1234567\" is not a number" NUMBER},
        {"queues: {q: {rate: %s}}", "10", "\"10\"" RATE},
        {"queues: {q: {rate: %s}}", "0/s", "\"0/s\"" RATE},
        {"queues: {q: {rate: %s}}", "/s", "\"/s\"" RATE},
        {"queues: {q: {rate: %s}}", "1/d", "\"1/d\"" RATE},
        {"queues: {q: {rate: %s}}", "1/s/s", "\"1/s/s\"" RATE},
        {"queues: {q: {rate: %s}}", "1000001/s", "\"1000001/s\"" RATE},
        {"queues: {q: {rate: %s}}", "0000000000000000000000000000000000000001/s",
         "\"0000000000000000000000000000000000000001/s\"" RATE},
        {"queues: {q: {paused: %s}}", "yes", "\"yes\" is neither true nor false; write true or false\n"},
        {"queues: {q: {paused: %s}}", "True", "\"True\" is neither true nor false; write true or false\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        char expected[512];
        const char *key = strstr(cases[i][0], "jitter") ? "tasks.backoff_jitter"
                          : strstr(cases[i][0], "rate") ? "queues.q.rate"
                                                        : "queues.q.paused";
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(strchr(cases[i][0], '%') - cases[i][0]), cases[i][0],
                 cases[i][1], strchr(cases[i][0], '%') + 2);
        snprintf(expected, sizeof(expected), "f.yaml:1:%d: %s: %s",
                 (int)(strchr(cases[i][0], '%') - cases[i][0]) + 1, key, cases[i][2]);
        expect_errors(text, expected);
    }
}

/* Maps */

static void entries_are_read_with_their_defaults(void **state)
{
    cleanup(config_free_scope) struct config *config = load(
        "queues:\n"
        "  mail: {concurrency: 4, rate: 100/s, paused: true, weight: 1000}\n"
        "  default:\n"
        "  A-b_9: {}\n"
        "commands:\n"
        "  report:\n"
        "    argv: [/usr/bin/env, '', -n]\n"
        "    environment: [A=b, _C=, D=e=f]\n"
        "    directory: /tmp\n"
        "    timeout: 1m\n"
        "    max_memory: 1GiB\n"
        "    max_open_files: 16\n"
        "    cpu: 10s\n"
        "  other: {argv: [/bin/true]}\n"
        "schedules:\n"
        "  nightly: {cron: 0 3 * * *, time_zone: Europe/Vienna, kind: command, queue: mail,\n"
        "    payload: '{\"command\": \"report\"}', missed: all, priority: 0, max_attempts: 1, timeout: 1s}\n"
        "  hourly: {cron: '@hourly', kind: sleep}\n");

    (void)state;
    assert_int_equal(config->tasks.queue_count, 3);
    const struct config_queue *queues = config->tasks.queues;
    assert_string_equal(queues[0].name, "mail");
    assert_int_equal(queues[0].concurrency, 4);
    assert_true(queues[0].rate_per_s == 100);
    assert_true(queues[0].is_paused);
    assert_int_equal(queues[0].weight, 1000);
    assert_string_equal(queues[1].name, "default");
    assert_int_equal(queues[1].concurrency, 0);
    assert_true(queues[1].rate_per_s == 0);
    assert_false(queues[1].is_paused);
    assert_int_equal(queues[1].weight, 1);
    assert_string_equal(queues[2].name, "A-b_9");

    assert_int_equal(config->tasks.command_count, 2);
    const struct config_command *commands = config->tasks.commands;
    assert_string_equal(commands[0].name, "report");
    assert_int_equal(commands[0].argv.count, 3);
    assert_string_equal(commands[0].argv.items[0], "/usr/bin/env");
    assert_string_equal(commands[0].argv.items[1], "");
    assert_string_equal(commands[0].argv.items[2], "-n");
    assert_int_equal(commands[0].environment.count, 3);
    assert_string_equal(commands[0].environment.items[2], "D=e=f");
    assert_string_equal(commands[0].directory, "/tmp");
    assert_int_equal(commands[0].timeout_ms, 60000);
    assert_int_equal(commands[0].max_memory_bytes, 1 << 30);
    assert_int_equal(commands[0].max_open_files, 16);
    assert_int_equal(commands[0].cpu_ms, 10000);
    assert_string_equal(commands[1].directory, "/");
    assert_int_equal(commands[1].environment.count, 0);
    assert_int_equal(commands[1].timeout_ms, 3600000);
    assert_int_equal(commands[1].max_memory_bytes, 0);
    assert_int_equal(commands[1].max_open_files, 256);
    assert_int_equal(commands[1].cpu_ms, 0);

    assert_int_equal(config->tasks.schedule_count, 2);
    const struct config_schedule *schedules = config->tasks.schedules;
    assert_string_equal(schedules[0].name, "nightly");
    assert_string_equal(schedules[0].cron, "0 3 * * *");
    assert_string_equal(schedules[0].time_zone, "Europe/Vienna");
    assert_string_equal(schedules[0].kind, "command");
    assert_string_equal(schedules[0].queue, "mail");
    assert_string_equal(schedules[0].payload, "{\"command\": \"report\"}");
    assert_int_equal(schedules[0].missed, MISSED_ALL);
    assert_int_equal(schedules[0].priority, 0);
    assert_int_equal(schedules[0].max_attempts, 1);
    assert_int_equal(schedules[0].timeout_ms, 1000);
    assert_string_equal(schedules[1].time_zone, "UTC");
    assert_string_equal(schedules[1].queue, "default");
    assert_string_equal(schedules[1].payload, "{}");
    assert_int_equal(schedules[1].missed, MISSED_ONCE);
    assert_int_equal(schedules[1].priority, 5);
    assert_int_equal(schedules[1].max_attempts, 0);
    assert_int_equal(schedules[1].timeout_ms, 0);
}

static void empty_maps_are_no_entries(void **state)
{
    static const char *const empty[] = {"queues:\n", "queues: {}\n", "queues: ~\ncommands:\nschedules: {}\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        cleanup(config_free_scope) struct config *config = load(empty[i]);
        assert_int_equal(config->tasks.queue_count, 0);
        assert_null(config->tasks.queues);
    }
}

static void entries_have_the_errors_of_other_settings(void **state)
{
#define X32 "abcdefghijklmnopqrstuvwxyz-_0123"
    static const char *const cases[][2] = {
        {"queues: {q: {weight: 0}}",
         "f.yaml:1:22: queues.q.weight: \"0\" is out of range; write a whole number (1 to 1000)\n"},
        {"queues:\n  q:\n    wieght: 1\n",
         "f.yaml:3:5: unknown key \"wieght\" in queues.q; did you mean \"weight\"?\n"},
        {"queues:\n  q:\n    fetch: 1\n", "f.yaml:3:5: unknown key \"fetch\" in queues.q\n"},
        {"queues:\n  q:\n    weight: 1\n    weight: 2\n",
         "f.yaml:4:5: duplicate key \"queues.q.weight\"; it is already on line 3, column 5\n"},
        {"queues:\n  q:\n    weight: 1\n  r:\n  q: {x: 1}\n",
         "f.yaml:5:3: duplicate key \"queues.q\"; it is already on line 2, column 3\n"},
        {"queues: {}\nqueues: {}\n",
         "f.yaml:2:1: duplicate key \"queues\"; it is already on line 1, column 1\n"},
        {"queue: {}\n", "f.yaml:1:1: unknown key \"queue\"; did you mean \"queues\"?\n"},
        {"tasks: {queues: {}}\n", "f.yaml:1:9: unknown key \"queues\" in tasks; did you mean \"queues\"?\n"},
        {"queues: a\n",
         "f.yaml:1:9: queues must be a mapping, the name of a queue and its settings below it\n"},
        {"queues: [a]\n",
         "f.yaml:1:10: queues: item 1 is not a queue; write a mapping, its name and its settings\n"},
        {"queues: {q: 4}\n", "f.yaml:1:13: queues.q must be a mapping, lines of the form key: value\n"},
        {"queues: {q: [4]}\n", "f.yaml:1:13: queues.q must be a mapping, lines of the form key: value\n"},
        {"queues: {q: &a {}}\n",
         "f.yaml:1:16: queues.q: has an anchor (&name), which is not supported; write the value itself\n"},
        {"queues: {q: {weight: }}\n", "f.yaml:1:14: queues.q.weight: has no value; write a whole number, or "
                                      "take the key out for the default (1)\n"},
        {"queues: {a b: {weight: 0}}\n",
         "f.yaml:1:10: queues: \"a b\" is not a name; write 1 to 64 letters, digits, - and _\n"},
        {"queues: {a.b: }\n",
         "f.yaml:1:10: queues: \"a.b\" is not a name; write 1 to 64 letters, digits, - and _\n"},
        {"queues: {\"\": {}}\n",
         "f.yaml:1:11: queues: \"\" is not a name; write 1 to 64 letters, digits, - and _\n"},
        {"queues: {\"a\\0\": {}}\n",
         "f.yaml:1:11: queues: \"a\\x00\" has a control character; write it as one line of text\n"},
        {"queues: {" X32 X32 "4: {}}\n",
         "f.yaml:1:10: queues: \"" X32 X32 "4\" is not a name; write 1 to 64 letters, digits, - and _\n"},
        {"queues: {" X32 X32 ": {concurrency: x}}\n",
         "f.yaml:1:90: queues." X32 X32
         ".concurrency: \"x\" is not a whole number; write a whole number (0 to 1000000)\n"},
        {"queues: {? [a] : {weight: 0}, q: {weight: 1001}}\n",
         "f.yaml:1:12: a key must be a word\n"
         "f.yaml:1:43: queues.q.weight: \"1001\" is out of range; write a whole number (1 to 1000)\n"},
        {"queues: {q: {}}\nsocket_mode: 9\n",
         "f.yaml:2:14: socket_mode: \"9\" is not an octal mode; write an octal mode such as 0660 (0000 to "
         "0777)\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors(cases[i][0], cases[i][1]);
}

static void what_has_no_default_must_be_given(void **state)
{
    static const char *const cases[][2] = {
        {"commands:\n  mail:\n", "f.yaml:2:3: commands.mail: argv is missing\n"},
        {"commands:\n  mail:\n    timeout: 1m\n", "f.yaml:2:3: commands.mail: argv is missing\n"},
        {"commands:\n  mail:\n    argv: []\n",
         "f.yaml:3:11: commands.mail.argv: has 0 items; write a list of 1 to 64\n"},
        {"commands:\n  mail:\n    argv: x\n",
         "f.yaml:3:11: commands.mail.argv: is not a list; write a list of texts, each on a line of its own "
         "after a dash\n"},
        {"schedules:\n  s: {}\n", "f.yaml:2:3: schedules.s: cron is missing\n"
                                  "f.yaml:2:3: schedules.s: kind is missing\n"},
        {"schedules:\n  s: {cron: ~, kind: sleep}\n",
         "f.yaml:2:13: schedules.s.cron: has no value; write a text\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors(cases[i][0], cases[i][1]);
}

static void expect_entries_max(const char *map, const char *entry, unsigned max)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);
    char expected[128];

    buf_printf(&text, "%s:\n", map);
    for (unsigned i = 0; i < max; i++)
        buf_printf(&text, "  e%u: %s\n", i, entry);
    config_free(load_text(text.data, text.size));
    buf_printf(&text, "  one_more: %s\n  and_more: {x: y}\n", entry);
    snprintf(expected, sizeof(expected), "f.yaml:%u:3: %s: has more than %u entries\n", max + 2, map, max);
    expect_errors_of(text.data, text.size, expected);
}

static void maps_end_at_their_number_of_entries(void **state)
{
    (void)state;
    expect_entries_max("queues", "{}", 64);
    expect_entries_max("commands", "{argv: [/bin/true]}", 256);
    expect_entries_max("schedules", "{cron: '* * * * *', kind: sleep}", 256);
}

static void lists_of_texts_end_at_their_number_of_items(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, "commands:\n  c:\n    argv:\n    - /a\n");
    repeated("    - a\n", 63, &text);
    config_free(load_text(text.data, text.size));
    buf_append_str(&text, "    - a\n");
    expect_errors_of(text.data, text.size, "f.yaml:68:7: commands.c.argv: has more than 64 items\n");
    text.size = 0;
    buf_append_str(&text, "commands:\n  c:\n    argv: [/a, ");
    repeated("x", 4097, &text);
    buf_append_str(&text, "]\n");
    expect_errors_of(text.data, text.size,
                     "f.yaml:3:16: commands.c.argv: an item has 4097 bytes; at most 4096 are allowed\n");
}

static void entries_are_checked_together(void **state)
{
    static const char *const cases[][2] = {
        {"schedules:\n  s: {cron: x, kind: k, queue: q}\nqueues: {p: }\n",
         "f.yaml:2:25: schedules.s.queue: \"q\" is not one of the queues; write default, or add it to "
         "them\n"},
        {"schedules:\n  s: {cron: 60 * * * *, kind: k}\n",
         "f.yaml:2:7: schedules.s.cron: minute: \"60\" has a value that is not from 0 to 59\n"},
        {"schedules:\n  s: {cron: '@daily', kind: k, time_zone: Europe/Atlantis}\n",
         "f.yaml:2:32: schedules.s.time_zone: there is no time zone \"Europe/Atlantis\" in "
         "/usr/share/zoneinfo/\n"},
        {"commands:\n  c: {argv: [/a], environment: [AB=1, A=1, AB=2]}\n",
         "f.yaml:2:19: commands.c.environment: has the variable AB twice\n"},
        {"tasks: {backoff_base: 2h}\n",
         "f.yaml:1:9: tasks.backoff_base: 2h is more than tasks.backoff_max, 1h\n"},
        {"tasks: {backoff_max: 10ms}\n",
         "f.yaml: tasks.backoff_base: 1s is more than tasks.backoff_max, 10ms\n"},
        {"mail: {user: u}\n", "f.yaml:1:8: mail.user: goes with mail.password, which is not set\n"},
        {"mail: {password: p}\n", "f.yaml:1:8: mail.password: goes with mail.user, which is not set\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_errors(cases[i][0], cases[i][1]);
    config_free(load("schedules:\n  s: {cron: '@daily', kind: k, queue: q}\nqueues: {q: }\n"));
}

/* Texts that name something */

struct text_case {
    const char *text;
    const char *error; /* NULL: it is allowed */
};

static void expect_texts(const char *before, const char *after, const char *key,
                         const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cleanup(buf_done) struct buf text = BUF_INIT(4096);
        cleanup(buf_done) struct buf expected = BUF_INIT(4096);
        buf_printf(&text, "%s'%s'%s\n", before, cases[i].text, after);
        buf_printf(&expected, "f.yaml:1:%zu: %s: %s\n", strlen(before) + 2, key,
                   cases[i].error ? cases[i].error : "");
        buf_append(&expected, "", 1);
        if (cases[i].error)
            expect_errors_of(text.data, text.size, expected.data);
        else
            config_free(load_text(text.data, text.size));
    }
}

static void allowed_hosts_are_names_or_addresses(void **state)
{
#define HOSTS "; write a host such as example.org, *.example.org, example.org:8443 or [::1]:80"
    static const struct text_case cases[] = {
        {"example.org", NULL},
        {"Example.ORG:65535", NULL},
        {"*.example.org", NULL},
        {"*.example.org:8443", NULL},
        {"localhost:9001", NULL},
        {"upstream", NULL},
        {"a_b.c-d", NULL},
        {"127.0.0.1", NULL},
        {"127.0.0.1:9001", NULL},
        {"[::1]", NULL},
        {"[::1]:80", NULL},
        {"3com.com", NULL},
        {"", "\"\" has no host" HOSTS},
        {"*", "\"*\" has a host that is neither a name nor an address" HOSTS},
        {"*.", "\"*.\" has no host" HOSTS},
        {"*.*.a", "\"*.*.a\" has a host that is neither a name nor an address" HOSTS},
        {"a.*", "\"a.*\" has a host that is neither a name nor an address" HOSTS},
        {"*.127.0.0.1", "\"*.127.0.0.1\" has *. before an address" HOSTS},
        {"*.[::1]", "\"*.[::1]\" has *. before an address" HOSTS},
        {"http://a", "\"http://a\" is a URL" HOSTS},
        {"a/b", "\"a/b\" is a URL" HOSTS},
        {"a:", "\"a:\" has a port that is not a number from 1 to 65535" HOSTS},
        {"a:0", "\"a:0\" has a port that is not a number from 1 to 65535" HOSTS},
        {"a:65536", "\"a:65536\" has a port that is not a number from 1 to 65535" HOSTS},
        {"::1", "\"::1\" has more than one colon (an IPv6 address is written in brackets)" HOSTS},
        {"[::1]a", "\"[::1]a\" has something behind the brackets" HOSTS},
        {"[a]", "\"[a]\" has a host that is neither a name nor an address" HOSTS},
        {"[::1", "\"[::1\" has more than one colon (an IPv6 address is written in brackets)" HOSTS},
        {"a..b", "\"a..b\" has a host that is neither a name nor an address" HOSTS},
        {".a", "\".a\" has a host that is neither a name nor an address" HOSTS},
        {"a.", "\"a.\" has a host that is neither a name nor an address" HOSTS},
        {"127.1", "\"127.1\" has a host that is neither a name nor an address" HOSTS},
        {"u@a", "\"u@a\" has a host that is neither a name nor an address" HOSTS},
        {X32 X32, "\"" X32 X32 "\" has a host that is neither a name nor an address" HOSTS},
    };

    (void)state;
    expect_texts("tasks: {allowed_hosts: [", "]}", "tasks.allowed_hosts", cases, ARRAY_LEN(cases));
}

static void mail_servers_have_a_scheme_and_a_host(void **state)
{
#define SERVER "write smtp://HOST:PORT or smtps://HOST:PORT"
    static const struct text_case cases[] = {
        {"", NULL},
        {"smtp://localhost:25", NULL},
        {"smtps://[::1]:465", NULL},
        {"smtp://mail.example", NULL},
        {"mail.example:25", "\"mail.example:25\" is not a mail server; " SERVER},
        {"http://a", "\"http://a\" is not a mail server; " SERVER},
        {"smtp://", "\"smtp://\" has no host; " SERVER},
        {"smtp://a/b", "\"smtp://a/b\" has a host that is neither a name nor an address; " SERVER},
        {"smtp://u:hunter2@a", "has a user name; " SERVER ", and the name in mail.user"},
    };

    (void)state;
    expect_texts("mail: {server: ", "}", "mail.server", cases, ARRAY_LEN(cases));
}

static void senders_are_one_address(void **state)
{
#define SENDER " is not a mail address; write one such as heddle@example.org"
    static const struct text_case cases[] = {
        {"", NULL},
        {"a@b", NULL},
        {"first.last+tag@example.org", NULL},
        {"a", "\"a\"" SENDER},
        {"@b", "\"@b\"" SENDER},
        {"a@", "\"a@\"" SENDER},
        {"a@b@c", "\"a@b@c\"" SENDER},
        {"A <a@b>", "\"A <a@b>\"" SENDER},
        {"a@b,c@d", "\"a@b,c@d\"" SENDER},
    };

    (void)state;
    expect_texts("mail: {from: ", "}", "mail.from", cases, ARRAY_LEN(cases));
}

static void texts_of_schedules_are_checked(void **state)
{
#define ZONE " is not a time zone; write one such as UTC or Europe/Vienna"
    static const struct text_case zones[] = {
        {"Etc/GMT+1", NULL},
        {"America/Argentina/Buenos_Aires", NULL},
        {"/etc/passwd", "\"/etc/passwd\"" ZONE},
        {"../x", "\"../x\"" ZONE},
        {"a/../../x", "\"a/../../x\"" ZONE},
        {"CET-1CEST,M3.5.0", "\"CET-1CEST,M3.5.0\"" ZONE},
    };
    static const struct text_case kinds[] = {
        {"sleep", NULL},
        {"a b", "\"a b\" is not a name; write 1 to 64 letters, digits, - and _"},
    };
    static const struct text_case payloads[] = {
        {"{\"a\": [1, {\"b\": null}]}", NULL},
        {"[]",
         "is not a JSON object: line 1, column 1 (byte 0): a JSON object is expected, it begins with '{'"},
        {"{\"a\": 1", "is not a JSON object: line 1, column 8 (byte 7): '}' expected near end of file"},
        {"", "is not a JSON object: line 1, column 1 (byte 0): a JSON object is expected, there is nothing"},
    };

    (void)state;
    expect_texts("schedules: {s: {cron: '@daily', kind: k, time_zone: ", "}}", "schedules.s.time_zone", zones,
                 ARRAY_LEN(zones));
    expect_texts("schedules: {s: {cron: '@daily', kind: ", "}}", "schedules.s.kind", kinds, ARRAY_LEN(kinds));
    expect_texts("schedules: {s: {cron: '@daily', kind: k, payload: ", "}}", "schedules.s.payload", payloads,
                 ARRAY_LEN(payloads));
    expect_errors("schedules: {s: {cron: '@daily', kind: k, payload: {a: b}}}",
                  "f.yaml:1:51: schedules.s.payload: is a mapping; write a single value, a JSON object in "
                  "quotes\n");
}

static void texts_of_commands_are_checked(void **state)
{
    static const struct text_case paths[] = {
        {"/bin/true", NULL},
        {"true", "\"true\" is not an absolute path; write one that begins with /"},
        {"", "\"\" is not an absolute path; write one that begins with /"},
    };
    static const struct text_case variables[] = {
        {"A=", NULL},
        {"=secret", "an item is not a variable; write NAME=value"},
        {"secret", "an item is not a variable; write NAME=value"},
        {"1A=secret", "an item is not a variable; write NAME=value"},
        {"A B=secret", "an item is not a variable; write NAME=value"},
    };

    (void)state;
    expect_texts("commands: {c: {argv: [", "]}}", "commands.c.argv", paths, ARRAY_LEN(paths));
    expect_texts("commands: {c: {argv: [/a], directory: ", "}}", "commands.c.directory", paths, 2);
    expect_texts("commands: {c: {argv: [/a], environment: [", "]}}", "commands.c.environment", variables,
                 ARRAY_LEN(variables));
}

static void webhook_secrets_are_long_enough(void **state)
{
#define BASE64_24 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
#define BASE64    "is not a secret: what follows whsec_ must be base64 of 24 to 64 bytes"
    static const struct text_case cases[] = {
        {"", NULL},
        {"sixteen bytes...", NULL},
        {"whsec_" BASE64_24, NULL},
        {"whsec_" BASE64_24 BASE64_24 "MDEyMzQ1Njc4OWFiY2RlZg==", NULL},
        {"fifteen bytes..", "is too short for a secret; write whsec_ and base64, or at least 16 bytes"},
        {"whsec_", BASE64},
        {"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY=", BASE64},
        {"whsec_" BASE64_24 "!", BASE64},
        {"whsec_" BASE64_24 "A===", BASE64},
        {"whsec_" BASE64_24 "AAA", BASE64},
        {"whsec_" BASE64_24 BASE64_24 "MDEyMzQ1Njc4OWFiY2RlZmc=", BASE64},
    };

    (void)state;
    expect_texts("tasks: {webhook_secret: ", "}", "tasks.webhook_secret", cases, ARRAY_LEN(cases));
}

static void secrets_are_not_repeated(void **state)
{
#define HIDDEN "is not one line of text in which ${ begins ${NAME} or ${NAME:-default}\n"
    static const char *const cases[][2] = {
        {"mail: {user: u, password: \"hunter2\\n\"}", "f.yaml:1:28: mail.password: " HIDDEN},
        {"mail: {user: u, password: \"${hunter-2}\"}", "f.yaml:1:28: mail.password: " HIDDEN},
        {"mail: {user: u, password: \"${HEDDLE_LINES}\"}", "f.yaml:1:28: mail.password: " HIDDEN},
        {"tasks: {webhook_secret: \"hunter2${\"}", "f.yaml:1:26: tasks.webhook_secret: " HIDDEN},
        {"commands: {c: {argv: [/a], environment: [\"A=hunter2\\e\"]}}",
         "f.yaml:1:43: commands.c.environment: " HIDDEN},
        {"tasks: {webhook_secret: \"${HEDDLE_UNSET}\"}",
         "f.yaml:1:26: tasks.webhook_secret: the environment variable HEDDLE_UNSET is not set; set it or "
         "write ${HEDDLE_UNSET:-default}\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *password = strstr(cases[i][0], "password");
        cleanup(buf_done) struct buf expected = BUF_INIT(1024);
        buf_append_str(&expected, cases[i][1]);
        if (password) /* what was refused is as if it were not there */
            buf_append_str(&expected, "f.yaml:1:8: mail.user: goes with mail.password, which is not set\n");
        buf_append(&expected, "", 1);
        expect_errors(cases[i][0], expected.data);
    }
}

/* Files */

static void expect_load_error(const char *path, const char *expected)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config;

    assert_int_equal(config_load(path, &config, &errors), -1);
    buf_append(&errors.text, "", 1);
    assert_string_equal(errors.text.data, expected);
}

static void files_that_cannot_be_read_are_reported(void **state)
{
    (void)state;
    expect_load_error("/tmp/heddle-no-such.yaml",
                      "/tmp/heddle-no-such.yaml: cannot be opened: No such file or directory\n");
    expect_load_error("/tmp", "/tmp: cannot be read: Is a directory\n");
    expect_load_error("/dev/zero", "/dev/zero: is longer than 1MiB\n");
}

static void unreadable_file_is_reported(void **state)
{
    char path[] = "/tmp/heddle-test-XXXXXX";
    char expected[128];
    int fd = mkstemp(path);
    bool is_root = geteuid() == 0; /* whom no mode keeps out */

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0), 0);
    snprintf(expected, sizeof(expected), "%s: cannot be opened: Permission denied\n", path);
    if (is_root)
        assert_int_equal(seteuid(65534), 0);
    expect_load_error(path, expected);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    close(fd);
    unlink(path);
}

static char *read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "re");

    if (!file)
        fail_msg("%s: run the test at the top of the tree", path);
    assert_true(buf_reserve(out, 65536));
    out->size = fread(out->data, 1, 65535, file);
    out->data[out->size] = '\0';
    fclose(file);
    return out->data;
}

static void our_configurations_load(void **state)
{
    static const char *const paths[] = {"conf/heddle.yaml", "conf/public-sites.yaml"};

    (void)state;
    unsetenv("HEDDLE_SOCKET");
    setenv("UPSTREAM_PORT", "1234", 1);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        cleanup(buf_done) struct buf text = BUF_INIT(65536);
        read_file(paths[i], &text);
        cleanup(config_free_scope) struct config *config = load_text(text.data, text.size);
        assert_string_equal(config->listen.path, "run/heddle.sock");
        assert_int_equal(config->concurrent_requests.urls.count, 10);
    }
}

/* Documents */

/* Takes away the "# " before each "key: value": a line with other words stays a comment. */
static void uncomment(char *text)
{
    for (char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char *hash = line + strspn(line, " ");
        size_t word = strncmp(hash, "# ", 2) == 0 ? strspn(hash + 2, "abcdefghijklmnopqrstuvwxyz_") : 0;
        if (word > 0 && strncmp(hash + 2 + word, ": ", 2) == 0)
            memmove(hash, hash + 2, strlen(hash + 2) + 1);
    }
}

static bool same_value(const struct config_row *row, const struct config *a, const struct config *b)
{
    if (row->type == CONFIG_TEXT || row->type == CONFIG_JSON || row->type == CONFIG_STORE)
        return strcmp(*(char *const *)field_of(a, row), *(char *const *)field_of(b, row)) == 0;
    return memcmp(field_of(a, row), field_of(b, row), row->size) == 0;
}

static void sample_shows_every_row_with_its_default(void **state)
{
    static const char *const shown[] = {"listen", "concurrent_requests.urls", "tasks.allowed_hosts",
                                        "upstreams", "endpoints"};
    cleanup(buf_done) struct buf text = BUF_INIT(65536);
    cleanup(config_free_scope) struct config *defaults = load("");

    (void)state;
    uncomment(read_file("conf/heddle.yaml", &text));
    cleanup(config_free_scope) struct config *config = load(text.data);
    for (size_t i = 0; i < config_settings.row_count; i++) {
        const struct config_row *row = &config_settings.rows[i];
        const char *dot = strchr(row->key, '.');
        char line[CONFIG_KEY_MAX_BYTES];
        bool is_own = false;
        snprintf(line, sizeof(line), "\n%s%s:", dot ? "  " : "", dot ? dot + 1 : row->key);
        if (!strstr(text.data, line))
            fail_msg("conf/heddle.yaml does not show %s", row->key);
        for (size_t j = 0; j < ARRAY_LEN(shown); j++)
            is_own |= strcmp(row->key, shown[j]) == 0;
        if (!is_own && !same_value(row, config, defaults))
            fail_msg("conf/heddle.yaml does not show the default of %s", row->key);
    }
}

/* The comments of the section that `key` begins, as what they would be without the "# ". */
static void uncomment_section(const char *text, const char *key, struct buf *out)
{
    char start[CONFIG_KEY_MAX_BYTES];

    snprintf(start, sizeof(start), "\n%s:", key);
    const char *line = strstr(text, start);
    assert_non_null(line);
    buf_printf(out, "%s\n", start + 1);
    for (line = strchr(line + 1, '\n') + 1; *line == ' ' || *line == '\n'; line = strchr(line, '\n') + 1) {
        bool is_comment = strncmp(line, "  # ", 4) == 0 && !(line[4] >= 'A' && line[4] <= 'Z');
        if (is_comment)
            buf_printf(out, "  %.*s\n", (int)strcspn(line + 4, "\n"), line + 4);
    }
}

static char *examples_of_map;

/* "failure_ratio:" for the key "breaker.failure_ratio". */
static void check_shown(const struct config_table *table, const struct config_row *row)
{
    const char *dot = strrchr(row->key, '.');
    const char *word = dot ? dot + 1 : row->key;
    const char *found = examples_of_map;

    (void)table;
    while ((found = strstr(found, word)) && !(strchr(" -{", found[-1]) && found[strlen(word)] == ':'))
        found++;
    if (!found)
        fail_msg("conf/heddle.yaml does not show %s in\n%s", row->key, examples_of_map);
}

/* Each map has an example of an entry that says all that an entry can say. */
static void sample_has_an_example_of_each_entry(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(65536);
    cleanup(buf_done) struct buf examples = BUF_INIT(65536);

    (void)state;
    read_file("conf/heddle.yaml", &text);
    for (size_t i = 0; i < config_settings.row_count; i++) {
        const struct config_row *row = &config_settings.rows[i];
        size_t start = examples.size;
        if (row->type != CONFIG_MAP)
            continue;
        uncomment_section(text.data, row->key, &examples);
        buf_append(&examples, "", 1);
        assert_false(examples.failed);
        examples_of_map = examples.data + start;
        for_each_row_of(&row->map->table, check_shown);
        examples.size--;
    }
    cleanup(config_free_scope) struct config *config = load_text(examples.data, examples.size);
    assert_int_equal(config->tasks.queue_count, 1);
    assert_int_equal(config->tasks.command_count, 1);
    assert_int_equal(config->tasks.schedule_count, 1);
    assert_int_equal(config->upstream_count, 1);
    assert_int_equal(config->endpoint_count, 1);
}

static char *document; /* CONFIGURATION.md */

static void check_documented(const struct config_table *table, const struct config_row *row)
{
    const char *dot = strrchr(row->key, '.');
    char cell[CONFIG_KEY_MAX_BYTES];

    (void)table;
    snprintf(cell, sizeof(cell), "\n| `%s` | ", dot ? dot + 1 : row->key);
    assert_non_null(strstr(document, cell));
    assert_non_null(strstr(document, row->help));
}

static void document_has_every_row(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    config_write_markdown(&text);
    buf_append(&text, "", 1);
    assert_false(text.failed);
    document = text.data;
    for_each_row(check_documented);
    assert_non_null(strstr(text.data, "\n## fetch\n"));
    assert_non_null(
        strstr(text.data, "| `timeout` | duration | `10s` | 1ms to 1h | Longest time for one URL"));
    assert_non_null(strstr(text.data, "\n## queues.NAME\n"));
    assert_non_null(strstr(text.data, "\n### upstreams.NAME.breaker\n"));
    assert_non_null(strstr(text.data, "\n## endpoints.PATH.parts.NAME\n"));
    assert_non_null(
        strstr(text.data, "| `argv` | list of texts | none: must be given | 1 to 64 | The program"));
}

static int set_environment(void **state)
{
    static char huge[CONFIG_VALUE_MAX_BYTES + 2];

    (void)state;
    memset(huge, 'x', sizeof(huge) - 1);
    unsetenv("HEDDLE_UNSET");
    setenv("HEDDLE_EMPTY", "", 1);
    setenv("HEDDLE_T1", "one", 1);
    setenv("HEDDLE_SEVEN", "7", 1);
    setenv("HEDDLE_YAML", "a\"'#: [x], {y}", 1);
    setenv("HEDDLE_NESTED", "${HEDDLE_T1}", 1);
    setenv("HEDDLE_LINES", "a\nb", 1);
    setenv("HEDDLE_BYTES", "a\xff", 1);
    setenv("HEDDLE_HUGE", huge, 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_file_gives_the_defaults),
        cmocka_unit_test(every_setting_is_read),
        cmocka_unit_test(every_setting_of_tasks_and_mail_is_read),
        cmocka_unit_test(localhost_is_a_numeric_address),
        cmocka_unit_test(wrong_addresses_are_refused),
        cmocka_unit_test(unix_paths_end_at_107_bytes),
        cmocka_unit_test(rows_are_complete),
        cmocka_unit_test(numbers_are_taken_at_both_ends_of_their_range),
        cmocka_unit_test(wrong_values_say_what_is_allowed),
        cmocka_unit_test(columns_count_characters),
        cmocka_unit_test(all_errors_are_reported_at_once),
        cmocka_unit_test(errors_beyond_the_cap_are_counted),
        cmocka_unit_test(unknown_keys_come_with_the_nearest_one),
        cmocka_unit_test(as_many_in_flight_as_connections_is_an_error),
        cmocka_unit_test(nodes_of_the_wrong_kind_are_named),
        cmocka_unit_test(duplicate_keys_are_reported_with_both_places),
        cmocka_unit_test(aliases_anchors_and_tags_are_refused),
        cmocka_unit_test(a_second_document_is_refused),
        cmocka_unit_test(broken_yaml_is_reported_where_it_is),
        cmocka_unit_test(broken_yaml_prints_nothing),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(files_that_would_take_long_are_refused),
        cmocka_unit_test(deep_nesting_is_harmless),
        cmocka_unit_test(variables_are_replaced),
        cmocka_unit_test(replaced_values_are_parsed_by_their_type),
        cmocka_unit_test(wrong_substitutions_are_reported),
        cmocka_unit_test(wrong_urls_are_refused),
        cmocka_unit_test(urls_end_at_8_kib),
        cmocka_unit_test(lists_end_at_1000_urls),
        cmocka_unit_test(fractions_rates_and_booleans_are_read),
        cmocka_unit_test(wrong_fractions_rates_and_booleans_are_refused),
        cmocka_unit_test(entries_are_read_with_their_defaults),
        cmocka_unit_test(empty_maps_are_no_entries),
        cmocka_unit_test(entries_have_the_errors_of_other_settings),
        cmocka_unit_test(what_has_no_default_must_be_given),
        cmocka_unit_test(maps_end_at_their_number_of_entries),
        cmocka_unit_test(lists_of_texts_end_at_their_number_of_items),
        cmocka_unit_test(entries_are_checked_together),
        cmocka_unit_test(allowed_hosts_are_names_or_addresses),
        cmocka_unit_test(mail_servers_have_a_scheme_and_a_host),
        cmocka_unit_test(senders_are_one_address),
        cmocka_unit_test(texts_of_schedules_are_checked),
        cmocka_unit_test(texts_of_commands_are_checked),
        cmocka_unit_test(webhook_secrets_are_long_enough),
        cmocka_unit_test(secrets_are_not_repeated),
        cmocka_unit_test(files_that_cannot_be_read_are_reported),
        cmocka_unit_test(unreadable_file_is_reported),
        cmocka_unit_test(our_configurations_load),
        cmocka_unit_test(sample_shows_every_row_with_its_default),
        cmocka_unit_test(sample_has_an_example_of_each_entry),
        cmocka_unit_test(document_has_every_row),
    };
    return cmocka_run_group_tests(tests, set_environment, NULL);
}
