/* The kinds that do something: their checks, what they make of bytes from outside, and their ends at any
 * moment, run by a pool as the engine does. */
#include "harness.h"

#include <curl/curl.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "fetch/fetch.h"
#include "tasks/kind.h"
#include "tasks/payload.h"
#include "tasks/pool.h"
#include "tasks/task.h"
#include "upstream/upstream.h"

static struct mock mock;
static bool has_mock;

/* ---- results ---- */

#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* Bytes of every value, whole characters and broken ones, at every limit. */
static void a_text_never_takes_more_than_it_may(void **state)
{
    static const char pieces[] =
        "plain \"\\\b\f\n\r\t\x01\x1f\x7f gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80 \xff\xc3";
    size_t whole = 0;
    (void)state;

    for (size_t max = 200; max >= 2; max--) {
        bool is_cut = false;
        json_t *text = task_result_text(NULL, pieces, sizeof(pieces) - 1, true, max, &is_cut);
        assert_non_null(text);
        assert_true(json_dumpb(text, NULL, 0, DUMP_FLAGS) <= max);
        assert_true(text_utf8_is_valid(json_string_value(text), json_string_length(text)));
        whole = MAX(whole, json_dumpb(text, NULL, 0, DUMP_FLAGS));
        assert_int_equal(is_cut, max < whole);
        json_decref(text);
    }
}

static void a_text_that_is_not_whole_is_said_to_be_cut(void **state)
{
    bool is_cut = false;
    (void)state;

    json_t *text = task_result_text("iso-8859-1", "\xfc", 1, false, 100, &is_cut);
    assert_string_equal(json_string_value(text), "\xc3\xbc");
    assert_true(is_cut);
    json_decref(text);
    text = task_result_text(NULL, NULL, 0, true, 100, &is_cut);
    assert_string_equal(json_string_value(text), "");
    assert_false(is_cut);
    json_decref(text);
}

static void only_json_that_may_be_kept_is_taken_for_json(void **state)
{
    static const char *const good[] = {"{}", " [1, 2]\n", "5", " \"x\" ", "null", "-1.5e3", "true"};
    static const char *const bad[] = {"",      " \n",  "{",      "{\"a\":1,\"a\":2}",
                                      "[1",    "nul",  "1 2",    "\"\\u0000\"",
                                      "1e999", "\xff", "{}\x01", "'x'"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        json_t *json = task_result_json(good[i], strlen(good[i]), 100);
        assert_non_null(json);
        json_decref(json);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_null(task_result_json(bad[i], strlen(bad[i]), 100));
    assert_null(task_result_json("[1,2,3]", 7, 6));
    assert_null(task_result_json("\0", 1, 100));
    assert_null(task_result_json(NULL, 0, 100));
}

static void an_error_is_cut_between_characters(void **state)
{
    struct task_run run = {.attempt = 1};
    char text[2000];
    (void)state;

    for (size_t before = 0; before < 4; before++) {
        memset(text, 'x', before);
        for (size_t at = before; at + 5 < sizeof(text); at += 4)
            memcpy(text + at, "\xf0\x9f\x98\x80", 5);
        assert_int_equal(task_run_fail(&run, true, "%s", text), TASK_STEP_FAILED);
        assert_true(text_utf8_is_valid(run.error, strlen(run.error)));
        assert_in_range(strlen(run.error), TASK_ERROR_SIZE - 5, TASK_ERROR_SIZE - 1);
        assert_true(run.is_final);
    }
}

/* ---- payloads ---- */

static void what_nobody_reads_is_dropped(void **state)
{
    static const char *const names[] = {"a", "c", NULL};
    json_t *payload = json_pack("{s:i, s:i, s:i, s:i}", "a", 1, "b", 2, "c", 3, "", 4);
    (void)state;

    task_payload_keep(payload, names);
    assert_int_equal(json_object_size(payload), 2);
    assert_non_null(json_object_get(payload, "a"));
    json_decref(payload);
}

static void numbers_are_whole_and_in_range(void **state)
{
    static const char *const bad[] = {"0", "11", "1.0", "\"5\"", "-1", "null", "9223372036854775807"};
    struct task_problem problem;
    uint64_t number = 7;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *payload = json_pack("{s:o}", "n", json_loads(bad[i], JSON_DECODE_ANY, NULL));
        assert_int_equal(task_payload_number(payload, "n", 1, 10, &number, &problem), -EINVAL);
        assert_int_equal(number, 7);
        assert_non_null(strstr(problem.text, "from 1 to 10"));
        json_decref(payload);
    }
    json_t *payload = json_pack("{s:i}", "n", 10);
    assert_int_equal(task_payload_number(payload, "m", 1, 10, &number, &problem), 0);
    assert_int_equal(number, 7);
    assert_int_equal(task_payload_number(payload, "n", 1, 10, &number, &problem), 0);
    assert_int_equal(number, 10);
    json_decref(payload);
}

