/* log.h - one event, one line on standard error: time, level, thread, message, key=value.
 *
 * How to use it: log_info("task failed", LOG_STR("task", id), LOG_UINT("attempt", 2));
 * Threads: any, after log_setup.  A line is one write(2); lines do not mix.  Values are cut at 1 KiB and
 * escaped, so a value from outside cannot forge a line, and a line is always valid UTF-8 (and JSON).  A field
 * for which the line's 4 KiB have no room is left out.  Nothing here takes a lock or allocates. */
#pragma once

#include "base/common.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_COUNT,
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
    LOG_FORMAT_COUNT,
};

/* Names as the configuration writes them, in the order of the enums. */
extern const char *const log_level_names[LOG_LEVEL_COUNT];
extern const char *const log_format_names[LOG_FORMAT_COUNT];

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_UINT, LOG_FIELD_INT } type;
    union {
        const char *str; /* NULL is written as an empty string */
        uint64_t uint;
        int64_t sint;
    };
};

#define LOG_STR(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .str = (v)})
#define LOG_UINT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_UINT, .uint = (v)})
#define LOG_INT(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .sint = (v)})

/* Sets what is written and how.  Before the first call: text, from info upwards. */
void log_setup(enum log_level level, enum log_format format);

/* True when events of this level are written: asks before building costly values. */
bool log_enabled(enum log_level level);

/* `fields` as LOG_FIELDS makes them. */
void log_event(enum log_level level, const char *message, const struct log_field *fields);

/* The list begins with an entry that is passed over, so that it may be empty otherwise. */
#define LOG_FIELDS(...) ((const struct log_field[]){LOG_STR("", ""), ##__VA_ARGS__, LOG_STR(NULL, NULL)})

#define log_debug(message, ...)   log_event(LOG_LEVEL_DEBUG, message, LOG_FIELDS(__VA_ARGS__))
#define log_info(message, ...)    log_event(LOG_LEVEL_INFO, message, LOG_FIELDS(__VA_ARGS__))
#define log_warning(message, ...) log_event(LOG_LEVEL_WARNING, message, LOG_FIELDS(__VA_ARGS__))
#define log_error(message, ...)   log_event(LOG_LEVEL_ERROR, message, LOG_FIELDS(__VA_ARGS__))
