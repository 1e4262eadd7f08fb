#include "api/api_int.h"
#include "metrics/metrics.h"

#define METRICS_MAX_BYTES (4 * 1024 * 1024)

void metrics_get(struct request *req)
{
    struct buf body = BUF_INIT(METRICS_MAX_BYTES);

    metrics_write(&body);
    request_reply_buf(req, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
