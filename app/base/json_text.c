#include "base/json_text.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

/* ---- checking ---- */

/* Where the check is.  It does not recurse: hostile texts would use up the stack. */
struct scan {
    const char *at;
    const char *end;
    const char *problem; /* NULL: none so far */
    unsigned depth;
    uint64_t in_object[JSON_TEXT_DEPTH_MAX / 64 + 1]; /* a bit for each level: an object, or an array */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && is_blank(*scan->at))
        scan->at++;
}

/* What comes next; NUL, which is nowhere allowed, at the end. */
static char peek(const struct scan *scan)
{
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool fail(struct scan *scan, const char *problem)
{
    scan->problem = problem;
    return false;
}

static bool take_digits(struct scan *scan)
{
    const char *start = scan->at;

    while (peek(scan) >= '0' && peek(scan) <= '9')
        scan->at++;
    return scan->at > start || fail(scan, "a digit is expected");
}

static bool take_number(struct scan *scan)
{
    scan->at += peek(scan) == '-';
    if (peek(scan) == '0')
        scan->at++;
    else if (!take_digits(scan))
        return false;
    if (peek(scan) == '.') {
        scan->at++;
        if (!take_digits(scan))
            return false;
    }
    if (peek(scan) != 'e' && peek(scan) != 'E')
        return true;
    scan->at++;
    scan->at += peek(scan) == '+' || peek(scan) == '-';
    return take_digits(scan);
}

/* The four digits at `p`; negative when they are none. */
static int read_hex4(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = parse_hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool is_high(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Behind "\u". */
static bool take_unicode_escape(struct scan *scan)
{
    int unit = read_hex4(scan->at, scan->end);

    if (unit < 0)
        return fail(scan, "four hexadecimal digits are expected");
    if (is_low(unit))
        return fail(scan, "half of a surrogate pair");
    scan->at += 4;
    if (!is_high(unit))
        return true;
    if (scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u' ||
        !is_low(read_hex4(scan->at + 2, scan->end)))
        return fail(scan, "half of a surrogate pair");
    scan->at += 6;
    return true;
}

static bool take_escape(struct scan *scan)
{
    char c;

    scan->at++;
    c = peek(scan);
    if (c == '\0' || !strchr("\"\\/bfnrtu", c))
        return fail(scan, "there is no such escape");
    scan->at++;
    return c != 'u' || take_unicode_escape(scan);
}

static bool take_string(struct scan *scan)
{
    if (peek(scan) != '"')
        return fail(scan, "a string is expected");
    scan->at++;
    while (scan->at < scan->end) {
        unsigned char c = (unsigned char)*scan->at;
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0x20)
            return fail(scan, "a control character in a string");
        if (c != '\\')
            scan->at++;
        else if (!take_escape(scan))
            return false;
    }
    return fail(scan, "a string does not end");
}

static bool take_name(struct scan *scan)
{
    skip_blanks(scan);
    if (!take_string(scan))
        return false;
    skip_blanks(scan);
    if (peek(scan) != ':')
        return fail(scan, "a colon is expected");
    scan->at++;
    return true;
}

static bool is_in_object(const struct scan *scan)
{
    return scan->in_object[scan->depth / 64] >> scan->depth % 64 & 1;
}

/* True when there is a value in it, which comes next. */
static bool open_level(struct scan *scan, bool is_object)
{
    uint64_t bit;

    if (++scan->depth > JSON_TEXT_DEPTH_MAX)
        return fail(scan, "too many levels of objects and arrays");
    bit = UINT64_C(1) << scan->depth % 64;
    scan->in_object[scan->depth / 64] &= ~bit;
    scan->in_object[scan->depth / 64] |= is_object ? bit : 0;
    scan->at++;
    skip_blanks(scan);
    if (peek(scan) != (is_object ? '}' : ']'))
        return !is_object || take_name(scan);
    scan->at++;
    scan->depth--;
    return false;
}

static void take_word(struct scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t size = strlen(words[i]);
        if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, words[i], size) != 0)
            continue;
        scan->at += size;
        return;
    }
    fail(scan, "a value is expected");
}

