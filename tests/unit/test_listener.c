/* The listening socket: made, replaced, inherited, removed. */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include "front/listener.h"

static char dir[32];
static char path[64];

static struct config config_for_unix(const char *socket_path, unsigned mode)
{
    struct config config = {.socket_mode = mode};

    config.listen.kind = LISTEN_UNIX;
    config.listen.path = (char *)(uintptr_t)socket_path;
    return config;
}

static int open_unix(struct listener *listener, const char *socket_path, unsigned mode, struct err *err)
{
    struct config config = config_for_unix(socket_path, mode);

    *err = (struct err){0};
    return listener_open(listener, &config, err);
}

static void assert_opens(struct listener *listener)
{
    struct err err;

    if (open_unix(listener, path, 0660, &err) < 0)
        fail_msg("%s", err.text);
}

static bool answers(const char *socket_path)
{
    int fd = connect_unix(socket_path);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static mode_t mode_of(const char *socket_path)
{
    struct stat st;

    assert_int_equal(stat(socket_path, &st), 0);
    return st.st_mode & 07777;
}

static bool exists(const char *file)
{
    return access(file, F_OK) == 0;
}

/* A socket file that nobody listens on. */
static void leave_stale_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

/* ---- unix ---- */

static void a_unix_socket_has_the_mode_it_was_given(void **state)
{
    static const unsigned modes[] = {0600, 0660, 0666, 0777};
    mode_t old = umask(0);
    (void)state;

    for (size_t i = 0; i < 2 * ARRAY_LEN(modes); i++) {
        struct listener listener;
        struct err err;
        unsigned mode = modes[i / 2];
        umask(i % 2 ? 0077 : 0);
        assert_int_equal(open_unix(&listener, path, mode, &err), 0);
        assert_int_equal(mode_of(path), mode);
        assert_true(answers(path));
        assert_false(listener.is_tcp || listener.is_inherited);
        listener_close(&listener);
        assert_false(exists(path));
    }
    umask(old);
}

static void a_unix_socket_does_not_block_and_is_not_inherited(void **state)
{
    struct listener listener;
    (void)state;

    assert_opens(&listener);
    assert_true(fcntl(listener.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(listener.fd, F_GETFD) & FD_CLOEXEC);
    listener_close(&listener);
    listener_close(&listener); /* closed already */
}

static void a_missing_folder_is_made(void **state)
{
    struct listener listener;
    struct err err;
    char folder[48];
    char socket_path[64];
    (void)state;

    snprintf(folder, sizeof(folder), "%s/new", dir);
    snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
    assert_int_equal(open_unix(&listener, socket_path, 0660, &err), 0);
    assert_true(answers(socket_path));
    listener_close(&listener);
    assert_int_equal(rmdir(folder), 0);
}

static void a_stale_socket_is_replaced(void **state)
{
    struct listener listener;
    (void)state;

    leave_stale_socket();
    assert_opens(&listener);
    assert_true(answers(path));
    listener_close(&listener);
    assert_false(exists(path));
}

static void a_socket_somebody_listens_on_is_refused(void **state)
{
    struct listener first;
    struct listener second;
    struct err err;
    (void)state;

    assert_opens(&first);
    assert_int_equal(open_unix(&second, path, 0660, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(second.fd, -1);
    listener_close(&second);
    assert_true(answers(path));
    listener_close(&first);
}

/* Its queue is full: connect says EAGAIN, but somebody is there. */
static void a_busy_socket_is_refused(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct listener listener;
    struct err err;
    int fds[16];
    size_t count = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)state;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 0), 0);
    while (count < ARRAY_LEN(fds)) {
        fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fds[count++], (struct sockaddr *)&address, sizeof(address)) != 0)
            break;
    }
    assert_int_equal(open_unix(&listener, path, 0660, &err), -EADDRINUSE);
    while (count > 0)
        close(fds[--count]);
    close(fd);
    unlink(path);
}

