#include "config/config_int.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

typedef int (*set_fn)(const struct config_row *row, const char *text, void *field, struct err *err);

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* Numbers */

static enum parse_kind number_kind(const struct config_row *row)
{
    static const enum parse_kind kinds[CONFIG_TYPE_COUNT] = {
        [CONFIG_UINT] = PARSE_UINT,
        [CONFIG_DURATION] = PARSE_DURATION,
        [CONFIG_SIZE] = PARSE_SIZE,
        [CONFIG_MODE] = PARSE_MODE,
    };
    return kinds[row->type];
}

static void store(const struct config_row *row, uint64_t value, void *field)
{
    uint32_t narrow = (uint32_t)value;

    assert(row->size == sizeof(value) || (row->size == sizeof(narrow) && value <= UINT32_MAX));
    if (row->size == sizeof(value))
        memcpy(field, &value, sizeof(value));
    else
        memcpy(field, &narrow, sizeof(narrow));
}

static int set_number(const struct config_row *row, const char *text, void *field, struct err *err)
{
    uint64_t value;
    int r = parse_number(number_kind(row), text, row->min, row->max, &value, err);

    if (r < 0)
        return r;
    store(row, value, field);
    return 0;
}

/* Choices and texts */

static void describe_choices(const struct config_row *row, struct buf *out)
{
    for (uint64_t i = 0; i <= row->max; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : i == row->max ? " or " : ", ", row->names[i]);
}

static int set_choice(const struct config_row *row, const char *text, void *field, struct err *err)
{
    for (uint64_t i = 0; i <= row->max; i++) {
        if (strcmp(row->names[i], text) == 0) {
            store(row, i, field);
            return 0;
        }
    }
    char quoted[PARSE_QUOTED_SIZE];
    cleanup(buf_done) struct buf choices = BUF_INIT(1024);
    describe_choices(row, &choices);
    return err_set(err, -EINVAL, "%s is not known; write %.*s", parse_quote(text, strlen(text), quoted),
                   (int)choices.size, choices.data);
}

static int set_text(const struct config_row *row, const char *text, void *field, struct err *err)
{
    size_t size = strlen(text);

    if (size < row->min || size > row->max)
        return err_set(err, -ERANGE, "has %zu bytes; write a text of %" PRIu64 " to %" PRIu64 " bytes", size,
                       row->min, row->max);
    char *copy = strdup(text);
    if (!copy)
        return out_of_memory(err);
    free(*(char **)field);
    *(char **)field = copy;
    return 0;
}

static int set_store(const struct config_row *row, const char *text, void *field, struct err *err)
{
    static const char scheme[] = "sqlite:";
    char quoted[PARSE_QUOTED_SIZE];

    if (strncmp(text, scheme, strlen(scheme)) != 0 || text[strlen(scheme)] == '\0')
        return err_set(err, -EINVAL, "%s is not a store; write sqlite:PATH, such as sqlite:run/tasks.db",
                       parse_quote(text, strlen(text), quoted));
    return set_text(row, text, field, err);
}

/* Addresses */

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

/* The address in numbers: without the brackets of IPv6, localhost as what it always means.  False when it is
 * not numeric. */
static bool numeric_host(const char *text, size_t size, char ret_host[INET6_ADDRSTRLEN])
{
    unsigned char binary[sizeof(struct in6_addr)];
    bool brackets = size >= 2 && text[0] == '[' && text[size - 1] == ']';

    if (brackets) {
        text++;
        size -= 2;
    }
    if (size >= INET6_ADDRSTRLEN)
        return false;
    memcpy(ret_host, text, size);
    ret_host[size] = '\0';
    if (!brackets && strcmp(ret_host, "localhost") == 0)
        memcpy(ret_host, "127.0.0.1", sizeof("127.0.0.1"));
    return inet_pton(brackets ? AF_INET6 : AF_INET, ret_host, binary) == 1;
}