/* ---- kinds, run by a pool ---- */

struct world {
    struct config *config;
    struct task_services services;
    struct task_pool *pool;
    atomic_uint ended;
    atomic_uint by_type[TASK_OUTCOME_BROKEN_OFF + 1];
    pthread_mutex_t lock; /* over `last` */
    struct task_outcome last;
};

static void outcome_done(struct task_outcome *outcome)
{
    free(outcome->result);
    free(outcome->error);
    *outcome = (struct task_outcome){0};
}

static void on_end(void *arg, struct task *task, struct task_outcome *outcome)
{
    struct world *world = arg;

    mutex_lock(&world->lock);
    outcome_done(&world->last);
    world->last = *outcome;
    mutex_unlock(&world->lock);
    atomic_fetch_add(&world->by_type[outcome->type], 1);
    task_unref(task);
    atomic_fetch_add(&world->ended, 1);
}

static void on_progress(void *arg, struct task *task, double fraction)
{
    (void)arg;
    atomic_store(&task->progress, fraction);
}

static void world_start(struct world *world, unsigned threads)
{
    char yaml[512];
    struct err err = {0};

    snprintf(yaml, sizeof(yaml),
             "{fetch: {workers: 2}, tasks: {allowed_hosts: ['127.0.0.1:%u']},"
             " commands: {cat: {argv: [/bin/cat]}, sleep: {argv: [/bin/sleep, '600']}}}",
             mock.port);
    *world = (struct world){.config = config_of(yaml)};
    mutex_init(&world->lock);
    world->services.config = world->config;
    if (fetch_pool_create(world->config, &world->services.fetch, &err) < 0 ||
        fetch_pool_start(world->services.fetch, &err) < 0 ||
        upstreams_create(world->config, world->services.fetch, &world->services.upstreams, &err) < 0 ||
        upstreams_start(world->services.upstreams, &err) < 0)
        fail_msg("%s", err.text);
    struct task_pool_config config = {
        .name = "test",
        .threads = threads,
        .capacity = 1000,
        .result_max_bytes = world->config->tasks.max_result_bytes,
        .services = &world->services,
        .end = on_end,
        .progress = on_progress,
        .arg = world,
    };
    if (task_pool_create(&config, &world->pool, &err) < 0 || task_pool_start(world->pool, &err) < 0)
        fail_msg("%s", err.text);
}

static void world_end(struct world *world)
{
    task_pool_stop(world->pool);
    task_pool_free(world->pool);
    upstreams_stop(world->services.upstreams);
    fetch_pool_stop(world->services.fetch);
    upstreams_free(world->services.upstreams);
    fetch_pool_free(world->services.fetch);
    outcome_done(&world->last);
    pthread_mutex_destroy(&world->lock);
    config_free(world->config);
}

/* Checked as a client's would be.  The test gets a reference. */
static struct task *world_push(struct world *world, const char *kind_name, const char *payload_text,
                               uint64_t timeout_ms)
{
    const struct task_kind *kind = task_kind_find(task_kinds, kind_name);
    struct task_list list = TAILQ_HEAD_INITIALIZER(list);
    struct task_spec spec = {.kind_name = kind_name, .payload = payload_text, .timeout_ms = timeout_ms};
    struct task_problem problem;
    struct uuid id;

    assert_non_null(kind);
    json_t *payload = json_loads(payload_text, 0, NULL);
    assert_non_null(payload);
    if (task_kind_check(kind, payload, &world->services, &problem) < 0)
        fail_msg("%s: %s", payload_text, problem.text);
    json_decref(payload);
    assert_int_equal(uuid_create(&id), 0);
    struct task *task = task_create(&id, &spec, clock_wall_ms());
    assert_non_null(task);
    task->kind = kind;
    task->status.attempts = 1;
    task_ref(task);
    TAILQ_INSERT_TAIL(&list, task, in_list);
    task_pool_push(world->pool, &list);
    return task;
}

