/* The special-purpose registries of IANA (RFC 6890 and what came after it), read strictly: blocks that
 * have a few public addresses in them for a protocol of their own are not public.  In IPv6 only what is
 * given out as global unicast (2000::/3) can be. */
#include "fetch/networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* The first that fits says what an address is. */
static const struct {
    const char *text;
    const char *what;
} blocks[] = {
    {"0.0.0.0/8", "an address of no host"},
    {"10.0.0.0/8", "a private address"},
    {"100.64.0.0/10", "an address behind a carrier's NAT"},
    {"127.0.0.0/8", "a loopback address"},
    {"169.254.0.0/16", "a link-local address"},
    {"172.16.0.0/12", "a private address"},
    {"192.0.0.0/24", "an address for protocols"},
    {"192.0.2.0/24", "an address for documentation"},
    {"192.88.99.0/24", "an address of 6to4 relays"},
    {"192.168.0.0/16", "a private address"},
    {"198.18.0.0/15", "an address for benchmarks"},
    {"198.51.100.0/24", "an address for documentation"},
    {"203.0.113.0/24", "an address for documentation"},
    {"224.0.0.0/4", "a multicast address"},
    {"255.255.255.255/32", "the broadcast address"},
    {"240.0.0.0/4", "a reserved address"},

    {"::/128", "the unspecified address"},
    {"::1/128", "the loopback address"},
    {"::/96", "an IPv4 address in the form of IPv6"},
    {"::ffff:0:0:0/96", "an IPv4 address in the form of IPv6"},
    {"64:ff9b::/96", "a NAT64 address"},
    {"64:ff9b:1::/48", "a NAT64 address"},
    {"2001::/32", "a Teredo address"},
    {"2001::/23", "an address for protocols"},
    {"2001:db8::/32", "an address for documentation"},
    {"2002::/16", "a 6to4 address"},
    {"3fff::/20", "an address for documentation"},
    {"fc00::/7", "a private address"},
    {"fe80::/10", "a link-local address"},
    {"fec0::/10", "a site-local address"},
    {"ff00::/8", "a multicast address"},
};

struct networks {
    struct config_network blocks[ARRAY_LEN(blocks)];
    struct config_network global_unicast;
    struct config_network *listed;
    size_t listed_count;
};

struct plain_address {
    int family;
    unsigned char bytes[16];
    bool is_mapped; /* came as ::ffff:1.2.3.4 */
};

/* False for what is neither IPv4 nor IPv6. */
static bool read_address(const struct sockaddr *address, struct plain_address *ret_plain)
{
    struct plain_address plain = {.family = address->sa_family};
    struct sockaddr_in6 ipv6;

    if (plain.family == AF_INET) {
        memcpy(plain.bytes, (const char *)address + offsetof(struct sockaddr_in, sin_addr), 4);
        *ret_plain = plain;
        return true;
    }
    if (plain.family != AF_INET6)
        return false;
    memcpy(&ipv6, address, sizeof(ipv6));
    plain.is_mapped = IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr);
    plain.family = plain.is_mapped ? AF_INET : AF_INET6;
    memcpy(plain.bytes, &ipv6.sin6_addr.s6_addr[plain.is_mapped ? 12 : 0], plain.is_mapped ? 4 : 16);
    *ret_plain = plain;
    return true;
}

static bool is_in(const struct plain_address *address, const struct config_network *network)
{
    size_t whole = network->prefix / 8;
    unsigned rest = network->prefix % 8;

    return address->family == network->family && memcmp(address->bytes, network->address, whole) == 0 &&
           (rest == 0 || (address->bytes[whole] ^ network->address[whole]) >> (8 - rest) == 0);
}

static bool is_listed(const struct networks *networks, const struct plain_address *address)
{
    for (size_t i = 0; i < networks->listed_count; i++)
        if (is_in(address, &networks->listed[i]))
            return true;
    return false;
}

/* NULL for a public address. */
static const char *what_is_special(const struct networks *networks, const struct plain_address *address)
{
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
        if (is_in(address, &networks->blocks[i]))
            return blocks[i].what;
    if (address->family == AF_INET6 && !is_in(address, &networks->global_unicast))
        return "not a public address";
    return address->is_mapped ? "an IPv4 address in the form of IPv6" : NULL;
}

bool networks_allow(const struct networks *networks, const struct sockaddr *address, struct err *err)
{
    struct plain_address plain;
    char text[INET6_ADDRSTRLEN];

    if (!read_address(address, &plain)) {
        err_set(err, -EPERM, "the host has no Internet address");
        return false;
    }
    const char *what = is_listed(networks, &plain) ? NULL : what_is_special(networks, &plain);
    if (!what)
        return true;
    inet_ntop(plain.family, plain.bytes, text, sizeof(text));
    err_set(err, -EPERM, "%s is %s", text, what);
    return false;
}

/* ---- life ---- */

static int parse_blocks(struct networks *networks, struct err *err)
{
    int rc = config_parse_network("2000::/3", &networks->global_unicast, err);

    for (size_t i = 0; i < ARRAY_LEN(blocks) && rc == 0; i++)
        rc = config_parse_network(blocks[i].text, &networks->blocks[i], err);
    return rc;
}

static int parse_listed(struct networks *networks, const struct config_list *listed, struct err *err)
{
    networks->listed = calloc(MAX(listed->count, (size_t)1), sizeof(*networks->listed));
    if (!networks->listed)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < listed->count; i++) {
        int rc = config_parse_network(listed->items[i], &networks->listed[i], err);
        if (rc < 0)
            return rc;
    }
    networks->listed_count = listed->count;
    return 0;
}

int networks_create(const struct config_list *listed, struct networks **ret_networks, struct err *err)
{
    struct networks *networks = calloc(1, sizeof(*networks));

    if (!networks)
        return err_set(err, -ENOMEM, "out of memory");
    int rc = parse_blocks(networks, err);
    if (rc == 0)
        rc = parse_listed(networks, listed, err);
    if (rc < 0) {
        networks_free(networks);
        return rc;
    }
    *ret_networks = networks;
    return 0;
}

void networks_free(struct networks *networks)
{
    if (!networks)
        return;
    free(networks->listed);
    free(networks);
}
