"""What goes along to upstreams: those headers of the client that are on a list, its trace, the time left."""

import re

import pytest

from harness.endpoints import endpoint, literal, part, service, values
from harness.heddle import run

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@pytest.fixture
def program(heddle, upstream):
    """/e shows the headers that came to `u`, which gets X-Tenant; /both: and to `v`; both get X-All."""
    echo = {"query": {"echo": "1", "json": None}, "select": "/headers"}
    retry = {"max_attempts": 3, "backoff_base": "1ms", "backoff_max": "1ms", "budget_min": 1000}
    return heddle(
        upstreams=[service("u", upstream.origins[0], forward_headers=["X-Tenant", "Accept-Language"],
                           retry=retry),
                   service("v", upstream.origins[1])],
        endpoints=[endpoint("/e", part("p", "u", **echo)),
                   endpoint("/both", part("p", "u", **echo), part("q", "v", **echo),
                            forward_headers=["X-All"]),
                   endpoint("/set", part("p", "u", headers={"X-Fixed": literal("{a}"),
                                                            "X-Of": "{header.X-From:-}"}, **echo)),
                   endpoint("/fails", part("p", "u", query={"fail": "2", "status": None}))])


def header(headers, name):
    return next(value for other, value in headers.items() if other.lower() == name)


def seen(program, target="/e", headers=None, name="p"):
    """Headers by lower-case name."""
    got = values(program.ask("GET", target, headers=headers))[name]
    return {header.lower(): value for header, value in got.items()}


SECRETS = {"Cookie": "c=1", "Authorization": "Bearer x", "X-Other": "1", "X-Forwarded-For": "9.9.9.9",
           "Origin": "o", "Content-Type": "text/x", "Accept": "application/json"}


def test_only_those_on_the_list_go_along(program, via):
    got = values(via(program).ask("GET", "/e", headers={
        "X-Tenant": "t", "Accept-Language": "de", "X-All": "1", **SECRETS}))["p"]
    assert (got["X-Tenant"], got["Accept-Language"]) == ("t", "de")
    got = {name.lower(): value for name, value in got.items()}
    assert not got.keys() & {"cookie", "authorization", "x-other", "x-forwarded-for", "origin", "x-all",
                             "content-type"}


def test_the_lists_of_endpoint_and_upstream_add_up(program):
    headers = {"X-All": "1", "X-Tenant": "t"}
    assert {"x-all", "x-tenant"} <= seen(program, "/both", headers).keys()
    got = seen(program, "/both", headers, "q")
    assert "x-all" in got and "x-tenant" not in got


HOP_BY_HOP = {"Connection": "X-Tenant, keep-alive", "Keep-Alive": "timeout=5", "TE": "trailers",
              "Proxy-Authorization": "Basic eA==", "Proxy-Connection": "keep-alive", "Trailer": "X",
              "Upgrade": "websocket"}


def test_hop_by_hop_headers_stay(program):
    got = seen(program, headers={"Accept-Language": "de", **HOP_BY_HOP})
    assert got["accept-language"] == "de"
    assert not got.keys() & {name.lower() for name in HOP_BY_HOP}


def test_what_connection_names_is_hop_by_hop(program):
    """RFC 9110, section 7.6.1."""
    assert "x-tenant" not in seen(program, headers={"Connection": "X-Tenant", "X-Tenant": "t"})


@pytest.mark.parametrize("name", ["Connection", "Transfer-Encoding", "Upgrade", "TE", "Keep-Alive", "Host",
                                  "Content-Length", "Proxy-Authorization"])
def test_a_list_with_such_a_header_is_refused(tmp_path, name):
    path = tmp_path / "heddle.yaml"
    path.write_text(f"upstreams: [{{name: u, base_url: 'http://127.0.0.1:1', forward_headers: [{name}]}}]\n")
    result = run("check", "-c", path)
    assert result.returncode != 0 and name in result.stdout + result.stderr


def test_headers_of_the_configuration(program):
    got = seen(program, "/set", {"X-From": "client"})
    assert (got["x-fixed"], got["x-of"]) == ("{a}", "client")
    assert seen(program, "/set")["x-of"] == "-"


# ---- the trace ------------------------------------------------------------------------------------

def test_a_trace_is_continued_with_a_span_of_its_own(program):
    parent = f"00-{TRACE_ID}-{SPAN}-01"
    got = seen(program, headers={"traceparent": parent})["traceparent"]
    trace, span, flags = TRACEPARENT.fullmatch(got).groups()
    assert (trace, flags) == (TRACE_ID, "01")
    assert span not in (SPAN, "0" * 16)


@pytest.mark.parametrize("parent", [
    None, "", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE_ID}-{'0' * 16}-01",
    f"ff-{TRACE_ID}-{SPAN}-01", f"00-{TRACE_ID.upper()}-{SPAN}-01"])
def test_a_trace_is_begun_when_there_is_none(program, parent):
    got = seen(program, headers={} if parent is None else {"traceparent": parent})["traceparent"]
    trace, span, _ = TRACEPARENT.fullmatch(got).groups()
    assert trace not in (TRACE_ID, "0" * 32) and span != "0" * 16


def test_parts_share_a_trace_and_have_spans_of_their_own(program):
    both = values(program.ask("GET", "/both"))
    first, second = (TRACEPARENT.fullmatch(header(one, "traceparent")) for one in both.values())
    assert first[1] == second[1] and first[2] != second[2]


def test_each_attempt_has_a_span_of_its_own(program, upstream):
    values(program.ask("GET", "/fails?key=spans", headers={"traceparent": f"00-{TRACE_ID}-{SPAN}-01"}))
    found = [TRACEPARENT.fullmatch(header(request["headers"], "traceparent"))
             for request in upstream.requests("spans")]
    assert {one[1] for one in found} == {TRACE_ID}
    assert len({one[2] for one in found}) == 3


def test_the_request_id_goes_along(program):
    assert seen(program, headers={"X-Request-Id": "abc123"})["x-request-id"] == "abc123"


# ---- the time that is left ------------------------------------------------------------------------

def test_the_upstream_is_told_how_much_time_is_left(program):
    assert 3 < float(seen(program)["x-request-timeout"]) <= 5


def test_a_shorter_one_of_the_client_is_passed_on(program):
    assert 0 < float(seen(program, headers={"X-Request-Timeout": "2"})["x-request-timeout"]) <= 2


def test_a_longer_one_is_not(program):
    assert float(seen(program, headers={"X-Request-Timeout": "3600"})["x-request-timeout"]) <= 5


def test_it_shrinks_from_attempt_to_attempt(program, upstream):
    values(program.ask("GET", "/fails?key=shrinks&delay=20"))
    left = [float(header(request["headers"], "x-request-timeout"))
            for request in upstream.requests("shrinks")]
    assert len(left) == 3 and left[0] > left[1] > left[2]
