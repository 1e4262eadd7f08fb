/* What an upstream may say. */
#include <assert.h>

#include "config/config_int.h"

#define KIB       UINT64_C(1024)
#define GIB       (1024 * 1024 * KIB)
#define SECOND_MS UINT64_C(1000)
#define HOUR_MS   (3600 * SECOND_MS)

#define FIELD(member)                                                                                        \
    .offset = offsetof(struct config_upstream, member),                                                      \
    .size = sizeof(((struct config_upstream *)NULL)->member)

static_assert(offsetof(struct config_upstream, name) == 0, "the name of an entry comes first");

static const char *const tls_versions[] = {"1.2", "1.3"};

static const struct config_section sections[] = {
    {"", ""},
    {"breaker",
     "The circuit breaker: an upstream that fails too often is left alone for a while, and its calls are "
     "refused at once (`circuit_open`). When a name has several addresses each is watched by itself, "
     "and a bad one is passed over, but never all of them."},
    {"retry",
     "What failed and may be repeated (GET, HEAD, PUT and DELETE; errors of the transport and the chosen "
     "statuses) is tried again, as long as the deadline allows. Retry-After is honoured."},
    {"hedge",
     "A second request goes out when the first is slower than most; the first answer counts, and the "
     "other request is cancelled. Only for GET and HEAD."},
    {"tls", "How heddle speaks TLS to an https upstream. Files that change are read again."},
};

