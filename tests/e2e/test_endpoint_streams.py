"""Answers as they come: an event a part, then the summary, as NDJSON or as Server-Sent Events."""

import json
import signal
import time

import pytest

from harness import metrics
from harness.endpoints import endpoint, part, service
from harness.events import Events
from harness.expect import detailed_problem
from harness.fastcgi import END_REQUEST, STDOUT, http_request, parse_cgi
from harness.wait import wait_until

FAR = 600_000
NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
def program(heddle, fresh_upstream):
    def asks(**query):
        return {"query": {name: str(value) for name, value in query.items()}}
    return heddle(
        [fresh_upstream.url("/fast"), fresh_upstream.url("/slow", delay=FAR)],
        upstreams=[service("u", fresh_upstream.origins[0], timeout="10m", retry={"enabled": False})],
        endpoints=[endpoint("/e", part("slow", "u", **asks(delay=300)), part("fast", "u"),
                            part("bad", "u", **asks(status=500), required=False)),
                   endpoint("/hangs", part("never", "u", **asks(delay=FAR, key="never")), part("fast", "u"),
                            timeout="10m")],
        fetch={"timeout": "10m"})


def check_events(events):
    *parts, summary = events
    assert [one["part"] for one in parts][-1] == "slow"
    by_name = {one["part"]: one for one in parts}
    assert by_name.keys() == {"fast", "slow", "bad"}
    assert by_name["fast"]["value"] == {"ok": True}
    assert (by_name["bad"]["reason"], by_name["bad"]["status"]) == ("http_status", 500)
    assert not summary["complete"] and summary["errors"].keys() == {"bad"}
    assert summary["status"] == 200 and summary["total_time"] >= 0.3


def test_ndjson(program, via):
    reply = via(program).ask("GET", "/e", headers=NDJSON)
    assert reply.status == 200 and reply.media_type() == "application/x-ndjson"
    check_events([json.loads(line) for line in reply.body.decode().splitlines()])


def test_server_sent_events(program, via):
    with Events(via(program), "/e") as events:
        check_events([event.data for event in events.rest()])


class Lines:
    """The lines of a stream, as they come."""

    def __init__(self, client, target, headers=None):
        headers = headers or NDJSON
        self.text = b""
        if hasattr(client, "port"):  # nginx
            self.connection = client.connect()
            self.connection.request("GET", target, headers=headers)
            answer = self.connection.getresponse()
            self.read_some = lambda: answer.read1(65536)
        else:
            self.connection = client.connect()
            self.connection.send(http_request("GET", target, None, headers))
            while b"\r\n\r\n" not in self.text:
                self.text += self.read_record()
            self.text = self.text.partition(b"\r\n\r\n")[2]
            self.read_some = self.read_record

    def read_record(self):
        while True:
            kind, _, content = self.connection.read_record()
            assert kind != END_REQUEST
            if kind == STDOUT and content:
                return content

    def next(self):
        while b"\n" not in self.text:
            self.text += self.read_some()
        line, _, self.text = self.text.partition(b"\n")
        return json.loads(line)


def test_a_part_is_there_before_the_others_are(program, via):
    lines = Lines(via(program), "/hangs", NDJSON)
    assert lines.next()["part"] == "fast"
    lines.connection.close()


def test_a_listener_that_leaves_ends_the_rest(program, via, fresh_upstream):
    lines = Lines(via(program), "/hangs", NDJSON)
    lines.next()
    lines.connection.close()
    wait_until(lambda: len(fresh_upstream.gone("never")) == 1, "the upstream saw it end")


def test_the_list_of_urls_streams_too(program, via, fresh_upstream):
    lines = Lines(via(program), "/concurrent_requests/", NDJSON)
    assert lines.next()["status"] == 200
    lines.connection.close()
    wait_until(lambda: fresh_upstream.stats()["aborted"] == 1, "the upstream saw it end")


def test_other_types_are_refused(program):
    assert program.ask("GET", "/e", headers={"Accept": "text/csv"}).status == 406
    assert program.ask("GET", "/e", headers={"Accept": "*/*"}).media_type() == "application/json"


# ---- large parts, slow readers --------------------------------------------------------------------

MIB = 1 << 20


@pytest.fixture
def large(heddle, fresh_upstream):
    """Parts that are far larger than what may wait for a reader (256 KiB)."""
    def size(count, **more):
        return {"query": {"json": None, "type": "text/plain", "size": str(count), **more}}
    return heddle(
        upstreams=[service("u", fresh_upstream.origins[0], max_response="16MiB")],
        endpoints=[endpoint("/large", part("a", "u", **size(5 * MIB)), part("b", "u", **size(1)),
                            part("c", "u", **size(5 * MIB, delay="50")), max_response="32MiB")],
        client_timeout="2s")


