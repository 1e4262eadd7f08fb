/* Which addresses a URL of somebody else's may lead to. */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "fetch/networks.h"

static struct networks *networks_of(const char *const *texts, size_t count)
{
    char *items[8];
    struct config_list list = {.items = items, .count = count};
    struct networks *networks = NULL;
    struct err err = {0};

    for (size_t i = 0; i < count; i++)
        items[i] = (char *)(uintptr_t)texts[i];
    if (networks_create(&list, &networks, &err) < 0)
        fail_msg("%s", err.text);
    return networks;
}

static bool is_allowed(const struct networks *networks, const char *text, struct err *err)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        return networks_allow(networks, (const struct sockaddr *)&ipv4, err);
    assert_int_equal(inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1);
    return networks_allow(networks, (const struct sockaddr *)&ipv6, err);
}

static void public_addresses_are_allowed(void **state)
{
    static const char *const addresses[] = {
        "1.1.1.1",        "8.8.8.8",          "9.255.255.255", "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",    "126.255.255.255",  "128.0.0.1",     "169.253.255.255", "169.255.0.0",
        "172.15.255.255", "172.32.0.0",       "191.255.255.1", "192.0.1.1",       "192.0.3.1",
        "192.167.1.1",    "192.169.0.0",      "198.17.255.1",  "198.20.0.0",      "223.255.255.255",
        "2000::1",        "2001:200::1",      "2003::1",       "2606:4700::1111", "2a00:1450:4001::200e",
        "2001:dc0::1",    "3ffe:ffff:ffff::", "3fff:1000::1",
    };
    struct networks *networks = networks_of(NULL, 0);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct err err = {0};
        if (!is_allowed(networks, addresses[i], &err))
            fail_msg("%s: %s", addresses[i], err.text);
    }
    networks_free(networks);
}

/* First and last of each block. */
static void others_are_not_and_are_named(void **state)
{
    static const struct {
        const char *address;
        const char *what;
    } rows[] = {
        {"0.0.0.0", "an address of no host"},
        {"0.255.255.255", "an address of no host"},
        {"10.0.0.0", "a private address"},
        {"10.255.255.255", "a private address"},
        {"100.64.0.0", "an address behind a carrier's NAT"},
        {"100.127.255.255", "an address behind a carrier's NAT"},
        {"127.0.0.1", "a loopback address"},
        {"127.255.255.255", "a loopback address"},
        {"169.254.0.0", "a link-local address"},
        {"169.254.169.254", "a link-local address"},
        {"172.16.0.0", "a private address"},
        {"172.31.255.255", "a private address"},
        {"192.0.0.8", "an address for protocols"},
        {"192.0.2.255", "an address for documentation"},
        {"192.88.99.1", "an address of 6to4 relays"},
        {"192.168.0.0", "a private address"},
        {"192.168.255.255", "a private address"},
        {"198.18.0.0", "an address for benchmarks"},
        {"198.19.255.255", "an address for benchmarks"},
        {"198.51.100.7", "an address for documentation"},
        {"203.0.113.7", "an address for documentation"},
        {"224.0.0.1", "a multicast address"},
        {"239.255.255.255", "a multicast address"},
        {"240.0.0.1", "a reserved address"},
        {"255.255.255.254", "a reserved address"},
        {"255.255.255.255", "the broadcast address"},
        {"::", "the unspecified address"},
        {"::1", "the loopback address"},
        {"::7f00:1", "an IPv4 address in the form of IPv6"},
        {"::808:808", "an IPv4 address in the form of IPv6"},
        {"::ffff:0:127.0.0.1", "an IPv4 address in the form of IPv6"},
        {"64:ff9b::7f00:1", "a NAT64 address"},
        {"64:ff9b::808:808", "a NAT64 address"},
        {"64:ff9b:1:ffff::1", "a NAT64 address"},
        {"64:ff9c::1", "not a public address"},
        {"100::1", "not a public address"},
        {"1fff:ffff::", "not a public address"},
        {"2001::1", "a Teredo address"},
        {"2001:0:7f00:1::", "a Teredo address"},
        {"2001:2::1", "an address for protocols"},
        {"2001:1ff::1", "an address for protocols"},
        {"2001:db8::1", "an address for documentation"},
        {"2002:7f00:1::", "a 6to4 address"},
        {"2002:808:808::1", "a 6to4 address"},
        {"3fff::1", "an address for documentation"},
        {"4000::1", "not a public address"},
        {"fc00::1", "a private address"},
        {"fdff:ffff::1", "a private address"},
        {"fe80::1", "a link-local address"},
        {"febf::1", "a link-local address"},
        {"fec0::1", "a site-local address"},
        {"ff02::1", "a multicast address"},
    };
    struct networks *networks = networks_of(NULL, 0);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        char expected[128];
        assert_false(is_allowed(networks, rows[i].address, &err));
        snprintf(expected, sizeof(expected), " is %s", rows[i].what);
        const char *what = strstr(err.text, " is ");
        assert_non_null(what);
        assert_string_equal(what, expected);
    }
    networks_free(networks);
}

