"""A client that goes away takes its fetches along."""

import pytest

from harness import fastcgi, metrics
from harness.nginx import Nginx
from harness.programs import free_port
from harness.wait import wait_until

FAN_OUT = "/concurrent_requests/"
COUNT = 6


@pytest.fixture(params=["unix", "tcp"])
def program(request, heddle, fresh_upstream):
    urls = [fresh_upstream.url(f"/{number}", delay=600_000) for number in range(COUNT)]
    where = {"listen": f"tcp:127.0.0.1:{free_port()}"} if request.param == "tcp" else {}
    return heddle(urls, fetch={"timeout": "20m"}, **where)


def expect_all_cancelled(program, upstream, count=COUNT, clients=1):
    wait_until(lambda: program.metric(metrics.FETCHES, outcome="cancelled") == count, "they are cancelled")
    wait_until(lambda: upstream.stats()["aborted"] == count, "the upstream saw them end")
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")
    assert program.metric(metrics.FETCHES) == count
    assert program.metric(metrics.GONE) == clients
    assert upstream.stats()["in_flight"] == 0


def leave_through_nginx(program, upstream, tmp_path):
    with Nginx(program.address_for_nginx, tmp_path / "nginx") as nginx:
        connection = nginx.connect()
        connection.request("GET", FAN_OUT)
        wait_until(lambda: upstream.stats()["in_flight"] == COUNT, "all fetches wait in the upstream")
        connection.close()
        expect_all_cancelled(program, upstream)


def leave_directly(program, upstream, _):
    with program.connect() as connection:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
        wait_until(lambda: upstream.stats()["in_flight"] == COUNT, "all fetches wait in the upstream")
    expect_all_cancelled(program, upstream)


@pytest.mark.parametrize("leave", [leave_through_nginx, leave_directly])
def test_its_fetches_are_cancelled(program, fresh_upstream, tmp_path, leave):
    leave(program, fresh_upstream, tmp_path)
    assert program.ask("GET", "/health/live").status == 200


def test_fetches_of_others_go_on(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=1500)])
    with program.connect() as staying:
        with program.connect() as leaving:
            staying.send(fastcgi.http_request("GET", FAN_OUT))
            leaving.send(fastcgi.http_request("GET", FAN_OUT))
            wait_until(lambda: fresh_upstream.stats()["in_flight"] == 2, "both wait in the upstream")
        assert staying.read_reply().json()["results"][0]["status"] == 200
    assert program.metric(metrics.FETCHES, outcome="cancelled") == 1
    wait_until(lambda: program.metric(metrics.GONE) == 1, "the one that left is counted")


def test_urls_that_were_not_begun_are_not_begun(heddle, fresh_upstream):
    urls = [fresh_upstream.url(f"/{number}", delay=600_000) for number in range(10)]
    program = heddle(urls, concurrent_requests={"max_concurrency": 2}, fetch={"timeout": "20m"})
    with program.connect() as connection:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
        wait_until(lambda: fresh_upstream.stats()["in_flight"] == 2, "two fetches wait in the upstream")
    wait_until(lambda: fresh_upstream.stats()["aborted"] == 2, "the upstream saw them end")
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")
    assert fresh_upstream.stats()["requests"] == 2


def test_many_that_leave_at_once(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(f"/{number}", delay=600_000) for number in range(4)],
                     fetch={"timeout": "20m"})
    clients = [program.connect() for _ in range(50)]
    for client in clients:
        client.send(fastcgi.http_request("GET", FAN_OUT))
    wait_until(lambda: fresh_upstream.stats()["in_flight"] == 200, "all fetches wait in the upstream")
    for client in clients:
        client.close()
    expect_all_cancelled(program, fresh_upstream, 200, clients=50)


def test_one_that_leaves_while_it_is_being_answered(heddle, upstream):
    """No place to aim at: all places near the end are tried."""
    program = heddle([upstream.url(f"/{number}", delay=number) for number in range(8)])
    for _ in range(100):
        with program.connect() as connection:
            connection.send(fastcgi.http_request("GET", FAN_OUT))
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")
    assert program.ask("GET", FAN_OUT).status == 200
