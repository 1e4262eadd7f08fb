/* config.h - the configuration: YAML in, one checked snapshot that never changes out.
 *
 * How to use it:
 *     cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
 *     struct config *config;
 *     if (config_load(path, &config, &errors) < 0)
 *         fwrite(errors.text.data, 1, errors.text.size, stderr);
 *     ...
 *     config_free(config);
 * Threads:   loading reads the environment, so no other thread may change that meanwhile.  A loaded snapshot
 *            is read-only and may be shared by all threads.
 * Ownership: the caller owns the snapshot; everything it points to goes with it.
 * Invariants: every value is in the range that its row in rows.c, entries.c, upstreams.c or endpoints.c
 *            gives; no pointer but that of an empty list or map, of a default that is not given, and the
 *            unused half of `listen` is NULL.  Templates, pointers and patterns are valid, placeholders name
 *            what there is, and parts wait for one another without circles.  A 0 that stands for "choose
 *            for me" is left as 0: who uses the value chooses. */
#pragma once

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"

/* A longer file is refused. */
#define CONFIG_FILE_MAX_BYTES ((size_t)1024 * 1024)

/* As many errors are kept; the rest is counted. */
#define CONFIG_ERRORS_MAX 100

enum listen_kind { LISTEN_UNIX, LISTEN_TCP };

struct listen_address {
    enum listen_kind kind;
    char *path;    /* LISTEN_UNIX: at most 107 bytes, as sun_path holds them */
    char *host;    /* LISTEN_TCP: a numeric IPv4 or IPv6 address, without brackets */
    unsigned port; /* LISTEN_TCP: 1 to 65535 */
};

struct config_list {
    char **items; /* NULL when there are none */
    size_t count;
};

/* A queue of tasks.  The one named `default` always exists, and is here only when the file speaks of it. */
struct config_queue {
    char *name;
    unsigned concurrency; /* tasks that run at the same time; 0: no limit */
    double rate_per_s;    /* starts; 0: no limit */
    bool is_paused;
    unsigned weight; /* 1 to 1000 */
};

/* A program that tasks may run. */
struct config_command {
    char *name;
    struct config_list argv;        /* at least one; the first is an absolute path */
    struct config_list environment; /* NAME=value, each name once */
    char *directory;                /* an absolute path */
    uint64_t timeout_ms;
    size_t max_memory_bytes; /* 0: no limit */
    unsigned max_open_files;
    uint64_t cpu_ms; /* 0: no limit */
};

/* What becomes of the times that went by while heddle was not running. */
enum config_missed { MISSED_SKIP, MISSED_ONCE, MISSED_ALL };

/* The least important. */
#define CONFIG_PRIORITY_MAX 9

/* A task that is submitted again and again. */
struct config_schedule {
    char *name;
    char *cron;
    char *time_zone;
    char *kind;
    char *queue;   /* "default" or one of the configured */
    char *payload; /* the JSON text of an object */
    enum config_missed missed;
    unsigned priority;     /* 0 comes first */
    unsigned max_attempts; /* 0: as tasks.max_attempts */
    uint64_t timeout_ms;   /* 0: as tasks.timeout */
};

/* Names and texts, in the order of the file: {limit: "10", customer: "{id}"}. */
struct config_pair {
    char *name;
    char *text;
};
struct config_pairs {
    struct config_pair *items; /* NULL when there are none */
    size_t count;
};

/* The oldest version of TLS that an upstream may speak. */
enum config_tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

/* A service that parts of endpoints are fetched from, and how it is treated when it misbehaves. */
struct config_upstream {
    char *name;
    /* Absolute, http or https, without query, fragment, user, and slash at the end: a part's path goes behind
     * it. */
    char *base_url;
    uint64_t timeout_ms;       /* of one attempt */
    size_t max_response_bytes; /* of one answer, decoded */
    bool http2;                /* where TLS offers it */

    unsigned max_in_flight; /* attempts at the same time; 0: no limit */
    unsigned max_queue;     /* calls that wait for one of those places */

    struct {
        bool is_enabled;
        double failure_ratio;  /* opens at this share of failures, 0 to 1 */
        double slow_ratio;     /* or of slow calls */
        uint64_t slow_ms;      /* a call that takes as long is slow; 0: none is */
        unsigned min_requests; /* with fewer in the window it stays closed */
        uint64_t window_ms;
        uint64_t open_ms; /* before it is tried again */
        unsigned probes;  /* that must succeed, one after the other or together */
    } breaker;

