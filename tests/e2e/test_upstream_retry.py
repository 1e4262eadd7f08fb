"""Retries: of what may be repeated, after what is worth it, as long as there is time and budget."""

import pytest

from harness import metrics
from harness.endpoints import (answer, ask_at_once, begin, endpoint, errors, finish, live, part, reasons,
                               service, values)
from harness.expect import retry_after

RETRY = {"max_attempts": 3, "backoff_base": "10ms", "backoff_max": "50ms", "budget": 1.0,
         "budget_min": 1000, "statuses": ["502", "503", "504"]}
# The key of the client decides how often the mock fails: "2-..." fails twice.
FAILING = {"fail": "{query.fail:0}", "status": "{query.status:503}", "retry_after": "{query.retry_after:}"}


@pytest.fixture
def start(heddle, fresh_upstream):
    def start(origin=fresh_upstream.origins[0], env=None, breaker=None, **retry):
        return heddle(
            upstreams=[service("u", origin, retry={**RETRY, **retry}, breaker=breaker or {"enabled": False})],
            endpoints=[endpoint("/e", part("p", "u", query=FAILING)),
                       endpoint("/plain", part("p", "u")),
                       endpoint("/hangup", part("p", "u", query={"hangup": "before"})),
                       *[endpoint(f"/{method}", part("p", "u", query=FAILING, method=method), method="POST")
                         for method in ("POST", "PUT", "PATCH", "DELETE")]],
            env=env)
    return start


@pytest.mark.parametrize("failures", [1, 2])
def test_it_tries_again_until_it_succeeds(start, fresh_upstream, failures):
    program = start()
    values(program.ask("GET", f"/e?fail={failures}&key=k"))
    assert fresh_upstream.count("k") == failures + 1
    assert program.metric(metrics.UPSTREAM_RETRIES, upstream="u") == failures


def test_it_gives_up_after_max_attempts(start, fresh_upstream):
    program = start()
    error = errors(program.ask("GET", "/e?fail=9&key=k"))["p"]
    assert (error["reason"], error["status"], error["attempts"]) == ("http_status", 503, 3)
    assert fresh_upstream.count("k") == 3


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_other_statuses_are_final(start, fresh_upstream, status):
    program = start()
    error = errors(program.ask("GET", f"/e?fail=9&key=k&status={status}"))["p"]
    assert (error["status"], error["attempts"]) == (status, 1)
    assert fresh_upstream.count("k") == 1


def test_the_statuses_are_configured(start, fresh_upstream):
    program = start(statuses=["500"])
    values(program.ask("GET", "/e?fail=1&key=a&status=500"))
    assert reasons(program.ask("GET", "/e?fail=1&key=b&status=503")) == {"p": "http_status"}


def test_connections_that_break_are_tried_again(start, fresh_upstream):
    program = start()
    error = errors(program.ask("GET", "/hangup?key=k"))["p"]
    assert (error["reason"], error["attempts"]) == ("protocol", 3)
    assert fresh_upstream.count("k") >= 3


def test_connections_that_are_refused_are_tried_again(start):
    error = errors(start("127.0.0.1:1").ask("GET", "/e"))["p"]
    assert (error["reason"], error["attempts"]) == ("connect", 3)


@pytest.mark.parametrize("method, attempts", [("POST", 1), ("PATCH", 1), ("PUT", 2), ("DELETE", 2)])
def test_only_what_may_be_repeated_is(start, fresh_upstream, method, attempts):
    program = start()
    reply = program.ask("POST", f"/{method}?fail=1&key=k", b"{}", {"Content-Type": "application/json"})
    answer(reply, 200 if attempts == 2 else 502)
    assert fresh_upstream.count("k") == attempts


def test_off_means_off(start, fresh_upstream):
    program = start(enabled=False)
    assert reasons(program.ask("GET", "/e?fail=1&key=k")) == {"p": "http_status"}
    assert fresh_upstream.count("k") == 1


def test_retry_after_is_waited_for(start, fresh_upstream):
    program = start()
    body = answer(program.ask("GET", "/e?fail=1&key=k&retry_after=1"))
    assert body["complete"]
    assert 1 <= body["total_time"] < 4
    assert fresh_upstream.count("k") == 2


def test_a_retry_after_beyond_the_deadline_ends_it_at_once(start, fresh_upstream):
    program = start()
    reply = program.ask("GET", "/e?fail=1&key=k&retry_after=60")
    error = errors(reply)["p"]
    assert (error["reason"], error["attempts"]) == ("http_status", 1)
    assert reply.json()["total_time"] < 4
    assert fresh_upstream.count("k") == 1


def test_the_deadline_ends_the_attempts(start, fresh_upstream):
    program = start(max_attempts=10)
    reply = program.ask("GET", "/plain?delay=200&status=503&key=k", headers={"X-Request-Timeout": "0.5"})
    assert reply.status in (502, 504)
    assert 1 <= fresh_upstream.count("k") <= 3


def test_pauses_are_random_between_nothing_and_the_whole(start, fresh_upstream):
    """Of pauses up to 2 s about a quarter have room before a deadline in 0.5 s: not all, not none."""
    program = start(max_attempts=2, backoff_base="2s", backoff_max="2s")
    count = 80
    for reply in ask_at_once(program, "/e?fail=1000&key=k", count, headers={"X-Request-Timeout": "0.5"}):
        assert reply.status in (502, 504)
    retries = fresh_upstream.count("k") - count
    assert 2 <= retries <= 50


def test_the_budget_stops_a_storm(start, fresh_upstream):
    program = start(budget=0.2, budget_min=1)
    count = 100
    for reply in finish(begin(program, "/e?fail=100000&key=k", count=count)):
        reasons(reply)
    extra = fresh_upstream.count("k") - count
    assert 1 <= extra <= 0.2 * count + 10
    shown = live(program, "u")["retry"]
    assert shown["retries_total"] == extra
    assert shown["denied_total"] > 0


def test_another_address_is_tried(start, names, twins):
    names.set("pair.test", "127.0.0.1", "127.0.0.2")
    program = start(f"pair.test:{twins[0].port}", env=names.env, breaker={"min_requests": 1000})
    twins[0].mode(status=503)
    for reply in ask_at_once(program, "/plain", 20):
        values(reply)


def test_the_client_is_told_when_to_come_again(start):
    program = start(max_attempts=1)
    reply = program.ask("GET", "/e?fail=1&key=k&retry_after=7")
    assert reply.status in (502, 503)
    if reply.status == 503:
        assert retry_after(reply) == 7
