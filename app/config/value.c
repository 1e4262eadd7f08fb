#include "config/config_int.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

typedef int (*set_fn)(const struct config_row *row, const char *text, void *field, struct err *err);

static void *field_of(const struct config_row *row, void *object)
{
    return (char *)object + row->offset;
}

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* Numbers */

static enum parse_kind number_kind(const struct config_row *row)
{
    static const enum parse_kind kinds[CONFIG_TYPE_COUNT] = {
        [CONFIG_UINT] = PARSE_UINT,
        [CONFIG_DURATION] = PARSE_DURATION,
        [CONFIG_SIZE] = PARSE_SIZE,
        [CONFIG_MODE] = PARSE_MODE,
    };
    return kinds[row->type];
}

static void store(const struct config_row *row, uint64_t value, void *field)
{
    uint32_t narrow = (uint32_t)value;

    assert(row->size == sizeof(value) || (row->size == sizeof(narrow) && value <= UINT32_MAX));
    if (row->size == sizeof(value))
        memcpy(field, &value, sizeof(value));
    else
        memcpy(field, &narrow, sizeof(narrow));
}

static int set_number(const struct config_row *row, const char *text, void *field, struct err *err)
{
    uint64_t value;
    int r = parse_number(number_kind(row), text, row->min, row->max, &value, err);

    if (r < 0)
        return r;
    store(row, value, field);
    return 0;
}

static int set_real(const struct config_row *row, const char *text, void *field, struct err *err)
{
    return parse_decimal(text, row->min, row->max, field, err);
}

bool config_parse_number(const char *text, double *ret_value, bool *ret_is_integer)
{
    size_t size = strlen(text);

    if (size == 0 || !strchr("-0123456789", text[0]) || !strchr("0123456789", text[size - 1]))
        return false; /* JSON may have blanks around it */
    cleanup(json_decref_scope) json_t *number = json_loadb(text, size, JSON_DECODE_ANY, NULL);
    if (!json_is_number(number))
        return false;
    *ret_value = json_number_value(number);
    *ret_is_integer = json_is_integer(number);
    return true;
}

static int set_signed(const struct config_row *row, const char *text, void *field, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    double value;
    bool is_integer;

    (void)row;
    if (strcmp(text, "inf") == 0)
        value = INFINITY;
    else if (strcmp(text, "-inf") == 0)
        value = -INFINITY;
    else if (!config_parse_number(text, &value, &is_integer))
        return err_set(err, -EINVAL, "%s is not a number; write one such as 10, -0.5, inf or -inf",
                       parse_quote(text, strlen(text), quoted));
    *(double *)field = value;
    return 0;
}

static int refuse_rate(const struct config_row *row, const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    return err_set(err, -EINVAL,
                   "%s is not a rate; write 0 for none, or a rate such as 10/s, 30/m or 1000/h (%" PRIu64
                   " to %" PRIu64 " before the slash)",
                   parse_quote(text, strlen(text), quoted), row->min, row->max);
}

static int set_rate(const struct config_row *row, const char *text, void *field, struct err *err)
{
    static const struct {
        const char *suffix;
        double seconds;
    } units[] = {{"/s", 1}, {"/m", 60}, {"/h", 3600}};
    char digits[PARSE_TEXT_SIZE];
    size_t size = strcspn(text, "/");
    uint64_t count;
    double rate = 0;

    if (strcmp(text, "0") != 0) {
        size_t unit = 0;
        while (unit < ARRAY_LEN(units) && strcmp(units[unit].suffix, text + size) != 0)
            unit++;
        if (unit == ARRAY_LEN(units) || size >= sizeof(digits))
            return refuse_rate(row, text, err);
        memcpy(digits, text, size);
        digits[size] = '\0';
        if (parse_number(PARSE_UINT, digits, row->min, row->max, &count, NULL) < 0)
            return refuse_rate(row, text, err);
        rate = (double)count / units[unit].seconds;
    }
    *(double *)field = rate;
    return 0;
}

static int set_bool(const struct config_row *row, const char *text, void *field, struct err *err)
{
    bool is_true = strcmp(text, "true") == 0;
    char quoted[PARSE_QUOTED_SIZE];

    (void)row;
    if (!is_true && strcmp(text, "false") != 0)
        return err_set(err, -EINVAL, "%s is neither true nor false; write true or false",
                       parse_quote(text, strlen(text), quoted));
    *(bool *)field = is_true;
    return 0;
}

/* Choices and texts */

static void describe_choices(const struct config_row *row, struct buf *out)
{
    for (uint64_t i = 0; i <= row->max; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : i == row->max ? " or " : ", ", row->names[i]);
}

