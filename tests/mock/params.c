#include "params.h"

#define DAY_MS 86400000
#define GIB    (1024 * 1024 * 1024)

struct row;
typedef bool (*parse_fn)(struct params *params, const struct row *row, struct slice value);

struct row {
    struct slice name;
    parse_fn parse;
    size_t offset; /* of the field in struct params */
    uint64_t min;
    uint64_t max;
    const char *wants;
};

static void *field(struct params *params, const struct row *row)
{
    return (char *)params + row->offset;
}

/* ---- one parser per type of value ---- */

static bool parse_flag(struct params *params, const struct row *row, struct slice value)
{
    *(bool *)field(params, row) = value.len == 1 && value.at[0] == '1';
    return value.len == 1 && (value.at[0] == '0' || value.at[0] == '1');
}

static bool parse_number(struct params *params, const struct row *row, struct slice value)
{
    uint64_t *number = field(params, row);
    return slice_to_number(value, row->max, number) && *number >= row->min;
}

/* Milliseconds with up to six decimals, to nanoseconds. */
static bool parse_ms(struct params *params, const struct row *row, struct slice value)
{
    struct slice decimals = value;
    struct slice whole = slice_take(&decimals, '.');
    uint64_t ms = 0, ns = 0;
    if (!slice_to_number(whole, row->max, &ms) || decimals.len > 6) {
        return false;
    }
    if (whole.len < value.len && !slice_to_number(decimals, 999999, &ns)) {
        return false;
    }
    for (size_t i = decimals.len; i < 6; i++) {
        ns *= 10;
    }
    *(int64_t *)field(params, row) = (int64_t)(ms * 1000000 + ns);
    return true;
}

