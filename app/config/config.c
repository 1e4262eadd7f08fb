#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_int.h"

static const struct config_position whole_file = {0, 0};

void config_errors_done(struct config_errors *errors)
{
    buf_done(&errors->text);
    errors->count = 0;
}

void config_error(struct config_errors *errors, const char *name, struct config_position at,
                  const char *format, ...)
{
    char message[1024];
    va_list args;

    if (errors->count++ >= CONFIG_ERRORS_MAX)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    buf_append_str(&errors->text, name);
    if (at.line > 0)
        buf_printf(&errors->text, ":%u:%u", at.line, at.column);
    buf_printf(&errors->text, ": %s\n", message);
}

static int report(struct config_errors *errors)
{
    if (errors->count > CONFIG_ERRORS_MAX)
        buf_printf(&errors->text, "and %zu more\n", errors->count - CONFIG_ERRORS_MAX);
    return errors->count > 0 ? -1 : 0;
}

int config_parse(const char *name, const char *text, size_t size, struct config **ret_config,
                 struct config_errors *errors)
{
    struct err err = {0};
    cleanup(config_free_scope) struct config *config = calloc(1, sizeof(*config));

    if (!config || config_object_init(&config_settings, config, &err) < 0)
        config_error(errors, name, whole_file, "%s", config ? err.text : "out of memory");
    else if (size > CONFIG_FILE_MAX_BYTES)
        config_error(errors, name, whole_file, "is longer than 1MiB");
    else if (config_check_bytes(name, text, size, errors))
        config_read(name, text, size, config, errors);
    if (report(errors) < 0)
        return -1;
    *ret_config = config;
    config = NULL;
    return 0;
}

static void close_scope(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Reads until the end or until `text` is full, whatever kind of file it is. */
static int read_all(const char *path, struct buf *text, struct err *err)
{
    struct stat status;
    ssize_t got;
    cleanup(close_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return err_set_errno(err, errno, "cannot be opened");
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        return err_set_errno(err, EISDIR, "cannot be read");
    if (!buf_reserve(text, text->max))
        return err_set(err, -ENOMEM, "out of memory");
    do {
        got = read(fd, text->data + text->size, text->max - text->size);
        if (got < 0 && errno != EINTR)
            return err_set_errno(err, errno, "cannot be read");
        text->size += got > 0 ? (size_t)got : 0;
    } while (got != 0 && text->size < text->max);
    return 0;
}

int config_load(const char *path, struct config **ret_config, struct config_errors *errors)
{
    struct err err = {0};
    cleanup(buf_done) struct buf text = BUF_INIT(CONFIG_FILE_MAX_BYTES + 1);

    if (read_all(path, &text, &err) < 0) {
        config_error(errors, path, whole_file, "%s", err.text);
        return -1;
    }
    return config_parse(path, text.data, text.size, ret_config, errors);
}

void config_free(struct config *config)
{
    if (!config)
        return;
    config_object_done(&config_settings, config);
    free(config);
}
