/* config_int.h - what the files of the configuration share: the rows, and one value's way from text to field.
 */
#pragma once

#include "base/err.h"
#include "base/parse.h"
#include "config/config.h"

enum config_type {
    CONFIG_UINT,
    CONFIG_DURATION,
    CONFIG_SIZE,
    CONFIG_MODE,
    CONFIG_REAL, /* double */
    CONFIG_RATE, /* double, per second; min and max count what stands before the slash, 0 is always allowed */
    CONFIG_BOOL, /* bool */
    CONFIG_CHOICE, /* one of row->names; the field is an enum in their order */
    CONFIG_TEXT,   /* char *; min and max count bytes */
    CONFIG_JSON,   /* char *, the text of an object; max counts bytes */
    CONFIG_STORE,  /* char *, sqlite:PATH; max counts bytes */
    CONFIG_LISTEN, /* struct listen_address */
    CONFIG_URLS,   /* struct config_list; min and max count URLs */
    CONFIG_TEXTS,  /* struct config_list; min and max count texts, of at most CONFIG_ITEM_MAX_BYTES each */
    CONFIG_MAP,    /* a pointer to the entries and their number, see struct config_map; max counts them */
    CONFIG_TYPE_COUNT,
};

/* 0 when the row allows the text; it is within row->min and row->max.  The error quotes no secret. */
typedef int (*config_text_fn)(const char *text, struct err *err);

/* A setting.  The rows make the parser, its errors, the defaults, the suggestions and CONFIGURATION.md. */
struct config_row {
    const char *key; /* with its sections: "fetch.timeout" */
    enum config_type type;
    bool is_secret;           /* no error repeats the value */
    size_t offset;            /* of the field in the table's struct */
    size_t size;              /* of the field */
    const char *default_text; /* NULL: the file must give one.  Lists and maps have the empty one, or none */
    uint64_t min;
    uint64_t max;
    const char *const *names;     /* CONFIG_CHOICE: max + 1 of them */
    config_text_fn check;         /* CONFIG_TEXT, and each item of CONFIG_TEXTS; NULL: all are allowed */
    config_text_fn check_first;   /* CONFIG_TEXTS: the first item, in place of `check`; NULL: as the others */
    const struct config_map *map; /* CONFIG_MAP */
    const char *help;             /* one or two sentences for CONFIGURATION.md */
};

struct config_section {
    const char *key; /* "" is the top level */
    const char *help;
};

/* 0 when the settings of `object`, an entry of a map or `config` itself, do not contradict one another or
 * those of `config`, which have all been read.  Otherwise *ret_key is the key that is to be changed.  It is
 * also called when single values were wrong: those are as if they had not been there. */
typedef int (*config_together_fn)(const struct config *config, const void *object, const char **ret_key,
                                  struct err *err);

/* The settings that fill one struct. */
struct config_table {
    const struct config_row *rows;
    size_t row_count;
    const struct config_section *sections;
    size_t section_count;
    const config_together_fn *checks;
    size_t check_count;
};

/* Entries with names that the file chooses, all with the same settings. */
struct config_map {
    const char *entry; /* what an entry is called, with its article: "a queue" */
    const char *help;
    size_t entry_size;   /* its struct begins with char *name */
    size_t count_offset; /* of the number of entries, a size_t, in struct config */
    struct config_table table;
};

extern const struct config_table config_settings; /* of struct config */
extern const struct config_map config_queues;
extern const struct config_map config_commands;
extern const struct config_map config_schedules;

#define CONFIG_URL_MAX_BYTES   8192
#define CONFIG_VALUE_MAX_BYTES ((size_t)64 * 1024)
#define CONFIG_ITEM_MAX_BYTES  4096 /* of CONFIG_TEXTS */
#define CONFIG_NAME_MAX_BYTES  64   /* one word of a key, the name of an entry */
#define CONFIG_KEY_MAX_BYTES   192  /* a key with its section or its entry and NUL */

/* "a duration", "a list of URLs". */
const char *config_row_type_name(const struct config_row *row);

/* Appends what the row allows, for people: "1ms to 1h".  Nothing where the help says it. */
void config_row_describe_range(const struct config_row *row, struct buf *out);

