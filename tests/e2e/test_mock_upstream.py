"""The mock upstream does what its query parameters say: one short test per parameter.

MOCK_UPSTREAM names the program (build/mock-upstream unless set).
"""

import concurrent.futures
import gzip
import http.client
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from harness.wait import wait_until

PROGRAM = os.environ.get("MOCK_UPSTREAM", "build/mock-upstream")
PATTERN = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n"


class Upstream:
    """A running mock-upstream; `addresses` are (host, port) pairs."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
        word, *names = self.process.stdout.readline().split()
        assert word == "listening"
        self.addresses = [(host, int(port)) for host, port in (name.split(":") for name in names)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """The status tells, too, whether a sanitizer found something."""
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(10) == 0
        self.process.stdout.close()

    def get(self, target, method="GET", body=None, headers=None, port=0):
        client = http.client.HTTPConnection(*self.addresses[port], timeout=5)
        try:
            client.request(method, target, body, headers or {})
            answer = client.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            client.close()

    def connect(self):
        return socket.create_connection(self.addresses[0], timeout=5)

    def raw(self, request):
        """All bytes up to the end of the connection."""
        with self.connect() as sock:
            sock.sendall(request)
            return read_to_end(sock)

    def raw_get(self, target):
        return self.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def stats(self, port=0):
        return json.loads(self.get("/_stats", port=port).body)


def read_to_end(sock):
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


def read_until(sock, end):
    received = b""
    while not received.endswith(end):
        data = sock.recv(65536)
        assert data, f"closed after {received!r}"
        received += data
    return received


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=5, check=False)


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as server:
        yield server


# ---- what is asked for ----


def test_default_answer_names_path_and_delay(upstream):
    answer = upstream.get("/a/b?delay=0.5")
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert answer.body == b"path /a/b after 0.5 ms\n"


def test_delay_is_exact_and_never_early(upstream):
    with upstream.connect() as sock:
        waited = []
        for _ in range(5):
            start = time.monotonic()
            sock.sendall(b"GET /?delay=30.5&body=. HTTP/1.1\r\n\r\n")
            read_until(sock, b"\r\n\r\n.")
            waited.append(time.monotonic() - start)
    assert min(waited) >= 0.0305
    assert min(waited) < 0.033


def test_delays_run_beside_each_other(upstream):
    start = time.monotonic()
    socks = [upstream.connect() for _ in range(200)]
    for i, sock in enumerate(socks):
        sock.sendall(b"GET /?delay=%d&close=1 HTTP/1.1\r\n\r\n" % (100 + i % 7))
    for sock in socks:
        assert read_to_end(sock).endswith(b" ms\n")
        sock.close()
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "status, reason", [(200, "OK"), (404, "Not Found"), (503, "Service Unavailable"), (599, "Unnamed")]
)
def test_status(upstream, status, reason):
    answer = upstream.get(f"/?status={status}")
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.body


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body(upstream, status):
    with upstream.connect() as sock:
        sock.sendall(b"GET /?status=%d HTTP/1.1\r\n\r\nGET /?body=next HTTP/1.1\r\n\r\n" % status)
        received = read_until(sock, b"next")
    assert received.split(b"\r\n\r\n")[0].startswith(b"HTTP/1.1 %d" % status)
    assert received.count(b"Content-Length") == 1


@pytest.mark.parametrize("size", [0, 1, 1024, 65537, 5_000_000])
def test_size(upstream, size):
    assert upstream.get(f"/?size={size}").body == (PATTERN * (size // 64 + 1))[:size]


def test_head_has_the_length_and_no_body(upstream):
    answer = upstream.get("/?size=77", method="HEAD")
    assert answer.getheader("Content-Length") == "77"
    assert answer.body == b""


def test_type_and_body_may_hold_any_bytes(upstream):
    answer = upstream.get("/?type=text/html;%20charset=iso-8859-1&body=caf%E9%00%26+%0a")
    assert answer.getheader("Content-Type") == "text/html; charset=iso-8859-1"
    assert answer.body == b"caf\xe9\x00&+\n"


@pytest.mark.parametrize("size", [0, 1, 262143, 262144, 262145, 3_000_000])
@pytest.mark.parametrize("framing", ["", "&chunked=1"])
def test_gzip_of_any_size(upstream, size, framing):
    answer = upstream.get(f"/?gzip=1&size={size}{framing}")
    assert answer.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(answer.body) == (PATTERN * (size // 64 + 1))[:size]


def test_gzip_of_a_text(upstream):
    assert gzip.decompress(upstream.get("/?gzip=1&body=hello").body) == b"hello"


def test_gzip_bomb_is_small_and_quick(upstream):
    answer = upstream.get("/?gzip=1&size=1073741824")
    assert len(answer.body) < 4_000_000
    assert struct.unpack("<I", answer.body[-4:])[0] == 1073741824


def test_gzip_bomb_of_zeros_is_a_thousandth(upstream):
    answer = upstream.get("/?gzip=1&zeros=1&size=1073741824")
    assert len(answer.body) < 1_200_000
    assert struct.unpack("<I", answer.body[-4:])[0] == 1073741824


@pytest.mark.parametrize("size", [0, 1, 65536, 262145])
def test_zeros(upstream, size):
    assert upstream.get(f"/?zeros=1&size={size}").body == bytes(size)
    assert gzip.decompress(upstream.get(f"/?gzip=1&zeros=1&size={size}").body) == bytes(size)


def test_json(upstream):
    answer = upstream.get('/?json={"a":%20[1]}')
    assert (answer.getheader("Content-Type"), json.loads(answer.body)) == ("application/json", {"a": [1]})
    assert upstream.get("/?json=1&type=text/x").getheader("Content-Type") == "text/x"


def test_a_share_of_slow_answers(upstream):
    bodies = [upstream.get("/?key=slow&slow_every=5&slow_delay=20").body for _ in range(10)]
    assert [b"after 20 ms" in body for body in bodies] == [False, False, False, False, True] * 2


def test_parameters_of_nobody_are_passed_over(upstream):
    assert json.loads(upstream.get("/?echo=1&x_anything=%20at%20all").body)["query"] == \
        "echo=1&x_anything=%20at%20all"


def test_redirects_count_down_and_keep_the_other_parameters(upstream):
    answer = upstream.get("/r?body=x&redirect=2&status=404")
    assert (answer.status, answer.getheader("Location")) == (302, "/r?body=x&redirect=1&status=404")
    answer = upstream.get("/r?body=x&redirect=0&status=404")
    assert (answer.status, answer.getheader("Location"), answer.body) == (404, None, b"x")


def test_redirect_to(upstream):
    answer = upstream.get("/?redirect_to=file:///etc/passwd%3Fa")
    assert (answer.status, answer.getheader("Location")) == (302, "file:///etc/passwd?a")
    assert upstream.get("/?redirect_to=/&status=308").status == 308


def test_header_may_be_repeated(upstream):
    answer = upstream.get("/?header=X-One:1&header=Set-Cookie:%20a%3Db&header=X-One:2")
    assert answer.headers.get_all("X-One") == ["1", "2"]
    assert answer.getheader("Set-Cookie") == "a=b"
    assert upstream.get("/?" + "header=A:1&" * 8).status == 200
    assert upstream.get("/?" + "header=A:1&" * 9).status == 400


def test_echo(upstream):
    answer = upstream.get("/e%20/f?echo=1", method="PATCH", headers={"X-Quote": 'a"\\\x01\xe9'})
    echo = json.loads(answer.body)
    assert (echo["method"], echo["path"], echo["query"]) == ("PATCH", "/e%20/f", "echo=1")
    assert echo["headers"]["X-Quote"] == 'a"\\\x01\xe9'


def test_recorded_requests_are_shown_by_key_or_path(upstream):
    upstream.get("/r/1?record=1&key=r&status=503", method="POST", body=b"one")
    upstream.get("/r/2?record=1")
    upstream.get("/r/3?key=r")

    def recorded(key):
        return json.loads(upstream.get(f"/_requests?key={key}").body)["requests"]
    assert [(r["method"], r["path"], r["body"]) for r in recorded("r")] == [("POST", "/r/1", "one")]
    assert [r["path"] for r in recorded("/r/2")] == ["/r/2"]
    assert recorded("nobody") == []


def test_the_oldest_recorded_requests_are_forgotten():
    with Upstream() as server:
        for number in range(200):
            server.get(f"/{number}?record=1")
        server.get("/large?record=1&x_=" + "x" * 4096)
        paths = [r["path"] for r in json.loads(server.get("/_requests").body)["requests"]]
        assert paths == [f"/{number}" for number in range(72, 200)]


@pytest.mark.parametrize("body", [b"", b"x", b'{"a": "\x00\xe9\r\n"}', bytes(range(256)) * 128])
def test_echo_of_a_body(upstream, body):
    echo = json.loads(upstream.get("/?echo=1", method="PUT", body=body).body)
    assert (echo["method"], echo["body_size"]) == ("PUT", len(body))
    assert echo["body"].encode("latin-1") == body


def test_a_body_too_long_to_echo_is_counted(upstream):
    echo = json.loads(upstream.get("/?echo=1", method="POST", body=b"x" * 32769).body)
    assert (echo["body_size"], echo["body"]) == (32769, None)


def test_echo_of_a_body_in_pieces_and_of_the_next_request(upstream):
    with upstream.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"POST /?echo=1 HTTP/1.1\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n")
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (b"a", b"bcde", b"fGET /?body=next HTTP/1.1\r\n\r\n"):
            sock.sendall(piece)
        assert b'"body":"abcdef"}' in read_until(sock, b"next")


def test_the_first_requests_of_a_key_fail(upstream):
    paths = ["/?key=one&fail=2", "/?key=two&fail=1&status=429", "/by-path?fail=1"]
    seen = [[upstream.get(path).status for _ in range(3)] for path in paths]
    assert seen == [[503, 503, 200], [429, 200, 200], [503, 200, 200]]
    assert json.loads(upstream.get("/_count?key=one").body) == {"count": 3}
    assert json.loads(upstream.get("/_count?key=none").body) == {"count": 0}


def test_retry_after(upstream):
    statuses = [upstream.get("/?key=later&fail=1&retry_after=7") for _ in range(2)]
    assert [(a.status, a.getheader("Retry-After")) for a in statuses] == [(503, "7"), (200, None)]
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    answer = upstream.get("/?status=429&retry_after=" + date.replace(" ", "%20"))
    assert answer.getheader("Retry-After") == date


# ---- bad manners ----


def test_hangup_before(upstream):
    assert upstream.raw_get("/?hangup=before") == b""


def test_hangup_in_the_header(upstream):
    received = upstream.raw_get("/?hangup=header")
    assert received.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" not in received


def test_hangup_in_the_body(upstream):
    head, body = upstream.raw_get("/?hangup=body&size=1000").split(b"\r\n\r\n")
    assert b"Content-Length: 1000" in head
    assert len(body) == 500


@pytest.mark.parametrize("query", ["reset=1", "reset=1&hangup=body"])
def test_reset(upstream, query):
    with pytest.raises(ConnectionResetError):
        upstream.raw_get(f"/?{query}")


@pytest.mark.parametrize("length", [5, 5000])
def test_length_lies(upstream, length):
    head, body = upstream.raw_get(f"/?length={length}&size=100").split(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: %d" % length)
    assert len(body) == 100


@pytest.mark.parametrize("size", [0, 1, 2, 100_001])
def test_chunked(upstream, size):
    answer = upstream.get(f"/?chunked=1&size={size}")
    assert answer.getheader("Transfer-Encoding") == "chunked"
    assert len(answer.body) == size


def test_badchunk(upstream):
    with pytest.raises((http.client.IncompleteRead, ValueError)):
        upstream.get("/?badchunk=1&size=100")


def test_garbage(upstream):
    with pytest.raises(http.client.BadStatusLine):
        upstream.get("/?garbage=1")


def test_drip_sends_the_header_at_once_and_the_body_byte_by_byte(upstream):
    with upstream.connect() as sock:
        start = time.monotonic()
        sock.sendall(b"GET /?drip=20&body=abcd HTTP/1.1\r\n\r\n")
        read_until(sock, b"\r\n\r\na")
        assert read_until(sock, b"d") == b"bcd"
        assert time.monotonic() - start >= 0.06


def test_drip_header(upstream):
    start = time.monotonic()
    answer = upstream.get("/?drip_header=0.5&body=abc")
    assert answer.body == b"abc"
    assert time.monotonic() - start > 0.03


def test_stall_answers_nothing_and_keeps_the_connection(upstream):
    with upstream.connect() as sock:
        sock.settimeout(0.05)
        sock.sendall(b"GET /?stall=1 HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert upstream.stats()["in_flight"] == 1
    wait_until(lambda: upstream.stats()["in_flight"] == 0, "nothing in flight")


@pytest.mark.parametrize(
    "query, name",
    [
        ("nonsense=1", "nonsense"),
        ("delay", "delay"),
        ("delay=1e3", "delay"),
        ("delay=-1", "delay"),
        ("delay=1.", "delay"),
        ("status=99", "status"),
        ("status=600", "status"),
        ("fail=many", "fail"),
        ("size=1073741825", "size"),
        ("gzip=yes", "gzip"),
        ("hangup=never", "hangup"),
        ("header=novalue", "header"),
        ("body=%4", "body"),
        ("body=%0g", "body"),
    ],
)
def test_wrong_parameter_is_named(upstream, query, name):
    answer = upstream.get(f"/?size=1&{query}")
    assert answer.status == 400
    assert f'parameter "{name}"' in answer.body.decode()


# ---- connections ----


def test_connection_is_kept_until_close_is_asked_for(upstream):
    with upstream.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET /?body=. HTTP/1.1\r\n\r\n")
            assert b"Connection:" not in read_until(sock, b"\r\n\r\n.")
        sock.sendall(b"GET /?body=.&close=1 HTTP/1.1\r\n\r\n")
        assert b"Connection: close\r\n" in read_to_end(sock)
    assert b"Connection: close\r\n" in upstream.raw(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")


def test_http_1_0(upstream):
    assert b"Connection: close\r\n" in upstream.raw(b"GET / HTTP/1.0\r\n\r\n")
    with upstream.connect() as sock:
        sock.sendall(b"GET /?body=. HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive\r\n" in read_until(sock, b"\r\n\r\n.")


def test_request_in_pieces(upstream):
    with upstream.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /?body=. HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc":
            sock.sendall(bytes([byte]))
        assert read_until(sock, b"\r\n\r\n.").startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(upstream):
    with upstream.connect() as sock:
        sock.sendall(b"".join(b"GET /?body=<%d>&delay=%d HTTP/1.1\r\n\r\n" % (i, i % 3) for i in range(20)))
        received = read_until(sock, b"<19>")
    places = [received.find(b"<%d>" % i) for i in range(20)]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 200") == 20


def test_request_body_is_discarded(upstream):
    with upstream.connect() as sock:
        for _ in range(2):
            sock.sendall(b"POST /?body=. HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + bytes(300000))
            assert read_until(sock, b"\r\n\r\n.").startswith(b"HTTP/1.1 200")


def test_expect_continue(upstream):
    with upstream.connect() as sock:
        sock.sendall(b"PUT /?body=. HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"x")
        assert read_until(sock, b"\r\n\r\n.").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (b"\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    ],
)
def test_bad_request_is_refused(upstream, request_bytes, status):
    with upstream.connect() as sock:
        sock.sendall(request_bytes)
        assert read_to_end(sock).startswith(b"HTTP/1.1 %d " % status)


def test_head_of_almost_the_limit(upstream):
    assert upstream.get("/?body=" + "b" * 8000).body == b"b" * 8000


@pytest.mark.parametrize("query", ["delay=600000", "stall=1", "drip=600000", "size=1073741824"])
def test_peer_that_leaves_is_seen_at_once(query):
    with Upstream() as server:
        with server.connect() as sock:
            sock.sendall(f"GET /?{query} HTTP/1.1\r\n\r\n".encode())
            wait_until(lambda: server.stats()["in_flight"] == 1, "the request is in flight")
        wait_until(lambda: server.stats()["aborted"] == 1, "the upstream saw it leave")
        assert server.stats()["in_flight"] == 0


def test_the_times_at_which_peers_left_are_known_by_key():
    with Upstream() as server:
        for key in ("a", "b"):
            with server.connect() as sock:
                sock.sendall(f"GET /?stall=1&key={key} HTTP/1.1\r\n\r\n".encode())
                wait_until(lambda: server.stats()["in_flight"] == 1, "the request is in flight")
                before = time.monotonic_ns() // 1000
            wait_until(lambda: server.stats()["in_flight"] == 0, "the upstream saw it leave")
            gone = json.loads(server.get(f"/_gone?key={key}").body)["gone"]
            assert len(gone) == 1 and before <= gone[0] <= time.monotonic_ns() // 1000
        assert len(json.loads(server.get("/_gone").body)["gone"]) == 2


def test_the_mode_changes_all_answers_until_it_is_taken_back():
    with Upstream() as server:
        assert server.get("/_mode?status=503&retry_after=7&header=X-A:1", method="POST").status == 200
        answer = server.get("/?status=200&header=X-A:2")
        assert (answer.status, answer.getheader("Retry-After")) == (503, "7")
        assert answer.headers.get_all("X-A") == ["2", "1"]
        assert server.get("/_mode?nonsense=1", method="POST").status == 400
        assert server.get("/").status == 503
        server.get("/_mode?stall=1", method="POST")
        with server.connect() as sock:
            sock.settimeout(0.05)
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                sock.recv(1)
        server.get("/_mode", method="POST")
        assert server.get("/?body=x").body == b"x"


def test_stats_count_all_but_themselves():
    with Upstream() as server:
        assert server.stats() == {
            "requests": 0,
            "connections_open": 1,
            "connections_total": 1,
            "in_flight": 0,
            "max_in_flight": 0,
            "aborted": 0,
        }
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: server.get("/?delay=50"), range(8)))
        stats = server.stats()
        assert (stats["requests"], stats["connections_total"]) == (8, 10)
        assert 1 < stats["max_in_flight"] <= 8
        assert (stats["in_flight"], stats["aborted"]) == (0, 0)


# Opens COUNT connections to HOST PORT with a request in each, and holds them until its input ends.
HOLDER = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
address, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
held = [socket.create_connection(address) for _ in range(count)]
for sock in held:
    sock.sendall(b"GET /?stall=1 HTTP/1.1\\r\\n\\r\\n")
sys.stdin.read()
"""


