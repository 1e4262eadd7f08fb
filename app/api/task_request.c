#include "api/task_request.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"
#include "fetch/hosts.h"

#define DAY_MS             (UINT64_C(24) * 3600 * 1000)
#define DELAY_MAX_MS       (3650 * DAY_MS)
#define TIMEOUT_MAX_MS     (7 * DAY_MS)
#define BACKOFF_MAX_MS     (7 * DAY_MS)
#define BACKOFF_FACTOR_MAX 100
#define ATTEMPTS_MAX       1000
#define URL_MAX_BYTES      8192

/* A task on its way from its members to its making. */
struct reader {
    const struct task_reading *reading;
    const struct config *config;
    struct task_refusal *refusal;

    const struct task_kind *kind;
    struct task_spec spec;
    struct task_status status;
    enum task_on_unique on_unique;
    json_t *payload; /* a reference of its own; NULL when it was not given */
    struct buf payload_text;
    struct buf tags_text;
    struct buf callback_text;
    bool has_queue;
    bool has_priority;
    bool has_delay;
    bool has_run_at;
    bool has_on_unique;
    bool has_backoff_max;
};

static int refuse(struct reader *reader, int status, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int refuse(struct reader *reader, int status, const char *field, const char *format, ...)
{
    struct task_refusal *refusal = reader->refusal;
    va_list args;

    refusal->status = status;
    snprintf(refusal->field, sizeof(refusal->field), "%s", field);
    va_start(args, format);
    vsnprintf(refusal->text, sizeof(refusal->text), format, args);
    va_end(args);
    return -EINVAL;
}

static int refuse_memory(struct reader *reader)
{
    return refuse(reader, 503, "", "out of memory");
}

/* ---- values ---- */

/* A text of at most `max` bytes without control characters, which no label, log or terminal wants. */
static int read_text(struct reader *reader, const char *field, const json_t *value, size_t max,
                     const char **ret)
{
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);

    if (!text || size < 1 || size > max)
        return refuse(reader, 422, field, "%s must be a string of 1 to %zu bytes of UTF-8", field, max);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return refuse(reader, 422, field, "%s must not hold control characters", field);
    }
    *ret = text;
    return 0;
}

static int read_integer(struct reader *reader, const char *field, const json_t *value, unsigned min,
                        unsigned max, unsigned *ret)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < (json_int_t)min || number > (json_int_t)max)
        return refuse(reader, 422, field, "%s must be a whole number from %u to %u", field, min, max);
    *ret = (unsigned)number;
    return 0;
}

static int read_real(struct reader *reader, const char *field, const json_t *value, double min, double max,
                     double *ret)
{
    double number = json_number_value(value);

    if (!json_is_number(value) || !isfinite(number) || number < min || number > max)
        return refuse(reader, 422, field, "%s must be a number from %g to %g", field, min, max);
    *ret = number;
    return 0;
}

/* Seconds as a number, or a text with its unit. */
static int read_duration(struct reader *reader, const char *field, const json_t *value, uint64_t min_ms,
                         uint64_t max_ms, uint64_t *ret_ms)
{
    double seconds = json_number_value(value);
    struct err err;

    if (json_is_string(value)) {
        if (parse_number(PARSE_DURATION, json_string_value(value), min_ms, max_ms, ret_ms, &err) < 0)
            return refuse(reader, 422, field, "%s: %s", field, err.text);
        return 0;
    }
    if (!json_is_number(value) || !isfinite(seconds) || seconds < (double)min_ms / 1000 ||
        seconds > (double)max_ms / 1000)
        return refuse(reader, 422, field,
                      "%s must be a number of seconds from %g to %g, or a text such as \"250ms\" or \"10s\"",
                      field, (double)min_ms / 1000, (double)max_ms / 1000);
    *ret_ms = (uint64_t)llround(seconds * 1000);
    return 0;
}

/* ---- members ---- */

struct member {
    const char *name;
    int (*read)(struct reader *reader, const char *field, json_t *value);
};

static int refuse_unknown(struct reader *reader, const char *prefix, const char *name)
{
    char quoted[PARSE_QUOTED_SIZE];
    char field[sizeof(reader->refusal->field)];

    if (strlen(name) >= JSON_FIELD_SIZE)
        return refuse(reader, 422, "", "%s is no member that a task can have",
                      parse_quote(name, strlen(name), quoted));
    snprintf(field, sizeof(field), "%s%s", prefix, name);
    return refuse(reader, 422, field, "%s is no member that a task can have",
                  parse_quote(field, strlen(field), quoted));
}

