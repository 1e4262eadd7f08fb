#include "gather/part_value.h"

#include <errno.h>
#include <string.h>

#include "base/http.h"
#include "base/json.h"
#include "base/text.h"

/* Quotes and a few escapes. */
#define TEXT_SLACK_BYTES 4096

static const struct json_piece null_piece = {"null", 4};

static const char *refuse(struct err *err, const char *reason, const char *text)
{
    err_set(err, -EINVAL, "%s", text);
    return reason;
}

/* ---- pick and drop ---- */

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

static void append_kept(struct buf *out, const struct config_part *config, struct json_piece object)
{
    struct json_member member;
    const char *separator = "{";

    for (size_t at = 0; json_text_next(object, &at, &member);) {
        if (!is_kept(config, member.name))
            continue;
        buf_append_str(out, separator);
        buf_append(out, member.name.text, member.name.size);
        buf_append_str(out, ":");
        buf_append(out, member.value.text, member.value.size);
        separator = ",";
    }
    buf_append_str(out, *separator == ',' ? "}" : "{}");
}

/* A list of objects is treated as each of them would be. */
static void append_cut(struct buf *out, const struct config_part *config, struct json_piece json)
{
    struct json_member element;
    const char *separator = "[";

    if (json_text_is_object(json)) {
        append_kept(out, config, json);
        return;
    }
    for (size_t at = 0; json_text_next(json, &at, &element);) {
        buf_append_str(out, separator);
        if (json_text_is_object(element.value))
            append_kept(out, config, element.value);
        else
            buf_append(out, element.value.text, element.value.size);
        separator = ",";
    }
    buf_append_str(out, *separator == ',' ? "]" : "[]");
}

static bool is_cut(const struct config_part *config, struct json_piece json)
{
    return (config->pick.count > 0 || config->drop.count > 0) &&
           (json_text_is_object(json) || json_text_is_array(json));
}

/* ---- the value ---- */

static const char *own_text(struct part_value *ret, struct err *err)
{
    if (ret->text.failed)
        return refuse(err, "overloaded", "out of memory");
    ret->json = (struct json_piece){ret->text.data, ret->text.size};
    return NULL;
}

static const char *read_json(const struct config_part *config, const struct part_bytes *bytes,
                             struct part_value *ret, struct err *err)
{
    struct json_piece json;
    struct err inner;

    if (!bytes->is_whole)
        return refuse(err, "bad_json", "the answer is not whole");
    if (json_text_check(bytes->data, bytes->size, &json, &inner) < 0) {
        err_set(err, -EINVAL, "the answer is not JSON: %s", inner.text);
        return "bad_json";
    }
    if (!json_text_find(json, config->select, &json)) {
        err_set(err, -EINVAL, "there is no %.100s in the answer", config->select);
        return "bad_select";
    }
    if (!is_cut(config, json)) {
        ret->json = json;
        ret->is_lent = true;
        return NULL;
    }
    /* What is cut out is never longer, but for the brackets and commas around nothing. */
    ret->text.max = json.size + 2;
    append_cut(&ret->text, config, json);
    return own_text(ret, err);
}

static const char *read_text(const struct part_bytes *bytes, size_t max_bytes, struct part_value *ret,
                             struct err *err)
{
    cleanup(buf_done) struct buf text = BUF_INIT(max_bytes + TEXT_SLACK_BYTES);

    text_decode_prefix(bytes->charset, bytes->data, bytes->size, bytes->is_whole, SIZE_MAX, &text);
    ret->text.max = max_bytes + TEXT_SLACK_BYTES;
    if (!text.failed)
        json_append_string(&ret->text, text.data, text.size);
    if (text.failed || ret->text.failed)
        return refuse(err, "too_large", "the text has more than max_response bytes when it is written as JSON");
    return own_text(ret, err);
}

const char *part_value_read(const struct config_part *config, bool must_be_object, const struct part_bytes *bytes,
                            size_t max_bytes, struct part_value *ret, struct err *err)
{
    const char *reason = NULL;

    *ret = (struct part_value){.json = null_piece};
    if (bytes->size == 0 && config->select[0] == '\0')
        return NULL;
    if (bytes->size > 0 && http_is_json(bytes->content_type))
        reason = read_json(config, bytes, ret, err);
    else if (config->select[0] != '\0')
        reason = refuse(err, "bad_select", "the answer is not JSON, there is nothing to select from");
    else
        reason = read_text(bytes, max_bytes, ret, err);
    if (!reason && must_be_object && !json_text_is_object(ret->json) && ret->json.text[0] != 'n')
        reason = refuse(err, "not_an_object", "the value is not an object, whose members could be merged");
    if (reason)
        part_value_done(ret);
    return reason;
}

void part_value_done(struct part_value *value)
{
    buf_done(&value->text);
    *value = (struct part_value){.is_lent = false};
}
