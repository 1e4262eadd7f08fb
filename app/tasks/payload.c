#include "tasks/payload.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "fetch/hosts.h"

#define URL_MAX_BYTES 8192

#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* ---- payloads ---- */

static bool is_named(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

void task_payload_keep(json_t *payload, const char *const *names)
{
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe (payload, next, name, value)
        if (!is_named(name, names))
            json_object_del(payload, name);
}

int task_payload_text(const json_t *payload, const char *field, const char **ret,
                      struct task_problem *problem)
{
    const json_t *value = json_object_get(payload, field);

    if (value && (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)))
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s must be a string", field);
    *ret = json_string_value(value);
    return 0;
}

int task_payload_number(const json_t *payload, const char *field, uint64_t min, uint64_t max, uint64_t *ret,
                        struct task_problem *problem)
{
    const json_t *value = json_object_get(payload, field);
    json_int_t number = json_integer_value(value);

    if (!value)
        return 0;
    if (!json_is_integer(value) || number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field,
                                "%s must be a whole number from %llu to %llu", field, (unsigned long long)min,
                                (unsigned long long)max);
    *ret = (uint64_t)number;
    return 0;
}

int task_payload_check_url(const struct config *config, const char *field, const char *what, const char *url,
                           struct task_problem *problem)
{
    struct err err = {0};

    if (strlen(url) > URL_MAX_BYTES)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s must have at most %d bytes", what,
                                URL_MAX_BYTES);
    if (hosts_allow_url(&config->tasks.allowed_hosts, "tasks", url, &err))
        return 0;
    return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s: %s%s", what, err.text,
                            err.code == -EACCES ? " (tasks.allowed_hosts)" : "");
}

/* ---- what came of a step ---- */

enum task_step task_run_fail(struct task_run *run, bool is_final, const char *format, ...)
{
    struct err err;
    char text[2 * sizeof(err.text)]; /* so that err_set sees that it is long */
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err_set(&err, -EIO, "%s", text); /* which cuts between characters */
    snprintf(run->error, sizeof(run->error), "%s", err.text);
    run->is_final = is_final;
    return TASK_STEP_FAILED;
}

enum task_step task_run_done(struct task_run *run, json_t *result)
{
    if (!result)
        return task_run_fail(run, false, "out of memory");
    run->result = result;
    return TASK_STEP_DONE;
}

/* ---- results ---- */

/* Bytes of a character as JSON; `c` is its first byte, `size` how many it has. */
static size_t encoded_size(unsigned char c, size_t size)
{
    if (c == '"' || c == '\\' || (c >= '\b' && c <= '\r' && c != '\v'))
        return 2;
    return c < 0x20 ? 6 : size;
}

/* How much of valid UTF-8 has room in so many bytes of JSON, with the quotes. */
static size_t fitting_size(const char *text, size_t size, size_t max_bytes)
{
    size_t encoded = 2;
    size_t at = 0;

    while (at < size) {
        size_t length = text_utf8_char_size(text + at, size - at);
        encoded += encoded_size((unsigned char)text[at], length);
        if (length == 0 || encoded > max_bytes)
            break;
        at += length;
    }
    return at;
}

json_t *task_result_text(const char *charset, const char *bytes, size_t size, bool is_whole, size_t max_bytes,
                         bool *ret_is_cut)
{
    cleanup(buf_done) struct buf text = BUF_INIT(max_bytes * 4);

    text_decode_prefix(charset, bytes, size, is_whole, max_bytes, &text);
    if (text.failed)
        return NULL;
    size_t kept = fitting_size(text.data, text.size, max_bytes);
    *ret_is_cut = !is_whole || kept < text.size;
    return json_stringn_nocheck(text.data ? text.data : "", kept);
}

/* What is neither an object nor an array has no depth to be looked at. */
static json_t *load_scalar(const char *bytes, size_t size)
{
    return json_loadb(bytes, size, JSON_DECODE_ANY, NULL);
}

json_t *task_result_json(const char *bytes, size_t size, size_t max_bytes)
{
    char field[JSON_FIELD_SIZE] = "";
    size_t blank = 0;
    json_t *json = NULL;

    while (blank < size && strchr(" \t\r\n", bytes[blank]) && bytes[blank] != '\0')
        blank++;
    if (blank == size)
        return NULL;
    if (bytes[blank] != '{' && bytes[blank] != '[')
        json = load_scalar(bytes, size);
    else if (json_parse_value(bytes, size, &json, field, NULL) < 0)
        json = NULL;
    if (json && json_dumpb(json, NULL, 0, DUMP_FLAGS) <= max_bytes)
        return json;
    json_decref(json);
    return NULL;
}