/* That nobody could be asked does not mean that nobody is there. */
static void a_socket_that_cannot_be_asked_is_left_alone(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct listener listener;
    struct err err;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    (void)state;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(open_unix(&listener, path, 0660, &err), -EPROTOTYPE);
    assert_true(exists(path));
    close(fd);
    unlink(path);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct listener listener;
    struct err err;
    FILE *file = fopen(path, "w");
    (void)state;

    fputs("precious", file);
    fclose(file);
    assert_int_equal(open_unix(&listener, path, 0660, &err), -EEXIST);
    assert_true(exists(path));
    unlink(path);
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_int_equal(open_unix(&listener, path, 0660, &err), -EEXIST);
    unlink(path);
}

static void a_folder_that_cannot_be_made_is_an_error(void **state)
{
    struct listener listener;
    struct err err;
    (void)state;

    assert_true(open_unix(&listener, "/proc/no/such/s", 0660, &err) < 0);
    assert_true(err.text[0] != '\0');
    assert_int_equal(listener.fd, -1);
}

static void a_socket_that_is_not_ours_any_more_is_left(void **state)
{
    struct listener first;
    struct listener second;
    (void)state;

    assert_opens(&first);
    unlink(path);
    assert_opens(&second);
    listener_close(&first);
    assert_true(answers(path));
    listener_close(&second);
    assert_false(exists(path));
}

static void refuse_turns_connections_away(void **state)
{
    struct listener listener;
    (void)state;

    assert_opens(&listener);
    listener_refuse(&listener);
    assert_false(answers(path));
    listener_close(&listener);
}

/* ---- TCP ---- */

/* Answers are not held back for the peer's acknowledgement of earlier ones. */
static void assert_accepted_without_delay(int listener_fd)
{
    int fd = accept(listener_fd, NULL, NULL);
    int is_on = 0;
    socklen_t size = sizeof(is_on);

    assert_true(fd >= 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &is_on, &size), 0);
    assert_int_equal(is_on, 1);
    close(fd);
}

static void tcp_listens_on(const char *host, int family)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    struct listener listener;
    struct config config = {.listen = {.kind = LISTEN_TCP, .host = (char *)(uintptr_t)host}};
    struct err err = {0};

    if (listener_open(&listener, &config, &err) < 0 && err.code == -EADDRNOTAVAIL)
        skip(); /* a machine without IPv6 */
    assert_int_equal(err.code, 0);
    assert_true(listener.is_tcp);
    assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(address.ss_family, family);
    int fd = socket(family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    assert_accepted_without_delay(listener.fd);
    close(fd);
    listener_refuse(&listener);
    fd = socket(family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), -1);
    close(fd);
    listener_close(&listener);
}

static void tcp_listens_on_ipv4(void **state)
{
    (void)state;
    tcp_listens_on("127.0.0.1", AF_INET);
}

static void tcp_listens_on_ipv6(void **state)
{
    (void)state;
    tcp_listens_on("::1", AF_INET6);
}

static void a_tcp_port_in_use_is_an_error(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct listener listener;
    struct err err = {0};
    char host[] = "127.0.0.1";
    (void)state;

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    struct config config = {.listen = {LISTEN_TCP, .host = host, .port = ntohs(address.sin_port)}};
    assert_int_equal(listener_open(&listener, &config, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "127.0.0.1"));
    assert_int_equal(listener.fd, -1);
    close(fd);
}

static void a_name_is_no_address(void **state)
{
    char host[] = "localhost";
    struct config config = {.listen = {.kind = LISTEN_TCP, .host = host}};
    struct listener listener;
    struct err err = {0};
    (void)state;

    assert_int_equal(listener_open(&listener, &config, &err), -EINVAL);
}

/* ---- inherited: in a child, where descriptor 3 is ours to use ---- */

typedef int (*child_fn)(void);

static void run_child(child_fn fn)
{
    int status = -1;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        char number[16];
        snprintf(number, sizeof(number), "%d", (int)getpid());
        setenv("LISTEN_PID", number, 1);
        setenv("LISTEN_FDS", "1", 1);
        _exit(fn());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("the child failed at its check %d", WEXITSTATUS(status));
}

/* Descriptor 3 listens on `path`. */
static void put_socket_at_3(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        _exit(99);
    if (fd != 3) {
        dup2(fd, 3);
        close(fd);
    }
}

