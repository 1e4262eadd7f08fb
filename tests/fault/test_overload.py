"""Too much of everything: requests, connections, descriptors."""

import socket
import time

import pytest

from harness import fastcgi, metrics
from harness.expect import busy, fan_out
from harness.wait import wait_until

FAN_OUT = "/concurrent_requests/"


def fill(program, upstream, count):
    """That many requests that wait in the upstream, one URL each."""
    connections = [program.connect() for _ in range(count)]
    for connection in connections:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
    wait_until(lambda: upstream.stats()["in_flight"] == count, f"{count} requests in the upstream")
    return connections


@pytest.fixture
def full(heddle, fresh_upstream):
    """A heddle with all of its three places taken, and those who took them."""
    program = heddle([fresh_upstream.url(delay=600_000)], max_in_flight=3, fetch={"timeout": "20m"},
                     shutdown_timeout="200ms")
    return program, fill(program, fresh_upstream, 3)


def test_more_than_max_in_flight_are_refused_at_once(full, via):
    program, _ = full
    client = via(program)
    for method, path in (("GET", FAN_OUT), ("GET", "/tasks"), ("POST", "/start_background_task/")):
        busy(client.ask(method, path))
    assert program.metric(metrics.REQUESTS, route=metrics.ROUTE_FAN_OUT, status="503") == 1


def test_health_and_metrics_answer_all_the_same(full, via):
    program, _ = full
    client = via(program)
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert client.ask("GET", path).status == 200


def test_a_refused_connection_can_be_used_again(full, fresh_upstream):
    program, waiting = full
    with program.connect() as connection:
        for _ in range(5):
            busy(connection.ask("GET", "/tasks"))
        waiting[0].close()
        wait_until(lambda: fresh_upstream.stats()["in_flight"] == 2, "a place is free")
        wait_until(lambda: connection.ask("GET", "/tasks").status == 200, "it is served again")


def test_places_become_free_when_requests_end(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=500)], max_in_flight=2)
    for _ in range(3):
        for connection in fill(program, fresh_upstream, 2):
            fan_out(connection.read_reply())
            connection.close()


def test_many_requests_beyond_the_limit_are_all_answered(heddle, upstream):
    program = heddle([upstream.url(delay=100)], max_in_flight=5)
    connections = [program.connect() for _ in range(100)]
    for connection in connections:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
    statuses = [connection.read_reply().status for connection in connections]
    assert set(statuses) == {200, 503}
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")
    assert program.metric(metrics.REQUESTS, status="503") == statuses.count(503)


def test_connections_beyond_the_limit_wait_and_do_no_harm(heddle):
    program = heddle(max_connections=10, client_timeout="60s")
    connections = [program.connect() for _ in range(30)]
    for connection in connections[:5]:
        assert connection.ask("GET", "/tasks").status == 200
    for connection in connections[:25]:
        connection.close()
    assert connections[-1].ask("GET", "/tasks").status == 200
    assert program.ask("GET", "/tasks").status == 200
    for connection in connections:
        connection.close()


def cpu_seconds(program):
    with open(f"/proc/{program.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


LIMIT = 300


@pytest.fixture
def starved(heddle, upstream):
    """A heddle that may open few descriptors, and an upstream."""
    return heddle([upstream.url(f"/{number}") for number in range(3)], max_in_flight=4,
                  max_connections=10_000, client_timeout="60s",
                  wrapper=["prlimit", f"--nofile={LIMIT}:{LIMIT}"])


def test_without_descriptors_it_neither_ends_nor_spins(starved):
    peers = [starved.connect() for _ in range(2 * LIMIT)]
    before, start = cpu_seconds(starved), time.monotonic()
    wait_until(lambda: time.monotonic() - start > 1, "a second has passed")
    assert starved.running()
    assert cpu_seconds(starved) - before < 0.5, "it spins"
    for peer in peers:
        peer.close()
    wait_until(lambda: starved.ask("GET", "/health/live").status == 200, "it serves again")
    assert {result.get("status") for result in fan_out(starved.ask("GET", FAN_OUT))["results"]} == {200}


def test_kept_connections_are_served_while_there_are_no_descriptors(starved):
    with starved.connect() as kept:
        assert kept.ask("GET", "/tasks").status == 200
        peers = [starved.connect() for _ in range(2 * LIMIT)]
        for _ in range(5):
            assert kept.ask("GET", "/tasks").status == 200
        body = fan_out(kept.ask("GET", FAN_OUT))
        assert len(body["results"]) == 3  # errors or not: there may be no descriptor for a fetch
        for peer in peers:
            peer.close()


def test_half_open_peers_and_a_starved_server_come_to_an_end(starved):
    peers = []
    for number in range(LIMIT):
        peer = starved.connect()
        peer.send(fastcgi.http_request("GET", FAN_OUT)[:number])
        peers.append(peer)
    for peer in peers:
        try:
            peer.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        peer.close()
    wait_until(lambda: starved.ask("GET", "/health/live").status == 200, "it serves again")


def test_fetches_without_descriptors_are_errors_of_their_urls(heddle, upstream):
    program = heddle([upstream.url(f"/{number}", delay=300) for number in range(30)], max_in_flight=1,
                     wrapper=["prlimit", f"--nofile={LIMIT}:{LIMIT}"])
    with program.connect() as kept:
        assert kept.ask("GET", "/tasks").status == 200
        peers = [program.connect() for _ in range(LIMIT)]
        body = fan_out(kept.ask("GET", FAN_OUT))
        assert len(body["results"]) == 30
        for peer in peers:
            peer.close()
    wait_until(lambda: program.ask("GET", "/health/live").status == 200, "it serves again")
