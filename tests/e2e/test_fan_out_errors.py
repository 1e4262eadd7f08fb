"""What a fan-out says of URLs that fail, and that the others do not suffer from it."""

import socket
import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest

from harness import metrics
from harness.build import SANITIZED
from harness.expect import by_url, fan_out
from harness.mock import MockUpstream
from harness.programs import free_port

PATH = "/concurrent_requests/"
LIMIT = 64 * 1024
SETTINGS = {"fetch": {"timeout": "1s", "connect_timeout": "500ms", "max_response": "64KiB"}}


def failing_urls(upstream):
    """URL -> (reason, status if there was one)."""
    url = upstream.url
    return {
        url(status=404): ("http_status", 404),
        url(status=500, size=3000): ("http_status", 500),
        url(delay=20000): ("timeout", None),
        url(stall=1): ("timeout", None),
        url(drip=200, size=1000): ("timeout", ...),
        url(drip_header=200): ("timeout", None),
        "http://host.invalid/": ("dns", None),
        f"http://127.0.0.1:{free_port()}/": ("connect", None),
        url(size=LIMIT + 1): ("too_large", ...),
        url(size=LIMIT + 1, chunked=1): ("too_large", ...),
        url(size=LIMIT + 1, gzip=1): ("too_large", ...),
        url(size=200 << 20, gzip=1): ("too_large", ...),
        url(size=1 << 30): ("too_large", ...),
        url(hangup="before"): ("protocol", None),
        url(hangup="header"): ("protocol", ...),
        url(hangup="body", size=2000): ("protocol", ...),
        url(hangup="body", size=2000, chunked=1): ("protocol", ...),
        url(hangup="body", size=2000, gzip=1): ("protocol", ...),
        url(reset=1): ("protocol", None),
        url(reset=1, hangup="body", size=2000): ("protocol", ...),
        url(length=1000, size=10): ("protocol", ...),
        url(badchunk=1, size=2000): ("protocol", ...),
        url(garbage=1): ("protocol", None),
        url(header="Content-Encoding:gzip", body="not gzip"): ("protocol", ...),
        url(redirect=11): ("protocol", ...),
        url(redirect_to="ftp://127.0.0.1/x"): ("protocol", ...),
        url(redirect_to="file:///etc/passwd"): ("protocol", ...),
        url(redirect_to="gopher://127.0.0.1:1/x"): ("protocol", ...),
        url(redirect_to="http://host.invalid/"): ("dns", ...),
        url("/answers/404", redirect_to=url("/gone", status=404)): ("http_status", 404),
    }


def good_urls(upstream):
    return [upstream.url(f"/good/{number}", origin=number % 4, delay=number * 20) for number in range(5)] + [
        upstream.url(size=LIMIT), upstream.url(size=LIMIT, gzip=1)]


def summary(result):
    return result.get("reason"), result.get("status")


def test_each_failure_has_its_reason_and_the_others_their_results(heddle, via, upstream):
    expected, good = failing_urls(upstream), good_urls(upstream)
    program = heddle([*expected, *good], **SETTINGS)
    results = by_url(fan_out(via(program).ask("GET", PATH)))
    wrong = {url: (results[url], wanted) for url, wanted in expected.items()
             if results[url].get("reason") != wanted[0]
             or wanted[1] not in (..., results[url].get("status"))}
    assert not wrong
    assert [summary(results[url]) for url in good] == [(None, 200)] * len(good)


def test_fetches_are_counted_by_outcome(heddle, upstream):
    expected, good = failing_urls(upstream), good_urls(upstream)
    program = heddle([*expected, *good], **SETTINGS)
    fan_out(program.ask("GET", PATH))
    scrape = program.metrics()
    reasons = [reason for reason, _ in expected.values()]
    for reason in set(reasons):
        assert scrape.value(metrics.UPSTREAM_REQUESTS, outcome=reason) == reasons.count(reason), reason
        assert scrape.value(metrics.FETCHES, outcome=reason) >= reasons.count(reason), reason  # some are retries
    assert scrape.value(metrics.UPSTREAM_REQUESTS) == len(expected) + len(good)


@pytest.mark.parametrize("status, text", [
    (400, "HTTP 400 Bad Request"), (401, "HTTP 401 Unauthorized"), (403, "HTTP 403 Forbidden"),
    (404, "HTTP 404 Not Found"), (410, "HTTP 410 Gone"), (429, "HTTP 429 Too Many Requests"),
    (500, "HTTP 500 Internal Server Error"), (502, "HTTP 502 Bad Gateway"),
    (503, "HTTP 503 Service Unavailable"), (504, "HTTP 504 Gateway Timeout")])
