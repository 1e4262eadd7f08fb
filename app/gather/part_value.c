#include "gather/part_value.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/http.h"
#include "base/json.h"
#include "base/text.h"

/* ---- reading ---- */

static const char *refuse(struct err *err, const char *reason, const char *text)
{
    err_set(err, -EINVAL, "%s", text);
    return reason;
}

static const char *read_json(const struct config_part *config, const struct part_bytes *bytes,
                             struct json_piece *ret, struct err *err)
{
    struct json_piece json;
    struct err inner;

    if (!bytes->is_whole)
        return refuse(err, "bad_json", "the answer is not whole");
    if (json_text_check(bytes->data, bytes->size, &json, &inner) < 0) {
        err_set(err, -EINVAL, "the answer is not JSON: %s", inner.text);
        return "bad_json";
    }
    if (json_text_find(json, config->select, ret))
        return NULL;
    err_set(err, -EINVAL, "there is no %.100s in the answer", config->select);
    return "bad_select";
}

static bool is_mergeable(const struct part_value *value)
{
    return value->json.size > 0 && (json_text_is_object(value->json) || value->json.text[0] == 'n');
}

const char *part_value_read(const struct config_part *config, bool must_be_object,
                            const struct part_bytes *bytes, struct part_value *ret, struct err *err)
{
    struct part_value value = {.bytes = *bytes};
    bool is_json = bytes->size > 0 && http_is_json(bytes->content_type);
    const char *reason = NULL;

    if (is_json)
        reason = read_json(config, bytes, &value.json, err);
    else if (config->select[0] != '\0')
        reason = refuse(err, "bad_select", "the answer is not JSON, there is nothing to select from");
    else if (bytes->size == 0)
        value.json = (struct json_piece){"null", 4};
    if (!reason && must_be_object && !is_mergeable(&value))
        reason = refuse(err, "not_an_object", "the value is not an object, whose members could be merged");
    if (!reason)
        *ret = value;
    return reason;
}

/* ---- writing ---- */

static bool is_listed(const struct config_list *list, struct json_piece name)
{
    for (size_t i = 0; i < list->count; i++)
        if (json_text_equals(name, list->items[i], strlen(list->items[i])))
            return true;
    return false;
}

static bool is_kept(const struct config_part *config, struct json_piece name)
{
    return (config->pick.count == 0 || is_listed(&config->pick, name)) && !is_listed(&config->drop, name);
}

static bool next_kept(const struct config_part *config, struct json_piece object, size_t *at,
                      struct json_member *ret)
{
    while (json_text_next(object, at, ret))
        if (is_kept(config, ret->name))
            return true;
    return false;
}

static void append_piece(struct buf *out, struct json_piece piece)
{
    buf_append(out, piece.text, piece.size);
}

static void append_kept(struct buf *out, const struct config_part *config, struct json_piece object)
{
    struct json_member member;
    const char *separator = "{";

    for (size_t at = 0; next_kept(config, object, &at, &member); separator = ",") {
        buf_append_str(out, separator);
        append_piece(out, member.name);
        buf_append_str(out, ":");
        append_piece(out, member.value);
    }
    buf_append_str(out, *separator == ',' ? "}" : "{}");
}

/* A list of objects is treated as each of them would be. */
static void append_elements(struct buf *out, const struct config_part *config, struct json_piece array)
{
    struct json_member element;
    const char *separator = "[";

    for (size_t at = 0; json_text_next(array, &at, &element); separator = ",") {
        buf_append_str(out, separator);
        if (json_text_is_object(element.value))
            append_kept(out, config, element.value);
        else
            append_piece(out, element.value);
    }
    buf_append_str(out, *separator == ',' ? "]" : "[]");
}

static void append_json(struct buf *out, const struct config_part *config, struct json_piece json)
{
    bool is_cut = config->pick.count > 0 || config->drop.count > 0;

    if (is_cut && json_text_is_object(json))
        append_kept(out, config, json);
    else if (is_cut && json_text_is_array(json))
        append_elements(out, config, json);
    else
        append_piece(out, json);
}

/* Nearly all texts are, and need no second copy then. */
static bool is_utf8(const struct part_bytes *bytes)
{
    bool is_named = bytes->charset[0] == '\0' || strcasecmp(bytes->charset, "utf-8") == 0;
    bool has_mark = bytes->size >= 2 && strchr("\xef\xfe\xff", bytes->data[0]);

    return is_named && !has_mark && text_utf8_is_valid(bytes->data, bytes->size);
}

static void append_text(struct buf *out, const struct part_bytes *bytes)
{
    cleanup(buf_done) struct buf text = BUF_INIT(out->max);

    if (is_utf8(bytes)) {
        json_append_string(out, bytes->data, bytes->size);
        return;
    }
    text_decode_prefix(bytes->charset, bytes->data, bytes->size, bytes->is_whole, SIZE_MAX, &text);
    json_append_string(out, text.size > 0 ? text.data : "", text.size);
    out->failed |= text.failed;
}

void part_value_append(struct buf *out, const struct config_part *config, const struct part_value *value)
{
    if (value->json.size > 0)
        append_json(out, config, value->json);
    else
        append_text(out, &value->bytes);
}

bool part_value_next(const struct config_part *config, const struct part_value *value, size_t *at,
                     struct json_member *ret)
{
    return value->json.size > 0 && json_text_is_object(value->json) &&
           next_kept(config, value->json, at, ret);
}
