#include "record.h"

static struct {
    uint64_t count; /* of all that ever were */
    struct {
        uint64_t key;
        uint64_t at_us;
    } items[RECORD_GONE_MAX];
} gone;

static struct {
    uint64_t count;
    struct {
        uint64_t key;
        size_t len;
        char bytes[RECORD_REQUEST_BYTES];
    } items[RECORD_REQUESTS_MAX];
} requests;

void record_gone(uint64_t key, int64_t at_ns)
{
    size_t i = gone.count++ % RECORD_GONE_MAX;
    gone.items[i].key = key;
    gone.items[i].at_us = (uint64_t)at_ns / 1000;
}

void record_request(uint64_t key, struct slice json)
{
    if (json.len > RECORD_REQUEST_BYTES) {
        return;
    }
    size_t i = requests.count++ % RECORD_REQUESTS_MAX;
    requests.items[i].key = key;
    requests.items[i].len = json.len;
    memcpy(requests.items[i].bytes, json.at, json.len);
}

static bool is_asked_for(uint64_t key, uint64_t asked)
{
    return asked == 0 || key == asked;
}

static void add_comma(struct text *text, bool *is_first)
{
    text_add(text, *is_first ? SLICE("") : SLICE(","));
    *is_first = false;
}

static uint64_t oldest(uint64_t count, uint64_t max)
{
    return count > max ? count - max : 0;
}

void record_add_gone(struct text *text, uint64_t key)
{
    bool is_first = true;
    for (uint64_t n = oldest(gone.count, RECORD_GONE_MAX); n < gone.count; n++) {
        size_t i = n % RECORD_GONE_MAX;
        if (is_asked_for(gone.items[i].key, key)) {
            add_comma(text, &is_first);
            text_add_number(text, gone.items[i].at_us, 10);
        }
    }
}

void record_add_requests(struct text *text, uint64_t key)
{
    bool is_first = true;
    for (uint64_t n = oldest(requests.count, RECORD_REQUESTS_MAX); n < requests.count; n++) {
        size_t i = n % RECORD_REQUESTS_MAX;
        if (is_asked_for(requests.items[i].key, key)) {
            add_comma(text, &is_first);
            text_add(text, (struct slice){requests.items[i].bytes, requests.items[i].len});
        }
    }
}
