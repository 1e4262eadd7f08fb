/* Names of headers that may go to upstreams. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "config/config_int.h"

/* Those of a connection (RFC 9110, section 7.6.1), those that the sender makes of the message itself, and
 * those that heddle sends. */
static const char *const refused[] = {
    "Accept-Encoding",   "Connection",
    "Content-Length",    "Expect",
    "HTTP2-Settings",    "Host",
    "Keep-Alive",        "TE",
    "Trailer",           "Traceparent",
    "Transfer-Encoding", "Upgrade",
    "X-Request-Id",      "X-Request-Timeout",
};

static bool is_refused(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (strcasecmp(name, refused[i]) == 0)
            return true;
    }
    return strncasecmp(name, "Proxy-", 6) == 0;
}

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *text)
{
    return *text && text[strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

int config_check_header_name(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];

    if (!is_token(text) || strlen(text) > CONFIG_PAIR_NAME_MAX_BYTES)
        return err_set(err, -EINVAL, "%s is not the name of a header; write one such as Accept-Language",
                       parse_quote(text, strlen(text), quoted));
    if (is_refused(text))
        return err_set(err, -EINVAL, "%s belongs to the connection or is made by heddle; leave it out",
                       parse_quote(text, strlen(text), quoted));
    return 0;
}
