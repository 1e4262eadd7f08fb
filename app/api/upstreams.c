/* GET /upstreams: how the services that parts are fetched from are doing. */
#include "api/api_int.h"
#include "upstream/upstream.h"

#define BODY_MAX_BYTES ((size_t)16 * 1024 * 1024)

void upstreams_get(struct request *req)
{
    struct buf body = BUF_INIT(BODY_MAX_BYTES);

    upstreams_append_json(app_of(req)->upstreams, &body);
    request_reply_buf(req, 200, "application/json", &body);
}
