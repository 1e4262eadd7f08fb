"""Endpoints as routes: paths, methods, headers of the answer, what `heddle check` says of them."""

import pytest

from harness import metrics
from harness.endpoints import answer, begin, endpoint, errors, leave, literal, part, service, values
from harness.expect import detailed_problem
from harness.heddle import run, to_yaml
from harness.wait import wait_until

FAR = 600_000
JSON = {"Content-Type": "application/json"}


def says(text):
    """A part that brings `text`, in which path parameters have their places."""
    return part("p", "u", query={"json": literal('{"was": "') + text + literal('"}')}, select="/was")


@pytest.fixture
def program(heddle, fresh_upstream):
    return heddle(
        upstreams=[service("u", fresh_upstream.origins[0], timeout="60s", retry={"enabled": False})],
        endpoints=[
            endpoint("/api/{a}", says("one {a}")),
            endpoint("/api/{a}/{b}", says("two {a} {b}")),
            endpoint("/api/{a}/x/{b}", says("middle {a} {b}")),
            endpoint("/api/fixed", says("fixed")),
            endpoint("/api/fixed/{b}", says("half {b}")),
            endpoint("/api/{a}/fixed", says("tail {a}")),
            endpoint("/both", says("get")),
            endpoint("/both", says("post"), method="POST"),
            endpoint("/bad", part("p", "u", query={"status": "500"})),
            endpoint("/slow", part("p", "u"), timeout="60s"),
            endpoint("/late", part("p", "u", query={"delay": str(FAR)}), timeout="200ms"),
        ])


@pytest.mark.parametrize("target, said", [
    ("/api/1", "one 1"), ("/api/1/", "one 1"), ("/api/1/2", "two 1 2"), ("/api/1/x/2", "middle 1 2"),
    ("/api/fixed", "fixed"), ("/api/fixed/2", "half 2"), ("/api/fixed/fixed", "half fixed"),
    ("/api/1/fixed", "tail 1"), ("/api/fixed/x/2", "middle fixed 2"), ("/api/x/x/x", "middle x x"),
    ("/api/a%20b/c%2Bd", "two a b c+d"), ("/api/%C3%A4?q=/api/fixed", "one ä"), ("/%61pi/1", "one 1")])
def test_what_is_spelt_out_comes_before_parameters(program, via, target, said):
    assert values(via(program).ask("GET", target))["p"] == said


@pytest.mark.parametrize("target", ["/api", "/api/", "/api//", "/api//2", "/api/1//", "/api/1/2/3", "/api/1/x/2/3",
                                    "/api/1%2F2%2F3", "/api/" + "x" * 512])
def test_what_fits_no_path_is_not_found(program, via, target):
    detailed_problem(via(program).ask("GET", target), 404)


def test_bad_escapes_are_refused(program):
    for target in ("/api/%", "/api/%zz", "/api/a%00b"):
        detailed_problem(program.ask("GET", target), 400)
    detailed_problem(program.ask("GET", "/api/%ff"), 422)


def test_methods_stand_side_by_side(program, via):
    client = via(program)
    assert values(client.ask("GET", "/both"))["p"] == "get"
    assert values(client.ask("POST", "/both", b"{}", JSON))["p"] == "post"
    reply = client.ask("DELETE", "/both")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("target, status", [("/api/1", 200), ("/bad", 502)])
def test_head_has_the_headers_of_get(program, via, target, status):
    client = via(program)
    head, get = client.ask("HEAD", target), client.ask("GET", target)
    assert (head.status, get.status, head.body) == (status, status, b"")
    assert head.media_type() == get.media_type() == "application/json"
    for name in ("vary", "cache-control"):
        assert head.headers[name] == get.headers[name]
    assert ("proxy-status" in head.headers) == (status != 200)


