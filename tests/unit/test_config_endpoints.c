/* Upstreams and endpoints of the configuration: what is read, and what is wrong with it. */
#include <errno.h>
#include <math.h>
#include <sys/socket.h>

#include "config/config_int.h"
#include "config_text.h"

/* Lines 1 and 2; what is tested begins on line 3. */
#define UPSTREAM "upstreams:\n  - {name: u, base_url: \"http://u\"}\n"
#define PART     "    parts: [{name: p, upstream: u, path: /}]\n"

/* Upstreams */

static void an_upstream_has_all_its_defaults(void **state)
{
    cleanup(config_free_scope) struct config *config =
        load("upstreams: [{name: u, base_url: \"https://u\"}]");

    (void)state;
    assert_int_equal(config->upstream_count, 1);
    const struct config_upstream *u = config->upstreams;
    assert_string_equal(u->name, "u");
    assert_string_equal(u->base_url, "https://u");
    assert_int_equal(u->timeout_ms, 10000);
    assert_int_equal(u->max_response_bytes, 1 << 20);
    assert_true(u->http2);
    assert_int_equal(u->max_in_flight, 1024);
    assert_int_equal(u->max_queue, 1024);
    assert_true(u->breaker.is_enabled);
    assert_true(u->breaker.failure_ratio == 0.5 && u->breaker.slow_ratio == 1);
    assert_int_equal(u->breaker.slow_ms, 0);
    assert_int_equal(u->breaker.min_requests, 20);
    assert_int_equal(u->breaker.window_ms, 10000);
    assert_int_equal(u->breaker.open_ms, 5000);
    assert_int_equal(u->breaker.probes, 3);
    assert_true(u->retry.is_enabled);
    assert_int_equal(u->retry.max_attempts, 3);
    assert_int_equal(u->retry.backoff_base_ms, 25);
    assert_int_equal(u->retry.backoff_max_ms, 1000);
    assert_true(u->retry.budget == 0.2);
    assert_int_equal(u->retry.budget_min_per_s, 3);
    assert_int_equal(u->retry.statuses.count, 3);
    assert_string_equal(u->retry.statuses.items[0], "502");
    assert_string_equal(u->retry.statuses.items[1], "503");
    assert_string_equal(u->retry.statuses.items[2], "504");
    assert_false(u->hedge.is_enabled);
    assert_true(u->hedge.percentile == 0.95 && u->hedge.budget == 0.05);
    assert_int_equal(u->hedge.min_delay_ms, 1);
    assert_false(u->coalesce);
    assert_string_equal(u->tls.ca_file, "");
    assert_string_equal(u->tls.cert_file, "");
    assert_string_equal(u->tls.key_file, "");
    assert_true(u->tls.verify);
    assert_int_equal(u->tls.min_version, TLS_VERSION_1_2);
    assert_int_equal(u->forward_headers.count, 0);
}

static void every_setting_of_an_upstream_is_read(void **state)
{
    cleanup(config_free_scope) struct config *config = load(
        "upstreams:\n"
        "  u:\n"
        "    base_url: https://u:8443/v2/\n"
        "    timeout: 2s\n"
        "    max_response: 2MiB\n"
        "    http2: false\n"
        "    max_in_flight: 7\n"
        "    max_queue: 8\n"
        "    coalesce: true\n"
        "    forward_headers: [Authorization, X-Tenant]\n"
        "    breaker: {enabled: false, failure_ratio: 0.1, slow_ratio: 0.2, slow: 1s, min_requests: 9,\n"
        "      window: 3s, open: 4s, probes: 5}\n"
        "    retry: {enabled: false, max_attempts: 6, backoff_base: 7ms, backoff_max: 8ms, budget: 0.3,\n"
        "      budget_min: 10, statuses: ['429']}\n"
        "    hedge: {enabled: true, percentile: 0.99, min_delay: 11ms, budget: 0.4}\n"
        "    tls: {ca_file: /ca, cert_file: /cert, key_file: /key, verify: false, min_version: 1.3}\n");

    (void)state;
    const struct config_upstream *u = config->upstreams;
    assert_string_equal(u->base_url, "https://u:8443/v2");
    assert_int_equal(u->timeout_ms, 2000);
    assert_int_equal(u->max_response_bytes, 2 << 20);
    assert_false(u->http2);
    assert_int_equal(u->max_in_flight, 7);
    assert_int_equal(u->max_queue, 8);
    assert_true(u->coalesce);
    assert_int_equal(u->forward_headers.count, 2);
    assert_string_equal(u->forward_headers.items[1], "X-Tenant");
    assert_false(u->breaker.is_enabled);
    assert_true(u->breaker.failure_ratio == 0.1 && u->breaker.slow_ratio == 0.2);
    assert_int_equal(u->breaker.slow_ms, 1000);
    assert_int_equal(u->breaker.min_requests, 9);
    assert_int_equal(u->breaker.window_ms, 3000);
    assert_int_equal(u->breaker.open_ms, 4000);
    assert_int_equal(u->breaker.probes, 5);
    assert_false(u->retry.is_enabled);
    assert_int_equal(u->retry.max_attempts, 6);
    assert_int_equal(u->retry.backoff_base_ms, 7);
    assert_int_equal(u->retry.backoff_max_ms, 8);
    assert_true(u->retry.budget == 0.3);
    assert_int_equal(u->retry.budget_min_per_s, 10);
    assert_int_equal(u->retry.statuses.count, 1);
    assert_string_equal(u->retry.statuses.items[0], "429");
    assert_true(u->hedge.is_enabled);
    assert_true(u->hedge.percentile == 0.99 && u->hedge.budget == 0.4);
    assert_int_equal(u->hedge.min_delay_ms, 11);
    assert_string_equal(u->tls.ca_file, "/ca");
    assert_string_equal(u->tls.cert_file, "/cert");
    assert_string_equal(u->tls.key_file, "/key");
    assert_false(u->tls.verify);
    assert_int_equal(u->tls.min_version, TLS_VERSION_1_3);
}

static void lists_with_a_default_can_be_emptied(void **state)
{
    cleanup(config_free_scope) struct config *empty =
        load("upstreams: [{name: u, base_url: \"http://u\", retry: {statuses: []}}]");
    cleanup(config_free_scope) struct config *commented =
        load("upstreams:\n- name: u\n  base_url: http://u\n  retry:\n    statuses:\n      # - 500\n");

    (void)state;
    assert_int_equal(empty->upstreams[0].retry.statuses.count, 0);
    assert_int_equal(commented->upstreams[0].retry.statuses.count, 3);
}

static void expect_each(const char *const (*cases)[2], size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_errors(cases[i][0], cases[i][1]);
}

