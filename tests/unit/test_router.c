/* Which row of the table a request means. */
#include "harness.h"

#include "front/router.h"

static const struct route routes[] = {
    {.path = "/", .methods = HTTP_GET},
    {.path = "/tasks", .methods = HTTP_GET},
    {.path = "/tasks/", .methods = HTTP_POST},
    {.path = "/tasks/{id}", .methods = HTTP_GET},
    {.path = "/tasks/{id}", .methods = HTTP_DELETE | HTTP_PATCH},
    {.path = "/only/post", .methods = HTTP_POST},
    {.path = "/concurrent_requests/", .methods = HTTP_GET},
    {.path = "/tasks/{id}/cancel", .methods = HTTP_POST},
    {.path = "/tasks/stats", .methods = HTTP_GET},
    {.path = "/tasks/{id}/events/", .methods = HTTP_GET},
    {.path = "/shops/{shop}/items/{item}", .methods = HTTP_GET},
    {.path = "/shops/{shop}/items/{part}", .methods = HTTP_PUT},
    {.path = "/shops/{shop}/{what}/{item}/{how}", .methods = HTTP_GET},
    {.path = "/shops/main/items/{item}", .methods = HTTP_GET},
    {.path = "/shops/{shop}/items/all", .methods = HTTP_GET},
    {.path = "/shops/main/{what}/all", .methods = HTTP_GET},
    {.path = "/{any}/of/these", .methods = HTTP_GET},
};

static struct router *router; /* of `routes` */
static struct route_match match;

static enum route_result find(const char *method, const char *path)
{
    memset(&match, 'x', sizeof(match));
    return router_find(router, http_method_parse(method), path, &match);
}

static const char *arg_at(unsigned i)
{
    const char *arg = match.args;

    for (; i > 0; i--)
        arg += strlen(arg) + 1;
    return arg;
}

/* `args` with a space between them. */
static void assert_found(const char *method, const char *path, size_t index, const char *args)
{
    char found[ROUTE_ARGS_SIZE + 1] = "";

    assert_int_equal(find(method, path), ROUTE_FOUND);
    assert_ptr_equal(match.route, &routes[index]);
    for (unsigned i = 0; i < match.arg_count; i++) {
        strncat(found, i ? " " : "", 1);
        strncat(found, arg_at(i), sizeof(found) - strlen(found) - 1);
    }
    assert_string_equal(found, args);
}

static void assert_not_allowed(const char *method, const char *path, const char *allow)
{
    assert_int_equal(find(method, path), ROUTE_NO_METHOD);
    assert_string_equal(match.allow, allow);
}

static void methods_are_known_by_their_exact_names(void **state)
{
    (void)state;
    assert_int_equal(http_method_parse("GET"), HTTP_GET);
    assert_int_equal(http_method_parse("DELETE"), HTTP_DELETE);
    assert_int_equal(http_method_parse("OPTIONS"), HTTP_OPTIONS);
    assert_int_equal(http_method_parse("get"), 0);
    assert_int_equal(http_method_parse("GETS"), 0);
    assert_int_equal(http_method_parse("GE"), 0);
    assert_int_equal(http_method_parse(""), 0);
}

static void one_slash_at_the_end_makes_no_difference(void **state)
{
    (void)state;
    assert_found("GET", "/", 0, "");
    assert_found("GET", "/tasks", 1, "");
    assert_found("GET", "/tasks/", 1, "");
    assert_found("POST", "/tasks", 2, "");
    assert_found("GET", "/concurrent_requests", 6, "");
    assert_found("GET", "/concurrent_requests/", 6, "");
    assert_found("GET", "/tasks/7/", 3, "7");
}

