"""heddle under the task workloads: with its defaults, behind nginx as the project configures it."""

import json
import selectors
import time

from client import Client, Listener, at_once, percentile, request
from contenders import HEDDLE, NGINX, start_nginx, without
from measure import resident_bytes
from processes import BenchError, Unavailable
from tasks.load import http_load

BATCH = 1000
LARGEST_BATCH = 10000
SPARE_DESCRIPTORS = 500
CAPACITY = 20_000_000  # of the store: above the 10 million of T9
CONFIG = """\
listen: unix:{socket}
tasks:
  store: sqlite:{store}
  queue_capacity: {capacity}
queues:
  bulk:
    paused: true
"""


def missing(_):
    return without("nginx", HEDDLE)


def sleep_task(duration=0, **fields):
    return {"kind": "sleep", "payload": {"message": "x", "duration": duration}} | fields


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


def submit(task, **headers):
    return request("POST", "/tasks", encode(task), **headers)


def batch(count, task):
    return request("POST", "/tasks/batch", encode([task] * count))


class Heddle:
    """A heddle with a fresh store on the disk, and its nginx."""

    def __init__(self, bench, settings=""):
        self.bench = bench
        self.socket = bench.directory / "heddle.sock"
        store = bench.fresh_data("heddle") / "tasks.db"
        self.config = bench.directory / "heddle-tasks.yaml"
        self.config.write_text(CONFIG.format(socket=self.socket, store=store, capacity=CAPACITY) + settings)
        self.start()
        self.port, self.nginx = start_nginx(bench, "tasks-nginx", NGINX / "run.conf.in", NGINX=NGINX,
                                            HEDDLE=f"unix:{self.socket}")

    def start(self):
        self.process = self.bench.processes.start("heddle", [HEDDLE, "serve", "-c", self.config])
        self.bench.processes.wait_for_listener(self.process, str(self.socket), timeout=120)

    def kill(self):
        self.bench.processes.kill(self.process)

    def stop(self):
        self.bench.processes.stop(self.process)

    def client(self):
        return Client(self.port)

    def counts(self, client):
        return client.ask(request("GET", "/tasks/stats"))["counts"]

    def metric(self, name):
        """The sum over all label sets."""
        with self.client() as client:
            client.send(request("GET", "/metrics", Connection="close"))
            client.head()
            text = client.buffer
            while data := client.socket.recv(1 << 16):
                text += data
        lines = [line.split() for line in text.decode().splitlines()]
        return sum(float(line[1]) for line in lines if len(line) == 2 and line[0].split("{")[0] == name)

    def resident_mib(self):
        return resident_bytes([self.process.pid]) / 2**20

    def wait_for_count(self, state, count, timeout, pause=0.01):
        """Until that many tasks are in `state`; returns when that was seen."""
        with self.client() as client:
            deadline = time.monotonic() + timeout
            while (there := self.counts(client)[state]) < count:
                if time.monotonic() > deadline:
                    raise BenchError(f"only {there} of {count} tasks {state} after {timeout} s")
                time.sleep(pause)
            return time.monotonic()

    def submit_batches(self, count, clients, task, size=BATCH):
        """`count` tasks by so many clients at once; returns the seconds it took."""
        message = batch(size, task)
        rounds = max(1, round(count / size / clients))

        def client_main(_):
            with self.client() as client:
                for _ in range(rounds):
                    answer = client.ask(message)
                    if answer["accepted"] != size:
                        raise BenchError(f"only {answer['accepted']} of {size} accepted")

        return at_once(clients, client_main), rounds * clients * size


# T1, T2: one task a POST

def one_a_post(clients):
    def measure(bench, scale):
        heddle = Heddle(bench)
        processes = {"heddle": heddle.process, "nginx": heddle.nginx}
        figures, completed = http_load(bench, heddle.port, encode(sleep_task()), clients, scale, processes)
        submitted = heddle.metric("heddle_tasks_submitted_total")
        if submitted < completed:
            raise BenchError(f"{completed} answers, but only {submitted:.0f} tasks")
        return figures
    return measure