static int parse_tcp(const char *text, const char *rest, struct listen_address *address, struct err *err)
{
    char host[INET6_ADDRSTRLEN];
    uint64_t port;
    const char *colon = strrchr(rest, ':');

    if (!colon)
        return refuse_address(text, "has no port", err);
    if (parse_number(PARSE_UINT, colon + 1, 1, UINT16_MAX, &port, NULL) < 0)
        return refuse_address(text, "has a port that is not a number from 1 to 65535", err);
    if (!numeric_host(rest, (size_t)(colon - rest), host))
        return refuse_address(text, "has an address that is not numeric (IPv6 in brackets) or localhost",
                              err);
    *address = (struct listen_address){.kind = LISTEN_TCP, .host = strdup(host), .port = (unsigned)port};
    return address->host ? 0 : out_of_memory(err);
}

static void clear_address(struct listen_address *address)
{
    free(address->path);
    free(address->host);
}

static int set_address(const struct config_row *row, const char *text, void *field, struct err *err)
{
    struct listen_address address = {0};
    int r;

    (void)row;
    if (strncmp(text, "unix:", 5) == 0)
        r = parse_unix(text, text + 5, &address, err);
    else if (strncmp(text, "tcp:", 4) == 0)
        r = parse_tcp(text, text + 4, &address, err);
    else
        r = refuse_address(text, "is not an address", err);
    if (r < 0)
        return r;
    clear_address(field);
    *(struct listen_address *)field = address;
    return 0;
}

/* Lists */

static int add_url(const struct config_row *row, const char *text, void *field, struct err *err)
{
    struct config_list *list = field;

    if (list->count >= row->max)
        return err_set(err, -ERANGE, "has more than %" PRIu64 " URLs", row->max);
    int r = config_check_url(text, err);
    if (r < 0)
        return r;
    if (!list->items) /* room for all there may be: a few KiB */
        list->items = calloc(row->max, sizeof(*list->items));
    if (!list->items || asprintf(&list->items[list->count], "%s", text) < 0)
        return out_of_memory(err);
    list->count++;
    return 0;
}

static void clear_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

/* All types */

static const struct type {
    set_fn set;
    const char *name; /* NULL: it is a number, and parse.h knows */
} types[CONFIG_TYPE_COUNT] = {
    [CONFIG_UINT] = {set_number, NULL},          [CONFIG_DURATION] = {set_number, NULL},
    [CONFIG_SIZE] = {set_number, NULL},          [CONFIG_MODE] = {set_number, NULL},
    [CONFIG_CHOICE] = {set_choice, "a choice"},  [CONFIG_TEXT] = {set_text, "a text"},
    [CONFIG_STORE] = {set_store, "a store"},     [CONFIG_LISTEN] = {set_address, "an address"},
    [CONFIG_URLS] = {add_url, "a list of URLs"},
};

const char *config_row_type_name(const struct config_row *row)
{
    const char *name = types[row->type].name;

    return name ? name : parse_noun(number_kind(row));
}

void config_row_describe_range(const struct config_row *row, struct buf *out)
{
    char low[PARSE_TEXT_SIZE];
    char high[PARSE_TEXT_SIZE];

    switch (row->type) {
    case CONFIG_CHOICE:
        describe_choices(row, out);
        return;
    case CONFIG_LISTEN:
    case CONFIG_STORE:
        return;
    case CONFIG_TEXT:
        buf_printf(out, "%" PRIu64 " to %" PRIu64 " bytes", row->min, row->max);
        return;
    case CONFIG_URLS:
        buf_printf(out, "at most %" PRIu64, row->max);
        return;
    default:
        parse_format(number_kind(row), row->min, low);
        parse_format(number_kind(row), row->max, high);
        buf_printf(out, "%s to %s", low, high);
    }
}

static void *field_of(const struct config_row *row, struct config *config)
{
    return (char *)config + row->offset;
}

int config_value_set(const struct config_row *row, const char *text, struct config *config, struct err *err)
{
    return types[row->type].set(row, text, field_of(row, config), err);
}

int config_value_set_default(const struct config_row *row, struct config *config, struct err *err)
{
    if (row->type == CONFIG_URLS)
        return 0;
    return config_value_set(row, row->default_text, config, err);
}

void config_value_clear(const struct config_row *row, struct config *config)
{
    void *field = field_of(row, config);

    if (row->type == CONFIG_TEXT || row->type == CONFIG_STORE)
        free(*(char **)field);
    else if (row->type == CONFIG_LISTEN)
        clear_address(field);
    else if (row->type == CONFIG_URLS)
        clear_list(field);
    memset(field, 0, row->size);
}
