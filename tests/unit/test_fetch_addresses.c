/* The fetch pool and names with several addresses: which is tried first, which may be used, whose
 * connection it is. */
#include "fetch_probe.h"

#include <arpa/inet.h>
#include <poll.h>

/* Beside `mock` at 127.0.0.1, with the same port. */
static struct mock second; /* 127.0.0.2 */

#define NEED_BOTH()                                                                                          \
    do {                                                                                                     \
        NEED_MOCK();                                                                                         \
        if (second.pid == 0)                                                                                 \
            skip();                                                                                          \
    } while (0)

/* ---- listeners that nobody serves ---- */

static struct sockaddr_in address_at(const char *ip, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
    return address;
}

static int listen_at(const char *ip, unsigned port, int backlog)
{
    struct sockaddr_in address = address_at(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static bool was_connected_to(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    return poll(&wanted, 1, 0) == 1;
}

/* An address that does not answer: the kernel drops what its full queue has no room for. */
struct black_hole {
    int listener;
    int fillers[3];
};

static struct black_hole black_hole_open(const char *ip, unsigned port)
{
    struct black_hole hole = {.listener = listen_at(ip, port, 0)};
    struct sockaddr_in address = address_at(ip, port_of(hole.listener));

    for (size_t i = 0; i < ARRAY_LEN(hole.fillers); i++) {
        hole.fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int rc = connect(hole.fillers[i], (struct sockaddr *)&address, sizeof(address));
        assert_true(rc == 0 || errno == EINPROGRESS);
    }
    return hole;
}

static void black_hole_close(struct black_hole *hole)
{
    for (size_t i = 0; i < ARRAY_LEN(hole->fillers); i++)
        close(hole->fillers[i]);
    close(hole->listener);
}

/* ---- choosing ---- */

/* The fetch's `arg` is the address to choose. */
static size_t choose_arg(const struct fetch *fetch, const char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(addresses[i], fetch->arg) == 0)
            return i;
    return 0;
}

static size_t choose_none(const struct fetch *fetch, const char *const *addresses, size_t count)
{
    (void)fetch;
    (void)addresses;
    fail_msg("asked to choose of %zu", count);
    return 0;
}

static void probe_init_choosing(struct probe *probe, const char *address)
{
    probe_init_at(probe, "many.test", "/");
    probe->fetch.choose = choose_arg;
    probe->fetch.arg = (void *)(uintptr_t)address;
}

static void assert_served_by(struct pool *pool, struct probe *probe, const char *address, bool is_reused)
{
    run(pool, probe);
    if (probe->fetch.reason != FETCH_OK)
        fail_msg("%s: %s", fetch_reason_names[probe->fetch.reason], probe->fetch.error);
    assert_string_equal(probe->fetch.address, address);
    assert_int_equal(probe->fetch.is_reused, is_reused);
    probe_done(probe);
}

static void the_result_says_which_address_it_was(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    for (int round = 0; round < 2; round++) {
        probe_init_at(&probe, "127.0.0.1", "/");
        assert_served_by(&pool, &probe, "127.0.0.1", round == 1);
    }
    probe_init_at(&probe, "127.0.0.77", "/"); /* where nobody listens */
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_CONNECT);
    assert_string_equal(probe.fetch.address, "");
    assert_false(probe.fetch.is_reused);
    probe_done(&probe);
    pool_end(&pool);
}

static void the_chosen_address_comes_first_and_has_its_own_connections(void **state)
{
    static const char *const addresses[] = {"127.0.0.2", "127.0.0.1"};
    NEED_BOTH();
    names_set_many("127.0.0.1,127.0.0.2");
    struct pool pool = pool_start("fetch: {workers: 1}");

    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
            struct probe probe;
            probe_init_choosing(&probe, addresses[i]);
            assert_served_by(&pool, &probe, addresses[i], round > 0);
        }
    assert_int_equal(atomic_load(&names_asked), 1);
    pool_end(&pool);
}

static void nobody_is_asked_to_choose_of_one(void **state)
{
    NEED_MOCK();
    names_set_many("127.0.0.1");
    struct pool pool = pool_start("fetch: {workers: 1}");
    static const char *const hosts[] = {"127.0.0.1", "many.test"};

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct probe probe;
        probe_init_at(&probe, hosts[i], "/");
        probe.fetch.choose = choose_none;
        assert_served_by(&pool, &probe, "127.0.0.1", false);
    }
    pool_end(&pool);
}

/* A redirect to another name is not about the addresses that the caller knows. */
static void nobody_is_asked_to_choose_where_a_redirect_leads(void **state)
{
    NEED_MOCK();
    names_set_many("127.0.0.1,127.0.0.2");
    struct pool pool = pool_start("fetch: {workers: 1, max_redirects: 1}");
    struct probe probe;
    char path[128];

    snprintf(path, sizeof(path), "/?redirect_to=http%%3A%%2F%%2Fmany.test%%3A%u%%2F", mock.port);
    probe_init_at(&probe, "127.0.0.1", path);
    probe.fetch.choose = choose_none;
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    pool_end(&pool);
}

