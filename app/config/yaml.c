#include "config/yaml_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The next event from libfyaml, NULL when the YAML is broken here. */
static struct fy_event *parse(struct yaml *yaml)
{
    struct fy_event *event = yaml->has_ended ? NULL : fy_parser_parse(yaml->parser);

    yaml->has_ended = !event;
    return event;
}

static struct fy_event *take(struct yaml *yaml)
{
    if (yaml->ahead_next < yaml->ahead_count)
        return yaml->ahead[yaml->ahead_next++];
    yaml->ahead_next = 0;
    yaml->ahead_count = 0;
    return parse(yaml);
}

static struct config_position position_of(const struct fy_event *event, struct config_position otherwise)
{
    const struct fy_mark *mark = fy_event_start_mark((struct fy_event *)(uintptr_t)event);

    return mark ? (struct config_position){(unsigned)mark->line + 1, (unsigned)mark->column + 1} : otherwise;
}

enum fy_event_type yaml_next(struct yaml *yaml)
{
    if (yaml->event)
        fy_parser_event_free(yaml->parser, yaml->event);
    yaml->event = take(yaml);
    yaml->is_broken = !yaml->event;
    if (yaml->is_broken)
        return FYET_NONE;
    yaml->at = position_of(yaml->event, yaml->at);
    return yaml->event->type;
}

bool yaml_next_is(struct yaml *yaml, enum fy_event_type type)
{
    return yaml_next(yaml) == type;
}

enum fy_event_type yaml_current(const struct yaml *yaml)
{
    return yaml->event ? yaml->event->type : FYET_NONE;
}

void yaml_skip(struct yaml *yaml)
{
    size_t depth = 0;
    enum fy_event_type type = yaml_current(yaml);

    for (; type != FYET_NONE; type = yaml_next(yaml)) {
        if (type == FYET_MAPPING_START || type == FYET_SEQUENCE_START)
            depth++;
        else if (type == FYET_MAPPING_END || type == FYET_SEQUENCE_END)
            depth--;
        if (depth == 0)
            return;
    }
}

static const char *scalar_of(const struct fy_event *event, size_t *ret_size)
{
    struct fy_token *token = event->scalar.value;
    const char *text = token ? fy_token_get_text(token, ret_size) : NULL;

    if (!text)
        *ret_size = 0;
    return text ? text : "";
}

const char *yaml_scalar(const struct yaml *yaml, size_t *ret_size)
{
    return scalar_of(yaml->event, ret_size);
}

static bool is_null(struct fy_event *event)
{
    size_t size;

    if (event->type != FYET_SCALAR)
        return false;
    if (!event->scalar.value)
        return true;
    if (fy_event_get_node_style(event) != FYNS_PLAIN)
        return false;
    const char *text = scalar_of(event, &size);
    return size == 0 || (size == 1 && *text == '~') || (size == 4 && memcmp(text, "null", 4) == 0);
}

bool yaml_is_null(const struct yaml *yaml)
{
    return yaml->event && is_null(yaml->event);
}

static const char *unsupported(struct fy_event *event)
{
    if (event->type == FYET_ALIAS)
        return "an alias (*name)";
    if (fy_event_get_anchor_token(event))
        return "an anchor (&name)";
    return fy_event_get_tag_token(event) ? "a tag (!name)" : NULL;
}

const char *yaml_unsupported(const struct yaml *yaml)
{
    return yaml->event ? unsupported(yaml->event) : NULL;
}

/* Looking ahead */

/* Makes ahead[index] an event, if there are as many. */
static int fill(struct yaml *yaml, size_t index)
{
    while (yaml->ahead_count <= index && !yaml->has_ended) {
        void *ahead = config_grow(yaml->ahead, yaml->ahead_count, sizeof(*yaml->ahead));
        if (!ahead)
            return -ENOMEM;
        yaml->ahead = ahead;
        struct fy_event *event = parse(yaml);
        if (event)
            yaml->ahead[yaml->ahead_count++] = event;
    }
    return 0;
}

static bool is_scalar(const struct fy_event *event, const char *word)
{
    size_t size;

    if (event->type != FYET_SCALAR)
        return false;
    const char *text = scalar_of(event, &size);
    return size == strlen(word) && memcmp(text, word, size) == 0;
}

static int take_value(const struct yaml *yaml, size_t index, struct yaml_value *ret_value)
{
    struct fy_event *event = index < yaml->ahead_count ? yaml->ahead[index] : NULL;

    if (!event || event->type != FYET_SCALAR || is_null(event) || unsupported(event))
        return 0;
    ret_value->text = scalar_of(event, &ret_value->size);
    ret_value->at = position_of(event, yaml->at);
    return 1;
}

int yaml_look_ahead(struct yaml *yaml, const char *key, struct yaml_value *ret_value)
{
    size_t depth = 0;
    bool is_key = true;

    for (size_t i = yaml->ahead_next; i < yaml->ahead_next + YAML_AHEAD_MAX; i++) {
        int r = fill(yaml, i + 1);
        if (r < 0 || i >= yaml->ahead_count)
            return r;
        const struct fy_event *event = yaml->ahead[i];
        if (event->type == FYET_MAPPING_START || event->type == FYET_SEQUENCE_START)
            depth++;
        else if (event->type == FYET_MAPPING_END || event->type == FYET_SEQUENCE_END) {
            if (depth == 0) /* that of the mapping itself */
                return 0;
            depth--;
        } else if (depth == 0 && is_key && is_scalar(event, key))
            return take_value(yaml, i + 1, ret_value);
        if (depth == 0)
            is_key = !is_key;
    }
    return 0;
}

const char *yaml_broken_text(struct yaml *yaml)
{
    void *position = NULL;
    struct fy_diag_error *found;

    while ((found = fy_diag_errors_iterate(yaml->diag, &position))) {
        if (found->type < FYET_ERROR)
            continue;
        yaml->at = (struct config_position){(unsigned)found->line, (unsigned)found->column};
        return found->msg;
    }
    return NULL;
}

bool yaml_open(struct yaml *yaml, const char *text, size_t size)
{
    struct fy_diag_cfg diag_cfg;

    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    yaml->diag = fy_diag_create(&diag_cfg);
    if (!yaml->diag)
        return false;
    fy_diag_set_collect_errors(yaml->diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_ALLOW_DUPLICATE_KEYS, .diag = yaml->diag};
    yaml->parser = fy_parser_create(&cfg);
    return yaml->parser && fy_parser_set_string(yaml->parser, text, size) == 0;
}

void yaml_close(struct yaml *yaml)
{
    for (size_t i = yaml->ahead_next; i < yaml->ahead_count; i++)
        fy_parser_event_free(yaml->parser, yaml->ahead[i]);
    free(yaml->ahead);
    if (yaml->event)
        fy_parser_event_free(yaml->parser, yaml->event);
    if (yaml->parser)
        fy_parser_destroy(yaml->parser);
    if (yaml->diag)
        fy_diag_destroy(yaml->diag);
}
