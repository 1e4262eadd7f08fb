/* FastCGI records: where a request ends, however its bytes come, and what is refused. */
#include "harness.h"

#include "front/frames.h"

static const struct frames_limits limits = {4096, 2048};

static void assert_same(const struct frames *a, const struct frames *b)
{
    assert_int_equal(a->next, b->next);
    assert_int_equal(a->params_begin, b->params_begin);
    assert_int_equal(a->params_end, b->params_end);
    assert_int_equal(a->body_begin, b->body_begin);
    assert_int_equal(a->params_bytes, b->params_bytes);
    assert_int_equal(a->body_bytes, b->body_bytes);
    assert_int_equal(a->request_id, b->request_id);
    assert_int_equal(a->keep_conn, b->keep_conn);
}

/* The status of bytes[0..size) in a heap block of just that size, so that reading beyond it shows. */
static enum frames_status scan_exact(struct frames *frames, const char *bytes, size_t size)
{
    char *copy = malloc(size + 1);

    assert_non_null(copy);
    memcpy(copy + 1, bytes, size);
    enum frames_status status = frames_scan(frames, &limits, copy + 1, size);
    if (status == FRAMES_COMPLETE)
        frames_params_are_whole(frames, copy + 1);
    free(copy);
    return status;
}

static enum frames_status scan_whole(struct frames *frames, const struct buf *in)
{
    frames_init(frames);
    return scan_exact(frames, in->data, in->size);
}

static void assert_status(const struct buf *in, enum frames_status expected)
{
    struct frames frames;

    assert_false(in->failed);
    assert_int_equal(scan_whole(&frames, in), expected);
}

/* Parameters with names and values of every kind of length. */
static void make_params(struct buf *params)
{
    char value[301];

    memset(value, 'v', 300);
    value[300] = '\0';
    add_pair(params, "REQUEST_METHOD", "GET");
    add_pair(params, "EMPTY", "");
    add_pair(params, "", "no name");
    add_pair(params, "LONG", value);
    value[127] = '\0';
    add_pair(params, "SHORT", value);
    add_pair(params, value, "long name");
}

static void make_request(struct buf *out, size_t params_piece, const char *body, size_t body_piece)
{
    cleanup(buf_done) struct buf params = BUF_INIT(1 << 16);

    make_params(&params);
    add_begin(out, true);
    add_params(out, &params, params_piece);
    add_stdin(out, body, strlen(body), body_piece);
}

static void assert_body(const struct frames *frames, const struct buf *in, const char *expected)
{
    cleanup(buf_done) struct buf body = BUF_INIT(1 << 16);

    frames_copy_body(frames, in->data, &body);
    assert_false(body.failed);
    assert_int_equal(body.size, strlen(expected));
    if (body.size > 0)
        assert_memory_equal(body.data, expected, body.size);
}

/* ---- whole requests ---- */

static void a_request_in_one_piece_is_complete(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    struct frames frames;
    (void)state;

    make_request(&in, 8192, "the body", 8192);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
    assert_int_equal(frames.next, in.size);
    assert_int_equal(frames.params_begin, 0);
    assert_int_equal(frames.body_begin, frames.params_end);
    assert_int_equal(frames.body_bytes, 8);
    assert_int_equal(frames.request_id, 1);
    assert_true(frames.keep_conn);
    assert_true(frames_params_are_whole(&frames, in.data));
    assert_body(&frames, &in, "the body");
}

static void a_request_byte_by_byte_is_complete_at_its_last_byte(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    struct frames whole;
    struct frames frames;
    (void)state;

    make_request(&in, 7, "some bytes", 3);
    assert_int_equal(scan_whole(&whole, &in), FRAMES_COMPLETE);
    frames_init(&frames);
    for (size_t size = 0; size < in.size; size++)
        assert_int_equal(scan_exact(&frames, in.data, size), FRAMES_INCOMPLETE);
    assert_int_equal(scan_exact(&frames, in.data, in.size), FRAMES_COMPLETE);
    assert_same(&frames, &whole);
}

