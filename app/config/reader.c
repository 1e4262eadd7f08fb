#include "config/config_int.h"

#include <assert.h>
#include <libfyaml.h>
#include <stdio.h>
#include <string.h>

/* From YAML to fields.
 *
 * libfyaml reads, because it gives the line and column of every event; libcyaml, which maps YAML to structs
 * by itself, stops at the first error and knows no nearest key.  We take its events and not its document
 * tree: a file has two levels that mean something, everything else is counted off by skip() without
 * recursion, so depth costs nothing; aliases are refused, so they expand to nothing; and a duplicate key is
 * ours to report with both places.  What is wrong in a value is noted and reading goes on; only broken YAML
 * ends it.
 *
 * An event without a place of its own (a value that is not there) has that of the event before it, its key.
 */

struct reader {
    const char *name;
    struct fy_parser *parser;
    struct fy_diag *diag;
    struct fy_event *event;    /* the current one; NULL before the first and after broken YAML */
    bool is_broken;            /* the parser is not to be asked again */
    struct config_position at; /* of the current event */
    struct config *config;
    struct config_errors *errors;
    struct config_position seen_rows[CONFIG_ROW_COUNT];
    struct config_position seen_sections[CONFIG_SECTION_COUNT];
};

#define error(reader, ...) config_error((reader)->errors, (reader)->name, (reader)->at, __VA_ARGS__)

/* Moves to the next event and returns its type, FYET_NONE when the YAML is broken here. */
static enum fy_event_type next(struct reader *reader)
{
    if (reader->event)
        fy_parser_event_free(reader->parser, reader->event);
    reader->event = reader->is_broken ? NULL : fy_parser_parse(reader->parser);
    reader->is_broken = !reader->event;
    if (reader->is_broken)
        return FYET_NONE;
    const struct fy_mark *mark = fy_event_start_mark(reader->event);
    if (mark)
        reader->at = (struct config_position){(unsigned)mark->line + 1, (unsigned)mark->column + 1};
    return reader->event->type;
}

static bool next_is(struct reader *reader, enum fy_event_type type)
{
    return next(reader) == type;
}

static enum fy_event_type current(const struct reader *reader)
{
    return reader->event ? reader->event->type : FYET_NONE;
}

/* Moves to the last event of the node that begins with the current one. */
static void skip(struct reader *reader)
{
    size_t depth = 0;
    enum fy_event_type type = current(reader);

    for (; type != FYET_NONE; type = next(reader)) {
        if (type == FYET_MAPPING_START || type == FYET_SEQUENCE_START)
            depth++;
        else if (type == FYET_MAPPING_END || type == FYET_SEQUENCE_END)
            depth--;
        if (depth == 0)
            return;
    }
}

/* The text of the current scalar; it ends with the event. */
static const char *scalar_text(const struct reader *reader, size_t *ret_size)
{
    struct fy_token *token = reader->event->scalar.value;
    const char *text = token ? fy_token_get_text(token, ret_size) : NULL;

    if (!text)
        *ret_size = 0;
    return text ? text : "";
}

/* Nothing, ~ or null, as a section or list has it when all its lines are commented out. */
static bool is_null(const struct reader *reader)
{
    size_t size;

    if (current(reader) != FYET_SCALAR)
        return false;
    if (!reader->event->scalar.value)
        return true;
    if (fy_event_get_node_style(reader->event) != FYNS_PLAIN)
        return false;
    const char *text = scalar_text(reader, &size);
    return size == 0 || (size == 1 && *text == '~') || (size == 4 && memcmp(text, "null", 4) == 0);
}

/* False, with an error, for what YAML has and a configuration has no use for. */
static bool check_plain_node(struct reader *reader, const char *key)
{
    const char *what = NULL;

    if (current(reader) == FYET_ALIAS)
        what = "an alias (*name)";
    else if (fy_event_get_anchor_token(reader->event))
        what = "an anchor (&name)";
    else if (fy_event_get_tag_token(reader->event))
        what = "a tag (!name)";
    if (what)
        error(reader, "%s%shas %s, which is not supported; write the value itself", key, *key ? ": " : "",
              what);
    return !what;
}