/* Reads each member of `object` by its row, in the order in which the client has written them. */
static int read_members(struct reader *reader, const char *prefix, json_t *object,
                        const struct member *members, size_t count)
{
    char field[sizeof(reader->refusal->field)];
    const char *name;
    json_t *value;

    json_object_foreach (object, name, value) {
        size_t i = 0;
        while (i < count && strcmp(members[i].name, name) != 0)
            i++;
        if (i == count)
            return refuse_unknown(reader, prefix, name);
        snprintf(field, sizeof(field), "%s%s", prefix, name);
        int rc = members[i].read(reader, field, value);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_kind(struct reader *reader, const char *field, json_t *value)
{
    const char *name = "";
    char quoted[PARSE_QUOTED_SIZE];

    int rc = read_text(reader, field, value, TASK_NAME_MAX_BYTES, &name);
    if (rc < 0)
        return rc;
    reader->kind = task_engine_kind(reader->reading->engine, name);
    if (!reader->kind || reader->kind->is_internal)
        return refuse(reader, 422, field, "there is no kind %s", parse_quote(name, strlen(name), quoted));
    return 0;
}

static int read_payload(struct reader *reader, const char *field, json_t *value)
{
    if (!json_is_object(value))
        return refuse(reader, 422, field, "payload must be an object");
    reader->payload = json_incref(value);
    return 0;
}

static int read_queue(struct reader *reader, const char *field, json_t *value)
{
    const char *name = "";
    char quoted[PARSE_QUOTED_SIZE];

    int rc = read_text(reader, field, value, TASK_NAME_MAX_BYTES, &name);
    if (rc < 0)
        return rc;
    int queue = task_engine_find_queue(reader->reading->engine, name);
    if (queue < 0)
        return refuse(reader, 422, field, "there is no queue %s", parse_quote(name, strlen(name), quoted));
    reader->status.queue = (task_queue_id)queue;
    reader->has_queue = true;
    return 0;
}

static int read_priority(struct reader *reader, const char *field, json_t *value)
{
    unsigned priority = TASK_PRIORITY_DEFAULT;

    int rc = read_integer(reader, field, value, 0, TASK_PRIORITY_COUNT - 1, &priority);
    reader->status.priority = (uint8_t)priority;
    reader->has_priority = true;
    return rc;
}

static int refuse_two_times(struct reader *reader, const char *field)
{
    return refuse(reader, 422, field, "delay and run_at exclude each other");
}

static int read_delay(struct reader *reader, const char *field, json_t *value)
{
    uint64_t delay_ms = 0;

    if (reader->has_run_at)
        return refuse_two_times(reader, field);
    int rc = read_duration(reader, field, value, 0, DELAY_MAX_MS, &delay_ms);
    if (rc < 0)
        return rc;
    reader->has_delay = true;
    reader->status.run_at_ms = delay_ms == 0 ? 0 : reader->reading->now_ms + delay_ms;
    return 0;
}

/* A time that is over is as good as none. */
static int read_run_at(struct reader *reader, const char *field, json_t *value)
{
    uint64_t run_at_ms;

    if (reader->has_delay)
        return refuse_two_times(reader, field);
    if (!json_is_string(value) || !clock_parse_rfc3339(json_string_value(value), &run_at_ms))
        return refuse(reader, 422, field, "%s must be a time of RFC 3339 such as \"2026-01-31T23:59:59Z\"",
                      field);
    reader->has_run_at = true;
    reader->status.run_at_ms = run_at_ms > reader->reading->now_ms ? run_at_ms : 0;
    return 0;
}

static int read_timeout(struct reader *reader, const char *field, json_t *value)
{
    return read_duration(reader, field, value, 1, TIMEOUT_MAX_MS, &reader->spec.timeout_ms);
}

static int read_max_attempts(struct reader *reader, const char *field, json_t *value)
{
    return read_integer(reader, field, value, 1, ATTEMPTS_MAX, &reader->spec.max_attempts);
}

static int read_unique_key(struct reader *reader, const char *field, json_t *value)
{
    return read_text(reader, field, value, TASK_KEY_MAX_BYTES, &reader->spec.unique_key);
}

static int read_on_unique(struct reader *reader, const char *field, json_t *value)
{
    static const char *const names[] = {
        [TASK_UNIQUE_REJECT] = "reject",
        [TASK_UNIQUE_RETURN] = "return",
        [TASK_UNIQUE_REPLACE] = "replace",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            reader->on_unique = (enum task_on_unique)i;
            reader->has_on_unique = true;
            return 0;
        }
    }
    return refuse(reader, 422, field, "%s must be \"reject\", \"return\" or \"replace\"", field);
}

static int read_tenant(struct reader *reader, const char *field, json_t *value)
{
    return read_text(reader, field, value, TASK_NAME_MAX_BYTES, &reader->spec.tenant);
}

static bool is_repeated(json_t *tags, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (json_equal(json_array_get(tags, i), json_array_get(tags, index)))
            return true;
    }
    return false;
}

