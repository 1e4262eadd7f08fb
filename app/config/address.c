/* Addresses: where heddle listens, whom it may reach, which server takes its mail. */
#include "config/config_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* To listen at */

static int refuse_address(const char *text, const char *wrong, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    return err_set(err, -EINVAL, "%s %s; write unix:PATH or tcp:ADDRESS:PORT, such as tcp:127.0.0.1:9000",
                   parse_quote(text, strlen(text), quoted), wrong);
}

static int parse_unix(const char *text, const char *path, struct listen_address *address, struct err *err)
{
    const size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    size_t size = strlen(path);

    if (size == 0)
        return refuse_address(text, "has no path", err);
    if (size > path_max)
        return err_set(err, -ERANGE, "the path has %zu bytes; a unix socket's path has at most %zu", size,
                       path_max);
    *address = (struct listen_address){.kind = LISTEN_UNIX, .path = strdup(path)};
    return address->path ? 0 : out_of_memory(err);
}

bool config_numeric_host(const char *text, size_t size, char ret_host[CONFIG_NUMERIC_HOST_SIZE])
{
    unsigned char binary[sizeof(struct in6_addr)];
    bool brackets = size >= 2 && text[0] == '[' && text[size - 1] == ']';

    if (brackets) {
        text++;
        size -= 2;
    }
    if (size >= CONFIG_NUMERIC_HOST_SIZE)
        return false;
    memcpy(ret_host, text, size);
    ret_host[size] = '\0';
    if (!brackets && strcmp(ret_host, "localhost") == 0)
        memcpy(ret_host, "127.0.0.1", sizeof("127.0.0.1"));
    return inet_pton(brackets ? AF_INET6 : AF_INET, ret_host, binary) == 1;
}

static int parse_tcp(const char *text, const char *rest, struct listen_address *address, struct err *err)
{
    char host[CONFIG_NUMERIC_HOST_SIZE];
    uint64_t port;
    const char *colon = strrchr(rest, ':');

    if (!colon)
        return refuse_address(text, "has no port", err);
    if (parse_number(PARSE_UINT, colon + 1, 1, UINT16_MAX, &port, NULL) < 0)
        return refuse_address(text, "has a port that is not a number from 1 to 65535", err);
    if (!config_numeric_host(rest, (size_t)(colon - rest), host))
        return refuse_address(text, "has an address that is not numeric (IPv6 in brackets) or localhost",
                              err);
    *address = (struct listen_address){.kind = LISTEN_TCP, .host = strdup(host), .port = (unsigned)port};
    return address->host ? 0 : out_of_memory(err);
}

int config_parse_listen(const char *text, struct listen_address *ret_address, struct err *err)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text, text + 5, ret_address, err);
    if (strncmp(text, "tcp:", 4) == 0)
        return parse_tcp(text, text + 4, ret_address, err);
    return refuse_address(text, "is not an address", err);
}

/* Of others */

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A name as RFC 1123 has it, and the underscore that is in use: labels of 1 to 63 characters.  What ends in
 * digits only is no name but an address, and inet_pton has refused it. */
static bool is_host_name(const char *text, size_t size)
{
    size_t label = 0;
    bool is_numeric = true;

    if (size == 0 || size > CONFIG_HOST_MAX_BYTES)
        return false;
    for (size_t i = 0; i < size; i++) {
        bool is_dot = text[i] == '.';
        if (is_dot ? label == 0 : !is_label_char(text[i]) || label == 63)
            return false;
        label = is_dot ? 0 : label + 1;
        is_numeric = is_dot || (is_numeric && text[i] >= '0' && text[i] <= '9');
    }
    return label > 0 && !is_numeric;
}

