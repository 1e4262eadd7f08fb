#include "config/config_int.h"

#define KIB       UINT64_C(1024)
#define MIB       (1024 * KIB)
#define GIB       (1024 * MIB)
#define SECOND_MS UINT64_C(1000)
#define HOUR_MS   (3600 * SECOND_MS)

#define DAY_MS (24 * HOUR_MS)

#define FIELD(member)                                                                                        \
    .offset = offsetof(struct config, member), .size = sizeof(((struct config *)NULL)->member)

static const char *const tls_names[] = {"never", "try", "required"};

static const struct config_section sections[] = {
    {"", "The front: where nginx reaches heddle, and how much is let in."},
    {"log", "One event is one line on standard error."},
    {"fetch", "The pool that fetches URLs, shared by all requests."},
    {"concurrent_requests", "`GET /concurrent_requests/`: many URLs at once for one request."},
    {"tasks", "Background tasks."},
    {"mail", "The server that takes what tasks send by mail."},
};

static const struct config_row rows[] = {
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
        .default_text = "16384",
        .min = 2,
        .max = 1000000,
        .help = "Connections from nginx, idle ones included. It should be above `max_in_flight` plus the "
                "connections that nginx keeps. Above it an idle connection is closed for a new one. At most "
                "half of them are event streams.",
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
        .key = "fetch.max_buffered",
        .type = CONFIG_SIZE,
        FIELD(fetch.max_buffered_bytes),
        .default_text = "256MiB",
        .min = MIB,
        .max = 64 * GIB,
        .help = "Bodies of upstreams that are held in memory at the same time, by all requests together; "
                "what does not fit any more is an error (`too_large`).",
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
        .key = "concurrent_requests.max_client_urls",
        .type = CONFIG_UINT,
        FIELD(concurrent_requests.max_client_urls),
        .default_text = "0",
        .max = 1000,
        .help = "URLs that a client may bring itself, in the body of a POST; more are refused with 422. 0: "
                "POST is not allowed (405).",
    },
    {
        .key = "concurrent_requests.client_hosts",
        .type = CONFIG_TEXTS,
        FIELD(concurrent_requests.client_hosts),
        .default_text = "[]",
        .max = 1000,
        .check = config_check_allowed_host,
        .help = "Where such URLs, and redirects from them, may lead; written as `tasks.allowed_hosts`. "
                "Empty: nowhere.",
    },
    {
        .key = "concurrent_requests.client_networks",
        .type = CONFIG_TEXTS,
        FIELD(concurrent_requests.client_networks),
        .default_text = "[]",
        .max = 1000,
        .check = config_check_network,
        .help = "Addresses that such URLs may lead to although they are loopback, private, link-local, "
                "multicast or otherwise not public: `10.1.0.0/16`, `fd00::/8`. What counts is the address "
                "that is really connected to. Empty: only public ones.",
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
        .help = "Threads that run tasks of kinds that hold a thread while they work. A task that only "
                "waits needs none.",
    },
    {
        .key = "tasks.steppers",
        .type = CONFIG_UINT,
        FIELD(tasks.steppers),
        .default_text = "2",
        .min = 1,
        .max = 64,
        .help = "Threads that move on tasks of kinds that never hold one: those that wait for a time, a "
                "fetch or a mail server.",
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
        .key = "tasks.max_running_bytes",
        .type = CONFIG_SIZE,
        FIELD(tasks.max_running_bytes),
        .default_text = "256MiB",
        .min = MIB,
        .max = 64 * GIB,
        .help =
            "Memory that the payloads of running tasks take; above it no more are started. A kind may take "
            "more while it works.",
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
        .key = "tasks.max_interruptions",
        .type = CONFIG_UINT,
        FIELD(tasks.max_interruptions),
        .default_text = "3",
        .max = 1000,
        .help =
            "How often the process may die while it runs a task; after one time more the task is set aside "
            "as `dead`.",
    },
    {
        .key = "tasks.max_listeners",
        .type = CONFIG_UINT,
        FIELD(tasks.max_listeners),
        .default_text = "10000",
        .min = 1,
        .max = 1000000,
        .help = "Clients that may wait for news of tasks at the same time: event listeners and requests "
                "that wait for a task to end. Above it: 503.",
    },
    {
        .key = "tasks.max_payload",
        .type = CONFIG_SIZE,
        FIELD(tasks.max_payload_bytes),
        .default_text = "256KiB",
        .min = KIB,
        .max = 8 * MIB,
        .help = "Largest payload of a task; above it the answer is 413.",
    },
    {
        .key = "tasks.max_result",
        .type = CONFIG_SIZE,
        FIELD(tasks.max_result_bytes),
        .default_text = "1MiB",
        .min = KIB,
        .max = 16 * MIB,
        .help = "Largest result of a task; one that makes more fails.",
    },
    {
        .key = "tasks.max_tags",
        .type = CONFIG_UINT,
        FIELD(tasks.max_tags),
        .default_text = "16",
        .max = 64,
        .help = "Most tags of a task.",
    },
    {
        .key = "tasks.max_batch",
        .type = CONFIG_UINT,
        FIELD(tasks.max_batch),
        .default_text = "10000",
        .min = 1,
        .max = 100000,
        .help = "Most tasks that one request may submit.",
    },
    {
        .key = "tasks.max_batch_bytes",
        .type = CONFIG_SIZE,
        FIELD(tasks.max_batch_bytes),
        .default_text = "8MiB",
        .min = 64 * KIB,
        .max = 256 * MIB,
        .help = "Largest body of a request that submits many tasks; above it the answer is 413.",
    },
    {
        .key = "tasks.max_attempts",
        .type = CONFIG_UINT,
        FIELD(tasks.max_attempts),
        .default_text = "5",
        .min = 1,
        .max = 1000,
        .help = "How often a task is tried before it is set aside as `dead`, when it does not say so "
                "itself.",
    },
    {
        .key = "tasks.timeout",
        .type = CONFIG_DURATION,
        FIELD(tasks.timeout_ms),
        .default_text = "1h",
        .min = 1,
        .max = 7 * DAY_MS,
        .help = "Longest time for one attempt, when the task does not say so itself.",
    },
    {
        .key = "tasks.backoff_base",
        .type = CONFIG_DURATION,
        FIELD(tasks.backoff_base_ms),
        .default_text = "1s",
        .min = 1,
        .max = 7 * DAY_MS,
        .help = "The pause before the second attempt. Must not be more than `backoff_max`.",
    },
    {
        .key = "tasks.backoff_factor",
        .type = CONFIG_REAL,
        FIELD(tasks.backoff_factor),
        .default_text = "2.0",
        .min = 1,
        .max = 100,
        .help = "Each further pause is this much longer than the one before.",
    },
    {
        .key = "tasks.backoff_max",
        .type = CONFIG_DURATION,
        FIELD(tasks.backoff_max_ms),
        .default_text = "1h",
        .min = 1,
        .max = 7 * DAY_MS,
        .help = "No pause is longer.",
    },
    {
        .key = "tasks.backoff_jitter",
        .type = CONFIG_REAL,
        FIELD(tasks.backoff_jitter),
        .default_text = "0.2",
        .max = 1,
        .help = "How much of a pause is left to chance, so that tasks that failed together do not come "
                "back together. 0: nothing; 1: all of it.",
    },
    {
        .key = "tasks.keep_succeeded",
        .type = CONFIG_UINT,
        FIELD(tasks.keep_succeeded),
        .default_text = "100000",
        .max = 1000000000,
        .help = "Tasks that succeeded and can still be looked up; the oldest are forgotten first.",
    },
    {
        .key = "tasks.keep_dead",
        .type = CONFIG_UINT,
        FIELD(tasks.keep_dead),
        .default_text = "100000",
        .max = 1000000000,
        .help = "The same for those that are `dead`.",
    },
    {
        .key = "tasks.keep_cancelled",
        .type = CONFIG_UINT,
        FIELD(tasks.keep_cancelled),
        .default_text = "100000",
        .max = 1000000000,
        .help = "The same for those that were cancelled.",
    },
    {
        .key = "tasks.keep_for",
        .type = CONFIG_DURATION,
        FIELD(tasks.keep_for_ms),
        .default_text = "0s",
        .max = 3650 * DAY_MS,
        .help = "Tasks that finished longer ago are forgotten, however few there are. 0s: age does not "
                "count.",
    },
    {
        .key = "tasks.keep_events",
        .type = CONFIG_UINT,
        FIELD(tasks.keep_events),
        .default_text = "100000",
        .max = 1000000000,
        .help = "Events that a listener that comes back can still be told; the oldest are forgotten "
                "first.",
    },
    {
        .key = "tasks.idempotency_ttl",
        .type = CONFIG_DURATION,
        FIELD(tasks.idempotency_ttl_ms),
        .default_text = "24h",
        .min = SECOND_MS,
        .max = 365 * DAY_MS,
        .help = "How long an Idempotency-Key stands for the task that it was first sent with.",
    },
    {
        .key = "tasks.allowed_hosts",
        .type = CONFIG_TEXTS,
        FIELD(tasks.allowed_hosts),
        .default_text = "[]",
        .max = 1000,
        .check = config_check_allowed_host,
        .help = "Where tasks that fetch, and callbacks, may go: `example.org`, `*.example.org` (all "
                "names below it, not itself), `127.0.0.1`, `[::1]`, each with or without a port "
                "(`example.org:8443`); without one, any port. Empty: nowhere.",
    },
    {
        .key = "tasks.webhook_secret",
        .type = CONFIG_TEXT,
        .is_secret = true,
        FIELD(tasks.webhook_secret),
        .default_text = "",
        .max = 512,
        .check = config_check_webhook_secret,
        .help = "Signs callbacks as Standard Webhooks has it: `whsec_` and base64 of 24 to 64 bytes, or "
                "any text of at least 16. Write `${NAME}` and keep it in the environment. Empty: "
                "callbacks are not signed.",
    },
    {
        .key = "upstreams",
        .type = CONFIG_MAP,
        FIELD(upstreams),
        .default_text = "[]",
        .max = 256,
        .map = &config_upstreams,
        .help = "The services that endpoints are made of.",
    },
    {
        .key = "endpoints",
        .type = CONFIG_MAP,
        FIELD(endpoints),
        .default_text = "[]",
        .max = 1000,
        .map = &config_endpoints,
        .help = "The endpoints of the API.",
    },
    {
        .key = "queues",
        .type = CONFIG_MAP,
        FIELD(tasks.queues),
        .default_text = "{}",
        .max = 64,
        .map = &config_queues,
        .help = "Queues by their names.",
    },
    {
        .key = "commands",
        .type = CONFIG_MAP,
        FIELD(tasks.commands),
        .default_text = "{}",
        .max = 256,
        .map = &config_commands,
        .help = "Commands by their names.",
    },
    {
        .key = "schedules",
        .type = CONFIG_MAP,
        FIELD(tasks.schedules),
        .default_text = "{}",
        .max = 256,
        .map = &config_schedules,
        .help = "Schedules by their names.",
    },
    {
        .key = "mail.server",
        .type = CONFIG_TEXT,
        FIELD(mail.server),
        .default_text = "",
        .max = 300,
        .check = config_check_mail_server,
        .help = "`smtp://HOST:PORT`, or `smtps://HOST:PORT` for TLS from the first byte; without a "
                "port: 25 and 465. Empty: no mail can be sent.",
    },
    {
        .key = "mail.starttls",
        .type = CONFIG_CHOICE,
        FIELD(mail.starttls),
        .default_text = "required",
        .max = ARRAY_LEN(tls_names) - 1,
        .names = tls_names,
        .help = "Whether an `smtp://` server must offer TLS. `try` sends in the clear when it does not.",
    },
    {
        .key = "mail.user",
        .type = CONFIG_TEXT,
        FIELD(mail.user),
        .default_text = "",
        .max = 256,
        .help = "The name to log in with. Empty: no login.",
    },
    {
        .key = "mail.password",
        .type = CONFIG_TEXT,
        .is_secret = true,
        FIELD(mail.password),
        .default_text = "",
        .max = 1024,
        .help = "Its password. Write `${NAME}` and keep it in the environment.",
    },
    {
        .key = "mail.from",
        .type = CONFIG_TEXT,
        FIELD(mail.from),
        .default_text = "",
        .max = 254,
        .check = config_check_sender,
        .help = "The sender of messages that name none, one address such as `heddle@example.org`. "
                "Empty: each must name one.",
    },
    {
        .key = "mail.timeout",
        .type = CONFIG_DURATION,
        FIELD(mail.timeout_ms),
        .default_text = "30s",
        .min = 1,
        .max = HOUR_MS,
        .help = "Longest time for one message.",
    },
    {
        .key = "mail.max_connections",
        .type = CONFIG_UINT,
        FIELD(mail.max_connections),
        .default_text = "8",
        .min = 1,
        .max = 256,
        .help = "Connections to the server at the same time.",
    },
    {
        .key = "mail.max_message",
        .type = CONFIG_SIZE,
        FIELD(mail.max_message_bytes),
        .default_text = "10MiB",
        .min = KIB,
        .max = 256 * MIB,
        .help = "Largest message, as it is sent.",
    },
};

const struct config_table config_settings = {
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .sections = sections,
    .section_count = ARRAY_LEN(sections),
    .checks = config_together,
};
