#include "config/reader_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

bool check_plain_node(struct reader *reader, const char *key)
{
    const char *what = yaml_unsupported(&reader->yaml);

    if (what)
        reader_error(reader, "%s%shas %s, which is not supported; write the value itself", key,
                     *key ? ": " : "", what);
    return !what;
}

/* Keys */

static void report_unknown(struct reader *reader, const char *section, const char *name)
{
    char quoted[PARSE_QUOTED_SIZE];
    char near[CONFIG_KEY_MAX_BYTES];
    char place[CONFIG_KEY_MAX_BYTES];
    const struct config_table *table = reader->object->table;
    const char *in = *object_full_name(reader, reader->object, section, place) ? " in " : "";
    const struct config_row *row = reader->object->row;

    parse_quote(name, strlen(name), quoted);
    if (row && !*section && strcmp(name, row->map->identity) == 0) {
        reader_error(reader, "unknown key %s%s%s; the name stands before the settings already", quoted, in,
                     place);
        return;
    }
    if (reader->errors->count < CONFIG_ERRORS_MAX && config_suggest(table, section, name, near))
        reader_error(reader, "unknown key %s%s%s; did you mean \"%s\"?", quoted, in, place, near);
    else
        reader_error(reader, "unknown key %s%s%s", quoted, in, place);
}

/* The current event is a key.  Gives its full name, such as "fetch.timeout"; false, with an error, when it
 * cannot be the name of anything. */
static bool read_key(struct reader *reader, const char *section, char ret_key[CONFIG_KEY_MAX_BYTES])
{
    const char *dot = *section ? "." : "";
    size_t size;
    char place[CONFIG_KEY_MAX_BYTES];

    if (!check_plain_node(reader, object_full_name(reader, reader->object, section, place)))
        return false;
    if (yaml_current(&reader->yaml) != FYET_SCALAR) {
        reader_error(reader, "a key must be a word");
        return false;
    }
    const char *name = yaml_scalar(&reader->yaml, &size);
    if (size == 0 || size > CONFIG_NAME_MAX_BYTES || memchr(name, '\0', size) || memchr(name, '.', size)) {
        char quoted[PARSE_QUOTED_SIZE];
        reader_error(reader, "unknown key %s; a key is one word, below its section",
                     parse_quote(name, size, quoted));
        return false;
    }
    snprintf(ret_key, CONFIG_KEY_MAX_BYTES, "%s%s%.*s", section, dot, (int)size, name);
    return true;
}

void report_duplicate(struct reader *reader, const char *name, struct config_position at,
                      struct config_position first)
{
    config_error(reader->errors, reader->name, at,
                 "duplicate key \"%s\"; it is already on line %u, column %u", name, first.line, first.column);
}

/* Whether the value behind the key is to be read; notes the place of the key. */
static bool is_new_key(struct reader *reader, const char *section, const char *key,
                       const struct object_key *known)
{
    char name[CONFIG_KEY_MAX_BYTES];

    if (!known->seen) {
        report_unknown(reader, section, *section ? key + strlen(section) + 1 : key);
        return false;
    }
    if (known->seen->line > 0) {
        report_duplicate(reader, object_full_name(reader, reader->object, key, name), reader->yaml.at,
                         *known->seen);
        return false;
    }
    *known->seen = reader->yaml.at;
    return true;
}

/* A key and its value; the current event is the key, at the end it is the last one of the value. */
static void read_pair(struct reader *reader, const char *section)
{
    char key[CONFIG_KEY_MAX_BYTES] = "";
    struct object_key known = {0};
    bool is_new = read_key(reader, section, key);

    if (is_new) {
        known = object_find_key(reader->object, key);
        is_new = is_new_key(reader, section, key, &known);
    }
    yaml_skip(&reader->yaml);
    if (yaml_next(&reader->yaml) == FYET_NONE)
        return;
    if (is_new && known.row)
        read_value(reader, known.row);
    else if (is_new && known.section)
        read_section(reader, known.section->key);
    else /* the identity has been read already */
        yaml_skip(&reader->yaml);
}

void read_section(struct reader *reader, const char *section)
{
    char place[CONFIG_KEY_MAX_BYTES];

    object_full_name(reader, reader->object, section, place);
    if (yaml_current(&reader->yaml) == FYET_NONE || yaml_is_null(&reader->yaml))
        return;
    if (!check_plain_node(reader, place)) {
        yaml_skip(&reader->yaml);
    } else if (yaml_current(&reader->yaml) != FYET_MAPPING_START) {
        reader_error(reader, "%s must be a mapping, lines of the form key: value",
                     *place ? place : "a configuration");
        yaml_skip(&reader->yaml);
    } else {
        enum fy_event_type type;
        while ((type = yaml_next(&reader->yaml)) != FYET_MAPPING_END && type != FYET_NONE)
            read_pair(reader, section);
    }
}

/* The whole */

/* Where a key of the object is, or would be. */
static struct config_position place_of(struct object *object, const char *key)
{
    if (!key)
        return object->at;
    struct object_key known = object_find_key(object, key);
    assert(known.seen);
    return known.seen->line > 0 ? *known.seen : object->at;
}

static void report_conflict(struct reader *reader, struct object *object,
                            const struct config_conflict *conflict, const struct err *err)
{
    char name[CONFIG_KEY_MAX_BYTES];
    struct config_position at = place_of(object, conflict->key);
    const struct object *other =
        conflict->other ? object_find(reader, object->parent, object->row, conflict->other) : NULL;

    object_full_name(reader, object, conflict->key ? conflict->key : "", name);
    if (other)
        config_error(reader->errors, reader->name, at, "%s: %s on line %u, column %u", name, err->text,
                     other->at.line, other->at.column);
    else
        config_error(reader->errors, reader->name, at, "%s: %s", name, err->text);
}

static void check_together(struct reader *reader, struct object *object)
{
    const config_together_fn *check = object->table->checks;
    struct config_scope scope = {
        .config = reader->config,
        .parent = object->parent ? object_fields(reader, object->parent) : NULL,
        .object = object_fields(reader, object),
    };

    for (; check && *check; check++) {
        struct config_conflict conflict = {0};
        struct err err = {0};
        if ((*check)(&scope, &conflict, &err) < 0)
            report_conflict(reader, object, &conflict, &err);
    }
}

/* What contradicts itself. */
static void check_objects(struct reader *reader)
{
    if (config_find_waits(reader->config) < 0)
        config_error(reader->errors, reader->name, (struct config_position){0}, "out of memory");
    for (struct object *object = reader->first; object; object = object->next)
        check_together(reader, object);
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
    reader_error(reader, "a second YAML document begins here; a configuration is one document");
}

static void report_broken(struct reader *reader)
{
    const char *text = yaml_broken_text(&reader->yaml);

    reader_error(reader, "not valid YAML%s%s", text ? ": " : "", text ? text : "");
}

void config_read(const char *name, const char *text, size_t size, struct config *config,
                 struct config_errors *errors)
{
    struct reader reader = {.name = name, .config = config, .errors = errors};

    if (size == 0)
        return;
    if (!yaml_open(&reader.yaml, text, size)) {
        reader_error(&reader, "out of memory");
    } else if (object_add(&reader, NULL, NULL, reader.yaml.at)) {
        read_stream(&reader);
        if (reader.yaml.is_broken)
            report_broken(&reader);
        else
            check_objects(&reader);
    }
    yaml_close(&reader.yaml);
    object_free_all(&reader);
}