static void a_request_split_anywhere_gives_the_same(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    struct frames whole;
    struct frames frames;
    (void)state;

    make_request(&in, 50, "some bytes", 4);
    assert_int_equal(scan_whole(&whole, &in), FRAMES_COMPLETE);
    for (size_t split = 0; split < in.size; split++) {
        frames_init(&frames);
        assert_int_equal(scan_exact(&frames, in.data, split), FRAMES_INCOMPLETE);
        assert_int_equal(scan_exact(&frames, in.data, in.size), FRAMES_COMPLETE);
        assert_same(&frames, &whole);
    }
}

/* Lengths of four bytes then lie across records. */
static void parameters_may_be_cut_into_records_anywhere(void **state)
{
    struct frames frames;
    (void)state;

    for (size_t piece = 1; piece < 40; piece++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
        make_request(&in, piece, "", 1);
        assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
        assert_true(frames_params_are_whole(&frames, in.data));
    }
}

static void the_body_may_come_in_any_number_of_records(void **state)
{
    struct frames frames;
    (void)state;

    for (size_t piece = 1; piece < 20; piece++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
        make_request(&in, 100, "0123456789abcdef", piece);
        assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
        assert_body(&frames, &in, "0123456789abcdef");
    }
}

static void padding_is_skipped(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    cleanup(buf_done) struct buf params = BUF_INIT(1 << 10);
    struct frames frames;
    (void)state;

    add_pair(&params, "NAME", "value");
    add_begin(&in, false);
    add_record_padded(&in, FCGI_PARAMS, 1, params.data, params.size, 255);
    add_record_padded(&in, FCGI_PARAMS, 1, "", 0, 9);
    size_t body_begin = in.size;
    add_record_padded(&in, FCGI_STDIN, 1, "abc", 3, 200);
    add_record_padded(&in, FCGI_STDIN, 1, "def", 3, 0);
    add_record_padded(&in, FCGI_STDIN, 1, "", 0, 100);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
    assert_int_equal(frames.next, in.size);
    assert_int_equal(frames.body_begin, body_begin);
    assert_int_equal(frames.params_end, body_begin - 9);
    assert_false(frames.keep_conn);
    assert_true(frames_params_are_whole(&frames, in.data));
    assert_body(&frames, &in, "abcdef");
}

static void a_request_without_parameters_is_complete(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
    struct frames frames;
    (void)state;

    add_begin(&in, true);
    add_record(&in, FCGI_PARAMS, 1, "", 0);
    add_record(&in, FCGI_STDIN, 1, "", 0);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
    assert_true(frames_params_are_whole(&frames, in.data));
    assert_body(&frames, &in, "");
}

static void the_next_request_is_left_alone(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    struct frames frames;
    (void)state;

    make_request(&in, 100, "first", 5);
    size_t first = in.size;
    make_request(&in, 10, "second", 2);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
    assert_int_equal(frames.next, first);
    assert_body(&frames, &in, "first");
    buf_consume(&in, frames.next);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
    assert_int_equal(frames.next, in.size);
    assert_body(&frames, &in, "second");
}

static void the_body_is_moved_to_the_front(void **state)
{
    struct frames frames;
    (void)state;

    for (size_t piece = 1; piece < 20; piece++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
        make_request(&in, 100, "0123456789abcdef", piece);
        assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
        assert_int_equal(frames_move_body(&frames, in.data), 16);
        assert_memory_equal(in.data, "0123456789abcdef", 16);
    }
}

/* ---- one parameter ---- */

static void assert_param(const struct frames *frames, const char *bytes, const char *name,
                         const char *expected)
{
    char value[400];
    int length = frames_find_param(frames, bytes, name, value, sizeof(value));

    assert_int_equal(length, strlen(expected));
    assert_string_equal(value, expected);
}

