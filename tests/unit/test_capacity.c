/* How many requests the descriptor limit allows: in a child, whose limit cannot be raised again. */
#include "harness.h"

#include <sys/resource.h>

#include "capacity.h"

static const struct row {
    unsigned limit; /* hard, on descriptors */
    unsigned urls;
    unsigned max_concurrency;
    unsigned max_in_flight; /* asked for */
    int rc;
    unsigned expected;
} rows[] = {
    {1024, 0, 0, 0, 0, 384},                                 /* the connection, the file of its answer */
    {1024, 7, 0, 0, 0, 93},                                  /* 768 / (1 + 7 + 1/4) */
    {1024, 7, 3, 0, 0, 180},                                 /* 768 / (1 + 3 + 1/4) */
    {1024, 2, 3, 0, 0, 236},                                 /* never more than there are */
    {1024, 10, 1, 0, 0, 341},       {1024, 7, 0, 93, 0, 93}, /* just enough */
    {1024, 7, 0, 94, -ERANGE, 0},   {1024, 7, 0, 1, 0, 1},
    {1024, 1000, 0, 0, -ERANGE, 0}, /* not one request */
    {1024, 766, 0, 0, 0, 1},        {1024, 767, 0, 0, -ERANGE, 0},
    {256, 0, 0, 0, -ERANGE, 0},     {100, 0, 0, 0, -ERANGE, 0},
    {258, 0, 0, 0, 0, 1},
};

#define URLS_MAX 1000

static struct config_list distinct_origins(size_t count)
{
    static char urls[URLS_MAX][64];
    static char *items[URLS_MAX];

    for (size_t i = 0; i < count; i++) {
        snprintf(urls[i], sizeof(urls[i]), "http://host-%zu.test/", i);
        items[i] = urls[i];
    }
    return (struct config_list){.items = items, .count = count};
}

/* 0 when the row holds, or the number of the check that failed. */
static int check_row(const struct row *row)
{
    struct rlimit limit = {.rlim_cur = row->limit / 2, .rlim_max = row->limit};
    struct config config = {.max_in_flight = row->max_in_flight, .max_connections = 4096};
    struct err err = {0};
    unsigned max_in_flight = 77;

    config.concurrent_requests.urls = distinct_origins(row->urls);
    config.concurrent_requests.max_concurrency = row->max_concurrency;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    if (capacity_apply(&config, &max_in_flight, &err) != row->rc)
        return 2;
    if (row->rc == 0 && max_in_flight != row->expected)
        return 3;
    if (row->rc != 0 && (max_in_flight != 77 || err.code != row->rc || err.text[0] == '\0'))
        return 4;
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur == row->limit ? 0 : 5; /* raised to the hard limit in any case */
}

static void the_limit_is_shared_out_among_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = -1;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(check_row(&rows[i]));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            fail_msg("row %zu failed at check %d", i, WEXITSTATUS(status));
    }
}

/* Its fetches open more of libcurl's multi handles, which have descriptors as well. */
static void a_busy_origin_costs_more(void **state)
{
    static char texts[][24] = {"http://a:8080/1", "http://a:8080?2", "http://a:8080", "http://a:80801/",
                               "http://a/",       "https://a:8080/", "http://b:8080/"};
    char *urls[ARRAY_LEN(texts)];
    struct config config = {.max_connections = 100000};
    struct rlimit limit;
    unsigned max_in_flight = 0;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        urls[i] = texts[i];
    getrlimit(RLIMIT_NOFILE, &limit);
    config.concurrent_requests.urls = (struct config_list){.items = urls, .count = ARRAY_LEN(urls)};
    assert_int_equal(capacity_apply(&config, &max_in_flight, NULL), 0);
    assert_int_equal(max_in_flight, MIN((rlim_t)4096, 4 * (limit.rlim_max - 256) / (4 * 8 + 3)));
}

static void the_error_says_what_to_do(void **state)
{
    struct config config = {.max_in_flight = UINT32_MAX};
    struct rlimit limit;
    struct err err = {0};
    unsigned max_in_flight;
    (void)state;

    getrlimit(RLIMIT_NOFILE, &limit);
    config.concurrent_requests.urls = distinct_origins(1000);
    if (capacity_apply(&config, &max_in_flight, &err) == 0)
        skip(); /* a limit of millions of millions */
    assert_non_null(strstr(err.text, "max_in_flight"));
    assert_non_null(strstr(err.text, "ulimit -Hn"));
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void by_itself_it_does_not_go_beyond_what_is_sensible(void **state)
{
    struct config config = {.max_connections = 100000};
    unsigned max_in_flight = 0;
    (void)state;

    assert_int_equal(capacity_apply(&config, &max_in_flight, NULL), 0);
    assert_in_range(max_in_flight, 1, 4096);
}

/* An endpoint with so many parts at each of the upstreams, in their order. */
static struct config_endpoint endpoint_of(struct config_upstream *upstreams, const unsigned *parts,
                                          size_t count)
{
    static struct config_part all[64];
    static size_t used;
    struct config_endpoint endpoint = {.parts = &all[used]};

    for (size_t i = 0; i < count; i++) {
        for (unsigned j = 0; j < parts[i]; j++)
            endpoint.parts[endpoint.part_count++].upstream = upstreams[i].name;
    }
    used += endpoint.part_count;
    assert_true(used <= ARRAY_LEN(all));
    return endpoint;
}

static unsigned capacity_with(struct config *config, unsigned limit)
{
    struct rlimit before;
    unsigned max_in_flight = 0;
    struct err err;

    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit, before.rlim_max}); /* raised to the hard one again */
    assert_int_equal(capacity_apply(config, &max_in_flight, &err), 0);
    return max_in_flight;
}