# T3: batches that wait; T4: batches to their end

def batches(clients):
    def measure(bench, scale):
        heddle = Heddle(bench)
        seconds, count = heddle.submit_batches(scale.count(200_000), clients, sleep_task(queue="bulk"))
        with heddle.client() as client:
            if (queued := heddle.counts(client)["queued"]) != count:
                raise BenchError(f"{count} tasks accepted, {queued} queued")
        return {"tasks/s": count / seconds}
    return measure


def submit_to_end(bench, scale):
    heddle = Heddle(bench)
    start = time.monotonic()
    _, count = heddle.submit_batches(scale.count(100_000), 1, sleep_task())
    return {"tasks/s": count / (heddle.wait_for_count("succeeded", count, timeout=300) - start),
            "tasks": count}


# T5: accepted to started

def start_latencies(heddle, count, gap):
    """Milliseconds from sending the POST to `running` seen on the stream of events: through nginx both ways,
    with the sync to the disk between. One thread does both: no switch between threads is in it."""
    message = submit(sleep_task())
    took = []
    with Listener(heddle.port, "/tasks/events?queue=default") as events, heddle.client() as client:
        for _ in range(count):
            start = time.monotonic()
            client.send(message)
            event = events.wait_for("running")
            took.append(1000 * (time.monotonic() - start))
            status, body = client.receive()
            if status != 202 or json.loads(body)["id"] != event["id"]:
                raise BenchError(f"status {status}, event of {event['id']}: {body[:200]}")
            events.wait_for("succeeded")
            time.sleep(gap)
    return took


def idle_start(bench, scale):
    heddle = Heddle(bench)
    took = start_latencies(heddle, scale.count(1000), scale.gap)
    inside = (heddle.metric("heddle_task_wait_seconds_sum") / heddle.metric("heddle_task_wait_seconds_count"))
    return {"p50 ms": percentile(took, 50), "p99 ms": percentile(took, 99), "mean inside ms": 1000 * inside}


# T6: after SIGKILL

def after_kill(bench, scale):
    heddle = Heddle(bench)
    count = scale.count(1000)
    heddle.submit_batches(count, 1, sleep_task(duration=3600), size=count)
    heddle.wait_for_count("running", count, timeout=30)
    heddle.kill()
    start = time.monotonic()
    heddle.start()
    seconds = heddle.wait_for_count("running", count, timeout=scale.patience, pause=0.002) - start
    if (interrupted := heddle.metric("heddle_tasks_interrupted_total")) != count:
        raise BenchError(f"{count} tasks ran at the kill, {interrupted:.0f} were interrupted")
    return {"seconds": seconds, "tasks": count}


# T7: two cores

def two_cores(bench, scale):
    heddle = Heddle(bench)
    text = "0123456789abcdef" * 64  # 1 KiB
    task = {"kind": "digest", "payload": {"text": text, "repeat": scale.count(262144)}}
    message = submit(task, Prefer="wait=60")

    with heddle.client() as client:
        client.send(message)
        status, body = client.receive()
        if status == 422:
            raise Unavailable(json.loads(body)["detail"])

    def one(_=0):
        with heddle.client() as client:
            if (state := client.ask(message)["state"]) != "succeeded":
                raise BenchError(f"digest ended as {state}")

    alone, together = [], []
    for _ in range(5):
        start = time.monotonic()
        one()
        one()
        alone.append(time.monotonic() - start)
        together.append(at_once(2, one))
    alone, together = percentile(alone, 50), percentile(together, 50)
    return {"times as fast": alone / together, "alone s": alone, "together s": together}


# T8: a flood of another tenant

def round_trips(heddle, count, gap, enough=lambda: False):
    """Milliseconds from the POST of another tenant's task to the answer that it has succeeded."""
    message = submit(sleep_task(queue="bulk", tenant="other"), Prefer="wait=60")
    took = []
    with heddle.client() as client:
        while len(took) < count and not enough():
            start = time.monotonic()
            if (state := client.ask(message)["state"]) != "succeeded":
                raise BenchError(f"the other tenant's task is {state}")
            took.append(1000 * (time.monotonic() - start))
            time.sleep(gap)
    return took