/* The current scalar goes through substitution into the row's field. */
static void read_scalar(struct reader *reader, const struct config_row *row)
{
    size_t size;
    struct err err = {0};
    const char *raw = scalar_text(reader, &size);
    cleanup(buf_done) struct buf value = BUF_INIT(CONFIG_VALUE_MAX_BYTES);
    int r = config_substitute(raw, size, &value, &err);

    if (r == 0)
        r = config_check_value(value.data, value.size, &err);
    buf_append(&value, "", 1);
    if (r == 0 && value.failed)
        r = err_set(&err, -1, "is longer than 64KiB");
    if (r == 0)
        r = config_value_set(row, value.data, reader->config, &err);
    if (r < 0)
        error(reader, "%s: %s", row->key, err.text);
}

static void read_single(struct reader *reader, const struct config_row *row)
{
    if (current(reader) != FYET_SCALAR)
        error(reader, "%s: is a %s; write a single value, %s", row->key,
              current(reader) == FYET_SEQUENCE_START ? "list" : "mapping", config_row_type_name(row));
    else if (is_null(reader))
        error(reader, "%s: has no value; write %s, or take the key out for the default (%s)", row->key,
              config_row_type_name(row), *row->default_text ? row->default_text : "\"\"");
    else
        read_scalar(reader, row);
}

/* From the start of a sequence to its end. */
static void read_items(struct reader *reader, const struct config_row *row)
{
    enum fy_event_type type = next(reader);

    for (size_t number = 1; type != FYET_SEQUENCE_END && type != FYET_NONE; type = next(reader), number++) {
        if (number == row->max + 1)
            error(reader, "%s: has more than %zu items", row->key, (size_t)row->max);
        if (number > row->max || !check_plain_node(reader, row->key)) {
            skip(reader);
        } else if (type != FYET_SCALAR || is_null(reader)) {
            error(reader, "%s: item %zu is %s; write one value after each dash", row->key, number,
                  type == FYET_SCALAR ? "empty" : "a list or a mapping");
            skip(reader);
        } else {
            read_scalar(reader, row);
        }
    }
}

static void read_value(struct reader *reader, const struct config_row *row)
{
    bool is_list = row->type == CONFIG_URLS;

    if (!check_plain_node(reader, row->key)) {
        skip(reader);
    } else if (!is_list) {
        read_single(reader, row);
        skip(reader);
    } else if (current(reader) == FYET_SEQUENCE_START) {
        read_items(reader, row);
    } else if (!is_null(reader)) {
        error(reader, "%s: is not a list; write %s, each on a line of its own after a dash", row->key,
              config_row_type_name(row));
        skip(reader);
    }
}

static size_t find_row(const char *key)
{
    size_t i = 0;

    while (i < CONFIG_ROW_COUNT && strcmp(config_rows[i].key, key) != 0)
        i++;
    return i;
}

static size_t find_section(const char *key)
{
    size_t i = 0;

    while (i < CONFIG_SECTION_COUNT && strcmp(config_sections[i].key, key) != 0)
        i++;
    return i;
}

static void read_section(struct reader *reader, const char *section);

static void report_unknown(struct reader *reader, const char *section, const char *name)
{
    char quoted[PARSE_QUOTED_SIZE];
    char near[CONFIG_KEY_MAX_BYTES];
    const char *in = *section ? " in " : "";

    parse_quote(name, strlen(name), quoted);
    if (reader->errors->count < CONFIG_ERRORS_MAX && config_suggest(section, name, near))
        error(reader, "unknown key %s%s%s; did you mean \"%s\"?", quoted, in, section, near);
    else
        error(reader, "unknown key %s%s%s", quoted, in, section);
}

/* The current event is a key.  Gives its full name, such as "fetch.timeout"; false, with an error, when it
 * cannot be the name of anything. */
static bool read_key(struct reader *reader, const char *section, char ret_key[CONFIG_KEY_MAX_BYTES])
{
    const char *dot = *section ? "." : "";
    size_t size;

    if (!check_plain_node(reader, section))
        return false;
    if (current(reader) != FYET_SCALAR) {
        error(reader, "a key must be a word");
        return false;
    }
    const char *name = scalar_text(reader, &size);
    if (size == 0 || size > CONFIG_NAME_MAX_BYTES || memchr(name, '\0', size) || memchr(name, '.', size)) {
        char quoted[PARSE_QUOTED_SIZE];
        error(reader, "unknown key %s; a key is one word, below its section",
              parse_quote(name, size, quoted));
        return false;
    }
    snprintf(ret_key, CONFIG_KEY_MAX_BYTES, "%s%s%.*s", section, dot, (int)size, name);
    return true;
}

/* Where the key was met before, to be set at the first time; NULL for an unknown key. */
static struct config_position *seen_of(struct reader *reader, size_t row, size_t sub)
{
    if (row < CONFIG_ROW_COUNT)
        return &reader->seen_rows[row];
    return sub < CONFIG_SECTION_COUNT ? &reader->seen_sections[sub] : NULL;
}