def test_the_error_names_the_status(heddle, upstream, status, text):
    [result] = fan_out(heddle([upstream.url(status=status)]).ask("GET", PATH))["results"]
    assert (result["error"], result["reason"], result["status"]) == (text, "http_status", status)


def test_a_status_nobody_knows_is_an_error_all_the_same(heddle, upstream):
    [result] = fan_out(heddle([upstream.url(status=599)]).ask("GET", PATH))["results"]
    assert result["error"].startswith("HTTP 599") and result["status"] == 599


def test_all_may_fail_and_the_answer_is_200(heddle, via, upstream):
    urls = [upstream.url(hangup="before"), f"http://127.0.0.1:{free_port()}/", upstream.url(status=500)]
    results = fan_out(via(heddle(urls)).ask("GET", PATH))["results"]
    assert len(results) == 3 and all("error" in result for result in results)


def test_an_error_text_holds_nothing_of_the_body(heddle, upstream):
    urls = [upstream.url(status=500, body="internal secret"),
            upstream.url(length=1000, body="internal secret")]
    for result in fan_out(heddle(urls).ask("GET", PATH))["results"]:
        assert "secret" not in result["error"] and "content" not in result


def test_https_to_a_port_without_tls_is_a_tls_error(heddle):
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_plainly():
        with suppress(OSError):
            while True:  # it is tried again
                sock, _ = listener.accept()
                with sock:
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    sock.recv(10000)
    thread = threading.Thread(target=answer_plainly)
    thread.start()
    program = heddle([f"https://127.0.0.1:{listener.getsockname()[1]}/"])
    [result] = fan_out(program.ask("GET", PATH))["results"]
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    assert result["reason"] == "tls"


def test_a_time_out_comes_when_it_is_due(heddle, upstream):
    program = heddle([upstream.url(stall=1)], fetch={"timeout": "300ms"})
    body = fan_out(program.ask("GET", PATH))
    [result] = body["results"]
    assert result["reason"] == "timeout"
    assert 0.3 <= result["elapsed"] < 10


@contextmanager
def url_that_does_not_accept():
    with socket.socket() as listener, ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}/"


def test_a_peer_that_does_not_accept_is_given_up(heddle):
    with url_that_does_not_accept() as deaf:
        program = heddle([deaf], fetch={"timeout": "20s", "connect_timeout": "300ms"})
        body = fan_out(program.ask("GET", PATH))
    assert body["results"][0]["reason"] in ("timeout", "connect")
    assert body["total_time"] < 15


def test_the_fetch_after_a_connection_that_was_given_up_is_as_good_as_any(heddle, upstream):
    # One after the other, so that the second socket gets the number of the first.
    with url_that_does_not_accept() as deaf:
        program = heddle([deaf, upstream.url(delay=20)],
                         concurrent_requests={"max_concurrency": 1},
                         fetch={"timeout": "10s", "connect_timeout": "300ms", "workers": 1})
        given_up, good = fan_out(program.ask("GET", PATH))["results"]
    assert given_up["reason"] == "timeout"
    assert good.get("status") == 200, good


def test_a_claimed_length_takes_no_memory(heddle, upstream):
    [result] = fan_out(heddle([upstream.url(length=1 << 50, size=10)]).ask("GET", PATH))["results"]
    assert result["reason"] in ("too_large", "protocol")  # by the claim, or by what came


def test_a_redirect_without_end_is_given_up(heddle, upstream):
    target = upstream.url("/loop")
    program = heddle([upstream.url("/loop", redirect_to=target + "?redirect=1000")])
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert result["reason"] == "protocol"


def test_fewer_redirects_when_configured_so(heddle, upstream):
    urls = [upstream.url(redirect=2), upstream.url(redirect=3)]
    program = heddle(urls, fetch={"max_redirects": 2})
    results = by_url(fan_out(program.ask("GET", PATH)))
    assert results[urls[0]].get("status") == 200 and "error" in results[urls[1]]


@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer's own memory would be measured")
def test_huge_bodies_do_not_fill_the_memory(heddle, upstream):
    urls = [upstream.url(f"/{number}", size=1 << 30, gzip=number % 2, chunked=number // 2 % 2)
            for number in range(20)]
    program = heddle(urls)
    results = fan_out(program.ask("GET", PATH))["results"]
    assert {result["reason"] for result in results} == {"too_large"}
    assert program.status_kib("VmHWM") < 150 * 1024


def test_a_warm_connection_that_the_peer_closed_is_replaced(heddle, tmp_path):
    (tmp_path / "first").mkdir()
    with MockUpstream(tmp_path / "first") as mock:
        program = heddle([mock.url()])
        assert fan_out(program.ask("GET", PATH))["results"][0]["status"] == 200
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert result["reason"] == "connect"