static int read_tags(struct reader *reader, const char *field, json_t *value)
{
    const char *tag;

    if (!json_is_array(value) || json_array_size(value) > reader->config->tasks.max_tags)
        return refuse(reader, 422, field, "%s must be an array of at most %u strings", field,
                      reader->config->tasks.max_tags);
    for (size_t i = 0; i < json_array_size(value); i++) {
        char element[sizeof(reader->refusal->field)];
        snprintf(element, sizeof(element), "%s[%zu]", field, i);
        int rc = read_text(reader, element, json_array_get(value, i), TASK_NAME_MAX_BYTES, &tag);
        if (rc < 0)
            return rc;
        if (is_repeated(value, i))
            return refuse(reader, 422, element, "%s is there already", element);
    }
    if (json_array_size(value) > 0)
        json_dump(value, &reader->tags_text);
    return 0;
}

/* ---- backoff ---- */

static int read_backoff_base(struct reader *reader, const char *field, json_t *value)
{
    return read_duration(reader, field, value, 1, BACKOFF_MAX_MS, &reader->spec.backoff.base_ms);
}

static int read_backoff_factor(struct reader *reader, const char *field, json_t *value)
{
    return read_real(reader, field, value, 1, BACKOFF_FACTOR_MAX, &reader->spec.backoff.factor);
}

static int read_backoff_max(struct reader *reader, const char *field, json_t *value)
{
    reader->has_backoff_max = true;
    return read_duration(reader, field, value, 1, BACKOFF_MAX_MS, &reader->spec.backoff.max_ms);
}

static int read_backoff_jitter(struct reader *reader, const char *field, json_t *value)
{
    return read_real(reader, field, value, 0, 1, &reader->spec.backoff.jitter);
}

static int read_backoff(struct reader *reader, const char *field, json_t *value)
{
    static const struct member members[] = {
        {"base", read_backoff_base},
        {"factor", read_backoff_factor},
        {"max", read_backoff_max},
        {"jitter", read_backoff_jitter},
    };
    struct task_backoff *backoff = &reader->spec.backoff;

    if (!json_is_object(value))
        return refuse(reader, 422, field, "%s must be an object with base, factor, max and jitter", field);
    int rc = read_members(reader, "backoff.", value, members, ARRAY_LEN(members));
    if (rc < 0)
        return rc;
    if (!reader->has_backoff_max)
        backoff->max_ms = MAX(backoff->max_ms, backoff->base_ms);
    if (backoff->max_ms < backoff->base_ms)
        return refuse(reader, 422, "backoff.max", "backoff.max must not be less than backoff.base");
    return 0;
}

/* ---- callback ---- */

static int read_callback_url(struct reader *reader, const char *field, json_t *value)
{
    const char *url;
    struct err err;

    int rc = read_text(reader, field, value, URL_MAX_BYTES, &url);
    if (rc < 0)
        return rc;
    if (hosts_allow_url(&reader->config->tasks.allowed_hosts, "tasks", url, &err))
        return 0;
    return err.code == -ENOMEM ? refuse_memory(reader)
                               : refuse(reader, 422, field, "%s: %s", field, err.text);
}

static int read_callback(struct reader *reader, const char *field, json_t *value)
{
    static const struct member members[] = {{"url", read_callback_url}};

    if (!json_is_object(value) || !json_object_get(value, "url"))
        return refuse(reader, 422, field, "%s must be an object with a url", field);
    int rc = read_members(reader, "callback.", value, members, ARRAY_LEN(members));
    if (rc == 0)
        json_dump(value, &reader->callback_text);
    return rc;
}

