/* What fcgi.c relies on in libfcgi: fails when a newer libfcgi behaves otherwise. */
#include "harness.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "front/fcgi.h"
#include "front/frames.h"

static struct fcgi_feed feed;

static void make_params_bytes(struct buf *out, const struct buf *params, size_t piece)
{
    add_begin(out, true);
    add_params(out, params, piece);
}

static int open_bytes(FCGX_Request *request, const struct buf *bytes)
{
    assert_false(bytes->failed);
    return fcgi_open(&feed, request, bytes->data, bytes->size);
}

/* A request with two parameters. */
static void open_good(FCGX_Request *request)
{
    cleanup(buf_done) struct buf params = BUF_INIT(1 << 16);
    cleanup(buf_done) struct buf bytes = BUF_INIT(1 << 17);

    add_pair(&params, "REQUEST_METHOD", "GET");
    add_pair(&params, "REQUEST_URI", "/somewhere");
    make_params_bytes(&bytes, &params, 11);
    assert_int_equal(open_bytes(request, &bytes), 0);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int bytes_in_pipe(void)
{
    int count = -1;

    assert_int_equal(ioctl(feed.read_fd, FIONREAD, &count), 0);
    return count;
}

static void the_fields_below_the_line_are_as_we_use_them(void **state)
{
    FCGX_Request request;
    (void)state;

    assert_int_equal(FCGX_InitRequest(&request, -1, 0), 0);
    assert_int_equal(request.listen_sock, -1);
    assert_int_equal(request.ipcFd, -1);
    assert_int_equal(request.keepConnection, 0);
    assert_null(request.in);
    assert_null(request.out);
}

static void a_request_is_read_from_the_pipe(void **state)
{
    FCGX_Request request;
    unsigned before = count_descriptors();
    (void)state;

    open_good(&request);
    assert_string_equal(FCGX_GetParam("REQUEST_METHOD", request.envp), "GET");
    assert_string_equal(FCGX_GetParam("REQUEST_URI", request.envp), "/somewhere");
    assert_null(FCGX_GetParam("REQUEST", request.envp));
    assert_int_equal(request.requestId, 1);
    assert_int_equal(request.role, FCGI_RESPONDER);
    assert_int_equal(request.ipcFd, -1);
    assert_int_equal(bytes_in_pipe(), 0);
    assert_true(is_open(feed.read_fd) && is_open(feed.write_fd));
    fcgi_discard(&request);
    assert_true(is_open(feed.read_fd));
    assert_int_equal(count_descriptors(), before);
}

static void answer_on(FCGX_Request *request, struct client *client, int fd, const char *head,
                      const char *body, size_t size, struct buf *ret_out)
{
    struct iovec parts[] = {{(void *)(uintptr_t)head, strlen(head)}, {(void *)(uintptr_t)body, size}};

    assert_int_equal(fcgi_answer(request, fd, parts, ARRAY_LEN(parts)), 0);
    assert_true(client_read_stdout(client, ret_out));
    assert_int_equal(client->in.size, 0);
}

static void the_answer_goes_to_the_descriptor_we_name_which_stays_open(void **state)
{
    cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);
    int fds[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct client client = client_of(fds[0]);
    for (int round = 0; round < 3; round++) {
        FCGX_Request request;
        open_good(&request);
        out.size = 0;
        answer_on(&request, &client, fds[1], "Status: 200 OK\r\n\r\n", "body", 4, &out);
        assert_int_equal(out.size, 22);
        assert_memory_equal(out.data, "Status: 200 OK\r\n\r\nbody", 22);
        assert_true(is_open(fds[1]));
        assert_true(is_open(feed.read_fd));
    }
    client_done(&client);
    close(fds[1]);
}

/* libfcgi's buffer holds 8 KiB: longer answers are several records. */
static void a_long_answer_comes_whole(void **state)
{
    static char body[60000];
    int fds[2];
    (void)state;

    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)(i * 7 + i / 251);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct client client = client_of(fds[0]);
    for (size_t size = 8100; size < sizeof(body); size = size < 8300 ? size + 7 : size + 9973) {
        cleanup(buf_done) struct buf out = BUF_INIT(1 << 20);
        FCGX_Request request;
        open_good(&request);
        answer_on(&request, &client, fds[1], "Status: 200 OK\r\n\r\n", body, size, &out);
        assert_int_equal(out.size, 18 + size);
        assert_memory_equal(out.data + 18, body, size);
    }
    client_done(&client);
    close(fds[1]);
}