/* HOST or HOST:PORT.  A sentence when it is neither. */
static const char *wrong_with_host(const char *text)
{
    char numeric[CONFIG_NUMERIC_HOST_SIZE];
    uint64_t port;
    const char *close = *text == '[' ? strchr(text, ']') : NULL;
    size_t size = close ? (size_t)(close - text) + 1 : strcspn(text, ":");

    if (text[size] == ':' && parse_number(PARSE_UINT, text + size + 1, 1, UINT16_MAX, &port, NULL) < 0)
        return close || !strchr(text + size + 1, ':')
                   ? "has a port that is not a number from 1 to 65535"
                   : "has more than one colon (an IPv6 address is written in brackets)";
    if (text[size] != ':' && text[size] != '\0')
        return "has something behind the brackets";
    if (!config_numeric_host(text, size, numeric) && !is_host_name(text, size))
        return size > 0 ? "has a host that is neither a name nor an address" : "has no host";
    return NULL;
}

int config_check_allowed_host(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    char numeric[CONFIG_NUMERIC_HOST_SIZE];
    bool is_wildcard = strncmp(text, "*.", 2) == 0;
    const char *host = text + (is_wildcard ? 2 : 0);
    const char *wrong = wrong_with_host(host);

    if (!wrong && is_wildcard && (*host == '[' || config_numeric_host(host, strcspn(host, ":"), numeric)))
        wrong = "has *. before an address";
    if (strstr(text, "://") || strchr(text, '/'))
        wrong = "is a URL";
    if (wrong)
        return err_set(err, -EINVAL,
                       "%s %s; write a host such as example.org, *.example.org, example.org:8443 or [::1]:80",
                       parse_quote(text, strlen(text), quoted), wrong);
    return 0;
}

static int refuse_network(const char *text, const char *wrong, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    return err_set(err, -EINVAL, "%s %s; write a network such as 10.1.0.0/16 or fd00::/8",
                   parse_quote(text, strlen(text), quoted), wrong);
}

/* Whether a bit is set behind the prefix. */
static bool has_host_bits(const struct config_network *network, unsigned bits)
{
    for (unsigned i = network->prefix; i < bits; i++) {
        if (network->address[i / 8] & (0x80u >> i % 8))
            return true;
    }
    return false;
}

int config_parse_network(const char *text, struct config_network *ret_network, struct err *err)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : 0;
    struct config_network network = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
    unsigned bits = network.family == AF_INET6 ? 128 : 32;
    uint64_t prefix;

    if (size == 0 || size >= sizeof(address))
        return refuse_network(text, "is not an address, a slash and the bits of its prefix", err);
    memcpy(address, text, size);
    address[size] = '\0';
    if (inet_pton(network.family, address, network.address) != 1)
        return refuse_network(text, "has no numeric address", err);
    if (parse_number(PARSE_UINT, slash + 1, 0, bits, &prefix, NULL) < 0)
        return refuse_network(text, "has a prefix that is not a number of bits", err);
    network.prefix = (unsigned)prefix;
    if (has_host_bits(&network, bits))
        return refuse_network(text, "has bits behind its prefix", err);
    if (network.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((struct in6_addr *)(void *)network.address))
        return refuse_network(text, "is of mapped addresses, which count as the IPv4 address in them", err);
    *ret_network = network;
    return 0;
}

int config_check_network(const char *text, struct err *err)
{
    struct config_network network;

    return config_parse_network(text, &network, err);
}

int config_check_mail_server(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    size_t scheme = strncmp(text, "smtp://", 7) == 0 ? 7 : strncmp(text, "smtps://", 8) == 0 ? 8 : 0;
    const char *form = "write smtp://HOST:PORT or smtps://HOST:PORT";

    if (*text == '\0')
        return 0;
    if (strchr(text, '@')) /* not quoted: it may be a password */
        return err_set(err, -EINVAL, "has a user name; %s, and the name in mail.user", form);
    const char *wrong = scheme > 0 ? wrong_with_host(text + scheme) : "is not a mail server";
    return wrong ? err_set(err, -EINVAL, "%s %s; %s", parse_quote(text, strlen(text), quoted), wrong, form)
                 : 0;
}
