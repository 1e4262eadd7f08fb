/* Values: single ones, lists, pairs. */
#include "config/reader_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int read_text(const char *raw, size_t size, bool is_secret, struct buf *out, struct err *err)
{
    if (size < out->max && !buf_reserve(out, size + 1))
        return err_set(err, -ENOMEM, "out of memory");
    int r = config_substitute(raw, size, out, err);
    if (r == 0)
        r = config_check_value(out->data, out->size, err);
    buf_append(out, "", 1);
    if (r == 0 && out->failed)
        r = err_set(err, -ERANGE, "is longer than 64KiB");
    if (is_secret && r == -EINVAL) /* what is wrong in its text is told without the text */
        err_set(err, r, "is not one line of text in which ${ begins ${NAME} or ${NAME:-default}");
    return r;
}

/* The current scalar. */
static int read_scalar_text(const struct reader *reader, const struct config_row *row, struct buf *out,
                            struct err *err)
{
    size_t size;
    const char *raw = yaml_scalar(&reader->yaml, &size);

    return read_text(raw, size, row->is_secret, out, err);
}

static void read_scalar(struct reader *reader, const struct config_row *row)
{
    struct err err = {0};
    cleanup(buf_done) struct buf value = BUF_INIT(CONFIG_VALUE_MAX_BYTES);
    int r = read_scalar_text(reader, row, &value, &err);

    if (r == 0)
        r = config_value_set(row, value.data, object_fields(reader, reader->object), &err);
    if (r < 0)
        reader_error(reader, "%s: %s", reader->label, err.text);
}

static void read_single(struct reader *reader, const struct config_row *row)
{
    const char *type = config_row_type_name(row);

    if (yaml_current(&reader->yaml) != FYET_SCALAR)
        reader_error(reader, "%s: is a %s; write a single value, %s", reader->label,
                     yaml_current(&reader->yaml) == FYET_SEQUENCE_START ? "list" : "mapping", type);
    else if (!yaml_is_null(&reader->yaml))
        read_scalar(reader, row);
    else if (row->default_text)
        reader_error(reader, "%s: has no value; write %s, or take the key out for the default (%s)",
                     reader->label, type, *row->default_text ? row->default_text : "\"\"");
    else
        reader_error(reader, "%s: has no value; write %s", reader->label, type);
}

