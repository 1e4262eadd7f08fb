#include "gather/url_list.h"

#include <errno.h>
#include <stdlib.h>

struct url_list {
    struct http_context context; /* comes first: gather_arg gives the list */
    struct url_list_options options;
    struct gather *gather; /* whose last reference frees the list */
    struct part **pointers;
    struct http_part parts[];
};

static void on_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct url_list *list = arg;

    list->options.part_ended(gather, part, list->options.arg);
}

static void on_done(struct gather *gather, void *arg)
{
    struct url_list *list = arg;

    list->options.done(gather, list->options.arg);
}

static void free_list(struct url_list *list)
{
    free(list->pointers);
    free(list);
}

static void on_release(void *arg)
{
    struct url_list *list = arg;
    const struct url_list_options options = list->options;

    for (size_t i = 0; i < options.count; i++)
        upstream_call_done(&list->parts[i].call);
    free_list(list);
    if (options.release)
        options.release(options.arg);
}

/* Those that are looked at on their way are not the configuration's own. */
static struct upstream *upstream_of(const struct url_list_options *options, const struct fetch_target *target)
{
    return options->may_visit || options->may_connect ? upstreams_others(options->upstreams)
                                                      : upstreams_of_target(options->upstreams, target);
}

static void set_call(const struct url_list_options *options, size_t index, struct upstream_call *call)
{
    call->target = options->targets[index];
    call->upstream = upstream_of(options, call->target);
    call->deadline_ns = options->deadline_ns;
    call->keep_max_bytes = options->keep_max_bytes;
    call->budget = options->budget;
    call->may_visit = options->may_visit;
    call->may_connect = options->may_connect;
    call->fetch_arg = options->fetch_arg;
}

static int create_gather(struct url_list *list, struct err *err)
{
    struct gather_options options = {
        .parts = list->pointers,
        .count = list->options.count,
        .max_concurrency = list->options.max_concurrency,
        .part_ended = list->options.part_ended ? on_part_ended : NULL,
        .done = on_done,
        .release = on_release,
        .arg = list,
    };

    for (size_t i = 0; i < options.count; i++) {
        list->pointers[i] = &list->parts[i].part;
        list->parts[i].part.ops = &http_part_ops;
        set_call(&list->options, i, &list->parts[i].call);
    }
    return gather_create(&options, &list->gather, err);
}

int url_list_create(const struct url_list_options *options, struct url_list **ret_list, struct err *err)
{
    struct url_list *list = calloc(1, sizeof(*list) + options->count * sizeof(list->parts[0]));

    if (!list || !(list->pointers = calloc(options->count + 1, sizeof(struct part *)))) {
        free(list);
        return err_set(err, -ENOMEM, "out of memory");
    }
    list->context.upstreams = options->upstreams;
    list->options = *options;
    int rc = create_gather(list, err);
    if (rc < 0) {
        free_list(list);
        return rc;
    }
    *ret_list = list;
    return 0;
}

struct gather *url_list_gather(const struct url_list *list)
{
    return list->gather;
}
