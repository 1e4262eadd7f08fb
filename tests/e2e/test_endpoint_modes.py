"""Endpoints: which parts an answer waits for, and what those that fail make of it."""

import pytest

from harness.endpoints import answer, begin, endpoint, leave, part, service
from harness.programs import free_port
from harness.wait import wait_until

FAR = 600_000
OK = {"ok": True}


def asks(**query):
    return {"query": {name: str(value) for name, value in query.items()}}


FAST, SLOW = asks(key="fast"), asks(key="slow", delay=FAR)
BAD, LATE, DEAD, BUSY = "bad", "late", "dead", "busy"
FAILS = {BAD: asks(status=500), LATE: {**SLOW, "timeout": "100ms"}, DEAD: {}, BUSY: {}}


def failing(name, what, **settings):
    return part(name, {DEAD: "dead", BUSY: "busy"}.get(what, "u"), **FAILS[what], **settings)


@pytest.fixture
def start(heddle, fresh_upstream):
    def start(*parts, **settings):
        plain = {"retry": {"enabled": False}, "breaker": {"enabled": False}}
        return heddle(
            upstreams=[service("u", fresh_upstream.origins[0], timeout="60s", **plain),
                       service("dead", f"127.0.0.1:{free_port()}", **plain),
                       service("busy", fresh_upstream.origins[0], timeout="60s", max_in_flight=1, max_queue=0,
                               **plain)],
            endpoints=[endpoint("/e", *parts, **settings),
                       endpoint("/occupy", part("p", "busy", query={"delay": str(FAR)}), timeout="60s")],
            shutdown_timeout="200ms")
    return start


# ---- required and optional ------------------------------------------------------------------------

def test_an_optional_part_that_fails_leaves_200(start):
    body = answer(start(part("a", "u"), failing("b", BAD, required=False)).ask("GET", "/e"))
    assert body["parts"] == {"a": OK} and not body["complete"]
    error = body["errors"]["b"]
    assert (error["reason"], error["status"], error["attempts"]) == ("http_status", 500, 1)


@pytest.mark.parametrize("fails, status, reason", [(BAD, 502, "http_status"), (DEAD, 502, "connect"),
                                                   (LATE, 504, "timeout"), (BUSY, 503, "overloaded")])
def test_a_required_part_decides_the_status(start, fresh_upstream, fails, status, reason):
    program = start(part("a", "u"), failing("b", fails))
    occupied = []
    if fails == BUSY:
        occupied = begin(program, "/occupy")
        wait_until(lambda: fresh_upstream.stats()["in_flight"] == 1, "the upstream is busy")
    reply = program.ask("GET", "/e")
    body = answer(reply, status)
    assert body["errors"]["b"]["reason"] == reason
    assert ("retry-after" in reply.headers) == (status == 503)
    leave(occupied)


@pytest.mark.parametrize("fails, status", [((LATE, BAD), 502), ((BAD, LATE), 502), ((LATE, DEAD), 502)])
def test_the_most_lasting_failure_counts(start, fails, status):
    answer(start(*[failing(what, what) for what in fails]).ask("GET", "/e"), status)


# ---- first and quorum -----------------------------------------------------------------------------

def test_first_takes_the_first_success_and_cancels_the_rest(start, fresh_upstream):
    program = start(part("slow", "u", **SLOW), failing("bad", BAD), part("fast", "u", **asks(delay=50)),
                    mode="first")
    reply = program.ask("GET", "/e")
    assert reply.status == 200
    assert reply.json()["parts"] == {"fast": OK}
    wait_until(lambda: len(fresh_upstream.gone("slow")) == 1, "the slow one is cancelled")


def test_first_without_a_success_is_a_failure(start):
    answer(start(failing("a", BAD), failing("b", DEAD), mode="first").ask("GET", "/e"), 502)


def test_a_quorum_is_enough(start, fresh_upstream):
    program = start(part("slow", "u", **SLOW), part("a", "u"), failing("bad", BAD), part("b", "u"),
                    mode="quorum", quorum=2)
    reply = program.ask("GET", "/e")
    assert reply.status == 200
    assert reply.json()["parts"] == {"a": OK, "b": OK}
    wait_until(lambda: len(fresh_upstream.gone("slow")) == 1, "the slow one is cancelled")


def test_without_a_quorum_it_is_a_failure(start):
    program = start(part("a", "u"), failing("b", BAD), failing("c", BAD), mode="quorum", quorum=2)
    answer(program.ask("GET", "/e"), 502)


def test_all_waits_for_all(start):
    body = answer(start(part("a", "u", **asks(delay=200)), part("b", "u")).ask("GET", "/e"))
    assert body["parts"] == {"a": OK, "b": OK} and body["complete"]
    assert body["total_time"] >= 0.2


# ---- one after the other --------------------------------------------------------------------------

def test_a_part_uses_what_another_has_brought(start):
    program = start(part("user", "u", query={"json": '{{"account": "a b/&c", "number": 7}}'}),
                    part("echo", "u", path="/x/{user./number}", after=["user"], select="/query",
                         query={"echo": "1", "json": None, "x_account": "{user./account}"}))
    body = answer(program.ask("GET", "/e"))
    assert "x_account=a%20b%2F%26c" in body["parts"]["echo"]


def test_a_part_behind_one_that_failed_is_skipped(start, fresh_upstream):
    program = start(failing("a", BAD), part("b", "u", after=["a"], **asks(key="b")))
    body = answer(program.ask("GET", "/e"), 502)
    assert (body["errors"]["a"]["reason"], body["errors"]["b"]["reason"]) == ("http_status", "skipped")
    assert fresh_upstream.count("b") == 0


def test_what_can_run_at_once_does(start, fresh_upstream):
    """A diamond: b and c run side by side, d behind both."""
    program = start(part("a", "u"), part("b", "u", after=["a"], **asks(delay=300)),
                    part("c", "u", after=["a"], **asks(delay=300)), part("d", "u", after=["b", "c"]))
    body = answer(program.ask("GET", "/e"))
    assert body["complete"] and body["parts"].keys() == set("abcd")
    assert fresh_upstream.stats()["max_in_flight"] == 2
    assert body["total_time"] >= 0.3