static int take_socket(void)
{
    struct listener listener;
    struct err err;

    put_socket_at_3(SOCK_STREAM);
    if (listen(3, 5) != 0 || open_unix(&listener, "/not/used", 0600, &err) != 0)
        return 1;
    if (listener.fd != 3 || !listener.is_inherited || listener.is_tcp)
        return 2;
    if (!(fcntl(3, F_GETFL) & O_NONBLOCK) || !(fcntl(3, F_GETFD) & FD_CLOEXEC))
        return 3;
    if (getenv("LISTEN_FDS") || getenv("LISTEN_PID"))
        return 4; /* not for the children we may have */
    listener_refuse(&listener);
    if (!answers(path))
        return 5; /* it is shared with who passed it */
    listener_close(&listener);
    return exists(path) ? 0 : 6;
}

static int take_socket_that_does_not_listen(void)
{
    struct listener listener;
    struct err err;

    put_socket_at_3(SOCK_STREAM);
    return open_unix(&listener, path, 0600, &err) == -EINVAL && strstr(err.text, "LISTEN_FDS") ? 0 : 1;
}

static int take_what_is_no_socket(void)
{
    struct listener listener;
    struct err err;
    int fd = open("/dev/null", O_RDONLY);

    dup2(fd, 3);
    if (open_unix(&listener, path, 0600, &err) != -EINVAL)
        return 1;
    close(3);
    return open_unix(&listener, path, 0600, &err) == -EINVAL ? 0 : 2;
}

static int take_bad_counts(void)
{
    static const char *const counts[] = {"0", "2", "", "-1", "1x", " 1", "99999999999999999999"};
    struct listener listener;
    struct err err;

    put_socket_at_3(SOCK_STREAM);
    listen(3, 5);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        setenv("LISTEN_FDS", counts[i], 1);
        if (open_unix(&listener, "/not/used", 0600, &err) != -EINVAL)
            return (int)i + 1;
    }
    return 0;
}

static int leave_what_is_for_another(void)
{
    struct listener listener;
    struct err err;

    setenv("LISTEN_PID", "1", 1);
    if (open_unix(&listener, path, 0600, &err) != 0 || listener.is_inherited)
        return 1;
    listener_close(&listener);
    return exists(path) ? 2 : 0;
}

static void a_listening_socket_is_inherited(void **state)
{
    (void)state;
    run_child(take_socket);
    assert_true(exists(path)); /* who passed it removes it */
    unlink(path);
}

static void what_does_not_listen_is_not_inherited(void **state)
{
    (void)state;
    run_child(take_socket_that_does_not_listen);
    unlink(path);
    run_child(take_what_is_no_socket);
}

static void exactly_one_socket_is_inherited(void **state)
{
    (void)state;
    run_child(take_bad_counts);
    unlink(path);
}

static void sockets_for_another_process_are_not_inherited(void **state)
{
    (void)state;
    run_child(leave_what_is_for_another);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/listener-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/s", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unix_socket_has_the_mode_it_was_given),
        cmocka_unit_test(a_unix_socket_does_not_block_and_is_not_inherited),
        cmocka_unit_test(a_missing_folder_is_made),
        cmocka_unit_test(a_stale_socket_is_replaced),
        cmocka_unit_test(a_socket_somebody_listens_on_is_refused),
        cmocka_unit_test(a_busy_socket_is_refused),
        cmocka_unit_test(a_socket_that_cannot_be_asked_is_left_alone),
        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_an_error),
        cmocka_unit_test(a_socket_that_is_not_ours_any_more_is_left),
        cmocka_unit_test(refuse_turns_connections_away),
        cmocka_unit_test(tcp_listens_on_ipv4),
        cmocka_unit_test(tcp_listens_on_ipv6),
        cmocka_unit_test(a_tcp_port_in_use_is_an_error),
        cmocka_unit_test(a_name_is_no_address),
        cmocka_unit_test(a_listening_socket_is_inherited),
        cmocka_unit_test(what_does_not_listen_is_not_inherited),
        cmocka_unit_test(exactly_one_socket_is_inherited),
        cmocka_unit_test(sockets_for_another_process_are_not_inherited),
    };

    return cmocka_run_group_tests_name("listener", tests, set_up, tear_down);
}
