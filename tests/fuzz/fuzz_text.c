/* fuzz_text.c - text_decode_prefix: whatever comes in, valid UTF-8 of at most so many characters comes out.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: byte 0 says whether it is whole, byte 1 how many
 * characters are asked for; then the charset up to a newline; the rest is the text. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static size_t count_chars(const struct buf *buf)
{
    size_t count = 0;

    for (size_t i = 0; i < buf->size; i++)
        count += ((unsigned char)buf->data[i] & 0xc0) != 0x80;
    return count;
}

static void decode(const char *charset, const char *bytes, size_t size, bool is_whole, size_t max_chars,
                   struct buf *out)
{
    text_decode_prefix(charset, bytes, size, is_whole, max_chars, out);
    check(!out->failed);
    check(text_utf8_is_valid(out->size ? out->data : "", out->size));
    check(count_chars(out) <= max_chars);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup(buf_done) struct buf prefix = BUF_INIT(1 << 20);
    cleanup(buf_done) struct buf all = BUF_INIT(1 << 20);
    char charset[64] = "";

    if (size < 3)
        return 0;
    bool is_whole = data[0] & 1;
    size_t max_chars = data[1];
    const char *name = (const char *)data + 2;
    const char *newline = memchr(name, '\n', MIN(size - 2, sizeof(charset) - 1));
    const char *text = newline ? newline + 1 : name;
    if (newline)
        memcpy(charset, name, (size_t)(newline - name));
    size_t text_size = size - (size_t)(text - (const char *)data);

    decode(charset, text, text_size, is_whole, max_chars, &prefix);
    decode(charset, text, text_size, is_whole, 100000, &all);
    check(prefix.size <= all.size && (prefix.size == 0 || memcmp(prefix.data, all.data, prefix.size) == 0));
    check(count_chars(&prefix) == MIN(max_chars, count_chars(&all)));
    return 0;
}
