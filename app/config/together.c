/* What only several settings together can have wrong. */
#include <errno.h>
#include <string.h>

#include "base/cron.h"
#include "config/config_int.h"

/* Above max_in_flight somebody must still be able to connect, or nobody is told that there are too many. */
static int check_in_flight(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config *config = scope->config;

    if (config->max_in_flight < config->max_connections)
        return 0;
    ret->key = "max_in_flight";
    return err_set(err, -EINVAL,
                   "%u is not less than max_connections, %u: without a connection above it nobody can be "
                   "told that there are too many requests",
                   config->max_in_flight, config->max_connections);
}

static int check_backoff(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    char base[PARSE_TEXT_SIZE];
    char max[PARSE_TEXT_SIZE];
    const struct config *config = scope->config;

    if (config->tasks.backoff_base_ms <= config->tasks.backoff_max_ms)
        return 0;
    parse_format(PARSE_DURATION, config->tasks.backoff_base_ms, base);
    parse_format(PARSE_DURATION, config->tasks.backoff_max_ms, max);
    ret->key = "tasks.backoff_base";
    return err_set(err, -EINVAL, "%s is more than tasks.backoff_max, %s", base, max);
}

static int check_mail(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config *config = scope->config;
    bool has_user = *config->mail.user;

    if (has_user == (*config->mail.password != '\0'))
        return 0;
    ret->key = has_user ? "mail.user" : "mail.password";
    return err_set(err, -EINVAL, "goes with %s, which is not set", has_user ? "mail.password" : "mail.user");
}

static int check_client_hosts(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config *config = scope->config;

    if (config->concurrent_requests.max_client_urls == 0 ||
        config->concurrent_requests.client_hosts.count > 0)
        return 0;
    ret->key = "concurrent_requests.max_client_urls";
    return err_set(err, -EINVAL,
                   "goes with concurrent_requests.client_hosts, which is empty: no URL would be "
                   "allowed");
}

const config_together_fn config_together[] = {check_in_flight, check_backoff, check_mail, check_client_hosts,
                                              NULL};

/* Of two values for a name it would depend on the program which one counts. */
static int check_environment(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_command *command = scope->object;
    char *const *items = command->environment.items;

    for (size_t i = 0; i < command->environment.count; i++) {
        size_t size = strcspn(items[i], "=") + 1;
        for (size_t j = 0; j < i; j++) {
            if (strncmp(items[i], items[j], size) == 0) {
                ret->key = "environment";
                return err_set(err, -EINVAL, "has the variable %.*s twice", (int)MIN(size - 1, 64), items[i]);
            }
        }
    }
    return 0;
}

const config_together_fn config_command_checks[] = {check_environment, NULL};

static bool has_queue(const struct config *config, const char *name)
{
    bool found = strcmp(name, "default") == 0;

    for (size_t i = 0; i < config->tasks.queue_count && !found; i++)
        found = strcmp(config->tasks.queues[i].name, name) == 0;
    return found;
}

static int check_zone(const char *name, struct err *err)
{
    struct cron_zone *zone = NULL;
    int rc = cron_zone_load(name, &zone, err);

    cron_zone_free(zone);
    return rc;
}

/* What needs the kinds is checked where they are known.  `cron` and `kind` are NULL when the file does not
 * give them. */
static int check_schedule(const struct config_scope *scope, struct config_conflict *ret, struct err *err)
{
    const struct config_schedule *schedule = scope->object;
    struct cron cron;

    ret->key = "queue";
    if (!has_queue(scope->config, schedule->queue))
        return err_set(err, -EINVAL, "\"%s\" is not one of the queues; write default, or add it to them",
                       schedule->queue);
    ret->key = "cron";
    int rc = schedule->cron ? cron_parse(schedule->cron, &cron, err) : 0;
    if (rc != 0)
        return rc;
    ret->key = "time_zone";
    return check_zone(schedule->time_zone, err);
}

const config_together_fn config_schedule_checks[] = {check_schedule, NULL};
