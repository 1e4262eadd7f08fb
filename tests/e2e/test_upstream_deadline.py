"""Deadlines: the endpoint's own, made shorter but never longer by the client; a part's, and an attempt's."""

import pytest

from harness.endpoints import answer, begin, endpoint, errors, finish, part, service, values
from harness.wait import wait_until

FAR = 600_000


@pytest.fixture
def program(heddle, fresh_upstream):
    slow = {"query": {"delay": str(FAR)}}
    return heddle(
        upstreams=[service("u", fresh_upstream.origins[0], timeout="60s", retry={"enabled": False},
                           breaker={"enabled": False}),
                   service("hasty", fresh_upstream.origins[0], timeout="200ms", retry={"enabled": False},
                           breaker={"enabled": False})],
        endpoints=[endpoint("/e", part("p", "u"), timeout="500ms"),
                   endpoint("/long", part("p", "u"), timeout="60s"),
                   endpoint("/part", part("p", "u", timeout="200ms", **slow), timeout="60s"),
                   endpoint("/attempt", part("p", "hasty", **slow), timeout="60s"),
                   endpoint("/optional", part("fast", "u"), part("slow", "u", required=False, **slow),
                            timeout="500ms")])


def test_the_endpoints_own(program, fresh_upstream):
    reply = program.ask("GET", f"/e?delay={FAR}")
    assert errors(reply, 504)["p"]["reason"] == "timeout"
    assert reply.json()["total_time"] <= 0.5
    wait_until(lambda: fresh_upstream.stats()["aborted"] == 1, "the upstream is not kept busy")


@pytest.mark.parametrize("left", ["0.3", "0.300"])
def test_the_client_makes_it_shorter(program, left):
    reply = program.ask("GET", f"/long?delay={FAR}", headers={"X-Request-Timeout": left})
    assert errors(reply, 504)["p"]["reason"] == "timeout"
    assert reply.json()["total_time"] <= 0.3


def test_the_client_does_not_make_it_longer(program):
    reply = program.ask("GET", f"/e?delay={FAR}", headers={"X-Request-Timeout": "60"})
    assert errors(reply, 504)["p"]["reason"] == "timeout"
    assert reply.json()["total_time"] < 5


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e3", "nan", "inf", "0x1", "1 s"])
def test_what_is_no_time_is_refused_or_passed_over(program, text):
    reply = program.ask("GET", "/e", headers={"X-Request-Timeout": text})
    assert reply.status in (200, 400)


def test_a_client_that_has_no_time_is_not_served(program, fresh_upstream):
    reply = program.ask("GET", "/e?key=none", headers={"X-Request-Timeout": "0"})
    assert reply.status in (400, 504)
    assert fresh_upstream.count("none") == 0


@pytest.mark.parametrize("path", ["/part", "/attempt"])
def test_a_part_and_an_attempt_have_their_own(program, path):
    assert errors(program.ask("GET", path), 504)["p"]["reason"] == "timeout"


def test_what_came_in_time_is_shown(program):
    body = answer(program.ask("GET", "/optional"))
    assert body["parts"] == {"fast": {"ok": True}} and not body["complete"]
    assert body["errors"]["slow"]["reason"] == "timeout"


def test_many_deadlines_at_once(program, fresh_upstream):
    for reply in finish(begin(program, f"/e?delay={FAR}", count=100)):
        errors(reply, 504)
    wait_until(lambda: fresh_upstream.stats()["in_flight"] == 0, "nothing is left over")
    values(program.ask("GET", "/e"))