def test_a_client_that_leaves_ends_the_work(program, fresh_upstream):
    clients = begin(program, f"/slow?delay={FAR}&key=left", count=5)
    wait_until(lambda: fresh_upstream.stats()["in_flight"] == 5, "all are being fetched")
    leave(clients)
    wait_until(lambda: fresh_upstream.stats()["in_flight"] == 0, "none is any more")
    wait_until(lambda: program.metric(metrics.GONE, route="/slow") == 5, "they are counted")


def test_requests_are_counted_by_path_and_status(program):
    values(program.ask("GET", "/api/1/2"))
    values(program.ask("GET", "/api/3/4"))
    errors(program.ask("GET", "/bad"), 502)
    errors(program.ask("GET", "/late"), 504)
    program.ask("GET", "/bad", headers={"Accept": "text/csv"})
    program.ask("GET", "/late", headers={"X-Request-Timeout": "x"})
    scrape = program.metrics()
    for route, status, count in (("/api/{a}/{b}", 200, 2), ("/bad", 502, 1), ("/late", 504, 1), ("/bad", 406, 1),
                                 ("/late", 400, 1)):
        assert scrape.value(metrics.REQUESTS, route=route, status=str(status)) == count


def test_a_thousand_endpoints(heddle, upstream):
    program = heddle(
        upstreams=[service("u", upstream.origins[0])],
        endpoints=[endpoint(f"/api/service-{number}/{{id}}", says(f"{number} {{id}}")) for number in range(1000)])
    for number in (0, 1, 500, 999):
        assert values(program.ask("GET", f"/api/service-{number}/x"))["p"] == f"{number} x"
    assert program.ask("GET", "/api/service-1000/x").status == 404
    assert program.ask("GET", "/health/live").status == 200


# ---- paths that are not for endpoints -------------------------------------------------------------

OWN = ["/health", "/health/mine", "/metrics", "/tasks/{id}/more", "/queues/x", "/upstreams", "/upstreams/{name}",
       "/concurrent_requests", "/start_background_task/x"]


def configuration(tmp_path, *paths):
    path = tmp_path / "heddle.yaml"
    path.write_text(to_yaml({
        "listen": f"unix:{tmp_path}/s", "tasks": {"store": f"sqlite:{tmp_path}/db"},
        "upstreams": {"u": {"base_url": "http://127.0.0.1:1"}},
        "endpoints": {each: {"parts": {"p": {"upstream": "u", "path": "/"}}} for each in paths}}).lstrip() + "\n")
    return path


def test_heddles_own_paths_are_refused_all_at_once(tmp_path):
    path = configuration(tmp_path, "/fine", *OWN)
    for command in ("check", "serve"):
        result = run(command, "-c", path)
        assert result.returncode == 1
        lines = result.stderr.splitlines()
        assert len(lines) == len(OWN)
        for own, line in zip(OWN, lines):
            assert line.startswith(f"{path}: endpoints: {own}: ") and "heddle's own" in line


def test_paths_that_only_look_like_them_are_fine(tmp_path):
    path = configuration(tmp_path, "/healthy", "/api/tasks", "/{tasks}", "/task", "/")
    result = run("check", "-c", path)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_parameter_in_front_does_not_cover_heddles_own(heddle, upstream):
    program = heddle(upstreams=[service("u", upstream.origins[0])],
                     endpoints=[endpoint("/{a}", says("one {a}")), endpoint("/{a}/{b}", says("two {a} {b}"))])
    assert program.ask("GET", "/metrics").media_type() == "text/plain"
    assert program.ask("GET", "/tasks/nonsense").status == 404
    assert program.ask("GET", "/queues/none").status == 404
    assert values(program.ask("GET", "/else"))["p"] == "one else"
    assert values(program.ask("GET", "/x/y"))["p"] == "two x y"


def test_the_answer_is_whole(program, via):
    body = answer(via(program).ask("GET", "/api/1"))
    assert body["parts"] == {"p": "one 1"} and body["complete"] and body["errors"] == {}
    assert 0 < body["total_time"] < 5