def test_it_holds_twenty_thousand_connections():
    """Half of them in each process, and in each client: 20,000 descriptors are all that many machines allow."""
    each = 10_000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < each + 100:
        pytest.skip("the hard limit of descriptors is too low")
    with Upstream("--ports", "2", "--processes", "2") as server:
        holders = [subprocess.Popen([sys.executable, "-c", HOLDER, host, str(port), str(each)],
                                    stdin=subprocess.PIPE)
                   for host, port in server.addresses]
        try:
            for port in (0, 1):
                wait_until(lambda: server.stats(port)["in_flight"] == each, "all are in flight", 60)
                assert server.get("/", port=port).status == 200
        finally:
            for holder in holders:
                holder.communicate()
        for port in (0, 1):
            wait_until(lambda: server.stats(port)["aborted"] == each, "the upstream saw them leave")
            assert server.stats(port)["connections_open"] == 1


# ---- the program ----


def test_processes_share_the_ports():
    with Upstream("--ports", "5", "--processes", "2") as server:
        assert len(set(server.addresses)) == 5
        for port in range(5):
            assert server.get("/", port=port).status == 200
        assert [server.stats(port)["requests"] for port in (0, 1)] == [3, 2]


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_on_signal(processes, number):
    with Upstream("--ports", "2", "--processes", processes) as server, server.connect() as sock:
        sock.sendall(b"GET /?stall=1 HTTP/1.1\r\n\r\n")
        wait_until(lambda: server.stats()["in_flight"] == 1, "the request is in flight")
        server.process.send_signal(number)
        assert server.process.wait(5) == 0
        assert sock.recv(1) == b""


def test_workers_die_with_their_parent():
    with Upstream("--ports", "2", "--processes", "2") as server, server.connect() as sock:
        sock.sendall(b"GET /?body=. HTTP/1.1\r\n\r\n")
        read_until(sock, b"\r\n\r\n.")
        server.process.kill()
        assert sock.recv(1) == b""
        server.process.wait(5)


def test_command_line():
    answer = run("--help")
    assert answer.returncode == 0 and "drip_header" in answer.stdout and "/_gone" in answer.stdout
    for arguments in (["--port", "x"], ["--ports", "0"], ["--address", "nowhere"], ["--nonsense"], ["more"]):
        answer = run(*arguments)
        assert answer.returncode == 2 and answer.stderr