static const char *payload_of(char ret[512], const char *format, const char *query)
{
    char url[160];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/%s", mock.port, query);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(ret, 512, format, url);
#pragma GCC diagnostic pop
    return ret;
}

/* Runs one to its end, whose outcome is then world->last. */
static void world_run(struct world *world, const char *kind, const char *payload)
{
    unsigned before = atomic_load(&world->ended);
    struct task *task = world_push(world, kind, payload, 0);

    wait_for_count(&world->ended, before + 1);
    task_unref(task);
}

#define NEED_MOCK()                                                                                          \
    do {                                                                                                     \
        (void)state;                                                                                         \
        if (!has_mock)                                                                                       \
            skip();                                                                                          \
    } while (0)

static void each_kind_brings_its_result(void **state)
{
    static const struct {
        const char *kind, *payload, *query, *expected;
    } rows[] = {
        {"http", "{\"url\": \"%s\"}", "?body=hello", "\"body\":\"hello\""},
        {"http", "{\"url\": \"%s\", \"method\": \"POST\", \"body\": [1]}", "?echo=1", "\"body\":\"[1]\""},
        {"callback", "{\"url\": \"%s\", \"body\": \"{}\"}", "?echo=1", "webhook-id"},
        {"fan_out", "{\"urls\": [\"%s\"]}", "?body=hello", "\"content\":\"hello\""},
        {"digest", "{\"text\": \"abc\"}", "",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"digest", "{\"url\": \"%s\"}", "?body=abc",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"command", "{\"command\": \"cat\", \"input\": [1, 2]}", "", "\"output\":[1,2]"},
    };
    struct world world;
    NEED_MOCK();

    world_start(&world, 2);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char payload[512];
        world_run(&world, rows[i].kind, payload_of(payload, rows[i].payload, rows[i].query));
        if (world.last.type != TASK_OUTCOME_SUCCEEDED || !strstr(world.last.result, rows[i].expected))
            fail_msg("%s: %s%s", rows[i].kind, world.last.result ? world.last.result : "",
                     world.last.error ? world.last.error : "");
    }
    world_end(&world);
}

static void each_kind_says_why_it_failed(void **state)
{
    static const struct {
        const char *kind, *payload, *query, *expected;
        bool is_final;
        uint64_t retry_after_ms;
    } rows[] = {
        {"http", "{\"url\": \"%s\"}", "?status=404&body=gone", "HTTP 404 Not Found: gone", true, 0},
        {"http", "{\"url\": \"%s\"}", "?status=503&body=later&retry_after=7",
         "HTTP 503 Service Unavailable: later", false, 7000},
        {"http", "{\"url\": \"%s\"}", "?status=429&retry_after=999999999", "HTTP 429", false, 86400000},
        {"http", "{\"url\": \"%s\"}", "?reset=1", "protocol: ", false, 0},
        {"callback", "{\"url\": \"%s\", \"body\": \"{}\"}", "?status=410", "HTTP 410 Gone", true, 0},
        {"digest", "{\"url\": \"%s\"}", "?status=500", "HTTP 500", false, 0},
        {"http", "{\"url\": \"%s\"}", "?redirect_to=http://127.0.0.1:1/", "protocol: redirect not followed",
         true, 0},
    };
    struct world world;
    NEED_MOCK();

    world_start(&world, 2);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char payload[512];
        world_run(&world, rows[i].kind, payload_of(payload, rows[i].payload, rows[i].query));
        assert_int_equal(world.last.type, TASK_OUTCOME_FAILED);
        if (strncmp(world.last.error, rows[i].expected, strlen(rows[i].expected)) != 0)
            fail_msg("%s", world.last.error);
        assert_int_equal(world.last.is_final, rows[i].is_final);
        assert_int_equal(world.last.retry_after_ms, rows[i].retry_after_ms);
    }
    world_end(&world);
}

/* Kinds that would run for long, and some that are over soon: ended before, in and after each of their
 * steps. */
