/* What a client may say of a task, with a stand-in for the engine. */
#include "harness.h"

#include "api/task_request.h"
#include "base/json.h"
#include "tasks/kind.h"

#define NOW_MS UINT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

struct task_engine {
    struct task_services services;
};

static struct task_engine engine;

const struct task_services *task_engine_services(const struct task_engine *given)
{
    return &given->services;
}

static int check_nothing(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    (void)payload;
    (void)services;
    (void)ret;
    return 0;
}

static const struct task_kind internal = {.name = "internal", .is_internal = true, .check = check_nothing};
static const struct task_kind anything = {.name = "anything", .check = check_nothing};

const struct task_kind *task_engine_kind(const struct task_engine *given, const char *name)
{
    (void)given;
    return strcmp(name, "internal") == 0   ? &internal
           : strcmp(name, "anything") == 0 ? &anything
                                           : task_kind_find(task_kinds, name);
}

int task_engine_find_queue(const struct task_engine *given, const char *name)
{
    (void)given;
    return strcmp(name, "default") == 0 ? 0 : strcmp(name, "mail") == 0 ? 3 : -ENOENT;
}

static const struct task_reading reading = {&engine, "", NOW_MS};

/* ---- what is good ---- */

static struct task *parse(const char *text, struct task_submission *ret)
{
    struct task_refusal refusal;

    if (task_request_parse(&reading, text, strlen(text), ret, &refusal) < 0)
        fail_msg("%s: %d %s: %s", text, refusal.status, refusal.field, refusal.text);
    assert_non_null(ret->task);
    return ret->task;
}

static void defaults_come_from_the_configuration(void **state)
{
    struct task_submission item;
    const struct config *config = engine.services.config;
    struct task *task = parse("{\"kind\":\"anything\"}", &item);

    (void)state;
    assert_string_equal(task->spec.kind_name, "anything");
    assert_ptr_equal(task->kind, &anything);
    assert_string_equal(task->spec.payload, "{}");
    assert_null(task->spec.tags);
    assert_null(task->spec.tenant);
    assert_null(task->spec.unique_key);
    assert_null(task->spec.callback);
    assert_null(task->spec.traceparent);
    assert_int_equal(task->created_ms, NOW_MS);
    assert_int_equal(task->spec.timeout_ms, config->tasks.timeout_ms);
    assert_int_equal(task->spec.max_attempts, config->tasks.max_attempts);
    assert_int_equal(task->spec.backoff.base_ms, config->tasks.backoff_base_ms);
    assert_int_equal(task->spec.backoff.max_ms, config->tasks.backoff_max_ms);
    assert_true(task->spec.backoff.factor >= 1);
    assert_int_equal(task->status.queue, 0);
    assert_int_equal(task->status.priority, TASK_PRIORITY_DEFAULT);
    assert_int_equal(task->status.run_at_ms, 0);
    assert_int_equal(item.on_unique, TASK_UNIQUE_REJECT);
    task_unref(task);
}

static void every_member_is_read(void **state)
{
    struct task_submission item;
    struct task *task =
        parse("{\"kind\":\"anything\",\"payload\":{\"a\":[1,0.1,\"\\u00e9/\"]},\"queue\":\"mail\","
              "\"priority\":0,\"delay\":1.5,\"timeout\":\"250ms\",\"max_attempts\":7,"
              "\"backoff\":{\"base\":0.5,\"factor\":3,\"max\":\"1m\",\"jitter\":0},\"unique_key\":\"k\","
              "\"on_unique\":\"replace\",\"tenant\":\"acme\",\"tags\":[\"a\",\"\\\"b\"],"
              "\"callback\":{\"url\":\"https://hooks.example/x\"}}",
              &item);

    (void)state;
    assert_string_equal(task->spec.payload, "{\"a\":[1,0.1,\"\xc3\xa9/\"]}");
    assert_int_equal(task->status.queue, 3);
    assert_int_equal(task->status.priority, 0);
    assert_int_equal(task->status.run_at_ms, NOW_MS + 1500);
    assert_int_equal(task->spec.timeout_ms, 250);
    assert_int_equal(task->spec.max_attempts, 7);
    assert_int_equal(task->spec.backoff.base_ms, 500);
    assert_true(task->spec.backoff.factor == 3);
    assert_int_equal(task->spec.backoff.max_ms, 60000);
    assert_true(task->spec.backoff.jitter == 0);
    assert_string_equal(task->spec.unique_key, "k");
    assert_int_equal(item.on_unique, TASK_UNIQUE_REPLACE);
    assert_string_equal(task->spec.tenant, "acme");
    assert_string_equal(task->spec.tags, "[\"a\",\"\\\"b\"]");
    assert_string_equal(task->spec.callback, "{\"url\":\"https://hooks.example/x\"}");
    task_unref(task);
}