static void a_parameter_is_found_however_it_is_cut(void **state)
{
    char long_value[301];
    char value[8];
    struct frames frames;
    (void)state;

    memset(long_value, 'v', 300);
    long_value[300] = '\0';
    for (size_t piece = 1; piece < 40; piece++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
        make_request(&in, piece, "", 1);
        assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
        assert_param(&frames, in.data, "REQUEST_METHOD", "GET");
        assert_param(&frames, in.data, "EMPTY", "");
        assert_param(&frames, in.data, "", "no name");
        assert_param(&frames, in.data, "LONG", long_value);
        assert_int_equal(frames_find_param(&frames, in.data, "LONG", value, sizeof(value)), 300);
        assert_string_equal(value, "vvvvvvv");
        assert_int_equal(frames_find_param(&frames, in.data, "LONG", value, 1), 300);
        assert_string_equal(value, "");
        assert_int_equal(frames_find_param(&frames, in.data, "REQUEST", value, sizeof(value)), -ENOENT);
        assert_int_equal(frames_find_param(&frames, in.data, "request_method", value, sizeof(value)),
                         -ENOENT);
    }
}

/* ---- limits ---- */

static void a_body_over_the_limit_shows_in_the_header_of_its_record(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    char body[2049] = "";
    struct frames frames;
    (void)state;

    add_begin(&in, true);
    add_record(&in, FCGI_PARAMS, 1, "", 0);
    add_record(&in, FCGI_STDIN, 1, body, sizeof(body));
    frames_init(&frames);
    size_t header_end = 16 + 8 + 8;
    assert_int_equal(scan_exact(&frames, in.data, header_end - 1), FRAMES_INCOMPLETE);
    assert_int_equal(scan_exact(&frames, in.data, header_end), FRAMES_BODY_TOO_LARGE);
    assert_true(frames_params_are_whole(&frames, in.data));
}

static void a_body_of_just_the_limit_is_taken(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    char body[2048] = "";
    struct frames frames;
    (void)state;

    add_begin(&in, true);
    add_record(&in, FCGI_PARAMS, 1, "", 0);
    add_record(&in, FCGI_STDIN, 1, body, 1024);
    add_record(&in, FCGI_STDIN, 1, body, 1024);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_INCOMPLETE);
    add_record(&in, FCGI_STDIN, 1, "x", 1);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_BODY_TOO_LARGE);
}

static void parameters_over_the_limit_are_refused_by_their_header(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    char params[4097] = "";
    (void)state;

    add_begin(&in, true);
    add_record_padded(&in, FCGI_PARAMS, 1, params, 4096, 0);
    assert_status(&in, FRAMES_INCOMPLETE);
    in.size = 16;
    add_record(&in, FCGI_PARAMS, 1, params, 4097);
    in.size = 16 + 8;
    assert_status(&in, FRAMES_INVALID);
}

static void the_wire_limit_ends_a_request_of_padding(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    (void)state;

    add_begin(&in, true);
    while (in.size + 264 <= frames_wire_max_bytes(&limits)) {
        assert_status(&in, FRAMES_INCOMPLETE);
        add_record_padded(&in, FCGI_PARAMS, 1, "x", 1, 255);
    }
    assert_status(&in, FRAMES_INCOMPLETE);
    add_record_padded(&in, FCGI_PARAMS, 1, "x", 1, 255);
    assert_status(&in, FRAMES_INVALID);
}

/* ---- what is not FastCGI as nginx speaks it ---- */

static void a_wrong_version_shows_in_the_first_byte(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
    (void)state;

    for (int version = 0; version < 256; version++) {
        in.size = 0;
        buf_append(&in, &(char){(char)version}, 1);
        assert_status(&in, version == 1 ? FRAMES_INCOMPLETE : FRAMES_INVALID);
    }
    in.size = 0;
    add_begin(&in, true);
    buf_append(&in, "\2", 1);
    assert_status(&in, FRAMES_INVALID);
}

static void only_the_responder_role_is_taken(void **state)
{
    (void)state;

    for (unsigned role = 0; role < 1000; role++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
        add_begin_as(&in, 1, role, true);
        assert_status(&in, role == FCGI_RESPONDER ? FRAMES_INCOMPLETE : FRAMES_INVALID);
    }
}

