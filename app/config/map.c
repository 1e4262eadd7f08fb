/* Maps: entries with names of their own, each a struct that a table fills. */
#include "config/config_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pointer and the number are read and written as bytes: their types differ from map to map. */
static char *entries_of(const struct config_row *row, const void *object)
{
    char *entries;

    memcpy(&entries, (const char *)object + row->offset, sizeof(entries));
    return entries;
}

size_t config_map_count(const struct config_row *row, const void *object)
{
    size_t count;

    memcpy(&count, (const char *)object + row->map->count_offset, sizeof(count));
    return count;
}

void *config_map_entry(const struct config_row *row, const void *object, size_t index)
{
    assert(index < config_map_count(row, object));
    return entries_of(row, object) + index * row->map->entry_size;
}

static void set_entries(const struct config_row *row, void *object, char *entries, size_t count)
{
    memcpy((char *)object + row->offset, &entries, sizeof(entries));
    memcpy((char *)object + row->map->count_offset, &count, sizeof(count));
}

static void entry_done(const struct config_map *map, void *entry)
{
    free(*(char **)entry);
    config_object_done(&map->table, entry);
}

int config_map_add(const struct config_row *row, void *object, const char *name, struct err *err)
{
    const struct config_map *map = row->map;
    size_t count = config_map_count(row, object);
    char *copy = strdup(name);
    char *entries = copy ? config_grow(entries_of(row, object), count, map->entry_size) : NULL;

    assert(count < row->max);
    if (!entries) {
        free(copy);
        return err_set(err, -ENOMEM, "out of memory");
    }
    void *entry = entries + count * map->entry_size;
    memset(entry, 0, map->entry_size);
    *(char **)entry = copy;
    int r = config_object_init(&map->table, entry, err);
    if (r < 0) /* half an entry is none */
        entry_done(map, entry);
    set_entries(row, object, entries, count + (r == 0));
    return r;
}

static void clear_map(const struct config_row *row, void *object)
{
    size_t count = config_map_count(row, object);

    for (size_t i = 0; i < count; i++)
        entry_done(row->map, config_map_entry(row, object, i));
    free(entries_of(row, object));
    set_entries(row, object, NULL, 0);
}

/* The items of "[502, 503]", one by one. */
static int init_list(const struct config_row *row, void *object, struct err *err)
{
    const char *text = row->default_text ? row->default_text + 1 : "]";
    size_t size;
    int r = 0;

    for (; r == 0 && (size = strcspn(text, ",]")) > 0; text += size + strspn(text + size, ", ")) {
        char item[PARSE_TEXT_SIZE];
        assert(size < sizeof(item));
        snprintf(item, sizeof(item), "%.*s", (int)size, text);
        r = config_value_set(row, item, object, err);
    }
    return r;
}

int config_object_init(const struct config_table *table, void *object, struct err *err)
{
    for (size_t i = 0; i < table->row_count; i++) {
        const struct config_row *row = &table->rows[i];
        bool is_empty = !row->default_text || row->type == CONFIG_MAP || row->type == CONFIG_PAIRS;
        int r = 0;
        if (config_row_is_list(row))
            r = init_list(row, object, err);
        else if (!is_empty)
            r = config_value_set(row, row->default_text, object, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void config_object_done(const struct config_table *table, void *object)
{
    for (size_t i = 0; i < table->row_count; i++) {
        if (table->rows[i].type == CONFIG_MAP)
            clear_map(&table->rows[i], object);
        config_value_clear(&table->rows[i], object);
    }
}
