/* config_int.h - what the files of the configuration share: the rows, and one value's way from text to field.
 */
#pragma once

#include "base/err.h"
#include "base/parse.h"
#include "base/template.h"
#include "config/config.h"

enum config_type {
    CONFIG_UINT,
    CONFIG_DURATION,
    CONFIG_SIZE,
    CONFIG_MODE,
    CONFIG_REAL, /* double */
    CONFIG_RATE, /* double, per second; min and max count what stands before the slash, 0 is always allowed */
    CONFIG_NUMBER,   /* double, of any sign, -inf and inf included */
    CONFIG_BOOL,     /* bool */
    CONFIG_CHOICE,   /* one of row->names; the field is an enum in their order */
    CONFIG_TEXT,     /* char *; min and max count bytes */
    CONFIG_JSON,     /* char *, the text of an object; max counts bytes */
    CONFIG_STORE,    /* char *, sqlite:PATH; max counts bytes */
    CONFIG_BASE_URL, /* char *, an absolute URL that paths are put behind */
    CONFIG_LISTEN,   /* struct listen_address */
    CONFIG_URLS,     /* struct config_list; min and max count URLs */
    CONFIG_TEXTS,    /* struct config_list; min and max count texts, of at most CONFIG_ITEM_MAX_BYTES each */
    CONFIG_PAIRS,    /* struct config_pairs; max counts them */
    CONFIG_MAP,      /* a pointer to the entries and their number, see struct config_map; min and max count */
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
    const char *default_text; /* "[502, 503]" for a list, maps and pairs have the empty one; NULL: none */
    bool is_optional;         /* without a default the file need not give one: the field stays zero */
    uint64_t min;
    uint64_t max;
    const char *const *names;  /* CONFIG_CHOICE: max + 1 of them */
    config_text_fn check;      /* CONFIG_TEXT, each text of CONFIG_TEXTS and CONFIG_PAIRS; NULL: all may be */
    config_text_fn check_name; /* CONFIG_PAIRS: each name; NULL: all may be */
    config_text_fn check_first;   /* CONFIG_TEXTS: the first item, in place of `check`; NULL: as the others */
    const struct config_map *map; /* CONFIG_MAP */
    const char *help;             /* one or two sentences for CONFIGURATION.md */
};

struct config_section {
    const char *key; /* "" is the top level */
    const char *help;
};

/* What is checked together. */
struct config_scope {
    const struct config *config; /* its values have all been read */
    const void *parent;          /* the object whose map the entry is in; NULL for `config` itself */
    const void *object;          /* the entry, or `config` */
};

struct config_conflict {
    const char *key;   /* of the object, that is to be changed; NULL: the entry as a whole */
    const void *other; /* an entry of the same map that it is about too, whose place is told; NULL: none */
};

/* 0 when the settings of an object do not contradict one another, or those of others.  It is also called when
 * single values were wrong: those are as if they had not been there. */
typedef int (*config_together_fn)(const struct config_scope *scope, struct config_conflict *ret,
                                  struct err *err);

/* The settings that fill one struct. */
struct config_table {
    const struct config_row *rows;
    size_t row_count;
    const struct config_section *sections;
    size_t section_count;
    const config_together_fn *checks; /* NULL behind the last; NULL: none */
};

/* Entries with names that the file chooses, all with the same settings.  A file writes them as a mapping,
 * `mail: {weight: 2}`, or as a sequence, `- {name: mail, weight: 2}`. */
struct config_map {
    const char *entry;         /* what an entry is called, with its article: "a queue" */
    const char *identity;      /* the member of a sequence's items that is the name: "name" */
    config_text_fn check_name; /* it has at most CONFIG_ENTRY_NAME_MAX_BYTES then */
    bool may_repeat;           /* a name may come again: the checks say when not */
    const char *help;
    const char *name_help; /* what a name may be, for CONFIGURATION.md */
    size_t entry_size;     /* its struct begins with char *name */
    size_t count_offset;   /* of the number of entries, a size_t, in the struct that the map is in */
    struct config_table table;
};

/* For name_help, as config_check_name has it. */
#define CONFIG_NAME_HELP "NAME has at most 64 letters, digits, `-` and `_`."

extern const struct config_table config_settings; /* of struct config */
extern const struct config_map config_queues;
extern const struct config_map config_commands;
extern const struct config_map config_schedules;
extern const struct config_map config_upstreams;
extern const struct config_map config_endpoints;