static void wrong_upstreams_are_refused(void **state)
{
#define ABSOLUTE "; write an absolute URL such as https://example.org/path\n"
    static const char *const cases[][2] = {
        {"upstreams: [{name: u}]\n", "f.yaml:1:20: upstreams.u: base_url is missing\n"},
        {"upstreams: {u: {base_url: }}\n", "f.yaml:1:17: upstreams.u.base_url: has no value; write a URL\n"},
        {"upstreams: {u: {base_url: 'u:80'}}\n",
         "f.yaml:1:28: upstreams.u.base_url: \"u:80\" is not an http or https URL" ABSOLUTE},
        {"upstreams: {u: {base_url: 'http://u/?a=b'}}\n",
         "f.yaml:1:28: upstreams.u.base_url: \"http://u/?a=b\" has a query or a fragment, and paths go "
         "behind it" ABSOLUTE},
        {"upstreams: {u: {base_url: 'http://u/#a'}}\n",
         "f.yaml:1:28: upstreams.u.base_url: \"http://u/#a\" has a query or a fragment, and paths go behind "
         "it" ABSOLUTE},
        {"upstreams: {u: {base_url: 'http://me:secret@u/'}}\n",
         "f.yaml:1:28: upstreams.u.base_url: the URL has a user name, which would show in answers and logs; "
         "leave it out\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    retry:\n      statuses: [502, 200]\n",
         "f.yaml:5:23: upstreams.u.retry.statuses: \"200\" is not a status of an error; write one from 400 "
         "to 599\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    breaker: {failure_rate: 0.3}\n",
         "f.yaml:4:15: unknown key \"failure_rate\" in upstreams.u.breaker; did you mean "
         "\"failure_ratio\"?\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    breaker: {failure_ratio: 0, slow_ratio: 0}\n",
         "f.yaml:4:15: upstreams.u.breaker.failure_ratio: 0 would open it without a failure; write more, or "
         "breaker.enabled: false for none\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    breaker: {slow_ratio: 0}\n",
         "f.yaml:4:15: upstreams.u.breaker.slow_ratio: 0 would open it without a slow call; write more, and "
         "breaker.slow: 0s for none\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    retry: {backoff_base: 2s}\n",
         "f.yaml:4:13: upstreams.u.retry.backoff_base: 2s is more than retry.backoff_max, 1s\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    hedge: {percentile: 1}\n",
         "f.yaml:4:13: upstreams.u.hedge.percentile: is not between 0 and 1; write a share such as 0.95\n"},
        {"upstreams:\n  - name: u\n    base_url: https://u\n    tls: {key_file: /k}\n",
         "f.yaml:4:11: upstreams.u.tls.key_file: goes with tls.cert_file, which is not set\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    tls: {ca_file: /k}\n",
         "f.yaml:4:11: upstreams.u.tls.ca_file: has no use: the base_url is not https\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    tls: {min_version: 1.3}\n",
         "f.yaml:4:11: upstreams.u.tls.min_version: has no use: the base_url is not https\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    tls: {min_version: 1.1}\n",
         "f.yaml:4:24: upstreams.u.tls.min_version: \"1.1\" is not known; write 1.2 or 1.3\n"},
        {"upstreams:\n  - name: u\n    base_url: http://u\n    forward_headers: [Host, a b, proxy-x]\n",
         "f.yaml:4:23: upstreams.u.forward_headers: \"Host\" belongs to the connection or is made by heddle; "
         "leave it out\n"
         "f.yaml:4:29: upstreams.u.forward_headers: \"a b\" is not the name of a header; write one such as "
         "Accept-Language\n"
         "f.yaml:4:34: upstreams.u.forward_headers: \"proxy-x\" belongs to the connection or is made by "
         "heddle; leave it out\n"},
    };

    (void)state;
    expect_each(cases, ARRAY_LEN(cases));
}

/* Entries in sequences */

static void entries_are_written_as_mappings_or_sequences(void **state)
{
    cleanup(config_free_scope) struct config *config =
        load("queues:\n  - {weight: 2, name: b}\n  - name: a\n  - {\"name\": \"${HEDDLE_NAME}\"}\n"
             "commands: [{argv: [/bin/true], name: c}]\n");

    (void)state;
    assert_int_equal(config->tasks.queue_count, 3);
    assert_string_equal(config->tasks.queues[0].name, "b");
    assert_int_equal(config->tasks.queues[0].weight, 2);
    assert_string_equal(config->tasks.queues[1].name, "a");
    assert_string_equal(config->tasks.queues[2].name, "named");
    assert_string_equal(config->tasks.commands[0].name, "c");
}

static void items_have_the_errors_of_entries(void **state)
{
    static const char *const cases[][2] = {
        {"queues:\n  - {weight: 0, name: q}\n",
         "f.yaml:2:14: queues.q.weight: \"0\" is out of range; write a whole number (1 to 1000)\n"},
        {"queues:\n  - {weight: 1}\n",
         "f.yaml:2:5: queues: item 1 has no name; write one, a single value, at its beginning\n"},
        {"queues:\n  - {}\n",
         "f.yaml:2:5: queues: item 1 has no name; write one, a single value, at its beginning\n"},
        {"queues:\n  - name: a\n  - {name: [a], weight: x}\n  - {name: }\n  - {name: &x b}\n",
         "f.yaml:3:5: queues: item 2 has no name; write one, a single value, at its beginning\n"
         "f.yaml:4:5: queues: item 3 has no name; write one, a single value, at its beginning\n"
         "f.yaml:5:5: queues: item 4 has no name; write one, a single value, at its beginning\n"},
        {"queues:\n  - {x: {name: a}, y: [name, b]}\n",
         "f.yaml:2:5: queues: item 1 has no name; write one, a single value, at its beginning\n"},
        {"queues:\n  - {? {name: a} : 1, name: b, x: 1}\n", "f.yaml:2:8: a key must be a word\n"
                                                            "f.yaml:2:32: unknown key \"x\" in queues.b\n"},
        {"queues:\n  - {x: name, name: a}\n", "f.yaml:2:6: unknown key \"x\" in queues.a\n"},
        {"queues:\n  - a\n  - [b]\n  -\n",
         "f.yaml:2:5: queues: item 1 is not a queue; write a mapping, its name and its settings\n"
         "f.yaml:3:5: queues: item 2 is not a queue; write a mapping, its name and its settings\n"
         "f.yaml:3:7: queues: item 3 is not a queue; write a mapping, its name and its settings\n"},
        {"queues:\n  - &a {name: a}\n  - *a\n",
         "f.yaml:2:8: queues: has an anchor (&name), which is not supported; write the value itself\n"
         "f.yaml:3:6: queues: has an alias (*name), which is not supported; write the value itself\n"},
        {"queues:\n  - {name: a b}\n",
         "f.yaml:2:12: queues: \"a b\" is not a name; write 1 to 64 letters, digits, - and _\n"},
        {"queues:\n  - {name: \"${HEDDLE_UNSET}\"}\n",
         "f.yaml:2:13: queues: the environment variable HEDDLE_UNSET is not set; set it or write "
         "${HEDDLE_UNSET:-default}\n"},
        {"queues:\n  - {name: a}\n  - {weight: 3, name: a, x: y}\n",
         "f.yaml:3:23: duplicate key \"queues.a\"; it is already on line 2, column 12\n"},
        {"queues:\n  - name: a\n    name: b\n",
         "f.yaml:3:5: duplicate key \"queues.a.name\"; it is already on line 2, column 5\n"},
        {"queues:\n  a: {name: b}\n",
         "f.yaml:2:7: unknown key \"name\" in queues.a; the name stands before the settings already\n"},
        {"commands:\n  - {name: a}\n", "f.yaml:2:12: commands.a: argv is missing\n"},
        {"endpoints:\n  - {name: a}\n",
         "f.yaml:2:5: endpoints: item 1 has no path; write one, a single value, at its beginning\n"},
        {"queues:\n  - {weight: 2, name: a, weight: 3}\n",
         "f.yaml:2:26: duplicate key \"queues.a.weight\"; it is already on line 2, column 6\n"},
    };

    (void)state;
    expect_each(cases, ARRAY_LEN(cases));
}

