/* plan_int.h - what the files of a plan share.
 *
 * plan.c makes a plan of an endpoint, plan_run.c runs it for one request; neither knows how a part is
 * fetched.  That is the business of a kind (plan_http.c): it compiles a part's templates into a step, and its
 * operations start the parts, each of which it ends by plan_part_read or plan_part_fail.  Another kind of
 * part (a query of a database) is another file with a `struct plan_kind`, and the choice in plan.c.
 * merge.c is `merge: flat`. */
#pragma once

#include "gather/plan.h"

struct plan_part;
struct plan_step;

/* ---- the plan; read-only once it is made ---- */

/* Where a kind tells all places of its templates. */
typedef int (*plan_place_fn)(const struct template_place *place, void *arg);

struct plan_kind {
    struct part_ops ops; /* comes first */
    must_check int (*compile)(struct plan_step *step, const struct plan *plan, struct err *err);
    must_check int (*visit_places)(const struct plan_step *step, plan_place_fn visit, void *arg);
    void (*step_done)(struct plan_step *step); /* also of one that is not whole */
    void (*part_done)(struct plan_part *part); /* also of one that never ran */
};

extern const struct plan_kind plan_kind_http;

/* A name and a template. */
struct plan_pair {
    char *name; /* as it is sent: of a query it is escaped */
    struct template *value;
};

struct plan_pairs {
    struct plan_pair *items;
    size_t count;
};

/* How a part is called. */
struct http_step {
    struct upstream *upstream;
    struct template *path;
    struct plan_pairs query;
    struct plan_pairs headers;
    struct json_template *body; /* NULL: none */
    bool has_content_type;
    size_t max_bytes;            /* of the answer */
    struct fetch_target *target; /* when it is the same for all requests; else NULL */
    size_t *forwards;            /* indexes into plan->forwards */
    size_t forward_count;
};

struct plan_step {
    const struct config_part *config;
    const struct plan_kind *kind;
    struct http_step http; /* of plan_kind_http; another kind has another struct here */
};

struct plan {
    const struct config_endpoint *endpoint;
    struct upstreams *upstreams;
    struct budget *process_budget;
    struct arguments_rules *rules;
    const char **forwards; /* names of the client's headers that some part sends, each once */
    size_t forward_count;
    size_t step_count;
    struct plan_step steps[];
};

/* ---- a run ---- */

struct http_run {
    struct upstream_call call;
    struct fetch_call request;
    struct fetch_target *target; /* of this run alone; NULL: the step's */
    char **lines;                /* headers of its own, for `headers` */
    const char **headers;
    struct buf body;
};

struct plan_part {
    struct part part;
    struct plan_run *run;
    const struct plan_step *step;
    const char *reason; /* as struct part_outcome has these */
    enum fetch_reason fetch_reason;
    bool is_clients_fault;
    int status;
    unsigned attempts;
    bool is_coalesced;
    bool is_hedged;
    uint64_t retry_after_s;
    struct part_value value;
    char error[FETCH_ERROR_SIZE];
    struct http_run http; /* likewise */
};

struct plan_run {
    const struct plan *plan;
    struct plan_run_options options; /* without `client` */
    struct gather *gather;           /* whose last reference frees the run */
    struct budget budget;            /* of all parts together */
    uint64_t deadline_ns;            /* of the parts */
    char *traceparent;
    char *request_id; /* as a header */
    char **forwarded; /* headers of the client, by plan->forwards; NULL where it sent none */
    struct part **pointers;
    struct plan_part parts[];
};

static inline struct plan_part *plan_part_of(const struct part *part)
{
    return container_of(part, struct plan_part, part);
}

/* When the part has to end. */
uint64_t plan_part_deadline_ns(const struct plan_part *part);

/* What templates are rendered with: zeroed but for `run`; plan_values_done afterwards. */
struct plan_values {
    const struct plan_run *run;
    const struct template_place *last; /* that was looked up */
    json_t *kept;                      /* values that were made for it */
};
const json_t *plan_values_lookup(const struct template_place *place, void *values);
void plan_values_done(struct plan_values *values);

/* What a part has brought becomes its value, if it can be that; the bytes are the kind's until `part_done`.
 * part_end is the kind's to call. */
bool plan_part_read(struct plan_part *part, const struct part_bytes *bytes);
/* Says why it has failed. */
void plan_part_fail(struct plan_part *part, const char *reason, const char *error);

/* Marks parts whose members others have brought. */
void merge_find_duplicates(struct plan_run *run);
