#include "config/config_int.h"

#include <string.h>

static const char intro[] =
    "# Configuration\n"
    "\n"
    "One YAML file, given with `-c`. Every setting has a default; an empty file is a valid configuration.\n"
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
    "Numbers are whole and decimal. Unknown and duplicate keys, anchors, aliases and tags are errors.\n"
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
    if (*row->default_text)
        buf_printf(out, "`%s`", row->default_text);
    else
        buf_append_str(out, "empty");
    buf_append_str(out, " | ");
    config_row_describe_range(row, out);
    buf_append_str(out, " | ");
    buf_append_str(out, row->help);
    buf_append_str(out, " |\n");
}

void config_write_markdown(struct buf *out)
{
    buf_append_str(out, intro);
    for (size_t i = 0; i < CONFIG_SECTION_COUNT; i++) {
        const struct config_section *section = &config_sections[i];
        buf_printf(out, "\n## %s\n\n%s\n\n", *section->key ? section->key : "Top level", section->help);
        buf_append_str(out,
                       "| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n");
        for (size_t j = 0; j < CONFIG_ROW_COUNT; j++) {
            if (is_in_section(&config_rows[j], section->key))
                write_row(&config_rows[j], out);
        }
    }
}
