#include "config/config_int.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static void url_free_scope(CURLU **handle)
{
    curl_url_cleanup(*handle);
}

static void curl_free_scope(char **text)
{
    curl_free(*text);
}

static int refuse(struct err *err, const char *url, const char *wrong)
{
    char quoted[PARSE_QUOTED_SIZE];

    return err_set(err, -EINVAL, "%s %s; write an absolute URL such as https://example.org/path",
                   parse_quote(url, strlen(url), quoted), wrong);
}

/* libcurl takes http:/host and http:host as well, and guesses when there is no scheme. */
static bool has_plain_start(const char *url)
{
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;

    return scheme > 0 && url[scheme] != '/';
}

static const char *wrong_with(CURLUcode code)
{
    switch (code) {
    case CURLUE_BAD_PORT_NUMBER:
        return "has a port that is not a number from 1 to 65535";
    case CURLUE_NO_HOST:
        return "has no host";
    default:
        return curl_url_strerror(code);
    }
}

static bool is_ascii(const char *text)
{
    while (*text > 0)
        text++;
    return *text == '\0';
}

/* libcurl takes others as well, such as |, which another reader of the URL may take for its end. */
static bool has_host_characters(const char *host)
{
    return host[0] == '[' || host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789-._~")] == '\0';
}

int config_check_host(const char *host, struct err *err)
{
    if (!is_ascii(host))
        return err_set(err, -EINVAL, "the host name is not ASCII: write its xn-- form");
    if (!has_host_characters(host))
        return err_set(err, -EINVAL, "the host name has characters that no name has");
    if (strlen(host) > CONFIG_HOST_MAX_BYTES)
        return err_set(err, -EINVAL, "the host name has %zu bytes; at most %d are allowed", strlen(host),
                       CONFIG_HOST_MAX_BYTES);
    return 0;
}

/* The same parser that will fetch the URL judges it, so there is no second opinion on what it means. */
int config_check_url(const char *url, struct err *err)
{
    cleanup(url_free_scope) CURLU *handle = curl_url();
    cleanup(curl_free_scope) char *host = NULL;
    cleanup(curl_free_scope) char *port = NULL;

    if (!handle)
        return err_set(err, -ENOMEM, "out of memory");
    if (strlen(url) > CONFIG_URL_MAX_BYTES)
        return err_set(err, -ERANGE, "the URL has %zu bytes; at most %d are allowed", strlen(url),
                       CONFIG_URL_MAX_BYTES);
    if (strchr(url, ' '))
        return refuse(err, url, "has a space in it (write %20)");
    if (!has_plain_start(url))
        return refuse(err, url, "is not an http or https URL");
    CURLUcode code = curl_url_set(handle, CURLUPART_URL, url, CURLU_DISALLOW_USER);
    if (code == CURLUE_OK)
        code = curl_url_get(handle, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code == CURLUE_OK && strcmp(port, "0") == 0)
        code = CURLUE_BAD_PORT_NUMBER;
    if (code == CURLUE_USER_NOT_ALLOWED) /* not quoted: it may be a password */
        return err_set(err, -EINVAL,
                       "the URL has a user name, which would show in answers and logs; leave it out");
    if (code == CURLUE_OUT_OF_MEMORY)
        return err_set(err, -ENOMEM, "out of memory");
    return code == CURLUE_OK ? config_check_host(host, err) : refuse(err, url, wrong_with(code));
}

int config_check_base_url(const char *url, struct err *err)
{
    if (strpbrk(url, "?#"))
        return refuse(err, url, "has a query or a fragment, and paths go behind it");
    return config_check_url(url, err);
}