#define CONFIG_URL_MAX_BYTES   8192
#define CONFIG_VALUE_MAX_BYTES ((size_t)64 * 1024)
#define CONFIG_ITEM_MAX_BYTES  4096 /* of CONFIG_TEXTS */
#define CONFIG_NAME_MAX_BYTES  64   /* one word of a key, the name of most entries */
#define CONFIG_KEY_MAX_BYTES   512  /* a key with its section or all its entries and NUL */

#define CONFIG_ENTRY_NAME_MAX_BYTES 256 /* of an entry of any map */
#define CONFIG_PARAM_NAME_MAX_BYTES 128
#define CONFIG_PAIR_NAME_MAX_BYTES  128
#define CONFIG_PAIR_TEXT_MAX_BYTES  8192
#define CONFIG_PAIRS_MAX            64

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

/* A number as JSON writes it, from its first byte to its last; false for anything else. */
must_check bool config_parse_number(const char *text, double *ret_value, bool *ret_is_integer);

/* Adds a pair, of which there are fewer than row->max. */
must_check int config_value_add_pair(const struct config_row *row, const char *name, const char *text,
                                     void *object, struct err *err);

/* The array with room for one item more behind `count`, NULL without memory: then it is as before.  There is
 * room for the next power of two, so that a file pays for what it has and not for what it could have. */
must_check void *config_grow(void *items, size_t count, size_t item_size);

/* Adds an entry with the defaults to the map of the row in `object`.  Entries of the same map may move. */
must_check int config_map_add(const struct config_row *row, void *object, const char *name, struct err *err);

size_t config_map_count(const struct config_row *row, const void *object);
void *config_map_entry(const struct config_row *row, const void *object, size_t index);

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

int config_check_network(const char *text, struct err *err);       /* "10.0.0.0/8" */
int config_check_base_url(const char *url, struct err *err);       /* without query and fragment */
int config_check_retry_status(const char *text, struct err *err);  /* "502" */
int config_check_pattern(const char *text, struct err *err);       /* a regular expression, or "" */
int config_check_endpoint_path(const char *text, struct err *err); /* "/customers/{id}" */
int config_check_param_name(const char *text, struct err *err);    /* "id", "query.limit" */
int config_check_part_name(const char *text, struct err *err);     /* no word that placeholders begin with */
int config_check_header_name(const char *text, struct err *err);   /* one that a part or a client may set */
int config_check_header_template(const char *text, struct err *err);
int config_check_path_template(const char *text, struct err *err);
int config_check_template(const char *text, struct err *err);
int config_check_json_template(const char *text, struct err *err); /* or "" */
int config_check_pointer(const char *text, struct err *err);       /* a JSON Pointer */

/* Whether the endpoint's path, which is valid, has this parameter. */
bool config_path_has_param(const char *path, const char *name);
/* Whether the paths of two endpoints mean the same: they differ in the names of parameters at the most. */
bool config_paths_clash(const char *a, const char *b);

/* The checks of the tables; NULL behind the last. */
extern const config_together_fn config_together[];
extern const config_together_fn config_command_checks[];
extern const config_together_fn config_schedule_checks[];
extern const config_together_fn config_upstream_checks[];
extern const config_together_fn config_endpoint_checks[];
extern const config_together_fn config_param_checks[];
extern const config_together_fn config_part_checks[];

/* Whether all of `text` matches a pattern: 1, 0, or -ENOMEM. */
must_check int config_pattern_matches(const char *pattern, const char *text);

/* Calls `visit` with each place of the part's templates and the key that it stands in, until it returns other
 * than 0.  Returns what it returned, or -ENOMEM. */
typedef int (*config_place_fn)(const struct template_place *place, const char *key, void *arg);
must_check int config_visit_places(const struct config_part *part, config_place_fn visit, void *arg);

/* The part's index; the number of parts when there is none of that name. */
size_t config_find_part(const struct config_endpoint *endpoint, const char *name);

/* 0 when the part can start one day.  Needs config_find_waits. */
int config_check_waits(const struct config_scope *scope, struct config_conflict *ret, struct err *err);

/* Finds out whom each part waits for; names that mean no part are passed over.  -ENOMEM. */
must_check int config_find_waits(struct config *config);

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