static void endpoints_need_connections_to_their_upstreams(void **state)
{
    static char names[3][8] = {"free", "small", "large"};
    struct config_upstream upstreams[] = {
        {.name = names[0], .max_in_flight = 0},
        {.name = names[1], .max_in_flight = 10},
        {.name = names[2], .max_in_flight = 100000},
    };
    struct config_endpoint endpoints[] = {
        endpoint_of(upstreams, (const unsigned[]){4, 0, 0}, 3),
        endpoint_of(upstreams, (const unsigned[]){4, 8, 0}, 3),
        endpoint_of(upstreams, (const unsigned[]){0, 0, 3}, 3),
    };
    struct config config = {.max_connections = 1000000, .upstreams = upstreams, .upstream_count = 3};
    struct rlimit limit;
    (void)state;

    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t quarters = 4 * ((uint64_t)limit.rlim_max - 256);
    config.endpoints = &endpoints[0];
    config.endpoint_count = 1; /* its own, four connections, a multi handle for eight of them */
    assert_int_equal(capacity_with(&config, 1000), MIN(quarters / (4 * 5 + 4), UINT64_C(4096)));
    config.endpoints = &endpoints[1]; /* the same, and ten for all of them together */
    assert_int_equal(capacity_with(&config, 1000),
                     MIN((quarters - 4 * 10 - 10) / (4 * 5 + 4), UINT64_C(4096)));
    config.endpoints = &endpoints[2]; /* its own, its file, and three that the limit does not come down to */
    assert_int_equal(capacity_with(&config, 1000), MIN(quarters / (4 * 2 + 4 * 3 + 3), UINT64_C(4096)));
    config.endpoints = endpoints;
    config.endpoint_count = 3; /* the most of each kind */
    assert_int_equal(capacity_with(&config, 1000),
                     MIN((quarters - 4 * 10) / (4 * 5 + 4 + 4 * 3 + 3), UINT64_C(4096)));
    upstreams[2].hedge.is_enabled = true;
    assert_int_equal(capacity_with(&config, 1000),
                     MIN((quarters - 4 * 10) / (4 * 5 + 4 + 4 * 6 + 6), UINT64_C(4096)));
}

static void urls_of_clients_count_like_those_of_the_configuration(void **state)
{
    struct config config = {.max_connections = 1000000, .concurrent_requests = {.max_client_urls = 100}};
    struct rlimit limit;
    (void)state;

    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t quarters = 4 * ((uint64_t)limit.rlim_max - 256);
    assert_int_equal(capacity_with(&config, 1000), MIN(quarters / (4 * 101 + 100), UINT64_C(4096)));
    config.concurrent_requests.max_concurrency = 10;
    assert_int_equal(capacity_with(&config, 1000), MIN(quarters / (4 * 11 + 10), UINT64_C(4096)));
}

/* A request above the limit needs a connection to be told so. */
static void by_itself_it_leaves_connections_for_those_it_refuses(void **state)
{
    static const struct {
        unsigned max_connections;
        unsigned expected;
    } limits[] = {{2, 1}, {3, 2}, {7, 4}, {128, 64}, {200, 136}, {256, 192}, {400, 300}, {1000, 750}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct config config = {.max_connections = limits[i].max_connections};
        unsigned max_in_flight = 0;
        assert_int_equal(capacity_apply(&config, &max_in_flight, NULL), 0);
        assert_int_equal(max_in_flight, limits[i].expected);
    }
}

static void programs_that_tasks_run_have_their_own(void **state)
{
    struct config config = {.max_connections = 100000, .tasks = {.runners = 10}};
    struct rlimit limit;
    struct err err = {0};
    unsigned max_in_flight = 0;
    (void)state;

    getrlimit(RLIMIT_NOFILE, &limit);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){256 + 130, 256 + 130});
    assert_int_equal(capacity_apply(&config, &max_in_flight, NULL), 0);
    assert_int_equal(max_in_flight, 130 / 2);
    config.tasks.command_count = 1;
    assert_int_equal(capacity_apply(&config, &max_in_flight, &err), -ERANGE);
    assert_non_null(strstr(err.text, "386 are reserved"));
    setrlimit(RLIMIT_NOFILE, &limit); /* may be refused: this has to be the last test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_shared_out_among_requests),
        cmocka_unit_test(a_busy_origin_costs_more),
        cmocka_unit_test(the_error_says_what_to_do),
        cmocka_unit_test(by_itself_it_does_not_go_beyond_what_is_sensible),
        cmocka_unit_test(endpoints_need_connections_to_their_upstreams),
        cmocka_unit_test(urls_of_clients_count_like_those_of_the_configuration),
        cmocka_unit_test(by_itself_it_leaves_connections_for_those_it_refuses),
        cmocka_unit_test(programs_that_tasks_run_have_their_own),
    };

    return cmocka_run_group_tests_name("capacity", tests, NULL, NULL);
}
