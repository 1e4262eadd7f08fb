/* Kind `email`: hands a message to the mail server.
 *
 * All recipients or none: when the server refuses one, nothing is sent, and the task is tried again (4yz) or
 * is dead (5yz).  The Message-ID is made of the task's id, so that what is sent twice, because the answer to
 * the first time was lost, is known as one message. */
#include "tasks/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "mail/mail.h"
#include "mail/message.h"

#define RECIPIENTS_MAX 100

/* A payload that has been read.  Texts are lent by the payload. */
struct envelope {
    struct message message;
    struct address from;
    struct address reply_to;
    struct address recipients[RECIPIENTS_MAX]; /* to, cc and bcc, in this order */
    size_t recipient_count;
};

/* What lives from submit to `done`. */
struct email {
    struct mailer *mailer;
    struct task *task;
    char message_id[MESSAGE_ID_SIZE];
    struct buf message;
    struct mail mail;
    char from[ADDRESS_MAX_BYTES + 1];
    char recipients[][ADDRESS_MAX_BYTES + 1];
};

/* ---- reading a payload ---- */

static int read_address(const json_t *value, const char *field, struct address *ret,
                        struct task_problem *problem)
{
    struct err err;

    if (!json_is_string(value))
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s must be an address", field);
    if (address_parse(json_string_value(value), json_string_length(value), ret, &err) < 0)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s: %s", field, err.text);
    return 0;
}

static int add_recipient(struct envelope *envelope, const json_t *value, const char *field,
                         struct task_problem *problem)
{
    if (envelope->recipient_count == RECIPIENTS_MAX)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field,
                                "%s: a message has at most %d recipients, to, cc and bcc together", field,
                                RECIPIENTS_MAX);
    int rc = read_address(value, field, &envelope->recipients[envelope->recipient_count], problem);
    envelope->recipient_count += rc == 0;
    return rc;
}

/* A list of addresses, or one. */
static int read_recipients(struct envelope *envelope, const json_t *payload, const char *field,
                           struct task_problem *problem)
{
    const json_t *value = json_object_get(payload, field);
    const json_t *item;
    size_t i;

    if (!json_is_array(value))
        return value ? add_recipient(envelope, value, field, problem) : 0;
    if (json_array_size(value) == 0)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s must not be an empty list", field);
    json_array_foreach (value, i, item) {
        int rc = add_recipient(envelope, item, field, problem);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_all_recipients(struct envelope *envelope, const json_t *payload, struct task_problem *problem)
{
    struct message *message = &envelope->message;
    int rc = read_recipients(envelope, payload, "to", problem);

    message->to = envelope->recipients;
    message->to_count = envelope->recipient_count;
    if (rc == 0)
        rc = read_recipients(envelope, payload, "cc", problem);
    message->cc = envelope->recipients + message->to_count;
    message->cc_count = envelope->recipient_count - message->to_count;
    return rc == 0 ? read_recipients(envelope, payload, "bcc", problem) : rc;
}

static int read_senders(struct envelope *envelope, const json_t *payload, const struct config *config,
                        struct task_problem *problem)
{
    const json_t *from = json_object_get(payload, "from");
    const json_t *reply_to = json_object_get(payload, "reply_to");
    int rc = 0;

    if (from)
        rc = read_address(from, "from", &envelope->from, problem);
    else if (address_parse(config->mail.from, strlen(config->mail.from), &envelope->from, NULL) < 0)
        rc = task_problem_set(problem, TASK_PROBLEM_INVALID, "from", "mail.from cannot be used");
    envelope->message.from = &envelope->from;
    if (rc == 0 && reply_to) {
        rc = read_address(reply_to, "reply_to", &envelope->reply_to, problem);
        envelope->message.reply_to = &envelope->reply_to;
    }
    return rc;
}

static int read_body(const json_t *payload, const char *field, const char **ret, struct task_problem *problem)
{
    const json_t *value = json_object_get(payload, field);

    if (!value)
        return 0;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return task_problem_set(problem, TASK_PROBLEM_INVALID, field, "%s must be a string", field);
    *ret = json_string_value(value);
    return 0;
}

static int read_content(struct envelope *envelope, const json_t *payload, struct task_problem *problem)
{
    const json_t *subject = json_object_get(payload, "subject");
    struct message *message = &envelope->message;

    if (!json_is_string(subject) ||
        !message_is_subject(json_string_value(subject), json_string_length(subject)))
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "subject",
                                "subject must be a line of 1 to %d bytes, without control characters",
                                MESSAGE_SUBJECT_MAX_BYTES);
    message->subject = json_string_value(subject);
    int rc = read_body(payload, "text", &message->text, problem);
    return rc == 0 ? read_body(payload, "html", &message->html, problem) : rc;
}

static int find_missing(const json_t *payload, const struct config *config, struct task_problem *problem)
{
    if (!json_object_get(payload, "to"))
        return task_problem_set(problem, TASK_PROBLEM_MISSING, "to", "to is missing");
    if (!json_object_get(payload, "subject"))
        return task_problem_set(problem, TASK_PROBLEM_MISSING, "subject", "subject is missing");
    if (!json_object_get(payload, "text") && !json_object_get(payload, "html"))
        return task_problem_set(problem, TASK_PROBLEM_MISSING, "text", "text or html is missing");
    if (!json_object_get(payload, "from") && config->mail.from[0] == '\0')
        return task_problem_set(problem, TASK_PROBLEM_MISSING, "from",
                                "from is missing, and there is no mail.from in the configuration");
    return 0;
}

static int read_envelope(struct envelope *envelope, const json_t *payload, const struct config *config,
                         struct task_problem *problem)
{
    int rc = read_all_recipients(envelope, payload, problem);

