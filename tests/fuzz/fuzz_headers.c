/* fuzz_headers.c - fetch_header_check: what it lets pass is one header line, and none of those that say how a
 * request is framed or where it goes.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: the name up to the first colon, the rest is the
 * value. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "fetch/fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_passed(const char *name, const char *value)
{
    static const char *const forbidden[] = {"Host", "Content-Length", "Transfer-Encoding", "Connection",
                                            "TE",   "Upgrade",        "Proxy-Connection",  "Trailer"};

    check(*name != '\0' && strlen(name) + strlen(value) <= FETCH_HEADER_MAX_BYTES);
    for (const char *c = name; *c; c++)
        check(isalnum((unsigned char)*c) || strchr("!#$%&'*+-.^_`|~", *c));
    for (const char *c = value; *c; c++)
        check(*c == '\t' || !iscntrl((unsigned char)*c));
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
        check(strcasecmp(name, forbidden[i]) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *colon = memchr(text, ':', size);
    size_t length = colon ? (size_t)(colon - text) : size;
    size_t used = length + (colon != NULL);
    char *name = strndup(text, length);
    char *value = strndup(text + used, size - used);
    struct err err = {0};

    check(name && value);
    int rc = fetch_header_check(name, value, &err);
    if (rc == 0)
        check_passed(name, value);
    else
        check((rc == -EINVAL || rc == -ERANGE) && err.text[0] != '\0' &&
              text_utf8_is_valid(err.text, strlen(err.text)));
    free(name);
    free(value);
    return 0;
}
