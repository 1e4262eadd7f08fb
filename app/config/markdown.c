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
    "`1000/h`. A map has entries whose names you choose, each with the settings of its table. Unknown and "
    "duplicate keys,\n"
    "anchors, aliases and tags are errors.\n"
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
    if (!row->default_text)
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

static void write_section(const struct config_table *table, const struct config_section *section,
                          struct buf *out)
{
    buf_append_str(out, "| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < table->row_count; i++) {
        if (is_in_section(&table->rows[i], section->key))
            write_row(&table->rows[i], out);
    }
}

static void write_map(const struct config_row *row, struct buf *out)
{
    static const struct config_section whole = {"", ""};
    const struct config_map *map = row->map;

    buf_printf(out, "\n## %s.NAME\n\n%s A name has at most %d letters, digits, `-` and `_`.\n\n", row->key,
               map->help, CONFIG_NAME_MAX_BYTES);
    write_section(&map->table, &whole, out);
}

void config_write_markdown(struct buf *out)
{
    const struct config_table *table = &config_settings;

    buf_append_str(out, intro);
    for (size_t i = 0; i < table->section_count; i++) {
        const struct config_section *section = &table->sections[i];
        buf_printf(out, "\n## %s\n\n%s\n\n", *section->key ? section->key : "Top level", section->help);
        write_section(table, section, out);
    }
    for (size_t i = 0; i < table->row_count; i++) {
        if (table->rows[i].type == CONFIG_MAP)
            write_map(&table->rows[i], out);
    }
}
