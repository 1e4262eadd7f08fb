#include "config/yaml_int.h"

#include <string.h>

enum fy_event_type yaml_next(struct yaml *yaml)
{
    if (yaml->event)
        fy_parser_event_free(yaml->parser, yaml->event);
    yaml->event = yaml->is_broken ? NULL : fy_parser_parse(yaml->parser);
    yaml->is_broken = !yaml->event;
    if (yaml->is_broken)
        return FYET_NONE;
    const struct fy_mark *mark = fy_event_start_mark(yaml->event);
    if (mark)
        yaml->at = (struct config_position){(unsigned)mark->line + 1, (unsigned)mark->column + 1};
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

const char *yaml_scalar(const struct yaml *yaml, size_t *ret_size)
{
    struct fy_token *token = yaml->event->scalar.value;
    const char *text = token ? fy_token_get_text(token, ret_size) : NULL;

    if (!text)
        *ret_size = 0;
    return text ? text : "";
}

bool yaml_is_null(const struct yaml *yaml)
{
    size_t size;

    if (yaml_current(yaml) != FYET_SCALAR)
        return false;
    if (!yaml->event->scalar.value)
        return true;
    if (fy_event_get_node_style(yaml->event) != FYNS_PLAIN)
        return false;
    const char *text = yaml_scalar(yaml, &size);
    return size == 0 || (size == 1 && *text == '~') || (size == 4 && memcmp(text, "null", 4) == 0);
}

const char *yaml_unsupported(const struct yaml *yaml)
{
    if (yaml_current(yaml) == FYET_ALIAS)
        return "an alias (*name)";
    if (fy_event_get_anchor_token(yaml->event))
        return "an anchor (&name)";
    return fy_event_get_tag_token(yaml->event) ? "a tag (!name)" : NULL;
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
    if (yaml->event)
        fy_parser_event_free(yaml->parser, yaml->event);
    if (yaml->parser)
        fy_parser_destroy(yaml->parser);
    if (yaml->diag)
        fy_diag_destroy(yaml->diag);
}
