/* Names and templates: of a query, and of headers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gather/plan_http.h"

static char *escape_query_name(const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = malloc(strlen(name) * 3 + 1);
    char *p = escaped;

    for (; escaped && *name; name++) {
        unsigned char c = (unsigned char)*name;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~", c)) {
            *p++ = (char)c;
            continue;
        }
        *p++ = '%';
        *p++ = digits[c >> 4];
        *p++ = digits[c & 15];
    }
    if (escaped)
        *p = '\0';
    return escaped;
}

static int compile_pair(const struct config_pair *config, bool is_query, struct plan_pair *ret,
                        struct err *err)
{
    ret->name = is_query ? escape_query_name(config->name) : strdup(config->name);
    if (!ret->name)
        return err_set(err, -ENOMEM, "out of memory");
    return template_parse(config->text, &ret->value, err);
}

static int compile_items(const struct config_pairs *config, bool is_query, struct plan_pair *items,
                         struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < config->count && rc == 0; i++)
        rc = compile_pair(&config->items[i], is_query, &items[i], err);
    return rc;
}

int http_pairs_compile(const struct config_pairs *config, bool is_query, struct plan_pairs *ret,
                       struct err *err)
{
    ret->items = calloc(config->count + 1, sizeof(ret->items[0]));
    if (!ret->items)
        return err_set(err, -ENOMEM, "out of memory");
    ret->count = config->count;
    return compile_items(config, is_query, ret->items, err);
}

void http_pairs_done(struct plan_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        template_free(pairs->items[i].value);
    }
    free(pairs->items);
}

bool http_pairs_have(const struct plan_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (strcasecmp(pairs->items[i].name, name) == 0)
            return true;
    return false;
}
