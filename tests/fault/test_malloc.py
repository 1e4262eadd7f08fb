"""No memory: whichever allocation fails, the request is answered or the connection closed, and it goes on."""

import mmap
import struct
import subprocess
from pathlib import Path

import pytest

from harness import fastcgi, metrics
from harness.build import HEDDLE, PROJECT, SANITIZED
from harness.endpoints import endpoint, part, service
from harness.fastcgi import Closed
from harness.heddle import READY, Heddle
from harness.tasks import NO_ID
from harness.wait import wait_until

pytestmark = pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer brings its own malloc")

FAN_OUT = "/concurrent_requests/"
JSON = {"Content-Type": "application/json"}
PLAN = struct.Struct("qqq")  # struct plan of failing_malloc.c


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("malloc") / "failing_malloc.so"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-fno-builtin", "-shared", "-fPIC",
                    "-o", path, Path(__file__).with_name("failing_malloc.c")], check=True)
    return path


class Plan:
    """Which of the next allocations fail, in a program that `wrapper` starts."""

    def __init__(self, library, path):
        self.wrapper = ["env", f"LD_PRELOAD={library}", f"HEDDLE_FAILING_MALLOC={path}"]
        path.write_bytes(PLAN.pack(-1, 0, 0))
        with open(path, "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), PLAN.size)

    def fail(self, skip, count=1):
        """Let `skip` allocations succeed from now on, then `count` fail."""
        self.shared[8:24] = struct.pack("qq", count, 0)
        self.shared[0:8] = struct.pack("q", skip)

    def end(self):
        """Let nothing fail any more; returns how many did."""
        self.shared[0:8] = struct.pack("q", -1)
        return PLAN.unpack(self.shared[:])[2]


@pytest.fixture
def start(heddle, library, tmp_path):
    """start(urls): (heddle, plan)"""
    def start(*urls, **settings):
        plan = Plan(library, tmp_path / "plan")
        program = heddle(*urls, wrapper=plan.wrapper, client_timeout="2s", **settings)
        assert program.ask("GET", "/health/live").status == 200  # all parts are there
        return program, plan
    return start


TASK = b'{"kind": "sleep", "payload": {"message": "m", "duration": 0}, "tags": ["a"], "backoff": {"base": 1}}'
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

REQUESTS = {
    "fan-out": ("GET", FAN_OUT, None, {}),
    "submit": ("POST", "/start_background_task/", b'{"message": "m", "duration": 0}', JSON),
    "wrong JSON": ("POST", "/start_background_task/", b'{"message": ', JSON),
    "list": ("GET", "/tasks", None, {}),
    "task": ("POST", "/tasks", TASK, JSON | {"traceparent": TRACE}),
    "task with a key": ("POST", "/tasks", TASK, JSON | {"Idempotency-Key": "k"}),
    "task and its end": ("POST", "/tasks", TASK, JSON | {"Prefer": "wait=5"}),
    "wrong task": ("POST", "/tasks", b'{"kind": "sleep", "payload": {}}', JSON),
    "batch": ("POST", "/tasks/batch", b"[%s, {}]" % TASK, JSON),
    "atomic batch": ("POST", "/tasks/batch?atomic=true", b"[%s, {}]" % TASK, JSON),
    "filtered list": ("GET", "/tasks?state=queued&queue=default&tag=a&limit=3", None, {}),
    "stats": ("GET", "/tasks/stats", None, {}),
    "wait for no task": ("GET", f"/tasks/{NO_ID}", None, {"Prefer": "wait=5"}),
    "explain no task": ("GET", f"/tasks/{NO_ID}/explain", None, {}),
    "cancel no task": ("POST", f"/tasks/{NO_ID}/cancel", None, {}),
    "change no task": ("PATCH", f"/tasks/{NO_ID}", b'{"priority": 1}', JSON),
    "pause": ("POST", "/queues/default/resume", None, {}),
    "queues": ("GET", "/queues", None, {}),
    "metrics": ("GET", "/metrics", None, {}),
    "unknown path": ("GET", "/nope", None, {}),
    "endpoint": ("GET", "/api/7?limit=3", None, {"traceparent": TRACE, "X-Tenant": "t", "X-Request-Timeout": "4"}),
    "wrong endpoint": ("GET", "/api/7?limit=many", None, {}),
    "flat endpoint": ("GET", "/flat", None, {}),
    "first of an endpoint": ("GET", "/first", None, {}),
    "streamed endpoint": ("GET", "/api/7?limit=3", None, {"Accept": "application/x-ndjson"}),
    "endpoint with a body": ("POST", "/api", b'{"a": {"b": [1, 2]}}', JSON),
    "upstreams": ("GET", "/upstreams", None, {}),
}


def endpoints(mock):
    """An upstream with all policies on, and endpoints that use what there is."""
    user = part("user", "u", "/{id}", query={"json": '{{"data": {{"account": "a", "x": 1}}}}'}, select="/data",
                drop=["x"])
    orders = part("orders", "u", query={"x_limit": "{query.limit:10}", "x_account": "{user./account}"},
                  headers={"X-Of": "{id}"}, required=False)
    retried = part("retried", "u", query={"status": "503"}, required=False)
    text = part("text", "u", query={"json": None, "type": "text/plain; charset=utf-16le", "size": "300"},
                required=False)
    sent = part("sent", "u", method="POST", query={"echo": "1", "json": None}, body='{"b": "{body./a/b}"}')
    flat = [part(name, "u", query={"json": '{{"%s": 1}}' % name}) for name in "ab"]
    return {
        "upstreams": [service("u", mock.origins[0], max_in_flight=100, coalesce=True, hedge={"enabled": True},
                              forward_headers=["X-Tenant"], breaker={"min_requests": 100_000},
                              retry={"backoff_base": "1ms", "backoff_max": "1ms"})],
        "endpoints": [endpoint("/api/{id}", user, orders, retried, text,
                               params=[{"name": "query.limit", "type": "integer", "max": 100}]),
                      endpoint("/api", sent, method="POST"), endpoint("/flat", *flat, merge="flat"),
                      endpoint("/first", *flat, mode="first")]}


def ask_in_pieces(program, request):
    """The reply, or None when the connection was closed instead. The request comes in two pieces, so that one
    has to be kept; its answer may be missing, but must not be late for ever."""
    data = fastcgi.http_request(*request)
    with program.connect() as connection:
        try:
            connection.send(data[:40])
            connection.send(data[40:])
            return connection.read_reply()
        except (Closed, BrokenPipeError, ConnectionResetError):
            return None


@pytest.mark.parametrize("count", [1, 1000000], ids=["one", "all"])
@pytest.mark.parametrize("name", REQUESTS)
def test_each_allocation_of_a_request_may_fail(start, upstream, name, count):
    urls = [upstream.url(f"/{number}", type="text/html; charset=utf-16le", size=300) for number in range(3)]
    program, plan = start([*urls, upstream.url(status=404), "http://host.invalid/"], **endpoints(upstream))
    statuses, failures = [], 0
    for skip in range(200):
        plan.fail(skip, count)
        reply = ask_in_pieces(program, REQUESTS[name])
        failed = plan.end()
        failures += failed
        assert program.running(), f"it ended when allocation {skip} failed"
        statuses.append(reply and reply.status)
        if reply and reply.body:
            reply.body.decode()
        if not failed and skip > 10:
            break
    else:
        raise AssertionError("a request makes more allocations than were tried")
    assert failures, "no allocation was reached"
    assert {None, 500, 503, 200, 202, 400, 404, 422, 502} >= set(statuses), statuses
    assert statuses[-1] not in (None, 500) or count > 1
    reply = program.ask(*REQUESTS[name])
    assert reply.status in (200, 202, 400, 404, 422)


@pytest.mark.parametrize("rest", ["", "/result", "/explain", "/events"])
def test_each_allocation_of_a_look_may_fail(start, rest):
    program, plan = start()
    task = program.ask(*REQUESTS["task and its end"]).json()
    request = ("GET", f"/tasks/{task['id']}{rest}", None, {})
    for skip in range(200):
        plan.fail(skip)
        reply = ask_in_pieces(program, request)
        failed = plan.end()
        assert program.running(), f"it ended when allocation {skip} failed"
        assert not reply or reply.status in (200, 500, 503)
        if not failed:
            break
    else:
        raise AssertionError("a look makes more allocations than were tried")
    assert program.ask(*request).status == 200


def test_allocations_may_fail_under_load(start, upstream):
    """Many requests at once, every few allocations one fails: nothing is left over, nothing hangs."""
    program, plan = start([upstream.url(f"/{number}", delay=5) for number in range(5)])
    for skip in range(100):
        plan.fail(skip, 3)
        connections = [program.connect() for _ in range(4)]
        for connection in connections:
            try:
                connection.send(fastcgi.http_request("GET", FAN_OUT))
            except (BrokenPipeError, ConnectionResetError):
                pass
        for connection in connections:
            try:
                connection.read_reply()
            except Closed:
                pass
            connection.close()
        plan.end()
        assert program.running()
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")
    assert program.ask("GET", FAN_OUT).status == 200


@pytest.mark.parametrize("name", ["heddle.yaml", "gateway.yaml"])
def test_a_configuration_that_finds_no_memory_says_so(library, tmp_path, name):
    for skip in range(0, 3000, 3):
        plan = Plan(library, tmp_path / "plan")
        plan.fail(skip)
        done = subprocess.run([*plan.wrapper, HEDDLE, "check", "-c", PROJECT / "conf" / name],
                              capture_output=True, text=True)
        if plan.end() == 0:
            assert done.returncode == 0, done.stdout + done.stderr
            return
        # memory that would only have been given back early is not missed
        assert done.returncode == 0 or (done.returncode, "out of memory" in done.stdout + done.stderr) == (1, True), \
            (skip, done)
    raise AssertionError("reading it makes more allocations than were tried")


def test_a_start_without_memory_fails_with_a_message(library, tmp_path):
    for skip in range(200):
        folder = tmp_path / str(skip)
        folder.mkdir()
        plan = Plan(library, folder / "plan")
        plan.fail(skip)
        program = Heddle(folder, wrapper=plan.wrapper, wait=False)
        wait_until(lambda: not program.running() or READY in program.log(), "it serves or has given up")
        if not program.running():
            program.check_end(1)
            assert program.log()
            continue
        program.stop()
        if plan.end() == 0:
            return
    raise AssertionError("a start makes more allocations than were tried")
