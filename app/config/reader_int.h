/* reader_int.h - from YAML to fields: what the files of the reader share.
 *
 * libfyaml reads, because it gives the line and column of every event; libcyaml, which maps YAML to structs
 * by itself, stops at the first error and knows no nearest key.  We take its events and not its document
 * tree: what nests is what the tables nest, a map in an entry of a map; everything else is counted off by
 * yaml_skip without recursion, so depth costs nothing; aliases are refused, so they expand to nothing; and a
 * duplicate key is ours to report with both places.  What is wrong in a value is noted and reading goes on;
 * only broken YAML ends it.
 *
 *     reader.c         the document, sections, keys; what is checked when all has been read
 *     reader_value.c   single values, lists, pairs
 *     reader_map.c     the entries of maps, which read_section fills
 *     object.c         what is being filled, and where its keys stood
 *
 * Every read_x begins at the first event of what it reads and ends at the last one. */
#pragma once

#include "config/config_int.h"
#include "config/yaml_int.h"

/* A struct that is being filled: the configuration, or an entry of a map.  They are kept to the end, for what
 * contradicts itself is seen when all has been read. */
struct object {
    struct object *next;
    struct object *parent;        /* NULL: this is the configuration */
    const struct config_row *row; /* the map in the parent's table that this is an entry of */
    size_t index;                 /* and which one */
    const struct config_table *table;
    const char *identity;      /* the key of an item that holds its name; NULL: it stands before the entry */
    struct config_position at; /* of its name */
    struct config_position seen[]; /* of the rows, the sections and the identity; line 0: not in the file */
};

struct reader {
    const char *name;
    struct yaml yaml;
    struct config *config;
    struct config_errors *errors;
    struct object *first; /* the configuration, then the entries in the order of the file */
    struct object *last;
    struct object *object;            /* the one that is being read */
    char label[CONFIG_KEY_MAX_BYTES]; /* of the value that is being read: "fetch.timeout" */
};

#define reader_error(reader, ...)                                                                            \
    config_error((reader)->errors, (reader)->name, (reader)->yaml.at, __VA_ARGS__)

/* Makes it the one that is being read.  NULL, with an error, without memory. */
struct object *object_add(struct reader *reader, struct object *parent, const struct config_row *row,
                          struct config_position at);
void object_free_all(struct reader *reader);

/* The struct that the object fills.  Not to be kept: entries move when others are added. */
void *object_fields(const struct reader *reader, const struct object *object);

/* What a key of the object is called in the file as a whole: "queues.mail.weight". */
const char *object_full_name(const struct reader *reader, const struct object *object, const char *key,
                             char ret_name[CONFIG_KEY_MAX_BYTES]);

/* The object of an entry's struct; NULL when there is none. */
const struct object *object_find(const struct reader *reader, const struct object *parent,
                                 const struct config_row *row, const void *entry);

/* What a key means in an object. */
struct object_key {
    const struct config_row *row;         /* or */
    const struct config_section *section; /* or, when `seen` is not NULL, the identity */
    struct config_position *seen;         /* where it stood before; NULL: the key is not known */
};
struct object_key object_find_key(struct object *object, const char *key);

/* False, with an error, for what YAML has and a configuration has no use for. */
bool check_plain_node(struct reader *reader, const char *key);

/* Appends a text of the file with its variables replaced, and a NUL; 0 when it may be a value. */
must_check int read_text(const char *raw, size_t size, bool is_secret, struct buf *out, struct err *err);

void report_duplicate(struct reader *reader, const char *name, struct config_position at,
                      struct config_position first);

/* The current event begins the value of a section, of an entry, or of the whole file. */
void read_section(struct reader *reader, const char *section);

/* The value of a row of reader->object. */
void read_value(struct reader *reader, const struct config_row *row);

/* The value of a map; reader->label is what it is called. */
void read_map(struct reader *reader, const struct config_row *row);
