"""Large and hostile bodies: caps of a part, of a request and of the process, counted after decompression."""

import pytest

from harness.build import SANITIZED
from harness.endpoints import answer, begin, endpoint, finish, part, reasons, service, values
from harness.wait import wait_until

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CAP = MIB
ROOM = MIB  # more than the cap may not be used


def body(**query):
    """A part's query for a body of text."""
    return {"json": None, "key": None, "status": None} | {name: str(value) for name, value in query.items()}


@pytest.fixture
def program(heddle, upstream):
    bodies = {
        "plain": body(size="{query.size}"),
        "chunked": body(size="{query.size}", chunked=1),
        "gzip": body(size="{query.size}", gzip=1),
        "bomb": body(size="{query.size}", gzip=1, zeros=1),
    }
    two = [part(name, "u", query=body(size="{query.size}")) for name in ("a", "b")]
    return heddle(
        upstreams=[service("u", upstream.origins[0], max_response="64MiB", retry={"enabled": False},
                           breaker={"enabled": False})],
        endpoints=[*[endpoint(f"/{name}", part("p", "u", query=query, max_response="1MiB"), timeout="60s")
                     for name, query in bodies.items()],
                   endpoint("/two", *two, max_response="1MiB"),
                   endpoint("/held", part("p", "u", query=body(size=MIB)),
                            part("q", "u", query={"delay": "1000"}), timeout="30s")],
        fetch={"max_buffered": "4608KiB"})  # four of /held, and what is small


@pytest.mark.parametrize("name, size", [("plain", CAP // 2), ("chunked", CAP // 2), ("gzip", CAP // 2),
                                        ("bomb", CAP // 8)])
def test_the_cap_of_a_part(program, name, size):
    """It also bounds the text that the body becomes as JSON."""
    assert len(values(program.ask("GET", f"/{name}?size={size}"))["p"]) == size
    assert reasons(program.ask("GET", f"/{name}?size={CAP + 1}")) == {"p": "too_large"}


def test_the_cap_of_a_request(program):
    assert values(program.ask("GET", f"/two?size={CAP // 2}"))
    reply = program.ask("GET", f"/two?size={CAP // 2 + 64 * KIB}")
    assert "too_large" in reasons(reply).values()


def test_the_cap_of_the_process(program):
    """Each request holds a body of 1 MiB for a second; there is room for four, and so again."""
    for _ in range(2):
        replies = finish(begin(program, "/held", count=10))
        statuses = [reply.status for reply in replies]
        assert statuses.count(200) == 4
        for reply in replies:
            if reply.status != 200:
                assert answer(reply, reply.status)["errors"]["p"]["reason"] == "too_large"


def reset_peak(program):
    with open(f"/proc/{program.pid}/clear_refs", "w") as file:
        file.write("5")


@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer takes memory of its own")
@pytest.mark.parametrize("name", ["plain", "chunked", "gzip", "bomb"])
def test_a_hostile_body_costs_little_more_than_the_cap(program, name):
    for _ in range(3):
        values(program.ask("GET", f"/{name}?size=1000"))
    reset_peak(program)
    before = program.status_kib("VmRSS")
    assert reasons(program.ask("GET", f"/{name}?size={GIB}")) == {"p": "too_large"}
    assert (program.status_kib("VmHWM") - before) * KIB <= CAP + ROOM


def test_a_hostile_upstream_is_left_at_once(program, upstream):
    before = upstream.stats()["aborted"]
    assert reasons(program.ask("GET", f"/plain?size={GIB}")) == {"p": "too_large"}
    wait_until(lambda: upstream.stats()["aborted"] == before + 1, "the connection is closed")
