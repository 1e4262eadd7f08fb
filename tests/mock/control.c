#include "control.h"

#include "record.h"
#include "tally.h"

static char mode[REQUEST_HEAD_MAX];
static size_t mode_len;

/* Where parameters are read that are no request's; large. */
static struct params asked;

/* Each adds the answer and returns its status. */

static unsigned answer_stats(struct slice query, const struct stats *stats, struct text *text)
{
    (void)query;
    text_add_member(text, SLICE("{\"requests\":"), stats->requests);
    text_add_member(text, SLICE(",\"connections_open\":"), stats->connections_open);
    text_add_member(text, SLICE(",\"connections_total\":"), stats->connections_total);
    text_add_member(text, SLICE(",\"in_flight\":"), stats->in_flight);
    text_add_member(text, SLICE(",\"max_in_flight\":"), stats->max_in_flight);
    text_add_member(text, SLICE(",\"aborted\":"), stats->aborted);
    text_add(text, SLICE("}\n"));
    return 200;
}

static unsigned answer_count(struct slice query, const struct stats *stats, struct text *text)
{
    (void)stats;
    if (!params_parse(&asked, query, text)) {
        return 400;
    }
    text_add_member(text, SLICE("{\"count\":"), asked.key.at ? tally_count(asked.key) : 0);
    text_add(text, SLICE("}\n"));
    return 200;
}

static unsigned answer_array(struct slice query, struct text *text, struct slice before,
                             void (*add)(struct text *text, uint64_t key))
{
    if (!params_parse(&asked, query, text)) {
        return 400;
    }
    text_add(text, before);
    add(text, asked.key.at ? tally_hash(asked.key) : 0);
    text_add(text, SLICE("]}\n"));
    return 200;
}

static unsigned answer_gone(struct slice query, const struct stats *stats, struct text *text)
{
    (void)stats;
    return answer_array(query, text, SLICE("{\"gone\":["), record_add_gone);
}

static unsigned answer_requests(struct slice query, const struct stats *stats, struct text *text)
{
    (void)stats;
    return answer_array(query, text, SLICE("{\"requests\":["), record_add_requests);
}

static unsigned answer_mode(struct slice query, const struct stats *stats, struct text *text)
{
    (void)stats;
    if (!params_parse(&asked, query, text)) {
        return 400;
    }
    memcpy(mode, query.at, query.len); /* a query is shorter than a head */
    mode_len = query.len;
    text_add(text, SLICE("{}\n"));
    return 200;
}

static const struct {
    struct slice path;
    unsigned (*answer)(struct slice query, const struct stats *stats, struct text *text);
} controls[] = {
    {{"/_stats", 7}, answer_stats}, {{"/_count", 7}, answer_count},        {{"/_gone", 6}, answer_gone},
    {{"/_mode", 6}, answer_mode},   {{"/_requests", 10}, answer_requests},
};

bool control_answer(const struct request *request, const struct stats *stats, struct text *text,
                    unsigned *ret_status)
{
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        if (slice_is(request->path, controls[i].path)) {
            *ret_status = controls[i].answer(request->query, stats, text);
            return true;
        }
    }
    return false;
}

bool control_parse(struct params *params, const struct request *request, struct text *ret_wrong)
{
    return params_parse(params, request->query, ret_wrong) &&
           params_parse_more(params, (struct slice){mode, mode_len}, ret_wrong);
}
