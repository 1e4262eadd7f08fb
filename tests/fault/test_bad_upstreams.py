"""Upstreams in trouble: outages, overload, machines that are switched off; clients that leave, no descriptors,
a stop in the middle of it."""

import signal
import threading
import time

import pytest

from harness import fastcgi, metrics
from harness.black_hole import BlackHole
from harness.endpoints import (answer, ask_at_once, begin, endpoint, finish, leave, part, service,
                               values, wait_for_live)
from harness.expect import retry_after
from harness.fastcgi import Closed
from harness.wait import wait_until

FAR = 600_000
PLAIN = {"retry": {"enabled": False}, "breaker": {"enabled": False}}


class Load:
    """Clients that ask again and again, each when its answer is there; counts the answers by status."""

    def __init__(self, program, target, clients):
        self.statuses = {}
        self.replies = []
        self.slowest = 0
        self.is_over = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(program, target)) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def run(self, program, target):
        with program.connect() as connection:
            while not self.is_over.is_set():
                start = time.monotonic()
                reply = connection.ask("GET", target)
                with self.lock:
                    self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
                    self.slowest = max(self.slowest, time.monotonic() - start)
                    if reply.status == 503:
                        self.replies.append(reply)

    def count(self):
        with self.lock:
            return sum(self.statuses.values())


def wait_until_idle(program):
    wait_for_live(program, "u", "idle", lambda shown: (shown["in_flight"], shown["queued"]) == (0, 0))


# ---- an outage ------------------------------------------------------------------------------------

def test_retries_do_not_multiply_an_outage(heddle, fresh_upstream):
    """At most a fifth more than was asked, and the minimum rate."""
    minimum = 3
    program = heddle(upstreams=[service("u", fresh_upstream.origins[0], breaker={"enabled": False},
                                        retry={"max_attempts": 3, "backoff_base": "5ms",
                                               "backoff_max": "10ms", "budget": 0.2,
                                               "budget_min": minimum})],
                     endpoints=[endpoint("/e", part("p", "u"))])
    values(program.ask("GET", "/e"))
    fresh_upstream.mode(status=503)
    start, before = time.monotonic(), fresh_upstream.stats()["requests"]
    with Load(program, "/e?delay=5", 8) as load:
        wait_until(lambda: time.monotonic() - start > 3, "three seconds have passed")
    seconds = time.monotonic() - start
    reached = fresh_upstream.stats()["requests"] - before
    assert load.statuses.keys() == {502}
    assert load.count() < reached <= 1.2 * load.count() + minimum * (seconds + 1)
    assert program.metric(metrics.UPSTREAM_DENIED, upstream="u", why="budget") > 0


def test_with_the_breaker_an_outage_is_left_in_peace_and_ends_by_itself(heddle, fresh_upstream):
    program = heddle(upstreams=[service("u", fresh_upstream.origins[0],
                                        breaker={"min_requests": 5, "open": "300ms", "probes": 1})],
                     endpoints=[endpoint("/e", part("p", "u"))])
    values(program.ask("GET", "/e"))
    fresh_upstream.mode(status=503)
    with Load(program, "/e", 4) as load:
        wait_for_live(program, "u", "the circuit is open", lambda shown: shown["breaker"]["state"] == "open")
        count, reached = load.count(), fresh_upstream.stats()["requests"]
        wait_until(lambda: load.count() > count + 200, "clients are told")
        assert fresh_upstream.stats()["requests"] - reached < 50
        fresh_upstream.mode()
        wait_until(lambda: load.statuses.get(200, 0) > 100, "it has recovered")
    assert all(retry_after(reply) >= 1 for reply in load.replies)


# ---- overload -------------------------------------------------------------------------------------

def test_ten_times_too_much_is_refused_and_the_rest_is_served(heddle, fresh_upstream):
    """The upstream bears 4 at a time; 40 ask all the time."""
    program = heddle(upstreams=[service("u", fresh_upstream.origins[0], max_in_flight=4, max_queue=4,
                                        **PLAIN)],
                     endpoints=[endpoint("/e", part("p", "u"))])
    with Load(program, "/e?delay=20", 40) as load:
        wait_until(lambda: load.statuses.get(200, 0) > 100, "many are served")
    assert load.statuses.keys() == {200, 503}
    assert load.replies and all(retry_after(reply) >= 1 for reply in load.replies)
    assert fresh_upstream.stats()["max_in_flight"] <= 4
    assert load.slowest < 10
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")
    wait_until_idle(program)


# ---- one that is switched off ---------------------------------------------------------------------

def test_a_black_hole_does_not_touch_the_others(heddle, upstream):
    with BlackHole() as hole:
        program = heddle(upstreams=[service("dead", hole.url, timeout="2s", max_in_flight=20, max_queue=20),
                                    service("well", upstream.origins[0])],
                         endpoints=[endpoint("/dead", part("p", "dead")),
                                    endpoint("/well", part("p", "well")),
                                    endpoint("/both", part("p", "well"), part("q", "dead", required=False),
                                             timeout="1s")],
                         fetch={"connect_timeout": "1s"})
        with Load(program, "/dead", 30) as dead, Load(program, "/well", 4) as well:
            wait_until(lambda: dead.count() > 60 and well.count() > 500, "both have been asked a lot")
            body = answer(program.ask("GET", "/both"))
        assert well.statuses.keys() == {200}
        assert dead.statuses.keys() <= {502, 503, 504}
        assert body["parts"] == {"p": {"ok": True}} and body["errors"].keys() == {"q"}