static int hex_digit(char byte)
{
    const char *digits = "0123456789abcdef";
    const char *at = byte ? strchr(digits, byte >= 'A' && byte <= 'F' ? byte + 32 : byte) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Percent-decodes. A plus sign stays one, as in image/svg+xml. */
static bool decode(struct params *params, struct slice value, struct slice *ret_plain)
{
    if (!memchr(value.at, '%', value.len)) {
        *ret_plain = value;
        return true;
    }
    char *start = params->store + params->store_len;
    char *end = start;
    for (size_t i = 0; i < value.len; i++) {
        char byte = value.at[i];
        if (byte == '%') {
            int high = i + 2 < value.len ? hex_digit(value.at[i + 1]) : -1;
            int low = i + 2 < value.len ? hex_digit(value.at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = (char)(high * 16 + low);
            i += 2;
        }
        *end++ = byte;
    }
    params->store_len += (size_t)(end - start);
    *ret_plain = (struct slice){start, (size_t)(end - start)};
    return true;
}

static bool parse_text(struct params *params, const struct row *row, struct slice value)
{
    return decode(params, value, field(params, row));
}

static bool parse_header(struct params *params, const struct row *row, struct slice value)
{
    struct slice *headers = field(params, row);
    if (params->header_count == PARAMS_HEADERS_MAX) {
        return false;
    }
    struct slice *header = &headers[params->header_count++];
    return decode(params, value, header) && memchr(header->at, ':', header->len);
}

static bool parse_hangup(struct params *params, const struct row *row, struct slice value)
{
    static const struct slice names[HANGUP_COUNT] = {
        [HANGUP_BEFORE] = {"before", 6},
        [HANGUP_HEADER] = {"header", 6},
        [HANGUP_BODY] = {"body", 4},
    };
    for (enum hangup i = HANGUP_BEFORE; i < HANGUP_COUNT; i++) {
        if (slice_is(value, names[i])) {
            *(enum hangup *)field(params, row) = i;
            return true;
        }
    }
    return false;
}

/* ---- the table ---- */

#define ROW(name, type, min, max, wants)                                                                     \
    {                                                                                                        \
        {#name, sizeof(#name) - 1}, parse_##type, offsetof(struct params, name), min, max, wants             \
    }
#define ROW_MS(name, wants)                                                                                  \
    {                                                                                                        \
        {#name, sizeof(#name) - 1}, parse_ms, offsetof(struct params, name##_ns), 0, DAY_MS, wants           \
    }

static const struct row rows[] = {
    ROW_MS(delay, "milliseconds before the answer begins, such as 100 or 0.5"),
    ROW(slow_every, number, 0, 1000000000, "every so many requests with this key (or path) take slow_delay"),
    ROW_MS(slow_delay, "milliseconds, of those in place of delay"),
    ROW(status, number, 100, 599, "a status from 100 to 599"),
    ROW(fail, number, 0, 1000000000,
        "how many requests with this key (or path) get the status, 503 unless given; later ones 200"),
    ROW(key, text, 0, 0, "what fail, slow_every, /_count, /_gone and /_requests go by"),
    ROW(retry_after, text, 0, 0, "the Retry-After of a status of 300 and above: seconds, or a date"),
    ROW(size, number, 0, GIB, "the size of the body in bytes, up to 1073741824"),
    ROW(zeros, flag, 0, 0, "1: the body is zero bytes; with gzip, 1 MiB for 1 GiB"),
    ROW(type, text, 0, 0, "the Content-Type, percent-encoded"),
    ROW(body, text, 0, 0, "the bytes of the body, percent-encoded"),
    ROW(json, text, 0, 0, "likewise, and the Content-Type is that of JSON unless given"),
    ROW(gzip, flag, 0, 0, "1: the body is compressed"),
    ROW(redirect, number, 0, 1000, "how many redirects (302) to this path come first, up to 1000"),
    ROW(redirect_to, text, 0, 0, "the Location of a redirect, percent-encoded; status is 302 unless given"),
    ROW(hangup, hangup, 0, 0,
        "before, header or body: where the connection is closed, the last two half-way"),
    ROW(reset, flag, 0, 0, "1: the connection is reset, at the place hangup names or before the answer"),
    ROW(length, number, 0, INT64_MAX, "the Content-Length to claim; the connection is closed after the body"),
    ROW(chunked, flag, 0, 0, "1: the body is sent in two chunks"),
    ROW(badchunk, flag, 0, 0, "1: the size of the second chunk is no number"),
    ROW(garbage, flag, 0, 0, "1: the answer is not HTTP"),
    ROW_MS(drip, "milliseconds between two bytes of the body"),
    ROW_MS(drip_header, "milliseconds between two bytes of the header"),
    ROW(close, flag, 0, 0, "1: Connection: close"),
    {{"header", 6},
     parse_header,
     offsetof(struct params, headers),
     0,
     0,
     "a further header as Name:Value, percent-encoded, up to 8 times"},
    ROW(stall, flag, 0, 0, "1: no answer at all; the connection stays open"),
    ROW(echo, flag, 0, 0, "1: the body is JSON with method, path, query, headers and body of the request"),
    ROW(record, flag, 0, 0, "1: /_requests will show the request, as echo does"),
};

#define ROW_COUNT (sizeof rows / sizeof *rows)

static const struct row *find_row(struct slice name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (slice_is(name, rows[i].name)) {
            return &rows[i];
        }
    }
    return NULL;
}

/* What is only there to be echoed. */
static bool is_nobodys(struct slice name)
{
    return name.len > 2 && memcmp(name.at, "x_", 2) == 0;
}

static bool parse_pair(struct params *params, struct slice value, struct text *ret_wrong)
{
    struct slice name = slice_take(&value, '=');
    const struct row *row = find_row(name);
    if (is_nobodys(name) || (row && row->parse(params, row, value))) {
        return true;
    }
    text_add(ret_wrong, row ? SLICE("wrong value for parameter \"") : SLICE("unknown parameter \""));
    text_add(ret_wrong, name);
    if (row) {
        text_add(ret_wrong, SLICE("\", which wants "));
        text_add(ret_wrong, (struct slice){row->wants, strlen(row->wants)});
        text_add(ret_wrong, SLICE("\n"));
    } else {
        text_add(ret_wrong, SLICE("\"\n"));
    }
    return false;
}

bool params_parse(struct params *params, struct slice query, struct text *ret_wrong)
{
    memset(params, 0, offsetof(struct params, store));
    params->status = params->size = params->length = params->fail = PARAMS_NOT_GIVEN;
    return params_parse_more(params, query, ret_wrong);
}

bool params_parse_more(struct params *params, struct slice query, struct text *ret_wrong)
{
    while (query.len > 0) {
        if (!parse_pair(params, slice_take(&query, '&'), ret_wrong)) {
            return false;
        }
    }
    return true;
}

void params_print_help(FILE *file)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        fprintf(file, "  %-12s %s\n", rows[i].name.at, rows[i].wants);
    }
    fprintf(file, "  %-12s %s\n", "x_...", "anything: only to be echoed");
}