static const struct config_row rows[] = {
    {
        .key = "base_url",
        .type = CONFIG_BASE_URL,
        FIELD(base_url),
        .help = "Where it is: an absolute http or https URL without query and fragment, such as "
                "`https://users.internal:8443/v2`. The paths of parts go behind it.",
    },
    {
        .key = "timeout",
        .type = CONFIG_DURATION,
        FIELD(timeout_ms),
        .default_text = "10s",
        .min = 1,
        .max = HOUR_MS,
        .help = "Longest time for one attempt. What is left of the endpoint's time counts when it is less.",
    },
    {
        .key = "max_response",
        .type = CONFIG_SIZE,
        FIELD(max_response_bytes),
        .default_text = "1MiB",
        .min = 1,
        .max = GIB,
        .help = "Largest body of an answer, after decompression; a longer one is an error (`too_large`).",
    },
    {
        .key = "http2",
        .type = CONFIG_BOOL,
        FIELD(http2),
        .default_text = "true",
        .help = "Whether HTTP/2 is spoken where TLS offers it.",
    },
    {
        .key = "max_in_flight",
        .type = CONFIG_UINT,
        FIELD(max_in_flight),
        .default_text = "1024",
        .max = 1000000,
        .help = "The bulkhead: attempts at the same time. 0: no limit.",
    },
    {
        .key = "max_queue",
        .type = CONFIG_UINT,
        FIELD(max_queue),
        .default_text = "1024",
        .max = 1000000,
        .help = "Calls that may wait for one of those places; more, and those whose time would not suffice, "
                "are refused at once (`overloaded`).",
    },
    {
        .key = "coalesce",
        .type = CONFIG_BOOL,
        FIELD(coalesce),
        .default_text = "false",
        .help = "Whether equal GET requests that are in flight at the same time share one fetch. Equal are "
                "those with the same URL and headers.",
    },
    {
        .key = "forward_headers",
        .type = CONFIG_TEXTS,
        FIELD(forward_headers),
        .default_text = "[]",
        .max = 64,
        .check = config_check_header_name,
        .help = "Headers of the client's request that go along to it, by name; no others do.",
    },
    {
        .key = "breaker.enabled",
        .type = CONFIG_BOOL,
        FIELD(breaker.is_enabled),
        .default_text = "true",
        .help = "Whether there is one.",
    },
    {
        .key = "breaker.failure_ratio",
        .type = CONFIG_REAL,
        FIELD(breaker.failure_ratio),
        .default_text = "0.5",
        .max = 1,
        .help = "It opens when this share of the calls in the window has failed.",
    },
    {
        .key = "breaker.slow_ratio",
        .type = CONFIG_REAL,
        FIELD(breaker.slow_ratio),
        .default_text = "1",
        .max = 1,
        .help = "Or when this share was slow.",
    },
    {
        .key = "breaker.slow",
        .type = CONFIG_DURATION,
        FIELD(breaker.slow_ms),
        .default_text = "0s",
        .max = HOUR_MS,
        .help = "A call that takes as long is slow, whatever its answer. 0s: none is.",
    },
    {
        .key = "breaker.min_requests",
        .type = CONFIG_UINT,
        FIELD(breaker.min_requests),
        .default_text = "20",
        .min = 1,
        .max = 1000000,
        .help = "With fewer calls in the window it stays closed.",
    },
    {
        .key = "breaker.window",
        .type = CONFIG_DURATION,
        FIELD(breaker.window_ms),
        .default_text = "10s",
        .min = SECOND_MS,
        .max = HOUR_MS,
        .help = "How far back it looks.",
    },
    {
        .key = "breaker.open",
        .type = CONFIG_DURATION,
        FIELD(breaker.open_ms),
        .default_text = "5s",
        .min = 1,
        .max = HOUR_MS,
        .help = "How long it stays open before the upstream is tried again.",
    },
    {
        .key = "breaker.probes",
        .type = CONFIG_UINT,
        FIELD(breaker.probes),
        .default_text = "3",
        .min = 1,
        .max = 1000,
        .help = "Calls that are let through then; it closes when all of them succeed.",
    },
    {
        .key = "retry.enabled",
        .type = CONFIG_BOOL,
        FIELD(retry.is_enabled),
        .default_text = "true",
        .help = "Whether anything is tried again.",
    },
    {
        .key = "retry.max_attempts",
        .type = CONFIG_UINT,
        FIELD(retry.max_attempts),
        .default_text = "3",
        .min = 1,
        .max = 100,
        .help = "Attempts for one call, the first included.",
    },
    {
        .key = "retry.backoff_base",
        .type = CONFIG_DURATION,
        FIELD(retry.backoff_base_ms),
        .default_text = "25ms",
        .min = 1,
        .max = HOUR_MS,
        .help = "The pause before the second attempt is any time up to this one, and doubles with each "
                "further attempt. Must not be more than `backoff_max`.",
    },
    {
        .key = "retry.backoff_max",
        .type = CONFIG_DURATION,
        FIELD(retry.backoff_max_ms),
        .default_text = "1s",
        .min = 1,
        .max = HOUR_MS,
        .help = "No pause is longer, but for Retry-After.",
    },
    {
        .key = "retry.budget",
        .type = CONFIG_REAL,
        FIELD(retry.budget),
        .default_text = "0.2",
        .max = 1,
        .help = "Retries are at most this share of the recent requests, so that they cannot multiply an "
                "outage.",
    },
    {
        .key = "retry.budget_min",
        .type = CONFIG_UINT,
        FIELD(retry.budget_min_per_s),
        .default_text = "3",
        .max = 1000000,
        .help = "But always as many in a second.",
    },
    {
        .key = "retry.statuses",
        .type = CONFIG_TEXTS,
        FIELD(retry.statuses),
        .default_text = "[502, 503, 504]",
        .max = 64,
        .check = config_check_retry_status,
        .help = "Answers that are tried again, 400 to 599.",
    },
    {
        .key = "hedge.enabled",
        .type = CONFIG_BOOL,
        FIELD(hedge.is_enabled),
        .default_text = "false",
        .help = "Whether there are second requests.",
    },
    {
        .key = "hedge.percentile",
        .type = CONFIG_REAL,
        FIELD(hedge.percentile),
        .default_text = "0.95",
        .max = 1,
        .help = "The second one goes out when this share of the recent answers would have come; less than 1.",
    },
    {
        .key = "hedge.min_delay",
        .type = CONFIG_DURATION,
        FIELD(hedge.min_delay_ms),
        .default_text = "1ms",
        .max = HOUR_MS,
        .help = "But not before.",
    },
    {
        .key = "hedge.budget",
        .type = CONFIG_REAL,
        FIELD(hedge.budget),
        .default_text = "0.05",
        .max = 1,
        .help = "Second requests are at most this share of all.",
    },
    {
        .key = "tls.ca_file",
        .type = CONFIG_TEXT,
        FIELD(tls.ca_file),
        .default_text = "",
        .max = 4095,
        .help = "File with the certificates (PEM) of the authorities that are trusted. Empty: as "
                "`fetch.ca_file`.",
    },
    {
        .key = "tls.cert_file",
        .type = CONFIG_TEXT,
        FIELD(tls.cert_file),
        .default_text = "",
        .max = 4095,
        .help = "File with the certificate (PEM) that heddle shows as a client. Empty: none.",
    },
    {
        .key = "tls.key_file",
        .type = CONFIG_TEXT,
        FIELD(tls.key_file),
        .default_text = "",
        .max = 4095,
        .help = "File with its private key (PEM). Empty: it is in `cert_file`.",
    },
    {
        .key = "tls.verify",
        .type = CONFIG_BOOL,
        FIELD(tls.verify),
        .default_text = "true",
        .help = "Whether the upstream's certificate must be valid for its name. Without, anybody on the way "
                "can read and change everything.",
    },
    {
        .key = "tls.min_version",
        .type = CONFIG_CHOICE,
        FIELD(tls.min_version),
        .default_text = "1.2",
        .max = ARRAY_LEN(tls_versions) - 1,
        .names = tls_versions,
        .help = "The oldest version that is spoken.",
    },
};

const struct config_map config_upstreams = {
    .entry = "an upstream",
    .identity = "name",
    .check_name = config_check_name,
    .help = "A service that parts of endpoints are fetched from, and how it is treated when it is slow, "
            "broken or overloaded.",
    .name_help = CONFIG_NAME_HELP " Metrics and `GET /upstreams` show it.",
    .entry_size = sizeof(struct config_upstream),
    .count_offset = offsetof(struct config, upstream_count),
    .table = {.rows = rows,
              .row_count = ARRAY_LEN(rows),
              .sections = sections,
              .section_count = ARRAY_LEN(sections),
              .checks = config_upstream_checks},
};
