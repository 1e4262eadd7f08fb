"""U5, U6: what a client that leaves, and an upstream that sends too much, may cost."""

import json
import socket
import time
from pathlib import Path

from client import percentile, request
from measure import resident_bytes
from processes import BenchError, wait_until
from upstream import get
from upstreams.attempts import PARTS, eight_parts
from upstreams.heddle import Heddle
from warmup import warm_up

LEAVING = 500
TOGETHER = 20
HOSTILE_REQUESTS = 5
CAP_MIB = 1


# U5: from the client's close to that of the upstream's socket

def gone_at(upstream, key):
    """When clients went away, as the upstream saw it, in ms; oldest first."""
    text = get(f"http://{upstream.origins[0]}/_gone?key={key}")[1]
    return [us / 1000 for us in json.loads(text)["gone"]]


def leave(bench, port, key):
    """Some clients wait, then leave one after the other; ms from each close to that of its last part."""
    upstream = bench.upstream
    before = len(gone_at(upstream, key))
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(TOGETHER)]
    for client in clients:
        client.sendall(request("GET", "/api/silent"))
    wait_until(lambda: upstream.stats("in_flight") >= TOGETHER * PARTS, 10, "all parts are at the upstream")
    left_at = []
    for client in clients:
        left_at.append(time.monotonic() * 1000)
        client.close()
        time.sleep(0.02)
    wait_until(lambda: upstream.stats("in_flight") == 0, 10, "all parts have been cancelled")
    gone = gone_at(upstream, key)[before:]
    if len(gone) != TOGETHER * PARTS:
        raise BenchError(f"{len(gone)} of {TOGETHER * PARTS} parts have ended")
    return [gone[PARTS * (i + 1) - 1] - at for i, at in enumerate(left_at)]


def cancel(bench, scale):
    key = f"leave-{time.monotonic_ns()}"
    heddle = Heddle(bench, "cancel.yaml.in", UPSTREAM=bench.upstream.origins[0],
                    PARTS=eight_parts("silent", f"stall: '1', key: '{key}'"))
    bench.upstream.wait_until_idle()
    took = []
    while len(took) < scale.count(LEAVING):
        took += leave(bench, heddle.port, key)
    return {"p50 ms": percentile(took, 50), "p99 ms": percentile(took, 99), "max ms": max(took),
            "requests": len(took)}


# U6: hostile bodies

def peak_bytes(pid):
    """The most memory since the last forget_peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"no VmHWM of process {pid}")


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def growth_mib(bench, kind):
    """A fresh heddle's growth at its peak while it is sent such bodies, one after the other."""
    others = len(bench.processes.running)
    heddle = Heddle(bench, "hostile.yaml.in", UPSTREAM=bench.upstream.origins[0])
    warm_up(heddle.port, "/api/small", 16)
    before = resident_bytes([heddle.process.pid])
    forget_peak(heddle.process.pid)
    for _ in range(HOSTILE_REQUESTS):
        answer = heddle.ask(f"/api/{kind}")
        if answer["errors"]["a"]["reason"] != "too_large":
            raise BenchError(f"{kind}: {answer}")
    grown = peak_bytes(heddle.process.pid) - before
    bench.processes.stop_all(but=others)
    return grown / 2**20


def hostile(bench, _):
    plain, bomb = growth_mib(bench, "huge"), growth_mib(bench, "bomb")
    return {"1 GiB, MiB": plain, "gzip bomb, MiB": bomb, "beyond the cap, MiB": max(plain, bomb) - CAP_MIB}