static const struct {
    const char *members;
    uint64_t run_at_ms;
} times[] = {
    {"\"delay\":0", 0},
    {"\"delay\":0.001", NOW_MS + 1},
    {"\"delay\":\"2h\"", NOW_MS + 7200000},
    {"\"run_at\":\"2026-01-01T00:00:01Z\"", NOW_MS + 1000},
    {"\"run_at\":\"2026-01-01T01:00:00.5+00:30\"", NOW_MS + 1800500},
    {"\"run_at\":\"2020-01-01T00:00:00Z\"", 0},
};

static void times_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct task_submission item;
        char text[128];
        snprintf(text, sizeof(text), "{\"kind\":\"anything\",%s}", times[i].members);
        struct task *task = parse(text, &item);
        assert_int_equal(task->status.run_at_ms, times[i].run_at_ms);
        task_unref(task);
    }
}

static void a_long_base_lifts_the_longest_pause(void **state)
{
    struct task_submission item;
    struct task *task = parse("{\"kind\":\"anything\",\"backoff\":{\"base\":\"5h\"}}", &item);

    (void)state;
    assert_int_equal(task->spec.backoff.base_ms, 5 * 3600 * 1000);
    assert_int_equal(task->spec.backoff.max_ms, 5 * 3600 * 1000);
    task_unref(task);
}

/* ---- what is not ---- */

#define LETTERS_70 "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct {
    const char *members; /* behind the kind */
    int status;
    const char *field;
} wrong[] = {
    {",\"payload\":[]", 422, "payload"},
    {",\"payload\":null", 422, "payload"},
    {",\"payload\":\"x\"", 422, "payload"},
    {",\"queue\":\"none\"", 422, "queue"},
    {",\"queue\":1", 422, "queue"},
    {",\"queue\":\"\"", 422, "queue"},
    {",\"queue\":\"" LETTERS_70 "\"", 422, "queue"},
    {",\"priority\":10", 422, "priority"},
    {",\"priority\":-1", 422, "priority"},
    {",\"priority\":1.0", 422, "priority"},
    {",\"priority\":\"1\"", 422, "priority"},
    {",\"delay\":-1", 422, "delay"},
    {",\"delay\":-1e-9", 422, "delay"},
    {",\"delay\":1e300", 422, "delay"},
    {",\"delay\":\"10\"", 422, "delay"},
    {",\"delay\":\"soon\"", 422, "delay"},
    {",\"delay\":true", 422, "delay"},
    {",\"delay\":1,\"run_at\":\"2026-01-01T00:00:01Z\"", 422, "run_at"},
    {",\"run_at\":\"2026-01-01T00:00:01Z\",\"delay\":1", 422, "delay"},
    {",\"run_at\":\"tomorrow\"", 422, "run_at"},
    {",\"run_at\":\"2026-01-01 00:00:01\"", 422, "run_at"},
    {",\"run_at\":1767225600", 422, "run_at"},
    {",\"timeout\":0", 422, "timeout"},
    {",\"timeout\":\"8000h\"", 422, "timeout"},
    {",\"timeout\":null", 422, "timeout"},
    {",\"max_attempts\":0", 422, "max_attempts"},
    {",\"max_attempts\":1001", 422, "max_attempts"},
    {",\"max_attempts\":4294967297", 422, "max_attempts"},
    {",\"max_attempts\":9223372036854775808", 422, "max_attempts"},
    {",\"backoff\":1", 422, "backoff"},
    {",\"backoff\":{\"base\":0}", 422, "backoff.base"},
    {",\"backoff\":{\"factor\":0.5}", 422, "backoff.factor"},
    {",\"backoff\":{\"factor\":\"2\"}", 422, "backoff.factor"},
    {",\"backoff\":{\"max\":\"8000h\"}", 422, "backoff.max"},
    {",\"backoff\":{\"base\":2,\"max\":1}", 422, "backoff.max"},
    {",\"backoff\":{\"jitter\":1.1}", 422, "backoff.jitter"},
    {",\"backoff\":{\"jitters\":1}", 422, "backoff.jitters"},
    {",\"unique_key\":\"\"", 422, "unique_key"},
    {",\"unique_key\":\"" LETTERS_70 LETTERS_70 LETTERS_70 "\"", 422, "unique_key"},
    {",\"unique_key\":\"a\\nb\"", 422, "unique_key"},
    {",\"unique_key\":\"a\",\"on_unique\":\"ignore\"", 422, "on_unique"},
    {",\"unique_key\":\"a\",\"on_unique\":0", 422, "on_unique"},
    {",\"on_unique\":\"reject\"", 422, "on_unique"},
    {",\"tenant\":\"" LETTERS_70 "\"", 422, "tenant"},
    {",\"tenant\":{}", 422, "tenant"},
    {",\"tags\":\"a\"", 422, "tags"},
    {",\"tags\":[\"a\",1]", 422, "tags[1]"},
    {",\"tags\":[\"a\",\"\"]", 422, "tags[1]"},
    {",\"tags\":[\"a\",\"a\"]", 422, "tags[1]"},
    {",\"tags\":[\"a\",\"b\",\"c\",\"d\"]", 422, "tags"},
    {",\"callback\":\"https://hooks.example/\"", 422, "callback"},
    {",\"callback\":{}", 422, "callback"},
    {",\"callback\":{\"url\":\"ftp://hooks.example/\"}", 422, "callback.url"},
    {",\"callback\":{\"url\":\"http://elsewhere.example/\"}", 422, "callback.url"},
    {",\"callback\":{\"url\":\"https://hooks.example/\",\"secret\":\"x\"}", 422, "callback.secret"},
    {",\"more\":1", 422, "more"},
    {",\"Priority\":1", 422, "Priority"},
    {",\"" LETTERS_70 "\":1", 422, ""},
    {",\"kind\":\"anything\"", 400, ""},
    {",\"delay\":1e999", 422, "delay"},
    {",", 400, ""},
};

