/* What only several settings together can have wrong. */
#include <errno.h>
#include <string.h>

#include "base/cron.h"
#include "config/config_int.h"

/* Above max_in_flight somebody must still be able to connect, or nobody is told that there are too many. */
static int check_in_flight(const struct config *config, const void *object, const char **ret_key,
                           struct err *err)
{
    (void)object;
    if (config->max_in_flight < config->max_connections)
        return 0;
    *ret_key = "max_in_flight";
    return err_set(err, -EINVAL,
                   "%u is not less than max_connections, %u: without a connection above it nobody can be "
                   "told that there are too many requests",
                   config->max_in_flight, config->max_connections);
}

static int check_backoff(const struct config *config, const void *object, const char **ret_key,
                         struct err *err)
{
    char base[PARSE_TEXT_SIZE];
    char max[PARSE_TEXT_SIZE];

    (void)object;
    if (config->tasks.backoff_base_ms <= config->tasks.backoff_max_ms)
        return 0;
    parse_format(PARSE_DURATION, config->tasks.backoff_base_ms, base);
    parse_format(PARSE_DURATION, config->tasks.backoff_max_ms, max);
    *ret_key = "tasks.backoff_base";
    return err_set(err, -EINVAL, "%s is more than tasks.backoff_max, %s", base, max);
}

static int check_mail(const struct config *config, const void *object, const char **ret_key, struct err *err)
{
    bool has_user = *config->mail.user;

    (void)object;
    if (has_user == (*config->mail.password != '\0'))
        return 0;
    *ret_key = has_user ? "mail.user" : "mail.password";
    return err_set(err, -EINVAL, "goes with %s, which is not set", has_user ? "mail.password" : "mail.user");
}

const config_together_fn config_together[CONFIG_TOGETHER_COUNT] = {check_in_flight, check_backoff,
                                                                   check_mail};

/* Of two values for a name it would depend on the program which one counts. */
int config_check_command(const struct config *config, const void *object, const char **ret_key,
                         struct err *err)
{
    const struct config_command *command = object;
    char *const *items = command->environment.items;

    (void)config;
    for (size_t i = 0; i < command->environment.count; i++) {
        size_t size = strcspn(items[i], "=") + 1;
        for (size_t j = 0; j < i; j++) {
            if (strncmp(items[i], items[j], size) == 0) {
                *ret_key = "environment";
                return err_set(err, -EINVAL, "has the variable %.*s twice", (int)MIN(size - 1, 64), items[i]);
            }
        }
    }
    return 0;
}

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
int config_check_schedule(const struct config *config, const void *object, const char **ret_key,
                          struct err *err)
{
    const struct config_schedule *schedule = object;
    struct cron cron;

    *ret_key = "queue";
    if (!has_queue(config, schedule->queue))
        return err_set(err, -EINVAL, "\"%s\" is not one of the queues; write default, or add it to them",
                       schedule->queue);
    *ret_key = "cron";
    int rc = schedule->cron ? cron_parse(schedule->cron, &cron, err) : 0;
    if (rc != 0)
        return rc;
    *ret_key = "time_zone";
    return check_zone(schedule->time_zone, err);
}