def pause(heddle, verb):
    with heddle.client() as client:
        client.ask(request("POST", f"/queues/bulk/{verb}", b"{}"))


def flood(bench, scale):
    heddle = Heddle(bench)
    pause(heddle, "resume")
    idle = round_trips(heddle, 50, scale.gap)
    pause(heddle, "pause")
    _, count = heddle.submit_batches(scale.count(100_000), 1, sleep_task(queue="bulk", tenant="flood"))
    with heddle.client() as client:
        pause(heddle, "resume")
        took = round_trips(heddle, 10_000, scale.gap, lambda: heddle.counts(client)["queued"] == 0)
    if not took:
        raise BenchError("the flood was over before the first task")
    usual = percentile(idle, 50)
    return {"idle p50 ms": usual, "flooded p50 ms": percentile(took, 50), "flooded max ms": max(took),
            "delay max ms": max(took) - usual, "tasks": count}


# T9: ten million wait

def ten_million(bench, scale):
    heddle = Heddle(bench)
    claims = scale.count(1000)
    without_any = percentile(start_latencies(heddle, claims, scale.gap), 99)
    empty = heddle.resident_mib()
    wanted, waiting = scale.count(10_000_000), sleep_task(queue="bulk")
    seconds, count = heddle.submit_batches(wanted, 2, waiting, LARGEST_BATCH)
    filled = heddle.resident_mib()
    heddle.stop()
    start = time.monotonic()
    heddle.start()
    ready = time.monotonic() - start
    with_all = percentile(start_latencies(heddle, claims, scale.gap), 99)
    restarted = heddle.resident_mib()
    before = heddle.metric("heddle_tasks_finished_total")
    pause(heddle, "resume")
    time.sleep(scale.seconds)
    drained = heddle.metric("heddle_tasks_finished_total") - before
    return {"waiting": count, "filled tasks/s": count / seconds, "MiB over empty": filled - empty,
            "after restart": restarted - empty, "restart s": ready, "p99 ms, none": without_any,
            "p99 ms, all": with_all, "times": with_all / without_any, "claimed/s": drained / scale.seconds}


# T10: listeners


def listeners(bench, scale):
    count = scale.count(5000)
    if (needed := 2 * count + SPARE_DESCRIPTORS) > bench.descriptors:
        raise Unavailable(f"needs {needed} descriptors, has {bench.descriptors}")
    heddle = Heddle(bench)
    before = heddle.resident_mib()
    waiting = selectors.DefaultSelector()
    sockets = []
    try:
        for _ in range(count):
            events = Listener(heddle.port, "/tasks/events")
            sockets.append(events.socket)
            waiting.register(events.socket, selectors.EVENT_READ)
        grown = heddle.resident_mib() - before
        with heddle.client() as client:
            start = time.monotonic()
            client.send(submit(sleep_task(duration=3600)))
            seconds = until_all_have_read(waiting, count, start + 60) - start
            client.receive()
        peak = heddle.resident_mib() - before
    finally:
        waiting.close()
        for each in sockets:
            each.close()
    return {"listeners": count, "MiB": max(grown, peak), "KiB each": 1024 * max(grown, peak) / count,
            "all told ms": 1000 * seconds}


def until_all_have_read(waiting, count, deadline):
    left = count
    while left:
        ready = waiting.select(deadline - time.monotonic())
        if time.monotonic() > deadline:
            raise BenchError(f"{left} of {count} listeners have heard nothing")
        for key, _ in ready:
            if not key.fileobj.recv(4096):
                raise BenchError("a stream was closed")
            waiting.unregister(key.fileobj)
        left -= len(ready)
    return time.monotonic()


MEASURES = {
    "T1": one_a_post(64), "T2": one_a_post(1), "T3": batches(1), "T3b": batches(4), "T4": submit_to_end,
    "T5": idle_start, "T6": after_kill, "T7": two_cores, "T8": flood, "T9": ten_million, "T10": listeners,
}