    struct {
        bool is_enabled;
        unsigned max_attempts; /* the first included */
        uint64_t backoff_base_ms;
        uint64_t backoff_max_ms;
        double budget;               /* of the recent requests, 0 to 1 */
        unsigned budget_min_per_s;   /* and always as many */
        struct config_list statuses; /* "502": tried again */
    } retry;

    struct {
        bool is_enabled;
        double percentile;     /* of the recent answers, after which a second request goes out: 0.95 */
        uint64_t min_delay_ms; /* but not before */
        double budget;         /* second requests, of all */
    } hedge;

    bool coalesce;

    struct {
        char *ca_file;   /* PEM; "": as fetch.ca_file */
        char *cert_file; /* of heddle as a client, PEM; "": none */
        char *key_file;
        bool verify;
        enum config_tls_version min_version;
    } tls;

    struct config_list forward_headers; /* of the client's request, by name */
};

enum config_param_type { PARAM_STRING, PARAM_INTEGER, PARAM_NUMBER, PARAM_BOOLEAN };

/* What a value from the client has to be before it is put anywhere. */
struct config_param {
    char *name; /* as placeholders have it (base/template.h): "id", "query.limit", "body./a" */
    enum config_param_type type;
    char *pattern;       /* POSIX extended regular expression that all of it must match; "": any */
    char *default_text;  /* NULL: none */
    double min;          /* of numbers; -INFINITY: none */
    double max;          /* INFINITY: none */
    unsigned max_length; /* bytes, of strings */
};

enum config_method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE };

/* Parts of an endpoint. */
#define CONFIG_PARTS_MAX 64

/* One of the things that an endpoint's answer is made of.  Texts marked T are templates (base/template.h). */
struct config_part {
    char *name;
    char *upstream; /* one of the configured */
    enum config_method method;
    char *path;                  /* T; begins with a slash */
    struct config_pairs query;   /* names, and values T */
    struct config_pairs headers; /* names, and values T */
    char *body;                  /* T: JSON text whose strings may be templates; "": none */
    bool is_required;
    uint64_t timeout_ms;       /* 0: as long as the endpoint has */
    size_t max_response_bytes; /* 0: as the upstream's */
    char *select;              /* JSON Pointer into the answer; "": all */
    struct config_list pick;   /* members to keep; empty: all */
    struct config_list drop;   /* members to leave out */
    struct config_list after;  /* parts that must have succeeded before */

    /* Made of `after` and of the placeholders that name parts: whom this one waits for, as indexes into the
     * endpoint's parts, in rising order, each once. */
    uint16_t waits_for[CONFIG_PARTS_MAX];
    size_t waits_for_count;
};

enum config_mode { MODE_ALL, MODE_FIRST, MODE_QUORUM };
enum config_merge { MERGE_PARTS, MERGE_FLAT };

struct config_endpoint {
    char *path;                /* "/api/customers/{id}": segments in braces are path parameters */
    enum config_method method; /* METHOD_GET or METHOD_POST */
    uint64_t timeout_ms;
    enum config_mode mode;
    unsigned quorum; /* successes that are enough, for MODE_QUORUM */
    enum config_merge merge;
    size_t max_response_bytes;          /* of all parts together */
    struct config_list forward_headers; /* to all parts, beside the upstreams' own */
    struct config_param *params;
    size_t param_count;
    struct config_part *parts; /* at least one */
    size_t part_count;
};

enum mail_tls { MAIL_TLS_NEVER, MAIL_TLS_TRY, MAIL_TLS_REQUIRED };

struct config {
    struct listen_address listen;
    unsigned socket_mode;
    unsigned request_threads; /* 0: cores, at least 2 */
    unsigned max_in_flight;   /* 0: as the descriptor limit allows, at most 4096 */
    unsigned max_connections;
    uint64_t shutdown_timeout_ms;
    uint64_t client_timeout_ms;
    size_t max_params_bytes;
    size_t max_body_bytes;

    struct {
        enum log_level level;
        enum log_format format;
    } log;

    struct {
        unsigned workers; /* 0: cores */
        uint64_t timeout_ms;
        uint64_t connect_timeout_ms;
        uint64_t dns_ttl_ms;
        unsigned resolver_threads;
        size_t max_response_bytes;
        unsigned max_redirects;
        size_t max_buffered_bytes; /* of all bodies that are held at the same time */
        char *ca_file;             /* "": the system's */
        char *user_agent;
    } fetch;

    /* In the order of the file; NULL when there are none. */
    struct config_upstream *upstreams;
    size_t upstream_count;
    struct config_endpoint *endpoints;
    size_t endpoint_count;

