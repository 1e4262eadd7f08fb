#include "config/config_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/yaml_int.h"

/* From YAML to fields.
 *
 * libfyaml reads, because it gives the line and column of every event; libcyaml, which maps YAML to structs
 * by itself, stops at the first error and knows no nearest key.  We take its events and not its document
 * tree: a file has three levels that mean something, everything else is counted off by yaml_skip without
 * recursion, so depth costs nothing; aliases are refused, so they expand to nothing; and a duplicate key is
 * ours to report with both places.  What is wrong in a value is noted and reading goes on; only broken YAML
 * ends it.
 */

/* A struct that is being filled: the configuration, or an entry of a map.  They are kept to the end, for what
 * contradicts itself is seen when all has been read. */
struct object {
    struct object *next;
    const struct config_table *table;
    void *fields;
    char name[CONFIG_KEY_MAX_BYTES]; /* what stands before a key: "queues.mail", "" for the configuration */
    struct config_position at;
    struct config_position seen[]; /* of the rows and then of the sections; line 0: not in the file */
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

#define error(reader, ...) config_error((reader)->errors, (reader)->name, (reader)->yaml.at, __VA_ARGS__)

/* False, with an error, for what YAML has and a configuration has no use for. */
static bool check_plain_node(struct reader *reader, const char *key)
{
    const char *what = yaml_unsupported(&reader->yaml);

    if (what)
        error(reader, "%s%shas %s, which is not supported; write the value itself", key, *key ? ": " : "",
              what);
    return !what;
}

/* Objects */

static struct object *add_object(struct reader *reader, const struct config_table *table, void *fields)
{
    size_t seen = table->row_count + table->section_count;
    struct object *object = calloc(1, sizeof(*object) + seen * sizeof(object->seen[0]));

    if (!object) {
        error(reader, "out of memory");
        return NULL;
    }
    object->table = table;
    object->fields = fields;
    object->at = reader->yaml.at;
    *(reader->last ? &reader->last->next : &reader->first) = object;
    reader->last = object;
    reader->object = object;
    return object;
}

static size_t find_row(const struct config_table *table, const char *key)
{
    size_t i = 0;

    while (i < table->row_count && strcmp(table->rows[i].key, key) != 0)
        i++;
    return i;
}

static size_t find_section(const struct config_table *table, const char *key)
{
    size_t i = 0;

    while (i < table->section_count && strcmp(table->sections[i].key, key) != 0)
        i++;
    return i;
}

/* What a key of the object is called in the file as a whole: "queues.mail.weight". */
static const char *full_name(const struct object *object, const char *key,
                             char ret_name[CONFIG_KEY_MAX_BYTES])
{
    const char *dot = *object->name && *key ? "." : "";
    int size = snprintf(ret_name, CONFIG_KEY_MAX_BYTES, "%s%s%s", object->name, dot, key);

    /* Two words of at most 64 bytes, and a section or a map. */
    assert(size >= 0 && size < CONFIG_KEY_MAX_BYTES);
    (void)size;
    return ret_name;
}

/* Values */

/* What is wrong in the text of a secret is told without the text. */
static int hide(const struct config_row *row, int r, struct err *err)
{
    if (!row->is_secret || r != -EINVAL)
        return r;
    return err_set(err, r, "is not one line of text in which ${ begins ${NAME} or ${NAME:-default}");
}

/* The current scalar, with its variables replaced, ends up in `value` with a NUL. */
static int substitute(const struct reader *reader, const struct config_row *row, struct buf *value,
                      struct err *err)
{
    size_t size;
    const char *raw = yaml_scalar(&reader->yaml, &size);
    int r = config_substitute(raw, size, value, err);

