/* Any bytes as a configuration: either a snapshot whose values are in range, or errors that are whole lines.
 *
 *     clang -fsanitize=fuzzer,address,undefined ... tests/fuzz/fuzz_config.c && fuzz_config CORPUS */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("A", "10s", 1);
    setenv("B", "a: [b\n\xff", 1);
    return 0;
}

static void check_entries(const struct config *config)
{
    CHECK(config->tasks.queue_count <= 64);
    CHECK(config->tasks.command_count <= 256 && config->tasks.schedule_count <= 256);
    for (size_t i = 0; i < config->tasks.queue_count; i++) {
        const struct config_queue *queue = &config->tasks.queues[i];
        CHECK(*queue->name && queue->weight >= 1 && queue->weight <= 1000);
        CHECK(queue->rate_per_s >= 0 && queue->rate_per_s <= 1e6);
    }
    for (size_t i = 0; i < config->tasks.command_count; i++) {
        const struct config_command *command = &config->tasks.commands[i];
        CHECK(*command->name && command->argv.count >= 1 && *command->argv.items[0] == '/');
        CHECK(*command->directory == '/');
        for (size_t j = 0; j < command->environment.count; j++)
            CHECK(strchr(command->environment.items[j], '=') != NULL);
    }
    for (size_t i = 0; i < config->tasks.schedule_count; i++) {
        const struct config_schedule *schedule = &config->tasks.schedules[i];
        CHECK(*schedule->name && *schedule->cron && *schedule->kind && *schedule->queue);
        CHECK(*schedule->time_zone && strchr(schedule->payload, '{') != NULL);
        CHECK(schedule->missed <= MISSED_ALL);
    }
}

static void check_upstreams(const struct config *config)
{
    CHECK(config->upstream_count <= 256);
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *upstream = &config->upstreams[i];
        CHECK(*upstream->name && strncasecmp(upstream->base_url, "http", 4) == 0);
        CHECK(upstream->base_url[strlen(upstream->base_url) - 1] != '/');
        CHECK(upstream->breaker.failure_ratio > 0 && upstream->breaker.failure_ratio <= 1);
        CHECK(upstream->hedge.percentile > 0 && upstream->hedge.percentile < 1);
        CHECK(upstream->retry.backoff_base_ms <= upstream->retry.backoff_max_ms);
        CHECK(upstream->tls.min_version <= TLS_VERSION_1_3);
    }
}

/* A part waits for parts that are there, and all of them can start one after the other. */
static void check_graph(const struct config_endpoint *endpoint)
{
    bool has_started[CONFIG_PARTS_MAX] = {false};
    size_t started = 0;
    size_t before;

    do {
        before = started;
        for (size_t i = 0; i < endpoint->part_count; i++) {
            const struct config_part *part = &endpoint->parts[i];
            size_t ready = 0;
            CHECK(part->waits_for_count < endpoint->part_count);
            for (size_t j = 0; j < part->waits_for_count; j++) {
                CHECK(part->waits_for[j] < endpoint->part_count);
                ready += has_started[part->waits_for[j]];
            }
            if (has_started[i] || ready < part->waits_for_count)
                continue;
            has_started[i] = true;
            started++;
        }
    } while (started > before);
    CHECK(started == endpoint->part_count);
}

static void check_endpoints(const struct config *config)
{
    CHECK(config->endpoint_count <= 1000);
    for (size_t i = 0; i < config->endpoint_count; i++) {
        const struct config_endpoint *endpoint = &config->endpoints[i];
        CHECK(*endpoint->path == '/' && endpoint->method <= METHOD_POST);
        CHECK(endpoint->part_count >= 1 && endpoint->part_count <= CONFIG_PARTS_MAX);
        CHECK((endpoint->mode == MODE_QUORUM) == (endpoint->quorum > 0));
        CHECK(endpoint->quorum <= endpoint->part_count && endpoint->param_count <= 64);
        for (size_t j = 0; j < endpoint->part_count; j++) {
            const struct config_part *part = &endpoint->parts[j];
            CHECK(*part->name && *part->upstream && *part->path == '/' && part->method <= METHOD_DELETE);
            CHECK(part->query.count <= 64 && part->headers.count <= 64);
        }
        check_graph(endpoint);
    }
}

static void check_config(const struct config *config)
{
    CHECK((config->listen.kind == LISTEN_UNIX) == (config->listen.path != NULL));
    CHECK((config->listen.kind == LISTEN_TCP) == (config->listen.host != NULL));
    CHECK(config->log.level < LOG_LEVEL_COUNT && config->log.format < LOG_FORMAT_COUNT);
    CHECK(config->fetch.timeout_ms >= 1 && config->fetch.timeout_ms <= 3600000);
    CHECK(config->fetch.ca_file && config->fetch.user_agent);
    CHECK(config->concurrent_requests.urls.count <= 1000);
    for (size_t i = 0; i < config->concurrent_requests.urls.count; i++)
        CHECK(strncasecmp(config->concurrent_requests.urls.items[i], "http", 4) == 0);
    CHECK(config->tasks.backoff_factor >= 1 && config->tasks.backoff_factor <= 100);
    CHECK(config->tasks.backoff_jitter >= 0 && config->tasks.backoff_jitter <= 1);
    CHECK(config->tasks.backoff_base_ms <= config->tasks.backoff_max_ms);
    CHECK(config->mail.server && config->mail.password && config->tasks.webhook_secret);
    check_entries(config);
    check_upstreams(config);
    check_endpoints(config);
}

/* Printable lines, so that a file cannot write to the terminal or forge a line. */
static void check_errors(const struct config_errors *errors)
{
    const struct buf *text = &errors->text;

    CHECK(errors->count > 0 && !text->failed && text->size > 0);
    CHECK(text->data[text->size - 1] == '\n');
    for (size_t i = 0; i < text->size; i++)
        CHECK(text->data[i] == '\n' || (unsigned char)text->data[i] >= 0x20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    if (config_parse("f", (const char *)data, size, &config, &errors) == 0)
        check_config(config);
    else
        check_errors(&errors);
    config_free(config);
    return 0;
}
