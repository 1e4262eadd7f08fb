/* params.h - what the query string of a request asks the answer to be like: one row per parameter.
 *
 * Ownership: the slices point into the request, or into `store` when there was something to decode. */
#pragma once

#include "request.h"

#define PARAMS_HEADERS_MAX 8
#define PARAMS_NOT_GIVEN   UINT64_MAX

enum hangup { HANGUP_NEVER, HANGUP_BEFORE, HANGUP_HEADER, HANGUP_BODY, HANGUP_COUNT };

struct params {
    int64_t delay_ns;
    int64_t slow_delay_ns;
    int64_t drip_ns;
    int64_t drip_header_ns;
    uint64_t status; /* or PARAMS_NOT_GIVEN, as size, length and fail */
    uint64_t size;
    uint64_t length;
    uint64_t redirect;
    uint64_t fail;
    uint64_t slow_every; /* 0: never */
    enum hangup hangup;
    bool gzip;
    bool chunked;
    bool badchunk;
    bool garbage;
    bool reset;
    bool close;
    bool stall;
    bool echo;
    bool zeros;
    bool record;
    struct slice type; /* these: `at` is NULL when not given */
    struct slice body;
    struct slice json;
    struct slice redirect_to;
    struct slice retry_after;
    struct slice key;
    struct slice headers[PARAMS_HEADERS_MAX];
    unsigned header_count;
    size_t store_len;
    char store[2 * REQUEST_HEAD_MAX]; /* decoding only shortens, so two whole requests fit */
};

/* Reads `query`. False: `*ret_wrong` holds a sentence that names the parameter. */
bool params_parse(struct params *params, struct slice query, struct text *ret_wrong);

/* Reads one more query, whose parameters take the place of those that have been read. */
bool params_parse_more(struct params *params, struct slice query, struct text *ret_wrong);

/* Prints a line for each parameter. */
void params_print_help(FILE *file);
