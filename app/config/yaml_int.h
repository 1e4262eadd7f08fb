/* yaml_int.h - a YAML text as libfyaml's events, each with its place.
 *
 * How to use it: `struct yaml yaml = {0}`, yaml_open, yaml_next until FYET_NONE, yaml_close in any case.
 * There is a current event; a node, however deep, is left by yaml_skip.
 * Threads: one at a time per object.  Ownership: the text is the caller's and outlives the object. */
#pragma once

#include <libfyaml.h>

#include "config/config_int.h"

struct yaml {
    struct fy_parser *parser;
    struct fy_diag *diag;
    struct fy_event *event; /* the current one; NULL before the first and after broken YAML */
    bool is_broken;         /* the parser is not to be asked again */
    struct config_position
        at; /* of the current event; without a place of its own (a value that is not there),
                                * that of the event before it, its key */
    /* events that have been looked at, but are still to come: */
    struct fy_event **ahead;
    size_t ahead_next;
    size_t ahead_count;
    bool has_ended; /* behind them comes nothing */
};

/* A scalar that is still to come. */
struct yaml_value {
    const char *text; /* lent until its event is the current one; no NUL behind it */
    size_t size;
    struct config_position at;
};

/* What is further ahead is not found. */
#define YAML_AHEAD_MAX ((size_t)16384)

/* False without memory. */
must_check bool yaml_open(struct yaml *yaml, const char *text, size_t size);

/* Also after yaml_open failed. */
void yaml_close(struct yaml *yaml);

/* Moves to the next event and returns its type, FYET_NONE when the YAML is broken here. */
enum fy_event_type yaml_next(struct yaml *yaml);
bool yaml_next_is(struct yaml *yaml, enum fy_event_type type);
enum fy_event_type yaml_current(const struct yaml *yaml);

/* Moves to the last event of the node that begins with the current one. */
void yaml_skip(struct yaml *yaml);

/* The current event begins a mapping: looks for the value of `key` in it, without moving.  Returns 1; 0 when
 * there is none, or none that is a plain scalar; -ENOMEM. */
must_check int yaml_look_ahead(struct yaml *yaml, const char *key, struct yaml_value *ret_value);

/* The text of the current scalar; it ends with the event. */
const char *yaml_scalar(const struct yaml *yaml, size_t *ret_size);

/* Nothing, ~ or null, as a section or list has it when all its lines are commented out. */
bool yaml_is_null(const struct yaml *yaml);

/* What the current node has that a configuration has no use for: "an alias (*name)".  NULL: nothing. */
const char *yaml_unsupported(const struct yaml *yaml);

/* What libfyaml said first about broken YAML, for it often follows a message with others that come of it;
 * yaml->at is then where.  NULL when it said nothing.  The text ends with the object. */
const char *yaml_broken_text(struct yaml *yaml);
