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
};

static struct route_match match;

static enum route_result find(const char *method, const char *path)
{
    memset(&match, 'x', sizeof(match));
    return router_find(routes, ARRAY_LEN(routes), http_method_parse(method), path, &match);
}

static void assert_found(const char *method, const char *path, size_t index, const char *arg)
{
    assert_int_equal(find(method, path), ROUTE_FOUND);
    assert_int_equal(match.index, index);
    assert_string_equal(match.arg, arg);
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
    char path[ROUTE_ARG_SIZE + 64] = "/tasks/";
    size_t prefix = strlen(path);
    (void)state;

    memset(path + prefix, 'a', ROUTE_ARG_SIZE - 1);
    assert_int_equal(find("GET", path), ROUTE_FOUND);
    assert_int_equal(strlen(match.arg), ROUTE_ARG_SIZE - 1);
    path[strlen(path)] = '/';
    assert_int_equal(find("GET", path), ROUTE_FOUND);
    path[prefix + ROUTE_ARG_SIZE - 1] = 'a';
    assert_int_equal(find("GET", path), ROUTE_NO_PATH);
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
    static const struct route all = {.path = "/all", .methods = 127 & ~(unsigned)HTTP_GET};
    static const struct route more[] = {{.path = "/all", .methods = 127}, {.path = "/all", .methods = 127}};
    struct route_match found;
    (void)state;

    assert_int_equal(router_find(&all, 1, 0, "/all", &found), ROUTE_NO_METHOD);
    assert_string_equal(found.allow, "HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    assert_int_equal(router_find(more, 2, 0, "/all", &found), ROUTE_NO_METHOD);
    assert_string_equal(found.allow, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
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
        cmocka_unit_test(head_is_answered_where_get_is),
        cmocka_unit_test(allow_names_the_methods_of_all_rows_with_the_path),
        cmocka_unit_test(all_methods_fit_into_allow),
    };

    return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
