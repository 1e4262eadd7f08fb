"""GET /upstreams: how the services that parts are fetched from are doing."""

import json

import pytest

from harness.endpoints import begin, leave, live, service, wait_for_live
from harness.expect import detailed_problem, fan_out
from harness.nginx import ProductionNginx

FAR = 600_000


@pytest.fixture
def program(heddle, fresh_upstream):
    return heddle([fresh_upstream.url("/slow", delay=FAR)], fetch={"timeout": "10m"},
                  upstreams=[service("users", fresh_upstream.origins[0], coalesce=True),
                             service("shop", "https://shop.test:8443/api/")])


def test_each_upstream_is_shown(program, via, fresh_upstream):
    reply = via(program).ask("GET", "/upstreams")
    assert reply.status == 200 and reply.media_type() == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    shown = {one["name"]: one for one in reply.json()["upstreams"]}
    assert shown.keys() >= {"users", "shop"}
    assert shown["users"]["base_url"].rstrip("/") == f"http://{fresh_upstream.origins[0]}"
    assert shown["shop"]["base_url"].rstrip("/") == "https://shop.test:8443/api"
    for one in shown.values():
        assert (one["in_flight"], one["queued"], one["requests_total"]) == (0, 0, 0)


def test_it_is_live(program, fresh_upstream):
    clients = begin(program, "/concurrent_requests/", count=3)
    wait_for_live(program, "users", "three in flight", lambda shown: shown["in_flight"] >= 1)
    leave(clients)
    wait_for_live(program, "users", "none any more", lambda shown: shown["in_flight"] == 0)
    assert live(program, "users")["requests_total"] == 3
    assert live(program, "shop")["requests_total"] == 0


def test_head_and_other_methods(program, via):
    client = via(program)
    head, get = client.ask("HEAD", "/upstreams"), client.ask("GET", "/upstreams/")
    assert (head.status, head.body) == (200, b"") and head.media_type() == get.media_type()
    assert client.ask("DELETE", "/upstreams").headers["allow"] == "GET, HEAD"


def test_there_may_be_none(heddle):
    names = [one["name"] for one in heddle().ask("GET", "/upstreams").json()["upstreams"]]
    assert len(names) <= 1


def test_urls_of_the_list_are_upstreams_too(heddle, upstream):
    program = heddle([upstream.url("/a"), upstream.url("/b")])
    fan_out(program.ask("GET", "/concurrent_requests/"))
    shown = json.loads(program.ask("GET", "/upstreams").body)["upstreams"]
    assert [one["requests_total"] for one in shown if one["name"] == upstream.origins[0]] == [2]


def test_the_production_site_keeps_it_for_neighbours(program, tmp_path):
    lines = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"
    with ProductionNginx(program.address_for_nginx, tmp_path / "nginx", lines) as nginx:
        assert nginx.ask("GET", "/upstreams").status == 200
        assert nginx.ask("GET", "/upstreams", headers={"X-Real-IP": "203.0.113.9"}).status == 403


def test_no_names_of_upstreams_in_the_path(program):
    detailed_problem(program.ask("GET", "/upstreams/users"), 404)