def test_an_upstream_that_falls_silent_does_not_touch_the_others(heddle, upstream, fresh_upstream):
    program = heddle(upstreams=[service("dumb", fresh_upstream.origins[0], timeout="500ms", max_in_flight=20),
                                service("well", upstream.origins[0])],
                     endpoints=[endpoint("/dumb", part("p", "dumb")), endpoint("/well", part("p", "well"))])
    values(program.ask("GET", "/dumb"))
    fresh_upstream.mode(stall=1)
    with Load(program, "/dumb", 30) as dumb, Load(program, "/well", 4) as well:
        wait_until(lambda: dumb.count() > 60 and well.count() > 500, "both have been asked a lot")
    assert well.statuses.keys() == {200}
    assert dumb.statuses.keys() <= {502, 503, 504}


# ---- clients that leave ---------------------------------------------------------------------------

POLICIES = {
    "plain": PLAIN,
    "all": {"max_in_flight": 1000, "retry": {"max_attempts": 3}, "hedge": {"enabled": True}},
    "coalesced": {"coalesce": True},
}


@pytest.mark.parametrize("policies", POLICIES)
def test_a_client_that_leaves_frees_the_upstream(heddle, fresh_upstream, policies):
    """Clients, parts and sockets are as many."""
    parts = [part(f"p{number}", "u", path=f"/{number}") for number in range(4)]
    program = heddle(upstreams=[service("u", fresh_upstream.origins[0], timeout="10m", **POLICIES[policies])],
                     endpoints=[endpoint("/e", *parts, timeout="10m")])
    count = 4 if policies == "coalesced" else 100
    clients = begin(program, f"/e?delay={FAR}&key=k", count=25)
    wait_until(lambda: fresh_upstream.stats()["in_flight"] == count, "all wait in the upstream")
    leave(clients)
    wait_until(lambda: len(fresh_upstream.gone("k")) == count, "the upstream has seen each of them leave")
    wait_until_idle(program)
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")


def test_clients_leave_at_any_moment(heddle, upstream):
    """No place to aim at: all places near the end are tried, with every policy on."""
    both = {"max_in_flight": 4, "max_queue": 100, "coalesce": True, "hedge": {"enabled": True},
            "retry": {"backoff_base": "1ms", "backoff_max": "2ms"}}
    parts = [part(f"p{number}", "u", query={"delay": str(number), "x_n": str(number % 4)})
             for number in range(8)]
    program = heddle(upstreams=[service("u", upstream.origins[0], **both)],
                     endpoints=[endpoint("/e", *parts)])
    for _ in range(100):
        with program.connect() as connection:
            connection.send(fastcgi.http_request("GET", "/e"))
    wait_until_idle(program)
    values(program.ask("GET", "/e"))


# ---- a stop ---------------------------------------------------------------------------------------

def everything(mock):
    """An upstream with every policy on, and an endpoint that uses it."""
    return {"upstreams": [service("u", mock.origins[0], timeout="10m", max_in_flight=4, max_queue=100,
                                  hedge={"enabled": True}, coalesce=True)],
            "endpoints": [endpoint("/e", part("p", "u"), part("q", "u", after=["p"]), timeout="10m"),
                          endpoint("/retries", part("p", "u", query={"status": "503"}), timeout="10m")]}


def test_a_stop_lets_endpoints_end(heddle, fresh_upstream):
    program = heddle(**everything(fresh_upstream))
    clients = begin(program, "/e?delay=300", count=10)
    wait_until(lambda: fresh_upstream.stats()["in_flight"] > 0, "they have begun")
    program.signal(signal.SIGTERM)
    for reply in finish(clients):
        values(reply)
    assert program.wait() == 0


def test_a_stop_cuts_off_what_does_not_end(heddle, fresh_upstream):
    program = heddle(**everything(fresh_upstream), shutdown_timeout="200ms")
    clients = [client for number in range(10) for client in begin(program, f"/e?delay={FAR}&key={number}")]
    clients += begin(program, "/retries", count=5)
    wait_for_live(program, "u", "some wait", lambda shown: shown["queued"] > 0)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    for client in clients:
        try:
            client.read_reply()
        except Closed:
            pass
    leave(clients)
    assert fresh_upstream.stats()["in_flight"] == 0


# ---- no descriptors -------------------------------------------------------------------------------

def test_without_descriptors_endpoints_say_so_and_recover(heddle, fresh_upstream):
    limit = 400  # 256 are kept back, and each of four requests may need 26
    parts = [part(f"p{number}", "u", required=False) for number in range(20)]
    program = heddle(upstreams=[service("u", fresh_upstream.origins[0], **PLAIN)],
                     endpoints=[endpoint("/e", *parts)], max_in_flight=4, max_connections=10_000,
                     wrapper=["prlimit", f"--nofile={limit}:{limit}"])
    with program.connect() as kept:
        assert kept.ask("GET", "/health/live").status == 200
        peers = [program.connect() for _ in range(2 * limit)]
        for _ in range(5):
            body = answer(kept.ask("GET", "/e?delay=20"))
            assert body["parts"].keys() | body["errors"].keys() == {f"p{number}" for number in range(20)}
        leave(peers)
    wait_until(lambda: answer(program.ask("GET", "/e"))["complete"], "it serves again")
    for reply in ask_at_once(program, "/e", 4):
        answer(reply)
