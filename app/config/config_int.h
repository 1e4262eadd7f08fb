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
    CONFIG_CHOICE, /* one of row->names; the field is an enum in their order */
    CONFIG_TEXT,   /* char *; min and max count bytes */
    CONFIG_STORE,  /* char *, sqlite:PATH; max counts bytes */
    CONFIG_LISTEN, /* struct listen_address */
    CONFIG_URLS,   /* struct config_list; max counts URLs */
    CONFIG_TYPE_COUNT,
};

/* A setting.  The rows make the parser, its errors, the defaults, the suggestions and CONFIGURATION.md. */
struct config_row {
    const char *key; /* with its sections: "fetch.timeout" */
    enum config_type type;
    size_t offset; /* of the field in struct config */
    size_t size;   /* of the field */
    const char *default_text;
    uint64_t min;
    uint64_t max;
    const char *const *names; /* CONFIG_CHOICE: max + 1 of them */
    const char *help;         /* one or two sentences for CONFIGURATION.md */
};

struct config_section {
    const char *key; /* "" is the top level */
    const char *help;
};

#define CONFIG_ROW_COUNT     30
#define CONFIG_SECTION_COUNT 5
extern const struct config_row config_rows[CONFIG_ROW_COUNT];
extern const struct config_section config_sections[CONFIG_SECTION_COUNT];

#define CONFIG_URL_MAX_BYTES   8192
#define CONFIG_VALUE_MAX_BYTES ((size_t)64 * 1024)
#define CONFIG_NAME_MAX_BYTES  64  /* one word of a key */
#define CONFIG_KEY_MAX_BYTES   128 /* a key with its section and NUL */

/* "a duration", "a list of URLs". */
const char *config_row_type_name(const struct config_row *row);

/* Appends what the row allows, for people: "1ms to 1h".  Nothing where the help says it. */
void config_row_describe_range(const struct config_row *row, struct buf *out);

/* Reads `text` into the row's field.  CONFIG_URLS: adds one URL.  Negative errno with `err` set; the field
 * then has its old value. */
must_check int config_value_set(const struct config_row *row, const char *text, struct config *config,
                                struct err *err);

/* Puts the row's default into its field, which must be zero. */
must_check int config_value_set_default(const struct config_row *row, struct config *config, struct err *err);

/* Frees what the row's field holds and zeroes it. */
void config_value_clear(const struct config_row *row, struct config *config);

/* 0 when `url` is an absolute http or https URL that can be fetched as it stands. */
must_check int config_check_url(const char *url, struct err *err);

/* 0 when all bytes of a value are printable UTF-8 without line ends. */
must_check int config_check_value(const char *text, size_t size, struct err *err);

/* Appends `text` with ${NAME} and ${NAME:-default} replaced from the environment; $${ stands for ${. */
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

/* The known key that was probably meant by `name` (at most CONFIG_NAME_MAX_BYTES) in `section`, with its
 * section when it belongs in another; false when none is near. */
bool config_suggest(const char *section, const char *name, char ret_key[CONFIG_KEY_MAX_BYTES]);