/* Whether the field holds any number of values: a list. */
bool config_row_is_list(const struct config_row *row);

/* Reads `text` into the row's field of `object`, the table's struct.  Lists: adds one item.  Not for maps.
 * Negative errno with `err` set; the field then has its old value. */
must_check int config_value_set(const struct config_row *row, const char *text, void *object,
                                struct err *err);

/* 0 when a list has as many items as the row demands. */
must_check int config_value_check_count(const struct config_row *row, const void *object, struct err *err);

/* Frees what the row's field holds and zeroes it. */
void config_value_clear(const struct config_row *row, void *object);

/* Puts the defaults into `object`, which must be zero.  What has no default stays so. */
must_check int config_object_init(const struct config_table *table, void *object, struct err *err);

/* Frees what the fields of `object` hold and zeroes them. */
void config_object_done(const struct config_table *table, void *object);

/* Adds an entry with the defaults; the row's map is not full.  The entry stays where it is. */
must_check int config_map_add(const struct config_row *row, struct config *config, const char *name,
                              void **ret_entry, struct err *err);

size_t config_map_count(const struct config_row *row, const struct config *config);

/* The address in numbers: without the brackets of IPv6, localhost as what it always means.  False when it is
 * not numeric. */
#define CONFIG_NUMERIC_HOST_SIZE 46
bool config_numeric_host(const char *text, size_t size, char ret_host[CONFIG_NUMERIC_HOST_SIZE]);

must_check int config_parse_listen(const char *text, struct listen_address *ret_address, struct err *err);

/* Checks for rows. */
int config_check_name(const char *text, struct err *err);          /* an entry, a kind */
int config_check_absolute_path(const char *text, struct err *err); /* "/usr/bin/env" */
int config_check_variable(const char *text, struct err *err);      /* "NAME=value" */
int config_check_time_zone(const char *text, struct err *err); /* "Europe/Vienna"; need not be installed */
int config_check_json_object(const char *text, struct err *err);
int config_check_webhook_secret(const char *text, struct err *err); /* or "" */
int config_check_sender(const char *text, struct err *err);         /* "name@example.org" or "" */
int config_check_allowed_host(const char *text, struct err *err);   /* "*.example.org", "127.0.0.1:80" */
int config_check_mail_server(const char *text, struct err *err);    /* "smtp://HOST:PORT" or "" */

/* The checks of struct config, of a command and of a schedule. */
#define CONFIG_TOGETHER_COUNT 3
extern const config_together_fn config_together[CONFIG_TOGETHER_COUNT];
int config_check_command(const struct config *config, const void *object, const char **ret_key,
                         struct err *err);
int config_check_schedule(const struct config *config, const void *object, const char **ret_key,
                          struct err *err);

/* 0 when `url` is an absolute http or https URL that can be fetched as it stands. */
must_check int config_check_url(const char *url, struct err *err);

/* 0 when all bytes of a value are printable UTF-8 without line ends. */
must_check int config_check_value(const char *text, size_t size, struct err *err);

/* -ENOENT: a variable is not set; its name is in the error.
 * Appends `text` with ${NAME} and ${NAME:-default} replaced from the environment; $${ stands for ${. */
must_check int config_substitute(const char *text, size_t size, struct buf *out, struct err *err);

/* Reads the YAML in `text` into `config`, which holds the defaults.  What is wrong goes to `errors`. */
void config_read(const char *name, const char *text, size_t size, struct config *config,
                 struct config_errors *errors);

/* A place in the file, counted from 1 in lines and characters; line 0 is the file as a whole. */
struct config_position {
    unsigned line;
    unsigned column;
};

/* Adds one line to the errors. */
void config_error(struct config_errors *errors, const char *name, struct config_position at,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* False, and one error, when libfyaml is not to see these bytes. */
bool config_check_bytes(const char *name, const char *text, size_t size, struct config_errors *errors);

/* The known key that was probably meant by `name` (at most CONFIG_NAME_MAX_BYTES) in `section` of the table,
 * with its section when it belongs in another; false when none is near. */
bool config_suggest(const struct config_table *table, const char *section, const char *name,
                    char ret_key[CONFIG_KEY_MAX_BYTES]);