/* ---- the whole ---- */

static const struct member members_of_task[] = {
    {"kind", read_kind},           {"payload", read_payload},
    {"queue", read_queue},         {"priority", read_priority},
    {"delay", read_delay},         {"run_at", read_run_at},
    {"timeout", read_timeout},     {"max_attempts", read_max_attempts},
    {"backoff", read_backoff},     {"unique_key", read_unique_key},
    {"on_unique", read_on_unique}, {"tenant", read_tenant},
    {"tags", read_tags},           {"callback", read_callback},
};

static void reader_init(struct reader *reader, const struct task_reading *reading,
                        struct task_refusal *refusal)
{
    const struct config *config = task_engine_services(reading->engine)->config;

    *reader = (struct reader){
        .reading = reading,
        .config = config,
        .refusal = refusal,
        .spec =
            {
                .timeout_ms = config->tasks.timeout_ms,
                .max_attempts = config->tasks.max_attempts,
                .backoff =
                    {
                        .base_ms = config->tasks.backoff_base_ms,
                        .factor = config->tasks.backoff_factor,
                        .max_ms = config->tasks.backoff_max_ms,
                        .jitter = config->tasks.backoff_jitter,
                    },
            },
        .status = {.priority = TASK_PRIORITY_DEFAULT},
        .payload_text = BUF_INIT(SIZE_MAX / 2), /* bounded by the text that it was parsed from */
        .tags_text = BUF_INIT((size_t)config->tasks.max_tags * (TASK_NAME_MAX_BYTES * 6 + 3) + 3),
        .callback_text = BUF_INIT(URL_MAX_BYTES * 6 + 64),
    };
    /* The queue that always exists. */
    int queue = task_engine_find_queue(reading->engine, "default");
    reader->status.queue = queue < 0 ? 0 : (task_queue_id)queue;
}

static void reader_done(struct reader *reader)
{
    json_decref(reader->payload);
    buf_done(&reader->payload_text);
    buf_done(&reader->tags_text);
    buf_done(&reader->callback_text);
}

/* What no member can know by itself. */
static int check_together(struct reader *reader)
{
    if (!reader->kind)
        return refuse(reader, 422, "kind", "kind is missing");
    if (reader->has_on_unique && !reader->spec.unique_key)
        return refuse(reader, 422, "on_unique", "on_unique needs a unique_key");
    return 0;
}

static int refuse_payload(struct reader *reader, const struct task_problem *problem)
{
    char field[sizeof(reader->refusal->field)];

    if (problem->type == TASK_PROBLEM_BUG)
        return refuse(reader, 500, "", "%s", problem->text);
    snprintf(field, sizeof(field), "payload.%s", problem->field);
    return refuse(reader, 422, field, "%s", problem->text);
}

/* Lets the kind look at the payload. */
static int check_payload(struct reader *reader, struct task_problem *problem)
{
    const struct task_services *services = task_engine_services(reader->reading->engine);

    if (!reader->payload)
        reader->payload = json_object();
    if (!reader->payload)
        return refuse_memory(reader);
    if (task_kind_check(reader->kind, reader->payload, services, problem) == 0)
        return 0;
    if (problem->type == TASK_PROBLEM_BUG)
        reader->payload = NULL; /* not even to be freed */
    return refuse_payload(reader, problem);
}

/* The buffer's text with a NUL, NULL when nothing was written to it; *ok becomes false when it has failed. */
static const char *text_of(struct buf *buf, bool *ok)
{
    if (buf->size > 0)
        buf_append(buf, "", 1);
    *ok = *ok && !buf->failed;
    return buf->data;
}

/* Texts of documents come last: what the reader holds must not be written to any more. */
static int write_documents(struct reader *reader)
{
    bool ok = true;

    json_dump(reader->payload, &reader->payload_text);
    if (reader->payload_text.size > reader->config->tasks.max_payload_bytes)
        return refuse(reader, 413, "payload", "the payload is larger than %zu bytes",
                      reader->config->tasks.max_payload_bytes);
    reader->spec.payload = text_of(&reader->payload_text, &ok);
    reader->spec.tags = text_of(&reader->tags_text, &ok);
    reader->spec.callback = text_of(&reader->callback_text, &ok);
    return ok ? 0 : refuse_memory(reader);
}

