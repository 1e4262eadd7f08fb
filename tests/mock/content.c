/* Compressing without doing it: a gzip of 1 GiB would take seconds of CPU and stop the loop that long. But
 * the pattern repeats, as zeros do, and deflate can be cut: after Z_FULL_FLUSH the output is on a byte
 * boundary and later output does not look back. So one block of each is compressed once, and a gzip of any
 * size is
 *
 *     [header] [compressed block] x n [compressed rest, checksum, size]
 *
 * where the checksum of n blocks comes from crc32_combine_op. The length is known before the first byte is
 * sent. */
#define ZLIB_CONST
#include "content.h"

#include <zlib.h>

#define UNIT        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n"
#define PATTERN_LEN (64 * 1024)
#define BLOCK_LEN   (4 * PATTERN_LEN) /* plain bytes in a compressed block */

static char pattern[PATTERN_LEN];
static char zeros[PATTERN_LEN];

static z_stream deflater;
static z_crc_t combine_blocks; /* the operator that appends a block to a checksum */

static struct block {
    const char *plain; /* PATTERN_LEN bytes, again and again */
    char bytes[4096];  /* compressed */
    struct text text;
    uint32_t crc; /* of the plain block */
} blocks[] = {{.plain = pattern}, {.plain = zeros}};

static const struct block *block_of(const char *plain)
{
    return plain == zeros ? &blocks[1] : &blocks[0];
}

static struct content content_single(struct segment segment)
{
    return (struct content){.parts = {segment}, .count = 1, .len = segment.len};
}

struct content content_of_text(size_t start, size_t len)
{
    return content_single((struct segment){NULL, start, len, SEGMENT_NO_PERIOD});
}

struct content content_of_pattern(uint64_t len)
{
    return content_single((struct segment){pattern, 0, len, PATTERN_LEN});
}

struct content content_of_zeros(uint64_t len)
{
    return content_single((struct segment){zeros, 0, len, PATTERN_LEN});
}

/* Compresses `len` bytes that repeat those at `from` with `period`, and ends with `flush`. Returns their
 * checksum. */
static uint32_t squeeze(struct text *out, const char *from, size_t period, size_t len, int flush)
{
    z_stream *stream = &deflater;
    uLong crc = crc32(0, NULL, 0);
    deflateReset(stream);
    stream->next_out = (Bytef *)out->at + out->len;
    stream->avail_out = (uInt)(out->max - out->len);
    do {
        size_t run = len < period ? len : period;
        len -= run;
        stream->next_in = (const Bytef *)from;
        stream->avail_in = (uInt)run;
        crc = crc32(crc, (const Bytef *)from, (uInt)run);
        deflate(stream, len == 0 ? flush : Z_NO_FLUSH);
    } while (len > 0);
    if (stream->avail_in > 0 || stream->avail_out == 0) {
        fputs("mock-upstream: a compressed body outgrew its buffer\n", stderr);
        abort();
    }
    out->len = out->max - stream->avail_out;
    return (uint32_t)crc;
}

void content_init(void)
{
    for (size_t i = 0; i < PATTERN_LEN; i++) {
        pattern[i] = UNIT[i % (sizeof UNIT - 1)];
    }
    /* raw deflate: header and checksum are ours */
    if (deflateInit2(&deflater, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        fputs("mock-upstream: zlib does not start\n", stderr);
        abort();
    }
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        struct block *block = &blocks[i];
        block->text = (struct text){block->bytes, 0, sizeof block->bytes};
        block->crc = squeeze(&block->text, block->plain, PATTERN_LEN, BLOCK_LEN, Z_FULL_FLUSH);
    }
    combine_blocks = (z_crc_t)crc32_combine_gen(BLOCK_LEN);
}

static void add_little_endian(struct text *text, uint32_t number)
{
    const char bytes[4] = {(char)number, (char)(number >> 8), (char)(number >> 16), (char)(number >> 24)};
    text_add(text, (struct slice){bytes, sizeof bytes});
}

static void content_add(struct content *content, struct segment segment)
{
    content->parts[content->count++] = segment;
    content->len += segment.len;
}

struct content content_gzip(const struct content *plain, struct text *text)
{
    const struct segment *in = &plain->parts[0];
    const char *from = in->data ? in->data : text->at + in->start;
    const struct block *block = block_of(in->data);
    uint64_t count = in->data ? in->len / BLOCK_LEN : 0;
    size_t start = text->len;
    struct content gzip = {0};

    text_add(text, SLICE("\x1f\x8b\x08\0\0\0\0\0\0\xff"));
    content_add(&gzip, (struct segment){NULL, start, text->len - start, SEGMENT_NO_PERIOD});
    content_add(&gzip, (struct segment){block->bytes, 0, count * block->text.len, (uint32_t)block->text.len});

    start = text->len;
    size_t rest = (size_t)(in->len - count * BLOCK_LEN);
    uint32_t rest_crc = squeeze(text, from, in->data ? PATTERN_LEN : SIZE_MAX, rest, Z_FINISH);
    uLong crc = crc32(0, NULL, 0);
    for (uint64_t i = 0; i < count; i++) {
        crc = crc32_combine_op(crc, block->crc, combine_blocks);
    }
    add_little_endian(text, (uint32_t)crc32_combine(crc, rest_crc, (z_off_t)rest));
    add_little_endian(text, (uint32_t)in->len);
    content_add(&gzip, (struct segment){NULL, start, text->len - start, SEGMENT_NO_PERIOD});
    return gzip;
}
