"""The load of one task a POST."""

from client import Client, request
from measure import Meter, load
from processes import BenchError

WARM_SECONDS = 1


def http_load(bench, port, body, clients, scale, processes):
    """POST /tasks by so many clients; returns the figures and how many were answered 202 in the timed load.
    `processes`, by name, are those whose CPU time counts: all that the contender needs to do its tasks."""
    with Client(port) as client:
        client.ask(request("POST", "/tasks", body), expected=202)
    url = f"http://127.0.0.1:{port}/tasks"
    load(bench.processes, url, clients, WARM_SECONDS, body)
    meter = Meter({name: process.pid for name, process in processes.items()})
    with meter:
        figures = load(bench.processes, url, clients, scale.seconds, body)
    errors = sum(figures["errors"].values())
    completed = figures["completed"] - figures["errors"]["status"]
    if completed <= 0:
        raise BenchError(f"no task was accepted: {figures}")
    return {
        "tasks/s": completed / figures["seconds"],
        "p50 ms": figures["p50_ms"],
        "p99 ms": figures["p99_ms"],
        "errors": errors,
        "CPU us/task": 1e6 * sum(meter.cpu.values()) / completed,
        "memory MiB": sum(meter.rss_peak.values()) / 2**20,
    }, completed
