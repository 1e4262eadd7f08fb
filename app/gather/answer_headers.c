/* Server-Timing and Proxy-Status: a list with an entry for each part, as long as there is room. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "gather/answer.h"

/* An entry, without what stands between two of them. */
#define ENTRY_SIZE 320

/* Room for `, more;desc="99"`. */
#define MORE_BYTES 20

/* ---- texts that headers may have ---- */

/* Names of parts are tokens but for what a configuration may have made up. */
static void put_token(const char *text, char *ret, size_t ret_size)
{
    size_t i = 0;

    for (; text[i] != '\0' && i + 1 < ret_size; i++) {
        bool is_fine = strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                              text[i]) != NULL;
        ret[i] = is_fine ? text[i] : '_';
    }
    ret[i] = '\0';
}

/* The inside of an sf-string (RFC 8941, section 3.3.3), which is ASCII. */
static void put_quotable(const char *text, char *ret, size_t ret_size)
{
    size_t size = 0;

    for (; *text != '\0' && size + 2 < ret_size; text++) {
        if (*text == '"' || *text == '\\')
            ret[size++] = '\\';
        ret[size++] = *text >= ' ' && *text <= '~' ? *text : '?';
    }
    ret[size] = '\0';
}

/* ---- lists ---- */

struct list {
    char *text;
    size_t size;
    size_t room; /* for entries and the NUL */
};

static bool add_entry(struct list *list, const char *entry)
{
    const char *separator = list->size > 0 ? ", " : "";
    size_t length = strlen(separator) + strlen(entry);

    if (length >= list->room - list->size)
        return false;
    snprintf(list->text + list->size, list->room - list->size, "%s%s", separator, entry);
    list->size += length;
    return true;
}

static void append(char entry[ENTRY_SIZE], const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(char entry[ENTRY_SIZE], const char *format, ...)
{
    size_t size = strlen(entry);
    va_list args;

    va_start(args, format);
    vsnprintf(entry + size, ENTRY_SIZE - size, format, args);
    va_end(args);
}

static size_t part_count(const struct plan_run *run)
{
    return plan_endpoint(plan_run_plan(run))->part_count;
}

/* ---- Server-Timing ---- */

static void format_timing(const struct part_outcome *outcome, char entry[ENTRY_SIZE])
{
    uint64_t tenths = outcome->elapsed_ns / (NS_PER_MS / 10);

    put_token(outcome->config->name, entry, ENTRY_SIZE / 2);
    if (outcome->elapsed_ns > 0)
        append(entry, ";dur=%llu.%llu", (unsigned long long)(tenths / 10), (unsigned long long)(tenths % 10));
    if (outcome->reason)
        append(entry, ";desc=\"%s\"", outcome->reason);
}

size_t answer_format_server_timing(const struct plan_run *run, char ret[ANSWER_TIMING_SIZE])
{
    struct list list = {.text = ret, .room = ANSWER_TIMING_SIZE - MORE_BYTES};
    char entry[ENTRY_SIZE];
    size_t i = 0;

    ret[0] = '\0';
    for (; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        format_timing(&outcome, entry);
        if (!add_entry(&list, entry))
            break;
    }
    if (i < part_count(run)) {
        list.room = ANSWER_TIMING_SIZE;
        snprintf(entry, sizeof(entry), "more;desc=\"%zu\"", part_count(run) - i);
        add_entry(&list, entry);
    }
    return list.size;
}

/* ---- Proxy-Status ---- */

/* RFC 9209, section 2.3; NULL: there is no word for it. */
static const char *const error_types[FETCH_REASON_COUNT] = {
    [FETCH_TIMEOUT] = "http_response_timeout",       [FETCH_DNS] = "dns_error",
    [FETCH_CONNECT] = "connection_refused",          [FETCH_TLS] = "tls_protocol_error",
    [FETCH_TOO_LARGE] = "http_response_body_size",   [FETCH_PROTOCOL] = "http_protocol_error",
    [FETCH_CANCELLED] = "proxy_internal_response",   [FETCH_FORBIDDEN] = "destination_ip_prohibited",
    [FETCH_OVERLOADED] = "connection_limit_reached", [FETCH_CIRCUIT_OPEN] = "destination_unavailable",
};

static const char *error_type_of(const struct part_outcome *outcome)
{
    if (strcmp(outcome->reason, "bad_request") == 0)
        return "http_request_error";
    return error_types[outcome->fetch_reason];
}

static void format_status(const struct part_outcome *outcome, char entry[ENTRY_SIZE])
{
    char details[ENTRY_SIZE / 2];
    char text[ENTRY_SIZE / 2];
    const char *type = error_type_of(outcome);

    snprintf(text, sizeof(text), "%s: %s", outcome->config->name,
             outcome->error[0] != '\0' ? outcome->error : outcome->reason);
    put_quotable(text, details, sizeof(details));
    snprintf(entry, ENTRY_SIZE, "heddle");
    if (type)
        append(entry, "; error=%s", type);
    if (outcome->status >= 100 && outcome->status <= 599)
        append(entry, "; received-status=%d", outcome->status);
    append(entry, "; details=\"%s\"", details);
}

size_t answer_format_proxy_status(const struct plan_run *run, char ret[ANSWER_PROXY_STATUS_SIZE])
{
    struct list list = {.text = ret, .room = ANSWER_PROXY_STATUS_SIZE};
    char entry[ENTRY_SIZE];

    ret[0] = '\0';
    for (size_t i = 0; i < part_count(run); i++) {
        struct part_outcome outcome = plan_part_outcome(run, i);
        bool is_told =
            outcome.state == PART_FAILED || (outcome.state == PART_CANCELLED && !plan_run_is_complete(run));
        if (!is_told)
            continue;
        format_status(&outcome, entry);
        if (!add_entry(&list, entry))
            break;
    }
    return list.size;
}