/* True when it is an object or array with something in it, whose first value comes next. */
static bool take_value(struct scan *scan)
{
    skip_blanks(scan);
    char c = peek(scan);
    if (c == '{' || c == '[')
        return open_level(scan, c == '{');
    if (c == '"')
        take_string(scan);
    else if (c == '-' || (c >= '0' && c <= '9'))
        take_number(scan);
    else
        take_word(scan);
    return false;
}

/* Behind a value: true when another one comes next. */
static bool take_separators(struct scan *scan)
{
    while (scan->depth > 0) {
        skip_blanks(scan);
        if (peek(scan) == ',') {
            scan->at++;
            return !is_in_object(scan) || take_name(scan);
        }
        if (peek(scan) != (is_in_object(scan) ? '}' : ']'))
            return fail(scan, "a comma or the end of an object or array is expected");
        scan->at++;
        scan->depth--;
    }
    return false;
}

static void scan_value(struct scan *scan)
{
    do
        while (take_value(scan))
            continue;
    while (!scan->problem && take_separators(scan));
}

int json_text_check(const char *text, size_t size, struct json_piece *ret, struct err *err)
{
    struct scan scan = {.at = text, .end = text + size};

    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        scan.at += 3;
    if (!text_utf8_is_valid(text, size))
        return err_set(err, -EINVAL, "it is not UTF-8");
    skip_blanks(&scan);
    const char *start = scan.at;
    scan_value(&scan);
    const char *end = scan.at;
    if (!scan.problem)
        skip_blanks(&scan);
    if (!scan.problem && scan.at < scan.end)
        scan.problem = "something follows the value";
    if (scan.problem)
        return err_set(err, -EINVAL, "byte %zu: %s", (size_t)(scan.at - text), scan.problem);
    *ret = (struct json_piece){start, (size_t)(end - start)};
    return 0;
}

/* ---- what has been checked ---- */

/* Behind the quote that ends the string at `p`. */
static const char *skip_string(const char *p)
{
    for (p++; *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

static const char *skip_levels(const char *p)
{
    unsigned depth = 0;

    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
    } while (depth > 0);
    return p;
}

static const char *skip_value(const char *p, const char *end)
{
    if (*p == '"')
        return skip_string(p);
    if (*p == '{' || *p == '[')
        return skip_levels(p);
    while (p < end && !is_blank(*p) && *p != ',' && *p != '}' && *p != ']')
        p++;
    return p;
}

static const char *pass_blanks(const char *p)
{
    while (is_blank(*p))
        p++;
    return p;
}

bool json_text_is_object(struct json_piece json)
{
    return json.text[0] == '{';
}

bool json_text_is_array(struct json_piece json)
{
    return json.text[0] == '[';
}

static struct json_piece piece_between(const char *start, const char *end)
{
    return (struct json_piece){start, (size_t)(end - start)};
}

bool json_text_next(struct json_piece json, size_t *at, struct json_member *ret)
{
    const char *end = json.text + json.size;
    const char *p = pass_blanks(json.text + (*at == 0 ? 1 : *at));

    if (*p == ',')
        p = pass_blanks(p + 1);
    if (p + 1 == end) /* the closing bracket */
        return false;
    *ret = (struct json_member){.name = piece_between(p, p)};
    if (json_text_is_object(json)) {
        ret->name = piece_between(p, skip_string(p));
        p = pass_blanks(pass_blanks(p + ret->name.size) + 1);
    }
    ret->value = piece_between(p, skip_value(p, end));
    *at = (size_t)(p - json.text) + ret->value.size;
    return true;
}

/* ---- strings ---- */

static size_t put_utf8(unsigned long code, char ret[4])
{
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = size; i-- > 1; code >>= 6)
        ret[i] = (char)(0x80 | (code & 0x3f));
    ret[0] = (char)(leads[size] | code);
    return size;
}