    if (r == 0)
        r = config_check_value(value->data, value->size, err);
    buf_append(value, "", 1);
    if (r == 0 && value->failed)
        r = err_set(err, -ERANGE, "is longer than 64KiB");
    return hide(row, r, err);
}

static void read_scalar(struct reader *reader, const struct config_row *row)
{
    struct err err = {0};
    cleanup(buf_done) struct buf value = BUF_INIT(CONFIG_VALUE_MAX_BYTES);
    int r = substitute(reader, row, &value, &err);

    if (r == 0)
        r = config_value_set(row, value.data, reader->object->fields, &err);
    if (r < 0)
        error(reader, "%s: %s", reader->label, err.text);
}

static void read_single(struct reader *reader, const struct config_row *row)
{
    const char *type = config_row_type_name(row);

    if (yaml_current(&reader->yaml) != FYET_SCALAR)
        error(reader, "%s: is a %s; write a single value, %s", reader->label,
              yaml_current(&reader->yaml) == FYET_SEQUENCE_START ? "list" : "mapping", type);
    else if (!yaml_is_null(&reader->yaml))
        read_scalar(reader, row);
    else if (row->default_text)
        error(reader, "%s: has no value; write %s, or take the key out for the default (%s)", reader->label,
              type, *row->default_text ? row->default_text : "\"\"");
    else
        error(reader, "%s: has no value; write %s", reader->label, type);
}

/* From the start of a sequence to its end. */
static void read_items(struct reader *reader, const struct config_row *row)
{
    enum fy_event_type type = yaml_next(&reader->yaml);

    for (size_t number = 1; type != FYET_SEQUENCE_END && type != FYET_NONE;
         type = yaml_next(&reader->yaml), number++) {
        if (number == row->max + 1)
            error(reader, "%s: has more than %zu items", reader->label, (size_t)row->max);
        if (number > row->max || !check_plain_node(reader, reader->label)) {
            yaml_skip(&reader->yaml);
        } else if (type != FYET_SCALAR || yaml_is_null(&reader->yaml)) {
            error(reader, "%s: item %zu is %s; write one value after each dash", reader->label, number,
                  type == FYET_SCALAR ? "empty" : "a list or a mapping");
            yaml_skip(&reader->yaml);
        } else {
            read_scalar(reader, row);
        }
    }
}

static void read_list(struct reader *reader, const struct config_row *row)
{
    size_t errors = reader->errors->count;
    struct config_position at = reader->yaml.at;
    struct err err = {0};

    if (yaml_current(&reader->yaml) == FYET_SEQUENCE_START) {
        read_items(reader, row);
    } else if (!yaml_is_null(&reader->yaml)) {
        error(reader, "%s: is not a list; write %s, each on a line of its own after a dash", reader->label,
              config_row_type_name(row));
        yaml_skip(&reader->yaml);
    }
    if (reader->yaml.is_broken || reader->errors->count > errors)
        return;
    if (config_value_check_count(row, reader->object->fields, &err) < 0)
        config_error(reader->errors, reader->name, at, "%s: %s", reader->label, err.text);
}

static void read_map(struct reader *reader, const struct config_row *row);

static void read_value(struct reader *reader, const struct config_row *row)
{
    full_name(reader->object, row->key, reader->label);
    if (!check_plain_node(reader, reader->label)) {
        yaml_skip(&reader->yaml);
    } else if (row->type == CONFIG_MAP) {
        read_map(reader, row);
    } else if (config_row_is_list(row)) {
        read_list(reader, row);
    } else {
        read_single(reader, row);
        yaml_skip(&reader->yaml);
    }
}

/* Keys */

static void report_unknown(struct reader *reader, const char *section, const char *name)
{
    char quoted[PARSE_QUOTED_SIZE];
    char near[CONFIG_KEY_MAX_BYTES];
    char place[CONFIG_KEY_MAX_BYTES];
    const struct config_table *table = reader->object->table;
    const char *in = *full_name(reader->object, section, place) ? " in " : "";

    parse_quote(name, strlen(name), quoted);
    if (reader->errors->count < CONFIG_ERRORS_MAX && config_suggest(table, section, name, near))
        error(reader, "unknown key %s%s%s; did you mean \"%s\"?", quoted, in, place, near);
    else
        error(reader, "unknown key %s%s%s", quoted, in, place);
}

/* The current event is a key.  Gives its full name, such as "fetch.timeout"; false, with an error, when it
 * cannot be the name of anything. */
static bool read_key(struct reader *reader, const char *section, char ret_key[CONFIG_KEY_MAX_BYTES])
{
    const char *dot = *section ? "." : "";
    size_t size;
    char place[CONFIG_KEY_MAX_BYTES];

    if (!check_plain_node(reader, full_name(reader->object, section, place)))
        return false;
    if (yaml_current(&reader->yaml) != FYET_SCALAR) {
        error(reader, "a key must be a word");
        return false;
    }
    const char *name = yaml_scalar(&reader->yaml, &size);
    if (size == 0 || size > CONFIG_NAME_MAX_BYTES || memchr(name, '\0', size) || memchr(name, '.', size)) {
        char quoted[PARSE_QUOTED_SIZE];
        error(reader, "unknown key %s; a key is one word, below its section",
              parse_quote(name, size, quoted));
        return false;
    }
    snprintf(ret_key, CONFIG_KEY_MAX_BYTES, "%s%s%.*s", section, dot, (int)size, name);
    return true;
}

static void report_duplicate(struct reader *reader, const char *name, struct config_position first)
{
    error(reader, "duplicate key \"%s\"; it is already on line %u, column %u", name, first.line,
          first.column);
}

/* Where the key was met before, to be set at the first time; NULL for an unknown key. */
static struct config_position *seen_of(struct object *object, size_t row, size_t sub)
{
    const struct config_table *table = object->table;

