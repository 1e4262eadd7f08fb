#include "config/config_int.h"

#define KIB       UINT64_C(1024)
#define MIB       (1024 * KIB)
#define GIB       (1024 * MIB)
#define SECOND_MS UINT64_C(1000)
#define HOUR_MS   (3600 * SECOND_MS)

#define FIELD(member)                                                                                        \
    .offset = offsetof(struct config, member), .size = sizeof(((struct config *)NULL)->member)

const struct config_section config_sections[CONFIG_SECTION_COUNT] = {
    {"", "The front: where nginx reaches heddle, and how much is let in."},
    {"log", "One event is one line on standard error."},
    {"fetch", "The pool that fetches URLs, shared by all requests."},
    {"concurrent_requests", "`GET /concurrent_requests/`: many URLs at once for one request."},
    {"tasks", "Background tasks."},
};

const struct config_row config_rows[CONFIG_ROW_COUNT] = {
    {
        .key = "listen",
        .type = CONFIG_LISTEN,
        FIELD(listen),
        .default_text = "unix:run/heddle.sock",
        .help =
            "Where nginx connects to: `unix:PATH` (at most 107 bytes; a relative path counts from the "
            "working directory) or `tcp:ADDRESS:PORT`, where the address is numeric (`tcp:127.0.0.1:9000`, "
            "`tcp:[::1]:9000`) or `localhost`. FastCGI has no authentication: prefer a unix socket, and "
            "never listen where strangers can connect. Not used when systemd hands over a socket.",
    },
    {
        .key = "socket_mode",
        .type = CONFIG_MODE,
        FIELD(socket_mode),
        .default_text = "0660",
        .max = 0777,
        .help = "Permissions of the unix socket. nginx needs to read and write it.",
    },
    {
        .key = "request_threads",
        .type = CONFIG_UINT,
        FIELD(request_threads),
        .default_text = "0",
        .max = 256,
        .help =
            "Threads that read requests and write answers. None of them waits for an upstream. 0: one for "
            "each core, at least 2.",
    },
    {
        .key = "max_in_flight",
        .type = CONFIG_UINT,
        FIELD(max_in_flight),
        .default_text = "0",
        .max = 1000000,
        .help =
            "Requests that may be in flight; above it the answer is 503 with Retry-After at once. Must be "
            "less than `max_connections`. 0: as many as the limit of open descriptors allows, at most "
            "4096, and less than `max_connections` by a quarter, at least 64 (or half, when that is less).",
    },
    {
        .key = "max_connections",
        .type = CONFIG_UINT,
        FIELD(max_connections),
        .default_text = "8192",
        .min = 2,
        .max = 1000000,
        .help = "Connections from nginx, idle ones included. It should be above `max_in_flight` plus the "
                "connections that nginx keeps. Above it an idle connection is closed for a new one.",
    },
    {
        .key = "shutdown_timeout",
        .type = CONFIG_DURATION,
        FIELD(shutdown_timeout_ms),
        .default_text = "10s",
        .max = HOUR_MS,
        .help =
            "How long requests in flight may take to finish after SIGTERM or SIGINT before they are cut off.",
    },
    {
        .key = "client_timeout",
        .type = CONFIG_DURATION,
        FIELD(client_timeout_ms),
        .default_text = "5s",
        .min = 100,
        .max = 60 * SECOND_MS,
        .help = "A peer that stops in the middle of a request, or does not take its answer, is closed after "
                "this long.",
    },
    {
        .key = "max_params",
        .type = CONFIG_SIZE,
        FIELD(max_params_bytes),
        .default_text = "64KiB",
        .min = 4 * KIB,
        .max = 512 * KIB,
        .help = "Most bytes of parameters (the client's header fields and nginx's own) of one request; above "
                "it the connection is closed.",
    },
    {
        .key = "max_body",
        .type = CONFIG_SIZE,
        FIELD(max_body_bytes),
        .default_text = "64KiB",
        .min = KIB,
        .max = 16 * MIB,
        .help = "Largest body of a request; above it the answer is 413.",
    },
    {
        .key = "log.level",
        .type = CONFIG_CHOICE,
        FIELD(log.level),
        .default_text = "info",
        .max = LOG_LEVEL_COUNT - 1,
        .names = log_level_names,
        .help = "The least important events that are written.",
    },
    {
        .key = "log.format",
        .type = CONFIG_CHOICE,
        FIELD(log.format),
        .default_text = "text",
        .max = LOG_FORMAT_COUNT - 1,
        .names = log_format_names,
        .help = "`text` for people, `json` for programs.",
    },
    {
        .key = "fetch.workers",
        .type = CONFIG_UINT,
        FIELD(fetch.workers),
        .default_text = "0",
        .max = 256,
        .help = "Threads that drive transfers, thousands each. 0: one for each core.",
    },
    {
        .key = "fetch.timeout",
        .type = CONFIG_DURATION,
        FIELD(fetch.timeout_ms),
        .default_text = "10s",
        .min = 1,
        .max = HOUR_MS,
        .help = "Longest time for one URL, from the start to the last byte, redirects included. nginx's "
                "`fastcgi_read_timeout` must be longer.",
    },
    {
        .key = "fetch.connect_timeout",
        .type = CONFIG_DURATION,
        FIELD(fetch.connect_timeout_ms),
        .default_text = "5s",
        .min = 1,
        .max = 300 * SECOND_MS,
        .help = "Longest time to connect and agree on TLS.",
    },
    {
        .key = "fetch.dns_ttl",
        .type = CONFIG_DURATION,
        FIELD(fetch.dns_ttl_ms),
        .default_text = "30s",
        .max = HOUR_MS,
        .help = "How long the addresses of a host name are used before they are looked up again. While that "
                "takes, and for five minutes when no name server answers, the old ones serve.",
    },
    {
        .key = "fetch.resolver_threads",
        .type = CONFIG_UINT,
        FIELD(fetch.resolver_threads),
        .default_text = "16",
        .min = 1,
        .max = 256,
        .help =
            "Threads that look up host names, one name each at a time. As many names whose name servers do "
            "not answer hold up no others.",
    },
    {
        .key = "fetch.max_response",
        .type = CONFIG_SIZE,
        FIELD(fetch.max_response_bytes),
        .default_text = "1MiB",
        .min = 1,
        .max = GIB,
        .help = "Largest body taken from a URL, after decompression; a longer one is an error (`too_large`).",
    },
    {
        .key = "fetch.max_redirects",
        .type = CONFIG_UINT,
        FIELD(fetch.max_redirects),
        .default_text = "10",
        .max = 50,
        .help = "Redirects followed for one URL. 0: none, a redirect is the answer.",
    },
    {
        .key = "fetch.ca_file",
        .type = CONFIG_TEXT,
        FIELD(fetch.ca_file),
        .default_text = "",
        .max = 4095,
        .help = "File with the certificates (PEM) of the authorities that are trusted for https. Empty: the "
                "system's.",
    },
    {
        .key = "fetch.user_agent",
        .type = CONFIG_TEXT,
        FIELD(fetch.user_agent),
        .default_text = "heddle/" HEDDLE_VERSION,
        .min = 1,
        .max = 256,
        .help = "The User-Agent header that upstreams see.",
    },
    {
        .key = "concurrent_requests.urls",
        .type = CONFIG_URLS,
        FIELD(concurrent_requests.urls),
        .default_text = "[]",
        .max = 1000,
        .help = "The URLs to fetch: absolute, http or https, at most 8 KiB each.",
    },
    {
        .key = "concurrent_requests.max_concurrency",
        .type = CONFIG_UINT,
        FIELD(concurrent_requests.max_concurrency),
        .default_text = "0",
        .max = 1000,
        .help = "How many of one request's URLs are fetched at the same time. 0: all of them.",
    },
    {
        .key = "concurrent_requests.content_chars",
        .type = CONFIG_UINT,
        FIELD(concurrent_requests.content_chars),
        .default_text = "100",
        .max = 1000000,
        .help = "How many characters of each body the answer shows.",
    },
    {
        .key = "tasks.store",
        .type = CONFIG_STORE,
        FIELD(tasks.store),
        .default_text = "sqlite:run/tasks.db",
        .max = 4000,
        .help =
            "Where tasks are kept: `sqlite:PATH`, a file on a local disk (a relative path counts from the "
            "working directory; its folder is made). One heddle at a time uses it.",
    },
    {
        .key = "tasks.runners",
        .type = CONFIG_UINT,
        FIELD(tasks.runners),
        .default_text = "4",
        .min = 1,
        .max = 256,
        .help = "Threads that run tasks. A task that only waits needs none.",
    },
    {
        .key = "tasks.readers",
        .type = CONFIG_UINT,
        FIELD(tasks.readers),
        .default_text = "2",
        .min = 1,
        .max = 64,
        .help = "Threads that look tasks up in the store.",
    },
    {
        .key = "tasks.max_running",
        .type = CONFIG_UINT,
        FIELD(tasks.max_running),
        .default_text = "20000",
        .min = 1,
        .max = 1000000,
        .help =
            "Tasks that run at the same time, those that only wait included; others wait for their turn in "
            "the store and take no memory.",
    },
    {
        .key = "tasks.queue_capacity",
        .type = CONFIG_UINT,
        FIELD(tasks.queue_capacity),
        .default_text = "10000000",
        .min = 1,
        .max = 1000000000,
        .help = "Tasks that are not finished yet; above it a new one is refused with 503 and Retry-After.",
    },
    {
        .key = "tasks.keep_succeeded",
        .type = CONFIG_UINT,
        FIELD(tasks.keep_succeeded),
        .default_text = "100000",
        .max = 1000000000,
        .help = "Finished tasks that can still be looked up; the oldest are forgotten first.",
    },
    {
        .key = "tasks.max_interruptions",
        .type = CONFIG_UINT,
        FIELD(tasks.max_interruptions),
        .default_text = "3",
        .max = 1000,
        .help =
            "How often the process may die while it runs a task; after one time more the task is set aside "
            "as `dead`.",
    },
};
