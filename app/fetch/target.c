#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "fetch/fetch_int.h"

static bool is_numeric_host(const char *host)
{
    unsigned char address[16];

    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

/* A name in another script must be in its ASCII form: the resolver and libcurl have to agree on it. */
static bool is_ascii(const char *text)
{
    while (*text > 0)
        text++;
    return *text == '\0';
}

static int fill_origin(struct fetch_target *target, const char *scheme, const char *host, const char *port)
{
    char key[512];
    int length = snprintf(key, sizeof(key), "%s://%s:%s", scheme, host, port);
    uint64_t number;

    if (length >= (int)sizeof(key) || parse_number(PARSE_UINT, port, 0, 65535, &number, NULL) < 0)
        return -EINVAL;
    target->origin_key = strdup(key);
    target->host = strdup(host);
    target->port = (unsigned)number;
    target->is_tls = strcmp(scheme, "https") == 0;
    target->needs_lookup = !is_numeric_host(host);
    return target->origin_key && target->host ? 0 : -ENOMEM;
}

static int split_url(struct fetch_target *target, struct err *err)
{
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    int rc = -EINVAL;
    CURLUcode code = curl_url_set(target->parts, CURLUPART_URL, target->url, CURLU_NON_SUPPORT_SCHEME);

    if (code == CURLUE_OK)
        code = curl_url_get(target->parts, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
        err_set(err, -EINVAL, "scheme \"%.32s\" is not http or https", scheme);
        goto end;
    }
    if (code == CURLUE_OK)
        code = curl_url_get(target->parts, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(target->parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code != CURLUE_OK)
        err_set(err, rc, "%s", curl_url_strerror(code));
    else if (!is_ascii(host))
        err_set(err, rc, "the host name is not ASCII: write its xn-- form");
    else if ((rc = fill_origin(target, scheme, host, port)) < 0)
        err_set(err, rc, "the host name is too long");
end:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return rc;
}

int fetch_target_create(const char *url, struct fetch_target **ret_target, struct err *err)
{
    struct fetch_target *target = calloc(1, sizeof(*target));
    int rc;

    if (!target)
        return err_set(err, -ENOMEM, "out of memory");
    target->url = strdup(url);
    target->parts = curl_url();
    if (!target->url || !target->parts)
        rc = err_set(err, -ENOMEM, "out of memory");
    else
        rc = split_url(target, err);
    if (rc < 0) {
        fetch_target_free(target);
        return rc;
    }
    *ret_target = target;
    return 0;
}

void fetch_target_free(struct fetch_target *target)
{
    if (!target)
        return;
    curl_url_cleanup(target->parts);
    free(target->url);
    free(target->origin_key);
    free(target->host);
    free(target);
}

const char *fetch_target_url(const struct fetch_target *target)
{
    return target->url;
}
