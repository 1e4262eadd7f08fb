"""Hedging: a second request when the first is slower than most, under a budget; the loser is cancelled."""

import pytest

from harness import metrics
from harness.endpoints import ask_at_once, begin, endpoint, errors, finish, leave, live, part, service, values
from harness.wait import wait_until

FAR = 600_000
HEDGE = {"enabled": True, "percentile": 0.95, "min_delay": "20ms", "budget": 1.0}
WARM = 200  # answers, enough to know the upstream


@pytest.fixture
def start(heddle, fresh_upstream):
    def start(origin=fresh_upstream.origins[0], env=None, **hedge):
        slow = {"slow_every": "2", "slow_delay": FAR}
        program = heddle(
            upstreams=[service("u", origin, timeout="30s", hedge={**HEDGE, **hedge},
                               retry={"enabled": False})],
            endpoints=[endpoint("/fast", part("p", "u")),
                       endpoint("/e", part("p", "u", query=slow)),
                       endpoint("/post", part("p", "u", method="POST", query=slow), method="POST",
                                timeout="500ms")],
            env=env)
        for _ in range(WARM // 20):
            ask_at_once(program, "/fast", 20)
        return program
    return start


def prepare(mock, key):
    """The next request with this key will be slow, the one after it not."""
    mock.read("/", json="{}", slow_every=2, slow_delay=FAR, key=key)


def test_the_second_answer_counts_and_the_first_request_is_cancelled(start, fresh_upstream):
    program = start()
    prepare(fresh_upstream, "k")
    assert values(program.ask("GET", "/e?key=k")) == {"p": {"ok": True}}
    assert fresh_upstream.count("k") == 3
    wait_until(lambda: len(fresh_upstream.gone("k")) == 1, "the loser is cancelled")
    assert fresh_upstream.stats()["in_flight"] == 0
    assert live(program, "u")["in_flight"] == 0
    assert program.metric(metrics.UPSTREAM_HEDGES, upstream="u", result="won") >= 1


def test_fast_answers_are_not_asked_for_twice(start, fresh_upstream):
    program = start(min_delay="5s")
    for reply in ask_at_once(program, "/fast?key=k&delay=50", 20):
        values(reply)
    assert fresh_upstream.count("k") == 20


def test_off_unless_configured(heddle, fresh_upstream):
    program = heddle(upstreams=[service("u", fresh_upstream.origins[0])],
                     endpoints=[endpoint("/e", part("p", "u"))])
    for _ in range(WARM // 20):
        ask_at_once(program, "/e", 20)
    values(program.ask("GET", "/e?delay=300&key=k"))
    assert fresh_upstream.count("k") == 1


def test_what_must_not_be_repeated_is_not(start, fresh_upstream):
    program = start()
    prepare(fresh_upstream, "k")
    reply = program.ask("POST", "/post?key=k", b"{}", {"Content-Type": "application/json"})
    assert errors(reply, 504)["p"]["reason"] == "timeout"
    assert fresh_upstream.count("k") == 2


def test_the_budget_limits_them(start, fresh_upstream):
    """An upstream that has become slow as a whole is not asked twice as much."""
    program = start(budget=0.05)
    count = 60
    for reply in ask_at_once(program, "/fast?key=k&delay=400", count):
        values(reply)
    extra = fresh_upstream.count("k") - count
    assert extra <= 0.05 * (WARM + count) + 5, extra


def test_a_client_that_leaves_takes_both_along(start, fresh_upstream):
    program = start()
    clients = begin(program, f"/fast?key=k&delay={FAR}")
    wait_until(lambda: fresh_upstream.count("k") == 2, "both are there")
    leave(clients)
    wait_until(lambda: len(fresh_upstream.gone("k")) == 2, "both have gone")


def test_the_other_address_is_asked(start, names, twins):
    """One of two machines hangs from now on: nobody notices."""
    names.set("pair.test", "127.0.0.1", "127.0.0.2")
    program = start(f"pair.test:{twins[0].port}", env=names.env)
    twins[0].mode(stall=1)
    for reply in finish(begin(program, "/fast?key=k", count=20)):
        values(reply)