def by_name(lines):
    *parts, summary = [json.loads(line) for line in lines]
    assert summary["complete"] and summary["status"] == 200
    return {one["part"]: one["value"] for one in parts}


def test_large_parts_come_whole(large, via):
    client = via(large)
    expected = client.ask("GET", "/large").json()["parts"]
    assert {name: len(value) for name, value in expected.items()} == {"a": 5 * MIB, "b": 1, "c": 5 * MIB}
    assert by_name(client.ask("GET", "/large", headers=NDJSON).body.splitlines()) == expected
    with Events(client, "/large") as events:
        *parts, summary = events.rest()
        assert {event.data["part"]: event.data["value"] for event in parts} == expected
        assert [event.kind for event in parts] == ["part"] * 3 and summary.kind == "summary"


def test_a_slow_reader_gets_all(large):
    with large.connect() as connection:
        connection.send(http_request("GET", "/large", None, NDJSON))
        output = b""
        for turn in range(40):  # far slower than it is made; each turn well within client_timeout
            kind, _, content = connection.read_record()
            assert kind == STDOUT
            output += content
            time.sleep(0.01)
        reply = parse_cgi(output + connection.read_reply_bytes())
    assert by_name(reply.body.splitlines())["a"] == large.ask("GET", "/large").json()["parts"]["a"]
    assert large.metric(metrics.IN_FLIGHT) == 1


def test_who_does_not_read_is_closed_and_holds_nothing(large):
    connection = large.connect()
    connection.send(http_request("GET", "/large", None, NDJSON))
    wait_until(lambda: large.metric(metrics.IN_FLIGHT) == 2, "it is being answered")
    wait_until(lambda: large.metric(metrics.IN_FLIGHT) == 1, "client_timeout")
    connection.close()


def test_many_that_leave_in_the_middle(large):
    for turn in range(30):
        with large.connect() as connection:
            connection.send(http_request("GET", "/large", None, NDJSON))
            for _ in range(turn):
                connection.read_record()
    wait_until(lambda: large.metric(metrics.IN_FLIGHT) == 1, "all have ended")
    assert len(by_name(large.ask("GET", "/large", headers=NDJSON).body.splitlines())) == 3


# ---- what is not a stream -------------------------------------------------------------------------

def test_head_has_the_headers_alone_and_asks_nobody(program, via, fresh_upstream):
    before = fresh_upstream.stats()["requests"]
    reply = via(program).ask("HEAD", "/e", headers=NDJSON)
    assert (reply.status, reply.body, reply.media_type()) == (200, b"", "application/x-ndjson")
    assert "content-length" not in reply.headers
    assert fresh_upstream.stats()["requests"] == before


def test_a_wrong_request_is_a_problem_all_the_same(program, via):
    reply = via(program).ask("GET", "/e", headers={**NDJSON, "X-Request-Timeout": "never"})
    detailed_problem(reply, 400)
    assert reply.headers["vary"] == "Accept"


def test_the_headers_of_a_stream(program):
    reply = program.ask("GET", "/e", headers=NDJSON)
    assert reply.headers["x-accel-buffering"] == "no" and reply.headers["vary"] == "Accept"
    assert reply.headers["cache-control"] == "no-store" and "content-length" not in reply.headers


def test_all_answers_vary_by_accept(program):
    for headers in ({}, {"Accept": "text/csv"}, NDJSON):
        assert program.ask("GET", "/e", headers=headers).headers["vary"] == "Accept"


# ---- stopping -------------------------------------------------------------------------------------

def test_a_stop_waits_for_a_stream(program, via):
    lines = Lines(via(program), "/e")
    lines.next()
    program.signal(signal.SIGTERM)
    while "part" in (line := lines.next()):
        last = line["part"]
    assert last == "slow" and line["status"] == 200
    lines.connection.close()
    assert program.wait() == 0


def test_what_takes_longer_than_shutdown_timeout_is_cancelled_and_summed_up(heddle, fresh_upstream):
    program = heddle(
        upstreams=[service("u", fresh_upstream.origins[0], timeout="10m")],
        endpoints=[endpoint("/hangs", part("never", "u", query={"delay": str(FAR)}), part("fast", "u"),
                            timeout="10m")],
        fetch={"timeout": "10m"}, shutdown_timeout="300ms")
    lines = Lines(program, "/hangs")
    assert lines.next()["part"] == "fast"
    program.signal(signal.SIGTERM)
    assert lines.next()["reason"] == "cancelled"
    assert not lines.next()["complete"]
    lines.connection.close()
    assert program.wait() == 0
