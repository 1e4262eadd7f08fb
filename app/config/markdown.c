#include "config/config_int.h"

#include <string.h>

static const char intro[] =
    "# Configuration\n"
    "\n"
    "One YAML file, given with `-c`. Every setting has a default, but for some of the entries of a map; an "
    "empty file is\n"
    "a valid configuration. "
    "`conf/heddle.yaml` shows all of them.\n"
    "\n"
    "    heddle check -c FILE\n"
    "\n"
    "reports everything that is wrong with a file, each as `file:line:column: what is wrong and what is "
    "allowed`, and exits with 1\n"
    "when there is something.\n"
    "\n"
    "**Values.** Durations have a unit: `250ms`, `10s`, `5m`, `1h`. Sizes count bytes or have one: `512`, "
    "`64KiB`, `1MiB`, `1GiB`.\n"
    "Numbers are decimal, and whole unless the type says otherwise; a rate counts per second, minute or "
    "hour: "
    "`10/s`, `30/m`,\n"
    "`1000/h`. Unknown and duplicate keys, anchors, aliases and tags are errors.\n"
    "\n"
    "**Maps** have entries whose names you choose, each with the settings of its table. They are written as "
    "a mapping, or as a\n"
    "list of mappings that have the name in them:\n"
    "\n"
    "    queues:                       queues:\n"
    "      reports: {weight: 2}          - {name: reports, weight: 2}\n"
    "\n"
    "**Environment.** `${NAME}` in a value is replaced by the environment variable, `${NAME:-default}` by "
    "the "
    "default when the\n"
    "variable is unset or empty; a variable that is unset and has no default is an error. `$${` stands for "
    "`${`. Values are\n"
    "replaced after the YAML has been read, so a variable cannot add keys or items.\n";

/* The section a key is in, as long as it is in `text`: "fetch" of "fetch.timeout", "" of "listen". */
static size_t section_size(const char *key)
{
    const char *dot = strrchr(key, '.');

    return dot ? (size_t)(dot - key) : 0;
}

static bool is_in_section(const struct config_row *row, const char *section)
{
    size_t size = section_size(row->key);

    return strlen(section) == size && strncmp(row->key, section, size) == 0;
}

/* "a duration" without its article. */
static const char *type_word(const struct config_row *row)
{
    return strchr(config_row_type_name(row), ' ') + 1;
}

static void write_row(const struct config_row *row, struct buf *out)
{
    const char *name = row->key + section_size(row->key);

    buf_printf(out, "| `%s` | %s | ", *name == '.' ? name + 1 : name, type_word(row));
    if (row->is_optional)
        buf_append_str(out, "none");
    else if (!row->default_text)
        buf_append_str(out, "none: must be given");
    else if (*row->default_text)
        buf_printf(out, "`%s`", row->default_text);
    else
        buf_append_str(out, "empty");
    buf_append_str(out, " | ");
    config_row_describe_range(row, out);
    buf_append_str(out, " | ");
    buf_append_str(out, row->help);
    buf_append_str(out, " |\n");
}

static void write_section(const struct config_table *table, const char *section, struct buf *out)
{
    buf_append_str(out, "| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < table->row_count; i++) {
        if (is_in_section(&table->rows[i], section))
            write_row(&table->rows[i], out);
    }
}

/* What stands for the name of an entry in headings. */
static const char *placeholder_of(const struct config_map *map)
{
    return strcmp(map->identity, "path") == 0 ? "PATH" : "NAME";
}

/* `path` is that of the map: "endpoints", "endpoints.PATH.parts". */
static void write_map(const struct config_row *row, const char *path, struct buf *out)
{
    const struct config_map *map = row->map;
    const struct config_table *table = &map->table;
    const char *entry = placeholder_of(map);

    buf_printf(out, "\n## %s.%s\n\n%s\n%s\n\n", path, entry, map->help, map->name_help);
    write_section(table, "", out);
    for (size_t i = 0; i < table->section_count; i++) {
        const struct config_section *section = &table->sections[i];
        if (!*section->key)
            continue;
        buf_printf(out, "\n### %s.%s.%s\n\n%s\n\n", path, entry, section->key, section->help);
        write_section(table, section->key, out);
    }
    for (size_t i = 0; i < table->row_count; i++) {
        cleanup(buf_done) struct buf inner = BUF_INIT(CONFIG_KEY_MAX_BYTES);
        if (table->rows[i].type != CONFIG_MAP)
            continue;
        buf_printf(&inner, "%s.%s.%s", path, entry, table->rows[i].key);
        buf_append(&inner, "", 1);
        if (!inner.failed)
            write_map(&table->rows[i], inner.data, out);
    }
}

void config_write_markdown(struct buf *out)
{
    const struct config_table *table = &config_settings;

    buf_append_str(out, intro);
    for (size_t i = 0; i < table->section_count; i++) {
        const struct config_section *section = &table->sections[i];
        buf_printf(out, "\n## %s\n\n%s\n\n", *section->key ? section->key : "Top level", section->help);
        write_section(table, section->key, out);
    }
    for (size_t i = 0; i < table->row_count; i++) {
        if (table->rows[i].type == CONFIG_MAP)
            write_map(&table->rows[i], table->rows[i].key, out);
    }
}
