/* `merge: flat`: whether a member is there twice.  Names are compared as they are meant, not as they are
 * written. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "gather/plan_int.h"

/* Members of all parts together: each name costs a little memory. */
#define MEMBERS_MAX 10000

struct merge {
    json_t *names; /* an object, used as a set; NULL: out of memory */
    size_t count;
};

static void refuse_name(struct plan_part *part, const char *name, size_t size)
{
    char error[FETCH_ERROR_SIZE];

    snprintf(error, sizeof(error), "its member %.*s is in the answer already", (int)MIN(size, (size_t)80),
             name);
    plan_part_fail(part, "duplicate_key", error);
}

/* The names of one part go into `own` first: a member that a part itself has twice is its own business. */
static bool check_name(struct merge *merge, json_t *own, struct plan_part *part, struct json_piece written)
{
    char *name = malloc(written.size);
    bool is_ok = false;

    if (!name)
        return false;
    size_t size = json_text_decode(written, name);
    if (json_object_getn(merge->names, name, size))
        refuse_name(part, name, size);
    else
        is_ok = json_object_setn_new_nocheck(own, name, size, json_true()) == 0;
    free(name);
    return is_ok;
}

static void merge_part(struct merge *merge, struct plan_part *part)
{
    json_t *own = json_object();
    struct json_member member;
    bool is_ok = own != NULL;

    for (size_t at = 0; is_ok && part_value_next(part->step->config, &part->value, &at, &member);) {
        is_ok = ++merge->count <= MEMBERS_MAX;
        if (!is_ok)
            plan_part_fail(part, "too_large", "there are too many members to be merged");
        else
            is_ok = check_name(merge, own, part, member.name);
    }
    if (is_ok)
        is_ok = json_object_update(merge->names, own) == 0;
    if (!is_ok && !part->reason)
        plan_part_fail(part, fetch_reason_names[part->fetch_reason = FETCH_OVERLOADED], "out of memory");
    json_decref(own);
}

void merge_find_duplicates(struct plan_run *run)
{
    struct merge merge = {.names = json_pack("{s:b, s:b}", "errors", 1, "complete", 1)};

    for (size_t i = 0; i < run->plan->step_count; i++) {
        struct plan_part *part = &run->parts[i];
        if (part->part.state == PART_OK)
            merge_part(&merge, part);
    }
    json_decref(merge.names);
}