/* What the escape at `p` means; returns how long it is. */
static size_t read_escape(const char *p, const char *end, char ret[4], size_t *ret_size)
{
    static const char plain[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    unsigned long code;

    if (p[1] != 'u') {
        ret[0] = meant[strchr(plain, p[1]) - plain];
        *ret_size = 1;
        return 2;
    }
    code = (unsigned long)read_hex4(p + 2, end);
    if (!is_high((int)code)) {
        *ret_size = put_utf8(code, ret);
        return 6;
    }
    code = 0x10000 + ((code - 0xd800) << 10) + ((unsigned long)read_hex4(p + 8, end) - 0xdc00);
    *ret_size = put_utf8(code, ret);
    return 12;
}

/* The next run of bytes that the string means, from `*p` on, which it moves behind it. */
static size_t read_run(const char **p, const char *end, char escaped[4], const char **ret_bytes)
{
    size_t size;

    if (**p == '\\') {
        *p += read_escape(*p, end, escaped, &size);
        *ret_bytes = escaped;
        return size;
    }
    const char *escape = memchr(*p, '\\', (size_t)(end - *p));
    *ret_bytes = *p;
    *p = escape ? escape : end;
    return (size_t)(*p - *ret_bytes);
}

bool json_text_equals(struct json_piece string, const char *bytes, size_t size)
{
    const char *end = string.text + string.size - 1;
    const char *p = string.text + 1;
    const char *run;
    char escaped[4];

    while (p < end) {
        size_t length = read_run(&p, end, escaped, &run);
        if (length > size || memcmp(run, bytes, length) != 0)
            return false;
        bytes += length;
        size -= length;
    }
    return size == 0;
}

size_t json_text_decode(struct json_piece string, char *ret)
{
    const char *end = string.text + string.size - 1;
    const char *p = string.text + 1;
    const char *run;
    char escaped[4];
    size_t size = 0;

    while (p < end) {
        size_t length = read_run(&p, end, escaped, &run);
        memcpy(ret + size, run, length);
        size += length;
    }
    return size;
}

/* ---- pointers ---- */

/* No index has more digits: 2^64 has 20. */
#define INDEX_DIGITS_MAX 19

#define TOKEN_MAX_BYTES 1024

static size_t unescape(const char *token, size_t size, char ret[TOKEN_MAX_BYTES])
{
    size_t length = 0;

    for (size_t i = 0; i < size && length < TOKEN_MAX_BYTES; i++) {
        if (token[i] == '~' && i + 1 < size)
            ret[length++] = token[++i] == '1' ? '/' : '~';
        else
            ret[length++] = token[i];
    }
    return length;
}

static bool find_member(struct json_piece object, const char *token, size_t token_size,
                        struct json_piece *ret)
{
    char name[TOKEN_MAX_BYTES];
    size_t size = unescape(token, token_size, name);
    struct json_member member;
    bool found = false;

    for (size_t at = 0; json_text_next(object, &at, &member);) {
        if (!json_text_equals(member.name, name, size))
            continue;
        *ret = member.value;
        found = true;
    }
    return found;
}

static bool find_element(struct json_piece array, const char *token, size_t size, struct json_piece *ret)
{
    struct json_member element;
    uint64_t index = 0;

    if (size == 0 || size > INDEX_DIGITS_MAX || (token[0] == '0' && size > 1))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (token[i] < '0' || token[i] > '9')
            return false;
        index = index * 10 + (uint64_t)(token[i] - '0');
    }
    for (size_t at = 0; json_text_next(array, &at, &element); index--) {
        if (index > 0)
            continue;
        *ret = element.value;
        return true;
    }
    return false;
}

bool json_text_find(struct json_piece json, const char *pointer, struct json_piece *ret)
{
    bool found = true;

    while (found && *pointer == '/') {
        const char *token = pointer + 1;
        size_t size = strcspn(token, "/");
        if (json_text_is_object(json))
            found = find_member(json, token, size, &json);
        else
            found = json_text_is_array(json) && find_element(json, token, size, &json);
        pointer = token + size;
    }
    if (found)
        *ret = json;
    return found;
}