/* What they are in truth is what counts, and an odd form is none that anybody needs. */
static void mapped_addresses_count_as_what_is_in_them(void **state)
{
    static const char *const listed[] = {"127.0.0.0/8"};
    struct networks *none = networks_of(NULL, 0);
    struct networks *loopback = networks_of(listed, 1);
    struct err err = {0};
    (void)state;

    assert_false(is_allowed(none, "::ffff:127.0.0.1", &err));
    assert_string_equal(err.text, "127.0.0.1 is a loopback address");
    assert_false(is_allowed(none, "::ffff:8.8.8.8", &err));
    assert_string_equal(err.text, "8.8.8.8 is an IPv4 address in the form of IPv6");
    assert_true(is_allowed(loopback, "::ffff:127.0.0.1", &err));
    networks_free(none);
    networks_free(loopback);
}

static void listed_networks_are_allowed(void **state)
{
    static const char *const listed[] = {"10.1.0.0/16", "::1/128", "fd00:1::/32", "192.168.7.7/32",
                                         "172.16.0.0/13"};
    static const struct {
        const char *address;
        bool is_allowed;
    } rows[] = {
        {"10.1.0.0", true},      {"10.1.255.255", true},
        {"10.0.255.255", false}, {"10.2.0.0", false},
        {"::1", true},           {"::", false},
        {"::2", false},          {"127.0.0.1", false},
        {"fd00:1::7", true},     {"fd00:2::7", false},
        {"192.168.7.7", true},   {"192.168.7.6", false},
        {"172.16.0.1", true},    {"172.23.255.255", true},
        {"172.24.0.0", false},   {"8.8.8.8", true},
    };
    struct networks *networks = networks_of(listed, ARRAY_LEN(listed));
    struct err err = {0};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (is_allowed(networks, rows[i].address, &err) != rows[i].is_allowed)
            fail_msg("%s", rows[i].address);
    networks_free(networks);
}

static void all_can_be_listed(void **state)
{
    static const char *const listed[] = {"0.0.0.0/0", "::/0"};
    struct networks *networks = networks_of(listed, 2);
    (void)state;

    assert_true(is_allowed(networks, "127.0.0.1", NULL));
    assert_true(is_allowed(networks, "fe80::1", NULL));
    networks_free(networks);
}

static void what_is_no_internet_address_is_refused(void **state)
{
    static const char *const listed[] = {"0.0.0.0/0", "::/0"};
    struct networks *networks = networks_of(listed, 2);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)state;

    assert_false(networks_allow(networks, (const struct sockaddr *)&address, NULL));
    networks_free(networks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_addresses_are_allowed),
        cmocka_unit_test(others_are_not_and_are_named),
        cmocka_unit_test(mapped_addresses_count_as_what_is_in_them),
        cmocka_unit_test(listed_networks_are_allowed),
        cmocka_unit_test(all_can_be_listed),
        cmocka_unit_test(what_is_no_internet_address_is_refused),
    };

    return cmocka_run_group_tests_name("networks", tests, NULL, NULL);
}
