/* Fan-outs over URLs against the mock upstream: results, their order, concurrency, cancels. */
#include "plan_rig.h"

#include "gather/results.h"
#include "gather/url_list.h"

#define URLS_MAX 60

struct fan {
    struct config *config;
    struct fetch_pool *pool;
    struct upstreams *upstreams;
    struct fetch_target *targets[URLS_MAX];
    size_t count;
};

/* One list. */
struct list {
    struct gather *gather;
    atomic_uint told;
    atomic_uint done;
    atomic_uint released;
};

static void fan_add(struct fan *fan, const char *path)
{
    struct err err = {0};
    char url[256];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", mock.port, path);
    if (fetch_target_create(url, &fan->targets[fan->count++], &err) < 0)
        fail_msg("%s", err.text);
}

static void fan_start(struct fan *fan, size_t count, const char *path)
{
    struct err err = {0};

    *fan = (struct fan){.config = config_of("fetch: {workers: 2, timeout: 1m}")};
    for (size_t i = 0; i < count; i++)
        fan_add(fan, path);
    if (fetch_pool_create(fan->config, &fan->pool, &err) < 0 || fetch_pool_start(fan->pool, &err) < 0 ||
        upstreams_create(fan->config, fan->pool, &fan->upstreams, &err) < 0 ||
        upstreams_start(fan->upstreams, &err) < 0)
        fail_msg("%s", err.text);
}

static void fan_stop(struct fan *fan)
{
    upstreams_stop(fan->upstreams);
    fetch_pool_stop(fan->pool);
}

static void fan_free(struct fan *fan)
{
    upstreams_free(fan->upstreams);
    fetch_pool_free(fan->pool);
    for (size_t i = 0; i < fan->count; i++)
        fetch_target_free(fan->targets[i]);
    config_free(fan->config);
}

static void fan_end(struct fan *fan)
{
    fan_stop(fan);
    fan_free(fan);
}

static void on_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct list *list = arg;

    assert_ptr_equal(gather_ended(gather, atomic_load(&list->told)), part);
    atomic_fetch_add(&list->told, 1);
}

static void on_done(struct gather *gather, void *arg)
{
    assert_ptr_equal(gather, ((struct list *)arg)->gather);
    atomic_fetch_add(&((struct list *)arg)->done, 1);
}

static void on_release(void *arg)
{
    atomic_fetch_add(&((struct list *)arg)->released, 1);
}

static void list_create(struct list *list, struct fan *fan, unsigned max_concurrency)
{
    struct url_list *urls;
    struct err err = {0};
    const struct url_list_options options = {
        .upstreams = fan->upstreams,
        .targets = fan->targets,
        .count = fan->count,
        .max_concurrency = max_concurrency,
        .keep_max_bytes = 100,
        .deadline_ns = CLOCK_NEVER,
        .part_ended = on_part_ended,
        .done = on_done,
        .release = on_release,
        .arg = list,
    };

    *list = (struct list){.gather = NULL};
    if (url_list_create(&options, &urls, &err) < 0)
        fail_msg("%s", err.text);
    list->gather = url_list_gather(urls);
}

static void list_run(struct list *list, struct fan *fan, unsigned max_concurrency)
{
    list_create(list, fan, max_concurrency);
    gather_start(list->gather);
    wait_for_count(&list->done, 1);
}

static void list_end(struct list *list)
{
    wait_for_count(&list->done, 1);
    assert_int_equal(atomic_load(&list->done), 1);
    assert_int_equal(atomic_load(&list->told), gather_count(list->gather));
    gather_unref(list->gather);
    assert_int_equal(atomic_load(&list->released), 1);
}

