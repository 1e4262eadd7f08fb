"""Names of upstreams: several addresses, dead ones among them, and name servers that are away."""

import pytest

from harness import metrics
from harness.black_hole import BlackHole
from harness.endpoints import ask_at_once, begin, endpoint, finish, live, part, reasons, service, values
from harness.programs import free_port
from harness.wait import wait_until

TTL = "100ms"


@pytest.fixture
def start(heddle, names):
    """start(port): upstream `u` is name.test with this port. Each worker has addresses of its own; here is one."""
    def start(port, **settings):
        return heddle(upstreams=[service("u", f"name.test:{port}", retry={"enabled": False},
                                         breaker={"min_requests": 1000}, **settings)],
                      endpoints=[endpoint("/e", part("p", "u")),
                                 endpoint("/closes", part("p", "u", query={"close": "1"}))],
                      fetch={"dns_ttl": TTL, "connect_timeout": "2s", "workers": 1}, env=names.env)
    return start


def wait_for_look_ups(program, result, more=2):
    """So many look-ups more have ended that way."""
    def count():
        return program.metric(metrics.LOOKUPS, result=result)
    before = count()
    wait_until(lambda: program.ask("GET", "/e") and count() >= before + more, f"{more} look-ups: {result}")


def test_a_name_that_is_nowhere(start, names):
    names.set("name.test", "none")
    assert reasons(start(1).ask("GET", "/e")) == {"p": "dns"}


def test_a_name_that_appears(start, names, fresh_upstream):
    program = start(fresh_upstream.port)
    assert reasons(program.ask("GET", "/e")) == {"p": "dns"}
    names.set("name.test", "127.0.0.1")
    wait_until(lambda: program.ask("GET", "/e").status == 200, "the name is found")


def test_all_addresses_are_used(start, names, twins):
    names.set("name.test", "127.0.0.1", "127.0.0.2")
    program = start(twins[0].port)
    for reply in ask_at_once(program, "/e?delay=20", 40):
        values(reply)
    assert all(twin.stats()["requests"] > 0 for twin in twins)
    shown = {one["address"] for one in live(program, "u")["addresses"]}
    assert shown == {"127.0.0.1", "127.0.0.2"}


def test_an_address_that_refuses_does_no_harm(start, names, fresh_upstream):
    names.set("name.test", "127.0.0.3", "127.0.0.1", "127.0.0.4")
    program = start(fresh_upstream.port)
    for reply in ask_at_once(program, "/e", 20):
        values(reply)


@pytest.mark.parametrize("addresses", [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")])
def test_an_address_that_answers_nothing_does_no_harm(start, names, fresh_upstream, addresses):
    """The next one is tried after a moment, not after the time-out."""
    names.set("name.test", *addresses)
    program = start(fresh_upstream.port)
    with BlackHole("127.0.0.2", fresh_upstream.port):
        replies = ask_at_once(program, "/e", 10)
        for reply in replies:
            values(reply)
        assert max(reply.json()["total_time"] for reply in replies) < 1.5


def test_addresses_serve_on_while_the_name_server_is_away(start, names, fresh_upstream):
    names.set("name.test", "127.0.0.1")
    program = start(fresh_upstream.port)
    values(program.ask("GET", "/e"))
    names.set("name.test", "again")
    wait_for_look_ups(program, "failed")
    for reply in ask_at_once(program, "/e", 10):
        values(reply)


def test_a_move_is_followed_by_new_connections(start, names, twins):
    names.set("name.test", "127.0.0.1")
    program = start(twins[0].port)
    values(program.ask("GET", "/closes"))
    names.set("name.test", "127.0.0.2")
    wait_until(lambda: values(program.ask("GET", "/closes")) and twins[1].stats()["requests"] > 0,
               "it asks at the new address")
    before = twins[0].stats()["requests"]
    for reply in finish(begin(program, "/closes", count=10)):
        values(reply)
    assert twins[0].stats()["requests"] == before


def test_nobody_listens(start, names):
    names.set("name.test", "127.0.0.1", "127.0.0.2")
    assert reasons(start(free_port()).ask("GET", "/e")) == {"p": "connect"}
