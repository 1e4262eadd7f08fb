#include "base/text.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

/* Nearly all bodies are UTF-8, so that has its own decoder, which finds a run of valid bytes and copies it in
 * one piece.  The rest goes through iconv, opened for each call: that costs about 0.3 us, while three or
 * fewer charsets are in use; glibc unloads the module of a fourth, which then costs 0.1 ms.  A cache of
 * handles for each thread was not worth its code.
 *
 * iconv is fed a window of the input at a time.  Given all of it, glibc converts 8,000 characters inside,
 * finds that the output is full and does it again for what fits: 14 us instead of 0.3. */

#define NO_CONVERTER ((iconv_t)-1)
#define REPLACEMENT  "\xef\xbf\xbd"

#define CHARSET_MAX_BYTES 40
#define WINDOW_MIN        64 /* longer than any character with its escape sequences */
#define WINDOW_MAX        256

/* Byte order marks; the longer one of two that begin alike comes first. */
static const struct bom {
    const char *bytes;
    size_t size;
    const char *charset;
} boms[] = {
    {"\xef\xbb\xbf", 3, NULL},   {"\xff\xfe\x00\x00", 4, "UTF-32LE"}, {"\x00\x00\xfe\xff", 4, "UTF-32BE"},
    {"\xff\xfe", 2, "UTF-16LE"}, {"\xfe\xff", 2, "UTF-16BE"},
};

/* Charsets whose code units are wider than a byte, by the beginning of their names. */
static const struct {
    const char *prefix;
    size_t unit;
} wide_charsets[] = {{"utf-16", 2}, {"utf16", 2}, {"ucs-2", 2}, {"ucs2", 2},
                     {"utf-32", 4}, {"utf32", 4}, {"ucs-4", 4}, {"ucs4", 4}};

static const char *const utf8_names[] = {"utf-8", "utf8", "us-ascii", "ascii"};

/* Where the characters go; counts down the characters that may still come. */
struct sink {
    struct buf *out;
    size_t chars_left;
};

static size_t ascii_run(const unsigned char *p, size_t size)
{
    uint64_t word;
    size_t i = 0;

    while (size - i >= sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        if (word & UINT64_C(0x8080808080808080))
            break;
        i += sizeof(word);
    }
    while (i < size && p[i] < 0x80)
        i++;
    return i;
}

/* How many bytes a sequence with this first byte has, and the range of its second byte (Unicode, table 3-7).
 * 0 for a byte that begins none. */
static size_t sequence_length(unsigned char first, unsigned char *ret_low, unsigned char *ret_high)
{
    *ret_low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *ret_high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

enum sequence { SEQUENCE_VALID, SEQUENCE_BROKEN, SEQUENCE_INCOMPLETE };

/* Looks at the sequence at `p`, which is not ASCII; size > 0.  *ret_size is its length, or what of it is to
 * be replaced by one U+FFFD. */
static enum sequence sequence_check(const unsigned char *p, size_t size, size_t *ret_size)
{
    unsigned char low;
    unsigned char high;
    size_t length = sequence_length(p[0], &low, &high);

    for (size_t i = 1; i < length; i++) {
        *ret_size = i;
        if (i == size)
            return SEQUENCE_INCOMPLETE;
        if (p[i] < low || p[i] > high)
            return SEQUENCE_BROKEN;
        low = 0x80;
        high = 0xbf;
    }
    *ret_size = MAX(length, (size_t)1);
    return length > 0 ? SEQUENCE_VALID : SEQUENCE_BROKEN;
}

/* Bytes of the longest valid beginning with at most *chars_left characters, which are counted off.  When it
 * ends before both the input and the characters do, *ret_bad says what follows, of *ret_bad_size bytes. */
static size_t valid_run(const unsigned char *p, size_t size, size_t *chars_left, enum sequence *ret_bad,
                        size_t *ret_bad_size)
{
    size_t i = 0;
    size_t length;

    while (i<size && * chars_left> 0) {
        size_t ascii = ascii_run(p + i, MIN(size - i, *chars_left));
        i += ascii;
        *chars_left -= ascii;
        for (; i<size && * chars_left> 0 && p[i] >= 0x80; i += length, --*chars_left) {
            enum sequence found = sequence_check(p + i, size - i, &length);
            if (found == SEQUENCE_VALID)
                continue;
            *ret_bad = found;
            *ret_bad_size = length;
            return i;
        }
    }
    return i;
}

bool text_utf8_is_valid(const char *bytes, size_t size)
{
    size_t chars_left = SIZE_MAX;
    enum sequence bad;
    size_t bad_size;

    return valid_run((const unsigned char *)bytes, size, &chars_left, &bad, &bad_size) == size;
}

size_t text_utf8_char_size(const char *bytes, size_t size)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t length = 1;

    if (size == 0 || (p[0] >= 0x80 && sequence_check(p, size, &length) != SEQUENCE_VALID))
        return 0;
    return length;
}