static void paths_are_compared_whole(void **state)
{
    static const char *const paths[] = {"",        "tasks",        "/task",
                                        "/tasksx", "/Tasks",       "/tasks//",
                                        "///",     "//tasks",      "/only",
                                        "/only/",  "/only/post/x", "/tasks/7/8",
                                        "/{id}",   "/tasks//7",    "/concurrent_requests//"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (find("GET", paths[i]) != ROUTE_NO_PATH)
            fail_msg("\"%s\" is found", paths[i]);
}

static void the_segment_in_braces_is_the_argument(void **state)
{
    (void)state;
    assert_found("GET", "/tasks/abc-123", 3, "abc-123");
    assert_found("DELETE", "/tasks/abc", 4, "abc");
    assert_found("GET", "/tasks/{id}", 3, "{id}");
    assert_found("GET", "/tasks/a b%20\xc3\xa9", 3, "a b%20\xc3\xa9"); /* it comes decoded */
    assert_found("GET", "/tasks/..", 3, "..");
}

static void the_argument_may_stand_in_the_middle(void **state)
{
    static const char *const others[] = {"/tasks//cancel",     "/tasks/cancel/cancel/x", "/tasks/a/b/cancel",
                                         "/tasks/a/cancelled", "/tasks/a/cance",         "/tasks/a//cancel"};
    (void)state;

    assert_found("POST", "/tasks/abc/cancel", 7, "abc");
    assert_found("POST", "/tasks/abc/cancel/", 7, "abc");
    assert_found("POST", "/tasks/cancel/cancel", 7, "cancel");
    assert_found("GET", "/tasks/7/events", 9, "7");
    assert_found("GET", "/tasks/7/events/", 9, "7");
    assert_found("GET", "/tasks/cancel", 3, "cancel");
    assert_not_allowed("GET", "/tasks/abc/cancel", "POST");
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (find("POST", others[i]) != ROUTE_NO_PATH)
            fail_msg("\"%s\" is found", others[i]);
}

static void a_path_that_is_spelt_out_wins_over_an_argument(void **state)
{
    (void)state;
    assert_found("GET", "/tasks/stats", 8, "");
    assert_found("GET", "/tasks/stats/", 8, "");
    assert_found("GET", "/tasks/stats1", 3, "stats1");
    assert_found("POST", "/tasks/stats/cancel", 7, "stats");
    assert_not_allowed("DELETE", "/tasks/stats", "GET, HEAD");
}

static void an_argument_too_long_is_no_path(void **state)
{
    char path[ROUTE_ARGS_SIZE + 64] = "/tasks/";
    size_t prefix = strlen(path);
    (void)state;

    memset(path + prefix, 'a', ROUTE_ARGS_SIZE - 1);
    assert_int_equal(find("GET", path), ROUTE_FOUND);
    assert_int_equal(strlen(match.args), ROUTE_ARGS_SIZE - 1);
    path[strlen(path)] = '/';
    assert_int_equal(find("GET", path), ROUTE_FOUND);
    path[prefix + ROUTE_ARGS_SIZE - 1] = 'a';
    assert_int_equal(find("GET", path), ROUTE_NO_PATH);
}

static void arguments_have_room_together(void **state)
{
    char path[ROUTE_ARGS_SIZE + 64] = "/shops/";
    size_t half = ROUTE_ARGS_SIZE / 2 - 1;
    (void)state;

    memset(path + strlen(path), 'a', half);
    strncat(path, "/items/", sizeof(path) - strlen(path) - 1);
    memset(path + strlen(path), 'b', half);
    assert_int_equal(find("GET", path), ROUTE_FOUND);
    assert_int_equal(strlen(arg_at(0)), half);
    assert_int_equal(strlen(arg_at(1)), half);
    strncat(path, "b", sizeof(path) - strlen(path) - 1);
    assert_int_equal(find("GET", path), ROUTE_NO_PATH);
}

static void a_path_may_have_several_arguments(void **state)
{
    (void)state;
    assert_found("GET", "/shops/7/items/9", 10, "7 9");
    assert_found("PUT", "/shops/7/items/9/", 11, "7 9");
    assert_found("GET", "/shops/7/things/9/now", 12, "7 things 9 now");
    assert_not_allowed("POST", "/shops/7/items/9", "GET, HEAD, PUT");
    assert_int_equal(find("GET", "/shops/7/items/"), ROUTE_NO_PATH);
    assert_int_equal(find("GET", "/shops//items/9"), ROUTE_NO_PATH);
    assert_int_equal(find("GET", "/shops/7//9/now"), ROUTE_NO_PATH);
}

static void of_two_rows_that_of_the_first_segment_spelt_out_counts(void **state)
{
    (void)state;
    assert_found("GET", "/shops/main/items/9", 13, "9");
    assert_found("GET", "/shops/main/items/all", 13, "all"); /* "main/items" before "{shop}/items/all" */
    assert_found("GET", "/shops/7/items/all", 14, "7");
    assert_found("GET", "/shops/main/things/all", 15, "things");
    assert_not_allowed("PUT", "/shops/main/items/9", "GET, HEAD");
}

/* The way that is spelt out leads nowhere. */
static void another_way_is_tried_then(void **state)
{
    (void)state;
    assert_found("GET", "/shops/main/items/9/now", 12, "main items 9 now");
    assert_found("GET", "/tasks/of/these", 16, "tasks");
    assert_found("GET", "/shops/of/these", 16, "shops");
    assert_int_equal(find("GET", "/shops/of/those"), ROUTE_NO_PATH);
}

static void head_is_answered_where_get_is(void **state)
{
    (void)state;
    assert_found("HEAD", "/tasks/7", 3, "7");
    assert_found("HEAD", "/", 0, "");
    assert_not_allowed("HEAD", "/only/post", "POST");
}

static void allow_names_the_methods_of_all_rows_with_the_path(void **state)
{
    (void)state;
    assert_not_allowed("PUT", "/tasks/7", "GET, HEAD, PATCH, DELETE");
    assert_not_allowed("DELETE", "/tasks", "GET, HEAD, POST");
    assert_not_allowed("BREW", "/only/post", "POST");
    assert_not_allowed("", "/", "GET, HEAD");
}

static void all_methods_fit_into_allow(void **state)
{
    static const struct route all[] = {{.path = "/all", .methods = HTTP_GET | HTTP_POST | HTTP_PUT},
                                       {.path = "/all", .methods = HTTP_PATCH | HTTP_DELETE | HTTP_OPTIONS}};
    struct router *other;
    (void)state;

    assert_int_equal(router_create(all, 2, &other, NULL), 0);
    assert_int_equal(router_find(other, 0, "/all", &match), ROUTE_NO_METHOD);
    assert_string_equal(match.allow, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    router_free(other);
}

static void a_table_that_says_two_things_is_refused(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        unsigned method;
        int rc;
    } tables[] = {
        {"/a", "/a", HTTP_GET, -EEXIST},
        {"/a", "/a/", HTTP_HEAD, -EEXIST}, /* GET answers HEAD */
        {"/a", "/a", HTTP_POST, 0},
        {"/a/{x}", "/a/{y}", HTTP_GET, -EEXIST},
        {"/a/{x}/b", "/a/{y}/c", HTTP_GET, 0},
        {"/a", "a", HTTP_GET, -EINVAL},
        {"/a", "", HTTP_GET, -EINVAL},
        {"/a", "/b-{x}", HTTP_GET, -EINVAL},
        {"/a", "/{x", HTTP_GET, -EINVAL},
        {"/a", "/x}", HTTP_GET, -EINVAL},
        {"/a", "/{}", HTTP_GET, -EINVAL},
        {"/a", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", HTTP_GET, 0},
        {"/a", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", HTTP_GET, -EINVAL},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        struct route rows[] = {{.path = tables[i].first, .methods = HTTP_GET},
                               {.path = tables[i].second, .methods = tables[i].method}};
        struct router *other = NULL;
        struct err err = {0};
        if (router_create(rows, 2, &other, &err) != tables[i].rc)
            fail_msg("%s and %s: %s", tables[i].first, tables[i].second, err.text);
        if (tables[i].rc < 0 && !strstr(err.text, tables[i].second))
            fail_msg("\"%s\" does not name %s", err.text, tables[i].second);
        router_free(other);
    }
}

static void an_empty_table_has_no_paths(void **state)
{
    struct router *empty;
    (void)state;

    assert_int_equal(router_create(routes, 0, &empty, NULL), 0);
    assert_int_equal(router_find(empty, HTTP_GET, "/", &match), ROUTE_NO_PATH);
    assert_int_equal(router_find(empty, HTTP_GET, "/a", &match), ROUTE_NO_PATH);
    router_free(empty);
}

#define MANY 1000

static uint64_t cost_ns(const struct router *of, const char *path)
{
    uint64_t best = UINT64_MAX;

    for (int round = 0; round < 20; round++) {
        uint64_t start = clock_now_ns();
        for (int i = 0; i < 1000; i++)
            assert_int_equal(router_find(of, HTTP_GET, path, &match), ROUTE_FOUND);
        best = MIN(best, clock_now_ns() - start);
    }
    return best / 1000;
}

/* Not how fast it is, but how it grows: were the rows looked at one by one it would be hundreds of times. */
static void a_thousand_rows_cost_little_more_than_one(void **state)
{
    static char paths[MANY][48];
    static struct route rows[MANY];
    struct router *one;
    struct router *many;
    (void)state;

    for (size_t i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/api/service-%zu/{id}/orders/{order}", i);
        rows[i] = (struct route){.path = paths[i], .methods = HTTP_GET};
    }
    assert_int_equal(router_create(rows, 1, &one, NULL), 0);
    assert_int_equal(router_create(rows, MANY, &many, NULL), 0);
    uint64_t cost_of_one = cost_ns(one, "/api/service-0/17/orders/4");
    uint64_t cost_of_many = cost_ns(many, "/api/service-777/17/orders/4");
    assert_ptr_equal(match.route, &rows[777]);
    print_message("one row: %llu ns, %d rows: %llu ns\n", (unsigned long long)cost_of_one, MANY,
                  (unsigned long long)cost_of_many);
    assert_true(cost_of_many <= 20 * (cost_of_one + 100));
    router_free(one);
    router_free(many);
}

static int set_up(void **state)
{
    (void)state;
    return router_create(routes, ARRAY_LEN(routes), &router, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    router_free(router);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_are_known_by_their_exact_names),
        cmocka_unit_test(one_slash_at_the_end_makes_no_difference),
        cmocka_unit_test(paths_are_compared_whole),
        cmocka_unit_test(the_segment_in_braces_is_the_argument),
        cmocka_unit_test(the_argument_may_stand_in_the_middle),
        cmocka_unit_test(a_path_that_is_spelt_out_wins_over_an_argument),
        cmocka_unit_test(an_argument_too_long_is_no_path),
        cmocka_unit_test(arguments_have_room_together),
        cmocka_unit_test(a_path_may_have_several_arguments),
        cmocka_unit_test(of_two_rows_that_of_the_first_segment_spelt_out_counts),
        cmocka_unit_test(another_way_is_tried_then),
        cmocka_unit_test(head_is_answered_where_get_is),
        cmocka_unit_test(allow_names_the_methods_of_all_rows_with_the_path),
        cmocka_unit_test(all_methods_fit_into_allow),
        cmocka_unit_test(a_table_that_says_two_things_is_refused),
        cmocka_unit_test(an_empty_table_has_no_paths),
        cmocka_unit_test(a_thousand_rows_cost_little_more_than_one),
    };

    return cmocka_run_group_tests_name("router", tests, set_up, tear_down);
}
