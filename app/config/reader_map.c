/* Maps: entries with names that the file chooses, before them or in them. */
#include "config/reader_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A map that is being read. */
struct entries {
    struct object *parent;
    const struct config_row *row;
    char label[CONFIG_KEY_MAX_BYTES]; /* "queues", "endpoints./x.parts" */
};

/* The entry of that name that is there already; NULL: none, or it does not matter. */
static const void *find_entry(const struct reader *reader, const struct entries *entries, const char *name)
{
    const void *fields = object_fields(reader, entries->parent);
    size_t count = entries->row->map->may_repeat ? 0 : config_map_count(entries->row, fields);

    for (size_t i = 0; i < count; i++) {
        const void *entry = config_map_entry(entries->row, fields, i);
        if (strcmp(*(char *const *)entry, name) == 0)
            return entry;
    }
    return NULL;
}

/* Whether an entry may have this name, which ends with a NUL. */
static bool check_name(struct reader *reader, const struct entries *entries, const struct buf *name,
                       struct config_position at)
{
    struct err err = {0};
    int r = config_check_value(name->data, name->size - 1, &err);

    if (r == 0)
        r = entries->row->map->check_name(name->data, &err);
    if (r < 0) {
        config_error(reader->errors, reader->name, at, "%s: %s", entries->label, err.text);
        return false;
    }
    assert(name->size - 1 <= CONFIG_ENTRY_NAME_MAX_BYTES);
    const void *other = find_entry(reader, entries, name->data);
    const struct object *object = other ? object_find(reader, entries->parent, entries->row, other) : NULL;
    if (object) {
        char full[CONFIG_KEY_MAX_BYTES];
        report_duplicate(reader, object_full_name(reader, object, "", full), at, object->at);
    }
    return !other;
}

/* Makes it the one that is being read.  NULL, with an error, when it cannot be. */
static struct object *add_entry(struct reader *reader, const struct entries *entries, const struct buf *name,
                                struct config_position at)
{
    struct err err = {0};
    void *fields = object_fields(reader, entries->parent);

    if (!check_name(reader, entries, name, at))
        return NULL;
    if (config_map_add(entries->row, fields, name->data, &err) < 0) {
        config_error(reader->errors, reader->name, at, "%s: %s", entries->label, err.text);
        return NULL;
    }
    return object_add(reader, entries->parent, entries->row, at);
}

/* What has no default must be there. */
static void check_required(struct reader *reader, const struct object *object)
{
    char name[CONFIG_KEY_MAX_BYTES];

    for (size_t i = 0; i < object->table->row_count; i++) {
        const struct config_row *row = &object->table->rows[i];
        if (!row->default_text && !row->is_optional && object->seen[i].line == 0)
            config_error(reader->errors, reader->name, object->at, "%s: %s is missing",
                         object_full_name(reader, object, "", name), row->key);
    }
}

/* The current event begins the settings of an entry. */
static void read_settings(struct reader *reader, struct object *object)
{
    read_section(reader, "");
    if (!reader->yaml.is_broken)
        check_required(reader, object);
}

/* The current event is an entry's key. */
static struct object *add_named(struct reader *reader, const struct entries *entries)
{
    cleanup(buf_done) struct buf name = BUF_INIT(CONFIG_VALUE_MAX_BYTES);
    size_t size;

    if (!check_plain_node(reader, entries->label))
        return NULL;
    if (yaml_current(&reader->yaml) != FYET_SCALAR) {
        reader_error(reader, "a key must be a word");
        return NULL;
    }
    const char *key = yaml_scalar(&reader->yaml, &size);
    buf_append(&name, key, size);
    buf_append(&name, "", 1);
    if (name.failed) {
        reader_error(reader, "%s: %s", entries->label,
                     size < CONFIG_VALUE_MAX_BYTES ? "out of memory" : "a name is longer than 64KiB");
        return NULL;
    }
    return add_entry(reader, entries, &name, reader->yaml.at);
}