static void a_request_begins_once_with_an_id_and_eight_bytes(void **state)
{
    static const char body[9] = {0, FCGI_RESPONDER};
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
    (void)state;

    add_begin(&in, true);
    add_begin(&in, true);
    assert_status(&in, FRAMES_INVALID);
    in.size = 0;
    add_begin_as(&in, 0, FCGI_RESPONDER, true);
    assert_status(&in, FRAMES_INVALID);
    for (size_t size = 0; size <= sizeof(body); size++) {
        in.size = 0;
        add_record(&in, FCGI_BEGIN_REQUEST, 1, body, size);
        assert_status(&in, size == 8 ? FRAMES_INCOMPLETE : FRAMES_INVALID);
    }
}

static void records_out_of_order_are_refused(void **state)
{
    static const unsigned char first[] = {FCGI_PARAMS, FCGI_STDIN, FCGI_END_REQUEST, FCGI_DATA,
                                          FCGI_GET_VALUES};
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        in.size = 0;
        add_record(&in, first[i], 1, "", 0);
        assert_status(&in, FRAMES_INVALID);
    }
    in.size = 0;
    add_begin(&in, true);
    add_record(&in, FCGI_STDIN, 1, "x", 1); /* before the parameters have ended */
    assert_status(&in, FRAMES_INVALID);
    in.size = 0;
    add_begin(&in, true);
    add_record(&in, FCGI_PARAMS, 1, "", 0);
    add_record(&in, FCGI_PARAMS, 1, "", 0); /* behind their end */
    assert_status(&in, FRAMES_INVALID);
}

static void records_of_another_request_are_refused(void **state)
{
    static const unsigned char types[] = {FCGI_BEGIN_REQUEST, FCGI_ABORT_REQUEST, FCGI_PARAMS, FCGI_STDIN};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
        add_begin(&in, true);
        add_record(&in, types[i], 2, "", 0);
        assert_status(&in, FRAMES_INVALID);
    }
}

static void unknown_types_are_refused_within_a_request(void **state)
{
    (void)state;

    for (unsigned type = 0; type < 256; type++) {
        cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
        add_begin(&in, true);
        add_record(&in, type, 1, "", 0);
        assert_status(&in, type == FCGI_PARAMS ? FRAMES_INCOMPLETE : FRAMES_INVALID);
    }
}

static void an_abort_is_refused(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
    (void)state;

    add_record(&in, FCGI_ABORT_REQUEST, 1, "", 0);
    assert_status(&in, FRAMES_INVALID);
}

static void garbage_is_refused(void **state)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 10);
    unsigned seed = 1;
    (void)state;

    buf_append_str(&in, "GET / HTTP/1.1\r\n\r\n");
    assert_status(&in, FRAMES_INVALID);
    for (int round = 0; round < 20000; round++) {
        in.size = 0;
        for (int i = 0; i < 40; i++)
            buf_append(&in, &(char){i % 8 == 0 ? 1 : (char)rand_r(&seed)}, 1);
        struct frames frames;
        enum frames_status status = scan_whole(&frames, &in);
        assert_true(status == FRAMES_INVALID || status == FRAMES_INCOMPLETE);
    }
}

/* ---- lengths that lie ---- */

static bool are_whole(const void *params, size_t size, size_t piece)
{
    cleanup(buf_done) struct buf in = BUF_INIT(1 << 16);
    cleanup(buf_done) struct buf content = BUF_INIT(1 << 16);
    struct frames frames;

    buf_append(&content, params, size);
    add_begin(&in, true);
    add_params(&in, &content, piece);
    add_stdin(&in, "", 0, 1);
    assert_int_equal(scan_whole(&frames, &in), FRAMES_COMPLETE);
    char value[4];
    assert_int_equal(frames_find_param(&frames, in.data, "none", value, sizeof(value)), -ENOENT);
    return frames_params_are_whole(&frames, in.data);
}

static void parameters_cut_short_are_not_whole(void **state)
{
    cleanup(buf_done) struct buf params = BUF_INIT(1 << 10);
    char value[200] = "";
    (void)state;

    memset(value, 'v', sizeof(value) - 1);
    add_pair(&params, "NAME", value);
    for (size_t piece = 1; piece < 6; piece++)
        for (size_t size = 1; size <= params.size; size++)
            assert_int_equal(are_whole(params.data, size, piece), size == params.size);
}

