#include "tasks/store.h"

#include <string.h>

static const struct task_store_ops *const stores[] = {&task_store_sqlite};

const struct task_store_ops *task_store_find(const char *text, const char **ret_where)
{
    for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
        size_t size = strlen(stores[i]->scheme);
        if (strncmp(text, stores[i]->scheme, size) != 0 || text[size] != ':')
            continue;
        *ret_where = text + size + 1;
        return stores[i];
    }
    return NULL;
}
