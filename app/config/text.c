/* What texts that name something must look like. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "config/config_int.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"

/* Standard Webhooks: "between 24 bytes and 64 bytes". */
#define WEBHOOK_KEY_MIN_BYTES  24
#define WEBHOOK_KEY_MAX_BYTES  64
#define WEBHOOK_TEXT_MIN_BYTES 16

static int refuse(const char *text, const char *wrong, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    return err_set(err, -EINVAL, "%s %s", parse_quote(text, strlen(text), quoted), wrong);
}

/* Only of these characters. */
static bool is_of(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

int config_check_name(const char *text, struct err *err)
{
    size_t size = strlen(text);

    if (size > 0 && size <= CONFIG_NAME_MAX_BYTES && is_of(text, LETTERS DIGITS "-_"))
        return 0;
    return refuse(text, "is not a name; write 1 to 64 letters, digits, - and _", err);
}

int config_check_absolute_path(const char *text, struct err *err)
{
    return *text == '/' ? 0 : refuse(text, "is not an absolute path; write one that begins with /", err);
}

/* Only the name is repeated: the value may be a secret. */
int config_check_variable(const char *text, struct err *err)
{
    size_t size = strspn(text, LETTERS DIGITS "_");

    if (size > 0 && text[size] == '=' && !strchr(DIGITS, text[0]))
        return 0;
    return err_set(err, -EINVAL, "an item is not a variable; write NAME=value");
}

int config_check_time_zone(const char *text, struct err *err)
{
    bool is_relative = *text != '/' && *text != '.' && !strstr(text, "..");

    if (*text && is_relative && is_of(text, LETTERS DIGITS "/_+-"))
        return 0;
    return refuse(text, "is not a time zone; write one such as UTC or Europe/Vienna", err);
}

int config_check_json_object(const char *text, struct err *err)
{
    char field[JSON_FIELD_SIZE] = "";
    cleanup(json_decref_scope) json_t *object = NULL;
    struct err inner = {0};
    int r = json_parse_body(text, strlen(text), &object, field, &inner);

    if (r < 0)
        return err_set(err, r, "is not a JSON object: %s", inner.text);
    return 0;
}

/* The bytes that base64 (RFC 4648, section 4) stands for, 0 when it is none. */
static size_t base64_size(const char *text)
{
    size_t digits = strspn(text, LETTERS DIGITS "+/");
    size_t padding = strspn(text + digits, "=");

    if (text[digits + padding] != '\0' || padding > 2 || (digits + padding) % 4 != 0)
        return 0;
    return digits * 3 / 4;
}

int config_check_webhook_secret(const char *text, struct err *err)
{
    static const char prefix[] = "whsec_";
    size_t size = strlen(text);

    if (size == 0)
        return 0;
    if (strncmp(text, prefix, strlen(prefix)) != 0) {
        if (size >= WEBHOOK_TEXT_MIN_BYTES)
            return 0;
        return err_set(err, -ERANGE,
                       "is too short for a secret; write whsec_ and base64, or at least %d bytes",
                       WEBHOOK_TEXT_MIN_BYTES);
    }
    size = base64_size(text + strlen(prefix));
    if (size >= WEBHOOK_KEY_MIN_BYTES && size <= WEBHOOK_KEY_MAX_BYTES)
        return 0;
    return err_set(err, -EINVAL, "is not a secret: what follows whsec_ must be base64 of %d to %d bytes",
                   WEBHOOK_KEY_MIN_BYTES, WEBHOOK_KEY_MAX_BYTES);
}

/* What the envelope takes as it stands: one address, without a name around it. */
int config_check_sender(const char *text, struct err *err)
{
    const char *at = strchr(text, '@');

    if (*text == '\0' ||
        (at && at > text && at[1] && !strpbrk(text, " <>,;:\"\\()[]") && !strchr(at + 1, '@')))
        return 0;
    return refuse(text, "is not a mail address; write one such as heddle@example.org", err);
}
