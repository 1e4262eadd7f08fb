"""What nginx, configured as nginx/ says, sends to heddle, and what it answers by itself."""

import socket
from contextlib import ExitStack

import pytest

from harness import metrics
from harness.backend import Backend
from harness.expect import fan_out, problem
from harness.heddle import socket_directory
from harness.nginx import Nginx, ProductionNginx
from harness.reply import Reply, header_map
from harness.wait import wait_until


@pytest.fixture
def behind_nginx(tmp_path):
    """start(drops): (backend, nginx)"""
    with ExitStack() as stack:
        def start(**options):
            path = f"{stack.enter_context(socket_directory())}/s"
            backend = stack.enter_context(Backend(path, **options))
            return backend, stack.enter_context(Nginx(f"unix:{path}", tmp_path / "nginx"))
        yield start


def test_it_sends_what_heddle_reads_and_no_proxy(behind_nginx):
    backend, nginx = behind_nginx()
    headers = {"Proxy": "http://evil.example/", "X-Request-Id": "chosen", "Content-Type": "application/json"}
    reply = nginx.ask("POST", "/a%20b/../c?x=1&y=%20", b"{}", headers)
    [(params, body)] = backend.requests
    assert body == b"{}"
    assert params.get("HTTP_PROXY", "") == ""
    assert params["HTTP_X_REQUEST_ID"] == reply.headers["x-request-id"] != "chosen"
    assert {name: params[name] for name in ("REQUEST_METHOD", "REQUEST_URI", "QUERY_STRING", "CONTENT_TYPE",
                                            "CONTENT_LENGTH", "REMOTE_ADDR", "SERVER_PROTOCOL")} == {
        "REQUEST_METHOD": "POST", "REQUEST_URI": "/a%20b/../c?x=1&y=%20", "QUERY_STRING": "x=1&y=%20",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "2", "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1"}


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/health/live", "/health/ready", "/%6detrics", "//metrics"])
@pytest.mark.parametrize("address, is_near", [
    ("203.0.113.7", False), ("172.32.0.1", False), ("2001:db8::1", False),
    ("127.0.0.9", True), ("10.1.2.3", True), ("172.31.0.1", True), ("192.168.9.9", True), ("fd00::1", True)])
def test_health_and_metrics_are_for_neighbours(tmp_path, path, address, is_near):
    with socket_directory() as folder, Backend(f"{folder}/s") as backend:
        trusted = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"
        with Nginx(f"unix:{folder}/s", tmp_path / "nginx", trusted) as nginx:
            reply = nginx.ask("GET", path, headers={"X-Real-IP": address})
            assert reply.status == (200 if is_near else 403)
            assert len(backend.requests) == is_near
            if not is_near:
                problem(reply, 403)


def test_it_keeps_its_connections(behind_nginx):
    backend, nginx = behind_nginx()
    for _ in range(40):
        assert nginx.ask("GET", "/").status == 200
    assert len(backend.requests) == 40
    assert backend.connections <= 8, "each of its processes keeps one or two"


def test_a_post_whose_connection_breaks_is_not_sent_again(behind_nginx):
    backend, nginx = behind_nginx(drops=lambda params: params["REQUEST_METHOD"] == "POST")
    for _ in range(8):
        assert nginx.ask("GET", "/").status == 200  # there are kept connections now
    for count in range(1, 5):
        reply = nginx.ask("POST", "/", b"{}")
        problem(reply, 502)
        assert int(reply.headers["retry-after"]) >= 1
        assert [params["REQUEST_METHOD"] for params, _ in backend.requests].count("POST") == count


@pytest.mark.parametrize("size, status", [(7000, 200), (40_000, 431)])
def test_a_header_that_is_too_large_is_a_problem(behind_nginx, size, status):
    backend, nginx = behind_nginx()
    reply = nginx.ask("GET", "/", headers={"X-Long": "x" * size})
    assert reply.status == status
    assert len(backend.requests) == (status == 200)
    if status != 200:
        problem(reply, status)


def test_a_body_that_is_too_large_does_not_get_through(behind_nginx):
    backend, nginx = behind_nginx()
    problem(nginx.ask("POST", "/", bytes(64 * 1024 + 1)), 413)
    assert not backend.requests


def test_a_slow_client_costs_heddle_nothing(behind_nginx):
    """The request is passed on when it is complete."""
    backend, nginx = behind_nginx()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert nginx.ask("GET", "/").status == 200
        assert [params["REQUEST_METHOD"] for params, _ in backend.requests] == ["GET"]
        client.sendall(b"67890")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert backend.requests[-1][1] == b"1234567890"


def test_without_heddle_it_answers_with_a_problem(tmp_path):
    with socket_directory() as folder, Nginx(f"unix:{folder}/nobody", tmp_path / "nginx") as nginx:
        reply = nginx.ask("GET", "/concurrent_requests/")
        assert problem(reply, 502)["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("request_text", [
    b"\r\n\r\n", b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n"], ids=repr)
def test_what_is_no_request_is_answered_by_nginx_alone(behind_nginx, request_text):
    backend, nginx = behind_nginx()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=20) as client:
        client.sendall(request_text)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    assert not backend.requests


def test_a_client_that_does_not_read_costs_heddle_nothing(heddle, upstream, tmp_path):
    program = heddle([upstream.url(f"/{number}", size=600_000) for number in range(20)],
                     concurrent_requests={"content_chars": 600_000}, client_timeout="60s")
    with Nginx(program.address_for_nginx, tmp_path / "nginx") as nginx:
        with socket.create_connection(("127.0.0.1", nginx.port)) as client:
            client.sendall(b"GET /concurrent_requests/ HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1, socket.MSG_PEEK)  # the answer has begun
            wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nginx has all of the answer")


# ---- the configuration for production ----

BURST = 400  # of nginx/heddle.conf


@pytest.fixture
def production(tmp_path, heddle, upstream):
    program = heddle([upstream.url("/")])
    with ProductionNginx(program.address_for_nginx, tmp_path / "nginx") as nginx:
        yield nginx


def test_a_client_gone_wild_is_slowed_down(production):
    connection = production.connect()
    for served in range(50 * BURST):
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            break
    connection.close()
    assert served > BURST
    reply = Reply(answer.status, header_map(answer.getheaders()), body)
    problem(reply, 429)
    assert reply.headers["retry-after"] == "1"


def test_the_production_site_serves(production, tmp_path):
    assert [result["status"] for result in fan_out(production.ask("GET", "/concurrent_requests/"))["results"]] == [200]
    reply = production.ask("POST", "/start_background_task/", b'{"message": "x", "duration": 0}',
                           {"Content-Type": "application/json"})
    assert reply.status == 202
    problem(production.ask("POST", "/start_background_task/", bytes(64 * 1024 + 1)), 413)
    assert b"heddle_build_info" in production.ask("GET", "/metrics").body
    # Two workers may have answered, and each writes its line when it has.
    access = tmp_path / "nginx/access.log"
    log = wait_until(lambda: len(lines := access.read_text().splitlines()) >= 3 and lines, "all is in the log")
    assert sorted(line.partition('"')[2].partition('"')[0] for line in log) == [
        "GET /concurrent_requests/ HTTP/1.1", *["POST /start_background_task/ HTTP/1.1"] * 2]
    assert any(reply.headers["x-request-id"] in line for line in log)
