"""The two loads: as fast as so many clients can (wrk), and at a fixed rate (steady.py)."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from measure import Meter, load
from processes import BenchError
from warmup import ask_all, warm_up

STEADY = Path(__file__).parent / "steady.py"
END_SECONDS = 15
RAMP_CLIENTS = 64


def ramp_up(port, path, clients):
    """Many clients come one after the other. All at once they would be thousands of TLS handshakes at once,
    which take longer than anybody's deadline: a storm, not a warm-up."""
    for some in range(RAMP_CLIENTS, clients, RAMP_CLIENTS):
        asyncio.run(ask_all(port, path, some))


def loaded(bench, server, path, clients, seconds, requests=lambda: 0):
    """Loads `server`, which has a port and its processes by name, after a warm-up. Returns the figures, how
    many good answers there were, and how much `requests`, an upstream's count, has grown meanwhile."""
    ramp_up(server.port, path, clients)
    warm_up(server.port, path, clients)
    meter = Meter({name: process.pid for name, process in server.processes.items()})
    before = requests()
    with meter:
        figures = load(bench.processes, f"http://127.0.0.1:{server.port}{path}", clients, seconds)
    fetches = requests() - before
    completed = figures["completed"] - figures["errors"]["status"]
    if completed <= 0:
        raise BenchError(f"{path}: not one good answer: {figures}")
    return {
        "requests/s": completed / figures["seconds"],
        "p50 ms": figures["p50_ms"],
        "p99 ms": figures["p99_ms"],
        "errors": sum(figures["errors"].values()),
        "CPU us/request": 1e6 * sum(meter.cpu.values()) / completed,
        "memory MiB": sum(meter.rss_peak.values()) / 2**20,
    }, completed, fetches


class Steady:
    """Requests at a fixed rate in a process of their own, from now on."""

    def __init__(self, bench, port, path, rate, seconds):
        self.bench, self.rate, self.seconds = bench, rate, seconds
        self.process = bench.processes.start(
            "steady", [sys.executable, STEADY, port, path, rate, seconds], stdout=subprocess.PIPE)

    def result(self):
        """Waits for the end; returns what steady.py prints, statuses as numbers."""
        processes = self.bench.processes
        try:
            output, _ = self.process.communicate(timeout=self.seconds + END_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError("steady.py did not end") from None
        finally:
            processes.stop(self.process)
        if self.process.returncode != 0:
            raise BenchError(f"steady.py failed: {processes.log_tail(self.process)}")
        result = json.loads(output)
        if result["sent"] < 0.95 * self.rate * self.seconds:
            raise BenchError(f"only {result['sent']} requests in {self.seconds} s, not {self.rate}/s")
        result["by_status"] = {int(status): figures for status, figures in result["by_status"].items()}
        return result
