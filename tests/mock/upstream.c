/* mock-upstream - an HTTP/1.1 server that answers as the query string asks: late, slowly, wrongly or not at
 * all.
 *
 *     GET /a?delay=100&size=1024         1 KiB after 100 ms
 *     GET /b?status=503&hangup=body      half an error page, then the connection closes
 *     POST /c?echo=1&fail=2&key=k        503 to the first two with this key, then what was sent, as JSON
 *     GET /_count?key=k                  how many there were
 *     GET /_stats                        what this process has seen so far, as JSON
 *     POST /_mode?status=503             from now on all requests get that (control.h)
 *
 * It is the upstream of the demo, of the tests and of the benchmarks. In the latter it shares the machine
 * with the program that is measured, so its work per request is next to nothing: one recv and one send, no
 * allocation, bodies that are made before.
 *
 * The shape, from the outside in:
 *
 *     upstream.c   arguments, listening sockets, worker processes
 *     server.c     one worker: accepts, holds the table of connections
 *     loop.c       its event loop: epoll and a heap of timers, exact to 0.1 ms
 *     conn.c       one connection: a state machine that reads requests and sends replies
 *     request.c    bytes -> the head of a request
 *     params.c     its query string -> what the answer should be like; a row per parameter
 *     reply.c      both -> a reply: segments to send, pauses, and the end
 *     control.c    paths by which a process tells of itself, and is told
 *     tally.c      how often each key was asked for
 *     record.c     what is remembered of single requests
 *     content.c    bodies as repeated segments, and gzip made of such
 *
 * Workers share nothing. Each serves its own part of the ports, so a test knows from the port whose
 * statistics it reads, and ten origins in two processes are two event loops with five origins each. */
#include "params.h"
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORTS_MAX     512
#define PROCESSES_MAX 64
#define BACKLOG       4096

struct options {
    struct in_addr address;
    const char *address_text;
    uint64_t port;
    uint64_t ports;
    uint64_t processes;
};

static struct server server;
static int listeners[PORTS_MAX];
static pid_t workers[PROCESSES_MAX];

static void fail(const char *what)
{
    fprintf(stderr, "mock-upstream: %s: %m\n", what);
    exit(1);
}

/* ---- arguments ---- */

static const char usage[] =
    "Usage: mock-upstream [--address ADDRESS] [--port PORT] [--ports N] [--processes K]\n"
    "\n"
    "Listens on N ports (1) from PORT (0: any free ones) at ADDRESS (127.0.0.1), in K processes (1):\n"
    "port number i is served by process i modulo K. Prints the ports when all are open.\n"
    "\n"
    "Answers any request to any path as its query string asks:\n";

static const char help_on_control[] =
    "\n"
    "Each process tells of itself, as JSON, and can be told:\n"
    "  GET  /_stats            counters\n"
    "  GET  /_count?key=K      how many requests had this key\n"
    "  GET  /_gone?key=K       when clients left requests with this key (or path), in us of CLOCK_MONOTONIC\n"
    "  GET  /_requests?key=K   requests with this key (or path) that had record=1\n"
    "  POST /_mode?PARAMETERS  from now on all requests are answered as if these stood in their query, too;\n"
    "                          none: as before\n";

static void usage_error(const char *what, const char *value)
{
    fprintf(stderr, "mock-upstream: %s: %s\nTry mock-upstream --help.\n", what, value);
    exit(2);
}

static uint64_t number_option(const char *what, const char *value, uint64_t min, uint64_t max)
{
    uint64_t number;
    if (!slice_to_number((struct slice){value, strlen(value)}, max, &number) || number < min) {
        usage_error(what, value);
    }
    return number;
}

static void print_help(void)
{
    fputs(usage, stdout);
    params_print_help(stdout);
    fputs(help_on_control, stdout);
    exit(0);
}

static void parse_option(struct options *options, int option)
{
    switch (option) {
    case 'a':
        options->address_text = optarg;
        break;
    case 'p':
        options->port = number_option("--port wants 0 to 65535", optarg, 0, 65535);
        break;
    case 'n':
        options->ports = number_option("--ports wants 1 to 512", optarg, 1, PORTS_MAX);
        break;
    case 'k':
        options->processes = number_option("--processes wants 1 to 64", optarg, 1, PROCESSES_MAX);
        break;
    case 'h':
        print_help();
        break;
    default:
        exit(2);
    }
}

static struct options parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"address", required_argument, NULL, 'a'}, {"port", required_argument, NULL, 'p'},
        {"ports", required_argument, NULL, 'n'},   {"processes", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    struct options options = {.address_text = "127.0.0.1", .ports = 1, .processes = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        parse_option(&options, option);
    }
    if (optind < argc) {
        usage_error("unexpected argument", argv[optind]);
    }
    if (inet_pton(AF_INET, options.address_text, &options.address) != 1) {
        usage_error("--address wants an IPv4 address", options.address_text);
    }
    if (options.port + options.ports > 65536) {
        usage_error("--ports", "goes past port 65535");
    }
    return options;
}

/* ---- listening ---- */

static int listen_on(struct in_addr address, in_port_t port)
{
    const struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = address, .sin_port = htons(port)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
        fail("socket");
    }
    /* accepted sockets inherit it */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
        fail("TCP_NODELAY");
    }
    if (bind(fd, (const struct sockaddr *)&name, sizeof name) < 0 || listen(fd, BACKLOG) < 0) {
        fail("listen");
    }
    return fd;
}

static in_port_t bound_port(int fd)
{
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &len) < 0) {
        fail("getsockname");
    }
    return ntohs(name.sin_port);
}

static void listen_on_all(const struct options *options)
{
    for (uint64_t i = 0; i < options->ports; i++) {
        listeners[i] = listen_on(options->address, (in_port_t)(options->port ? options->port + i : 0));
    }
    fputs("listening", stdout);
    for (uint64_t i = 0; i < options->ports; i++) {
        printf(" %s:%u", options->address_text, (unsigned)bound_port(listeners[i]));
    }
    fputs("\n", stdout);
    fflush(stdout);
}

/* ---- processes ---- */

/* Serves the ports of worker number `worker` until SIGTERM or SIGINT. */
static void serve(const struct options *options, uint64_t worker)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* by default the kernel adds 50 us to each sleep */
    if (!server_init(&server, (int)options->ports)) {
        fail("start");
    }
    for (uint64_t i = 0; i < options->ports; i++) {
        if (i % options->processes != worker) {
            close(listeners[i]);
        } else if (!server_listen(&server, listeners[i])) {
            fail("epoll");
        }
    }
    server_run(&server);
    server_done(&server);
}

static pid_t start_worker(const struct options *options, uint64_t worker)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent) { /* else it died before that could tell us */
            serve(options, worker);
        }
        exit(0);
    }
    return pid;
}

static void stop_workers(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        kill(workers[i], SIGTERM);
    }
    while (wait(NULL) > 0 || errno == EINTR) {
    }
}

/* Returns the exit status: 0 when told to stop, 1 when a worker died. */
static int supervise(const struct options *options, const sigset_t *signals)
{
    for (uint64_t i = 0; i < options->processes; i++) {
        workers[i] = start_worker(options, i);
    }
    for (uint64_t i = 0; i < options->ports; i++) {
        close(listeners[i]);
    }
    int number;
    sigwait(signals, &number);
    stop_workers(options->processes);
    return number == SIGCHLD;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    listen_on_all(&options);
    if (options.processes > 1) {
        return supervise(&options, &signals);
    }
    serve(&options, 0);
    return 0;
}
