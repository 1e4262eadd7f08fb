/* url_list.h - a fan-out over plain URLs, as GET /concurrent_requests/ and tasks of kind `fan_out` have it.
 *
 * How to use it: url_list_create, gather_start(url_list_gather(list)); after `done` the parts are
 * gather_ended(..), each an http_part, and results.h writes them.
 * Threads and ownership: as plan.h; `targets` are lent until `release`. */
#pragma once

#include "gather/gather.h"
#include "gather/http_part.h"

struct url_list;

struct url_list_options {
    struct upstreams *upstreams;
    struct fetch_target *const *targets;
    size_t count;
    unsigned max_concurrency;
    size_t keep_max_bytes;
    uint64_t deadline_ns;  /* CLOCK_NEVER: none but the upstreams' own */
    struct budget *budget; /* may be NULL */
    fetch_may_visit_fn
        may_visit; /* their fetch's `arg` is `fetch_arg`.  With one of these two all belong to */
    fetch_may_connect_fn may_connect; /* upstreams_others */
    void *fetch_arg;
    gather_part_ended_fn part_ended;
    gather_done_fn done;
    void (*release)(void *arg);
    void *arg;
};

must_check int url_list_create(const struct url_list_options *options, struct url_list **ret_list,
                               struct err *err);
struct gather *url_list_gather(const struct url_list *list);