static void expect_refused(const char *text, int status, const char *field)
{
    struct task_submission item;
    struct task_refusal refusal = {.text = ""};

    if (task_request_parse(&reading, text, strlen(text), &item, &refusal) == 0)
        fail_msg("accepted: %s", text);
    if (refusal.status != status || strcmp(refusal.field, field) != 0)
        fail_msg("%s: %d \"%s\": %s", text, refusal.status, refusal.field, refusal.text);
    assert_null(item.task);
    assert_true(item.rc < 0);
    assert_string_not_equal(refusal.text, "");
}

static void wrong_members_are_refused_by_name(void **state)
{
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        snprintf(text, sizeof(text), "{\"kind\":\"anything\"%s}", wrong[i].members);
        expect_refused(text, wrong[i].status, wrong[i].field);
    }
}

static void a_kind_must_be_there_and_known(void **state)
{
    (void)state;
    expect_refused("{}", 422, "kind");
    expect_refused("{\"kind\":\"nothing\"}", 422, "kind");
    expect_refused("{\"kind\":\"internal\"}", 422, "kind");
    expect_refused("{\"kind\":7}", 422, "kind");
    expect_refused("[]", 400, "");
    expect_refused("", 400, "");
}

static void what_the_kind_refuses_is_named(void **state)
{
    (void)state;
    expect_refused("{\"kind\":\"sleep\"}", 422, "payload.message");
    expect_refused("{\"kind\":\"sleep\",\"payload\":{\"message\":\"m\"}}", 422, "payload.duration");
    expect_refused("{\"kind\":\"sleep\",\"payload\":{\"message\":\"m\",\"duration\":-1}}", 422,
                   "payload.duration");
}

static void payloads_that_are_too_large_are_refused(void **state)
{
    char filling[1025] = "";
    char text[2048];

    (void)state;
    memset(filling, 'x', sizeof(filling) - 1);
    snprintf(text, sizeof(text), "{\"kind\":\"anything\",\"payload\":{\"x\":\"%s\"}}", filling);
    expect_refused(text, 413, "payload");
}

static void changes_are_read(void **state)
{
    struct task_refusal refusal;
    struct task_wish wish = {.has_queue = false};
    json_t *json = json_pack("{s:s, s:i, s:i}", "queue", "mail", "priority", 9, "delay", 2);

    (void)state;
    assert_int_equal(task_request_read_change(&reading, json, &wish, &refusal), 0);
    assert_true(wish.has_queue && wish.has_priority && wish.has_run_at);
    assert_int_equal(wish.queue, 3);
    assert_int_equal(wish.priority, 9);
    assert_int_equal(wish.run_at_ms, NOW_MS + 2000);
    assert_int_equal(task_request_read_change(&reading, json_object(), &wish, &refusal), -EINVAL);
    assert_int_equal(refusal.status, 422);
    json = json_pack("{s:s}", "kind", "sleep");
    assert_int_equal(task_request_read_change(&reading, json, &wish, &refusal), -EINVAL);
    assert_string_equal(refusal.field, "kind");
}

static int set_up(void **state)
{
    (void)state;
    engine.services.config =
        config_of("tasks: {max_tags: 3, max_payload: 1KiB, allowed_hosts: [hooks.example]}\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_free((struct config *)(uintptr_t)engine.services.config);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_configuration),
        cmocka_unit_test(every_member_is_read),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(a_long_base_lifts_the_longest_pause),
        cmocka_unit_test(wrong_members_are_refused_by_name),
        cmocka_unit_test(a_kind_must_be_there_and_known),
        cmocka_unit_test(what_the_kind_refuses_is_named),
        cmocka_unit_test(payloads_that_are_too_large_are_refused),
        cmocka_unit_test(changes_are_read),
    };

    return cmocka_run_group_tests_name("task_request", tests, set_up, tear_down);
}