static void another_address_serves_when_the_chosen_one_refuses(void **state)
{
    NEED_MOCK();
    names_set_many("127.0.0.1,127.0.0.77");
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_choosing(&probe, "127.0.0.77");
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    pool_end(&pool);
}

static void another_address_serves_when_the_first_is_silent(void **state)
{
    NEED_MOCK();
    struct black_hole hole = black_hole_open("127.0.0.3", mock.port);
    names_set_many("127.0.0.3,127.0.0.1");
    struct pool pool = pool_start("fetch: {workers: 1, timeout: 50s, connect_timeout: 20s}");
    struct probe probe;

    probe_init_choosing(&probe, "127.0.0.3");
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    probe_init_at(&probe, "many.test", "/?close=1"); /* without a choice it is the same */
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    pool_end(&pool);
    black_hole_close(&hole);
}

static void errors_name_the_host_and_not_what_libcurl_takes_it_for(void **state)
{
    NEED_MOCK();
    names_set_many("127.0.0.77,127.0.0.78");
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct probe probe;

    probe_init_choosing(&probe, "127.0.0.78");
    run(&pool, &probe);
    assert_int_equal(probe.fetch.reason, FETCH_CONNECT);
    assert_non_null(strstr(probe.fetch.error, "to many.test port"));
    probe_done(&probe);
    pool_end(&pool);
}

static unsigned route_count;

static void count_routes(struct probe *probe)
{
    struct route *route;

    route_count = 0;
    for (route = LIST_FIRST(&probe->fetch.origin->routes); route; route = LIST_NEXT(route, link))
        route_count++;
}

static void trim_origins(struct probe *probe)
{
    origin_trim(probe->fetch.worker);
    origin_trim(probe->fetch.worker);
}

static bool is_served_by_the_second(void *pool)
{
    struct probe probe;

    probe_init_choosing(&probe, "127.0.0.1"); /* as long as it is there */
    run(pool, &probe);
    bool is_second = strcmp(probe.fetch.address, "127.0.0.2") == 0;
    probe_done(&probe);
    return is_second;
}

static void an_address_that_is_gone_is_forgotten(void **state)
{
    NEED_BOTH();
    names_set_many("127.0.0.1,127.0.0.2");
    struct pool pool = pool_start("fetch: {workers: 1, dns_ttl: 0s}");
    struct probe probe;

    probe_init_choosing(&probe, "127.0.0.1");
    probe.then = count_routes;
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    assert_int_equal(route_count, 1);
    names_set_many("127.0.0.2,127.0.0.77");
    wait_until(is_served_by_the_second, &pool);
    probe_init_choosing(&probe, "127.0.0.2");
    probe.then = count_routes;
    assert_served_by(&pool, &probe, "127.0.0.2", true);
    assert_int_equal(route_count, 2);
    probe_init_at(&probe, "127.0.0.1", "/");
    probe.then = trim_origins;
    run(&pool, &probe);
    probe_done(&probe);
    probe_init_choosing(&probe, "127.0.0.2");
    probe.then = count_routes;
    assert_served_by(&pool, &probe, "127.0.0.2", true);
    assert_int_equal(route_count, 1);
    pool_end(&pool);
}

/* ---- which addresses may be used ---- */

struct guard {
    const char *refused;
    atomic_uint asked;
    char last[INET6_ADDRSTRLEN];
    unsigned port;
};

static bool guard_allows(const struct fetch *fetch, const struct sockaddr *address, struct err *err)
{
    struct guard *guard = fetch->arg;
    struct sockaddr_in ipv4;

    atomic_fetch_add(&guard->asked, 1);
    assert_int_equal(address->sa_family, AF_INET);
    memcpy(&ipv4, address, sizeof(ipv4));
    inet_ntop(AF_INET, &ipv4.sin_addr, guard->last, sizeof(guard->last));
    guard->port = ntohs(ipv4.sin_port);
    if (strcmp(guard->last, guard->refused) != 0)
        return true;
    err_set(err, -EPERM, "%s is a bad address", guard->last);
    return false;
}

static void probe_guard(struct probe *probe, struct guard *guard)
{
    probe->fetch.may_connect = guard_allows;
    probe->fetch.arg = guard;
}

static void assert_forbidden(struct pool *pool, struct probe *probe, const char *error)
{
    run(pool, probe);
    assert_string_equal(probe->fetch.error, error);
    assert_int_equal(probe->fetch.reason, FETCH_FORBIDDEN);
    assert_int_equal(probe->fetch.status, 0);
    probe_done(probe);
}