static int make_task(struct reader *reader, struct task_submission *ret)
{
    struct task_spec *spec = &reader->spec;
    struct uuid id;

    spec->kind_name = reader->kind->name;
    spec->traceparent = reader->reading->traceparent[0] != '\0' ? reader->reading->traceparent : NULL;
    struct task *task = uuid_create(&id) == 0 ? task_create(&id, spec, reader->reading->now_ms) : NULL;
    if (!task)
        return refuse_memory(reader);
    task->kind = reader->kind;
    task->status = reader->status;
    *ret = (struct task_submission){.task = task, .on_unique = reader->on_unique};
    return 0;
}

static int finish(struct reader *reader, struct task_submission *ret, struct task_problem *problem)
{
    int rc = check_payload(reader, problem);

    if (rc == 0)
        rc = write_documents(reader);
    if (rc == 0)
        rc = make_task(reader, ret);
    return rc;
}

int task_request_read(const struct task_reading *reading, json_t *json, struct task_submission *ret,
                      struct task_refusal *ret_refusal)
{
    struct reader reader;
    struct task_problem problem;

    *ret = (struct task_submission){.rc = -EINVAL};
    reader_init(&reader, reading, ret_refusal);
    int rc = read_members(&reader, "", json, members_of_task, ARRAY_LEN(members_of_task));
    if (rc == 0)
        rc = check_together(&reader);
    if (rc == 0) {
        json_object_del(json, "payload"); /* ours alone now */
        rc = finish(&reader, ret, &problem);
    }
    reader_done(&reader);
    json_decref(json);
    return rc;
}

void task_refusal_set_parse(struct task_refusal *ret, const char *field, const struct err *err)
{
    ret->status = err->code == -ENOMEM ? 503 : err->code == -ERANGE ? 422 : 400;
    snprintf(ret->field, sizeof(ret->field), "%s", err->code == -ERANGE ? field : "");
    snprintf(ret->text, sizeof(ret->text), "%s", err->text);
}

int task_request_parse(const struct task_reading *reading, const char *text, size_t size,
                       struct task_submission *ret, struct task_refusal *ret_refusal)
{
    char field[JSON_FIELD_SIZE] = "";
    json_t *json;
    struct err err;

    if (json_parse_body(text, size, &json, field, &err) == 0)
        return task_request_read(reading, json, ret, ret_refusal);
    *ret = (struct task_submission){.rc = -EINVAL};
    task_refusal_set_parse(ret_refusal, field, &err);
    return -EINVAL;
}

int task_request_of_payload(const struct task_reading *reading, const struct task_kind *kind, json_t *payload,
                            struct task_submission *ret, struct task_problem *ret_problem,
                            struct task_refusal *ret_refusal)
{
    struct reader reader;

    *ret = (struct task_submission){.rc = -EINVAL};
    ret_problem->field = NULL;
    reader_init(&reader, reading, ret_refusal);
    reader.kind = kind;
    reader.payload = payload;
    int rc = finish(&reader, ret, ret_problem);
    reader_done(&reader);
    return rc;
}

static void copy_change(const struct reader *reader, struct task_wish *ret)
{
    ret->has_queue = reader->has_queue;
    ret->queue = reader->status.queue;
    ret->has_priority = reader->has_priority;
    ret->priority = reader->status.priority;
    ret->has_run_at = reader->has_delay || reader->has_run_at;
    ret->run_at_ms = reader->status.run_at_ms;
}

int task_request_read_change(const struct task_reading *reading, json_t *json, struct task_wish *ret,
                             struct task_refusal *ret_refusal)
{
    static const struct member members[] = {
        {"queue", read_queue},
        {"priority", read_priority},
        {"delay", read_delay},
        {"run_at", read_run_at},
    };
    struct reader reader;

    reader_init(&reader, reading, ret_refusal);
    int rc =
        json_object_size(json) > 0
            ? read_members(&reader, "", json, members, ARRAY_LEN(members))
            : refuse(&reader, 422, "", "nothing is to be changed; write queue, priority, delay or run_at");
    if (rc == 0)
        copy_change(&reader, ret);
    reader_done(&reader);
    json_decref(json);
    return rc;
}