static const struct {
    const char *kind, *payload, *query;
} mixed[] = {
    {"http", "{\"url\": \"%s\"}", "?delay=100000"},
    {"http", "{\"url\": \"%s\"}", "?delay=2"},
    {"fan_out", "{\"urls\": [\"%1$s\", \"%1$s\", \"%1$s\"], \"max_concurrency\": 2}", "?delay=100000"},
    {"fan_out", "{\"urls\": [\"%1$s\", \"%1$s\", \"%1$s\"], \"max_concurrency\": 1}", "?delay=1"},
    {"digest", "{\"url\": \"%s\"}", "?delay=1"},
    {"digest", "{\"text\": \"x\", \"repeat\": 1000000000}", ""},
    {"command", "{\"command\": \"cat\"}", ""},
    {"command", "{\"command\": \"sleep\"}", ""},
};

static void each_kind_ends_when_it_is_cancelled(void **state)
{
    enum { COUNT = 400 };
    struct world world;
    unsigned random = 1;
    NEED_MOCK();

    world_start(&world, 4);
    for (unsigned i = 0; i < COUNT; i++) {
        char payload[512];
        size_t row = i % ARRAY_LEN(mixed);
        struct task *task =
            world_push(&world, mixed[row].kind, payload_of(payload, mixed[row].payload, mixed[row].query), 0);
        random = random * 1103515245 + 12345;
        uint64_t until_ns = clock_now_ns() + (random >> 16) % 6 * NS_PER_MS / 2;
        while (clock_now_ns() < until_ns)
            continue;
        task_pool_stop_task(task, TASK_STOP_CANCEL);
        task_unref(task);
    }
    wait_for_count(&world.ended, COUNT);
    assert_int_equal(atomic_load(&world.by_type[TASK_OUTCOME_FAILED]), 0);
    assert_true(atomic_load(&world.by_type[TASK_OUTCOME_CANCELLED]) >= COUNT / 4);
    world_end(&world);
}

static void each_kind_ends_at_its_deadline(void **state)
{
    struct world world;
    NEED_MOCK();

    world_start(&world, 4);
    for (size_t i = 0; i < ARRAY_LEN(mixed); i++) {
        char payload[512];
        task_unref(
            world_push(&world, mixed[i].kind, payload_of(payload, mixed[i].payload, mixed[i].query), 50));
    }
    wait_for_count(&world.ended, ARRAY_LEN(mixed));
    assert_true(atomic_load(&world.by_type[TASK_OUTCOME_FAILED]) >= 3);
    assert_int_equal(atomic_load(&world.by_type[TASK_OUTCOME_CANCELLED]), 0);
    world_end(&world);
}

static void each_kind_ends_when_the_pool_stops(void **state)
{
    NEED_MOCK();

    for (unsigned round = 0; round < 10; round++) {
        struct world world;
        world_start(&world, 4);
        for (size_t i = 0; i < ARRAY_LEN(mixed); i++) {
            char payload[512];
            task_unref(
                world_push(&world, mixed[i].kind, payload_of(payload, mixed[i].payload, mixed[i].query), 0));
        }
        task_pool_stop(world.pool);
        assert_int_equal(atomic_load(&world.ended), ARRAY_LEN(mixed));
        assert_int_equal(atomic_load(&world.by_type[TASK_OUTCOME_FAILED]), 0);
        world_end(&world);
    }
}

/* ---- all of them ---- */

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    has_mock = mock_start(&mock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mock_stop(&mock);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_never_takes_more_than_it_may),
        cmocka_unit_test(a_text_that_is_not_whole_is_said_to_be_cut),
        cmocka_unit_test(only_json_that_may_be_kept_is_taken_for_json),
        cmocka_unit_test(an_error_is_cut_between_characters),
        cmocka_unit_test(what_nobody_reads_is_dropped),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(each_kind_brings_its_result),
        cmocka_unit_test(each_kind_says_why_it_failed),
        cmocka_unit_test(each_kind_ends_when_it_is_cancelled),
        cmocka_unit_test(each_kind_ends_at_its_deadline),
        cmocka_unit_test(each_kind_ends_when_the_pool_stops),
    };

    return cmocka_run_group_tests_name("kinds", tests, set_up, tear_down);
}
