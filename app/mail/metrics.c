#include "mail/mail_int.h"

const char *const mail_outcome_names[MAIL_OUTCOME_COUNT] = {
    [MAIL_DELIVERED] = "delivered", [MAIL_DEFERRED] = "deferred", [MAIL_REFUSED] = "refused",
    [MAIL_TIMEOUT] = "timeout",     [MAIL_FAILED] = "failed",     [MAIL_CANCELLED] = "cancelled",
};

struct metric mail_metrics[] = {
    {.name = "heddle_mails_total",
     .type = METRIC_COUNTER,
     .help = "attempts to send a message, by outcome",
     .labels = {{"outcome", mail_outcome_names, MAIL_OUTCOME_COUNT}}},
};
const size_t mail_metrics_count = ARRAY_LEN(mail_metrics);

void mail_count(const struct mail *mail)
{
    metric_add(&mail_metrics[0], mail->outcome, 0, 1);
}
