"""Answers as they come: an event a part, then the summary, as NDJSON or as Server-Sent Events."""

import json

import pytest

from harness.endpoints import endpoint, part, service
from harness.events import Events
from harness.fastcgi import END_REQUEST, STDOUT, http_request
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

    def __init__(self, client, target, headers):
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