    if (row < table->row_count)
        return &object->seen[row];
    return sub < table->section_count ? &object->seen[table->row_count + sub] : NULL;
}

static void read_section(struct reader *reader, const char *section);

/* A key and its value; the current event is the key, at the end it is the last one of the value. */
static void read_pair(struct reader *reader, const char *section)
{
    char key[CONFIG_KEY_MAX_BYTES] = "";
    char name[CONFIG_KEY_MAX_BYTES];
    bool is_key = read_key(reader, section, key);
    const struct config_table *table = reader->object->table;
    size_t row = find_row(table, key);
    size_t sub = find_section(table, key);
    struct config_position *seen = is_key ? seen_of(reader->object, row, sub) : NULL;
    bool is_new = seen && seen->line == 0;

    if (is_new)
        *seen = reader->yaml.at;
    else if (seen)
        report_duplicate(reader, full_name(reader->object, key, name), *seen);
    else if (is_key)
        report_unknown(reader, section, *section ? key + strlen(section) + 1 : key);
    yaml_skip(&reader->yaml);
    if (yaml_next(&reader->yaml) == FYET_NONE)
        return;
    if (!is_new)
        yaml_skip(&reader->yaml);
    else if (row < table->row_count)
        read_value(reader, &table->rows[row]);
    else
        read_section(reader, table->sections[sub].key);
}

/* The current event begins the value of a section, of an entry, or of the whole file. */
static void read_section(struct reader *reader, const char *section)
{
    char place[CONFIG_KEY_MAX_BYTES];

    full_name(reader->object, section, place);
    if (yaml_current(&reader->yaml) == FYET_NONE || yaml_is_null(&reader->yaml))
        return;
    if (!check_plain_node(reader, place)) {
        yaml_skip(&reader->yaml);
    } else if (yaml_current(&reader->yaml) != FYET_MAPPING_START) {
        error(reader, "%s must be a mapping, lines of the form key: value",
              *place ? place : "a configuration");
        yaml_skip(&reader->yaml);
    } else {
        enum fy_event_type type;
        while ((type = yaml_next(&reader->yaml)) != FYET_MAPPING_END && type != FYET_NONE)
            read_pair(reader, section);
    }
}

/* Maps */

static const struct object *find_entry(const struct reader *reader, const char *name)
{
    const struct object *object = reader->first;

    while (object && strcmp(object->name, name) != 0)
        object = object->next;
    return object;
}

/* The current event is an entry's key.  Gives what is in front of the keys below it: "queues.mail". */
static bool read_entry_name(struct reader *reader, const char *map, char ret_name[CONFIG_KEY_MAX_BYTES])
{
    char quoted[PARSE_QUOTED_SIZE];
    size_t size;

    if (!check_plain_node(reader, map))
        return false;
    if (yaml_current(&reader->yaml) != FYET_SCALAR) {
        error(reader, "a key must be a word");
        return false;
    }
    const char *name = yaml_scalar(&reader->yaml, &size);
    snprintf(ret_name, CONFIG_KEY_MAX_BYTES, "%s.%.*s", map, (int)MIN(size, CONFIG_NAME_MAX_BYTES + 1), name);
    const char *copy = ret_name + strlen(map) + 1;
    if (strlen(copy) != size || config_check_name(copy, NULL) < 0) {
        error(reader, "%s: %s is not a name; write 1 to 64 letters, digits, - and _", map,
              parse_quote(name, size, quoted));
        return false;
    }
    const struct object *other = find_entry(reader, ret_name);
    if (other)
        report_duplicate(reader, ret_name, other->at);
    return !other;
}

/* What has no default must be there. */
static void check_required(struct reader *reader, const struct object *object)
{
    for (size_t i = 0; i < object->table->row_count; i++) {
        if (!object->table->rows[i].default_text && object->seen[i].line == 0)
            config_error(reader->errors, reader->name, object->at, "%s: %s is missing", object->name,
                         object->table->rows[i].key);
    }
}

/* The current event is the key of an entry `name`, at the end it is the last one of the value. */
static void read_entry(struct reader *reader, const struct config_row *row, const char *name)
{
    struct object *object = NULL;
    struct err err = {0};
    void *fields;

    if (config_map_add(row, reader->config, strchr(name, '.') + 1, &fields, &err) < 0)
        error(reader, "%s: %s", row->key, err.text);
    else
        object = add_object(reader, &row->map->table, fields);
    if (object)
        snprintf(object->name, sizeof(object->name), "%s", name);
    yaml_skip(&reader->yaml);
    if (yaml_next(&reader->yaml) == FYET_NONE || !object) {
        yaml_skip(&reader->yaml);
        return;
    }
    read_section(reader, "");
    if (!reader->yaml.is_broken)
        check_required(reader, object);
    reader->object = reader->first;
}

/* The current event begins the value of a map: entries by their names. */
static void read_map(struct reader *reader, const struct config_row *row)
{
    enum fy_event_type type;
    char name[CONFIG_KEY_MAX_BYTES];

    if (yaml_is_null(&reader->yaml))
        return;
    if (yaml_current(&reader->yaml) != FYET_MAPPING_START) {
        error(reader, "%s must be a mapping, the name of %s and its settings below it", row->key,
              row->map->entry);
        yaml_skip(&reader->yaml);
        return;
    }
    for (size_t number = 1; (type = yaml_next(&reader->yaml)) != FYET_MAPPING_END && type != FYET_NONE;
         number++) {
        if (number == row->max + 1)
            error(reader, "%s: has more than %zu entries", row->key, (size_t)row->max);
        if (number <= row->max && read_entry_name(reader, row->key, name)) {
            read_entry(reader, row, name);
        } else {
            yaml_skip(&reader->yaml);
            yaml_next(&reader->yaml);
            yaml_skip(&reader->yaml);
        }
    }
}

/* The whole */

static void check_together(struct reader *reader, const struct object *object)
{
    const struct config_table *table = object->table;
    char name[CONFIG_KEY_MAX_BYTES];

    for (size_t i = 0; i < table->check_count; i++) {
        const char *key = NULL;
        struct err err = {0};
        if (table->checks[i](reader->config, object->fields, &key, &err) == 0)
            continue;
        size_t row = find_row(table, key);
        assert(row < table->row_count);
        reader->yaml.at = object->seen[row].line > 0 ? object->seen[row] : object->at;
        error(reader, "%s: %s", full_name(object, key, name), err.text);
    }
}

static void read_stream(struct reader *reader)
{
    if (!yaml_next_is(&reader->yaml, FYET_STREAM_START) || !yaml_next_is(&reader->yaml, FYET_DOCUMENT_START))
        return;
    yaml_next(&reader->yaml);
    read_section(reader, "");
    if (!yaml_next_is(&reader->yaml, FYET_DOCUMENT_END) || !yaml_next_is(&reader->yaml, FYET_DOCUMENT_START))
        return;
    if (!fy_event_start_mark(reader->yaml.event)) /* begun by no ---, so by its first node */
        yaml_next(&reader->yaml);
    error(reader, "a second YAML document begins here; a configuration is one document");
}

static void report_broken(struct reader *reader)
{
    const char *text = yaml_broken_text(&reader->yaml);

    error(reader, "not valid YAML%s%s", text ? ": " : "", text ? text : "");
}

static void free_objects(struct reader *reader)
{
    while (reader->first) {
        struct object *object = reader->first;
        reader->first = object->next;
        free(object);
    }
}

void config_read(const char *name, const char *text, size_t size, struct config *config,
                 struct config_errors *errors)
{
    struct reader reader = {.name = name, .config = config, .errors = errors};

    if (size == 0)
        return;
    if (!yaml_open(&reader.yaml, text, size)) {
        error(&reader, "out of memory");
    } else if (add_object(&reader, &config_settings, config)) {
        read_stream(&reader);
        if (reader.yaml.is_broken)
            report_broken(&reader);
        for (const struct object *object = reader.first; object && !reader.yaml.is_broken;
             object = object->next)
            check_together(&reader, object);
    }
    yaml_close(&reader.yaml);
    free_objects(&reader);
}