/* A key and its value; the current event is the key, at the end it is the last one of the value. */
static void read_pair(struct reader *reader, const char *section)
{
    char key[CONFIG_KEY_MAX_BYTES] = "";
    bool is_key = read_key(reader, section, key);
    size_t row = find_row(key);
    size_t sub = find_section(key);
    struct config_position *seen = is_key ? seen_of(reader, row, sub) : NULL;
    bool is_new = seen && seen->line == 0;

    if (is_new)
        *seen = reader->at;
    else if (seen)
        error(reader, "duplicate key \"%s\"; it is already on line %u, column %u", key, seen->line,
              seen->column);
    else if (is_key)
        report_unknown(reader, section, *section ? key + strlen(section) + 1 : key);
    skip(reader);
    if (next(reader) == FYET_NONE)
        return;
    if (!is_new)
        skip(reader);
    else if (row < CONFIG_ROW_COUNT)
        read_value(reader, &config_rows[row]);
    else
        read_section(reader, config_sections[sub].key);
}

/* The current event begins the value of a section, or of the whole file. */
static void read_section(struct reader *reader, const char *section)
{
    if (current(reader) == FYET_NONE || is_null(reader))
        return;
    if (!check_plain_node(reader, section)) {
        skip(reader);
    } else if (current(reader) != FYET_MAPPING_START) {
        error(reader, "%s must be a mapping, lines of the form key: value",
              *section ? section : "a configuration");
        skip(reader);
    } else {
        enum fy_event_type type;
        while ((type = next(reader)) != FYET_MAPPING_END && type != FYET_NONE)
            read_pair(reader, section);
    }
}

/* Above max_in_flight somebody must still be able to connect, or nobody is told that there are too many. */
static void check_together(struct reader *reader)
{
    const struct config *config = reader->config;

    if (config->max_in_flight < config->max_connections)
        return;
    reader->at = reader->seen_rows[find_row("max_in_flight")];
    error(reader,
          "max_in_flight: %u is not less than max_connections, %u: without a connection above it "
          "nobody can be told that there are too many requests",
          config->max_in_flight, config->max_connections);
}

static void read_stream(struct reader *reader)
{
    if (!next_is(reader, FYET_STREAM_START) || !next_is(reader, FYET_DOCUMENT_START))
        return;
    next(reader);
    read_section(reader, "");
    if (!next_is(reader, FYET_DOCUMENT_END) || !next_is(reader, FYET_DOCUMENT_START))
        return;
    if (!fy_event_start_mark(reader->event)) /* begun by no ---, so by its first node */
        next(reader);
    error(reader, "a second YAML document begins here; a configuration is one document");
}

/* What libfyaml said about broken YAML, once: it often follows a message with others that come of it. */
static void report_broken(struct reader *reader)
{
    void *position = NULL;
    struct fy_diag_error *found;

    while ((found = fy_diag_errors_iterate(reader->diag, &position))) {
        if (found->type < FYET_ERROR)
            continue;
        reader->at = (struct config_position){(unsigned)found->line, (unsigned)found->column};
        error(reader, "not valid YAML: %s", found->msg);
        return;
    }
    error(reader, "not valid YAML");
}

static bool start(struct reader *reader, const char *text, size_t size)
{
    struct fy_diag_cfg diag_cfg;

    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    reader->diag = fy_diag_create(&diag_cfg);
    if (!reader->diag)
        return false;
    fy_diag_set_collect_errors(reader->diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_ALLOW_DUPLICATE_KEYS, .diag = reader->diag};
    reader->parser = fy_parser_create(&cfg);
    return reader->parser && fy_parser_set_string(reader->parser, text, size) == 0;
}

static void stop(struct reader *reader)
{
    if (reader->event)
        fy_parser_event_free(reader->parser, reader->event);
    if (reader->parser)
        fy_parser_destroy(reader->parser);
    if (reader->diag)
        fy_diag_destroy(reader->diag);
}

void config_read(const char *name, const char *text, size_t size, struct config *config,
                 struct config_errors *errors)
{
    struct reader reader = {.name = name, .config = config, .errors = errors};

    if (size == 0)
        return;
    if (start(&reader, text, size)) {
        read_stream(&reader);
        if (reader.is_broken)
            report_broken(&reader);
        else
            check_together(&reader);
    } else {
        error(&reader, "out of memory");
    }
    stop(&reader);
}
