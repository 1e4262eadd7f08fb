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

#define LONG_TEXT_MAX (2 * CONFIG_FILE_MAX_BYTES)

static struct config *load_text(const char *text, size_t size)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    if (config_parse("f.yaml", text, size, &config, &errors) < 0)
        fail_msg("%.*s", (int)errors.text.size, errors.text.data);
    assert_int_equal(errors.count, 0);
    return config;
}

static struct config *load(const char *text)
{
    return load_text(text, strlen(text));
}

/* Exactly these lines, and the caller's pointer as it was. */
static void expect_errors_of(const char *text, size_t size, const char *expected)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    assert_int_equal(config_parse("f.yaml", text, size, &config, &errors), -1);
    assert_null(config);
    assert_true(errors.count > 0);
    buf_append(&errors.text, "", 1);
    assert_false(errors.text.failed);
    assert_string_equal(errors.text.data, expected);
}

static void expect_errors(const char *text, const char *expected)
{
    expect_errors_of(text, strlen(text), expected);
}

static void expect_urls_error(const char *url, const char *expected)
{
    char text[512];
    char line[1024];

    snprintf(text, sizeof(text), "concurrent_requests:\n  urls:\n    - %s\n", url);
    snprintf(line, sizeof(line), "f.yaml:3:7: concurrent_requests.urls: %s\n", expected);
    expect_errors(text, line);
}

static const struct config_row *row_of(const char *key)
{
    for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
        if (strcmp(config_rows[i].key, key) == 0)
            return &config_rows[i];
    }
    fail_msg("no row %s", key);
    return NULL;
}

static const void *field_of(const struct config *config, const struct config_row *row)
{
    return (const char *)config + row->offset;
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
        assert_int_equal(config->max_connections, 8192);
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
        assert_int_equal(config->tasks.keep_succeeded, 100000);
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
                                                            "  keep_succeeded: 0\n"
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
    assert_int_equal(config->tasks.keep_succeeded, 0);
    assert_string_equal(config->tasks.store, "sqlite:/x/y.db");
    assert_int_equal(config->tasks.readers, 3);
    assert_int_equal(config->tasks.max_running, 4);
    assert_int_equal(config->tasks.max_interruptions, 0);
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

static void rows_are_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        assert_non_null(row->key);
        assert_ptr_equal(row_of(row->key), row);
        assert_true(strlen(row->key) < CONFIG_KEY_MAX_BYTES);
        assert_true(row->min <= row->max);
        assert_null(strchr(row->help, '|'));
        assert_int_equal(row->help[strlen(row->help) - 1], '.');
    }
}

static bool is_number(const struct config_row *row)
{
    return row->type <= CONFIG_MODE;
}

static int set(const struct config_row *row, uint64_t value)
{
    static const enum parse_kind kinds[] = {PARSE_UINT, PARSE_DURATION, PARSE_SIZE, PARSE_MODE};
    char text[PARSE_TEXT_SIZE];
    struct config config = {0};

    parse_format(kinds[row->type], value, text);
    int r = config_value_set(row, text, &config, NULL);
    if (r == 0) {
        uint64_t stored = 0;
        memcpy(&stored, field_of(&config, row), row->size);
        assert_true(stored == value);
    }
    return r;
}

static void numbers_are_taken_at_both_ends_of_their_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        if (!is_number(row))
            continue;
        assert_int_equal(set(row, row->min), 0);
        assert_int_equal(set(row, row->max), 0);
        assert_int_equal(set(row, row->max + 1), -ERANGE);
        if (row->min > 0)
            assert_int_equal(set(row, row->min - 1), -ERANGE);
    }
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

static char *repeated(const char *text, size_t times, struct buf *out)
{
    for (size_t i = 0; i < times; i++)
        buf_append_str(out, text);
    assert_false(out->failed);
    return out->data;
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
    if (row->type == CONFIG_TEXT || row->type == CONFIG_STORE)
        return strcmp(*(char *const *)field_of(a, row), *(char *const *)field_of(b, row)) == 0;
    return memcmp(field_of(a, row), field_of(b, row), row->size) == 0;
}

static void sample_shows_every_row_with_its_default(void **state)
{
    static const char *const shown[] = {"listen", "concurrent_requests.urls"};
    cleanup(buf_done) struct buf text = BUF_INIT(65536);
    cleanup(config_free_scope) struct config *defaults = load("");

    (void)state;
    uncomment(read_file("conf/heddle.yaml", &text));
    cleanup(config_free_scope) struct config *config = load(text.data);
    for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        const char *dot = strchr(row->key, '.');
        char line[CONFIG_KEY_MAX_BYTES];
        snprintf(line, sizeof(line), "\n%s%s:", dot ? "  " : "", dot ? dot + 1 : row->key);
        if (!strstr(text.data, line))
            fail_msg("conf/heddle.yaml does not show %s", row->key);
        if (strcmp(row->key, shown[0]) != 0 && strcmp(row->key, shown[1]) != 0 &&
            !same_value(row, config, defaults))
            fail_msg("conf/heddle.yaml does not show the default of %s", row->key);
    }
}

static void document_has_every_row(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(65536);

    (void)state;
    config_write_markdown(&text);
    buf_append(&text, "", 1);
    assert_false(text.failed);
    for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
        const char *dot = strchr(config_rows[i].key, '.');
        char cell[CONFIG_KEY_MAX_BYTES];
        snprintf(cell, sizeof(cell), "\n| `%s` | ", dot ? dot + 1 : config_rows[i].key);
        assert_non_null(strstr(text.data, cell));
        assert_non_null(strstr(text.data, config_rows[i].help));
    }
    assert_non_null(strstr(text.data, "\n## fetch\n"));
    assert_non_null(
        strstr(text.data, "| `timeout` | duration | `10s` | 1ms to 1h | Longest time for one URL"));
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
        cmocka_unit_test(files_that_cannot_be_read_are_reported),
        cmocka_unit_test(unreadable_file_is_reported),
        cmocka_unit_test(our_configurations_load),
        cmocka_unit_test(sample_shows_every_row_with_its_default),
        cmocka_unit_test(document_has_every_row),
    };
    return cmocka_run_group_tests(tests, set_environment, NULL);
}
