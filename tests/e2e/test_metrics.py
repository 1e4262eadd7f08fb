"""GET /metrics: the format, and that each number says what was done."""

import pytest

from harness import fastcgi, metrics
from harness.metrics import Metrics
from harness.programs import free_port
from harness.wait import wait_until

FAN_OUT = "/concurrent_requests/"
JSON = {"Content-Type": "application/json"}


def submit(client, body=b'{"message": "m", "duration": 0}'):
    return client.ask("POST", "/start_background_task/", body, JSON)


def test_the_names_and_types_are_there(ask):
    reply = ask("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = Metrics(reply.body.decode()).families
    assert {name: families[name].kind for name in metrics.TYPES} == metrics.TYPES
    assert all(family.help for family in families.values())


def test_names_follow_the_conventions(server):
    for name, family in server.metrics().families.items():
        assert name.startswith(("heddle_", "process_"))
        assert name.endswith("_total") == (family.kind == "counter"), name


def test_build_info_is_one_and_names_the_version(server):
    [(labels, value)] = server.metrics().samples(metrics.BUILD_INFO)
    assert value == 1 and labels["version"]


def test_requests_are_counted_by_route_and_status(heddle, via, upstream):
    program = heddle([upstream.url("/x", delay=1)])
    client = via(program)
    for _ in range(3):
        client.ask("GET", FAN_OUT)
    for _ in range(2):
        submit(client)
    submit(client, b"{}")
    client.ask("GET", "/nope")
    client.ask("GET", "/tasks/nope")
    client.ask("PUT", "/tasks")
    client.ask("GET", "/tasks")
    client.ask("HEAD", "/tasks")
    scrape = program.metrics()

    def requests(**labels):
        return scrape.value(metrics.REQUESTS, **labels)
    assert requests(route=metrics.ROUTE_FAN_OUT, status="200") == 3
    assert requests(route=metrics.ROUTE_SUBMIT, status="202") == 2
    assert requests(route=metrics.ROUTE_SUBMIT, status="400") == 1
    assert requests(route=metrics.ROUTE_TASK, status="404") == 1
    assert requests(route=metrics.ROUTE_TASKS, status="405") == 1
    assert requests(route=metrics.ROUTE_TASKS, status="200") == 2
    assert requests(status="404") == 2
    assert requests() == 11


def test_paths_of_clients_never_become_labels(heddle):
    program = heddle()
    for number in range(50):
        program.ask("GET", f"/nope/{number}")
        program.ask("GET", f"/tasks/{number}")
    assert b"nope" not in program.ask("GET", "/metrics").body
    assert len(program.metrics().samples(metrics.REQUESTS)) < 10


def test_fetches_and_connections_are_counted(heddle, upstream):
    program = heddle([upstream.url("/x", origin=number) for number in range(4)], fetch={"workers": 1})
    for _ in range(5):
        program.ask("GET", FAN_OUT)
    scrape = program.metrics()
    [(labels, value)] = [sample for sample in scrape.samples(metrics.FETCHES) if sample[1]]
    assert value == 20 and labels["outcome"] in ("ok", "success")
    assert scrape.value(metrics.CONNECTIONS, kind="new") == 4
    assert scrape.value(metrics.CONNECTIONS, kind="reused") == 16
    assert scrape.value(metrics.FETCH_SECONDS + "_count") == 20


def test_a_connection_that_was_refused_is_neither_new_nor_reused(heddle, upstream):
    program = heddle([f"http://127.0.0.1:{free_port()}/", upstream.url("/x")])
    program.ask("GET", FAN_OUT)
    scrape = program.metrics()
    assert scrape.value(metrics.CONNECTIONS, kind="new") == 1
    assert scrape.value(metrics.CONNECTIONS, kind="reused") == 0


def test_histograms_are_consistent(heddle, upstream):
    program = heddle([upstream.url(f"/{delay}", delay=delay) for delay in (0, 3, 30, 300)])
    for _ in range(3):
        program.ask("GET", FAN_OUT)
    scrape = program.metrics()
    for name in (metrics.REQUEST_SECONDS, metrics.FETCH_SECONDS):
        for labels, count in scrape.samples(name + "_count"):
            buckets = [(float(got["le"]), value) for got, value in scrape.samples(name + "_bucket", **labels)]
            assert buckets == sorted(buckets), "bounds rise, and so do the numbers"
            assert len({bound for bound, _ in buckets}) == len(buckets)
            assert buckets[-1] == (float("inf"), count)
            assert (scrape.value(name + "_sum", **labels) > 0) == (count > 0)
    assert scrape.value(metrics.FETCH_SECONDS + "_count") == 12
    assert scrape.value(metrics.FETCH_SECONDS + "_sum") >= 3 * 0.333
    assert scrape.value(metrics.FETCH_SECONDS + "_bucket", le="0.25") <= 9


def test_request_times_include_the_wait_for_upstreams(heddle, upstream):
    program = heddle([upstream.url(delay=200)])
    program.ask("GET", FAN_OUT)
    scrape = program.metrics()
    assert scrape.value(metrics.REQUEST_SECONDS + "_count", route=metrics.ROUTE_FAN_OUT) == 1
    assert scrape.value(metrics.REQUEST_SECONDS + "_sum", route=metrics.ROUTE_FAN_OUT) >= 0.2


def test_requests_in_flight_rise_and_fall(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=1000)])
    connections = [program.connect() for _ in range(5)]
    for connection in connections:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) >= 5, "5 requests in flight")
    for connection in connections:
        assert connection.read_reply().status == 200
        connection.close()
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")


@pytest.mark.parametrize("route", [metrics.ROUTE_LIVE, metrics.ROUTE_METRICS])
def test_a_scrape_and_a_probe_count_as_requests_too(heddle, route):
    program = heddle()
    program.ask("GET", route)
    assert program.metric(metrics.REQUESTS, route=route, status="200") == 1


def test_nothing_leaks_descriptors(heddle, via, upstream):
    program = heddle([upstream.url(f"/{number}", size=100, close=1) for number in range(5)])
    client = via(program)
    for path in (FAN_OUT, "/tasks", "/nope"):
        client.ask("GET", path)
    before = program.metric("process_open_fds")
    for _ in range(30):
        for path in (FAN_OUT, "/tasks", "/nope"):
            client.ask("GET", path)
    wait_until(lambda: program.metric("process_open_fds") <= before + 8, "as many descriptors as before")
