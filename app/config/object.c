#include "config/reader_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object *object_add(struct reader *reader, struct object *parent, const struct config_row *row,
                          struct config_position at)
{
    const struct config_table *table = parent ? &row->map->table : &config_settings;
    size_t seen = table->row_count + table->section_count + 1;
    struct object *object = calloc(1, sizeof(*object) + seen * sizeof(object->seen[0]));

    if (!object) {
        config_error(reader->errors, reader->name, at, "out of memory");
        return NULL;
    }
    object->parent = parent;
    object->row = row;
    object->index = parent ? config_map_count(row, object_fields(reader, parent)) - 1 : 0;
    object->table = table;
    object->at = at;
    *(reader->last ? &reader->last->next : &reader->first) = object;
    reader->last = object;
    reader->object = object;
    return object;
}

void object_free_all(struct reader *reader)
{
    while (reader->first) {
        struct object *object = reader->first;
        reader->first = object->next;
        free(object);
    }
}

/* As deep as maps are in one another. */
void *object_fields(const struct reader *reader, const struct object *object)
{
    return object->parent
               ? config_map_entry(object->row, object_fields(reader, object->parent), object->index)
               : reader->config;
}

/* "endpoints./customers/{id}.parts.profile" */
static size_t format_path(const struct reader *reader, const struct object *object,
                          char ret_name[CONFIG_KEY_MAX_BYTES])
{
    size_t size = 0;

    ret_name[0] = '\0';
    if (!object->parent)
        return 0;
    size = format_path(reader, object->parent, ret_name);
    int more = snprintf(ret_name + size, CONFIG_KEY_MAX_BYTES - size, "%s%s.%s", size > 0 ? "." : "",
                        object->row->key, *(char *const *)object_fields(reader, object));
    return size + (size_t)more;
}

const char *object_full_name(const struct reader *reader, const struct object *object, const char *key,
                             char ret_name[CONFIG_KEY_MAX_BYTES])
{
    size_t size = format_path(reader, object, ret_name);
    int more =
        snprintf(ret_name + size, CONFIG_KEY_MAX_BYTES - size, "%s%s", size > 0 && *key ? "." : "", key);

    /* A path, three words of at most 64 bytes or two and a name of 128, and the maps. */
    assert(more >= 0 && size + (size_t)more < CONFIG_KEY_MAX_BYTES);
    return ret_name;
}

const struct object *object_find(const struct reader *reader, const struct object *parent,
                                 const struct config_row *row, const void *entry)
{
    const struct object *object = reader->first;

    while (object &&
           !(object->parent == parent && object->row == row && object_fields(reader, object) == entry))
        object = object->next;
    return object;
}

struct object_key object_find_key(struct object *object, const char *key)
{
    const struct config_table *table = object->table;
    struct config_position *seen = object->seen;

    for (size_t i = 0; i < table->row_count; i++, seen++) {
        if (strcmp(table->rows[i].key, key) == 0)
            return (struct object_key){.row = &table->rows[i], .seen = seen};
    }
    for (size_t i = 0; i < table->section_count; i++, seen++) {
        if (strcmp(table->sections[i].key, key) == 0)
            return (struct object_key){.section = &table->sections[i], .seen = seen};
    }
    bool is_identity = object->identity && strcmp(object->identity, key) == 0;
    return (struct object_key){.seen = is_identity ? seen : NULL};
}