/* name: settings */
static void read_named(struct reader *reader, const struct entries *entries)
{
    struct object *object = add_named(reader, entries);

    yaml_skip(&reader->yaml);
    if (yaml_next(&reader->yaml) == FYET_NONE)
        return;
    if (object)
        read_settings(reader, object);
    else
        yaml_skip(&reader->yaml);
}

/* The current event begins an item that is a mapping.  Its name may stand anywhere in it, but errors before
 * that are to speak of it: so we look ahead. */
static struct object *add_item(struct reader *reader, const struct entries *entries, size_t number)
{
    const char *identity = entries->row->map->identity;
    cleanup(buf_done) struct buf name = BUF_INIT(CONFIG_VALUE_MAX_BYTES);
    struct err err = {0};
    struct yaml_value found = {0};
    int r = yaml_look_ahead(&reader->yaml, identity, &found);

    if (r < 0) {
        reader_error(reader, "out of memory");
        return NULL;
    }
    if (r == 0) {
        reader_error(reader, "%s: item %zu has no %s; write one, a single value, at its beginning",
                     entries->label, number, identity);
        return NULL;
    }
    if (read_text(found.text, found.size, false, &name, &err) < 0) {
        config_error(reader->errors, reader->name, found.at, "%s: %s", entries->label, err.text);
        return NULL;
    }
    struct object *object = add_entry(reader, entries, &name, found.at);
    if (object)
        object->identity = identity;
    return object;
}

/* The current event begins an item of a sequence. */
static void read_item(struct reader *reader, const struct entries *entries, size_t number)
{
    const struct config_map *map = entries->row->map;
    struct object *object = NULL;

    if (!check_plain_node(reader, entries->label)) {
        yaml_skip(&reader->yaml);
        return;
    }
    if (yaml_current(&reader->yaml) != FYET_MAPPING_START)
        reader_error(reader, "%s: item %zu is not %s; write a mapping, its %s and its settings",
                     entries->label, number, map->entry, map->identity);
    else
        object = add_item(reader, entries, number);
    if (object)
        read_settings(reader, object);
    else
        yaml_skip(&reader->yaml);
}

static void skip_entry(struct reader *reader, bool is_named)
{
    yaml_skip(&reader->yaml);
    if (!is_named)
        return;
    yaml_next(&reader->yaml);
    yaml_skip(&reader->yaml);
}

static void read_entries(struct reader *reader, const struct entries *entries)
{
    bool is_named = yaml_current(&reader->yaml) == FYET_MAPPING_START;
    enum fy_event_type end = is_named ? FYET_MAPPING_END : FYET_SEQUENCE_END;
    size_t max = entries->row->max;

    for (size_t number = 1; yaml_next(&reader->yaml) != end && !reader->yaml.is_broken; number++) {
        if (number == max + 1)
            reader_error(reader, "%s: has more than %zu entries", entries->label, max);
        if (number > max)
            skip_entry(reader, is_named);
        else if (is_named)
            read_named(reader, entries);
        else
            read_item(reader, entries, number);
        reader->object = entries->parent;
    }
}

void read_map(struct reader *reader, const struct config_row *row)
{
    struct entries entries = {.parent = reader->object, .row = row};
    struct config_position at = reader->yaml.at;
    enum fy_event_type type = yaml_current(&reader->yaml);
    size_t errors = reader->errors->count;

    snprintf(entries.label, sizeof(entries.label), "%s", reader->label);
    if (type == FYET_MAPPING_START || type == FYET_SEQUENCE_START) {
        read_entries(reader, &entries);
    } else if (!yaml_is_null(&reader->yaml)) {
        reader_error(reader, "%s must be a mapping, the name of %s and its settings below it", entries.label,
                     row->map->entry);
    }
    if (reader->yaml.is_broken || reader->errors->count > errors)
        return;
    if (config_map_count(row, object_fields(reader, entries.parent)) < row->min)
        config_error(reader->errors, reader->name, at, "%s: has no entries; write at least %zu",
                     entries.label, (size_t)row->min);
}
