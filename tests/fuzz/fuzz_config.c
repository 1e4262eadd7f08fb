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
