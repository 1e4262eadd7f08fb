"""The bulkhead: so many attempts at once, so many calls that wait, and the others are refused at once."""

import pytest

from harness import metrics
from harness.endpoints import (answer, ask_at_once, begin, endpoint, finish, leave, live, part, reasons,
                               service, values, wait_for_live)
from harness.expect import retry_after
from harness.wait import wait_until


@pytest.fixture
def start(heddle, upstream, fresh_upstream):
    """start(max_in_flight=..., ...): /e asks the upstream that has these settings, /other another one."""
    def start(**settings):
        return heddle(upstreams=[service_at(fresh_upstream, **settings), service_at(upstream, "other")],
                      endpoints=[endpoint("/e", part("p", "u"), timeout="30s"),
                                 endpoint("/other", part("p", "other"))], shutdown_timeout="200ms")
    return start


def service_at(mock, name="u", **settings):
    return service(name, mock.origins[0], timeout="30s", **settings)


def fill(program, mock, in_flight, queued):
    """That many clients that are being served, and that wait."""
    clients = begin(program, "/e?delay=600000&key=full", count=in_flight)
    wait_until(lambda: mock.stats()["in_flight"] == in_flight, "all places are taken")
    clients += begin(program, "/e?delay=600000&key=full", count=queued)
    wait_for_live(program, "u", f"{queued} wait", lambda shown: shown["queued"] == queued)
    return clients


def test_no_more_than_max_in_flight_reach_the_upstream(start, fresh_upstream):
    program = start(max_in_flight=3, max_queue=100)
    for reply in ask_at_once(program, "/e?delay=20", 30):
        assert values(reply) == {"p": {"ok": True}}
    stats = fresh_upstream.stats()
    assert (stats["requests"], stats["max_in_flight"]) == (30, 3)
    shown = live(program, "u")
    assert (shown["in_flight"], shown["queued"]) == (0, 0)


def test_what_the_queue_does_not_hold_is_refused_at_once(start, fresh_upstream):
    program = start(max_in_flight=2, max_queue=3)
    clients = fill(program, fresh_upstream, 2, 3)
    reply = program.ask("GET", "/e")
    assert reasons(reply, 503) == {"p": "overloaded"}
    assert retry_after(reply) >= 1
    assert fresh_upstream.stats()["requests"] == 2
    shown = live(program, "u")
    assert (shown["in_flight"], shown["queued"]) == (2, 3)
    leave(clients)


def test_a_full_upstream_does_not_touch_the_others(start, fresh_upstream):
    program = start(max_in_flight=1, max_queue=1)
    clients = fill(program, fresh_upstream, 1, 1)
    for reply in ask_at_once(program, "/other", 20):
        values(reply)
    leave(clients)


def test_who_leaves_makes_room(start, fresh_upstream):
    program = start(max_in_flight=1, max_queue=1)
    served, waiting = fill(program, fresh_upstream, 1, 1)
    waiting.close()
    wait_for_live(program, "u", "nobody waits", lambda shown: shown["queued"] == 0)
    [waiting] = begin(program, "/e?key=next")
    wait_for_live(program, "u", "another waits", lambda shown: shown["queued"] == 1)
    served.close()
    values(waiting.read_reply())
    waiting.close()
    assert fresh_upstream.count("next") == 1


def test_who_waits_is_served_in_the_order_of_coming(start, fresh_upstream):
    program = start(max_in_flight=1, max_queue=10)
    clients = begin(program, "/e?delay=600&key=0")
    wait_until(lambda: fresh_upstream.count("0") == 1, "the first is in flight")
    for number in range(1, 6):
        clients += begin(program, f"/e?key={number}")
        wait_for_live(program, "u", f"{number} wait", lambda shown, number=number: shown["queued"] == number)
    for reply in finish(clients):
        values(reply)
    order = [request["query"].partition("&key=")[2].partition("&")[0] for request in fresh_upstream.read(
        "/_requests")["requests"]]
    assert order == ["0", "1", "2", "3", "4", "5"]


def test_who_cannot_be_served_in_time_is_refused_without_waiting(start, fresh_upstream):
    """The upstream is known to take its time; with some in the queue a short deadline cannot be met."""
    program = start(max_in_flight=1, max_queue=100)
    for _ in range(3):
        values(program.ask("GET", "/e?delay=200"))
    clients = begin(program, "/e?delay=200", count=10)
    wait_for_live(program, "u", "they wait", lambda shown: shown["queued"] >= 5)
    reply = program.ask("GET", "/e?key=hurry", headers={"X-Request-Timeout": "0.3"})
    assert reasons(reply, 503) == {"p": "overloaded"}
    assert retry_after(reply) >= 1
    leave(clients)
    assert fresh_upstream.count("hurry") == 0


def test_a_deadline_ends_the_waiting(start, fresh_upstream):
    program = start(max_in_flight=1, max_queue=10)
    clients = fill(program, fresh_upstream, 1, 0)
    reply = program.ask("GET", "/e?key=late", headers={"X-Request-Timeout": "0.2"})
    assert reply.status in (503, 504)
    body = answer(reply, reply.status)
    assert body["errors"]["p"]["reason"] in ("overloaded", "timeout")
    assert fresh_upstream.count("late") == 0
    assert live(program, "u")["queued"] == 0
    leave(clients)


def test_metrics(start, fresh_upstream):
    program = start(max_in_flight=1, max_queue=1)
    clients = fill(program, fresh_upstream, 1, 1)
    for _ in range(3):
        assert program.ask("GET", "/e").status == 503
    assert program.metric(metrics.UPSTREAM_IN_FLIGHT, upstream="u") == 1
    assert program.metric(metrics.UPSTREAM_QUEUED, upstream="u") == 1
    assert program.metric(metrics.UPSTREAM_REFUSED, upstream="u", why="full") == 3
    leave(clients)
    wait_until(lambda: program.metric(metrics.UPSTREAM_IN_FLIGHT, upstream="u") == 0, "they have left")