static void sequences_end_at_their_number_of_entries(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, "queues:\n");
    for (unsigned i = 0; i < 64; i++)
        buf_printf(&text, "  - name: e%u\n", i);
    config_free(load_text(text.data, text.size));
    buf_append_str(&text, "  - name: one\n  - name: two\n");
    expect_errors_of(text.data, text.size, "f.yaml:66:5: queues: has more than 64 entries\n");
}

/* The name may come late, but not behind everything. */
static void names_are_looked_for_only_so_far(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, "commands:\n  - argv: [/a");
    repeated(", a", 63, &text);
    buf_append_str(&text, "]\n    name: c\n");
    config_free(load_text(text.data, text.size));
    text.size = 0;
    buf_append_str(&text, "commands:\n  - x: [a");
    repeated(", a", 17000, &text);
    buf_append_str(&text, "]\n    name: c\n");
    expect_errors_of(
        text.data, text.size,
        "f.yaml:2:5: commands: item 1 has no name; write one, a single value, at its beginning\n");
}

static void broken_yaml_ahead_is_reported_where_it_is(void **state)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    static const char text[] = "queues:\n  - {weight: 0, paused: \"\n";
    struct config *config;

    (void)state;
    assert_int_equal(config_parse("f.yaml", text, strlen(text), &config, &errors), -1);
    buf_append(&errors.text, "", 1);
    assert_non_null(strstr(errors.text.data, ": not valid YAML: "));
}

/* Endpoints */

static void an_endpoint_has_all_its_defaults(void **state)
{
    cleanup(config_free_scope) struct config *config =
        load(UPSTREAM "endpoints:\n  - path: /a\n    params: [{name: query.q}]\n" PART);

    (void)state;
    assert_int_equal(config->endpoint_count, 1);
    const struct config_endpoint *e = config->endpoints;
    assert_string_equal(e->path, "/a");
    assert_int_equal(e->method, METHOD_GET);
    assert_int_equal(e->timeout_ms, 10000);
    assert_int_equal(e->mode, MODE_ALL);
    assert_int_equal(e->quorum, 0);
    assert_int_equal(e->merge, MERGE_PARTS);
    assert_int_equal(e->max_response_bytes, 4 << 20);
    assert_int_equal(e->forward_headers.count, 0);
    assert_int_equal(e->param_count, 1);
    assert_int_equal(e->params[0].type, PARAM_STRING);
    assert_string_equal(e->params[0].pattern, "");
    assert_null(e->params[0].default_text);
    assert_true(e->params[0].min == -INFINITY && e->params[0].max == INFINITY);
    assert_int_equal(e->params[0].max_length, 1024);
    assert_int_equal(e->part_count, 1);
    const struct config_part *p = e->parts;
    assert_string_equal(p->name, "p");
    assert_string_equal(p->upstream, "u");
    assert_int_equal(p->method, METHOD_GET);
    assert_string_equal(p->path, "/");
    assert_int_equal(p->query.count + p->headers.count, 0);
    assert_string_equal(p->body, "");
    assert_false(p->is_required);
    assert_int_equal(p->timeout_ms, 0);
    assert_int_equal(p->max_response_bytes, 0);
    assert_string_equal(p->select, "");
    assert_int_equal(p->pick.count + p->drop.count + p->after.count + p->waits_for_count, 0);
}

static void every_setting_of_an_endpoint_is_read(void **state)
{
    cleanup(config_free_scope) struct config *config =
        load(UPSTREAM "endpoints:\n"
                      "  /api/{id}/x:\n"
                      "    method: POST\n"
                      "    timeout: 3s\n"
                      "    mode: quorum\n"
                      "    quorum: 2\n"
                      "    merge: flat\n"
                      "    max_response: 1KiB\n"
                      "    forward_headers: [Accept]\n"
                      "    params:\n"
                      "      id: {type: integer, min: -5, max: 1e3, default: 7}\n"
                      "      query.q: {pattern: '[a-z]+', default: abc, max_length: 3}\n"
                      "      header.X-Y: {type: boolean, default: true}\n"
                      "      body./a/b: {type: number, min: 0.5}\n"
                      "    parts:\n"
                      "      - name: one\n"
                      "        upstream: u\n"
                      "        method: PUT\n"
                      "        path: /x/{id}\n"
                      "        query: {q: '{query.q}', \"a b\": ''}\n"
                      "        headers: {Accept: text/plain, X-Y: '{header.X-Y}'}\n"
                      "        body: '[\"{body./a/b}\", {\"x\": 1}]'\n"
                      "        timeout: 1s\n"
                      "        max_response: 2KiB\n"
                      "        select: /data/0\n"
                      "        drop: [c]\n"
                      "      - {name: two, upstream: u, path: /, pick: [a, b], method: DELETE}\n");

    (void)state;
    const struct config_endpoint *e = config->endpoints;
    assert_string_equal(e->path, "/api/{id}/x");
    assert_int_equal(e->method, METHOD_POST);
    assert_int_equal(e->timeout_ms, 3000);
    assert_int_equal(e->mode, MODE_QUORUM);
    assert_int_equal(e->quorum, 2);
    assert_int_equal(e->merge, MERGE_FLAT);
    assert_int_equal(e->max_response_bytes, 1024);
    assert_string_equal(e->forward_headers.items[0], "Accept");
    assert_int_equal(e->param_count, 4);
    assert_string_equal(e->params[0].name, "id");
    assert_int_equal(e->params[0].type, PARAM_INTEGER);
    assert_true(e->params[0].min == -5 && e->params[0].max == 1000);
    assert_string_equal(e->params[0].default_text, "7");
    assert_string_equal(e->params[1].pattern, "[a-z]+");
    assert_int_equal(e->params[1].max_length, 3);
    assert_int_equal(e->params[2].type, PARAM_BOOLEAN);
    assert_string_equal(e->params[3].name, "body./a/b");
    assert_true(e->params[3].min == 0.5 && e->params[3].max == INFINITY);
    assert_int_equal(e->part_count, 2);
    const struct config_part *p = e->parts;
    assert_int_equal(p->method, METHOD_PUT);
    assert_string_equal(p->path, "/x/{id}");
    assert_int_equal(p->query.count, 2);
    assert_string_equal(p->query.items[0].name, "q");
    assert_string_equal(p->query.items[0].text, "{query.q}");
    assert_string_equal(p->query.items[1].name, "a b");
    assert_string_equal(p->query.items[1].text, "");
    assert_int_equal(p->headers.count, 2);
    assert_string_equal(p->headers.items[1].name, "X-Y");
    assert_string_equal(p->body, "[\"{body./a/b}\", {\"x\": 1}]");
    assert_int_equal(p->timeout_ms, 1000);
    assert_int_equal(p->max_response_bytes, 2048);
    assert_string_equal(p->select, "/data/0");
    assert_string_equal(p->drop.items[0], "c");
    assert_int_equal(e->parts[1].method, METHOD_DELETE);
    assert_int_equal(e->parts[1].pick.count, 2);
}