/* Results with this reason, "" for those that have none. */
static size_t count_reason(const struct list *list, const char *reason)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);
    size_t count = 0;
    size_t i;
    json_t *result;

    gather_append_results(&out, list->gather, 5, 1500 * NS_PER_MS);
    json_t *json = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(json);
    json_array_foreach (json_object_get(json, "results"), i, result) {
        const char *found = json_string_value(json_object_get(result, "reason"));
        count += strcmp(found ? found : "", reason) == 0;
        assert_true(!found == (json_object_get(result, "content") != NULL));
    }
    assert_int_equal(i, gather_count(list->gather));
    json_decref(json);
    return count;
}

static void results_come_in_the_order_of_their_ends(void **state)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);
    struct fan fan;
    struct list list;
    NEED_MOCK();

    fan_start(&fan, 0, "");
    fan_add(&fan, "/?delay=300&body=3");
    fan_add(&fan, "/?delay=1&body=1");
    fan_add(&fan, "/?delay=150&body=2&status=404");
    list_run(&list, &fan, 0);
    gather_append_results(&out, list.gather, 5, 1500 * NS_PER_MS);
    json_t *json = json_loadb(out.data, out.size, 0, NULL);
    const json_t *results = json_object_get(json, "results");
    assert_string_equal(json_string_value(json_object_get(json_array_get(results, 0), "content")), "1");
    assert_string_equal(json_string_value(json_object_get(json_array_get(results, 1), "reason")),
                        "http_status");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(results, 1), "status")), 404);
    assert_string_equal(json_string_value(json_object_get(json_array_get(results, 2), "content")), "3");
    json_decref(json);
    list_end(&list);
    fan_end(&fan);
}

static void no_url_is_done_at_once(void **state)
{
    struct fan fan;
    struct list list;
    NEED_MOCK();

    fan_start(&fan, 0, "");
    list_run(&list, &fan, 5);
    list_end(&list);
    fan_end(&fan);
}

static void no_more_than_max_concurrency_run_at_once(void **state)
{
    static const unsigned limits[] = {1, 7, 0};
    struct fan fan;
    struct list list;
    NEED_MOCK();

    fan_start(&fan, URLS_MAX, "/?delay=5");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        list_run(&list, &fan, limits[i]);
        assert_int_equal(count_reason(&list, ""), URLS_MAX);
        list_end(&list);
    }
    fan_end(&fan);
}

static void cancelled_all_end(void **state)
{
    static const unsigned limits[] = {0, 1, 10, URLS_MAX - 1, URLS_MAX};
    struct fan fan;
    struct list list;
    NEED_MOCK();

    fan_start(&fan, URLS_MAX, "/?stall=1");
    for (size_t i = 0; i < ARRAY_LEN(limits) * 2; i++) {
        list_create(&list, &fan, limits[i / 2]);
        if (i % 2)
            gather_cancel(list.gather);
        gather_start(list.gather);
        gather_cancel(list.gather);
        wait_for_count(&list.done, 1);
        assert_int_equal(count_reason(&list, "cancelled"), URLS_MAX);
        list_end(&list);
    }
    fan_end(&fan);
}

/* Parts that end make others begin, also while all stops. */
static void a_stop_ends_them(void **state)
{
    static const char *const paths[] = {"/?stall=1", "/?delay=1"};
    NEED_MOCK();

    for (unsigned round = 0; round < 10; round++) {
        struct list lists[4];
        struct fan fan;
        fan_start(&fan, URLS_MAX, paths[round % ARRAY_LEN(paths)]);
        for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
            list_create(&lists[i], &fan, 3);
            gather_start(lists[i].gather);
        }
        fan_stop(&fan);
        for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
            assert_int_equal(atomic_load(&lists[i].done), 1);
            list_end(&lists[i]);
        }
        fan_free(&fan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_in_the_order_of_their_ends),
        cmocka_unit_test(no_url_is_done_at_once),
        cmocka_unit_test(no_more_than_max_concurrency_run_at_once),
        cmocka_unit_test(cancelled_all_end),
        cmocka_unit_test(a_stop_ends_them),
    };

    return cmocka_run_group_tests_name("url_list", tests, mock_set_up, mock_tear_down);
}
