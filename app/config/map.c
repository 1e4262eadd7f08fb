/* Maps: entries with names of their own, each a struct that a table fills. */
#include "config/config_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pointer and the number are read and written as bytes: their types differ from map to map. */
static char *entries_of(const struct config_row *row, const struct config *config)
{
    char *entries;

    memcpy(&entries, (const char *)config + row->offset, sizeof(entries));
    return entries;
}

size_t config_map_count(const struct config_row *row, const struct config *config)
{
    size_t count;

    memcpy(&count, (const char *)config + row->map->count_offset, sizeof(count));
    return count;
}

static void set_count(const struct config_row *row, struct config *config, size_t count)
{
    memcpy((char *)config + row->map->count_offset, &count, sizeof(count));
}

int config_map_add(const struct config_row *row, struct config *config, const char *name, void **ret_entry,
                   struct err *err)
{
    const struct config_map *map = row->map;
    char *entries = entries_of(row, config);
    size_t count = config_map_count(row, config);

    assert(count < row->max);
    if (!entries) { /* room for all there may be, so that none moves: tens of KiB */
        entries = calloc(row->max, map->entry_size);
        if (!entries)
            return err_set(err, -ENOMEM, "out of memory");
        memcpy((char *)config + row->offset, &entries, sizeof(entries));
    }
    void *entry = entries + count * map->entry_size;
    if (asprintf((char **)entry, "%s", name) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    set_count(row, config, count + 1);
    *ret_entry = entry;
    return config_object_init(&map->table, entry, err);
}

static void clear_map(const struct config_row *row, struct config *config)
{
    char *entry = entries_of(row, config);
    size_t count = config_map_count(row, config);

    for (size_t i = 0; i < count; i++, entry += row->map->entry_size) {
        void *fields = entry;
        free(*(char **)fields);
        config_object_done(&row->map->table, fields);
    }
    free(entries_of(row, config));
    set_count(row, config, 0);
}

int config_object_init(const struct config_table *table, void *object, struct err *err)
{
    for (size_t i = 0; i < table->row_count; i++) {
        const struct config_row *row = &table->rows[i];
        bool is_empty = !row->default_text || config_row_is_list(row) || row->type == CONFIG_MAP;
        int r = is_empty ? 0 : config_value_set(row, row->default_text, object, err);
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