static void nothing_connects_to_an_address_that_is_refused(void **state)
{
    int fd = listen_at("127.0.0.1", 0, 5);
    struct guard guard = {.refused = "127.0.0.1"};
    struct probe probe;
    char url[128];
    (void)state;
    names_set_many("127.0.0.1");
    struct pool pool = pool_start("fetch: {workers: 1}");
    static const char *const hosts[] = {"127.0.0.1", "many.test", "[::ffff:127.0.0.1]", "0x7f.1"};

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        snprintf(url, sizeof(url), "http://%s:%u/", hosts[i], port_of(fd));
        probe_init(&probe, url);
        probe_guard(&probe, &guard);
        assert_forbidden(&pool, &probe, "127.0.0.1 is a bad address");
        assert_int_equal(guard.port, port_of(fd));
    }
    assert_false(was_connected_to(fd));
    pool_end(&pool);
    close(fd);
}

static void a_connection_that_was_kept_is_looked_at_as_well(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct guard guard = {.refused = "127.0.0.1"};
    struct probe probe;

    probe_init_at(&probe, "127.0.0.1", "/");
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    probe_init_at(&probe, "127.0.0.1", "/");
    probe_guard(&probe, &guard);
    assert_forbidden(&pool, &probe, "127.0.0.1 is a bad address");
    assert_int_equal(guard.port, mock.port);
    probe_init_at(&probe, "127.0.0.1", "/"); /* others are not concerned */
    assert_served_by(&pool, &probe, "127.0.0.1", false);
    pool_end(&pool);
}

static void an_allowed_address_is_asked_for_before_and_after_connecting(void **state)
{
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct guard guard = {.refused = ""};
    struct probe probe;

    for (unsigned round = 0; round < 2; round++) {
        probe_init_at(&probe, "127.0.0.1", "/");
        probe_guard(&probe, &guard);
        assert_served_by(&pool, &probe, "127.0.0.1", round > 0);
        assert_int_equal(atomic_load(&guard.asked), round + 2);
    }
    pool_end(&pool);
}

static void another_address_of_the_name_may_do(void **state)
{
    NEED_BOTH();
    names_set_many("127.0.0.1,127.0.0.2");
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct guard guard = {.refused = "127.0.0.1"};
    struct probe probe;

    probe_init_at(&probe, "many.test", "/");
    probe_guard(&probe, &guard);
    assert_served_by(&pool, &probe, "127.0.0.2", false);
    pool_end(&pool);
}

/* What is refused is why, not what the others have against us. */
static void a_refused_address_is_the_reason_when_no_other_connects(void **state)
{
    NEED_MOCK();
    names_set_many("127.0.0.1,127.0.0.77");
    struct pool pool = pool_start("fetch: {workers: 1}");
    struct guard guard = {.refused = "127.0.0.1"};
    struct probe probe;

    probe_init_at(&probe, "many.test", "/");
    probe_guard(&probe, &guard);
    assert_forbidden(&pool, &probe, "127.0.0.1 is a bad address");
    pool_end(&pool);
}

static void a_redirect_leads_to_no_address_that_is_refused(void **state)
{
    int fd = listen_at("127.0.0.3", 0, 5);
    NEED_MOCK();
    struct pool pool = pool_start("fetch: {workers: 1, max_redirects: 1}");
    struct guard guard = {.refused = "127.0.0.3"};
    struct probe probe;
    char path[128];

    snprintf(path, sizeof(path), "/?redirect_to=http%%3A%%2F%%2F127.0.0.3%%3A%u%%2F", port_of(fd));
    probe_init_at(&probe, "127.0.0.1", path);
    probe_guard(&probe, &guard);
    assert_forbidden(&pool, &probe, "127.0.0.3 is a bad address");
    assert_false(was_connected_to(fd));
    pool_end(&pool);
    close(fd);
}

/* ---- both ---- */

static int set_up(void **state)
{
    char port[16];

    fetch_set_up(state);
    snprintf(port, sizeof(port), "%u", mock.port);
    if (has_mock)
        mock_start_at(&second, "127.0.0.2", port);
    return 0;
}

static int tear_down(void **state)
{
    mock_stop(&second);
    return fetch_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_result_says_which_address_it_was),
        cmocka_unit_test(the_chosen_address_comes_first_and_has_its_own_connections),
        cmocka_unit_test(nobody_is_asked_to_choose_of_one),
        cmocka_unit_test(nobody_is_asked_to_choose_where_a_redirect_leads),
        cmocka_unit_test(another_address_serves_when_the_chosen_one_refuses),
        cmocka_unit_test(another_address_serves_when_the_first_is_silent),
        cmocka_unit_test(errors_name_the_host_and_not_what_libcurl_takes_it_for),
        cmocka_unit_test(an_address_that_is_gone_is_forgotten),
        cmocka_unit_test(nothing_connects_to_an_address_that_is_refused),
        cmocka_unit_test(a_connection_that_was_kept_is_looked_at_as_well),
        cmocka_unit_test(an_allowed_address_is_asked_for_before_and_after_connecting),
        cmocka_unit_test(another_address_of_the_name_may_do),
        cmocka_unit_test(a_refused_address_is_the_reason_when_no_other_connects),
        cmocka_unit_test(a_redirect_leads_to_no_address_that_is_refused),
    };

    return cmocka_run_group_tests_name("fetch_addresses", tests, set_up, tear_down);
}
