#include "cli/source.h"

#include <errno.h>
#include <stdio.h>

static void format_address(const struct listen_address *address, char *ret, size_t size)
{
    if (address->kind == LISTEN_UNIX)
        snprintf(ret, size, "unix:%s", address->path);
    else
        snprintf(ret, size, "tcp:%s:%u", address->host, address->port);
}

int source_open(const struct config *config, struct source *ret, struct err *err)
{
    struct err no_server;
    struct err no_store;
    char address[160];

    if (source_server_open(config, ret, &no_server) == 0)
        return 0;
    int rc = source_stopped_open(config, ret, &no_store);
    if (rc == 0)
        return 0;
    format_address(&config->listen, address, sizeof(address));
    return err_set(err, rc, "no server answers at %s (%s), and %s", address, no_server.text, no_store.text);
}

void source_close(struct source *source)
{
    if (source->ops)
        source->ops->close(source->self);
    *source = (struct source){0};
}

void source_reply_done(struct source_reply *reply)
{
    buf_done(&reply->text);
}