static void an_answer_that_cannot_be_written_is_an_error(void **state)
{
    static char body[300000];
    struct iovec part = {body, sizeof(body)};
    struct timeval timeout = {.tv_usec = 1000};
    FCGX_Request request;
    int fds[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    close(fds[0]);
    open_good(&request);
    assert_int_equal(fcgi_answer(&request, fds[1], &part, 1), -EPIPE);
    assert_true(is_open(fds[1]));
    close(fds[1]);

    /* A peer that does not read. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    setsockopt(fds[1], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    open_good(&request);
    assert_int_equal(fcgi_answer(&request, fds[1], &part, 1), -EAGAIN);
    assert_true(is_open(fds[1]));
    close(fds[0]);
    close(fds[1]);
}

static void malformed_parameters_are_an_error_and_the_feed_goes_on(void **state)
{
    static const struct {
        char bytes[8];
        size_t size;
    } lies[] = {{"\x05\x01"
                 "abc",
                 5},
                {"\x01", 1},
                {"\x7f\x7f"
                 "a",
                 3},
                {"\x80\x00", 2}};
    unsigned before = count_descriptors();
    FCGX_Request request;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        cleanup(buf_done) struct buf params = BUF_INIT(64);
        cleanup(buf_done) struct buf bytes = BUF_INIT(1 << 10);
        buf_append(&params, lies[i].bytes, lies[i].size);
        make_params_bytes(&bytes, &params, 100);
        assert_int_equal(open_bytes(&request, &bytes), -EPROTO);
        open_good(&request); /* and nothing of the bad one is left */
        assert_string_equal(FCGX_GetParam("REQUEST_URI", request.envp), "/somewhere");
        assert_int_equal(bytes_in_pipe(), 0);
        fcgi_discard(&request);
    }
    assert_int_equal(count_descriptors(), before);
}

static void a_request_that_is_not_whole_does_not_block(void **state)
{
    cleanup(buf_done) struct buf bytes = BUF_INIT(1 << 10);
    FCGX_Request request;
    (void)state;

    add_begin(&bytes, true);
    if (open_bytes(&request, &bytes) == 0)
        fcgi_discard(&request);
    open_good(&request);
    fcgi_discard(&request);
}

static void a_request_larger_than_the_feed_is_an_error_and_the_feed_goes_on(void **state)
{
    cleanup(buf_done) struct buf bytes = BUF_INIT(1 << 22);
    unsigned before = count_descriptors();
    FCGX_Request request;
    (void)state;

    add_begin(&bytes, true);
    while (bytes.size < 2 * feed.capacity)
        add_record_padded(&bytes, FCGI_PARAMS, 1, "", 0, 255);
    assert_true(open_bytes(&request, &bytes) < 0);
    open_good(&request);
    assert_int_equal(bytes_in_pipe(), 0);
    fcgi_discard(&request);
    assert_int_equal(count_descriptors(), before);
}

/* As many bytes of parameters as a front with these limits lets through. */
static void a_request_as_large_as_the_limit_fits(void **state)
{
    cleanup(buf_done) struct buf params = BUF_INIT(1 << 20);
    cleanup(buf_done) struct buf bytes = BUF_INIT(1 << 20);
    FCGX_Request request;
    char name[32];
    (void)state;

    for (unsigned i = 0; params.size < 65000; i++) {
        snprintf(name, sizeof(name), "NAME_%u", i);
        add_pair(&params, name, "some value of usual length, such as a browser sends them");
    }
    make_params_bytes(&bytes, &params, 1000);
    assert_int_equal(open_bytes(&request, &bytes), 0);
    assert_non_null(FCGX_GetParam(name, request.envp));
    assert_int_equal(bytes_in_pipe(), 0);
    fcgi_discard(&request);
}

static void a_broken_pipe_is_an_error_and_not_a_signal(void **state)
{
    int fds[2];
    (void)state;

    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[1]);
}

/* FCGX_Init sets handlers for these, which would keep the program from ending. */
static void signals_that_end_the_program_keep_their_default(void **state)
{
    static const int signals[] = {SIGTERM, SIGUSR1};
    struct sigaction action;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        assert_int_equal(sigaction(signals[i], NULL, &action), 0);
        assert_true(action.sa_handler == SIG_DFL);
    }
}

static int set_up(void **state)
{
    struct err err = {0};
    (void)state;

    if (fcgi_setup(&err) == 0 && fcgi_feed_init(&feed, 128 * 1024, &err) == 0)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    fcgi_feed_done(&feed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fields_below_the_line_are_as_we_use_them),
        cmocka_unit_test(a_request_is_read_from_the_pipe),
        cmocka_unit_test(the_answer_goes_to_the_descriptor_we_name_which_stays_open),
        cmocka_unit_test(a_long_answer_comes_whole),
        cmocka_unit_test(an_answer_that_cannot_be_written_is_an_error),
        cmocka_unit_test(malformed_parameters_are_an_error_and_the_feed_goes_on),
        cmocka_unit_test(a_request_that_is_not_whole_does_not_block),
        cmocka_unit_test(a_request_larger_than_the_feed_is_an_error_and_the_feed_goes_on),
        cmocka_unit_test(a_request_as_large_as_the_limit_fits),
        cmocka_unit_test(a_broken_pipe_is_an_error_and_not_a_signal),
        cmocka_unit_test(signals_that_end_the_program_keep_their_default),
    };

    return cmocka_run_group_tests_name("fcgi", tests, set_up, tear_down);
}