static int set_choice(const struct config_row *row, const char *text, void *field, struct err *err)
{
    for (uint64_t i = 0; i <= row->max; i++) {
        if (strcmp(row->names[i], text) == 0) {
            store(row, i, field);
            return 0;
        }
    }
    char quoted[PARSE_QUOTED_SIZE];
    cleanup(buf_done) struct buf choices = BUF_INIT(1024);
    describe_choices(row, &choices);
    return err_set(err, -EINVAL, "%s is not known; write %.*s", parse_quote(text, strlen(text), quoted),
                   (int)choices.size, choices.data);
}

static int replace_text(const char *text, void *field, struct err *err)
{
    char *copy = strdup(text);

    if (!copy)
        return out_of_memory(err);
    free(*(char **)field);
    *(char **)field = copy;
    return 0;
}

static int set_text(const struct config_row *row, const char *text, void *field, struct err *err)
{
    size_t size = strlen(text);

    if (size < row->min || size > row->max)
        return err_set(err, -ERANGE, "has %zu bytes; write a text of %" PRIu64 " to %" PRIu64 " bytes", size,
                       row->min, row->max);
    int r = row->check ? row->check(text, err) : 0;
    return r < 0 ? r : replace_text(text, field, err);
}

static void clear_text(void *field)
{
    free(*(char **)field);
}

static int set_store(const struct config_row *row, const char *text, void *field, struct err *err)
{
    static const char scheme[] = "sqlite:";
    char quoted[PARSE_QUOTED_SIZE];

    if (strncmp(text, scheme, strlen(scheme)) != 0 || text[strlen(scheme)] == '\0')
        return err_set(err, -EINVAL, "%s is not a store; write sqlite:PATH, such as sqlite:run/tasks.db",
                       parse_quote(text, strlen(text), quoted));
    return set_text(row, text, field, err);
}

/* Without the slash at its end, for the paths that go behind it begin with one. */
static int set_base_url(const struct config_row *row, const char *text, void *field, struct err *err)
{
    int r = config_check_base_url(text, err);

    (void)row;
    if (r == 0)
        r = replace_text(text, field, err);
    if (r < 0)
        return r;
    char *url = *(char **)field;
    size_t size = strlen(url);
    while (size > 0 && url[size - 1] == '/')
        url[--size] = '\0';
    return 0;
}

static int set_json(const struct config_row *row, const char *text, void *field, struct err *err)
{
    size_t size = strlen(text);

    if (size > row->max)
        return err_set(err, -ERANGE, "has %zu bytes; at most %" PRIu64 " are allowed", size, row->max);
    int r = config_check_json_object(text, err);
    return r < 0 ? r : replace_text(text, field, err);
}

/* Addresses */

static void clear_address(void *field)
{
    struct listen_address *address = field;

    free(address->path);
    free(address->host);
}

static int set_address(const struct config_row *row, const char *text, void *field, struct err *err)
{
    struct listen_address address = {0};
    int r = config_parse_listen(text, &address, err);

    (void)row;
    if (r < 0)
        return r;
    clear_address(field);
    *(struct listen_address *)field = address;
    return 0;
}

/* Lists */

void *config_grow(void *items, size_t count, size_t item_size)
{
    bool is_full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, 8, ... */

    return is_full ? reallocarray(items, count > 0 ? 2 * count : 1, item_size) : items;
}

static int add_item(const struct config_row *row, const char *text, config_text_fn check,
                    struct config_list *list, struct err *err)
{
    if (list->count >= row->max)
        return err_set(err, -ERANGE, "has more than %" PRIu64 " items", row->max);
    int r = check ? check(text, err) : 0;
    if (r < 0)
        return r;
    void *items = config_grow(list->items, list->count, sizeof(*list->items));
    if (!items)
        return out_of_memory(err);
    list->items = items;
    if (asprintf(&list->items[list->count], "%s", text) < 0)
        return out_of_memory(err);
    list->count++;
    return 0;
}

static int add_url(const struct config_row *row, const char *text, void *field, struct err *err)
{
    return add_item(row, text, config_check_url, field, err);
}

static int add_text(const struct config_row *row, const char *text, void *field, struct err *err)
{
    struct config_list *list = field;
    config_text_fn check = list->count == 0 && row->check_first ? row->check_first : row->check;

    if (strlen(text) > CONFIG_ITEM_MAX_BYTES)
        return err_set(err, -ERANGE, "an item has %zu bytes; at most %d are allowed", strlen(text),
                       CONFIG_ITEM_MAX_BYTES);
    return add_item(row, text, check, list, err);
}

