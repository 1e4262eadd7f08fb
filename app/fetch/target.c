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

static int fill_origin(struct fetch_target *target, const char *scheme, const char *host, const char *port,
                       struct err *err)
{
    char key[CONFIG_HOST_MAX_BYTES + 32];
    uint64_t number = 0;
    int rc = config_check_host(host, err);

    if (rc == 0)
        rc = parse_number(PARSE_UINT, port, 0, 65535, &number, err);
    if (rc < 0)
        return rc;
    snprintf(key, sizeof(key), "%s://%s:%s", scheme, host, port);
    target->origin_key = strdup(key);
    target->host = strdup(host);
    target->port = (unsigned)number;
    target->is_tls = strcmp(scheme, "https") == 0;
    target->needs_lookup = !is_numeric_host(host);
    return target->origin_key && target->host ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static bool has_part(CURLU *parts, CURLUPart part)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(parts, part, &text, 0);

    curl_free(text);
    return code != CURLUE_NO_USER && code != CURLUE_NO_PASSWORD;
}

static int split_url(struct fetch_target *target, unsigned flags, struct err *err)
{
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    int rc = -EINVAL;
    CURLUcode code =
        curl_url_set(target->parts, CURLUPART_URL, target->url, CURLU_NON_SUPPORT_SCHEME | flags);

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
        rc = err_set(err, code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL, "%s", curl_url_strerror(code));
    else
        rc = fill_origin(target, scheme, host, port, err);
    target->has_user = has_part(target->parts, CURLUPART_USER) || has_part(target->parts, CURLUPART_PASSWORD);
end:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return rc;
}

static int target_create(const char *url, unsigned flags, struct fetch_target **ret_target, struct err *err)
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
        rc = split_url(target, flags, err);
    if (rc < 0) {
        fetch_target_free(target);
        return rc;
    }
    *ret_target = target;
    return 0;
}

int fetch_target_create(const char *url, struct fetch_target **ret_target, struct err *err)
{
    return target_create(url, 0, ret_target, err);
}

int fetch_target_create_redirect(const char *url, struct fetch_target **ret_target, struct err *err)
{
    return target_create(url, CURLU_URLENCODE | CURLU_ALLOW_SPACE, ret_target, err);
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

struct fetch_place fetch_target_place(const struct fetch_target *target)
{
    return (struct fetch_place){target->host, target->port, target->is_tls, target->has_user};
}

const char *fetch_target_url(const struct fetch_target *target)
{
    return target->url;
}