    if (rc == 0)
        rc = read_senders(envelope, payload, config, problem);
    if (rc == 0)
        rc = read_content(envelope, payload, problem);
    return rc;
}

/* ---- check ---- */

static void drop_other_members(json_t *payload)
{
    static const char *const used[] = {"to", "cc", "bcc", "from", "reply_to", "subject", "text", "html"};
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe (payload, next, name, value) {
        bool is_used = false;
        for (size_t i = 0; i < ARRAY_LEN(used); i++)
            is_used |= strcmp(name, used[i]) == 0;
        if (!is_used)
            json_object_del(payload, name);
    }
}

/* Written once to see how long it becomes; all ids are of one length. */
static int check_size(struct envelope *envelope, size_t max_bytes, struct task_problem *problem)
{
    char id[UUID_TEXT_SIZE];
    cleanup(buf_done) struct buf out = BUF_INIT(max_bytes);

    uuid_format(&(struct uuid){0}, id);
    envelope->message.id = id;
    message_write(&envelope->message, &out);
    envelope->message.id = NULL;
    if (out.failed)
        return task_problem_set(problem, TASK_PROBLEM_INVALID, "text",
                                "the message is longer than %zu bytes as it is sent", max_bytes);
    return 0;
}

static int check(json_t *payload, const struct task_services *services, struct task_problem *ret)
{
    const struct config *config = services->config;

    if (config->mail.server[0] == '\0')
        return task_problem_set(ret, TASK_PROBLEM_INVALID, "to", "no mail server is configured");
    int rc = find_missing(payload, config, ret);
    if (rc < 0)
        return rc;
    struct envelope *envelope = calloc(1, sizeof(*envelope));
    if (!envelope)
        return task_problem_set(ret, TASK_PROBLEM_INVALID, "to", "out of memory");
    rc = read_envelope(envelope, payload, config, ret);
    if (rc == 0)
        rc = check_size(envelope, config->mail.max_message_bytes, ret);
    free(envelope);
    if (rc == 0)
        drop_other_members(payload);
    return rc;
}

/* ---- step ---- */

static enum task_step fail(struct task_run *run, bool is_final, const char *text)
{
    snprintf(run->error, sizeof(run->error), "%s", text);
    run->is_final = is_final;
    return TASK_STEP_FAILED;
}

static void on_done(struct mail *mail)
{
    struct email *email = mail->arg;

    task_resume(email->task);
}

static void release(void *state)
{
    struct email *email = state;

    buf_done(&email->message);
    free(email);
}

static struct email *email_create(struct task_run *run, struct envelope *envelope)
{
    size_t count = envelope->recipient_count;
    struct email *email = calloc(1, sizeof(*email) + count * sizeof(email->recipients[0]));

    if (!email)
        return NULL;
    email->mailer = run->services->mailer;
    email->task = run->task;
    email->message.max = run->services->config->mail.max_message_bytes;
    envelope->message.id = run->task_id;
    envelope->message.wall_ms = clock_wall_ms();
    message_format_id(&envelope->message, email->message_id);
    message_write(&envelope->message, &email->message);
    if (email->message.failed) {
        release(email);
        return NULL;
    }
    memcpy(email->from, envelope->from.mailbox, sizeof(email->from));
    for (size_t i = 0; i < count; i++)
        memcpy(email->recipients[i], envelope->recipients[i].mailbox, sizeof(email->recipients[i]));
    email->mail = (struct mail){.from = email->from,
                                .recipients = email->recipients,
                                .recipient_count = count,
                                .message = email->message.data,
                                .message_size = email->message.size,
                                .deadline_ns = run->deadline_ns,
                                .done = on_done,
                                .arg = email};
    return email;
}

/* The configuration may be another than when the task was checked. */
static enum task_step start(struct task_run *run)
{
    const struct config *config = run->services->config;
    struct task_problem problem;
    struct envelope *envelope;
    struct email *email;

    if (config->mail.server[0] == '\0')
        return fail(run, false, "no mail server is configured");
    envelope = calloc(1, sizeof(*envelope));
    if (!envelope)
        return fail(run, false, "out of memory");
    if (find_missing(run->payload, config, &problem) < 0 ||
        read_envelope(envelope, run->payload, config, &problem) < 0) {
        free(envelope);
        return fail(run, true, problem.text);
    }
    email = email_create(run, envelope);
    free(envelope);
    if (!email)
        return fail(run, false, "no memory for the message, or it is longer than mail.max_message");
    run->state = email;
    mailer_submit(email->mailer, &email->mail);
    return TASK_STEP_PENDING;
}

static enum task_step finish(struct task_run *run, const struct email *email)
{
    const struct mail *mail = &email->mail;

    if (mail->outcome != MAIL_DELIVERED)
        return fail(run, mail->is_final, mail->error);
    run->result = json_pack("{s:I, s:s, s:i}", "recipients", (json_int_t)mail->recipient_count, "message_id",
                            email->message_id, "reply", mail->reply_code);
    return run->result ? TASK_STEP_DONE : fail(run, true, "out of memory; the message has been sent");
}

static enum task_step step(struct task_run *run)
{
    return run->state ? finish(run, run->state) : start(run);
}

static void abort_email(void *state)
{
    struct email *email = state;

    mailer_cancel(email->mailer, &email->mail);
}

const struct task_kind kind_email = {
    .name = "email",
    .check = check,
    .step = step,
    .abort = abort_email,
    .release = release,
};
