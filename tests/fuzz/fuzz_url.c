/* fuzz_url.c - fetch_target_create, also of redirects, and config_check_url: a URL that is taken leads to one
 * host and port, whoever reads it.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: a URL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/config_int.h"
#include "fetch/fetch_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* Nothing that could end the host, or begin a user's name, for another reader. */
static void check_host(const char *host)
{
    check(*host != '\0' && strlen(host) <= CONFIG_HOST_MAX_BYTES);
    for (const char *c = host; *c; c++)
        check(*c > ' ' && *c < 0x7f && !strchr("/\\?#@\"<>^`{|}", *c));
    check(strchr(host, ':') == NULL || (host[0] == '[' && host[strlen(host) - 1] == ']'));
}

/* Written anew from what was understood, it is the same place. */
static void check_again(struct fetch_place place)
{
    char url[CONFIG_HOST_MAX_BYTES + 64];
    struct fetch_target *again;
    struct err err = {0};

    snprintf(url, sizeof(url), "%s://%s:%u/", place.is_tls ? "https" : "http", place.host, place.port);
    if (fetch_target_create(url, &again, &err) < 0)
        abort();
    struct fetch_place other = fetch_target_place(again);
    check(strcmp(place.host, other.host) == 0 && place.port == other.port && place.is_tls == other.is_tls &&
          !other.has_user);
    fetch_target_free(again);
}

static bool check_target(int rc, struct fetch_target *target, const struct err *err)
{
    if (rc < 0) {
        check(err->text[0] != '\0' && text_utf8_is_valid(err->text, strlen(err->text)));
        return false;
    }
    struct fetch_place place = fetch_target_place(target);
    check(place.port <= 65535);
    check_host(place.host);
    check_again(place);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fetch_target *target = NULL;
    struct fetch_target *redirect = NULL;
    struct err err = {0};
    char *url = strndup((const char *)data, size);

    check(url != NULL);
    bool is_target = check_target(fetch_target_create(url, &target, &err), target, &err);
    bool is_redirect = check_target(fetch_target_create_redirect(url, &redirect, &err), redirect, &err);
    if (is_target) /* the tolerant reader takes all that the strict one takes, and no other place for it */
        check(is_redirect && strcmp(target->origin_key, redirect->origin_key) == 0);
    if (config_check_url(url, &err) == 0)
        check(is_target && !target->has_user && target->port > 0);
    fetch_target_free(target);
    fetch_target_free(redirect);
    free(url);
    return 0;
}