static void lengths_beyond_the_end_are_not_believed(void **state)
{
    static const struct {
        char bytes[12];
        size_t size;
    } lies[] = {
        {"\x05\x01"
         "abcde",
         7}, /* the value is missing */
        {"\xff\xff\xff\xff\x01"
         "ab",
         7},
        {"\x01\xff\xff\xff\xff"
         "ab",
         7},
        {"\x80\x00\x00\x02\x80\x00\x00\x02"
         "abc",
         11},
        {"\x01\x01"
         "ab\x80",
         5},
        {"\x80", 1},
        {"\x00", 1},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        for (size_t piece = 1; piece < 12; piece++)
            assert_false(are_whole(lies[i].bytes, lies[i].size, piece));
    assert_true(are_whole("\x80\x00\x00\x02\x80\x00\x00\x01"
                          "abc",
                          11, 3));
    assert_true(are_whole("\x00\x00", 2, 1));
}

/* ---- what goes out ---- */

static void what_goes_out_is_cut_into_records(void **state)
{
    static const size_t sizes[] = {1, 65534, 65535, 65536, 131070, 131071, 200000};
    static char content[200000];
    (void)state;

    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i / 13);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);
        cleanup(buf_done) struct buf read = BUF_INIT(1 << 20);
        frames_append_stdout(&out, 0x102, content, sizes[i]);
        assert_int_equal(out.size, frames_stdout_size(sizes[i]));
        assert_memory_equal(out.data, "\1\6\1\2", 4);
        for (size_t at = 0; at < out.size;) {
            const unsigned char *header = (const unsigned char *)out.data + at;
            size_t size = (size_t)header[4] << 8 | header[5];
            buf_append(&read, out.data + at + FCGI_HEADER_LEN, size);
            at += FCGI_HEADER_LEN + size + header[6];
        }
        assert_int_equal(read.size, sizes[i]);
        assert_memory_equal(read.data, content, sizes[i]);
    }
    assert_int_equal(frames_stdout_size(0), 0);
}

static void an_answer_ends_with_two_records(void **state)
{
    static const char expected[] = "\1\6\1\2\0\0\0\0"
                                   "\1\3\1\2\0\10\0\0"
                                   "\0\0\0\0\0\0\0\0";
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 10);
    (void)state;

    frames_append_end(&out, 0x102);
    assert_int_equal(out.size, FRAMES_END_SIZE);
    assert_memory_equal(out.data, expected, FRAMES_END_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_in_one_piece_is_complete),
        cmocka_unit_test(a_request_byte_by_byte_is_complete_at_its_last_byte),
        cmocka_unit_test(a_request_split_anywhere_gives_the_same),
        cmocka_unit_test(parameters_may_be_cut_into_records_anywhere),
        cmocka_unit_test(the_body_may_come_in_any_number_of_records),
        cmocka_unit_test(padding_is_skipped),
        cmocka_unit_test(a_request_without_parameters_is_complete),
        cmocka_unit_test(the_next_request_is_left_alone),
        cmocka_unit_test(the_body_is_moved_to_the_front),
        cmocka_unit_test(a_parameter_is_found_however_it_is_cut),
        cmocka_unit_test(a_body_over_the_limit_shows_in_the_header_of_its_record),
        cmocka_unit_test(a_body_of_just_the_limit_is_taken),
        cmocka_unit_test(parameters_over_the_limit_are_refused_by_their_header),
        cmocka_unit_test(the_wire_limit_ends_a_request_of_padding),
        cmocka_unit_test(a_wrong_version_shows_in_the_first_byte),
        cmocka_unit_test(only_the_responder_role_is_taken),
        cmocka_unit_test(a_request_begins_once_with_an_id_and_eight_bytes),
        cmocka_unit_test(records_out_of_order_are_refused),
        cmocka_unit_test(records_of_another_request_are_refused),
        cmocka_unit_test(unknown_types_are_refused_within_a_request),
        cmocka_unit_test(an_abort_is_refused),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(parameters_cut_short_are_not_whole),
        cmocka_unit_test(lengths_beyond_the_end_are_not_believed),
        cmocka_unit_test(what_goes_out_is_cut_into_records),
        cmocka_unit_test(an_answer_ends_with_two_records),
    };

    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
