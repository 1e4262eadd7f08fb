"""POST /concurrent_requests/: URLs of the client's own, and what it must not reach with them."""

import json

import pytest

from harness.endpoints import begin, finish, leave, live, service
from harness.expect import detailed_problem
from harness.wait import wait_until

JSON = {"Content-Type": "application/json"}
PATH = "/concurrent_requests/"


@pytest.fixture
def start(heddle, names, twins):
    """Clients may name *.test at the port of the twins, and reach the first of them."""
    def start(hosts=None, networks=("127.0.0.1/32",), urls=(), **settings):
        hosts = [f"*.test:{twins[0].port}"] if hosts is None else hosts
        return heddle(urls, concurrent_requests={"max_client_urls": 4, "client_hosts": list(hosts),
                                                 "client_networks": list(networks)},
                      fetch={"dns_ttl": "50ms", "timeout": "5s"}, env=names.env, **settings)
    names.set("good.test", "127.0.0.1")
    names.set("bad.test", "127.0.0.2")
    return start


def post(program, *urls):
    return program.ask("POST", PATH, json.dumps({"urls": urls}).encode(), JSON)


def url(mock, host, path="/", **query):
    return mock.url(path, **query).replace(mock.origins[0].partition(":")[0], host, 1)


def result(program, target):
    reply = post(program, target)
    assert reply.status == 200, reply
    [one] = reply.json()["results"]
    return one


def is_refused(program, target):
    """The whole request, or the one URL, before anything has been sent."""
    reply = post(program, target)
    if reply.status == 200:
        [one] = reply.json()["results"]
        return one.get("reason") == "forbidden"
    return reply.status in (403, 422)


def test_off_by_default(server):
    reply = post(server, "http://example.org/")
    assert reply.status == 405 and "POST" not in reply.headers["allow"]


def test_the_urls_are_fetched(start, twins):
    program = start()
    reply = post(program, url(twins[0], "good.test", "/a"), url(twins[0], "good.test", "/b", status=404))
    results = {one["url"].partition("test")[2]: one for one in reply.json()["results"]}
    assert sorted(one.get("status") for one in results.values()) == [200, 404]


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"{}", b'{"urls": []}', b'{"urls": [1]}', b'{"urls": ["nonsense"]}',
    b'{"urls": ["ftp://good.test/"]}', b'{"urls": ["http://good.test/"], "x": 1}', b'{"urls": "http://good.test/"}'])
def test_a_wrong_request_is_refused(start, body):
    reply = start().ask("POST", PATH, body, JSON)
    detailed_problem(reply, 400 if body == b"{" else reply.status)
    assert reply.status in (400, 403, 422)


def test_no_more_than_configured(start, twins):
    detailed_problem(post(start(), *[url(twins[0], "good.test", f"/{n}") for n in range(5)]), 422)
    assert twins[0].stats()["requests"] == 0


def test_hosts_that_are_not_listed(start, twins):
    program = start()
    for host in ("127.0.0.1", "localhost", "good.test.example", "nottest", "xtest"):
        assert is_refused(program, url(twins[0], host))
    assert is_refused(program, "http://good.test:1/")
    assert twins[0].stats()["requests"] == 0


TRICKS = ["0x7f.2", "0x7f000002", "2130706434", "017700000002", "127.2", "[::ffff:127.0.0.2]",
          "[::ffff:7f00:2]", "good.test@127.0.0.2", "good.test%40127.0.0.2", "127.0.0.2%23@good.test", "127.0.0.2\\@good.test",
          "127。0。0。2", "①②⑦.0.0.2", "%31%32%37.0.0.2"]


@pytest.mark.parametrize("host", TRICKS)
@pytest.mark.parametrize("is_listed", [False, True])
def test_tricks_do_not_lead_to_an_address_that_is_forbidden(start, names, twins, host, is_listed):
    """Also when the list of hosts has the address: the network decides."""
    program = start([f"*.test:{twins[0].port}"] + [f"127.0.0.2:{twins[0].port}"] * is_listed)
    reply = post(program, f"http://{host}:{twins[0].port}/")
    assert reply.status in (200, 400, 403, 422)
    assert twins[1].stats()["requests"] == 0 and twins[1].stats()["connections_total"] <= 3


