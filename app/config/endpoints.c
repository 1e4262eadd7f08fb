/* What an endpoint may say, and each of its parts and parameters. */
#include <assert.h>

#include "config/config_int.h"

#define KIB     UINT64_C(1024)
#define MIB     (1024 * KIB)
#define GIB     (1024 * MIB)
#define HOUR_MS (3600 * UINT64_C(1000))

#define MEMBER(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

#define ENDPOINT(member) MEMBER(struct config_endpoint, member)
#define PARAM(member)    MEMBER(struct config_param, member)
#define PART(member)     MEMBER(struct config_part, member)

static_assert(offsetof(struct config_endpoint, path) == 0, "the name of an entry comes first");
static_assert(offsetof(struct config_param, name) == 0, "the name of an entry comes first");
static_assert(offsetof(struct config_part, name) == 0, "the name of an entry comes first");

static const char *const method_names[] = {
    [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
    [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
};

/* Parameters */

static const char *const param_types[] = {
    [PARAM_STRING] = "string",
    [PARAM_INTEGER] = "integer",
    [PARAM_NUMBER] = "number",
    [PARAM_BOOLEAN] = "boolean",
};

static const struct config_row param_rows[] = {
    {
        .key = "type",
        .type = CONFIG_CHOICE,
        PARAM(type),
        .default_text = "string",
        .max = PARAM_BOOLEAN,
        .names = param_types,
        .help = "What it must be.",
    },
    {
        .key = "pattern",
        .type = CONFIG_TEXT,
        PARAM(pattern),
        .default_text = "",
        .max = 512,
        .check = config_check_pattern,
        .help = "POSIX extended regular expression, without back-references, that all of it must match. "
                "Empty: any.",
    },
    {
        .key = "default",
        .type = CONFIG_TEXT,
        PARAM(default_text),
        .is_optional = true,
        .max = 4096,
        .help = "Its value when the client gives none; it counts before that of a placeholder.",
    },
    {
        .key = "min",
        .type = CONFIG_NUMBER,
        PARAM(min),
        .default_text = "-inf",
        .help = "The least that an integer or a number may be.",
    },
    {
        .key = "max",
        .type = CONFIG_NUMBER,
        PARAM(max),
        .default_text = "inf",
        .help = "And the most.",
    },
    {
        .key = "max_length",
        .type = CONFIG_UINT,
        PARAM(max_length),
        .default_text = "1024",
        .min = 1,
        .max = 65536,
        .help = "Most bytes of a string.",
    },
};

static const struct config_map params_map = {
    .entry = "a parameter",
    .identity = "name",
    .check_name = config_check_param_name,
    .help = "What a value of the client's request has to be before it is put anywhere; otherwise the answer "
            "is 422.",
    .name_help = "NAME is what placeholders say: `id`, `query.limit`, `header.Accept-Language`, "
                 "`body./customer/id`.",
    .entry_size = sizeof(struct config_param),
    .count_offset = offsetof(struct config_endpoint, param_count),
    .table = {.rows = param_rows, .row_count = ARRAY_LEN(param_rows), .checks = config_param_checks},
};

/* Parts */

static const struct config_row part_rows[] = {
    {
        .key = "upstream",
        .type = CONFIG_TEXT,
        PART(upstream),
        .min = 1,
        .max = CONFIG_NAME_MAX_BYTES,
        .check = config_check_name,
        .help = "Where it is fetched from: one of `upstreams`.",
    },
    {
        .key = "method",
        .type = CONFIG_CHOICE,
        PART(method),
        .default_text = "GET",
        .max = METHOD_DELETE,
        .names = method_names,
        .help = "The method of the request.",
    },
    {
        .key = "path",
        .type = CONFIG_TEXT,
        PART(path),
        .min = 1,
        .max = 8192,
        .check = config_check_path_template,
        .help = "Its path behind the upstream's `base_url`, a template that begins with a slash: "
                "`/users/{id}/orders`.",
    },
    {
        .key = "query",
        .type = CONFIG_PAIRS,
        PART(query),
        .default_text = "{}",
        .max = CONFIG_PAIRS_MAX,
        .check = config_check_template,
        .help = "Its query: names, and values that are templates: `{customer: \"{id}\", limit: "
                "\"{query.limit:10}\"}`.",
    },
    {
        .key = "headers",
        .type = CONFIG_PAIRS,
        PART(headers),
        .default_text = "{}",
        .max = CONFIG_PAIRS_MAX,
        .check = config_check_header_template,
        .check_name = config_check_header_name,
        .help = "Headers: names, and values that are templates.",
    },
    {
        .key = "body",
        .type = CONFIG_TEXT,
        PART(body),
        .default_text = "",
        .max = 8192,
        .check = config_check_json_template,
        .help = "JSON text whose strings may be templates; a string that is one placeholder and nothing else "
                "becomes the value itself, of whatever type: `'{\"customer\": \"{body./id}\"}'`. Empty: "
                "none.",
    },
    {
        .key = "required",
        .type = CONFIG_BOOL,
        PART(is_required),
        .default_text = "false",
        .help = "Whether the whole answer is an error (502, 503 or 504) when this part fails. Without, it is "
                "200 with `complete: false`.",
    },
    {
        .key = "timeout",
        .type = CONFIG_DURATION,
        PART(timeout_ms),
        .default_text = "0s",
        .max = HOUR_MS,
        .help = "Longest time for it, all attempts together. 0s: as long as the endpoint has.",
    },
    {
        .key = "max_response",
        .type = CONFIG_SIZE,
        PART(max_response_bytes),
        .default_text = "0",
        .max = GIB,
        .help = "Largest body, after decompression. 0: as the upstream's.",
    },
    {
        .key = "select",
        .type = CONFIG_TEXT,
        PART(select),
        .default_text = "",
        .max = 1024,
        .check = config_check_pointer,
        .help = "JSON Pointer to what of the body is the part's value: `/data/user`. Empty: all.",
    },
    {
        .key = "pick",
        .type = CONFIG_TEXTS,
        PART(pick),
        .default_text = "[]",
        .max = 64,
        .help = "The members of that value that are kept. Empty: all.",
    },
    {
        .key = "drop",
        .type = CONFIG_TEXTS,
        PART(drop),
        .default_text = "[]",
        .max = 64,
        .help = "Or the members that are left out.",
    },
    {
        .key = "after",
        .type = CONFIG_TEXTS,
        PART(after),
        .default_text = "[]",
        .max = CONFIG_PARTS_MAX,
        .check = config_check_name,
        .help = "Parts that must have succeeded before this one starts; those that its placeholders name "
                "need not be written here.",
    },
};

static const struct config_map parts_map = {
    .entry = "a part",
    .identity = "name",
    .check_name = config_check_part_name,
    .help = "What an endpoint's answer is made of. All parts that wait for no other are fetched at once. "
            "Templates are texts with placeholders, `{SOURCE}` or `{SOURCE:DEFAULT}`; `{{` and `}}` stand "
            "for braces. A SOURCE is a parameter of the path (`id`), `query.NAME`, `header.NAME`, "
            "`body.POINTER` (a place in the JSON body of a POST) or `PART.POINTER` (a place in another part, "
            "which is then waited for). Values are escaped for the place they go to.",
    .name_help = CONFIG_NAME_HELP,
    .entry_size = sizeof(struct config_part),
    .count_offset = offsetof(struct config_endpoint, part_count),
    .table = {.rows = part_rows, .row_count = ARRAY_LEN(part_rows), .checks = config_part_checks},
};

/* Endpoints */

static const char *const mode_names[] = {
    [MODE_ALL] = "all",
    [MODE_FIRST] = "first",
    [MODE_QUORUM] = "quorum",
};

static const char *const merge_names[] = {[MERGE_PARTS] = "parts", [MERGE_FLAT] = "flat"};

static const struct config_row endpoint_rows[] = {
    {
        .key = "method",
        .type = CONFIG_CHOICE,
        ENDPOINT(method),
        .default_text = "GET",
        .max = METHOD_POST,
        .names = method_names,
        .help = "The method that it answers; GET answers HEAD too. An endpoint for each may have the same "
                "path.",
    },
    {
        .key = "timeout",
        .type = CONFIG_DURATION,
        ENDPOINT(timeout_ms),
        .default_text = "10s",
        .min = 1,
        .max = HOUR_MS,
        .help = "Longest time for the answer; a client may ask for less by `X-Request-Timeout`. nginx's "
                "`fastcgi_read_timeout` must be longer.",
    },
    {
        .key = "mode",
        .type = CONFIG_CHOICE,
        ENDPOINT(mode),
        .default_text = "all",
        .max = MODE_QUORUM,
        .names = mode_names,
        .help = "When it is complete: `all` parts have succeeded, the `first` one has, or as many as "
                "`quorum` says; the rest is then cancelled.",
    },
    {
        .key = "quorum",
        .type = CONFIG_UINT,
        ENDPOINT(quorum),
        .default_text = "0",
        .max = CONFIG_PARTS_MAX,
        .help = "Successes that are enough for mode `quorum`, and only for that.",
    },
    {
        .key = "merge",
        .type = CONFIG_CHOICE,
        ENDPOINT(merge),
        .default_text = "parts",
        .max = MERGE_FLAT,
        .names = merge_names,
        .help = "`parts`: each part's value under its name. `flat`: one object with the members of all of "
                "them.",
    },
    {
        .key = "max_response",
        .type = CONFIG_SIZE,
        ENDPOINT(max_response_bytes),
        .default_text = "4MiB",
        .min = 1,
        .max = GIB,
        .help = "Most bytes of all parts' bodies together, after decompression.",
    },
    {
        .key = "forward_headers",
        .type = CONFIG_TEXTS,
        ENDPOINT(forward_headers),
        .default_text = "[]",
        .max = 64,
        .check = config_check_header_name,
        .help = "Headers of the client's request that go along to all parts, by name, beside those of their "
                "upstreams.",
    },
    {
        .key = "params",
        .type = CONFIG_MAP,
        ENDPOINT(params),
        .default_text = "[]",
        .max = 64,
        .map = &params_map,
        .help = "What values of the request must be.",
    },
    {
        .key = "parts",
        .type = CONFIG_MAP,
        ENDPOINT(parts),
        .min = 1,
        .max = CONFIG_PARTS_MAX,
        .map = &parts_map,
        .help = "What the answer is made of.",
    },
};

const struct config_map config_endpoints = {
    .entry = "an endpoint",
    .identity = "path",
    .check_name = config_check_endpoint_path,
    .may_repeat = true,
    .help = "One answer made of many: the parts are fetched at once, under one deadline.",
    .name_help = "PATH begins with a slash and has at most 256 bytes; a segment in braces is a parameter: "
                 "`/api/customers/{id}`.",
    .entry_size = sizeof(struct config_endpoint),
    .count_offset = offsetof(struct config, endpoint_count),
    .table = {.rows = endpoint_rows, .row_count = ARRAY_LEN(endpoint_rows), .checks = config_endpoint_checks},
};