static void put_replacement(struct sink *sink)
{
    if (sink->chars_left == 0)
        return;
    buf_append_str(sink->out, REPLACEMENT);
    sink->chars_left--;
}

static void put_utf8(struct sink *sink, const char *bytes, size_t size, bool is_whole)
{
    while (size > 0 && sink->chars_left > 0) {
        enum sequence bad;
        size_t bad_size = 0;
        size_t run = valid_run((const unsigned char *)bytes, size, &sink->chars_left, &bad, &bad_size);
        buf_append(sink->out, bytes, run);
        if (bad_size > 0 && (bad == SEQUENCE_BROKEN || is_whole))
            put_replacement(sink);
        bytes += run + bad_size;
        size -= run + bad_size;
    }
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
}

/* A control character is no part of a sequence, so what lies between two of them is judged alone. */
void text_utf8_mend(const char *bytes, size_t size, struct buf *out)
{
    struct sink sink = {.out = out, .chars_left = SIZE_MAX};
    size_t start = 0;

    for (size_t i = 0; i < size; i++) {
        if (!is_control(bytes[i]))
            continue;
        put_utf8(&sink, bytes + start, i - start, true);
        put_replacement(&sink);
        start = i + 1;
    }
    put_utf8(&sink, bytes + start, size - start, true);
}

static size_t unit_size(const char *charset)
{
    for (size_t i = 0; i < ARRAY_LEN(wide_charsets); i++)
        if (strncasecmp(charset, wide_charsets[i].prefix, strlen(wide_charsets[i].prefix)) == 0)
            return wide_charsets[i].unit;
    return 1;
}

/* One call of iconv with its output put into the sink.  `in` NULL asks for what the converter still holds. */
static int convert(iconv_t cd, char **in, size_t *in_size, struct sink *sink)
{
    char chunk[WINDOW_MAX * 4];
    char *end = chunk;
    size_t room = sizeof(chunk);

    int rc = iconv(cd, in, in_size, &end, &room) == (size_t)-1 ? errno : 0;
    put_utf8(sink, chunk, (size_t)(end - chunk), true);
    return rc;
}

static void put_converted(struct sink *sink, iconv_t cd, size_t unit, const char *bytes, size_t size,
                          bool is_whole)
{
    char *in;

    memcpy(&in, &bytes, sizeof(in)); /* iconv's prototype lacks a const; it does not write there */
    while (size > 0 && sink->chars_left > 0) {
        size_t window = MIN(size, MAX(MIN(sink->chars_left, WINDOW_MAX), WINDOW_MIN));
        size_t left = window;
        int rc = convert(cd, &in, &left, sink);
        size -= window - left;
        if (rc == EINVAL && left == size)
            break;
        /* The window may have cut a character, the next one then begins with it.  A window without any
         * progress is as good as undecodable. */
        if (rc == EILSEQ || left == window) {
            put_replacement(sink);
            size_t skip = MIN(unit, size);
            in += skip;
            size -= skip;
        }
    }
    convert(cd, NULL, NULL, sink);
    if (size > 0 && is_whole)
        put_replacement(sink);
}

static bool is_utf8_name(const char *charset)
{
    for (size_t i = 0; i < ARRAY_LEN(utf8_names); i++)
        if (strcasecmp(charset, utf8_names[i]) == 0)
            return true;
    return false;
}

/* No converter for UTF-8, for names that are not known, and for what iconv would take for more than a name:
 * "" is the charset of the locale, and a slash begins options. */
static iconv_t converter_open(const char *charset)
{
    size_t length = charset ? strnlen(charset, CHARSET_MAX_BYTES + 1) : 0;

    if (length == 0 || length > CHARSET_MAX_BYTES || is_utf8_name(charset) ||
        strspn(charset, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+") != length)
        return NO_CONVERTER;
    return iconv_open("UTF-8", charset);
}

static const struct bom *find_bom(const char *bytes, size_t size)
{
    for (size_t i = 0; i < ARRAY_LEN(boms); i++)
        if (size >= boms[i].size && memcmp(bytes, boms[i].bytes, boms[i].size) == 0)
            return &boms[i];
    return NULL;
}

void text_decode_prefix(const char *charset, const char *bytes, size_t size, bool is_whole, size_t max_chars,
                        struct buf *out)
{
    struct sink sink = {.out = out, .chars_left = max_chars};

    const struct bom *bom = find_bom(bytes, size);
    if (bom) {
        charset = bom->charset;
        bytes += bom->size;
        size -= bom->size;
    }
    iconv_t cd = converter_open(charset);
    if (cd == NO_CONVERTER) {
        put_utf8(&sink, bytes, size, is_whole);
        return;
    }
    put_converted(&sink, cd, unit_size(charset), bytes, size, is_whole);
    iconv_close(cd);
}
