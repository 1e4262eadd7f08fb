/* fuzz_frames.c - frames_scan: the same result however the bytes are cut, and never a byte beyond them.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: byte 0 says how the rest is cut into pieces; the
 * rest is what a peer sends, requests one behind the other. */
#include <stdlib.h>
#include <string.h>

#include "front/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct frames_limits limits = {4096, 1024};

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* In a block of just that size, so that reading beyond it shows. */
static enum frames_status scan(struct frames *frames, const uint8_t *data, size_t size)
{
    char *copy = malloc(size);

    if (size > 0)
        memcpy(copy, data, size);
    enum frames_status status = frames_scan(frames, &limits, copy, size);
    check(frames->next <= size);
    check(frames->params_end <= frames->next && frames->params_begin <= frames->next);
    free(copy);
    return status;
}

/* Pieces whose sizes follow from `seed`. */
static enum frames_status scan_in_pieces(struct frames *frames, const uint8_t *data, size_t size,
                                         unsigned seed)
{
    enum frames_status status = FRAMES_INCOMPLETE;
    size_t at = 0;

    while (at < size && status == FRAMES_INCOMPLETE) {
        seed = seed * 1103515245 + 12345;
        at += MIN(1 + (seed >> 16) % 40, size - at);
        status = scan(frames, data, at);
    }
    return status;
}

static void check_same(const struct frames *a, const struct frames *b)
{
    check(a->next == b->next && a->params_begin == b->params_begin && a->params_end == b->params_end &&
          a->body_begin == b->body_begin && a->params_bytes == b->params_bytes &&
          a->body_bytes == b->body_bytes && a->request_id == b->request_id && a->keep_conn == b->keep_conn);
}

/* What the front does with a whole request. */
static void use(const struct frames *frames, const uint8_t *data)
{
    cleanup(buf_done) struct buf body = BUF_INIT(limits.body_max_bytes);
    char *copy = malloc(frames->next);

    memcpy(copy, data, frames->next);
    check(frames->next <= frames_wire_max_bytes(&limits));
    check(frames->params_bytes <= limits.params_max_bytes);
    char value[16];
    int length = frames_find_param(frames, copy, "A", value, sizeof(value));
    check(length < 0 || strlen(value) <= (size_t)length);
    frames_params_are_whole(frames, copy);
    frames_copy_body(frames, copy, &body);
    check(!body.failed && body.size == frames->body_bytes);
    check(frames_move_body(frames, copy) == body.size);
    check(body.size == 0 || memcmp(copy, body.data, body.size) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned seed = *data++;
    size--;
    for (;;) {
        struct frames whole;
        struct frames pieces;
        frames_init(&whole);
        frames_init(&pieces);
        enum frames_status status = scan(&whole, data, size);
        check(scan_in_pieces(&pieces, data, size, seed) == status);
        if (status == FRAMES_COMPLETE || status == FRAMES_BODY_TOO_LARGE)
            check_same(&whole, &pieces);
        if (status != FRAMES_COMPLETE)
            return 0;
        use(&whole, data);
        data += whole.next;
        size -= whole.next;
    }
}
