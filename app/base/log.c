#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES  4096
#define VALUE_MAX_BYTES 1024

const char *const log_level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warning", "error"};
const char *const log_format_names[LOG_FORMAT_COUNT] = {"text", "json"};

static atomic_int min_level = LOG_LEVEL_INFO;
static atomic_int line_format = LOG_FORMAT_TEXT;

/* A line under construction.  What does not fit is left out and makes it full; the end of the line always
 * fits. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t size;
    bool is_full;
};

static void put(struct line *line, const char *text, size_t size)
{
    if (size > sizeof(line->text) - strlen("}\n") - line->size) {
        line->is_full = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void put_str(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Text from anywhere, at most VALUE_MAX_BYTES of it, in JSON's escapes, which serve the text format as well:
 * control characters and those in `special` are escaped, what is not UTF-8 becomes U+FFFD. */
static void put_escaped(struct line *line, const char *text, const char *special)
{
    char escape[8];
    size_t length = strnlen(text, VALUE_MAX_BYTES);
    size_t end = line->size + VALUE_MAX_BYTES;

    for (size_t i = 0; i < length && line->size < end && !line->is_full;) {
        unsigned char c = (unsigned char)text[i];
        size_t size = text_utf8_char_size(text + i, length - i);
        if (size == 0) {
            put_str(line, "\xef\xbf\xbd");
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof(escape), "\\u%04x", c);
            put_str(line, escape);
        } else {
            if (strchr(special, c))
                put(line, "\\", 1);
            put(line, text + i, size);
        }
        i += MAX(size, (size_t)1);
    }
}

static void put_quoted(struct line *line, const char *text)
{
    put(line, "\"", 1);
    put_escaped(line, text, "\"\\");
    put(line, "\"", 1);
}

static bool is_bare_word(const char *text)
{
    return *text != '\0' && strlen(text) < VALUE_MAX_BYTES &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,%?&#") ==
               strlen(text);
}

static void put_value(struct line *line, enum log_format format, const struct log_field *field)
{
    char number[24];

    switch (field->type) {
    case LOG_FIELD_STR: {
        const char *text = field->str ? field->str : "";
        if (format == LOG_FORMAT_TEXT && is_bare_word(text))
            put_str(line, text);
        else
            put_quoted(line, text);
        return;
    }
    case LOG_FIELD_UINT:
        snprintf(number, sizeof(number), "%" PRIu64, field->uint);
        break;
    case LOG_FIELD_INT:
        snprintf(number, sizeof(number), "%" PRId64, field->sint);
        break;
    }
    put_str(line, number);
}

static void put_head(struct line *line, enum log_format format, enum log_level level, const char *message)
{
    char time[CLOCK_RFC3339_SIZE];
    char thread[16] = "";

    clock_format_rfc3339(clock_wall_ms(), time);
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    if (format == LOG_FORMAT_JSON) {
        put_str(line, "{\"time\":");
        put_quoted(line, time);
        put_str(line, ",\"level\":");
        put_quoted(line, log_level_names[level]);
        put_str(line, ",\"thread\":");
        put_quoted(line, thread);
        put_str(line, ",\"message\":");
        put_quoted(line, message);
        return;
    }
    put_str(line, time);
    put_str(line, " ");
    put_str(line, log_level_names[level]);
    put_str(line, " ");
    put_str(line, thread);
    put_str(line, ": ");
    put_escaped(line, message, "");
}

static void put_field(struct line *line, enum log_format format, const struct log_field *field)
{
    if (format == LOG_FORMAT_JSON) {
        put_str(line, ",");
        put_quoted(line, field->key);
        put_str(line, ":");
    } else {
        put_str(line, " ");
        put_str(line, field->key);
        put_str(line, "=");
    }
    put_value(line, format, field);
}

/* A field that does not fit is left out whole: half of one would not be JSON. */
static void put_fields(struct line *line, enum log_format format, const struct log_field *fields)
{
    for (const struct log_field *field = fields + 1; field->key; field++) {
        size_t size = line->size;
        put_field(line, format, field);
        if (line->is_full)
            line->size = size;
        line->is_full = false;
    }
}

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store_explicit(&min_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&line_format, (int)format, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

void log_event(enum log_level level, const char *message, const struct log_field *fields)
{
    if (!log_enabled(level))
        return;
    enum log_format format = (enum log_format)atomic_load_explicit(&line_format, memory_order_relaxed);
    struct line line = {.size = 0};
    put_head(&line, format, level, message);
    put_fields(&line, format, fields);
    if (format == LOG_FORMAT_JSON)
        line.text[line.size++] = '}';
    line.text[line.size++] = '\n';
    /* A log that cannot be written has nowhere to be reported. */
    ssize_t written = write(STDERR_FILENO, line.text, line.size);
    (void)written;
}