ADDRESSES = ["127.0.0.2", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
             "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.2",
             "64:ff9b::7f00:2"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_names_of_addresses_that_are_not_public(start, names, twins, address):
    program = start(networks=())
    names.set("evil.test", address)
    one = result(program, url(twins[0], "evil.test"))
    assert one["reason"] == "forbidden" and one["error"]
    assert twins[1].stats()["requests"] == 0


def test_one_good_address_does_not_make_the_other_one_good(start, names, twins):
    names.set("mixed.test", "127.0.0.2", "127.0.0.1")
    program = start()
    for _ in range(10):
        post(program, url(twins[0], "mixed.test"))
    assert twins[1].stats()["requests"] == 0


def test_a_name_that_turns(start, names, twins):
    """DNS rebinding: good when it is looked up first, and then not."""
    program = start()
    names.set("turns.test", "127.0.0.1")
    assert result(program, url(twins[0], "turns.test"))["status"] == 200
    names.set("turns.test", "127.0.0.2")
    wait_until(lambda: is_refused(program, url(twins[0], "turns.test", close=1)), "it is refused")
    assert twins[1].stats()["requests"] == 0


def test_a_connection_that_is_kept_opens_no_way(start, twins):
    """The configuration's own URLs may go anywhere; what they leave open is not for clients."""
    program = start(urls=[url(twins[1], "bad.test")])
    for reply in finish(begin(program, PATH, count=5)):
        assert reply.json()["results"][0]["status"] == 200
    before = twins[1].stats()["requests"]
    for _ in range(5):
        assert is_refused(program, url(twins[1], "bad.test"))
    assert twins[1].stats()["requests"] == before


def test_redirects_are_looked_at_again(start, twins):
    program = start()
    elsewhere = [url(twins[1], "bad.test"), url(twins[1], "127.0.0.2"), url(twins[1], "localhost"),
                 f"//bad.test:{twins[1].port}/", "http://0x7f.2:%d/" % twins[1].port, "file:///etc/passwd"]
    for target in elsewhere:
        one = result(program, url(twins[0], "good.test", redirect_to=target))
        assert one["reason"] in ("forbidden", "protocol"), one
    assert twins[1].stats()["requests"] == 0
    assert result(program, url(twins[0], "good.test", redirect=2))["status"] == 200


@pytest.mark.parametrize("user", ["u", "u:p", ":", "good.test", "127.0.0.1:80"])
def test_user_names_are_refused_and_not_repeated(start, twins, user):
    reply = post(start(), url(twins[0], f"{user}@good.test"))
    problem = detailed_problem(reply, 422)
    assert problem["field"] == "urls" and f"{user}@" not in problem["detail"]
    assert twins[0].stats()["requests"] == 0


def test_a_redirect_to_a_user_name_is_not_followed(start, twins):
    target = url(twins[0], "u:p@good.test")
    one = result(start(), url(twins[0], "good.test", redirect_to=target))
    assert one["reason"] == "protocol" and twins[0].stats()["requests"] == 1


def test_a_redirect_to_a_name_that_leads_elsewhere(start, names, twins):
    """The host is on the list; its address is what counts."""
    names.set("inner.test", "127.0.0.2")
    one = result(start(), url(twins[0], "good.test", redirect_to=url(twins[1], "inner.test")))
    assert one["reason"] == "forbidden", one
    assert twins[1].stats()["requests"] == 0


def test_what_is_no_json_and_what_is_too_long(start, twins):
    program = start(max_body="1KiB")
    target = url(twins[0], "good.test")
    assert program.ask("POST", PATH, json.dumps({"urls": [target]}).encode()).status == 415
    assert program.ask("POST", PATH, b"urls=" + target.encode(),
                       {"Content-Type": "application/x-www-form-urlencoded"}).status == 415
    assert post(program, url(twins[0], "good.test", "/" + "x" * 1100)).status == 413
    assert twins[0].stats()["requests"] == 0


def test_one_bad_url_and_none_is_fetched(start, twins):
    detailed_problem(post(start(), url(twins[0], "good.test"), "http://evil.example/"), 422)
    assert twins[0].stats()["requests"] == 0


def test_one_refused_address_does_not_spoil_the_others(start, names, via, twins):
    names.set("inner.test", "10.0.0.1")
    good = url(twins[0], "good.test", body="fine", type="text/plain")
    reply = post(via(start()), url(twins[0], "inner.test"), good)
    results = {one["url"]: one for one in reply.json()["results"]}
    assert results.pop(good)["content"] == "fine"
    [refused] = results.values()
    assert refused["reason"] == "forbidden" and "status" not in refused and "10.0.0.1" in refused["error"]


def test_they_stream_too(start, via, twins):
    urls = [url(twins[0], "good.test", f"/{number}") for number in range(4)]
    body = json.dumps({"urls": urls}).encode()
    reply = via(start()).ask("POST", PATH, body, {**JSON, "Accept": "application/x-ndjson"})
    assert reply.status == 200 and reply.media_type() == "application/x-ndjson"
    *results, summary = [json.loads(line) for line in reply.body.splitlines()]
    assert {one["url"] for one in results} == set(urls) and summary.keys() == {"total_time"}


def test_the_configurations_own_urls_need_no_permission(start, twins):
    program = start(urls=[url(twins[1], "bad.test")], networks=())
    [one] = program.ask("GET", PATH).json()["results"]
    assert one["status"] == 200


def test_a_client_that_leaves_ends_the_fetches(start, twins):
    program = start()
    body = json.dumps({"urls": [url(twins[0], "good.test", delay=600_000)]}).encode()
    clients = begin(program, PATH, JSON, method="POST", body=body)
    wait_until(lambda: twins[0].stats()["in_flight"] == 1, "it is being fetched")
    leave(clients)
    wait_until(lambda: twins[0].stats()["aborted"] == 1, "the upstream saw it end")


def test_they_are_not_calls_to_a_configured_upstream(start, twins):
    """Neither its certificate is theirs to use, nor its circuit theirs to open."""
    program = start(upstreams=[service("own", f"good.test:{twins[0].port}")])
    for _ in range(30):
        post(program, *[url(twins[0], "good.test", status=500)] * 4)
    assert live(program, "own")["requests_total"] == 0
    assert live(program, "others")["requests_total"] == 120
    assert live(program, "own")["breaker"]["state"] == "closed"