static void expect_waits(const struct config_part *part, const char *expected)
{
    cleanup(buf_done) struct buf text = BUF_INIT(1024);

    for (size_t i = 0; i < part->waits_for_count; i++)
        buf_printf(&text, "%u ", part->waits_for[i]);
    buf_append(&text, "", 1);
    assert_string_equal(text.data, expected);
}

static void parts_wait_for_those_that_placeholders_name(void **state)
{
    cleanup(config_free_scope) struct config *config = load(
        UPSTREAM
        "endpoints:\n"
        "  - path: /a\n"
        "    method: POST\n"
        "    parts:\n"
        "      - {name: e, upstream: u, path: /, after: [d, a, d]}\n"
        "      - {name: d, upstream: u, path: '/{a.}', query: {x: '{b./x:1}'},\n"
        "         headers: {X: 'to {c./y/0}'}, body: '{\"q\": [\"{query.q}\", \"{f.}\"]}', method: POST}\n"
        "      - {name: a, upstream: u, path: /}\n"
        "      - {name: b, upstream: u, path: /}\n"
        "      - {name: c, upstream: u, path: '/{a./1}/{a./2}'}\n"
        "      - {name: f, upstream: u, path: /}\n");
    static const char *const expected[] = {"1 2 ", "2 3 4 5 ", "", "", "2 ", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        expect_waits(&config->endpoints[0].parts[i], expected[i]);
}

/* An endpoint of path `path` at line 4, column 11. */
static void expect_path_error(const char *path, const char *expected)
{
    char text[512];
    char line[1024];

    snprintf(text, sizeof(text), UPSTREAM "endpoints:\n  - path: '%s'\n" PART, path);
    if (!expected) {
        config_free(load(text));
        return;
    }
    snprintf(line, sizeof(line),
             "f.yaml:4:12: endpoints: \"%s\" %s; write a path such as /api/customers/{id}\n", path, expected);
    expect_errors(text, line);
}

static void paths_of_endpoints_are_checked(void **state)
{
    static const char *const cases[][2] = {
        {"/", NULL},
        {"/a/", NULL},
        {"/a.b/c-d/~e/f;g=1", NULL},
        {"/{a}/{b}/{_c1}", NULL},
        {"", "does not begin with a slash"},
        {"a/b", "does not begin with a slash"},
        {"//", "has an empty segment"},
        {"/a//b", "has an empty segment"},
        {"/a?b", "has a query or a fragment"},
        {"/a/#b", "has a query or a fragment"},
        {"/a/{}", "has braces that are not a whole segment"},
        {"/a/x{id}", "has braces that are not a whole segment"},
        {"/a/{id}.json", "has braces that are not a whole segment"},
        {"/a/{id", "has braces that are not a whole segment"},
        {"/{1a}", "has a parameter whose name is not letters, digits and _"},
        {"/{a-b}", "has a parameter whose name is not letters, digits and _"},
        {"/{a{b}}", "has a parameter whose name is not letters, digits and _"},
        {"/{a}/{b}/{a}", "has a parameter twice"},
        {"/a b", "has characters that are not written so in paths"},
        {"/a%20b", "has characters that are not written so in paths"},
        {"/a/../b", "has . or .. as a segment"},
        {"/.", "has . or .. as a segment"},
        {"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}",
         "has more than 16 parameters"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_path_error(cases[i][0], cases[i][1]);
}

static void paths_of_endpoints_end_at_256_bytes(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, UPSTREAM "endpoints:\n  - parts: [{name: p, upstream: u, path: /}]\n    path: /");
    repeated("x", 255, &text);
    config_free(load_text(text.data, text.size));
    repeated("x", 1, &text);
    expect_errors_of(text.data, text.size,
                     "f.yaml:5:11: endpoints: a path has 257 bytes; at most 256 are allowed\n");
}

static void endpoints_do_not_clash(void **state)
{
    static const char *const other[] = {"/a/{x}/c", "/a/b/c/d", "/a/c/{x}", "/{x}/b/{y}", "/A/b/{x}", "/a"};
    static const char *const same[] = {"/a/b/{x}", "/a/b/{c}", "/a/b/{c}/"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(other) + ARRAY_LEN(same); i++) {
        char text[512];
        char expected[256];
        bool is_same = i >= ARRAY_LEN(other);
        const char *path = is_same ? same[i - ARRAY_LEN(other)] : other[i];
        snprintf(text, sizeof(text),
                 UPSTREAM "endpoints:\n  - path: /a/b/{c}\n" PART "  - path: %s\n" PART
                          "  - path: /a/b/{c}\n    method: POST\n" PART,
                 path);
        snprintf(expected, sizeof(expected),
                 "f.yaml:6:11: endpoints.%s: its requests are already those of \"/a/b/{c}\" on line 4, "
                 "column 11\n",
                 path);
        if (is_same)
            expect_errors(text, expected);
        else
            config_free(load(text));
    }
}

static void endpoints_need_parts(void **state)
{
    static const char *const cases[][2] = {
        {"endpoints: [{path: /a}]\n", "f.yaml:1:20: endpoints./a: parts is missing\n"},
        {"endpoints: [{path: /a, parts: }]\n",
         "f.yaml:1:24: endpoints./a.parts: has no entries; write at least 1\n"},
        {"endpoints: [{path: /a, parts: []}]\n",
         "f.yaml:1:31: endpoints./a.parts: has no entries; write at least 1\n"},
        {"endpoints: [{path: /a, parts: [p]}]\n", "f.yaml:1:32: endpoints./a.parts: item 1 is not a part; "
                                                  "write a mapping, its name and its settings\n"},
        {"endpoints: [{path: /a, parts: p}]\n",
         "f.yaml:1:31: endpoints./a.parts must be a mapping, the name of a part and its settings below it\n"},
        {"endpoints: [{path: /a, parts: [{name: p}]}]\n",
         "f.yaml:1:39: endpoints./a.parts.p: upstream is missing\n"
         "f.yaml:1:39: endpoints./a.parts.p: path is missing\n"},
        {UPSTREAM "endpoints: [{path: /a, parts: [{name: p, upstream: u, path: /}, {name: p}]}]\n",
         "f.yaml:3:72: duplicate key \"endpoints./a.parts.p\"; it is already on line 3, column 39\n"},
        {UPSTREAM "endpoints: [{path: /a, parts: [{name: body, upstream: u, path: /}]}]\n",
         "f.yaml:3:39: endpoints./a.parts: \"body\" cannot be the name of a part: placeholders begin with "
         "it\n"},
    };

    (void)state;
    expect_each(cases, ARRAY_LEN(cases));
}

static void maps_in_entries_end_at_their_number_of_entries(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, UPSTREAM "endpoints:\n");
    for (unsigned i = 0; i < 1000; i++) {
        buf_printf(&text, "  - path: /e%u\n    parts:\n", i);
        for (unsigned j = 0; i % 100 == 0 && j < 63; j++)
            buf_printf(&text, "      p%u: {upstream: u, path: /}\n", j);
        buf_append_str(&text, "      p: {upstream: u, path: /}\n");
    }
    size_t size = text.size;
    cleanup(config_free_scope) struct config *config = load_text(text.data, text.size);
    assert_int_equal(config->endpoint_count, 1000);
    assert_string_equal(config->endpoints[999].path, "/e999");
    assert_int_equal(config->endpoints[900].part_count, 64);
    assert_int_equal(config->endpoints[999].part_count, 1);
    assert_string_equal(config->endpoints[900].parts[63].name, "p");
    buf_append_str(&text, "  - path: /one-more\n");
    expect_errors_of(text.data, text.size, "f.yaml:3634:5: endpoints: has more than 1000 entries\n");
    text.size = size;
    buf_append_str(&text, "      q: {upstream: u, path: /}\n");
    config_free(load_text(text.data, text.size));
    text.size = 0;
    buf_append_str(&text, UPSTREAM "endpoints:\n  - path: /a\n    parts:\n");
    for (unsigned j = 0; j < 65; j++)
        buf_printf(&text, "      p%u: {upstream: u, path: /}\n", j);
    expect_errors_of(text.data, text.size, "f.yaml:70:7: endpoints./a.parts: has more than 64 entries\n");
}

/* Parts */

/* A part p of a POST at /e/{id}, written behind `before` on line 6. */
static void expect_part_error(const char *settings, const char *at, const char *expected)
{
    char text[2048];
    char line[1024];

    snprintf(text, sizeof(text),
             UPSTREAM "endpoints:\n  - path: /e/{id}\n    parts:\n      - {name: p, upstream: u, %s}\n"
                      "      - {name: q, upstream: u, path: /}\n",
             settings);
    snprintf(line, sizeof(line), "f.yaml:6:%s: endpoints./e/{id}.parts.p%s\n", at, expected);
    expect_errors(text, line);
}

static void wrong_parts_are_refused(void **state)
{
    static const char *const cases[][3] = {
        {"path: x", "38", ".path: does not begin with a slash; write a path such as /users/{id}"},
        {"path: '/x?a=b'", "39", ".path: has a query or a fragment; write them as query: {name: text}"},
        {"path: '/{id'", "39", ".path: column 2: the brace is not closed; write {{ for a brace"},
        {"path: '/{nid}'", "32", ".path: {nid}: the path /e/{id} has no such parameter"},
        {"path: '/{body./a}'", "32", ".path: {body./a}: a GET has no body"},
        {"path: '/{r./a}'", "32", ".path: {r./a}: the endpoint has no part \"r\""},
        {"path: '/{p./a}'", "32", ".path: the part waits for itself"},
        {"path: /, after: [p]", "41", ".after: the part waits for itself"},
        {"path: /, after: [q, r]", "41",
         ".after: the endpoint has no part \"r\", so this one could never start"},
        {"path: /, after: [a b]", "49",
         ".after: \"a b\" is not a name; write 1 to 64 letters, digits, - and _"},
        {"path: /, query: {a: '{nid}'}", "41", ".query: {nid}: the path /e/{id} has no such parameter"},
        {"path: /, query: {a: '{'}", "53",
         ".query.a: column 1: the brace is not closed; write {{ for a brace"},
        {"path: /, query: {a: }", "49", ".query.a: is not a text; write one, \"\" for the empty one"},
        {"path: /, query: {a: [b]}", "52", ".query.a: is not a text; write one, \"\" for the empty one"},
        {"path: /, query: {a: &x b}", "55",
         ".query.a: has an anchor (&name), which is not supported; write the value itself"},
        {"path: /, query: {'': b}", "50", ".query: a name has 0 bytes; 1 to 128 are allowed"},
        {"path: /, query: {\"a\\n\": b}", "50",
         ".query: \"a\\x0a\" has a control character; write it as one line of text"},
        {"path: /, query: [a]", "48", ".query: is not a mapping; write lines of the form name: text"},
        {"path: /, query: a", "48", ".query: is not a mapping; write lines of the form name: text"},
        {"path: /, headers: {a b: c}", "51",
         ".headers: \"a b\" is not the name of a header; write one such as Accept-Language"},
        {"path: /, headers: {content-length: 1}", "51",
         ".headers: \"content-length\" belongs to the connection or is made by heddle; leave it out"},
        {"path: /, headers: {traceparent: x}", "51",
         ".headers: \"traceparent\" belongs to the connection or is made by heddle; leave it out"},
        {"path: /, headers: {A: \"\\u00fc\"}", "55",
         ".headers.A: has characters that cannot be sent in a header; write ASCII"},
        {"path: /, headers: {X-A: b, x-a: c}", "41", ".headers: has x-a twice"},
        {"path: /, method: HEAD", "49",
         ".method: \"HEAD\" is not known; write GET, POST, PUT, PATCH or DELETE"},
        {"path: /, body: '{}'", "41", ".body: a GET has none; set another method"},
        {"path: /, method: POST, body: '{\"a\": \"{nid}\"}'", "55",
         ".body: {nid}: the path /e/{id} has no such parameter"},
        {"path: /, select: a", "49",
         ".select: a JSON Pointer is empty or begins with a slash, such as /data/items/0"},
        {"path: /, pick: [a], drop: [b]", "52",
         ".drop: does not go with pick, which leaves out all others already"},
        {"path: /, timeout: 2h", "50",
         ".timeout: \"2h\" is out of range; write a duration such as 250ms, 10s or 5m (0s to 1h)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_part_error(cases[i][0], cases[i][1], cases[i][2]);
    expect_errors(
        UPSTREAM "endpoints: [{path: /a, parts: [{name: p, upstream: v, path: /}]}]\n",
        "f.yaml:3:42: endpoints./a.parts.p.upstream: \"v\" is not one of the upstreams; add it to them\n");
    expect_errors(
        UPSTREAM "endpoints: [{path: /a, parts: [{name: p, upstream: u, path: /, query: {a: b, a: c}}]}]\n",
        "f.yaml:3:78: duplicate key \"endpoints./a.parts.p.query.a\"; it is already on line 3, column 72\n");
}

/* The words behind are the templates' own. */
static void bodies_of_parts_are_json(void **state)
{
    static const char *const wrong[] = {"'{'", "'{\"a\": \"{\"}'", "a", "'[1,]'", "'{\"a\": 1, \"a\": 2}'"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
        char text[512];
        char at[64];
        struct config *config;
        snprintf(text, sizeof(text),
                 UPSTREAM
                 "endpoints:\n  - path: /a\n    parts:\n      p: {upstream: u, path: /, method: POST, body: "
                 "%s}\n",
                 wrong[i]);
        snprintf(at, sizeof(at), "f.yaml:6:%d: endpoints./a.parts.p.body: ", *wrong[i] == '\'' ? 54 : 53);
        assert_int_equal(config_parse("f.yaml", text, strlen(text), &config, &errors), -1);
        assert_int_equal(errors.count, 1);
        assert_memory_equal(errors.text.data, at, strlen(at));
    }
}

static void pairs_have_their_limits(void **state)
{
#define START                                                                                                \
    UPSTREAM "endpoints:\n  - path: /a\n    parts:\n      p:\n        upstream: u\n        path: /\n       " \
             " query:\n"
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);

    (void)state;
    buf_append_str(&text, START);
    for (unsigned i = 0; i < 64; i++)
        buf_printf(&text, "          q%u: x\n", i);
    cleanup(config_free_scope) struct config *config = load_text(text.data, text.size);
    assert_int_equal(config->endpoints[0].parts[0].query.count, 64);
    buf_append_str(&text, "          q: x\n          q: y\n");
    expect_errors_of(text.data, text.size,
                     "f.yaml:74:11: endpoints./a.parts.p.query: has more than 64 names\n");

    text.size = 0;
    buf_append_str(&text, START "          ");
    repeated("n", 128, &text);
    buf_append_str(&text, ": x\n");
    config_free(load_text(text.data, text.size));
    text.size = 0;
    buf_append_str(&text, START "          ");
    repeated("n", 129, &text);
    buf_append_str(&text, ": x\n");
    expect_errors_of(
        text.data, text.size,
        "f.yaml:10:11: endpoints./a.parts.p.query: a name has 129 bytes; 1 to 128 are allowed\n");

    text.size = 0;
    buf_append_str(&text, START "          n: ");
    repeated("x", 8192, &text);
    config_free(load_text(text.data, text.size));
    repeated("x", 1, &text);
    expect_errors_of(
        text.data, text.size,
        "f.yaml:10:14: endpoints./a.parts.p.query.n: has 8193 bytes; at most 8192 are allowed\n");
}

/* The graph */

static void parts_in_a_circle_are_named(void **state)
{
#define GRAPH UPSTREAM "endpoints:\n  - path: /a\n    parts:\n"
    static const char *const cases[][2] = {
        {GRAPH "      a: {upstream: u, path: '/{b./x}'}\n      b: {upstream: u, path: /, after: [a]}\n",
         "f.yaml:6:24: endpoints./a.parts.a.path: parts wait for one another in a circle, so that none can "
         "start: a -> b -> a\n"},
        {GRAPH "      d: {upstream: u, path: /, after: [c]}\n"
               "      a: {upstream: u, path: /, after: [b]}\n"
               "      b: {upstream: u, path: /, query: {x: '{c./x}'}}\n"
               "      c: {upstream: u, path: /, headers: {x: '{a./x}'}}\n"
               "      e: {upstream: u, path: '/{d./x}'}\n",
         "f.yaml:6:33: endpoints./a.parts.d.after: the part can never start: it waits for \"c\", which "
         "cannot either\n"
         "f.yaml:7:33: endpoints./a.parts.a.after: parts wait for one another in a circle, so that none can "
         "start: a -> b -> c -> a\n"
         "f.yaml:10:24: endpoints./a.parts.e.path: the part can never start: it waits for \"d\", which "
         "cannot either\n"},
        {GRAPH "      a: {upstream: u, path: /, after: [b]}\n"
               "      b: {upstream: u, path: /, after: [a]}\n"
               "      c: {upstream: u, path: /, after: [d]}\n"
               "      d: {upstream: u, path: /, after: [c]}\n",
         "f.yaml:6:33: endpoints./a.parts.a.after: parts wait for one another in a circle, so that none can "
         "start: a -> b -> a\n"
         "f.yaml:8:33: endpoints./a.parts.c.after: parts wait for one another in a circle, so that none can "
         "start: c -> d -> c\n"},
    };

    (void)state;
    expect_each(cases, ARRAY_LEN(cases));
    config_free(load(GRAPH "      d: {upstream: u, path: /, after: [b, c]}\n"
                           "      b: {upstream: u, path: /, after: [a]}\n"
                           "      c: {upstream: u, path: /, after: [a]}\n"
                           "      a: {upstream: u, path: /}\n"));
}

static void the_longest_circle_is_found(void **state)
{
    cleanup(buf_done) struct buf text = BUF_INIT(LONG_TEXT_MAX);
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config;

    (void)state;
    buf_append_str(&text, GRAPH);
    for (unsigned i = 0; i < 64; i++)
        buf_printf(&text, "      p%u: {upstream: u, path: /, after: [p%u]}\n", i, (i + 1) % 64);
    assert_int_equal(config_parse("f.yaml", text.data, text.size, &config, &errors), -1);
    assert_int_equal(errors.count, 1);
    buf_append(&errors.text, "", 1);
    assert_non_null(strstr(errors.text.data, "none can start: p0 -> p1 -> p2 -> "));
}

static void modes_that_end_early_leave_no_part_behind(void **state)
{
#define MODE(mode) UPSTREAM "endpoints:\n  - path: /a\n    " mode "\n    parts:\n"
#define THREE                                                                                                \
    "      a: {upstream: u, path: /}\n      b: {upstream: u, path: '/{a./x}'}\n"                             \
    "      c: {upstream: u, path: /, after: [b]}\n"
    static const char *const cases[][2] = {
        {MODE("mode: first") THREE,
         "f.yaml:8:24: endpoints./a.parts.b.path: the part can never start: when what it waits for has "
         "succeeded, mode first has enough\n"
         "f.yaml:9:33: endpoints./a.parts.c.after: the part can never start: when what it waits for has "
         "succeeded, mode first has enough\n"},
        {MODE("mode: first") "      a: {upstream: u, path: /, required: true}\n",
         "f.yaml:7:33: endpoints./a.parts.a.required: has no meaning in the modes first and quorum, where "
         "any part will do\n"},
        {MODE("mode: quorum") "      a: {upstream: u, path: /}\n",
         "f.yaml:5:5: endpoints./a.mode: quorum needs a quorum: how many parts are enough\n"},
        {MODE("quorum: 1") "      a: {upstream: u, path: /}\n",
         "f.yaml:5:5: endpoints./a.quorum: goes with mode: quorum, which is not set\n"},
        {MODE("mode: quorum\n    quorum: 2") "      a: {upstream: u, path: /}\n",
         "f.yaml:6:5: endpoints./a.quorum: 2 is more than there are parts, 1\n"},
        {MODE("mode: quorum\n    quorum: 2") THREE, "f.yaml:10:33: endpoints./a.parts.c.after: the part can "
                                                    "never start: when what it waits for has succeeded, mode "
                                                    "quorum has enough\n"},
    };

    (void)state;
    expect_each(cases, ARRAY_LEN(cases));
    config_free(load(MODE("mode: quorum\n    quorum: 3") THREE));
}

static void flat_answers_have_each_member_once(void **state)
{
    static const char *const cases[][2] = {
        {MODE("merge: flat") "      a: {upstream: u, path: /, pick: [x, y]}\n"
                             "      b: {upstream: u, path: /, pick: [z]}\n"
                             "      c: {upstream: u, path: /, pick: [w, y]}\n",
         "f.yaml:9:33: endpoints./a.parts.c.pick: with merge: flat the member \"y\" is already that of a\n"},
        {MODE("merge: flat") "      a: {upstream: u, path: /, pick: [errors]}\n"
                             "      b: {upstream: u, path: /, pick: [complete]}\n",
         "f.yaml:7:33: endpoints./a.parts.a.pick: with merge: flat the member \"errors\" is already that of "
         "the answer itself\n"
         "f.yaml:8:33: endpoints./a.parts.b.pick: with merge: flat the member \"complete\" is already that "
         "of the answer itself\n"},
    };

    (void)state;
    expect_each(cases, ARRAY_LEN(cases));
    config_free(load(MODE("merge: flat\n    mode: first") "      a: {upstream: u, path: /, pick: [x]}\n"
                                                          "      b: {upstream: u, path: /, pick: [x]}\n"));
    config_free(load(MODE("merge: parts") "      a: {upstream: u, path: /, pick: [x]}\n"
                                          "      b: {upstream: u, path: /, pick: [x]}\n"));
}

/* Parameters */

static void expect_param_error(const char *name, const char *settings, unsigned column, const char *expected)
{
    char text[2048];
    char line[1024];

    snprintf(text, sizeof(text),
             UPSTREAM "endpoints:\n  - path: /e/{id}\n    params:\n      - {name: %s%s}\n" PART, name,
             settings);
    if (!expected) {
        config_free(load(text));
        return;
    }
    snprintf(line, sizeof(line), "f.yaml:6:%u: endpoints./e/{id}.params%s\n", column, expected);
    expect_errors(text, line);
}

static void params_are_checked(void **state)
{
#define NAMES                                                                                                \
    " is not the name of a parameter; write id, query.NAME, header.NAME or body.POINTER, at most 128 bytes"
#define TYPED ": goes with type: integer or number"
    static const struct {
        const char *name;
        const char *settings;
        unsigned column;
        const char *expected; /* NULL: it is allowed */
    } cases[] = {
        {"nid", "", 16, ".nid: the path /e/{id} has no such parameter"},
        {"body./a", "", 16, ".body./a: a GET has no body"},
        {"part./a", "", 16, ": \"part./a\"" NAMES},
        {"'id:1'", "", 17, ": \"id:1\"" NAMES},
        {"'{id}'", "", 17, ": \"{id}\"" NAMES},
        {"query.", "", 16, ": \"query.\"" NAMES},
        {"id", ", type: int", 26, ".id.type: \"int\" is not known; write string, integer, number or boolean"},
        {"id", ", pattern: '('", 30,
         ".id.pattern: \"(\" is not an extended regular expression: column 1: the "
         "group is not closed"},
        {"id", ", pattern: '(a)\\1'", 30,
         ".id.pattern: \"(a)\\1\" is not an extended regular expression: column 4: a "
         "backslash stands before a character that is no letter and no digit"},
        {"id", ", pattern: '((a{255}){255}){255}'", 30,
         ".id.pattern: \"((a{255}){255}){255}\" is not an extended regular expression: it comes "
         "to more than 1000 places, with its repetitions written out"},
        {"id", ", pattern: '[[:alpha:]{9}[\\1]{1,200}\\{'", 30, NULL},
        {"id", ", pattern: '([a-z]{2,63}\\.){1,4}[a-z]{2,63}'", 30, NULL},
        {"id", ", min: 1", 20, ".id.min" TYPED},
        {"id", ", type: boolean, max: 1", 35, ".id.max" TYPED},
        {"id", ", type: integer, min: 2, max: 1", 35, ".id.min: is more than max"},
        {"id", ", type: integer, min: x", 40,
         ".id.min: \"x\" is not a number; write one such as 10, -0.5, inf or -inf"},
        {"id", ", type: integer, min: 01", 40,
         ".id.min: \"01\" is not a number; write one such as 10, -0.5, inf or -inf"},
        {"id", ", type: integer, min: ' 5'", 41,
         ".id.min: \" 5\" is not a number; write one such as 10, -0.5, inf or -inf"},
        {"id", ", type: number, default: '5 '", 34, ".id.default: \"5 \" is not a number"},
        {"id", ", type: number, min: -inf, max: inf", 40, NULL},
        {"id", ", type: integer, default: 1.5", 35, ".id.default: \"1.5\" is not an integer"},
        {"id", ", type: integer, default: 9223372036854775808", 35,
         ".id.default: \"9223372036854775808\" is not an integer"},
        {"id", ", type: integer, default: ''", 35, ".id.default: \"\" is not an integer"},
        {"id", ", type: integer, default: -9223372036854775808", 35, NULL},
        {"id", ", type: number, default: 1e", 34, ".id.default: \"1e\" is not a number"},
        {"id", ", type: number, default: -1.5e3", 34, NULL},
        {"id", ", type: integer, default: 5, min: 6", 35, ".id.default: \"5\" is less than min"},
        {"id", ", type: integer, default: 5, max: 4", 35, ".id.default: \"5\" is more than max"},
        {"id", ", type: boolean, default: yes", 35, ".id.default: \"yes\" is neither true nor false"},
        {"id", ", default: abc, max_length: 2", 20, ".id.default: \"abc\" is longer than max_length"},
        {"id", ", default: abc, pattern: b", 20, ".id.default: \"abc\" does not match the pattern"},
        {"id", ", default: abc, pattern: 'a|abc'", 20, NULL},
        {"id", ", default: ''", 20, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_param_error(cases[i].name, cases[i].settings, cases[i].column, cases[i].expected);
}

/* Whatever the pattern: there is an answer, and soon. */
static void patterns_that_would_take_all_memory_are_refused(void **state)
{
    static const char *const patterns[] = {"(((a{99}){99}){99}){99}",
                                           "(a{32767}){32767}",
                                           "(a|b{9999}){3}c{9999}",
                                           "a{1,32767}{32767}",
                                           "a{20}{20}{30}",
                                           "(a{5001})(b{5001})",
                                           "(((((((((((((((((((((((((((((((((a"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        assert_true(config_check_pattern(patterns[i], NULL) < 0);
    assert_int_equal(config_check_pattern("[]a{9}]{1,3}[^]b{9999}{9999}]", NULL), 0);
    assert_int_equal(config_check_pattern("[a", NULL), -EINVAL);
    assert_int_equal(config_check_pattern("a\\", NULL), -EINVAL);
    assert_int_equal(config_check_pattern("a{2,1}", NULL), -EINVAL);
}

/* Client URLs */

static void networks_are_an_address_and_a_prefix(void **state)
{
#define NETWORK "; write a network such as 10.1.0.0/16 or fd00::/8"
    static const char *const cases[][2] = {
        {"10.1.0.0", "\"10.1.0.0\" is not an address, a slash and the bits of its prefix" NETWORK},
        {"/8", "\"/8\" is not an address, a slash and the bits of its prefix" NETWORK},
        {"10.1/16", "\"10.1/16\" has no numeric address" NETWORK},
        {"localhost/8", "\"localhost/8\" has no numeric address" NETWORK},
        {"10.1.0.0/33", "\"10.1.0.0/33\" has a prefix that is not a number of bits" NETWORK},
        {"10.1.0.0/", "\"10.1.0.0/\" has a prefix that is not a number of bits" NETWORK},
        {"10.1.0.0/255.255.0.0",
         "\"10.1.0.0/255.255.0.0\" has a prefix that is not a number of bits" NETWORK},
        {"fd00::/129", "\"fd00::/129\" has a prefix that is not a number of bits" NETWORK},
        {"10.1.0.1/16", "\"10.1.0.1/16\" has bits behind its prefix" NETWORK},
        {"fd00::1/127", "\"fd00::1/127\" has bits behind its prefix" NETWORK},
        {"::ffff:10.0.0.0/104",
         "\"::ffff:10.0.0.0/104\" is of mapped addresses, which count as the IPv4 address in them" NETWORK},
    };
    struct config_network network;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        char expected[256];
        snprintf(text, sizeof(text), "concurrent_requests: {client_networks: ['%s']}", cases[i][0]);
        snprintf(expected, sizeof(expected), "f.yaml:1:42: concurrent_requests.client_networks: %s\n",
                 cases[i][1]);
        expect_errors(text, expected);
    }
    assert_int_equal(config_parse_network("10.1.0.0/16", &network, NULL), 0);
    assert_int_equal(network.family, AF_INET);
    assert_int_equal(network.prefix, 16);
    assert_memory_equal(network.address, "\x0a\x01\0\0", 4);
    assert_int_equal(config_parse_network("fd00::/8", &network, NULL), 0);
    assert_int_equal(network.family, AF_INET6);
    assert_memory_equal(network.address, "\xfd\0\0", 3);
    assert_int_equal(config_parse_network("127.0.0.1/32", &network, NULL), 0);
    assert_int_equal(config_parse_network("::/0", &network, NULL), 0);
}

static void client_urls_need_hosts(void **state)
{
    (void)state;
    expect_errors(
        "concurrent_requests: {max_client_urls: 5}",
        "f.yaml:1:23: concurrent_requests.max_client_urls: goes with concurrent_requests.client_hosts, which "
        "is empty: no URL would be allowed\n");
    cleanup(config_free_scope) struct config *config =
        load("concurrent_requests: {max_client_urls: 5, client_hosts: [a.example], client_networks: "
             "[10.0.0.0/8]}\n"
             "fetch: {max_buffered: 1MiB}\n");
    assert_int_equal(config->concurrent_requests.max_client_urls, 5);
    assert_string_equal(config->concurrent_requests.client_hosts.items[0], "a.example");
    assert_string_equal(config->concurrent_requests.client_networks.items[0], "10.0.0.0/8");
    assert_int_equal(config->fetch.max_buffered_bytes, 1 << 20);
}

/* Files */

static void the_gateway_uses_everything(void **state)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;
    unsigned modes = 0;
    unsigned merges = 0;
    unsigned methods = 0;

    (void)state;
    if (config_load("conf/gateway.yaml", &config, &errors) < 0)
        fail_msg("%.*s", (int)errors.text.size, errors.text.data);
    for (size_t i = 0; i < config->endpoint_count; i++) {
        modes |= 1u << config->endpoints[i].mode;
        merges |= 1u << config->endpoints[i].merge;
        methods |= 1u << config->endpoints[i].method;
    }
    assert_int_equal(modes, 7);
    assert_int_equal(merges, 3);
    assert_int_equal(methods, 3);
    assert_true(config->upstreams[1].hedge.is_enabled && config->upstreams[2].coalesce);
    assert_true(config->concurrent_requests.max_client_urls > 0);
    config_free(config);
}

static int set_environment(void **state)
{
    (void)state;
    unsetenv("HEDDLE_UNSET");
    setenv("HEDDLE_NAME", "named", 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upstream_has_all_its_defaults),
        cmocka_unit_test(every_setting_of_an_upstream_is_read),
        cmocka_unit_test(lists_with_a_default_can_be_emptied),
        cmocka_unit_test(wrong_upstreams_are_refused),
        cmocka_unit_test(entries_are_written_as_mappings_or_sequences),
        cmocka_unit_test(items_have_the_errors_of_entries),
        cmocka_unit_test(sequences_end_at_their_number_of_entries),
        cmocka_unit_test(names_are_looked_for_only_so_far),
        cmocka_unit_test(broken_yaml_ahead_is_reported_where_it_is),
        cmocka_unit_test(an_endpoint_has_all_its_defaults),
        cmocka_unit_test(every_setting_of_an_endpoint_is_read),
        cmocka_unit_test(parts_wait_for_those_that_placeholders_name),
        cmocka_unit_test(paths_of_endpoints_are_checked),
        cmocka_unit_test(paths_of_endpoints_end_at_256_bytes),
        cmocka_unit_test(endpoints_do_not_clash),
        cmocka_unit_test(endpoints_need_parts),
        cmocka_unit_test(maps_in_entries_end_at_their_number_of_entries),
        cmocka_unit_test(wrong_parts_are_refused),
        cmocka_unit_test(bodies_of_parts_are_json),
        cmocka_unit_test(pairs_have_their_limits),
        cmocka_unit_test(parts_in_a_circle_are_named),
        cmocka_unit_test(the_longest_circle_is_found),
        cmocka_unit_test(modes_that_end_early_leave_no_part_behind),
        cmocka_unit_test(flat_answers_have_each_member_once),
        cmocka_unit_test(params_are_checked),
        cmocka_unit_test(patterns_that_would_take_all_memory_are_refused),
        cmocka_unit_test(networks_are_an_address_and_a_prefix),
        cmocka_unit_test(client_urls_need_hosts),
        cmocka_unit_test(the_gateway_uses_everything),
    };
    return cmocka_run_group_tests(tests, set_environment, NULL);
}