    struct {
        struct config_list urls;  /* absolute http and https URLs */
        unsigned max_concurrency; /* 0: all at once */
        unsigned content_chars;

        /* Of POST, where clients bring URLs of their own. */
        unsigned max_client_urls;           /* 0: POST is refused with 405 */
        struct config_list client_hosts;    /* as tasks.allowed_hosts; empty: none */
        struct config_list client_networks; /* "10.1.0.0/16": allowed although they are not public */
    } concurrent_requests;

    struct {
        char *store;       /* "sqlite:PATH" */
        unsigned runners;  /* threads for kinds that hold one */
        unsigned steppers; /* threads for kinds that only wait */
        unsigned readers;
        unsigned max_running;
        size_t max_running_bytes;
        uint64_t queue_capacity;
        unsigned max_interruptions;
        unsigned max_listeners; /* event listeners and requests that wait for a task */

        /* What one submit may bring. */
        size_t max_payload_bytes;
        size_t max_result_bytes;
        unsigned max_tags;
        unsigned max_batch; /* tasks of one request */
        size_t max_batch_bytes;

        /* For tasks that say nothing about it. */
        unsigned max_attempts;
        uint64_t timeout_ms;
        uint64_t backoff_base_ms;
        double backoff_factor;
        uint64_t backoff_max_ms; /* not below the base */
        double backoff_jitter;   /* the part of a pause that is random, 0 to 1 */

        /* What is kept of what is over. */
        uint64_t keep_succeeded;
        uint64_t keep_dead;
        uint64_t keep_cancelled;
        uint64_t keep_for_ms; /* 0: no limit by age */
        uint64_t keep_events;
        uint64_t idempotency_ttl_ms;

        /* What kinds that fetch may reach: "example.com", "*.example.com", "127.0.0.1:9001", "[::1]:80".
         * Empty: nothing. */
        struct config_list allowed_hosts;
        char *webhook_secret; /* "": none; else whsec_ and base64, or any text of at least 16 bytes */

        /* In the order of the file; NULL when there are none. */
        struct config_queue *queues;
        size_t queue_count;
        struct config_command *commands;
        size_t command_count;
        struct config_schedule *schedules;
        size_t schedule_count;
    } tasks;

    struct {
        char *server; /* "": none; smtp://HOST:PORT or smtps://HOST:PORT */
        enum mail_tls starttls;
        char *user;     /* "": no authentication */
        char *password; /* never printed */
        char *from;     /* the sender of messages that name none; "": they must */
        uint64_t timeout_ms;
        unsigned max_connections;
        size_t max_message_bytes;
    } mail;
};

/* What is wrong, for people: a line `name:line:column: message` for each, in the order of the file, and then
 * what contradicts itself. */
struct config_errors {
    size_t count; /* all that were found, also those that are not in the text */
    struct buf text;
};

#define CONFIG_ERRORS_INIT                                                                                   \
    {                                                                                                        \
        .text = BUF_INIT((size_t)1024 * 1024)                                                                \
    }

void config_errors_done(struct config_errors *errors);

/* Reads the file at `path`.  Returns 0, or -1 with everything that is wrong in `errors`. */
must_check int config_load(const char *path, struct config **ret_config, struct config_errors *errors);

/* The same for a text in memory; `name` stands in the errors where the path would.  The empty text gives the
 * defaults. */
must_check int config_parse(const char *name, const char *text, size_t size, struct config **ret_config,
                            struct config_errors *errors);

/* A host's name has no more bytes (RFC 1035, section 2.3.4). */
#define CONFIG_HOST_MAX_BYTES 253

/* 0 when the host of a URL, as libcurl gives it, can be looked up: a name in another script must be in its
 * ASCII form, for the resolver and libcurl have to agree on it.  Any thread. */
must_check int config_check_host(const char *host, struct err *err);

/* A network as client_networks has it: "10.1.0.0/16", "fd00::/8".  Any thread. */
struct config_network {
    int family;                /* AF_INET or AF_INET6 */
    unsigned char address[16]; /* 4 of them for AF_INET; what is behind the prefix is zero */
    unsigned prefix;           /* bits */
};
must_check int config_parse_network(const char *text, struct config_network *ret_network, struct err *err);

/* NULL is allowed. */
void config_free(struct config *config);

static inline void config_free_scope(struct config **config)
{
    config_free(*config);
}

/* Appends CONFIGURATION.md: every row with its type, default, range and meaning. */
void config_write_markdown(struct buf *out);