static void clear_list(void *field)
{
    struct config_list *list = field;

    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

/* Pairs */

int config_value_add_pair(const struct config_row *row, const char *name, const char *text, void *object,
                          struct err *err)
{
    struct config_pairs *pairs = field_of(row, object);

    assert(pairs->count < row->max);
    if (strlen(text) > CONFIG_PAIR_TEXT_MAX_BYTES)
        return err_set(err, -ERANGE, "has %zu bytes; at most %d are allowed", strlen(text),
                       CONFIG_PAIR_TEXT_MAX_BYTES);
    int r = row->check ? row->check(text, err) : 0;
    if (r < 0)
        return r;
    void *items = config_grow(pairs->items, pairs->count, sizeof(*pairs->items));
    if (!items)
        return out_of_memory(err);
    pairs->items = items;
    struct config_pair *pair = &pairs->items[pairs->count];
    if (asprintf(&pair->name, "%s", name) < 0)
        return out_of_memory(err);
    if (asprintf(&pair->text, "%s", text) < 0) {
        free(pair->name);
        return out_of_memory(err);
    }
    pairs->count++;
    return 0;
}

static void clear_pairs(void *field)
{
    struct config_pairs *pairs = field;

    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].text);
    }
    free(pairs->items);
}

/* All types */

static const struct type {
    const char *name; /* NULL: it is a number, and parse.h knows */
    set_fn set;
    void (*clear)(void *field); /* frees what the field holds; NULL: nothing */
} types[CONFIG_TYPE_COUNT] = {
    [CONFIG_UINT] = {NULL, set_number, NULL},
    [CONFIG_DURATION] = {NULL, set_number, NULL},
    [CONFIG_SIZE] = {NULL, set_number, NULL},
    [CONFIG_MODE] = {NULL, set_number, NULL},
    [CONFIG_REAL] = {"a number", set_real, NULL},
    [CONFIG_RATE] = {"a rate", set_rate, NULL},
    [CONFIG_NUMBER] = {"a number", set_signed, NULL},
    [CONFIG_BOOL] = {"a boolean", set_bool, NULL},
    [CONFIG_CHOICE] = {"a choice", set_choice, NULL},
    [CONFIG_TEXT] = {"a text", set_text, clear_text},
    [CONFIG_JSON] = {"a JSON object in quotes", set_json, clear_text},
    [CONFIG_STORE] = {"a store", set_store, clear_text},
    [CONFIG_BASE_URL] = {"a URL", set_base_url, clear_text},
    [CONFIG_LISTEN] = {"an address", set_address, clear_address},
    [CONFIG_URLS] = {"a list of URLs", add_url, clear_list},
    [CONFIG_TEXTS] = {"a list of texts", add_text, clear_list},
    [CONFIG_PAIRS] = {"a mapping of names to texts", NULL, clear_pairs}, /* config_value_add_pair */
    [CONFIG_MAP] = {"a map", NULL, NULL},                                /* map.c */
};

const char *config_row_type_name(const struct config_row *row)
{
    const char *name = types[row->type].name;

    return name ? name : parse_noun(number_kind(row));
}

bool config_row_is_list(const struct config_row *row)
{
    return row->type == CONFIG_URLS || row->type == CONFIG_TEXTS;
}

void config_row_describe_range(const struct config_row *row, struct buf *out)
{
    char low[PARSE_TEXT_SIZE];
    char high[PARSE_TEXT_SIZE];

    switch (row->type) {
    case CONFIG_CHOICE:
        describe_choices(row, out);
        return;
    case CONFIG_BOOL:
        buf_append_str(out, "true or false");
        return;
    case CONFIG_NUMBER:
    case CONFIG_JSON:
    case CONFIG_BASE_URL:
    case CONFIG_LISTEN:
    case CONFIG_STORE:
        return;
    case CONFIG_TEXT:
        buf_printf(out, "%" PRIu64 " to %" PRIu64 " bytes", row->min, row->max);
        return;
    case CONFIG_REAL:
        buf_printf(out, "%" PRIu64 " to %" PRIu64, row->min, row->max);
        return;
    case CONFIG_RATE:
        buf_printf(out, "0, or %" PRIu64 " to %" PRIu64 " per `s`, `m` or `h`", row->min, row->max);
        return;
    case CONFIG_URLS:
    case CONFIG_TEXTS:
    case CONFIG_PAIRS:
    case CONFIG_MAP:
        if (row->min > 0)
            buf_printf(out, "%" PRIu64 " to %" PRIu64, row->min, row->max);
        else
            buf_printf(out, "at most %" PRIu64, row->max);
        return;
    default:
        parse_format(number_kind(row), row->min, low);
        parse_format(number_kind(row), row->max, high);
        buf_printf(out, "%s to %s", low, high);
    }
}

int config_value_set(const struct config_row *row, const char *text, void *object, struct err *err)
{
    return types[row->type].set(row, text, field_of(row, object), err);
}

int config_value_check_count(const struct config_row *row, const void *object, struct err *err)
{
    size_t count = ((const struct config_list *)((const char *)object + row->offset))->count;

    if (count >= row->min)
        return 0;
    return err_set(err, -ERANGE, "has %zu items; write a list of %" PRIu64 " to %" PRIu64, count, row->min,
                   row->max);
}

void config_value_clear(const struct config_row *row, void *object)
{
    void *field = field_of(row, object);

    if (types[row->type].clear)
        types[row->type].clear(field);
    memset(field, 0, row->size);
}
