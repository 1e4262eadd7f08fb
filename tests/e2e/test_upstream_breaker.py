"""The circuit breaker: it opens at a share of failures or of slow calls, tries again by probes, and closes.
Of a name with several addresses single ones are left out, never all."""

import pytest

from harness import metrics
from harness.endpoints import (answer, ask_at_once, begin, endpoint, finish, live, part, reasons, service,
                               values, wait_for_live)
from harness.expect import retry_after
from harness.wait import wait_until

LONG = "10m"
BREAKER = {"min_requests": 4, "failure_ratio": 0.5, "window": "30s", "open": LONG, "probes": 2}
NO_RETRIES = {"enabled": False}


@pytest.fixture
def start(heddle, fresh_upstream):
    def start(mock=fresh_upstream.origins[0], env=None, **breaker):
        return heddle(upstreams=[service("u", mock, breaker={**BREAKER, **breaker}, retry=NO_RETRIES)],
                      endpoints=[endpoint("/e", part("p", "u")),
                                 endpoint("/post", part("p", "u", method="POST"), method="POST")], env=env)
    return start


def state(program):
    return live(program, "u")["breaker"]["state"]


def fail(program, count, status=503):
    for _ in range(count):
        assert reasons(program.ask("GET", f"/e?status={status}")) == {"p": "http_status"}


def test_it_opens_at_the_share_of_failures(start, fresh_upstream):
    program = start()
    values(program.ask("GET", "/e"))
    fail(program, 2)
    assert state(program) == "closed"  # too few to say
    fail(program, 1)
    assert state(program) == "open"
    reply = program.ask("GET", "/e?key=refused")
    assert reasons(reply, 503) == {"p": "circuit_open"}
    assert retry_after(reply) >= 1
    assert fresh_upstream.count("refused") == 0
    assert program.metric(metrics.UPSTREAM_OPENED, upstream="u") == 1


def test_it_stays_closed_below_the_share(start):
    program = start(failure_ratio=0.8)
    for _ in range(5):
        values(program.ask("GET", "/e"))
        fail(program, 1)
    assert state(program) == "closed"


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_the_client_did_wrong_is_no_failure_of_the_upstream(start, status):
    program = start()
    fail(program, 8, status)
    assert state(program) == "closed"


def test_connections_that_fail_count(start, tmp_path):
    program = start("127.0.0.1:1")
    for _ in range(4):
        assert reasons(program.ask("GET", "/e")) == {"p": "connect"}
    assert reasons(program.ask("GET", "/e"), 503) == {"p": "circuit_open"}


def test_slow_calls_count(start):
    program = start(slow="30ms", slow_ratio=0.5)
    for _ in range(4):
        values(program.ask("GET", "/e?delay=60"))
    assert state(program) == "open"


def test_clients_that_leave_do_not_count(start, fresh_upstream):
    program = start()
    for number in range(6):
        [client] = begin(program, "/e?delay=600000")
        wait_until(lambda: fresh_upstream.stats()["in_flight"] == 1, "it is in flight")
        client.close()
        wait_until(lambda number=number: fresh_upstream.stats()["aborted"] == number + 1, "it has left")
    wait_for_live(program, "u", "nothing in flight", lambda shown: shown["in_flight"] == 0)
    assert state(program) == "closed"


def test_off_means_off(start):
    program = start(enabled=False)
    fail(program, 20)


def test_probes_close_it_again(start, fresh_upstream):
    program = start(open="200ms")
    fresh_upstream.mode(status=503)
    fail(program, 4)
    assert state(program) == "open"
    fresh_upstream.mode()
    wait_until(lambda: program.ask("GET", "/e").status == 200, "a probe got through")
    wait_until(lambda: program.ask("GET", "/e") and state(program) == "closed", "it has closed")
    for reply in ask_at_once(program, "/e", 10):
        values(reply)


def test_a_probe_that_fails_opens_it_again(start, fresh_upstream):
    program = start(open="200ms")
    fresh_upstream.mode(status=503)
    fail(program, 4)
    before = fresh_upstream.stats()["requests"]
    wait_until(lambda: program.ask("GET", "/e").status == 502, "a probe went out and failed")
    assert state(program) == "open"
    assert fresh_upstream.stats()["requests"] == before + 1


def test_no_more_probes_than_configured_at_the_same_time(start, fresh_upstream):
    program = start(open="200ms", probes=2)
    fail(program, 4)
    fresh_upstream.mode(delay=500)
    wait_until(lambda: program.ask("GET", "/e").status == 200, "the first probe has come through")
    before = fresh_upstream.stats()["requests"]
    statuses = [reply.status for reply in ask_at_once(program, "/e", 20)]
    assert fresh_upstream.stats()["requests"] - before <= 2
    assert statuses.count(200) <= 2 and statuses.count(503) >= 18


# ---- one address of several -----------------------------------------------------------------------

@pytest.fixture
def pair(start, names, twins):
    """(heddle, the two upstreams that its name stands for)."""
    names.set("pair.test", "127.0.0.1", "127.0.0.2")
    program = start(f"pair.test:{twins[0].port}", env=names.env, failure_ratio=0.9, open=LONG)
    return program, *twins


def addresses(program):
    return {one["address"]: one for one in live(program, "u")["addresses"]}


def test_both_addresses_are_used(pair):
    program, first, second = pair
    for reply in ask_at_once(program, "/e?delay=5", 40):
        values(reply)
    assert first.stats()["requests"] > 0
    assert second.stats()["requests"] > 0


def test_an_address_that_fails_is_left_out(pair):
    program, first, second = pair
    for reply in ask_at_once(program, "/e", 40):  # or the first few could all be bad, and the circuit open
        values(reply)
    second.mode(status=503)
    wait_until(lambda: program.ask("GET", "/e") and addresses(program)["127.0.0.2"]["ejected"],
               "the bad one is left out")
    before = second.stats()["requests"]
    for reply in ask_at_once(program, "/e", 40):
        values(reply)
    assert second.stats()["requests"] == before
    assert not addresses(program)["127.0.0.1"]["ejected"]


def test_never_all_addresses_are_left_out(pair):
    program, first, second = pair
    first.mode(status=503)
    second.mode(status=503)
    for reply in finish(begin(program, "/e", count=40)):
        answer(reply, reply.status)
    assert not all(one["ejected"] for one in addresses(program).values())
