"""POST /concurrent_requests/: URLs of the client's own, and what it must not reach with them."""

import json

import pytest

from harness.endpoints import begin, finish
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
