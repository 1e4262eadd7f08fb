/* In which form an answer is wanted. */
#include "harness.h"

#include "api/accept.h"

static const struct {
    const char *accept;
    enum reply_format format;
} rows[] = {
    {NULL, REPLY_JSON},
    {"", REPLY_JSON},
    {"  ", REPLY_JSON},
    {"*/*", REPLY_JSON},
    {"application/json", REPLY_JSON},
    {"APPLICATION/JSON", REPLY_JSON},
    {"application/*", REPLY_JSON},
    {"application/json; charset=utf-8", REPLY_JSON},
    {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", REPLY_JSON},
    {"application/x-ndjson", REPLY_NDJSON},
    {"application/x-ndjson;q=0.001", REPLY_NDJSON},
    {"text/event-stream", REPLY_EVENTS},
    {"text/*", REPLY_EVENTS},
    {"text/event-stream, */*", REPLY_EVENTS}, /* the one that is named */
    {"*/*, text/event-stream", REPLY_EVENTS},
    {"text/event-stream;q=0.5, */*", REPLY_JSON},
    {"text/event-stream, application/json;q=0.9", REPLY_EVENTS},
    {"text/event-stream;q=0.9, application/json", REPLY_JSON},
    {"application/x-ndjson, application/json", REPLY_NDJSON}, /* the first */
    {"application/json, application/x-ndjson", REPLY_JSON},
    {"application/json;q=0, */*", REPLY_NDJSON},
    {"application/json;q=0, application/x-ndjson;q=0.0, */*;q=0.1", REPLY_EVENTS},
    {"application/x-ndjson;q=2, application/json;q=0.5", REPLY_NDJSON},
    {"application/json;q=0.5;q=nonsense", REPLY_JSON},
    {"application/json;x=\"a, text/event-stream\"", REPLY_JSON},
    {"application/json;x=\"\\\", text/event-stream;q=1\";q=0.2, text/event-stream;q=0.3", REPLY_EVENTS},
    {",, ,text/event-stream,", REPLY_EVENTS},
    {"text/event-stream;", REPLY_EVENTS},
    {";q=1, application/x-ndjson", REPLY_NDJSON},
    {"text/event-stream ; q=0.1 , application/json ; q=0.2", REPLY_JSON},
    {"*", REPLY_FORMAT_COUNT},
    {"*/json", REPLY_FORMAT_COUNT},
    {"text/html", REPLY_FORMAT_COUNT},
    {"text/csv;q=1, image/*", REPLY_FORMAT_COUNT},
    {"application/json;q=0", REPLY_FORMAT_COUNT},
    {"*/*;q=0", REPLY_FORMAT_COUNT},
    {"*/*;q=0.000", REPLY_FORMAT_COUNT},
    {"application/jsonx", REPLY_FORMAT_COUNT},
    {"application/jso", REPLY_FORMAT_COUNT},
    {"\"", REPLY_FORMAT_COUNT},
    {";", REPLY_FORMAT_COUNT},
};

static void the_form_that_is_liked_best_is_chosen(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum reply_format format = accept_choose(rows[i].accept);
        if (format != rows[i].format)
            fail_msg("%s: %d, not %d", rows[i].accept, format, rows[i].format);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_that_is_liked_best_is_chosen),
    };

    return cmocka_run_group_tests_name("accept", tests, NULL, NULL);
}