/* From the start of a sequence to its end. */
static void read_items(struct reader *reader, const struct config_row *row)
{
    enum fy_event_type type = yaml_next(&reader->yaml);

    for (size_t number = 1; type != FYET_SEQUENCE_END && type != FYET_NONE;
         type = yaml_next(&reader->yaml), number++) {
        if (number == row->max + 1)
            reader_error(reader, "%s: has more than %zu items", reader->label, (size_t)row->max);
        if (number > row->max || !check_plain_node(reader, reader->label)) {
            yaml_skip(&reader->yaml);
        } else if (type != FYET_SCALAR || yaml_is_null(&reader->yaml)) {
            reader_error(reader, "%s: item %zu is %s; write one value after each dash", reader->label, number,
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
        config_value_clear(row, object_fields(reader, reader->object)); /* of the default */
        read_items(reader, row);
    } else if (!yaml_is_null(&reader->yaml)) {
        reader_error(reader, "%s: is not a list; write %s, each on a line of its own after a dash",
                     reader->label, config_row_type_name(row));
        yaml_skip(&reader->yaml);
    }
    if (reader->yaml.is_broken || reader->errors->count > errors)
        return;
    if (config_value_check_count(row, object_fields(reader, reader->object), &err) < 0)
        config_error(reader->errors, reader->name, at, "%s: %s", reader->label, err.text);
}

/* Pairs */

/* The names that a mapping has had, and where. */
struct names {
    size_t count;
    struct config_position at[CONFIG_PAIRS_MAX];
    char text[CONFIG_PAIRS_MAX][CONFIG_PAIR_NAME_MAX_BYTES + 1];
};

/* The current event is a name.  NULL, with an error, when it cannot be one. */
static const char *read_name(struct reader *reader, const struct config_row *row, struct names *names)
{
    char label[CONFIG_KEY_MAX_BYTES];
    char *name = names->text[names->count];
    struct err err = {0};
    size_t size;

    object_full_name(reader, reader->object, row->key, label);
    if (!check_plain_node(reader, label))
        return NULL;
    if (yaml_current(&reader->yaml) != FYET_SCALAR) {
        reader_error(reader, "a key must be a word");
        return NULL;
    }
    const char *text = yaml_scalar(&reader->yaml, &size);
    int r = config_check_value(text, size, &err);
    if (r == 0 && (size == 0 || size > CONFIG_PAIR_NAME_MAX_BYTES))
        r = err_set(&err, -ERANGE, "a name has %zu bytes; 1 to %d are allowed", size,
                    CONFIG_PAIR_NAME_MAX_BYTES);
    if (r == 0) {
        memcpy(name, text, size);
        name[size] = '\0';
        r = row->check_name ? row->check_name(name, &err) : 0;
    }
    if (r < 0)
        reader_error(reader, "%s: %s", label, err.text);
    return r < 0 ? NULL : name;
}

/* Gives the pair its place among the names, and its label: "....query.limit".  False, with an error, when the
 * name was there. */
static bool note_name(struct reader *reader, const struct config_row *row, struct names *names)
{
    const char *name = names->text[names->count];
    char key[CONFIG_KEY_MAX_BYTES];
    size_t i = 0;

    snprintf(key, sizeof(key), "%s.%s", row->key, name);
    object_full_name(reader, reader->object, key, reader->label);
    while (strcmp(names->text[i], name) != 0)
        i++;
    if (i < names->count) {
        report_duplicate(reader, reader->label, reader->yaml.at, names->at[i]);
        return false;
    }
    names->at[names->count++] = reader->yaml.at;
    return true;
}

static void read_pair_text(struct reader *reader, const struct config_row *row, const char *name)
{
    struct err err = {0};
    cleanup(buf_done) struct buf value = BUF_INIT(CONFIG_VALUE_MAX_BYTES);

    if (!check_plain_node(reader, reader->label)) {
        yaml_skip(&reader->yaml);
        return;
    }
    if (yaml_current(&reader->yaml) != FYET_SCALAR || yaml_is_null(&reader->yaml)) {
        reader_error(reader, "%s: is not a text; write one, \"\" for the empty one", reader->label);
        yaml_skip(&reader->yaml);
        return;
    }
    int r = read_scalar_text(reader, row, &value, &err);
    if (r == 0)
        r = config_value_add_pair(row, name, value.data, object_fields(reader, reader->object), &err);
    if (r < 0)
        reader_error(reader, "%s: %s", reader->label, err.text);
}

static void read_pairs(struct reader *reader, const struct config_row *row)
{
    struct names names = {0};

    if (yaml_is_null(&reader->yaml))
        return;
    if (yaml_current(&reader->yaml) != FYET_MAPPING_START) {
        reader_error(reader, "%s: is not a mapping; write lines of the form name: text", reader->label);
        yaml_skip(&reader->yaml);
        return;
    }
    for (size_t number = 1; yaml_next(&reader->yaml) != FYET_MAPPING_END && !reader->yaml.is_broken;
         number++) {
        const char *name = NULL;
        if (number == row->max + 1)
            reader_error(reader, "%s: has more than %zu names",
                         object_full_name(reader, reader->object, row->key, reader->label), (size_t)row->max);
        if (number <= row->max)
            name = read_name(reader, row, &names);
        if (name && !note_name(reader, row, &names))
            name = NULL;
        yaml_skip(&reader->yaml);
        if (yaml_next(&reader->yaml) == FYET_NONE)
            return;
        if (name)
            read_pair_text(reader, row, name);
        else
            yaml_skip(&reader->yaml);
    }
}

void read_value(struct reader *reader, const struct config_row *row)
{
    object_full_name(reader, reader->object, row->key, reader->label);
    if (!check_plain_node(reader, reader->label)) {
        yaml_skip(&reader->yaml);
    } else if (row->type == CONFIG_MAP) {
        read_map(reader, row);
    } else if (row->type == CONFIG_PAIRS) {
        read_pairs(reader, row);
    } else if (config_row_is_list(row)) {
        read_list(reader, row);
    } else {
        read_single(reader, row);
        yaml_skip(&reader->yaml);
    }
}
