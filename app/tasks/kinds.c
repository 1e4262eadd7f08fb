#include "tasks/kind.h"

#include <string.h>

#define ROW(kind) &kind_##kind,
const struct task_kind *const task_kinds[] = {TASK_KINDS(ROW) NULL};

const struct task_kind *task_kind_find(const char *name)
{
    for (size_t i = 0; task_kinds[i]; i++)
        if (strcmp(task_kinds[i]->name, name) == 0)
            return task_kinds[i];
    return NULL;
}
