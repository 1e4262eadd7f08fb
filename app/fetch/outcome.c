/* The one place where libcurl's result codes become ours. */
#include "fetch/fetch_int.h"

const char *const fetch_reason_names[FETCH_REASON_COUNT] = {
    [FETCH_OK] = "ok",
    [FETCH_HTTP_STATUS] = "http_status",
    [FETCH_TIMEOUT] = "timeout",
    [FETCH_DNS] = "dns",
    [FETCH_CONNECT] = "connect",
    [FETCH_TLS] = "tls",
    [FETCH_TOO_LARGE] = "too_large",
    [FETCH_PROTOCOL] = "protocol",
    [FETCH_CANCELLED] = "cancelled",
    [FETCH_FORBIDDEN] = "forbidden",
    [FETCH_OVERLOADED] = "overloaded",
    [FETCH_CIRCUIT_OPEN] = "circuit_open",
};

static const struct {
    CURLcode code;
    enum fetch_reason reason;
} outcomes[] = {
    {CURLE_OPERATION_TIMEDOUT, FETCH_TIMEOUT},   {CURLE_COULDNT_RESOLVE_HOST, FETCH_DNS},
    {CURLE_COULDNT_CONNECT, FETCH_CONNECT},      {CURLE_OUT_OF_MEMORY, FETCH_CONNECT},
    {CURLE_FILESIZE_EXCEEDED, FETCH_TOO_LARGE},  {CURLE_ABORTED_BY_CALLBACK, FETCH_CANCELLED},
    {CURLE_SSL_CONNECT_ERROR, FETCH_TLS},        {CURLE_SSL_ENGINE_NOTFOUND, FETCH_TLS},
    {CURLE_SSL_ENGINE_SETFAILED, FETCH_TLS},     {CURLE_SSL_ENGINE_INITFAILED, FETCH_TLS},
    {CURLE_SSL_CERTPROBLEM, FETCH_TLS},          {CURLE_SSL_CIPHER, FETCH_TLS},
    {CURLE_SSL_SHUTDOWN_FAILED, FETCH_TLS},      {CURLE_SSL_CRL_BADFILE, FETCH_TLS},
    {CURLE_SSL_ISSUER_ERROR, FETCH_TLS},         {CURLE_SSL_PINNEDPUBKEYNOTMATCH, FETCH_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, FETCH_TLS},    {CURLE_SSL_CACERT_BADFILE, FETCH_TLS},
    {CURLE_PEER_FAILED_VERIFICATION, FETCH_TLS}, {CURLE_USE_SSL_FAILED, FETCH_TLS},
    {CURLE_SSL_CLIENTCERT, FETCH_TLS},
};

enum fetch_reason outcome_reason(CURLcode code)
{
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++)
        if (outcomes[i].code == code)
            return outcomes[i].reason;
    return FETCH_PROTOCOL;
}
